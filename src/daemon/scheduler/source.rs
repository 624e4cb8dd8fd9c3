//! Scheduling state of one source: schedule, last run and freshness.

use super::{FreshnessChange, Ownership};
use crate::model::{Connection, DesiredSource, DesiredWorkspace, SourceKey, SourceName, SyncSpec};
use crate::schedule::{self, CompiledSchedule, Freshness, LastClaim, ScheduleInput};
use crate::store::{LastRun, RunOutcome, Trigger};
use jiff::Timestamp;
use std::sync::Arc;

pub(super) struct ScheduledSource {
    pub(super) name: SourceName,
    pub(super) key: SourceKey,
    /// Index in the workspace's sources.
    pub(super) index: usize,
    pub(super) timing: CompiledSchedule,
    pub(super) known_since: Timestamp,
    /// The connected source to which the rest belongs.
    connection: Option<Connection>,
    last: Option<LastClaim>,
    /// True if a run started here has not ended.
    running: bool,
    /// The last run before the one started last.
    previous: Option<LastClaim>,
    last_success: Option<Timestamp>,
    /// Set while reported as stale, with the last success at that time.
    reported_stale: Option<Option<Timestamp>>,
    /// Requested sync, independent of the schedule.
    run_now: Option<Trigger>,
    /// Cached; reset when an input changes.
    ahead: Option<NextEvents>,
}

/// Next events of a source, unless something changes.
#[derive(Clone, Copy)]
pub(super) struct NextEvents {
    /// Time at which the schedule must be evaluated.
    pub(super) due_at: Option<Timestamp>,
    /// Time at which the data becomes stale or fresh and has to be reported.
    pub(super) staleness_change_at: Option<Timestamp>,
}

/// Inputs from which the state of a source is created after a pass.
pub(super) struct Idle<'a> {
    /// Previous state.
    pub(super) known: Option<ScheduledSource>,
    pub(super) ours: Ownership,
    pub(super) run: Option<&'a LastRun>,
    pub(super) at_once: Option<Trigger>,
}

impl ScheduledSource {
    /// Creates the state of a managed source from the previous one and the store.
    pub(super) fn new(
        source: &DesiredSource,
        index: usize,
        timing: CompiledSchedule,
        heard: Idle<'_>,
        now: Timestamp,
    ) -> Self {
        let Idle { known, ours, run, at_once } = heard;
        let on_connect = source.sync.as_ref().is_some_and(|spec| spec.on_connect);
        let known = known.as_ref();
        let running = known.is_some_and(|known| known.running);
        let last = merge_last_run(known.and_then(|known| known.last), running, run, now);
        let never_ran = (last.is_none() && on_connect).then_some(Trigger::Connect);
        // Syncs of another source with this name left no data in this one.
        let same = known.filter(|known| known.connection == ours.connection);
        // The store may not contain the run yet that was started here.
        let at_once = if running && same.is_some() { None } else { at_once };
        let is_new = at_once == Some(Trigger::Connect);
        let last_success = if is_new { None } else { same.and_then(|known| known.last_success) };
        Self {
            name: source.name.clone(),
            key: source.key.clone(),
            index,
            timing,
            known_since: ours.scheduled_since.or(known.map(|known| known.known_since)).unwrap_or(now),
            connection: ours.connection,
            last,
            running,
            previous: known.and_then(|known| known.previous),
            last_success: last_success.max(run.and_then(|run| run.last_success)),
            reported_stale: known.and_then(|known| known.reported_stale),
            run_now: at_once.or(known.and_then(|known| known.run_now)).or(never_ran),
            ahead: None,
        }
    }

    /// Returns true if the schedule must be evaluated.
    pub(super) fn is_due(&self, now: Timestamp) -> bool {
        self.ahead.is_none_or(|ahead| ahead.due_at.is_some_and(|ripe| ripe <= now))
    }

    pub(super) fn cached_next_events(&mut self, desired: &DesiredWorkspace, now: Timestamp) -> NextEvents {
        if let Some(ahead) = self.ahead {
            return ahead;
        }
        let reckoned = self.declared(desired).map(|(source, spec)| {
            let ripe = match self.run_now {
                Some(_) if source.suspend.is_none() => Some(Timestamp::MIN),
                _ => schedule::next_decision_at(now, &self.schedule_input(desired, source, spec)),
            };
            let freshness = self.freshness(source, spec, now);
            let stale = freshness.is_some_and(Freshness::is_stale);
            let turn = match freshness {
                _ if stale != self.reported_stale.is_some() => Some(Timestamp::MIN),
                Some(Freshness::Fresh { until }) => Some(until),
                Some(Freshness::Stale { .. }) | None => None,
            };
            NextEvents { due_at: ripe, staleness_change_at: turn }
        });
        *self.ahead.insert(reckoned.unwrap_or(NextEvents { due_at: None, staleness_change_at: None }))
    }

