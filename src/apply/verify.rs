//! Lists the workspace after writes and records the result.

use super::Run;
use crate::model::{Answered, DesiredSource, Intent, IntentKind, ObservedSource, SourceId, SourceName};
use crate::plan::{
    Action, ActionResult, Correction, Step, UnitError, give_up, named_as_declared, placed, reckon,
};
use crate::state::{Change, Quarantined};
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// Index of a listing.
struct Listed<'a> {
    ids: HashSet<&'a SourceId>,
    /// Sorted.
    rows: Vec<(&'a SourceName, Option<&'a SourceId>)>,
}

impl<'a> Listed<'a> {
    fn of(listing: &'a [ObservedSource]) -> Self {
        let mut rows: Vec<_> = listing.iter().map(|row| (&row.name, row.id.as_ref())).collect();
        rows.sort();
        Self { ids: listing.iter().filter_map(|row| row.id.as_ref()).collect(), rows }
    }

    fn has_row(&self, name: &SourceName, id: Option<&SourceId>) -> bool {
        self.rows.binary_search(&(name, id)).is_ok()
    }
}

impl Run<'_> {
    /// Lists the workspace and records its state.
    ///
    /// Waits for the platform to settle if necessary.
    pub(super) async fn verify(&mut self) -> Result<(), UnitError> {
        if self.look(SignedDuration::try_from(self.apply.settle).unwrap_or(SignedDuration::MAX)).await? {
            tokio::time::sleep(self.apply.settle).await;
            self.look(SignedDuration::ZERO).await?;
        }
        Ok(())
    }

    /// Lists once and records the outcomes.
    ///
    /// Returns true if a write may still take effect.
    async fn look(&mut self, settle: SignedDuration) -> Result<bool, UnitError> {
        let listing = match self.apply.writer.reader().list(self.unit()).await {
            Ok(listing) => listing,
            Err(error) => {
                // Keep the responses, so that the next pass can use them.
                self.commit(self.unseen_answers().collect()).await?;
                return Err(error.into());
            }
        };
        let key = Arc::clone(self.apply.state.key());
        let inventory = std::mem::take(&mut self.inventory);
        let times = ((self.apply.now)(), settle);
        let reckoning = reckon(inventory, &listing, &key, times);
        // Each closed intent adds a journal entry as well.
        let mut changes: Vec<Change> = Vec::with_capacity(2 * reckoning.corrections.len());
        self.inventory = reckoning.inventory;
        let taken = reckoning.taken;
        self.pending = reckoning.pending;
        changes.extend(self.unseen_answers());
        let closed = self.correct(reckoning.corrections, &mut changes);
        let mut results = Vec::new();
        let listing = named_as_declared(listing, &self.inventory);
        self.borne_by_others = self.borne_by_others(&listing);
        let listed = Listed::of(&listing);
        for number in closed {
            let Some(n) = self.intents.close(number) else { continue };
            let action = &self.plan.actions[n];
            let failure = self.failure(n, action, &listed, taken.contains(&number));
            changes.push(Change::Journal(Box::new(self.entry(action, failure.as_deref()))));
            match failure {
                Some(why) => results.push((n, ActionResult::Failed(why))),
                None => {
                    changes.extend(self.learn(action));
                    results.push((n, ActionResult::Done));
                }
            }
        }
        self.let_git_say().await;
        let recorded = self.commit(changes).await;
        if let Err(error) = &recorded {
            // The intents remain recorded and decide the outcome once the state can be written.
            for (_, result) in results.iter_mut().filter(|(_, result)| *result == ActionResult::Done) {
                let why = format!("it is on the platform, and that could not be recorded: {}", error.message);
                *result = ActionResult::Failed(why);
            }
        }
        self.set_all(results);
        recorded?;
        Ok(!self.pending.is_empty())
    }

    /// Collects the changes to record for these corrections.
    ///
    /// Returns the intents that they close.
    fn correct(&mut self, corrections: Vec<Correction>, changes: &mut Vec<Change>) -> Vec<i64> {
        let mut closed = Vec::new();
        for correction in corrections {
            match correction {
                Correction::Own(name, owned) => {
                    let owned = match self.plan.desired.source(&name) {
                        Some(source) => placed(owned, source, self.apply.root),
                        None => owned,
                    };
                    self.inventory.owned.insert(name.clone(), Arc::clone(&owned));
                    changes.push(Change::Own(name, owned));
                }
                Correction::Disown(name) => changes.push(Change::Disown(name)),
                Correction::Forget(name, owned) => {
                    changes.push(Change::Forget(name, owned, (self.apply.now)()));
                }
                Correction::Recall(name) => changes.push(Change::Recall(name)),
                Correction::Doubt(since) => changes.push(Change::Doubt(since)),
                Correction::Close(number) => {
                    closed.push(number);
                    changes.push(Change::CloseIntent(number));
                }
            }
        }
        closed
    }

    /// Lists after a refusal, as some of the refused writes may have been applied.
    ///
    /// Writes proven to be ours count as done; the others stay open. If the list fails, the connects are
    /// given up.
    pub(super) async fn look_after_refusal(&mut self, numbers: &BTreeSet<i64>) -> Result<(), UnitError> {
        let others = self.inventory.intents.extract_if(.., |number, _| !numbers.contains(number)).collect();
        let others: BTreeMap<i64, Intent> = others;
        let looked = self.look(SignedDuration::MAX).await;
        self.inventory.intents.extend(others);
        if looked.is_err() {
            self.give_up(numbers).await?;
        }
        looked.map(|_| ())
    }

    /// Closes connects that were refused or never sent.
    ///
    /// No later pass may treat them as writes whose responses were lost.
    pub(super) async fn give_up(&mut self, numbers: &BTreeSet<i64>) -> Result<(), UnitError> {
        let key = Arc::clone(self.apply.state.key());
        let inventory = std::mem::take(&mut self.inventory);
        let given_up = give_up(inventory, numbers, &key, (self.apply.now)());
        self.inventory = given_up.inventory;
        let mut changes = Vec::new();
        for number in self.correct(given_up.corrections, &mut changes) {
            self.intents.close(number);
        }
        self.commit(changes).await
    }

    /// Returns the names of open connects that unmanaged rows have.
    fn borne_by_others(&self, listing: &[ObservedSource]) -> BTreeSet<SourceName> {
        let open: BTreeSet<&SourceName> =
            self.inventory.intents.values().map(|intent| &intent.name).collect();
        let is_ours = |row: &ObservedSource| {
            self.inventory.owned.get(&row.name).is_some_and(|owned| {
                owned.id == row.id || row.id.iter().any(|id| owned.superseded.contains(id))
            })
        };
        let others = listing.iter().filter(|row| open.contains(&row.name) && !is_ours(row));
        others.map(|row| row.name.clone()).collect()
    }

    /// Returns the open cleanup intent of this id.
    pub(super) fn cleanup_of(&self, id: &SourceId) -> Option<i64> {
        let of_it = |intent: &&Intent| matches!(&intent.kind, IntentKind::Cleanup(other) if other == id);
        self.inventory.intents.values().find(of_it).map(|intent| intent.number)
    }

    /// Records that the platform reported this id as cleaned up.
    pub(super) fn cleanup_answered(&mut self, id: &SourceId) {
        let number = self.cleanup_of(id);
        if let Some(intent) = number.and_then(|number| self.inventory.intents.get_mut(&number)) {
            intent.answer = Some(Answered { id: None });
        }
    }

    /// Records that the platform reported the connect of this action as successful.
    ///
    /// `id` is the id in the response, if any.
    pub(super) fn answered(&mut self, action: usize, id: Option<SourceId>) {
        let Some(number) = self.intents.of(action) else { return };
        // An id that belongs to an unmanaged or another managed source is ignored.
        let strangers = self.plan.unmanaged.iter().filter_map(|other| other.id.as_ref());
        let name = &self.plan.actions[action].name;
        let others = self.inventory.owned.iter().filter(|(other, _)| *other != name);
        let mut taken = strangers.chain(others.filter_map(|(_, owned)| owned.id.as_ref()));
        let id = id.filter(|id| !taken.any(|other| other == id));
        if let Some(intent) = self.inventory.intents.get_mut(&number) {
            intent.answer = Some(Answered { id });
        }
    }

    /// Returns the responses to writes of this pass that are still open.
    fn unseen_answers(&self) -> impl Iterator<Item = Change> {
        let open = self.inventory.intents.values().filter(|intent| self.intents.contains(intent.number));
        open.filter_map(|intent| Some(Change::Answered(intent.number, intent.answer.as_ref()?.id.clone())))
    }

    /// Returns why an action failed according to the listing, `None` on success.
    fn failure(&self, n: usize, action: &Action, listed: &Listed<'_>, taken: bool) -> Option<String> {
        let done = match &action.step {
            Step::Connect { index } | Step::Replace { index, .. } => {
                let wanted = self.source(*index);
                taken
                    && self.inventory.owned.get(&action.name).is_some_and(|owned| {
                        owned.applied.definition.is(&wanted.definition)
                            && listed.has_row(&action.name, owned.id.as_ref())
                    })
                    && !self.refused.contains_key(&n)
            }
            Step::Cleanup { id, .. } => !listed.ids.contains(id),
            _ => true,
        };
        (!done).then(|| {
            let why = self.refused.get(&n).or_else(|| self.unanswered.get(&n));
            why.cloned().unwrap_or_else(|| match action.step {
                Step::Cleanup { .. } => "the platform still lists it".to_owned(),
                _ => "the platform does not list it".to_owned(),
            })
        })
    }

    /// Records if the platform updates in place: then a replacement keeps its id.
    fn learn(&self, action: &Action) -> Option<Change> {
        let Step::Replace { old, .. } = &action.step else { return None };
        let now = self.inventory.owned.get(&action.name)?;
        let upserts = now.id.as_ref() == Some(old);
        (upserts != self.apply.upserts).then_some(Change::Upserts(upserts))
    }

    /// Quarantines a replacement that the platform refuses.
    ///
    /// The next pass would be refused likewise.
    pub(super) async fn keep_from_trying(&self, action: usize, why: &str) -> Result<(), UnitError> {
        let action = &self.plan.actions[action];
        let Step::Replace { index, .. } = action.step else { return Ok(()) };
        self.commit(vec![self.quarantined(action, index, why)]).await
    }

    fn quarantined(&self, action: &Action, index: usize, reason: &str) -> Change {
        let (since, mark) = ((self.apply.now)(), mark_of(self.source(index)));
        Change::Quarantine(action.name.clone(), Quarantined { since, reason: reason.to_owned(), mark })
    }
}

/// Returns a hash of the definition; an edit changes it and so ends the quarantine.
pub(crate) fn mark_of(source: &DesiredSource) -> String {
    let text = serde_json::to_vec(&source.definition).unwrap_or_default();
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
