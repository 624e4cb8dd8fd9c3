//! Lossless rows as JSON: ordered columns, marked bytes, exact numbers.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use crate::platform::order::is_exact;

/// Number of digits that every JSON parser keeps; longer numbers may be rounded.
const EXACT_DIGITS: usize = 15;

/// Builder of a JSON object, reused for all rows of a read.
#[derive(Default)]
pub(super) struct RowText(Vec<u8>);

impl RowText {
    /// Starts a row.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a column.
    pub(super) fn put<V: Serialize + ?Sized>(&mut self, column: &str, value: &V) {
        self.key(column);
        // Cannot fail: writes to memory, and all values have a JSON form.
        let _ = serde_json::to_writer(&mut self.0, value);
    }

    /// Adds a column whose value is JSON text.
    pub(super) fn put_json(&mut self, column: &str, json: &str) {
        self.key(column);
        self.0.extend_from_slice(json.as_bytes());
    }

    /// Completes the row.
    pub(super) fn finish(&mut self) -> &str {
        if self.0.is_empty() {
            self.0.push(b'{');
        }
        self.0.push(b'}');
        self.text()
    }

    /// Returns the last completed row.
    pub(super) fn text(&self) -> &str {
        std::str::from_utf8(&self.0).expect("only whole texts were added")
    }

    fn key(&mut self, column: &str) {
        self.0.push(if self.0.is_empty() { b'{' } else { b',' });
        let _ = serde_json::to_writer(&mut self.0, column);
        self.0.push(b':');
    }
}

/// Makes column names unique and non-empty.
pub(super) fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut columns = Vec::new();
    for (index, name) in names.enumerate() {
        let base = if name.is_empty() { format!("column{}", index + 1) } else { name };
        let mut name = base.clone();
        let mut copy = 2;
        while !taken.insert(name.clone()) {
            name = format!("{base}_{copy}");
            copy += 1;
        }
        columns.push(name);
    }
    columns
}

/// Hexadecimal digest of a row.
pub(super) fn digest_of(row: &str) -> String {
    Sha256::digest(row.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Marks bytes as such.
pub(super) fn bytes(bytes: &[u8]) -> Value {
    json!({ "$base64": STANDARD.encode(bytes) })
}

/// Converts a floating-point number; values without a JSON form become text.
pub(super) fn real(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

/// Converts a record to an object; other values are stored under `value`.
pub(super) fn record(raw: &RawValue) -> Result<Map<String, Value>, serde_json::Error> {
    Ok(match exact(raw)? {
        Value::Object(fields) => fields,
        other => Map::from_iter([("value".to_owned(), other)]),
    })
}

/// Parses JSON inside a text; invalid JSON stays text.
pub(super) fn embedded(text: &str) -> Value {
    exact_json(text).and_then(|json| serde_json::from_str(&json).ok()).unwrap_or_else(|| text.into())
}

/// Returns JSON text whose numbers no parser rounds, using text for long ones.
///
/// `None` if it is not JSON that fits into a row.
pub(super) fn exact_json(text: &str) -> Option<Cow<'_, str>> {
    let raw: &RawValue = serde_json::from_str(text).ok()?;
    // The row and arrays around it add two levels of nesting.
    serde_json::from_str::<Value>(&format!("[[{text}]]")).ok()?;
    if has_long_number(text) { Some(exact(raw).ok()?.to_string().into()) } else { Some(text.into()) }
}

/// Parses JSON without rounding; numbers that no double represents become text.
fn exact(raw: &RawValue) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    // Reject excessive nesting before recursing.
    let value: Value = serde_json::from_str(text)?;
    if !has_long_number(text) {
        return Ok(value);
    }
    match text.as_bytes().first() {
        Some(b'{') => {
            let fields: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
            fields
                .into_iter()
                .map(|(key, raw)| Ok((key, exact(raw)?)))
                .collect::<Result<Map<_, _>, _>>()
                .map(Value::Object)
        }
        Some(b'[') => {
            let items: Vec<&RawValue> = serde_json::from_str(text)?;
            items.into_iter().map(exact).collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        Some(b'-' | b'0'..=b'9') if is_rounded(text, &value) => Ok(Value::String(text.to_owned())),
        _ => Ok(value),
    }
}

/// Returns true if the value differs from the written number.
fn is_rounded(text: &str, value: &Value) -> bool {
    value.is_f64() && !value.as_f64().is_some_and(|double| is_exact(text, double))
}

fn has_long_number(text: &str) -> bool {
    let mut digits = 0;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => digits += 1,
            b'.' | b'-' | b'+' => {}
            // An exponent may exceed a float's range with few digits.
            b'e' | b'E' if digits > 0 => return true,
            _ => digits = 0,
        }
        if digits > EXACT_DIGITS {
            return true;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::{RowText, bytes, real, record};
    use serde_json::value::RawValue;
    use serde_json::{Value, json};

    #[test]
    fn numbers_are_kept_exactly_or_as_text() {
        let raw = |text: &str| RawValue::from_string(text.to_owned()).unwrap();
        let kept = |text: &str| Value::Object(record(&raw(text)).unwrap());
        assert_eq!(
            kept(r#"{"a":1.5,"b":9007199254740993}"#),
            json!({"a": 1.5, "b": 9_007_199_254_740_993_i64})
        );
        assert_eq!(kept(r#"{"a":[12345678901234567890.12]}"#), json!({"a": ["12345678901234567890.12"]}));
        for text in ["0.30000000000000004", "1e-05", "2.5e+20", "48.858370000000008", "100000000000000000000"]
        {
            let number: f64 = text.parse().unwrap();
            assert_eq!(kept(text), json!({ "value": number }), "{text}");
        }
        for text in [
            "0.1000000000000000055511151231257827",
            "48.858370000000006",
            "1e-400",
            "9007199254740993.0",
            "0.30000000000000005",
        ] {
            assert_eq!(kept(text), json!({ "value": text }), "{text}");
        }
        assert_eq!(kept(r#"{"a":"1234567890123456.5"}"#), json!({"a": "1234567890123456.5"}));
        assert_eq!(kept("123456789012345678901"), json!({"value": "123456789012345678901"}));
    }

    #[test]
    fn numbers_that_are_out_of_range_are_an_error_and_not_a_panic() {
        let raw = RawValue::from_string("[1e999]".to_owned()).unwrap();
        assert!(record(&raw).is_err());
    }

    #[test]
    fn columns_keep_their_order() {
        let mut row = RowText::default();
        row.put("z", &real(f64::INFINITY));
        row.put("a\"", &bytes(b"\x00\xff"));
        row.put_json("n", "12345678901234567890");
        assert_eq!(row.finish(), r#"{"z":"inf","a\"":{"$base64":"AP8="},"n":12345678901234567890}"#);
        row.clear();
        assert_eq!(row.finish(), "{}");
    }
}
