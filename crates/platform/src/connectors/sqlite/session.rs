//! A SQLite file, opened read-only without creating files next to it.

use std::fs::Metadata;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::{Connection, OpenFlags};
use tokio::task::AbortHandle;

use super::super::file::DataFile;
use super::super::{MAX_RECORD_BYTES, ReadError};

/// Maximum wait for another process that writes to the file.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
const INTERRUPT_INTERVAL: Duration = Duration::from_millis(50);
const PATH: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/');

/// An open file, whose queries are interrupted on shutdown or after `limit`.
pub(super) struct SqliteSession {
    pub(super) connection: Connection,
    path: PathBuf,
    /// Metadata of the file, if it is read as immutable.
    unchanged_stamp: Option<FileStamp>,
    watch: AbortHandle,
}

type FileStamp = (u64, u64, i64, i64);

impl SqliteSession {
    pub(super) fn open(named: &DataFile, limit: Option<Duration>) -> Result<Self, ReadError> {
        let path = named.find()?;
        let mut file = named.open()?;
        let mut header = Vec::new();
        let about = file.metadata().map_err(|error| named.unreadable(&error))?;
        (&mut file).take(20).read_to_end(&mut header).map_err(|error| named.unreadable(&error))?;
        // For a file with a write-ahead log, SQLite creates two files and leaves them. If the log
        // is empty, everything is in the file itself: read it as immutable, and let `finish` verify
        // that it did not change.
        let logged = header.get(18..20) == Some(&[2, 2]);
        let still = if logged && is_wal_empty(&path) { Some(stamp(&about)) } else { None };
        let connection = connect(&path, still.is_some()).map_err(|error| failure(named, None, &error))?;
        let watch = interrupt_on_stop(named, &connection, limit);
        Ok(Self { connection, path, unchanged_stamp: still, watch })
    }

    /// Fails if the file changed during the read.
    pub(super) fn finish(&self, named: &DataFile) -> Result<(), ReadError> {
        let Some(before) = self.unchanged_stamp else { return Ok(()) };
        let now = self.path.metadata().map_err(|error| named.unreadable(&error))?;
        if stamp(&now) == before {
            Ok(())
        } else {
            Err(named.content_error("the file was changed while it was read; sync again"))
        }
    }
}

impl Drop for SqliteSession {
    fn drop(&mut self) {
        self.watch.abort();
    }
}

/// Describes an SQLite error, with the table if given.
pub(super) fn failure(named: &DataFile, table: Option<&str>, error: &rusqlite::Error) -> ReadError {
    use rusqlite::ErrorCode;
    let said = match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase) => "this is not a SQLite file, or it is encrypted".to_owned(),
        Some(ErrorCode::CannotOpen) => "SQLite cannot open the file".to_owned(),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "someone writes to the file and does not end; try again".to_owned()
        }
        Some(ErrorCode::OperationInterrupted) => match named.reach().stop() {
            Some(reason) => return reason,
            None => "reading took too long".to_owned(),
        },
        Some(ErrorCode::TooBig) => format!("a value is larger than {} MiB", MAX_RECORD_BYTES >> 20),
        _ => format!("SQLite: {error}"),
    };
    named.content_error(table.map_or_else(|| said.clone(), |table| format!("table \"{table}\": {said}")))
}

fn connect(path: &Path, still: bool) -> rusqlite::Result<Connection> {
    // The path is resolved; a link created since is not followed.
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY
        | OpenFlags::SQLITE_OPEN_NO_MUTEX
        | OpenFlags::SQLITE_OPEN_NOFOLLOW
        | OpenFlags::SQLITE_OPEN_URI;
    let path = percent_encode(path.as_os_str().as_bytes(), PATH);
    let connection = Connection::open_with_flags(
        format!("file:{path}{}", if still { "?immutable=1" } else { "" }),
        flags,
    )?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, i32::try_from(MAX_RECORD_BYTES).unwrap_or(i32::MAX))?;
    // The file is untrusted: restrict its views and triggers.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    connection.pragma_update(None, "query_only", true)?;
    connection.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
    Ok(connection)
}

fn interrupt_on_stop(named: &DataFile, connection: &Connection, limit: Option<Duration>) -> AbortHandle {
    let interrupt = connection.get_interrupt_handle();
    let stopped = named.reach().wait_for_stop();
    let waiting = async move {
        match limit {
            // Continue in both cases.
            Some(limit) => drop(tokio::time::timeout(limit, stopped).await),
            None => stopped.await,
        }
        // Repeat, because an interruption affects running queries only.
        loop {
            interrupt.interrupt();
            tokio::time::sleep(INTERRUPT_INTERVAL).await;
        }
    };
    named.reach().runtime.spawn(waiting).abort_handle()
}

fn is_wal_empty(path: &Path) -> bool {
    let mut log = path.as_os_str().to_owned();
    log.push("-wal");
    std::fs::metadata(log).map_or(true, |log| log.len() == 0)
}

fn stamp(about: &Metadata) -> FileStamp {
    (about.ino(), about.len(), about.mtime(), about.mtime_nsec())
}
