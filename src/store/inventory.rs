//! Managed sources and the intents of writes.

use super::capabilities;
use super::codec::{self, JsonSafe, instant, nanoseconds};
use super::error::DbError;
use super::journal::{self, JournalEntry};
use super::quarantine::{self, QuarantineEntry};
use super::workspace_number::{ensure_number, number};
use super::{Store, StoreError, plan_cache};
use crate::model::{
    Answered, DeclarationHash, Forgotten, Intent, IntentKind, Inventory, ManagedSource, SourceId, SourceKey,
    SourceName, WorkspaceRef,
};
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, OptionalExtension, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// A write that is about to be sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct NewIntent {
    pub name: SourceName,
    pub key: SourceKey,
    pub kind: IntentKind,
    /// Ids of sources with this name before the write.
    pub before: Vec<SourceId>,
    /// True if the list behind the write lacked a source of ours.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub list_lacked_ours: bool,
    pub declared: Option<DeclarationHash>,
}

impl NewIntent {
    /// Returns the intent as recorded, still without a response.
    pub(crate) fn recorded(self, number: i64, recorded_at: Timestamp) -> Intent {
        let Self { name, key, kind, before, list_lacked_ours, declared } = self;
        Intent { number, name, key, kind, before, list_lacked_ours, declared, recorded_at, answer: None }
    }
}

impl JsonSafe for [NewIntent] {
    fn is_plain(&self) -> bool {
        self.iter().all(|intent| match &intent.kind {
            IntentKind::Connect(applied) => applied.definition.is_plain(),
            IntentKind::Cleanup(_) => true,
        })
    }

    fn length(&self) -> usize {
        1024 * self.len()
    }
}

/// Intents per row; each has one bit in the row's `open` column.
const INTENTS_PER_ROW: usize = 64;

/// Returns the row of an intent and its bit in that row.
fn place(number: i64) -> (i64, u32) {
    let batch = INTENTS_PER_ROW as i64;
    (number.div_euclid(batch), u32::try_from(number.rem_euclid(batch)).unwrap_or_default())
}

/// One step of a [`Store::commit`].
#[derive(Debug, Clone, PartialEq)]
pub enum StoreChange {
    /// Records the source as managed, replacing an earlier record of the name.
    Manage(SourceName, Arc<ManagedSource>),
    /// Removes the source from the managed ones; no-op if it is unmanaged.
    Unmanage(SourceName),
    /// Closes an intent whose outcome is known.
    CloseIntent(i64),
    /// Stops managing a source missing from the list; keeps its record for a while.
    Forget(SourceName, Arc<ManagedSource>, Timestamp),
    /// Drops the record of a forgotten source; no-op if there is none.
    DropForgotten(SourceName),
    /// The platform accepted this intent's write; contains the id if it returned one.
    Answered(i64, Option<SourceId>),
    /// Latest time this intent's write may have been sent; no-op if it is closed.
    Sent(i64, Timestamp),
    Journal(Box<JournalEntry>),
    /// Quarantines the source until it is released or its mark changes.
    Quarantine(SourceName, QuarantineEntry),
    /// The source was removed for a replacement, and connecting it again failed.
    Halt(SourceName, Timestamp),
    /// Time from which absences in the workspace's lists are distrusted; `None` ends it.
    Doubt(Option<Timestamp>),
    /// Records whether the platform updates an existing source in place on connect.
    Upserts(bool),
    /// Ends the source's quarantine; no-op if it has none.
    Release(SourceName),
}

impl Store {
    /// Returns the managed sources and the open intents of `workspace`, oldest first.
    pub async fn inventory(&self, workspace: &WorkspaceRef) -> Result<Inventory, StoreError> {
        let workspace = workspace.clone();
        self.read_rows(
            move |connection, platform| rows(connection, platform, &workspace),
            InventoryRows::read,
        )
        .await
    }

