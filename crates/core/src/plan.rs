//! Planner: computes a plan from desired state, observed state and inventory.
//!
//! Invariant: pure; nothing but the guard can create an [`ApprovedPlan`].
//!
//! [`recover`] first decides the outcome of writes without a response. [`plan`] then takes each
//! name through one decision table:
//!
//! | declared | listed | managed | result |
//! |---|---|---|---|
//! | yes | no | no | connect |
//! | yes | no | yes | connect (gone from the platform) |
//! | yes | yes | yes, equal | nothing |
//! | yes | yes | yes, differs | replace |
//! | yes | yes | no | adopt, or withheld |
//! | yes | twice | by state | clean up our older one, or withheld |
//! | no | yes | yes | cleanup, or withheld |
//! | no | yes | no | unmanaged: left alone |
//! | no | no | yes | forget |
//!
//! The guard ([`approve`]) then counts the removals.

mod additions;
mod adopt;
mod applied;
mod case;
mod decide;
mod diff;
mod elsewhere;
mod guard;
mod listing_index;
mod missing;
mod outcome;
mod recovery;
mod removal;
pub mod saved;
mod step;
mod unmanaged;

pub use crate::model::{ActionKind, ErrorKind, WithheldReason};
pub use applied::was_applied;
pub use case::with_location;
pub use diff::{ChangeKind, FieldChange, FieldDiff, compare, compare_unmanaged, record_readback};
pub use elsewhere::{Declarations, Departure, Rejected, withhold_departures};
pub use guard::{ApprovedPlan, ApprovedWorkspace, HostLimits, Overrides, approve};
pub use missing::{MissingSecrets, check_missing};
pub use outcome::{ActionResult, ApplyOutcome, INTERRUPTED};
pub use recovery::{
    InventoryUpdate, PendingWrite, Recovered, UNPROVEN_PERIOD, abandon, recover, with_sent_names,
};
pub use step::{Removal, Step};
pub use unmanaged::{Unmanaged, UnmanagedSources};

use crate::model::{
    DesiredWorkspace, Fingerprint, FingerprintKey, Inventory, ManagedSource, ObservedSource, SourceKey,
    SourceLocation, SourceName, WorkspaceId, WorkspaceRef,
};
use additions::{AdditionCount, ByPlatform};
use listing_index::{ListingIndex, without_shared_ids};
use removal::RemovalPlanner;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Everything that a plan for one unit is computed from.
pub struct PlanInput<'a> {
    /// Desired state from the files.
    pub desired: &'a Arc<DesiredWorkspace>,
    /// A complete listing; incomplete ones are rejected before planning.
    pub listing: &'a [ObservedSource],
    /// Managed sources, after [`recover`].
    pub inventory: &'a Inventory,
    /// Names whose last write is still open; left alone until its outcome is known.
    pub pending: &'a BTreeMap<SourceName, PendingWrite>,
    /// Per declared source the fingerprints of its secrets, or why they do not resolve.
    pub secrets: &'a BTreeMap<SourceName, SecretState>,
    /// Key of the fingerprints in `secrets` and the inventory.
    pub key: &'a FingerprintKey,
    /// `platform.owner`
    pub owner: Option<&'a str>,
    /// Root directory that the files were read from.
    pub root: &'a str,
    /// Reason why nothing may be removed in this pass, if any.
    pub removals_blocked: Option<RemovalBlock>,
    /// Sources that are not changed, because repeating the change does not help.
    pub quarantine: &'a Quarantine,
    /// True if a connect of an existing name is known to update it in place.
    pub upserts: bool,
}

/// Quarantined sources, with their reasons.
#[derive(Debug, Clone, Default)]
pub struct Quarantine {
    /// Sources left alone until they are edited, with the reason.
    pub blocked: BTreeMap<SourceName, String>,
    /// Sources selected by name; these may be taken over from another state.
    pub released: BTreeSet<SourceName>,
    /// Number of drift corrections per source in the last hour.
    pub corrected: BTreeMap<SourceName, usize>,
}

/// Maximum number of drift corrections of one source per hour.
///
/// Drift that comes back after this many corrections is probably caused by another controller.
const MAX_DRIFT_CORRECTIONS: usize = 2;

/// Result of resolving a source's secrets on this machine.
#[derive(Debug, Clone)]
pub enum SecretState {
    /// The fingerprints of the values at its secret leaves.
    Resolved(BTreeMap<crate::model::FieldPath, Fingerprint>),
    /// Unresolved; the text names the secret and the reason, never a value.
    Missing(String),
}

/// The reason why a pass removes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovalBlock {
    /// Stable code for scripts.
    pub code: WithheldReason,
    /// The reason in words.
    pub reason: String,
}

/// A plan for several units.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Sorted by unit.
    pub workspaces: Vec<WorkspacePlan>,
    /// Units that were not planned again, because nothing changed since an empty plan.
    pub unchanged_workspaces: Vec<UnchangedSummary>,
}

