//! One iteration of the event loop: due work, events, status.

mod passes;
mod probes;
mod readings;
mod standing;
mod syncs;

use super::board::Board;
use super::files::Files;
use super::probes::Probes;
use super::systemd::Systemd;
use super::writers::Writers;
use super::{Daemon, Event, Signal};
use crate::apply::chain;
use crate::reading::{Known, Memory};
use crate::remote::TokenTrouble;
use crate::state::StateError;
use crate::tree::TreeError;
use crate::watch::{Ends, Moment};
use jiff::{SignedDuration, Timestamp};
use passes::SharedVersion;
use readings::Accepted;
pub(super) use standing::Standing;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

/// Interval of trimming the run history.
const TRIM_EVERY: SignedDuration = SignedDuration::from_hours(6);

/// Number of next firings that are reported.
const FORETOLD: usize = 3;

/// Retry delay after a failed write to the state.
const STATE_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// State of the event loop; each submodule implements one kind of work.
pub(super) struct Turn {
    daemon: Daemon,
    files: Files,
    writers: Writers,
    board: Board,
    probes: Probes,
    accepted: Option<Accepted>,
    memory: Memory,
    /// Memory as last saved in the state.
    remembered: Memory,
    ends: Ends,
    /// Time of the next regular scan; like a requested scan, it reads every file.
    look_every: Timestamp,
    look_whole: bool,
    trim_at: Timestamp,
    reading_under_way: bool,
    /// Parsed files for the next load, and the time from which changes are missing.
    known: Arc<Known>,
    known_at: Option<Moment>,
    version: SharedVersion,
    /// True if the files name a platform other than the one in use.
    elsewhere: bool,
    stopping: bool,
    /// True if the files changed and the next syncs were not reported since.
    foretell: bool,
    /// Reason why all work on the platform is paused, if it is.
    token: Option<TokenTrouble>,
    /// Reason why no connection to the platform can be opened, if so.
    unreachable: Option<String>,
    /// Time of the next attempt after a failed write to the state.
    ///
    /// Work that must be recorded first does not start before.
    state_again: Option<Timestamp>,
    /// Time of the last check for due work.
    seen: Timestamp,
    systemd: Systemd,
    events: UnboundedSender<Event>,
}

impl Turn {
    /// Creates the initial state, in which everything is due.
    pub(super) fn new(daemon: Daemon, ends: Ends, events: UnboundedSender<Event>) -> Self {
        let now = (daemon.clock)();
        let most_syncs = daemon.hands.as_ref().map_or(1, |hands| hands.syncer.writer.most_syncs());
        Self {
            files: Files::new(duration(daemon.settle), now),
            writers: Writers::default(),
            board: Board::new(most_syncs),
            probes: Probes::default(),
            accepted: None,
            ends,
            look_whole: false,
            memory: daemon.memory.clone(),
            remembered: daemon.memory.clone(),
            look_every: later(now, duration(daemon.interval)),
            trim_at: now,
            reading_under_way: false,
            known: Arc::clone(&daemon.known),
            known_at: None,
            version: SharedVersion::new(),
            elsewhere: false,
            stopping: false,
            foretell: false,
            token: None,
            unreachable: None,
            state_again: None,
            seen: now,
            systemd: Systemd::new(),
            daemon,
            events,
        }
    }

    /// Starts all due work in the background.
    pub(super) async fn start_what_is_due(&mut self) {
        if self.stopping {
            return;
        }
        let now = self.now();
        if now < self.seen {
            self.clock_set_back(now);
        }
        self.seen = now;
        if now >= self.look_every {
            self.look_every = later(now, duration(self.daemon.interval));
            self.look_whole = true;
            self.files.look_now(now);
        }
        self.look_where_it_is_due(now);
        self.report_writers(now);
        if self.elsewhere {
            return;
        }
        let tasks = self.board.passes_due(now);
        self.start_passes(tasks);
        if self.state_again.is_none_or(|at| at <= now)
            && let Err(error) = self.start_syncs(now).await
        {
            self.state_failed(&error, now);
        }
        self.start_tests(now);
        self.tell_stale(now);
    }

