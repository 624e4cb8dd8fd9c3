//! Scheduler: decides which workspaces are due for a pass and which sources for a sync.
//!
//! Uses no runtime. Due times are indexed, so that an iteration of the loop costs as much as what changed,
//! not as much as what exists: every change of a slot goes through [`Scheduler::change`], which updates the
//! index.

mod queue;
mod source;
mod workspace;

use super::later;
use super::reporter::NextAttempt;
use crate::load::WorkSet;
use crate::model::{Connection, DesiredWorkspace, SourceKey, SourceName, WorkspaceRef};
use crate::plan::RemovalBlock;
use crate::reconcile::Task;
use crate::schedule::{CompiledSchedule, ScheduleCache};
use crate::store::{LastRun, SkippedRun, Trigger};
use crate::sync::SyncCall;
use crate::tree::Checkout;
use jiff::{SignedDuration, Timestamp};
use queue::DueQueue;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use workspace::WorkspaceEntry;

/// Maximum number of concurrent passes.
///
/// Each holds the listing of its workspace in memory. Equals the number of concurrent requests.
const MAX_PASSES: usize = 64;

/// Pause after a refused token, until one workspace is tried again.
const AUTH_RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(60);

/// All workspaces, with their running and due work.
pub(super) struct Scheduler {
    /// Maximum number of concurrent sync requests.
    ///
    /// Further due syncs wait here and not in the client: more sources of the workspace may join the request
    /// by then.
    max_syncs: usize,
    entries: BTreeMap<Arc<WorkspaceRef>, WorkspaceEntry>,
    queue: DueQueue,
    /// Firings that will not run and are not recorded yet.
    skipped: Vec<(Arc<DesiredWorkspace>, Vec<SkippedRun>)>,
    timings: ScheduleCache,
    auth_pause: Option<AuthPause>,
    /// Number of passes that connected a source.
    connect_count: u64,
    /// Workspaces with a removal that waits for a source of another workspace.
    waiting_for_connect: BTreeSet<WorkspaceRef>,
}

/// State while the platform refuses the token.
struct AuthPause {
    until: Timestamp,
    /// The one workspace that is tried in the meantime.
    probe: Option<WorkspaceRef>,
}

/// A source whose data became stale or fresh.
pub(super) struct FreshnessChange {
    pub(super) desired: Arc<DesiredWorkspace>,
    pub(super) key: SourceKey,
    pub(super) name: SourceName,
    /// Time of the last successful sync.
    pub(super) last_success: Option<Timestamp>,
    pub(super) stale: bool,
    /// True if a sync succeeded since the data was reported as stale.
    pub(super) synced: bool,
}

/// Records that the scheduler needs after a pass.
pub(super) struct PassRecords {
    pub(super) owned: BTreeMap<SourceName, Ownership>,
    pub(super) runs: BTreeMap<SourceName, LastRun>,
    /// Sources that were just connected or changed and sync at once.
    pub(super) immediate_syncs: Vec<(SourceName, Trigger)>,
}

/// The parts of a managed source that its syncs depend on.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Ownership {
    /// Time since which its schedule is in force.
    pub(super) scheduled_since: Option<Timestamp>,
    /// Distinguishes two sources with one name.
    pub(super) connection: Option<Connection>,
    /// True if nothing in the list does so.
    pub(super) unidentified: bool,
}

#[derive(Default)]
pub(super) struct PassResult {
    pub(super) succeeded: bool,
    pub(super) unauthorized: bool,
    /// Delay until the next pass, if requested.
    pub(super) retry_after: Option<std::time::Duration>,
    /// Removals were withheld because the files are changing or one is unreadable.
    pub(super) waits_for_quiet: bool,
    /// An action was deferred until the sync of the source ends.
    pub(super) waits_for_sync: bool,
    /// A removal waits until a source is connected in another workspace.
    pub(super) waits_for_connect: bool,
    /// A source was connected, replaced or adopted.
    pub(super) connected: bool,
    pub(super) records: Option<PassRecords>,
}

impl Scheduler {
    pub(super) fn new(max_syncs: usize) -> Self {
        Self {
            max_syncs,
            entries: BTreeMap::new(),
            queue: DueQueue::default(),
            skipped: Vec::new(),
            timings: ScheduleCache::default(),
            auth_pause: None,
            connect_count: 0,
            waiting_for_connect: BTreeSet::new(),
        }
    }

