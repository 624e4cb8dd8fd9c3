//! Prints plans, outcomes and other results in the requested format.

use super::args::{Common, Format};
use super::{CommandError, Exit};
use crate::plan::{ApplyOutcome, Plan};
use crate::report::{self, LocalZone, Problems, ReportInput, Style, TimeContext};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::{ErrorKind, Write};
use std::sync::OnceLock;

static LOCAL_ZONE: LocalZone = LocalZone::new(TimeZone::system);

/// First error that prevented a result from being written.
static WRITE_ERROR: OnceLock<std::io::Error> = OnceLock::new();

/// Returns the current time, for readers on this machine.
pub(super) fn here() -> TimeContext<'static> {
    TimeContext { now: Timestamp::now(), zone: Some(&LOCAL_ZONE) }
}

/// Writes to stdout.
///
/// An error does not stop the command but is reported by [`write_failure`] at its end.
pub(super) fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let end = if text.ends_with('\n') || text.is_empty() { "" } else { "\n" };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end.as_bytes()));
    record_write_error(written.and_then(|()| out.flush()));
}

/// Prints to stderr; the command continues if the reader has gone (`2>&1 | head`).
pub(super) fn eprint(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = err.write_all(text.as_bytes()).and_then(|()| err.flush());
}

/// Records a write error, except for a reader that has gone (`| head`).
pub(super) fn record_write_error(written: std::io::Result<()>) {
    if let Err(error) = written
        && error.kind() != ErrorKind::BrokenPipe
    {
        let _ = WRITE_ERROR.set(error);
    }
}

/// Returns the failure if a result could not be written.
pub(super) fn write_failure() -> Option<CommandError> {
    let message = format!("cannot write the output: {}", WRITE_ERROR.get()?);
    Some(CommandError { exit: Exit::Failed, message })
}

/// Writes indented JSON, with control characters escaped for terminals.
pub(super) fn write_json(value: &impl serde::Serialize) {
    print(&report::escape::json(&serde_json::to_string_pretty(value).unwrap_or_default()));
}

pub(super) fn style(common: &Common) -> Style {
    Style { color: common.stdout_has_color(), verbose: common.verbose(), width: width().unwrap_or(100) }
}

/// Returns the style of table rows.
///
/// Rows are fitted to a terminal; in a pipe, each is one line.
pub(super) fn row_style(common: &Common) -> Style {
    Style { width: width().unwrap_or(0), ..style(common) }
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
    let here = here();
    let look = style(common);
    let text = report::problems_text(plan, problems, &look) + &problems_of(plan, here, &look);
    if !text.is_empty() {
        print(&text);
    }
}

/// Formats problems: failed workspaces, refused changes, failed connection tests.
fn problems_of(plan: &Plan, here: TimeContext<'_>, look: &Style) -> String {
    let mut text = String::new();
    for workspace in &plan.workspaces {
        let mut workspace = workspace.clone();
        workspace.withheld.retain(|withheld| withheld.refused);
        workspace.actions.retain(|action| action.test_status.as_ref().is_some_and(|tested| !tested.passed));
        workspace.unmanaged = Default::default();
        workspace.suspended.clear();
        if workspace.error.is_some() || !workspace.withheld.is_empty() || !workspace.actions.is_empty() {
            text.push_str(&report::workspace_text(&workspace, here, look));
            text.push('\n');
        }
    }
    text
}

/// Formats the problems and the summary, without the changes.
fn quiet(view: &ReportInput<'_>, look: &Style) -> String {
    let first = report::problems_text(view.plan, view.problems, look);
    let problems = first + &problems_of(view.plan, TimeContext { now: view.now, zone: view.local }, look);
    let whole = report::text(view, look);
    let summary = whole.trim_end().rsplit("\n\n").next().unwrap_or_default();
    format!("{problems}{summary}\n")
}

/// Prints a plan, with its results if there are `outcomes`.
pub(super) fn plan(common: &Common, plan: &Plan, outcomes: Option<&[ApplyOutcome]>, problems: &Problems) {
    // Text output does not contain the plan id.
    let id = match common.format {
        Format::Json | Format::Markdown => report::plan_id(plan),
        Format::Human | Format::Github => String::new(),
    };
    // Comments and annotations are read on other machines, so they have no local times.
    let local = if matches!(common.format, Format::Human | Format::Json) { Some(&LOCAL_ZONE) } else { None };
    let view = ReportInput { plan, outcomes, now: Timestamp::now(), local, plan_id: &id, problems };
    print(&match common.format {
        Format::Human if common.quiet() && outcomes.is_none() => quiet(&view, &style(common)),
        Format::Human => report::text(&view, &style(common)),
        Format::Json => report::json(&view),
        Format::Markdown => report::markdown(&view),
        Format::Github => report::github(&view),
    });
}
