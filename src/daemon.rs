//! The one loop: events in, passes and syncs out.
//!
//! A trigger says when, never what: every pass looks at the whole unit anew. What is due is decided
//! by `board`, `files` and `probes`, which know no runtime; `turn` starts it, and this file waits.

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

/// So many events are acted on in one turn, if they are there.
const MOST_EVENTS: usize = 64;

/// What the loop is told.
pub enum Event {
    /// The tree may have changed.
    Woken,
    /// A signal came.
    Signal(Signal),
    /// The tree was read.
    Read {
        /// What it said.
        reading: Box<Result<Reading, TreeError>>,
        /// How much of it was looked at.
        look: Look,
        /// From when on nothing that happened is in it.
        moment: Moment,
        /// How far the writers of the files were.
        writers: watch::Writers,
    },
    /// A pass ended.
    PassEnded(Box<PassEnded>),
    /// A sync call ended.
    SyncEnded(Arc<Call>, Result<Vec<Synced>, StateError>),
    /// A regular connection test ended.
    TestEnded(Tested),
    /// What was too old, or too much, is dropped from the history.
    Trimmed(Result<(), StateError>),
}

/// How much of the tree is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// Only the files that something happened to, where that is known.
    Touched,
    /// Every file; opened are those whose times moved.
    Stamps,
    /// Every file is opened.
    Whole,
}

/// How a pass over one unit ended.
pub struct PassEnded {
    unit: Unit,
    /// `None` where nothing had moved since the pass before.
    made: Option<Made>,
    took: Duration,
}

/// What a pass did.
struct Made {
    plan: UnitPlan,
    /// `None` in a dry run.
    outcome: Option<Outcome>,
    again: Option<Duration>,
    records: Option<Records>,
}

/// What the loop needs.
pub struct Daemon {
    /// The tree.
    pub root: PathBuf,
    /// A file for the watch alone, if what a finished file adds is to count at once.
    pub bell: Option<PathBuf>,
    /// Full re-check for drift.
    pub interval: Duration,
    /// Quiet time before a removal is acted on.
    pub settle: Duration,
    /// Makes plans; in a dry run it is all there is.
    pub planner: Planner,
    /// Carries them out, and syncs; `None` in a dry run.
    pub hands: Option<Hands>,
    /// What was read already.
    pub known: Arc<Known>,
    /// Which file declares which workspace, from earlier runs.
    pub memory: Memory,
    /// The tree held files before, and holds none now.
    pub emptied: bool,
    /// Who tells of it.
    pub voice: Arc<dyn Voice>,
    /// Publishes how everything stands.
    pub publisher: Publisher,
    /// Looks up the variables that `wellspring.toml` may refer to.
    pub variables: Variables,
    /// The clock.
    pub clock: Clock,
}

/// What a daemon that may write writes with.
pub struct Hands {
    /// Applies.
    pub reconciler: Arc<Reconciler>,
    /// Syncs.
    pub syncer: Syncer,
}

impl Daemon {
    /// Runs until a stop is asked for, and until what was under way then has ended.
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

    /// Wakes the loop when the tree may have changed. Where it cannot be watched, the regular look
    /// still finds every change.
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
