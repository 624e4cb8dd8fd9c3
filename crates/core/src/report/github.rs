//! Renders workflow annotations, one command per line.

use super::changes::{ValueText, field_name, show, show_declared};
use super::problems::Gravity;
use super::sections::{detail, heading, verb};
use super::{ReportInput, escape, humanize};
use crate::model::SourceLocation;
use crate::plan::{Action, ActionResult, ApplyOutcome, FieldChange, Step, TestStatus, WorkspacePlan};
use std::fmt::Write;
use std::sync::Arc;

/// Renders annotations for a tree at the repository's root, with a final newline.
#[must_use]
pub fn github(view: &ReportInput<'_>) -> String {
    github_below(view, "")
}

/// Renders annotations for a tree at `dir` below the repository's root.
///
/// Failures come first, because only the first annotations of each kind are shown.
#[must_use]
pub fn github_below(view: &ReportInput<'_>, dir: &str) -> String {
    let mut page = Annotations { dir: dir.trim_matches('/'), out: [const { String::new() }; 3] };
    let sum = view.sum();
    page.push(AnnotationLevel::Notice, None, "Wellspring", &sum);
    for file in &view.problems.rejected {
        let at = SourceLocation { file: Arc::clone(file), line: 1 };
        let message = "The sources in this file are not planned; `wellspring validate` shows the errors.";
        page.push(AnnotationLevel::Error, Some(&at), "Rejected because of errors", message);
    }
    for (gravity, problem) in view.problems.lines(view.plan) {
        let level = if gravity == Gravity::Error { AnnotationLevel::Error } else { AnnotationLevel::Warning };
        page.push(level, None, "Wellspring", &problem);
    }
    for (index, workspace) in view.plan.workspaces.iter().enumerate() {
        page.workspace(workspace, view.outcome(index));
    }
    page.out.concat()
}

#[derive(Debug, Clone, Copy)]
enum AnnotationLevel {
    Error,
    Warning,
    Notice,
}

impl AnnotationLevel {
    fn word(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Notice => "notice",
        }
    }
}

struct Annotations<'a> {
    dir: &'a str,
    /// Text by [`AnnotationLevel`].
    out: [String; 3],
}

impl Annotations<'_> {
    fn workspace(&mut self, workspace: &WorkspacePlan, outcome: Option<&ApplyOutcome>) {
        let label = label(workspace);
        if let Some(error) = &workspace.error {
            self.push(AnnotationLevel::Error, None, &format!("{label} is not planned"), &error.message);
        }
        if let Some(error) = outcome.and_then(|outcome| outcome.error.as_ref()) {
            self.push(AnnotationLevel::Error, None, &format!("{label} stopped"), &error.message);
        }
        for (index, action) in workspace.actions.iter().enumerate() {
            self.action(&label, workspace, action, outcome.and_then(|outcome| outcome.results.get(index)));
        }
        for withheld in &workspace.withheld {
            let level = if withheld.refused { AnnotationLevel::Warning } else { AnnotationLevel::Notice };
            let title = format!("{} of {label}/{} is withheld", withheld.action, withheld.source);
            let allow = withheld.allow.iter().map(|allow| format!("\nTo allow: {allow}"));
            let message = format!("{}{}", withheld.reason, allow.collect::<String>());
            let message = message + &fields(&withheld.changes);
            self.push(level, withheld.location.as_ref(), &title, &message);
        }
        for unchecked in &workspace.unchecked {
            let title = format!("{label}/{} is not checked", unchecked.source);
            self.push(AnnotationLevel::Warning, Some(&unchecked.location), &title, &unchecked.reason);
        }
        if !workspace.unmanaged.is_empty() {
            self.push(
                AnnotationLevel::Notice,
                None,
                &format!("Unmanaged in {label}, left alone"),
                &unmanaged(workspace),
            );
        }
    }

    fn action(
        &mut self,
        label: &str,
        workspace: &WorkspacePlan,
        action: &Action,
        result: Option<&ActionResult>,
    ) {
        let what = format!("{} {label}/{}", verb(workspace, &action.step), action.source);
        let (level, title, message) = match result {
            None => match &action.test_status {
                Some(TestStatus { passed: false, message }) => {
                    (AnnotationLevel::Error, format!("{what}: the connection test failed"), message.clone())
                }
                _ => (AnnotationLevel::Notice, what, planned(workspace, action)),
            },
            Some(ActionResult::Failed(message)) => {
                (AnnotationLevel::Error, format!("{what} failed"), message.clone())
            }
            Some(ActionResult::Skipped(because)) => {
                (AnnotationLevel::Warning, format!("{what} was skipped"), because.clone())
            }
            Some(ActionResult::Done | ActionResult::Open) => return,
        };
        self.push(level, action.location.as_ref(), &title, &message);
    }

    fn push(&mut self, level: AnnotationLevel, at: Option<&SourceLocation>, title: &str, message: &str) {
        let mut properties = String::new();
        if let Some(at) = at {
            let file =
                if self.dir.is_empty() { at.file.to_string() } else { format!("{}/{}", self.dir, at.file) };
            let _ = write!(properties, "file={},line={},", escape::annotation_property(&file), at.line);
        }
        let (title, message) = (escape::annotation_property(title), escape::annotation(message));
        let out = &mut self.out[level as usize];
        let _ = writeln!(out, "::{} {properties}title={title}::{message}", level.word());
    }
}

fn label(workspace: &WorkspacePlan) -> String {
    let heading = heading(workspace);
    match heading.scope {
        Some(scope) => format!("{} ({scope})", heading.label),
        None => heading.label,
    }
}

fn unmanaged(workspace: &WorkspacePlan) -> String {
    const NAMED: usize = 20;
    let all = &workspace.unmanaged;
    let mut names: Vec<String> =
        all.iter().take(NAMED).map(|source| escape::terminal(source.name.as_str())).collect();
    if all.len() > NAMED {
        names.push(format!("{} more", humanize::number(all.len() - NAMED)));
    }
    humanize::list(&names)
}

/// Formats the reason and the changed fields, one per line.
fn planned(workspace: &WorkspacePlan, action: &Action) -> String {
    let mut message = match &action.step {
        Step::Schedule { .. } => detail(workspace, action, false),
        _ => action.reason.clone(),
    };
    message.push_str(&fields(&action.changes));
    let declared = match action.step {
        Step::Connect { index } => workspace.desired.sources.get(index),
        _ => None,
    };
    for (path, leaf) in declared.iter().flat_map(|source| source.definition.leaves()) {
        let _ = write!(message, "\n{}: {}", field_name(&path), on_a_line(show_declared(&path, &leaf)));
    }
    message
}

/// Formats each changed field on a line.
fn fields(changes: &[FieldChange]) -> String {
    let line =
        |change: &FieldChange| format!("\n{}: {}", field_name(&change.path), on_a_line(show(change, true)));
    changes.iter().map(line).collect()
}

fn on_a_line(shown: ValueText) -> String {
    match shown {
        ValueText::Line(text) | ValueText::Diff(text, _) => text,
        ValueText::Pair(was, is, _) => format!("{was} -> {is}"),
    }
}
