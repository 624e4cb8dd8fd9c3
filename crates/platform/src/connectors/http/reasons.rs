//! Reasons in the error messages of APIs, made safe to show.

use serde_json::{Map, Value};

use super::names::{CODES, LAST_REASONS, REASONS, normalize};

/// Maximum length of a message in characters.
const MAX_REASON_LEN: usize = 300;
/// Maximum number of reasons shown of a response.
const MAX_REASONS: usize = 3;

/// Returns the message in an error body of any form; empty without one.
pub(super) fn of_body(body: &[u8]) -> String {
    match serde_json::from_slice(body) {
        Ok(value) => reasons(&value).unwrap_or_default(),
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let text = text.trim();
            // An HTML page contains no useful message.
            if text.starts_with('<') || text.lines().count() > 3 { String::new() } else { plain(text) }
        }
    }
}

/// Returns the reasons in `fields`, or "without a reason".
pub(super) fn joined_reasons(fields: &Map<String, Value>) -> String {
    reasons(&Value::Object(fields.clone())).unwrap_or_else(|| "without a reason".to_owned())
}

fn reasons(value: &Value) -> Option<String> {
    let mut found = Vec::new();
    collect(value, 0, &mut found);
    found.dedup();
    found.truncate(MAX_REASONS);
    let text = found.join(": ");
    if text.is_empty() { None } else { Some(plain(&text)) }
}

fn collect(value: &Value, depth: u8, found: &mut Vec<String>) {
    if depth > 4 || found.len() >= MAX_REASONS {
        return;
    }
    match value {
        Value::String(text) if !text.trim().is_empty() => found.push(text.trim().to_owned()),
        Value::Array(items) => {
            items.iter().take(MAX_REASONS).for_each(|item| collect(item, depth + 1, found));
        }
        Value::Object(fields) => {
            let before = found.len();
            for names in [REASONS, LAST_REASONS] {
                if found.len() > before {
                    break;
                }
                for name in names.iter() {
                    let named = fields.iter().filter(|(field, _)| normalize(field) == name);
                    named.for_each(|(_, value)| collect(value, depth + 1, found));
                }
            }
            code(fields, before, found);
            // Errors keyed by field: {"errors": {"since": ["is no date"]}}.
            if depth > 0 && found.len() == before {
                for (name, value) in fields.iter().take(MAX_REASONS) {
                    let start = found.len();
                    collect(value, depth + 1, found);
                    if let Some(text) = found.get_mut(start) {
                        *text = format!("{name} {text}");
                    }
                }
            }
        }
        _ => {}
    }
}

/// Adds the error code to the last reason found since `before`.
fn code(fields: &Map<String, Value>, before: usize, found: &mut Vec<String>) {
    let code = CODES.iter().find_map(|name| {
        let value = fields.iter().find(|(field, _)| normalize(field) == name)?.1;
        match value {
            Value::Number(code) if code.as_i64() != Some(0) => Some(code.to_string()),
            Value::String(code) if name != "status" && !code.is_empty() && !code.contains(':') => {
                Some(code.clone())
            }
            _ => None,
        }
    });
    let Some(code) = code.filter(|code| !found.iter().any(|text| text.contains(code))) else { return };
    if found.len() == before {
        found.push(code);
    } else if let Some(last) = found.last_mut() {
        last.push_str(&format!(" ({code})"));
    }
}

/// Formats text on one line with limited length and no control characters.
pub(super) fn plain(text: &str) -> String {
    let steers = |letter: char| matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let shown = |letter: char| if letter.is_control() || steers(letter) { ' ' } else { letter };
    let text = text.trim();
    let mut out: String = text.chars().take(MAX_REASON_LEN).map(shown).collect();
    if text.chars().nth(MAX_REASON_LEN).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::of_body;

    #[test]
    fn the_words_of_a_refusal_are_found() {
        assert_eq!(of_body(br#"{"error":{"message":"slow down","type":"rate"}}"#), "slow down (rate)");
        assert_eq!(of_body(b"not now"), "not now");
        assert_eq!(of_body(b"<html>x</html>"), "");
        assert_eq!(of_body(b"{\"message\":\"a\\u001b[31m\"}"), "a [31m");
    }
}
