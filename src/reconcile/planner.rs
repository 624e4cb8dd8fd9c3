//! Collects the inputs of a plan and creates it. Never writes.

use super::settled::{Mark, Settled};
use super::{AT_ONCE, Clock, Task};
use crate::apply::mark_of;
use crate::model::{
    Declared, DesiredSource, DesiredUnit, FingerprintKey, Inventory, ResolvedSource, SourceName,
};
use crate::plan::saved::{Outline, basis};
use crate::plan::{
    Correction, Departure, ErrorKind, HostLimits, Input, Missing, Overrides, Quarantine, Reckoning,
    SecretState, UnitError, UnitPlan, hold_departures, missing, named_as_declared, plan, reckon,
};
use crate::remote::{Listing, Reader, RemoteError};
use crate::secrets::{Resolver, Secrets};
use crate::state::{Remembered, State, StateError};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Period over which removals and corrected drift are counted.
const WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Doubt period after which a list that lacks many managed sources is trusted.
const BELIEVED_AFTER: SignedDuration = SignedDuration::from_mins(1);

/// Maximum interval between lists while an accepted write is not visible yet.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Number of plans that load other inputs during the list; see [`Planner::eager`].
pub const EAGER: usize = 4;

/// Creates plans; neither its client nor its use of the state can write.
#[derive(Clone)]
pub struct Planner {
    /// Read-only client of the platform.
    pub reader: Reader,
    /// State, if there is one.
    pub state: Option<State>,
    /// Fingerprint key of the state, or a temporary one.
    pub key: Arc<FingerprintKey>,
    /// Resolver of secret references.
    pub secrets: Arc<Secrets>,
    /// Root of the tree, as configured.
    pub root: Arc<str>,
    /// Time after which a write must be visible on the platform.
    pub settle: Duration,
    /// True if the platform is known to update in place on connect; otherwise learned.
    pub upserts: bool,
    /// Values of flags that override the repository's policy.
    pub overrides: Overrides,
    /// Limits from the host file.
    pub host: HostLimits,
    /// Permits to load declarations and inventory while the list is in flight.
    ///
    /// Plans without a permit wait for the list first, so that many concurrent plans hold only
    /// lists in memory.
    pub eager: Arc<Semaphore>,
    /// Cache of units found in sync; `None` if there is no later pass.
    pub settled: Option<Arc<Settled>>,
    /// Computes a hash of each plan's inputs, for saved and compared plans.
    pub hashes: bool,
    /// Current time.
    pub clock: Clock,
}

/// A plan with its inputs.
pub struct Planned {
    /// The plan, before the guard.
    pub plan: UnitPlan,
    /// Hashes of the inputs; `None` without a plan or if hashes are disabled.
    pub basis: Option<Outline>,
    /// Inventory after recovery.
    pub inventory: Inventory,
    /// Outcomes revealed by the listing for writes without a response.
    pub corrections: Vec<Correction>,
    /// Number of removals in the last hour.
    pub recent_removals: usize,
    /// True if the platform is known to update in place on connect.
    pub upserts: bool,
    /// Delay until the next list, if a write is still settling.
    pub settling: Option<Duration>,
    /// Cache entry to store after the pass if it had nothing to do.
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

/// Response of a list request.
pub type Listed = Result<Listing, RemoteError>;

/// Version of the state; `None` if unneeded or unavailable.
pub(super) type Version = Result<Option<i64>, StateError>;

/// Result of checking a unit for changes.
pub(super) enum Look {
    /// Nothing changed since the last plan, which was empty.
    AsBefore,
    /// Something may have changed. Contains the list, if it was requested.
    Moved(Option<Listed>),
}

/// A list that is available or in flight.
enum Asked {
    Answered(Listed),
    /// The request; cancelled when its consumer is dropped.
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

/// Stored knowledge about one unit.
#[derive(Default)]
struct Memory {
    inventory: Inventory,
    recent_removals: usize,
    quarantine: Quarantine,
    upserts: bool,
    /// Time from which absences in the lists are distrusted.
    doubted: Option<Timestamp>,
}

impl Planner {
    /// Lists and plans one unit; an error is returned as part of the plan.
    pub async fn plan(&self, task: &Task) -> Planned {
        let version = self.version().await;
        self.plan_listed(task, version, None).await
    }

