//! Lossless rows as JSON: ordered columns, marked bytes, exact numbers.

use std::collections::BTreeSet;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

use crate::memory::LARGE_BYTES;

/// Builder of a JSON object, reused for all rows of a read.
#[derive(Default)]
pub(super) struct RowText(Vec<u8>);

impl RowText {
    pub(super) fn clear(&mut self) {
        self.0.clear();
        self.0.shrink_to(LARGE_BYTES);
    }

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

pub(super) fn digest_of(row: &str) -> String {
    hex::encode(Sha256::digest(row.as_bytes()))
}

/// Marks bytes as such.
pub(super) fn bytes(bytes: &[u8]) -> Value {
    json!({ "$base64": STANDARD.encode(bytes) })
}

/// Converts a floating-point number; values without a JSON form become text.
pub(super) fn real(number: f64) -> Value {
    serde_json::Number::from_f64(number).map_or_else(|| Value::String(number.to_string()), Value::Number)
}

#[cfg(test)]
mod tests {
    use super::{RowText, bytes, real};

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
