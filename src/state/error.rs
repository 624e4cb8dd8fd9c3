//! What can go wrong with the state store.

use std::fmt;
use std::io;
use std::path::PathBuf;

/// Why the state could not be read or written.
#[derive(Debug)]
pub enum StateError {
    /// A file or directory of the state could not be handled.
    File {
        /// What was attempted, for example `create the state directory`.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The operating system's answer.
        source: io::Error,
    },
    /// The database could not do what it was asked: busy, full, read-only, I/O.
    Database {
        /// The database.
        path: PathBuf,
        /// SQLite's answer. Holds no values.
        source: rusqlite::Error,
    },
    /// The database is not one, or is damaged.
    Damaged {
        /// The database.
        path: PathBuf,
        /// What shows it.
        why: String,
    },
    /// A newer Wellspring wrote it.
    Newer {
        /// The database.
        path: PathBuf,
        /// Its schema's version.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The fingerprint key's file does not hold a key.
    Key {
        /// The file.
        path: PathBuf,
    },
    /// Something in the state directory is not what this program made there.
    Untrusted {
        /// The file or directory.
        path: PathBuf,
        /// Completes the sentence: "is a link".
        why: String,
    },
    /// Another process has been opening the state for too long.
    Opening {
        /// The lock's file.
        path: PathBuf,
    },
    /// The value would not come back from the store as it went in.
    Unstorable {
        /// What it belongs to, for example a source's name.
        what: String,
    },
    /// There is no such open intent: someone else closed it.
    NoSuchIntent(i64),
    /// The state was opened for reading only.
    ReadOnly {
        /// The state directory.
        path: PathBuf,
    },
    /// The store's thread has ended.
    Stopped,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { doing, path, .. } => write!(f, "could not {doing} {}", path.display()),
            Self::Database { path, source } if is_full(source) => write!(
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
            Self::Newer { path, found, known } => write!(
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
            Self::Opening { path } => write!(
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

impl std::error::Error for StateError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::File { source, .. } => Some(source),
            Self::Database { source, .. } if !is_full(source) => Some(source),
            _ => None,
        }
    }
}

/// Is there no room to write? Also the log beside the database and its index need some.
fn is_full(error: &rusqlite::Error) -> bool {
    use rusqlite::ffi;
    let code = error.sqlite_error().map(|error| error.extended_code);
    matches!(code, Some(ffi::SQLITE_FULL | ffi::SQLITE_IOERR_SHMSIZE))
}

/// What goes wrong inside one transaction, before the database's path is known.
#[derive(Debug)]
pub(super) enum Fault {
    Sqlite(rusqlite::Error),
    /// A stored value that cannot be read back: the table and what is wrong.
    Unreadable(String),
    Plain(StateError),
}

impl From<rusqlite::Error> for Fault {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

impl From<StateError> for Fault {
    fn from(error: StateError) -> Self {
        Self::Plain(error)
    }
}

impl Fault {
    /// The error for people. Damage is told apart from a database that is merely busy or full.
    pub(super) fn at(self, path: PathBuf) -> StateError {
        use rusqlite::ErrorCode::{DatabaseCorrupt, NotADatabase};
        match self {
            Self::Plain(error) => error,
            Self::Unreadable(why) => StateError::Damaged { path, why },
            Self::Sqlite(error) => match error.sqlite_error_code() {
                Some(DatabaseCorrupt | NotADatabase) => StateError::Damaged { path, why: error.to_string() },
                _ if matches!(
                    error,
                    rusqlite::Error::FromSqlConversionFailure(..)
                        | rusqlite::Error::InvalidColumnType(..)
                        | rusqlite::Error::IntegralValueOutOfRange(..)
                        | rusqlite::Error::Utf8Error(..)
                ) =>
                {
                    StateError::Damaged { path, why: error.to_string() }
                }
                _ => StateError::Database { path, source: error },
            },
        }
    }
}
