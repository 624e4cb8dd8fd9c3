//! Reads `connection_config` as declared values, other tables as JSON.
//!
//! The other tables are `metadata` and `sync_options`.

use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable, SpannedValue, TomlValue};
use super::references;
use super::sink::DiagnosticSink;
use super::suggest::one_of;
use crate::model::{ConfigValue, Segment, SortedMap, Template, find_secrets};
use serde_json::Value as Json;
use wellspring_sensitive::{self as sensitive, Rank, is_secret, name_for_next, named_value};

/// Wellspring keys that no connection has, so they are misplaced in one.
pub(super) const SOURCE_FIELDS: [&str; 9] = [
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
    table: &SpannedTable<'_>,
    header: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) -> SortedMap<ConfigValue> {
    if table.keys().any(|key| SOURCE_FIELDS.contains(&key)) {
        for key in SOURCE_FIELDS {
            if let Some(entry) = table.get(key) {
                misplaced(key, entry.key, header, findings);
            }
        }
    }
    // A connection may have a field `test`, but hardly this table.
    if let Some(entry) = table.get("test")
        && let TomlValue::Table(test) = &entry.node.value
        && test.contains_key("before_connect")
    {
        misplaced("test", entry.key, header, findings);
    }
    config_table(table, findings)
}

fn misplaced(key: &str, at: Span, header: Span, findings: &mut DiagnosticSink<'_, '_>) {
    let under_header = header.document == at.document && findings.source_of(header).starts_with('[');
    let (_, line) = findings.place(header);
    let remark = findings.error(
        Code::Misplaced,
        at,
        format!("`{key}` is a wellspring key, but sits in connection_config"),
    );
    if under_header {
        remark.with_label(header, "keys below go to the platform").help(format!("move it above line {line}"));
    } else {
        remark.help("write it next to `connection_config`, not in it");
    }
}

