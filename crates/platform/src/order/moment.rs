//! Dates and times in the formats of files, databases and APIs.

use std::cmp::Ordering;

const DAY: i64 = 86_400;
const MONTHS: [&str; 12] =
    ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];

/// A date, or a date with a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OrderedTime {
    /// Seconds since 1970 in UTC, or in local time if the zone is unknown.
    seconds: i64,
    /// Fraction digits of the second, without trailing zeros.
    fraction: String,
    zone: Zone,
    /// True for a date without a time.
    day: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Zone {
    Utc,
    /// No zone: local time.
    Clock,
    /// A named zone such as `CET`, whose UTC offset may vary.
    Named,
}

impl OrderedTime {
    /// Parses year-first dates (RFC 3339, ISO 8601) and those of mail and HTTP.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (text, before_christ) = match text.strip_suffix(" BC") {
            Some(text) => (text, true),
            None => (text.strip_suffix(" AD").unwrap_or(text), false),
        };
        let ((year, month, day), rest) = year_first(text).or_else(|| named_month(text))?;
        let year = if before_christ { 1 - year } else { year };
        let midnight = days(year, month, day)?.checked_mul(DAY)?;
        let (time, rest) = match rest.strip_prefix(['T', 't', ' ']) {
            Some(rest) => {
                let (time, rest) = time(rest.trim_start())?;
                (Some(time), rest)
            }
            None => (None, rest),
        };
        let (offset, zone) = zone(rest.trim())?;
        let day = time.is_none();
        let (of_day, fraction) = time.unwrap_or_default();
        Some(Self { seconds: midnight.checked_add(of_day - offset)?, fraction, zone, day })
    }

    /// Returns true for dates that mean "no end".
    pub(super) fn is_from_year_9999(&self) -> bool {
        // 9999-01-01, less a day for its zone.
        self.seconds >= 253_370_764_800 - DAY
    }

    /// Compares two times.
    ///
    /// `None` if the uncertainty exceeds their distance: a time on the day of a date, or times less
    /// than a day apart that do not both have a known zone.
    pub(super) fn compare(&self, other: &Self) -> Option<Ordering> {
        let exact = self.zone == other.zone && self.zone != Zone::Named;
        if exact && self.day == other.day {
            return Some((self.seconds, &self.fraction).cmp(&(other.seconds, &other.fraction)));
        }
        let slack = if exact { 0 } else { DAY };
        let end = |moment: &Self| moment.seconds + if moment.day { DAY } else { 1 } + slack;
        if end(self) <= other.seconds {
            Some(Ordering::Less)
        } else if end(other) <= self.seconds {
            Some(Ordering::Greater)
        } else {
            None
        }
    }
}

type Date = (i64, u32, u32);

/// Parses `2026-11-01`, `2026/11/01`, and `20261101` before a `T`.
///
/// Years may have a sign and more digits.
fn year_first(text: &str) -> Option<(Date, &str)> {
    let (negative, unsigned) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (year, rest) = digits(unsigned);
    if year.len() == 8 && rest.starts_with(['T', 't']) {
        let date = (year[..4].parse().ok()?, year[4..6].parse().ok()?, year[6..].parse().ok()?);
        return Some((date, rest));
    }
    if !(4..=9).contains(&year.len()) {
        return None;
    }
    let sign = rest.chars().next().filter(|sign| matches!(sign, '-' | '/' | '.'))?;
    let (month, rest) = short(&rest[1..])?;
    let (day, rest) = short(rest.strip_prefix(sign)?)?;
    let year: i64 = year.parse().ok()?;
    Some(((if negative { -year } else { year }, month, day), rest))
}

/// Parses `Sun, 01 Nov 2026` and `01 Nov 2026`, before a time.
fn named_month(text: &str) -> Option<(Date, &str)> {
    let text = text.split_once(", ").map_or(text, |(_, text)| text);
    let (day, rest) = short(text)?;
    let rest = rest.strip_prefix(' ')?;
    let name = rest.get(..3)?;
    let month = MONTHS.iter().position(|month| name.eq_ignore_ascii_case(month))?;
    let (year, rest) = digits(rest[3..].strip_prefix(' ')?);
    if year.len() != 4 || !rest.starts_with(' ') {
        return None;
    }
    Some(((year.parse().ok()?, u32::try_from(month).ok()? + 1, day), rest))
}