    /// Sets the workspaces to reconcile and returns those that are no longer declared.
    ///
    /// Workspaces blocked by broken files keep their last good task. No workspace counts as undeclared while
    /// the files are changing, or while a file may declare any workspace.
    pub(super) fn set_workspaces(
        &mut self,
        mut asked: WorkSet,
        barred: Option<&RemovalBlock>,
        now: Timestamp,
    ) -> Vec<WorkspaceRef> {
        for mut task in std::mem::take(&mut asked.tasks) {
            task.removals_blocked = task.removals_blocked.or_else(|| barred.cloned());
            let desired = Arc::clone(&task.desired);
            let moved = match self.entries.get_mut(&desired.unit) {
                Some(slot) => slot.set_task(task),
                None => {
                    self.entries.insert(Arc::new(desired.unit.clone()), WorkspaceEntry::new(task, now));
                    true
                }
            };
            if moved {
                self.change(&desired.unit, now, |_| {});
            }
        }
        let all_stay = asked.unattributed_error.is_some() || barred.is_some();
        let mut gone = Vec::new();
        for (workspace, slot) in &mut self.entries {
            let declared = std::mem::take(&mut slot.declared);
            let stays = declared || all_stay || asked.is_blocked(workspace);
            if !stays && !std::mem::replace(&mut slot.pending_removal, true) {
                gone.push((**workspace).clone());
            }
        }
        for workspace in &gone {
            self.change(workspace, now, |_| {});
        }
        gone
    }

    /// Sets the Git checkout of the files; affects nothing that is due.
    pub(super) fn checked_out(&mut self, checkout: Option<&Arc<Checkout>>) {
        for slot in self.entries.values_mut() {
            slot.task.checkout = checkout.cloned();
        }
    }

    /// Requests a pass over every workspace.
    pub(super) fn request_all(&mut self, now: Timestamp) {
        if let Some(pause) = &mut self.auth_pause {
            pause.until = Timestamp::MIN;
        }
        self.change_all(now, |slot| {
            slot.requested = true;
            slot.failures = 0;
        });
    }

    /// Pauses because the platform refuses the token.
    ///
    /// Returns true if not paused before.
    pub(super) fn start_auth_pause(&mut self, now: Timestamp) -> bool {
        self.auth_pause.replace(AuthPause { until: later(now, AUTH_RETRY_INTERVAL), probe: None }).is_none()
    }

    /// Returns true if paused because the platform refuses the token.
    pub(super) fn is_paused(&self) -> bool {
        self.auth_pause.is_some()
    }

