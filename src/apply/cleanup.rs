//! Removes sources that are no longer declared, moved, or left behind by a replace.
//!
//! Invariant: a source is removed by its recorded id only.

use super::ApplyRun;
use super::batch::{self, CleanupTarget};
use crate::model::{IntentKind, SourceId, SourceName};
use crate::plan::{ActionResult, Removal, Step, WorkspaceError};
use crate::store::NewIntent;
use std::collections::BTreeSet;

impl<'a> ApplyRun<'a> {
    /// Records the intents and sends the cleanups in batches, always by recorded ids.
    pub(super) async fn clean_up(&mut self, which: impl Fn(&Removal) -> bool) -> Result<(), WorkspaceError> {
        let mut going = Vec::new();
        let missing = self.not_connected();
        for (n, action) in self.open() {
            let Step::Cleanup { id, removal } = &action.step else { continue };
            if !which(removal) {
                continue;
            }
            if let Removal::Moved(to) = removal
                && (missing.contains(to) || !self.inventory.managed.contains_key(to))
            {
                self.set(n, ActionResult::Skipped(format!("{to} is not there yet")));
                continue;
            }
            // The platform may have updated the older row instead.
            if *removal == Removal::Superseded && self.is_write_unconfirmed(&action.name) {
                let why = "the connect of the newer one is not confirmed yet";
                self.set(n, ActionResult::Skipped(why.to_owned()));
                continue;
            }
            going.push(CleanupTarget {
                action: Some(n),
                name: action.name.clone(),
                key: action.source.clone(),
                id: id.clone(),
            });
        }
        self.send_cleanup(going).await
    }

    /// Returns true if this pass wrote to the name and has not seen the result.
    fn is_write_unconfirmed(&self, name: &SourceName) -> bool {
        self.plan.actions.iter().zip(&self.outcome.results).any(|(action, result)| {
            action.name == *name
                && matches!(action.step, Step::Connect { .. } | Step::Replace { .. })
                && matches!(result, ActionResult::Open)
        })
    }

    /// Returns the names whose connect or adopt did not succeed in this pass.
    fn not_connected(&self) -> BTreeSet<&'a SourceName> {
        let results = self.plan.actions.iter().zip(&self.outcome.results);
        results
            .filter(|(action, result)| {
                matches!(action.step, Step::Connect { .. } | Step::Adopt { .. })
                    && **result != ActionResult::Done
            })
            .map(|(action, _)| &action.name)
            .collect()
    }

    /// Cleans up the rows that a replace left behind under the same name.
    ///
    /// The last listing decides which these are.
    pub(super) async fn clean_up_superseded(&mut self) -> Result<(), WorkspaceError> {
        let planned: BTreeSet<&SourceId> = self
            .plan
            .actions
            .iter()
            .filter_map(|action| match &action.step {
                Step::Cleanup { id, .. } => Some(id),
                _ => None,
            })
            .collect();
        let touched: Vec<&SourceName> = self
            .plan
            .actions
            .iter()
            .filter(|action| matches!(action.step, Step::Connect { .. } | Step::Replace { .. }))
            .map(|action| &action.name)
            .collect();
        let mut left = Vec::new();
        for (name, owned) in touched.into_iter().filter_map(|name| self.inventory.managed.get_key_value(name))
        {
            let ids = owned.superseded.iter().filter(|id| !planned.contains(id));
            let rows: Vec<_> = ids
                .map(|id| CleanupTarget {
                    action: None,
                    name: name.clone(),
                    key: owned.key.clone(),
                    id: id.clone(),
                })
                .collect();
            if rows.is_empty() || self.write_locks.begin(name) {
                left.extend(rows);
            } else {
                self.outcome.waits_for_sync = true;
            }
        }
        self.send_cleanup(left).await
    }

    async fn send_cleanup(&mut self, going: Vec<CleanupTarget>) -> Result<(), WorkspaceError> {
        let intents = going
            .iter()
            .map(|target| NewIntent {
                name: target.name.clone(),
                key: target.key.clone(),
                kind: IntentKind::Cleanup(target.id.clone()),
                before: Vec::new(),
                list_lacked_ours: false,
                declared: None,
            })
            .collect();
        let actions = going.iter().map(|target| target.action).collect();
        self.record(actions, intents).await?;
        let sent = batch::cleanup(self, going).await;
        self.restart_settle_time().await?;
        sent
    }
}
