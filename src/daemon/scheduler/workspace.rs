//! Scheduling state of one workspace: its task, its passes and the syncs of its sources.

use super::queue::{DueTimes, PassPriority, SchedulerTotals};
use super::source::{Idle, NextEvents, ScheduledSource};
use super::{FreshnessChange, PassRecords, PassResult};
use crate::daemon::later;
use crate::model::{DesiredWorkspace, SourceName, WorkspaceRef};
use crate::reconcile::Task;
use crate::schedule::{self, BatchKey, ScheduleCache};
use crate::store::{SkippedRun, Trigger};
use crate::sync::{SyncCall, SyncMember, skipped_firings};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// First delay after a failed pass, doubled per further failure up to the interval.
const FIRST_RETRY_DELAY: SignedDuration = SignedDuration::from_secs(5);

/// Interval of checks whether a sync of another process has ended.
const FOREIGN_SYNC_POLL_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// Maximum number of sources in one sync request.
const MAX_SYNC_BATCH: usize = 100;

/// A workspace, with its running and due work.
pub(super) struct WorkspaceEntry {
    pub(super) task: Task,
    /// True if the last load contains the workspace.
    pub(super) declared: bool,
    /// True if no file declares the workspace; the slot is dropped once nothing is running.
    pub(super) pending_removal: bool,
    pub(super) requested: bool,
    pub(super) running: bool,
    /// Files changed and no pass has started since.
    ///
    /// With `pass_covers_edit`, the first one since is running.
    pub(super) edited: bool,
    pub(super) pass_covers_edit: bool,
    /// Due time of the next full check, which alone finds drift.
    pub(super) next_check_at: Timestamp,
    pub(super) failures: u32,
    /// A removal waits until the files are stable.
    waits_for_quiet: bool,
    /// An action waits for a sync to end.
    waits_for_sync: bool,
    /// A removal waits for a source of another workspace.
    waits_for_connect: bool,
    /// Number of passes that had connected a source when the last pass started.
    connect_count: u64,
    /// Sorted by name, like the workspace's sources.
    pub(super) sources: Vec<ScheduledSource>,
    /// Earliest next events of the sources; reset on every change.
    cached_next_events: Option<NextEvents>,
    /// Desired state, kept decompressed while it has schedules.
    decompressed: Option<Arc<DesiredWorkspace>>,
    /// Desired state that `sources` was built from.
    scheduled: Option<Arc<DesiredWorkspace>>,
    /// The files changed; the next pass rebuilds the schedules.
    schedule_outdated: bool,
    pub(super) sync_running: bool,
    /// Firings that will not run and are not recorded yet.
    pub(super) skipped: Vec<SkippedRun>,
    pub(super) queued_times: DueTimes,
}

impl WorkspaceEntry {
    /// Creates the slot of a newly declared workspace, with a pass due at once.
    pub(super) fn new(task: Task, now: Timestamp) -> Self {
        Self {
            task,
            declared: true,
            pending_removal: false,
            requested: true,
            running: false,
            edited: false,
            pass_covers_edit: false,
            next_check_at: now,
            failures: 0,
            waits_for_quiet: false,
            waits_for_sync: false,
            waits_for_connect: false,
            connect_count: 0,
            sources: Vec::new(),
            cached_next_events: None,
            decompressed: None,
            scheduled: None,
            schedule_outdated: false,
            sync_running: false,
            skipped: Vec::new(),
            queued_times: DueTimes::default(),
        }
    }

    /// Sets the new task; returns true if due times changed.
    pub(super) fn set_task(&mut self, mut task: Task) -> bool {
        self.declared = true;
        if Arc::ptr_eq(&task.desired, &self.task.desired) || task.desired.content_eq(&self.task.desired) {
            // Share the same value, so that later comparisons are by pointer.
            task.desired = Arc::clone(&self.task.desired);
        }
        let changed = !Arc::ptr_eq(&task.desired, &self.task.desired) || task.owner != self.task.owner;
        let at_rest = self.waits_for_quiet && task.removals_blocked.is_none();
        if changed {
            // Edits are tried at once, regardless of earlier failures.
            self.failures = 0;
        }
        let moved = changed || at_rest || self.waits_for_connect || self.pending_removal;
        self.edited |= changed;
        self.requested |= moved;
        self.pending_removal = false;
        self.task = task;
        if changed {
            self.decompressed = self.decompressed.take().map(|_| self.task.desired.open());
            let declares =
                |source: &ScheduledSource| source.declared(self.decompressed.as_ref()?).map(|_| ());
            self.schedule_outdated = !self.sources.iter().all(|source| declares(source).is_some());
            self.recompute();
        }
        moved
    }

