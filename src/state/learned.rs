//! Observed behaviour of the platform.

use super::codec::{self, instant, nanoseconds};
use super::error::Fault;
use super::{State, StateError, inventory};
use crate::model::{SourceName, Unit};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// Pause of all replacements by removal after one could not be put back.
const HALT: SignedDuration = SignedDuration::from_hours(1);

/// Age after which a source that was not put back no longer blocks replacements.
const FORGOTTEN: SignedDuration = SignedDuration::from_hours(24);

/// The last source that was removed for a replacement and not put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    /// Workspace and scope of the source.
    pub unit: Unit,
    /// Name of the source.
    pub name: SourceName,
    /// Time of the failure.
    pub since: Timestamp,
    /// The source is managed again.
    pub is_back: bool,
}

impl Halted {
    /// Returns true if no other source may be removed for a replacement yet.
    #[must_use]
    pub fn holds(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since).abs();
        age < HALT || (!self.is_back && age < FORGOTTEN)
    }
}

impl State {
    /// Returns the last source that was removed for a replacement and not put back.
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
    /// Returns the sources of `unit` that must be synced in a call of their own.
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

    /// Sets whether these sources are synced in a call of their own.
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

/// Records whether connect updated an existing source in place.
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

/// Returns the time from which the lists of a unit are doubted.
pub(super) fn doubted(
    connection: &Connection,
    platform: &str,
    unit: &Unit,
) -> Result<Option<Timestamp>, Fault> {
    let Some(unit) = inventory::number(connection, platform, unit)? else { return Ok(None) };
    let mut statement = connection.prepare_cached("SELECT since FROM doubted WHERE unit = ?1")?;
    Ok(statement.query_row([unit], |row| row.get(0)).optional()?.map(instant))
}

/// Records or ends a doubt; the first time is kept until a list is trusted.
pub(super) fn doubt(connection: &Connection, unit: i64, since: Option<Timestamp>) -> Result<(), Fault> {
    match since {
        Some(since) => connection
            .prepare_cached("INSERT INTO doubted VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![unit, nanoseconds(since)])?,
        None => connection.prepare_cached("DELETE FROM doubted WHERE unit = ?1")?.execute([unit])?,
    };
    Ok(())
}
