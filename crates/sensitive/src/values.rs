//! Secrets in JSON values, as they are sent.

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
    let mut rest = text;
    while let Some(start) = rest.find("://") {
        let (before, after) = rest.split_at(start + 3);
        out.push_str(before);
        let word = after.find(char::is_whitespace).unwrap_or(after.len());
        let (user, host) = after.split_at(user_end(&after[..word]).unwrap_or(0));
        match user.split_once(':') {
            Some((name, _)) => out.extend([name, ":", MASK]),
            None => out.push_str(user),
        }
        rest = host;
    }
    out.push_str(rest);
    let mut shown = String::with_capacity(out.len());
    let mut from = 0;
    for range in find_secrets(&out) {
        shown.extend([&out[from..range.start], MASK]);
        from = range.end;
    }
    shown + &out[from..]
}

/// Returns the end of the `user:password` part of an address, if it has one.
///
/// A password may contain any character unescaped, so rather too much counts as password than too
/// little.
fn user_end(address: &str) -> Option<usize> {
    let path = address.find(['?', '#']).unwrap_or(address.len());
    let authority = &address[..address.find(['/', '?', '#']).unwrap_or(address.len())];
    if authority.contains('@') {
        return address[..path].rfind('@');
    }
    let (_, port) = authority.split_once(':')?;
    let is_port = port.bytes().all(|digit| digit.is_ascii_digit());
    if is_port { None } else { address.rfind('@') }
}
