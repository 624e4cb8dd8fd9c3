//! The files of the platform: one catalogue, and one file of rows for each source.
//!
//! A file per source means that a long sync of one never holds a lock another would wait for, and
//! that removing a source gives its room back at once.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{PlatformError, Storage};

const CATALOGUE: &str = "catalogue.db";
const ROWS: &str = "rows";
/// Long enough for another's short transaction; only people with `sqlite3` compete here.
const BUSY: Duration = Duration::from_secs(10);

/// Opens the databases of one platform.
pub(super) struct Store {
    place: Place,
}

enum Place {
    Directory(PathBuf),
    /// Names shared within this process. The first connection of each is kept open, since a
    /// database in memory ends with its last connection.
    Memory {
        prefix: String,
        open: Mutex<BTreeMap<String, Connection>>,
    },
}

impl Store {
    /// Makes the directory when it is missing and claims it: the file that comes back holds the
    /// claim until it is dropped.
    pub(super) fn open(storage: &Storage) -> Result<(Self, Option<File>), PlatformError> {
        let Storage::Directory(path) = storage else {
            let place = Place::Memory { prefix: random_hex(), open: Mutex::default() };
            return Ok((Self { place }, None));
        };
        let failed = |path: &Path| {
            let path = path.to_path_buf();
            move |source| PlatformError::Directory { path, source }
        };
        make_directory(path).map_err(failed(path))?;
        let path = path.canonicalize().map_err(failed(path))?;
        make_directory(&path.join(ROWS)).map_err(failed(&path))?;
        let lock = path.join("lock");
        make_file(&lock).map_err(failed(&lock))?;
        let claim = OpenOptions::new().write(true).open(&lock).map_err(failed(&lock))?;
        match claim.try_lock() {
            Ok(()) => Ok((Self { place: Place::Directory(path) }, Some(claim))),
            Err(std::fs::TryLockError::WouldBlock) => Err(PlatformError::InUse(path)),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(&lock)(source)),
        }
    }

    /// The directory, unless everything is in memory.
    pub(super) fn directory(&self) -> Option<&Path> {
        match &self.place {
            Place::Directory(path) => Some(path),
            Place::Memory { .. } => None,
        }
    }

    /// Opens the catalogue for writing.
    pub(super) fn catalogue(&self) -> Result<Connection, PlatformError> {
        let connection = self.database(CATALOGUE)?;
        // Configurations hold secrets; what is removed shall not linger in free pages.
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
        Ok(connection)
    }

    /// Opens the rows of a source for writing.
    pub(super) fn rows(&self, id: &str) -> Result<Connection, PlatformError> {
        self.database(&rows_file(id))
    }

    /// Removes the rows of a source; rows that are not there are no error.
    pub(super) fn remove_rows(&self, id: &str) -> Result<(), PlatformError> {
        match &self.place {
            Place::Memory { open, .. } => {
                open.lock().unwrap_or_else(PoisonError::into_inner).remove(&rows_file(id));
                Ok(())
            }
            Place::Directory(path) => remove_database(&path.join(rows_file(id))),
        }
    }

    /// Removes rows whose source is gone: a crash between the two steps of a cleanup leaves them.
    pub(super) fn sweep(&self, known: &BTreeSet<String>) -> Result<(), PlatformError> {
        let Place::Directory(path) = &self.place else { return Ok(()) };
        let folder = path.join(ROWS);
        let failed = |source| PlatformError::Directory { path: folder.clone(), source };
        for entry in folder.read_dir().map_err(failed)? {
            let name = entry.map_err(failed)?.file_name();
            let Some(id) = name.to_str().and_then(|name| name.strip_suffix(".db")) else { continue };
            if !known.contains(id) {
                self.remove_rows(id)?;
            }
        }
        Ok(())
    }

    fn database(&self, name: &str) -> Result<Connection, PlatformError> {
        match &self.place {
            Place::Directory(path) => {
                let file = path.join(name);
                make_file(&file).map_err(|source| PlatformError::Directory { path: file.clone(), source })?;
                let connection =
                    Connection::open_with_flags(&file, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
                ready(connection)
            }
            Place::Memory { prefix, open } => {
                let address = format!("file:/{prefix}-{}?vfs=memdb", name.replace('/', "-"));
                let mode = OpenFlags::SQLITE_OPEN_READ_WRITE
                    | OpenFlags::SQLITE_OPEN_CREATE
                    | OpenFlags::SQLITE_OPEN_URI;
                let mut open = open.lock().unwrap_or_else(PoisonError::into_inner);
                if !open.contains_key(name) {
                    open.insert(name.to_owned(), Connection::open_with_flags(&address, flags(mode))?);
                }
                ready(Connection::open_with_flags(&address, flags(mode))?)
            }
        }
    }
}

/// Opens the catalogue of a storage directory for reading.
pub(super) fn read_catalogue(directory: &Path) -> Result<Connection, PlatformError> {
    read_database(&directory.join(CATALOGUE))
}

/// Opens the rows of a source for reading; none when it was never synced.
pub(super) fn read_rows(directory: &Path, id: &str) -> Result<Option<Connection>, PlatformError> {
    let file = directory.join(rows_file(id));
    if !file.exists() {
        return Ok(None);
    }
    read_database(&file).map(Some)
}

/// Brings a database to `version` with `script`, refusing what a newer program wrote.
pub(super) fn migrate(connection: &Connection, version: i64, script: &str) -> Result<(), PlatformError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if found > version {
        return Err(PlatformError::Newer { found, known: version });
    }
    if found < version {
        let change = connection.unchecked_transaction()?;
        change.execute_batch(script)?;
        change.pragma_update(None, "user_version", version)?;
        change.commit()?;
    }
    Ok(())
}

/// Thirty-two hexadecimal digits nobody can guess.
pub(super) fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness once it is up");
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn rows_file(id: &str) -> String {
    format!("{ROWS}/{id}.db")
}

fn read_database(file: &Path) -> Result<Connection, PlatformError> {
    if let Err(source) = file.metadata() {
        return Err(PlatformError::Directory { path: file.to_path_buf(), source });
    }
    let connection = Connection::open_with_flags(file, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    connection.busy_timeout(BUSY)?;
    Ok(connection)
}

fn ready(connection: Connection) -> Result<Connection, PlatformError> {
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Each connection is used by one thread at a time, so SQLite needs no locks of its own.
fn flags(mode: OpenFlags) -> OpenFlags {
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// A new directory is ours alone. The mode of one that was there is its owner's matter: the files
/// in it are closed to others in any case.
fn make_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Makes the file when it is missing. SQLite gives its journals the mode of the database, so making
/// it first decides them all. An existing one is not opened: closing it again would drop the locks
/// that other connections of this process hold on it.
fn make_file(path: &Path) -> std::io::Result<()> {
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn remove_database(file: &Path) -> Result<(), PlatformError> {
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let mut path = file.as_os_str().to_owned();
        path.push(suffix);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != ErrorKind::NotFound => {
                return Err(PlatformError::Directory { path: path.into(), source });
            }
            _ => {}
        }
    }
    Ok(())
}
