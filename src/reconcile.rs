//! Pass over one workspace: list, recover, plan, guard, apply, list again.
//!
//! Invariant: writes only approved plans, and only while holding the workspace's lock.

mod declared_secrets;
mod planner;
mod unchanged;

pub use declared_secrets::resolved;
pub use planner::{ListResult, MAX_PREFETCHES, PlanBasis, Planned, Planner};
pub use unchanged::{InSync, InputFingerprint, UnchangedCache, fingerprint};

use crate::apply::{ActionCallback, ApplyContext, SourceLocks};
use crate::client::ApiWriter;
use crate::error::error_chain;
use crate::model::{CompressedWorkspace, Inventory, SourceName};
use crate::plan::{
    ApplyOutcome, ApprovedPlan, ApprovedWorkspace, Declarations, ErrorKind, HostLimits, InventoryUpdate,
    Plan, RemovalBlock, UnchangedSummary, WorkspaceError, WorkspacePlan, approve,
};
use crate::store::{Store, StoreChange};
use crate::tree::Checkout;
use jiff::Timestamp;
use planner::FreshnessCheck;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Source of the current time, passed in so that tests control it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Maximum number of sources in one connect or cleanup request.
const MAX_BATCH_SIZE: usize = 100;

/// Maximum number of workspaces planned or written at once.
///
/// Each holds a complete listing in memory. The number exceeds the request limit, because some
/// workspaces compute or wait for the disk meanwhile.
pub(crate) const MAX_CONCURRENT: usize = 96;

/// Input of a pass over one workspace.
#[derive(Clone)]
pub struct Task {
    pub desired: Arc<CompressedWorkspace>,
    /// Value of `platform.owner`.
    pub owner: Option<Arc<str>>,
    /// Git checkout of the files, if any.
    pub checkout: Option<Arc<Checkout>>,
    /// Reason why nothing may be removed, if any.
    pub removals_blocked: Option<RemovalBlock>,
    /// Sources requested by name, which leave quarantine.
    pub released: Vec<SourceName>,
    /// Declarations of all workspaces in the same read.
    pub declarations: Arc<Declarations>,
}

/// Passes several plans to the guard, together with the unchanged workspaces.
pub fn guard(planned: &[Planned], as_before: Vec<UnchangedSummary>, host: &HostLimits) -> ApprovedPlan {
    let recent =
        planned.iter().map(|planned| (planned.plan.unit().clone(), planned.recent_removals)).collect();
    let workspaces = planned.iter().map(|planned| planned.plan.clone()).collect();
    approve(Plan { workspaces, unchanged_workspaces: as_before }, host, &recent)
}

/// Carries out approved plans.
#[derive(Clone)]
pub struct Reconciler {
    pub planner: Planner,
    /// Client that may write to the platform.
    pub writer: ApiWriter,
    pub state: Store,
    /// Name written into the lock, shown to other processes.
    pub holder: &'static str,
    /// Maximum wait for a workspace that another process is writing.
    pub lock_wait: Duration,
    /// Returns true once shutdown was requested; no request may start after that.
    pub should_stop: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Callback for each group of finished actions.
    pub on_actions: Arc<ActionCallback>,
    pub source_locks: SourceLocks,
}

/// Identifies a pass in logs and in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassId(Arc<str>);

impl PassId {
    /// Creates an id from `now` in milliseconds and a counter of this process.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{:x}-{count}", now.as_millisecond()).into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Result of a pass over one workspace.
pub struct Pass {
    /// Approved plan; empty if nothing changed since the previous pass.
    pub approved: ApprovedPlan,
    pub outcome: ApplyOutcome,
    /// Delay until the next pass is needed, if any.
    pub retry_after: Option<Duration>,
}

impl Pass {
    /// Returns the workspace's plan; `None` if nothing changed.
    pub fn plan(&self) -> Option<&WorkspacePlan> {
        self.approved.plan().workspaces.first()
    }
}

impl Reconciler {
    /// Runs a pass over one workspace, under its lock unless nothing changed.
    ///
    /// `planned` receives the plan before it is applied.
    pub async fn pass(&self, task: &Task, id: &PassId, planned: impl FnOnce(&WorkspacePlan)) -> Pass {
        let planner = &self.planner;
        let version = if planner.may_be_unchanged(task) { planner.state_version().await } else { None };
        self.run_pass(version, task, id, planned).await
    }

