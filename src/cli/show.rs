//! `wellspring show`: effective values of sources, with the location of each.
//!
//! Offline.

use super::args::{Common, Format, ShowArgs};
use super::select::Selector;
use super::{CommandError, Exit, context, output};
use crate::config::EffectiveValue;
use crate::report::escape;
use serde_json::json;

/// Maximum width of values in columns.
///
/// Longer ones would push all locations off screen.
const MAX_VALUE_WIDTH: usize = 60;

pub(super) fn run(common: &Common, args: &ShowArgs) -> Result<Exit, CommandError> {
    let selector = Selector::new(&args.selection)?;
    let settings = context::resolve(common)?;
    let reading = context::read(&settings)?;
    context::print_diagnostics(common, &reading);
    selector.resolve_names(&reading);
    let mut shown = Vec::new();
    let workspaces: Vec<_> = reading
        .desired
        .open_workspaces()
        .filter(|workspace| selector.selects_workspace(workspace.names()))
        .collect();
    for workspace in &workspaces {
        for source in
            workspace.sources.iter().filter(|source| selector.source(workspace, &source.key, &source.name))
        {
            shown.push((workspace, source, reading.effective(source).unwrap_or_default()));
        }
    }
    if !reading.has_errors() {
        selector.require_declared_workspaces(&reading)?;
        selector.require_matches(&reading, "declared source", "`wellspring show` lists them")?;
    }
    if shown.is_empty() && !selector.selects_everything() && !reading.has_errors() {
        return Err(CommandError::usage("no declared source matches; `wellspring show` lists them"));
    }
    if common.format == Format::Json {
        let sources: Vec<_> = shown
            .iter()
            .map(|(workspace, source, values)| {
                json!({
                    "workspace": workspace.label(),
                    "workspace_id": workspace.workspace().display_text(),
                    "scope": workspace.scope(),
                    "source": source.key,
                    "name": source.name,
                    "file": source.at.file,
                    "line": source.at.line,
                    "values": values,
                })
            })
            .collect();
        output::write_json(&json!({ "format_version": 1, "sources": sources }));
    } else if shown.is_empty() {
        note!("No source is declared.");
    } else {
        for (n, (workspace, source, values)) in shown.iter().enumerate() {
            let gap = if n > 0 { "\n" } else { "" };
            let name = escape::terminal(&format!("{}/{}", workspace.label(), source.key));
            output::print(&format!(
                "{gap}{name}  {}\n{}",
                escape::terminal(&source.at.to_string()),
                table(values)
            ));
        }
    }
    Ok(Exit::Invalid.when(reading.has_errors()))
}

fn table(values: &[EffectiveValue]) -> String {
    let lines: Vec<(String, String)> = values
        .iter()
        .map(|value| {
            let line = format!("{} = {}", escape::terminal(&value.path), escape::terminal(&value.value));
            (line, escape::terminal(&value.from.to_string()))
        })
        .collect();
    let width =
        lines.iter().map(|(line, _)| line.chars().count()).filter(|width| *width <= MAX_VALUE_WIDTH).max();
    let width = width.unwrap_or_default();
    lines.iter().map(|(line, from)| format!("  {line:width$}  {from}\n")).collect()
}
