//! Tells when the tree may have changed: "look again", never what changed.
//!
//! Everything that comes to notice (an event, an error, events that were lost) is the same wake,
//! and any number of them before the next look are one. Where the system cannot tell of changes (it has
//! no watches left, or the files lie on a network file system) we look ourselves. What cannot be noticed
//! at all (unmounts) is found by the periodic reading.

mod bell;
mod finished;
mod ground;
mod network;
mod polling;
mod relevance;

pub use finished::Moment;

use bell::Bell;
use finished::Finished;
use ground::Ground;
use notify::{ErrorKind, RecommendedWatcher, RecursiveMode, Watcher};
use polling::Polling;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;

/// How often the tree is looked at where the system cannot tell of changes.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// Watches one tree until dropped.
pub struct Watch {
    /// As configured, made absolute: it may be, or lead through, a symlink that someone swaps.
    configured: PathBuf,
    wake: Arc<Wake>,
    eye: Eye,
}

/// What does the watching.
enum Eye {
    /// The system tells of every change.
    Events,
    /// We look ourselves. Held for its thread.
    Polling { _polling: Polling },
}

/// The way from whoever notices to whoever waits.
#[derive(Default)]
struct Wake {
    notify: Notify,
    /// Something happened to the folders being watched: they must be armed again.
    stale: AtomicBool,
    finished: Mutex<Finished>,
    bell: Bell,
    /// Held for its thread.
    watcher: Mutex<Option<RecommendedWatcher>>,
}

/// Tells which files are finished.
#[derive(Clone, Default)]
pub struct Ends(Arc<Wake>);

/// How far the writers of the files below a root are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Writers {
    /// The files that were closed after writing, or renamed into place, before a moment, and that nobody has
    /// touched since.
    pub finished: HashSet<String>,
    /// The files that were written to and not closed yet.
    pub open: BTreeSet<String>,
}

impl Ends {
    /// A moment from which a reading may begin.
    #[must_use]
    pub fn moment(&self) -> Moment {
        self.0.finished().now()
    }

    /// How far the writers of the files below `root` are. No file is finished, and none is open, where that
    /// cannot be known. Blocks for some microseconds.
    #[must_use]
    pub fn since(&self, moment: Moment, root: &Path) -> Writers {
        let Ok(root) = root.canonicalize() else { return Writers::default() };
        // What happened before now may still be on its way here.
        let all_is_known = self.0.bell.ring();
        let is_watched = self.0.watcher().is_some();
        let known = self.0.finished();
        let finished = if all_is_known { known.since(moment, &root) } else { HashSet::new() };
        Writers { finished, open: if is_watched { known.open(&root) } else { BTreeSet::new() } }
    }

    /// The files below `root` that something happened to after `moment`, as far as it is told by now, each
    /// with whether whoever wrote it is done. `None` where that cannot be known, or where they are not all that
    /// may be another than then. What is told later wakes.
    #[must_use]
    pub fn touched(&self, moment: Moment, root: &Path) -> Option<BTreeMap<String, bool>> {
        if self.0.bell.path().is_none() || self.0.watcher().is_none() {
            return None;
        }
        let root = root.canonicalize().ok()?;
        self.0.finished().touched(moment, &root)
    }
}

impl Wake {
    fn finished(&self) -> MutexGuard<'_, Finished> {
        self.finished.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn watcher(&self) -> MutexGuard<'_, Option<RecommendedWatcher>> {
        self.watcher.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why a tree cannot be watched.
#[derive(Debug)]
pub struct WatchError {
    /// The tree's root.
    pub root: PathBuf,
    /// The operating system's answer.
    pub source: io::Error,
}

impl fmt::Display for WatchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "could not watch {}", self.root.display())
    }
}

impl std::error::Error for WatchError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

/// Starts watching the tree at `root`, which may be missing yet. Where the system has no watches left,
/// and on a network file system, the tree is looked at every two seconds instead, and the log says so.
///
/// # Errors
/// When `root` is relative and the current directory is gone, or no thread can be started.
pub fn start(root: &Path) -> Result<Watch, WatchError> {
    start_with(root, Wake::default())
}

/// The same, and which files are finished is known, too. `bell` is a file for this watch alone, outside
/// the tree; it is made where it is missing.
///
/// # Errors
/// As for [`start`].
pub fn start_with_bell(root: &Path, bell: &Path) -> Result<Watch, WatchError> {
    start_with(root, Wake { bell: Bell::at(bell), ..Wake::default() })
}

fn start_with(root: &Path, wake: Wake) -> Result<Watch, WatchError> {
    let failed = |source| WatchError { root: root.to_owned(), source };
    let configured = std::path::absolute(root).map_err(failed)?;
    let wake = Arc::new(wake);
    let eye = open(&configured, &wake).map_err(failed)?;
    Ok(Watch { configured, wake, eye })
}

