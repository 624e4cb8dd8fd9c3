//! One thread owns the database; everyone else sends it work and awaits the answer.

use super::error::Fault;
use super::schema::{self, Version};
use super::{State, StateError, database};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::fs::{self, DirBuilder, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// How long a write waits for another process's write. Writes take milliseconds; this is for a
/// stalled disk.
const BUSY: Duration = Duration::from_secs(10);

/// How often a read without locks is tried before it takes the way with locks.
const GLANCES: usize = 3;

type Work = Box<dyn FnOnce(&mut Access) + Send>;

/// The handle on the thread. Dropping it finishes the work at hand and closes the database.
pub(super) struct Store {
    work: Option<Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

/// How the thread gets at the database.
pub(super) enum Access {
    /// The one connection that writes.
    Writer(Connection),
    /// Reading only: each read opens the database for itself.
    Reader(PathBuf),
}

impl Store {
    /// Opens or makes the database, brings its schema up to date, and runs `first` on it.
    pub(super) fn open(
        dir: &Path,
        first: impl FnOnce(&mut Connection) -> Result<(), Fault>,
    ) -> Result<Self, StateError> {
        let path = database(dir);
        // Made here, so that SQLite's own files take over its mode.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                return Err(StateError::File { doing: "create the state database", path, source });
            }
            _ => {}
        }
        let connection = writer(&path, first).map_err(|fault| fault.at(path.clone()))?;
        Self::start(Access::Writer(connection), path)
    }

    /// `None` when there is no database. Creates nothing.
    pub(super) fn open_read_only(dir: &Path) -> Result<Option<Self>, StateError> {
        let path = database(dir);
        match fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(StateError::File { doing: "read the state database", path, source }),
        }
        let version = glance(&path, schema::version);
        match version.map_err(|fault| fault.at(path.clone()))? {
            Version::Empty => Ok(None),
            Version::Ours(schema::KNOWN) => Self::start(Access::Reader(path.clone()), path).map(Some),
            Version::Ours(found) if found < schema::KNOWN => Err(StateError::Older { path }),
            Version::Ours(found) => Err(StateError::Newer { path, found, known: schema::KNOWN }),
            Version::Foreign => Err(foreign(path)),
        }
    }

    fn start(mut access: Access, path: PathBuf) -> Result<Self, StateError> {
        let (work, orders): (Sender<Work>, Receiver<Work>) = channel();
        let thread = std::thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || orders.into_iter().for_each(|order| order(&mut access)))
            .map_err(|source| StateError::File {
                doing: "start the thread for",
                path: path.clone(),
                source,
            })?;
        Ok(Self { work: Some(work), thread: Some(thread), path })
    }

    /// Has the thread do `work`, which goes on even when the answer is no longer awaited.
    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Access) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StateError> {
        let (answer, answered) = oneshot::channel();
        let order: Work = Box::new(move |access| {
            // Nobody may be waiting any more; the work is done all the same.
            let _ = answer.send(work(access));
        });
        let sent = self.work.as_ref().is_some_and(|thread| thread.send(order).is_ok());
        if !sent {
            return Err(StateError::Stopped);
        }
        answered.await.map_err(|_| StateError::Stopped)?.map_err(|fault| fault.at(self.path.clone()))
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        self.work.take();
        if let Some(thread) = self.thread.take() {
            // It can only have panicked, which was reported to whoever waited for that work.
            let _ = thread.join();
        }
    }
}

impl State {
    /// Runs `work` in a transaction that holds the write lock from its start. On any error nothing
    /// of it remains.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Transaction<'_>, &str) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StateError> {
        let (platform, dir) = (self.platform.clone(), self.dir.clone());
        let write = move |access: &mut Access| match access {
            Access::Writer(connection) => {
                let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
                let value = work(&transaction, &platform)?;
                transaction.commit()?;
                Ok(value)
            }
            Access::Reader(_) => Err(StateError::ReadOnly { path: dir.to_path_buf() }.into()),
        };
        self.store.run(write).await
    }

    /// Runs `work` on one consistent view. It may be run again, so it keeps nothing.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &str) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StateError> {
        let platform = self.platform.clone();
        let read = move |access: &mut Access| match access {
            Access::Writer(connection) => work(&*connection.transaction()?, &platform),
            Access::Reader(path) => glance(path, |connection| work(connection, &platform)),
        };
        self.store.run(read).await
    }
}

/// Makes the state directory, readable for its owner only. One that stands is left as it is.
pub(super) fn make_dir(dir: &Path) -> Result<(), StateError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| StateError::File {
        doing: "create the state directory",
        path: dir.to_owned(),
        source,
    })
}

fn writer(
    path: &Path,
    first: impl FnOnce(&mut Connection) -> Result<(), Fault>,
) -> Result<Connection, Fault> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(BUSY)?;
    let from = match schema::version(&connection)? {
        Version::Empty => 0,
        Version::Ours(version) if version <= schema::KNOWN => version,
        Version::Ours(found) => {
            return Err(StateError::Newer { path: path.to_owned(), found, known: schema::KNOWN }.into());
        }
        Version::Foreign => return Err(foreign(path.to_owned()).into()),
    };
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    if from < schema::KNOWN {
        schema::migrate(&mut connection, from)?;
    }
    first(&mut connection)?;
    Ok(connection)
}

fn foreign(path: PathBuf) -> StateError {
    StateError::Damaged { path, why: "it is not a wellspring state database".to_owned() }
}

/// Reads without leaving files behind. SQLite's usual way makes `-wal` and `-shm` beside the
/// database; where no writer has any (it was closed in good order), the file is read as one that
/// cannot change, and the reading counts only if indeed it did not.
fn glance<T>(path: &Path, work: impl Fn(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
    for _ in 0..GLANCES {
        let Some(before) = at_rest(path) else { break };
        let value = read_with(path, "immutable=1", &work);
        if at_rest(path).is_some_and(|after| after == before) {
            return value;
        }
    }
    read_with(path, "mode=ro", &work)
}

fn read_with<T>(path: &Path, how: &str, work: impl Fn(&Connection) -> Result<T, Fault>) -> Result<T, Fault> {
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    let mut connection = Connection::open_with_flags(uri(path, how)?, flags)?;
    connection.busy_timeout(BUSY)?;
    let transaction = connection.transaction()?;
    work(&transaction)
}

/// What identifies the content of a database without a log beside it; `None` while there is one.
fn at_rest(path: &Path) -> Option<(u64, Option<std::time::SystemTime>)> {
    let log = PathBuf::from(format!("{}-wal", path.display()));
    let seen = |metadata: Metadata| (metadata.len(), metadata.modified().ok());
    if log.exists() { None } else { fs::metadata(path).ok().map(seen) }
}

/// The path as SQLite's URI: everything that could be read as syntax is percent-encoded.
fn uri(path: &Path, how: &str) -> Result<String, Fault> {
    use std::fmt::Write;
    let path = std::path::absolute(path).map_err(|source| StateError::File {
        doing: "find",
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
