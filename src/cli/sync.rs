//! `wellspring sync`: syncs sources now and waits for the results.

use super::args::{Common, Format, SyncArgs};
use super::context::{self, AccessMode, CommandContext};
use super::outages::Outages;
use super::progress::Progress;
use super::select::Selector;
use super::{CommandError, Exit, output};
use crate::apply::SourceLocks;
use crate::client::ApiWriter;
use crate::daemon;
use crate::load::LoadedConfig;
use crate::model::{DesiredWorkspace, Inventory};
use crate::report::{escape, humanize};
use crate::schedule::{self, BatchKey, CompiledSchedule, LastClaim, ScheduleInput};
use crate::store::{LastRun, RunOutcome, SkippedRun, Store, Trigger};
use crate::sync::{self, SyncCall, SyncMember, SyncResult, Syncer, UnrecordedResults};
use jiff::Timestamp;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Maximum number of sources in one request.
const MAX_BATCH: usize = 100;

/// Maximum number of running syncs named in the interrupt message.
const MAX_NAMED: usize = 10;

pub(super) async fn run(common: &Common, args: &SyncArgs) -> Result<Exit, CommandError> {
    let selector = Selector::new(&args.selection)?;
    let (events, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let stopping = daemon::listen(events)?;
    let place = CommandContext::open(common, AccessMode::Write).await?;
    let Some(state) = place.state.clone() else {
        return Err(CommandError::usage("no state directory to write to"));
    };
    let syncer = Syncer {
        writer: ApiWriter::new(&place.reader),
        state: state.clone(),
        source_locks: SourceLocks::default(),
        clock: context::clock(),
        unrecorded: UnrecordedResults::default(),
    };
    let progress = Progress::new(common, "syncing", "source");
    let ticking = progress.tick();
    let mut workspaces = Vec::new();
    for task in place.tasks(&selector)? {
        let desired = task.desired.open();
        let calls = calls(&state, &selector, &desired, args).await?;
        workspaces.push((desired, calls));
    }
    if !workspaces.is_empty() && workspaces.iter().all(|(desired, _)| desired.workspace().account().is_some())
    {
        place.close().await;
        return Err(CommandError::usage(
            "an account has no syncs: its platform copies no data, and reads a source when a concept runs",
        ));
    }
    let desired = workspaces.iter().map(|(desired, _)| &**desired);
    if let Err(failure) = require_matches(&selector, desired, &place.reading) {
        place.close().await;
        return Err(failure);
    }
    let (telling, quiet, local) = (progress.clone(), common.quiet(), place.is_local());
    tokio::spawn(async move {
        daemon::wait_for_stop(&mut inbox).await;
        if !quiet {
            telling.print_line(|under_way| stopping_line(under_way, local));
        }
    });
    let asked: usize = workspaces.iter().flat_map(|(_, calls)| calls).map(|call| call.members.len()).sum();
    let mut syncing = JoinSet::new();
    // Requests that wait here are not sent after an interrupt.
    let turns = Arc::new(Semaphore::new(syncer.writer.max_syncs()));
    for (desired, calls) in workspaces {
        let (syncer, progress, human) = (syncer.clone(), progress.clone(), common.format != Format::Json);
        let (turns, stopping) = (Arc::clone(&turns), Arc::clone(&stopping));
        // One request at a time per workspace, all workspaces in parallel.
        syncing.spawn(async move {
            let mut done = Vec::new();
            for call in calls {
                // Fails only for a closed semaphore, and this one is never closed.
                let _turn = turns.acquire().await.ok();
                if daemon::is_stopping(&stopping) {
                    break;
                }
                let label = desired.label();
                let names: Vec<String> =
                    call.members.iter().map(|member| format!("{label}/{}", member.key)).collect();
                progress.begin(names.iter().cloned());
                let synced = syncer.call(&call).await?;
                // The sources of an outage follow together at the end.
                let told = synced.iter().filter(|synced| human && synced.outage.is_none());
                let told = told.map(|synced| line(&desired, synced));
                progress.end(&names, &told.collect::<Vec<_>>());
                done.extend(synced);
            }
            Ok::<_, CommandError>((desired, done))
        });
    }
    let mut results = Vec::new();
    for result in syncing.join_all().await {
        results.push(result?);
    }
    drop(ticking);
    results.sort_by(|a, b| a.0.unit.cmp(&b.0.unit));
    if common.format != Format::Json {
        tell_outages(&results);
    }
    let all: Vec<&SyncResult> = results.iter().flat_map(|(_, synced)| synced).collect();
    let stopped = daemon::is_stopping(&stopping);
    if common.format == Format::Json {
        let not_sent = asked.saturating_sub(all.len());
        output::write_json(&json!({ "format_version": 1, "syncs": json_of(&results), "not_sent": not_sent }));
    } else if all.is_empty() && args.due && !stopped {
        output::print("Nothing is due.");
    } else if asked == 0 && selector.selects_everything() && !stopped {
        output::print(
            "Nothing to sync: every source is suspended or not connected yet (`wellspring apply` connects sources).",
        );
    } else if stopped && asked > all.len() {
        let not_sent = humanize::count(asked - all.len(), "source");
        output::print(&format!("Interrupted: {not_sent} not synced."));
    }
    let failed = all.iter().any(|synced| synced.outcome != RunOutcome::Done);
    if all.is_empty() && !args.due && !selector.selects_everything() && !stopped {
        place.close().await;
        return Err(CommandError::usage(
            "no connected source matches; `wellspring apply` connects declared sources",
        ));
    }
    let recorded = syncer.retry_unrecorded().await;
    let exit = place.exit().or(Exit::Failed.when(failed)).or(Exit::Interrupted.when(stopped));
    place.close().await;
    recorded?;
    Ok(exit)
}

/// Prints the sources that an outage kept from being synced, each outage once.
fn tell_outages(results: &[(Arc<DesiredWorkspace>, Vec<SyncResult>)]) {
    let failed = results.iter().flat_map(|(desired, synced)| synced.iter().map(move |one| (desired, one)));
    let failed: Vec<_> = failed.filter(|(_, synced)| synced.outage.is_some()).collect();
    let outages = Outages::of(failed.iter().filter_map(|(desired, synced)| {
        Some((format!("{}/{}", desired.label(), synced.key), synced.outage.clone()?))
    }));
    let alone = failed.iter().filter(|(_, synced)| !outages.contain(synced.outage.as_deref()));
    for line in outages.lines("not synced").into_iter().chain(alone.map(|(desired, one)| line(desired, one)))
    {
        output::print(&line);
    }
}

/// Returns the message after an interrupt.
///
/// A sync that was sent continues on the platform, except on the local platform, which ends with this
/// process.
fn stopping_line(under_way: &BTreeSet<String>, local: bool) -> String {
    if under_way.is_empty() {
        return "Interrupted: no sync is in progress.".to_owned();
    }
    let named = humanize::first_of(under_way.iter().map(|name| escape::terminal_line(name)), MAX_NAMED);
    let at_once = if local {
        "aborts the sync"
    } else {
        "exits now; the sync continues on the platform and its result is not recorded"
    };
    format!("Interrupted: waiting for {named} to finish. Pressing Ctrl-C again {at_once}.")
}

/// Fails if a pattern matches nothing that can be synced.
fn require_matches<'a>(
    selector: &Selector,
    workspaces: impl Iterator<Item = &'a DesiredWorkspace>,
    reading: &LoadedConfig,
) -> Result<(), CommandError> {
    for workspace in workspaces {
        for source in &workspace.sources {
            if let Some(suspend) = &source.suspend
                && selector.has_unmatched_pattern_for(workspace, &source.key, &source.name)
            {
                let (name, reason) = (format!("{}/{}", workspace.label(), source.key), &suspend.reason);
                return Err(CommandError::usage(&format!(
                    "{name} is suspended ({reason}); remove `suspend` to sync it"
                )));
            }
        }
    }
    selector.require_matches(reading, "connected source", "`wellspring apply` connects declared sources")
}

