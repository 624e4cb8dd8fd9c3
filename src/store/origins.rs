//! Origins to which the platform's token was sent.

use super::{Store, StoreError};
use std::collections::BTreeSet;

impl Store {
    /// Returns the origins (`https://HOST`, or `local`) used with this state.
    pub async fn origins(&self) -> Result<BTreeSet<String>, StoreError> {
        self.read(|connection, _| {
            let mut statement = connection.prepare_cached("SELECT origin FROM origins")?;
            let origins = statement.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            Ok(origins)
        })
        .await
    }

    /// Records an origin before it is used.
    pub async fn record_origin(&self, origin: &str) -> Result<(), StoreError> {
        let origin = origin.to_owned();
        self.write(move |connection, _| {
            connection.execute("INSERT OR IGNORE INTO origins VALUES (?1)", [&origin])?;
            Ok(())
        })
        .await
    }
}
