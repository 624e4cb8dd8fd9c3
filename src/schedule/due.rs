//! What is due now, and what to record about it.

use super::{Terms, Timing};
use crate::model::{Missed, Overlap, SourceName, SyncSpec, Unit};
use jiff::{SignedDuration, Timestamp};

/// With `missed = "skip"`, a firing this old is gone. It covers a slow pass of the loop, not an outage.
pub const LATE_AFTER: SignedDuration = SignedDuration::from_mins(5);

/// A recorded firing may lie this far in the future (hosts disagree, clocks are corrected) and is
/// simply waited for. Beyond it the record is taken for the work of a wrong clock.
pub const CLOCK_TOLERANCE: SignedDuration = SignedDuration::from_mins(5);

/// Missed firings are counted up to here; this number means "as many or more".
pub const MISSED_COUNTED: u32 = 100;

/// One source's schedule, as the loop knows it.
#[derive(Debug, Clone, Copy)]
pub struct Scheduled<'a> {
    /// The workspace and scope.
    pub unit: &'a Unit,
    /// The source's name.
    pub name: &'a SourceName,
    /// `sync`, as declared.
    pub spec: &'a SyncSpec,
    /// `sync` compiled for this very source.
    pub timing: &'a Timing,
    /// `sync_options`, as sent.
    pub options: &'a serde_json::Map<String, serde_json::Value>,
    /// What was last claimed; `None` when nothing is recorded.
    pub last: Option<Last>,
    /// When the schedule was first seen. Only firings after it count while nothing is recorded.
    pub known_since: Timestamp,
    /// Declared `suspend`: never due. On resuming, the firings of the meantime count as missed.
    pub suspended: bool,
}

impl<'a> Scheduled<'a> {
    /// What this source's sync call says.
    #[must_use]
    pub fn terms(&self) -> Terms<'a> {
        Terms { unit: self.unit, options: self.options, timeout: self.spec.timeout }
    }

    /// Only firings after it count.
    fn claimed(&self) -> Timestamp {
        self.last.map_or(self.known_since, |last| last.firing)
    }
}

/// The record of a source's last claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Last {
    /// The firing last claimed, whether it was run, spent or skipped.
    pub firing: Timestamp,
    /// A sync of this source is running, on whatever occasion.
    pub running: bool,
    /// When its last sync ended, if known. A queued firing counts as late only from then on.
    pub ended: Option<Timestamp>,
}

/// What is to be done now. Everything in `due`, `skipped` and `rewound` carries a `firing` that the
/// caller records as the source's last claim *before* acting; where a source stands in both `due`
/// and `skipped`, the firing in `due` is the later one and the one to record.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Decision {
    /// To sync now, in the order of the sources.
    pub due: Vec<Due>,
    /// Firings that will not run.
    pub skipped: Vec<Skipped>,
    /// Records that lie in the future, because the clock went back.
    pub rewound: Vec<Rewound>,
    /// The earliest firing still to come. A queued firing needs no waking: the end of the sync that
    /// it waits for does that.
    pub wake_at: Option<Timestamp>,
}

impl Decision {
    /// Has the clock gone back since a firing was recorded?
    #[must_use]
    pub fn clock_behind(&self) -> bool {
        !self.rewound.is_empty()
    }
}

/// A source to sync now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its index in the list given.
    pub index: usize,
    /// The firing this run is for: the latest one that has come.
    pub firing: Timestamp,
    /// Earlier firings this run stands for as well, up to [`MISSED_COUNTED`].
    pub missed: u32,
}

/// Firings of a source that will not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Skipped {
    /// Its index in the list given.
    pub index: usize,
    /// The last of these firings.
    pub firing: Timestamp,
    /// How many there are, up to [`MISSED_COUNTED`].
    pub count: u32,
    /// Why.
    pub why: SkippedWhy,
}

/// Why a firing does not run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SkippedWhy {
    /// `missed = "skip"`, and it is older than [`LATE_AFTER`] or a later one has come.
    Late,
    /// `overlap = "forbid"`, and the last sync still runs.
    Running,
}

/// A source whose record lies in the future by more than [`CLOCK_TOLERANCE`]. It would wait until
/// the clock is there again; instead, its schedule goes on from now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rewound {
    /// Its index in the list given.
    pub index: usize,
    /// The firing, or the first sight of the schedule, on record.
    pub recorded: Timestamp,
    /// What to record instead: now. The next firing after it is the next to run.
    pub firing: Timestamp,
}

