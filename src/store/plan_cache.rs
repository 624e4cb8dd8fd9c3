//! Workspaces that the last run found in sync, cached for the next run.
//!
//! Writing to a workspace invalidates its entry.

use super::error::DbError;
use super::{Store, StoreError, codec, workspace_number};
use crate::model::WorkspaceRef;
use rusqlite::{Connection, OptionalExtension, Row, params};

/// Cached results of runs on one root.
pub struct PlanCacheRows {
    /// Fingerprint of the inputs: how files and platform were read.
    pub ground: String,
    /// Each workspace with its cached result.
    pub entries: Vec<(WorkspaceRef, String)>,
}

impl Store {
    /// Returns the cached results for `root` that are still valid.
    pub async fn plan_cache(&self, root: &str) -> Result<Option<PlanCacheRows>, StoreError> {
        let root = root.to_owned();
        self.read(move |connection, platform| {
            let Some(ground) = ground(connection, &root)? else { return Ok(None) };
            let mut statement = connection.prepare_cached(
                "SELECT workspace, scope, found FROM settled JOIN units USING (unit)
                 WHERE root = ?1 AND platform = ?2",
            )?;
            let read =
                |row: &Row<'_>| Ok((codec::workspace_ref(row.get(0)?, row.get(1)?, "settled")?, row.get(2)?));
            let entries = statement.query_and_then([root.as_str(), platform], read)?;
            Ok(Some(PlanCacheRows { ground, entries: entries.collect::<Result<_, DbError>>()? }))
        })
        .await
    }

    /// Caches results for workspaces of `root`.
    ///
    /// Drops the entries of workspaces in `gone`, and all entries with different inputs.
    pub async fn store(
        &self,
        root: &str,
        kept: PlanCacheRows,
        gone: Vec<WorkspaceRef>,
    ) -> Result<(), StoreError> {
        let root = root.to_owned();
        self.write(move |connection, platform| {
            if ground(connection, &root)?.as_ref() != Some(&kept.ground) {
                connection.execute("DELETE FROM settled WHERE root = ?1", [&root])?;
                connection.execute("INSERT OR REPLACE INTO ground VALUES (?1, ?2)", [&root, &kept.ground])?;
            }
            for workspace in &gone {
                if let Some(workspace) = workspace_number::number(connection, platform, workspace)? {
                    let mut statement =
                        connection.prepare_cached("DELETE FROM settled WHERE unit = ?1 AND root = ?2")?;
                    statement.execute(params![workspace, root])?;
                }
            }
            for (workspace, found) in &kept.entries {
                let workspace = workspace_number::ensure_number(connection, platform, workspace)?;
                let mut statement = connection.prepare_cached(
                    "INSERT OR REPLACE INTO settled (unit, root, found) VALUES (?1, ?2, ?3)",
                )?;
                statement.execute(params![workspace, root, found])?;
            }
            Ok(())
        })
        .await
    }
}

fn ground(connection: &Connection, root: &str) -> rusqlite::Result<Option<String>> {
    let mut statement = connection.prepare_cached("SELECT ground FROM ground WHERE root = ?1")?;
    statement.query_row([root], |row| row.get(0)).optional()
}

/// Invalidates the workspace's entry before its inventory or intents change.
pub(super) fn invalidate(connection: &Connection, workspace: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM settled WHERE unit = ?1")?.execute([workspace]).map(drop)
}
