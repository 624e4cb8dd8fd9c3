//! Pass over one workspace: list, recover, plan, guard, apply, list again.
//!
//! Invariant: writes only approved plans, and only while holding the workspace's lock.

mod planner;
mod settled;

pub use planner::{EAGER, Listed, Planned, Planner, resolved};
pub use settled::{Mark, Settled, fingerprint};

use crate::apply::{Apply, Finished, Syncing, chain};
use crate::model::{FoldedUnit, Inventory, SourceName};
use crate::plan::{
    ApprovedPlan, ApprovedUnit, AsBefore, Barred, Correction, Declarations, ErrorKind, HostLimits, Outcome,
    Plan, UnitError, UnitPlan, approve,
};
use crate::remote::Writer;
use crate::state::{Change, State};
use crate::tree::Checkout;
use jiff::Timestamp;
use planner::Look;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Source of the current time, passed in so that tests control it.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Maximum number of sources in one connect or cleanup request.
const BATCH: usize = 100;

/// Maximum number of units planned or written at once.
///
/// Each holds a complete listing in memory. The number exceeds the request limit, because some
/// units compute or wait for the disk meanwhile.
pub(crate) const AT_ONCE: usize = 96;

/// Input of a pass over one unit.
#[derive(Clone)]
pub struct Task {
    /// Desired sources of the unit.
    pub desired: Arc<FoldedUnit>,
    /// Value of `platform.owner`.
    pub owner: Option<Arc<str>>,
    /// Git checkout of the files, if any.
    pub checkout: Option<Arc<Checkout>>,
    /// Reason why nothing may be removed, if any.
    pub removals_barred: Option<Barred>,
    /// Sources requested by name, which leave quarantine.
    pub released: Vec<SourceName>,
    /// Declarations of all workspaces in the same read.
    pub declarations: Arc<Declarations>,
}

/// Passes several plans to the guard, together with the unchanged units.
#[must_use]
pub fn guard(planned: &[Planned], as_before: Vec<AsBefore>, host: &HostLimits) -> ApprovedPlan {
    let recent =
        planned.iter().map(|planned| (planned.plan.unit().clone(), planned.recent_removals)).collect();
    let units = planned.iter().map(|planned| planned.plan.clone()).collect();
    approve(Plan { units, as_before }, host, &recent)
}

/// Carries out approved plans.
#[derive(Clone)]
pub struct Reconciler {
    /// Creates the plans.
    pub planner: Planner,
    /// Client that may write to the platform.
    pub writer: Writer,
    /// State, opened for writing.
    pub state: State,
    /// Name written into the lock, shown to other processes.
    pub holder: &'static str,
    /// Maximum wait for a workspace that another process is writing.
    pub lock_wait: Duration,
    /// Returns true once shutdown was requested; no request may start after that.
    pub stopping: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Callback for each group of finished actions.
    pub on_actions: Arc<Finished>,
    /// Locks of the sources that are being synced.
    pub syncing: Syncing,
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

    /// Returns the id as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PassId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Result of a pass over one unit.
pub struct Pass {
    /// Approved plan; empty if nothing changed since the previous pass.
    pub approved: ApprovedPlan,
    /// Result of applying it.
    pub outcome: Outcome,
    /// Delay until the next pass is needed, if any.
    pub again: Option<Duration>,
}

impl Pass {
    /// Returns the unit's plan; `None` if nothing changed.
    #[must_use]
    pub fn plan(&self) -> Option<&UnitPlan> {
        self.approved.plan().units.first()
    }
}

impl Reconciler {
    /// Runs a pass over one unit, under its lock unless nothing changed.
    ///
    /// `planned` receives the plan before it is applied.
    pub async fn pass(&self, task: &Task, id: &PassId, planned: impl FnOnce(&UnitPlan)) -> Pass {
        let planner = &self.planner;
        let version = if planner.may_be_settled(task) { planner.state_version().await } else { None };
        self.pass_at(version, task, id, planned).await
    }

