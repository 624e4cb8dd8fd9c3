//! A cron expression on the wall clock of a time zone.
//!
//! Every matching wall-clock minute maps to one instant: the first time the clock shows it or, if
//! the clock skips it, the first instant after the gap. The mapping is monotonic, so the searches
//! below need no other rule for clock changes.

use super::cron::{Cron, minute_after, minute_before};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// A cron expression and its time zone.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    pub(super) cron: Cron,
    pub(super) zone: TimeZone,
}

impl Calendar {
    /// Returns the first firing strictly after `t`.
    pub(super) fn after(&self, t: Timestamp) -> Option<Timestamp> {
        let mut civil = minute_after(self.zone.to_datetime(t))?;
        loop {
            civil = self.cron.at_or_after(civil)?;
            let firing = self.instant(civil)?;
            if firing > t {
                return Some(firing);
            }
            // These minutes repeat after a clock change; they fired the first time.
            civil = minute_after(civil)?;
        }
    }

    /// Returns the last firing at or before `t`.
    pub(super) fn at_or_before(&self, t: Timestamp) -> Option<Timestamp> {
        let local = self.zone.to_datetime(t);
        // In a repeated hour, minutes that will repeat have fired already.
        let mut civil = match self.zone.to_ambiguous_timestamp(local).offset() {
            AmbiguousOffset::Fold { before, .. } => before.to_datetime(t),
            AmbiguousOffset::Gap { .. } | AmbiguousOffset::Unambiguous { .. } => local,
        };
        loop {
            civil = self.cron.at_or_before(civil)?;
            let firing = self.instant(civil)?;
            if firing <= t {
                return Some(firing);
            }
            civil = minute_before(civil)?;
        }
    }

    /// Returns the instant of a wall-clock minute.
    fn instant(&self, civil: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(civil);
        match ambiguous.offset() {
            AmbiguousOffset::Gap { after, .. } => {
                let before_gap = ambiguous.earlier().ok()?;
                let change = self.zone.following(before_gap).take(4).find(|change| change.offset() == after);
                change.map(|change| change.timestamp())
            }
            AmbiguousOffset::Fold { .. } | AmbiguousOffset::Unambiguous { .. } => ambiguous.earlier().ok(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Calendar, Cron};
    use jiff::tz::TimeZone;

    /// Compares all firings of an interval, formatted in local time.
    fn check(expression: &str, zone: &str, (from, to): (&str, &str), expected: &[&str]) {
        let calendar =
            Calendar { cron: Cron::parse(expression).unwrap(), zone: TimeZone::get(zone).unwrap() };
        let (from, to) = (from.parse().unwrap(), to.parse().unwrap());
        let forwards: Vec<_> = std::iter::successors(calendar.after(from), |t| calendar.after(*t))
            .take_while(|t| *t <= to)
            .collect();
        let nanosecond = jiff::SignedDuration::from_nanos(1);
        let mut backwards: Vec<_> =
            std::iter::successors(calendar.at_or_before(to), |t| calendar.at_or_before(*t - nanosecond))
                .take_while(|t| *t > from)
                .collect();
        backwards.reverse();
        assert_eq!(forwards, backwards, "{expression} {zone}");
        let shown: Vec<_> =
            forwards.iter().map(|t| calendar.zone.to_offset(*t).to_datetime(*t).to_string()).collect();
        assert_eq!(shown, expected, "{expression} {zone}");
    }

    const SPRING: (&str, &str) = ("2026-03-28T12:00:00Z", "2026-03-29T12:00:00Z");
    const AUTUMN: (&str, &str) = ("2026-10-24T12:00:00Z", "2026-10-25T12:00:00Z");

    #[test]
    fn what_the_missing_hour_holds_runs_once_right_after_it() {
        for expression in ["30 2 * * *", "*/15 2 * * *", "*/30 2 * * *", "10,50 2,3-3 29 3 *"] {
            let mut expected = vec!["2026-03-29T03:00:00"];
            if expression.contains("2,3") {
                expected.extend(["2026-03-29T03:10:00", "2026-03-29T03:50:00"]);
            }
            check(expression, "Europe/Berlin", SPRING, &expected);
        }
        check("0 2,3 * * *", "Europe/Berlin", SPRING, &["2026-03-29T03:00:00"]);
    }

    #[test]
    fn the_repeated_hour_runs_once() {
        check("*/30 2 * * *", "Europe/Berlin", AUTUMN, &["2026-10-25T02:00:00", "2026-10-25T02:30:00"]);
        check(
            "0 1-4 * * *",
            "Europe/Berlin",
            AUTUMN,
            &["2026-10-25T01:00:00", "2026-10-25T02:00:00", "2026-10-25T03:00:00", "2026-10-25T04:00:00"],
        );
    }

    #[test]
    fn a_day_the_calendar_left_out_runs_when_the_next_begins() {
        let around = ("2011-12-29T12:00:00Z", "2011-12-31T09:00:00Z");
        check("0 7,19 30 * *", "Pacific/Apia", around, &["2011-12-31T00:00:00"]);
    }

    #[test]
    fn the_ends_of_time_are_no_firing() {
        let calendar = Calendar { cron: Cron::parse("0 0 1 1 *").unwrap(), zone: TimeZone::UTC };
        assert_eq!(calendar.after(jiff::Timestamp::MAX), None);
        assert_eq!(calendar.at_or_before(jiff::Timestamp::MIN), None);
    }
}
