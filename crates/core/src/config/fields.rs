//! Typed access to the fields of a table, with errors reported.

use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable, SpannedValue, TableEntry, TomlValue};
use super::duration;
use super::keys::KeyTable;
use super::references;
use super::sink::{DiagnosticBuilder, DiagnosticSink};
use super::suggest::{did_you_mean, one_of};
use crate::model::{find_secrets, invalid_name_char};
use std::time::Duration;

impl<'a> TomlValue<'a> {
    /// Returns the name of the type, with its article.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::String(_) => "a string",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a number",
            Self::Bool(_) => "a boolean",
            Self::Datetime(_) => "a date",
            Self::Array(_) => "a list",
            Self::Table(_) => "a table",
        }
    }

    /// Returns the table, if the value is one.
    pub fn as_table(&self) -> Option<&SpannedTable<'a>> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Returns the text, if the value is a string.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Self::String(text) => Some(text),
            _ => None,
        }
    }
}

/// Reports every unknown key of the table.
pub fn unknown_keys(table: &SpannedTable<'_>, known: &KeyTable, findings: &mut DiagnosticSink<'_, '_>) {
    unknown_keys_of(known.owner, table, known, findings);
}

/// Like [`unknown_keys`], for a table that messages call `owner`.
pub(crate) fn unknown_keys_of(
    owner: &str,
    table: &SpannedTable<'_>,
    known: &KeyTable,
    findings: &mut DiagnosticSink<'_, '_>,
) {
    for (key, entry) in table.iter() {
        if !known.contains(key) {
            findings
                .error(Code::UnknownKey, entry.key, format!("unknown key `{}` in {owner}", display_key(key)))
                .maybe_help(
                    did_you_mean(key, known.names()).or_else(|| elsewhere(key, owner)).or_else(|| {
                        Some(format!("known here: {}", one_of(&known.names().collect::<Vec<_>>())))
                    }),
                );
        }
    }
}

/// Returns the right place of a key that is known, but not in `owner`.
fn elsewhere(key: &str, owner: &str) -> Option<String> {
    const HOST_FILE: &str = "this belongs in the host file, the one that `--config FILE` names";
    let of_the_platform = owner == "`[platform]`";
    let place = match key {
        "token" if of_the_platform => {
            "the token comes from the variable PMTX_TOKEN, or from `[platform] token` in the host file"
        }
        "timeout" | "sync_timeout" | "max_in_flight" | "requests_per_second" | "allow_plaintext"
            if of_the_platform =>
        {
            HOST_FILE
        }
        "daemon" | "limits" | "secrets" | "state" | "http" | "notify" | "variables"
            if owner == "wellspring.toml" =>
        {
            HOST_FILE
        }
        "workspaces" | "defaults" | "templates" | "policy" | "files" if of_the_platform => {
            "this is not a part of [platform]: write it above all headers, or as a header of its own"
        }
        "connection_config" if owner == "`[defaults]`" => {
            "sources share a connection by a template: [templates.NAME.connection_config], and `extends = \"NAME\"`"
        }
        _ => return None,
    };
    Some(place.to_owned())
}

/// Reports a name with invisible characters.
pub fn check_visible_name(what: &str, name: &str, span: Span, findings: &mut DiagnosticSink<'_, '_>) {
    check_displayed_name(what, name, name, span, findings);
}

/// Like [`check_visible_name`], for a name that is displayed in another form.
pub fn check_displayed_name(
    what: &str,
    name: &str,
    displayed: &str,
    span: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) {
    if let Some(c) = invalid_name_char(name) {
        let code = u32::from(c);
        findings
            .error(
                Code::Unseen,
                span,
                format!("{what} `{}` holds a character that is not seen", display_key(displayed)),
            )
            .label(format!("U+{code:04X}"))
            .help("write it without that character");
    }
}

fn wrong_type<'f, 'd, 'a>(
    key: &str,
    expected: &str,
    node: &SpannedValue<'_>,
    findings: &'f mut DiagnosticSink<'d, 'a>,
) -> DiagnosticBuilder<'f, 'd, 'a> {
    findings
        .error(
            Code::WrongType,
            node.span,
            format!("`{}` takes {expected}, not {}", display_key(key), node.value.type_name()),
        )
        .label(format!("expected {expected}"))
        .maybe_help(match example(key) {
            Some(example) if expected == "a table" => Some(example),
            _ => cure(expected, &node.value),
        })
}

/// Returns how to write a value of another type as the expected one.
fn cure(expected: &str, value: &TomlValue<'_>) -> Option<String> {
    let cure = match (expected, value) {
        (_, TomlValue::String(text)) if expected.contains("`true`") => {
            let is_switch = matches!(text.to_ascii_lowercase().as_str(), "true" | "false");
            if is_switch { "write it in lower case, without quotes" } else { "write `true` or `false`" }
        }
        ("a string", TomlValue::Array(_) | TomlValue::Table(_)) => return None,
        ("a string", _) => "write it in quotes: \"…\"",
        ("a list of strings", TomlValue::String(_)) => "write it as a list: [\"…\"]",
        ("a table", TomlValue::Array(_)) => {
            "a header has one bracket on each side, and the name in it: [sources.NAME]"
        }
        _ if expected.starts_with("a duration") => {
            "write a number and a unit in quotes: \"90s\", \"30m\", \"2h\""
        }
        _ => return None,
    };
    Some(cure.to_owned())
}

