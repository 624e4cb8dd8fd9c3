//! Writes files of the project atomically.

use super::{CommandError, Exit};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces a file by renaming a finished one into place.
///
/// The permissions are kept; for a symlink, its target is replaced.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), CommandError> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let write = || -> io::Result<()> {
        let beside = temp_path(&target)?;
        let written = write_and_sync(&beside, text)
            .and_then(|()| match fs::metadata(&target) {
                Ok(metadata) => fs::set_permissions(&beside, metadata.permissions()),
                Err(_) => Ok(()),
            })
            .and_then(|()| fs::rename(&beside, &target));
        written.inspect_err(|_| drop(fs::remove_file(&beside)))
    };
    write().map_err(|error| failed(path, &error))
}

/// Creates a file that must not exist yet, with the folders above it.
pub(super) fn create(path: &Path, text: &str) -> Result<(), CommandError> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = temp_path(path)?;
        // Unlike a rename, a link fails if the file exists, even if it was created in the meantime.
        let written = write_and_sync(&beside, text).and_then(|()| fs::hard_link(&beside, path));
        let _ = fs::remove_file(&beside);
        written
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => CommandError {
            exit: Exit::Failed,
            message: format!("{} already exists; nothing was overwritten", path.display()),
        },
        _ => failed(path, &error),
    })
}

/// Returns a hidden name in the same folder, which is ignored by loads.
fn temp_path(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.new", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn write_and_sync(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn failed(path: &Path, error: &io::Error) -> CommandError {
    CommandError { exit: Exit::Failed, message: format!("cannot write {}: {error}", path.display()) }
}
