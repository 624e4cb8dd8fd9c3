//! Decision table for one declared source.

use super::additions::{AdditionCount, record_additions};
use super::case::{SourceCase, with_location};
use super::{
    Action, ActionKind, FieldDiff, PendingWrite, PlanInput, SecretState, Step, Suspended, Unchecked,
    Withheld, WithheldReason, WorkspacePlan, adopt,
};
use crate::model::{IntentKind, ManagedSource, MetadataPolicy, ObservedSource, SourceId, SourceName};
use std::sync::Arc;

/// Reason for leaving a source alone that counts as ours by its name only.
pub(super) const UNPROVEN: &str =
    "only its name shows that it is ours; another of this name could still appear in the list";

impl<'a> SourceCase<'a> {
    /// Applies the decision table.
    pub(super) fn decide(&self, tally: &mut AdditionCount, plan: &mut WorkspacePlan) {
        let Self { input, source, rows, .. } = *self;
        if let Some(suspend) = &source.suspend {
            let own = self.managed_row();
            let compared = own.map(|(owned, row)| (self.compare(owned, row, tally), row));
            self.refresh_inventory(compared.as_ref(), plan);
            let drift = compared.map(|(comparison, _)| comparison.changes).unwrap_or_default();
            let reason = suspend.reason.clone();
            plan.suspended.push(Suspended { name: source.name.clone(), reason, drift });
            return;
        }
        if let Some(SecretState::Missing(why)) = input.secrets.get(&source.name) {
            plan.unchecked.push(Unchecked {
                source: source.key.clone(),
                name: source.name.clone(),
                reason: why.clone(),
                location: source.at.clone(),
            });
        }
        if let Some(pending) = input.pending.get(&source.name)
            && !self.is_edited_since(pending)
        {
            plan.withheld.push(self.withheld_for_write(pending));
            return;
        }
        match (self.managed_row(), rows) {
            (_, []) => self.connect(plan),
            (Some((owned, row)), _) => self.decide_managed(owned, row, tally, plan),
            (None, [row]) => adopt::decide_unmanaged(self, row, plan),
            (None, _) => {
                let reason = format!(
                    "{} sources on the platform have this name, and none is known to be managed",
                    rows.len()
                );
                let allow = "remove all but one on the platform".to_owned();
                plan.withheld.push(self.withheld(
                    ActionKind::Connect,
                    WithheldReason::Ambiguous,
                    reason,
                    Some(allow),
                    false,
                ));
            }
        }
    }

    /// Returns our own row: the one with the recorded id, or the only one without ids.
    fn managed_row(&self) -> Option<(&'a ManagedSource, &'a ObservedSource)> {
        let owned = self.owned?;
        let row = match &owned.id {
            // If the platform no longer returns ids, the only row of the name is still ours.
            Some(id) => match self.rows {
                [only] if only.id.is_none() => Some(only),
                rows => rows.iter().find(|row| row.id.as_ref() == Some(id)),
            },
            // If no id was known and one is shown now, the name alone does not make the row ours.
            None => match self.rows {
                [only] if only.id.is_none() || self.has_our_marker(owned, only) => Some(only),
                _ => None,
            },
        };
        // Our newer row is gone and an older one of ours is listed instead.
        let row = row.or_else(|| match self.rows {
            [only] if only.id.as_ref().is_some_and(|id| owned.superseded.contains(id)) => Some(only),
            _ => None,
        })?;
        Some((owned, row))
    }

    /// Returns true if the row bears the marker of the definition that was last applied.
    fn has_our_marker(&self, owned: &ManagedSource, row: &ObservedSource) -> bool {
        let stamp = owned.applied.marker_fingerprint(self.input.key);
        row.echo.fingerprint.as_deref().is_some_and(|shown| stamp.eq_hex(shown))
    }

    /// Returns true if the source was edited after a connect that is not listed yet.
    ///
    /// The new definition is sent then. The response to the earlier connect contains its id, so its row is
    /// recognised as ours whenever it appears.
    fn is_edited_since(&self, pending: &PendingWrite) -> bool {
        let mut open = self.input.inventory.intents.values().filter(|intent| intent.name == self.source.name);
        *pending != PendingWrite::Settling
            && open.all(|intent| match &intent.kind {
                IntentKind::Connect(applied) => {
                    intent.answer.as_ref().is_some_and(|answer| answer.id.is_some())
                        && !applied.definition.eq_definition(&self.source.definition)
                }
                IntentKind::Cleanup(_) => false,
            })
    }