    /// Like [`Reconciler::pass`], with a state version read by the caller.
    pub async fn pass_at(
        &self,
        before: Option<i64>,
        task: &Task,
        id: &PassId,
        planned: impl FnOnce(&UnitPlan),
    ) -> Pass {
        let Look::Moved(listed) = self.planner.look(task, before).await else {
            let approved = approve(Plan::default(), &self.planner.host, &BTreeMap::new());
            return Pass { approved, outcome: Outcome::default(), again: None };
        };
        let lock = match self.state.lock_waiting(&task.desired.unit, self.holder, self.lock_wait).await {
            Ok(lock) => lock,
            Err(error) => {
                return self.stopped(task, UnitError::new(ErrorKind::Locked, chain(&error)), planned);
            }
        };
        // The previous lock holder may have changed the workspace after we listed it.
        let version = self.planner.version().await;
        let listed = listed.filter(|_| matches!(&version, Ok(now) if *now == before));
        let mut made = self.planner.plan_listed(task, version, listed).await;
        let mark = made.mark.take();
        if let Err(error) = self.learn(&made).await {
            return self.stopped(task, error, planned);
        }
        let approved = guard(std::slice::from_ref(&made), Vec::new(), &self.planner.host);
        let settling = made.settling;
        let mut outcome = Outcome::default();
        if let Some(unit) = approved.units().next() {
            planned(unit.plan());
            outcome = self.apply(unit, (made.inventory, made.upserts), task, id).await;
        }
        if let (Some(settled), Some(mark)) = (&self.planner.settled, mark)
            && outcome.error.is_none()
        {
            settled.keep(mark);
        }
        drop(lock);
        let again = settling.or_else(|| outcome.again.then_some(Duration::ZERO));
        Pass { approved, outcome, again }
    }

    /// Records the outcomes that the listing revealed for writes without a response.
    pub async fn learn(&self, planned: &Planned) -> Result<(), UnitError> {
        if planned.corrections.is_empty() {
            return Ok(());
        }
        let changes = planned
            .corrections
            .iter()
            .map(|correction| match correction.clone() {
                Correction::Own(name, owned) => Change::Own(name, owned),
                Correction::Disown(name) => Change::Disown(name),
                Correction::Forget(name, owned) => Change::Forget(name, owned, (self.planner.clock)()),
                Correction::Recall(name) => Change::Recall(name),
                Correction::Doubt(since) => Change::Doubt(since),
                Correction::Close(number) => Change::CloseIntent(number),
            })
            .collect();
        self.state.commit(planned.plan.unit(), changes).await.map_err(UnitError::from)
    }

    /// Applies an approved unit while the caller holds its lock.
    ///
    /// `inventory` and `upserts` are the recovered inventory and the platform behaviour that the
    /// plan is based on.
    pub async fn apply(
        &self,
        unit: ApprovedUnit<'_>,
        (inventory, upserts): (Inventory, bool),
        task: &Task,
        id: &PassId,
    ) -> Outcome {
        if let Some(error) = &unit.plan().error {
            return Outcome { error: Some(error.clone()), ..Outcome::default() };
        }
        let apply = Apply {
            writer: &self.writer,
            state: &self.state,
            secrets: &self.planner.secrets,
            owner: task.owner.as_ref(),
            checkout: task.checkout.as_ref(),
            root: &self.planner.root,
            settle: self.planner.settle,
            batch: BATCH,
            upserts,
            pass: &id.0,
            now: &*self.planner.clock,
            stopping: &*self.stopping,
            finished: &*self.on_actions,
            syncing: &self.syncing,
        };
        apply.unit(unit, inventory).await
    }

    fn stopped(&self, task: &Task, error: UnitError, planned: impl FnOnce(&UnitPlan)) -> Pass {
        if let Some(settled) = &self.planner.settled {
            settled.forget(&task.desired.unit);
        }
        let plan = UnitPlan::failed(task.desired.open(), error.clone());
        planned(&plan);
        let approved =
            approve(Plan { units: vec![plan], ..Plan::default() }, &self.planner.host, &BTreeMap::new());
        Pass { approved, outcome: Outcome { error: Some(error), ..Outcome::default() }, again: None }
    }
}
