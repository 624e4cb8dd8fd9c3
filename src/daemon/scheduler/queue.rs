//! Due queue: index of due times and totals, which avoids scans over all workspaces.

use crate::model::WorkspaceRef;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Due time of a pass, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PassPriority {
    /// The files were edited, so a user is waiting.
    Edited,
    Requested,
    /// The regular check.
    At(Timestamp),
}

impl PassPriority {
    fn is_due(self, now: Timestamp) -> bool {
        match self {
            Self::Edited | Self::Requested => true,
            Self::At(at) => at <= now,
        }
    }
}

/// Due times and totals of one workspace.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct DueTimes {
    /// `None` while a pass is running.
    pub(super) pass: Option<PassPriority>,
    /// Time at which a firing must be evaluated; `None` while a sync is running.
    pub(super) sync: Option<Timestamp>,
    /// Time at which data becomes stale or fresh and has to be reported.
    pub(super) staleness_change: Option<Timestamp>,
    pub(super) totals: SchedulerTotals,
}

/// Totals over all workspaces.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct SchedulerTotals {
    pub(super) workspaces: usize,
    pub(super) sources: usize,
    /// Workspaces whose last pass failed.
    pub(super) failing: usize,
    pub(super) passes: usize,
    /// Sync requests that are running.
    pub(super) syncs: usize,
}

impl SchedulerTotals {
    fn with(self, other: Self, sum: impl Fn(usize, usize) -> usize) -> Self {
        Self {
            workspaces: sum(self.workspaces, other.workspaces),
            sources: sum(self.sources, other.sources),
            failing: sum(self.failing, other.failing),
            passes: sum(self.passes, other.passes),
            syncs: sum(self.syncs, other.syncs),
        }
    }
}

/// All workspaces, ordered by due time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct DueQueue {
    passes: BTreeSet<(PassPriority, Arc<WorkspaceRef>)>,
    syncs: BTreeSet<(Timestamp, Arc<WorkspaceRef>)>,
    staleness_changes: BTreeSet<(Timestamp, Arc<WorkspaceRef>)>,
    totals: SchedulerTotals,
}

impl DueQueue {
    pub(super) fn update(&mut self, workspace: &Arc<WorkspaceRef>, before: &DueTimes, now: &DueTimes) {
        reinsert(&mut self.passes, workspace, before.pass, now.pass);
        reinsert(&mut self.syncs, workspace, before.sync, now.sync);
        reinsert(&mut self.staleness_changes, workspace, before.staleness_change, now.staleness_change);
        let added = self.totals.with(now.totals, |sum, new| sum + new);
        self.totals = added.with(before.totals, |sum, old| sum - old);
    }

    pub(super) fn totals(&self) -> SchedulerTotals {
        self.totals
    }

    /// Iterates over the workspaces whose pass is due, most urgent first.
    pub(super) fn passes_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<WorkspaceRef>> {
        self.passes.iter().take_while(move |(due, _)| due.is_due(now)).map(|(_, workspace)| workspace)
    }

    /// Iterates over all workspaces without a running pass, most urgent first.
    pub(super) fn passes(&self) -> impl Iterator<Item = &Arc<WorkspaceRef>> {
        self.passes.iter().map(|(_, workspace)| workspace)
    }

    /// Returns when the next pass is due; `now` if one is due already.
    pub(super) fn next_pass(&self, now: Timestamp) -> Option<Timestamp> {
        self.passes.first().map(|(due, _)| match due {
            PassPriority::Edited | PassPriority::Requested => now,
            PassPriority::At(at) => *at,
        })
    }

    /// Iterates over the workspaces with a firing to evaluate.
    pub(super) fn syncs_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<WorkspaceRef>> {
        until(&self.syncs, now)
    }

    /// Iterates over the workspaces with a future or due firing, in order.
    pub(super) fn syncs(&self) -> impl Iterator<Item = &(Timestamp, Arc<WorkspaceRef>)> {
        self.syncs.iter()
    }

    /// Returns the time of the next firing.
    pub(super) fn next_sync(&self, now: Timestamp) -> Option<Timestamp> {
        after(&self.syncs, now)
    }

    /// Iterates over the workspaces with data that became stale or fresh.
    pub(super) fn staleness_changes_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<WorkspaceRef>> {
        until(&self.staleness_changes, now)
    }

    /// Returns when data next becomes stale or fresh.
    pub(super) fn next_staleness_change(&self, now: Timestamp) -> Option<Timestamp> {
        after(&self.staleness_changes, now)
    }
}

type List = BTreeSet<(Timestamp, Arc<WorkspaceRef>)>;

fn until(list: &List, now: Timestamp) -> impl Iterator<Item = &Arc<WorkspaceRef>> {
    list.iter().take_while(move |(at, _)| *at <= now).map(|(_, workspace)| workspace)
}

/// Returns the first time after `now`; earlier ones need no wake-up.
fn after(list: &List, now: Timestamp) -> Option<Timestamp> {
    list.iter().map(|(at, _)| *at).find(|at| *at > now)
}

fn reinsert<T: Ord + Copy>(
    list: &mut BTreeSet<(T, Arc<WorkspaceRef>)>,
    workspace: &Arc<WorkspaceRef>,
    before: Option<T>,
    now: Option<T>,
) {
    if before == now {
        return;
    }
    if let Some(before) = before {
        list.remove(&(before, Arc::clone(workspace)));
    }
    if let Some(now) = now {
        list.insert((now, Arc::clone(workspace)));
    }
}
