//! Persistent registry of the connected sources of every workspace.

use super::lock;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Mutex, MutexGuard};

use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde_json::Value;

use super::definition::{SourceSpec, WorkspaceKey};
use super::storage::{PlatformStore, migrate, random_hex, read_catalogue};
use super::{NameConflict, PlatformError};

const SCRIPT: &str = "
    CREATE TABLE source (
        id TEXT PRIMARY KEY,
        workspace TEXT NOT NULL,
        scope TEXT NOT NULL,
        name TEXT NOT NULL,
        type TEXT NOT NULL,
        connection_config TEXT NOT NULL,
        metadata TEXT NOT NULL,
        created_at TEXT NOT NULL,
        updated_at TEXT NOT NULL,
        last_sync TEXT,
        UNIQUE (workspace, scope, name)
    ) STRICT;";
/// Adds the tables of accounts.
const ACCOUNTS_SCRIPT: &str = "
    CREATE TABLE account_row (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        account TEXT NOT NULL,
        listed TEXT NOT NULL,
        connector TEXT NOT NULL,
        config TEXT NOT NULL
    ) STRICT;
    CREATE INDEX account_row_account ON account_row (account);
    CREATE TABLE ontology (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        account TEXT NOT NULL,
        name TEXT NOT NULL,
        description TEXT
    ) STRICT;";
const COLUMNS: &str = "id, name, type, scope, connection_config, metadata, created_at, updated_at, last_sync";

/// The only connection to the registry.
///
/// Holds are short: no source is read and no row stored meanwhile.
pub(super) struct Registry(Mutex<Connection>);

pub(super) struct RegisteredSource {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) scope: String,
    pub(super) connection_config: Value,
    pub(super) metadata: Value,
    pub(super) created_at: String,
    pub(super) updated_at: String,
    /// Result of the last sync; null before the first.
    pub(super) last_sync: Value,
}

pub(super) enum Connected {
    /// All were connected; contains their ids in order.
    All(Vec<String>),
    /// This name exists already; nothing was changed.
    NameTaken(String),
}

impl Registry {
    pub(super) fn open(store: &PlatformStore) -> Result<Self, PlatformError> {
        let connection = store.catalogue()?;
        migrate(&connection, &[SCRIPT, ACCOUNTS_SCRIPT])?;
        Ok(Self(Mutex::new(connection)))
    }

    /// Connects all definitions or none.
    ///
    /// An existing name keeps its id and gets the new definition, unless existing names are
    /// rejected.
    pub(super) fn connect(
        &self,
        workspace: &WorkspaceKey,
        definitions: &[SourceSpec],
        taken: NameConflict,
        now: &str,
    ) -> Result<Connected, PlatformError> {
        let connection = self.lock();
        let change = connection.unchecked_transaction()?;
        let mut ids = Vec::with_capacity(definitions.len());
        {
            let mut put = change.prepare_cached(
                "INSERT INTO source (id, workspace, scope, name, type, connection_config, metadata,
                                     created_at, updated_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?8)
                 ON CONFLICT (workspace, scope, name) DO UPDATE SET
                     type = excluded.type, connection_config = excluded.connection_config,
                     metadata = excluded.metadata, updated_at = excluded.updated_at
                 RETURNING id",
            )?;
            let mut known = change.prepare_cached(
                "SELECT EXISTS (SELECT 1 FROM source WHERE workspace = ?1 AND scope = ?2 AND name = ?3)",
            )?;
            for definition in definitions {
                let name = [&workspace.workspace, &workspace.scope, &definition.name];
                if taken == NameConflict::Refuse && known.query_row(name, |row| row.get(0))? {
                    return Ok(Connected::NameTaken(definition.name.clone()));
                }
                let values = params![
                    format!("src_{}", random_hex()),
                    workspace.workspace,
                    workspace.scope,
                    definition.name,
                    definition.kind,
                    definition.connection_config.to_string(),
                    definition.metadata.to_string(),
                    now,
                ];
                ids.push(put.query_row(values, |row| row.get(0))?);
            }
        }
        change.commit()?;
        Ok(Connected::All(ids))
    }

    /// Returns the sources of a workspace and scope, sorted by name.
    pub(super) fn list(&self, workspace: &WorkspaceKey) -> Result<Vec<RegisteredSource>, PlatformError> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM source WHERE workspace = ?1 AND scope = ?2 ORDER BY name"
        ))?;
        let sources = query.query_map([&workspace.workspace, &workspace.scope], read_source)?;
        Ok(sources.collect::<Result<_, _>>()?)
    }

    pub(super) fn source(
        &self,
        workspace: &WorkspaceKey,
        id: &str,
    ) -> Result<Option<RegisteredSource>, PlatformError> {
        let connection = self.lock();
        let mut query = connection.prepare_cached(&format!(
            "SELECT {COLUMNS} FROM source WHERE workspace = ?1 AND scope = ?2 AND id = ?3"
        ))?;
        Ok(query.query_row([&workspace.workspace, &workspace.scope, id], read_source).optional()?)
    }

    /// Removes sources in one transaction and returns the ids of those that existed.
    pub(super) fn remove(
        &self,
        workspace: &WorkspaceKey,
        ids: &[String],
    ) -> Result<Vec<String>, PlatformError> {
        let connection = self.lock();
        let change = connection.unchecked_transaction()?;
        let mut removed = Vec::new();
        for id in ids {
            let sql = "DELETE FROM source WHERE workspace = ?1 AND scope = ?2 AND id = ?3";
            if change.prepare_cached(sql)?.execute([&workspace.workspace, &workspace.scope, id])? > 0 {
                removed.push(id.clone());
            }
        }
        change.commit()?;
        Ok(removed)
    }

    pub(super) fn record_sync(&self, id: &str, last_sync: &Value) -> Result<(), PlatformError> {
        let values = [&last_sync.to_string(), id];
        self.lock().execute("UPDATE source SET last_sync = ?1 WHERE id = ?2", values)?;
        Ok(())
    }

    /// Returns all ids of all workspaces.
    pub(super) fn ids(&self) -> Result<BTreeSet<String>, PlatformError> {
        let connection = self.lock();
        let mut query = connection.prepare("SELECT id FROM source")?;
        let ids = query.query_map([], |row| row.get(0))?;
        Ok(ids.collect::<Result<_, _>>()?)
    }

    /// Locks the connection, also after a panic of another thread.
    ///
    /// No change is half done: an unfinished transaction rolls back on drop.
    pub(super) fn lock(&self) -> MutexGuard<'_, Connection> {
        lock(&self.0)
    }
}

/// Returns the id of a stored source; may run next to a running platform.
pub(super) fn stored_id(
    directory: &Path,
    workspace: &str,
    scope: &str,
    name: &str,
) -> Result<Option<String>, PlatformError> {
    let sql = "SELECT id FROM source WHERE workspace = ?1 AND scope = ?2 AND name = ?3";
    Ok(read_catalogue(directory)?.query_row(sql, [workspace, scope, name], |row| row.get(0)).optional()?)
}

fn read_source(row: &Row<'_>) -> rusqlite::Result<RegisteredSource> {
    let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::Null);
    Ok(RegisteredSource {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: row.get(2)?,
        scope: row.get(3)?,
        connection_config: json(row.get(4)?),
        metadata: json(row.get(5)?),
        created_at: row.get(6)?,
        updated_at: row.get(7)?,
        last_sync: row.get::<_, Option<String>>(8)?.map_or(Value::Null, json),
    })
}
