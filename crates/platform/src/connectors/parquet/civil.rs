//! Formats dates and times of any year in ISO 8601.

const DAY_NANOS: i128 = 86_400_000_000_000;

/// Formats a date, given as days since 1970-01-01.
///
/// Years after 9999 have as many digits as needed, years before 0 a sign and six digits.
pub(super) fn date(days: i64) -> String {
    // Counted in eras of 400 years from 0000-03-01, so that the leap day ends a year.
    let (era, of_era) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = era * 400 + year_of_era + i64::from(month < 3);
    if year < 0 {
        format!("-{:06}-{month:02}-{day:02}", -year)
    } else {
        format!("{year:04}-{month:02}-{day:02}")
    }
}

/// Formats a time without trailing zeros in its fraction.
///
/// Some writers store durations as times of day, so hours may exceed 24, and the time be negative.
pub(super) fn time(nanos: i128) -> String {
    let sign = if nanos < 0 { "-" } else { "" };
    let nanos = nanos.abs();
    let (seconds, fraction) = (nanos / 1_000_000_000, nanos % 1_000_000_000);
    let clock = format!("{sign}{:02}:{:02}:{:02}", seconds / 3_600, seconds / 60 % 60, seconds % 60);
    match fraction {
        0 => clock,
        _ => format!("{clock}.{}", format!("{fraction:09}").trim_end_matches('0')),
    }
}

/// Formats nanoseconds since 1970; `None` if the day exceeds 64 bits.
pub(super) fn date_time(nanos: i128) -> Option<String> {
    let days = i64::try_from(nanos.div_euclid(DAY_NANOS)).ok()?;
    Some(format!("{}T{}", date(days), time(nanos.rem_euclid(DAY_NANOS))))
}

#[cfg(test)]
mod tests {
    use super::{date, date_time, time};

    #[test]
    fn days_are_the_dates_of_the_calendar() {
        for (days, expected) in [
            (0, "1970-01-01"),
            (-1, "1969-12-31"),
            (11_016, "2000-02-29"),
            (11_017, "2000-03-01"),
            (47_540, "2100-02-28"),
            (47_541, "2100-03-01"),
            (2_932_896, "9999-12-31"),
            (2_932_897, "10000-01-01"),
            (-719_528, "0000-01-01"),
            (-719_529, "-000001-12-31"),
            (2_147_483_646, "5881580-07-10"),
        ] {
            assert_eq!(date(days), expected);
        }
        // Samples of 3,000 years, compared with another implementation.
        let start = jiff::civil::date(1, 1, 1);
        for (days, found) in start.series(jiff::ToSpan::days(1)).take(1_100_000).step_by(97).enumerate() {
            let days = i64::try_from(days).unwrap() * 97 - 719_162;
            assert_eq!(date(days), found.to_string());
        }
    }

    #[test]
    fn times_reach_beyond_the_end_of_their_day() {
        assert_eq!(time(0), "00:00:00");
        assert_eq!(time(86_399_999_999_000), "23:59:59.999999");
        assert_eq!(time(86_400_000_000_000), "24:00:00");
        assert_eq!(time(180_000_000_000_001), "50:00:00.000000001");
        assert_eq!(time(-1), "-00:00:00.000000001");
        assert_eq!(date_time(-1).as_deref(), Some("1969-12-31T23:59:59.999999999"));
        assert_eq!(date_time(253_402_300_799_000_000_000).as_deref(), Some("9999-12-31T23:59:59"));
    }
}
