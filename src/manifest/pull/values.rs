//! Formats JSON values as TOML, without their secrets.

use crate::manifest::references::TOKEN_VARIABLE;
use crate::manifest::values::OURS;
use crate::model::{is_masked, toml_key, toml_string};
use crate::sensitive::{Rank, exposed, is_secret, named_value, names_next, rank};
use serde_json::{Map, Value};
use std::collections::BTreeSet;

/// Maximum nesting depth; deeper than any configuration.
const DEEPEST: usize = 12;

/// Notes about one source, collected while it is written.
pub(super) struct Notes {
    /// Prefix of the names of variables.
    prefix: String,
    /// Paths that could not be read, or not be written.
    pub(super) unreadable: Vec<String>,
    /// Variables that references name.
    pub(super) variables: BTreeSet<String>,
    /// Secrets that the platform returns for this source; other values may repeat them.
    secrets: BTreeSet<String>,
}

/// The reason why a value is not written.
struct Unsaid(&'static str);

const HIDDEN: Unsaid = Unsaid("the platform does not show it");
const REPEATED: Unsaid = Unsaid("it repeats a secret");

impl Notes {
    pub(super) fn new(prefix: &str) -> Self {
        Self {
            prefix: prefix.to_owned(),
            unreadable: Vec::new(),
            variables: BTreeSet::new(),
            secrets: BTreeSet::new(),
        }
    }

    /// Collects every secret in `config`, before anything is written.
    pub(super) fn note_secrets(&mut self, config: &Value) {
        note(config, false, &mut self.secrets);
    }

    fn repeats(&self, text: &str) -> bool {
        self.secrets.iter().any(|secret| text.contains(secret.as_str()))
    }

    /// Formats `connection_config`.
    pub(super) fn config(&mut self, config: &Map<String, Value>) -> String {
        let mut lines = String::new();
        for (name, value) in config {
            let ours =
                OURS.contains(&name.as_str()) || name == "test" && value.get("before_connect").is_some();
            let written = match ours {
                true => Err(Unsaid("a key of this name belongs to wellspring in a file")),
                false => self.value(&[name], value, 0),
            };
            self.line("connection_config", name, written, &mut lines);
        }
        lines
    }

    /// Formats `metadata`, which cannot contain references.
    pub(super) fn metadata(&mut self, metadata: &Map<String, Value>) -> String {
        let mut lines = String::new();
        for (name, value) in metadata {
            let written = plain(name, value, 0).and_then(|written| match self.repeats(&value.to_string()) {
                true => Err(REPEATED),
                false => Ok(written),
            });
            self.line("metadata", name, written, &mut lines);
        }
        lines
    }

    fn line(&mut self, table: &str, name: &str, written: Result<String, Unsaid>, lines: &mut String) {
        match written {
            Ok(written) => lines.push_str(&format!("{} = {written}\n", toml_key(name))),
            Err(Unsaid(why)) => {
                self.unreadable.push(format!("{table}.{}", toml_key(name)));
                lines.push_str(&format!("# TODO {}: {why}\n", toml_key(name)));
            }
        }
    }

    fn value(&mut self, path: &[&str], value: &Value, depth: usize) -> Result<String, Unsaid> {
        if depth > DEEPEST {
            return Err(Unsaid("it is nested too deeply"));
        }
        let by_key = path.iter().any(|key| seems_secret(key));
        let secret = by_key || is_secret_under(path, value);
        match value {
            Value::Object(fields) => {
                let named = named_value(|key| fields.get(key).and_then(Value::as_str));
                if fields.len() == 1 && fields.get("secret").is_some_and(Value::is_string) {
                    return Err(Unsaid("a file would take it for a reference"));
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
                    let name = before.and_then(|(name, text)| names_next(name, text, items.len()));
                    let n = n.to_string();
                    let own = name.map_or(n.as_str(), |name| name.trim_start_matches('-'));
                    let path: Vec<&str> = path.iter().copied().chain([own]).collect();
                    elements.push(self.value(&path, item, depth + 1)?);
                }
                Ok(format!("[{}]", elements.join(", ")))
            }
            Value::Null if secret => Ok(self.reference(path)),
            Value::String(_) | Value::Number(_) if secret => Ok(self.reference(path)),
            Value::String(text) if !is_masked(value) => match without_password(text) {
                Shown::AsItIs if !self.repeats(text) => Ok(toml_string(&literal(text))),
                Shown::Around(before, after) if !self.repeats(before) && !self.repeats(after) => {
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
        const LONGEST: usize = 200;
        let parts = std::iter::once(self.prefix.as_str()).chain(path.iter().copied());
        let parts = parts.chain(Some(last).filter(|last| !last.is_empty()));
        let name: String = parts.collect::<Vec<_>>().join("_");
        let plain = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
        let mut name: String = name.chars().map(plain).take(LONGEST).collect();
        if name.starts_with(|first: char| first.is_ascii_digit()) || name == TOKEN_VARIABLE {
            name.insert_str(0, "SOURCE_");
        }
        self.variables.insert(name.clone());
        name
    }
}

/// Formats a value that cannot contain references.
fn plain(name: &str, value: &Value, depth: usize) -> Result<String, Unsaid> {
    if depth > DEEPEST {
        return Err(Unsaid("it is nested too deeply"));
    }
    const LOOKS: Unsaid = Unsaid("it looks like a secret");
    if seems_secret(name) || is_secret_under(&[name], value) {
        return Err(LOOKS);
    }
    match value {
        Value::String(text) if !exposed(text).is_empty() => Err(LOOKS),
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
                (Some(name), Some(text)) => names_next(name, text, items.len()).is_some(),
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

fn scalar(value: &Value) -> Result<String, Unsaid> {
    match value {
        value if is_masked(value) => Err(HIDDEN),
        Value::Bool(value) => Ok(value.to_string()),
        Value::Number(number) => match (number.as_i64(), number.as_f64()) {
            (Some(whole), _) => Ok(whole.to_string()),
            (None, Some(float)) if number.is_f64() => Ok(format!("{float:?}")),
            _ => Err(Unsaid("the number is too large")),
        },
        Value::String(text) => Ok(toml_string(&literal(text))),
        _ => Err(HIDDEN),
    }
}

/// Returns true if a key may name a secret, in doubt too: also for `tokens`.
fn seems_secret(key: &str) -> bool {
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
fn note(value: &Value, secret: bool, secrets: &mut BTreeSet<String>) {
    const SHORTEST: usize = 4;
    match value {
        Value::Object(fields) => {
            let named = named_value(|key| fields.get(key).and_then(Value::as_str));
            for (name, value) in fields {
                let name = named.filter(|(of, _)| of == name).map_or(name.as_str(), |(_, name)| name);
                note(value, secret || seems_secret(name) || is_secret_under(&[name], value), secrets);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| note(item, secret, secrets)),
        Value::String(text) if is_masked(value) || text.len() < SHORTEST => {}
        Value::String(text) if secret => drop(secrets.insert(text.clone())),
        Value::String(text) => {
            let parts = exposed(text).into_iter().map(|range| text[range].to_owned());
            secrets.extend(parts.filter(|part| part.len() >= SHORTEST));
        }
        _ => {}
    }
}

/// The part of a text that may be written.
enum Shown<'t> {
    AsItIs,
    /// The text before and after a password.
    Around(&'t str, &'t str),
    Not,
}

/// Finds the password in `scheme://user:password@…`, and other exposed secrets.
fn without_password(text: &str) -> Shown<'_> {
    let found = exposed(text);
    let pairs = text.split(['&', ';', '?', '#', ',', ' ', '\t', '\n']);
    let named = pairs
        .filter_map(|pair| pair.split_once('='))
        .any(|(key, value)| seems_secret(key) && !value.is_empty());
    if named || found.len() > 1 {
        return Shown::Not;
    }
    let whole = || if found.is_empty() { Shown::AsItIs } else { Shown::Not };
    let Some(scheme) = text.find("://") else { return whole() };
    let rest = &text[scheme + 3..];
    // A password may contain an unescaped `/` or `@`, so take the longest match.
    let Some(at) = rest.rfind('@') else { return whole() };
    let Some(colon) = rest[..at].find(':') else { return whole() };
    let password = scheme + 3 + colon + 1..scheme + 3 + at;
    let beside = found.iter().any(|found| found.start < password.start || found.end > password.end);
    match rest.matches("://").count() {
        0 if !beside => Shown::Around(&text[..password.start], &text[password.end..]),
        _ => Shown::Not,
    }
}

fn table(entries: &[String]) -> String {
    if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
}

/// Escapes `${…}`, which would be read as a reference.
pub(super) fn literal(text: &str) -> String {
    text.replace("${", "$${")
}
