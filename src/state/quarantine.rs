//! Quarantine: sources whose write was undone or failed repeatedly.

use super::codec::{self, instant, nanoseconds};
use super::error::Fault;
use super::{State, StateError};
use crate::model::{SourceName, Unit};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// Record of a quarantined source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Quarantined {
    /// Start of the quarantine.
    pub since: Timestamp,
    /// Reason, in readable form.
    pub reason: String,
    /// Mark of the declared definition; a different mark ends the quarantine.
    pub mark: String,
}

impl State {
    /// Returns the quarantined sources of `unit`.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn quarantined(&self, unit: &Unit) -> Result<BTreeMap<SourceName, Quarantined>, StateError> {
        let unit = unit.clone();
        self.read(move |connection, platform| held(connection, platform, &unit)).await
    }
}

pub(super) fn held(
    connection: &Connection,
    platform: &str,
    unit: &Unit,
) -> Result<BTreeMap<SourceName, Quarantined>, Fault> {
    let mut statement = connection.prepare_cached(
        "SELECT name, since, reason, mark FROM quarantined
         WHERE platform = ?1 AND workspace = ?2 AND scope = ?3",
    )?;
    let mut rows = statement.query([platform, unit.workspace.as_str(), unit.scope.as_str()])?;
    let mut quarantined = BTreeMap::new();
    while let Some(row) = rows.next()? {
        let held = Quarantined { since: instant(row.get(1)?), reason: row.get(2)?, mark: row.get(3)? };
        quarantined.insert(codec::name(row.get(0)?, "quarantined")?, held);
    }
    Ok(quarantined)
}

/// Quarantines `name`, or replaces its record.
pub(super) fn put(
    connection: &Connection,
    platform: &str,
    unit: &Unit,
    name: &SourceName,
    held: &Quarantined,
) -> Result<(), Fault> {
    connection.execute(
        "INSERT OR REPLACE INTO quarantined VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            platform,
            unit.workspace.as_str(),
            unit.scope.as_str(),
            name.as_str(),
            nanoseconds(held.since),
            held.reason,
            held.mark
        ],
    )?;
    Ok(())
}

pub(super) fn release(
    connection: &Connection,
    platform: &str,
    unit: &Unit,
    name: &SourceName,
) -> Result<(), Fault> {
    connection.execute(
        "DELETE FROM quarantined WHERE platform = ?1 AND workspace = ?2 AND scope = ?3 AND name = ?4",
        [platform, unit.workspace.as_str(), unit.scope.as_str(), name.as_str()],
    )?;
    Ok(())
}
