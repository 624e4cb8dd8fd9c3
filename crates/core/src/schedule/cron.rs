//! A cron expression as a set of minutes, independent of time zones.
//!
//! croner parses and decides which days match (`L`, `W`, `#`). The search is our own, because
//! croner treats steps differently from fixed times at clock changes, and its search is unbounded.

use super::ScheduleError;
use croner::parser::{CronParser, Seconds, Year};
use croner::{CronComponent, CronPattern, Weekday};
use jiff::civil::{Date, DateTime};

/// Maximum length of an expression in bytes, far above any in use.
const MAX_LENGTH: usize = 256;

/// Longest gap between two matching days in years.
///
/// A 29 February on a given weekday, across a century without a leap year.
const MAX_PAUSE_YEARS: i16 = 40;

/// A parsed expression that matches at least one minute.
#[derive(Debug, Clone)]
pub(super) struct Cron {
    days: CronPattern,
    /// Bit `n` represents hour `n`.
    hours: u32,
    /// Bit `n` is minute `n`.
    minutes: u64,
}

impl Cron {
    pub(super) fn parse(expression: &str) -> Result<Self, ScheduleError> {
        if expression.len() > MAX_LENGTH {
            return Err(ScheduleError::TooLong { length: expression.len(), limit: MAX_LENGTH });
        }
        let written = || expression.to_owned();
        let found = expression.split_whitespace().count();
        if found != 5 || expression.contains('@') {
            return Err(ScheduleError::Fields { expression: written(), found });
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed).build();
        let mut days = parser
            .parse(expression)
            .map_err(|source| ScheduleError::Expression { expression: written(), source })?
            .pattern;
        // Five fields have no year; croner's table of years would take 5 kB per source.
        days.years = CronComponent::default();
        let hours = days.hours.values().iter().fold(0, |bits, hour| bits | 1 << hour);
        let minutes = days.minutes.values().iter().fold(0, |bits, minute| bits | 1 << minute);
        let cron = Self { days, hours, minutes };
        // An expression that matches at all does so within the longest gap from any day.
        match cron.at_or_after(DateTime::constant(2000, 1, 1, 0, 0, 0, 0)) {
            Some(_) => Ok(cron),
            None => Err(ScheduleError::Never { expression: written() }),
        }
    }

    /// Returns the first matching minute that begins at `from` or later.
    pub(super) fn at_or_after(&self, from: DateTime) -> Option<DateTime> {
        let from = if is_whole(from) { from } else { minute_after(from)? };
        if self.matches_day(from.date())
            && let Some(found) = self.time_at_or_after(hour(from), minute(from))
        {
            return at(from.date(), found);
        }
        let mut day = from.date().tomorrow().ok()?;
        let last_year = day.year().saturating_add(MAX_PAUSE_YEARS + 1);
        while !self.matches_day(day) {
            let skipped = if self.matches_month(day) { day } else { day.last_of_month() };
            day = skipped.tomorrow().ok()?;
            if day.year() > last_year {
                return None;
            }
        }
        at(day, self.time_at_or_after(0, 0)?)
    }

    /// Returns the last matching minute that begins at `from` or earlier.
    pub(super) fn at_or_before(&self, from: DateTime) -> Option<DateTime> {
        if self.matches_day(from.date())
            && let Some(found) = self.time_at_or_before(hour(from), minute(from))
        {
            return at(from.date(), found);
        }
        let mut day = from.date().yesterday().ok()?;
        let first_year = day.year().saturating_sub(MAX_PAUSE_YEARS + 1);
        while !self.matches_day(day) {
            let skipped = if self.matches_month(day) { day } else { day.first_of_month() };
            day = skipped.yesterday().ok()?;
            if day.year() < first_year {
                return None;
            }
        }
        at(day, self.time_at_or_before(23, 59)?)
    }

    fn matches_month(&self, day: Date) -> bool {
        self.days.month_match(day.month().unsigned_abs().into()).unwrap_or(false)
    }

    fn matches_day(&self, day: Date) -> bool {
        let weekday =
            Weekday::from_days_from_sunday(day.weekday().to_sunday_zero_offset().unsigned_abs().into());
        let (month, of_month) = (day.month().unsigned_abs().into(), day.day().unsigned_abs().into());
        self.matches_month(day)
            && self.days.day_match(day.year().into(), month, of_month, weekday).unwrap_or(false)
    }

    fn time_at_or_after(&self, hour: u32, minute: u32) -> Option<(u32, u32)> {
        let left_in_hour = self.minutes >> minute;
        if self.hours >> hour & 1 == 1 && left_in_hour != 0 {
            return Some((hour, minute + left_in_hour.trailing_zeros()));
        }
        let later = self.hours >> (hour + 1);
        if later != 0 && self.minutes != 0 {
            Some((hour + 1 + later.trailing_zeros(), self.minutes.trailing_zeros()))
        } else {
            None
        }
    }