/// Returns the requests for one workspace.
///
/// Includes managed, declared, selected and active sources; with --due only those that are due.
async fn calls(
    state: &Store,
    selector: &Selector,
    desired: &Arc<DesiredWorkspace>,
    args: &SyncArgs,
) -> Result<Vec<SyncCall>, CommandError> {
    let inventory = state.inventory(&desired.unit).await?;
    let chosen: Vec<usize> = (0..desired.sources.len())
        .filter(|n| {
            let source = &desired.sources[*n];
            inventory.managed.contains_key(&source.name)
                && source.suspend.is_none()
                && selector.source(desired, &source.key, &source.name)
        })
        .collect();
    let now = Timestamp::now();
    let firings: BTreeMap<usize, (Timestamp, Trigger)> = if args.due {
        let runs = state.last_runs(&desired.unit).await?;
        let (firings, spent) = due(desired, &inventory, &runs, &chosen, now);
        for spent in &spent {
            let (workspace, outcome) = (desired.label(), spent.outcome.as_str());
            let text =
                format!("{workspace}/{}: sync of {} {outcome}: {}", spent.name, spent.firing, spent.message);
            note!("{}", escape::terminal_line(&text));
        }
        state.record_skipped(&desired.unit, spent, now).await?;
        firings
    } else {
        chosen.into_iter().map(|n| (n, (now, Trigger::Manual))).collect()
    };
    let terms = firings.keys().map(|n| {
        let source = &desired.sources[*n];
        let timeout = source.sync.as_ref().and_then(|sync| sync.timeout);
        (*n, BatchKey { workspace: &desired.unit, options: &source.sync_options, timeout })
    });
    let calls = schedule::batches(terms, MAX_BATCH)
        .into_iter()
        .map(|batch| {
            let mut options = batch.key.options.clone();
            if args.full {
                options.insert("incremental".to_owned(), false.into());
            }
            let member = |n: usize| {
                let source = &desired.sources[n];
                let (firing, trigger) = firings[&n];
                SyncMember { name: source.name.clone(), key: source.key.clone(), trigger, firing }
            };
            let members = batch.members.into_vec().into_iter().map(member).collect();
            SyncCall { unit: desired.unit.clone(), members, options, timeout: batch.key.timeout }
        })
        .collect();
    Ok(calls)
}

