//! Starts due syncs, records firings that will not run, and reports stale data.

use super::{EventLoop, TRIM_INTERVAL};
use crate::daemon::{Event, later};
use crate::report::humanize;
use crate::store::{Retention, RunOutcome, StoreError};
use crate::sync::{SyncCall, SyncResult};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const HISTORY_RETENTION: Retention =
    Retention { runs_per_source: 500, age: Duration::from_secs(400 * 24 * 60 * 60), journal_rows: 1_000_000 };

impl EventLoop {
    /// Sends due syncs and records firings that will not run.
    pub(super) async fn start_syncs(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Some(hands) = &self.daemon.write_access else { return Ok(()) };
        if now >= self.trim_at {
            self.trim_at = later(now, TRIM_INTERVAL);
            let state = hands.reconciler.state.clone();
            let work = async move { Event::Trimmed(state.prune_history(now, HISTORY_RETENTION).await) };
            self.spawn(tokio::spawn(work), || Event::Trimmed(Err(StoreError::Stopped)));
        }
        for call in self.scheduler.take_due_syncs(now) {
            self.daemon.reporter.sync_started(&call);
            self.daemon.publisher.sync_started(&call, now);
            self.daemon.publisher.scheduled(&call.unit, &self.scheduler, now);
            let (syncer, call) = (hands.syncer.clone(), Arc::new(call));
            let (after, same) = (syncer.clone(), Arc::clone(&call));
            let work = async move {
                let ended = syncer.call(&call).await;
                Event::SyncEnded(call, ended)
            };
            self.spawn(tokio::spawn(work), move || {
                let ended = after.panicked_results(&same);
                Event::SyncEnded(same, Ok(ended))
            });
        }
        self.record_skipped_runs(now).await
    }

    /// Handles the end of a request, with the result of each source.
    pub(super) async fn on_sync_ended(&mut self, call: &SyncCall, synced: &[SyncResult], now: Timestamp) {
        self.scheduler.finish_sync(call, now);
        if self.store_retry_at.take().is_some() {
            self.daemon.reporter.info("the state can be written again");
        }
        if let Err(error) = self.record_skipped_runs(now).await {
            self.on_store_error(&error, now);
        }
        let good = synced.iter().filter(|synced| synced.outcome == RunOutcome::Done);
        self.scheduler.mark_fresh(&call.unit, good.map(|synced| &synced.name), now);
        if let Some(trouble) = synced.iter().find_map(|synced| synced.unauthorized.clone()) {
            self.pause(trouble, now);
        }
        let desired = self.scheduler.task(&call.unit).map(|task| task.desired.open());
        self.daemon.publisher.synced(&call.unit, synced);
        self.daemon.reporter.sync_ended(desired.as_deref(), synced);
        self.report_next(now);
    }

    /// Reports each source once when its data becomes stale and once when it is fresh.
    pub(super) fn report_stale(&mut self, now: Timestamp) {
        for turned in self.scheduler.freshness_changes(now) {
            let name = format!("{}/{}", turned.desired.label(), turned.key);
            self.daemon.publisher.freshness_changed(&turned.desired.unit, &turned.name, turned.stale);
            if !turned.stale {
                let text = if turned.synced {
                    "its data is fresh again"
                } else {
                    "its data is no longer stale by the schedule in the files"
                };
                self.daemon.reporter.info(&format!("{name}: {text}"));
                continue;
            }
            let last = match turned.last_success {
                Some(at) => format!("its last good sync ended {}", humanize::ago(at, now)),
                None => "it has never synced".to_owned(),
            };
            self.daemon.reporter.warning(&format!("{name}: its data is stale: {last}"));
        }
    }

    /// Records the firings that will not run, then reports them.
    async fn record_skipped_runs(&mut self, now: Timestamp) -> Result<(), StoreError> {
        let Some(hands) = &self.daemon.write_access else { return Ok(()) };
        // Concurrent, so that they share one commit to disk.
        let mut writes = JoinSet::new();
        for (desired, spent) in self.scheduler.take_skipped() {
            let state = hands.reconciler.state.clone();
            writes.spawn(async move {
                let written = state.record_skipped(&desired.unit, spent.clone(), now).await;
                (desired, spent, written)
            });
        }
        let mut failed = None;
        for (desired, spent, written) in writes.join_all().await {
            if let Err(error) = written {
                self.scheduler.restore_skipped(desired, spent);
                failed = Some(error);
                continue;
            }
            for spent in spent {
                let key = desired.source(&spent.name);
                let key = key.map_or_else(|| spent.name.to_string(), |source| source.key.to_string());
                self.daemon.publisher.firing_skipped(spent.outcome);
                let (word, why) = (spent.outcome.as_str(), spent.message);
                self.daemon.reporter.warning(&format!(
                    "{}/{key}: sync of {} {word}: {why}",
                    desired.label(),
                    spent.firing
                ));
            }
        }
        failed.map_or(Ok(()), Err)
    }
}
