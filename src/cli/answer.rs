//! A plan or an outcome on stdout, in the format asked for.

use super::args::{Common, Format};
use crate::plan::{Outcome, Plan};
use crate::reading::Reading;
use crate::render::{self, Look, View};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::io::Write;
use std::sync::Arc;

/// Writes the answer. A reader that went away (`| head`) is no error.
pub(super) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes());
    if !text.ends_with('\n') && !text.is_empty() {
        let _ = out.write_all(b"\n");
    }
    let _ = out.flush();
}

/// Writes JSON, pretty.
pub(super) fn write_json(value: &impl serde::Serialize) {
    write(&serde_json::to_string_pretty(value).unwrap_or_default());
}

/// How text is to look on stdout.
pub(super) fn look(common: &Common) -> Look {
    Look { color: common.color_out(), verbose: common.verbose(), width: width().unwrap_or(100) }
}

/// How rows of a table are to look there: on a terminal they fit, and whoever reads them through a pipe
/// gets each on one line.
pub(super) fn look_of_rows(common: &Common) -> Look {
    Look { width: width().unwrap_or(0), ..look(common) }
}

fn width() -> Option<usize> {
    let terminal = || terminal_size::terminal_size_of(std::io::stdout()).map(|(width, _)| width.0.into());
    columns().or_else(terminal)
}

/// What the environment says of the terminal's width.
pub(super) fn columns() -> Option<usize> {
    std::env::var("COLUMNS").ok()?.parse().ok()
}

/// A plan, or with `outcomes` what became of it.
pub(super) fn plan(common: &Common, plan: &Plan, outcomes: Option<&[Outcome]>, reading: &Reading) {
    let broken: Vec<Arc<str>> =
        reading.desired.broken.iter().map(|broken| Arc::clone(&broken.file)).collect();
    // Whoever reads text is not told it.
    let id = match common.format {
        Format::Json | Format::Markdown => render::plan_id(plan),
        Format::Human | Format::Github => String::new(),
    };
    let zone = TimeZone::system();
    // A comment or an annotation is read elsewhere.
    let local = Some(&zone).filter(|_| matches!(common.format, Format::Human | Format::Json));
    let view = View { plan, outcomes, now: Timestamp::now(), local, plan_id: &id, broken: &broken };
    write(&match common.format {
        Format::Human => render::text(&view, &look(common)),
        Format::Json => render::json(&view),
        Format::Markdown => render::markdown(&view),
        Format::Github => render::github(&view),
    });
}
