//! Content of a workspace's lines, before layout.
//!
//! Texts are not escaped here, but when they are laid out.

use super::changes::{ValueText, field_name, show, show_declared};
use super::schedules;
use super::style::Color;
use super::summary::unchanged;
use super::{TimeContext, escape, humanize};
use crate::model::{Definition, DesiredSource, FieldPath, LeafValue, Scope, SourceName};
use crate::plan::{
    Action, ActionResult, ApplyOutcome, FieldChange, Removal, Step, Suspended, TestStatus, Unchecked,
    Unmanaged, Withheld, WorkspacePlan,
};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of unmanaged sources listed; verbose output lists all.
const MAX_UNMANAGED_SHOWN: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Detail {
    /// Changes only, for logs.
    Changes,
    /// Also the attributes of new sources.
    Attributes,
    /// Also unchanged sources.
    Everything,
}

/// A line about one source, with the lines below it.
pub(super) struct SectionRow {
    pub(super) mark: &'static str,
    pub(super) tone: Color,
    pub(super) key: String,
    /// Name on the platform, if it differs from the key.
    pub(super) name: Option<String>,
    pub(super) word: &'static str,
    pub(super) detail: String,
    pub(super) nested: Vec<RowDetail>,
}

/// Content below a [`SectionRow`].
pub(super) enum RowDetail {
    Field(String, ValueText),
    /// A sentence in the field column.
    Line(String),
    Note(String),
}

impl SectionRow {
    fn new(mark: &'static str, tone: Color, key: &str, name: &SourceName, word: &'static str) -> Self {
        Self {
            mark,
            tone,
            key: key.to_owned(),
            name: if name.as_str() == key { None } else { Some(name.as_str().to_owned()) },
            word,
            detail: String::new(),
            nested: Vec::new(),
        }
    }

    fn note(&mut self, text: impl Into<String>) {
        self.nested.push(RowDetail::Note(text.into()));
    }
}

/// Parts of a workspace's heading, such as `crm  ws_1c04de (organization)`.
pub(super) struct Heading {
    pub(super) label: String,
    /// Workspace id, if it differs from the label.
    pub(super) id: Option<String>,
    /// Scope, if it is not the default.
    pub(super) scope: Option<String>,
}

pub(super) fn heading(workspace: &WorkspacePlan) -> Heading {
    let (label, id) = (workspace.desired.label(), workspace.desired.workspace().as_str());
    let scope = workspace.desired.scope();
    Heading {
        label: label.to_owned(),
        id: if id == label { None } else { Some(id.to_owned()) },
        scope: if *scope == Scope::default() { None } else { Some(scope.as_str().to_owned()) },
    }
}

/// Returns the rows of one workspace.
///
/// Actions come first, in order of execution, then withheld and ignored sources; verbose output
/// adds the unchanged ones.
pub(super) fn of_workspace(
    workspace: &WorkspacePlan,
    outcome: Option<&ApplyOutcome>,
    here: TimeContext<'_>,
    detail: Detail,
) -> Vec<SectionRow> {
    let verbose = detail == Detail::Everything;
    let mut rows = Vec::new();
    for (index, action) in workspace.actions.iter().enumerate() {
        let result = outcome.and_then(|outcome| outcome.results.get(index));
        rows.push(of_action(workspace, action, result, here, detail));
    }
    // A missing secret that blocks an action is already shown there.
    let told: BTreeSet<_> = workspace
        .actions
        .iter()
        .filter(|action| action.missing_secrets.is_some())
        .map(|action| &action.name)
        .collect();
    rows.extend(
        workspace.unchecked.iter().filter(|unchecked| !told.contains(&unchecked.name)).map(of_unchecked),
    );
    for (index, withheld) in workspace.withheld.iter().enumerate() {
        // Identical advice for consecutive rows is shown once, at the last.
        let next = workspace.withheld.get(index + 1);
        let repeated =
            next.is_some_and(|next| next.allow == withheld.allow && next.reason == withheld.reason);
        rows.push(of_withheld(withheld, !repeated));
    }
    let drifting = workspace.suspended.iter().filter(|suspended| verbose || !suspended.drift.is_empty());
    let declared = by_name(workspace);
    rows.extend(drifting.map(|suspended| of_suspended(suspended, declared.get(&suspended.name).copied())));
    unmanaged(workspace, verbose, &mut rows);
    if verbose {
        rows.extend(unchanged(workspace).map(|name| of_unchanged(name, declared.get(name).copied())));
    }
    rows
}

