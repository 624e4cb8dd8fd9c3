//! Effective values of a source after defaults and template, with locations.

use super::document::{Document, SpannedTable, SpannedValue, TomlValue};
use super::repo_settings::{FILE_NAME, Lookup, RepoSettings};
use super::sink::DiagnosticSink;
use super::{SourceFile, fields, parse, references, settings};
use crate::model::{DesiredSource, FieldPath, SourceLocation, toml_key, toml_string};
use std::sync::Arc;

/// One value of a source, with its origin.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct EffectiveValue {
    /// Path within the source's table: `connection_config.host`, `sync.every`.
    pub path: String,
    /// Value as TOML, with references unresolved.
    pub value: String,
    /// Value as JSON, with references unresolved.
    pub json: serde_json::Value,
    /// Location of the value.
    pub from: SourceLocation,
}

/// Returns every value of a source, sorted by path.
///
/// `None` if the files no longer contain the source.
#[must_use]
pub fn effective(files: &[SourceFile<'_>], source: &DesiredSource) -> Option<Vec<EffectiveValue>> {
    let document = |path: &str| {
        let file = files.iter().find(|file| &*file.path == path)?;
        Some(Document::new(Arc::clone(&file.path), file.text.as_deref().ok()?))
    };
    let mut documents = vec![document(&source.at.file)?];
    documents.extend(document(FILE_NAME));
    let mut findings = DiagnosticSink::new(&documents);
    let settings = match documents.len() {
        1 => RepoSettings::default(),
        // Variables are used for workspaces and the platform only, never in values of a source.
        _ => settings::read(&parse::parse(1, &mut findings)?, &|_| Lookup::Unset, &mut findings),
    };
    let root = parse::parse(0, &mut findings)?;
    let (sources, _) = fields::table(&root, "sources", &mut findings)?;
    let own = sources.get(source.key.as_str())?.node.value.as_table()?.clone();
    let (merged, _) = super::source::merge_layers(own, Some(&settings), &mut findings);
    let mut values = Vec::new();
    for (key, entry) in merged.iter() {
        collect(&FieldPath::root(key), &entry.node, &findings, &mut values);
    }
    Some(values)
}

fn collect(
    path: &FieldPath,
    node: &SpannedValue<'_>,
    findings: &DiagnosticSink<'_, '_>,
    out: &mut Vec<EffectiveValue>,
) {
    match &node.value {
        TomlValue::Table(table) if !table.is_empty() && !references::is_reference(table) => {
            for (key, entry) in table.iter() {
                collect(&path.key(key), &entry.node, findings, out);
            }
        }
        value => {
            let (file, line) = findings.place(node.span);
            let (path, json, value) = (path.to_string(), json(value), to_toml(value));
            out.push(EffectiveValue { path, value, json, from: SourceLocation { file, line } });
        }
    }
}

fn json(value: &TomlValue<'_>) -> serde_json::Value {
    match value {
        TomlValue::String(text) => text.as_ref().into(),
        TomlValue::Integer(number) => (*number).into(),
        TomlValue::Float(number) => (*number).into(),
        TomlValue::Bool(value) => (*value).into(),
        TomlValue::Datetime(value) => value.to_string().into(),
        TomlValue::Array(items) => items.iter().map(|item| json(&item.value)).collect(),
        TomlValue::Table(table) => {
            let entries =
                table.iter().map(|(key, entry)| (key.clone().into_owned(), json(&entry.node.value)));
            serde_json::Value::Object(entries.collect())
        }
    }
}

/// Formats a value as TOML on one line.
fn to_toml(value: &TomlValue<'_>) -> String {
    match value {
        TomlValue::String(text) => toml_string(text),
        TomlValue::Integer(number) => number.to_string(),
        TomlValue::Float(number) => format!("{number:?}"),
        TomlValue::Bool(value) => value.to_string(),
        TomlValue::Datetime(value) => value.to_string(),
        TomlValue::Array(items) => {
            let items: Vec<String> = items.iter().map(|item| to_toml(&item.value)).collect();
            format!("[{}]", items.join(", "))
        }
        TomlValue::Table(table) => written_table(table),
    }
}

fn written_table(table: &SpannedTable<'_>) -> String {
    if table.is_empty() {
        return "{}".to_owned();
    }
    let entries: Vec<String> = table
        .iter()
        .map(|(key, entry)| format!("{} = {}", toml_key(key), to_toml(&entry.node.value)))
        .collect();
    format!("{{ {} }}", entries.join(", "))
}
