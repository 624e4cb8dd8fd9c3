//! Sources that may have moved to another workspace.
//!
//! A source that is no longer declared in one workspace is removed only after it is connected in the other.

use super::{
    Action, ActionKind, Removal, Step, Withheld, WithheldReason, WorkspacePlan, removal::content_text,
};
use crate::model::{
    CompressedWorkspace, Definition, DesiredWorkspace, Intent, Inventory, SourceKey, SourceName, WorkspaceRef,
};
use std::collections::{BTreeMap, HashMap};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, OnceLock};

/// Declarations of all workspaces, indexed on first use.
///
/// Few plans remove anything, so few need the index.
#[derive(Default)]
pub struct Declarations {
    workspaces: Vec<Arc<CompressedWorkspace>>,
    rejected: Vec<Rejected>,
    index: OnceLock<DeclarationIndex>,
}

/// A file with errors, whose sources are unknown.
pub struct Rejected {
    /// Path below the project root.
    pub file: Arc<str>,
    /// Text of the file; `None` if it cannot be read at all.
    pub text: Option<Arc<str>>,
    /// Workspaces that the file is known to declare.
    pub workspaces: Vec<WorkspaceRef>,
}

/// Declared sources by key and by definition, as (unit index, source index).
#[derive(Default)]
struct DeclarationIndex {
    by_key: HashMap<SourceKey, Vec<(usize, usize)>>,
    /// By hash of the definition, because the texts are long.
    by_content: HashMap<u64, Vec<(usize, usize)>>,
}

/// A planned removal, with the places to which the source may have moved.
pub struct Departure {
    name: SourceName,
    key: SourceKey,
    /// Rejected files that may declare a source of this key, with their workspaces.
    rejected: Vec<(Arc<str>, Vec<WorkspaceRef>)>,
    targets: Vec<DepartureTarget>,
}

/// A source of another workspace that may be the new place of the removed one.
struct DepartureTarget {
    unit: WorkspaceRef,
    label: String,
    key: SourceKey,
    name: SourceName,
    definition: Arc<Definition>,
    /// True if type and `connection_config` are the same, not only the key.
    has_same_content: bool,
}

impl Declarations {
    /// Creates the index of all units and of the rejected files.
    #[must_use]
    pub fn new(workspaces: Vec<Arc<CompressedWorkspace>>, rejected: Vec<Rejected>) -> Self {
        Self { workspaces, rejected, index: OnceLock::new() }
    }

    /// Returns the removals in `plan` whose source may have moved to another workspace.
    #[must_use]
    pub fn departures(&self, plan: &WorkspacePlan, inventory: &Inventory) -> Vec<Departure> {
        let leaving = plan.actions.iter().filter(|action| is_departure(action));
        leaving.filter_map(|action| self.departure(plan.unit(), action, inventory)).collect()
    }

    fn departure(&self, from: &WorkspaceRef, action: &Action, inventory: &Inventory) -> Option<Departure> {
        let owned = inventory.managed.get(&action.name)?;
        let index = self.index.get_or_init(|| self.indexed());
        let look = content_text(&owned.applied.definition);
        let alike = look.as_ref().and_then(|look| index.by_content.get(&hash(look)));
        let named = index.by_key.get(&action.source);
        let target = |(unit, source): &(usize, usize), alike| {
            let unit = self.workspaces.get(*unit).filter(|unit| unit.unit != *from)?.open();
            target(&unit, *source, alike)
        };
        let alike = alike.into_iter().flatten().filter_map(|at| target(at, true));
        let alike = alike.filter(|target| target.content_text() == look);
        let named = named.into_iter().flatten().filter_map(|at| target(at, false));
        let targets: Vec<DepartureTarget> = alike.chain(named).collect();
        let mentions = |rejected: &&Rejected| {
            rejected.text.as_ref().is_none_or(|text| declares(text, action.source.as_str()))
        };
        let rejected: Vec<_> = self
            .rejected
            .iter()
            .filter(mentions)
            .map(|rejected| (Arc::clone(&rejected.file), rejected.workspaces.clone()))
            .collect();
        let departs = !rejected.is_empty() || !targets.is_empty();
        departs.then(|| Departure {
            name: action.name.clone(),
            key: action.source.clone(),
            rejected,
            targets,
        })
    }

    fn indexed(&self) -> DeclarationIndex {
        let mut index = DeclarationIndex::default();
        for (number, unit) in self.workspaces.iter().enumerate() {
            for (at, source) in unit.open().sources.iter().enumerate() {
                index.by_key.entry(source.key.clone()).or_default().push((number, at));
                if let Some(look) = content_text(&source.definition) {
                    index.by_content.entry(hash(&look)).or_default().push((number, at));
                }
            }
        }
        index
    }
}

