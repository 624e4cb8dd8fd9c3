//! One pass over one workspace: look, settle what is open, plan, guard, apply, look again.

mod settled;

pub use settled::{Mark, Settled, fingerprint};

use crate::apply::{Apply, Finished, chain, mark_of};
use crate::model::{
    Declared, DesiredSource, DesiredUnit, FingerprintKey, FoldedUnit, Inventory, ResolvedSource, SourceName,
    Unit,
};
use crate::plan::saved::basis;
use crate::plan::{
    Answers, ApprovedPlan, ApprovedUnit, AsBefore, Barred, Correction, HostLimits, Input, Outcome, Overrides,
    Plan, Quarantine, SecretState, UnitError, UnitPlan, approve, plan, reckon,
};
use crate::remote::{Listing, Reader, RemoteError, Writer};
use crate::secrets::{Resolver, Secrets};
use crate::state::{Change, Remembered, State, StateError};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// The clock, as an argument.
pub type Clock = Arc<dyn Fn() -> Timestamp + Send + Sync>;

/// Removals and mended drift are counted over this long.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

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
    /// The commit that the files were read at, in hexadecimal, when they lie in a Git checkout.
    pub commit: Option<Arc<str>>,
    /// Why nothing may be removed this time, if so.
    pub removals_barred: Option<Barred>,
    /// Sources asked for by name: they are let out of quarantine.
    pub released: Vec<SourceName>,
}

/// Makes plans. It cannot write: neither its client nor what it does with the state can.
#[derive(Clone)]
pub struct Planner {
    /// The platform, for reading.
    pub reader: Reader,
    /// The state, when there is one.
    pub state: Option<State>,
    /// The state's fingerprint key, or one made for this run.
    pub key: Arc<FingerprintKey>,
    /// Where secrets come from.
    pub secrets: Arc<Secrets>,
    /// The root of the tree, as configured.
    pub root: Arc<str>,
    /// How long a write may take to show on the platform.
    pub settle: Duration,
    /// The platform is known to update in place on connect; else that is learned.
    pub upserts: bool,
    /// What flags say in the place of the repository's policy.
    pub overrides: Overrides,
    /// The host's limits.
    pub host: HostLimits,
    /// Answers that were had before; each is used once.
    pub listed: Arc<Mutex<HashMap<Unit, Listing>>>,
    /// Units that were found to be as declared; `None` where no later pass will ask.
    pub settled: Option<Arc<Settled>>,
    /// What plans are made from is hashed, for those who save or compare it.
    pub hashes: bool,
    /// The clock.
    pub clock: Clock,
}

/// A plan with what it was made from.
pub struct Planned {
    /// The plan, before the guard.
    pub plan: UnitPlan,
    /// The hash of what it was made from; `None` where there is no plan, or the planner makes none.
    pub basis: Option<String>,
    /// The reckoned inventory.
    pub inventory: Inventory,
    /// What the listing taught about writes whose answers were lost.
    pub corrections: Vec<Correction>,
    /// Removals in the last hour.
    pub recent_removals: usize,
    /// The platform is known to update in place on connect.
    pub upserts: bool,
    /// Something is still settling: look again after this long.
    pub settling: Option<Duration>,
    /// To be kept once the pass is over, if there was nothing to do.
    pub mark: Option<Mark>,
}

/// How a list was answered.
pub type Listed = Result<Listing, RemoteError>;

/// The version of the state; `None` where it does not matter, or tells nothing.
type Version = Result<Option<i64>, StateError>;

/// What a look at a unit found.
enum Look {
    /// Nothing has moved since a plan that had nothing to do.
    AsBefore,
    /// Something may have. The list, if it was asked for.
    Moved(Option<Listed>),
}

/// What the state knows of one unit.
#[derive(Default)]
struct Memory {
    inventory: Inventory,
    recent_removals: usize,
    quarantine: Quarantine,
    upserts: bool,
}

impl Planner {
    /// Lists one unit and plans it. An error becomes a plan that says so.
    pub async fn plan(&self, task: &Task) -> Planned {
        let version = self.version().await;
        let listed = self.listed.lock().ok().and_then(|mut listed| listed.remove(&task.desired.unit));
        self.plan_listed(task, version, listed.map(Ok)).await
    }

    /// The same, of a unit that may have been listed already. `version` is the state's, as it was before
    /// that.
    async fn plan_listed(&self, task: &Task, version: Version, listed: Option<Listed>) -> Planned {
        if let Some(settled) = &self.settled {
            settled.forget(&task.desired.unit);
        }
        let listing = self.ask(task, listed);
        let desired = self.overrides.over(&task.desired.open(), &self.host);
        let planned = match version {
            Ok(version) => self.try_plan(&desired, task, version, listing).await,
            Err(error) => Err(error.into()),
        };
        planned.unwrap_or_else(|error| Planned {
            plan: UnitPlan::failed(desired, error),
            basis: None,
            inventory: Inventory::default(),
            corrections: Vec::new(),
            recent_removals: 0,
            upserts: false,
            settling: None,
            mark: None,
        })
    }

