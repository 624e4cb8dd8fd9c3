//! Errors of the state store.

use std::io;
use std::path::PathBuf;
use thiserror::Error;

/// Reason why the state could not be read or written.
#[derive(Debug, Error)]
pub enum StoreError {
    #[error("could not {operation} {path}")]
    File {
        /// The attempted operation, for example `create the state directory`.
        operation: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("the state database {path} cannot be written, because its disk is full; make room there")]
    DiskFull { path: PathBuf },
    /// SQLite failed: busy, read-only or an I/O error.
    #[error("could not use the state database {path}")]
    Database {
        path: PathBuf,
        /// SQLite's error. Contains no stored values.
        source: rusqlite::Error,
    },
    #[error(
        "the state database {path} is damaged ({why}); it was left as it is. Restore it from a backup, or move it away \
         and run again: without it nothing is removed from the platform, and sources that are as declared are adopted again"
    )]
    Damaged { path: PathBuf, why: String },
    #[error(
        "the state database {path} was written by a newer wellspring (schema {found}; this one knows {supported}); use \
         that version, or another --state-dir"
    )]
    Newer {
        path: PathBuf,
        found: i64,
        /// Newest schema version this program supports.
        supported: i64,
    },
    #[error(
        "the fingerprint key {path} is not 32 bytes long; restore it from a backup, or move it away and run again: \
         secrets are then compared again after their next change"
    )]
    Key { path: PathBuf },
    #[error(
        "{path} {why}; it was left as it is. Remove it if you did not put it there, or name another --state-dir"
    )]
    Untrusted {
        path: PathBuf,
        /// Predicate that completes the message, for example "is a link".
        why: String,
    },
    #[error("another process is still opening this state (it holds {path}); try again, or end that process")]
    OpenTimeout { path: PathBuf },
    #[error(
        "{what} cannot be recorded: its definition is nested too deeply, or holds a number that is not finite"
    )]
    Unstorable {
        /// Owner of the value, for example a source's name.
        what: String,
    },
    #[error("intent {0} is not open any more; another process has dealt with it: plan again")]
    NoSuchIntent(i64),
    #[error("the state in {path} was opened for reading only")]
    ReadOnly { path: PathBuf },
    #[error("the state store has stopped after an internal fault; start again")]
    Stopped,
}

/// Returns true if the disk is full; the log and its index need space too.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_FULL | ffi::SQLITE_IOERR_SHMSIZE))
}

/// Error inside a transaction, before the database path is attached.
#[derive(Debug, Error)]
pub(super) enum DbError {
    #[error(transparent)]
    Sqlite(#[from] rusqlite::Error),
    /// A stored value cannot be decoded; names the table and the defect.
    #[error("{0}")]
    Undecodable(String),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl DbError {
    /// Attaches the path; separates damage from a busy or full database.
    pub(super) fn with_path(self, path: PathBuf) -> StoreError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Store(error) => error,
            Self::Undecodable(why) => StoreError::Damaged { path, why },
            Self::Sqlite(error) if is_disk_full(&error) => StoreError::DiskFull { path },
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(DatabaseCorrupt | NotADatabase) => StoreError::Damaged { path, why: error.to_string() },
                _ if matches!(
                    error,
                    rusqlite::Error::FromSqlConversionFailure(..)
                        | rusqlite::Error::InvalidColumnType(..)
                        | rusqlite::Error::IntegralValueOutOfRange(..)
                        | rusqlite::Error::Utf8Error(..)
                ) =>
                {
                    StoreError::Damaged { path, why: error.to_string() }
                }
                _ => StoreError::Database { path, source: error },
            },
        }
    }
}
