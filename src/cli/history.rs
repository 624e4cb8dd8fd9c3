//! `wellspring history`: past syncs, or changes of the platform with `--changes`.

use super::args::{Common, Format, HistoryArgs};
use super::context::{AccessMode, CommandContext};
use super::select::Selector;
use super::{CommandError, Exit, output};
use crate::load::LoadedConfig;
use crate::model::{DesiredWorkspace, SourceKey, SourceName, WorkspaceRef};
use crate::report;
use crate::report::humanize::short_commit;
use crate::store::{HistoryFilter, JournalEntry, JournalFilter, JournalRow, RunRecord};
use jiff::tz::TimeZone;
use serde_json::json;
use std::sync::Arc;

pub(super) async fn run(common: &Common, args: &HistoryArgs) -> Result<Exit, CommandError> {
    let selector = Selector::new(&args.selection)?;
    let place = CommandContext::open(common, AccessMode::Read).await?;
    selector.resolve_names(&place.reading);
    let chosen = HistorySelection {
        workspaces: place.reading.desired.open_workspaces().collect(),
        selector: &selector,
    };
    if args.changes {
        let rows = match &place.state {
            Some(state) => {
                let all =
                    JournalFilter { workspace: None, source: None, since: None, limit: usize::MAX >> 1 };
                state.journal(all).await?
            }
            None => Vec::new(),
        };
        let none = chosen
            .none(&place.reading, if rows.is_empty() { "No changes yet." } else { "No change matches." });
        let rows: Vec<JournalRow> = rows
            .into_iter()
            .filter(|row| chosen.has(&row.workspace, &row.entry.source))
            .take(args.limit)
            .collect();
        changes(common, &chosen, &rows, &none);
    } else {
        let runs = match &place.state {
            Some(state) => {
                let all = HistoryFilter { workspace: None, source: None, limit: usize::MAX >> 1 };
                state.history(all).await?
            }
            None => Vec::new(),
        };
        let none =
            chosen.none(&place.reading, if runs.is_empty() { "No syncs yet." } else { "No sync matches." });
        let runs: Vec<RunRecord> =
            runs.into_iter().filter(|run| chosen.has(&run.workspace, &run.name)).take(args.limit).collect();
        syncs(common, &chosen, &runs, &none);
    }
    let exit = place.exit();
    place.close().await;
    Ok(exit)
}

struct HistorySelection<'a> {
    workspaces: Vec<Arc<DesiredWorkspace>>,
    selector: &'a Selector,
}

impl HistorySelection<'_> {
    /// Returns the message for an empty history.
    ///
    /// Mentions a name that matches no declared source, which may be misspelled.
    fn none(&self, reading: &LoadedConfig, message: &str) -> String {
        for workspace in
            self.workspaces.iter().filter(|workspace| self.selector.selects_workspace(workspace.names()))
        {
            for source in &workspace.sources {
                self.selector.source(workspace, &source.key, &source.name);
            }
        }
        let declared = self.selector.require_declared_workspaces(reading).and_then(|()| {
            self.selector.require_matches(reading, "declared source", "it may have been removed")
        });
        declared
            .map_or_else(|failure| format!("{message} Note: {}", failure.message), |()| message.to_owned())
    }

    fn workspace(&self, workspace: &WorkspaceRef) -> Option<&DesiredWorkspace> {
        self.workspaces.iter().map(Arc::as_ref).find(|desired| desired.unit == *workspace)
    }

    fn label(&self, workspace: &WorkspaceRef) -> String {
        self.workspace(workspace)
            .map_or_else(|| workspace.workspace.to_string(), |desired| desired.label().to_owned())
    }

    /// Returns the workspace id as written in the files.
    fn id<'u>(&'u self, workspace: &'u WorkspaceRef) -> &'u str {
        self.workspace(workspace).map_or(&workspace.workspace, DesiredWorkspace::workspace).display_text()
    }

    fn key(&self, workspace: &WorkspaceRef, name: &SourceName) -> String {
        let source = self.workspace(workspace).and_then(|desired| desired.source(name));
        source.map_or_else(|| name.to_string(), |source| source.key.to_string())
    }

    fn has(&self, workspace: &WorkspaceRef, name: &SourceName) -> bool {
        if self.selector.selects_everything() {
            return true;
        }
        let id = workspace.workspace.as_str();
        let names = self.workspace(workspace).map_or([id, id], DesiredWorkspace::names);
        let Ok(key) = SourceKey::parse(&self.key(workspace, name)) else { return false };
        self.selector.selects_workspace(names) && self.selector.source_of(names, &key, name)
    }
}

