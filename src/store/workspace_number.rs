//! Numbers of the workspaces in the database.

use super::error::DbError;
use crate::model::WorkspaceRef;
use rusqlite::{Connection, OptionalExtension as _};

/// Returns the workspace's number; assigns one if it has none.
pub(super) fn ensure_number(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
) -> Result<i64, DbError> {
    if let Some(number) = number(connection, platform, workspace)? {
        return Ok(number);
    }
    let mut statement =
        connection.prepare_cached("INSERT INTO units (platform, workspace, scope) VALUES (?1, ?2, ?3)")?;
    Ok(statement.insert([platform, workspace.workspace.as_str(), workspace.scope.as_str()])?)
}

/// Returns the workspace's number, if it has one.
pub(super) fn number(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
) -> Result<Option<i64>, DbError> {
    let mut statement = connection
        .prepare_cached("SELECT unit FROM units WHERE platform = ?1 AND workspace = ?2 AND scope = ?3")?;
    let of = [platform, workspace.workspace.as_str(), workspace.scope.as_str()];
    Ok(statement.query_row(of, |row| row.get(0)).optional()?)
}