    /// Resets the next events of all sources after a change of files or clock.
    pub(super) fn recompute(&mut self) {
        self.cached_next_events = None;
        self.sources.iter_mut().for_each(ScheduledSource::invalidate);
    }

    /// Returns true if no file declares the workspace and nothing is running.
    pub(super) fn is_removable(&self) -> bool {
        self.pending_removal && !self.running && !self.sync_running
    }

    pub(super) fn due_times(&mut self, now: Timestamp) -> DueTimes {
        if self.is_removable() {
            return DueTimes::default();
        }
        let NextEvents { due_at: ripe, staleness_change_at: turn } = self.next_events(now);
        // Schedules that no pass has applied yet must not make data stale.
        let is_new = self.edited || self.running && self.pass_covers_edit;
        let pass = match () {
            () if self.edited => PassPriority::Edited,
            () if self.requested => PassPriority::Requested,
            () => PassPriority::At(self.next_check_at),
        };
        let kept = usize::from(!self.pending_removal);
        DueTimes {
            pass: if self.pending_removal || self.running { None } else { Some(pass) },
            sync: if self.pending_removal || self.sync_running { None } else { ripe },
            staleness_change: if self.pending_removal || is_new { None } else { turn },
            totals: SchedulerTotals {
                workspaces: kept,
                sources: kept * self.task.desired.count,
                failing: kept * usize::from(self.failures > 0),
                passes: usize::from(self.running),
                syncs: usize::from(self.sync_running),
            },
        }
    }

    fn next_events(&mut self, now: Timestamp) -> NextEvents {
        if let Some(ahead) = self.cached_next_events {
            return ahead;
        }
        let mut first = NextEvents { due_at: None, staleness_change_at: None };
        if !self.schedule_outdated
            && let Some(desired) = &self.decompressed
        {
            for source in &mut self.sources {
                let ahead = source.cached_next_events(desired, now);
                first = NextEvents {
                    due_at: earlier_of(first.due_at, ahead.due_at),
                    staleness_change_at: earlier_of(first.staleness_change_at, ahead.staleness_change_at),
                };
            }
        }
        *self.cached_next_events.insert(first)
    }

    /// Starts a pass; `arrivals` counts the passes of any workspace that connected a source.
    pub(super) fn begin_pass(&mut self, arrivals: u64) -> Task {
        self.connect_count = arrivals;
        self.running = true;
        self.requested = false;
        self.pass_covers_edit = std::mem::take(&mut self.edited);
        self.task.clone()
    }

    /// Decides when the next pass is due, and applies the records of this one.
    pub(super) fn finish_pass(
        &mut self,
        ended: PassResult,
        interval: SignedDuration,
        arrivals: u64,
        timings: &mut ScheduleCache,
        now: Timestamp,
    ) {
        self.running = false;
        self.waits_for_quiet = ended.waits_for_quiet;
        self.waits_for_connect = ended.waits_for_connect;
        // The awaited condition may be over by now.
        self.waits_for_sync = ended.waits_for_sync && self.sync_running;
        self.requested |= ended.waits_for_sync && !self.sync_running;
        self.requested |= ended.waits_for_quiet && self.task.removals_blocked.is_none();
        self.requested |= ended.waits_for_connect && arrivals != self.connect_count;
        self.failures = if ended.succeeded { 0 } else { self.failures.saturating_add(1) };
        let again = ended.retry_after.and_then(|again| SignedDuration::try_from(again).ok());
        let wait = match again {
            _ if !ended.succeeded => retry_delay(&self.task.desired.unit, self.failures, interval),
            Some(again) => again.min(interval),
            None => interval,
        };
        self.next_check_at = later(now, wait);
        if let Some(records) = ended.records {
            self.schedule(&records, timings, now);
        }
        if self.sources.iter().any(ScheduledSource::is_running_elsewhere) {
            self.next_check_at = self.next_check_at.min(later(now, FOREIGN_SYNC_POLL_INTERVAL));
        }
    }

