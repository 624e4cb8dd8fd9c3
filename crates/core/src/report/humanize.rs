//! Formats counts, durations and times for people.

use super::style;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Formats a count with its noun: `1 source`, `2 sources`, `1,024 sources`.
///
/// A noun that ends in a consonant and `y` takes `ies`.
#[must_use]
pub fn count(n: usize, noun: &str) -> String {
    format!("{} {}", number(n), if n == 1 { noun.to_owned() } else { plural(noun) })
}

/// Formats a number with a comma between thousands: `12,345`.
#[must_use]
pub fn number(n: usize) -> String {
    let digits = n.to_string();
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// Formats the two largest units: `6h`, `1h 30m`, `2d 4h`, `45s`, `1.5s`, `20ms`.
#[must_use]
pub fn duration(length: Duration) -> String {
    let (seconds, milliseconds) = (length.as_secs(), length.subsec_millis());
    match (seconds, milliseconds) {
        (0, 0) => return "0s".to_owned(),
        (0, _) => return format!("{milliseconds}ms"),
        (1..10, 100..) => return format!("{seconds}.{}s", milliseconds / 100),
        _ => {}
    }
    let units =
        [(seconds / 86_400, "d"), (seconds / 3600 % 24, "h"), (seconds / 60 % 60, "m"), (seconds % 60, "s")];
    let first = units.iter().position(|(n, _)| *n > 0).unwrap_or(units.len());
    let shown: Vec<String> = units
        .iter()
        .skip(first)
        .take(2)
        .filter(|(n, _)| *n > 0)
        .map(|(n, unit)| format!("{n}{unit}"))
        .collect();
    shown.join(" ")
}

/// Formats an age: `just now`, `5m ago`, `2d 4h ago`; `in 5m` for the future.
#[must_use]
pub fn ago(then: Timestamp, now: Timestamp) -> String {
    let length: SignedDuration = now.duration_since(then);
    let seconds = length.as_secs().unsigned_abs();
    match seconds {
        0 => "just now".to_owned(),
        _ if length.is_negative() => format!("in {}", duration(Duration::from_secs(seconds))),
        _ => format!("{} ago", duration(Duration::from_secs(seconds))),
    }
}

/// Formats a time in `zone`: `Tue 24 Nov 02:15 CET`.
///
/// Adds the year if it is not that of `now`, and the seconds if they are not zero.
#[must_use]
pub fn moment(at: Timestamp, zone: &TimeZone, now: Timestamp) -> String {
    let at = at.to_zoned_datetime(zone.clone());
    let year = if at.year() == now.to_zoned_datetime(zone.clone()).year() { "" } else { "%Y " };
    let seconds = if at.second() == 0 { "" } else { ":%S" };
    at.strftime(&format!("%a %-d %b {year}%H:%M{seconds} %Z")).to_string()
}

/// Like [`moment`], with the time in `local` if the zones differ then.
///
/// Example: `Tue 24 Nov 02:15 CET (01:15 UTC here)`, with the day if it differs.
#[must_use]
pub fn moment_in_both(at: Timestamp, zone: &TimeZone, local: &TimeZone, now: Timestamp) -> String {
    let (there, here) = (at.to_zoned_datetime(zone.clone()), at.to_zoned_datetime(local.clone()));
    let told = moment(at, zone, now);
    if there.offset() == here.offset() {
        return told;
    }
    let format = if there.date() == here.date() { "%H:%M %Z" } else { "%a %-d %b %H:%M %Z" };
    format!("{told} ({} here)", here.strftime(format))
}

/// Joins items: `a`, `a and b`, `a, b and c`.
#[must_use]
pub fn list(items: &[String]) -> String {
    match items {
        [] => String::new(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

/// Names the first items and counts the others: `a, b and 3 more`.
pub fn first_of(items: impl IntoIterator<Item = String>, most: usize) -> String {
    let mut items = items.into_iter();
    let named = items.by_ref().take(most).collect::<Vec<_>>().join(", ");
    match items.count() {
        0 => named,
        more => format!("{named} and {} more", number(more)),
    }
}

fn plural(noun: &str) -> String {
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ if noun.ends_with(['s', 'x']) => format!("{noun}es"),
        _ => format!("{noun}s"),
    }
}

/// Truncates the text to this number of columns and marks the end with `…`.
#[must_use]
pub fn truncate(text: &str, columns: usize) -> String {
    if style::width(text) <= columns {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if style::width(&kept) >= columns {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

/// Shortens a described commit to nine digits, and `-dirty` if it ends so.
#[must_use]
pub fn short_commit(described: &str) -> String {
    const DIGITS: usize = 9;
    let (commit, dirty) =
        described.strip_suffix(DIRTY_SUFFIX).map_or((described, ""), |commit| (commit, DIRTY_SUFFIX));
    format!("{}{dirty}", commit.get(..DIGITS).unwrap_or(commit))
}

/// Suffix of a commit whose files differ from those that were read, as in `git describe --dirty`.
pub const DIRTY_SUFFIX: &str = "-dirty";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        for (n, noun, expected) in [
            (0, "source", "0 sources"),
            (1, "source", "1 source"),
            (1_234_567, "source", "1,234,567 sources"),
            (2, "query", "2 queries"),
            (2, "api_key", "2 api_keys"),
            (2, "address", "2 addresses"),
        ] {
            assert_eq!(count(n, noun), expected);
        }
    }

    #[test]
    fn a_length_is_told_in_two_units() {
        for (milliseconds, expected) in [
            (0, "0s"),
            (20, "20ms"),
            (1_500, "1.5s"),
            (45_900, "45s"),
            (90_000, "1m 30s"),
            (6 * 3_600_000, "6h"),
            (5_400_000, "1h 30m"),
            (187_200_000, "2d 4h"),
            (172_801_000, "2d"),
        ] {
            assert_eq!(duration(Duration::from_millis(milliseconds)), expected);
        }
        assert!(!duration(Duration::MAX).is_empty());
    }

    #[test]
    fn a_moment_is_told_on_its_own_clock() {
        let now: Timestamp = "2026-11-23T21:00:00Z".parse().unwrap();
        let rome = TimeZone::get("Europe/Rome").unwrap();
        let check = |at: &str, expected: &str| assert_eq!(moment(at.parse().unwrap(), &rome, now), expected);
        check("2026-11-24T01:15:00Z", "Tue 24 Nov 02:15 CET");
        check("2027-07-01T01:15:00Z", "Thu 1 Jul 2027 03:15 CEST");
        assert_eq!(ago("2026-11-23T20:54:30Z".parse().unwrap(), now), "5m 30s ago");
        assert_eq!(ago("2026-11-23T21:05:00Z".parse().unwrap(), now), "in 5m");
        assert_eq!(ago(now, now), "just now");
        assert!(ago(Timestamp::MIN, Timestamp::MAX).ends_with(" ago"));
    }

    #[test]
    fn another_clock_here_is_told_as_well() {
        let check = |zone: &str, local: &str, expected: &str| {
            let at = "2026-11-24T01:15:00Z".parse().unwrap();
            let (zone, local) = (TimeZone::get(zone).unwrap(), TimeZone::get(local).unwrap());
            assert_eq!(moment_in_both(at, &zone, &local, at), expected);
        };
        check("Europe/Rome", "UTC", "Tue 24 Nov 02:15 CET (01:15 UTC here)");
        check("Europe/Rome", "Europe/Berlin", "Tue 24 Nov 02:15 CET");
        check("Europe/Rome", "America/New_York", "Tue 24 Nov 02:15 CET (Mon 23 Nov 20:15 EST here)");
    }

    #[test]
    fn a_list_reads_as_a_sentence() {
        let items: Vec<String> = ["a", "b", "c"].map(str::to_owned).into();
        assert_eq!(list(&items), "a, b and c");
        assert_eq!(list(&items[..2]), "a and b");
    }

    #[test]
    fn what_is_too_wide_is_cut_at_its_columns() {
        assert_eq!(truncate("a/one, a/two", 12), "a/one, a/two");
        assert_eq!(truncate("a/one, a/two", 8), "a/one, …");
        assert_eq!(truncate("東京, 大阪", 8), "東京, …");
    }
}
