//! Positions in the tables of databases.

use serde::{Deserialize, Serialize};

use super::WriteMode;

/// Position of a table's last read.
#[derive(Serialize, Deserialize)]
pub(super) struct TableCursor<K, C> {
    /// Digest of the row format.
    pub(super) shape: String,
    pub(super) at: TablePosition<K, C>,
}

/// Position in a table with integer keys `K` and cursor values `C`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum TablePosition<K, C> {
    /// Greatest integer key with the digest of its row.
    ///
    /// If that row changed or is gone, the table may have been refilled, so its keys prove nothing.
    Number {
        last: K,
        digest: String,
    },
    /// Greatest value of the cursor column; null before the first.
    Cursor {
        column: String,
        last: Option<C>,
    },
    Rows,
}

impl<K, C> TablePosition<K, C> {
    /// Returns the mark of an earlier read by this cursor column; `None` if there was none.
    pub(super) fn mark(self, column: &str) -> Option<Option<C>> {
        match self {
            Self::Cursor { column: earlier, last } if earlier == column => Some(last),
            _ => None,
        }
    }
}

/// Effect of rows with an identity, which is their content if `by_content`.
pub(super) fn write_mode(is_stored: bool, by_content: bool) -> WriteMode {
    match (is_stored, by_content) {
        (false, _) => WriteMode::Replace,
        (true, true) => WriteMode::AppendUnseen,
        (true, false) => WriteMode::Upsert,
    }
}
