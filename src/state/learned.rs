//! What the platform has shown of its ways.

use super::error::Fault;
use rusqlite::{Connection, OptionalExtension, params};

pub(super) fn upserts(connection: &Connection, platform: &str) -> Result<bool, Fault> {
    let mut statement = connection.prepare_cached("SELECT upserts FROM learned WHERE platform = ?1")?;
    Ok(statement.query_row([platform], |row| row.get(0)).optional()?.unwrap_or(false))
}

/// Remembers how the platform took a connect on a taken name.
pub(super) fn put(connection: &Connection, platform: &str, upserts: bool) -> Result<(), Fault> {
    connection.execute("INSERT OR REPLACE INTO learned VALUES (?1, ?2)", params![platform, upserts])?;
    Ok(())
}
