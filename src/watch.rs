//! Watches the tree and signals that it may have changed.
//!
//! Every event, error or lost event causes the same wake-up; wake-ups before the next read are
//! merged. If the system cannot report changes (no watches left, or a network file system), the
//! tree is polled. Changes that cannot be noticed at all (unmounts) are found by the periodic read.
//!
//! Invariant: never reports the content of a change; readers decide by reading.

mod changes;
mod cookie;
mod filter;
mod network_fs;
mod polling;
mod targets;

pub use changes::EventSeq;

use crate::mutex::lock;
use changes::ChangeLog;
use cookie::SyncCookie;
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use polling::Polling;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;
use targets::WatchTargets;
use thiserror::Error;
use tokio::sync::Notify;

/// Poll interval if the system cannot report changes.
const POLL_INTERVAL: Duration = Duration::from_secs(2);

/// Watches one tree until dropped.
pub struct Watch {
    /// Configured path, made absolute; may contain symlinks that are replaced later.
    configured: PathBuf,
    notifier: Arc<Notifier>,
    backend: WatchBackend,
}

/// Mechanism that notices changes.
enum WatchBackend {
    /// The system reports every change.
    Events,
    /// Periodic polling. The field keeps the thread alive.
    Polling { _polling: Polling },
}

/// Channel from the watcher to the waiting task.
#[derive(Default)]
struct Notifier {
    notify: Notify,
    /// Watched folders changed, so the watches must be renewed.
    watches_outdated: AtomicBool,
    finished: Mutex<ChangeLog>,
    cookie: SyncCookie,
    /// Keeps the watcher's thread alive.
    watcher: Mutex<Option<RecommendedWatcher>>,
}

/// Reports which files their writers have closed.
#[derive(Clone, Default)]
pub struct ChangeTracker(Arc<Notifier>);

/// Progress of the writers of the files below a root.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OpenWriters {
    /// Files closed after writing, or renamed into place, and untouched since.
    pub finished: HashSet<String>,
    /// Files that were written to and are not closed yet.
    pub open: BTreeSet<String>,
}

impl ChangeTracker {
    /// Returns a point in time from which a read may start.
    pub fn current_seq(&self) -> EventSeq {
        self.0.finished().current_seq()
    }

    /// Returns the progress of the writers below `root`.
    ///
    /// Both sets are empty if the progress is unknown. Blocks for some microseconds.
    pub fn since(&self, moment: EventSeq, root: &Path) -> OpenWriters {
        let Ok(root) = root.canonicalize() else { return OpenWriters::default() };
        // Events up to now may still be in flight.
        let all_is_known = self.0.cookie.sync();
        let is_watched = self.0.watcher().is_some();
        let known = self.0.finished();
        let finished = if all_is_known { known.closed_since(moment, &root) } else { HashSet::new() };
        OpenWriters { finished, open: if is_watched { known.open(&root) } else { BTreeSet::new() } }
    }

    /// Returns the files below `root` that changed after `moment`.
    ///
    /// The value is true if the writer closed the file. `None` if the changes are unknown or other
    /// files may have changed. Events that arrive later cause a wake-up.
    pub fn touched(&self, moment: EventSeq, root: &Path) -> Option<BTreeMap<String, bool>> {
        if self.0.cookie.path().is_none() || self.0.watcher().is_none() {
            return None;
        }
        let root = root.canonicalize().ok()?;
        self.0.finished().touched(moment, &root)
    }
}

impl Notifier {
    fn finished(&self) -> MutexGuard<'_, ChangeLog> {
        lock(&self.finished)
    }

    fn watcher(&self) -> MutexGuard<'_, Option<RecommendedWatcher>> {
        lock(&self.watcher)
    }
}

/// Reason why a tree cannot be watched.
#[derive(Debug, Error)]
#[error("could not watch {root}")]
pub struct WatchError {
    pub root: PathBuf,
    pub source: io::Error,
}

/// Starts watching the tree at `root`, which may not exist yet.
///
/// If the system has no watches left, or on a network file system, polls the tree every two seconds
/// and logs a warning.
pub fn start(root: &Path) -> Result<Watch, WatchError> {
    start_with(root, Notifier::default())
}

/// Like [`start`], and also tracks which files are closed by their writers.
///
/// `cookie` is the path of the sync cookie, a file for this watch alone, outside the tree. Creates it
/// if missing.
pub fn start_with_cookie(root: &Path, cookie: &Path) -> Result<Watch, WatchError> {
    start_with(root, Notifier { cookie: SyncCookie::create(cookie), ..Notifier::default() })
}

fn start_with(root: &Path, wake: Notifier) -> Result<Watch, WatchError> {
    let failed = |source| WatchError { root: root.to_owned(), source };
    let configured = std::path::absolute(root).map_err(failed)?;
    let wake = Arc::new(wake);
    let eye = open(&configured, &wake).map_err(failed)?;
    Ok(Watch { configured, notifier: wake, backend: eye })
}