fn of_action(
    workspace: &WorkspacePlan,
    action: &Action,
    result: Option<&ActionResult>,
    here: TimeContext<'_>,
    much: Detail,
) -> SectionRow {
    let verbose = much == Detail::Everything;
    let (mark, tone) = mark(workspace, &action.step);
    let mut row =
        SectionRow::new(mark, tone, action.source.as_str(), &action.name, workspace.word(action.step.kind()));
    row.detail = detail(workspace, action, verbose);
    // An account holds no synced data.
    let keeps_data = workspace.in_place || workspace.desired.workspace().account().is_some();
    if result.is_none() && matches!(action.step, Step::Replace { .. }) && !keeps_data {
        row.detail = join(std::mem::take(&mut row.detail), NOT_IN_PLACE);
    }
    match result {
        None => {
            if let Some(why) = &action.missing_secrets {
                row.note(format!("not checked: {why}"));
            }
            if let Some(TestStatus { passed: false, message }) = &action.test_status {
                row.note(format!("connection test failed: {message}"));
            }
        }
        Some(ActionResult::Done) => row.word = done(workspace, &action.step),
        Some(ActionResult::Failed(message)) => {
            (row.mark, row.tone, row.word) = ("x", Color::Red, "failed");
            row.detail = join(format!("to {}", verb(workspace, &action.step)), &place(action));
            row.note(message);
        }
        Some(ActionResult::Skipped(because)) => {
            (row.tone, row.word) = (Color::Dim, "skipped");
            row.note(because);
        }
        Some(ActionResult::Open) => (row.tone, row.word) = (Color::Dim, "open"),
    }
    // A source that is restored keeps its schedule.
    let foretold = verbose || result.is_none() && !action.corrects_drift;
    push_fields(&mut row, workspace, action, here, much, foretold);
    row
}

fn push_fields(
    row: &mut SectionRow,
    workspace: &WorkspacePlan,
    action: &Action,
    here: TimeContext<'_>,
    much: Detail,
    foretold: bool,
) {
    let marked = has_mixed_drift(&action.changes);
    row.nested.extend(action.changes.iter().map(|change| field(change, marked)));
    match &action.step {
        Step::Schedule { index, before } => {
            let after = workspace.desired.sources.get(*index).and_then(|source| source.sync.as_ref());
            row.nested.extend(
                schedules::settings(before.as_ref(), after)
                    .map(|(name, shown)| RowDetail::Field(name, shown)),
            );
            if before.as_ref().map(|spec| &spec.when) != after.map(|spec| &spec.when) {
                row.nested.extend(next(workspace, *index, here));
            }
        }
        Step::Connect { index } => {
            let Some(source) = workspace.desired.sources.get(*index) else { return };
            if much != Detail::Changes {
                row.nested.extend(declared(&source.definition));
            }
            if foretold && let Some(spec) = &source.sync {
                let mut words = schedules::words(Some(spec));
                if let Some(moments) = schedules::next(workspace.unit(), &source.name, spec, here) {
                    words = format!("{words}; next {moments}");
                }
                row.nested
                    .push(RowDetail::Field("sync".to_owned(), ValueText::Line(escape::terminal(&words))));
            }
        }
        _ => {}
    }
}

fn mark(workspace: &WorkspacePlan, step: &Step) -> (&'static str, Color) {
    match step {
        Step::Connect { .. } => ("+", Color::Green),
        Step::Replace { .. } if workspace.in_place => ("~", Color::Yellow),
        Step::Replace { .. } => ("-/+", Color::Yellow),
        Step::Cleanup { .. } => ("-", Color::Red),
        Step::Schedule { .. } => ("~", Color::Yellow),
        Step::Adopt { .. } | Step::Forget => ("=", Color::Cyan),
    }
}

/// Returns the past participle, such as `connected`.
pub(super) fn done(workspace: &WorkspacePlan, step: &Step) -> &'static str {
    match step {
        Step::Replace { .. } if workspace.in_place => "updated",
        Step::Adopt { .. } => "adopted",
        Step::Connect { .. } => "connected",
        Step::Replace { .. } => "replaced",
        Step::Cleanup { .. } => "cleaned up",
        Step::Forget => "forgotten",
        Step::Schedule { .. } => "scheduled",
    }
}

/// Returns the verb, such as `clean up`.
pub(super) fn verb(workspace: &WorkspacePlan, step: &Step) -> &'static str {
    match step {
        Step::Cleanup { .. } => "clean up",
        other => workspace.word(other.kind()),
    }
}

/// Returns the position or reason in an action's line.
pub(super) fn detail(workspace: &WorkspacePlan, action: &Action, verbose: bool) -> String {
    let declared = place(action);
    match &action.step {
        Step::Connect { .. } if action.corrects_drift => join(declared, &action.reason),
        Step::Connect { .. } => declared,
        Step::Replace { .. } => join(declared, replacement_reason(action)),
        Step::Adopt { .. } => join(declared, &action.reason),
        Step::Forget => action.reason.clone(),
        Step::Cleanup { id, removal } if verbose || *removal == Removal::Superseded => {
            format!("{} (id {id})", action.reason)
        }
        Step::Cleanup { .. } => action.reason.clone(),
        Step::Schedule { index, before } => {
            let after = workspace.desired.sources.get(*index).and_then(|source| source.sync.as_ref());
            schedules::change(before.as_ref(), after)
        }
    }
}

/// Warning for a replacement if the platform may not update in place.
const NOT_IN_PLACE: &str = "synced data may be lost";

