//! Parses the `@bind` annotation in which an account's list shows how it reads a table.
//!
//! Invariant: an annotation of another than the documented form is unreadable as a whole. A part of it could be
//! taken for drift.

use serde_json::{Map, Value};

/// Keys of the settings that a definition has at its top, by their names in annotations.
const TOP: [(&str, &str); 4] =
    [("username", "username"), ("user", "username"), ("password", "password"), ("url", "url")];

/// Keys of the settings that the columns of the row show as well.
const COLUMNS: [&str; 2] = ["host", "port"];

/// Returns the settings as a part of `connection_config`; `None` if the annotation is unreadable.
///
/// The documented form has four quoted arguments, the second of which is `TYPE key='value', key=1, …`.
pub(super) fn settings(annotation: &str) -> Option<Map<String, Value>> {
    let inner = annotation.trim().strip_prefix("@bind(")?;
    let inner = inner.trim_end().strip_suffix('.')?.trim_end().strip_suffix(')')?;
    let [_, access, _, _] = <[String; 4]>::try_from(arguments(inner)?).ok()?;
    let access = secrecy::zeroize::Zeroizing::new(access);
    let mut out = Map::new();
    let mut options = Map::new();
    for (key, value) in pairs(access.split_once(' ').map_or("", |(_, rest)| rest))? {
        let top = TOP.iter().find(|(name, _)| *name == key).map(|(_, top)| *top);
        let before = match top {
            _ if COLUMNS.contains(&key.as_str()) => continue,
            Some(top) => out.insert(top.to_owned(), value),
            None => options.insert(key, value),
        };
        // A repeated key is ambiguous.
        if before.is_some() {
            return None;
        }
    }
    if !options.is_empty() {
        out.insert("options".to_owned(), options.into());
    }
    Some(out)
}

/// Splits `"a", "b"`; a quote within an argument has a backslash in front.
fn arguments(text: &str) -> Option<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    loop {
        let (argument, after) = quoted(rest, '"', |next| next == '"')?;
        found.push(argument);
        match after.trim_start().strip_prefix(',') {
            Some(more) => rest = more.trim_start(),
            None if after.trim().is_empty() => return Some(found),
            None => return None,
        }
    }
}

/// Splits `key='value', key=1`.
fn pairs(text: &str) -> Option<Vec<(String, Value)>> {
    let mut found = Vec::new();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (key, value) = rest.split_once('=')?;
        let key = key.trim();
        let is_key = |sign: char| sign.is_ascii_alphanumeric() || matches!(sign, '_' | '-' | '.');
        if key.is_empty() || !key.chars().all(is_key) {
            return None;
        }
        let value = value.trim_start();
        let (value, after) = if value.starts_with('\'') {
            let (text, after) = quoted(value, '\'', |next| matches!(next, '\'' | '\\'))?;
            (Value::String(text), after)
        } else {
            let end = value.find(',').unwrap_or(value.len());
            let plain = serde_json::from_str::<Value>(value[..end].trim()).ok()?;
            (Some(plain).filter(|plain| plain.is_number() || plain.is_boolean())?, &value[end..])
        };
        found.push((key.to_owned(), value));
        rest = match after.trim_start().strip_prefix(',') {
            Some(more) if !more.trim().is_empty() => more.trim_start(),
            None if after.trim().is_empty() => "",
            _ => return None,
        };
    }
    Some(found)
}

/// Reads a text in quotes, and returns it with what follows.
///
/// A backslash is removed in front of the characters that it `escapes`, and stays in front of others.
fn quoted(text: &str, quote: char, escapes: impl Fn(char) -> bool) -> Option<(String, &str)> {
    let mut out = String::new();
    let mut characters = text.strip_prefix(quote)?.char_indices();
    while let Some((at, character)) = characters.next() {
        if character == quote {
            return Some((out, &text[quote.len_utf8() + at + quote.len_utf8()..]));
        }
        if character != '\\' {
            out.push(character);
            continue;
        }
        let (_, next) = characters.next()?;
        if !escapes(next) {
            out.push('\\');
        }
        out.push(next);
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_documented_form_is_read() {
        let bind = r#"@bind("orders", "postgresql host='db', port=5432, username='reader', password='a\'b\"c\\', sslmode='require', batch=5, fast=true", "shop", "public.orders")."#;
        let expected = json!({
            "username": "reader", "password": "a'b\"c\\",
            "options": { "sslmode": "require", "batch": 5, "fast": true },
        });
        assert_eq!(Value::from(settings(bind).unwrap()), expected);
        assert_eq!(settings(r#"@bind("a", "csv", "disk", "a.csv")."#), Some(Map::new()));
    }

    #[test]
    fn every_other_form_is_unreadable_as_a_whole() {
        for bind in [
            "",
            "***",
            "@bind('x','postgres','password=x')",
            r#"@bind("a", "postgresql password='x'", "shop")."#,
            r#"@bind("a", "postgresql password='it's'", "shop", "t")."#,
            r#"@bind("a", "postgresql password='x', password='y'", "shop", "t")."#,
            r#"@bind("a", "postgresql 'db', 5432", "shop", "t")."#,
            r#"@bind("a", "postgresql password=x", "shop", "t")."#,
            r#"@bind("a", "postgresql password='x',", "shop", "t")."#,
            r#"@bind("a", "postgresql password='x'", "shop", "t""#,
        ] {
            assert_eq!(settings(bind), None, "{bind}");
        }
    }
}
