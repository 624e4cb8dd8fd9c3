//! Reads of a database file that leave no files behind.

use super::StoreError;
use super::error::DbError;
use rusqlite::{Connection, OpenFlags};
use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum wait for another process's write.
///
/// Writes take milliseconds; the margin is for a stalled disk.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Attempts at a lock-free read before reading with locks.
const IMMUTABLE_READ_ATTEMPTS: usize = 3;

/// Reads without leaving files behind.
///
/// SQLite normally creates `-wal` and `-shm` files. If neither exists because the last writer
/// closed cleanly, reads the file as immutable, and accepts the result only if the file did not
/// change meanwhile.
pub(super) fn read_immutable<T>(
    path: &Path,
    work: impl Fn(&Connection) -> Result<T, DbError>,
) -> Result<T, DbError> {
    for _ in 0..IMMUTABLE_READ_ATTEMPTS {
        let Some(before) = wal_free_identity(path) else { break };
        let value = read_with(path, "immutable=1", &work);
        if wal_free_identity(path).is_some_and(|after| after == before) {
            return value;
        }
    }
    read_with(path, "mode=ro", &work)
}

fn read_with<T>(
    path: &Path,
    how: &str,
    work: impl Fn(&Connection) -> Result<T, DbError>,
) -> Result<T, DbError> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_with_flags(uri(path, how)?, flags)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    let transaction = connection.transaction()?;
    work(&transaction)
}

/// Identity of a database file without a WAL; `None` while a WAL exists.
fn wal_free_identity(path: &Path) -> Option<(u64, Option<std::time::SystemTime>)> {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let seen = |metadata: Metadata| (metadata.len(), metadata.modified().ok());
    if log.exists() { None } else { fs::metadata(path).ok().map(seen) }
}

/// Formats `path` as an SQLite URI, percent-encoding all syntax characters.
fn uri(path: &Path, how: &str) -> Result<String, DbError> {
    use std::fmt::Write;
    let path = std::path::absolute(path).map_err(|source| StoreError::File {
        operation: "find",
        path: path.to_owned(),
        source,
    })?;
    let mut uri = "file://".to_owned();
    for byte in path.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'-' | b'_' | b'.' => uri.push(char::from(*byte)),
            byte if byte.is_ascii_alphanumeric() => uri.push(char::from(*byte)),
            byte => {
                let _ = write!(uri, "%{byte:02X}");
            }
        }
    }
    let _ = write!(uri, "?{how}");
    Ok(uri)
}