fn syncs(common: &Common, chosen: &HistorySelection<'_>, runs: &[RunRecord], none: &str) {
    if common.format == Format::Json {
        let runs: Vec<_> = runs
            .iter()
            .map(|run| {
                json!({
                    "workspace": chosen.label(&run.workspace),
                    "workspace_id": chosen.id(&run.workspace),
                    "scope": run.workspace.scope,
                    "source": chosen.key(&run.workspace, &run.name),
                    "name": run.name,
                    "trigger": run.trigger,
                    "firing": run.firing,
                    "started_at": run.started_at,
                    "finished_at": run.finished_at,
                    "records": run.records,
                    "outcome": run.outcome,
                    "message": run.message,
                })
            })
            .collect();
        return output::write_json(&json!({ "format_version": 1, "runs": runs }));
    }
    let rows: Vec<Vec<String>> = runs
        .iter()
        .map(|run| {
            let took = run.finished_at.map(|end| end.duration_since(run.started_at));
            vec![
                format_time(run.started_at),
                format!("{}/{}", chosen.label(&run.workspace), chosen.key(&run.workspace, &run.name)),
                run.trigger.as_str().to_owned(),
                run.outcome.as_str().to_owned(),
                run.records.map(|records| records.to_string()).unwrap_or_default(),
                took.map(|took| format!("{:.1} s", took.as_secs_f64())).unwrap_or_default(),
                run.message.clone().unwrap_or_default(),
            ]
        })
        .collect();
    if rows.is_empty() {
        note!("{none}");
        return;
    }
    let headers = ["STARTED", "SOURCE", "TRIGGER", "OUTCOME", "RECORDS", "TOOK", "MESSAGE"];
    output::print(&report::table(&headers, &rows, &output::row_style(common)));
}

fn changes(common: &Common, chosen: &HistorySelection<'_>, rows: &[JournalRow], none: &str) {
    if common.format == Format::Json {
        let rows: Vec<_> = rows
            .iter()
            .map(|row| {
                let entry = &row.entry;
                json!({
                    "at": entry.at,
                    "pass": entry.pass,
                    "workspace": chosen.label(&row.workspace),
                    "workspace_id": chosen.id(&row.workspace),
                    "scope": row.workspace.scope,
                    "source": entry.key.as_ref().map(ToString::to_string),
                    "name": entry.source,
                    "action": entry.action,
                    "in_place": (entry.action == "replace").then_some(entry.in_place),
                    "source_id": entry.source_id,
                    "reason": entry.reason,
                    "file": entry.file,
                    "line": entry.line,
                    "commit": entry.commit,
                    "outcome": entry.outcome,
                    "message": entry.message,
                })
            })
            .collect();
        return output::write_json(&json!({ "format_version": 1, "changes": rows }));
    }
    let table: Vec<Vec<String>> = rows
        .iter()
        .map(|row| {
            let entry = &row.entry;
            let key = entry.key.as_ref().map_or_else(|| entry.source.to_string(), ToString::to_string);
            vec![
                format_time(entry.at),
                format!("{}/{key}", chosen.label(&row.workspace)),
                entry.word().to_owned(),
                entry.outcome.to_string(),
                format_location(entry),
                entry.message.clone().unwrap_or_else(|| entry.reason.clone()),
            ]
        })
        .collect();
    if table.is_empty() {
        note!("{none}");
        return;
    }
    let headers = ["WHEN", "SOURCE", "ACTION", "OUTCOME", "FROM", "WHY"];
    output::print(&report::table(&headers, &table, &output::row_style(common)));
}

/// Formats the line that caused the change, with the commit.
fn format_location(entry: &JournalEntry) -> String {
    let Some(file) = &entry.file else { return "-".to_owned() };
    let line = entry.line.map(|line| format!(":{line}")).unwrap_or_default();
    let commit = entry.commit.as_deref().map(|commit| format!("@{}", short_commit(commit)));
    format!("{file}{line}{}", commit.unwrap_or_default())
}

/// Formats a local time with seconds, since syncs may be that close together.
fn format_time(at: jiff::Timestamp) -> String {
    at.to_zoned_datetime(TimeZone::system()).strftime("%a %-d %b %H:%M:%S").to_string()
}
