//! Liveness of processes: each holds a lock on its own file while it runs.
//!
//! Distinguishes runs of dead processes from runs still waiting for a response.

use super::StoreError;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Liveness lock of this process, released on drop or exit.
pub(super) struct ProcessLock {
    token: String,
    path: PathBuf,
    _held: File,
}

impl ProcessLock {
    /// Announces this process and removes the files of dead ones.
    ///
    /// The caller holds the opening lock: a file looks dead between its creation and its locking.
    pub(super) fn register(dir: &Path) -> Result<Self, StoreError> {
        let folder = dir.join("processes");
        let failed =
            |source| StoreError::File { operation: "announce this process in", path: folder.clone(), source };
        super::db::make_dir(&folder)?;
        remove_stale(&folder);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| failed(io::Error::other(error.to_string())))?;
        let token = hex::encode(random);
        let path = file(dir, &token);
        let held = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        held.lock().map_err(failed)?;
        Ok(Self { token, path, _held: held })
    }

    /// Token that marks this process's runs.
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for ProcessLock {
    fn drop(&mut self) {
        // A leftover file is removed by the next process.
        let _ = fs::remove_file(&self.path);
    }
}

/// Liveness of processes, checked once each.
pub(super) struct ProcessRegistry<'a> {
    dir: &'a Path,
    lives: BTreeMap<String, bool>,
}

impl<'a> ProcessRegistry<'a> {
    pub(super) fn new(dir: &'a Path) -> Self {
        Self { dir, lives: BTreeMap::new() }
    }

    /// Returns true if the process with this token is alive or its state is unknown.
    pub(super) fn lives(&mut self, token: String) -> bool {
        let dir = self.dir;
        *self.lives.entry(token).or_insert_with_key(|token| {
            match super::trust::options().read(true).open(file(dir, token)) {
                Ok(file) => file.try_lock().is_err(),
                Err(error) => error.kind() != io::ErrorKind::NotFound,
            }
        })
    }
}

fn remove_stale(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if super::trust::options().read(true).open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn file(dir: &Path, token: &str) -> PathBuf {
    dir.join("processes").join(token)
}
