//! Database thread: one thread owns the database, callers send it work.

use super::error::DbError;
use super::read_immutable::{BUSY_TIMEOUT, ReadOnlyDatabase, STATEMENTS};
use super::schema::{self, SchemaVersion};
use super::{Store, StoreError, database};
use rusqlite::backup::Backup;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Row, Transaction, TransactionBehavior};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// Page size of a new database in bytes.
///
/// Writing a page costs two system calls and a commit fills many pages, so pages are large.
pub(super) const PAGE_SIZE: u16 = 16 << 10;

pub(super) const WRITER_FLAGS: OpenFlags =
    OpenFlags::SQLITE_OPEN_READ_WRITE.union(OpenFlags::SQLITE_OPEN_NO_MUTEX);

/// Minimum number of WAL pages for a checkpoint under load.
///
/// Larger batches write pages that changed repeatedly only once. An idle store checkpoints fewer.
const CHECKPOINT_PAGES: i64 = 1_024;

/// Idle time after which the WAL is checkpointed and memory is released.
const IDLE_AFTER: Duration = Duration::from_secs(1);

/// Maximum number of writes in one transaction.
const MAX_GROUP_COMMIT: usize = 256;

/// Message to the database thread.
enum StoreCommand {
    Read(Box<dyn FnOnce(&mut DbAccess) + Send>),
    Write(Box<dyn WriteCommand>),
}

/// A queued write with the channel of its caller.
trait WriteCommand: Send {
    /// Performs the write inside a transaction and returns true on success.
    ///
    /// A failed write may be partial, and a write may run again in another transaction.
    fn run(&mut self, connection: &Connection) -> bool;
    /// Sends the result to the caller after the transaction ended.
    fn finish(self: Box<Self>, committed: Result<(), &rusqlite::Error>);
    /// Reports to the caller that the state is read-only.
    fn reject(self: Box<Self>, error: StoreError);
}

/// Handle of the thread. Dropping it completes queued work and closes the database.
pub(super) struct DbThread {
    work: Option<Sender<StoreCommand>>,
    thread: Option<JoinHandle<()>>,
    path: PathBuf,
}

/// Kind of access that the thread has to the database.
pub(super) enum DbAccess {
    Writer(Connection),
    Reader(ReadOnlyDatabase),
    /// Read-only: an older database, migrated in memory, with the path of the original.
    MigratedCopy(Connection, PathBuf),
}

impl DbThread {
    /// Opens the database, migrates its schema, and runs `first` on it.
    pub(super) fn open(
        dir: &Path,
        first: impl FnOnce(&mut Connection) -> Result<(), DbError>,
    ) -> Result<Self, StoreError> {
        let path = database(dir);
        let connection = writer(&path, first).map_err(|fault| fault.with_path(path.clone()))?;
        Self::start(DbAccess::Writer(connection), path)
    }

    /// Opens an existing database read-only; returns `None` if there is none.
    pub(super) fn open_read_only(dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = database(dir);
        match fs::metadata(&path) {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(StoreError::File { operation: "read the state database", path, source });
            }
        }
        let mut database = ReadOnlyDatabase::new(&path);
        match database.read(schema::version).map_err(|fault| fault.with_path(path.clone()))? {
            SchemaVersion::Empty => Ok(None),
            SchemaVersion::Ours(schema::LATEST_VERSION) => {
                Self::start(DbAccess::Reader(database), path).map(Some)
            }
            SchemaVersion::Ours(found) if found < schema::LATEST_VERSION => {
                let copy = migrated_copy(&mut database).map_err(|fault| fault.with_path(path.clone()))?;
                Self::start(DbAccess::MigratedCopy(copy, path.clone()), path).map(Some)
            }
            SchemaVersion::Ours(found) => {
                Err(StoreError::Newer { path, found, supported: schema::LATEST_VERSION })
            }
            SchemaVersion::Foreign => Err(foreign(path)),
        }
    }

    fn start(mut access: DbAccess, path: PathBuf) -> Result<Self, StoreError> {
        let (work, orders): (Sender<StoreCommand>, Receiver<StoreCommand>) = channel();
        let thread = std::thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || serve(&orders, &mut access))
            .map_err(|source| StoreError::File {
                operation: "start the thread for",
                path: path.clone(),
                source,
            })?;
        Ok(Self { work: Some(work), thread: Some(thread), path })
    }

    /// Sends `order` to the thread and waits; dropping the future does not cancel it.
    async fn run<T>(
        &self,
        order: StoreCommand,
        answered: oneshot::Receiver<Result<T, DbError>>,
    ) -> Result<T, StoreError> {
        let sent = self.work.as_ref().is_some_and(|thread| thread.send(order).is_ok());
        if !sent {
            return Err(StoreError::Stopped);
        }
        answered.await.map_err(|_| StoreError::Stopped)?.map_err(|fault| fault.with_path(self.path.clone()))
    }
}

