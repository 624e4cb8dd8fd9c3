//! Records results: inventory changes and one journal entry per finished action.

use super::ApplyRun;
use crate::config::FILE_NAME;
use crate::model::ActionOutcome;
use crate::plan::{Action, Step, WorkspaceError};
use crate::store::{JournalEntry, StoreChange};
use std::collections::BTreeSet;
use std::slice;
use std::sync::Arc;
use std::time::Duration;

impl ApplyRun<'_> {
    /// Writes all changes in one transaction.
    ///
    /// Journal entries get the current commit of the files.
    pub(super) async fn commit(&self, mut changes: Vec<StoreChange>) -> Result<(), WorkspaceError> {
        if changes.is_empty() {
            return Ok(());
        }
        self.attach_commit(&mut changes).await;
        self.apply.state.commit(self.unit(), changes).await.map_err(WorkspaceError::from)
    }

    /// Names the commit in each entry: that of its file and of `wellspring.toml`; of all files where it has none.
    async fn attach_commit(&self, changes: &mut [StoreChange]) {
        let entries = changes.iter_mut().filter_map(|change| match change {
            StoreChange::Journal(entry) => Some(entry),
            _ => None,
        });
        let mut entries: Vec<_> = entries.collect();
        let Some(checkout) = self.apply.checkout.cloned() else { return };
        if entries.is_empty() {
            return;
        }
        let declared_in = &self.plan.desired.files;
        let settings: Arc<str> = FILE_NAME.into();
        let files_of = |entry: &JournalEntry| {
            let files = entry.file.as_ref().map_or(&**declared_in, slice::from_ref);
            files.iter().chain([&settings]).cloned().collect::<BTreeSet<_>>()
        };
        let files = entries.iter().flat_map(|entry| files_of(entry)).collect();
        let described = tokio::task::spawn_blocking(move || checkout.described(Some(files))).await;
        let Some(described) = described.ok().flatten() else { return };
        for entry in &mut entries {
            entry.commit = Some(Arc::clone(described.of(&files_of(entry))));
        }
    }

    /// Waits up to 100 ms for Git to write HEAD, so that entries can name the commit.
    ///
    /// Called only after the writes were sent and listed, so no request is delayed by it.
    pub(super) async fn wait_for_head(&self) {
        const HEAD_POLL_INTERVAL: Duration = Duration::from_millis(5);
        const MAX_HEAD_POLLS: usize = 20;
        let Some(checkout) = self.apply.checkout else { return };
        for _ in 0..MAX_HEAD_POLLS {
            if !checkout.head_is_pending() {
                return;
            }
            tokio::time::sleep(HEAD_POLL_INTERVAL).await;
        }
    }

    /// Builds the journal entry of an action that succeeded or failed.
    ///
    /// `commit` is filled in on writing.
    pub(super) fn entry(&self, action: &Action, failure: Option<&str>) -> JournalEntry {
        let owned = self.inventory.managed.get(&action.name);
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
            file: action.location.as_ref().map(|at| Arc::clone(&at.file)),
            line: action.location.as_ref().map(|at| at.line),
            commit: None,
            outcome: if failure.is_none() { ActionOutcome::Done } else { ActionOutcome::Failed },
            message: failure.map(str::to_owned),
            removal: action.step.counts_as_removal() && failure.is_none(),
            mends_drift: action.corrects_drift,
            in_place: self.plan.in_place && matches!(action.step, Step::Replace { .. }),
        }
    }
}
