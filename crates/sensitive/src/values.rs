//! Secrets in JSON values, as they are sent.

use super::scan::work;
use super::{find_secrets, is_secret, is_secret_number, looks_secret, name_for_next, named_value};
use serde_json::{Map, Value};

const MASK: &str = "***";

/// Returns true if this value contains a literal secret at any depth.
#[must_use]
pub fn exposes_secret(value: &Value) -> bool {
    match value {
        Value::String(text) => !find_secrets(text).is_empty(),
        Value::Array(items) => items.iter().enumerate().any(|(n, item)| match name_of(items, n) {
            Some(name) => exposes_secret_under(name, item),
            None => exposes_secret(item),
        }),
        Value::Object(fields) => {
            let named = named(fields);
            fields.iter().any(|(key, value)| match named {
                Some((of, name)) if of == key => exposes_secret_under(name, value),
                _ => exposes_secret_under(key, value),
            })
        }
        _ => false,
    }
}

/// Returns true if this value of `key` contains a literal secret.
#[must_use]
pub fn exposes_secret_under(key: &str, value: &Value) -> bool {
    match value {
        Value::String(text) => is_secret(key, text) || !find_secrets(text).is_empty(),
        Value::Number(number) => is_secret_number(key, &number.to_string()),
        Value::Array(items) => {
            exposes_secret(value) || items.iter().any(|item| exposes_secret_under(key, item))
        }
        _ => exposes_secret(value),
    }
}

/// Returns the name that the preceding list element gives to this one.
fn name_of(items: &[Value], n: usize) -> Option<&str> {
    let (before, item) = (items.get(n.checked_sub(1)?)?.as_str()?, items.get(n)?.as_str()?);
    name_for_next(before, item, items.len())
}

fn named(fields: &Map<String, Value>) -> Option<(&'static str, &str)> {
    named_value(|key| fields.get(key).and_then(Value::as_str))
}

/// Replaces every secret with `***`, at any depth.
#[must_use]
pub fn masked(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let named = named(fields);
            let shown = fields.iter().map(|(key, value)| match named {
                Some((of, name)) if of == key => (key.clone(), masked_under(name, value)),
                _ => (key.clone(), masked_under(key, value)),
            });
            Value::Object(shown.collect())
        }
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(n, item)| match name_of(items, n) {
                Some(name) => masked_under(name, item),
                None => masked(item),
            })
            .collect(),
        Value::String(text) => Value::String(masked_text(text)),
        plain => plain.clone(),
    }
}

fn masked_under(key: &str, value: &Value) -> Value {
    match value {
        _ if looks_secret(key) => hidden(value),
        Value::String(text) if is_secret(key, text) => Value::String(MASK.to_owned()),
        Value::Number(number) if is_secret_number(key, &number.to_string()) => Value::String(MASK.to_owned()),
        Value::Array(items)
            if items.iter().any(|item| item.as_str().is_some_and(|text| is_secret(key, text))) =>
        {
            hidden(value)
        }
        value => masked(value),
    }
}

fn hidden(value: &Value) -> Value {
    match value {
        Value::Null => Value::Null,
        Value::Object(fields) => {
            fields.iter().map(|(key, value)| (key.clone(), hidden(value))).collect::<Map<_, _>>().into()
        }
        Value::Array(items) => items.iter().map(hidden).collect(),
        _ => Value::String(MASK.to_owned()),
    }
}

/// Replaces every secret in the text with `***`.
#[must_use]
pub fn masked_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let (mut from, mut word) = (0, AddressWord::default());
    while let Some(found) = text[from..].find("://") {
        let start = from + found + 3;
        out.push_str(&text[from..start]);
        from = word.user_end(text, start).unwrap_or(start);
        let user = &text[start..from];
        match user.split_once(':') {
            Some((name, _)) => out.extend([name, ":", MASK]),
            None => out.push_str(user),
        }
    }
    out.push_str(&text[from..]);
    let mut shown = String::with_capacity(out.len());
    let mut from = 0;
    for range in find_secrets(&out) {
        shown.extend([&out[from..range.start], MASK]);
        from = range.end;
    }
    shown + &out[from..]
}

/// The word around an address; kept for the next address in it.
#[derive(Default)]
struct AddressWord {
    end: usize,
    /// Position of the query or fragment, or the end.
    query: usize,
    /// Last `@` of the word, and the last one before the query.
    last_at: Option<usize>,
    last_at_of_path: Option<usize>,
}

impl AddressWord {
    /// Returns the end of the `user:password` part of the address that begins at `start`, if it has one.
    ///
    /// A password may contain any character unescaped, so rather too much counts as password than too
    /// little.
    fn user_end(&mut self, text: &str, start: usize) -> Option<usize> {
        self.move_to(text, start);
        let path_end = self.query;
        let authority = &text[start..path_end];
        let authority = &authority[..authority.find('/').unwrap_or(authority.len())];
        work::add(authority.len());
        if authority.contains('@') {
            return self.last_at_of_path;
        }
        let (_, port) = authority.split_once(':')?;
        let is_port = port.bytes().all(|digit| digit.is_ascii_digit());
        if is_port { None } else { self.last_at.filter(|at| *at >= start) }
    }

    fn move_to(&mut self, text: &str, start: usize) {
        if start >= self.end {
            self.end = text[start..].find(char::is_whitespace).map_or(text.len(), |end| start + end);
            work::add(self.end - start);
            self.last_at = text[start..self.end].rfind('@').map(|at| start + at);
            self.query = start;
        }
        if start >= self.query {
            let rest = &text[start..self.end];
            self.query = rest.find(['?', '#']).map_or(self.end, |query| start + query);
            work::add(self.query - start);
            self.last_at_of_path = text[start..self.query].rfind('@').map(|at| start + at);
        }
    }
}
