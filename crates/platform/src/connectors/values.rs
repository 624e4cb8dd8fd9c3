//! Converts values from database servers to lossless JSON.

use std::borrow::Cow;

use serde_json::Value;

use super::exact::{embedded, exact_json};
use super::row::{RowText, bytes, real};

/// Text format of a value, and its JSON form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ValueKind {
    /// Integers of up to 64 bits, as numbers.
    Integer,
    /// Floating-point numbers, as numbers; as text if JSON has no form.
    Real,
    /// Single-precision numbers, written with the digits of a double.
    Single,
    /// `t` or `f`, as booleans.
    Truth,
    /// Raw bytes, as `{"$base64": "…"}`.
    Bytes,
    /// Bytes as `\x` and hexadecimal digits, in the same form.
    Hex,
    /// JSON, unchanged; text if parsers would round or reject it.
    Json,
    /// Date and time without a zone, separated by a space; becomes `T`.
    Timestamp,
    /// A UTC time; becomes `T`, with a final `Z`.
    Moment,
    /// A time of day with a UTC offset, converted to UTC with a final `Z`.
    Zoned,
    /// `{a,"b",NULL}`, as an array of such values.
    Array(Box<Self>),
    /// Decimal numbers with more digits than JSON parsers keep, as text.
    Decimal,
    Text,
}

impl ValueKind {
    /// Adds a value to a row; `None` becomes null.
    pub(super) fn put(&self, row: &mut RowText, column: &str, raw: Option<&[u8]>) {
        let Some(raw) = raw else { return row.put(column, &()) };
        if *self == Self::Bytes {
            return row.put(column, &bytes(raw));
        }
        // A server without a text encoding may send anything.
        let Ok(text) = std::str::from_utf8(raw) else { return row.put(column, &bytes(raw)) };
        match self {
            Self::Integer if is_number(text) => row.put_json(column, text),
            Self::Text | Self::Decimal => row.put(column, text),
            Self::Timestamp | Self::Moment => row.put(column, &*self.time(text)),
            Self::Json => match exact_json(text) {
                Some(json) => row.put_json(column, &json),
                None => row.put(column, text),
            },
            _ => row.put(column, &self.value(text)),
        }
    }

    fn value(&self, text: &str) -> Value {
        let found = match self {
            Self::Integer => text.parse().map(|number: i64| number.into()).ok(),
            Self::Real => text.parse().map(real).ok(),
            Self::Single => text.parse().map(single).ok(),
            Self::Truth => match text {
                "t" => Some(true.into()),
                "f" => Some(false.into()),
                _ => None,
            },
            Self::Hex => {
                text.strip_prefix("\\x").and_then(|text| hex::decode(text).ok()).map(|found| bytes(&found))
            }
            Self::Json => Some(embedded(text)),
            Self::Timestamp | Self::Moment => Some(self.time(text).into()),
            Self::Zoned => zoned(text).map(Value::from),
            Self::Array(kind) => array(text, kind),
            Self::Bytes => Some(bytes(text.as_bytes())),
            Self::Text | Self::Decimal => None,
        };
        found.unwrap_or_else(|| text.into())
    }

    /// Converts `2026-01-02 03:04:05.6+00` to `2026-01-02T03:04:05.6Z`.
    ///
    /// Other texts, such as infinity or a year BC, stay unchanged.
    fn time<'t>(&self, text: &'t str) -> Cow<'t, str> {
        let plain = text.strip_suffix("+00").unwrap_or(text);
        match plain.split_once(' ') {
            Some((date, time)) if time.ends_with(|last: char| last.is_ascii_digit()) => {
                format!("{date}T{time}{}", if *self == Self::Moment { "Z" } else { "" }).into()
            }
            _ => text.into(),
        }
    }
}

/// Converts `03:04:05.6+02` to `01:04:05.6Z`.
fn zoned(text: &str) -> Option<String> {
    const DAY: i32 = 24 * 60 * 60;
    let (time, zone) = text.split_at(text.rfind(['+', '-'])?);
    let seconds = |text: &str| {
        text.split(':')
            .chain(["0", "0"])
            .take(3)
            .try_fold(0, |sum, part| Some(sum * 60 + part.parse::<i32>().ok()?))
    };
    let (whole, fraction) = time.split_at(time.find('.').unwrap_or(time.len()));
    let distance = seconds(&zone[1..])? * if zone.starts_with('-') { -1 } else { 1 };
    let at = seconds(whole)? - distance;
    // 24:00 is kept, because it is not the start of a day.
    let at = if at == DAY && distance == 0 { at } else { at.rem_euclid(DAY) };
    Some(format!("{:02}:{:02}:{:02}{fraction}Z", at / 3600, at / 60 % 60, at % 60))
}

/// Returns true for an integer in JSON syntax.
///
/// Servers may pad numbers with zeros.
fn is_number(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text).as_bytes();
    digits.iter().all(u8::is_ascii_digit) && (digits.len() == 1 || digits.first().is_some_and(|d| *d != b'0'))
}

/// Returns the shortest number equal to this one in single precision.
#[expect(clippy::cast_possible_truncation, reason = "it has no more digits than a single-precision number")]
fn single(number: f64) -> Value {
    let short = (number as f32).to_string();
    short.parse().map_or_else(|_| Value::String(short), real)
}

