//! A cron expression on the wall clock of a time zone.
//!
//! Every matching wall-clock minute becomes one instant: the first time the clock shows it or, where
//! the clock leaves it out, the first instant after the gap. Seen so, a later minute is never an
//! earlier instant, and the searches below need no other rule for changing clocks.

use super::cron::{Cron, minute_after, minute_before};
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

/// Cron in a zone.
#[derive(Debug, Clone)]
pub(super) struct Calendar {
    pub(super) cron: Cron,
    pub(super) zone: TimeZone,
}

impl Calendar {
    /// The first firing strictly after `t`.
    pub(super) fn after(&self, t: Timestamp) -> Option<Timestamp> {
        let mut civil = minute_after(self.zone.to_datetime(t))?;
        loop {
            civil = self.cron.at_or_after(civil)?;
            let firing = self.instant(civil)?;
            if firing > t {
                return Some(firing);
            }
            // The clock shows these minutes a second time; they fired at the first.
            civil = minute_after(civil)?;
        }
    }

    /// The last firing at or before `t`.
    pub(super) fn at_or_before(&self, t: Timestamp) -> Option<Timestamp> {
        let local = self.zone.to_datetime(t);
        // In a repeated hour, minutes that the clock will show again have fired already.
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

    /// The one instant of a wall-clock minute.
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