impl Watch {
    /// Waits until the tree may have changed since the last call, then renews watches.
    ///
    /// A read that starts after the return misses nothing: later changes wake again. Cancel-safe.
    pub async fn changed(&mut self) {
        self.notifier.notify.notified().await;
        self.rewatch();
    }

    /// Returns the tracker of closed files.
    ///
    /// Reports none without a sync cookie, or while polling.
    pub fn change_tracker(&self) -> ChangeTracker {
        ChangeTracker(Arc::clone(&self.notifier))
    }

    /// Returns true if the tree is polled instead of watched.
    pub fn is_polling(&self) -> bool {
        matches!(self.backend, WatchBackend::Polling { .. })
    }

    /// Renews the watches if the watched folders may have changed.
    ///
    /// Call before a read that was not triggered by [`Watch::changed`].
    pub fn rewatch(&mut self) {
        if !self.notifier.watches_outdated.swap(false, Ordering::AcqRel)
            || matches!(self.backend, WatchBackend::Polling { .. })
        {
            return;
        }
        match open(&self.configured, &self.notifier) {
            Ok(eye) => self.backend = eye,
            Err(error) => {
                let root = self.configured.display();
                tracing::warn!(%error, %root, "could not renew the watch; trying again");
                self.notifier.watches_outdated.store(true, Ordering::Release);
            }
        }
    }
}

/// Starts event watching, or polling if events are unavailable.
fn open(configured: &Path, wake: &Arc<Notifier>) -> io::Result<WatchBackend> {
    let ground = WatchTargets::scan(configured);
    let root = configured.display();
    let every = POLL_INTERVAL.as_secs();
    if let Some(kind) = ground.watched().into_iter().find_map(|folder| network_fs::network_fs_name(folder)) {
        tracing::warn!(
            %root,
            "the files are on a network file system ({kind}), which reports no changes of other hosts; \
             checking every {every} s instead"
        );
    } else {
        match events(configured, ground, wake) {
            Ok(watcher) => {
                // The old watches end only after the new ones exist.
                *wake.watcher() = Some(watcher);
                return Ok(WatchBackend::Events);
            }
            Err(error) => tracing::warn!(
                %error,
                %root,
                "file watching is not available (see fs.inotify.max_user_watches and max_user_instances); \
                 checking every {every} s instead"
            ),
        }
    }
    *wake.watcher() = None;
    let wake = wake.clone();
    let polling = Polling::start(configured, POLL_INTERVAL, move || wake.notify.notify_one())?;
    Ok(WatchBackend::Polling { _polling: polling })
}

fn events(
    configured: &Path,
    ground: WatchTargets,
    wake: &Arc<Notifier>,
) -> notify::Result<RecommendedWatcher> {
    let ground = Arc::new(ground);
    let (seen, woken, number) = (ground.clone(), Arc::downgrade(wake), wake.cookie.attach_watcher());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Some(woken) = woken.upgrade() else { return };
        if woken.cookie.consume_event(number, &event) {
            return;
        }
        if let Some(notice) = filter::classify_event(&seen, &event) {
            let mut finished = woken.finished();
            finished.record(&event);
            if notice.stale {
                finished.mark_unknown_from();
                woken.watches_outdated.store(true, Ordering::Release);
            }
            drop(finished);
            woken.notify.notify_one();
        }
    })?;
    for folder in ground.watched() {
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Err(error) if exhausted(&error) => return Err(error),
            // Removed since the survey, or not readable: its parent is watched either way.
            Err(error) => tracing::debug!(%error, folder = %folder.display(), "not watched"),
            Ok(()) => {}
        }
    }
    // A cookie in a watched folder is reported already; a second watch would duplicate it.
    let is_watched =
        |cookie: &Path| cookie.parent().is_some_and(|folder| ground.watched().contains(&folder.to_owned()));
    if let Some(cookie) = wake.cookie.path()
        && (is_watched(cookie) || watcher.watch(cookie, RecursiveMode::NonRecursive).is_ok())
    {
        // Without the cookie no file is known to be closed; nothing else depends on it.
        wake.cookie.set_watched(number);
    }
    // Changes in a folder before it was watched were not reported.
    wake.finished().mark_unknown_from();
    if ground.is_outdated(configured) {
        wake.watches_outdated.store(true, Ordering::Release);
        wake.notify.notify_one();
    }
    Ok(watcher)
}

/// Returns true if no watches, instances or descriptors are left.
fn exhausted(error: &notify::Error) -> bool {
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOSPC: i32 = 28;
    match &error.kind {
        ErrorKind::MaxFilesWatch => true,
        ErrorKind::Io(error) => matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOSPC)),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lack_of_watches_or_descriptors_ends_watching_by_events() {
        let code = |code| notify::Error::io(io::Error::from_raw_os_error(code));
        for error in [notify::Error::new(ErrorKind::MaxFilesWatch), code(23), code(24), code(28)] {
            assert!(exhausted(&error), "{error}");
        }
        // Not found or not permitted affects one folder only.
        for error in [notify::Error::path_not_found(), code(2), code(13)] {
            assert!(!exhausted(&error), "{error}");
        }
    }
}
