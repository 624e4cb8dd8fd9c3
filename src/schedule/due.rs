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

impl Decision {
    /// Decides about one source; returns its first firing after `now`.
    fn judge(&mut self, now: Timestamp, index: usize, source: &Scheduled<'_>) -> Option<Timestamp> {
        let timing = source.timing;
        let claimed = source.last.map_or(source.known_since, |last| last.firing);
        if claimed.duration_since(now) > CLOCK_TOLERANCE {
            self.rewound.push(Rewound { index, recorded: claimed, firing: now });
            return timing.next_after(now);
        }
        let first = timing.next_after(claimed)?;
        if first > now {
            return Some(first);
        }
        let firing = timing.latest_at_or_before(now).unwrap_or(first);
        let earlier = count(timing, first, firing);
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
        timing.next_after(now)
    }

    fn skip(&mut self, index: usize, firing: Timestamp, count: u32, why: SkippedWhy) {
        self.skipped.push(Skipped { index, firing, count: count.min(MISSED_COUNTED), why });
    }
}

/// The firings from `first` on and before `end`, up to [`MISSED_COUNTED`].
fn count(timing: &Timing, first: Timestamp, end: Timestamp) -> u32 {
    let firings = std::iter::successors(Some(first), |firing| timing.next_after(*firing));
    (0..MISSED_COUNTED).zip(firings.take_while(|firing| *firing < end)).fold(0, |count, _| count + 1)
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
