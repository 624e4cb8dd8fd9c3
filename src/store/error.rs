//! Errors of the state store.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Reason why the state could not be read or written.
#[derive(Debug)]
pub enum StoreError {
    /// A file operation on the state failed.
    File {
        /// The attempted operation, for example `create the state directory`.
        operation: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: io::Error,
    },
    /// SQLite failed: busy, full, read-only or an I/O error.
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's error. Contains no stored values.
        source: rusqlite::Error,
    },
    /// The file is not a database, or the database is damaged.
    Damaged {
        /// The database.
        path: PathBuf,
        /// Evidence of the damage.
        why: String,
    },
    /// The database was written by a newer version of Wellspring.
    Newer {
        /// The database.
        path: PathBuf,
        /// Schema version of the database.
        found: i64,
        /// Newest schema version this program supports.
        supported: i64,
    },
    /// The fingerprint key file does not contain a key.
    Key {
        /// The file.
        path: PathBuf,
    },
    /// A file in the state directory cannot be trusted.
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// Predicate that completes the message, for example "is a link".
        why: String,
    },
    /// Another process kept the state's opening lock for too long.
    OpenTimeout {
        /// The lock file.
        path: PathBuf,
    },
    /// The value does not survive a round trip through the store.
    Unstorable {
        /// Owner of the value, for example a source's name.
        what: String,
    },
    /// No open intent has this number; another process closed it.
    NoSuchIntent(i64),
    /// The state was opened for reading only.
    ReadOnly {
        /// The state directory.
        path: PathBuf,
    },
    /// The store's thread has exited.
    Stopped,
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { operation: doing, path, .. } => write!(f, "could not {doing} {}", path.display()),
            Self::Database { path, source } if is_disk_full(source) => write!(
                f,
                "the state database {} cannot be written, because its disk is full; make room there",
                path.display()
            ),
            Self::Database { path, .. } => write!(f, "could not use the state database {}", path.display()),
            Self::Damaged { path, why } => write!(
                f,
                "the state database {} is damaged ({why}); it was left as it is. Restore it from a backup, \
                 or move it away and run again: without it nothing is removed from the platform, and \
                 sources that are as declared are adopted again",
                path.display()
            ),
            Self::Newer { path, found, supported: known } => write!(
                f,
                "the state database {} was written by a newer wellspring (schema {found}; this one knows \
                 {known}); use that version, or another --state-dir",
                path.display()
            ),
            Self::Key { path } => write!(
                f,
                "the fingerprint key {} is not 32 bytes long; restore it from a backup, or move it away and \
                 run again: secrets are then compared anew after their next change",
                path.display()
            ),
            Self::Untrusted { path, why } => write!(
                f,
                "{} {why}; it was left as it is. Remove it if you did not put it there, or name another --state-dir",
                path.display()
            ),
            Self::OpenTimeout { path } => write!(
                f,
                "another process is still opening this state (it holds {}); try again, or end that process",
                path.display()
            ),
            Self::Unstorable { what } => write!(
                f,
                "{what} cannot be recorded: its definition is nested too deeply, or holds a number that is \
                 not finite"
            ),
            Self::NoSuchIntent(number) => {
                write!(
                    f,
                    "intent {number} is not open any more; another process has dealt with it: plan again"
                )
            }
            Self::ReadOnly { path } => {
                write!(f, "the state in {} was opened for reading only", path.display())
            }
            Self::Stopped => f.write_str("the state store has stopped after an internal fault; start again"),
        }
    }
}

impl std::error::Error for StoreError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Database { source, .. } if !is_disk_full(source) => Some(source),
            _ => None,
        }
    }
}

/// Returns true if the disk is full; the log and its index need space too.
fn is_disk_full(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_FULL | ffi::SQLITE_IOERR_SHMSIZE))
}

/// Error inside a transaction, before the database path is attached.
#[derive(Debug)]
pub(super) enum DbError {
    Sqlite(rusqlite::Error),
    /// A stored value cannot be decoded; names the table and the defect.
    Undecodable(String),
    Store(StoreError),
}

impl From<rusqlite::Error> for DbError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StoreError> for DbError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl DbError {
    /// Attaches the path; separates damage from a busy or full database.
    pub(super) fn with_path(self, path: PathBuf) -> StoreError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Store(error) => error,
            Self::Undecodable(why) => StoreError::Damaged { path, why },
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