fn config_table(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> SortedMap<ConfigValue> {
    let mut values: Vec<(Box<str>, ConfigValue)> = Vec::with_capacity(table.len());
    let named = named_entry(table);
    for (key, entry) in table.iter() {
        if is_plaintext_secret(name_of(key, named), &entry.node.value) {
            report_plain_secret(key, entry.node.span, findings);
        } else if let Some(value) = config_value(&entry.node, findings) {
            values.push((key.as_ref().into(), value));
        }
    }
    values.into_iter().collect()
}

fn config_value(node: &SpannedValue<'_>, findings: &mut DiagnosticSink<'_, '_>) -> Option<ConfigValue> {
    Some(match &node.value {
        TomlValue::Bool(value) => ConfigValue::Bool(*value),
        TomlValue::Integer(value) => ConfigValue::Integer(*value),
        TomlValue::Float(value) => ConfigValue::Float(*value),
        TomlValue::Datetime(value) => ConfigValue::String(value.to_string()),
        TomlValue::String(text) => return config_text(text, node.span, findings),
        TomlValue::Array(items) => {
            report_named_secrets(items, findings);
            ConfigValue::Array(items.iter().filter_map(|item| config_value(item, findings)).collect())
        }
        TomlValue::Table(table) if references::is_reference(table) => {
            ConfigValue::Secret(references::secret(table, findings)?)
        }
        TomlValue::Table(table) => ConfigValue::Table(config_table(table, findings)),
    })
}

fn config_text(text: &str, span: Span, findings: &mut DiagnosticSink<'_, '_>) -> Option<ConfigValue> {
    let segments = if references::contains_reference(text) {
        references::checked_segments(text, span, findings)?
    } else {
        Vec::new()
    };
    if !find_secrets(text).is_empty() {
        findings
            .error(Code::PlainSecret, span, "this text holds a secret in plain text")
            .label("anyone who reads the file can read it")
            .help(
                "write `${NAME}` in its place, for an environment variable: \"https://host/path?key=${NAME}\", \"scheme://user:${NAME}@host\"; if this value was ever shared, change it",
            );
        return None;
    }
    Some(match segments.as_slice() {
        [] => ConfigValue::String(text.to_owned()),
        [Segment::Literal(literal)] => ConfigValue::String(literal.clone()),
        _ => ConfigValue::Template(Template(segments)),
    })
}

/// Returns the key whose value another entry of the table names, with that name.
fn named_entry<'t>(table: &'t SpannedTable<'_>) -> Option<(&'static str, &'t str)> {
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
fn report_named_secrets(items: &[SpannedValue<'_>], findings: &mut DiagnosticSink<'_, '_>) {
    for two in items.windows(2) {
        if let (TomlValue::String(before), TomlValue::String(text)) = (&two[0].value, &two[1].value)
            && let Some(name) = name_for_next(before, text, items.len())
            && is_plaintext_secret(name, &two[1].value)
        {
            report_plain_secret(name, two[1].span, findings);
        }
    }
}

/// Returns true if the value of this key is a secret in plain text.
///
/// This is a text or number, or a table of texts without a reference among them (a secret in parts). Groups
/// of login values may contain other texts as well.
fn is_plaintext_secret(key: &str, value: &TomlValue<'_>) -> bool {
    const GROUPS: [&str; 5] = ["credential", "credentials", "creds", "authorization", "secrets"];
    let Some(rank) = sensitive::rank(key) else { return false };
    let literal = |text: &str| PlaintextScan::within(text) == PlaintextScan::Literal && is_secret(key, text);
    match value {
        TomlValue::String(text) => literal(text),
        TomlValue::Integer(number) => sensitive::is_secret_number(key, &number.to_string()),
        TomlValue::Float(number) => sensitive::is_secret_number(key, &number.to_string()),
        TomlValue::Array(items) if items.iter().any(|item| is_plaintext_secret(key, &item.value)) => true,
        value if rank == Rank::Certain => {
            let key = key.to_ascii_lowercase();
            !GROUPS.iter().any(|group| key.ends_with(group))
                && PlaintextScan::of(value) == PlaintextScan::Literal
        }
        _ => false,
    }
}

/// The kind of texts in a value, at any depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum PlaintextScan {
    None,
    Literal,
    /// At least one is, or was meant to be, a reference.
    Reference,
}

impl PlaintextScan {
    fn of(value: &TomlValue<'_>) -> Self {
        match value {
            TomlValue::String(text) => Self::within(text),
            TomlValue::Array(items) => Self::among(items.iter().map(|item| &item.value)),
            TomlValue::Table(table) if references::is_reference(table) => Self::Reference,
            TomlValue::Table(table) => Self::among(table.values().map(|entry| &entry.node.value)),
            _ => Self::None,
        }
    }

    fn within(text: &str) -> Self {
        if !references::contains_reference(text) {
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

    fn among<'v, 't: 'v>(values: impl Iterator<Item = &'v TomlValue<'t>>) -> Self {
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

fn report_plain_secret(key: &str, span: Span, findings: &mut DiagnosticSink<'_, '_>) {
    if let Some(cure) = meant_as_a_reference(findings.source_of(span)) {
        findings
            .error(Code::PlainSecret, span, format!("`{}` is no reference to a secret", display_key(key)))
            .label("sent as it is, and anyone who reads the file can read it")
            .help(cure);
        return;
    }
    findings
        .error(Code::PlainSecret, span, format!("`{}` holds a secret in plain text", display_key(key)))
        .label("anyone who reads the file can read it")
        .help("write \"${NAME}\" for an environment variable, or `{ secret = \"env:NAME\" }`, `file:NAME`, `credential:NAME`; if this value was ever shared, change it");
}

/// Reads a table that is sent unchanged (`metadata`, `sync_options`).
///
/// References are refused.
pub(super) fn json_table(
    table: &SpannedTable<'_>,
    owner: &str,
    findings: &mut DiagnosticSink<'_, '_>,
) -> SortedMap<Json> {
    let mut values: Vec<(Box<str>, Json)> = Vec::with_capacity(table.len());
    let named = named_entry(table);
    for (key, entry) in table.iter() {
        if is_plaintext_secret(name_of(key, named), &entry.node.value) {
            findings
                .error(
                    Code::PlainSecret,
                    entry.node.span,
                    format!("`{}` looks like a secret, in {owner}", display_key(key)),
                )
                .help("secrets belong in `connection_config`, as references");
        } else if let Some(value) = json(&entry.node, owner, findings) {
            values.push((key.as_ref().into(), value));
        }
    }
    values.into_iter().collect()
}

fn json(node: &SpannedValue<'_>, owner: &str, findings: &mut DiagnosticSink<'_, '_>) -> Option<Json> {
    Some(match &node.value {
        TomlValue::Bool(value) => Json::from(*value),
        TomlValue::Integer(value) => Json::from(*value),
        TomlValue::Float(value) => Json::from(*value),
        TomlValue::Datetime(value) => Json::from(value.to_string()),
        TomlValue::String(text) if !find_secrets(text).is_empty() => {
            findings
                .error(Code::PlainSecret, node.span, format!("this text holds a secret, in {owner}"))
                .help("secrets belong in `connection_config`, as references such as `${NAME}`");
            return None;
        }
        TomlValue::String(text) if !references::contains_reference(text) => Json::from(text.as_ref()),
        TomlValue::String(text) => {
            match references::checked_segments(text, node.span, findings)?.as_slice() {
                [Segment::Literal(literal)] => Json::from(literal.as_str()),
                _ => {
                    references::reject_reference(owner, node.span, findings);
                    return None;
                }
            }
        }
        TomlValue::Array(items) => {
            report_named_secrets(items, findings);
            Json::Array(items.iter().filter_map(|item| json(item, owner, findings)).collect())
        }
        TomlValue::Table(table) if references::is_reference(table) => {
            references::reject_reference(owner, node.span, findings);
            return None;
        }
        TomlValue::Table(table) => Json::Object(json_table(table, owner, findings).into()),
    })
}

/// Reads `metadata`: any keys except the reserved one.
pub(super) fn metadata(table: &SpannedTable<'_>, findings: &mut DiagnosticSink<'_, '_>) -> SortedMap<Json> {
    if let Some(entry) = table.get("wellspring") {
        findings
            .error(Code::ReservedMetadata, entry.key, "`metadata.wellspring` is written by wellspring itself")
            .help("use another key; the owner is set by `platform.owner` in wellspring.toml");
    }
    json_table(table, "metadata", findings)
}

/// Reads `sync_options`: any keys; the types of the API's two fields are checked.
pub(super) fn sync_options(
    table: &SpannedTable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) -> serde_json::Map<String, Json> {
    if let Some(entry) = table.get("incremental")
        && !matches!(entry.node.value, TomlValue::Bool(_))
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
        && !matches!(entry.node.value, TomlValue::Integer(1..))
    {
        findings
            .error(Code::InvalidValue, entry.node.span, "`batch_size` is a whole number from 1")
            .label("expected a positive integer");
    }
    json_table(table, "sync_options", findings).into()
}