    fn withheld_for_write(&self, pending: &PendingWrite) -> Withheld {
        let label = self.input.desired.label();
        let allow = format!(
            "wait until it shows, or run `wellspring apply -s {label}/{}` to try again without it",
            self.source.key
        );
        let allow = (*pending != PendingWrite::Settling).then_some(allow);
        self.withheld(ActionKind::Connect, pending.code(), pending.to_string(), allow, false)
    }

    fn connect(&self, plan: &mut WorkspacePlan) {
        let ours = self.owned.is_some();
        let reason = if ours { "gone from the platform" } else { "new" };
        let action = Action {
            corrects_drift: ours,
            ..self.action(Step::Connect { index: self.index }, reason.to_owned())
        };
        self.act_unless_quarantined(action, plan);
    }

    /// Stops managing the source if another state manages it, too.
    ///
    /// Another state does if it wrote our row since. If it has a row of its own under this name, the state
    /// with the greater id gives way.
    fn yields_to_other_writer(&self, row: &ObservedSource, plan: &mut WorkspacePlan) -> bool {
        let beside = |other: &&&ObservedSource| other.id != row.id;
        let greater = |writer: &&str| self.input.key.id() > *writer;
        let mut others = self.rows.iter().filter(beside).filter_map(|other| self.other_writer(other));
        let Some(writer) = self.other_writer(row).or_else(|| others.find(greater)) else { return false };
        if self.input.quarantine.released.contains(&self.source.name) {
            return false;
        }
        let reason = adopt::written_by(writer);
        plan.actions.push(self.action(Step::Forget, reason.clone()));
        plan.withheld.push(self.withheld(
            ActionKind::Replace,
            WithheldReason::OtherWriter,
            reason,
            Some(self.takeover_hint()),
            true,
        ));
        true
    }

    fn decide_managed(
        &self,
        owned: &ManagedSource,
        row: &ObservedSource,
        tally: &mut AdditionCount,
        plan: &mut WorkspacePlan,
    ) {
        if self.yields_to_other_writer(row, plan) {
            return;
        }
        let compared = (self.compare(owned, row, tally), row);
        self.refresh_inventory(Some(&compared), plan);
        let (comparison, _) = compared;
        plan.unreadable
            .extend(comparison.unreadable.iter().map(|path| format!("{}: {path}", self.source.key)));
        if owned.applied.sync != self.source.sync {
            let before = owned.applied.sync.clone();
            let step = Step::Schedule { index: self.index, before };
            plan.actions.push(self.action(step, "schedule changed".to_owned()));
        }
        let strangers = self.clean_up_superseded(owned, row, plan);
        let fell_back = row.id != owned.id && owned.id.is_some() && row.id.is_some();
        if comparison.changes.is_empty() && !fell_back {
            plan.unchanged.push(self.source.name.clone());
            return;
        }
        if let Some(withheld) = self.replace_obstacle(owned, row, &comparison, strangers) {
            plan.withheld.push(Withheld { changes: comparison.changes, ..withheld });
            return;
        }
        let Some(old) = row.id.clone() else { return };
        let action = Action {
            corrects_drift: comparison.has_drift(),
            reason: if fell_back {
                "the platform shows an older version".to_owned()
            } else {
                summarize_changes(&comparison)
            },
            changes: comparison.changes,
            ..self.action(Step::Replace { index: self.index, old }, String::new())
        };
        self.act_unless_quarantined(action, plan);
    }

    /// Cleans up our older rows of this name; returns true if there are rows of others.
    fn clean_up_superseded(
        &self,
        owned: &ManagedSource,
        row: &ObservedSource,
        plan: &mut WorkspacePlan,
    ) -> bool {
        let mut strangers = false;
        let mut known = row.id.as_ref();
        for other in self.rows.iter().filter(|other| other.id != row.id) {
            match &other.id {
                // The same row listed twice.
                Some(id) if known == Some(id) => {}
                Some(id) if owned.superseded.contains(id) => {
                    known = Some(id);
                    let step = Step::Cleanup { id: id.clone(), removal: super::Removal::Superseded };
                    plan.actions.push(self.action(step, "superseded by a newer one of ours".to_owned()));
                }
                _ => strangers = true,
            }
        }
        strangers
    }

