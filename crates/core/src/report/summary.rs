//! Counts of a plan and the summary sentence.

use super::humanize;
use super::problems::{Problems, failed_tests};
use crate::model::SourceName;
use crate::plan::{ActionResult, ApplyOutcome, INTERRUPTED, Plan, Step, WorkspacePlan};
use serde::Serialize;
use std::collections::BTreeSet;

/// Counts by kind.
///
/// `unchanged` sources are in no other count. `schedule`, `unchecked` and the cleanup of a
/// superseded source may be counted in addition to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// Sources to connect.
    pub connect: usize,
    /// Sources to replace, in place or not.
    pub replace: usize,
    /// Sources to replace in place, included in `replace`.
    pub update: usize,
    /// Sources to remove.
    pub cleanup: usize,
    /// Sources to adopt.
    pub adopt: usize,
    /// Sources to forget.
    pub forget: usize,
    /// Sources with a new schedule.
    pub schedule: usize,
    /// Sources verified to be up to date.
    pub unchanged: usize,
    /// Withheld actions.
    pub withheld: usize,
    /// Unmanaged, undeclared sources on the platform.
    pub unmanaged: usize,
    /// Suspended sources.
    pub suspended: usize,
    /// Sources compared only in part, because a secret does not resolve here.
    pub unchecked: usize,
    /// Workspaces whose pass failed.
    pub errors: usize,
    /// Failed actions.
    pub failed: usize,
    /// Skipped actions.
    pub skipped: usize,
    /// Actions not started because of an interrupt, included in `skipped`.
    pub not_started: usize,
    /// Failed connection tests.
    pub failed_tests: usize,
    /// Files with errors.
    pub rejected_files: usize,
    /// Undeclared workspaces with managed sources.
    pub orphaned_workspaces: usize,
    /// True if there was no state, so that managed sources are unknown.
    pub unknown_ownership: bool,
}

impl Summary {
    /// Returns the number of all actions.
    #[must_use]
    pub fn actions(&self) -> usize {
        self.connect + self.replace + self.cleanup + self.adopt + self.forget + self.schedule
    }

    /// Returns true if there are problems outside the plan's actions.
    fn has_problems(&self) -> bool {
        let problems = [self.errors, self.failed_tests, self.rejected_files, self.orphaned_workspaces];
        self.unknown_ownership || problems.iter().any(|count| *count > 0)
    }
}

/// Counts a plan, its results and the problems outside it.
#[must_use]
pub fn counts(plan: &Plan, outcomes: Option<&[ApplyOutcome]>, problems: &Problems) -> Summary {
    let mut sum = Summary {
        failed_tests: failed_tests(plan).len(),
        rejected_files: problems.rejected.len(),
        orphaned_workspaces: problems.orphaned.len(),
        unknown_ownership: problems.unknown_ownership,
        ..Summary::default()
    };
    sum.unchanged += plan.unchanged_workspaces.iter().map(|workspace| workspace.unchanged).sum::<usize>();
    for (index, workspace) in plan.workspaces.iter().enumerate() {
        let outcome = outcomes.and_then(|outcomes| outcomes.get(index));
        workspace.actions.iter().for_each(|action| sum.add(workspace, &action.step));
        sum.unchanged += unchanged(workspace).count();
        sum.withheld += workspace.withheld.len();
        sum.unmanaged += workspace.unmanaged.len();
        sum.suspended += workspace.suspended.len();
        sum.unchecked += workspace.unchecked.len();
        sum.errors +=
            usize::from(workspace.error.is_some() || outcome.is_some_and(|outcome| outcome.error.is_some()));
        for result in outcome.into_iter().flat_map(|outcome| &outcome.results) {
            sum.failed += usize::from(matches!(result, ActionResult::Failed(_)));
            sum.skipped += usize::from(matches!(result, ActionResult::Skipped(_)));
            sum.not_started += usize::from(is_interrupted(result));
        }
    }
    sum
}

/// Returns the sources verified to be up to date.
///
/// These were compared in full and have no action, not even a new schedule.
pub(super) fn unchanged(workspace: &WorkspacePlan) -> impl Iterator<Item = &SourceName> {
    let unchecked = workspace.unchecked.iter().map(|unchecked| &unchecked.name);
    let others: BTreeSet<_> = workspace.actions.iter().map(|action| &action.name).chain(unchecked).collect();
    workspace.unchanged.iter().filter(move |name| !others.contains(name))
}

fn is_interrupted(result: &ActionResult) -> bool {
    matches!(result, ActionResult::Skipped(because) if because == INTERRUPTED)
}

impl Summary {
    fn add(&mut self, workspace: &WorkspacePlan, step: &Step) {
        *self.of(step) += 1;
        self.update += usize::from(workspace.in_place && matches!(step, Step::Replace { .. }));
    }

    fn of(&mut self, step: &Step) -> &mut usize {
        match step {
            Step::Connect { .. } => &mut self.connect,
            Step::Replace { .. } => &mut self.replace,
            Step::Cleanup { .. } => &mut self.cleanup,
            Step::Adopt { .. } => &mut self.adopt,
            Step::Forget => &mut self.forget,
            Step::Schedule { .. } => &mut self.schedule,
        }
    }
}

/// Formats the summary of a plan.
///
/// Example: `Plan: 1 to connect, 1 to replace, 1 withheld.`
#[must_use]
pub fn summary_line(plan: &Plan, problems: &Problems) -> String {
    let sum = counts(plan, None, problems);
    if sum.actions() == 0 {
        return nothing_to_do(plan, &sum);
    }
    let mut parts = vec![
        nonzero_count(sum.connect, "to connect"),
        nonzero_count(sum.update, "to update in place"),
        nonzero_count(sum.replace - sum.update, "to replace"),
        nonzero_count(sum.cleanup, "to clean up"),
        nonzero_count(sum.adopt, "to adopt"),
        nonzero_count(sum.forget, "to forget"),
        counted(sum.schedule, "schedule"),
    ];
    parts.extend(left_over(&sum, sum.unchecked));
    format!("Plan: {}.", sentence(parts))
}

