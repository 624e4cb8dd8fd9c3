//! One iteration of the event loop: due work, events, status.

mod connection_tests;
mod passes;
mod reload;
mod status_line;
mod syncs;

use super::connection_tests::ConnectionTests;
use super::scheduler::Scheduler;
use super::service_manager::ServiceManager;
use super::settle::SettleTracker;
use super::writers::FileWriters;
use super::{Daemon, Event, Signal, later};
use crate::client::TokenTrouble;
use crate::error::error_chain;
use crate::load::{FileIndex, LoadCache};
use crate::store::StoreError;
use crate::tree::{Checkout, TreeError};
use crate::watch::{ChangeTracker, EventSeq};
use jiff::{SignedDuration, Timestamp};
use passes::SharedStoreVersion;
use reload::LoadKind;
pub(super) use status_line::DaemonStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;

/// Interval of trimming the run history.
const TRIM_INTERVAL: SignedDuration = SignedDuration::from_hours(6);

/// Number of next firings that are reported.
const MAX_NEXT_SYNCS: usize = 3;

/// Retry delay after a failed write to the state.
const STORE_RETRY_INTERVAL: SignedDuration = SignedDuration::from_secs(5);

/// State of the event loop; each submodule implements one kind of work.
pub(super) struct EventLoop {
    daemon: Daemon,
    files: SettleTracker,
    writers: FileWriters,
    scheduler: Scheduler,
    connection_tests: ConnectionTests,
    accepted_load: Option<LoadKind>,
    /// Checkout whose commit is published, or being compared with its files.
    described_checkout: Option<Arc<Checkout>>,
    file_index: FileIndex,
    /// Memory as last saved in the state.
    stored_file_index: FileIndex,
    change_tracker: ChangeTracker,
    /// Time of the next regular scan; like a requested scan, it reads every file.
    next_full_scan: Timestamp,
    full_scan_requested: bool,
    trim_at: Timestamp,
    is_loading: bool,
    /// Parsed files for the next load, and the time from which changes are missing.
    cache: Arc<LoadCache>,
    cached_at: Option<EventSeq>,
    version: SharedStoreVersion,
    /// True if the files name a platform other than the one in use.
    platform_changed: bool,
    is_stopping: bool,
    /// True if the files changed and the next syncs were not reported since.
    announce_next: bool,
    /// Reason why all work on the platform is paused, if it is.
    token: Option<TokenTrouble>,
    /// Reason why no connection to the platform can be opened, if so.
    unreachable: Option<String>,
    /// Time of the next attempt after a failed write to the state.
    ///
    /// Work that must be recorded first does not start before.
    store_retry_at: Option<Timestamp>,
    /// Time of the last check for due work.
    last_check: Timestamp,
    service_manager: ServiceManager,
    events: UnboundedSender<Event>,
}

impl EventLoop {
    /// Creates the initial state, in which everything is due.
    pub(super) fn new(daemon: Daemon, change_tracker: ChangeTracker, events: UnboundedSender<Event>) -> Self {
        let now = (daemon.clock)();
        let most_syncs = daemon.write_access.as_ref().map_or(1, |hands| hands.syncer.writer.max_syncs());
        Self {
            files: SettleTracker::new(duration(daemon.quiet_period), now),
            writers: FileWriters::default(),
            scheduler: Scheduler::new(most_syncs),
            connection_tests: ConnectionTests::default(),
            accepted_load: None,
            described_checkout: None,
            change_tracker,
            full_scan_requested: false,
            file_index: daemon.file_index.clone(),
            stored_file_index: daemon.file_index.clone(),
            next_full_scan: later(now, duration(daemon.interval)),
            trim_at: now,
            is_loading: false,
            cache: Arc::clone(&daemon.cache),
            cached_at: None,
            version: SharedStoreVersion::new(),
            platform_changed: false,
            is_stopping: false,
            announce_next: false,
            token: None,
            unreachable: None,
            store_retry_at: None,
            last_check: now,
            service_manager: ServiceManager::new(),
            daemon,
            events,
        }
    }

    pub(super) async fn start_due_work(&mut self) {
        if self.is_stopping {
            return;
        }
        let now = self.now();
        if now < self.last_check {
            self.clock_set_back(now);
        }
        self.last_check = now;
        if now >= self.next_full_scan {
            self.next_full_scan = later(now, duration(self.daemon.interval));
            self.full_scan_requested = true;
            self.files.scan_now(now);
        }
        self.start_due_scan(now);
        self.report_writers(now);
        if self.platform_changed {
            return;
        }
        let tasks = self.scheduler.take_due_passes(now);
        self.start_passes(tasks);
        if self.store_retry_at.is_none_or(|at| at <= now)
            && let Err(error) = self.start_syncs(now).await
        {
            self.on_store_error(&error, now);
        }
        self.start_tests(now);
        self.report_stale(now);
    }

    /// Runs work in the background and sends its result as an event.
    ///
    /// If the work panics, `broke_off` supplies the event: work without an end would never be retried, and
    /// would block the shutdown.
    fn spawn(&self, work: JoinHandle<Event>, broke_off: impl FnOnce() -> Event + Send + 'static) {
        let events = self.events.clone();
        tokio::spawn(async move {
            let _ = events.send(work.await.unwrap_or_else(|_| broke_off()));
        });
    }

    /// Returns true once a shutdown was requested and the work in progress has ended.
    pub(super) fn is_finished(&self) -> bool {
        self.is_stopping && self.scheduler.is_idle()
    }

    /// Publishes the status and returns how long the loop may sleep.
    pub(super) fn prepare_sleep(&mut self) -> Duration {
        let published = self.publish();
        self.service_manager.set_status(self.status());
        self.service_manager.watchdog_ping(self.sleep(published))
    }