    /// Returns the ids of those of `names` that are managed and have an id.
    ///
    /// The cost depends on the number of names, not on the size of the inventory.
    pub async fn ids(
        &self,
        workspace: &WorkspaceRef,
        names: Vec<SourceName>,
    ) -> Result<BTreeMap<SourceName, SourceId>, StoreError> {
        let workspace = workspace.clone();
        let rows = move |connection: &Connection, platform: &str| {
            let mut rows = Vec::new();
            let Some(workspace) = number(connection, platform, &workspace)? else { return Ok(rows) };
            let mut statement =
                connection.prepare_cached("SELECT owned FROM owned WHERE unit = ?1 AND name = ?2")?;
            for name in &names {
                let row: Option<String> =
                    statement.query_row(params![workspace, name.as_str()], |row| row.get(0)).optional()?;
                rows.extend(row.map(|row| (name.clone(), row)));
            }
            Ok(rows)
        };
        self.read_rows(rows, |rows| {
            let mut ids = BTreeMap::new();
            for (name, row) in rows {
                let owned: ManagedSource = codec::decode(&row, "owned")?;
                ids.extend(owned.id.map(|id| (name, id)));
            }
            Ok(ids)
        })
        .await
    }

    /// Returns every workspace with a managed source or an open intent, sorted.
    pub async fn workspaces(&self) -> Result<Vec<WorkspaceRef>, StoreError> {
        self.read(|connection, platform| {
            let mut statement = connection.prepare_cached(
                "SELECT workspace, scope FROM units WHERE platform = ?1
                 AND (unit IN (SELECT unit FROM owned) OR unit IN (SELECT unit FROM batches)) ORDER BY 1, 2",
            )?;
            let rows = statement.query_map([platform], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.map(|row| {
                row.map_err(DbError::from)
                    .and_then(|(workspace, scope)| codec::workspace_ref(workspace, scope, "owned"))
            })
            .collect()
        })
        .await
    }

    /// Records writes before they are sent; durable on return.
    ///
    /// Returns one number for each intent, in the same order.
    ///
    /// # Errors
    /// When the state cannot be written; then none is recorded.
    pub async fn record_intents(
        &self,
        workspace: &WorkspaceRef,
        intents: &[NewIntent],
        now: Timestamp,
    ) -> Result<Vec<i64>, StoreError> {
        let workspace = workspace.clone();
        // Encode here, because the single database thread is shared by all callers.
        let worded = |intents: &[NewIntent]| {
            // Intents are short-lived, so compress them to write fewer pages.
            Ok((intents.len(), codec::compress(codec::encode(intents, &workspace)?)))
        };
        let batches = intents.chunks(INTENTS_PER_ROW).map(worded).collect::<Result<Vec<_>, StoreError>>()?;
        self.write(move |connection, platform| {
            let workspace = prepare_write(connection, platform, &workspace)?;
            let mut statement = connection.prepare_cached(
                "INSERT INTO batches (unit, recorded_at, open, intents) VALUES (?1, ?2, ?3, ?4)",
            )?;
            let mut numbers = Vec::new();
            for (length, words) in &batches {
                let open = (0..*length).fold(0, |open: i64, bit| open | 1 << bit);
                let batch = statement.insert(params![workspace, nanoseconds(now), open, words])?;
                numbers.extend((0..*length as i64).map(|bit| batch * INTENTS_PER_ROW as i64 + bit));
            }
            Ok(numbers)
        })
        .await
    }

    /// Applies all `changes` in order, or none of them; durable on return.
    pub async fn commit(
        &self,
        workspace: &WorkspaceRef,
        changes: Vec<StoreChange>,
    ) -> Result<(), StoreError> {
        let workspace = workspace.clone();
        let worded = |change: StoreChange| {
            let json = match &change {
                StoreChange::Manage(name, owned) | StoreChange::Forget(name, owned, _) => {
                    Some(codec::encode(&**owned, name)?)
                }
                StoreChange::Answered(number, id) => {
                    id.as_ref().map(|id| codec::encode(id, number)).transpose()?
                }
                StoreChange::Journal(entry) => {
                    entry.source_id.as_ref().map(|id| codec::encode(id, &entry.source)).transpose()?
                }
                _ => None,
            };
            Ok((change, json))
        };
        let changes = changes.into_iter().map(worded).collect::<Result<Vec<_>, StoreError>>()?;
        self.write(move |connection, platform| {
            let number = prepare_write(connection, platform, &workspace)?;
            let mut of =
                WorkspaceTx { connection, platform, workspace: &workspace, number, own: None, journal: None };
            changes.iter().try_for_each(|(change, json)| of.apply(change, json.as_deref()))?;
            of.close(changes.iter().filter_map(|(change, _)| match change {
                StoreChange::CloseIntent(number) => Some(*number),
                _ => None,
            }))
        })
        .await
    }
}

/// Returns the workspace's number and invalidates its cached "in sync" result.
fn prepare_write(connection: &Connection, platform: &str, workspace: &WorkspaceRef) -> Result<i64, DbError> {
    let number = ensure_number(connection, platform, workspace)?;
    plan_cache::invalidate(connection, number)?;
    Ok(number)
}

/// Target of a list of changes.
struct WorkspaceTx<'a> {
    connection: &'a Connection,
    platform: &'a str,
    workspace: &'a WorkspaceRef,
    number: i64,
    /// Statements executed for many changes; prepared on first use.
    own: Option<CachedStatement<'a>>,
    journal: Option<CachedStatement<'a>>,
}