    /// Looks whether anything has moved since a plan that had nothing to do. `version` is the state's.
    async fn look(&self, task: &Task, version: Option<i64>) -> Look {
        let mark =
            self.settled.as_ref().zip(version).and_then(|(settled, version)| settled.of(task, version));
        let Some(mark) = mark else { return Look::Moved(None) };
        match self.reader.listing(&task.desired.unit).await {
            Ok(listing) if mark.holds(listing.digest(&self.key), &self.secrets, &self.key) => Look::AsBefore,
            listed => Look::Moved(Some(listed)),
        }
    }

    /// May this unit be as a plan found it that had nothing to do? Only then does the version of the state
    /// matter to a pass.
    #[must_use]
    pub fn may_be_settled(&self, task: &Task) -> bool {
        self.settled.as_ref().is_some_and(|settled| settled.may_hold(task))
    }

    /// The version of the state, for passes that begin after this. `None` where it is not known.
    pub async fn state_version(&self) -> Option<i64> {
        self.version().await.ok().flatten()
    }

    async fn version(&self) -> Version {
        match (&self.state, &self.settled) {
            (Some(state), Some(_)) if !self.hashes => state.version().await,
            _ => Ok(None),
        }
    }

    /// Plans many units, a few at once. Sorted by unit.
    pub async fn plan_all(&self, tasks: impl IntoIterator<Item = Task>) -> Vec<Planned> {
        let mut planning = JoinSet::new();
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        for task in tasks {
            let (planner, turns) = (self.clone(), Arc::clone(&turns));
            planning.spawn(async move {
                // Only a closed semaphore errs, and this one is never closed.
                let _turn = turns.acquire().await.ok();
                planner.plan(&task).await
            });
        }
        let mut planned = planning.join_all().await;
        planned.sort_by(|a, b| a.plan.unit().cmp(b.plan.unit()));
        planned
    }

    /// Asks the platform, unless it was asked already. The call is under way while everything else is looked
    /// up. What the platform says is not shown where it repeats a secret of what is declared now.
    fn ask(&self, task: &Task, listed: Option<Listed>) -> impl Future<Output = Listed> + use<> {
        let (reader, desired) = (self.reader.clone(), Arc::clone(&task.desired));
        let mut asking = JoinSet::new();
        if listed.is_none() {
            let (declared, secrets) = (Arc::clone(&desired), Arc::clone(&self.secrets));
            reader.withhold(&desired.unit, move || resolved(&declared.open(), &secrets));
            asking.spawn(async move { reader.listing(&desired.unit).await });
        }
        async move {
            match listed {
                Some(listed) => listed,
                None => asking.join_all().await.remove(0),
            }
        }
    }

    async fn try_plan(
        &self,
        desired: &Arc<DesiredUnit>,
        task: &Task,
        version: Option<i64>,
        listing: impl Future<Output = Listed>,
    ) -> Result<Planned, UnitError> {
        let unit = &desired.unit;
        let now = (self.clock)();
        let Memory { inventory, recent_removals, quarantine, upserts } =
            self.remember(desired, task, now).await?;
        let upserts = upserts || self.upserts;
        let mut resolver = Resolver::new(Arc::clone(&self.secrets), &desired.names());
        let secrets = secrets_of(desired, &mut resolver, &self.key);
        let values = version.and_then(|_| resolver.fingerprints(&self.key));
        let (asked, kept, from) = (Arc::clone(&task.desired), resolver.keep(), Arc::clone(&self.secrets));
        // What was found is not looked up for that once more.
        self.reader.withhold(unit, move || {
            let asked = asked.open();
            resolved_by(&mut Resolver::again(from, &asked.names(), kept), &asked)
        });
        let listed = listing.await?;
        let listing = self.reader.read(unit, &listed)?;
        let settle = SignedDuration::try_from(self.settle).unwrap_or(SignedDuration::MAX);
        let reckoning = reckon(inventory, &listing, &Answers::new(), &self.key, (self.clock)(), settle);
        let input = Input {
            desired,
            listing: &listing,
            inventory: &reckoning.inventory,
            pending: &reckoning.pending,
            secrets: &secrets,
            key: &self.key,
            owner: task.owner.as_deref(),
            root: &self.root,
            removals_barred: task.removals_barred.clone(),
            quarantine: &quarantine,
            upserts,
        };
        let mut made = Planned {
            plan: plan(&input),
            basis: self.hashes.then(|| basis(&input)),
            settling: (!reckoning.pending.is_empty()).then_some(self.settle),
            inventory: reckoning.inventory,
            corrections: reckoning.corrections,
            recent_removals,
            upserts,
            mark: None,
        };
        if let (Some(version), Some(values)) = (version, values)
            && quarantine.held.is_empty()
            && quarantine.mended.is_empty()
        {
            made.mark = Mark::of(task, &made, listed.digest(&self.key), values, version);
        }
        Ok(made)
    }