/// Parses an array such as `{1,NULL,{"a \"b\""}}`.
///
/// `None` for other texts, and for rare arrays with bounds, `[2:3]={1,2}`, which a JSON array
/// cannot express.
fn array(text: &str, kind: &ValueKind) -> Option<Value> {
    let mut rest = text.strip_prefix('{')?.chars();
    let mut open: Vec<Vec<Value>> = vec![Vec::new()];
    let mut word: Option<(String, bool)> = None;
    loop {
        match rest.next()? {
            '{' => open.push(Vec::new()),
            '"' => {
                let (text, _) = word.get_or_insert_with(|| (String::new(), true));
                loop {
                    match rest.next()? {
                        '"' => break,
                        '\\' => text.push(rest.next()?),
                        sign => text.push(sign),
                    }
                }
                word.as_mut()?.1 = true;
            }
            sign @ (',' | '}') => {
                if let Some((text, quoted)) = word.take() {
                    let null = !quoted && text == "NULL";
                    open.last_mut()?.push(if null { Value::Null } else { kind.value(&text) });
                }
                if sign == '}' {
                    let done = open.pop()?.into();
                    match open.last_mut() {
                        Some(outer) => outer.push(done),
                        None => return rest.next().is_none().then_some(done),
                    }
                }
            }
            sign => word.get_or_insert_default().0.push(sign),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{RowText, ValueKind};
    use serde_json::{Value, json};

    fn put(kind: &ValueKind, raw: &[u8]) -> Value {
        let mut row = RowText::default();
        kind.put(&mut row, "v", Some(raw));
        let row: Value = serde_json::from_str(row.finish()).unwrap();
        row["v"].clone()
    }

    #[test]
    fn values_lose_nothing() {
        for (kind, text, expected) in [
            (ValueKind::Integer, "-9223372036854775808", json!(i64::MIN)),
            (ValueKind::Integer, "18446744073709551615", json!(u64::MAX)),
            (ValueKind::Integer, "00042", json!(42)),
            (ValueKind::Integer, "0", json!(0)),
            (ValueKind::Integer, "", json!("")),
            (ValueKind::Real, "1e308", json!(1e308)),
            (ValueKind::Real, "NaN", json!("NaN")),
            (ValueKind::Real, "-Infinity", json!("-inf")),
            (ValueKind::Single, "0.10000000149011612", json!(0.1)),
            (ValueKind::Truth, "t", json!(true)),
            (ValueKind::Hex, "\\x00ff", json!({ "$base64": "AP8=" })),
            (ValueKind::Hex, "\\x0", json!("\\x0")),
            (ValueKind::Json, "{\"a\": [1, null]}", json!({ "a": [1, null] })),
            (ValueKind::Json, "[0.12345678901234567890]", json!(["0.12345678901234567890"])),
            (ValueKind::Json, "\"\\ud800\"", json!("\"\\ud800\"")),
            (ValueKind::Timestamp, "2026-01-02 03:04:05.600", json!("2026-01-02T03:04:05.600")),
            (ValueKind::Moment, "2026-01-02 03:04:05+00", json!("2026-01-02T03:04:05Z")),
            (ValueKind::Moment, "infinity", json!("infinity")),
            (ValueKind::Moment, "0044-03-15 12:00:00+00 BC", json!("0044-03-15 12:00:00+00 BC")),
            (ValueKind::Zoned, "03:04:05.6+02", json!("01:04:05.6Z")),
            (ValueKind::Zoned, "01:00:00+05:30", json!("19:30:00Z")),
            (ValueKind::Zoned, "23:00:00-04:00:30", json!("03:00:30Z")),
            (ValueKind::Zoned, "24:00:00+00", json!("24:00:00Z")),
            (ValueKind::Text, "12345678901234567890.10", json!("12345678901234567890.10")),
        ] {
            assert_eq!(put(&kind, text.as_bytes()), expected, "{kind:?} {text}");
        }
        assert_eq!(put(&ValueKind::Text, b"\xff"), json!({ "$base64": "/w==" }));
        assert_eq!(put(&ValueKind::Bytes, b"abc"), json!({ "$base64": "YWJj" }));
    }

    #[test]
    fn arrays_become_arrays() {
        let texts = ValueKind::Array(Box::new(ValueKind::Text));
        for (text, expected) in [
            ("{}", json!([])),
            ("{a,NULL,\"NULL\",\"\"}", json!(["a", null, "NULL", ""])),
            ("{\"a \\\"b\\\" \\\\c\",\"{,}\"}", json!(["a \"b\" \\c", "{,}"])),
            ("{{a,b},{c,d}}", json!([["a", "b"], ["c", "d"]])),
            ("[2:3]={a,b}", json!("[2:3]={a,b}")),
            ("{a", json!("{a")),
            ("{a}}", json!("{a}}")),
        ] {
            assert_eq!(put(&texts, text.as_bytes()), expected, "{text}");
        }
        let json = ValueKind::Array(Box::new(ValueKind::Json));
        assert_eq!(put(&json, br#"{"{\"a\": 1}",null}"#), json!([{ "a": 1 }, null]));
    }

    #[test]
    fn json_that_is_nested_too_deeply_for_a_row_is_text() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        for depth in [100, 126, 127, 128, 1000] {
            let kept = put(&ValueKind::Json, deep(depth).as_bytes());
            assert!(kept.is_array() || kept == json!(deep(depth)), "{depth}");
        }
    }
}