    /// Recomputes due times after the clock was set back; they may be far ahead now.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        if let Some(pause) = &mut self.auth_pause {
            pause.until = pause.until.min(later(now, AUTH_RETRY_INTERVAL));
        }
        self.change_all(now, |slot| {
            slot.next_check_at = slot.next_check_at.min(now);
            slot.recompute();
        });
    }

    /// Starts the passes that are due, up to the limit, and returns them.
    ///
    /// While the platform refuses the token, one workspace at a time is tried.
    pub(super) fn take_due_passes(&mut self, now: Timestamp) -> Vec<Task> {
        let room = MAX_PASSES.saturating_sub(self.queue.totals().passes);
        let due: Vec<Arc<WorkspaceRef>> = match &self.auth_pause {
            None => self.queue.passes_due(now).take(room).cloned().collect(),
            Some(pause) if pause.probe.is_none() && pause.until <= now => {
                self.queue.passes().take(1).cloned().collect()
            }
            Some(_) => Vec::new(),
        };
        if let (Some(pause), Some(workspace)) = (&mut self.auth_pause, due.first()) {
            pause.probe = Some((**workspace).clone());
        }
        let arrivals = self.connect_count;
        due.iter()
            .filter_map(|workspace| self.change(workspace, now, |slot| slot.begin_pass(arrivals)))
            .collect()
    }

    /// Records the end of a pass; returns true if it found the token accepted again.
    pub(super) fn finish_pass(
        &mut self,
        workspace: &WorkspaceRef,
        ended: PassResult,
        interval: SignedDuration,
        now: Timestamp,
    ) -> bool {
        let probe = self.auth_pause.as_ref().is_some_and(|pause| pause.probe.as_ref() == Some(workspace));
        let resumed = probe && !ended.unauthorized;
        let PassResult { connected, waits_for_connect: waits_for_arrival, .. } = ended;
        self.connect_count += u64::from(connected);
        let arrivals = self.connect_count;
        let mut timings = std::mem::take(&mut self.timings);
        self.change(workspace, now, |slot| slot.finish_pass(ended, interval, arrivals, &mut timings, now));
        self.timings = timings;
        let others = if connected { std::mem::take(&mut self.waiting_for_connect) } else { BTreeSet::new() };
        for other in others {
            self.change(&other, now, |slot| slot.requested = true);
        }
        if waits_for_arrival {
            self.waiting_for_connect.insert(workspace.clone());
        }
        if resumed {
            self.auth_pause = None;
            self.change_all(now, |slot| slot.requested |= slot.failures > 0 || slot.next_check_at <= now);
        }
        resumed
    }

    /// Returns what to report after the pass of this workspace that just ended.
    pub(super) fn next_attempt(&mut self, workspace: &WorkspaceRef) -> NextAttempt {
        let Some(slot) = self.entries.get_mut(workspace) else { return NextAttempt::default() };
        let waits = slot.failures > 0 && !slot.requested && self.auth_pause.is_none();
        NextAttempt {
            retry_at: waits.then_some(slot.next_check_at),
            first_after_edit: std::mem::take(&mut slot.pass_covers_edit),
        }
    }

    /// Requests passes over all failed workspaces, because the platform is available again.
    pub(super) fn retry_failed(&mut self, now: Timestamp) {
        self.change_all(now, |slot| slot.requested |= slot.failures > 0);
    }

    /// Starts the syncs that are due, up to the limit, and returns their requests.
    ///
    /// A workspace has at most one request at a time.
    pub(super) fn take_due_syncs(&mut self, now: Timestamp) -> Vec<SyncCall> {
        let mut calls = Vec::new();
        while self.auth_pause.is_none() && self.queue.totals().syncs < self.max_syncs {
            let Some(workspace) = self.queue.syncs_due(now).next().cloned() else { break };
            calls.extend(self.change(&workspace, now, |slot| slot.take_due_sync(now)).flatten());
        }
        calls
    }

    /// Records the end of a request; an action may have been deferred for it.
    pub(super) fn finish_sync(&mut self, call: &SyncCall, now: Timestamp) {
        self.change(&call.unit, now, |slot| slot.finish_sync(call, now));
    }

    /// Restores the firings of a request that was not sent.
    pub(super) fn cancel_sync(&mut self, call: &SyncCall, now: Timestamp) {
        self.change(&call.unit, now, |slot| slot.cancel_sync(call));
    }

    /// Records successful syncs.
    pub(super) fn mark_fresh<'a>(
        &mut self,
        workspace: &WorkspaceRef,
        names: impl IntoIterator<Item = &'a SourceName>,
        now: Timestamp,
    ) {
        self.change(workspace, now, |slot| slot.mark_fresh(names, now));
    }

    /// Takes the firings that will not run.
    ///
    /// These must be recorded before anything is sent, or they reappear after a restart.
    pub(super) fn take_skipped(&mut self) -> Vec<(Arc<DesiredWorkspace>, Vec<SkippedRun>)> {
        std::mem::take(&mut self.skipped)
    }

    /// Puts back firings that could not be recorded.
    pub(super) fn restore_skipped(&mut self, desired: Arc<DesiredWorkspace>, spent: Vec<SkippedRun>) {
        self.skipped.push((desired, spent));
    }

    /// Returns the sources whose data became stale or fresh since the last call.
    pub(super) fn freshness_changes(&mut self, now: Timestamp) -> Vec<FreshnessChange> {
        let due: Vec<Arc<WorkspaceRef>> = self.queue.staleness_changes_due(now).cloned().collect();
        due.iter()
            .filter_map(|workspace| self.change(workspace, now, |slot| slot.freshness_changes(now)))
            .flatten()
            .collect()
    }

    /// Returns when something is next due, unless an event arrives earlier.
    ///
    /// Anything due already was started, or waits for other work to end.
    pub(super) fn next_wake(&self, now: Timestamp) -> Option<Timestamp> {
        if let Some(pause) = &self.auth_pause {
            return (pause.probe.is_none() && !self.entries.is_empty()).then_some(pause.until);
        }
        let under_way = self.queue.totals();
        let pass = if under_way.passes < MAX_PASSES { self.queue.next_pass(now) } else { None };
        let sync = if under_way.syncs < self.max_syncs { self.queue.next_sync(now) } else { None };
        [pass, sync, self.queue.next_staleness_change(now)].into_iter().flatten().min()
    }

    /// Returns true if nothing is running and nothing is due.
    pub(super) fn is_quiescent(&self, now: Timestamp) -> bool {
        let due = self.queue.passes_due(now).chain(self.queue.syncs_due(now)).next();
        self.is_idle() && due.is_none()
    }

    /// Returns the next `most` firings of all schedules, in order.
    pub(super) fn upcoming(
        &self,
        now: Timestamp,
        most: usize,
    ) -> Vec<(Timestamp, &Task, &SourceKey, &CompiledSchedule)> {
        let mut upcoming: Vec<(Timestamp, &Task, &SourceKey, &CompiledSchedule)> = Vec::new();
        for (soonest, workspace) in self.queue.syncs() {
            // Neither this workspace nor any after it has an earlier firing.
            if upcoming.len() == most && upcoming.last().is_some_and(|(at, ..)| at <= soonest) {
                break;
            }
            let Some(slot) = self.entries.get(workspace) else { continue };
            let firings = slot.sources.iter().filter_map(|source| {
                Some((source.next_firing(now)?, &slot.task, &source.key, &source.timing))
            });
            upcoming.extend(firings);
            upcoming.sort_by(|a, b| (a.0, &a.1.desired.unit, a.2).cmp(&(b.0, &b.1.desired.unit, b.2)));
            upcoming.truncate(most);
        }
        upcoming
    }

    /// Returns the number of workspaces, of declared sources, and of failed workspaces.
    pub(super) fn totals(&self) -> (usize, usize, usize) {
        let tally = self.queue.totals();
        (tally.workspaces, tally.sources, tally.failing)
    }

    /// Iterates over the tasks of all declared workspaces.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.entries.values().filter(|slot| !slot.pending_removal).map(|slot| &slot.task)
    }

    /// Returns the next firings of a workspace's scheduled sources.
    pub(super) fn schedules(
        &self,
        workspace: &WorkspaceRef,
        now: Timestamp,
    ) -> impl Iterator<Item = (&SourceName, Option<Timestamp>)> {
        let sources = self.entries.get(workspace).into_iter().flat_map(|slot| &slot.sources);
        sources.map(move |source| (&source.name, source.next_firing(now)))
    }

    pub(super) fn task(&self, workspace: &WorkspaceRef) -> Option<&Task> {
        self.entries.get(workspace).map(|slot| &slot.task)
    }

    /// Returns true if nothing is running.
    pub(super) fn is_idle(&self) -> bool {
        let tally = self.queue.totals();
        tally.passes == 0 && tally.syncs == 0
    }

    /// Changes a slot and updates its due times in the index.
    fn change<T>(
        &mut self,
        workspace: &WorkspaceRef,
        now: Timestamp,
        change: impl FnOnce(&mut WorkspaceEntry) -> T,
    ) -> Option<T> {
        let (key, _) = self.entries.get_key_value(workspace)?;
        let (key, slot) = (Arc::clone(key), self.entries.get_mut(workspace)?);
        let value = change(slot);
        list(&mut self.queue, &mut self.skipped, &key, slot, now);
        if slot.is_removable() {
            self.entries.remove(workspace);
            self.forget_probe(workspace);
        }
        Some(value)
    }

    fn change_all(&mut self, now: Timestamp, change: impl Fn(&mut WorkspaceEntry)) {
        let mut over = Vec::new();
        for (workspace, slot) in &mut self.entries {
            change(slot);
            list(&mut self.queue, &mut self.skipped, workspace, slot, now);
            if slot.is_removable() {
                over.push(Arc::clone(workspace));
            }
        }
        for workspace in over {
            self.entries.remove(&workspace);
            self.forget_probe(&workspace);
        }
    }

    /// Lets another workspace be tried.
    fn forget_probe(&mut self, workspace: &WorkspaceRef) {
        if let Some(pause) = &mut self.auth_pause {
            pause.probe.take_if(|probe| probe == workspace);
        }
    }
}

fn list(
    agenda: &mut DueQueue,
    spent: &mut Vec<(Arc<DesiredWorkspace>, Vec<SkippedRun>)>,
    workspace: &Arc<WorkspaceRef>,
    slot: &mut WorkspaceEntry,
    now: Timestamp,
) {
    let standing = slot.due_times(now);
    agenda.update(workspace, &slot.queued_times, &standing);
    slot.queued_times = standing;
    if !slot.skipped.is_empty() {
        spent.push((slot.task.desired.open(), std::mem::take(&mut slot.skipped)));
    }
}

#[cfg(test)]
mod tests;