/// Returns the due firings by index, and the firings that will not run.
fn due(
    desired: &DesiredWorkspace,
    inventory: &Inventory,
    runs: &BTreeMap<crate::model::SourceName, LastRun>,
    chosen: &[usize],
    now: Timestamp,
) -> (BTreeMap<usize, (Timestamp, Trigger)>, Vec<SkippedRun>) {
    let timings: Vec<(usize, CompiledSchedule)> = chosen
        .iter()
        .filter_map(|n| {
            let source = &desired.sources[*n];
            Some((*n, CompiledSchedule::compile(&desired.unit, &source.name, source.sync.as_ref()?).ok()?))
        })
        .collect();
    let mut firings = BTreeMap::new();
    let mut scheduled = Vec::new();
    let mut indices = Vec::new();
    for (n, timing) in &timings {
        let source = &desired.sources[*n];
        let Some(spec) = &source.sync else { continue };
        let run = runs.get(&source.name);
        if run.is_none() && spec.on_connect {
            firings.insert(*n, (now, Trigger::Connect));
        }
        let since = inventory.managed.get(&source.name).and_then(|owned| owned.applied.sync_since);
        indices.push(*n);
        scheduled.push(ScheduleInput {
            workspace: &desired.unit,
            name: &source.name,
            spec,
            timing,
            options: &source.sync_options,
            last: run.map(|run| LastClaim {
                firing: run.firing,
                running: run.outcome == RunOutcome::Running,
                ended: run.finished_at,
            }),
            known_since: since.unwrap_or(now),
            suspended: false,
        });
    }
    let decision = schedule::due(now, &scheduled);
    for due in &decision.due {
        firings.insert(indices[due.index], (due.firing, Trigger::Schedule));
    }
    let name = |index: usize| desired.sources[indices[index]].name.clone();
    let spent = sync::skipped_firings(&decision)
        .map(|(index, firing, outcome, message)| SkippedRun { name: name(index), firing, outcome, message })
        .collect();
    (firings, spent)
}

/// Formats a result, such as `✓ sales/orders_db synced: 1,204 records`.
pub(super) fn line(desired: &DesiredWorkspace, synced: &SyncResult) -> String {
    let name = escape::terminal_line(&format!("{}/{}", desired.label(), synced.key));
    let message = synced.message.as_deref().map(escape::terminal_line).unwrap_or_default();
    let note = if message.is_empty() { String::new() } else { format!("; {message}") };
    match (synced.outcome, synced.records) {
        (RunOutcome::Done, Some(records)) => {
            let records = humanize::count(usize::try_from(records).unwrap_or(usize::MAX), "record");
            format!("✓ {name} synced: {records}{note}")
        }
        (RunOutcome::Done, None) => format!("✓ {name} synced{note}"),
        (RunOutcome::Unknown, _) => format!("? {name} sync: result unknown: {message}"),
        _ => format!("✗ {name} sync failed: {message}"),
    }
}

fn json_of(results: &[(Arc<DesiredWorkspace>, Vec<SyncResult>)]) -> Vec<serde_json::Value> {
    results
        .iter()
        .flat_map(|(desired, synced)| {
            synced.iter().map(move |synced| {
                json!({
                    "workspace": desired.label(),
                    "workspace_id": desired.unit.workspace.display_text(),
                    "scope": desired.unit.scope,
                    "source": synced.key,
                    "name": synced.name,
                    "outcome": synced.outcome,
                    "records": synced.records,
                    "message": synced.message,
                })
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::stopping_line;
    use std::collections::BTreeSet;

    #[test]
    fn a_stop_tells_what_goes_on_and_where_nothing_does() {
        let names = |count: usize| (0..count).map(|n| format!("ws/s{n:02}")).collect::<BTreeSet<_>>();
        assert!(stopping_line(&names(1), false).contains("waiting for ws/s00 to finish"));
        assert!(stopping_line(&names(1), false).contains("continues on the platform"));
        assert!(stopping_line(&names(1), true).ends_with("Pressing Ctrl-C again aborts the sync."));
        assert!(stopping_line(&names(12), false).contains("ws/s09 and 2 more to finish"));
        assert!(!stopping_line(&names(0), false).contains("waiting"));
    }
}
