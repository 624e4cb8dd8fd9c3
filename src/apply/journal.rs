//! Records results: inventory changes and one journal entry per finished action.

use super::Run;
use crate::plan::{Action, Step, UnitError};
use crate::state::{Change, JournalEntry};
use crate::tree::Checkout;
use std::sync::Arc;
use std::time::Duration;

impl Run<'_> {
    /// Writes all changes in one transaction.
    ///
    /// Journal entries get the current commit of the files.
    pub(super) async fn commit(&self, mut changes: Vec<Change>) -> Result<(), UnitError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.name_commit(&mut changes);
        self.apply.state.commit(self.unit(), changes).await.map_err(UnitError::from)
    }

    fn name_commit(&self, changes: &mut [Change]) {
        let mut entries = changes.iter_mut().filter_map(|change| match change {
            Change::Journal(entry) => Some(entry),
            _ => None,
        });
        // Resolving the commit reads several of Git's files, so do it once per transaction.
        let Some(first) = entries.next() else { return };
        first.commit = self.apply.checkout.and_then(Checkout::commit_by_now);
        entries.for_each(|entry| entry.commit.clone_from(&first.commit));
    }

    /// Waits up to 100 ms for Git to write HEAD, so that entries can name the commit.
    ///
    /// Called only after the writes were sent and listed, so no request is delayed by it.
    pub(super) async fn let_git_say(&self) {
        const MOMENT: Duration = Duration::from_millis(5);
        const MOMENTS: usize = 20;
        let Some(checkout) = self.apply.checkout else { return };
        for _ in 0..MOMENTS {
            if !checkout.is_about_to_be_said() {
                return;
            }
            tokio::time::sleep(MOMENT).await;
        }
    }

    /// Builds the journal entry of an action that succeeded or failed.
    ///
    /// `commit` is filled in on writing.
    pub(super) fn entry(&self, action: &Action, failure: Option<&str>) -> JournalEntry {
        let owned = self.inventory.owned.get(&action.name);
        JournalEntry {
            at: (self.apply.now)(),
            pass: Arc::clone(self.apply.pass),
            source: action.name.clone(),
            key: Some(action.source.clone()),
            action: action.step.kind().as_str().into(),
            source_id: match &action.step {
                Step::Cleanup { id, .. } => Some(id.clone()),
                _ => owned.and_then(|owned| owned.id.clone()),
            },
            reason: action.reason.clone(),
            file: action.at.as_ref().map(|at| Arc::clone(&at.file)),
            line: action.at.as_ref().map(|at| at.line),
            commit: None,
            outcome: if failure.is_none() { "done" } else { "failed" }.into(),
            message: failure.map(str::to_owned),
            removal: action.step.counts_as_removal() && failure.is_none(),
            mends_drift: action.mends_drift,
        }
    }
}
