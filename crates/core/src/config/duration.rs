//! Parses durations: `90s`, `30m`, `1h30m`, `2d`.

use std::time::Duration;

/// Maximum duration: 366 days.
///
/// Longer ones are mistakes, and the limit keeps later arithmetic far from overflow.
const MAX_DURATION: Duration = Duration::from_secs(366 * 86_400);

/// Parses a duration of at least one second.
///
/// # Errors
/// With a phrase that explains why the text is invalid.
pub(super) fn parse(text: &str) -> Result<Duration, &'static str> {
    const EXPECTED_FORM: &str = "a duration is a number and a unit: `90s`, `30m`, `2h`, `1d`, `1h30m`";
    let mut rest = text.trim();
    let mut total = 0_u64;
    let mut last = u64::MAX;
    if rest.is_empty() {
        return Err(EXPECTED_FORM);
    }
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
        let (unit, tail) = tail.split_at(letters);
        let seconds = match unit {
            "s" => 1,
            "m" => 60,
            "h" => 3_600,
            "d" => 86_400,
            "w" => 604_800,
            "ms" => return Err("one second is the shortest"),
            _ => return Err(EXPECTED_FORM),
        };
        if seconds >= last {
            return Err("larger units come first, each once: `1h30m`");
        }
        last = seconds;
        let number: u64 = number.parse().map_err(|_| EXPECTED_FORM)?;
        total = number
            .checked_mul(seconds)
            .and_then(|part| total.checked_add(part))
            .ok_or("366 days are the longest")?;
        rest = tail.trim_start();
    }
    match Duration::from_secs(total) {
        duration if duration < Duration::from_secs(1) => Err("one second is the shortest"),
        duration if duration > MAX_DURATION => Err("366 days are the longest"),
        duration => Ok(duration),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::format_duration;

    #[test]
    fn people_s_durations_are_read_and_shown_again() {
        for (text, seconds) in
            [("90s", 90), ("30m", 1_800), ("2h", 7_200), ("1d", 86_400), ("1h30m", 5_400), ("1h 30m", 5_400)]
        {
            assert_eq!(parse(text), Ok(Duration::from_secs(seconds)), "{text}");
            assert_eq!(
                parse(&format_duration(Duration::from_secs(seconds))),
                Ok(Duration::from_secs(seconds))
            );
        }
    }

    #[test]
    fn what_is_no_duration_is_refused() {
        for text in [
            "",
            "5",
            "m",
            "0s",
            "0m",
            "-1s",
            "1.5h",
            "30m1h",
            "1m1m",
            "500ms",
            "9999d",
            "1y",
            "1 m",
            "99999999999999999999s",
            "9223372036854775807w",
            "٣m",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
