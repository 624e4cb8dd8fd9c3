//! The daemon's event loop: receives events, starts passes and syncs.
//!
//! Invariant: a trigger decides when to run, never the extent of the work; every pass lists the whole unit.
//! The modules `board` (scheduler), `files` and `probes` decide which work is due and use no runtime; `turn`
//! starts the work, and this file waits for events.

mod board;
mod files;
mod probes;
mod publish;
mod signals;
mod systemd;
mod turn;
mod voice;
mod writers;

pub use probes::Tested;
pub use publish::Publisher;
pub use signals::{Signal, Stopping, is_set, listen, stopped};
pub use voice::{After, Voice};

use crate::apply::chain;
use crate::model::Unit;
use crate::plan::{Outcome, UnitPlan};
use crate::reading::{Known, Memory, Reading};
use crate::reconcile::{Clock, Planner, Reconciler};
use crate::settings::Variables;
use crate::state::StateError;
use crate::sync::{Call, Synced, Syncer};
use crate::tree::TreeError;
use crate::watch::{self, Ends, Moment};
use board::Records;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use turn::Turn;

/// Maximum number of events handled per iteration.
const MOST_EVENTS: usize = 64;

/// An event of the loop.
pub enum Event {
    /// The files may have changed.
    Woken,
    /// A signal arrived.
    Signal(Signal),
    /// The files were loaded.
    Read {
        /// Result of loading.
        reading: Box<Result<Reading, TreeError>>,
        /// Extent of the scan.
        look: Look,
        /// Time of the load; later changes are not included.
        moment: Moment,
        /// Writers of the files at that time.
        writers: watch::Writers,
    },
    /// A pass ended.
    PassEnded(Box<PassEnded>),
    /// A sync request ended.
    SyncEnded(Arc<Call>, Result<Vec<Synced>, StateError>),
    /// A regular connection test ended.
    TestEnded(Tested),
    /// Old or excess history was deleted.
    Trimmed(Result<(), StateError>),
}

/// The extent of a file scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Only changed files, if these are known.
    Touched,
    /// Every file; files with a changed timestamp are read.
    Stamps,
    /// Every file is read.
    Whole,
}

/// The end of a pass over one unit.
pub struct PassEnded {
    unit: Unit,
    /// `None` if nothing had changed since the pass before.
    made: Option<Made>,
    took: Duration,
}

/// The work of a pass.
struct Made {
    plan: UnitPlan,
    /// `None` in a dry run.
    outcome: Option<Outcome>,
    again: Option<Duration>,
    records: Option<Records>,
}

/// Everything that the loop needs.
pub struct Daemon {
    /// Root directory of the files.
    pub root: PathBuf,
    /// Sync cookie file; required to accept changes of a closed file at once.
    pub bell: Option<PathBuf>,
    /// Interval of the full check for drift.
    pub interval: Duration,
    /// Quiet time before a removal is accepted.
    pub settle: Duration,
    /// Planner; the only component in a dry run.
    pub planner: Planner,
    /// Writing components; `None` in a dry run.
    pub hands: Option<Hands>,
    /// Files that were loaded before the start.
    pub known: Arc<Known>,
    /// Map from file to declared workspaces, from earlier runs.
    pub memory: Memory,
    /// True if the directory contained files earlier and is empty now.
    pub emptied: bool,
    /// Reporter of events.
    pub voice: Arc<dyn Voice>,
    /// Publisher of status snapshots.
    pub publisher: Publisher,
    /// Source of variables that `wellspring.toml` may refer to.
    pub variables: Variables,
    /// The clock.
    pub clock: Clock,
}

/// Components that write to the platform.
pub struct Hands {
    /// Applies plans.
    pub reconciler: Arc<Reconciler>,
    /// Runs syncs.
    pub syncer: Syncer,
}

impl Daemon {
    /// Runs until a shutdown is requested and the work in progress has ended.
    pub async fn run(self, events: UnboundedSender<Event>, mut inbox: UnboundedReceiver<Event>) {
        let ends = self.watch(events.clone());
        let mut turn = Turn::new(self, ends, events);
        let mut happened = Vec::new();
        loop {
            turn.start_what_is_due().await;
            if turn.is_over() {
                turn.stop().await;
                return;
            }
            let sleep = turn.rest();
            tokio::select! {
                count = inbox.recv_many(&mut happened, MOST_EVENTS) => if count == 0 { return },
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
    fn watch(&self, events: UnboundedSender<Event>) -> Ends {
        let watch = match &self.bell {
            Some(bell) => watch::start_with_bell(&self.root, bell),
            None => watch::start(&self.root),
        };
        match watch {
            Err(error) => {
                self.voice.warn(&format!("{}; changes are found every interval only", chain(&error)));
                Ends::default()
            }
            Ok(mut watch) => {
                let ends = watch.ends();
                tokio::spawn(async move {
                    loop {
                        watch.changed().await;
                        watch.rearm();
                        if events.send(Event::Woken).is_err() {
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
