//! Starts due syncs, records firings that will not run, and reports stale data.

use super::{TRIM_EVERY, Turn, later};
use crate::daemon::board::Board;
use crate::daemon::{Event, Hands, Publisher, Voice};
use crate::render::words;
use crate::state::{Retention, RunOutcome, StateError};
use crate::sync::{Call, Synced};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Retention of history.
const KEEP: Retention =
    Retention { runs_per_source: 500, age: Duration::from_secs(400 * 24 * 60 * 60), journal_rows: 1_000_000 };

impl Turn {
    /// Sends due syncs and records firings that will not run.
    pub(super) async fn start_syncs(&mut self, now: Timestamp) -> Result<(), StateError> {
        let Some(hands) = &self.daemon.hands else { return Ok(()) };
        if now >= self.trim_at {
            self.trim_at = later(now, TRIM_EVERY);
            let state = hands.reconciler.state.clone();
            let work = async move { Event::Trimmed(state.prune_history(now, KEEP).await) };
            self.beside(tokio::spawn(work), || Event::Trimmed(Err(StateError::Stopped)));
        }
        for call in self.board.syncs_due(now) {
            self.daemon.voice.sync_started(&call);
            self.daemon.publisher.sync_started(&call, now);
            self.daemon.publisher.scheduled(&call.unit, &self.board, now);
            let (syncer, call) = (hands.syncer.clone(), Arc::new(call));
            let (after, same) = (syncer.clone(), Arc::clone(&call));
            let work = async move {
                let ended = syncer.call(&call).await;
                Event::SyncEnded(call, ended)
            };
            self.beside(tokio::spawn(work), move || {
                let ended = after.broke_off(&same);
                Event::SyncEnded(same, Ok(ended))
            });
        }
        let told = (&*self.daemon.voice, &mut self.daemon.publisher);
        record_spent(&mut self.board, hands, told, now).await
    }

    /// Handles the end of a request, with the result of each source.
    pub(super) async fn synced(&mut self, call: &Call, synced: &[Synced], now: Timestamp) {
        self.board.sync_ended(call, now);
        if self.state_again.take().is_some() {
            self.daemon.voice.note("the state can be written again");
        }
        let told = (&*self.daemon.voice, &mut self.daemon.publisher);
        if let Some(hands) = &self.daemon.hands
            && let Err(error) = record_spent(&mut self.board, hands, told, now).await
        {
            self.state_failed(&error, now);
        }
        let good = synced.iter().filter(|synced| synced.outcome == RunOutcome::Done);
        self.board.refreshed(&call.unit, good.map(|synced| &synced.name), now);
        if let Some(trouble) = synced.iter().find_map(|synced| synced.unauthorized.clone()) {
            self.pause(trouble, now);
        }
        let desired = self.board.task(&call.unit).map(|task| task.desired.open());
        self.daemon.publisher.synced(&call.unit, synced);
        self.daemon.voice.synced(desired.as_deref(), synced);
        self.tell_next(now);
    }

    /// Reports each source once when its data becomes stale and once when it is fresh.
    pub(super) fn tell_stale(&mut self, now: Timestamp) {
        for turned in self.board.turned(now) {
            let name = format!("{}/{}", turned.unit.label(), turned.key);
            self.daemon.publisher.turned(&turned.unit.unit, &turned.name, turned.stale);
            if !turned.stale {
                let text = match turned.synced {
                    true => "its data is fresh again",
                    false => "its data no longer counts as stale, by what the files say now",
                };
                self.daemon.voice.note(&format!("{name}: {text}"));
                continue;
            }
            let last = match turned.last_success {
                Some(at) => format!("its last good sync ended {}", words::ago(at, now)),
                None => "it has never synced".to_owned(),
            };
            self.daemon.voice.warn(&format!("{name}: its data is stale: {last}"));
        }
    }
}

/// Records the firings that will not run, then reports them.
async fn record_spent(
    board: &mut Board,
    hands: &Hands,
    (voice, publisher): (&dyn Voice, &mut Publisher),
    now: Timestamp,
) -> Result<(), StateError> {
    // Concurrent, so that they share one commit to disk.
    let mut writes = JoinSet::new();
    for (unit, spent) in board.take_spent() {
        let state = hands.reconciler.state.clone();
        writes.spawn(async move {
            let written = state.spend(&unit.unit, spent.clone(), now).await;
            (unit, spent, written)
        });
    }
    let mut failed = None;
    for (unit, spent, written) in writes.join_all().await {
        if let Err(error) = written {
            board.put_back_spent(unit, spent);
            failed = Some(error);
            continue;
        }
        for spent in spent {
            let key = unit.source(&spent.name);
            let key = key.map_or_else(|| spent.name.to_string(), |source| source.key.to_string());
            publisher.spent(spent.outcome);
            let (word, why) = (spent.outcome.as_str(), spent.message);
            voice.warn(&format!("{}/{key}: sync of {} {word}: {why}", unit.label(), spent.firing));
        }
    }
    failed.map_or(Ok(()), Err)
}