    pub(super) async fn handle(&mut self, event: Event) {
        let now = self.now();
        match event {
            Event::FilesChanged => self.files.has_changes = true,
            Event::Signal(Signal::Stop) => {
                self.is_stopping = true;
                self.service_manager.stopping();
                self.daemon.reporter.shutting_down(!self.scheduler.is_idle());
            }
            Event::Signal(Signal::Reload) => {
                self.daemon.reporter.info("reading the files again (SIGHUP)");
                self.service_manager.load_requested();
                self.full_scan_requested = true;
                self.scheduler.request_all(now);
                self.files.scan_now(now);
            }
            Event::Signal(Signal::CheckNow) => {
                self.daemon.reporter.info("checking all workspaces now (SIGUSR1)");
                self.scheduler.request_all(now);
            }
            Event::FilesLoaded { reading, scope: look, as_of: moment, writers } => {
                self.is_loading = false;
                self.service_manager.load_finished();
                match *reading {
                    Ok(reading) if reading.is_empty() && self.had_files() => {
                        self.unreadable(&TreeError::Emptied(self.daemon.root.clone()), now);
                    }
                    Ok(reading) => {
                        self.cached_at = Some(moment);
                        if let Err(error) = self.on_loaded(reading, look, writers, now).await {
                            self.on_store_error(&error, now);
                        }
                    }
                    Err(error) => self.unreadable(&error, now),
                }
            }
            Event::CommitDescribed(checkout, commit) => self.on_commit_described(&checkout, commit),
            Event::PassEnded(ended) => self.pass_ended(*ended, now),
            Event::TestEnded(tested) => self.on_test_ended(&tested, now),
            Event::Trimmed(Ok(())) => {}
            Event::Trimmed(Err(error)) => self.on_store_error(&error, now),
            Event::SyncEnded(call, Ok(synced)) => self.on_sync_ended(&call, &synced, now).await,
            Event::SyncEnded(call, Err(error)) => {
                self.scheduler.cancel_sync(&call, now);
                self.daemon.publisher.sync_not_sent(&call);
                self.on_store_error(&error, now);
            }
        }
    }

    /// Saves unrecorded sync results and reports the shutdown.
    pub(super) async fn shut_down(&self) {
        if let Some(hands) = &self.daemon.write_access
            && let Err(error) = hands.syncer.retry_unrecorded().await
        {
            let text = format!("{}; the results of the last syncs were not recorded", error_chain(&error));
            self.daemon.reporter.warning(&text);
        }
        self.daemon.reporter.shut_down();
    }

    /// Recomputes due times; they may be far ahead now.
    fn clock_set_back(&mut self, now: Timestamp) {
        self.scheduler.clock_set_back(now);
        self.connection_tests.clock_set_back(now);
        self.files.clock_set_back(now);
        self.writers.clock_set_back(now);
        self.next_full_scan = self.next_full_scan.min(now);
        self.trim_at = self.trim_at.min(later(now, TRIM_INTERVAL));
        self.store_retry_at = self.store_retry_at.map(|at| at.min(later(now, STORE_RETRY_INTERVAL)));
    }

    /// Handles a failed write to the state, for example because the disk is full.
    ///
    /// Work that must be recorded before it is sent waits; other work goes on.
    fn on_store_error(&mut self, error: &StoreError, now: Timestamp) {
        if self.store_retry_at.replace(later(now, STORE_RETRY_INTERVAL)).is_none() {
            self.daemon
                .reporter
                .warning(&format!("{}; no sync starts until it can be written again", error_chain(error)));
        }
    }

    fn pause(&mut self, trouble: TokenTrouble, now: Timestamp) {
        let news = self.scheduler.start_auth_pause(now);
        if news || self.token.as_ref() != Some(&trouble) {
            self.daemon.reporter.warning(&format!(
                "{trouble}; everything on the platform is paused, one workspace is tried every minute, and the \
                 rest follows once that succeeds"
            ));
            self.token = Some(trouble);
        }
    }

    /// Reports the next syncs once no work is running after a start or an edit.
    fn report_next(&mut self, now: Timestamp) {
        if self.announce_next
            && self.scheduler.is_quiescent(now)
            && !self.scheduler.is_paused()
            && !self.is_stopping
        {
            self.announce_next = false;
            self.daemon.reporter.next_syncs(&self.scheduler.upcoming(now, MAX_NEXT_SYNCS), now);
        }
    }

    fn sleep(&self, publish: Option<Timestamp>) -> Duration {
        /// The clock may be set at any time; waking up regularly detects that.
        const MAX_SLEEP: Duration = Duration::from_secs(60);
        let now = self.now();
        let look = if self.is_loading { None } else { self.files.next_scan_at };
        let board = if self.platform_changed { None } else { self.scheduler.next_wake(self.last_check) };
        let state = self.store_retry_at.filter(|at| *at > self.last_check);
        let test_later = self.platform_changed || self.scheduler.is_paused();
        let tests = if test_later { None } else { self.connection_tests.next() };
        let next = if self.is_stopping {
            publish
        } else {
            let every = Some(self.next_full_scan);
            [look, board, tests, state, publish, self.writers.next(), every].into_iter().flatten().min()
        };
        next.map_or(MAX_SLEEP, |next| {
            Duration::try_from(next.duration_since(now)).unwrap_or_default().min(MAX_SLEEP)
        })
    }

    fn now(&self) -> Timestamp {
        (self.daemon.clock)()
    }
}

fn duration(of: Duration) -> SignedDuration {
    SignedDuration::try_from(of).unwrap_or(SignedDuration::MAX)
}