/// What is due at `now`.
///
/// Neither a firing at or before the last claimed one nor a suspended source is ever due.
#[must_use]
pub fn due(now: Timestamp, sources: &[Scheduled<'_>]) -> Decision {
    let mut decision = Decision::default();
    for (index, source) in sources.iter().enumerate().filter(|(_, source)| !source.suspended) {
        let next = decision.judge(now, index, source);
        decision.wake_at = decision.wake_at.into_iter().chain(next).min();
    }
    decision
}

/// From when on [`due`] has anything to say of this source, as long as nothing is recorded of it and the
/// clock does not go back; `None` when it never will. So a source need not be judged before.
#[must_use]
pub fn ripe_at(now: Timestamp, source: &Scheduled<'_>) -> Option<Timestamp> {
    if source.suspended {
        return None;
    }
    let claimed = source.claimed();
    if claimed.duration_since(now) > CLOCK_TOLERANCE {
        return Some(now);
    }
    // What is queued waits for the end of the sync.
    let queued = source.spec.overlap == Overlap::Queue && source.last.is_some_and(|last| last.running);
    if queued { None } else { source.timing.next_after(claimed) }
}

impl Decision {
    /// Decides about one source; returns its first firing after `now`.
    fn judge(&mut self, now: Timestamp, index: usize, source: &Scheduled<'_>) -> Option<Timestamp> {
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
            (true, Overlap::Forbid, _) => self.skip(index, firing, earlier + 1, SkippedWhy::Running),
            (false, _, Missed::Once) => self.due.push(Due { index, firing, missed: earlier }),
            (false, _, Missed::Skip) if is_late(now, firing, source) => {
                self.skip(index, firing, earlier + 1, SkippedWhy::Late);
            }
            (false, _, Missed::Skip) => {
                if earlier > 0 {
                    let just_before = firing - SignedDuration::from_nanos(1);
                    let last_missed = timing.latest_at_or_before(just_before).unwrap_or(first);
                    self.skip(index, last_missed, earlier, SkippedWhy::Late);
                }
                self.due.push(Due { index, firing, missed: 0 });
            }
        }
        next
    }

    fn skip(&mut self, index: usize, firing: Timestamp, count: u32, why: SkippedWhy) {
        self.skipped.push(Skipped { index, firing, count: count.min(MISSED_COUNTED), why });
    }
}

/// The firings from `first` on and before `end`, up to [`MISSED_COUNTED`].
fn count(timing: &Timing, first: Timestamp, end: Timestamp) -> u32 {
    let firings = std::iter::successors(Some(first), |firing| timing.next_after(*firing));
    firings.take_while(|firing| *firing < end).take(MISSED_COUNTED as usize).map(|_| 1).sum()
}

/// Is `firing` too old to run under `missed = "skip"`? What was queued behind a sync ages only from
/// that sync's end.
fn is_late(now: Timestamp, firing: Timestamp, source: &Scheduled<'_>) -> bool {
    let ended = source.last.and_then(|last| last.ended);
    let since = match source.spec.overlap {
        Overlap::Queue => firing.max(ended.unwrap_or(firing)),
        Overlap::Forbid => firing,
    };
    now.duration_since(since) > LATE_AFTER
}

#[cfg(test)]
mod tests {
    use super::{Decision, Due, Last, Rewound, Scheduled, Skipped, SkippedWhy, due};
    use crate::model::{Missed, Overlap, Scope, SourceName, SyncSpec, Unit, When, WorkspaceId};
    use crate::schedule::Timing;
    use jiff::{SignedDuration, Timestamp};
    use std::time::Duration;

    /// A source that fires at every full hour, UTC, first seen at `known_since`.
    struct Hourly {
        missed: Missed,
        overlap: Overlap,
        last: Option<Last>,
        known_since: Timestamp,
        suspended: bool,
    }

    impl Hourly {
        fn seen(known_since: &str) -> Self {
            let known_since = at(known_since);
            Self { missed: Missed::Once, overlap: Overlap::Forbid, last: None, known_since, suspended: false }
        }

        fn claimed(firing: &str, running: bool) -> Self {
            let last = Some(Last { firing: at(firing), running, ended: None });
            Self { last, ..Self::seen("2026-01-01T00:00:00Z") }
        }

        fn decide(&self, now: &str) -> Decision {
            let unit = Unit { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() };
            let name = SourceName::parse("s").unwrap();
            let spec = SyncSpec {
                when: When::Cron { expression: "0 * * * *".to_owned(), timezone: "UTC".to_owned() },
                jitter: Duration::ZERO,
                stale_after: None,
                missed: self.missed,
                timeout: None,
                on_connect: true,
                on_change: false,
                overlap: self.overlap,
            };
            let timing = Timing::compile(&unit, &name, &spec).unwrap();
            let source = Scheduled {
                unit: &unit,
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

    fn run(firing: &str, missed: u32) -> Vec<Due> {
        vec![Due { index: 0, firing: at(firing), missed }]
    }

    fn gone(firing: &str, count: u32, why: SkippedWhy) -> Vec<Skipped> {
        vec![Skipped { index: 0, firing: at(firing), count, why }]
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
        assert_eq!((late.due, late.skipped), (vec![], gone("2026-05-05T13:00:00Z", 3, SkippedWhy::Late)));
        let in_time = source.decide("2026-05-05T13:05:00Z");
        assert_eq!(in_time.due, run("2026-05-05T13:00:00Z", 0));
        assert_eq!(in_time.skipped, gone("2026-05-05T12:00:00Z", 2, SkippedWhy::Late));
    }

    #[test]
    fn a_firing_during_a_sync_is_spent_or_waits_as_declared() {
        let forbid = Hourly::claimed("2026-05-05T10:00:00Z", true);
        let spent = forbid.decide("2026-05-05T11:00:10Z");
        assert_eq!(
            (spent.due, spent.skipped),
            (vec![], gone("2026-05-05T11:00:00Z", 1, SkippedWhy::Running))
        );

        for missed in [Missed::Once, Missed::Skip] {
            let mut queue = Hourly { missed, overlap: Overlap::Queue, ..forbid };
            let waiting = queue.decide("2026-05-05T11:00:10Z");
            assert_eq!((waiting.due, waiting.skipped), (vec![], vec![]));
            assert_eq!(waiting.wake_at, Some(at("2026-05-05T12:00:00Z")));
            let ended = Some(at("2026-05-05T11:40:00Z"));
            queue.last = Some(Last { firing: at("2026-05-05T10:00:00Z"), running: false, ended });
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
        source.last = Some(Last { firing: decision.rewound[0].firing, running: false, ended: None });
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