/// Processes queued orders: writes in one transaction, then reads.
///
/// Orders in the queue are concurrent, so their order is free.
fn serve(orders: &Receiver<StoreCommand>, access: &mut DbAccess) {
    while let Some(first) = next_command(orders, access) {
        let mut writes = Vec::new();
        let mut reads = Vec::new();
        for order in std::iter::once(first).chain(orders.try_iter().take(MAX_GROUP_COMMIT)) {
            match order {
                StoreCommand::Write(write) => writes.push(write),
                StoreCommand::Read(read) => reads.push(read),
            }
        }
        let written = !writes.is_empty();
        if written {
            write_all(access, writes);
        }
        reads.into_iter().for_each(|read| read(access));
        if written {
            checkpoint(access, CHECKPOINT_PAGES);
        }
    }
}

/// Checkpoints the WAL if it has at least `least` pages.
///
/// Runs after callers got their results. A failed checkpoint is repeated later.
fn checkpoint(access: &DbAccess, least: i64) {
    let DbAccess::Writer(connection) = access else { return };
    let waiting = |row: &Row<'_>| Ok(row.get::<_, i64>("log")? - row.get::<_, i64>("checkpointed")?);
    let pages = connection
        .prepare_cached("PRAGMA wal_checkpoint(NOOP)")
        .and_then(|mut log| log.query_row([], waiting));
    if pages.is_ok_and(|pages| pages >= least) {
        let _ = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
    }
}

/// Waits for the next order; when idle, checkpoints the WAL and frees cached pages.
fn next_command(orders: &Receiver<StoreCommand>, access: &DbAccess) -> Option<StoreCommand> {
    match orders.recv_timeout(IDLE_AFTER) {
        Ok(order) => Some(order),
        Err(RecvTimeoutError::Disconnected) => None,
        Err(RecvTimeoutError::Timeout) => {
            checkpoint(access, 1);
            if let DbAccess::Writer(connection) = access {
                // A failure only costs memory.
                let _ = connection.execute_batch("PRAGMA shrink_memory");
            }
            orders.recv().ok()
        }
    }
}

fn write_all(access: &mut DbAccess, mut writes: Vec<Box<dyn WriteCommand>>) {
    let connection = match access {
        DbAccess::Writer(connection) => connection,
        DbAccess::Reader(database) => return refuse_all(writes, database.path()),
        DbAccess::MigratedCopy(_, path) => return refuse_all(writes, path),
    };
    let committed = commit(connection, &mut writes);
    writes.into_iter().for_each(|write| write.finish(committed.as_ref().copied()));
}

fn refuse_all(writes: Vec<Box<dyn WriteCommand>>, path: &Path) {
    let path = path.parent().unwrap_or(path);
    writes.into_iter().for_each(|write| write.reject(StoreError::ReadOnly { path: path.to_owned() }));
}

/// Executes every write atomically, all in one transaction.
///
/// If one fails, the transaction is rolled back and repeated with a savepoint per write. Savepoints
/// are avoided at first, because they cost as much as the writes.
fn commit(connection: &mut Connection, writes: &mut [Box<dyn WriteCommand>]) -> Result<(), rusqlite::Error> {
    let transaction = begin(connection)?;
    if writes.iter_mut().all(|write| write.run(&transaction)) {
        return transaction.commit();
    }
    transaction.finish()?;
    let mut transaction = begin(connection)?;
    for write in writes {
        let savepoint = transaction.savepoint()?;
        if write.run(&savepoint) {
            savepoint.commit()?;
        } else {
            // Some errors (full disk) roll back the whole transaction; finish then fails for all.
            savepoint.finish()?;
        }
    }
    transaction.commit()
}

/// Begins a transaction that holds the write lock from the start.
fn begin(connection: &mut Connection) -> Result<Transaction<'_>, rusqlite::Error> {
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

/// A [`Write`] with its result and the caller's channel.
struct QueuedWrite<W, T> {
    work: W,
    platform: Arc<str>,
    done: Option<Result<T, DbError>>,
    answer: oneshot::Sender<Result<T, DbError>>,
}

