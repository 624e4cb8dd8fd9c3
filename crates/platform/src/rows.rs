//! Rows of a source: one database each, changed atomically by one sync at a time.
//!
//! Every row is a JSON object in `rows`, readable with `sqlite3`. Bytes are stored as `{"$base64":
//! "…"}`, and numbers that JSON parsers would round as text.

use std::path::Path;

use rusqlite::{Connection, OptionalExtension as _, Transaction, params};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::PlatformError;
use super::connectors::{MAX_RECORD_BYTES, ReadError, RowSink, WriteMode};
use super::registry::stored_id;
use super::storage::{migrate, read_rows};

const SCRIPT: &str = "
    CREATE TABLE rows (seq INTEGER PRIMARY KEY, \"table\" TEXT NOT NULL, row TEXT NOT NULL, digest BLOB) STRICT;
    CREATE INDEX row_digest ON rows (\"table\", digest) WHERE digest IS NOT NULL;
    CREATE TABLE position (one INTEGER PRIMARY KEY CHECK (one = 1), definition TEXT NOT NULL,
                           position TEXT NOT NULL) STRICT;";
/// Counts identical rows of a table without a key during a read.
const COPIES: &str = "
    CREATE TEMP TABLE IF NOT EXISTS copies (digest BLOB PRIMARY KEY, read INTEGER NOT NULL) STRICT, WITHOUT ROWID;
    DELETE FROM copies;";
/// Maximum size in bytes of rows that wait for writing.
const BATCH_BYTES: usize = 8 << 20;

/// Maximum bytes written by a sync, because a view may be endless.
const MAX_SYNC_BYTES: u64 = 64 << 30;
/// Maximum number of rows written by a sync, for the same reason.
const MAX_SYNC_ROWS: u64 = 1_000_000_000;
/// Bytes that a stored row takes in addition to its text.
const ROW_BYTES: u64 = 32;
/// Bytes between checks of the free disk space.
const DISK_CHECK_BYTES: u64 = 64 << 20;

/// A running sync; its rows replace or extend the stored ones on commit.
pub(super) struct Writing<'c> {
    change: Transaction<'c>,
    batch_size: usize,
    batch: RowBatch,
    table: String,
    write_mode: WriteMode,
    written: u64,
    /// Number of written rows that replaced no other.
    added: u64,
    rows: u64,
    /// Bytes of the received rows, now and at the last check of the disk.
    bytes: u64,
    checked_bytes: u64,
    /// True if nothing was stored before.
    was_empty: bool,
    /// True if the stored rows of the table have digests where their content identifies them.
    has_digests: bool,
    /// Returns the reason why the sync must end, if there is one.
    stop: Box<dyn Fn() -> Option<ReadError> + Send + 'c>,
    notes: Vec<String>,
}

pub(super) struct WrittenRows {
    pub(super) records: u64,
    pub(super) stored: u64,
    /// Remarks for the response.
    pub(super) notes: Vec<String>,
}

/// Rows that wait for writing, in one text.
#[derive(Default)]
struct RowBatch {
    text: String,
    rows: Vec<Waiting>,
}

/// A row that waits for writing.
struct Waiting {
    end: usize,
    digest: Option<[u8; 32]>,
    /// True if its content is the identity, so that duplicates are possible.
    plain: bool,
}

/// Migrates the database of a source; call before [`Writing::begin`].
pub(super) fn prepare(connection: &Connection) -> Result<(), PlatformError> {
    migrate(connection, &[SCRIPT])
}

impl<'c> Writing<'c> {
    /// Starts a change; `stop` is called for every batch.
    pub(super) fn begin(
        connection: &'c mut Connection,
        batch_size: usize,
        stop: impl Fn() -> Option<ReadError> + Send + 'c,
    ) -> Result<Self, PlatformError> {
        let change = connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        Ok(Self {
            change,
            batch_size,
            batch: RowBatch::default(),
            table: String::new(),
            write_mode: WriteMode::Replace,
            written: 0,
            added: 0,
            rows: 0,
            bytes: 0,
            checked_bytes: 0,
            was_empty: false,
            has_digests: false,
            stop: Box::new(stop),
            notes: Vec::new(),
        })
    }

    /// Returns the position of the last sync of the same definition.
    pub(super) fn position(&self, definition: &str) -> Result<Option<Value>, PlatformError> {
        let sql = "SELECT position FROM position WHERE definition = ?1";
        let text: Option<String> = self.change.query_row(sql, [definition], |row| row.get(0)).optional()?;
        Ok(text.and_then(|text| serde_json::from_str(&text).ok()))
    }

    /// Removes all stored rows.
    pub(super) fn clear(&mut self) -> Result<(), PlatformError> {
        self.was_empty = true;
        Ok(self.change.execute_batch("DELETE FROM rows; DELETE FROM position")?)
    }

    pub(super) fn commit(mut self, definition: &str, position: &Value) -> Result<WrittenRows, ReadError> {
        self.flush()?;
        let finish = move || -> rusqlite::Result<WrittenRows> {
            self.change.execute(
                "INSERT INTO position VALUES (1, ?1, ?2)
                 ON CONFLICT (one) DO UPDATE SET definition = ?1, position = ?2",
                params![definition, position.to_string()],
            )?;
            // Counting many rows is slow.
            let stored = if self.was_empty {
                self.added
            } else {
                let count = self.change.query_row("SELECT count(*) FROM rows", [], |row| row.get(0));
                i64::unsigned_abs(count?)
            };
            self.change.commit()?;
            Ok(WrittenRows { records: self.written, stored, notes: self.notes })
        };
        finish().map_err(|error| not_stored(&error))
    }

    /// Adds the digests of rows identified by their content.
    ///
    /// A complete read omits them, because an index of a million digests takes longer than the rows.
    fn add_digests(&mut self) -> Result<(), ReadError> {
        let mut last = i64::MIN;
        loop {
            if let Some(failure) = (self.stop)() {
                return Err(failure);
            }
            match add_digests(&self.change, &self.table, last).map_err(|error| not_stored(&error))? {
                Some(seq) => last = seq,
                None => break,
            }
        }
        self.has_digests = true;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ReadError> {
        if let Some(failure) = (self.stop)() {
            return Err(failure);
        }
        self.rows += self.batch.rows.len() as u64;
        self.bytes += self.batch.text.len() as u64 + ROW_BYTES * self.batch.rows.len() as u64;
        if self.rows > MAX_SYNC_ROWS {
            return Err(ReadError::new(format!(
                "there are more than {MAX_SYNC_ROWS} rows; read fewer tables at a time"
            )));
        }
        if self.bytes > MAX_SYNC_BYTES {
            let most = MAX_SYNC_BYTES >> 30;
            return Err(ReadError::new(format!(
                "there are more than {most} GiB of rows; read fewer tables at a time"
            )));
        }
        if self.bytes - self.checked_bytes >= DISK_CHECK_BYTES {
            self.checked_bytes = self.bytes;
            if self.change.path().is_some_and(is_almost_full) {
                return Err(ReadError::new("the disk of the platform's storage is almost full"));
            }
        }
        let by_identity = matches!(self.write_mode, WriteMode::AppendUnseen | WriteMode::Upsert);
        if by_identity && !self.has_digests && self.batch.rows.iter().any(|row| row.plain) {
            self.add_digests()?;
        }
        let (written, added) = write(&self.change, &self.table, self.write_mode, &self.batch)
            .map_err(|error| not_stored(&error))?;
        self.written += written;
        self.added += added;
        self.batch.text.clear();
        self.batch.text.shrink_to(BATCH_BYTES);
        self.batch.rows.clear();
        Ok(())
    }
}

impl RowSink for Writing<'_> {
    fn begin_table(&mut self, name: &str, take: WriteMode) -> Result<(), ReadError> {
        self.flush()?;
        if matches!(take, WriteMode::Replace | WriteMode::ReplaceDistinct) && !self.was_empty {
            self.change
                .execute("DELETE FROM rows WHERE \"table\" = ?1", [name])
                .map_err(|error| not_stored(&error))?;
        }
        if matches!(take, WriteMode::AppendUnseen | WriteMode::Upsert) {
            self.change.execute_batch(COPIES).map_err(|error| not_stored(&error))?;
        }
        name.clone_into(&mut self.table);
        self.write_mode = take;
        self.has_digests = false;
        Ok(())
    }

    fn push_row(&mut self, row: &str, identity: Option<&str>) -> Result<(), ReadError> {
        if row.len() > MAX_RECORD_BYTES {
            let (table, largest) = (&self.table, MAX_RECORD_BYTES >> 20);
            return Err(ReadError::new(format!("table \"{table}\": a row is larger than {largest} MiB")));
        }
        let plain = identity == Some(row);
        let replaces = matches!(self.write_mode, WriteMode::Replace | WriteMode::ReplaceDistinct);
        let identity = if plain && replaces { None } else { identity };
        let digest = identity.map(|text| Sha256::digest(text.as_bytes()).into());
        self.batch.text.push_str(row);
        self.batch.rows.push(Waiting { end: self.batch.text.len(), digest, plain });
        if self.batch.rows.len() >= self.batch_size || self.batch.text.len() >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn remove_row(&mut self, identity: &str) -> Result<(), ReadError> {
        self.flush()?;
        let digest: [u8; 32] = Sha256::digest(identity.as_bytes()).into();
        let removed = "DELETE FROM rows WHERE \"table\" = ?1 AND digest = ?2";
        self.change.execute(removed, params![self.table, digest]).map_err(|error| not_stored(&error))?;
        Ok(())
    }

    fn add_note(&mut self, note: String) {
        self.notes.push(note);
    }
}

/// Returns the stored rows of a source in read order; empty before its first sync.
///
/// Reads the storage directory of a platform, which may be running.
pub fn stored_rows(
    directory: &Path,
    workspace: &str,
    scope: &str,
    name: &str,
) -> Result<Vec<Value>, PlatformError> {
    let rows = stored_table_rows(directory, workspace, scope, name)?;
    Ok(rows.into_iter().map(|(_, row)| row).collect())
}

/// Like [`stored_rows`], each row with the name of its table.
pub fn stored_table_rows(
    directory: &Path,
    workspace: &str,
    scope: &str,
    name: &str,
) -> Result<Vec<(String, Value)>, PlatformError> {
    let id = stored_id(directory, workspace, scope, name)?
        .ok_or_else(|| PlatformError::NoSuchSource(name.to_owned()))?;
    let Some(connection) = read_rows(directory, &id)? else { return Ok(Vec::new()) };
    // An interrupted first sync may have left a file without tables.
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version == 0 {
        return Ok(Vec::new());
    }
    let mut query = connection.prepare("SELECT \"table\", row FROM rows ORDER BY seq")?;
    let mut found = query.query([])?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let text: String = row.get(1)?;
        rows.push((row.get(0)?, serde_json::from_str(&text).map_err(PlatformError::Damaged)?));
    }
    Ok(rows)
}

/// Writes a batch; returns the number of new or changed rows, and of new rows.
fn write(
    change: &Transaction<'_>,
    table: &str,
    take: WriteMode,
    batch: &RowBatch,
) -> rusqlite::Result<(u64, u64)> {
    let mut put = change.prepare_cached("INSERT INTO rows (\"table\", digest, row) VALUES (?1, ?2, ?3)")?;
    let mut known =
        change.prepare_cached("SELECT row = ?3 FROM rows WHERE \"table\" = ?1 AND digest = ?2")?;
    let mut replace =
        change.prepare_cached("UPDATE rows SET row = ?3 WHERE \"table\" = ?1 AND digest = ?2")?;
    let (mut written, mut added) = (0, 0);
    let mut start = 0;
    for Waiting { end, digest, plain } in &batch.rows {
        let row = &batch.text[start..*end];
        start = *end;
        let values = params![table, digest, row];
        let same: Option<bool> = match take {
            WriteMode::AppendUnseen | WriteMode::Upsert if *plain => {
                (!is_extra_copy(change, table, digest)?).then_some(true)
            }
            WriteMode::AppendUnseen | WriteMode::Upsert | WriteMode::ReplaceDistinct
                if digest.is_some() && !plain =>
            {
                known.query_row(values, |row| row.get(0)).optional()?
            }
            _ => None,
        };
        match same {
            None => {
                added += 1;
                put.execute(values)?
            }
            Some(false) if matches!(take, WriteMode::Upsert | WriteMode::ReplaceDistinct) => {
                replace.execute(values)?
            }
            Some(_) => continue,
        };
        written += 1;
    }
    Ok((written, added))
}

/// Adds the digests of some rows without one; returns the last row, or `None` at the end.
fn add_digests(change: &Transaction<'_>, table: &str, after: i64) -> rusqlite::Result<Option<i64>> {
    let mut find = change.prepare_cached(
        "SELECT seq, row FROM rows WHERE seq > ?2 AND \"table\" = ?1 AND digest IS NULL ORDER BY seq LIMIT 1000",
    )?;
    let found = find.query_map(params![table, after], |row| {
        let digest: [u8; 32] = Sha256::digest(row.get_ref(1)?.as_bytes()?).into();
        Ok((row.get(0)?, digest))
    })?;
    let found: Vec<(i64, [u8; 32])> = found.collect::<Result<_, _>>()?;
    let mut set = change.prepare_cached("UPDATE rows SET digest = ?2 WHERE seq = ?1")?;
    for (seq, digest) in &found {
        set.execute(params![seq, digest])?;
    }
    Ok(found.last().map(|(seq, _)| *seq))
}

/// Returns true if more identical rows were read than are stored.
fn is_extra_copy(change: &Transaction<'_>, table: &str, digest: &Option<[u8; 32]>) -> rusqlite::Result<bool> {
    let mut count = change.prepare_cached(
        "INSERT INTO copies VALUES (?1, 1) ON CONFLICT (digest) DO UPDATE SET read = read + 1 RETURNING read",
    )?;
    let mut stored =
        change.prepare_cached("SELECT count(*) FROM rows WHERE \"table\" = ?1 AND digest = ?2")?;
    let read: i64 = count.query_row([digest], |row| row.get(0))?;
    let stored: i64 = stored.query_row(params![table, digest], |row| row.get(0))?;
    Ok(read > stored)
}

/// Returns true if less than a twentieth of the disk and 10 GiB are free.
fn is_almost_full(file: &str) -> bool {
    const ENOUGH: u64 = 10 << 30;
    rustix::fs::statvfs(file).is_ok_and(|disk| {
        let free = disk.f_bavail.saturating_mul(disk.f_frsize);
        free < ENOUGH && disk.f_bavail < disk.f_blocks / 20
    })
}

fn not_stored(error: &rusqlite::Error) -> ReadError {
    ReadError::new(format!("the rows could not be stored: {error}"))
}
