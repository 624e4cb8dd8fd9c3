//! Desired, observed and inventory to a plan: values in, values out.
//!
//! [`reckon`] first settles what became of writes that were never answered. [`plan`] then takes each
//! name through one decision table:
//!
//! | declared | listed | ours | so |
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
//! The guard ([`approve`]) then counts what is to be removed, and alone makes an [`ApprovedPlan`].

mod additions;
mod adopt;
mod carried;
mod decide;
mod diff;
mod elsewhere;
mod guard;
mod listed;
mod missing;
mod outcome;
mod reckon;
mod removal;
pub mod saved;

pub use carried::carried_out;
pub use decide::placed;
pub use diff::{Comparison, FieldChange, How, compare, compare_foreign, seen};
pub use elsewhere::{Declarations, Departure, MOVING, Rejected, hold_departures};
pub use guard::{ApprovedPlan, ApprovedUnit, HostLimits, Overrides, approve};
pub use missing::{Missing, missing};
pub use outcome::{ActionResult, INTERRUPTED, Outcome};
pub use reckon::{Correction, Pending, Reckoning, give_up, named_as_declared, reckon};

use crate::model::{
    DesiredUnit, Fingerprint, FingerprintKey, Inventory, ObservedSource, Owned, Place, SourceId, SourceKey,
    SourceName, SyncSpec, Unit, WorkspaceId,
};
use additions::{ByPlatform, Tally};
use listed::Listed;
use removal::Removals;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// Everything a plan for one unit is made from.
pub struct Input<'a> {
    /// What the files say.
    pub desired: &'a Arc<DesiredUnit>,
    /// A complete listing. Anything less never gets here.
    pub listing: &'a [ObservedSource],
    /// What is ours, after [`reckon`].
    pub inventory: &'a Inventory,
    /// Names whose last write is still open; they are left alone until it is known what came of it.
    pub pending: &'a BTreeMap<SourceName, Pending>,
    /// Per declared source the fingerprints of its resolved secrets, or why they do not resolve.
    pub secrets: &'a BTreeMap<SourceName, SecretState>,
    /// The key that `secrets` and the inventory's fingerprints were made with.
    pub key: &'a FingerprintKey,
    /// `platform.owner`
    pub owner: Option<&'a str>,
    /// The root the files were read from.
    pub root: &'a str,
    /// Why nothing may be removed in this pass, if so.
    pub removals_barred: Option<Barred>,
    /// Sources left alone because doing again what was done does not help.
    pub quarantine: &'a Quarantine,
    /// Connect on a taken name is known to update it in place.
    pub upserts: bool,
}

/// What is left alone, and why.
#[derive(Debug, Clone, Default)]
pub struct Quarantine {
    /// Sources left alone until they are edited, with the reason.
    pub held: BTreeMap<SourceName, String>,
    /// Sources asked for by name: they may be taken over from another state.
    pub released: BTreeSet<SourceName>,
    /// How often in the last hour drift of a source was mended.
    pub mended: BTreeMap<SourceName, usize>,
}

/// Drift that is mended and undone this often within an hour is someone else's will.
const UNDONE_TOO_OFTEN: usize = 2;

/// Do a source's secrets resolve here?
#[derive(Debug, Clone)]
pub enum SecretState {
    /// The fingerprints of the values at its secret leaves.
    Resolved(BTreeMap<crate::model::FieldPath, Fingerprint>),
    /// They do not; the text says which and why, never a value.
    Missing(String),
}

/// Why a pass removes nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Barred {
    /// A stable word for scripts.
    pub code: &'static str,
    /// The reason in words.
    pub why: String,
}

/// What is to be done in several units.
#[derive(Debug, Clone, Default)]
pub struct Plan {
    /// Sorted by unit.
    pub units: Vec<UnitPlan>,
    /// Units that were not planned, as nothing has moved since a plan of theirs had nothing to do.
    pub as_before: Vec<AsBefore>,
}

/// What a plan that had nothing to do said of its unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AsBefore {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// How many sources are as declared.
    pub unchanged: usize,
    /// How many fields of each name the platform does not show.
    pub unreadable: BTreeMap<String, usize>,
}

