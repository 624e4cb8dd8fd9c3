//! The counts, and the sentence they make.

use super::words;
use crate::model::SourceName;
use crate::plan::{ActionResult, Outcome, Plan, Step, UnitPlan};
use serde::Serialize;
use std::collections::BTreeSet;

/// How many of what. What is unchanged stands in no other count; `schedule`, `unchecked` and the cleanup
/// of a superseded source may come on top of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Summary {
    /// To connect.
    pub connect: usize,
    /// To replace.
    pub replace: usize,
    /// To clean up.
    pub cleanup: usize,
    /// To adopt.
    pub adopt: usize,
    /// To forget.
    pub forget: usize,
    /// New schedules.
    pub schedule: usize,
    /// Known to be as the files say, with nothing to be done.
    pub unchanged: usize,
    /// Held back.
    pub withheld: usize,
    /// On the platform, neither declared nor ours.
    pub unmanaged: usize,
    /// Suspended.
    pub suspended: usize,
    /// Not compared in full, because a secret does not resolve here.
    pub unchecked: usize,
    /// Workspaces whose pass stopped.
    pub errors: usize,
    /// Actions that failed.
    pub failed: usize,
    /// Actions that were not tried.
    pub skipped: usize,
}

impl Summary {
    /// All actions together.
    #[must_use]
    pub fn actions(&self) -> usize {
        self.connect + self.replace + self.cleanup + self.adopt + self.forget + self.schedule
    }
}

/// Counts a plan, and what became of it.
#[must_use]
pub fn counts(plan: &Plan, outcomes: Option<&[Outcome]>) -> Summary {
    let mut sum = Summary::default();
    sum.unchanged += plan.as_before.iter().map(|unit| unit.unchanged).sum::<usize>();
    for (index, unit) in plan.units.iter().enumerate() {
        let outcome = outcomes.and_then(|outcomes| outcomes.get(index));
        unit.actions.iter().for_each(|action| *sum.of(&action.step) += 1);
        sum.unchanged += unchanged(unit).count();
        sum.withheld += unit.withheld.len();
        sum.unmanaged += unit.unmanaged.len();
        sum.suspended += unit.suspended.len();
        sum.unchecked += unit.unchecked.len();
        sum.errors +=
            usize::from(unit.error.is_some() || outcome.is_some_and(|outcome| outcome.error.is_some()));
        for result in outcome.into_iter().flat_map(|outcome| &outcome.results) {
            sum.failed += usize::from(matches!(result, ActionResult::Failed(_)));
            sum.skipped += usize::from(matches!(result, ActionResult::Skipped(_)));
        }
    }
    sum
}

/// The sources that are known to be as the files say: compared in full, and nothing is to be done to
/// them, not even a new schedule.
pub(super) fn unchanged(unit: &UnitPlan) -> impl Iterator<Item = &SourceName> {
    let unchecked = unit.unchecked.iter().map(|unchecked| &unchecked.name);
    let others: BTreeSet<_> = unit.actions.iter().map(|action| &action.name).chain(unchecked).collect();
    unit.unchanged.iter().filter(move |name| !others.contains(name))
}

impl Summary {
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

/// `Plan: 1 to connect, 1 to replace, 1 withheld.`, or that there is nothing to do.
#[must_use]
pub fn summary_line(plan: &Plan) -> String {
    let sum = counts(plan, None);
    if sum.actions() == 0 {
        return nothing_to_do(plan, &sum);
    }
    let mut parts = vec![
        some(sum.connect, "to connect"),
        some(sum.replace, "to replace"),
        some(sum.cleanup, "to clean up"),
        some(sum.adopt, "to adopt"),
        some(sum.forget, "to forget"),
        counted(sum.schedule, "schedule"),
    ];
    parts.extend(left_over(&sum));
    format!("Plan: {}.", sentence(parts))
}

/// `Done: 1 connected, 1 replaced, 1 withheld.`; `Partly done: …, 1 failed, 2 skipped.`
#[must_use]
pub fn outcome_line(plan: &Plan, outcomes: &[Outcome]) -> String {
    let sum = counts(plan, Some(outcomes));
    if sum.actions() == 0 {
        return nothing_to_do(plan, &sum);
    }
    let mut done = Summary::default();
    for (unit, outcome) in plan.units.iter().zip(outcomes) {
        for (action, result) in unit.actions.iter().zip(&outcome.results) {
            *done.of(&action.step) += usize::from(*result == ActionResult::Done);
        }
    }
    let mut parts = vec![
        some(done.connect, "connected"),
        some(done.replace, "replaced"),
        some(done.cleanup, "cleaned up"),
        some(done.adopt, "adopted"),
        some(done.forget, "forgotten"),
        some(done.schedule, "scheduled"),
        some(sum.failed, "failed"),
        some(sum.skipped, "skipped"),
        some(sum.actions() - done.actions() - sum.failed - sum.skipped, "not decided"),
    ];
    parts.extend(left_over(&sum));
    let opening = match done.actions() {
        all if all == sum.actions() && sum.errors == 0 => "Done",
        0 => "Not done",
        _ => "Partly done",
    };
    format!("{opening}: {}.", sentence(parts))
}

/// Does the sentence say how many sources are as the files say?
pub(super) fn tells_unchanged(sum: &Summary) -> bool {
    sum.actions() == 0
}

fn nothing_to_do(plan: &Plan, sum: &Summary) -> String {
    let rest = sentence(left_over(sum));
    if sum.unchanged == 0 {
        return match (rest.as_str(), sum.errors) {
            ("", _) => "No changes. Nothing is declared.".to_owned(),
            (rest, 0) => format!("No changes: {rest}."),
            (rest, _) => format!("Nothing planned: {rest}."),
        };
    }
    let planned = plan.units.iter().filter(|unit| unchanged(unit).next().is_some());
    let as_before = plan.as_before.iter().filter(|unit| unit.unchanged > 0);
    let standing: BTreeSet<_> =
        planned.map(|unit| unit.desired.workspace()).chain(as_before.map(|unit| &unit.workspace)).collect();
    format!(
        "No changes. {} in {} {} as the files say{}{rest}.",
        words::count(sum.unchanged, "source"),
        words::count(standing.len(), "workspace"),
        if sum.unchanged == 1 { "is" } else { "are" },
        if rest.is_empty() { "" } else { "; " },
    )
}

/// What a plan leaves as it is, and why it may not be all.
fn left_over(sum: &Summary) -> Vec<Option<String>> {
    vec![
        some(sum.withheld, "withheld"),
        some(sum.unmanaged, "unmanaged"),
        some(sum.unchecked, "not checked"),
        counted(sum.errors, "workspace").map(|workspaces| format!("{workspaces} with an error")),
    ]
}

fn some(n: usize, what: &str) -> Option<String> {
    (n > 0).then(|| format!("{} {what}", words::number(n)))
}

fn counted(n: usize, noun: &str) -> Option<String> {
    (n > 0).then(|| words::count(n, noun))
}

fn sentence(parts: Vec<Option<String>>) -> String {
    parts.into_iter().flatten().collect::<Vec<_>>().join(", ")
}
