//! Collects the inputs of a plan and creates it. Never writes.

use super::declared_secrets::{resolved, resolved_by, secrets_of};
use super::unchanged::{InSync, InputFingerprint, UnchangedCache};
use super::{Clock, MAX_CONCURRENT, Task};
use crate::apply::{VerifiedList, definition_hash};
use crate::client::{ApiReader, ListDigest, Listing, RemoteError};
use crate::listing::RelevantRows;
use crate::model::{
    DesiredWorkspace, Fingerprint, FingerprintKey, Inventory, ObservedSource, SecretRef, SourceName,
};
use crate::plan::saved::{Outline, input_outline};
use crate::plan::{
    Departure, ErrorKind, HostLimits, InventoryUpdate, MissingSecrets, Overrides, PlanInput, Quarantine,
    Recovered, SecretState, UNPROVEN_PERIOD, WithheldReason, WorkspaceError, WorkspacePlan, check_missing,
    plan, recover, with_sent_names, withhold_departures,
};
use crate::secrets::{Resolver, Secrets};
use crate::store::{PlanContext, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Period over which removals and corrected drift are counted.
const HISTORY_WINDOW: SignedDuration = SignedDuration::from_hours(1);

/// Doubt period after which a list that lacks many managed sources is trusted.
const LIST_DOUBT_PERIOD: SignedDuration = SignedDuration::from_mins(1);

/// Maximum interval between lists while an accepted write is not visible yet.
const MAX_SETTLE_INTERVAL: Duration = Duration::from_secs(300);

/// Number of plans that load other inputs during the list; see `Planner::prefetch_permits`.
pub const MAX_PREFETCHES: usize = 4;

/// Creates plans; neither its client nor its use of the state can write.
#[derive(Clone)]
pub struct Planner {
    pub reader: ApiReader,
    pub state: Option<Store>,
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
    pub host: HostLimits,
    /// Permits to load declarations and inventory while the list is in flight.
    ///
    /// Plans without a permit wait for the list first, so that many concurrent plans hold only
    /// lists in memory.
    pub prefetch_permits: Arc<Semaphore>,
    /// Cache of workspaces found in sync; `None` if there is no later pass.
    pub unchanged: Option<Arc<UnchangedCache>>,
    /// Computes a hash of each plan's inputs, for saved and compared plans.
    pub hashes: bool,
    pub clock: Clock,
}

/// A plan with its inputs.
pub struct Planned {
    /// The plan, before the guard.
    pub plan: WorkspacePlan,
    /// Hashes of the inputs; `None` without a plan or if hashes are disabled.
    pub input_outline: Option<Outline>,
    /// Inventory after recovery.
    pub inventory: Inventory,
    /// The other inputs.
    pub basis: PlanBasis,
    /// Outcomes revealed by the listing for writes without a response.
    pub corrections: Vec<InventoryUpdate>,
    /// Number of removals in the last hour.
    pub recent_removals: usize,
    /// Delay until the next list, if a write is still settling.
    pub settle_wait: Option<Duration>,
    /// Set if there is nothing to do, for the cache.
    pub in_sync: Option<InSync>,
}

/// Inputs of a plan besides the declarations, the list and the inventory.
#[derive(Default)]
pub struct PlanBasis {
    secrets: BTreeMap<SourceName, SecretState>,
    quarantine: Quarantine,
    /// True if the platform is known to update in place on connect.
    pub(super) upserts: bool,
    /// True if the state records a doubt in the lists that this plan does not end.
    is_doubted: bool,
    /// State's version from before it was read, with the fingerprints of the workspace's secrets.
    ///
    /// `None` if there is no later pass, or a secret does not resolve.
    versions: Option<(i64, Vec<(SecretRef, Fingerprint)>)>,
}

impl PlanBasis {
    /// Returns the cache entry of a workspace with this plan.
    ///
    /// `None` unless there is nothing to do, now or at a later time.
    fn in_sync(
        &self,
        task: &Task,
        plan: &WorkspacePlan,
        reckoning: &Recovered,
        list: impl FnOnce() -> ListDigest,
    ) -> Option<InSync> {
        let idle = plan.is_unchanged()
            && reckoning.corrections.is_empty()
            && reckoning.inventory.intents.is_empty()
            && reckoning.inventory.managed.values().all(|owned| owned.unproven_since.is_none())
            && self.quarantine.blocked.is_empty()
            && self.quarantine.corrected.is_empty()
            && task.released.is_empty()
            && !self.is_doubted;
        let (version, secrets) = self.versions.as_ref().filter(|_| idle)?;
        Some(InSync {
            inputs: InputFingerprint::new(task, list(), secrets.clone(), *version),
            summary: plan.unchanged_summary(),
        })
    }
}

impl Planned {
    fn failed(desired: Arc<DesiredWorkspace>, error: WorkspaceError) -> Self {
        Self {
            plan: WorkspacePlan::failed(desired, error),
            input_outline: None,
            inventory: Inventory::default(),
            corrections: Vec::new(),
            recent_removals: 0,
            basis: PlanBasis::default(),
            settle_wait: None,
            in_sync: None,
        }
    }
}

/// Response of a list request.
pub type ListResult = Result<Listing, RemoteError>;

/// Version of the state; `None` if unneeded or unavailable.
pub(super) type StoreVersion = Result<Option<i64>, StoreError>;

/// Result of checking a workspace for changes.
pub(super) enum FreshnessCheck {
    /// Nothing changed since the last plan, which was empty.
    Unchanged,
    /// Something may have changed. Contains the list, if it was requested.
    Changed(Option<ListResult>),
}

/// A list that is available or in flight.
enum PlanRequest {
    Ready(ListResult),
    /// The request; cancelled when its consumer is dropped.
    InFlight(JoinSet<ListResult>),
}

impl PlanRequest {
    async fn receive(self) -> ListResult {
        match self {
            Self::Ready(listed) => listed,
            Self::InFlight(asking) => asking.join_all().await.remove(0),
        }
    }
}

/// Stored knowledge about one workspace.
#[derive(Default)]
struct StoredContext {
    inventory: Inventory,
    recent_removals: usize,
    quarantine: Quarantine,
    upserts: bool,
    /// Time from which absences in the lists are distrusted.
    doubted_since: Option<Timestamp>,
}

impl Planner {
    /// Lists and plans one workspace; an error is returned as part of the plan.
    pub async fn plan(&self, task: &Task) -> Planned {
        let version = self.version().await;
        self.plan_with_list(task, version, None).await
    }

    /// Like [`Planner::plan`], for a workspace that may be listed already.
    ///
    /// `version` is the state's version from before the list.
    pub(super) async fn plan_with_list(
        &self,
        task: &Task,
        version: StoreVersion,
        listed: Option<ListResult>,
    ) -> Planned {
        if let Some(settled) = &self.unchanged {
            settled.remove(&task.desired.unit);
        }
        let listing = self.start_list(task, listed);
        let eager = self.prefetch_permits.try_acquire().ok();
        let listing = if eager.is_some() { listing } else { PlanRequest::Ready(listing.receive().await) };
        let desired = self.overrides.apply_to(&task.desired.open(), &self.host);
        let planned = match version {
            Ok(version) => self.try_plan(&desired, task, version, listing).await,
            Err(error) => Err(error.into()),
        };
        planned.unwrap_or_else(|error| Planned::failed(desired, error))
    }

    /// Checks whether the workspace changed since a plan with nothing to do.
    ///
    /// `version` is the current version of the state.
    pub(super) async fn check_freshness(&self, task: &Task, version: Option<i64>) -> FreshnessCheck {
        let mark =
            self.unchanged.as_ref().zip(version).and_then(|(settled, version)| settled.of(task, version));
        let Some(mark) = mark else { return FreshnessCheck::Changed(None) };
        match self.reader.fetch_listing(&task.desired.unit).await {
            Ok(listing) if mark.is_current(listing.digest(&self.key), &self.secrets, &self.key) => {
                FreshnessCheck::Unchanged
            }
            listed => FreshnessCheck::Changed(Some(listed)),
        }
    }

    /// Returns true if the workspace may be unchanged since a plan with nothing to do.
    ///
    /// A pass needs the version of the state only in that case.
    pub fn may_be_unchanged(&self, task: &Task) -> bool {
        self.unchanged.as_ref().is_some_and(|settled| settled.may_contain(task))
    }

    /// Returns the version of the state, for passes that start later.
    pub async fn state_version(&self) -> Option<i64> {
        self.version().await.ok().flatten()
    }

    pub(super) async fn version(&self) -> StoreVersion {
        match (&self.state, &self.unchanged) {
            (Some(state), Some(_)) if !self.hashes => state.version().await,
            _ => Ok(None),
        }
    }

    /// Plans many workspaces with bounded concurrency; the result is sorted by workspace.
    pub async fn plan_all(&self, tasks: impl IntoIterator<Item = Task>) -> Vec<Planned> {
        let mut planning = JoinSet::new();
        let turns = Arc::new(Semaphore::new(MAX_CONCURRENT));
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

    /// Lists the workspace, unless a list is available; other inputs load meanwhile.
    ///
    /// Error messages of the platform are withheld if they repeat a declared secret.
    fn start_list(&self, task: &Task, listed: Option<ListResult>) -> PlanRequest {
        if let Some(listed) = listed {
            return PlanRequest::Ready(listed);
        }
        let (reader, desired) = (self.reader.clone(), Arc::clone(&task.desired));
        let (declared, secrets) = (Arc::clone(&desired), Arc::clone(&self.secrets));
        reader.register_secrets(&desired.unit, move || resolved(&declared.open(), &secrets));
        let mut asking = JoinSet::new();
        asking.spawn(async move { reader.fetch_listing(&desired.unit).await });
        PlanRequest::InFlight(asking)
    }

    async fn try_plan(
        &self,
        desired: &Arc<DesiredWorkspace>,
        task: &Task,
        version: Option<i64>,
        listing: PlanRequest,
    ) -> Result<Planned, WorkspaceError> {
        let workspace = &desired.unit;
        let now = (self.clock)();
        let StoredContext { inventory, recent_removals, quarantine, upserts, doubted_since: doubted } =
            self.remember_inputs(desired, task, now).await?;
        let mut resolver = Resolver::new(Arc::clone(&self.secrets), &desired.names());
        let secrets = secrets_of(desired, &mut resolver, &self.key);
        let versions = version.and_then(|version| Some((version, resolver.fingerprints(&self.key)?)));
        let (asked, kept, from) =
            (Arc::clone(&task.desired), resolver.into_cache(), Arc::clone(&self.secrets));
        // Pass the secrets on, so that they are not resolved twice.
        self.reader.register_secrets(workspace, move || {
            let asked = asked.open();
            resolved_by(&mut Resolver::with_cached(from, &asked.names(), kept), &asked)
        });
        let listed = listing.receive().await?;
        let relevant = RelevantRows::new(desired, &inventory, &self.key);
        let listing = self.reader.read(workspace, &listed, Some(&relevant))?;
        let missing = if task.released.is_empty() { check_missing(&inventory, &listing) } else { None };
        let doubt = match missing {
            None => doubted.map(|_| None),
            Some(missing) => {
                let since = doubted.unwrap_or(now);
                if now.duration_since(since).abs() < LIST_DOUBT_PERIOD {
                    return Ok(Self::doubted_plan(desired, since, missing));
                }
                None
            }
        };
        let is_doubted = doubted.is_some() && doubt.is_none();
        let basis = PlanBasis { secrets, quarantine, upserts: upserts || self.upserts, is_doubted, versions };
        let (mut plan, mut reckoning, input_outline) =
            self.compare(desired, task, &basis, inventory, listing);
        reckoning.corrections.extend(doubt.map(InventoryUpdate::SetDoubt));
        self.hold_departures(&mut plan, task, &reckoning.inventory).await?;
        let waits = plan.withheld.iter().any(|withheld| withheld.code == WithheldReason::Unproven);
        let unproven = waits.then_some(UNPROVEN_PERIOD.unsigned_abs());
        Ok(Planned {
            in_sync: basis.in_sync(task, &plan, &reckoning, || listed.digest(&self.key)),
            plan,
            input_outline,
            settle_wait: self.settle_delay(&reckoning).or(unproven),
            inventory: reckoning.inventory,
            basis,
            corrections: reckoning.corrections,
            recent_removals,
        })
    }

    /// Decides open writes by the listing, and plans.
    fn compare(
        &self,
        desired: &Arc<DesiredWorkspace>,
        task: &Task,
        basis: &PlanBasis,
        inventory: Inventory,
        listing: Vec<ObservedSource>,
    ) -> (WorkspacePlan, Recovered, Option<Outline>) {
        let settle = SignedDuration::try_from(self.settle).unwrap_or(SignedDuration::MAX);
        let reckoning = recover(inventory, &listing, &self.key, ((self.clock)(), settle));
        let listing = with_sent_names(listing, &reckoning.inventory);
        let input = PlanInput {
            desired,
            listing: &listing,
            inventory: &reckoning.inventory,
            pending: &reckoning.pending,
            secrets: &basis.secrets,
            key: &self.key,
            owner: task.owner.as_deref(),
            root: &self.root,
            removals_blocked: task.removals_blocked.clone(),
            quarantine: &basis.quarantine,
            upserts: basis.upserts,
        };
        let outline = if self.hashes { Some(input_outline(&input)) } else { None };
        (plan(&input), reckoning, outline)
    }

    /// Returns the cache entry of a workspace that the list after the writes shows in sync.
    ///
    /// The next plan would be made of the same list and inventory.
    pub(super) fn in_sync_after(
        &self,
        applied: &WorkspacePlan,
        task: &Task,
        basis: &PlanBasis,
        verified: VerifiedList,
    ) -> Option<InSync> {
        // Corrected drift is remembered for an hour, in which the next pass may quarantine the source.
        if basis.versions.is_none() || applied.actions.iter().any(|action| action.corrects_drift) {
            return None;
        }
        let VerifiedList { digest, rows, inventory } = verified;
        let (plan, reckoning, _) = self.compare(&applied.desired, task, basis, inventory, rows);
        // A new unmanaged source is to be reported once.
        if plan.unmanaged != applied.unmanaged {
            return None;
        }
        basis.in_sync(task, &plan, &reckoning, || digest)
    }

    /// Holds back removals of moved sources until they are connected at the new place.
    async fn hold_departures(
        &self,
        plan: &mut WorkspacePlan,
        task: &Task,
        inventory: &Inventory,
    ) -> Result<(), WorkspaceError> {
        let departures = task.declarations.departures(plan, inventory);
        let mut inventories = BTreeMap::new();
        for workspace in departures.iter().flat_map(Departure::workspaces) {
            if !inventories.contains_key(workspace)
                && let Some(state) = &self.state
            {
                inventories.insert(workspace.clone(), state.inventory(workspace).await?);
            }
        }
        withhold_departures(plan, &departures, &inventories);
        Ok(())
    }

    /// Delay until the next list; grows while an accepted write stays invisible.
    fn settle_delay(&self, reckoning: &Recovered) -> Option<Duration> {
        let open = reckoning.inventory.intents.values();
        let since = open.map(|intent| intent.recorded_at).max()?;
        let age = (self.clock)().duration_since(since).unsigned_abs();
        let rest = self.settle.saturating_sub(age);
        Some(if rest.is_zero() { age.min(MAX_SETTLE_INTERVAL).max(self.settle) } else { rest })
    }

    /// Returns an empty plan for a workspace whose list is not trusted.
    fn doubted_plan(desired: &Arc<DesiredWorkspace>, since: Timestamp, missing: MissingSecrets) -> Planned {
        let error = WorkspaceError::new(
            ErrorKind::List,
            format!("the platform's list is not trusted: {missing}; nothing was changed"),
        );
        Planned {
            corrections: vec![InventoryUpdate::SetDoubt(Some(since))],
            ..Planned::failed(Arc::clone(desired), error)
        }
    }

    async fn remember_inputs(
        &self,
        desired: &DesiredWorkspace,
        task: &Task,
        now: Timestamp,
    ) -> Result<StoredContext, WorkspaceError> {
        let Some(state) = &self.state else { return Ok(StoredContext::default()) };
        let workspace = &task.desired.unit;
        let since = now.checked_sub(HISTORY_WINDOW).unwrap_or(Timestamp::MIN);
        let PlanContext {
            mut inventory,
            recent_removals: removals,
            upserts,
            doubted_since: doubted,
            quarantined,
            drift_corrections: undone,
        } = state.plan_context(workspace, since).await?;
        let mut quarantine = Quarantine::default();
        for (name, held) in quarantined {
            let source = desired.source(&name);
            let unedited = source.is_some_and(|source| definition_hash(source) == held.definition_hash);
            if unedited && held.since >= since {
                quarantine.blocked.insert(name, held.reason);
            }
        }
        for (name, _, _) in undone {
            *quarantine.corrected.entry(name).or_default() += 1;
        }
        quarantine.released = task.released.iter().cloned().collect();
        for name in &task.released {
            quarantine.blocked.remove(name);
            quarantine.corrected.remove(name);
        }
        for intent in inventory.intents.values_mut() {
            // A user who names a source does not wait for an accepted write to appear.
            if task.released.contains(&intent.name) {
                intent.answer = None;
            }
        }
        Ok(StoredContext {
            inventory,
            recent_removals: removals,
            quarantine,
            upserts,
            doubted_since: doubted,
        })
    }
}
