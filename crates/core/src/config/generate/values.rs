//! Formats JSON values as TOML, without their secrets.

use crate::config::references::TOKEN_VARIABLE;
use crate::config::values::SOURCE_FIELDS;
use crate::model::{is_masked, toml_key, toml_string};
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use wellspring_sensitive::{Rank, find_secrets, is_secret, name_for_next, named_value, rank};

/// Maximum nesting depth; deeper than any configuration.
const MAX_DEPTH: usize = 12;

/// Notes about one source, collected while it is written.
pub(super) struct TodoNotes {
    prefix: String,
    /// Paths that could not be read, or not be written.
    pub(super) unreadable: Vec<String>,
    pub(super) variables: BTreeSet<String>,
    /// Secrets that the platform returns for this source; other values may repeat them.
    secrets: BTreeSet<String>,
}

/// The reason why a value is not written.
struct MissingField(&'static str);

const NOT_RETURNED: MissingField = MissingField("the platform does not show it");
const REPEATS_SECRET: MissingField = MissingField("it repeats a secret");

impl TodoNotes {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            unreadable: Vec::new(),
            variables: BTreeSet::new(),
            secrets: BTreeSet::new(),
        }
    }

    /// Collects every secret in `config`, before anything is written.
    pub(super) fn collect_secrets(&mut self, config: &Value) {
        collect_texts(config, false, &mut self.secrets);
    }

    fn contains_secret(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// Formats `connection_config`.
    pub(super) fn config(&mut self, config: &Map<String, Value>) -> String {
        let mut lines = String::new();
        for (name, value) in config {
            let ours = SOURCE_FIELDS.contains(&name.as_str())
                || name == "test" && value.get("before_connect").is_some();
            let written = if ours {
                Err(MissingField("a key of this name belongs to wellspring in a file"))
            } else {
                self.value(&[name], value, 0)
            };
            self.line("connection_config", name, written, &mut lines);
        }
        lines
    }

    /// Formats `metadata`, which cannot contain references.
    pub(super) fn metadata(&mut self, metadata: &Map<String, Value>) -> String {
        let mut lines = String::new();
        for (name, value) in metadata {
            let written = plain(name, value, 0).and_then(|written| {
                if self.contains_secret(&value.to_string()) { Err(REPEATS_SECRET) } else { Ok(written) }
            });
            self.line("metadata", name, written, &mut lines);
        }
        lines
    }

    fn line(&mut self, table: &str, name: &str, written: Result<String, MissingField>, lines: &mut String) {
        match written {
            Ok(written) => lines.push_str(&format!("{} = {written}\n", toml_key(name))),
            Err(MissingField(why)) => {
                self.unreadable.push(format!("{table}.{}", toml_key(name)));
                lines.push_str(&format!("# TODO {}: {why}\n", toml_key(name)));
            }
        }
    }

    fn value(&mut self, path: &[&str], value: &Value, depth: usize) -> Result<String, MissingField> {
        if depth > MAX_DEPTH {
            return Err(MissingField("it is nested too deeply"));
        }
        let by_key = path.iter().any(|key| is_secret_key(key));
        let secret = by_key || is_secret_under(path, value);
        match value {
            Value::Object(fields) => {
                let named = named_value(|key| fields.get(key).and_then(Value::as_str));
                if fields.len() == 1 && fields.get("secret").is_some_and(Value::is_string) {
                    return Err(MissingField("a file would take it for a reference"));
                }
                let mut entries = Vec::new();
                for (name, value) in fields {
                    // The value of a header or variable is named after it.
                    let own = named.filter(|(of, _)| of == name).map_or(name.as_str(), |(_, name)| name);
                    let path: Vec<&str> = path.iter().copied().chain([own]).collect();
                    entries.push(format!("{} = {}", toml_key(name), self.value(&path, value, depth + 1)?));
                }
                Ok(table(&entries))
            }
            Value::Array(items) => {
                let mut elements = Vec::new();
                for (n, item) in items.iter().enumerate() {
                    let before = n.checked_sub(1).and_then(|n| items[n].as_str()).zip(item.as_str());
                    let name = before.and_then(|(name, text)| name_for_next(name, text, items.len()));
                    let n = n.to_string();
                    let own = name.map_or(n.as_str(), |name| name.trim_start_matches('-'));
                    let path: Vec<&str> = path.iter().copied().chain([own]).collect();
                    elements.push(self.value(&path, item, depth + 1)?);
                }
                Ok(format!("[{}]", elements.join(", ")))
            }
            Value::Null if secret => Ok(self.reference(path)),
            Value::String(_) | Value::Number(_) if secret => Ok(self.reference(path)),
            Value::String(text) if !is_masked(value) => match classify_text(text) {
                RenderedValue::Verbatim if !self.contains_secret(text) => Ok(toml_string(&literal(text))),
                RenderedValue::MaskPassword(before, after)
                    if !self.contains_secret(before) && !self.contains_secret(after) =>
                {
                    let name = self.variable(path, "PASSWORD");
                    Ok(toml_string(&format!("{}${{{name}}}{}", literal(before), literal(after))))
                }
                _ => Ok(self.reference(path)),
            },
            other => scalar(other),
        }
    }

    fn reference(&mut self, path: &[&str]) -> String {
        format!("\"${{{}}}\"", self.variable(path, ""))
    }

    fn variable(&mut self, path: &[&str], last: &str) -> String {
        const MAX_VARIABLE_LENGTH: usize = 200;
        let parts = std::iter::once(self.prefix.as_str()).chain(path.iter().copied());
        let parts = parts.chain(Some(last).filter(|last| !last.is_empty()));
        let name: String = parts.collect::<Vec<_>>().join("_");
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let mut name: String = name.chars().map(plain).take(MAX_VARIABLE_LENGTH).collect();
        if name.starts_with(|first: char| first.is_ascii_digit()) || name == TOKEN_VARIABLE {
            name.insert_str(0, "SOURCE_");
        }
        self.variables.insert(name.clone());
        name
    }
}

