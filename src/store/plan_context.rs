//! Everything stored that a plan for one workspace needs, in one consistent read.

use super::quarantine::QuarantineEntry;
use super::{Store, StoreError, capabilities, inventory, journal, quarantine};
use crate::model::{Inventory, SourceName, WorkspaceRef};
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Stored knowledge about one workspace.
pub struct PlanContext {
    /// Same as [`Store::inventory`].
    pub inventory: Inventory,
    /// Number of removals since the given time that count against `max_cleanup`.
    pub recent_removals: usize,
    /// True if connect on an existing name last updated the source in place.
    pub upserts: bool,
    /// Time from which absences in the workspace's lists are distrusted.
    pub doubted_since: Option<Timestamp>,
    /// Same as [`Store::quarantined`].
    pub quarantined: BTreeMap<SourceName, QuarantineEntry>,
    /// Drift corrections since the given time: source, action and time, oldest first.
    ///
    /// The same correction twice within an hour means that another party reverts it.
    pub drift_corrections: Vec<(SourceName, String, Timestamp)>,
}

impl Store {
    /// Returns the stored knowledge about `workspace`, with its history from `since` on.
    pub async fn plan_context(
        &self,
        workspace: &WorkspaceRef,
        since: Timestamp,
    ) -> Result<PlanContext, StoreError> {
        let workspace = workspace.clone();
        self.read_rows(
            move |connection, platform| {
                let rows = inventory::rows(connection, platform, &workspace)?;
                let remembered = PlanContext {
                    inventory: Inventory::default(),
                    recent_removals: journal::recent_removals(connection, platform, &workspace, since)?,
                    doubted_since: capabilities::doubted_since(connection, platform, &workspace)?,
                    upserts: capabilities::upserts(connection, platform)?,
                    quarantined: quarantine::load(connection, platform, &workspace)?,
                    drift_corrections: journal::drift_corrections(connection, platform, &workspace, since)?,
                };
                Ok((rows, remembered))
            },
            |(rows, remembered)| Ok(PlanContext { inventory: rows.read()?, ..remembered }),
        )
        .await
    }
}
