//! Decides whether a managed source that is no longer declared is removed.
//!
//! Every condition must hold; the first one that fails is reported, with the fix.

use super::decide::{UNPROVEN, is_pending, managed_ids};
use super::listing_index::ListingIndex;
use super::recovery::is_accepted_writer;
use super::{Action, ActionKind, PlanInput, Removal, Step, Withheld, WithheldReason, WorkspacePlan};
use crate::model::{
    ConfigValue, Definition, DesiredSource, ManagedSource, Moved, ObservedSource, Prune, Removed,
    RemovedAction, SourceKey, SourceLocation, SourceName, toml_key, toml_string,
};
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// Data for the conditions, indexed by key and by name.
pub(super) struct RemovalPlanner<'a> {
    input: &'a PlanInput<'a>,
    listed: &'a ListingIndex<'a>,
    removed: BTreeMap<&'a SourceKey, &'a Removed>,
    moved: BTreeMap<&'a SourceKey, &'a Moved>,
    declared: BTreeMap<&'a SourceKey, &'a DesiredSource>,
    /// Names that are about to be connected or adopted.
    incoming: BTreeSet<SourceName>,
}

impl<'a> RemovalPlanner<'a> {
    /// Builds the indexes; `plan` contains the actions of the declared sources.
    pub(super) fn new(input: &'a PlanInput<'a>, listed: &'a ListingIndex<'a>, plan: &WorkspacePlan) -> Self {
        let desired = input.desired;
        let comes = |action: &&Action| matches!(action.step, Step::Connect { .. } | Step::Adopt { .. });
        Self {
            input,
            listed,
            removed: desired.removed.iter().rev().map(|removed| (&removed.key, removed)).collect(),
            moved: desired.moved.iter().rev().map(|moved| (&moved.from, moved)).collect(),
            declared: desired.sources.iter().map(|source| (&source.key, source)).collect(),
            incoming: plan.actions.iter().filter(comes).map(|action| action.name.clone()).collect(),
        }
    }

    /// Applies the conditions to one undeclared managed source.
    pub(super) fn decide_undeclared(
        &self,
        name: &SourceName,
        owned: &ManagedSource,
        plan: &mut WorkspacePlan,
    ) {
        let (input, listed) = (self.input, self.listed);
        let rows = listed.rows(name);
        let at = place_of(owned);
        let action = |step, reason: String| Action {
            step,
            source: owned.key.clone(),
            name: name.clone(),
            reason,
            location: at.clone(),
            changes: Vec::new(),
            corrects_drift: false,
            missing_secrets: None,
            test_status: None,
        };
        let removed = self.removed.get(&owned.key).copied();
        let moved =
            self.moved.get(&owned.key).and_then(|moved| Some((*moved, *self.declared.get(&moved.to)?)));
        let mut ids: Vec<_> = managed_ids(owned, rows).cloned().collect();
        ids.dedup();
        // A row without an id may be ours.
        let all_known = owned.id.is_some() && rows.iter().all(|row| row.id.is_some());
        let nothing_left = rows.is_empty() || (ids.is_empty() && all_known);

        let withheld = if let Some(pending) = input.pending.get(name) {
            Some(BlockReason::new(pending.code(), &pending.to_string()))
        } else if let Some(barred) = &input.removals_blocked {
            Some(BlockReason::new(barred.code, &barred.reason))
        } else if nothing_left {
            plan.actions.push(action(
                Step::Forget,
                "no longer declared, and not on the platform any more".to_owned(),
            ));
            return;
        } else if let Some(removed) = removed.filter(|removed| removed.action == RemovedAction::Forget) {
            plan.actions.push(Action {
                location: Some(removed.at.clone()),
                ..action(Step::Forget, format!("[removed] {}", removed.reason))
            });
            return;
        } else if ids.is_empty() {
            Some(BlockReason::new(
                WithheldReason::NoId,
                "no longer declared, but the platform shows no id for it",
            ))
        } else if owned.unproven_since.is_some() {
            Some(BlockReason::new(WithheldReason::Unproven, &format!("no longer declared, but {UNPROVEN}")))
        } else if let Some(writer) = other_writer(input, owned, rows) {
            Some(BlockReason::new(WithheldReason::OtherWriter, &super::adopt::written_by(writer)).refused())
        } else if owned.protect {
            let allow =
                format!("declare {} again without `protect`, then remove it in a separate change", owned.key);
            Some(
                BlockReason::new(WithheldReason::Protected, "no longer declared, but protected")
                    .allow(allow)
                    .refused(),
            )
        } else if removed.is_none() && moved.is_none() && input.desired.policy.prune == Prune::Off {
            let label = input.desired.label();
            let allow = format!(
                "write `prune = \"owned\"` under [policy], or run `wellspring apply --prune -s {label}/{}`",
                owned.key
            );
            Some(
                BlockReason::new(WithheldReason::PruneOff, "no longer declared, but prune is off")
                    .allow(allow),
            )
        } else if owned.declared_in.as_deref() != Some(input.root) {
            let allow = "declare it here once, then remove it".to_owned();
            Some(BlockReason::new(WithheldReason::OtherRoot, "never declared in this directory").allow(allow))
        } else if let Some((_, to)) = moved.filter(|(_, to)| !self.replacement_ready(&to.name)) {
            let why = format!("[moved] to {}, which is not connected yet", to.key);
            Some(BlockReason::new(WithheldReason::NotMovedYet, &why))
        } else {
            None
        };
        if let Some(reason) = withheld {
            // A duplicate row of ours is removed regardless of the source itself.
            let stands = rows.iter().any(|row| row.id.is_some() && row.id == owned.id);
            if stands && input.removals_blocked.is_none() && !is_pending(input, name) {
                for id in ids.into_iter().filter(|id| owned.superseded.contains(id)) {
                    let step = Step::Cleanup { id, removal: Removal::Superseded };
                    plan.actions.push(action(step, "superseded by a newer one of ours".to_owned()));
                }
            }
            plan.withheld.push(reason.withheld(name, owned, at));
            return;
        }
        let (removal, reason, at) = match (removed, moved) {
            (Some(removed), _) => {
                (Removal::Removed, format!("[removed] {}", removed.reason), Some(removed.at.clone()))
            }
            (None, Some((moved, to))) => {
                (Removal::Moved(to.name.clone()), format!("[moved] to {}", moved.to), Some(moved.at.clone()))
            }
            (None, None) => (Removal::Undeclared, "no longer declared".to_owned(), at.clone()),
        };
        // One row represents the source; the others are older ones.
        let last = ids.iter().find(|id| owned.id.as_ref() == Some(*id)).or(ids.first()).cloned();
        for id in ids {
            let removal = if last.as_ref() == Some(&id) { removal.clone() } else { Removal::Superseded };
            plan.actions.push(Action {
                location: at.clone(),
                ..action(Step::Cleanup { id, removal }, reason.clone())
            });
        }
    }

