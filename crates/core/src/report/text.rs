//! Renders a plan for a terminal: blocks by workspace, unchanged sources, summary.

use super::layout::LineLayout;
use super::problems::Gravity;
use super::sections::Detail;
use super::style::Color;
use super::summary::{counts, mentions_unchanged};
use super::{Problems, ReportInput, Style, TimeContext, escape, humanize, sections};
use crate::plan::{ApplyOutcome, Plan, WorkspacePlan};
use std::collections::BTreeMap;

/// Maximum number of workspaces named that have a failure in common.
const WORKSPACES_NAMED: usize = 10;

/// Maximum number of unreadable kinds of fields named.
const FIELDS_NAMED: usize = 4;

/// Renders the whole view, with a final newline.
#[must_use]
pub fn text(view: &ReportInput<'_>, look: &Style) -> String {
    let mut lines = problem_lines(view.plan, view.problems, look);
    let detail = if look.verbose { Detail::Everything } else { Detail::Attributes };
    let mut outages = Outages::of(view.plan);
    for (index, workspace) in view.plan.workspaces.iter().enumerate() {
        match outages.take(workspace) {
            None => lines.extend(block(workspace, view.outcome(index), view.here(), look, detail)),
            Some(workspaces) => lines.extend(outage_block(&workspaces, look)),
        }
    }
    lines.extend(remainder(view.plan, view.outcomes));
    if lines.last().is_some_and(|line| !line.is_empty()) {
        lines.push(String::new());
    }
    lines.push(Color::Bold.paint(&view.sum(), look.color));
    lines.join("\n") + "\n"
}

/// Renders one workspace's block, with a final newline.
///
/// Empty if nothing changes, unless the output is verbose.
#[must_use]
pub fn workspace_text(workspace: &WorkspacePlan, here: TimeContext<'_>, look: &Style) -> String {
    let detail = if look.verbose { Detail::Everything } else { Detail::Changes };
    block(workspace, None, here, look, detail).into_iter().map(|line| line + "\n").collect()
}

/// Renders the problems outside the plan, followed by an empty line; may be empty.
#[must_use]
pub fn problems_text(plan: &Plan, problems: &Problems, look: &Style) -> String {
    problem_lines(plan, problems, look).into_iter().map(|line| line + "\n").collect()
}

fn problem_lines(plan: &Plan, problems: &Problems, look: &Style) -> Vec<String> {
    let page = LineLayout { color: look.color, width: look.width, flush_left: false };
    let mut lines = Vec::new();
    for (gravity, text) in problems.lines(plan) {
        let (mark, tone) = match gravity {
            Gravity::Error => ("x", Color::Red),
            Gravity::Warning => ("!", Color::Magenta),
        };
        let first = lines.len();
        page.paragraph(&text, 4, tone, &mut lines);
        if let Some(line) = lines.get_mut(first) {
            *line = format!("{}   {}", tone.paint(mark, look.color), line.trim_start());
        }
    }
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines
}

/// Workspaces without a plan because the platform fails as a whole, by reason.
struct Outages<'a>(BTreeMap<&'a str, Vec<&'a WorkspacePlan>>);

impl<'a> Outages<'a> {
    fn of(plan: &'a Plan) -> Self {
        let mut outages: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for workspace in &plan.workspaces {
            if let Some(outage) = Self::reason(workspace) {
                outages.entry(outage).or_default().push(workspace);
            }
        }
        outages.retain(|_, workspaces| workspaces.len() > 1);
        Self(outages)
    }

    fn reason(workspace: &WorkspacePlan) -> Option<&str> {
        workspace.error.as_ref()?.outage.as_deref()
    }

    /// Returns the workspaces with the outage of this one.
    ///
    /// Returns them for the first of them, an empty list for the others, and nothing if it has none in
    /// common.
    fn take(&mut self, workspace: &WorkspacePlan) -> Option<Vec<&'a WorkspacePlan>> {
        self.0.get_mut(Self::reason(workspace)?).map(std::mem::take)
    }
}

/// Renders one block for workspaces with a common outage.
fn outage_block(workspaces: &[&WorkspacePlan], look: &Style) -> Vec<String> {
    let Some(outage) = workspaces.first().and_then(|workspace| Outages::reason(workspace)) else {
        return Vec::new();
    };
    let page = LineLayout { color: look.color, width: look.width, flush_left: false };
    let named = workspaces.iter().map(|workspace| escape::terminal(workspace.desired.label()));
    let mut lines = vec![Color::Bold.paint(&humanize::first_of(named, WORKSPACES_NAMED), look.color)];
    push_error(page, "not planned", outage, &mut lines);
    lines
}

