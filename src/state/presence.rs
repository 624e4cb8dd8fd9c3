//! Which processes are alive: each holds a lock on a file of its own for as long as it lives, so
//! that the runs of a process that died can be told from those of one that still waits.

use super::StateError;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// This process's sign of life. Gone when dropped, or with the process.
pub(super) struct Presence {
    token: String,
    path: PathBuf,
    _held: File,
}

impl Presence {
    /// Announces this process and clears away the files of dead ones. Called while no other
    /// process opens the state: between its making and its locking a file looks dead.
    pub(super) fn announce(dir: &Path) -> Result<Self, StateError> {
        let folder = dir.join("processes");
        let failed =
            |source| StateError::File { doing: "announce this process in", path: folder.clone(), source };
        super::store::make_dir(&folder)?;
        clear(&folder);
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(|error| failed(io::Error::other(error.to_string())))?;
        let token = random.iter().fold(String::new(), |mut text, byte| {
            let _ = write!(text, "{byte:02x}");
            text
        });
        let path = file(dir, &token);
        let held = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
        held.lock().map_err(failed)?;
        Ok(Self { token, path, _held: held })
    }

    /// What marks this process's runs.
    pub(super) fn token(&self) -> &str {
        &self.token
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        // Left behind, it is cleared away by the next process.
        let _ = fs::remove_file(&self.path);
    }
}

/// Which processes are alive, asked once each.
pub(super) struct Roll<'a> {
    dir: &'a Path,
    lives: BTreeMap<String, bool>,
}

impl<'a> Roll<'a> {
    pub(super) fn new(dir: &'a Path) -> Self {
        Self { dir, lives: BTreeMap::new() }
    }

    /// Does the process with this token live? When it cannot be told, it does.
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

fn clear(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        if super::trust::options().read(true).open(entry.path()).is_ok_and(|file| file.try_lock().is_ok()) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn file(dir: &Path, token: &str) -> PathBuf {
    dir.join("processes").join(token)
}