    /// Starts the next request that is due and returns it.
    ///
    /// Evaluates no more schedules than needed to fill the request.
    pub(super) fn take_due_sync(&mut self, now: Timestamp) -> Option<SyncCall> {
        if self.sync_running || self.pending_removal || self.schedule_outdated {
            return None;
        }
        let desired = Arc::clone(self.decompressed.as_ref()?);
        let ripe: Vec<usize> = (0..self.sources.len()).filter(|n| self.sources[*n].is_due(now)).collect();
        let mut due: Vec<(usize, BatchKey<'_>)> = Vec::new();
        let mut firings = BTreeMap::new();
        let mut filled = 0;
        for some in ripe.chunks(MAX_SYNC_BATCH) {
            let mut more = self.due_firings(some, now);
            let before = due.len();
            due.extend(more.keys().filter_map(|n| Some((*n, self.batch_key(*n, &desired)?))));
            firings.append(&mut more);
            let first = due.first().map(|(_, terms)| *terms);
            filled += due[before..].iter().filter(|(_, terms)| Some(*terms) == first).count();
            if filled >= MAX_SYNC_BATCH {
                break;
            }
        }
        let batch = schedule::batches(due, MAX_SYNC_BATCH).into_iter().next()?;
        let (options, timeout) = (batch.key.options.clone(), batch.key.timeout);
        let mut members = Vec::with_capacity(batch.members.as_slice().len());
        for n in batch.members.into_vec() {
            let (firing, trigger) = firings[&n];
            let source = self.source(n);
            source.start_run(firing);
            members.push(SyncMember { name: source.name.clone(), key: source.key.clone(), trigger, firing });
        }
        self.sync_running = true;
        Some(SyncCall { unit: desired.unit.clone(), members, options, timeout })
    }

    /// Restores the firings of a request of which nothing is recorded.
    pub(super) fn cancel_sync(&mut self, call: &SyncCall) {
        self.sync_running = false;
        self.requested |= std::mem::take(&mut self.waits_for_sync);
        for member in &call.members {
            if let Some(n) = self.place(&member.name) {
                self.source(n).cancel_run(member.trigger);
            }
        }
    }

    /// Records that the syncs of a request ended, successfully or not.
    pub(super) fn finish_sync(&mut self, call: &SyncCall, now: Timestamp) {
        let members: Vec<usize> = call.members.iter().filter_map(|member| self.place(&member.name)).collect();
        // Evaluate firings during the request before it counts as ended.
        let ripe: Vec<usize> = members.iter().copied().filter(|n| self.sources[*n].is_due(now)).collect();
        self.evaluate_schedule(&ripe, now);
        self.sync_running = false;
        self.requested |= std::mem::take(&mut self.waits_for_sync);
        members.into_iter().for_each(|n| self.source(n).finish_run(now));
    }

    /// Records successful syncs.
    pub(super) fn mark_fresh<'a>(&mut self, names: impl IntoIterator<Item = &'a SourceName>, now: Timestamp) {
        for name in names {
            if let Some(n) = self.place(name) {
                self.source(n).mark_fresh(now);
            }
        }
    }

    /// Returns the sources whose data became stale or fresh since the last call.
    pub(super) fn freshness_changes(&mut self, now: Timestamp) -> Vec<FreshnessChange> {
        self.cached_next_events = None;
        let Some(desired) = &self.decompressed else { return Vec::new() };
        let turned = self.sources.iter_mut().filter_map(|source| {
            source.cached_next_events(desired, now).staleness_change_at.filter(|turn| *turn <= now)?;
            source.freshness_change(desired, now)
        });
        turned.collect()
    }