/// What is to be done in one unit, and what is not, and why.
#[derive(Debug, Clone)]
pub struct UnitPlan {
    /// What the files say.
    pub desired: Arc<DesiredUnit>,
    /// The pass stopped here; everything below is empty then.
    pub error: Option<UnitError>,
    /// In the order they are carried out.
    pub actions: Vec<Action>,
    /// What would be done but is not.
    pub withheld: Vec<Withheld>,
    /// Sources on the platform that are neither declared nor ours.
    pub unmanaged: Vec<Unmanaged>,
    /// Declared fields that the platform does not show, `SOURCE: PATH`.
    pub unreadable: Vec<String>,
    /// Sources that could not be compared in full because a secret does not resolve here.
    pub unchecked: Vec<Unchecked>,
    /// Sources that are as declared.
    pub unchanged: Vec<SourceName>,
    /// Suspended sources with their drift.
    pub suspended: Vec<Suspended>,
    /// Inventory entries whose bookkeeping (key, place, `protect`) moved on; no call is needed.
    pub refresh: Vec<(SourceName, Arc<Owned>)>,
    /// How many sources were ours when the plan was made.
    pub owned: usize,
    /// The platform is known to update a source in place, and to keep its data.
    pub in_place: bool,
}

/// Why a unit has no plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnitError {
    /// A stable word: `auth`, `fault`, `files`, `list`, `locked`, `platform`, `state`, `token`, `unreachable`.
    pub kind: &'static str,
    /// What happened and what to do.
    pub message: String,
    /// What the platform fails by as a whole, as far as the error tells; other units fail likewise.
    pub outage: Option<String>,
}

impl UnitError {
    /// One that speaks of its unit alone.
    #[must_use]
    pub fn new(kind: &'static str, message: String) -> Self {
        Self { kind, message, outage: None }
    }
}

/// A verdict of test-connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tested {
    /// It works.
    pub passed: bool,
    /// The platform's message.
    pub message: String,
}

/// One thing to do to one source.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// What.
    pub step: Step,
    /// The source's key.
    pub source: SourceKey,
    /// Its name on the platform.
    pub name: SourceName,
    /// Why.
    pub reason: String,
    /// Where the files say so.
    pub at: Option<Place>,
    /// The fields that change.
    pub changes: Vec<FieldChange>,
    /// It undoes what someone else did.
    pub mends_drift: bool,
    /// The secrets it needs that do not resolve here; it cannot be carried out here then.
    pub lacks_secret: Option<String>,
    /// What test-connection said of what is to be sent, where that was asked.
    pub tested: Option<Tested>,
}

/// What an [`Action`] does.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Adopt the listed source: it is ours from now on. No call is needed.
    Adopt {
        /// Index into `desired.sources`.
        index: usize,
        /// What the inventory will hold.
        owned: Arc<Owned>,
    },
    /// Connect a source that is not there.
    Connect {
        /// Index into `desired.sources`.
        index: usize,
    },
    /// Connect a new definition under a name that is taken by our own source.
    Replace {
        /// Index into `desired.sources`.
        index: usize,
        /// The recorded id of the old one.
        old: SourceId,
    },
    /// Clean up a source of ours.
    Cleanup {
        /// The recorded id.
        id: SourceId,
        /// Why it goes.
        removal: Removal,
    },
    /// Strike it from the inventory. No call is needed.
    Forget,
    /// A new schedule. No call is needed.
    Schedule {
        /// Index into `desired.sources`.
        index: usize,
        /// The schedule so far.
        before: Option<SyncSpec>,
    },
}

/// Why a source is cleaned up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Removal {
    /// The files no longer declare it. Counts against `max_cleanup`.
    Undeclared,
    /// `[removed]`. Counts against `max_cleanup`.
    Removed,
    /// `[moved]`: goes only once the new name is there. Counts against `max_cleanup`.
    Moved(SourceName),
    /// An older one of ours under a name that has a newer one. Does not count.
    Superseded,
}

