//! Reads of a database file that leave no files behind.
//!
//! Reads of an unchanged file share one connection.

use super::StoreError;
use super::error::DbError;
use rusqlite::{Connection, OpenFlags};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Maximum wait for another process's write.
///
/// Writes take milliseconds; the margin is for a stalled disk.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

/// Capacity of the statement cache, larger than the number of statements.
pub(super) const STATEMENTS: usize = 64;

/// Attempts at a lock-free read before reading with locks.
const IMMUTABLE_READ_ATTEMPTS: usize = 3;

/// A database file that is only read.
pub(super) struct ReadOnlyDatabase {
    path: PathBuf,
    /// Connection to the file as immutable, with the identity that the file then had.
    immutable: Option<(FileIdentity, Connection)>,
}

/// Inode, size, and times of the last write and the last change.
#[derive(Clone, Copy, PartialEq, Eq)]
struct FileIdentity(u64, u64, (i64, i64), (i64, i64));

impl ReadOnlyDatabase {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), immutable: None }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Reads without leaving files behind.
    ///
    /// SQLite normally creates `-wal` and `-shm` files. If neither exists because the last writer
    /// closed cleanly, reads the file as immutable, and accepts the result only if the file did not
    /// change meanwhile.
    pub(super) fn read<T>(&mut self, work: impl Fn(&Connection) -> Result<T, DbError>) -> Result<T, DbError> {
        for _ in 0..IMMUTABLE_READ_ATTEMPTS {
            let Some(before) = self.wal_free_identity() else { break };
            let kept = self.immutable.take().filter(|(identity, _)| *identity == before);
            let connection = match kept {
                Some((_, connection)) => Ok(connection),
                None => self.open("immutable=1"),
            };
            let value = connection.and_then(|mut connection| {
                let value = snapshot(&mut connection, &work);
                self.immutable = Some((before, connection));
                value
            });
            if self.wal_free_identity().is_some_and(|after| after == before) {
                return value;
            }
        }
        // Not kept, because a connection that stays open keeps a writer from removing its files.
        self.immutable = None;
        snapshot(&mut self.open("mode=ro")?, &work)
    }

    fn open(&self, how: &str) -> Result<Connection, DbError> {
        let flags =
            OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
        let connection = Connection::open_with_flags(uri(&self.path, how)?, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        Ok(connection)
    }

    /// Returns the identity of the file; `None` while a WAL exists.
    fn wal_free_identity(&self) -> Option<FileIdentity> {
        let log = PathBuf::from(format!("{}-wal", self.path.display()));
        let metadata = fs::metadata(&self.path).ok().filter(|_| !log.exists())?;
        let written = (metadata.mtime(), metadata.mtime_nsec());
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        Some(FileIdentity(metadata.ino(), metadata.len(), written, changed))
    }
}

fn snapshot<T>(
    connection: &mut Connection,
    work: impl Fn(&Connection) -> Result<T, DbError>,
) -> Result<T, DbError> {
    let transaction = connection.transaction()?;
    work(&transaction)
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
