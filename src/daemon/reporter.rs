//! Reporter interface of the loop, implemented for terminals and for logs.

use crate::load::LoadedConfig;
use crate::model::{DesiredWorkspace, SourceKey, WorkspaceRef};
use crate::plan::{Action, ActionResult, ApplyOutcome, WorkspacePlan};
use crate::reconcile::{PassId, Task};
use crate::schedule::CompiledSchedule;
use crate::sync::{SyncCall, SyncResult};
use jiff::Timestamp;

/// The state after a pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NextAttempt {
    /// Time of the next attempt, if the pass failed.
    pub retry_at: Option<Timestamp>,
    /// True if it was the first pass since its files changed.
    pub first_after_edit: bool,
}

/// Receives all events, in order for each workspace.
pub trait Reporter: Send + Sync {
    /// Changed files were loaded; they may have errors.
    fn config_loaded(&self, reading: &LoadedConfig);
    /// The directory cannot be read; the accepted configuration remains.
    fn config_unreadable(&self, why: &str);
    /// A pass over a workspace started.
    ///
    /// Later events of this workspace belong to it until its end.
    fn pass_started(&self, workspace: &WorkspaceRef, pass: &PassId);
    /// A workspace was planned; nothing is done yet, and in a dry run nothing will be.
    fn plan_ready(&self, plan: &WorkspacePlan, dry_run: bool);
    fn action_finished(&self, plan: &WorkspacePlan, action: &Action, result: &ActionResult);
    /// A pass ended; without an outcome it was a dry run.
    fn pass_ended(&self, plan: &WorkspacePlan, outcome: Option<&ApplyOutcome>, after: &NextAttempt);
    /// No connection to the platform can be opened; the next attempt is at `again`.
    fn platform_unreachable(&self, why: &str, again: Option<Timestamp>);
    fn sync_started(&self, call: &SyncCall);
    fn sync_ended(&self, workspace: Option<&DesiredWorkspace>, synced: &[SyncResult]);
    /// No work is running; these firings come next.
    fn next_syncs(&self, upcoming: &[(Timestamp, &Task, &SourceKey, &CompiledSchedule)], now: Timestamp);
    fn info(&self, text: &str);
    fn warning(&self, text: &str);
    /// A shutdown was requested; `busy` if work is still in progress.
    fn shutting_down(&self, busy: bool);
    /// All work ended.
    fn shut_down(&self);
}
