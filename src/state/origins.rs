//! Origins to which the platform's token was sent.

use super::{State, StateError};
use std::collections::BTreeSet;

impl State {
    /// Returns the origins (`https://HOST`, or `local`) used with this state.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn origins(&self) -> Result<BTreeSet<String>, StateError> {
        self.read(|connection, _| {
            let mut statement = connection.prepare_cached("SELECT origin FROM origins")?;
            let origins = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(origins)
        })
        .await
    }

    /// Records an origin before it is used.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn remember_origin(&self, origin: &str) -> Result<(), StateError> {
        let origin = origin.to_owned();
        self.write(move |connection, _| {
            connection.execute("INSERT OR IGNORE INTO origins VALUES (?1)", [&origin])?;
            Ok(())
        })
        .await
    }
}
