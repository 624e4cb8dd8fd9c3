//! Everything stored that a plan for one unit needs, in one consistent read.

use super::quarantine::Quarantined;
use super::{State, StateError, inventory, journal, learned, quarantine};
use crate::model::{Inventory, SourceName, Unit};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Stored knowledge about one unit.
pub struct Remembered {
    /// Same as [`State::inventory`].
    pub inventory: Inventory,
    /// Number of removals since the given time that count against `max_cleanup`.
    pub removals: usize,
    /// True if connect on an existing name last updated the source in place.
    pub upserts: bool,
    /// Time from which absences in the unit's lists are distrusted.
    pub doubted: Option<Timestamp>,
    /// Same as [`State::quarantined`].
    pub quarantined: BTreeMap<SourceName, Quarantined>,
    /// Drift corrections since the given time: source, action and time, oldest first.
    ///
    /// The same correction twice within an hour means that another party reverts it.
    pub undone: Vec<(SourceName, String, Timestamp)>,
}

impl State {
    /// Returns the stored knowledge about `unit`, with its history from `since` on.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn remembered(&self, unit: &Unit, since: Timestamp) -> Result<Remembered, StateError> {
        let unit = unit.clone();
        self.read_rows(
            move |connection, platform| {
                let rows = inventory::rows(connection, platform, &unit)?;
                let remembered = Remembered {
                    inventory: Inventory::default(),
                    removals: journal::removals(connection, platform, &unit, since)?,
                    doubted: learned::doubted(connection, platform, &unit)?,
                    upserts: learned::upserts(connection, platform)?,
                    quarantined: quarantine::held(connection, platform, &unit)?,
                    undone: journal::undone(connection, platform, &unit, since)?,
                };
                Ok((rows, remembered))
            },
            |(rows, remembered)| Ok(Remembered { inventory: rows.read()?, ..remembered }),
        )
        .await
    }
}
