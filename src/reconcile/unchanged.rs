//! Cache of workspaces found in sync, which skips reading an unchanged list.
//!
//! While none of a plan's inputs changes, the next plan is the same. Entries live as long as the process.
//! Only a plan with nothing to do, to withhold or to record creates one: that of a pass, or one made of the
//! list that verified its writes. An entry is valid only for the same declaration, the same response of the
//! platform, the same secrets, and a state that no other process has written since. A failed pass removes it.

use super::Task;
use crate::client::ListDigest;
use crate::model::{CompressedWorkspace, Fingerprint, FingerprintKey, SecretRef, WorkspaceRef};
use crate::mutex::lock;
use crate::plan::UnchangedSummary;
use crate::secrets::Secrets;
use secrecy::ExposeSecret as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

#[derive(Default)]
pub struct UnchangedCache(Mutex<HashMap<WorkspaceRef, Arc<InputFingerprint>>>);

/// A workspace in sync.
pub struct InSync {
    /// Inputs of the plan that had nothing to do.
    pub inputs: InputFingerprint,
    /// Summary for the output; `None` if the workspace has an unmanaged source.
    pub summary: Option<UnchangedSummary>,
}

/// Inputs of a plan that had nothing to do.
pub struct InputFingerprint {
    /// Declaration in the files, before flags and host limits.
    declared: Arc<CompressedWorkspace>,
    owner: Option<Arc<str>>,
    list: ListDigest,
    /// Secret references of the workspace, with the fingerprints of their values.
    secrets: Vec<(SecretRef, Fingerprint)>,
    state: i64,
}

impl UnchangedCache {
    pub(super) fn of(&self, task: &Task, state: i64) -> Option<Arc<InputFingerprint>> {
        let mark = self.entries().get(&task.desired.unit).cloned()?;
        let stands = Arc::ptr_eq(&mark.declared, &task.desired)
            && mark.owner == task.owner
            && mark.state == state
            && task.released.is_empty();
        stands.then_some(mark)
    }

    /// Cheap pre-check that uses the task only.
    pub(super) fn may_contain(&self, task: &Task) -> bool {
        self.entries().get(&task.desired.unit).is_some_and(|mark| Arc::ptr_eq(&mark.declared, &task.desired))
    }

    pub(super) fn remove(&self, workspace: &WorkspaceRef) {
        self.entries().remove(workspace);
    }

    pub(super) fn insert(&self, mark: InputFingerprint) {
        self.entries().insert(mark.declared.unit.clone(), Arc::new(mark));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<WorkspaceRef, Arc<InputFingerprint>>> {
        lock(&self.0)
    }
}

impl InputFingerprint {
    /// Creates an entry.
    ///
    /// `state` is the state's version from before it was read.
    pub(super) fn new(
        task: &Task,
        list: ListDigest,
        secrets: Vec<(SecretRef, Fingerprint)>,
        state: i64,
    ) -> Self {
        Self { declared: Arc::clone(&task.desired), owner: task.owner.clone(), list, secrets, state }
    }

    pub fn list(&self) -> ListDigest {
        self.list
    }

    /// Returns the workspace's secret references with the fingerprints of their values.
    pub fn secrets(&self) -> &[(SecretRef, Fingerprint)] {
        &self.secrets
    }

    /// Returns true if the platform's list and all secrets are unchanged.
    pub(super) fn is_current(&self, list: ListDigest, secrets: &Secrets, key: &FingerprintKey) -> bool {
        let same = |(reference, was): &(SecretRef, Fingerprint)| {
            fingerprint(reference, secrets, key).as_ref() == Some(was)
        };
        self.list == list && self.secrets.iter().all(same)
    }
}

/// Fingerprint of a reference's value; `None` if it does not resolve.
pub fn fingerprint(reference: &SecretRef, secrets: &Secrets, key: &FingerprintKey) -> Option<Fingerprint> {
    Some(key.fingerprint(secrets.value(reference).ok()?.expose_secret()))
}
