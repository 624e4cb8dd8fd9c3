//! Renders one line for a finished action.

use super::sections::{done, verb};
use super::style::Color;
use super::{Style, escape};
use crate::model::Scope;
use crate::plan::{Action, ActionResult, WorkspacePlan};

/// Formats a result such as `✓ sales/orders_db connected`, without a newline.
///
/// A failure includes its message and position.
#[must_use]
pub fn action_line(
    workspace: &WorkspacePlan,
    action: &Action,
    result: &ActionResult,
    look: &Style,
) -> String {
    let scope = workspace.desired.scope();
    let scope = if *scope == Scope::default() { String::new() } else { format!(" ({scope})") };
    let source = escape::terminal(&format!("{}/{}{scope}", workspace.desired.label(), action.source));
    let (mark, tone, rest) = match result {
        ActionResult::Done => ("✓", Color::Green, done(workspace, &action.step).to_owned()),
        ActionResult::Failed(message) => {
            let place = action.location.as_ref().map(|at| format!(" ({at})")).unwrap_or_default();
            ("✗", Color::Red, format!("could not be {}: {message}{place}", done(workspace, &action.step)))
        }
        ActionResult::Skipped(because) => {
            ("-", Color::Dim, format!("not {}: {because}", done(workspace, &action.step)))
        }
        ActionResult::Open => ("…", Color::Dim, format!("to {}", verb(workspace, &action.step))),
    };
    format!("{} {source} {}", tone.paint(mark, look.color), escape::terminal(&rest))
}