/// Parses `10:00`, `10:00:05.25`, `100005` or `9:00 PM`.
///
/// Returns the second of the day, its fraction digits, and the rest.
fn time(text: &str) -> Option<((i64, String), &str)> {
    let (first, rest) = digits(text);
    let mut fields = [0_i64; 3];
    let mut rest = rest;
    let mut to_seconds = false;
    if matches!(first.len(), 4 | 6) {
        for (field, pair) in fields.iter_mut().zip(first.as_bytes().chunks(2)) {
            *field = std::str::from_utf8(pair).ok()?.parse().ok()?;
        }
        to_seconds = first.len() == 6;
    } else {
        fields[0] = i64::from(short(text)?.0);
        for (index, field) in fields.iter_mut().enumerate().skip(1) {
            let Some(after) = rest.strip_prefix(':') else { break };
            let (number, after) = short(after)?;
            (*field, rest) = (number.into(), after);
            to_seconds = index == 2;
        }
        if rest.len() == text.len() - first.len() {
            return None;
        }
    }
    let mut fraction = "";
    if to_seconds && let Some(after) = rest.strip_prefix(['.', ',']) {
        (fraction, rest) = digits(after);
    }
    let [mut hour, minute, second] = fields;
    let word: String = rest.trim_start().chars().take_while(char::is_ascii_alphabetic).collect();
    if word.eq_ignore_ascii_case("am") || word.eq_ignore_ascii_case("pm") {
        if !(1..=12).contains(&hour) {
            return None;
        }
        hour = hour % 12 + if word.eq_ignore_ascii_case("pm") { 12 } else { 0 };
        rest = &rest.trim_start()[2..];
    }
    if hour > 24 || minute > 59 || second > 60 {
        return None;
    }
    Some(((hour * 3600 + minute * 60 + second, fraction.trim_end_matches('0').to_owned()), rest))
}

/// Parses `Z`, `+02`, `+02:00` or `+0200`, with an optional name in brackets.
///
/// A name alone means an unknown offset.
fn zone(text: &str) -> Option<(i64, Zone)> {
    if ["Z", "UTC", "GMT", "UT"].iter().any(|name| text.eq_ignore_ascii_case(name)) {
        return Some((0, Zone::Utc));
    }
    let Some(first) = text.chars().next() else { return Some((0, Zone::Clock)) };
    if matches!(first, '+' | '-' | '\u{2212}') {
        let text = &text[first.len_utf8()..];
        let text = text.split_once('[').map_or(text, |(offset, _)| offset);
        let plain = text.replace(':', "");
        if !matches!(plain.len(), 2 | 4 | 6) || !plain.bytes().all(|digit| digit.is_ascii_digit()) {
            return None;
        }
        let part = |at: usize| plain.get(at..at + 2).map_or(Some(0), |pair| pair.parse::<i64>().ok());
        let offset = part(0)? * 3600 + part(2)? * 60 + part(4)?;
        return Some((if first == '+' { offset } else { -offset }, Zone::Utc));
    }
    let named = first.is_ascii_alphabetic() || matches!(first, '[' | '(');
    named.then_some((0, Zone::Named))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.bytes().take_while(u8::is_ascii_digit).count())
}

/// Parses one or two digits.
fn short(text: &str) -> Option<(u32, &str)> {
    let (number, rest) = digits(text);
    if number.len() <= 2 { Some((number.parse().ok()?, rest)) } else { None }
}

/// Days since 1970 in the Gregorian calendar with a year 0.
fn days(year: i64, month: u32, day: u32) -> Option<i64> {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let length = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    if !(1..=length).contains(&day) {
        return None;
    }
    // Counted from March, so that the leap day ends the year.
    let (year, month) = if month < 3 { (year - 1, month + 9) } else { (year, month - 3) };
    let (era, of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let of_year = i64::from((153 * month + 2) / 5 + day - 1);
    Some(era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468)
}
