//! Reading what there is, and making plans of it. Nothing here can write.

use super::settled::{Mark, Settled};
use super::{AT_ONCE, Clock, Task};
use crate::apply::mark_of;
use crate::model::{
    Declared, DesiredSource, DesiredUnit, FingerprintKey, Inventory, ResolvedSource, SourceName,
};
use crate::plan::saved::basis;
use crate::plan::{
    Correction, Departure, HostLimits, Input, Missing, Overrides, Quarantine, Reckoning, SecretState,
    UnitError, UnitPlan, hold_departures, missing, named_as_declared, plan, reckon,
};
use crate::remote::{Listing, Reader, RemoteError};
use crate::secrets::{Resolver, Secrets};
use crate::state::{Remembered, State, StateError};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Removals and mended drift are counted over this long.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// What many sources of ours are missing from for so long is believed.
const BELIEVED_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// What the platform does not show yet is looked for at least so often.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// So many plans need not wait for their list before anything else is looked up: see [`Planner::eager`].
pub const EAGER: usize = 4;

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
    /// A few plans look up what is declared and what is ours while their list is on its way. The others wait for
    /// it first: of many that are made at once, no more is held than the lists.
    pub eager: Arc<Semaphore>,
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

impl Planned {
    fn failed(desired: Arc<DesiredUnit>, error: UnitError) -> Self {
        Self {
            plan: UnitPlan::failed(desired, error),
            basis: None,
            inventory: Inventory::default(),
            corrections: Vec::new(),
            recent_removals: 0,
            upserts: false,
            settling: None,
            mark: None,
        }
    }
}

/// How a list was answered.
pub type Listed = Result<Listing, RemoteError>;

/// The version of the state; `None` where it does not matter, or tells nothing.
pub(super) type Version = Result<Option<i64>, StateError>;

/// What a look at a unit found.
pub(super) enum Look {
    /// Nothing has moved since a plan that had nothing to do.
    AsBefore,
    /// Something may have. The list, if it was asked for.
    Moved(Option<Listed>),
}

/// A list that was asked for.
enum Asked {
    Answered(Listed),
    /// The one call; it ends with whoever waits for it.
    Asking(JoinSet<Listed>),
}

impl Asked {
    async fn answer(self) -> Listed {
        match self {
            Self::Answered(listed) => listed,
            Self::Asking(asking) => asking.join_all().await.remove(0),
        }
    }
}

/// What the state knows of one unit.
#[derive(Default)]
struct Memory {
    inventory: Inventory,
    recent_removals: usize,
    quarantine: Quarantine,
    upserts: bool,
    /// Since when what is missing from the lists is not believed.
    doubted: Option<Timestamp>,
}

impl Planner {
    /// Lists one unit and plans it. An error becomes a plan that says so.
    pub async fn plan(&self, task: &Task) -> Planned {
        let version = self.version().await;
        self.plan_listed(task, version, None).await
    }

    /// The same, of a unit that may have been listed already. `version` is the state's, as it was before
    /// that.
    pub(super) async fn plan_listed(&self, task: &Task, version: Version, listed: Option<Listed>) -> Planned {
        if let Some(settled) = &self.settled {
            settled.forget(&task.desired.unit);
        }
        let listing = self.ask(task, listed);
        let eager = self.eager.try_acquire().ok();
        let listing = if eager.is_some() { listing } else { Asked::Answered(listing.answer().await) };
        let desired = self.overrides.over(&task.desired.open(), &self.host);
        let planned = match version {
            Ok(version) => self.try_plan(&desired, task, version, listing).await,
            Err(error) => Err(error.into()),
        };
        planned.unwrap_or_else(|error| Planned::failed(desired, error))
    }

