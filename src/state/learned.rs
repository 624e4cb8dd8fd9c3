//! What the platform has shown of its ways.

use super::codec::{self, instant, nanoseconds};
use super::error::Fault;
use super::{State, StateError, inventory};
use crate::model::{SourceName, Unit};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// No source is cleaned up to be connected anew for so long after one could not be put back.
const HALT: SignedDuration = SignedDuration::from_hours(1);

/// What is not put back by then is not wanted any more.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);

/// The last source of a platform that was cleaned up to be connected anew, and could not be put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    /// Its workspace and scope.
    pub unit: Unit,
    /// Its name.
    pub name: SourceName,
    /// When that was.
    pub since: Timestamp,
    /// It is ours again.
    pub is_back: bool,
}

impl Halted {
    /// Is it still a reason to take no other source away?
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since).abs();
        age < HALT || (!self.is_back && age < FORGOTTEN)
    }
}

impl State {
    /// The last source that could not be put back after it was cleaned up to be connected anew.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn halted(&self) -> Result<Option<Halted>, StateError> {
        self.read(|connection, platform| {
            let mut statement = connection
                .prepare_cached("SELECT since, workspace, scope, name FROM halted WHERE platform = ?1")?;
            let row = statement.query_row([platform], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
            });
            let Some((since, workspace, scope, name)) = row.optional()? else { return Ok(None) };
            let unit = codec::unit(workspace, scope, "halted")?;
            let number = inventory::number(connection, platform, &unit)?;
            let is_back = connection
                .prepare_cached("SELECT 1 FROM owned WHERE unit = ?1 AND name = ?2")?
                .exists(params![number, name])?;
            Ok(Some(Halted { unit, name: codec::name(name, "halted")?, since: instant(since), is_back }))
        })
        .await
    }
}

impl State {
    /// The sources of `unit` that are synced alone.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn alone(&self, unit: &Unit) -> Result<BTreeSet<SourceName>, StateError> {
        let unit = unit.clone();
        self.read(move |connection, platform| {
            let Some(unit) = inventory::number(connection, platform, &unit)? else {
                return Ok(BTreeSet::new());
            };
            let mut statement = connection.prepare_cached("SELECT name FROM alone WHERE unit = ?1")?;
            let names = statement.query_map([unit], |row| row.get::<_, String>(0))?;
            names.map(|name| codec::name(name?, "alone")).collect()
        })
        .await
    }

    /// From now on these sources are synced alone, or with others again.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn sync_alone(
        &self,
        unit: &Unit,
        names: Vec<SourceName>,
        alone: bool,
    ) -> Result<(), StateError> {
        let unit = unit.clone();
        self.write(move |connection, platform| {
            let unit = inventory::known(connection, platform, &unit)?;
            let mut statement = connection.prepare_cached(match alone {
                true => "INSERT OR IGNORE INTO alone VALUES (?1, ?2)",
                false => "DELETE FROM alone WHERE unit = ?1 AND name = ?2",
            })?;
            names.iter().try_for_each(|name| {
                statement.execute(params![unit, name.as_str()])?;
                Ok(())
            })
        })
        .await
    }
}

pub(super) fn upserts(connection: &Connection, platform: &str) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached("SELECT upserts FROM learned WHERE platform = ?1")?;
    Ok(statement.query_row([platform], |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Remembers how the platform took a connect on a taken name.
pub(super) fn put(connection: &Connection, platform: &str, upserts: bool) -> Result<(), Fault> {
    connection.execute("INSERT OR REPLACE INTO learned VALUES (?1, ?2)", params![platform, upserts])?;
    Ok(())
}

pub(super) fn halt(
    connection: &Connection,
    platform: &str,
    unit: &Unit,
    name: &SourceName,
    since: Timestamp,
) -> Result<(), Fault> {
    let (workspace, scope) = (unit.workspace.as_str(), unit.scope.as_str());
    connection.execute(
        "INSERT OR REPLACE INTO halted VALUES (?1, ?2, ?3, ?4, ?5)",
        params![platform, nanoseconds(since), workspace, scope, name.as_str()],
    )?;
    Ok(())
}

/// Since when the lists of a unit are doubted.
pub(super) fn doubted(
    connection: &Connection,
    platform: &str,
    unit: &Unit,
) -> Result<Option<Timestamp>, Fault> {
    let Some(unit) = inventory::number(connection, platform, unit)? else { return Ok(None) };
    let mut statement = connection.prepare_cached("SELECT since FROM doubted WHERE unit = ?1")?;
    Ok(statement.query_row([unit], |row| row.get(0)).optional()?.map(instant))
}

/// The first doubt counts until a list is believed.
pub(super) fn doubt(connection: &Connection, unit: i64, since: Option<Timestamp>) -> Result<(), Fault> {
    match since {
        Some(since) => connection
            .prepare_cached("INSERT INTO doubted VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![unit, nanoseconds(since)])?,
        None => connection.prepare_cached("DELETE FROM doubted WHERE unit = ?1")?.execute([unit])?,
    };
    Ok(())
}