/// Something that would be done but is held back.
#[derive(Debug, Clone, PartialEq)]
pub struct Withheld {
    /// The source's key.
    pub source: SourceKey,
    /// Its name on the platform.
    pub name: SourceName,
    /// What is held back: `cleanup`, `replace`, `adopt`, `connect`.
    pub action: &'static str,
    /// A stable word for scripts.
    pub code: &'static str,
    /// Why.
    pub reason: String,
    /// Where the files say so.
    pub at: Option<Place>,
    /// What to write or type to allow it.
    pub allow: Option<String>,
    /// A guard refused it (exit code 4), as opposed to: it was not asked for.
    pub refused: bool,
    /// The fields that would change.
    pub changes: Vec<FieldChange>,
}

impl Withheld {
    /// Returns true if it waits for a source of another workspace.
    #[must_use]
    pub fn waits_for_arrival(&self) -> bool {
        self.code == MOVING
    }

    /// Is it held back because what came of the last write is not known yet?
    #[must_use]
    pub fn waits_for_a_write(&self) -> bool {
        matches!(self.code, "settling" | "not-listed" | "not-updated")
    }

    /// Is it held back until the files are at rest, and can all be read?
    #[must_use]
    pub fn waits_for_rest(&self) -> bool {
        matches!(self.code, "unsettled" | "unreadable" | "git-lock")
    }
}

/// A source on the platform that is neither declared nor ours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unmanaged {
    /// Its name.
    pub name: SourceName,
    /// Its type, when shown.
    pub kind: Option<String>,
    /// Its id, when shown.
    pub id: Option<SourceId>,
}

/// A source that could not be compared in full.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unchecked {
    /// Its key.
    pub source: SourceKey,
    /// Its name.
    pub name: SourceName,
    /// Which secret is missing and why.
    pub why: String,
    /// Where it is declared.
    pub at: Place,
}

/// A suspended source.
#[derive(Debug, Clone, PartialEq)]
pub struct Suspended {
    /// Its name.
    pub name: SourceName,
    /// The author's reason.
    pub reason: String,
    /// What differs and is left so.
    pub drift: Vec<FieldChange>,
}

impl Step {
    /// The contract's word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Adopt { .. } => "adopt",
            Self::Connect { .. } => "connect",
            Self::Replace { .. } => "replace",
            Self::Cleanup { .. } => "cleanup",
            Self::Forget => "forget",
            Self::Schedule { .. } => "schedule",
        }
    }

    /// The id on the platform it acts on.
    #[must_use]
    pub fn source_id(&self) -> Option<&SourceId> {
        match self {
            Self::Replace { old, .. } => Some(old),
            Self::Cleanup { id, .. } => Some(id),
            Self::Adopt { owned, .. } => owned.id.as_ref(),
            _ => None,
        }
    }

    /// Does it count against `max_cleanup`?
    #[must_use]
    pub fn counts_as_removal(&self) -> bool {
        matches!(self, Self::Cleanup { removal, .. } if *removal != Removal::Superseded)
    }

    /// The order of carrying out: nothing is taken away before what replaces it is there.
    fn rank(&self) -> u8 {
        match self {
            Self::Adopt { .. } => 0,
            Self::Connect { .. } => 1,
            Self::Replace { .. } => 2,
            Self::Cleanup { .. } => 3,
            Self::Forget => 4,
            Self::Schedule { .. } => 5,
        }
    }
}

impl UnitPlan {
    /// A unit whose pass stopped.
    #[must_use]
    pub fn failed(desired: Arc<DesiredUnit>, error: UnitError) -> Self {
        Self { error: Some(error), ..Self::empty(desired) }
    }

    fn empty(desired: Arc<DesiredUnit>) -> Self {
        Self {
            desired,
            error: None,
            actions: Vec::new(),
            withheld: Vec::new(),
            unmanaged: Vec::new(),
            unreadable: Vec::new(),
            unchecked: Vec::new(),
            unchanged: Vec::new(),
            suspended: Vec::new(),
            refresh: Vec::new(),
            owned: 0,
            in_place: false,
        }
    }

    /// The workspace and scope.
    #[must_use]
    pub fn unit(&self) -> &Unit {
        &self.desired.unit
    }

    /// The names of the fields that the platform does not show, without source and path.
    pub fn unreadable_names(&self) -> impl Iterator<Item = &str> {
        self.unreadable.iter().map(|field| field.rsplit(['.', ' ']).next().unwrap_or_default())
    }

