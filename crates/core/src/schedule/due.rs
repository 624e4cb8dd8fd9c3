//! Decides which sources are due, and what to record about them.

use super::{BatchKey, CompiledSchedule};
use crate::model::{Missed, Overlap, SourceName, SyncSpec, WorkspaceRef};
use jiff::{SignedDuration, Timestamp};

/// Age from which `missed = "skip"` skips a firing.
///
/// Long enough for a slow pass of the loop, too short for an outage.
pub const LATE_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// Tolerated clock difference between a recorded firing and now.
///
/// Within it the schedule waits, because clocks of hosts differ and are corrected. Beyond it the
/// record is attributed to a wrong clock.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Maximum count of missed firings; this number means "as many or more".
pub const MAX_MISSED_COUNT: u32 = 100;

/// A source with its schedule and last claim.
#[derive(Debug, Clone, Copy)]
pub struct ScheduleInput<'a> {
    /// Workspace and scope.
    pub workspace: &'a WorkspaceRef,
    /// Name of the source.
    pub name: &'a SourceName,
    /// `sync`, as declared.
    pub spec: &'a SyncSpec,
    /// `sync`, compiled for this source.
    pub timing: &'a CompiledSchedule,
    /// `sync_options`, as sent.
    pub options: &'a serde_json::Map<String, serde_json::Value>,
    /// Last claim; `None` if there is no record.
    pub last: Option<LastClaim>,
    /// Time when the schedule was first seen.
    ///
    /// Without a record, earlier firings are ignored.
    pub known_since: Timestamp,
    /// Suspended sources are never due.
    ///
    /// When the source resumes, the firings in between count as missed.
    pub suspended: bool,
}

impl<'a> ScheduleInput<'a> {
    /// Returns the terms of this source's sync request.
    #[must_use]
    pub fn batch_key(&self) -> BatchKey<'a> {
        BatchKey { workspace: self.workspace, options: self.options, timeout: self.spec.timeout }
    }

    /// Returns the time up to which firings are used.
    fn claimed(&self) -> Timestamp {
        self.last.map_or(self.known_since, |last| last.firing)
    }
}

/// The record of a source's last claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastClaim {
    /// Last claimed firing, whether run, used up or skipped.
    pub firing: Timestamp,
    /// A sync of this source is running, for any reason.
    pub running: bool,
    /// Time at which the last sync ended, if known.
    ///
    /// The lateness of a queued firing is measured from then.
    pub ended: Option<Timestamp>,
}

/// Sources to sync, and firings to record.
///
/// The caller records every `firing` in `due`, `skipped` and `rewound` as the source's last claim
/// *before* acting. If a source is in both `due` and `skipped`, the firing in `due` is later and
/// the one to record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// Sources to sync now, in input order.
    pub due: Vec<DueRun>,
    /// Firings that will not run.
    pub skipped: Vec<Skipped>,
    /// Records in the future, because the clock was set back.
    pub rewound: Vec<Rewound>,
    /// Earliest future firing.
    ///
    /// A queued firing needs no timer: the end of the running sync triggers it.
    pub wake_at: Option<Timestamp>,
}

impl Decision {
    /// Returns true if the clock was set back since a firing was recorded.
    #[must_use]
    pub fn clock_behind(&self) -> bool {
        !self.rewound.is_empty()
    }
}

/// A source to sync now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DueRun {
    /// Index of the source in the input.
    pub index: usize,
    /// Latest past firing, which this run covers.
    pub firing: Timestamp,
    /// Number of earlier firings that this run also covers, up to [`MAX_MISSED_COUNT`].
    pub missed: u32,
}

/// Firings of a source that will not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Index of the source in the input.
    pub index: usize,
    /// The last of these firings.
    pub firing: Timestamp,
    /// Number of these firings, up to [`MAX_MISSED_COUNT`].
    pub count: u32,
    /// Reason for skipping.
    pub reason: SkipReason,
}

