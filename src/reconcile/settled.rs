//! Units that were found to be as declared: while nothing that a plan is made from has moved, the next
//! plan is the same, and the list need not be read for it.
//!
//! What is kept lives as long as the process. It is kept only of a pass that had nothing to do, nothing
//! to withhold and nothing to record, and holds only for the very same declaration, the very same
//! answer of the platform, the same secrets, and a state that no other process has written since. A pass
//! that does not go well ends it.

use super::{Planned, Task};
use crate::model::{Fingerprint, FingerprintKey, FoldedUnit, SecretRef, Unit};
use crate::remote::ListDigest;
use crate::secrets::Secrets;
use secrecy::ExposeSecret as _;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What is kept of each unit.
#[derive(Default)]
pub struct Settled(Mutex<HashMap<Unit, Arc<Mark>>>);

/// What a plan that had nothing to do was made from.
pub struct Mark {
    /// As the files say, before flags and host.
    asked: Arc<FoldedUnit>,
    owner: Option<Arc<str>>,
    list: ListDigest,
    /// Each reference of the unit, with a fingerprint of its value.
    secrets: Vec<(SecretRef, Fingerprint)>,
    state: i64,
}

impl Settled {
    pub(super) fn of(&self, task: &Task, state: i64) -> Option<Arc<Mark>> {
        let mark = self.marks().get(&task.desired.unit).cloned()?;
        let stands = Arc::ptr_eq(&mark.asked, &task.desired)
            && mark.owner == task.owner
            && mark.state == state
            && task.released.is_empty();
        stands.then_some(mark)
    }

    /// As far as the task alone tells.
    pub(super) fn may_hold(&self, task: &Task) -> bool {
        self.marks().get(&task.desired.unit).is_some_and(|mark| Arc::ptr_eq(&mark.asked, &task.desired))
    }

    pub(super) fn forget(&self, unit: &Unit) {
        self.marks().remove(unit);
    }

    pub(super) fn keep(&self, mark: Mark) {
        self.marks().insert(mark.asked.unit.clone(), Arc::new(mark));
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<Unit, Arc<Mark>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Mark {
    /// `None` where there was anything to do, or may be with time alone. `state` is its version from
    /// before it was read.
    pub(super) fn of(
        task: &Task,
        made: &Planned,
        list: ListDigest,
        secrets: Vec<(SecretRef, Fingerprint)>,
        state: i64,
    ) -> Option<Self> {
        let quiet = made.plan.is_settled()
            && made.corrections.is_empty()
            && made.settling.is_none()
            && made.inventory.intents.is_empty()
            && task.released.is_empty();
        quiet.then(|| Self {
            asked: Arc::clone(&task.desired),
            owner: task.owner.clone(),
            list,
            secrets,
            state,
        })
    }

    /// Of the platform's answer.
    #[must_use]
    pub fn list(&self) -> ListDigest {
        self.list
    }

    /// Each reference of the unit, with a fingerprint of its value.
    #[must_use]
    pub fn secrets(&self) -> &[(SecretRef, Fingerprint)] {
        &self.secrets
    }

    /// Is the platform's answer the same, and every secret?
    pub(super) fn holds(&self, list: ListDigest, secrets: &Secrets, key: &FingerprintKey) -> bool {
        let same = |(reference, was): &(SecretRef, Fingerprint)| {
            fingerprint(reference, secrets, key).as_ref() == Some(was)
        };
        self.list == list && self.secrets.iter().all(same)
    }
}

/// Tells whether a reference's value is another; `None` when it has none.
#[must_use]
pub fn fingerprint(reference: &SecretRef, secrets: &Secrets, key: &FingerprintKey) -> Option<Fingerprint> {
    Some(key.of(secrets.value(reference).ok()?.expose_secret()))
}
