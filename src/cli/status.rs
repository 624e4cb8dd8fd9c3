//! `wellspring status`: state of each source, from files and store; offline.
//!
//! Contacts nothing and creates nothing.

use super::args::{Common, Format, StatusArgs, is_dumb};
use super::select::Selector;
use super::{CommandError, Exit, context, output};
use crate::load::LoadedConfig;
use crate::model::{
    ActionOutcome, DesiredSource, DesiredWorkspace, Inventory, ManagedSource, SourceName, WorkspaceRef,
};
use crate::report::{
    self, Keeper, LastSync, SourceState as Stands, SourceStatus, StatusRecord, StatusTotals, TimeContext,
};
use crate::schedule::{self, CompiledSchedule, LastClaim, ScheduleInput};
use crate::settings::Settings;
use crate::store::{HistoryFilter, JournalFilter, LastRun, QuarantineEntry, RunOutcome, Store};
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

const REFRESH_INTERVAL: Duration = Duration::from_secs(2);

/// Clears the screen and moves the cursor to the top left.
const CLEAR: &str = "\x1b[H\x1b[2J";

pub(super) async fn run(common: &Common, args: &StatusArgs) -> Result<Exit, CommandError> {
    let selector = Selector::new(&args.selection)?;
    if !args.watch {
        return show(common, args, &selector).await;
    }
    loop {
        if std::io::stdout().is_terminal() && !is_dumb() {
            output::print(CLEAR);
        }
        show(common, args, &selector).await?;
        tokio::time::sleep(REFRESH_INTERVAL).await;
    }
}

async fn show(common: &Common, args: &StatusArgs, selector: &Selector) -> Result<Exit, CommandError> {
    let settings = context::resolve(common)?;
    settings.check_state_dir().map_err(|error| CommandError::invalid(&error))?;
    let reading = context::read(&settings)?;
    context::print_diagnostics(common, &reading);
    let platform = context::platform(&settings, &reading)?;
    context::reject_foreign_state(&settings)?;
    let state = Store::open_read_only(&settings.state_dir, &context::key(&platform)).transpose();
    let state = state.transpose()?;
    let here = output::here();
    selector.resolve_names(&reading);
    let mut standings = Vec::new();
    for workspace in
        reading.desired.open_workspaces().filter(|workspace| selector.selects_workspace(workspace.names()))
    {
        let known = KnownState::of(&workspace.unit, state.as_ref()).await?;
        standings.extend(known.source_statuses(&workspace, selector, here));
    }
    for (workspace, file) in blocked_workspaces(&reading, &settings, state.as_ref()).await? {
        let known = KnownState::of(&workspace, state.as_ref()).await?;
        standings.extend(known.blocked_statuses(&workspace, &file, selector));
    }
    if !reading.has_errors() {
        selector.require_declared_workspaces(&reading)?;
        selector.require_matches(&reading, "source", "`wellspring show` lists those that are declared")?;
    }
    if standings.is_empty() && !selector.selects_everything() && !reading.has_errors() {
        return Err(CommandError::usage(
            "no source matches; `wellspring show` lists those that are declared",
        ));
    }
    let keeper = state.as_ref().and_then(Store::running_daemon).map(|(holder, since)| Keeper {
        pid: holder.strip_prefix("pid ").and_then(|rest| rest.split(' ').next()?.parse().ok()),
        holder,
        since,
    });
    let tally = StatusTotals::of(&standings);
    if common.format == Format::Json {
        output::write_json(&json!({
            "format_version": 1, "at": here.now, "daemon": keeper, "summary": tally, "sources": standings,
        }));
    } else {
        output::print(&report::status(&standings, keeper.as_ref(), here.now, &output::row_style(common)));
    }
    let exit = Exit::Invalid.when(reading.has_errors());
    if !args.exit_code {
        return Ok(exit);
    }
    let failed = Exit::Failed.when(tally.failing + tally.stale + tally.unknown > 0);
    Ok(exit.or(failed).or(Exit::Changes.when(tally.pending > 0)))
}

