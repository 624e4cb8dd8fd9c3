//! Reads `connection_config` as declared values, other tables as JSON.
//!
//! The other tables are `metadata` and `sync_options`.

use super::diagnostic::Code;
use super::document::{Node, Span, Table, Value};
use super::fields::shown;
use super::findings::Findings;
use super::references;
use super::suggest::one_of;
use crate::model::{Declared, Fields, Segment, Template, exposed};
use crate::sensitive::{self, Rank, is_secret, named_value, names_next};
use serde_json::Value as Json;

/// Wellspring keys that no connection has, so they are misplaced in one.
pub(super) const OURS: [&str; 9] = [
    "protect",
    "adopt",
    "sync",
    "sync_options",
    "suspend",
    "extends",
    "unset",
    "metadata",
    "connection_config",
];

/// Reads the values of the connection; values with errors are omitted.
pub(super) fn connection_config(
    table: &Table<'_>,
    header: Span,
    findings: &mut Findings<'_, '_>,
) -> Fields<Declared> {
    if table.keys().any(|key| OURS.contains(&key)) {
        for key in OURS {
            if let Some(entry) = table.get(key) {
                misplaced(key, entry.key, header, findings);
            }
        }
    }
    // A connection may have a field `test`, but hardly this table.
    if let Some(entry) = table.get("test")
        && let Value::Table(test) = &entry.node.value
        && test.contains_key("before_connect")
    {
        misplaced("test", entry.key, header, findings);
    }
    declared_table(table, findings)
}

fn misplaced(key: &str, at: Span, header: Span, findings: &mut Findings<'_, '_>) {
    let under_header = header.document == at.document && findings.source_of(header).starts_with('[');
    let (_, line) = findings.place(header);
    let remark = findings.error(
        Code::Misplaced,
        at,
        format!("`{key}` is a wellspring key, but sits in connection_config"),
    );
    if under_header {
        remark.also(header, "keys below go to the platform").help(format!("move it above line {line}"));
    } else {
        remark.help("write it next to `connection_config`, not in it");
    }
}

fn declared_table(table: &Table<'_>, findings: &mut Findings<'_, '_>) -> Fields<Declared> {
    let mut values: Vec<(Box<str>, Declared)> = Vec::with_capacity(table.len());
    let named = named(table);
    for (key, entry) in table.iter() {
        if gives_away(name_of(key, named), &entry.node.value) {
            plain_secret(key, entry.node.span, findings);
        } else if let Some(value) = declared(&entry.node, findings) {
            values.push((key.as_ref().into(), value));
        }
    }
    values.into_iter().collect()
}

fn declared(node: &Node<'_>, findings: &mut Findings<'_, '_>) -> Option<Declared> {
    Some(match &node.value {
        Value::Bool(value) => Declared::Bool(*value),
        Value::Integer(value) => Declared::Integer(*value),
        Value::Float(value) => Declared::Float(*value),
        Value::Datetime(value) => Declared::String(value.to_string()),
        Value::String(text) => return declared_text(text, node.span, findings),
        Value::Array(items) => {
            report_named(items, findings);
            Declared::Array(items.iter().filter_map(|item| declared(item, findings)).collect())
        }
        Value::Table(table) if references::is_reference(table) => {
            Declared::Secret(references::secret(table, findings)?)
        }
        Value::Table(table) => Declared::Table(declared_table(table, findings)),
    })
}

fn declared_text(text: &str, span: Span, findings: &mut Findings<'_, '_>) -> Option<Declared> {
    let segments = match references::mentions(text) {
        true => references::checked_segments(text, span, findings)?,
        false => Vec::new(),
    };
    if !exposed(text).is_empty() {
        findings
            .error(Code::PlainSecret, span, "this text holds a secret in plain text")
            .label("anyone who reads the file can read it")
            .help(
                "write `${NAME}` in its place, for an environment variable: \"https://host/path?key=${NAME}\", \"scheme://user:${NAME}@host\"; if this value was ever shared, change it",
            );
        return None;
    }
    Some(match segments.as_slice() {
        [] => Declared::String(text.to_owned()),
        [Segment::Literal(literal)] => Declared::String(literal.clone()),
        _ => Declared::Template(Template(segments)),
    })
}

