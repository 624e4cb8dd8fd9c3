//! Parses `${NAME}` in strings, and `{ secret = "env:NAME" }`.

use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable, TomlValue};
use super::sink::DiagnosticSink;
use crate::model::{SecretRef, Segment};

/// Variable that contains the platform's token; references to it are refused.
///
/// Otherwise a file could send the token elsewhere.
pub(super) const TOKEN_VARIABLE: &str = "PMTX_TOKEN";

const STORES: &str = "write `env:NAME`, `file:NAME` or `credential:NAME`";

/// Returns true if the text contains a `${`, escaped or not.
pub(super) fn contains_reference(text: &str) -> bool {
    text.contains("${")
}

/// Reports a reference in a place where none is resolved.
pub(super) fn reject_reference(key: &str, span: Span, findings: &mut DiagnosticSink<'_, '_>) {
    findings
        .error(Code::MisplacedReference, span, format!("`{}` cannot hold a reference", display_key(key)))
        .help("`${NAME}` and `{ secret = … }` are resolved in `connection_config` only; in `wellspring.toml`, `[platform]` and `[workspaces]` may hold `${NAME}`");
}

/// Splits a text at its `${NAME}`s; `$${` is an escaped `${`.
///
/// Adjacent literals are joined.
///
/// # Errors
/// With a sentence about the invalid reference, without the text.
pub(super) fn segments(text: &str) -> Result<Vec<Segment>, String> {
    // Usually the text is one segment.
    let mut segments = Vec::with_capacity(1);
    let mut literal = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('$') {
        literal.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tail) = rest.strip_prefix("$${") {
            literal.push_str("${");
            rest = tail;
        } else if let Some(tail) = rest.strip_prefix("${") {
            let Some((name, tail)) = tail.split_once('}') else {
                return Err("a `${` is never closed".to_owned());
            };
            if !is_variable(name) {
                return Err("a `${…}` holds no variable's name".to_owned());
            }
            if !literal.is_empty() {
                segments.push(Segment::Literal(std::mem::take(&mut literal)));
            }
            segments.push(Segment::Env(name.to_owned()));
            rest = tail;
        } else {
            literal.push('$');
            rest = &rest[1..];
        }
    }
    literal.push_str(rest);
    if !literal.is_empty() {
        segments.push(Segment::Literal(literal));
    }
    Ok(segments)
}

/// Returns the segments of a text; reports errors.
pub(super) fn checked_segments(
    text: &str,
    span: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Vec<Segment>> {
    match segments(text) {
        Ok(segments) => {
            let token = segments
                .iter()
                .any(|segment| matches!(segment, Segment::Env(name) if name == TOKEN_VARIABLE));
            if token {
                reject_token_variable(span, findings);
                return None;
            }
            Some(segments)
        }
        Err(why) => {
            findings
                .error(Code::BadReference, span, why)
                .help(
                    "write `${NAME}` with letters, digits and `_`; there are no defaults such as `${NAME:-…}`; for a literal `${` write `$${`",
                );
            None
        }
    }
}

fn reject_token_variable(span: Span, findings: &mut DiagnosticSink<'_, '_>) {
    findings
        .error(Code::BadReference, span, format!("`{TOKEN_VARIABLE}` is the platform's token"))
        .help("the platform's token is not for sources; use another variable");
}

/// Returns true if the table is a reference `{ secret = "…" }`.
pub fn is_reference(table: &SpannedTable<'_>) -> bool {
    table.len() == 1 && table.get("secret").is_some_and(|entry| entry.node.value.as_str().is_some())
}

/// Parses `{ secret = "env:NAME" }`, for tables that satisfy [`is_reference`].
pub(super) fn secret(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<SecretRef> {
    let entry = table.get("secret")?;
    let TomlValue::String(text) = &entry.node.value else { return None };
    let span = entry.node.span;
    let Some((store, name)) =
        text.split_once(':').filter(|(store, _)| ["env", "file", "credential"].contains(store))
    else {
        findings.error(Code::BadReference, span, "this reference names no store").help(STORES);
        return None;
    };
    let usable = if store == "env" { is_variable(name) } else { is_file_name(name) };
    if !usable {
        let rule = if store == "env" {
            "a variable's name has letters, digits and `_`, and starts with no digit"
        } else {
            "a secret's name has letters, digits, `_`, `-` and `.`, starts with no `.`, and leads to no other folder"
        };
        findings.error(Code::BadReference, span, format!("not a name of a secret in `{store}:`")).help(rule);
        return None;
    }
    match store {
        "env" if name == TOKEN_VARIABLE => {
            reject_token_variable(span, findings);
            None
        }
        "env" => Some(SecretRef::Env(name.to_owned())),
        "file" => Some(SecretRef::File(name.to_owned())),
        _ => Some(SecretRef::Credential(name.to_owned())),
    }
}

/// Like `secret`, for the host file.
///
/// There, a reference may name the platform's token.
pub fn host_secret(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<SecretRef> {
    let entry = table.get("secret")?;
    let parts = entry.node.value.as_str().and_then(|text| text.split_once(':'));
    match parts.map(|(store, name)| (store, name.to_owned())) {
        Some(("env", name)) => Some(SecretRef::Env(name)),
        Some(("file", name)) => Some(SecretRef::File(name)),
        Some(("credential", name)) => Some(SecretRef::Credential(name)),
        _ => {
            findings.error(Code::BadReference, entry.node.span, "this reference names no store").help(STORES);
            None
        }
    }
}

fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with(|first: char| first.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

fn is_file_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= 255
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Template;
    use proptest::prelude::*;

    fn literal(text: &str) -> Segment {
        Segment::Literal(text.to_owned())
    }

    #[test]
    fn dollars_are_read_as_documented() {
        let env = |name: &str| Segment::Env(name.to_owned());
        for (text, expected) in [
            ("plain", vec![literal("plain")]),
            ("${A}", vec![env("A")]),
            ("a${B}c", vec![literal("a"), env("B"), literal("c")]),
            ("$${A}", vec![literal("${A}")]),
            ("$$${A}", vec![literal("$${A}")]),
            ("5$ $", vec![literal("5$ $")]),
            ("", vec![]),
        ] {
            assert_eq!(segments(text).unwrap(), expected, "{text}");
        }
        for text in ["${", "${}", "${a b}", "${1A}", "${A", "${A:-b}"] {
            assert!(segments(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn a_text_without_dollars_is_one_literal(text in "[^$]+") {
            prop_assert_eq!(segments(&text).unwrap(), vec![literal(&text)]);
        }

        #[test]
        fn what_is_shown_is_read_as_the_same(text in "([a$]|\\$\\{A\\}){0,8}") {
            if let Ok(read) = segments(&text) {
                let again = segments(&Template(read.clone()).to_string()).unwrap();
                prop_assert_eq!(again, read);
            }
        }
    }
}
