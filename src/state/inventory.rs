//! What is ours, and which writes were about to be sent.

use super::codec::{self, instant, nanoseconds};
use super::error::Fault;
use super::journal::{self, JournalEntry};
use super::learned;
use super::quarantine::{self, Quarantined};
use super::{State, StateError};
use crate::model::{
    Declaration, Intent, IntentKind, Inventory, Owned, SourceId, SourceKey, SourceName, Unit,
};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use std::sync::Arc;

/// A write that is about to be sent.
#[derive(Debug, Clone, PartialEq)]
pub struct NewIntent {
    /// The source's name.
    pub name: SourceName,
    /// The source's key.
    pub key: SourceKey,
    /// What is to be done.
    pub kind: IntentKind,
    /// Ids that bear the name before the write.
    pub before: Vec<SourceId>,
    /// How the source is declared.
    pub declared: Option<Declaration>,
}

/// One step of a [`State::commit`].
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    /// The source is ours, as described; what was recorded for the name before is replaced.
    Own(SourceName, Arc<Owned>),
    /// The source is not ours any more. Nothing happens when it was not.
    Disown(SourceName),
    /// The outcome of this intent is known.
    CloseIntent(i64),
    /// This intent's write may have been sent as late as now. Nothing happens when it is not open.
    Sent(i64, Timestamp),
    /// Something was done, or failed.
    Journal(Box<JournalEntry>),
    /// Leave this source alone until it is released or its mark changes.
    Quarantine(SourceName, Quarantined),
    /// The platform was seen to update a source in place on connect, or to do otherwise.
    Upserts(bool),
    /// The source is treated as any other again. Nothing happens when it was.
    Release(SourceName),
}

impl State {
    /// What is ours in `unit`, and the intents that are still open there, oldest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn inventory(&self, unit: &Unit) -> Result<Inventory, StateError> {
        let unit = unit.clone();
        self.read_rows(move |connection, platform| rows(connection, platform, &unit), InventoryRows::read)
            .await
    }

    /// Every unit with something in its inventory, sorted.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn units(&self) -> Result<Vec<Unit>, StateError> {
        self.read(|connection, platform| {
            let mut statement = connection.prepare_cached(
                "SELECT workspace, scope FROM owned WHERE platform = ?1
                 UNION SELECT workspace, scope FROM intents WHERE platform = ?1 ORDER BY 1, 2",
            )?;
            let rows = statement.query_map([platform], |row| Ok((row.get(0)?, row.get(1)?)))?;
            rows.map(|row| {
                row.map_err(Fault::from).and_then(|(workspace, scope)| codec::unit(workspace, scope, "owned"))
            })
            .collect()
        })
        .await
    }

    /// Records writes before they are sent; durable when this returns. The numbers stand in the
    /// order of `intents`.
    ///
    /// # Errors
    /// When the state cannot be written; then none is recorded.
    pub async fn record_intents(
        &self,
        unit: &Unit,
        intents: &[NewIntent],
        now: Timestamp,
    ) -> Result<Vec<i64>, StateError> {
        let unit = unit.clone();
        // Everything is put into words here: the one thread that everyone waits for only writes them.
        let rows = intents.iter().map(NewIntentRow::of).collect::<Result<Vec<_>, _>>()?;
        self.write(move |connection, platform| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO intents (platform, workspace, scope, name, key, kind, before, recorded_at, declared)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
            )?;
            rows.iter()
                .map(|row| {
                    Ok(statement.insert(params![
                        platform,
                        unit.workspace.as_str(),
                        unit.scope.as_str(),
                        row.name.as_str(),
                        row.key.as_str(),
                        row.kind,
                        row.before,
                        nanoseconds(now),
                        row.declared,
                    ])?)
                })
                .collect()
        })
        .await
    }

    /// Makes all of `changes`, in order, or none of them; durable when this returns.
    ///
    /// # Errors
    /// When the state cannot be written, or an intent to close is not open.
    pub async fn commit(&self, unit: &Unit, changes: Vec<Change>) -> Result<(), StateError> {
        let unit = unit.clone();
        let worded = |change: Change| {
            let json = match &change {
                Change::Own(name, owned) => Some(codec::encode(&**owned, name)?),
                _ => None,
            };
            Ok((change, json))
        };
        let changes = changes.into_iter().map(worded).collect::<Result<Vec<_>, StateError>>()?;
        self.write(move |connection, platform| {
            changes
                .iter()
                .try_for_each(|(change, json)| make(connection, platform, &unit, change, json.as_deref()))
        })
        .await
    }
}