/// Returns the reason, or nothing if the fields below show it.
fn replacement_reason(action: &Action) -> &str {
    let drifted = action.changes.iter().filter(|change| change.drift).count();
    match (drifted, action.changes.len()) {
        (_, 0) => &action.reason,
        (drifted, all) if drifted == all => "changed on the platform",
        // The fields show reasons with " changed"; other reasons are shown here.
        _ if action.reason.contains(" changed") => "",
        _ => &action.reason,
    }
}

fn place(action: &Action) -> String {
    action.location.as_ref().map(ToString::to_string).unwrap_or_default()
}

/// Joins the non-empty parts with a comma.
fn join(first: String, second: &str) -> String {
    match (first.is_empty(), second.is_empty()) {
        (false, false) => format!("{first}, {second}"),
        (true, _) => second.to_owned(),
        (false, true) => first,
    }
}

/// Returns true if some but not all changed fields are drift.
fn has_mixed_drift(changes: &[FieldChange]) -> bool {
    let drifted = changes.iter().filter(|change| change.drift).count();
    drifted > 0 && drifted < changes.len()
}

fn field(change: &FieldChange, mark_drift: bool) -> RowDetail {
    RowDetail::Field(field_name(&change.path), show(change, mark_drift))
}

/// Returns the fields of a source to connect.
fn declared(definition: &Definition) -> Vec<RowDetail> {
    let kind = (FieldPath::root("type"), LeafValue::Plain(definition.kind.as_str().into()));
    let leaves: BTreeMap<FieldPath, LeafValue> = definition.leaves();
    std::iter::once(kind)
        .chain(leaves)
        .map(|(path, leaf)| RowDetail::Field(field_name(&path), show_declared(&path, &leaf)))
        .collect()
}

fn next(workspace: &WorkspacePlan, index: usize, here: TimeContext<'_>) -> Option<RowDetail> {
    let source = workspace.desired.sources.get(index)?;
    let moments = schedules::next(workspace.unit(), &source.name, source.sync.as_ref()?, here)?;
    Some(RowDetail::Line(format!("next: {moments}")))
}

fn of_unchecked(unchecked: &Unchecked) -> SectionRow {
    let mut row = SectionRow::new("?", Color::Dim, unchecked.source.as_str(), &unchecked.name, "unchecked");
    row.detail.clone_from(&unchecked.reason);
    row
}

fn of_withheld(withheld: &Withheld, with_advice: bool) -> SectionRow {
    let mut row = SectionRow::new("!", Color::Magenta, withheld.source.as_str(), &withheld.name, "withheld");
    row.detail.clone_from(&withheld.reason);
    if with_advice && let Some(allow) = &withheld.allow {
        row.note(format!("to allow: {allow}"));
    }
    let marked = has_mixed_drift(&withheld.changes);
    row.nested.extend(withheld.changes.iter().map(|change| field(change, marked)));
    row
}

fn of_suspended(suspended: &Suspended, source: Option<&DesiredSource>) -> SectionRow {
    let key = source.map_or(suspended.name.as_str(), |source| source.key.as_str());
    let mut row = SectionRow::new("||", Color::Dim, key, &suspended.name, "suspended");
    row.detail.clone_from(&suspended.reason);
    if let Some(until) = source.and_then(|source| source.suspend.as_ref()?.until) {
        row.detail = join(std::mem::take(&mut row.detail), &format!("until {until}"));
    }
    let marked = suspended.drift.iter().any(|change| change.drift);
    row.nested.extend(suspended.drift.iter().map(|change| field(change, marked)));
    row
}

fn unmanaged(workspace: &WorkspacePlan, verbose: bool, rows: &mut Vec<SectionRow>) {
    let all = &workspace.unmanaged;
    let shown = if verbose || all.len() <= MAX_UNMANAGED_SHOWN { all.len() } else { MAX_UNMANAGED_SHOWN };
    rows.extend(
        all.iter()
            .take(shown)
            .enumerate()
            .map(|(index, source)| of_unmanaged(workspace, &source, index == 0)),
    );
    if shown < all.len()
        && let Some(last) = rows.last_mut()
    {
        last.note(format!("and {} more; `-v` shows them", humanize::number(all.len() - shown)));
    }
}

fn of_unmanaged(workspace: &WorkspacePlan, source: &Unmanaged, with_advice: bool) -> SectionRow {
    let mut row = SectionRow::new("?", Color::Dim, source.name.as_str(), &source.name, "unmanaged");
    let address = escape::shell(&format!("{}/{}", workspace.desired.label(), source.name));
    row.detail = match address {
        Some(address) if with_advice => format!("left alone; `wellspring pull {address}` takes it over"),
        None if with_advice => "left alone; declare it to take it over".to_owned(),
        _ => "left alone".to_owned(),
    };
    row
}

fn of_unchanged(name: &SourceName, source: Option<&DesiredSource>) -> SectionRow {
    let key = source.map_or(name.as_str(), |source| source.key.as_str());
    let mut row = SectionRow::new("", Color::Plain, key, name, "unchanged");
    row.detail = source.map(|source| source.at.to_string()).unwrap_or_default();
    row
}

pub(super) fn by_name(workspace: &WorkspacePlan) -> BTreeMap<&SourceName, &DesiredSource> {
    workspace.desired.sources.iter().map(|source| (&source.name, source)).collect()
}
