//! Writing files of the tree: whole, or not at all.

use super::{Exit, Failure};
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Replaces what stands there by renaming a finished file into place. The permissions stay; a symlink
/// stays one, and what it leads to is replaced.
pub(super) fn replace(path: &Path, text: &str) -> Result<(), Failure> {
    let target = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    let write = || -> io::Result<()> {
        let beside = beside(&target)?;
        let written = fill(&beside, text)
            .and_then(|()| match fs::metadata(&target) {
                Ok(metadata) => fs::set_permissions(&beside, metadata.permissions()),
                Err(_) => Ok(()),
            })
            .and_then(|()| fs::rename(&beside, &target));
        written.inspect_err(|_| drop(fs::remove_file(&beside)))
    };
    write().map_err(|error| failed(path, &error))
}

/// Writes a file where none stands, with the folders above it.
pub(super) fn create(path: &Path, text: &str) -> Result<(), Failure> {
    let write = || -> io::Result<()> {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        let beside = beside(path)?;
        // A link fails where something stands, whoever put it there in the meantime.
        let written = fill(&beside, text).and_then(|()| fs::hard_link(&beside, path));
        let _ = fs::remove_file(&beside);
        written
    };
    write().map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure {
            exit: Exit::Failed,
            message: format!("{} already exists; nothing was overwritten", path.display()),
        },
        _ => failed(path, &error),
    })
}

/// A hidden name in the same folder: no reading of the tree takes it for a file.
fn beside(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut hidden = std::ffi::OsString::from(".");
    hidden.push(name);
    hidden.push(format!(".{}.new", std::process::id()));
    Ok(path.with_file_name(hidden))
}

fn fill(path: &Path, text: &str) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()
}

fn failed(path: &Path, error: &io::Error) -> Failure {
    Failure { exit: Exit::Failed, message: format!("cannot write {}: {error}", path.display()) }
}
