//! Numbers and flags, which APIs write in several ways.

use serde_json::Value;

use super::names::{FAILURES, normalize};

/// Returns an integer, also if written as text.
pub(super) fn integer(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

pub(super) fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_i64() == Some(1),
        Value::String(text) => matches!(normalize(text).as_str(), "true" | "yes" | "1" | "ok" | "success"),
        _ => false,
    }
}

pub(super) fn is_no(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => {
            matches!(normalize(text).as_str(), "false" | "no" | "0" | "n")
                || FAILURES.contains(&normalize(text))
        }
        _ => false,
    }
}