    /// Rebuilds the schedules of managed sources.
    fn schedule(&mut self, records: &PassRecords, timings: &mut ScheduleCache, now: Timestamp) {
        let desired = self.decompressed.take().unwrap_or_else(|| self.task.desired.open());
        let before = self.scheduled.take();
        let mut known: BTreeMap<SourceName, ScheduledSource> =
            self.sources.drain(..).map(|source| (source.name.clone(), source)).collect();
        let at_once: BTreeMap<&SourceName, Trigger> =
            records.immediate_syncs.iter().rev().map(|(name, why)| (name, *why)).collect();
        for (index, source) in desired.sources.iter().enumerate() {
            let (Some(spec), Some(ours)) = (&source.sync, records.owned.get(&source.name)) else { continue };
            let known = known.remove(&source.name);
            let fires_the_same = |known: &&ScheduledSource| {
                let declared = before.as_ref().and_then(|before| known.declared(before));
                declared.is_some_and(|(_, before)| before.when == spec.when && before.jitter == spec.jitter)
            };
            let timing = match known.as_ref().filter(fires_the_same) {
                Some(known) => known.timing.clone(),
                None => match timings.compile(&desired.unit, &source.name, spec) {
                    Ok(timing) => timing,
                    Err(_) => continue,
                },
            };
            let heard = Idle {
                known,
                ours: ours.clone(),
                run: records.runs.get(&source.name),
                at_once: at_once.get(&source.name).copied(),
            };
            self.sources.push(ScheduledSource::new(source, index, timing, heard, now));
        }
        self.decompressed = (!self.sources.is_empty()).then_some(desired);
        self.scheduled = self.decompressed.clone();
        self.schedule_outdated = false;
        self.cached_next_events = None;
    }

    /// Returns the firings due for these sources.
    ///
    /// Firings that will not run count as claimed, or they would reappear.
    fn due_firings(&mut self, of: &[usize], now: Timestamp) -> BTreeMap<usize, (Timestamp, Trigger)> {
        let mut firings = self.evaluate_schedule(of, now);
        let Some(desired) = &self.decompressed else { return firings };
        for n in of {
            let source = &self.sources[*n];
            let is_active = source.declared(desired).is_some_and(|(source, _)| source.suspend.is_none());
            if is_active && let Some(trigger) = source.immediate_trigger() {
                firings.entry(*n).or_insert((now, trigger));
            }
        }
        firings
    }

    fn evaluate_schedule(&mut self, of: &[usize], now: Timestamp) -> BTreeMap<usize, (Timestamp, Trigger)> {
        let Some(desired) = self.decompressed.clone() else { return BTreeMap::new() };
        let scheduled = of.iter().map(|n| {
            let source = &self.sources[*n];
            let (declared, spec) = source.declared(&desired)?;
            Some(source.schedule_input(&desired, declared, spec))
        });
        let (Some(scheduled), false) = (scheduled.collect::<Option<Vec<_>>>(), self.schedule_outdated) else {
            return BTreeMap::new();
        };
        let decision = schedule::due(now, &scheduled);
        for (index, firing, outcome, message) in skipped_firings(&decision) {
            let source = self.source(of[index]);
            source.skip_firing(firing);
            let name = source.name.clone();
            self.skipped.push(SkippedRun { name, firing, outcome, message });
        }
        decision.due.iter().map(|due| (of[due.index], (due.firing, Trigger::Schedule))).collect()
    }

    fn batch_key<'a>(&self, n: usize, desired: &'a DesiredWorkspace) -> Option<BatchKey<'a>> {
        let (declared, spec) = self.sources[n].declared(desired)?;
        Some(BatchKey { workspace: &desired.unit, options: &declared.sync_options, timeout: spec.timeout })
    }

    fn source(&mut self, n: usize) -> &mut ScheduledSource {
        self.cached_next_events = None;
        &mut self.sources[n]
    }

    fn place(&self, name: &SourceName) -> Option<usize> {
        self.sources.binary_search_by(|source| source.name.cmp(name)).ok()
    }
}

fn earlier_of(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// Returns the retry delay: doubled per failure, spread by workspace to avoid bursts.
fn retry_delay(workspace: &WorkspaceRef, failures: u32, interval: SignedDuration) -> SignedDuration {
    let doubled = FIRST_RETRY_DELAY
        .saturating_mul(1_i32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(i32::MAX));
    let wait = doubled.min(interval.max(FIRST_RETRY_DELAY));
    let spread: u32 =
        workspace.workspace.as_str().bytes().chain(workspace.scope.as_str().bytes()).map(u32::from).sum();
    wait.saturating_mul(100 + i32::try_from(spread % 25).unwrap_or(0)) / 100
}
