//! A plan for a terminal: a block per workspace, what stays as it is in one line, and the sum.

use super::lines::Page;
use super::paint::Tone;
use super::summary::{counts, summary_line, tells_unchanged};
use super::{Here, Look, View, escape, rows, words};
use crate::plan::{Outcome, Plan, UnitPlan};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// So many kinds of unreadable fields are named.
const FIELDS_NAMED: usize = 4;

/// The whole view, with a newline at the end.
#[must_use]
pub fn text(view: &View<'_>, look: &Look) -> String {
    let mut lines = Vec::new();
    for (index, unit) in view.plan.units.iter().enumerate() {
        lines.extend(block(unit, view.outcome(index), view.here(), look));
    }
    end(lines, remainder(view.plan, view.outcomes), &view.sum(), look)
}

/// All that there is to say of a plan that has nothing to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    remainder: Option<String>,
    sum: String,
}

impl Quiet {
    /// What [`text`] says of it below its blocks, of which there are none.
    #[must_use]
    pub fn of(plan: &Plan) -> Self {
        Self { remainder: remainder(plan, None), sum: summary_line(plan) }
    }
}

/// What [`text`] says of such a plan.
#[must_use]
pub fn quiet(quiet: &Quiet, look: &Look) -> String {
    end(Vec::new(), quiet.remainder.clone(), &quiet.sum, look)
}

fn end(mut lines: Vec<String>, remainder: Option<String>, sum: &str, look: &Look) -> String {
    lines.extend(remainder);
    if !lines.is_empty() {
        lines.push(String::new());
    }
    lines.push(Tone::Bold.paint(sum, look.color));
    lines.join("\n") + "\n"
}

/// One workspace's block, with a newline at the end; nothing where there is nothing to say, unless
/// everything is to be shown.
#[must_use]
pub fn unit_text(unit: &UnitPlan, here: Here<'_>, look: &Look) -> String {
    block(unit, None, here, look).into_iter().map(|line| line + "\n").collect()
}

fn block(unit: &UnitPlan, outcome: Option<&Outcome>, here: Here<'_>, look: &Look) -> Vec<String> {
    let page = Page { color: look.color, width: look.width, flush: false };
    let body = body(unit, outcome, here, look.verbose, page);
    if body.is_empty() && !look.verbose {
        return body;
    }
    let mut lines = vec![heading(unit, look)];
    lines.extend(body);
    lines
}

/// Everything below a block's heading.
pub(super) fn body(
    unit: &UnitPlan,
    outcome: Option<&Outcome>,
    here: Here<'_>,
    verbose: bool,
    page: Page,
) -> Vec<String> {
    let mut lines = Vec::new();
    if let Some(error) = &unit.error {
        push_error(page, "not planned", &error.message, &mut lines);
    }
    lines.extend(page.rows(&rows::of_unit(unit, outcome, here, verbose)));
    if let Some(error) = outcome.and_then(|outcome| outcome.error.as_ref()) {
        push_error(page, "stopped", &error.message, &mut lines);
    }
    if verbose && !unit.unreadable.is_empty() {
        let fields = unit.unreadable.join(", ");
        page.paragraph(&format!("not readable from the platform: {fields}"), 6, Tone::Plain, &mut lines);
    }
    lines
}

fn push_error(page: Page, what: &str, message: &str, lines: &mut Vec<String>) {
    let first = lines.len();
    page.paragraph(&format!("{what}: {message}"), if page.flush { 4 } else { 6 }, Tone::Red, lines);
    if let Some(line) = lines.get_mut(first) {
        let mark = Tone::Red.paint("x", page.color);
        *line = format!("{}{mark}   {}", if page.flush { "" } else { "  " }, line.trim_start());
    }
}

fn heading(unit: &UnitPlan, look: &Look) -> String {
    let heading = rows::heading(unit);
    let mut line = Tone::Bold.paint(&escape::terminal(&heading.label), look.color);
    let id = heading.id.map(|id| format!("  {}", escape::terminal(&id)));
    let scope = heading.scope.map(|scope| format!(" ({})", escape::terminal(&scope)));
    line.push_str(&Tone::Dim.paint(&[id, scope].into_iter().flatten().collect::<String>(), look.color));
    line
}

/// `5 unchanged, 1 suspended. Not readable from the platform: 2 passwords.`
pub(super) fn remainder(plan: &Plan, outcomes: Option<&[Outcome]>) -> Option<String> {
    let sum = counts(plan, outcomes);
    let unchanged = if tells_unchanged(&sum) { 0 } else { sum.unchanged };
    let counted: Vec<String> = [(unchanged, "unchanged"), (sum.suspended, "suspended")]
        .into_iter()
        .filter(|(n, _)| *n > 0)
        .map(|(n, what)| format!("{} {what}", words::number(n)))
        .collect();
    let counted = (!counted.is_empty()).then(|| format!("{}.", counted.join(", ")));
    let sentences: Vec<String> = [counted, unreadable(plan)].into_iter().flatten().collect();
    (!sentences.is_empty()).then(|| sentences.join(" "))
}

fn unreadable(plan: &Plan) -> Option<String> {
    let mut by_key: BTreeMap<&str, usize> = BTreeMap::new();
    for field in plan.units.iter().flat_map(|unit| &unit.unreadable) {
        *by_key.entry(field.rsplit(['.', ' ']).next().unwrap_or_default()).or_default() += 1;
    }
    let rest: usize = by_key.values().skip(FIELDS_NAMED).sum();
    let mut parts: Vec<String> =
        by_key.iter().take(FIELDS_NAMED).map(|(key, n)| words::count(*n, &escape::terminal(key))).collect();
    if rest > 0 {
        parts.push(words::count(rest, "other field"));
    }
    (!parts.is_empty()).then(|| format!("Not readable from the platform: {}.", words::list(&parts)))
}
