//! Quarantine: sources whose write was undone or failed repeatedly.

use super::codec::{self, instant, nanoseconds};
use super::error::DbError;
use super::{Store, StoreError};
use crate::model::{SourceName, WorkspaceRef};
use jiff::Timestamp;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// Record of a quarantined source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantineEntry {
    pub since: Timestamp,
    /// Reason, in readable form.
    pub reason: String,
    /// Mark of the declared definition; a different mark ends the quarantine.
    pub definition_hash: String,
}

impl Store {
    pub async fn quarantined(
        &self,
        workspace: &WorkspaceRef,
    ) -> Result<BTreeMap<SourceName, QuarantineEntry>, StoreError> {
        let workspace = workspace.clone();
        self.read(move |connection, platform| load(connection, platform, &workspace)).await
    }
}

pub(super) fn load(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
) -> Result<BTreeMap<SourceName, QuarantineEntry>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT name, since, reason, mark FROM quarantined
         WHERE platform = ?1 AND workspace = ?2 AND scope = ?3",
    )?;
    let of = [platform, workspace.workspace.as_str(), workspace.scope.as_str()];
    let quarantined = statement.query_and_then(of, |row| {
        let held = QuarantineEntry {
            since: instant(row.get(1)?),
            reason: row.get(2)?,
            definition_hash: row.get(3)?,
        };
        Ok((codec::name(row.get(0)?, "quarantined")?, held))
    })?;
    quarantined.collect()
}

/// Quarantines `name`, or replaces its record.
pub(super) fn insert(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
    name: &SourceName,
    held: &QuarantineEntry,
) -> Result<(), DbError> {
    connection.execute(
        "INSERT OR REPLACE INTO quarantined VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            platform,
            workspace.workspace.as_str(),
            workspace.scope.as_str(),
            name.as_str(),
            nanoseconds(held.since),
            held.reason,
            held.definition_hash
        ],
    )?;
    Ok(())
}

pub(super) fn release(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
    name: &SourceName,
) -> Result<(), DbError> {
    connection.execute(
        "DELETE FROM quarantined WHERE platform = ?1 AND workspace = ?2 AND scope = ?3 AND name = ?4",
        [platform, workspace.workspace.as_str(), workspace.scope.as_str(), name.as_str()],
    )?;
    Ok(())
}