    /// Runs work in the background and sends its result as an event.
    ///
    /// If the work panics, `broke_off` supplies the event: work without an end would never be retried, and
    /// would block the shutdown.
    fn beside(&self, work: JoinHandle<Event>, broke_off: impl FnOnce() -> Event + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(work.await.unwrap_or_else(|_| broke_off()));
        });
    }

    /// Returns true once a shutdown was requested and the work in progress has ended.
    pub(super) fn is_over(&self) -> bool {
        self.stopping && self.board.is_idle()
    }

    /// Publishes the status and returns how long the loop may sleep.
    pub(super) fn rest(&mut self) -> Duration {
        let published = self.publish();
        self.systemd.stands(self.standing());
        self.systemd.alive(self.sleep(published))
    }

    pub(super) async fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::Woken => self.files.woken = true,
            Event::Signal(Signal::Stop) => {
                self.stopping = true;
                self.systemd.stopping();
                self.daemon.voice.stopping(!self.board.is_idle());
            }
            Event::Signal(Signal::Reload) => {
                self.daemon.voice.note("reading the files again (SIGHUP)");
                self.systemd.reloading();
                self.look_whole = true;
                self.board.want_all(now);
                self.files.look_now(now);
            }
            Event::Signal(Signal::Now) => {
                self.daemon.voice.note("looking at everything now (SIGUSR1)");
                self.board.want_all(now);
            }
            Event::Read { reading, look, moment, writers } => {
                self.reading_under_way = false;
                self.systemd.read();
                match *reading {
                    Ok(reading) if reading.is_empty() && self.held_files() => {
                        self.unreadable(&TreeError::Emptied(self.daemon.root.clone()), now);
                    }
                    Ok(reading) => {
                        self.known_at = Some(moment);
                        if let Err(error) = self.looked(reading, look, writers, now).await {
                            self.state_failed(&error, now);
                        }
                    }
                    Err(error) => self.unreadable(&error, now),
                }
            }
            Event::PassEnded(ended) => self.pass_ended(*ended, now),
            Event::TestEnded(tested) => self.tested(&tested, now),
            Event::Trimmed(Ok(())) => {}
            Event::Trimmed(Err(error)) => self.state_failed(&error, now),
            Event::SyncEnded(call, Ok(synced)) => self.synced(&call, &synced, now).await,
            Event::SyncEnded(call, Err(error)) => {
                self.board.sync_not_sent(&call, now);
                self.daemon.publisher.sync_not_sent(&call);
                self.state_failed(&error, now);
            }
        }
    }

    /// Saves unrecorded sync results and reports the shutdown.
    pub(super) async fn stop(&self) {
        if let Some(hands) = &self.daemon.hands
            && let Err(error) = hands.syncer.catch_up().await
        {
            let text = format!("{}; how the last syncs ended is not recorded", chain(&error));
            self.daemon.voice.warn(&text);
        }
        self.daemon.voice.stopped();
    }

    /// Recomputes due times; they may be far ahead now.
    fn clock_set_back(&mut self, now: Timestamp) {
        self.board.clock_set_back(now);
        self.probes.clock_set_back(now);
        self.files.clock_set_back(now);
        self.writers.clock_set_back(now);
        self.look_every = self.look_every.min(now);
        self.trim_at = self.trim_at.min(later(now, TRIM_EVERY));
        self.state_again = self.state_again.map(|at| at.min(later(now, STATE_RETRY)));
    }

    /// Handles a failed write to the state, for example because the disk is full.
    ///
    /// Work that must be recorded before it is sent waits; other work goes on.
    fn state_failed(&mut self, error: &StateError, now: Timestamp) {
        if self.state_again.replace(later(now, STATE_RETRY)).is_none() {
            self.daemon
                .voice
                .warn(&format!("{}; no sync starts until it can be written again", chain(error)));
        }
    }

    fn pause(&mut self, trouble: TokenTrouble, now: Timestamp) {
        let news = self.board.pause(now);
        if news || self.token.as_ref() != Some(&trouble) {
            self.daemon.voice.warn(&format!(
                "{trouble}; everything on the platform is paused, one workspace is tried every minute, and the \
                 rest follows once that succeeds"
            ));
            self.token = Some(trouble);
        }
    }

    /// Reports the next syncs once no work is running after a start or an edit.
    fn tell_next(&mut self, now: Timestamp) {
        if self.foretell && self.board.is_at_rest(now) && !self.board.is_paused() && !self.stopping {
            self.foretell = false;
            self.daemon.voice.next(&self.board.upcoming(now, FORETOLD), now);
        }
    }

    fn sleep(&self, publish: Option<Timestamp>) -> Duration {
        /// The clock may be set at any time; waking up regularly detects that.
        const MOST: Duration = Duration::from_secs(60);
        let now = self.now();
        let look = self.files.look_at.filter(|_| !self.reading_under_way);
        let board = if self.elsewhere { None } else { self.board.next(self.seen) };
        let state = self.state_again.filter(|at| *at > self.seen);
        let tests = self.probes.next().filter(|_| !self.elsewhere && !self.board.is_paused());
        let next = match self.stopping {
            true => publish,
            false => {
                let every = Some(self.look_every);
                [look, board, tests, state, publish, self.writers.next(), every].into_iter().flatten().min()
            }
        };
        next.map_or(MOST, |next| Duration::try_from(next.duration_since(now)).unwrap_or_default().min(MOST))
    }

    fn now(&self) -> Timestamp {
        (self.daemon.clock)()
    }
}

fn duration(of: Duration) -> SignedDuration {
    SignedDuration::try_from(of).unwrap_or(SignedDuration::MAX)
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