impl<W, T> WriteCommand for QueuedWrite<W, T>
where
    T: Send,
    W: Fn(&Connection, &str) -> Result<T, DbError> + Send,
{
    fn run(&mut self, connection: &Connection) -> bool {
        self.done.insert((self.work)(connection, &self.platform)).is_ok()
    }

    fn finish(self: Box<Self>, committed: Result<(), &rusqlite::Error>) {
        let result = match (self.done, committed) {
            (Some(Err(fault)), _) => Err(fault),
            (Some(Ok(value)), Ok(())) => Ok(value),
            (_, Err(error)) => Err(DbError::Sqlite(same(error))),
            (None, Ok(())) => Err(DbError::Store(StoreError::Stopped)),
        };
        // The caller may have been dropped; the write was done anyway.
        let _ = self.answer.send(result);
    }

    fn reject(self: Box<Self>, error: StoreError) {
        let _ = self.answer.send(Err(error.into()));
    }
}

/// Copies an error, so that every waiting caller gets it.
fn same(error: &rusqlite::Error) -> rusqlite::Error {
    match error {
        rusqlite::Error::SqliteFailure(code, message) => {
            rusqlite::Error::SqliteFailure(*code, message.clone())
        }
        other => rusqlite::Error::SqliteFailure(
            rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_ERROR),
            Some(other.to_string()),
        ),
    }
}

impl Drop for DbThread {
    fn drop(&mut self) {
        self.work.take();
        if let Some(thread) = self.thread.take() {
            // A panic of the thread was already reported to the caller of that work.
            let _ = thread.join();
        }
    }
}

impl Store {
    /// Runs `work` in a transaction; durable on return, rolled back on error.
    ///
    /// `work` may be called more than once, so it must not keep state.
    pub(super) async fn write<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &str) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let platform = Arc::clone(&self.platform);
        let write = QueuedWrite { work, platform, done: None, answer };
        self.store.run(StoreCommand::Write(Box::new(write)), answered).await
    }

    /// Runs `work` on a consistent snapshot; `work` may be called more than once.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        work: impl Fn(&Connection, &str) -> Result<T, DbError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (answer, answered) = oneshot::channel();
        let platform = Arc::clone(&self.platform);
        let read = move |access: &mut DbAccess| {
            let found = match access {
                DbAccess::Writer(connection) => read_snapshot(connection, |view| work(view, &platform)),
                DbAccess::Reader(database) => database.read(|connection| work(connection, &platform)),
                DbAccess::MigratedCopy(copy, _) => read_snapshot(copy, |view| work(view, &platform)),
            };
            let _ = answer.send(found);
        };
        self.store.run(StoreCommand::Read(Box::new(read)), answered).await
    }

    /// Returns a number that changes when another handle writes the state.
    ///
    /// `None` if the state is read-only, because the number would never change.
    pub async fn version(&self) -> Result<Option<i64>, StoreError> {
        if self.process_lock.is_none() {
            return Ok(None);
        }
        let version = |connection: &Connection, _: &str| {
            let mut statement = connection.prepare_cached("PRAGMA data_version")?;
            Ok(statement.query_row([], |row| row.get(0))?)
        };
        self.read(version).await.map(Some)
    }

    /// Reads `rows` on a consistent snapshot and decodes them on the caller's thread.
    ///
    /// Decoding does not block the shared database thread.
    pub(super) async fn read_rows<R: Send + 'static, T>(
        &self,
        rows: impl Fn(&Connection, &str) -> Result<R, DbError> + Send + 'static,
        say: impl FnOnce(R) -> Result<T, DbError>,
    ) -> Result<T, StoreError> {
        say(self.read(rows).await?).map_err(|fault| fault.with_path(self.store.path.clone()))
    }
}

fn read_snapshot<T>(
    connection: &mut Connection,
    work: impl Fn(&Connection) -> Result<T, DbError>,
) -> Result<T, DbError> {
    work(&*connection.transaction()?)
}

/// Creates the state directory with mode 0700; keeps an existing one.
pub(super) fn make_dir(dir: &Path) -> Result<(), StoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|source| StoreError::File {
        operation: "create the state directory",
        path: dir.to_owned(),
        source,
    })
}

