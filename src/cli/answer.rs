//! Prints plans, outcomes and other results in the requested format.

use super::args::{Common, Format};
use super::{Exit, Failure};
use crate::plan::{Outcome, Plan};
use crate::render::{self, Here, Look, Problems, View};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

/// First error that prevented a result from being written.
static LOST: OnceLock<std::io::Error> = OnceLock::new();

/// Writes to stdout.
///
/// An error does not stop the command but is reported by [`lost`] at its end.
pub(super) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes()));
    heed(written.and_then(|()| out.flush()));
}

/// Prints to stderr; the command continues if the reader has gone (`2>&1 | head`).
pub(super) fn note(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Records a write error, except for a reader that has gone (`| head`).
pub(super) fn heed(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = LOST.set(error);
    }
}

/// Returns the failure if a result could not be written.
pub(super) fn lost() -> Option<Failure> {
    let message = format!("cannot write the output: {}", LOST.get()?);
    Some(Failure { exit: Exit::Failed, message })
}

/// Writes indented JSON, with control characters escaped for terminals.
pub(super) fn write_json(value: &impl serde::Serialize) {
    write(&render::escape::json(&serde_json::to_string_pretty(value).unwrap_or_default()));
}

/// Returns the style of text on stdout.
pub(super) fn look(common: &Common) -> Look {
    Look { color: common.color_out(), verbose: common.verbose(), width: width().unwrap_or(100) }
}

/// Returns the style of table rows.
///
/// Rows are fitted to a terminal; in a pipe, each is one line.
pub(super) fn look_of_rows(common: &Common) -> Look {
    Look { width: width().unwrap_or(0), ..look(common) }
}

fn width() -> Option<usize> {
    let terminal = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into());
    columns().or_else(terminal)
}

/// Returns the width of the terminal according to the environment.
pub(super) fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// Prints the problems of a plan, the part that -q leaves.
pub(super) fn problems(common: &Common, plan: &Plan, problems: &Problems) {
    let zone = TimeZone::system();
    let here = Here { now: Timestamp::now(), zone: Some(&zone) };
    let look = look(common);
    let text = render::problems_text(plan, problems, &look) + &problems_of(plan, here, &look);
    if !text.is_empty() {
        write(&text);
    }
}

/// Formats problems: failed workspaces, refused changes, failed connection tests.
fn problems_of(plan: &Plan, here: Here<'_>, look: &Look) -> String {
    let mut text = String::new();
    for unit in &plan.units {
        let mut unit = unit.clone();
        unit.withheld.retain(|withheld| withheld.refused);
        unit.actions.retain(|action| action.tested.as_ref().is_some_and(|tested| !tested.passed));
        unit.unmanaged.clear();
        unit.suspended.clear();
        if unit.error.is_some() || !unit.withheld.is_empty() || !unit.actions.is_empty() {
            text.push_str(&render::unit_text(&unit, here, look));
            text.push('\n');
        }
    }
    text
}

/// Formats the problems and the summary, without the changes.
fn quiet(view: &View<'_>, look: &Look) -> String {
    let first = render::problems_text(view.plan, view.problems, look);
    let problems = first + &problems_of(view.plan, Here { now: view.now, zone: view.local }, look);
    let whole = render::text(view, look);
    let summary = whole.trim_end().rsplit("\n\n").next().unwrap_or_default();
    format!("{problems}{summary}\n")
}

/// Prints a plan, with its results if there are `outcomes`.
pub(super) fn plan(common: &Common, plan: &Plan, outcomes: Option<&[Outcome]>, problems: &Problems) {
    // Text output does not contain the plan id.
    let id = match common.format {
        Format::Json | Format::Markdown => render::plan_id(plan),
        Format::Human | Format::Github => String::new(),
    };
    let zone = TimeZone::system();
    // Comments and annotations are read on other machines, so they have no local times.
    let local = Some(&zone).filter(|_| matches!(common.format, Format::Human | Format::Json));
    let view = View { plan, outcomes, now: Timestamp::now(), local, plan_id: &id, problems };
    write(&match common.format {
        Format::Human if common.quiet() && outcomes.is_none() => quiet(&view, &look(common)),
        Format::Human => render::text(&view, &look(common)),
        Format::Json => render::json(&view),
        Format::Markdown => render::markdown(&view),
        Format::Github => render::github(&view),
    });
}