/// Formats a value that cannot contain references.
fn plain(name: &str, value: &Value, depth: usize) -> Result<String, MissingField> {
    if depth > MAX_DEPTH {
        return Err(MissingField("it is nested too deeply"));
    }
    const LOOKS: MissingField = MissingField("it looks like a secret");
    if is_secret_key(name) || is_secret_under(&[name], value) {
        return Err(LOOKS);
    }
    match value {
        Value::String(text) if !find_secrets(text).is_empty() => Err(LOOKS),
        Value::Object(fields) => {
            let named = named_value(|key| fields.get(key).and_then(Value::as_str));
            let entries = fields
                .iter()
                .map(|(name, value)| {
                    let own = named.filter(|(of, _)| of == name).map_or(name.as_str(), |(_, name)| name);
                    Ok(format!("{} = {}", toml_key(name), plain(own, value, depth + 1)?))
                })
                .collect::<Result<Vec<_>, _>>()?;
            Ok(table(&entries))
        }
        Value::Array(items) => {
            let names_another = |two: &[Value]| match (two[0].as_str(), two[1].as_str()) {
                (Some(name), Some(text)) => name_for_next(name, text, items.len()).is_some(),
                _ => false,
            };
            if items.windows(2).any(names_another) {
                return Err(LOOKS);
            }
            let elements =
                items.iter().map(|item| plain("", item, depth + 1)).collect::<Result<Vec<_>, _>>()?;
            Ok(format!("[{}]", elements.join(", ")))
        }
        other => scalar(other),
    }
}

fn scalar(value: &Value) -> Result<String, MissingField> {
    match value {
        value if is_masked(value) => Err(NOT_RETURNED),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(whole.to_string()),
            (None, Some(float)) if number.is_f64() => Ok(format!("{float:?}")),
            _ => Err(MissingField("the number is too large")),
        },
        Value::String(text) => Ok(toml_string(&literal(text))),
        _ => Err(NOT_RETURNED),
    }
}

/// Returns true if a key may name a secret, in doubt too: also for `tokens`.
fn is_secret_key(key: &str) -> bool {
    let ranks = |key| matches!(rank(key), Some(Rank::Certain | Rank::Likely));
    ranks(key) || ranks(key.trim_end_matches(['s', 'S']))
}

/// Returns true if the value is a secret by its form.
fn is_secret_under(path: &[&str], value: &Value) -> bool {
    let text = match value {
        Value::String(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return false,
    };
    // The last part may be the index of an element.
    path.iter().rev().take(2).any(|key| is_secret(key, &text))
}

/// Collects the texts of secrets; shorter ones occur in too many words.
fn collect_texts(value: &Value, secret: bool, secrets: &mut BTreeSet<String>) {
    const MIN_SECRET_LENGTH: usize = 4;
    match value {
        Value::Object(fields) => {
            let named = named_value(|key| fields.get(key).and_then(Value::as_str));
            for (name, value) in fields {
                let name = named.filter(|(of, _)| of == name).map_or(name.as_str(), |(_, name)| name);
                collect_texts(
                    value,
                    secret || is_secret_key(name) || is_secret_under(&[name], value),
                    secrets,
                );
            }
        }
        Value::Array(items) => items.iter().for_each(|item| collect_texts(item, secret, secrets)),
        Value::String(text) if is_masked(value) || text.len() < MIN_SECRET_LENGTH => {}
        Value::String(text) if secret => drop(secrets.insert(text.clone())),
        Value::String(text) => {
            let parts = find_secrets(text).into_iter().map(|range| text[range].to_owned());
            secrets.extend(parts.filter(|part| part.len() >= MIN_SECRET_LENGTH));
        }
        _ => {}
    }
}

/// The part of a text that may be written.
enum RenderedValue<'t> {
    Verbatim,
    /// The text before and after a password.
    MaskPassword(&'t str, &'t str),
    Omit,
}

/// Finds the password in `scheme://user:password@…`, and other exposed secrets.
fn classify_text(text: &str) -> RenderedValue<'_> {
    let found = find_secrets(text);
    let pairs = text.split(['&', ';', '?', '#', ',', ' ', '\t', '\n']);
    let named = pairs
        .filter_map(|pair| pair.split_once('='))
        .any(|(key, value)| is_secret_key(key) && !value.is_empty());
    if named || found.len() > 1 {
        return RenderedValue::Omit;
    }
    let whole = || if found.is_empty() { RenderedValue::Verbatim } else { RenderedValue::Omit };
    let Some(scheme) = text.find("://") else { return whole() };
    let rest = &text[scheme + 3..];
    // A password may contain an unescaped `/` or `@`, so take the longest match.
    let Some(at) = rest.rfind('@') else { return whole() };
    let Some(colon) = rest[..at].find(':') else { return whole() };
    let password = scheme + 3 + colon + 1..scheme + 3 + at;
    let beside = found.iter().any(|found| found.start < password.start || found.end > password.end);
    match rest.matches("://").count() {
        0 if !beside => RenderedValue::MaskPassword(&text[..password.start], &text[password.end..]),
        _ => RenderedValue::Omit,
    }
}

fn table(entries: &[String]) -> String {
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// Escapes `${…}`, which would be read as a reference.
pub(super) fn literal(text: &str) -> String {
    text.replace("${", "$${")
}
