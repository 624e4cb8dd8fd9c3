//! Which files a state may be made of. By default it lies in the tree, which others can write through a
//! repository: a link there leads elsewhere, and what someone else made says what is ours.

use super::StateError;
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;

/// What stands in a state directory: files, and directories.
const FILES: [&str; 6] =
    ["state.db", "state.db-wal", "state.db-shm", "fingerprint.key", "fingerprint.key.new", "open.lock"];
const FOLDERS: [&str; 3] = ["locks", "processes", "platform"];

/// Checks what stands in `dir` already. Nothing is opened: a FIFO would wait for its other end.
///
/// # Errors
/// [`StateError::Untrusted`] where something in it is a link, of the wrong kind, or another user's.
pub(super) fn check(dir: &Path) -> Result<(), StateError> {
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

fn not_linked(path: &Path) -> Result<(), StateError> {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => {
            Err(untrusted(path, "is a link, and no link is followed there".to_owned()))
        }
        _ => Ok(()),
    }
}

/// This user made it, or root did.
fn owned(path: &Path, metadata: &Metadata) -> Result<(), StateError> {
    let me = rustix::process::geteuid().as_raw();
    match metadata.uid() {
        owner if owner == me || owner == 0 => Ok(()),
        owner => Err(untrusted(path, format!("belongs to another user (uid {owner})"))),
    }
}

fn untrusted(path: &Path, why: String) -> StateError {
    StateError::Untrusted { path: path.to_owned(), why }
}

/// Options for a file of the state: a link is not followed, and a FIFO is not waited for.
pub(super) fn options() -> OpenOptions {
    let mut options = OpenOptions::new();
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    options.mode(0o600).custom_flags(i32::try_from(flags.bits()).unwrap_or_default());
    options
}

/// Keeps Git from taking the directory up.
pub(super) fn ignore(dir: &Path) {
    // Where it cannot be written, or stands already, nothing depends on it.
    let file: io::Result<File> = options().write(true).create_new(true).open(dir.join(".gitignore"));
    if let Ok(mut file) = file {
        let _ = file.write_all(b"*\n");
    }
}
