//! Renders a plan as JSON, a stable interface for scripts.
//!
//! [`FORMAT_VERSION`] changes if a field's meaning changes, but not for a new field.

use super::sections::by_name;
use super::summary::unchanged;
use super::{Orphan, ReportInput, Summary, counts, escape, plan_id, schedules};
use crate::model::{FieldPath, LeafValue, SourceId, SourceKey, SourceLocation, SourceName};
use crate::plan::{
    Action, ActionResult, ApplyOutcome, ChangeKind, FieldChange, Removal, Step, WorkspacePlan,
};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::Value;
use std::sync::Arc;

/// Version of the JSON formats.
pub const FORMAT_VERSION: u32 = 1;

/// Renders the view as indented JSON, without a final newline.
#[must_use]
pub fn json(view: &ReportInput<'_>) -> String {
    let workspaces = &view.plan.workspaces;
    let summary = counts(view.plan, view.outcomes, view.problems);
    let report = Report {
        format_version: FORMAT_VERSION,
        plan_id: view.plan_id,
        complete: summary.errors == 0 && summary.unchecked == 0 && view.problems.rejected.is_empty(),
        broken: &view.problems.rejected,
        orphaned: view.problems.orphaned.iter().map(orphan).collect(),
        ownership_known: !view.problems.unknown_ownership,
        summary,
        workspaces: workspaces
            .iter()
            .enumerate()
            .map(|(index, workspace)| workspace_report(view, index, workspace))
            .collect(),
    };
    #[expect(clippy::expect_used, reason = "no map here has keys that are not strings")]
    let document =
        serde_json::to_string_pretty(&report).expect("every part of a report is representable in JSON");
    escape::json(&document)
}

#[derive(Serialize)]
struct Report<'a> {
    format_version: u32,
    plan_id: &'a str,
    complete: bool,
    /// Files whose sources are missing in the plan.
    broken: &'a [Arc<str>],
    /// Undeclared workspaces with managed sources.
    orphaned: Vec<OrphanReport<'a>>,
    /// True if a state was available, so that managed sources are known.
    ownership_known: bool,
    summary: Summary,
    workspaces: Vec<WorkspaceReport<'a>>,
}

#[derive(Serialize)]
struct OrphanReport<'a> {
    workspace_id: &'a str,
    scope: &'a str,
    sources: usize,
}

#[derive(Serialize)]
struct WorkspaceReport<'a> {
    workspace: &'a str,
    workspace_id: &'a str,
    scope: &'a str,
    error: Option<ErrorReport<'a>>,
    actions: Vec<ActionReport<'a>>,
    withheld: Vec<WithheldReport<'a>>,
    unmanaged: Vec<UnmanagedReport>,
    unreadable: &'a [String],
    unchecked: Vec<UncheckedReport<'a>>,
    suspended: Vec<SuspendedReport<'a>>,
    unchanged: Vec<NamedWorkspace<'a>>,
}

#[derive(Serialize)]
struct ErrorReport<'a> {
    kind: &'a str,
    message: &'a str,
}

#[derive(Serialize)]
struct NamedWorkspace<'a> {
    source: &'a str,
    name: &'a SourceName,
}

#[derive(Serialize)]
struct LocationReport<'a> {
    file: Option<&'a str>,
    line: Option<u32>,
}

#[derive(Serialize)]
struct ActionReport<'a> {
    action: &'static str,
    source: &'a SourceKey,
    name: &'a SourceName,
    source_id: Option<&'a SourceId>,
    reason: &'a str,
    #[serde(flatten)]
    at: LocationReport<'a>,
    changes: Vec<ChangeReport<'a>>,
    /// Declared fields of a source to connect.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    attributes: Vec<AttributeReport>,
    /// True if the platform is known to replace the source in place.
    #[serde(skip_serializing_if = "Option::is_none")]
    in_place: Option<bool>,
    drift: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    removal: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<&'a SourceName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    schedule: Option<ScheduleReport>,
    #[serde(skip_serializing_if = "Option::is_none")]
    lacks_secret: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    test: Option<TestReport<'a>>,
    #[serde(flatten)]
    result: ResultReport<'a>,
}

#[derive(Serialize)]
struct TestReport<'a> {
    passed: bool,
    message: &'a str,
}

