//! Sources of an account, whose platform keeps neither names nor metadata and copies no data.
//!
//! Invariant: each source of an account has one address, which no other source of it has.

use super::diagnostic::{Code, display_key};
use super::document::{Span, SpannedTable, TomlValue};
use super::fields;
use super::references;
use super::sink::DiagnosticSink;
use super::suggest::did_you_mean;
use crate::model::{ADDRESS_KEYS, Account, WorkspaceId};

/// Keys of `connection_config`, which the platform knows.
const CONFIG_KEYS: [&str; 14] = [
    "host",
    "port",
    "database",
    "schema",
    "catalog",
    "username",
    "password",
    "tables",
    "query",
    "url",
    "selected_columns",
    "ignore_columns",
    "ignore_tables",
    "options",
];

/// Keys of a source that an account has no place for, with the reason.
const WITHOUT_PLACE: [(&str, &str); 3] = [
    ("name", "the platform keeps no names; the source is known by its key here, and by its address there"),
    ("metadata", "the platform keeps no metadata"),
    ("scope", "an account has no scopes"),
];

/// Keys about copying data. Inherited ones are ignored, because the defaults are for workspaces, too.
pub(super) const COPYING: [&str; 2] = ["sync", "sync_options"];

/// Reads an account as the id of a unit.
pub(super) fn account_id(
    text: &str,
    written: Option<&str>,
    span: Span,
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<WorkspaceId> {
    fields::check_displayed_name("the account", text, written.unwrap_or(text), span, findings);
    match Account::parse(text).and_then(Account::id) {
        Ok(id) => Some(match written {
            Some(written) => id.with_display_form(written),
            None => id,
        }),
        Err(error) => {
            findings.error(Code::InvalidValue, span, error.to_string()).help(
                "write \"ORGANIZATION/USER\", or \".\" for the account that the platform's URL addresses",
            );
            None
        }
    }
}

/// Reports everything in a source of an account that the platform has no place for.
///
/// `merged` is the source with defaults and template; `copying` are the keys [`COPYING`] that it has itself.
pub(super) fn check(
    key: &str,
    key_span: Span,
    copying: [Option<Span>; 2],
    merged: &SpannedTable<'_>,
    findings: &mut DiagnosticSink<'_, '_>,
) {
    if key.contains(':') {
        findings
            .error(Code::InvalidValue, key_span, "the key of an account's source holds no `:`")
            .help("rows without a source are listed by their addresses, as TYPE://HOST/TABLE");
    }
    for (field, why) in WITHOUT_PLACE {
        if let Some(entry) = merged.get(field) {
            findings
                .error(Code::UnknownKey, entry.key, format!("a source of an account has no `{field}`"))
                .help(why);
        }
    }
    for (field, span) in COPYING.into_iter().zip(copying).filter_map(|(field, span)| Some((field, span?))) {
        findings
            .error(Code::UnknownKey, span, format!("a source of an account has no `{field}`"))
            .help("the platform copies no data: it reads a source when a concept runs");
    }
    let kind = merged.get("type").and_then(|entry| Some((entry.node.value.as_str()?, entry.node.span)));
    if let Some((kind @ ("database" | "file"), span)) = kind {
        findings
            .error(Code::InvalidValue, span, format!("`type = \"{kind}\"` is the form for workspaces"))
            .help("write the engine as the type, for example type = \"postgresql\" or type = \"csv\"");
    }
    if let Some(entry) = merged.get("connection_config")
        && let TomlValue::Table(config) = &entry.node.value
    {
        check_config(key, config, entry.key, findings);
    }
}

fn check_config(key: &str, config: &SpannedTable<'_>, header: Span, findings: &mut DiagnosticSink<'_, '_>) {
    for (field, entry) in config.iter() {
        if !CONFIG_KEYS.contains(&field.as_ref()) {
            let help = did_you_mean(field, CONFIG_KEYS)
                .unwrap_or_else(|| "options of the connector belong below `options`".to_owned());
            let message =
                format!("unknown key `{}` in the connection of an account's source", display_key(field));
            findings.error(Code::UnknownKey, entry.key, message).help(help);
        }
        if !ADDRESS_KEYS.contains(&field.as_ref()) {
            continue;
        }
        let is_literal = match &entry.node.value {
            TomlValue::String(text) => !references::contains_reference(text),
            TomlValue::Integer(_) => field == "port",
            TomlValue::Array(items) => {
                field == "tables"
                    && items.iter().all(|item| {
                        item.value.as_str().is_some_and(|text| !references::contains_reference(text))
                    })
            }
            _ => false,
        };
        if !is_literal || (field == "tables") != matches!(entry.node.value, TomlValue::Array(_)) {
            findings
                .error(
                    Code::InvalidValue,
                    entry.node.span,
                    format!("`{field}` is a part of the address of the source"),
                )
                .help("write its value itself: rows of the platform are recognised by it");
        }
    }
    let tables = config.get("tables").and_then(|entry| match &entry.node.value {
        TomlValue::Array(items) => Some((items.len(), entry.node.span)),
        _ => None,
    });
    match tables {
        Some((1, _)) => {}
        Some((_, span)) => {
            findings
                .error(Code::InvalidValue, span, "a source of an account has exactly one table")
                .help("declare one source for each table; they can share a template");
        }
        None if config.contains_key("tables") => {}
        None => {
            findings
                .error(Code::Missing, header, format!("source `{}` needs its table", display_key(key)))
                .help("write tables = [\"TABLE\"]; without it, the platform adds a row for every table that it finds");
        }
    }
}
