//! One declared source with everything known about its name.

use super::additions::{AdditionCount, ByPlatform};
use super::recovery::{is_accepted_writer, unconfirmed_connects};
use super::{
    Action, ActionKind, FieldDiff, MAX_DRIFT_CORRECTIONS, PlanInput, SecretState, Step, Withheld,
    WithheldReason, WorkspacePlan, compare,
};
use crate::model::{DesiredSource, LastApplied, ManagedSource, ObservedSource, SourceLocation};
use std::sync::Arc;

/// A declared source with everything known about its name.
pub(super) struct SourceCase<'a> {
    pub(super) input: &'a PlanInput<'a>,
    pub(super) index: usize,
    pub(super) source: &'a DesiredSource,
    pub(super) rows: &'a [&'a ObservedSource],
    pub(super) owned: Option<&'a Arc<ManagedSource>>,
    /// Changes that the platform made to all sources of a type.
    pub(super) by_platform: &'a ByPlatform,
}

impl<'a> SourceCase<'a> {
    /// Creates the case of the source at `index`, with the rows of its name.
    pub(super) fn new(
        input: &'a PlanInput<'a>,
        index: usize,
        source: &'a DesiredSource,
        rows: &'a [&'a ObservedSource],
        by_platform: &'a ByPlatform,
    ) -> Self {
        Self { input, index, source, rows, owned: input.inventory.managed.get(&source.name), by_platform }
    }

    /// Compares the source with its row.
    ///
    /// If nothing differs, connects count whose response was lost and whose values the row may hold without showing
    /// them.
    pub(super) fn compare(
        &self,
        owned: &ManagedSource,
        row: &ObservedSource,
        tally: &mut AdditionCount,
    ) -> FieldDiff {
        let secrets = match self.input.secrets.get(&self.source.name) {
            Some(SecretState::Resolved(secrets)) => Some(secrets),
            _ => None,
        };
        let with = |applied: &LastApplied| compare(self.source, applied, secrets, row, self.input.key);
        let mut comparison = with(&owned.applied);
        let kind = &owned.applied.definition.kind;
        tally.count(kind, &comparison);
        self.by_platform.remove_platform_changes(kind, &mut comparison);
        // Another row of the name may be that of the lost connect.
        if comparison.changes.is_empty() && self.rows.len() == 1 {
            let mut lost = unconfirmed_connects(owned, row).map(|applied| with(applied).changes);
            comparison.changes = lost.find(|changes| !changes.is_empty()).unwrap_or_default();
            comparison.unconfirmed = !comparison.changes.is_empty();
        }
        comparison
    }

    /// Returns the state that wrote this row, if it is neither ours nor a predecessor.
    pub(super) fn other_writer<'b>(&self, row: &'b ObservedSource) -> Option<&'b str> {
        let is_known = |writer: &str| self.owned.is_some_and(|owned| is_accepted_writer(owned, writer));
        row.echo.writer.as_deref().filter(|writer| *writer != self.input.key.id() && !is_known(writer))
    }

    /// Returns the hint for taking over a source that another state connected.
    pub(super) fn takeover_hint(&self) -> String {
        let label = self.input.desired.label();
        format!("if that state is given up, run `wellspring apply -s {label}/{}`", self.source.key)
    }

    pub(super) fn act_unless_quarantined(&self, action: Action, plan: &mut WorkspacePlan) {
        let quarantine = self.input.quarantine;
        // A source that does not exist is connected again in every pass, without quarantine.
        let stands_nowhere = matches!(action.step, Step::Connect { .. });
        let held = quarantine.blocked.get(&self.source.name).filter(|_| !stands_nowhere).cloned();
        let edited = action.changes.iter().any(|change| !change.drift)
            || self
                .owned
                .is_some_and(|owned| !owned.applied.definition.eq_definition(&self.source.definition));
        let undone = quarantine.corrected.get(&self.source.name).copied().unwrap_or_default();
        let fought = action.corrects_drift && !edited && undone >= MAX_DRIFT_CORRECTIONS;
        let story = held.or_else(|| {
            fought.then(|| {
                format!("{}, and was corrected {undone} times in the last hour: does another controller manage it?", action.reason)
            })
        });
        match story {
            Some(story) => {
                let label = self.input.desired.label();
                let allow =
                    format!("edit the source, or run `wellspring apply -s {label}/{}`", self.source.key);
                let kind = action.step.kind();
                let withheld = self.withheld(kind, WithheldReason::Quarantined, story, Some(allow), true);
                plan.withheld.push(Withheld { changes: action.changes, ..withheld });
            }
            None => plan.actions.push(action),
        }
    }

    pub(super) fn action(&self, step: Step, reason: String) -> Action {
        let lacks_secret = match (self.input.secrets.get(&self.source.name), &step) {
            (
                Some(SecretState::Missing(why)),
                Step::Connect { .. } | Step::Replace { .. } | Step::Adopt { .. },
            ) => Some(why.clone()),
            _ => None,
        };
        Action {
            step,
            source: self.source.key.clone(),
            name: self.source.name.clone(),
            reason,
            location: Some(self.source.at.clone()),
            changes: Vec::new(),
            corrects_drift: false,
            missing_secrets: lacks_secret,
            test_status: None,
        }
    }

    pub(super) fn withheld(
        &self,
        action: ActionKind,
        code: WithheldReason,
        reason: String,
        allow: Option<String>,
        refused: bool,
    ) -> Withheld {
        Withheld {
            source: self.source.key.clone(),
            name: self.source.name.clone(),
            action,
            code,
            reason,
            location: Some(self.source.at.clone()),
            allow,
            refused,
            changes: Vec::new(),
        }
    }
}

/// Returns the inventory entry with the location of its declaration in `root`.
///
/// The same `Arc` is returned if nothing but the line changed: a comment above the sources moves every line.
#[must_use]
pub fn with_location(
    mut owned: Arc<ManagedSource>,
    source: &DesiredSource,
    root: &str,
) -> Arc<ManagedSource> {
    let SourceLocation { file, line } = &source.at;
    let was = (&owned.key, owned.protect, owned.declared_in.as_deref(), owned.file.as_deref());
    if was != (&source.key, source.protect, Some(root), Some(file)) || owned.line.is_none() {
        let owned = Arc::make_mut(&mut owned);
        owned.key.clone_from(&source.key);
        owned.protect = source.protect;
        owned.declared_in = Some(root.to_owned());
        owned.file = Some(file.to_string());
        owned.line = Some(*line);
    }
    owned
}
