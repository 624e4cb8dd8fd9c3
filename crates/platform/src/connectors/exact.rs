//! JSON without loss: exact numbers, and fields of the same name.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::order::is_exact;

/// Maximum nesting of a row, because JSON parsers refuse more.
const MAX_DEPTH: usize = 127;
/// Number of digits that every JSON parser keeps; longer numbers may be rounded.
const EXACT_DIGITS: usize = 15;

/// Converts a record to an object; other values are stored under `value`.
pub(super) fn record(raw: &RawValue) -> Result<Map<String, Value>, serde_json::Error> {
    let text = raw.get();
    if text.starts_with('{')
        && let Value::Object(fields) = exact(text)?
    {
        return Ok(fields);
    }
    let mut fields = exact(&format!("{{\"value\":{text}}}"))?;
    Ok(fields.as_object_mut().map(std::mem::take).unwrap_or_default())
}

/// Parses JSON inside a text; invalid JSON stays text.
pub(super) fn embedded(text: &str) -> Value {
    exact_json(text).and_then(|json| exact(&json).ok()).unwrap_or_else(|| text.into())
}

/// Returns JSON text whose numbers no parser rounds, using text for long ones.
///
/// `None` if it is not JSON that fits into a row.
pub(super) fn exact_json(text: &str) -> Option<Cow<'_, str>> {
    // The row and arrays around it add two levels of nesting.
    const WRAPPER_FIELDS: usize = 2;
    if has_long_number(text) {
        let raw: &RawValue = serde_json::from_str(text).ok()?;
        return Some(walk(raw, MAX_DEPTH - WRAPPER_FIELDS).ok()?.to_string().into());
    }
    let (value, repeated) = lossless(&format!("[[{text}]]")).ok()?;
    Some(if repeated { value[0][0].to_string().into() } else { text.into() })
}

/// Parses JSON without loss.
///
/// Numbers that no double represents become text. Of fields with the same name, the second becomes
/// `name_2`.
pub(super) fn exact(text: &str) -> Result<Value, serde_json::Error> {
    if has_long_number(text) {
        return walk(serde_json::from_str(text)?, MAX_DEPTH);
    }
    Ok(lossless(text)?.0)
}

/// Parses JSON without long numbers, and returns whether an object repeats a field.
fn lossless(text: &str) -> Result<(Value, bool), serde_json::Error> {
    let repeated = Cell::new(false);
    let mut parser = serde_json::Deserializer::from_str(text);
    let value = Lossless { repeated: &repeated }.deserialize(&mut parser)?;
    parser.end().map(|()| (value, repeated.get()))
}

/// Parses JSON like [`exact`], value by value, down to `depth`.
fn walk(raw: &RawValue, depth: usize) -> Result<Value, serde_json::Error> {
    let text = raw.get();
    let down = || depth.checked_sub(1).ok_or_else(|| serde_json::Error::custom("it is nested too deeply"));
    match text.as_bytes().first() {
        Some(b'{') => {
            let (depth, ConfigFields(fields)) = (down()?, serde_json::from_str(text)?);
            let mut found = Map::new();
            for (name, raw) in fields {
                found.insert(free(&found, name), walk(raw, depth)?);
            }
            Ok(found.into())
        }
        Some(b'[') => {
            let (depth, items) = (down()?, serde_json::from_str::<Vec<&RawValue>>(text)?);
            let items = items.into_iter().map(|raw| walk(raw, depth));
            items.collect::<Result<Vec<_>, _>>().map(Value::Array)
        }
        Some(b'-' | b'0'..=b'9') => Ok(match serde_json::from_str::<Value>(text) {
            Ok(value) if !is_rounded(text, &value) => value,
            // Out of the parser's range, or rounded.
            _ => Value::String(text.to_owned()),
        }),
        _ => serde_json::from_str(text),
    }
}

/// Deserializer of [`lossless`].
#[derive(Clone, Copy)]
struct Lossless<'c> {
    repeated: &'c Cell<bool>,
}

impl<'de> DeserializeSeed<'de> for Lossless<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<Value, D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Lossless<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut found = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            found.push(item);
        }
        Ok(found.into())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut found = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let value = fields.next_value_seed(self)?;
            self.repeated.set(self.repeated.get() || found.contains_key(&name));
            found.insert(free(&found, name), value);
        }
        Ok(found.into())
    }
}

/// Fields of an object, including those with the same name.
struct ConfigFields<'r>(Vec<(String, &'r RawValue)>);

impl<'de> Deserialize<'de> for ConfigFields<'de> {
    fn deserialize<D: Deserializer<'de>>(parser: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = ConfigFields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<ConfigFields<'de>, A::Error> {
                let mut found = Vec::new();
                while let Some(field) = fields.next_entry()? {
                    found.push(field);
                }
                Ok(ConfigFields(found))
            }
        }
        parser.deserialize_map(Collect)
    }
}

/// Returns the name for a new field: `name`, or `name_2` and so on if taken.
pub(super) fn free(fields: &Map<String, Value>, name: String) -> String {
    if !fields.contains_key(&name) {
        return name;
    }
    let mut copies = (2..).map(|copy: u64| format!("{name}_{copy}"));
    copies.find(|copy| !fields.contains_key(copy)).unwrap_or(name)
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
    use super::{exact_json, record};
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
    fn numbers_out_of_every_range_stand_as_text_and_harm_nothing_beside() {
        let raw = RawValue::from_string(format!("[1e999, -1E+400, 1{}, 2]", "0".repeat(400))).unwrap();
        let long = format!("1{}", "0".repeat(400));
        let kept = json!({ "value": ["1e999", "-1E+400", long, 2] });
        assert_eq!(Value::Object(record(&raw).unwrap()), kept);
        assert_eq!(exact_json(r#"{"a": 1e999}"#).as_deref(), Some(r#"{"a":"1e999"}"#));
    }

    #[test]
    fn a_record_is_nested_no_deeper_than_readers_of_rows_take() {
        let deep = |depth, inner| format!("{}{inner}{}", "[".repeat(depth), "]".repeat(depth));
        for inner in ["1", "1e999"] {
            for depth in [120, 124, 125, 126, 127, 128, 100_000] {
                let Ok(row) = record(&RawValue::from_string(deep(depth, inner)).unwrap()) else {
                    assert!(depth > 120);
                    continue;
                };
                let text = Value::Object(row).to_string();
                assert!(serde_json::from_str::<Value>(&text).is_ok(), "{depth} {inner}");
            }
        }
    }

    #[test]
    fn fields_of_one_name_are_all_kept() {
        for number in ["1", "1e999"] {
            let text = format!(r#"{{"id":{number},"id":2,"in":[{{"a":1,"a":{{}},"a_2":null}}],"id":3}}"#);
            let row = record(&RawValue::from_string(text).unwrap()).unwrap();
            let inner = json!({ "a": 1, "a_2": {}, "a_2_2": null });
            let id = if number == "1" { json!(1) } else { json!(number) };
            assert_eq!(Value::Object(row), json!({ "id": id, "id_2": 2, "id_3": 3, "in": [inner] }));
        }
        assert_eq!(exact_json(r#"[{"a":1,"a": 2}]"#).as_deref(), Some(r#"[{"a":1,"a_2":2}]"#));
        assert_eq!(exact_json(r#"[{"a": 1}]"#).as_deref(), Some(r#"[{"a": 1}]"#), "as written");
    }
}