    /// Looks whether anything has moved since a plan that had nothing to do. `version` is the state's.
    pub(super) async fn look(&self, task: &Task, version: Option<i64>) -> Look {
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

    pub(super) async fn version(&self) -> Version {
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
    fn ask(&self, task: &Task, listed: Option<Listed>) -> Asked {
        if let Some(listed) = listed {
            return Asked::Answered(listed);
        }
        let (reader, desired) = (self.reader.clone(), Arc::clone(&task.desired));
        let (declared, secrets) = (Arc::clone(&desired), Arc::clone(&self.secrets));
        reader.withhold(&desired.unit, move || resolved(&declared.open(), &secrets));
        let mut asking = JoinSet::new();
        asking.spawn(async move { reader.listing(&desired.unit).await });
        Asked::Asking(asking)
    }

    async fn try_plan(
        &self,
        desired: &Arc<DesiredUnit>,
        task: &Task,
        version: Option<i64>,
        listing: Asked,
    ) -> Result<Planned, UnitError> {
        let unit = &desired.unit;
        let now = (self.clock)();
        let Memory { inventory, recent_removals, quarantine, upserts, doubted } =
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
        let listed = listing.answer().await?;
        let listing = self.reader.read(unit, &listed)?;
        let doubt = match missing(&inventory, &listing).filter(|_| task.released.is_empty()) {
            None => doubted.map(|_| None),
            Some(missing) => {
                let since = doubted.unwrap_or(now);
                if now.duration_since(since).abs() < BELIEVED_AFTER {
                    return Ok(Self::doubting(desired, since, missing));
                }
                None
            }
        };
        let settle = SignedDuration::try_from(self.settle).unwrap_or(SignedDuration::MAX);
        let reckoning = reckon(inventory, &listing, &BTreeSet::new(), &self.key, ((self.clock)(), settle));
        let listing = named_as_declared(listing, &reckoning.inventory);
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
        let mut plan = plan(&input);
        self.hold_departures(&mut plan, task, &reckoning.inventory).await?;
        let mut made = Planned {
            plan,
            basis: self.hashes.then(|| basis(&input)),
            settling: self.wait(&reckoning),
            inventory: reckoning.inventory,
            corrections: reckoning.corrections.into_iter().chain(doubt.map(Correction::Doubt)).collect(),
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

    /// Removals wait for sources that moved to another workspace, until they are connected there.
    async fn hold_departures(
        &self,
        plan: &mut UnitPlan,
        task: &Task,
        inventory: &Inventory,
    ) -> Result<(), UnitError> {
        let departures = task.declarations.departures(plan, inventory);
        let mut inventories = BTreeMap::new();
        for unit in departures.iter().flat_map(Departure::units) {
            if let Some(state) = self.state.as_ref().filter(|_| !inventories.contains_key(unit)) {
                inventories.insert(unit.clone(), state.inventory(unit).await?);
            }
        }
        hold_departures(plan, &departures, &inventories);
        Ok(())
    }

    /// After how long to look again. What the platform answered and does not show is waited for ever longer.
    fn wait(&self, reckoning: &Reckoning) -> Option<Duration> {
        let open = reckoning.inventory.intents.values();
        let since = open.map(|intent| intent.recorded_at).max()?;
        let age = (self.clock)().duration_since(since).unsigned_abs();
        let rest = self.settle.saturating_sub(age);
        Some(if rest.is_zero() { age.min(LONGEST_WAIT).max(self.settle) } else { rest })
    }

    /// The plan of a unit whose list is not believed: none.
    fn doubting(desired: &Arc<DesiredUnit>, since: Timestamp, missing: Missing) -> Planned {
        let error = UnitError::new(
            "list",
            format!("could not tell what is on the platform: {missing}; nothing was done"),
        );
        Planned {
            corrections: vec![Correction::Doubt(Some(since))],
            ..Planned::failed(Arc::clone(desired), error)
        }
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
        let Remembered { mut inventory, removals, upserts, doubted, quarantined, undone } =
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
        quarantine.released = task.released.iter().cloned().collect();
        for name in &task.released {
            quarantine.held.remove(name);
            quarantine.mended.remove(name);
        }
        for intent in inventory.intents.values_mut() {
            // Whoever names a source does not want to wait for an answer to show.
            if task.released.contains(&intent.name) {
                intent.answer = None;
            }
        }
        Ok(Memory { inventory, recent_removals: removals, quarantine, upserts, doubted })
    }
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