#[derive(Serialize)]
struct AttributeReport {
    path: FieldPath,
    #[serde(skip_serializing_if = "Option::is_none")]
    value: Option<Value>,
    sensitive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<String>,
}

#[derive(Serialize)]
struct ChangeReport<'a> {
    path: &'a str,
    change: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    before: Option<&'a Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    after: Option<&'a Value>,
    sensitive: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    drift: bool,
}

#[derive(Serialize)]
struct ScheduleReport {
    before: Option<String>,
    after: Option<String>,
    next: Vec<Timestamp>,
}

#[derive(Serialize, Default)]
struct ResultReport<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    because: Option<&'a str>,
}

#[derive(Serialize)]
struct WithheldReport<'a> {
    source: &'a SourceKey,
    name: &'a SourceName,
    action: &'static str,
    reason: &'a str,
    code: &'static str,
    #[serde(flatten)]
    at: LocationReport<'a>,
    allow: Option<&'a str>,
    refused: bool,
    changes: Vec<ChangeReport<'a>>,
}

#[derive(Serialize)]
struct UnmanagedReport {
    name: SourceName,
    r#type: Option<String>,
    source_id: Option<SourceId>,
}

#[derive(Serialize)]
struct UncheckedReport<'a> {
    source: &'a SourceKey,
    name: &'a SourceName,
    why: &'a str,
    #[serde(flatten)]
    at: LocationReport<'a>,
}

#[derive(Serialize)]
struct SuspendedReport<'a> {
    source: &'a str,
    name: &'a SourceName,
    reason: &'a str,
    changes: Vec<ChangeReport<'a>>,
}

fn workspace_report<'a>(
    view: &ReportInput<'a>,
    index: usize,
    workspace: &'a WorkspacePlan,
) -> WorkspaceReport<'a> {
    let outcome = view.outcome(index);
    let error = workspace.error.as_ref().or_else(|| outcome?.error.as_ref());
    let declared = by_name(workspace);
    let named = |name: &'a SourceName| NamedWorkspace {
        source: declared.get(name).map_or(name.as_str(), |source| source.key.as_str()),
        name,
    };
    WorkspaceReport {
        workspace: workspace.desired.label(),
        workspace_id: workspace.desired.workspace().display_text(),
        scope: workspace.desired.scope().as_str(),
        error: error.map(|error| ErrorReport { kind: error.kind.as_str(), message: &error.message }),
        actions: actions(view, workspace, outcome),
        withheld: withheld(workspace),
        unmanaged: workspace
            .unmanaged
            .iter()
            .map(|source| UnmanagedReport { name: source.name, r#type: source.kind, source_id: source.id })
            .collect(),
        unreadable: &workspace.unreadable,
        unchecked: workspace
            .unchecked
            .iter()
            .map(|source| UncheckedReport {
                source: &source.source,
                name: &source.name,
                why: &source.reason,
                at: place(Some(&source.location)),
            })
            .collect(),
        suspended: suspended(workspace, named),
        unchanged: unchanged(workspace).map(named).collect(),
    }
}

fn actions<'a>(
    view: &ReportInput<'a>,
    workspace: &'a WorkspacePlan,
    outcome: Option<&'a ApplyOutcome>,
) -> Vec<ActionReport<'a>> {
    let reports = workspace.actions.iter().enumerate().map(|(index, action)| ActionReport {
        action: action.step.kind().as_str(),
        source: &action.source,
        name: &action.name,
        source_id: action.step.source_id(),
        reason: &action.reason,
        at: place(action.location.as_ref()),
        changes: changes(&action.changes),
        attributes: attributes(workspace, action),
        in_place: matches!(action.step, Step::Replace { .. }).then_some(workspace.in_place),
        drift: action.corrects_drift,
        removal: match &action.step {
            Step::Cleanup { removal, .. } => Some(removal.word()),
            _ => None,
        },
        moved_to: match &action.step {
            Step::Cleanup { removal: Removal::Moved(to), .. } => Some(to),
            _ => None,
        },
        schedule: schedule(workspace, action, view.now),
        lacks_secret: action.missing_secrets.as_deref(),
        test: action
            .test_status
            .as_ref()
            .map(|tested| TestReport { passed: tested.passed, message: &tested.message }),
        result: outcome.map(|outcome| result(outcome.results.get(index))).unwrap_or_default(),
    });
    reports.collect()
}

