//! Scheduling state of one source: schedule, last run and freshness.

use super::{Ownership, Turned};
use crate::model::{DesiredSource, DesiredUnit, SourceKey, SourceName, SyncSpec};
use crate::schedule::{self, Freshness, Last, Scheduled, Timing};
use crate::state::{LastRun, RunOutcome, Trigger};
use jiff::Timestamp;
use std::sync::Arc;

/// A managed source with a schedule.
pub(super) struct Syncable {
    pub(super) name: SourceName,
    pub(super) key: SourceKey,
    /// Index in the unit's sources.
    pub(super) index: usize,
    pub(super) timing: Timing,
    pub(super) known_since: Timestamp,
    /// Time at which the source was connected to which the rest belongs.
    connected_at: Option<Timestamp>,
    last: Option<Last>,
    /// True if a run started here has not ended.
    begun: bool,
    /// The last run before the one started last.
    before: Option<Last>,
    last_success: Option<Timestamp>,
    /// Set while reported as stale, with the last success at that time.
    stale: Option<Option<Timestamp>>,
    /// Requested sync, independent of the schedule.
    now: Option<Trigger>,
    /// Cached; reset when an input changes.
    ahead: Option<Ahead>,
}

/// Next events of a source, unless something changes.
#[derive(Clone, Copy)]
pub(super) struct Ahead {
    /// Time at which the schedule must be evaluated.
    pub(super) ripe: Option<Timestamp>,
    /// Time at which the data becomes stale or fresh and has to be reported.
    pub(super) turn: Option<Timestamp>,
}

/// Inputs from which the state of a source is created after a pass.
pub(super) struct Heard<'a> {
    /// Previous state.
    pub(super) known: Option<Syncable>,
    pub(super) ours: Ownership,
    /// Last run in the store.
    pub(super) run: Option<&'a LastRun>,
    /// Reason to sync at once.
    pub(super) at_once: Option<Trigger>,
}

impl Syncable {
    /// Creates the state of a managed source from the previous one and the store.
    pub(super) fn new(
        source: &DesiredSource,
        index: usize,
        timing: Timing,
        heard: Heard<'_>,
        now: Timestamp,
    ) -> Self {
        let Heard { known, ours, run, at_once } = heard;
        let on_connect = source.sync.as_ref().is_some_and(|spec| spec.on_connect);
        let known = known.as_ref();
        let begun = known.is_some_and(|known| known.begun);
        let last = join(known.and_then(|known| known.last), begun, run, now);
        let never_ran = (last.is_none() && on_connect).then_some(Trigger::Connect);
        // Syncs of another source with this name left no data in this one.
        let same = known.filter(|known| known.connected_at == ours.connected_at);
        // The store may not contain the run yet that was started here.
        let at_once = if begun && same.is_some() { None } else { at_once };
        let is_new = at_once == Some(Trigger::Connect);
        let last_success = if is_new { None } else { same.and_then(|known| known.last_success) };
        Self {
            name: source.name.clone(),
            key: source.key.clone(),
            index,
            timing,
            known_since: ours.scheduled_since.or(known.map(|known| known.known_since)).unwrap_or(now),
            connected_at: ours.connected_at,
            last,
            begun,
            before: known.and_then(|known| known.before),
            last_success: last_success.max(run.and_then(|run| run.last_success)),
            stale: known.and_then(|known| known.stale),
            now: at_once.or(known.and_then(|known| known.now)).or(never_ran),
            ahead: None,
        }
    }

    /// Returns true if the schedule must be evaluated.
    pub(super) fn is_ripe(&self, now: Timestamp) -> bool {
        self.ahead.is_none_or(|ahead| ahead.ripe.is_some_and(|ripe| ripe <= now))
    }

    /// Returns the next events; `unit` declares the source.
    pub(super) fn ahead(&mut self, unit: &DesiredUnit, now: Timestamp) -> Ahead {
        if let Some(ahead) = self.ahead {
            return ahead;
        }
        let reckoned = self.declared(unit).map(|(source, spec)| {
            let ripe = match self.now {
                Some(_) if source.suspend.is_none() => Some(Timestamp::MIN),
                _ => schedule::ripe_at(now, &self.scheduled(unit, source, spec)),
            };
            let freshness = self.freshness(source, spec, now);
            let stale = freshness.is_some_and(Freshness::is_stale);
            let turn = match freshness {
                _ if stale != self.stale.is_some() => Some(Timestamp::MIN),
                Some(Freshness::Fresh { until }) => Some(until),
                Some(Freshness::Stale { .. }) | None => None,
            };
            Ahead { ripe, turn }
        });
        *self.ahead.insert(reckoned.unwrap_or(Ahead { ripe: None, turn: None }))
    }

    /// Resets the next events after a change of files or clock.
    pub(super) fn reckon_anew(&mut self) {
        self.ahead = None;
    }