/// Returns the key whose value another entry of the table names, with that name.
fn named<'t>(table: &'t Table<'_>) -> Option<(&'static str, &'t str)> {
    // Few tables have this form.
    if table.len() < 2 {
        return None;
    }
    named_value(|key| table.get(key).and_then(|entry| entry.node.value.as_str()))
}

fn name_of<'k>(key: &'k str, named: Option<(&str, &'k str)>) -> &'k str {
    match named {
        Some((of, name)) if of == key => name,
        _ => key,
    }
}

/// Reports list elements that are secrets because of the preceding element.
///
/// An example is the element after `--password`.
fn report_named(items: &[Node<'_>], findings: &mut Findings<'_, '_>) {
    for two in items.windows(2) {
        if let (Value::String(before), Value::String(text)) = (&two[0].value, &two[1].value)
            && let Some(name) = names_next(before, text, items.len())
            && gives_away(name, &two[1].value)
        {
            plain_secret(name, two[1].span, findings);
        }
    }
}

/// Returns true if the value of this key is a secret in plain text.
///
/// This is a text or number, or a table of texts without a reference among them (a secret in parts). Groups
/// of login values may contain other texts as well.
fn gives_away(key: &str, value: &Value<'_>) -> bool {
    const GROUPS: [&str; 5] = ["credential", "credentials", "creds", "authorization", "secrets"];
    let Some(rank) = sensitive::rank(key) else { return false };
    let literal = |text: &str| Texts::within(text) == Texts::Literal && is_secret(key, text);
    match value {
        Value::String(text) => literal(text),
        Value::Integer(number) => sensitive::is_secret_number(key, &number.to_string()),
        Value::Float(number) => sensitive::is_secret_number(key, &number.to_string()),
        Value::Array(items) if items.iter().any(|item| gives_away(key, &item.value)) => true,
        value if rank == Rank::Certain => {
            let key = key.to_ascii_lowercase();
            !GROUPS.iter().any(|group| key.ends_with(group)) && Texts::of(value) == Texts::Literal
        }
        _ => false,
    }
}

/// The kind of texts in a value, at any depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Texts {
    None,
    /// All are literal.
    Literal,
    /// At least one is, or was meant to be, a reference.
    Reference,
}

impl Texts {
    fn of(value: &Value<'_>) -> Self {
        match value {
            Value::String(text) => Self::within(text),
            Value::Array(items) => Self::among(items.iter().map(|item| &item.value)),
            Value::Table(table) if references::is_reference(table) => Self::Reference,
            Value::Table(table) => Self::among(table.values().map(|entry| &entry.node.value)),
            _ => Self::None,
        }
    }

    fn within(text: &str) -> Self {
        if !references::mentions(text) {
            return if text.is_empty() { Self::None } else { Self::Literal };
        }
        // An unescaped `${` is, or was meant to be, a reference.
        if !text.contains("$${") {
            return Self::Reference;
        }
        match references::segments(text) {
            Ok(segments) if segments.is_empty() => Self::None,
            Ok(segments) if segments.iter().all(|part| matches!(part, Segment::Literal(_))) => Self::Literal,
            // Errors are reported as bad references instead.
            _ => Self::Reference,
        }
    }

    fn among<'v, 't: 'v>(values: impl Iterator<Item = &'v Value<'t>>) -> Self {
        values.map(Self::of).max().unwrap_or(Self::None)
    }
}

/// The mistake in a text that was meant as a reference.
fn meant_as_a_reference(written: &str) -> Option<&'static str> {
    let text = written.trim_matches(['"', '\'']);
    let is_word = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if text.strip_prefix('$').is_some_and(is_word) {
        Some("a reference has braces: \"${NAME}\"")
    } else if text.contains("{{") || text.starts_with("%(") || text.starts_with("<%") {
        Some("templates of other tools are not expanded: write \"${NAME}\"")
    } else if ["env:", "file:", "credential:"].iter().any(|store| text.starts_with(store)) {
        Some("a reference to a store is a table: { secret = \"env:NAME\" }")
    } else if text.starts_with('{') {
        Some("a reference has one key, `secret`: { secret = \"env:NAME\" }")
    } else {
        None
    }
}