    /// Returns true if the source of this name is managed and listed, or about to be.
    fn replacement_ready(&self, name: &SourceName) -> bool {
        let stands = |owned: &ManagedSource| {
            let rows = self.listed.rows(name);
            managed_ids(owned, rows).next().is_some() || rows.iter().any(|row| row.id.is_none())
        };
        let settled = !is_pending(self.input, name);
        settled
            && (self.incoming.contains(name)
                || self.input.inventory.managed.get(name).is_some_and(|owned| stands(owned)))
    }
}

/// Withholds removals that are probably renames.
///
/// A removal whose definition or key is declared under another name is very likely a rename. The new source
/// is connected; the old one is kept, in later passes too, until the files say which it is.
pub(super) fn hold_suspected_renames(plan: &mut WorkspacePlan, input: &PlanInput<'_>) {
    let is_undeclared =
        |action: &Action| matches!(action.step, Step::Cleanup { removal: Removal::Undeclared, .. });
    if !plan.actions.iter().any(is_undeclared) {
        return;
    }
    let sources = &input.desired.sources;
    let by_key: BTreeMap<&SourceKey, &DesiredSource> =
        sources.iter().map(|source| (&source.key, source)).collect();
    let mut by_outline: BTreeMap<Outline<'_>, RenameCandidates<'_>> = BTreeMap::new();
    for source in sources {
        by_outline.entry(outline(&source.definition)).or_default().sources.push(source);
    }
    let mut kept = Vec::with_capacity(plan.actions.len());
    for action in std::mem::take(&mut plan.actions) {
        let undeclared = is_undeclared(&action);
        let twin = input.inventory.managed.get(&action.name).filter(|_| undeclared).and_then(|owned| {
            let alike = || {
                let definition = &owned.applied.definition;
                let alike = by_outline.get(&outline(definition))?.by_content();
                let alike = alike.get(&content_text(definition)?)?;
                alike.iter().find(|twin| !was_there_before(&twin.name, owned, input))
            };
            by_key.get(&owned.key).or_else(alike)
        });
        match twin {
            Some(twin) => plan.withheld.push(Withheld {
                source: action.source.clone(),
                name: action.name.clone(),
                action: ActionKind::Cleanup,
                code: WithheldReason::Rename,
                reason: if twin.key == action.source {
                    format!("{} is named {} now: a rename?", twin.key, toml_string(twin.name.as_str()))
                } else {
                    format!("no longer declared, but {} is the same source: a rename?", twin.key)
                },
                location: action.location.clone(),
                allow: Some(moved_or_removed(&action.source, &twin.key)),
                refused: false,
                changes: Vec::new(),
            }),
            None => kept.push(action),
        }
    }
    plan.actions = kept;
}

