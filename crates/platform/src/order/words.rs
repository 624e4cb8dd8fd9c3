//! Order of texts that are neither numbers nor times.

use std::cmp::Ordering;

/// Names of the months, which may be abbreviated to their first letters.
const MONTHS: [&str; 12] = [
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
];

/// Compares texts by their characters, if that is their order.
///
/// Applies to words and to codes of one shape such as ULIDs. Excludes `v9` and `v10`, and dates
/// that begin with the day or the month.
pub(super) fn compare(one: &str, other: &str) -> Option<Ordering> {
    if one == other {
        return Some(Ordering::Equal);
    }
    if is_date(one) || is_date(other) {
        return None;
    }
    let mut ones = parts(one);
    let mut others = parts(other);
    loop {
        match (ones.next(), others.next()) {
            (Some(one), Some(other)) if one == other => {}
            (Some(one), Some(other)) => {
                let words = !has_digit(one) && !has_digit(other);
                return if words || one.len() == other.len() { Some(one.cmp(other)) } else { None };
            }
            (None, Some(_)) => return Some(Ordering::Less),
            (Some(_), None) => return Some(Ordering::Greater),
            (None, None) => return Some(one.cmp(other)),
        }
    }
}

/// Splits a text into runs of letters and digits, and single other characters.
fn parts(text: &str) -> impl Iterator<Item = &str> {
    text.split_inclusive(|sign: char| !sign.is_alphanumeric()).flat_map(|part| {
        let run = part.trim_end_matches(|sign: char| !sign.is_alphanumeric());
        [run, &part[run.len()..]].into_iter().filter(|part| !part.is_empty())
    })
}

fn has_digit(part: &str) -> bool {
    part.bytes().any(|byte| byte.is_ascii_digit())
}

/// Returns true for dates that begin with their day or month or name the month.
///
/// Also for times of a twelve-hour clock.
fn is_date(text: &str) -> bool {
    let sign = |sign: char| !sign.is_alphanumeric();
    let runs: Vec<&str> = text.split(sign).filter(|run| !run.is_empty()).collect();
    let number = |run: &&str| run.bytes().all(|byte| byte.is_ascii_digit());
    let short = |run: &&str| number(run) && run.len() <= 2;
    let named = |run: &&str| {
        let name = run.to_ascii_lowercase();
        let month = name.len() >= 3 && MONTHS.iter().any(|month| month.starts_with(&name));
        month || matches!(name.as_str(), "am" | "pm")
    };
    let parted = text.find(sign).is_some_and(|at| matches!(text.as_bytes()[at], b'/' | b'.' | b'-' | b' '));
    let day_first = matches!(runs.as_slice(), [day, month, year, ..]
        if parted && short(day) && short(month) && number(year) && matches!(year.len(), 2 | 4));
    day_first || runs.iter().any(named) && runs.iter().any(number)
}