/// Formats the result of a plan.
///
/// Examples: `Done: 1 connected, 1 replaced.`; `Partly done: 1 connected; not done: 1 failed, 2
/// without a secret.`
#[must_use]
pub fn outcome_line(plan: &Plan, outcomes: &[ApplyOutcome], problems: &Problems) -> String {
    let sum = counts(plan, Some(outcomes), problems);
    if sum.actions() == 0 {
        return nothing_to_do(plan, &sum);
    }
    let mut done = Summary::default();
    let (mut without_secret, mut waiting) = (0, 0);
    for (workspace, outcome) in plan.workspaces.iter().zip(outcomes) {
        for (action, result) in workspace.actions.iter().zip(&outcome.results) {
            match result {
                ActionResult::Done => done.add(workspace, &action.step),
                ActionResult::Skipped(_) if action.missing_secrets.is_some() => without_secret += 1,
                ActionResult::Skipped(_) if !is_interrupted(result) => waiting += 1,
                _ => {}
            }
        }
    }
    let parts = vec![
        nonzero_count(done.connect, "connected"),
        nonzero_count(done.update, "updated in place"),
        nonzero_count(done.replace - done.update, "replaced"),
        nonzero_count(done.cleanup, "cleaned up"),
        nonzero_count(done.adopt, "adopted"),
        nonzero_count(done.forget, "forgotten"),
        nonzero_count(done.schedule, "scheduled"),
    ];
    let mut rest = vec![
        nonzero_count(sum.failed, "failed"),
        nonzero_count(without_secret, "without a value for a secret"),
        nonzero_count(sum.not_started, "not started (interrupted)"),
        nonzero_count(waiting, "skipped (reasons above)"),
        nonzero_count(sum.actions() - done.actions() - sum.failed - sum.skipped, "not decided"),
    ];
    // Sources skipped for a missing secret are counted with their actions.
    rest.extend(left_over(&sum, sum.unchecked.saturating_sub(without_secret)));
    let (parts, rest) = (sentence(parts), sentence(rest));
    match (parts.is_empty(), rest.is_empty()) {
        (_, true) => format!("Done: {parts}."),
        (true, false) => format!("Not done: {rest}."),
        (false, false) if done.actions() == sum.actions() && !sum.has_problems() => {
            format!("Done: {parts}; left: {rest}.")
        }
        (false, false) => format!("Partly done: {parts}; not done: {rest}."),
    }
}

/// Returns true if the sentence contains the number of unchanged sources.
pub(super) fn mentions_unchanged(sum: &Summary) -> bool {
    sum.actions() == 0
}

/// Writes "No changes" only if everything was compared.
fn nothing_to_do(plan: &Plan, sum: &Summary) -> String {
    let rest = sentence(left_over(sum, sum.unchecked));
    let up_to_date = if sum.unchanged > 0 { Some(up_to_date(plan, sum)) } else { None };
    match (sum.has_problems(), up_to_date, rest.is_empty()) {
        (true, None, _) => format!("Nothing planned: {rest}."),
        (true, Some(up_to_date), _) => format!("Nothing planned: {rest}. {up_to_date}."),
        (false, None, true) => "No changes. Nothing is declared.".to_owned(),
        (false, None, false) => format!("No changes: {rest}."),
        (false, Some(up_to_date), true) => format!("No changes. {up_to_date}."),
        (false, Some(up_to_date), false) => format!("No changes. {up_to_date}; {rest}."),
    }
}

/// Formats `9 sources in 6 workspaces are up to date`.
fn up_to_date(plan: &Plan, sum: &Summary) -> String {
    let planned = plan.workspaces.iter().filter(|workspace| unchanged(workspace).next().is_some());
    let as_before = plan.unchanged_workspaces.iter().filter(|workspace| workspace.unchanged > 0);
    let standing: BTreeSet<_> = planned
        .map(|workspace| workspace.desired.workspace())
        .chain(as_before.map(|workspace| &workspace.workspace))
        .collect();
    format!(
        "{} in {} {} up to date",
        humanize::count(sum.unchanged, "source"),
        humanize::count(standing.len(), "workspace"),
        if sum.unchanged == 1 { "is" } else { "are" },
    )
}

/// Lists the sources that the plan leaves alone, or could not check.
fn left_over(sum: &Summary, unchecked: usize) -> Vec<Option<String>> {
    vec![
        nonzero_count(sum.withheld, "withheld"),
        nonzero_count(sum.unmanaged, "unmanaged"),
        nonzero_count(unchecked, "not checked"),
        counted(sum.errors, "workspace").map(|workspaces| format!("{workspaces} with an error")),
        counted(sum.rejected_files, "file").map(|files| format!("{files} rejected")),
        counted(sum.failed_tests, "connection test").map(|tests| format!("{tests} failed")),
        counted(sum.orphaned_workspaces, "workspace").map(|orphans| format!("{orphans} no longer declared")),
        if sum.unknown_ownership { Some("ownership unknown (no state)".to_owned()) } else { None },
    ]
}

fn nonzero_count(n: usize, what: &str) -> Option<String> {
    if n > 0 { Some(format!("{} {what}", humanize::number(n))) } else { None }
}

fn counted(n: usize, noun: &str) -> Option<String> {
    if n > 0 { Some(humanize::count(n, noun)) } else { None }
}

fn sentence(parts: Vec<Option<String>>) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