/// Returns the workspaces that only a broken file declares, with the file.
async fn blocked_workspaces(
    reading: &LoadedConfig,
    settings: &Settings,
    state: Option<&Store>,
) -> Result<Vec<(WorkspaceRef, Arc<str>)>, CommandError> {
    let memory = match state {
        Some(state) if reading.has_errors() => state.files(&context::root(settings)).await?,
        _ => return Ok(Vec::new()),
    };
    let is_read =
        |workspace: &WorkspaceRef| reading.desired.workspaces.iter().any(|read| read.unit == *workspace);
    Ok(reading.work_set(&memory).blocked.into_iter().filter(|(workspace, _)| !is_read(workspace)).collect())
}

/// Contents of the store about a workspace.
#[derive(Default)]
struct KnownState {
    /// True if there is no state.
    is_store_missing: bool,
    inventory: Inventory,
    runs: BTreeMap<SourceName, LastRun>,
    quarantined: BTreeMap<SourceName, QuarantineEntry>,
    failed_syncs: BTreeMap<SourceName, String>,
    failed_changes: BTreeMap<SourceName, String>,
}

impl KnownState {
    async fn of(workspace: &WorkspaceRef, state: Option<&Store>) -> Result<Self, CommandError> {
        /// Maximum number of recent changes of a workspace to read.
        const MAX_CHANGES: usize = 2_000;
        let Some(state) = state else { return Ok(Self { is_store_missing: true, ..Self::default() }) };
        let runs = state.last_runs(workspace).await?;
        let mut failed_syncs = BTreeMap::new();
        for (name, run) in runs.iter().filter(|(_, run)| run.outcome.is_failure()) {
            let filter =
                HistoryFilter { workspace: Some(workspace.clone()), source: Some(name.clone()), limit: 5 };
            let same = state.history(filter).await?.into_iter().find(|of| of.started_at == run.started_at);
            let why = same.and_then(|run| run.message).unwrap_or_else(|| "reason unknown".to_owned());
            failed_syncs.insert(name.clone(), format!("sync {}: {why}", run.outcome.as_str()));
        }
        let filter = JournalFilter {
            workspace: Some(workspace.clone()),
            source: None,
            since: None,
            limit: MAX_CHANGES,
        };
        let mut changes = BTreeMap::new();
        for row in state.journal(filter).await? {
            changes.entry(row.entry.source.clone()).or_insert(row.entry);
        }
        let failed_changes = changes.into_iter().filter(|(_, entry)| entry.outcome != ActionOutcome::Done);
        Ok(Self {
            is_store_missing: false,
            inventory: state.inventory(workspace).await?,
            runs,
            quarantined: state.quarantined(workspace).await?,
            failed_syncs,
            failed_changes: failed_changes
                .map(|(name, entry)| {
                    let why = entry.message.as_ref().unwrap_or(&entry.reason);
                    (name, format!("{} {}: {why}", entry.word(), entry.outcome))
                })
                .collect(),
        })
    }

    fn source_statuses(
        &self,
        desired: &DesiredWorkspace,
        selector: &Selector,
        here: TimeContext<'_>,
    ) -> Vec<SourceStatus> {
        let (label, workspace) = (desired.label(), &desired.unit);
        let declared = desired.sources.iter().map(|source| {
            let owned = self.inventory.managed.get(&source.name);
            let quarantined = self.quarantined.contains_key(&source.name);
            let state = if self.is_store_missing {
                Stands::Unknown
            } else {
                report::state_of(Some(source), owned.map(|owned| &**owned), quarantined)
            };
            let record = self.record(&source.name, state);
            let due = self.is_due(desired, source, &record, here.now);
            SourceStatus::of_declared(label, workspace, source, state, StatusRecord { due, ..record }, here)
        });
        let is_declared = |name: &SourceName| desired.sources.iter().any(|source| source.name == *name);
        let undeclared =
            self.inventory.managed.iter().filter(|(name, _)| !is_declared(name)).map(|(name, owned)| {
                let state = report::state_of(None, Some(owned), self.quarantined.contains_key(name));
                SourceStatus::of_undeclared(
                    label,
                    workspace,
                    &owned.key,
                    name,
                    state,
                    self.record(name, state),
                )
            });
        let chosen = |standing: &SourceStatus| selector.source(desired, &standing.source, &standing.name);
        declared.chain(undeclared).filter(chosen).collect()
    }