    /// Is every source as declared, with nothing to do, to withhold or to record?
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.error.is_none()
            && self.actions.is_empty()
            && self.withheld.is_empty()
            && self.unchecked.is_empty()
            && self.suspended.is_empty()
            && self.refresh.is_empty()
    }

    /// What remains to be said of it once nothing has moved since, where it is settled and sees no source of
    /// someone else's.
    #[must_use]
    pub fn as_before(&self) -> Option<AsBefore> {
        (self.is_settled() && self.unmanaged.is_empty()).then(|| {
            let mut unreadable = BTreeMap::new();
            self.unreadable_names().for_each(|name| *unreadable.entry(name.to_owned()).or_default() += 1);
            AsBefore {
                workspace: self.desired.workspace().clone(),
                unchanged: self.unchanged.len(),
                unreadable,
            }
        })
    }
}

/// Plans one unit. Pure: equal input gives an equal plan, whatever the order of its parts.
#[must_use]
pub fn plan(input: &Input<'_>) -> UnitPlan {
    let untold = without_shared_ids(input.listing);
    let listed = Listed::by_name_and_id(untold.as_deref().unwrap_or(input.listing));
    let is_declared = |name: &SourceName| input.desired.source(name).is_some();
    let mut plan = plan_declared(input, &listed);
    let mut undeclared = input.inventory.owned.iter().filter(|(name, _)| !is_declared(name)).peekable();
    if undeclared.peek().is_some() {
        let removals = Removals::new(input, &listed, &plan);
        undeclared.for_each(|(name, owned)| removals.undeclared(name, owned, &mut plan));
    }
    for (name, rows) in listed.names() {
        let strangers: Vec<_> = match input.inventory.owned.get(name) {
            None if is_declared(name) => continue,
            None => rows.to_vec(),
            // As it nearly always is.
            Some(owned) if matches!(rows, [only] if only.id == owned.id) => continue,
            Some(owned) => {
                let ours: Vec<_> = decide::our_ids(owned, rows).collect();
                // Without a row of ours, the others are what adoption speaks of.
                if ours.is_empty() && is_declared(name) {
                    continue;
                }
                let is_other = |row: &&&ObservedSource| row.id.as_ref().is_some_and(|id| !ours.contains(&id));
                rows.iter().filter(is_other).copied().collect()
            }
        };
        plan.unmanaged.extend(strangers.into_iter().map(|row| Unmanaged {
            name: row.name.clone(),
            kind: row.kind.clone(),
            id: row.id.clone(),
        }));
    }
    removal::withhold_renames(&mut plan, input);
    plan.actions.sort_by(|a, b| (a.step.rank(), &a.name).cmp(&(b.step.rank(), &b.name)));
    plan.withheld.sort_by(|a, b| (&a.name, a.action).cmp(&(&b.name, b.action)));
    plan
}

/// Plans what becomes of the declared sources.
fn plan_declared(input: &Input<'_>, listed: &Listed<'_>) -> UnitPlan {
    let decide = |by_platform: &ByPlatform| {
        let mut plan = UnitPlan::empty(Arc::clone(input.desired));
        plan.owned = input.inventory.owned.len();
        plan.in_place = input.upserts;
        let mut tally = Tally::default();
        for (index, source) in input.desired.sources.iter().enumerate() {
            let case = decide::Case::new(input, index, source, listed.of(&source.name), by_platform);
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

/// An id that is listed under several names tells nothing: to clean it up could take another's source
/// away. `None` when there is none, as it should be.
fn without_shared_ids(listing: &[ObservedSource]) -> Option<Vec<ObservedSource>> {
    let mut names: HashMap<&SourceId, &SourceName> = HashMap::with_capacity(listing.len());
    let mut shared: BTreeSet<&SourceId> = BTreeSet::new();
    for row in listing {
        if let Some(id) = &row.id
            && *names.entry(id).or_insert(&row.name) != &row.name
        {
            shared.insert(id);
        }
    }
    let tells = |row: &ObservedSource| row.id.clone().filter(|id| !shared.contains(id));
    (!shared.is_empty())
        .then(|| listing.iter().map(|row| ObservedSource { id: tells(row), ..row.clone() }).collect())
}
