//! Observed behaviour of the platform.

use super::codec::{self, instant, nanoseconds};
use super::error::DbError;
use super::{Store, StoreError, workspace_number};
use crate::model::{SourceName, WorkspaceRef};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// Pause of all replacements by removal after one could not be restored.
const HALT_DURATION: SignedDuration = SignedDuration::from_hours(1);

/// Age after which a source that was not put back no longer blocks replacements.
const HALT_EXPIRY: SignedDuration = SignedDuration::from_hours(24);

/// The last source that was removed for a replacement and not put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Halted {
    pub unit: WorkspaceRef,
    pub name: SourceName,
    pub since: Timestamp,
    pub is_managed_again: bool,
}

impl Halted {
    /// Returns true if no other source may be removed for a replacement yet.
    pub fn blocks_replacements(&self, now: Timestamp) -> bool {
        let age = now.duration_since(self.since).abs();
        age < HALT_DURATION || (!self.is_managed_again && age < HALT_EXPIRY)
    }
}

impl Store {
    /// Returns the last source that was removed for a replacement and not put back.
    pub async fn halted(&self) -> Result<Option<Halted>, StoreError> {
        self.read(|connection, platform| {
            let mut statement = connection
                .prepare_cached("SELECT since, workspace, scope, name FROM halted WHERE platform = ?1")?;
            let row = statement.query_row([platform], |row| {
                Ok((row.get::<_, i64>(0)?, row.get(1)?, row.get(2)?, row.get::<_, String>(3)?))
            });
            let Some((since, workspace, scope, name)) = row.optional()? else { return Ok(None) };
            let workspace = codec::workspace_ref(workspace, scope, "halted")?;
            let number = workspace_number::number(connection, platform, &workspace)?;
            let is_back = connection
                .prepare_cached("SELECT 1 FROM owned WHERE unit = ?1 AND name = ?2")?
                .exists(params![number, name])?;
            Ok(Some(Halted {
                unit: workspace,
                name: codec::name(name, "halted")?,
                since: instant(since),
                is_managed_again: is_back,
            }))
        })
        .await
    }
}

impl Store {
    /// Returns the sources of `workspace` that must be synced in a call of their own.
    pub async fn separate_syncs(&self, workspace: &WorkspaceRef) -> Result<BTreeSet<SourceName>, StoreError> {
        let workspace = workspace.clone();
        self.read(move |connection, platform| {
            let Some(workspace) = workspace_number::number(connection, platform, &workspace)? else {
                return Ok(BTreeSet::new());
            };
            let mut statement = connection.prepare_cached("SELECT name FROM alone WHERE unit = ?1")?;
            let names = statement.query_map([workspace], |row| row.get::<_, String>(0))?;
            names.map(|name| codec::name(name?, "alone")).collect()
        })
        .await
    }

    /// Sets whether these sources are synced in a call of their own.
    pub async fn set_separate_sync(
        &self,
        workspace: &WorkspaceRef,
        names: Vec<SourceName>,
        alone: bool,
    ) -> Result<(), StoreError> {
        let workspace = workspace.clone();
        self.write(move |connection, platform| {
            let workspace = workspace_number::ensure_number(connection, platform, &workspace)?;
            let mut statement = connection.prepare_cached(if alone {
                "INSERT OR IGNORE INTO alone VALUES (?1, ?2)"
            } else {
                "DELETE FROM alone WHERE unit = ?1 AND name = ?2"
            })?;
            names.iter().try_for_each(|name| {
                statement.execute(params![workspace, name.as_str()])?;
                Ok(())
            })
        })
        .await
    }
}

pub(super) fn upserts(connection: &Connection, platform: &str) -> Result<bool, DbError> {
    let mut statement = connection.prepare_cached("SELECT upserts FROM learned WHERE platform = ?1")?;
    Ok(statement.query_row([platform], |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Records whether connect updated an existing source in place.
pub(super) fn set_upserts(connection: &Connection, platform: &str, upserts: bool) -> Result<(), DbError> {
    connection.execute("INSERT OR REPLACE INTO learned VALUES (?1, ?2)", params![platform, upserts])?;
    Ok(())
}

pub(super) fn record_halt(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
    name: &SourceName,
    since: Timestamp,
) -> Result<(), DbError> {
    let (workspace, scope) = (workspace.workspace.as_str(), workspace.scope.as_str());
    connection.execute(
        "INSERT OR REPLACE INTO halted VALUES (?1, ?2, ?3, ?4, ?5)",
        params![platform, nanoseconds(since), workspace, scope, name.as_str()],
    )?;
    Ok(())
}

/// Returns the time from which the lists of a workspace are doubted.
pub(super) fn doubted_since(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
) -> Result<Option<Timestamp>, DbError> {
    let Some(workspace) = workspace_number::number(connection, platform, workspace)? else { return Ok(None) };
    let mut statement = connection.prepare_cached("SELECT since FROM doubted WHERE unit = ?1")?;
    Ok(statement.query_row([workspace], |row| row.get(0)).optional()?.map(instant))
}

/// Records or ends a doubt; the first time is kept until a list is trusted.
pub(super) fn record_doubt(
    connection: &Connection,
    workspace: i64,
    since: Option<Timestamp>,
) -> Result<(), DbError> {
    match since {
        Some(since) => connection
            .prepare_cached("INSERT INTO doubted VALUES (?1, ?2) ON CONFLICT DO NOTHING")?
            .execute(params![workspace, nanoseconds(since)])?,
        None => connection.prepare_cached("DELETE FROM doubted WHERE unit = ?1")?.execute([workspace])?,
    };
    Ok(())
}
