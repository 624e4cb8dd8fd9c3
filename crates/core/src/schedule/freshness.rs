//! Compares the age of a source's data with its `stale_after`.

use crate::model::SyncSpec;
use jiff::{SignedDuration, Timestamp};

/// Freshness of a source's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Recent enough, until the given time.
    Fresh {
        /// First instant at which the data is stale.
        until: Timestamp,
    },
    /// Older than `stale_after`.
    Stale {
        /// Time at which it became stale.
        since: Timestamp,
    },
}

impl Freshness {
    /// Returns true if the data is older than `stale_after`.
    #[must_use]
    pub fn is_stale(self) -> bool {
        matches!(self, Self::Stale { .. })
    }
}

/// Rates a source by its last successful sync.
///
/// Without one, counts from the time its schedule was first seen. `None` if the schedule has no
/// `stale_after`.
#[must_use]
pub fn freshness(
    spec: &SyncSpec,
    last_success: Option<Timestamp>,
    known_since: Timestamp,
    now: Timestamp,
) -> Option<Freshness> {
    let promised = SignedDuration::try_from(spec.stale_after?).unwrap_or(SignedDuration::MAX);
    let until = last_success.unwrap_or(known_since).checked_add(promised).unwrap_or(Timestamp::MAX);
    Some(if until <= now { Freshness::Stale { since: until } } else { Freshness::Fresh { until } })
}

#[cfg(test)]
mod tests {
    use super::{Freshness, freshness};
    use crate::model::{Missed, Overlap, Schedule, SyncSpec};
    use jiff::Timestamp;
    use std::time::Duration;

    fn check(stale_after: Option<u64>, success: Option<i64>, now: i64, expected: Option<Freshness>) {
        let spec = SyncSpec {
            when: Schedule::Every(Duration::from_secs(60)),
            jitter: Duration::ZERO,
            stale_after: stale_after.map(Duration::from_secs),
            missed: Missed::Once,
            timeout: None,
            on_connect: true,
            on_change: false,
            overlap: Overlap::Forbid,
        };
        assert_eq!(freshness(&spec, success.map(at), at(1000), at(now)), expected);
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn data_is_stale_from_the_very_instant_on() {
        check(Some(100), Some(2000), 2099, Some(Freshness::Fresh { until: at(2100) }));
        check(Some(100), Some(2000), 2100, Some(Freshness::Stale { since: at(2100) }));
    }

    #[test]
    fn what_never_synced_is_judged_by_when_its_schedule_began() {
        check(Some(100), None, 1050, Some(Freshness::Fresh { until: at(1100) }));
        check(Some(100), None, 1200, Some(Freshness::Stale { since: at(1100) }));
    }

    #[test]
    fn without_a_promise_nothing_is_stale_and_no_length_overflows() {
        check(None, None, i64::MAX >> 28, None);
        check(Some(u64::MAX), Some(2000), 2000, Some(Freshness::Fresh { until: Timestamp::MAX }));
    }
}