fn writer(
    path: &Path,
    first: impl FnOnce(&mut Connection) -> Result<(), DbError>,
) -> Result<Connection, DbError> {
    let mut connection = Connection::open_with_flags(path, WRITER_FLAGS)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    let from = match schema::version(&connection)? {
        // Left by an older version that was interrupted.
        SchemaVersion::Empty => {
            connection.pragma_update(None, "page_size", PAGE_SIZE)?;
            0
        }
        SchemaVersion::Ours(version) if version <= schema::LATEST_VERSION => version,
        SchemaVersion::Ours(found) => {
            return Err(StoreError::Newer {
                path: path.to_owned(),
                found,
                supported: schema::LATEST_VERSION,
            }
            .into());
        }
        SchemaVersion::Foreign => return Err(foreign(path.to_owned()).into()),
    };
    connection.pragma_update_and_check(None, "journal_mode", "WAL", |_| Ok(()))?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "trusted_schema", false)?;
    // A savepoint journals a few pages; a temporary file would need a descriptor.
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    // Query plans do not depend on bound values, so statements are not prepared again.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    // `checkpoint` checkpoints while no caller waits.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    if from < schema::LATEST_VERSION {
        schema::migrate(&mut connection, from)?;
    }
    first(&mut connection)?;
    Ok(connection)
}

/// Copies an older database into memory and migrates the copy.
///
/// Read-only commands thus work before the first writing command migrates the file.
fn migrated_copy(database: &mut ReadOnlyDatabase) -> Result<Connection, DbError> {
    /// Pages per step, at most 64 KiB each; no pause between steps.
    const PAGES: i32 = 1_024;
    let mut copy = database.read(|from| {
        let mut copy = Connection::open_in_memory()?;
        Backup::new(from, &mut copy)?.run_to_completion(PAGES, Duration::ZERO, None)?;
        Ok(copy)
    })?;
    if let SchemaVersion::Ours(from) = schema::version(&copy)? {
        schema::migrate(&mut copy, from)?;
    }
    Ok(copy)
}

fn foreign(path: PathBuf) -> StoreError {
    StoreError::Damaged { path, why: "it is not a wellspring state database".to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Answer = oneshot::Receiver<Result<i64, DbError>>;

    fn pending(
        work: impl Fn(&Connection, &str) -> Result<i64, DbError> + Send + 'static,
    ) -> (Box<dyn WriteCommand>, Answer) {
        let (answer, answered) = oneshot::channel();
        (Box::new(QueuedWrite { work, platform: "".into(), done: None, answer }), answered)
    }

    /// Returns every caller's result, and the numbers in the database afterwards.
    fn committed(writes: Vec<(Box<dyn WriteCommand>, Answer)>) -> (Vec<Option<i64>>, Vec<i64>) {
        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch("CREATE TABLE numbers (number INTEGER PRIMARY KEY)").unwrap();
        let (mut writes, answers): (Vec<_>, Vec<_>) = writes.into_iter().unzip();
        let committed = commit(&mut connection, &mut writes);
        writes.into_iter().for_each(|write| write.finish(committed.as_ref().copied()));
        let told = answers.into_iter().map(|answer| answer.blocking_recv().unwrap().ok()).collect();
        let mut numbers = connection.prepare("SELECT number FROM numbers").unwrap();
        let numbers = numbers.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap);
        (told, numbers.collect())
    }

    fn insert(connection: &Connection, number: i64) -> Result<(), DbError> {
        connection.execute("INSERT INTO numbers VALUES (?1)", [number])?;
        Ok(())
    }

    #[test]
    fn what_cannot_be_done_leaves_nothing_and_takes_nothing_else_with_it() {
        let write = |(n, number): (i64, i64)| {
            pending(move |connection, _| {
                insert(connection, 100 + n)?;
                insert(connection, number).map(|()| n)
            })
        };
        let (told, numbers) = committed((0..).zip([1, 2, 1, 3]).map(write).collect());
        assert_eq!(told, [Some(0), Some(1), None, Some(3)]);
        assert_eq!(numbers, [1, 2, 3, 100, 101, 103]);
    }

    #[test]
    fn a_fault_that_takes_the_whole_transaction_back_fails_all_of_it() {
        let taken_back = pending(|connection, _| {
            connection.execute_batch("ROLLBACK")?;
            Ok(connection.query_row("the fault", [], |row| row.get(0))?)
        });
        let write = |n| pending(move |connection, _| insert(connection, n).map(|()| n));
        let (told, numbers) = committed(vec![write(10), taken_back, write(11)]);
        assert_eq!((told, numbers), (vec![None, None, None], vec![]));
    }
}