fn plain_secret(key: &str, span: Span, findings: &mut Findings<'_, '_>) {
    if let Some(cure) = meant_as_a_reference(findings.source_of(span)) {
        findings
            .error(Code::PlainSecret, span, format!("`{}` is no reference to a secret", shown(key)))
            .label("sent as it is, and anyone who reads the file can read it")
            .help(cure);
        return;
    }
    findings
        .error(Code::PlainSecret, span, format!("`{}` holds a secret in plain text", shown(key)))
        .label("anyone who reads the file can read it")
        .help("write \"${NAME}\" for an environment variable, or `{ secret = \"env:NAME\" }`, `file:NAME`, `credential:NAME`; if this value was ever shared, change it");
}

/// Reads a table that is sent unchanged (`metadata`, `sync_options`).
///
/// References are refused.
pub(super) fn json_table(table: &Table<'_>, owner: &str, findings: &mut Findings<'_, '_>) -> Fields<Json> {
    let mut values: Vec<(Box<str>, Json)> = Vec::with_capacity(table.len());
    let named = named(table);
    for (key, entry) in table.iter() {
        if gives_away(name_of(key, named), &entry.node.value) {
            findings
                .error(
                    Code::PlainSecret,
                    entry.node.span,
                    format!("`{}` looks like a secret, in {owner}", shown(key)),
                )
                .help("secrets belong in `connection_config`, as references");
        } else if let Some(value) = json(&entry.node, owner, findings) {
            values.push((key.as_ref().into(), value));
        }
    }
    values.into_iter().collect()
}

fn json(node: &Node<'_>, owner: &str, findings: &mut Findings<'_, '_>) -> Option<Json> {
    Some(match &node.value {
        Value::Bool(value) => Json::from(*value),
        Value::Integer(value) => Json::from(*value),
        Value::Float(value) => Json::from(*value),
        Value::Datetime(value) => Json::from(value.to_string()),
        Value::String(text) if !exposed(text).is_empty() => {
            findings
                .error(Code::PlainSecret, node.span, format!("this text holds a secret, in {owner}"))
                .help("secrets belong in `connection_config`, as references such as `${NAME}`");
            return None;
        }
        Value::String(text) if !references::mentions(text) => Json::from(text.as_ref()),
        Value::String(text) => match references::checked_segments(text, node.span, findings)?.as_slice() {
            [Segment::Literal(literal)] => Json::from(literal.as_str()),
            _ => {
                references::refuse(owner, node.span, findings);
                return None;
            }
        },
        Value::Array(items) => {
            report_named(items, findings);
            Json::Array(items.iter().filter_map(|item| json(item, owner, findings)).collect())
        }
        Value::Table(table) if references::is_reference(table) => {
            references::refuse(owner, node.span, findings);
            return None;
        }
        Value::Table(table) => Json::Object(json_table(table, owner, findings).into()),
    })
}

/// Reads `metadata`: any keys except the reserved one.
pub(super) fn metadata(table: &Table<'_>, findings: &mut Findings<'_, '_>) -> Fields<Json> {
    if let Some(entry) = table.get("wellspring") {
        findings
            .error(Code::ReservedMetadata, entry.key, "`metadata.wellspring` is written by wellspring itself")
            .help("use another key; the owner is set by `platform.owner` in wellspring.toml");
    }
    json_table(table, "metadata", findings)
}

/// Reads `sync_options`: any keys; the types of the API's two fields are checked.
pub(super) fn sync_options(
    table: &Table<'_>,
    findings: &mut Findings<'_, '_>,
) -> serde_json::Map<String, Json> {
    if let Some(entry) = table.get("incremental")
        && !matches!(entry.node.value, Value::Bool(_))
    {
        findings
            .error(
                Code::WrongType,
                entry.node.span,
                format!(
                    "`incremental` is {}, not {}",
                    one_of(&["true", "false"]),
                    entry.node.value.type_name()
                ),
            )
            .label("expected a boolean");
    }
    if let Some(entry) = table.get("batch_size")
        && !matches!(entry.node.value, Value::Integer(1..))
    {
        findings
            .error(Code::InvalidValue, entry.node.span, "`batch_size` is a whole number from 1")
            .label("expected a positive integer");
    }
    json_table(table, "sync_options", findings).into()
}