/// A [`NewIntent`] in the words of the database.
struct NewIntentRow {
    name: SourceName,
    key: SourceKey,
    kind: String,
    before: String,
    declared: String,
}

impl NewIntentRow {
    fn of(intent: &NewIntent) -> Result<Self, StateError> {
        Ok(Self {
            name: intent.name.clone(),
            key: intent.key.clone(),
            kind: codec::encode(&intent.kind, &intent.name)?,
            before: codec::encode(&intent.before, &intent.name)?,
            declared: codec::encode(&intent.declared, &intent.name)?,
        })
    }
}

/// `json` is what is owned, where something is.
fn make(
    connection: &Connection,
    platform: &str,
    unit: &Unit,
    change: &Change,
    json: Option<&str>,
) -> Result<(), Fault> {
    let (workspace, scope) = (unit.workspace.as_str(), unit.scope.as_str());
    match change {
        Change::Own(name, _) => {
            connection
                .prepare_cached("INSERT OR REPLACE INTO owned VALUES (?1, ?2, ?3, ?4, ?5)")?
                .execute(params![platform, workspace, scope, name.as_str(), json])?;
        }
        Change::Disown(name) => {
            connection
                .prepare_cached(
                    "DELETE FROM owned WHERE platform = ?1 AND workspace = ?2 AND scope = ?3 AND name = ?4",
                )?
                .execute(params![platform, workspace, scope, name.as_str()])?;
        }
        Change::CloseIntent(number) => {
            let closed = connection
                .prepare_cached(
                    "DELETE FROM intents
                     WHERE number = ?1 AND platform = ?2 AND workspace = ?3 AND scope = ?4",
                )?
                .execute(params![number, platform, workspace, scope])?;
            if closed == 0 {
                return Err(StateError::NoSuchIntent(*number).into());
            }
        }
        Change::Sent(number, at) => {
            connection
                .prepare_cached("UPDATE intents SET recorded_at = ?1 WHERE number = ?2")?
                .execute(params![nanoseconds(*at), number])?;
        }
        Change::Journal(entry) => journal::write(connection, platform, unit, entry)?,
        Change::Quarantine(name, held) => quarantine::put(connection, platform, unit, name, held)?,
        Change::Upserts(upserts) => learned::put(connection, platform, *upserts)?,
        Change::Release(name) => quarantine::release(connection, platform, unit, name)?,
    }
    Ok(())
}

/// The inventory of a unit, as it stands in the database.
pub(super) struct InventoryRows {
    /// Name and description.
    owned: Vec<(String, String)>,
    intents: Vec<IntentRow>,
}

struct IntentRow {
    number: i64,
    name: String,
    key: String,
    kind: String,
    before: String,
    recorded_at: i64,
    declared: Option<String>,
}

pub(super) fn rows(connection: &Connection, platform: &str, unit: &Unit) -> Result<InventoryRows, Fault> {
    let of = [platform, unit.workspace.as_str(), unit.scope.as_str()];
    let mut statement = connection.prepare_cached(
        "SELECT name, owned FROM owned WHERE platform = ?1 AND workspace = ?2 AND scope = ?3",
    )?;
    let owned = statement.query_map(of, |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut statement = connection.prepare_cached(
        "SELECT number, name, key, kind, before, recorded_at, declared FROM intents
         WHERE platform = ?1 AND workspace = ?2 AND scope = ?3 ORDER BY number",
    )?;
    let intents = statement.query_map(of, |row| {
        Ok(IntentRow {
            number: row.get(0)?,
            name: row.get(1)?,
            key: row.get(2)?,
            kind: row.get(3)?,
            before: row.get(4)?,
            recorded_at: row.get(5)?,
            declared: row.get(6)?,
        })
    })?;
    Ok(InventoryRows { owned, intents: intents.collect::<Result<_, _>>()? })
}

impl InventoryRows {
    pub(super) fn read(self) -> Result<Inventory, Fault> {
        let mut inventory = Inventory::default();
        for (name, owned) in self.owned {
            inventory.owned.insert(codec::name(name, "owned")?, codec::decode(&owned, "owned")?);
        }
        for row in self.intents {
            let declared = row.declared.map(|declared| codec::decode(&declared, "intents")).transpose()?;
            let intent = Intent {
                number: row.number,
                name: codec::name(row.name, "intents")?,
                key: codec::name(row.key, "intents")?,
                kind: codec::decode(&row.kind, "intents")?,
                before: codec::decode(&row.before, "intents")?,
                recorded_at: instant(row.recorded_at),
                declared: declared.flatten(),
            };
            inventory.intents.insert(row.number, intent);
        }
        Ok(inventory)
    }
}