    /// Like [`Reconciler::pass`], with a state version read by the caller.
    pub async fn run_pass(
        &self,
        before: Option<i64>,
        task: &Task,
        id: &PassId,
        planned: impl FnOnce(&WorkspacePlan),
    ) -> Pass {
        let FreshnessCheck::Changed(listed) = self.planner.check_freshness(task, before).await else {
            let approved = approve(Plan::default(), &self.planner.host, &BTreeMap::new());
            return Pass { approved, outcome: ApplyOutcome::default(), retry_after: None };
        };
        let lock = match self.state.lock_with_timeout(&task.desired.unit, self.holder, self.lock_wait).await {
            Ok(lock) => lock,
            Err(error) => {
                return self.failed_pass(
                    task,
                    WorkspaceError::new(ErrorKind::Locked, error_chain(&error)),
                    planned,
                );
            }
        };
        // The previous lock holder may have changed the workspace after we listed it.
        let version = self.planner.version().await;
        let listed = if version.as_ref().is_ok_and(|now| *now == before) { listed } else { None };
        let mut made = self.planner.plan_with_list(task, version, listed).await;
        let mut in_sync = made.in_sync.take();
        if let Err(error) = self.persist_recovered(&made).await {
            return self.failed_pass(task, error, planned);
        }
        let approved = guard(std::slice::from_ref(&made), Vec::new(), &self.planner.host);
        let settling = made.settle_wait;
        let mut outcome = ApplyOutcome::default();
        if let Some(workspace) = approved.units().next() {
            planned(workspace.plan());
            let applied = self.apply(workspace, made.inventory, &made.basis, task, id).await;
            outcome = applied.0;
            in_sync = in_sync.or(applied.1);
        }
        if let (Some(unchanged), Some(in_sync)) = (&self.planner.unchanged, in_sync)
            && outcome.error.is_none()
        {
            unchanged.insert(in_sync.inputs);
        }
        drop(lock);
        let again = settling.or_else(|| outcome.needs_second_pass.then_some(Duration::ZERO));
        Pass { approved, outcome, retry_after: again }
    }

    /// Records the outcomes that the listing revealed for writes without a response.
    pub async fn persist_recovered(&self, planned: &Planned) -> Result<(), WorkspaceError> {
        if planned.corrections.is_empty() {
            return Ok(());
        }
        let changes = planned
            .corrections
            .iter()
            .map(|correction| match correction.clone() {
                InventoryUpdate::Manage(name, owned) => StoreChange::Manage(name, owned),
                InventoryUpdate::Remove(name) => StoreChange::Unmanage(name),
                InventoryUpdate::Forget(name, owned) => {
                    StoreChange::Forget(name, owned, (self.planner.clock)())
                }
                InventoryUpdate::DropForgotten(name) => StoreChange::DropForgotten(name),
                InventoryUpdate::SetDoubt(since) => StoreChange::Doubt(since),
                InventoryUpdate::Close(number) => StoreChange::CloseIntent(number),
            })
            .collect();
        self.state.commit(planned.plan.unit(), changes).await.map_err(WorkspaceError::from)
    }

    /// Applies an approved workspace while the caller holds its lock.
    ///
    /// `inventory` is the recovered inventory. Returns the cache entry of the workspace if the list after the
    /// writes shows it in sync.
    pub async fn apply(
        &self,
        workspace: ApprovedWorkspace<'_>,
        inventory: Inventory,
        basis: &PlanBasis,
        task: &Task,
        id: &PassId,
    ) -> (ApplyOutcome, Option<InSync>) {
        let plan = workspace.plan();
        if let Some(error) = &plan.error {
            return (ApplyOutcome { error: Some(error.clone()), ..ApplyOutcome::default() }, None);
        }
        let apply = ApplyContext {
            writer: &self.writer,
            state: &self.state,
            secrets: &self.planner.secrets,
            owner: task.owner.as_ref(),
            checkout: task.checkout.as_ref(),
            root: &self.planner.root,
            settle: self.planner.settle,
            batch: MAX_BATCH_SIZE,
            upserts: basis.upserts,
            pass: &id.0,
            now: &*self.planner.clock,
            stopping: &*self.should_stop,
            finished: &*self.on_actions,
            source_locks: &self.source_locks,
        };
        let (outcome, verified) = apply.unit(workspace, inventory).await;
        let in_sync = match verified {
            Some(verified) if outcome.is_complete() => {
                self.planner.in_sync_after(plan, task, basis, verified)
            }
            _ => None,
        };
        (outcome, in_sync)
    }

    fn failed_pass(&self, task: &Task, error: WorkspaceError, planned: impl FnOnce(&WorkspacePlan)) -> Pass {
        if let Some(settled) = &self.planner.unchanged {
            settled.remove(&task.desired.unit);
        }
        let plan = WorkspacePlan::failed(task.desired.open(), error.clone());
        planned(&plan);
        let approved =
            approve(Plan { workspaces: vec![plan], ..Plan::default() }, &self.planner.host, &BTreeMap::new());
        Pass {
            approved,
            outcome: ApplyOutcome { error: Some(error), ..ApplyOutcome::default() },
            retry_after: None,
        }
    }
}
