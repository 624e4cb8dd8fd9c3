//! Equality of JSON by meaning: numbers by value, tables regardless of key order.

use super::{ConfigValue, SortedMap};
use serde_json::{Map, Number, Value};

/// Returns true if both are the same value; lists must be in the same order.
#[must_use]
pub fn same_value(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => normalize_number(one) == normalize_number(other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same_value(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let same = |(key, one)| other.get(key).is_some_and(|other| same_value(one, other));
            one.len() == other.len() && one.iter().all(same)
        }
        _ => one == other,
    }
}

/// Returns true if both are the same value, ignoring the order of all lists.
#[must_use]
pub fn same_in_any_order(one: &Value, other: &Value) -> bool {
    unordered(one) == unordered(other)
}

/// Returns the value with sorted lists and normalised numbers.
///
/// Two values are equal in any order exactly if these forms are equal.
#[must_use]
pub fn unordered(value: &Value) -> Value {
    match value {
        Value::Number(number) => Value::Number(normalize_number(number)),
        Value::Array(items) => {
            let mut items: Vec<Value> = items.iter().map(unordered).collect();
            items.sort_by_cached_key(Value::to_string);
            Value::Array(items)
        }
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), unordered(value))).collect()
        }
        other => other.clone(),
    }
}

/// Normalises whole numbers: `1`, `1.0` and `1e0` are the same.
fn normalize_number(number: &Number) -> Number {
    /// Every whole float below this limit corresponds to exactly one `i64`.
    const LIMIT: f64 = 9_223_372_036_854_775_808.0;
    match if number.is_f64() { number.as_f64() } else { None } {
        Some(float) if float.fract() == 0.0 && float.abs() < LIMIT => {
            #[expect(clippy::cast_possible_truncation, reason = "it is whole and in range")]
            let integer = float as i64;
            integer.into()
        }
        _ => number.clone(),
    }
}

impl ConfigValue {
    /// Returns the value as JSON; `None` if it contains a reference.
    #[must_use]
    pub fn plain(&self) -> Option<Value> {
        Some(match self {
            Self::Bool(value) => (*value).into(),
            Self::Integer(value) => (*value).into(),
            Self::Float(value) => (*value).into(),
            Self::String(value) => value.as_str().into(),
            Self::Template(_) | Self::Secret(_) => return None,
            Self::Array(items) => Value::Array(items.iter().map(Self::plain).collect::<Option<_>>()?),
            Self::Table(entries) => Value::Object(plain_table(entries)?),
        })
    }
}

fn plain_table(entries: &SortedMap<ConfigValue>) -> Option<Map<String, Value>> {
    entries.iter().map(|(key, value)| Some((key.to_string(), value.plain()?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn numbers_are_compared_by_value() {
        for (one, other, same) in [
            (json!(1), json!(1.0), true),
            (json!(10_000_000_000_000_000_i64), json!(1e16), true),
            (json!(0), json!(-0.0), true),
            (json!(1), json!(1.5), false),
            (json!(9_007_199_254_740_993_i64), json!(9_007_199_254_740_992.0), false),
            (json!(u64::MAX), json!(1.844_674_407_370_955_2e19), false),
            (json!(1e300), json!(1e300), true),
            (json!(1), json!("1"), false),
            (json!({"a": [1, 2.0]}), json!({"a": [1.0, 2]}), true),
            (json!([1, 2]), json!([2, 1]), false),
            (json!({"a": 1}), json!({"a": 1, "b": null}), false),
        ] {
            assert_eq!(same_value(&one, &other), same, "{one} {other}");
            assert_eq!(same_value(&other, &one), same, "{other} {one}");
        }
    }

    #[test]
    fn lists_are_the_same_in_any_order_at_every_depth() {
        let one = json!([{"b": [1, 2], "a": "x"}, "y", "y"]);
        assert!(same_in_any_order(&one, &json!(["y", {"a": "x", "b": [2.0, 1]}, "y"])));
        assert!(!same_in_any_order(&one, &json!(["y", {"a": "x", "b": [2, 1]}])));
        assert!(!same_in_any_order(&one, &json!(["y", "x", {"a": "x", "b": [2, 1]}])));
    }
}
