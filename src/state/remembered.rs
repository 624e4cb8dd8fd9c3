//! Everything that a plan of one unit is made from, in one look.

use super::quarantine::Quarantined;
use super::{State, StateError, inventory, journal, learned, quarantine};
use crate::model::{Inventory, SourceName, Unit};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// What is known of one unit.
pub struct Remembered {
    /// As [`State::inventory`] tells it.
    pub inventory: Inventory,
    /// How many removals that count against `max_cleanup` were done since then.
    pub removals: usize,
    /// Did connect on a taken name update the source in place, the last time that could be seen?
    pub upserts: bool,
    /// Since when what is missing from the unit's lists is not believed.
    pub doubted: Option<Timestamp>,
    /// As [`State::quarantined`] tells it.
    pub quarantined: BTreeMap<SourceName, Quarantined>,
    /// What was done since then to put back what someone else had changed: source, action and when, oldest
    /// first. The same twice within an hour means that someone undoes it.
    pub undone: Vec<(SourceName, String, Timestamp)>,
}

impl State {
    /// What is known of `unit`, and what was done there since then.
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