impl WorkspaceTx<'_> {
    /// `json` is the encoded managed source, or the id for the journal entry.
    fn apply(&mut self, change: &StoreChange, json: Option<&str>) -> Result<(), DbError> {
        let Self { connection, platform, workspace, number, .. } = *self;
        match change {
            StoreChange::Manage(name, _) => {
                let own = cached_statement(&mut self.own, || {
                    connection.prepare_cached(
                        "INSERT INTO owned (unit, name, owned) VALUES (?1, ?2, ?3)
                         ON CONFLICT (unit, name) DO UPDATE SET owned = excluded.owned",
                    )
                })?;
                own.execute(params![number, name.as_str(), json])?;
            }
            StoreChange::Unmanage(name) => disown(connection, number, name)?,
            StoreChange::Forget(name, _, since) => {
                disown(connection, number, name)?;
                connection
                    .prepare_cached("INSERT OR REPLACE INTO forgotten VALUES (?1, ?2, ?3, ?4)")?
                    .execute(params![number, name.as_str(), nanoseconds(*since), json])?;
            }
            StoreChange::DropForgotten(name) => {
                connection
                    .prepare_cached("DELETE FROM forgotten WHERE unit = ?1 AND name = ?2")?
                    .execute(params![number, name.as_str()])?;
            }
            StoreChange::Answered(intent, _) => {
                connection
                    .prepare_cached("INSERT OR REPLACE INTO answers VALUES (?1, ?2, ?3)")?
                    .execute(params![intent, number, json])?;
            }
            // Intents are closed together at the end.
            StoreChange::CloseIntent(_) => {}
            StoreChange::Sent(intent, at) => {
                let (batch, bit) = place(*intent);
                connection
                    .prepare_cached(
                        "UPDATE batches SET recorded_at = ?1
                         WHERE batch = ?2 AND unit = ?3 AND recorded_at < ?1 AND open & (1 << ?4)",
                    )?
                    .execute(params![nanoseconds(*at), batch, number, bit])?;
            }
            StoreChange::Journal(entry) => {
                let writing = cached_statement(&mut self.journal, || {
                    journal::prepare_insert(connection, platform, workspace)
                })?;
                journal::write(writing, entry, json)?;
            }
            StoreChange::Quarantine(name, held) => {
                quarantine::insert(connection, platform, workspace, name, held)?;
            }
            StoreChange::Halt(name, since) => {
                capabilities::record_halt(connection, platform, workspace, name, *since)?;
            }
            StoreChange::Doubt(since) => capabilities::record_doubt(connection, number, *since)?,
            StoreChange::Upserts(upserts) => capabilities::set_upserts(connection, platform, *upserts)?,
            StoreChange::Release(name) => quarantine::release(connection, platform, workspace, name)?,
        }
        Ok(())
    }

    /// Clears the bits of these intents; fails if one is not open.
    fn close(&self, intents: impl Iterator<Item = i64>) -> Result<(), DbError> {
        let mut batches: BTreeMap<i64, i64> = BTreeMap::new();
        for intent in intents {
            let (batch, bit) = place(intent);
            let bits = batches.entry(batch).or_default();
            if *bits & 1 << bit != 0 {
                return Err(StoreError::NoSuchIntent(intent).into());
            }
            *bits |= 1 << bit;
        }
        for (batch, bits) in batches {
            let of = params![bits, batch, self.number];
            // Usually all intents of a row close together.
            let mut all = self
                .connection
                .prepare_cached("DELETE FROM batches WHERE batch = ?2 AND unit = ?3 AND open = ?1")?;
            let mut some = self.connection.prepare_cached(
                "UPDATE batches SET open = open & ~?1 WHERE batch = ?2 AND unit = ?3 AND open & ?1 = ?1",
            )?;
            if all.execute(of)? == 0 && some.execute(of)? == 0 {
                let first = batch * INTENTS_PER_ROW as i64 + i64::from(bits.trailing_zeros());
                return Err(StoreError::NoSuchIntent(first).into());
            }
            let first = batch * INTENTS_PER_ROW as i64;
            self.connection
                .prepare_cached(
                    "DELETE FROM answers WHERE intent BETWEEN ?1 AND ?1 + 63 AND (?2 >> (intent - ?1)) & 1",
                )?
                .execute(params![first, bits])?;
        }
        Ok(())
    }
}

