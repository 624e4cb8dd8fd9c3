//! Creates a database in one go: a draft with the newest schema, renamed into place.

use super::error::DbError;
use super::{StoreError, database, db, schema};
use rusqlite::Connection;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Files of the draft; SQLite makes the latter two.
pub(super) const DRAFT: [&str; 3] = ["state.db.new", "state.db.new-wal", "state.db.new-shm"];

/// Creates the database if `dir` has none; the caller makes the rename durable.
///
/// Returns true if it was created. The caller holds the opening lock.
pub(super) fn create_if_missing(dir: &Path) -> Result<bool, StoreError> {
    let path = database(dir);
    if path.symlink_metadata().is_ok() {
        return Ok(false);
    }
    let draft = dir.join(DRAFT[0]);
    let failed =
        |source| StoreError::File { operation: "create the state database", path: path.clone(), source };
    for leftover in DRAFT {
        remove(&dir.join(leftover)).map_err(failed)?;
    }
    // Create the file here, so that SQLite's own files inherit its mode.
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft).map_err(failed)?;
    fill(&draft).map_err(|fault| fault.with_path(path.clone()))?;
    File::open(&draft).and_then(|draft| draft.sync_all()).map_err(failed)?;
    fs::rename(&draft, &path).map_err(failed)?;
    Ok(true)
}

/// Writes the tables, without waiting for the disk: an incomplete draft is discarded.
fn fill(draft: &Path) -> Result<(), DbError> {
    let mut connection = Connection::open_with_flags(draft, db::WRITER_FLAGS)?;
    connection.pragma_update(None, "page_size", db::PAGE_SIZE)?;
    connection.pragma_update(None, "synchronous", "OFF")?;
    connection.pragma_update_and_check(None, "journal_mode", "MEMORY", |_| Ok(()))?;
    schema::migrate(&mut connection, 0)?;
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.close().map_err(|(_, error)| error.into())
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Makes the names of new files in `dir` durable.
pub(super) fn sync_dir(dir: &Path) -> Result<(), StoreError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(|source| StoreError::File {
        operation: "write the state directory",
        path: dir.to_owned(),
        source,
    })
}
