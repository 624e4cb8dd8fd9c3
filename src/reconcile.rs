//! One pass over one workspace: look, settle what is open, plan, guard, apply, look again.

mod planner;
mod settled;

pub use planner::{EAGER, Listed, Planned, Planner, resolved};
pub use settled::{Mark, Settled, fingerprint};

use crate::apply::{Apply, Finished, Syncing, chain};
use crate::model::{FoldedUnit, Inventory, SourceName};
use crate::plan::{
    ApprovedPlan, ApprovedUnit, AsBefore, Barred, Correction, Declarations, HostLimits, Outcome, Plan,
    UnitError, UnitPlan, approve,
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

/// The clock, as an argument.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Sources in one connect or cleanup call.
const BATCH: usize = 100;

/// Units planned, or written, at once: each holds a whole listing in memory. Some more than calls are under
/// way, as others compare, or wait for the disk.
pub(crate) const AT_ONCE: usize = 96;

/// What one pass over one unit is asked to do.
#[derive(Clone)]
pub struct Task {
    /// What the files say.
    pub desired: Arc<FoldedUnit>,
    /// `platform.owner`
    pub owner: Option<Arc<str>>,
    /// What was checked out when the files were read, when they lie in a Git checkout.
    pub checkout: Option<Arc<Checkout>>,
    /// Why nothing may be removed this time, if so.
    pub removals_barred: Option<Barred>,
    /// Sources asked for by name: they are let out of quarantine.
    pub released: Vec<SourceName>,
    /// What all workspaces declare, in the same reading.
    pub declarations: Arc<Declarations>,
}

/// Puts several plans before the guard, beside what is as before.
#[must_use]
pub fn guard(planned: &[Planned], as_before: Vec<AsBefore>, host: &HostLimits) -> ApprovedPlan {
    let recent =
        planned.iter().map(|planned| (planned.plan.unit().clone(), planned.recent_removals)).collect();
    let units = planned.iter().map(|planned| planned.plan.clone()).collect();
    approve(Plan { units, as_before }, host, &recent)
}

/// Carries out what the guard approved.
#[derive(Clone)]
pub struct Reconciler {
    /// Makes the plans.
    pub planner: Planner,
    /// The platform, for writing.
    pub writer: Writer,
    /// The state, for writing.
    pub state: State,
    /// Who we are, for whoever finds a workspace locked.
    pub holder: &'static str,
    /// How long to wait for a workspace that another process is writing.
    pub lock_wait: Duration,
    /// No new call is to start.
    pub stopping: Arc<dyn Fn() -> bool + Send + Sync>,
    /// Told of the actions that are finished together.
    pub on_actions: Arc<Finished>,
    /// What is synced meanwhile.
    pub syncing: Syncing,
}

/// Names one pass, in the logs and in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassId(Arc<str>);

impl PassId {
    /// The id of a pass that begins at `now`: the milliseconds of that instant, and a number of its own
    /// in this process.
    #[must_use]
    pub fn new(now: Timestamp) -> Self {
        static COUNT: AtomicU64 = AtomicU64::new(1);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        Self(format!("{:x}-{count}", now.as_millisecond()).into())
    }

    /// As text.
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

/// A pass over one unit.
pub struct Pass {
    /// What was planned and approved: nothing at all, where nothing had moved since the pass before.
    pub approved: ApprovedPlan,
    /// What became of it.
    pub outcome: Outcome,
    /// Look again after this long.
    pub again: Option<Duration>,
}

impl Pass {
    /// The unit's plan; `None` where nothing had moved.
    #[must_use]
    pub fn plan(&self) -> Option<&UnitPlan> {
        self.approved.plan().units.first()
    }
}

impl Reconciler {
    /// One pass over one unit, under its lock unless nothing has moved. `planned` is told of the plan before
    /// anything is done.
    pub async fn pass(&self, task: &Task, id: &PassId, planned: impl FnOnce(&UnitPlan)) -> Pass {
        let planner = &self.planner;
        let version = if planner.may_be_settled(task) { planner.state_version().await } else { None };
        self.pass_at(version, task, id, planned).await
    }

    /// The same, given the version of the state as it was asked for before.
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
                return self.stopped(task, UnitError::new("locked", chain(&error)), planned);
            }
        };
        // Whoever had the lock until now may have written what was listed before.
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

    /// Records what the listing taught about writes whose answers were lost.
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

    /// Carries out one approved unit. The caller holds its lock. `inventory` is the reckoned one, and
    /// `upserts` what is known of the platform, as the plan was made from them.
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
            checkout: task.checkout.as_deref(),
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