fn disown(connection: &Connection, workspace: i64, name: &SourceName) -> Result<(), DbError> {
    connection
        .prepare_cached("DELETE FROM owned WHERE unit = ?1 AND name = ?2")?
        .execute(params![workspace, name.as_str()])?;
    Ok(())
}

fn cached_statement<T, E>(place: &mut Option<T>, make: impl FnOnce() -> Result<T, E>) -> Result<&mut T, E> {
    match place {
        Some(made) => Ok(made),
        none => Ok(none.insert(make()?)),
    }
}

/// Undecoded inventory of a workspace.
#[derive(Default)]
pub(super) struct InventoryRows {
    /// Name and encoded source.
    owned: Vec<(String, String)>,
    batches: Vec<BatchRow>,
    /// Intent number and id.
    accepted_ids: Vec<(i64, Option<String>)>,
    /// Name, time of removal from the inventory, encoded source.
    forgotten: Vec<(String, i64, String)>,
}

struct BatchRow {
    batch: i64,
    recorded_at: i64,
    open: i64,
    intents: rusqlite::types::Value,
}

pub(super) fn rows(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
) -> Result<InventoryRows, DbError> {
    let Some(workspace) = number(connection, platform, workspace)? else {
        return Ok(InventoryRows::default());
    };
    let mut statement = connection.prepare_cached("SELECT name, owned FROM owned WHERE unit = ?1")?;
    let owned =
        statement.query_map([workspace], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT batch, recorded_at, open, intents FROM batches WHERE unit = ?1 ORDER BY batch",
    )?;
    let batches = statement.query_map([workspace], |row| {
        Ok(BatchRow { batch: row.get(0)?, recorded_at: row.get(1)?, open: row.get(2)?, intents: row.get(3)? })
    })?;
    let batches: Vec<BatchRow> = batches.collect::<Result<_, _>>()?;
    let mut answers = Vec::new();
    if !batches.is_empty() {
        let mut statement = connection.prepare_cached("SELECT intent, id FROM answers WHERE unit = ?1")?;
        let rows = statement.query_map([workspace], |row| Ok((row.get(0)?, row.get(1)?)))?;
        answers = rows.collect::<Result<_, _>>()?;
    }
    let mut statement =
        connection.prepare_cached("SELECT name, since, owned FROM forgotten WHERE unit = ?1")?;
    let forgotten = statement.query_map([workspace], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(InventoryRows {
        owned,
        batches,
        accepted_ids: answers,
        forgotten: forgotten.collect::<Result<_, _>>()?,
    })
}

impl InventoryRows {
    pub(super) fn read(self) -> Result<Inventory, DbError> {
        let mut inventory = Inventory::default();
        for (name, owned) in self.owned {
            inventory.managed.insert(codec::name(name, "owned")?, codec::decode(&owned, "owned")?);
        }
        for row in self.batches {
            let intents = codec::decompress(row.intents, "batches")?;
            let intents: Vec<NewIntent> = codec::decode(&intents, "batches")?;
            let open = intents.into_iter().enumerate().filter(|(bit, _)| row.open >> bit & 1 == 1);
            for (bit, intent) in open {
                let number = row.batch * INTENTS_PER_ROW as i64 + bit as i64;
                inventory.intents.insert(number, intent.recorded(number, instant(row.recorded_at)));
            }
        }
        for (number, id) in self.accepted_ids {
            let id = id.map(|id| codec::decode(&id, "answers")).transpose()?;
            if let Some(intent) = inventory.intents.get_mut(&number) {
                intent.answer = Some(Answered { id });
            }
        }
        for (name, since, owned) in self.forgotten {
            let owned = Arc::new(codec::decode(&owned, "forgotten")?);
            let kept = Forgotten { since: instant(since), managed: owned };
            inventory.forgotten.insert(codec::name(name, "forgotten")?, kept);
        }
        Ok(inventory)
    }
}