impl Departure {
    /// Iterates over the workspaces whose inventory decides whether the source arrived.
    pub fn workspaces(&self) -> impl Iterator<Item = &WorkspaceRef> {
        let rejected = self.rejected.iter().flat_map(|(_, units)| units);
        self.targets.iter().map(|target| &target.unit).chain(rejected)
    }

    /// Returns why the source is not removed yet.
    fn wait_reason(&self, inventories: &BTreeMap<WorkspaceRef, Inventory>) -> Option<String> {
        // A source of this key that existed there before did not move there.
        let has_it = |unit: &WorkspaceRef| {
            let inventory = inventories.get(unit);
            inventory.is_some_and(|inventory| inventory.managed.values().any(|owned| owned.key == self.key))
        };
        let unknown = |(_, units): &&(_, Vec<WorkspaceRef>)| units.is_empty() || !units.iter().all(has_it);
        if let Some((file, _)) = self.rejected.iter().find(unknown) {
            return Some(format!("no longer declared here, but {file} has errors and may declare it"));
        }
        let missing = |target: &&DepartureTarget| {
            inventories.get(&target.unit).is_none_or(|inventory| !target.is_connected(inventory))
        };
        let DepartureTarget { label, key, has_same_content: alike, .. } =
            self.targets.iter().find(missing)?;
        let what = if *alike { "the same source" } else { "a source of this key" };
        Some(format!(
            "no longer declared here; {what} is declared as {label}/{key}, which is not connected yet"
        ))
    }
}

impl DepartureTarget {
    fn content_text(&self) -> Option<String> {
        content_text(&self.definition)
    }

    fn is_connected(&self, inventory: &Inventory) -> bool {
        let Some(owned) = inventory.managed.get(&self.name) else { return false };
        let is_it = !self.has_same_content || content_text(&owned.applied.definition) == self.content_text();
        let is_open = |intent: &Intent| intent.name == self.name;
        is_it && !inventory.intents.values().any(is_open)
    }
}

fn target(unit: &DesiredWorkspace, source: usize, alike: bool) -> Option<DepartureTarget> {
    let declared = unit.sources.get(source)?;
    Some(DepartureTarget {
        unit: unit.unit.clone(),
        label: unit.label().to_owned(),
        key: declared.key.clone(),
        name: declared.name.clone(),
        definition: Arc::clone(&declared.definition),
        has_same_content: alike,
    })
}

fn hash(look: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    look.hash(&mut hasher);
    hasher.finish()
}

/// Returns true if a line of `text` begins to declare a source of this key.
///
/// Errors elsewhere in the file do not matter.
fn declares(text: &str, key: &str) -> bool {
    let quotes = ['"', '\''];
    text.lines().any(|line| {
        let line = line.trim_start_matches(['[', ' ', '\t']);
        let line =
            line.strip_prefix("sources").map_or(line, |rest| rest.trim_start_matches(['.', ' ', '\t']));
        let after = line.trim_start_matches(quotes).strip_prefix(key);
        after.is_some_and(|rest| rest.trim_start_matches(quotes).trim_start().starts_with([']', '.', '=']))
    })
}

fn is_departure(action: &Action) -> bool {
    matches!(action.step, Step::Cleanup { removal: Removal::Undeclared, .. })
}

/// Withholds the removal of sources that are not connected at their new place yet.
///
/// `inventories` contains the inventory of each workspace that a departure names.
pub fn withhold_departures(
    plan: &mut WorkspacePlan,
    departures: &[Departure],
    inventories: &BTreeMap<WorkspaceRef, Inventory>,
) {
    let waits: BTreeMap<&SourceName, String> = departures
        .iter()
        .filter_map(|departure| Some((&departure.name, departure.wait_reason(inventories)?)))
        .collect();
    let (held, kept): (Vec<Action>, Vec<Action>) = std::mem::take(&mut plan.actions)
        .into_iter()
        .partition(|action| is_departure(action) && waits.contains_key(&action.name));
    plan.actions = kept;
    plan.withheld.extend(held.into_iter().map(|action| Withheld {
        action: ActionKind::Cleanup,
        code: WithheldReason::Moving,
        reason: waits.get(&action.name).cloned().unwrap_or_default(),
        location: action.location,
        allow: Some(super::removal::removed_hint(&action.source)),
        source: action.source,
        name: action.name,
        refused: false,
        changes: Vec::new(),
    }));
}