/// Summary of a unit whose plan was empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnchangedSummary {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Number of sources that are in sync.
    pub unchanged: usize,
    /// Number of fields per name that the platform does not return.
    pub unreadable: BTreeMap<String, usize>,
}

/// The plan of one unit: actions, withheld actions and findings.
#[derive(Debug, Clone)]
pub struct WorkspacePlan {
    /// Desired state from the files.
    pub desired: Arc<DesiredWorkspace>,
    /// Error that stopped the pass; all fields below are empty then.
    pub error: Option<WorkspaceError>,
    /// Actions in the order in which they are carried out.
    pub actions: Vec<Action>,
    /// Actions that are withheld.
    pub withheld: Vec<Withheld>,
    /// Sources on the platform that are neither declared nor managed.
    pub unmanaged: UnmanagedSources,
    /// Declared fields that the platform does not return, as `SOURCE: PATH`.
    pub unreadable: Vec<String>,
    /// Sources compared only in part, because a secret does not resolve here.
    pub unchecked: Vec<Unchecked>,
    /// Sources that are in sync.
    pub unchanged: Vec<SourceName>,
    /// Suspended sources with their drift.
    pub suspended: Vec<Suspended>,
    /// Inventory entries whose key, location or `protect` changed; needs no request.
    pub refresh: Vec<(SourceName, Arc<ManagedSource>)>,
    /// Number of managed sources when the plan was made.
    pub managed_count: usize,
    /// True if the platform is known to update in place and to keep the data.
    pub in_place: bool,
}

/// The reason why a unit has no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkspaceError {
    /// The kind of failure.
    pub kind: ErrorKind,
    /// Description of the error and what to do.
    pub message: String,
    /// Failure of the platform as a whole, if the error shows one.
    ///
    /// Affects other units too.
    pub outage: Option<String>,
}

impl WorkspaceError {
    /// Creates an error that concerns only its unit.
    #[must_use]
    pub fn new(kind: ErrorKind, message: String) -> Self {
        Self { kind, message, outage: None }
    }
}

/// Result of a connection test.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TestStatus {
    /// True if the connection works.
    pub passed: bool,
    /// Message of the platform.
    pub message: String,
}

/// One change to one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The kind of change, with its data.
    pub step: Step,
    /// Key of the source.
    pub source: SourceKey,
    /// Name on the platform.
    pub name: SourceName,
    /// The reason.
    pub reason: String,
    /// Location in the files that causes the action.
    pub location: Option<SourceLocation>,
    /// The fields that change.
    pub changes: Vec<FieldChange>,
    /// True if the action undoes a change made by others.
    pub corrects_drift: bool,
    /// Unresolved secrets that the action needs; it cannot be carried out here then.
    pub missing_secrets: Option<String>,
    /// Result of the connection test of the new definition, if one was requested.
    pub test_status: Option<TestStatus>,
}

/// An action that is withheld.
#[derive(Debug, Clone, PartialEq)]
pub struct Withheld {
    /// Key of the source.
    pub source: SourceKey,
    /// Name on the platform.
    pub name: SourceName,
    /// The kind of action that is withheld.
    pub action: ActionKind,
    /// The reason as a code.
    pub code: WithheldReason,
    /// The reason.
    pub reason: String,
    /// Location in the files that causes the action.
    pub location: Option<SourceLocation>,
    /// Entry to write or command to run to permit it.
    pub allow: Option<String>,
    /// True if the guard refused it (exit code 4), false if nothing requested it.
    pub refused: bool,
    /// The fields that would change.
    pub changes: Vec<FieldChange>,
}

impl Withheld {
    /// Returns true if the action waits for a source of another workspace.
    #[must_use]
    pub fn waits_for_connect(&self) -> bool {
        self.code == WithheldReason::Moving
    }

    /// Returns true if the action waits for the outcome of the last write.
    #[must_use]
    pub fn waits_for_write(&self) -> bool {
        matches!(
            self.code,
            WithheldReason::Settling
                | WithheldReason::NotListed
                | WithheldReason::NotUpdated
                | WithheldReason::Unproven
        )
    }

    /// Returns true if the action waits until the files are stable and readable.
    #[must_use]
    pub fn waits_for_quiet(&self) -> bool {
        matches!(self.code, WithheldReason::Unsettled | WithheldReason::Unreadable | WithheldReason::GitLock)
    }
}

/// A source that was compared only in part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// Key of the source.
    pub source: SourceKey,
    /// Name on the platform.
    pub name: SourceName,
    /// The missing secret and the reason.
    pub reason: String,
    /// Location of its declaration.
    pub location: SourceLocation,
}

/// A suspended source.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspended {
    /// Name on the platform.
    pub name: SourceName,
    /// The author's reason.
    pub reason: String,
    /// Differences, which are not corrected.
    pub drift: Vec<FieldChange>,
}

impl WorkspacePlan {
    /// Creates the plan of a unit whose pass stopped.
    #[must_use]
    pub fn failed(desired: Arc<DesiredWorkspace>, error: WorkspaceError) -> Self {
        Self { error: Some(error), ..Self::empty(desired) }
    }

