//! Files of the platform: one registry, and one file of rows for each source.
//!
//! With a file per source, a long sync holds no lock that others need, and removing a source frees
//! its disk space at once.

use super::lock;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::{PlatformError, Storage};

const CATALOGUE: &str = "catalogue.db";
const ROWS: &str = "rows";
/// Maximum wait for another transaction, such as that of a user with `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) struct PlatformStore {
    place: StoragePlace,
}

/// Lock on a storage directory, released on drop.
///
/// Closing the file is not enough: a process that was just forked holds a copy of it, and with it the lock.
#[derive(Debug)]
pub(super) struct StorageLock(File);

impl Drop for StorageLock {
    fn drop(&mut self) {
        // Closing the file releases the lock otherwise.
        let _ = self.0.unlock();
    }
}

enum StoragePlace {
    Directory(PathBuf),
    /// Databases in memory with names shared within this process.
    ///
    /// One connection to each stays open, because the database ends with its last connection.
    Memory {
        prefix: String,
        open: Mutex<BTreeMap<String, Connection>>,
    },
}

impl PlatformStore {
    /// Creates the directory if missing, and locks it.
    pub(super) fn open(storage: &Storage) -> Result<(Self, Option<StorageLock>), PlatformError> {
        let Storage::Directory(path) = storage else {
            let place = StoragePlace::Memory { prefix: random_hex(), open: Mutex::default() };
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
            Ok(()) => Ok((Self { place: StoragePlace::Directory(path) }, Some(StorageLock(claim)))),
            Err(std::fs::TryLockError::WouldBlock) => Err(PlatformError::InUse(path)),
            Err(std::fs::TryLockError::Error(source)) => Err(failed(&lock)(source)),
        }
    }

    /// Returns the directory; `None` if everything is in memory.
    pub(super) fn directory(&self) -> Option<&Path> {
        match &self.place {
            StoragePlace::Directory(path) => Some(path),
            StoragePlace::Memory { .. } => None,
        }
    }

    /// Opens the registry for writing.
    pub(super) fn catalogue(&self) -> Result<Connection, PlatformError> {
        let connection = self.database(CATALOGUE)?;
        // Configurations contain secrets; do not leave removed ones in free pages.
        connection.pragma_update_and_check(None, "secure_delete", true, |_| Ok(()))?;
        Ok(connection)
    }

    /// Opens the rows of a source for writing.
    pub(super) fn rows(&self, id: &str) -> Result<Connection, PlatformError> {
        self.database(&rows_file(id))
    }

    /// Removes the rows of a source; missing rows are no error.
    pub(super) fn remove_rows(&self, id: &str) -> Result<(), PlatformError> {
        match &self.place {
            StoragePlace::Memory { open, .. } => {
                lock(open).remove(&rows_file(id));
                Ok(())
            }
            StoragePlace::Directory(path) => remove_database(&path.join(rows_file(id))),
        }
    }

    /// Removes rows without a source, left by a crash between the steps of a cleanup.
    pub(super) fn remove_orphans(&self, known: &BTreeSet<String>) -> Result<(), PlatformError> {
        let StoragePlace::Directory(path) = &self.place else { return Ok(()) };
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
            StoragePlace::Directory(path) => {
                let file = path.join(name);
                make_file(&file).map_err(|source| PlatformError::Directory { path: file.clone(), source })?;
                let connection =
                    Connection::open_with_flags(&file, flags(OpenFlags::SQLITE_OPEN_READ_WRITE))?;
                connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
                configure(connection)
            }
            StoragePlace::Memory { prefix, open } => {
                let address = format!("file:/{prefix}-{}?vfs=memdb", name.replace('/', "-"));
                let mode = OpenFlags::SQLITE_OPEN_READ_WRITE
                    | OpenFlags::SQLITE_OPEN_CREATE
                    | OpenFlags::SQLITE_OPEN_URI;
                let mut open = lock(open);
                if !open.contains_key(name) {
                    open.insert(name.to_owned(), Connection::open_with_flags(&address, flags(mode))?);
                }
                configure(Connection::open_with_flags(&address, flags(mode))?)
            }
        }
    }
}

/// Opens the registry of a storage directory for reading.
pub(super) fn read_catalogue(directory: &Path) -> Result<Connection, PlatformError> {
    read_database(&directory.join(CATALOGUE))
}

/// Opens the rows of a source for reading; `None` if it was never synced.
pub(super) fn read_rows(directory: &Path, id: &str) -> Result<Option<Connection>, PlatformError> {
    let file = directory.join(rows_file(id));
    if !file.exists() {
        return Ok(None);
    }
    read_database(&file).map(Some)
}

/// Migrates a database with the scripts that follow its version; rejects newer databases.
pub(super) fn migrate(connection: &Connection, scripts: &[&str]) -> Result<(), PlatformError> {
    let found: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let supported = i64::try_from(scripts.len()).unwrap_or(i64::MAX);
    let missing = usize::try_from(found).ok().and_then(|found| scripts.get(found..));
    let missing = missing.ok_or(PlatformError::Newer { found, supported })?;
    if !missing.is_empty() {
        let change = connection.unchecked_transaction()?;
        change.execute_batch(&missing.concat())?;
        change.pragma_update(None, "user_version", supported)?;
        change.commit()?;
    }
    Ok(())
}

/// Returns 32 random hexadecimal digits.
pub(super) fn random_hex() -> String {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).expect("the system has randomness once it is up");
    hex::encode(bytes)
}

fn rows_file(id: &str) -> String {
    format!("{ROWS}/{id}.db")
}

fn read_database(file: &Path) -> Result<Connection, PlatformError> {
    if let Err(source) = file.metadata() {
        return Err(PlatformError::Directory { path: file.to_path_buf(), source });
    }
    let connection = Connection::open_with_flags(file, flags(OpenFlags::SQLITE_OPEN_READ_ONLY))?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    Ok(connection)
}

fn configure(connection: Connection) -> Result<Connection, PlatformError> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Each connection is used by one thread at a time, so SQLite needs no mutexes.
fn flags(mode: OpenFlags) -> OpenFlags {
    mode | OpenFlags::SQLITE_OPEN_NO_MUTEX
}

/// Creates a directory with mode 0700; keeps the mode of an existing one.
///
/// The files in it are private in any case.
fn make_directory(path: &Path) -> std::io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Creates a missing file, so that SQLite's journals inherit its mode.
///
/// An existing file is not opened, because closing it would release the locks of other connections
/// in this process.
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