fn block(
    workspace: &WorkspacePlan,
    outcome: Option<&ApplyOutcome>,
    here: TimeContext<'_>,
    look: &Style,
    detail: Detail,
) -> Vec<String> {
    let page = LineLayout { color: look.color, width: look.width, flush_left: false };
    let body = body(workspace, outcome, here, detail, page);
    if body.is_empty() && !look.verbose {
        return body;
    }
    let mut lines = vec![heading(workspace, look)];
    lines.extend(body);
    lines
}

/// Renders the content below a block's heading.
pub(super) fn body(
    workspace: &WorkspacePlan,
    outcome: Option<&ApplyOutcome>,
    here: TimeContext<'_>,
    detail: Detail,
    page: LineLayout,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(error) = &workspace.error {
        push_error(page, "not planned", &error.message, &mut lines);
    }
    lines.extend(page.rows(&sections::of_workspace(workspace, outcome, here, detail)));
    if let Some(error) = outcome.and_then(|outcome| outcome.error.as_ref()) {
        push_error(page, "stopped", &error.message, &mut lines);
    }
    if detail == Detail::Everything && !workspace.unreadable.is_empty() {
        let fields = workspace.unreadable.join(", ");
        page.paragraph(&format!("not readable from the platform: {fields}"), 6, Color::Plain, &mut lines);
    }
    lines
}

fn push_error(page: LineLayout, what: &str, message: &str, lines: &mut Vec<String>) {
    let first = lines.len();
    page.paragraph(&format!("{what}: {message}"), if page.flush_left { 4 } else { 6 }, Color::Red, lines);
    if let Some(line) = lines.get_mut(first) {
        let mark = Color::Red.paint("x", page.color);
        *line = format!("{}{mark}   {}", if page.flush_left { "" } else { "  " }, line.trim_start());
    }
}

fn heading(workspace: &WorkspacePlan, look: &Style) -> String {
    let heading = sections::heading(workspace);
    let mut line = Color::Bold.paint(&escape::terminal(&heading.label), look.color);
    let id = heading.id.map(|id| format!("  {}", escape::terminal(&id)));
    let scope = heading.scope.map(|scope| format!(" ({})", escape::terminal(&scope)));
    line.push_str(&Color::Dim.paint(&[id, scope].into_iter().flatten().collect::<String>(), look.color));
    line
}

/// Formats `5 unchanged, 1 suspended. Not readable from the platform: 2 passwords.`
pub(super) fn remainder(plan: &Plan, outcomes: Option<&[ApplyOutcome]>) -> Option<String> {
    let sum = counts(plan, outcomes, &Problems::default());
    let unchanged = if mentions_unchanged(&sum) { 0 } else { sum.unchanged };
    let counted: Vec<String> = [(unchanged, "unchanged"), (sum.suspended, "suspended")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", humanize::number(n)))
        .collect();
    let counted = if counted.is_empty() { None } else { Some(format!("{}.", counted.join(", "))) };
    let sentences: Vec<String> = [counted, unreadable(plan)].into_iter().flatten().collect();
    if sentences.is_empty() { None } else { Some(sentences.join(" ")) }
}

fn unreadable(plan: &Plan) -> Option<String> {
    let mut by_name: BTreeMap<&str, usize> = BTreeMap::new();
    let planned = plan.workspaces.iter().flat_map(WorkspacePlan::unreadable_names).map(|name| (name, 1));
    let as_before = plan.unchanged_workspaces.iter().flat_map(|workspace| &workspace.unreadable);
    for (name, n) in planned.chain(as_before.map(|(name, n)| (name.as_str(), *n))) {
        *by_name.entry(name).or_default() += n;
    }
    let rest: usize = by_name.values().skip(FIELDS_NAMED).sum();
    let mut parts: Vec<String> = by_name
        .iter()
        .take(FIELDS_NAMED)
        .map(|(key, n)| humanize::count(*n, &escape::terminal(key)))
        .collect();
    if rest > 0 {
        parts.push(humanize::count(rest, "other field"));
    }
    if parts.is_empty() {
        None
    } else {
        Some(format!("Not readable from the platform: {}.", humanize::list(&parts)))
    }
}