    /// Like [`Planner::plan`], for a unit that may be listed already.
    ///
    /// `version` is the state's version from before the list.
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

    /// Checks whether the unit changed since a plan with nothing to do.
    ///
    /// `version` is the current version of the state.
    pub(super) async fn look(&self, task: &Task, version: Option<i64>) -> Look {
        let mark =
            self.settled.as_ref().zip(version).and_then(|(settled, version)| settled.of(task, version));
        let Some(mark) = mark else { return Look::Moved(None) };
        match self.reader.listing(&task.desired.unit).await {
            Ok(listing) if mark.holds(listing.digest(&self.key), &self.secrets, &self.key) => Look::AsBefore,
            listed => Look::Moved(Some(listed)),
        }
    }

    /// Returns true if the unit may be unchanged since a plan with nothing to do.
    ///
    /// A pass needs the version of the state only in that case.
    #[must_use]
    pub fn may_be_settled(&self, task: &Task) -> bool {
        self.settled.as_ref().is_some_and(|settled| settled.may_hold(task))
    }

    /// Returns the version of the state, for passes that start later.
    pub async fn state_version(&self) -> Option<i64> {
        self.version().await.ok().flatten()
    }

    pub(super) async fn version(&self) -> Version {
        match (&self.state, &self.settled) {
            (Some(state), Some(_)) if !self.hashes => state.version().await,
            _ => Ok(None),
        }
    }

    /// Plans many units with bounded concurrency; the result is sorted by unit.
    pub async fn plan_all(&self, tasks: impl IntoIterator<Item = Task>) -> Vec<Planned> {
        let mut planning = JoinSet::new();
        let turns = Arc::new(Semaphore::new(AT_ONCE));
        for task in tasks {
            let (planner, turns) = (self.clone(), Arc::clone(&turns));
            planning.spawn(async move {
                // Acquiring fails only on a closed semaphore, and this one is never closed.
                let _turn = turns.acquire().await.ok();
                planner.plan(&task).await
            });
        }
        let mut planned = planning.join_all().await;
        planned.sort_by(|a, b| a.plan.unit().cmp(b.plan.unit()));
        planned
    }

    /// Lists the unit, unless a list is available; other inputs load meanwhile.
    ///
    /// Error messages of the platform are withheld if they repeat a declared secret.
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
        // Pass the secrets on, so that they are not resolved twice.
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
        let reckoning = reckon(inventory, &listing, &self.key, ((self.clock)(), settle));
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

    /// Holds back removals of moved sources until they are connected at the new place.
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

    /// Delay until the next list; grows while an accepted write stays invisible.
    fn wait(&self, reckoning: &Reckoning) -> Option<Duration> {
        let open = reckoning.inventory.intents.values();
        let since = open.map(|intent| intent.recorded_at).max()?;
        let age = (self.clock)().duration_since(since).unsigned_abs();
        let rest = self.settle.saturating_sub(age);
        Some(if rest.is_zero() { age.min(LONGEST_WAIT).max(self.settle) } else { rest })
    }

    /// Returns an empty plan for a unit whose list is not trusted.
    fn doubting(desired: &Arc<DesiredUnit>, since: Timestamp, missing: Missing) -> Planned {
        let error = UnitError::new(
            ErrorKind::List,
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
            // A user who names a source does not wait for an accepted write to appear.
            if task.released.contains(&intent.name) {
                intent.answer = None;
            }
        }
        Ok(Memory { inventory, recent_removals: removals, quarantine, upserts, doubted })
    }
}

/// Returns the sources of a unit whose secrets resolve, as they would be sent.
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

/// Returns the state of each source's secrets.
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