    /// Returns the next firing, regardless of whether it will run.
    pub(super) fn next_firing(&self, now: Timestamp) -> Option<Timestamp> {
        let known = self.ahead.and_then(|ahead| ahead.ripe).filter(|ripe| *ripe > now);
        known.or_else(|| self.timing.next_after(now))
    }

    /// Returns the declaration; `None` if the files changed.
    pub(super) fn declared<'a>(&self, unit: &'a DesiredUnit) -> Option<(&'a DesiredSource, &'a SyncSpec)> {
        let source = unit.sources.get(self.index).filter(|source| source.name == self.name)?;
        Some((source, source.sync.as_ref()?))
    }

    /// Builds the input for schedule decisions.
    pub(super) fn scheduled<'a>(
        &'a self,
        unit: &'a DesiredUnit,
        source: &'a DesiredSource,
        spec: &'a SyncSpec,
    ) -> Scheduled<'a> {
        Scheduled {
            unit: &unit.unit,
            name: &self.name,
            spec,
            timing: &self.timing,
            options: &source.sync_options,
            last: self.last,
            known_since: self.known_since,
            suspended: source.suspend.is_some(),
        }
    }

    /// Returns the trigger of a requested sync.
    pub(super) fn at_once(&self) -> Option<Trigger> {
        self.now
    }

    /// Starts a run.
    pub(super) fn begin(&mut self, firing: Timestamp) {
        self.now = None;
        self.begun = true;
        self.before = self.last.replace(Last { firing, running: true, ended: None });
        self.ahead = None;
    }

    /// Undoes [`Syncable::begin`], so that the firing is due as before.
    pub(super) fn not_sent(&mut self, trigger: Trigger) {
        self.last = self.before.take();
        self.begun = false;
        self.now = (trigger != Trigger::Schedule).then_some(trigger).or(self.now);
        self.ahead = None;
    }

    /// Records the end of the run, successful or not.
    pub(super) fn ended(&mut self, now: Timestamp) {
        self.begun = false;
        if let Some(last) = &mut self.last {
            last.running = false;
            last.ended = Some(now);
            self.ahead = None;
        }
    }

    /// Returns true if another process runs the sync.
    ///
    /// Its end will not be reported here.
    pub(super) fn runs_elsewhere(&self) -> bool {
        !self.begun && self.last.is_some_and(|last| last.running)
    }

    /// Claims a firing that will not run; otherwise it would reappear.
    pub(super) fn spend(&mut self, firing: Timestamp) {
        let last = self.last.unwrap_or(Last { firing, running: false, ended: None });
        self.last = Some(Last { firing, ..last });
        self.ahead = None;
    }

    /// Records the time of the newest data.
    pub(super) fn refreshed(&mut self, now: Timestamp) {
        self.last_success = Some(now);
        self.ahead = None;
    }

    /// Returns the change if the data became stale or fresh since the last call.
    pub(super) fn turned(&mut self, unit: &Arc<DesiredUnit>, now: Timestamp) -> Option<Turned> {
        let (source, spec) = self.declared(unit)?;
        let stale = self.freshness(source, spec, now).is_some_and(Freshness::is_stale);
        self.ahead = None;
        let before = self.stale;
        self.stale = stale.then(|| before.unwrap_or(self.last_success));
        (before.is_some() != stale).then(|| Turned {
            unit: Arc::clone(unit),
            key: self.key.clone(),
            name: self.name.clone(),
            last_success: self.last_success,
            stale,
            // An edit of the schedule does not make data newer.
            synced: before.is_some_and(|before| self.last_success > before),
        })
    }

    /// Returns the freshness; `None` for suspended sources, which need no fresh data.
    fn freshness(&self, source: &DesiredSource, spec: &SyncSpec, now: Timestamp) -> Option<Freshness> {
        if source.suspend.is_some() {
            return None;
        }
        schedule::freshness(spec, self.last_success, self.known_since, now)
    }
}

/// Merges what this process and the store know about the last run.
///
/// The store may have been read just before a run was claimed or ended.
fn join(known: Option<Last>, begun: bool, run: Option<&LastRun>, now: Timestamp) -> Option<Last> {
    let Some(run) = run else { return known };
    let recorded =
        Last { firing: run.firing, running: run.outcome == RunOutcome::Running, ended: run.finished_at };
    let Some(known) = known else { return Some(recorded) };
    let rewound = run.firing.duration_since(now) > schedule::CLOCK_TOLERANCE;
    let over = known.ended.is_some_and(|ended| ended >= run.started_at);
    Some(Last {
        firing: if rewound { known.firing } else { known.firing.max(run.firing) },
        running: begun || (recorded.running && !over),
        ended: known.ended.max(recorded.ended),
    })
}