    /// Returns the sources of a workspace in a broken file; their declared state is unknown.
    fn blocked_statuses(
        &self,
        workspace: &WorkspaceRef,
        file: &str,
        selector: &Selector,
    ) -> Vec<SourceStatus> {
        let label = workspace.to_string();
        if !selector.selects_workspace([&label, workspace.workspace.as_str()]) {
            return Vec::new();
        }
        let standing = |(name, owned): (&SourceName, &Arc<ManagedSource>)| {
            let mut record = self.record(name, Stands::Unknown);
            record.reason.get_or_insert_with(|| format!("{file} has errors, so its sources are unknown"));
            SourceStatus::of_undeclared(&label, workspace, &owned.key, name, Stands::Unknown, record)
        };
        self.inventory.managed.iter().map(standing).collect()
    }

    fn record(&self, name: &SourceName, state: Stands) -> StatusRecord {
        let (last, last_success) = self.last(name);
        let change = match state {
            Stands::Changed | Stands::NotConnected | Stands::Undeclared => self.failed_changes.get(name),
            Stands::Connected | Stands::Quarantined | Stands::Unknown => None,
        };
        let quarantined = self.quarantined.get(name).map(|quarantined| &quarantined.reason);
        let lost = "there is no state here, so the sources on the platform are unknown".to_owned();
        let lost = self.is_store_missing.then_some(&lost);
        let unidentified = self.inventory.managed.get(name).is_some_and(|owned| owned.unidentified);
        let reason = quarantined.or(change).or_else(|| self.failed_syncs.get(name)).or(lost);
        StatusRecord {
            known_since: self.inventory.managed.get(name).and_then(|owned| owned.applied.sync_since),
            last,
            last_success,
            due: false,
            reason: reason.cloned(),
            change_failed: change.is_some(),
            unidentified,
        }
    }

    /// Returns true if the daemon, or `sync --due`, would sync the source now.
    fn is_due(
        &self,
        desired: &DesiredWorkspace,
        source: &DesiredSource,
        record: &StatusRecord,
        now: Timestamp,
    ) -> bool {
        let ours = self.inventory.managed.contains_key(&source.name);
        let Some(spec) = &source.sync else { return false };
        if !ours || source.suspend.is_some() {
            return false;
        }
        let run = self.runs.get(&source.name);
        if run.is_none() && spec.on_connect {
            return true;
        }
        let Ok(timing) = CompiledSchedule::compile(&desired.unit, &source.name, spec) else { return false };
        let scheduled = ScheduleInput {
            workspace: &desired.unit,
            name: &source.name,
            spec,
            timing: &timing,
            options: &source.sync_options,
            last: run.map(|run| LastClaim {
                firing: run.firing,
                running: run.outcome == RunOutcome::Running,
                ended: run.finished_at,
            }),
            known_since: record.known_since.unwrap_or(now),
            suspended: false,
        };
        !schedule::due(now, &[scheduled]).due.is_empty()
    }

    /// Returns the last sync, if any was sent, and the end of the last successful one.
    fn last(&self, name: &SourceName) -> (Option<LastSync>, Option<Timestamp>) {
        let Some(run) = self.runs.get(name) else { return (None, None) };
        let sent = !matches!(run.outcome, RunOutcome::Skipped | RunOutcome::Rewound);
        if !sent {
            return (None, run.last_success);
        }
        let last = LastSync {
            started_at: run.started_at,
            finished_at: run.finished_at,
            outcome: run.outcome,
            records: run.records,
        };
        (Some(last), run.last_success)
    }
}
