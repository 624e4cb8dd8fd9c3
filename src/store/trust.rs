//! Checks which files the state may consist of.
//!
//! By default the state directory is inside the tree, which others can write through a repository. A
//! link could lead elsewhere, and a planted database could claim foreign sources as managed.

use super::StoreError;
use super::create::DRAFT;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// Names that the state directory contains: files, and directories.
const FILES: [&str; 9] = [
    "state.db",
    "state.db-wal",
    "state.db-shm",
    DRAFT[0],
    DRAFT[1],
    DRAFT[2],
    "fingerprint.key",
    "fingerprint.key.new",
    "open.lock",
];
const FOLDERS: [&str; 3] = ["locks", "processes", "platform"];

/// Checks existing files in `dir` without opening them, because a FIFO would block.
///
/// # Errors
/// [`StoreError::Untrusted`] if an entry is a link, of the wrong kind, or another user's.
pub(super) fn check(dir: &Path) -> Result<(), StoreError> {
    let Ok(whole) = fs::metadata(dir) else { return Ok(()) };
    if dir.file_name().is_some_and(|name| name == ".wellspring") {
        not_linked(dir)?;
    }
    owned(dir, &whole)?;
    for (names, folder) in [(&FILES[..], false), (&FOLDERS[..], true)] {
        for name in names {
            let path = dir.join(name);
            let Ok(metadata) = path.symlink_metadata() else { continue };
            not_linked(&path)?;
            let kind = metadata.file_type();
            if kind.is_dir() != folder || !folder && !kind.is_file() {
                let special =
                    kind.is_fifo() || kind.is_socket() || kind.is_char_device() || kind.is_block_device();
                let why = if special { "is no regular file" } else { "is of the wrong kind" };
                return Err(untrusted(&path, why.to_owned()));
            }
            owned(&path, &metadata)?;
        }
    }
    Ok(())
}

fn not_linked(path: &Path) -> Result<(), StoreError> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => {
            Err(untrusted(path, "is a link, and no link is followed there".to_owned()))
        }
        _ => Ok(()),
    }
}

/// Checks that this user or root owns the file.
fn owned(path: &Path, metadata: &Metadata) -> Result<(), StoreError> {
    let me = rustix::process::geteuid().as_raw();
    match metadata.uid() {
        owner if owner == me || owner == 0 => Ok(()),
        owner => Err(untrusted(path, format!("belongs to another user (uid {owner})"))),
    }
}

fn untrusted(path: &Path, why: String) -> StoreError {
    StoreError::Untrusted { path: path.to_owned(), why }
}

/// Open options for state files: no links followed, no blocking on a FIFO.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    options
}

/// Writes a `.gitignore`, so that Git does not track the directory.
pub(super) fn write_gitignore(dir: &Path) {
    // Best effort: nothing depends on the file.
    let file: io::Result<File> = options().write(true).create_new(true).open(dir.join(".gitignore"));
    if let Ok(mut file) = file {
        let _ = file.write_all(b"*\n");
    }
}
