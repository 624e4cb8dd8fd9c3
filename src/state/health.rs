//! Is the store sound?

use super::{State, StateError};

/// What a look at the whole store found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreHealth {
    /// Sources that are ours on this platform.
    pub owned: usize,
    /// Runs that are kept for this platform.
    pub runs: usize,
    /// What the database takes on disk, without its log.
    pub bytes: u64,
    /// What is wrong with its pages and indexes, if anything is.
    pub damage: Option<String>,
}

impl State {
    /// Reads the whole database.
    ///
    /// # Errors
    /// When it cannot be read at all.
    pub async fn health(&self) -> Result<StoreHealth, StateError> {
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
                owned: count("owned JOIN units USING (unit)")?,
                runs: count("runs")?,
                bytes: u64::try_from(bytes).unwrap_or(0),
                damage: (verdict != "ok").then_some(verdict),
            })
        })
        .await
    }
}
