//! Order of cursor values and identity of rows, shared by all connectors.
//!
//! An incremental sync by cursor keeps a mark, the greatest value read so far, and reads the rows
//! not before it. A value that cannot be compared with the mark is never considered smaller: its
//! row is read again, and its identity prevents a duplicate.

mod decimal;
mod moment;
mod words;

use std::cmp::Ordering;

use serde_json::Value;

use decimal::Decimal;
use moment::OrderedTime;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    Complete,
    More,
    /// The end is unmarked, so more data may follow.
    Unknown,
}

/// A cursor value in comparable form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Point {
    /// An exact number of any length.
    Number(Decimal),
    /// A date, or a date with a time.
    Moment(OrderedTime),
    Text(String),
}

impl Point {
    /// Parses a value of a row.
    ///
    /// `None` for values without an order: null, booleans, arrays, objects, NaN, infinities and
    /// empty text.
    pub(super) fn of(value: &Value) -> Option<Self> {
        match value {
            Value::Number(number) => Decimal::parse(&number.to_string()).map(Self::Number),
            Value::String(text) => Self::parse(text),
            _ => None,
        }
    }

    /// Like [`Point::of`], for a value that the source writes as text.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() || is_nan_or_infinite(text) {
            return None;
        }
        let number = || Decimal::parse(text).map(Self::Number);
        let moment = || OrderedTime::parse(text).map(Self::Moment);
        Some(number().or_else(moment).unwrap_or_else(|| Self::Text(text.to_owned())))
    }

    /// Compares two values.
    ///
    /// `None` if their order is unknown: values of different kinds, times less than a day apart of
    /// which only one has a zone, texts that do not sort by their characters.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Number(one), Self::Number(other)) => Some(one.cmp(other)),
            (Self::Moment(one), Self::Moment(other)) => one.compare(other),
            (Self::Text(one), Self::Text(other)) => words::compare(one, other),
            _ => None,
        }
    }

    /// Returns true for a date from the year 9999 on, which means "no end".
    fn is_endless(&self) -> bool {
        matches!(self, Self::Moment(time) if time.is_from_year_9999())
    }

    /// Returns true if a mark at `self` advances to `next`.
    ///
    /// Numbers and times replace a text, which in such a column is a word such as `unknown`.
    pub(super) fn advances_to(&self, next: &Self) -> bool {
        let word = matches!(self, Self::Text(_)) && !matches!(next, Self::Text(_));
        word || self.compare(next) == Some(Ordering::Less)
    }
}

/// Mark of a read: the greatest cursor value, as the source writes it.
#[derive(Debug)]
pub(super) struct Mark<V> {
    /// Mark of the read before.
    start: Option<Point>,
    reached: Option<Point>,
    value: Option<V>,
    /// True if the source may order texts otherwise, so that no text is before another.
    foreign_texts: bool,
}

impl<V> Mark<V> {
    /// Continues from the value of the read before, if there is one.
    pub(super) fn resume(value: Option<V>, point: impl FnOnce(&V) -> Option<Point>) -> Self {
        let start = value.as_ref().and_then(point);
        Self { reached: start.clone(), start, value, foreign_texts: false }
    }

    /// Assumes no order of texts.
    pub(super) fn with_foreign_texts(self) -> Self {
        Self { foreign_texts: true, ..self }
    }

    /// Returns false for a row that is certainly before the mark of the read before.
    ///
    /// Otherwise, advances to the row's cursor value, unless it means "no end".
    pub(super) fn admit(&mut self, point: Option<Point>, value: impl FnOnce() -> V) -> bool {
        let Some(point) = point else { return true };
        if self.start.as_ref().is_some_and(|start| self.is_before(&point, start)) {
            return false;
        }
        if !point.is_endless() && self.reached.as_ref().is_none_or(|reached| reached.advances_to(&point)) {
            self.value = Some(value());
            self.reached = Some(point);
        }
        true
    }

    fn is_before(&self, point: &Point, start: &Point) -> bool {
        let texts = matches!((point, start), (Point::Text(_), Point::Text(_)));
        !(texts && self.foreign_texts) && point.compare(start) == Some(Ordering::Less)
    }

    pub(super) fn into_value(self) -> Option<V> {
        self.value
    }
}