    fn time_at_or_before(&self, hour: u32, minute: u32) -> Option<(u32, u32)> {
        let passed_in_hour = self.minutes & (u64::MAX >> (63 - minute));
        if self.hours >> hour & 1 == 1 && passed_in_hour != 0 {
            return Some((hour, passed_in_hour.ilog2()));
        }
        let earlier = self.hours & ((1 << hour) - 1);
        if earlier != 0 && self.minutes != 0 { Some((earlier.ilog2(), self.minutes.ilog2())) } else { None }
    }
}

/// Start of the minute after `civil`; `None` at the end of the calendar.
pub(super) fn minute_after(civil: DateTime) -> Option<DateTime> {
    minute_of(civil)?.checked_add(jiff::SignedDuration::from_mins(1)).ok()
}

/// Start of the minute before `civil`; `None` at the start of the calendar.
pub(super) fn minute_before(civil: DateTime) -> Option<DateTime> {
    minute_of(civil)?.checked_sub(jiff::SignedDuration::from_mins(1)).ok()
}

fn minute_of(civil: DateTime) -> Option<DateTime> {
    at(civil.date(), (hour(civil), minute(civil)))
}

fn is_whole(civil: DateTime) -> bool {
    civil.second() == 0 && civil.subsec_nanosecond() == 0
}

fn hour(civil: DateTime) -> u32 {
    civil.hour().unsigned_abs().into()
}

fn minute(civil: DateTime) -> u32 {
    civil.minute().unsigned_abs().into()
}

fn at(day: Date, (hour, minute): (u32, u32)) -> Option<DateTime> {
    let time = jiff::civil::Time::new(i8::try_from(hour).ok()?, i8::try_from(minute).ok()?, 0, 0).ok()?;
    Some(day.to_datetime(time))
}

#[cfg(test)]
mod tests {
    use super::Cron;
    use crate::schedule::ScheduleError;
    use jiff::civil::DateTime;

    fn civil(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    #[test]
    fn finds_the_nearest_matching_minute_in_both_directions() {
        let check = |expression: &str, from: &str, after: &str, before: &str| {
            let cron = Cron::parse(expression).unwrap();
            assert_eq!(cron.at_or_after(civil(from)), Some(civil(after)), "{expression} after {from}");
            assert_eq!(cron.at_or_before(civil(from)), Some(civil(before)), "{expression} before {from}");
        };
        check("* * * * *", "2026-05-05T10:20:30", "2026-05-05T10:21:00", "2026-05-05T10:20:00");
        check("15 2 * * MON-SAT", "2026-05-03T12:00:00", "2026-05-04T02:15:00", "2026-05-02T02:15:00");
        check("*/15 2 * * *", "2026-05-05T02:45:00", "2026-05-05T02:45:00", "2026-05-05T02:45:00");
        check("*/15 2 * * *", "2026-05-05T02:45:01", "2026-05-06T02:00:00", "2026-05-05T02:45:00");
        check("59 23 31 12 *", "2026-12-31T23:59:59", "2027-12-31T23:59:00", "2026-12-31T23:59:00");
        check("0 0 1 1 *", "2026-06-01T00:00:00", "2027-01-01T00:00:00", "2026-01-01T00:00:00");
        check("0 9 L * *", "2028-02-01T00:00:00", "2028-02-29T09:00:00", "2028-01-31T09:00:00");
        check("0 9 * * FRI#2", "2026-05-01T00:00:00", "2026-05-08T09:00:00", "2026-04-10T09:00:00");
    }

    #[test]
    fn waits_decades_for_a_rare_day() {
        let monday_leap_day = Cron::parse("0 0 29 2 +MON").unwrap();
        assert_eq!(
            monday_leap_day.at_or_after(civil("2072-03-01T00:00:00")),
            Some(civil("2112-02-29T00:00:00"))
        );
        assert_eq!(
            monday_leap_day.at_or_before(civil("2112-02-28T00:00:00")),
            Some(civil("2072-02-29T00:00:00"))
        );
    }

    #[test]
    fn refuses_what_is_not_five_fields_and_what_never_fires() {
        let says = |expression: &str| Cron::parse(expression).unwrap_err().to_string();
        assert!(says("0 15 2 * * MON").contains("a seconds field is not used here"));
        assert!(says("@daily").contains("nicknames"));
        assert!(says("15 2 * *").contains("it has 4 fields"));
        assert!(says("0 0 30 2 *").contains("never fires"));
        assert!(says("61 0 * * *").contains("61 0"));
        assert!(says(&"1,".repeat(400)).contains("limit"));
        assert!(matches!(Cron::parse("a b c d e"), Err(ScheduleError::Expression { .. })));
    }
}