    fn empty(desired: Arc<DesiredWorkspace>) -> Self {
        Self {
            desired,
            error: None,
            actions: Vec::new(),
            withheld: Vec::new(),
            unmanaged: UnmanagedSources::default(),
            unreadable: Vec::new(),
            unchecked: Vec::new(),
            unchanged: Vec::new(),
            suspended: Vec::new(),
            refresh: Vec::new(),
            managed_count: 0,
            in_place: false,
        }
    }

    /// Returns the word for a kind of action: a replacement in place is an update.
    #[must_use]
    pub fn word(&self, kind: ActionKind) -> &'static str {
        if self.in_place && kind == ActionKind::Replace { "update" } else { kind.as_str() }
    }

    /// Returns the workspace and scope.
    #[must_use]
    pub fn unit(&self) -> &WorkspaceRef {
        &self.desired.unit
    }

    /// Iterates over the names of unreadable fields, without source and path.
    pub fn unreadable_names(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(|field| field.rsplit(['.', ' ']).next().unwrap_or_default())
    }

    /// Returns true if every source is in sync and there is nothing to do or record.
    #[must_use]
    pub fn is_unchanged(&self) -> bool {
        self.error.is_none()
            && self.actions.is_empty()
            && self.withheld.is_empty()
            && self.unchecked.is_empty()
            && self.suspended.is_empty()
            && self.refresh.is_empty()
    }

    /// Returns true if applying the plan writes anything, to the platform or to the state.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.error.is_none() && !(self.actions.is_empty() && self.refresh.is_empty())
    }

    /// Returns the summary to reuse while nothing changes.
    ///
    /// `None` unless the unit is in sync and has no unmanaged source.
    #[must_use]
    pub fn unchanged_summary(&self) -> Option<UnchangedSummary> {
        if !self.is_unchanged() || !self.unmanaged.is_empty() {
            return None;
        }
        let mut unreadable = BTreeMap::new();
        self.unreadable_names().for_each(|name| *unreadable.entry(name.to_owned()).or_default() += 1);
        let workspace = self.desired.workspace().clone();
        Some(UnchangedSummary { workspace, unchanged: self.unchanged.len(), unreadable })
    }
}

/// Plans one unit.
///
/// Pure: equal input gives an equal plan, regardless of its order.
#[must_use]
pub fn plan(input: &PlanInput<'_>) -> WorkspacePlan {
    let told = without_shared_ids(input.listing);
    let listed = ListingIndex::by_name_and_id(told.as_deref().unwrap_or(input.listing));
    let is_declared = |name: &SourceName| input.desired.source(name).is_some();
    let mut plan = plan_declared(input, &listed);
    let mut undeclared = input.inventory.managed.iter().filter(|(name, _)| !is_declared(name)).peekable();
    if undeclared.peek().is_some() {
        let removals = RemovalPlanner::new(input, &listed, &plan);
        undeclared.for_each(|(name, owned)| removals.decide_undeclared(name, owned, &mut plan));
    }
    let mut strangers: Vec<&ObservedSource> = Vec::new();
    for (name, rows) in listed.names() {
        match input.inventory.managed.get(name) {
            None if is_declared(name) => continue,
            None => strangers.extend(rows),
            // The usual case.
            Some(owned) if matches!(rows, [only] if only.id == owned.id) => continue,
            Some(owned) => {
                let ours: Vec<_> = decide::managed_ids(owned, rows).collect();
                // If no row is ours, the others are handled by adoption.
                if ours.is_empty() && is_declared(name) {
                    continue;
                }
                let is_other = |row: &&&ObservedSource| row.id.as_ref().is_some_and(|id| !ours.contains(&id));
                strangers.extend(rows.iter().filter(is_other));
            }
        }
    }
    let unmanaged = strangers.into_iter().map(|row| Unmanaged {
        name: row.name.clone(),
        kind: row.kind.clone(),
        id: row.id.clone(),
    });
    plan.unmanaged = unmanaged.collect();
    removal::hold_suspected_renames(&mut plan, input);
    plan.actions.sort_by(|a, b| (a.step.rank(), &a.name).cmp(&(b.step.rank(), &b.name)));
    plan.withheld.sort_by(|a, b| (&a.name, a.action).cmp(&(&b.name, b.action)));
    plan
}

fn plan_declared(input: &PlanInput<'_>, listed: &ListingIndex<'_>) -> WorkspacePlan {
    let decide = |by_platform: &ByPlatform| {
        let mut plan = WorkspacePlan::empty(Arc::clone(input.desired));
        plan.managed_count = input.inventory.managed.len();
        plan.in_place = input.upserts;
        let mut tally = AdditionCount::default();
        for (index, source) in input.desired.sources.iter().enumerate() {
            let case = case::SourceCase::new(input, index, source, listed.rows(&source.name), by_platform);
            case.decide(&mut tally, &mut plan);
        }
        (plan, tally)
    };
    let (plan, tally) = decide(&ByPlatform::default());
    match tally.by_platform() {
        Some(by_platform) => decide(&by_platform).0,
        None => plan,
    }
}