impl Watch {
    /// Waits until the tree may have changed since the last call, then makes sure that what there
    /// is now is watched. So a reading that begins when this returns misses nothing: what changes
    /// after it wakes again. May be dropped while it waits.
    pub async fn changed(&mut self) {
        self.wake.notify.notified().await;
        self.rearm();
    }

    /// Tells which files are finished. None ever is without a bell, or where the tree is only looked at
    /// now and then.
    #[must_use]
    pub fn ends(&self) -> Ends {
        Ends(Arc::clone(&self.wake))
    }

    /// Is the tree looked at now and then, in the place of being watched?
    #[must_use]
    pub fn is_polling(&self) -> bool {
        matches!(self.eye, Eye::Polling { .. })
    }

    /// Watches what stands at the root now, if that may be something else than before. For readings
    /// that begin for another reason than [`Watch::changed`]; to be called before them.
    pub fn rearm(&mut self) {
        if !self.wake.stale.swap(false, Ordering::AcqRel) || matches!(self.eye, Eye::Polling { .. }) {
            return;
        }
        match open(&self.configured, &self.wake) {
            Ok(eye) => self.eye = eye,
            Err(error) => {
                let root = self.configured.display();
                tracing::warn!(%error, %root, "could not renew the watch; trying again");
                self.wake.stale.store(true, Ordering::Release);
            }
        }
    }
}

/// Watches by events, or by looking where there are no events to be had.
fn open(configured: &Path, wake: &Arc<Wake>) -> io::Result<Eye> {
    let ground = Ground::survey(configured);
    let root = configured.display();
    let every = POLL_EVERY.as_secs();
    if let Some(kind) = ground.watched().into_iter().find_map(|folder| network::network(folder)) {
        tracing::warn!(
            %root,
            "the files lie on a network file system ({kind}), which tells of no change made elsewhere; \
             looking every {every} s instead"
        );
    } else {
        match events(configured, ground, wake) {
            Ok(watcher) => {
                // The old watches end only when the new ones stand.
                *wake.watcher() = Some(watcher);
                return Ok(Eye::Events);
            }
            Err(error) => tracing::warn!(
                %error,
                %root,
                "no file events to be had (see fs.inotify.max_user_watches and max_user_instances); \
                 looking every {every} s instead"
            ),
        }
    }
    *wake.watcher() = None;
    let wake = wake.clone();
    let polling = Polling::start(configured, POLL_EVERY, move || wake.notify.notify_one())?;
    Ok(Eye::Polling { _polling: polling })
}

fn events(configured: &Path, ground: Ground, wake: &Arc<Wake>) -> notify::Result<RecommendedWatcher> {
    let ground = Arc::new(ground);
    let (seen, woken, number) = (ground.clone(), Arc::downgrade(wake), wake.bell.hang());
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
        let Some(woken) = woken.upgrade() else { return };
        if woken.bell.is_heard(number, &event) {
            return;
        }
        if let Some(notice) = relevance::notice(&seen, &event) {
            let mut finished = woken.finished();
            finished.note(&event);
            if notice.stale {
                finished.more_may_have_changed();
                woken.stale.store(true, Ordering::Release);
            }
            drop(finished);
            woken.notify.notify_one();
        }
    })?;
    for folder in ground.watched() {
        match watcher.watch(folder, RecursiveMode::NonRecursive) {
            Err(error) if exhausted(&error) => return Err(error),
            // Gone since the survey, or not ours to read: either way its parent is watched.
            Err(error) => tracing::debug!(%error, folder = %folder.display(), "not watched"),
            Ok(()) => {}
        }
    }
    // In a folder that is watched it is heard already, and twice would be once too often.
    let is_watched =
        |bell: &Path| bell.parent().is_some_and(|folder| ground.watched().contains(&folder.to_owned()));
    if let Some(bell) = wake.bell.path()
        && (is_watched(bell) || watcher.watch(bell, RecursiveMode::NonRecursive).is_ok())
    {
        // Without it no file is known to be finished, and that is all.
        wake.bell.is_watched_by(number);
    }
    // What changed in a folder before it was watched was not told.
    wake.finished().more_may_have_changed();
    if ground.is_outdated(configured) {
        wake.stale.store(true, Ordering::Release);
        wake.notify.notify_one();
    }
    Ok(watcher)
}

/// No watches, instances or descriptors are left.
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
        // Not found, not permitted: one folder only.
        for error in [notify::Error::path_not_found(), code(2), code(13)] {
            assert!(!exhausted(&error), "{error}");
        }
    }
}