/// Reason why a firing does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkipReason {
    /// `missed = "skip"`, and it is older than [`LATE_AFTER`] or a later one is due.
    Late,
    /// `overlap = "forbid"`, and the last sync is still running.
    Running,
}

/// A source whose record is more than [`CLOCK_TOLERANCE`] in the future.
///
/// Its schedule continues from now, instead of waiting for the clock to reach the record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewound {
    /// Index of the source in the input.
    pub index: usize,
    /// Recorded firing, or recorded first sight of the schedule.
    pub recorded: Timestamp,
    /// Time to record instead: now. Later firings run as usual.
    pub firing: Timestamp,
}

/// Returns the due sources and the firings to record at `now`.
///
/// A firing at or before the last claim is never due, nor is a suspended source.
#[must_use]
pub fn due(now: Timestamp, sources: &[ScheduleInput<'_>]) -> Decision {
    let mut decision = Decision::default();
    for (index, source) in sources.iter().enumerate().filter(|(_, source)| !source.suspended) {
        let next = decision.evaluate(now, index, source);
        decision.wake_at = decision.wake_at.into_iter().chain(next).min();
    }
    decision
}

/// Returns the time before which [`due`] has no result for this source.
///
/// Assumes that nothing is recorded for it and the clock is not set back; `None` if there is no
/// such time. The caller need not check the source earlier.
#[must_use]
pub fn next_decision_at(now: Timestamp, source: &ScheduleInput<'_>) -> Option<Timestamp> {
    if source.suspended {
        return None;
    }
    let claimed = source.claimed();
    if claimed.duration_since(now) > CLOCK_TOLERANCE {
        return Some(now);
    }
    // A queued firing waits for the end of the running sync.
    let queued = source.spec.overlap == Overlap::Queue && source.last.is_some_and(|last| last.running);
    if queued { None } else { source.timing.next_after(claimed) }
}

impl Decision {
    /// Decides about one source; returns its first firing after `now`.
    fn evaluate(&mut self, now: Timestamp, index: usize, source: &ScheduleInput<'_>) -> Option<Timestamp> {
        let timing = source.timing;
        let claimed = source.claimed();
        if claimed.duration_since(now) > CLOCK_TOLERANCE {
            self.rewound.push(Rewound { index, recorded: claimed, firing: now });
            return timing.next_after(now);
        }
        let first = timing.next_after(claimed)?;
        if first > now {
            return Some(first);
        }
        let (firing, earlier, next) = match timing.next_after(first) {
            Some(second) if second <= now => {
                let firing = timing.latest_at_or_before(now).unwrap_or(second);
                (firing, count(timing, first, firing), timing.next_after(now))
            }
            next => (first, 0, next),
        };
        let running = source.last.is_some_and(|last| last.running);
        match (running, source.spec.overlap, source.spec.missed) {
            (true, Overlap::Queue, _) => {}
            (true, Overlap::Forbid, _) => self.skip(index, firing, earlier + 1, SkipReason::Running),
            (false, _, Missed::Once) => self.due.push(DueRun { index, firing, missed: earlier }),
            (false, _, Missed::Skip) if is_late(now, firing, source) => {
                self.skip(index, firing, earlier + 1, SkipReason::Late);
            }
            (false, _, Missed::Skip) => {
                if earlier > 0 {
                    let just_before = firing - SignedDuration::from_nanos(1);
                    let last_missed = timing.latest_at_or_before(just_before).unwrap_or(first);
                    self.skip(index, last_missed, earlier, SkipReason::Late);
                }
                self.due.push(DueRun { index, firing, missed: 0 });
            }
        }
        next
    }

    fn skip(&mut self, index: usize, firing: Timestamp, count: u32, why: SkipReason) {
        self.skipped.push(Skipped { index, firing, count: count.min(MAX_MISSED_COUNT), reason: why });
    }
}

/// Counts the firings from `first` to before `end`, up to [`MAX_MISSED_COUNT`].
fn count(timing: &CompiledSchedule, first: Timestamp, end: Timestamp) -> u32 {
    let firings = std::iter::successors(Some(first), |firing| timing.next_after(*firing));
    firings.take_while(|firing| *firing < end).take(MAX_MISSED_COUNT as usize).map(|_| 1).sum()
}

/// Returns true if `firing` is too old to run under `missed = "skip"`.
///
/// The age of a firing queued behind a sync is measured from the end of that sync.
fn is_late(now: Timestamp, firing: Timestamp, source: &ScheduleInput<'_>) -> bool {
    let ended = source.last.and_then(|last| last.ended);
    let since = match source.spec.overlap {
        Overlap::Queue => firing.max(ended.unwrap_or(firing)),
        Overlap::Forbid => firing,
    };
    now.duration_since(since) > LATE_AFTER
}

#[cfg(test)]
mod tests {
    use super::{Decision, DueRun, LastClaim, Rewound, ScheduleInput, SkipReason, Skipped, due};
    use crate::model::{Missed, Overlap, Schedule, Scope, SourceName, SyncSpec, WorkspaceId, WorkspaceRef};
    use crate::schedule::CompiledSchedule;
    use jiff::{SignedDuration, Timestamp};
    use std::time::Duration;

    /// A source that fires at every full hour (UTC), first seen at `known_since`.
    struct Hourly {
        missed: Missed,
        overlap: Overlap,
        last: Option<LastClaim>,
        known_since: Timestamp,
        suspended: bool,
    }

    impl Hourly {
        fn seen(known_since: &str) -> Self {
            let known_since = at(known_since);
            Self { missed: Missed::Once, overlap: Overlap::Forbid, last: None, known_since, suspended: false }
        }

        fn claimed(firing: &str, running: bool) -> Self {
            let last = Some(LastClaim { firing: at(firing), running, ended: None });
            Self { last, ..Self::seen("2026-01-01T00:00:00Z") }
        }

        fn decide(&self, now: &str) -> Decision {
            let workspace =
                WorkspaceRef { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() };
            let name = SourceName::parse("s").unwrap();
            let spec = SyncSpec {
                when: Schedule::Cron { expression: "0 * * * *".to_owned(), timezone: "UTC".to_owned() },
                jitter: Duration::ZERO,
                stale_after: None,
                missed: self.missed,
                timeout: None,
                on_connect: true,
                on_change: false,
                overlap: self.overlap,
            };
            let timing = CompiledSchedule::compile(&workspace, &name, &spec).unwrap();
            let source = ScheduleInput {
                workspace: &workspace,
                name: &name,
                spec: &spec,
                timing: &timing,
                options: &serde_json::Map::new(),
                last: self.last,
                known_since: self.known_since,
                suspended: self.suspended,
            };
            due(at(now), &[source])
        }
    }

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn run(firing: &str, missed: u32) -> Vec<DueRun> {
        vec![DueRun { index: 0, firing: at(firing), missed }]
    }

    fn gone(firing: &str, count: u32, why: SkipReason) -> Vec<Skipped> {
        vec![Skipped { index: 0, firing: at(firing), count, reason: why }]
    }

    #[test]
    fn without_a_record_the_next_firing_is_waited_for() {
        let source = Hourly::seen("2026-05-05T10:00:00Z");
        let waiting = source.decide("2026-05-05T10:59:59Z");
        assert_eq!(waiting, Decision { wake_at: Some(at("2026-05-05T11:00:00Z")), ..Decision::default() });
        let fired = source.decide("2026-05-05T11:00:00Z");
        assert_eq!(fired.due, run("2026-05-05T11:00:00Z", 0));
        assert_eq!(fired.wake_at, Some(at("2026-05-05T12:00:00Z")));
    }

    #[test]
    fn missed_once_makes_one_run_of_any_number() {
        let source = Hourly::claimed("2026-05-05T10:00:00Z", false);
        assert_eq!(source.decide("2026-05-05T13:20:00Z").due, run("2026-05-05T13:00:00Z", 2));
        assert_eq!(source.decide("2027-05-05T13:20:00Z").due, run("2027-05-05T13:00:00Z", 100));
    }

    #[test]
    fn missed_skip_lets_late_firings_go() {
        let source = Hourly { missed: Missed::Skip, ..Hourly::claimed("2026-05-05T10:00:00Z", false) };
        let late = source.decide("2026-05-05T13:20:00Z");
        assert_eq!((late.due, late.skipped), (vec![], gone("2026-05-05T13:00:00Z", 3, SkipReason::Late)));
        let in_time = source.decide("2026-05-05T13:05:00Z");
        assert_eq!(in_time.due, run("2026-05-05T13:00:00Z", 0));
        assert_eq!(in_time.skipped, gone("2026-05-05T12:00:00Z", 2, SkipReason::Late));
    }

    #[test]
    fn a_firing_during_a_sync_is_spent_or_waits_as_declared() {
        let forbid = Hourly::claimed("2026-05-05T10:00:00Z", true);
        let spent = forbid.decide("2026-05-05T11:00:10Z");
        assert_eq!(
            (spent.due, spent.skipped),
            (vec![], gone("2026-05-05T11:00:00Z", 1, SkipReason::Running))
        );

        for missed in [Missed::Once, Missed::Skip] {
            let mut queue = Hourly { missed, overlap: Overlap::Queue, ..forbid };
            let waiting = queue.decide("2026-05-05T11:00:10Z");
            assert_eq!((waiting.due, waiting.skipped), (vec![], vec![]));
            assert_eq!(waiting.wake_at, Some(at("2026-05-05T12:00:00Z")));
            let ended = Some(at("2026-05-05T11:40:00Z"));
            queue.last = Some(LastClaim { firing: at("2026-05-05T10:00:00Z"), running: false, ended });
            assert_eq!(queue.decide("2026-05-05T11:40:01Z").due, run("2026-05-05T11:00:00Z", 0));
        }
    }

    #[test]
    fn a_suspended_source_neither_fires_nor_wakes() {
        let source = Hourly { suspended: true, ..Hourly::claimed("2026-05-05T10:00:00Z", false) };
        assert_eq!(source.decide("2026-05-09T10:00:00Z"), Decision::default());
    }

    #[test]
    fn a_clock_that_went_back_a_little_is_waited_for() {
        let source = Hourly::claimed("2026-05-05T10:00:00Z", false);
        let decision = source.decide("2026-05-05T09:56:00Z");
        assert_eq!(decision, Decision { wake_at: Some(at("2026-05-05T11:00:00Z")), ..Decision::default() });
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_starves_nobody() {
        let mut source = Hourly::claimed("2027-05-05T10:00:00Z", false);
        let now = "2026-05-05T10:20:00Z";
        let decision = source.decide(now);
        assert!(decision.clock_behind() && decision.due.is_empty());
        assert_eq!(
            decision.rewound,
            [Rewound { index: 0, recorded: at("2027-05-05T10:00:00Z"), firing: at(now) }]
        );
        assert_eq!(decision.wake_at, Some(at("2026-05-05T11:00:00Z")));
        source.last = Some(LastClaim { firing: decision.rewound[0].firing, running: false, ended: None });
        assert_eq!(source.decide("2026-05-05T11:00:00Z").due, run("2026-05-05T11:00:00Z", 0));

        let first_seen_in_the_future = Hourly::seen("2027-05-05T10:00:00Z");
        assert!(first_seen_in_the_future.decide(now).clock_behind());
    }

    #[test]
    fn no_time_overflows() {
        for now in [Timestamp::MIN, Timestamp::MAX, Timestamp::MAX - SignedDuration::from_secs(1)] {
            for known_since in [Timestamp::MIN, Timestamp::MAX] {
                let source =
                    Hourly { known_since, missed: Missed::Skip, ..Hourly::seen("2026-01-01T00:00:00Z") };
                let _ = source.decide(&now.to_string());
            }
        }
    }
}