    /// Resets the next events after a change of files or clock.
    pub(super) fn invalidate(&mut self) {
        self.ahead = None;
    }

    /// Returns the next firing, regardless of whether it will run.
    pub(super) fn next_firing(&self, now: Timestamp) -> Option<Timestamp> {
        let known = self.ahead.and_then(|ahead| ahead.due_at).filter(|ripe| *ripe > now);
        known.or_else(|| self.timing.next_after(now))
    }

    /// Returns the declaration; `None` if the files changed.
    pub(super) fn declared<'a>(
        &self,
        desired: &'a DesiredWorkspace,
    ) -> Option<(&'a DesiredSource, &'a SyncSpec)> {
        let source = desired.sources.get(self.index).filter(|source| source.name == self.name)?;
        Some((source, source.sync.as_ref()?))
    }

    pub(super) fn schedule_input<'a>(
        &'a self,
        desired: &'a DesiredWorkspace,
        source: &'a DesiredSource,
        spec: &'a SyncSpec,
    ) -> ScheduleInput<'a> {
        ScheduleInput {
            workspace: &desired.unit,
            name: &self.name,
            spec,
            timing: &self.timing,
            options: &source.sync_options,
            last: self.last,
            known_since: self.known_since,
            suspended: source.suspend.is_some(),
        }
    }

    pub(super) fn immediate_trigger(&self) -> Option<Trigger> {
        self.run_now
    }

    pub(super) fn start_run(&mut self, firing: Timestamp) {
        self.run_now = None;
        self.running = true;
        self.previous = self.last.replace(LastClaim { firing, running: true, ended: None });
        self.ahead = None;
    }

    /// Undoes [`ScheduledSource::start_run`], so that the firing is due as before.
    pub(super) fn cancel_run(&mut self, trigger: Trigger) {
        self.last = self.previous.take();
        self.running = false;
        self.run_now = (trigger != Trigger::Schedule).then_some(trigger).or(self.run_now);
        self.ahead = None;
    }

    /// Records the end of the run, successful or not.
    pub(super) fn finish_run(&mut self, now: Timestamp) {
        self.running = false;
        if let Some(last) = &mut self.last {
            last.running = false;
            last.ended = Some(now);
            self.ahead = None;
        }
    }

    /// Returns true if another process runs the sync.
    ///
    /// Its end will not be reported here.
    pub(super) fn is_running_elsewhere(&self) -> bool {
        !self.running && self.last.is_some_and(|last| last.running)
    }

    /// Claims a firing that will not run; otherwise it would reappear.
    pub(super) fn skip_firing(&mut self, firing: Timestamp) {
        let last = self.last.unwrap_or(LastClaim { firing, running: false, ended: None });
        self.last = Some(LastClaim { firing, ..last });
        self.ahead = None;
    }

    /// Records the time of the newest data.
    pub(super) fn mark_fresh(&mut self, now: Timestamp) {
        self.last_success = Some(now);
        self.ahead = None;
    }

    /// Returns the change if the data became stale or fresh since the last call.
    pub(super) fn freshness_change(
        &mut self,
        desired: &Arc<DesiredWorkspace>,
        now: Timestamp,
    ) -> Option<FreshnessChange> {
        let (source, spec) = self.declared(desired)?;
        let stale = self.freshness(source, spec, now).is_some_and(Freshness::is_stale);
        self.ahead = None;
        let before = self.reported_stale;
        self.reported_stale = if stale { Some(before.unwrap_or(self.last_success)) } else { None };
        if before.is_some() == stale {
            return None;
        }
        Some(FreshnessChange {
            desired: Arc::clone(desired),
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
fn merge_last_run(
    known: Option<LastClaim>,
    begun: bool,
    run: Option<&LastRun>,
    now: Timestamp,
) -> Option<LastClaim> {
    let Some(run) = run else { return known };
    let recorded =
        LastClaim { firing: run.firing, running: run.outcome == RunOutcome::Running, ended: run.finished_at };
    let Some(known) = known else { return Some(recorded) };
    let rewound = run.firing.duration_since(now) > schedule::CLOCK_TOLERANCE;
    let over = known.ended.is_some_and(|ended| ended >= run.started_at);
    Some(LastClaim {
        firing: if rewound { known.firing } else { known.firing.max(run.firing) },
        running: begun || (recorded.running && !over),
        ended: known.ended.max(recorded.ended),
    })
}