fn result(result: Option<&ActionResult>) -> ResultReport<'_> {
    let (outcome, error, because) = match result {
        Some(ActionResult::Done) => ("done", None, None),
        Some(ActionResult::Failed(message)) => ("failed", Some(message.as_str()), None),
        Some(ActionResult::Skipped(because)) => ("skipped", None, Some(because.as_str())),
        Some(ActionResult::Open) | None => ("open", None, None),
    };
    ResultReport { outcome: Some(outcome), error, because }
}

fn schedule(workspace: &WorkspacePlan, action: &Action, now: Timestamp) -> Option<ScheduleReport> {
    let source = workspace.desired.sources.get(plan_id::index(&action.step)?)?;
    let before = match &action.step {
        Step::Schedule { before, .. } => before.as_ref(),
        Step::Connect { .. } if source.sync.is_some() => None,
        _ => return None,
    };
    Some(ScheduleReport {
        before: before.map(crate::schedule::describe),
        after: source.sync.as_ref().map(crate::schedule::describe),
        next: source
            .sync
            .as_ref()
            .map(|spec| schedules::instants(workspace.unit(), &source.name, spec, now))
            .unwrap_or_default(),
    })
}

fn withheld(workspace: &WorkspacePlan) -> Vec<WithheldReport<'_>> {
    let reports = workspace.withheld.iter().map(|withheld| WithheldReport {
        source: &withheld.source,
        name: &withheld.name,
        action: withheld.action.as_str(),
        reason: &withheld.reason,
        code: withheld.code.as_str(),
        at: place(withheld.location.as_ref()),
        allow: withheld.allow.as_deref(),
        refused: withheld.refused,
        changes: changes(&withheld.changes),
    });
    reports.collect()
}

fn suspended<'a>(
    workspace: &'a WorkspacePlan,
    named: impl Fn(&'a SourceName) -> NamedWorkspace<'a>,
) -> Vec<SuspendedReport<'a>> {
    let reports = workspace.suspended.iter().map(|suspended| {
        let NamedWorkspace { source, name } = named(&suspended.name);
        SuspendedReport { source, name, reason: &suspended.reason, changes: changes(&suspended.drift) }
    });
    reports.collect()
}

fn place(at: Option<&SourceLocation>) -> LocationReport<'_> {
    LocationReport { file: at.map(|at| &*at.file), line: at.map(|at| at.line) }
}

fn attributes(workspace: &WorkspacePlan, action: &Action) -> Vec<AttributeReport> {
    let Step::Connect { index } = action.step else { return Vec::new() };
    let leaves = workspace.desired.sources.get(index).map(|source| source.definition.leaves());
    let report = |(path, leaf): (FieldPath, LeafValue)| {
        let (value, reference) = match leaf {
            LeafValue::Plain(value) => (Some(value), None),
            LeafValue::Secret(reference) => (None, Some(reference)),
        };
        let sensitive = reference.is_some()
            || path.looks_secret()
            || value.as_ref().is_some_and(|value| path.exposes_secret(value));
        AttributeReport { path, value: if sensitive { None } else { value }, sensitive, reference }
    };
    leaves.into_iter().flatten().map(report).collect()
}

fn orphan(orphan: &Orphan) -> OrphanReport<'_> {
    let Orphan { workspace, sources } = orphan;
    OrphanReport {
        workspace_id: workspace.workspace.as_str(),
        scope: workspace.scope.as_str(),
        sources: *sources,
    }
}

/// Omits the values of sensitive changes.
fn changes(changes: &[FieldChange]) -> Vec<ChangeReport<'_>> {
    let reports = changes.iter().map(|change| ChangeReport {
        path: change.path.as_str(),
        change: match change.kind {
            ChangeKind::Added => "added",
            ChangeKind::Changed => "changed",
            ChangeKind::Removed => "removed",
        },
        before: if change.sensitive { None } else { change.before.as_ref() },
        after: if change.sensitive { None } else { change.after.as_ref() },
        sensitive: change.sensitive,
        reference: change.reference.as_deref(),
        drift: change.drift,
    });
    reports.collect()
}
