//! Integrity check of the store.

use super::{Store, StoreError};

/// Result of checking the whole store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    pub managed: usize,
    pub runs: usize,
    /// Size of the database on disk in bytes, without its log.
    pub bytes: u64,
    /// First damage found in pages or indexes, if any.
    pub damage: Option<String>,
}

impl Store {
    /// Reads and verifies the whole database.
    pub async fn health(&self) -> Result<StoreHealth, StoreError> {
        self.read(|connection, platform| {
            let count = |rows: &str| -> rusqlite::Result<usize> {
                let query = format!("SELECT count(*) FROM {rows} WHERE platform = ?1");
                let count: i64 = connection.query_row(&query, [platform], |row| row.get(0))?;
                Ok(usize::try_from(count).unwrap_or(0))
            };
            let pages = |pragma| connection.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
            let bytes = pages("page_count")?.saturating_mul(pages("page_size")?);
            let verdict: String = connection.pragma_query_value(None, "quick_check", |row| row.get(0))?;
            Ok(StoreHealth {
                managed: count("owned JOIN units USING (unit)")?,
                runs: count("runs")?,
                bytes: u64::try_from(bytes).unwrap_or(0),
                damage: (verdict != "ok").then_some(verdict),
            })
        })
        .await
    }
}