/// Returns true if a double represents the written number.
///
/// That is its shortest decimal form, or the form with 17 digits that identifies it.
pub(super) fn is_exact(text: &str, double: f64) -> bool {
    let same = |other: &str| Decimal::parse(other) == Decimal::parse(text);
    Decimal::parse(text).is_some() && (same(&double.to_string()) || same(&format!("{double:.16e}")))
}

/// Returns true for the spellings of NaN and infinity in databases and languages.
fn is_nan_or_infinite(text: &str) -> bool {
    let name = text.trim_start_matches(['-', '+']);
    ["nan", "inf", "infinity"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

/// Identity of a row: the values of its key.
///
/// Numbers are compared by value, so 1 and 1.0 are one key. `None` if a value is missing or null.
pub(super) fn identity<'v>(key: impl IntoIterator<Item = Option<&'v Value>>) -> Option<String> {
    let mut parts = Vec::new();
    for value in key {
        match value {
            None | Some(Value::Null) => return None,
            Some(Value::Number(number)) => {
                parts.push(
                    Decimal::parse(&number.to_string()).map_or_else(|| number.to_string(), |n| n.text()),
                );
            }
            Some(value) => parts.push(value.to_string()),
        }
    }
    match parts.len() {
        0 => None,
        1 => parts.pop(),
        _ => Some(format!("[{}]", parts.join(","))),
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Ordering::{Equal, Greater, Less};

    use serde_json::{Value, json};

    use super::{Mark, Point, identity};

    fn compare(one: &Value, other: &Value) -> Option<std::cmp::Ordering> {
        let (one, other) = (Point::of(one).unwrap(), Point::of(other).unwrap());
        let found = one.compare(&other);
        assert_eq!(found, other.compare(&one).map(std::cmp::Ordering::reverse), "{one:?} {other:?}");
        found
    }

    #[test]
    fn values_are_ordered_by_their_kind_and_not_as_text() {
        for (smaller, larger) in [
            (json!("2026-11-01T10:00:05Z"), json!("2026-11-01T10:00:05.25Z")),
            (json!("2026-11-01T10:00:00Z"), json!("2026-11-01T09:30:00-05:00")),
            (json!("2026-11-01T10:00:00+02:00"), json!("2026-11-01 08:00:01+00")),
            (json!("2026-11-01T10:00:05Z"), json!("2026-11-02 23:00:00.5Z")),
            (json!("2026-11-01 09:59"), json!("2026-11-01 10:00")),
            (json!("20261101T095959Z"), json!("2026-11-01T10:00:00z")),
            (json!("2026-11-01T23:59:59.123456789123Z"), json!("2026-11-01T24:00:00Z")),
            (json!("0044-03-15 12:00:00+00 BC"), json!("0043-03-15 12:00:00+00 BC")),
            (json!("0001-12-31 BC"), json!("0001-01-01")),
            (json!("9999-12-31T00:00:00"), json!("15000-12-31T23:40:00")),
            (json!("+015000-01-01T00:00:00Z"), json!("15000-12-31T23:40:00Z")),
            (json!("2026/11/01 9:00 PM"), json!("2026/11/01 10:00 PM")),
            (json!("Sun, 01 Nov 2026 10:00:00 GMT"), json!("Mon, 02 Nov 2026 09:00:00 +0000")),
            (json!("9"), json!("10")),
            (json!(9), json!("10")),
            (json!("-10.50"), json!("-9.75")),
            (json!("-0.01"), json!("0")),
            (
                json!("99999999999999999999999999999999999998"),
                json!("99999999999999999999999999999999999999"),
            ),
            (json!(9_007_199_254_740_992_u64), json!(9_007_199_254_740_993_u64)),
            (json!("0.000001"), json!("1e-5")),
            (json!(1e20), json!("100000000000000000000.5")),
            (json!("01K0ABCD"), json!("01K0ABCE")),
            (json!("018f-a9"), json!("018f-b1")),
            (json!("apple"), json!("banana")),
            (json!("2026-W05"), json!("2026-W12")),
            (json!("10:00:05"), json!("11:30:00")),
        ] {
            assert_eq!(compare(&smaller, &larger), Some(Less), "{smaller} {larger}");
        }
    }

    #[test]
    fn one_value_in_two_spellings_is_one() {
        for (one, other) in [
            (json!("2026-11-01T10:00:00Z"), json!("2026-11-01 12:00:00.000+02:00")),
            (json!("2026-11-01T10:00:00"), json!("2026-11-01 10:00")),
            (json!("10.00"), json!("10")),
            (json!("-0"), json!(0)),
            (json!("1E+3"), json!("1000")),
            (json!("same words"), json!("same words")),
        ] {
            assert_eq!(compare(&one, &other), Some(Equal), "{one} {other}");
        }
    }

    #[test]
    fn an_order_that_is_not_known_is_not_guessed() {
        for (one, other) in [
            // Without a zone, the instant may be up to a day away.
            (json!("2026-11-01T10:00:05Z"), json!("2026-11-01 09:00:00")),
            (json!("2026-11-01"), json!("2026-11-01T10:00:00")),
            (json!("2026-11-01 10:00:00 CET"), json!("2026-11-01 11:00:00 EST")),
            // The order differs from that of the characters.
            (json!("11/01/2026"), json!("12/31/2025")),
            (json!("01.11.2026 10:00"), json!("31.12.2025 10:00")),
            (json!("01-Nov-2026"), json!("02-Jan-2027")),
            (json!("November 1, 2026"), json!("January 2, 2027")),
            (json!("v9"), json!("v10")),
            (json!("1.2.9"), json!("1.2.10")),
            (json!("9:59"), json!("10:00")),
            (json!("11:00 AM"), json!("12:00 AM")),
            (json!("1,000"), json!("999")),
            // Values of different kinds.
            (json!("unknown"), json!("2026-11-01T10:00:05Z")),
            (json!(1_700_000_000), json!("2026-11-01T10:00:05Z")),
        ] {
            assert_eq!(compare(&one, &other), None, "{one} {other}");
        }
        assert_eq!(compare(&json!("2026-11-03T10:00:05Z"), &json!("2026-11-01 09:00:00")), Some(Greater));
    }

    #[test]
    fn what_has_no_place_in_an_order_has_no_point() {
        for value in [
            json!(null),
            json!(true),
            json!([1]),
            json!({ "$date": 1 }),
            json!(""),
            json!(" "),
            json!("NaN"),
            json!("infinity"),
            json!("-infinity"),
            json!("Infinity"),
            json!("-inf"),
            json!("+Inf"),
        ] {
            assert_eq!(Point::of(&value), None, "{value}");
        }
    }

    #[test]
    fn a_mark_moves_to_later_values_and_away_from_words() {
        let point = |text: &str| Point::parse(text).unwrap();
        assert!(point("9").advances_to(&point("10")));
        assert!(!point("10").advances_to(&point("9")));
        assert!(point("unknown").advances_to(&point("2026-11-01")));
        assert!(!point("2026-11-01").advances_to(&point("unknown")));
        assert!(!point("2026-11-01").advances_to(&point("5")));
    }

    #[test]
    fn a_mark_stays_before_the_end_of_time_and_skips_only_what_is_before_it() {
        let admit = |mark: &mut Mark<String>, text: &str| mark.admit(Point::parse(text), || text.to_owned());
        let from = |text: &str| Mark::resume(Some(text.to_owned()), |text| Point::parse(text));
        let mut mark = from("2026-11-01");
        for (text, expected) in [
            ("2026-10-31", false),
            ("2026-11-01", true),
            ("2026-11-02", true),
            ("9999-12-31", true),
            ("12026-01-01", true),
            ("NaN", true),
            ("2026-11-01", true),
        ] {
            assert_eq!(admit(&mut mark, text), expected, "{text}");
        }
        assert_eq!(mark.into_value().as_deref(), Some("2026-11-02"));
        assert!(!admit(&mut from("b"), "a"));
        assert!(admit(&mut from("b").with_foreign_texts(), "a"));
        assert!(!admit(&mut from("10").with_foreign_texts(), "9"));
    }

    #[test]
    fn equal_keys_are_one_identity() {
        let of = |values: &[Value]| identity(values.iter().map(Some));
        assert_eq!(of(&[json!(1)]), of(&[json!(1.0)]));
        assert_eq!(of(&[json!(1e3)]), of(&[json!(1000)]));
        assert_ne!(of(&[json!(1)]), of(&[json!("1")]));
        assert_ne!(of(&[json!("a"), json!("b,c")]), of(&[json!("a,b"), json!("c")]));
        assert_eq!(of(&[json!("a"), Value::Null]), None);
        assert_eq!(identity([None]), None);
        assert_eq!(of(&[]), None);
    }
}
