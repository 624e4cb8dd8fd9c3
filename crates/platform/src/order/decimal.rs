//! Decimal numbers of any length with exact comparison.

use std::cmp::Ordering;

/// The number `0.DIGITS × 10^exponent`, without leading or trailing zeros.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Decimal {
    negative: bool,
    /// Empty for zero.
    digits: String,
    exponent: i64,
}

impl Decimal {
    /// Parses digits with an optional sign, point and exponent.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (negative, number) = match text.as_bytes().first()? {
            b'-' => (true, &text[1..]),
            b'+' => (false, &text[1..]),
            _ => (false, text),
        };
        let (number, exponent) = match number.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i64>().ok()?),
            None => (number, 0),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        let digits = format!("{whole}{part}");
        if digits.is_empty() || !digits.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let significant = digits.trim_start_matches('0');
        let leading = digits.len() - significant.len();
        let significant = significant.trim_end_matches('0');
        if significant.is_empty() {
            return Some(Self { negative: false, digits: String::new(), exponent: 0 });
        }
        let before_point = i64::try_from(whole.len()).ok()? - i64::try_from(leading).ok()?;
        let exponent = exponent.checked_add(before_point)?;
        Some(Self { negative, digits: significant.to_owned(), exponent })
    }

    /// Canonical text: integers of up to 20 digits as such, others normalised.
    pub(super) fn text(&self) -> String {
        let sign = if self.negative { "-" } else { "" };
        match usize::try_from(self.exponent) {
            _ if self.digits.is_empty() => "0".into(),
            Ok(length) if (self.digits.len()..=20).contains(&length) => {
                format!("{sign}{:0<length$}", self.digits)
            }
            _ => format!("{sign}0.{}e{}", self.digits, self.exponent),
        }
    }
}

impl Ord for Decimal {
    fn cmp(&self, other: &Self) -> Ordering {
        let sign = |number: &Self| match (number.digits.is_empty(), number.negative) {
            (true, _) => 0,
            (false, true) => -1,
            (false, false) => 1,
        };
        let size = || (self.exponent, &self.digits).cmp(&(other.exponent, &other.digits));
        sign(self).cmp(&sign(other)).then_with(|| if self.negative { size().reverse() } else { size() })
    }
}

impl PartialOrd for Decimal {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