    async fn remember(
        &self,
        desired: &DesiredUnit,
        task: &Task,
        now: Timestamp,
    ) -> Result<Memory, UnitError> {
        let Some(state) = &self.state else { return Ok(Memory::default()) };
        let unit = &task.desired.unit;
        let since = now.checked_sub(WINDOW).unwrap_or(Timestamp::MIN);
        let Remembered { inventory, removals, upserts, quarantined, undone } =
            state.remembered(unit, since).await?;
        let mut quarantine = Quarantine::default();
        for (name, held) in quarantined {
            let source = desired.source(&name);
            let unedited = source.is_some_and(|source| mark_of(source) == held.mark);
            if unedited && held.since >= since {
                quarantine.held.insert(name, held.reason);
            }
        }
        for (name, _, _) in undone {
            *quarantine.mended.entry(name).or_default() += 1;
        }
        for name in &task.released {
            quarantine.held.remove(name);
            quarantine.mended.remove(name);
        }
        Ok(Memory { inventory, recent_removals: removals, quarantine, upserts })
    }
}

/// Asks for the lists of many units, as many at once as may be under way.
pub async fn list_all(reader: &Reader, units: impl IntoIterator<Item = Unit>) -> Vec<(Unit, Listed)> {
    let mut listing = JoinSet::new();
    for unit in units {
        let reader = reader.clone();
        listing.spawn(async move {
            let listed = reader.listing(&unit).await;
            (unit, listed)
        });
    }
    listing.join_all().await
}

/// The sources of a unit whose secrets resolve here, as they would be sent.
#[must_use]
pub fn resolved(desired: &DesiredUnit, secrets: &Arc<Secrets>) -> Vec<ResolvedSource> {
    resolved_by(&mut Resolver::new(Arc::clone(secrets), &desired.names()), desired)
}

fn resolved_by(resolver: &mut Resolver, desired: &DesiredUnit) -> Vec<ResolvedSource> {
    let mut resolved = |source: &DesiredSource| {
        Some(resolver.resolve(&source.definition).ok()?.into_source(source.name.clone()))
    };
    with_secrets(desired).filter_map(&mut resolved).collect()
}

fn with_secrets(desired: &DesiredUnit) -> impl Iterator<Item = &DesiredSource> {
    let refers =
        |source: &&DesiredSource| source.definition.connection_config.values().any(Declared::has_secret);
    desired.sources.iter().filter(refers)
}

/// What the secrets of a unit's sources are like here.
fn secrets_of(
    desired: &DesiredUnit,
    resolver: &mut Resolver,
    key: &FingerprintKey,
) -> BTreeMap<SourceName, SecretState> {
    let mut state = |source: &DesiredSource| match resolver.resolve(&source.definition) {
        Ok(resolution) => SecretState::Resolved(resolution.fingerprints(key)),
        Err(missing) => SecretState::Missing(missing.to_string()),
    };
    with_secrets(desired).map(|source| (source.name.clone(), state(source))).collect()
}

/// Puts several plans before the guard, beside what is as before.
#[must_use]
pub fn guard(planned: &[Planned], as_before: Vec<AsBefore>, host: &HostLimits) -> ApprovedPlan {
    let recent =
        planned.iter().map(|planned| (planned.plan.unit().clone(), planned.recent_removals)).collect();
    let units = planned.iter().map(|planned| planned.plan.clone()).collect();
    approve(Plan { units, as_before }, host, &recent)
}

/// The sources whose sync is under way in this process.
pub type Syncing = Arc<Mutex<BTreeSet<(Unit, SourceName)>>>;

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
    /// The sources whose sync is under way.
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
            Err(error) => return self.stopped(task, UnitError { kind: "locked", message: chain(&error) }),
        };
        // Whoever had the lock until now may have written what was listed before.
        let version = self.planner.version().await;
        let listed = listed.filter(|_| matches!(&version, Ok(now) if *now == before));
        let mut made = self.planner.plan_listed(task, version, listed).await;
        let mark = made.mark.take();
        if let Err(error) = self.learn(&made).await {
            return self.stopped(task, error);
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
        let syncing = |name: &SourceName| {
            let key = (unit.plan().unit().clone(), name.clone());
            self.syncing.lock().is_ok_and(|syncing| syncing.contains(&key))
        };
        let apply = Apply {
            writer: &self.writer,
            state: &self.state,
            secrets: &self.planner.secrets,
            owner: task.owner.as_ref(),
            commit: task.commit.as_deref(),
            root: &self.planner.root,
            settle: self.planner.settle,
            batch: BATCH,
            upserts,
            pass: id.as_str(),
            now: &*self.planner.clock,
            stopping: &*self.stopping,
            finished: &*self.on_actions,
            syncing: &syncing,
        };
        apply.unit(unit, inventory).await
    }

    fn stopped(&self, task: &Task, error: UnitError) -> Pass {
        if let Some(settled) = &self.planner.settled {
            settled.forget(&task.desired.unit);
        }
        let plan = UnitPlan::failed(task.desired.open(), error.clone());
        let approved =
            approve(Plan { units: vec![plan], ..Plan::default() }, &self.planner.host, &BTreeMap::new());
        Pass { approved, outcome: Outcome { error: Some(error), ..Outcome::default() }, again: None }
    }
}
