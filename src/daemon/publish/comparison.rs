//! Records the result of a pass in the snapshot of its workspace.

use crate::model::SourceName;
use crate::observe::{
    ConfigStatus, DriftCorrection, Facts, UnmanagedSource, WithheldAction, WorkspaceSnapshot,
};
use crate::plan::{Action, ActionResult, ApplyOutcome, Unmanaged, Withheld, WithheldReason, WorkspacePlan};
use jiff::Timestamp;

/// Maximum number of published drift corrections per workspace.
const MAX_DRIFT_CORRECTIONS: usize = 20;

/// Maximum number of named unmanaged sources per workspace.
const MAX_UNMANAGED: usize = 100;

/// Reason of an unknown state after a pass that could not compare.
const NOT_COMPARED: &str = "in sync when last checked";

/// Replaces "in sync" by "unknown" after a pass that could not compare the sources with the platform.
pub(super) fn forget_comparison(workspace: &mut WorkspaceSnapshot) {
    for facts in workspace.facts.iter_mut().filter(|facts| facts.config == ConfigStatus::InSync) {
        facts.config = ConfigStatus::Unknown;
        facts.why = Some(NOT_COMPARED.into());
    }
}

/// Reverts [`forget_comparison`] after a pass that found nothing changed since the last good one.
pub(super) fn restore_comparison(workspace: &mut WorkspaceSnapshot) {
    let is_forgotten = |facts: &&mut Facts| facts.why.as_deref() == Some(NOT_COMPARED);
    for facts in workspace.facts.iter_mut().filter(is_forgotten) {
        facts.config = ConfigStatus::InSync;
        facts.why = None;
    }
}

/// Sets the state of each source from a plan and its outcome.
pub(super) fn record_comparison(
    workspace: &mut WorkspaceSnapshot,
    plan: &WorkspacePlan,
    outcome: Option<&ApplyOutcome>,
    now: Timestamp,
) {
    for facts in &mut workspace.facts {
        facts.config = ConfigStatus::Unknown;
        facts.why = None;
    }
    plan.unchanged.iter().for_each(|name| set_source_state(workspace, name, ConfigStatus::InSync, None));
    for suspended in &plan.suspended {
        set_source_state(workspace, &suspended.name, ConfigStatus::Suspended, Some(&suspended.reason));
    }
    for unchecked in &plan.unchecked {
        set_source_state(workspace, &unchecked.name, ConfigStatus::Failing, Some(&unchecked.reason));
    }
    // Removals wait about a second for stable files; not worth reporting.
    workspace.withheld = plan
        .withheld
        .iter()
        .filter(|withheld| withheld.code != WithheldReason::Unsettled)
        .map(|withheld| withheld_action(plan, withheld))
        .collect();
    for withheld in &plan.withheld {
        set_source_state(workspace, &withheld.name, ConfigStatus::Withheld, Some(&withheld.reason));
    }
    workspace.unmanaged = plan.unmanaged.len();
    let strangers = plan.unmanaged.iter().take(MAX_UNMANAGED);
    let stranger = |it: Unmanaged| UnmanagedSource { name: it.name, kind: it.kind };
    workspace.unmanaged_sources = strangers.map(stranger).collect();
    workspace.pending.clear();
    for (n, action) in plan.actions.iter().enumerate() {
        let result = outcome.and_then(|outcome| outcome.results.get(n));
        if result != Some(&ActionResult::Done) {
            *workspace.pending.entry(action.step.kind().as_str()).or_default() += 1;
        } else if action.corrects_drift {
            record_drift_correction(&mut workspace.corrected, plan, action, now);
        }
        let (config, why) = match result {
            Some(ActionResult::Done) => (ConfigStatus::InSync, None),
            Some(ActionResult::Failed(why)) => (ConfigStatus::Failing, Some(why.as_str())),
            // Without its secret the action can never be done.
            Some(ActionResult::Skipped(why)) if action.missing_secrets.is_some() => {
                (ConfigStatus::Failing, Some(why.as_str()))
            }
            Some(ActionResult::Skipped(why)) => (ConfigStatus::Pending, Some(why.as_str())),
            Some(ActionResult::Open) | None => (ConfigStatus::Pending, Some(action.reason.as_str())),
        };
        set_source_state(workspace, &action.name, config, why);
    }
}

/// Sets the state of a source unless a more severe one is set already.
fn set_source_state(
    workspace: &mut WorkspaceSnapshot,
    name: &SourceName,
    config: ConfigStatus,
    why: Option<&str>,
) {
    let Some(facts) = workspace.facts_mut(name) else { return };
    if facts.config == ConfigStatus::Unknown || config < facts.config {
        facts.config = config;
        facts.why = why.map(Into::into);
    }
    facts.managed |= config == ConfigStatus::InSync;
}

fn withheld_action(plan: &WorkspacePlan, withheld: &Withheld) -> WithheldAction {
    let Withheld { source, name, action, code, reason, location: at, allow, refused: _, changes: _ } =
        withheld.clone();
    let (action, word, code) = (action.as_str(), plan.word(action), code.as_str());
    WithheldAction { source, name, action, word, code, reason, at, allow }
}

fn record_drift_correction(
    known: &mut Vec<DriftCorrection>,
    plan: &WorkspacePlan,
    action: &Action,
    at: Timestamp,
) {
    if known.len() == MAX_DRIFT_CORRECTIONS {
        known.remove(0);
    }
    let (source, name, reason) = (action.source.clone(), action.name.clone(), action.reason.clone());
    let word = plan.word(action.step.kind());
    known.push(DriftCorrection { source, name, word, reason, at });
}
