//! The last run that had nothing to do. Whatever is written takes it away.

use super::{State, StateError};
use rusqlite::{Connection, OptionalExtension, params};

impl State {
    /// What was kept of the last run over `root`, if nothing was written since.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn quiet(&self, root: &str) -> Result<Option<String>, StateError> {
        let root = root.to_owned();
        self.read(move |connection, _| {
            let mut statement = connection.prepare_cached("SELECT memo FROM quiet WHERE root = ?1")?;
            Ok(statement.query_row([&root], |row| row.get(0)).optional()?)
        })
        .await
    }

    /// Keeps this of a run over `root`.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn keep_quiet(&self, root: &str, memo: String) -> Result<(), StateError> {
        let root = root.to_owned();
        self.write(move |connection, _| {
            connection.execute("INSERT OR REPLACE INTO quiet VALUES (?1, ?2)", params![root, memo])?;
            Ok(())
        })
        .await
    }
}

/// Something else is about to be written.
pub(super) fn strike(connection: &Connection) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM quiet")?.execute([]).map(drop)
}
