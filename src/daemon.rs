//! The daemon's event loop: receives events, starts passes and syncs.
//!
//! Invariant: a trigger decides when to run, never the extent of the work; every pass lists the whole
//! workspace. The modules `scheduler`, `settle` and `connection_tests` decide which work is due and use no
//! runtime; `event_loop` starts the work, and this file waits for events.

mod connection_tests;
mod event_loop;
mod publish;
mod reporter;
mod scheduler;
mod service_manager;
mod settle;
mod signals;
mod writers;

pub use connection_tests::TestEnded;
pub use publish::Publisher;
pub use reporter::{NextAttempt, Reporter};
pub use signals::{Signal, Stopping, is_stopping, listen, wait_for_stop};

use crate::error::error_chain;
use crate::load::{FileIndex, LoadCache, LoadedConfig};
use crate::model::WorkspaceRef;
use crate::plan::{ApplyOutcome, WorkspacePlan};
use crate::reconcile::{Clock, Planner, Reconciler};
use crate::settings::Variables;
use crate::store::StoreError;
use crate::sync::{SyncCall, SyncResult, Syncer};
use crate::tree::{Checkout, TreeError};
use crate::watch::{self, ChangeTracker, EventSeq};
use event_loop::EventLoop;
use jiff::{SignedDuration, Timestamp};
use scheduler::PassRecords;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};

/// Maximum number of events handled per iteration.
const MAX_EVENTS_PER_TURN: usize = 64;

pub enum Event {
    FilesChanged,
    Signal(Signal),
    FilesLoaded {
        reading: Box<Result<LoadedConfig, TreeError>>,
        scope: ScanScope,
        /// Time of the load; later changes are not included.
        as_of: EventSeq,
        writers: watch::OpenWriters,
    },
    /// Git compared the files of a checkout with its commit.
    CommitDescribed(Arc<Checkout>, Option<Arc<str>>),
    PassEnded(Box<PassEnded>),
    SyncEnded(Arc<SyncCall>, Result<Vec<SyncResult>, StoreError>),
    TestEnded(TestEnded),
    /// Old or excess history was deleted.
    Trimmed(Result<(), StoreError>),
}

/// The extent of a file scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ScanScope {
    /// Only changed files, if these are known.
    ChangedPaths,
    /// Every file; files with a changed timestamp are read.
    ByStat,
    Full,
}

/// The end of a pass over one workspace.
pub struct PassEnded {
    workspace: WorkspaceRef,
    /// `None` if nothing had changed since the pass before.
    report: Option<PassReport>,
    took: Duration,
}

struct PassReport {
    plan: WorkspacePlan,
    outcome: Option<ApplyOutcome>,
    retry_after: Option<Duration>,
    records: Option<PassRecords>,
}

/// Adds a duration to a time, up to the last time that can be represented.
fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

/// Everything that the loop needs.
pub struct Daemon {
    pub root: PathBuf,
    /// Sync cookie file; required to accept changes of a closed file at once.
    pub cookie_path: Option<PathBuf>,
    /// Interval of the full check for drift.
    pub interval: Duration,
    /// Quiet time before a removal is accepted.
    pub quiet_period: Duration,
    /// Planner; the only component in a dry run.
    pub planner: Planner,
    /// Writing components; `None` in a dry run.
    pub write_access: Option<Writers>,
    /// Files that were loaded before the start.
    pub cache: Arc<LoadCache>,
    /// Map from file to declared workspaces, from earlier runs.
    pub file_index: FileIndex,
    /// True if the directory contained files earlier and is empty now.
    pub is_emptied: bool,
    pub reporter: Arc<dyn Reporter>,
    pub publisher: Publisher,
    /// Source of variables that `wellspring.toml` may refer to.
    pub variables: Variables,
    pub clock: Clock,
}

/// Components that write to the platform.
pub struct Writers {
    pub reconciler: Arc<Reconciler>,
    pub syncer: Syncer,
}

impl Daemon {
    /// Runs until a shutdown is requested and the work in progress has ended.
    pub async fn run(self, events: UnboundedSender<Event>, mut inbox: UnboundedReceiver<Event>) {
        let ends = self.watch(events.clone());
        let mut turn = EventLoop::new(self, ends, events);
        let mut happened = Vec::new();
        loop {
            turn.start_due_work().await;
            if turn.is_finished() {
                turn.shut_down().await;
                return;
            }
            let sleep = turn.prepare_sleep();
            tokio::select! {
                count = inbox.recv_many(&mut happened, MAX_EVENTS_PER_TURN) => if count == 0 { return },
                () = tokio::time::sleep(sleep) => {}
            }
            for event in happened.drain(..) {
                turn.handle(event).await;
            }
        }
    }

    /// Starts the file watcher, which wakes the loop when files may have changed.
    ///
    /// If the directory cannot be watched, the regular scan still finds every change.
    fn watch(&self, events: UnboundedSender<Event>) -> ChangeTracker {
        let watch = match &self.cookie_path {
            Some(cookie) => watch::start_with_cookie(&self.root, cookie),
            None => watch::start(&self.root),
        };
        match watch {
            Err(error) => {
                self.reporter
                    .warning(&format!("{}; changes are only found at each interval", error_chain(&error)));
                ChangeTracker::default()
            }
            Ok(mut watch) => {
                let ends = watch.change_tracker();
                tokio::spawn(async move {
                    loop {
                        watch.changed().await;
                        watch.rewatch();
                        if events.send(Event::FilesChanged).is_err() {
                            return;
                        }
                    }
                });
                ends
            }
        }
    }
}

#[cfg(test)]
mod tests;