    fn replace_obstacle(
        &self,
        owned: &ManagedSource,
        row: &ObservedSource,
        comparison: &FieldDiff,
        strangers: bool,
    ) -> Option<Withheld> {
        let withheld = |code, reason: String, allow, refused| {
            Some(self.withheld(ActionKind::Replace, code, reason, allow, refused))
        };
        let what = summarize_changes(comparison);
        if row.id.is_none() {
            let allow = "remove it on the platform; it is then connected again".to_owned();
            return withheld(
                WithheldReason::NoId,
                format!("{what}, but the platform shows no id for it"),
                Some(allow),
                false,
            );
        }
        if owned.unproven_since.is_some() && !self.input.quarantine.released.contains(&self.source.name) {
            let label = self.input.desired.label();
            let allow = format!("wait a minute, or run `wellspring apply -s {label}/{}`", self.source.key);
            return withheld(WithheldReason::Unproven, format!("{what}, but {UNPROVEN}"), Some(allow), false);
        }
        if strangers {
            let allow = "remove the other one on the platform".to_owned();
            return withheld(
                WithheldReason::Ambiguous,
                format!("{what}, but another source has its name"),
                Some(allow),
                false,
            );
        }
        if owned.protect || self.source.protect {
            if self.input.upserts && self.source.protect {
                return None;
            }
            let allow = "remove `protect = true` in a separate change first".to_owned();
            return withheld(
                WithheldReason::Protected,
                format!("{what}, but it is protected"),
                Some(allow),
                true,
            );
        }
        let metadata_waits =
            self.input.desired.policy.metadata == MetadataPolicy::Withhold && !self.input.upserts;
        if comparison.only_metadata() && metadata_waits {
            let allow = "write `metadata = \"replace\"` under [policy]".to_owned();
            let reason = "only metadata differs; it will be sent with the next change".to_owned();
            return withheld(WithheldReason::Metadata, reason, Some(allow), false);
        }
        None
    }

    /// Refreshes the inventory: key, location, `protect`, older ids, additions.
    fn refresh_inventory(&self, compared: Option<&(FieldDiff, &ObservedSource)>, plan: &mut WorkspacePlan) {
        let Some(owned) = self.owned else { return };
        let mut next = with_location(Arc::clone(owned), self.source, self.input.root);
        if let Some((comparison, row)) = compared {
            record_additions(&mut next, comparison, self.by_platform, row);
            let unidentified = row.id.is_none() && !self.has_our_marker(owned, row);
            if next.unidentified != unidentified {
                Arc::make_mut(&mut next).unidentified = unidentified;
            }
        }
        let stands =
            |id: &SourceId| self.rows.iter().any(|row| row.id.as_ref().is_none_or(|shown| shown == id));
        if !next.superseded.iter().all(stands) {
            Arc::make_mut(&mut next).superseded.retain(stands);
        }
        if !Arc::ptr_eq(&next, owned) {
            Arc::make_mut(&mut next).line = Some(self.source.at.line);
            plan.refresh.push((self.source.name.clone(), next));
        }
    }
}

/// Summarises the differences, for example `connection_config changed`.
fn summarize_changes(comparison: &FieldDiff) -> String {
    let roots = |drift: bool| {
        let mut roots: Vec<&str> = comparison
            .changes
            .iter()
            .filter(|change| change.drift == drift)
            .map(|change| change.path.as_str().split(['.', '[']).next().unwrap_or_default())
            .collect();
        roots.dedup();
        roots.join(" and ")
    };
    if comparison.unconfirmed {
        return format!("{} may be that of a connect whose response was lost", roots(false));
    }
    match (roots(false), roots(true)) {
        (changed, drifted) if drifted.is_empty() => format!("{changed} changed"),
        (changed, drifted) if changed.is_empty() => format!("{drifted} changed on the platform"),
        (changed, drifted) => format!("{changed} changed, {drifted} changed on the platform"),
    }
}

/// Returns the listed ids that the inventory records as ours.
pub(super) fn managed_ids<'a>(
    owned: &'a ManagedSource,
    rows: &'a [&'a ObservedSource],
) -> impl Iterator<Item = &'a SourceId> {
    rows.iter()
        .filter_map(|row| row.id.as_ref())
        .filter(|id| owned.id.as_ref() == Some(*id) || owned.superseded.contains(id))
}

/// Returns true if a write to this name is still open.
pub(super) fn is_pending(input: &PlanInput<'_>, name: &SourceName) -> bool {
    input.pending.contains_key(name)
}
