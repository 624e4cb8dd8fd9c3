//! Locks: one writer per workspace and scope, released when the process exits.

use super::{Store, StoreError};
use crate::model::WorkspaceRef;
use sha2::{Digest, Sha256};
use std::fs::{DirBuilder, File, TryLockError};
use std::io::{self, Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use thiserror::Error;

/// Maximum wait for another process that is opening the state.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

/// Interval between attempts to take a held lock.
const RETRY_INTERVAL: Duration = Duration::from_millis(50);

/// Exclusive right to write one workspace and scope; released on drop.
pub struct WorkspaceLock {
    _held: LockedFile,
}

/// Right to be the only daemon for a state and platform; released on drop.
pub struct DaemonLock {
    _held: WorkspaceLock,
}

/// A locked file, unlocked on drop.
///
/// Closing the file is not enough: a process that was forked from this one holds a copy of it, and with it
/// the lock, until it executes its program.
pub(super) struct LockedFile(File);

impl Drop for LockedFile {
    fn drop(&mut self) {
        // Closing the file releases the lock otherwise.
        let _ = self.0.unlock();
    }
}

/// Reason why a workspace could not be locked.
#[derive(Debug, Error)]
pub enum LockError {
    #[error("{held_by} is writing this workspace; wait for it to end and try again")]
    Held {
        /// Holder: `pid 4711 (run)`, or `another process`.
        held_by: String,
    },
    #[error("could not lock the workspace with {path}")]
    File { path: PathBuf, source: io::Error },
    #[error("the workspace cannot be locked: the state was opened for reading only")]
    ReadOnly,
}

impl Store {
    /// Locks `workspace` for writing; fails at once if it is held.
    ///
    /// `holder` is the command shown to a process that finds the lock held.
    ///
    /// # Errors
    /// [`LockError::Held`] if another process or another handle of this process holds it.
    pub fn lock(&self, workspace: &WorkspaceRef, holder: &str) -> Result<WorkspaceLock, LockError> {
        self.lock_file(&[workspace.workspace.as_str(), workspace.scope.as_str()], holder)
    }

    /// Takes the daemon lock of this state and platform; fails at once if it is held.
    ///
    /// The daemon lock does not prevent writes: each workspace has its own lock.
    pub fn lock_daemon(&self, holder: &str) -> Result<DaemonLock, LockError> {
        self.lock_file(&["daemon"], holder).map(|lock| DaemonLock { _held: lock })
    }

    /// Returns the running daemon of this state and platform, and its start time.
    pub fn running_daemon(&self) -> Option<(String, jiff::Timestamp)> {
        let path = self.dir.join("locks").join(file_name(&self.platform, &["daemon"]));
        let file = File::open(path).ok()?;
        // A shared lock, so that two readers do not mistake each other for a daemon.
        if file.try_lock_shared().is_ok() {
            drop(LockedFile(file));
            return None;
        }
        let since = file.metadata().ok()?.modified().ok()?;
        Some((read_holder(&file), jiff::Timestamp::try_from(since).ok()?))
    }

    /// Path of the sync cookie file; the folder exists once the daemon lock is held.
    pub fn cookie_path(&self) -> PathBuf {
        self.dir.join("locks").join(file_name(&self.platform, &["bell"]))
    }

    fn lock_file(&self, of: &[&str], holder: &str) -> Result<WorkspaceLock, LockError> {
        if self.process_lock.is_none() {
            return Err(LockError::ReadOnly);
        }
        let folder = self.dir.join("locks");
        let path = folder.join(file_name(&self.platform, of));
        let failed = |source| LockError::File { path: path.clone(), source };
        let file = match open(&path) {
            // Create only this folder: do not recreate a state directory deleted with its tree.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                DirBuilder::new().mode(0o700).create(&folder).map_err(failed)?;
                open(&path)
            }
            opened => opened,
        };
        let mut file = file.map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {
                // Informative only: the lock does not depend on the content.
                let _ = write_holder(&mut file, holder);
                Ok(WorkspaceLock { _held: LockedFile(file) })
            }
            Err(TryLockError::WouldBlock) => Err(LockError::Held { held_by: read_holder(&file) }),
            Err(TryLockError::Error(source)) => Err(failed(source)),
        }
    }

    /// Like [`Store::lock`], but waits up to `wait` for the holder to release it.
    pub async fn lock_with_timeout(
        &self,
        workspace: &WorkspaceRef,
        holder: &str,
        wait: Duration,
    ) -> Result<WorkspaceLock, LockError> {
        let until = tokio::time::Instant::now() + wait;
        loop {
            match self.lock(workspace, holder) {
                Err(LockError::Held { .. }) if tokio::time::Instant::now() < until => {
                    tokio::time::sleep(RETRY_INTERVAL).await;
                }
                done => return done,
            }
        }
    }
}

/// Lock held while the state's files are created and its schema is migrated.
pub(super) fn lock_for_open(dir: &Path) -> Result<LockedFile, StoreError> {
    let path = dir.join("open.lock");
    let failed = |source| StoreError::File { operation: "lock", path: path.clone(), source };
    let file = open(&path).map_err(failed)?;
    let until = Instant::now() + OPEN_TIMEOUT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(LockedFile(file)),
            Err(TryLockError::Error(source)) => return Err(failed(source)),
            Err(TryLockError::WouldBlock) if Instant::now() < until => std::thread::sleep(RETRY_INTERVAL),
            Err(TryLockError::WouldBlock) => return Err(StoreError::OpenTimeout { path }),
        }
    }
}

fn open(path: &Path) -> io::Result<File> {
    super::trust::options().read(true).write(true).create(true).truncate(false).open(path)
}

/// File name of a lock: a hash, because ids may contain any character.
///
/// Lock files are never deleted: deleting one that another process waits for would split the lock
/// in two.
fn file_name(platform: &str, of: &[&str]) -> String {
    let mut hash = Sha256::new();
    for part in std::iter::once(&platform).chain(of) {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hex::encode(&hash.finalize()[..16]) + ".lock"
}

/// Writes the holder, padded to a constant length.
///
/// The file then needs no truncation, which waits for the disk on some file systems.
fn write_holder(file: &mut File, holder: &str) -> io::Result<()> {
    let holder = format!("pid {} ({holder})", std::process::id());
    file.write_all(format!("{holder:<63}\n").as_bytes())
}

fn read_holder(file: &File) -> String {
    let mut text = String::new();
    let _ = file.take(200).read_to_string(&mut text);
    let text: String = text.trim().chars().filter(|c| !c.is_control()).collect();
    if text.is_empty() { "another process".to_owned() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scope, WorkspaceId};

    #[tokio::test]
    async fn a_dropped_lock_is_free_though_a_forked_process_holds_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let state = Store::open(dir.path(), "http://127.0.0.1:9").unwrap();
        let workspace = WorkspaceRef { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() };
        let lock = state.lock(&workspace, "first").unwrap();
        let _copy = lock._held.0.try_clone().unwrap();
        assert!(state.lock(&workspace, "second").is_err());
        drop(lock);
        assert!(state.lock(&workspace, "second").is_ok());
    }
}
