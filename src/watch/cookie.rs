//! Sync cookie: confirms that all earlier events have arrived.
//!
//! Events arrive in order. Once the event for opening our own file arrives, every earlier event has
//! been delivered.

use crate::mutex::lock;
use notify::event::{AccessKind, EventKind};
use notify::{Event, Result};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Maximum wait for the cookie's event, which normally takes less than 1 ms.
const SYNC_TIMEOUT: Duration = Duration::from_secs(1);

/// Path of the cookie and the state of its last event.
#[derive(Debug, Default)]
pub(super) struct SyncCookie {
    path: Option<PathBuf>,
    heard: Mutex<CookieState>,
    arrived: Condvar,
}

#[derive(Debug, Default)]
struct CookieState {
    /// Number of the current watcher; events of earlier ones are ignored.
    watcher: u64,
    phase: CookiePhase,
}

#[derive(Debug, Default, PartialEq, Eq)]
enum CookiePhase {
    /// The watcher does not watch the cookie yet, so no event would arrive.
    #[default]
    Unwatched,
    /// No cookie event is outstanding.
    Idle,
    /// An event is outstanding; no other is triggered before it arrives.
    Pending,
}

impl SyncCookie {
    /// Creates the file, if possible.
    pub(super) fn create(path: &Path) -> Self {
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        // Canonical, like the watched folders.
        Self { path: made.and_then(|_| path.canonicalize()).ok(), ..Self::default() }
    }

    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Registers a new watcher and returns its number.
    pub(super) fn attach_watcher(&self) -> u64 {
        let mut heard = self.heard();
        *heard = CookieState { watcher: heard.watcher + 1, phase: CookiePhase::Unwatched };
        self.arrived.notify_all();
        heard.watcher
    }

    pub(super) fn set_watched(&self, watcher: u64) {
        let mut heard = self.heard();
        if heard.watcher == watcher {
            heard.phase = CookiePhase::Idle;
        }
    }

    /// Returns true if the event belongs to the cookie, and records its arrival.
    pub(super) fn consume_event(&self, watcher: u64, event: &Result<Event>) -> bool {
        let Ok(event) = event else { return false };
        if self.path.is_none() || event.paths.first() != self.path.as_ref() {
            return false;
        }
        let mut heard = self.heard();
        if heard.watcher == watcher
            && heard.phase == CookiePhase::Pending
            && matches!(event.kind, EventKind::Access(AccessKind::Open(_)))
        {
            heard.phase = CookiePhase::Idle;
            self.arrived.notify_all();
        }
        true
    }

    /// Waits until all earlier events have arrived; returns false if that is unknown.
    pub(super) fn sync(&self) -> bool {
        self.sync_within(SYNC_TIMEOUT)
    }

    fn sync_within(&self, patience: Duration) -> bool {
        let Some(path) = &self.path else { return false };
        let mut heard = self.heard();
        let watcher = heard.watcher;
        if heard.phase != CookiePhase::Idle || File::open(path).is_err() {
            return false;
        }
        heard.phase = CookiePhase::Pending;
        let waiting =
            |heard: &mut CookieState| heard.watcher == watcher && heard.phase == CookiePhase::Pending;
        let waited = self.arrived.wait_timeout_while(heard, patience, waiting);
        let (heard, _) = waited.unwrap_or_else(PoisonError::into_inner);
        heard.watcher == watcher && heard.phase == CookiePhase::Idle
    }

    fn heard(&self) -> MutexGuard<'_, CookieState> {
        lock(&self.heard)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::AccessMode;
    use std::sync::atomic::{AtomicBool, Ordering};

    /// Creates a cookie watched by a watcher, and returns both.
    fn cookie(dir: &Path) -> (SyncCookie, u64) {
        let cookie = SyncCookie::create(&dir.join("cookie"));
        let watcher = cookie.attach_watcher();
        cookie.set_watched(watcher);
        (cookie, watcher)
    }

    fn told(cookie: &SyncCookie, watcher: u64) {
        let opened = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert!(
            cookie
                .consume_event(watcher, &Ok(Event::new(opened).add_path(cookie.path().unwrap().to_owned())))
        );
    }

    /// Triggers the cookie while a thread delivers its event.
    fn is_heard_at_once(cookie: &SyncCookie, watcher: u64) -> bool {
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(Ordering::Acquire) {
                    told(cookie, watcher);
                    std::thread::yield_now();
                }
            });
            let heard = cookie.sync_within(Duration::from_secs(20));
            done.store(true, Ordering::Release);
            heard
        })
    }

    #[test]
    fn an_event_that_is_late_counts_for_nothing_and_one_after_it_is_trusted_again() {
        let dir = tempfile::tempdir().unwrap();
        let (cookie, watcher) = cookie(dir.path());
        assert!(is_heard_at_once(&cookie, watcher));
        assert!(!cookie.sync_within(Duration::ZERO), "nobody was told");
        assert!(!cookie.sync_within(Duration::from_secs(20)), "it would be taken for the one before");
        told(&cookie, watcher);
        assert!(is_heard_at_once(&cookie, watcher), "the late one is over");
    }

    #[test]
    fn while_a_watcher_takes_over_nothing_is_rung_that_it_would_never_hear() {
        let dir = tempfile::tempdir().unwrap();
        let (cookie, before) = cookie(dir.path());
        let after = cookie.attach_watcher();
        assert!(!is_heard_at_once(&cookie, after), "it does not hear everything yet");
        cookie.set_watched(before);
        assert!(!is_heard_at_once(&cookie, after), "the one before is of no concern");
        cookie.set_watched(after);
        assert!(is_heard_at_once(&cookie, after));
    }
}