/// Returns an example for a table that is often mistaken for a single value.
fn example(key: &str) -> Option<String> {
    let example = match key {
        "workspace" => "a header and the id below it: [workspace], id = \"…\"",
        "metadata" => "metadata = { description = \"…\" }",
        "connection_config" => "connection_config = { host = \"…\" }",
        "suspend" => "suspend = { reason = \"…\", until = 2026-12-01 }",
        "sync" => "sync = { every = \"6h\" }",
        "sync_options" => "sync_options = { incremental = true }",
        "test" => "test = { before_connect = false }",
        _ => return None,
    };
    Some(format!("write {example}"))
}

/// Returns the table under `key`.
pub fn table<'t, 'a>(
    of: &'t SpannedTable<'a>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<(&'t SpannedTable<'a>, &'t TableEntry<'a>)> {
    let entry = of.get(key)?;
    table_in(key, entry, findings).map(|table| (table, entry))
}

/// Returns the table in the entry of `key`.
pub fn table_in<'t, 'a>(
    key: &str,
    entry: &'t TableEntry<'a>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<&'t SpannedTable<'a>> {
    let table = entry.node.value.as_table();
    if table.is_none() {
        wrong_type(key, "a table", &entry.node, findings);
    }
    table
}

/// Like [`table_in`], but takes the table out of the entry.
pub fn into_table<'a>(
    key: &str,
    entry: TableEntry<'a>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<SpannedTable<'a>> {
    table_in(key, &entry, findings)?;
    match entry.node.value {
        TomlValue::Table(table) => Some(table),
        _ => None,
    }
}

/// Returns the string under `key`.
///
/// References are refused outside `connection_config`.
pub fn text<'t>(
    of: &'t SpannedTable<'_>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<(&'t str, Span)> {
    let entry = of.get(key)?;
    plain_text(key, &entry.node, findings).map(|text| (text, entry.node.span))
}

/// Returns the node as a string without references.
pub fn plain_text<'t>(
    key: &str,
    node: &'t SpannedValue<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<&'t str> {
    match &node.value {
        TomlValue::String(text) if references::contains_reference(text) => {
            references::reject_reference(key, node.span, findings);
            None
        }
        TomlValue::String(text) => Some(text),
        _ => {
            wrong_type(key, "a string", node, findings);
            None
        }
    }
}

/// Returns the boolean under `key`.
pub fn boolean(of: &SpannedTable<'_>, key: &str, findings: &mut DiagnosticSink<'_, '_>) -> Option<bool> {
    let entry = of.get(key)?;
    match entry.node.value {
        TomlValue::Bool(value) => Some(value),
        _ => {
            wrong_type(key, "`true` or `false`", &entry.node, findings);
            None
        }
    }
}

/// Returns the duration under `key`.
pub fn duration(
    of: &SpannedTable<'_>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<(Duration, Span)> {
    let entry = of.get(key)?;
    let TomlValue::String(text) = &entry.node.value else {
        wrong_type(key, "a duration such as \"30m\"", &entry.node, findings);
        return None;
    };
    match duration::parse(text) {
        Ok(duration) => Some((duration, entry.node.span)),
        Err(why) => {
            findings
                .error(Code::BadDuration, entry.node.span, format!("`{key}` is not a duration"))
                .help(why);
            None
        }
    }
}

/// Returns the duration under `key`, which may be `0s`.
pub fn duration_or_none(
    of: &SpannedTable<'_>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<(Duration, Span)> {
    let entry = of.get(key)?;
    if entry.node.value.as_str() == Some("0s") {
        return Some((Duration::ZERO, entry.node.span));
    }
    duration(of, key, findings)
}

/// Returns the choice under `key`.
pub fn choice<T: Copy>(
    of: &SpannedTable<'_>,
    key: &str,
    choices: &[(&'static str, T)],
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<T> {
    let entry = of.get(key)?;
    if !matches!(entry.node.value, TomlValue::String(_)) {
        let quoted: Vec<String> = choices.iter().map(|(name, _)| format!("{name:?}")).collect();
        let help = format!("write {}", quoted.join(" or "));
        wrong_type(key, "a string", &entry.node, findings).help(help);
        return None;
    }
    let (word, span) = text(of, key, findings)?;
    chosen(key, word, span, choices, findings)
}

/// Returns the choice with this name.
///
/// The error message repeats the word only if it may be a misspelling, not a secret.
pub fn chosen<T: Copy>(
    key: &str,
    word: &str,
    span: Span,
    choices: &[(&'static str, T)],
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<T> {
    const MAX_WORD_CHARS: usize = 24;
    if let Some((_, value)) = choices.iter().find(|(name, _)| *name == word) {
        return Some(*value);
    }
    let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
    findings
        .error(
            Code::InvalidValue,
            span,
            if word.len() <= MAX_WORD_CHARS && find_secrets(word).is_empty() {
                format!("`{key}` is {}, not `{}`", one_of(&names), display_key(word))
            } else {
                format!("`{key}` is {}", one_of(&names))
            },
        )
        .maybe_help(did_you_mean(word, names.iter().copied()));
    None
}

/// Returns the strings of the list under `key`.
pub fn words<'t>(
    of: &'t SpannedTable<'_>,
    key: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Vec<(&'t str, Span)>> {
    let entry = of.get(key)?;
    let TomlValue::Array(items) = &entry.node.value else {
        wrong_type(key, "a list of strings", &entry.node, findings);
        return None;
    };
    items.iter().map(|item| plain_text(key, item, findings).map(|text| (text, item.span))).collect()
}
