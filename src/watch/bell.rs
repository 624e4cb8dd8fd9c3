//! Has the system told of everything that happened until now? A file that nobody else opens is opened: of
//! that, too, it tells, and after everything that came before.

use notify::event::{AccessKind, EventKind};
use notify::{Event, Result};
use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// It is heard within a millisecond, unless the machine stalls.
const PATIENCE: Duration = Duration::from_secs(1);

/// The file, and how often it was heard of.
#[derive(Debug, Default)]
pub(super) struct Bell {
    path: Option<PathBuf>,
    heard: Mutex<Heard>,
    rung: Condvar,
}

#[derive(Debug, Default)]
struct Heard {
    /// Watchers follow each other; only the last one's word counts.
    watcher: u64,
    times: u64,
    /// It was rung and not heard: what is heard next may be that.
    late: bool,
}

impl Bell {
    /// Makes the file, where it can be made.
    pub(super) fn at(path: &Path) -> Self {
        let made = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(path);
        // As the folders that are watched, without symlinks on the way.
        Self { path: made.and_then(|_| path.canonicalize()).ok(), ..Self::default() }
    }

    /// What is to be watched.
    pub(super) fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Another watcher takes over. Returns its number.
    pub(super) fn hang(&self) -> u64 {
        let mut heard = self.heard();
        *heard = Heard { watcher: heard.watcher + 1, ..Heard::default() };
        heard.watcher
    }

    /// Is this event the bell? If so it is noted.
    pub(super) fn is_heard(&self, watcher: u64, event: &Result<Event>) -> bool {
        let Ok(event) = event else { return false };
        if self.path.is_none() || event.paths.first() != self.path.as_ref() {
            return false;
        }
        let mut heard = self.heard();
        if heard.watcher == watcher && matches!(event.kind, EventKind::Access(AccessKind::Open(_))) {
            heard.times += 1;
            self.rung.notify_all();
        }
        true
    }

    /// Returns once everything that happened before is told; false when that cannot be known.
    pub(super) fn ring(&self) -> bool {
        let Some(path) = &self.path else { return false };
        let heard = self.heard();
        let (watcher, times) = (heard.watcher, heard.times);
        if heard.late || File::open(path).is_err() {
            return false;
        }
        let waiting = |heard: &mut Heard| heard.watcher == watcher && heard.times == times;
        let waited = self.rung.wait_timeout_while(heard, PATIENCE, waiting);
        let (mut heard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        heard.late |= timeout.timed_out();
        heard.watcher == watcher && !timeout.timed_out()
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
