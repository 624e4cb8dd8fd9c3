//! What the platform has shown of its ways.

use super::error::Fault;
use super::{State, StateError};
use rusqlite::{OptionalExtension, Transaction, params};

impl State {
    /// Did connect on a taken name update the source in place, the last time that could be seen?
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn upserts(&self) -> Result<bool, StateError> {
        self.read(|connection, platform| {
            let upserts = connection
                .query_row("SELECT upserts FROM learned WHERE platform = ?1", [platform], |row| row.get(0))
                .optional()?;
            Ok(upserts.unwrap_or(false))
        })
        .await
    }
}

/// Remembers how the platform took a connect on a taken name.
pub(super) fn put(transaction: &Transaction<'_>, platform: &str, upserts: bool) -> Result<(), Fault> {
    transaction.execute("INSERT OR REPLACE INTO learned VALUES (?1, ?2)", params![platform, upserts])?;
    Ok(())
}