/// Type, number of fields and first text of a definition, which differ for most definitions.
type Outline<'a> = (&'a str, usize, Option<&'a str>);

fn outline(Definition { kind, connection_config, .. }: &Definition) -> Outline<'_> {
    let first = connection_config.values().find_map(|value| match value {
        ConfigValue::String(text) => Some(text.as_str()),
        _ => None,
    });
    (kind, connection_config.len(), first)
}

/// Declared sources with the same outline.
#[derive(Default)]
struct RenameCandidates<'a> {
    sources: Vec<&'a DesiredSource>,
    by_content: OnceCell<BTreeMap<String, Vec<&'a DesiredSource>>>,
}

impl<'a> RenameCandidates<'a> {
    /// Returns the sources by type and `connection_config`, which are written out on first use.
    fn by_content(&self) -> &BTreeMap<String, Vec<&'a DesiredSource>> {
        self.by_content.get_or_init(|| {
            let mut by_content: BTreeMap<_, Vec<_>> = BTreeMap::new();
            for source in &self.sources {
                if let Some(content) = content_text(&source.definition) {
                    by_content.entry(content).or_default().push(*source);
                }
            }
            by_content
        })
    }
}

/// Returns true if the source of this name did not replace the other one.
///
/// The source was then connected before the last connect of the other one, or together with it.
fn was_there_before(name: &SourceName, other: &ManagedSource, input: &PlanInput<'_>) -> bool {
    let connects = |owned: &ManagedSource| {
        owned.sent.iter().map(|sent| sent.at).chain(owned.connected_at).collect::<BTreeSet<_>>()
    };
    let twin = input.inventory.managed.get(name).map(|twin| connects(twin)).unwrap_or_default();
    twin.first().zip(connects(other).last()).is_some_and(|(twin, other)| twin <= other)
}

/// Returns the hint for a suspected rename: the line for a rename, and the one for an intended removal.
///
/// A key that the source keeps cannot be removed.
fn moved_or_removed(from: &SourceKey, to: &SourceKey) -> String {
    let moved = format!("write `{} = {}` under [moved]", toml_key(from.as_str()), toml_string(to.as_str()));
    if from == to {
        return moved;
    }
    format!("if so, {moved}; if not, {}", removed_hint(from))
}

/// Returns type and `connection_config` as text.
///
/// `None` if too little to recognise a source.
pub(super) fn content_text(Definition { kind, connection_config, .. }: &Definition) -> Option<String> {
    (!connection_config.is_empty()).then(|| serde_json::to_string(&(kind, connection_config)).ok()).flatten()
}

/// Returns the hint for an intended removal.
pub(super) fn removed_hint(key: &SourceKey) -> String {
    format!("write `[removed.{}]` with `action = \"cleanup\"` and a reason", toml_key(key.as_str()))
}

/// Returns the state that wrote our row if it is neither ours nor a predecessor.
fn other_writer<'a>(
    input: &PlanInput<'_>,
    owned: &ManagedSource,
    rows: &[&'a ObservedSource],
) -> Option<&'a str> {
    let ours = |row: &&&ObservedSource| row.id.is_some() && row.id == owned.id;
    let writer = rows.iter().find(ours)?.echo.writer.as_deref();
    writer.filter(|writer| *writer != input.key.id() && !is_accepted_writer(owned, writer))
}

struct BlockReason {
    code: WithheldReason,
    why: String,
    allow: Option<String>,
    refused: bool,
}

impl BlockReason {
    fn new(code: WithheldReason, why: &str) -> Self {
        Self { code, why: why.to_owned(), allow: None, refused: false }
    }

    fn allow(mut self, how: String) -> Self {
        self.allow = Some(how);
        self
    }

    fn refused(mut self) -> Self {
        self.refused = true;
        self
    }

    fn withheld(self, name: &SourceName, owned: &ManagedSource, at: Option<SourceLocation>) -> Withheld {
        Withheld {
            source: owned.key.clone(),
            name: name.clone(),
            action: ActionKind::Cleanup,
            code: self.code,
            reason: self.why,
            location: at,
            allow: self.allow,
            refused: self.refused,
            changes: Vec::new(),
        }
    }
}

fn place_of(owned: &ManagedSource) -> Option<SourceLocation> {
    Some(SourceLocation { file: owned.file.as_deref()?.into(), line: owned.line? })
}
