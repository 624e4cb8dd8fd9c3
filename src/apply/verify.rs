//! Lists the workspace after writes and records the result.

use super::ApplyRun;
use crate::client::ListDigest;
use crate::listing::RelevantRows;
use crate::model::{
    Answered, DesiredSource, Intent, IntentKind, Inventory, ObservedSource, SourceId, SourceName,
};
use crate::plan::{
    Action, ActionResult, InventoryUpdate, Step, WorkspaceError, abandon, recover, with_location,
    with_sent_names,
};
use crate::store::{QuarantineEntry, StoreChange};
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

/// The last list of a pass, received after its last write, and the inventory that it led to.
pub struct VerifiedList {
    pub digest: ListDigest,
    pub rows: Vec<ObservedSource>,
    pub inventory: Inventory,
}

struct RefreshedListing<'a> {
    ids: HashSet<&'a SourceId>,
    /// Sorted.
    rows: Vec<(&'a SourceName, Option<&'a SourceId>)>,
}

impl<'a> RefreshedListing<'a> {
    fn of(listing: &'a [ObservedSource]) -> Self {
        let mut rows: Vec<_> = listing.iter().map(|row| (&row.name, row.id.as_ref())).collect();
        rows.sort();
        Self { ids: listing.iter().filter_map(|row| row.id.as_ref()).collect(), rows }
    }

    fn has_row(&self, name: &SourceName, id: Option<&SourceId>) -> bool {
        self.rows.binary_search(&(name, id)).is_ok()
    }
}

impl ApplyRun<'_> {
    /// Lists the workspace and records its state.
    ///
    /// Waits for the platform to settle if necessary.
    pub(super) async fn verify(&mut self) -> Result<(), WorkspaceError> {
        if self.refresh(SignedDuration::try_from(self.apply.settle).unwrap_or(SignedDuration::MAX)).await? {
            tokio::time::sleep(self.apply.settle).await;
            self.refresh(SignedDuration::ZERO).await?;
        }
        Ok(())
    }

    /// Lists once and records the outcomes.
    ///
    /// Returns true if a write may still take effect.
    async fn refresh(&mut self, settle: SignedDuration) -> Result<bool, WorkspaceError> {
        let reader = self.apply.writer.reader();
        let key = Arc::clone(self.apply.state.key());
        let relevant = RelevantRows::new(&self.plan.desired, &self.inventory, &key).with_sent(&self.sent);
        let listed = match reader.fetch_listing(self.unit()).await {
            Ok(response) => {
                let rows = reader.read(self.unit(), &response, Some(&relevant));
                rows.map(|rows| (response.digest(self.apply.state.key()), rows))
            }
            Err(error) => Err(error),
        };
        let (digest, listing) = match listed {
            Ok(listed) => listed,
            Err(error) => {
                // Keep the responses, so that the next pass can use them.
                self.commit(self.open_responses().collect()).await?;
                return Err(error.into());
            }
        };
        let key = Arc::clone(self.apply.state.key());
        let inventory = std::mem::take(&mut self.inventory);
        let times = ((self.apply.now)(), settle);
        let reckoning = recover(inventory, &listing, &key, times);
        // Each closed intent adds a journal entry as well.
        let mut changes: Vec<StoreChange> = Vec::with_capacity(2 * reckoning.corrections.len());
        self.inventory = reckoning.inventory;
        let taken = reckoning.applied_intents;
        self.pending = reckoning.pending;
        changes.extend(self.open_responses());
        let closed = self.apply_updates(reckoning.corrections, &mut changes);
        let mut results = Vec::new();
        let listing = with_sent_names(listing, &self.inventory);
        self.conflicting_names = self.find_conflicting_names(&listing);
        let listed = RefreshedListing::of(&listing);
        for number in closed {
            let Some(n) = self.intents.close(number) else { continue };
            let action = &self.plan.actions[n];
            let failure = self.failure(n, action, &listed, taken.contains(&number));
            changes.push(StoreChange::Journal(Box::new(self.entry(action, failure.as_deref()))));
            match failure {
                Some(why) => results.push((n, ActionResult::Failed(why))),
                None => {
                    changes.extend(self.record_capabilities(action));
                    results.push((n, ActionResult::Done));
                }
            }
        }
        self.wait_for_head().await;
        let recorded = self.commit(changes).await;
        if let Err(error) = &recorded {
            // The intents remain recorded and decide the outcome once the state can be written.
            for (_, result) in results.iter_mut().filter(|(_, result)| *result == ActionResult::Done) {
                let why = format!("it was connected, but that could not be recorded: {}", error.message);
                *result = ActionResult::Failed(why);
            }
        }
        self.set_results(results);
        recorded?;
        // Rows that the platform renamed are left to the next pass.
        let is_named_as_sent = self.inventory.managed.values().all(|owned| owned.listed_as.is_none());
        self.last_list = if is_named_as_sent { Some((digest, listing)) } else { None };
        Ok(!self.pending.is_empty())
    }

    /// Collects the changes to record for these corrections.
    ///
    /// Returns the intents that they close.
    fn apply_updates(
        &mut self,
        corrections: Vec<InventoryUpdate>,
        changes: &mut Vec<StoreChange>,
    ) -> Vec<i64> {
        let mut closed = Vec::new();
        for correction in corrections {
            match correction {
                InventoryUpdate::Manage(name, owned) => {
                    let owned = match self.plan.desired.source(&name) {
                        Some(source) => with_location(owned, source, self.apply.root),
                        None => owned,
                    };
                    self.inventory.managed.insert(name.clone(), Arc::clone(&owned));
                    changes.push(StoreChange::Manage(name, owned));
                }
                InventoryUpdate::Remove(name) => changes.push(StoreChange::Unmanage(name)),
                InventoryUpdate::Forget(name, owned) => {
                    changes.push(StoreChange::Forget(name, owned, (self.apply.now)()));
                }
                InventoryUpdate::DropForgotten(name) => changes.push(StoreChange::DropForgotten(name)),
                InventoryUpdate::SetDoubt(since) => changes.push(StoreChange::Doubt(since)),
                InventoryUpdate::Close(number) => {
                    closed.push(number);
                    changes.push(StoreChange::CloseIntent(number));
                }
            }
        }
        closed
    }

    /// Lists after a refusal, as some of the refused writes may have been applied.
    ///
    /// Writes proven to be ours count as done; the others stay open. If the list fails, the connects are
    /// given up.
    pub(super) async fn refresh_after_refusal(
        &mut self,
        numbers: &BTreeSet<i64>,
    ) -> Result<(), WorkspaceError> {
        let others = self.inventory.intents.extract_if(.., |number, _| !numbers.contains(number)).collect();
        let others: BTreeMap<i64, Intent> = others;
        let looked = self.refresh(SignedDuration::MAX).await;
        self.inventory.intents.extend(others);
        if looked.is_err() {
            self.abandon_connects(numbers).await?;
        }
        looked.map(|_| ())
    }

    /// Closes connects that were refused or never sent.
    ///
    /// No later pass may treat them as writes whose responses were lost.
    pub(super) async fn abandon_connects(&mut self, numbers: &BTreeSet<i64>) -> Result<(), WorkspaceError> {
        let key = Arc::clone(self.apply.state.key());
        let inventory = std::mem::take(&mut self.inventory);
        let given_up = abandon(inventory, numbers, &key, (self.apply.now)());
        self.inventory = given_up.inventory;
        let mut changes = Vec::new();
        for number in self.apply_updates(given_up.corrections, &mut changes) {
            self.intents.close(number);
        }
        self.commit(changes).await
    }

    /// Returns the names of open actions that unmanaged rows have.
    fn find_conflicting_names(&self, listing: &[ObservedSource]) -> BTreeSet<SourceName> {
        let open: BTreeSet<&SourceName> = self.open().map(|(_, action)| &action.name).collect();
        let is_ours = |row: &ObservedSource| {
            self.inventory.managed.get(&row.name).is_some_and(|owned| {
                owned.id == row.id || row.id.iter().any(|id| owned.superseded.contains(id))
            })
        };
        let others = listing.iter().filter(|row| open.contains(&row.name) && !is_ours(row));
        others.map(|row| row.name.clone()).collect()
    }

    pub(super) fn cleanup_of(&self, id: &SourceId) -> Option<i64> {
        let of_it = |intent: &&Intent| matches!(&intent.kind, IntentKind::Cleanup(other) if other == id);
        self.inventory.intents.values().find(of_it).map(|intent| intent.number)
    }

    /// Records that the platform reported this id as cleaned up.
    pub(super) fn record_cleaned_up(&mut self, id: &SourceId) {
        let number = self.cleanup_of(id);
        if let Some(intent) = number.and_then(|number| self.inventory.intents.get_mut(&number)) {
            intent.answer = Some(Answered { id: None });
        }
    }

    /// Records that the platform reported the connect of this action as successful.
    ///
    /// `id` is the id in the response, if any.
    pub(super) fn record_connected(&mut self, action: usize, id: Option<SourceId>) {
        let Some(number) = self.intents.of(action) else { return };
        // An id that belongs to an unmanaged or another managed source is ignored.
        let strangers = self
            .stranger_ids
            .get_or_init(|| self.plan.unmanaged.iter().filter_map(|stranger| stranger.id).collect());
        let name = &self.plan.actions[action].name;
        let others = self.inventory.managed.iter().filter(|(other, _)| *other != name);
        let mut taken = others.filter_map(|(_, owned)| owned.id.as_ref());
        let id = id.filter(|id| !taken.any(|other| other == id) && !strangers.contains(id));
        if let Some(intent) = self.inventory.intents.get_mut(&number) {
            intent.answer = Some(Answered { id });
        }
    }

    /// Returns the responses to writes of this pass that are still open.
    fn open_responses(&self) -> impl Iterator<Item = StoreChange> {
        let open = self.inventory.intents.values().filter(|intent| self.intents.contains(intent.number));
        open.filter_map(|intent| {
            Some(StoreChange::Answered(intent.number, intent.answer.as_ref()?.id.clone()))
        })
    }

    /// Returns why an action failed according to the listing, `None` on success.
    fn failure(
        &self,
        n: usize,
        action: &Action,
        listed: &RefreshedListing<'_>,
        taken: bool,
    ) -> Option<String> {
        let done = match &action.step {
            Step::Connect { index } | Step::Replace { index, .. } => {
                let wanted = self.source(*index);
                taken
                    && self.inventory.managed.get(&action.name).is_some_and(|owned| {
                        owned.applied.definition.eq_definition(&wanted.definition)
                            && listed.has_row(&action.name, owned.id.as_ref())
                    })
                    && !self.refusal_reasons.contains_key(&n)
            }
            Step::Cleanup { id, .. } => !listed.ids.contains(id),
            _ => true,
        };
        if done {
            return None;
        }
        let why = self.refusal_reasons.get(&n).or_else(|| self.unknown_outcomes.get(&n));
        Some(why.cloned().unwrap_or_else(|| match action.step {
            Step::Cleanup { .. } => "the platform still lists it".to_owned(),
            _ => "the platform does not list it".to_owned(),
        }))
    }

    /// Records if the platform updates in place: then a replacement keeps its id.
    fn record_capabilities(&self, action: &Action) -> Option<StoreChange> {
        let Step::Replace { old, .. } = &action.step else { return None };
        let now = self.inventory.managed.get(&action.name)?;
        let upserts = now.id.as_ref() == Some(old);
        (upserts != self.apply.upserts).then_some(StoreChange::Upserts(upserts))
    }

    /// Quarantines a replacement that the platform refuses.
    ///
    /// The next pass would be refused likewise.
    pub(super) async fn quarantine(&self, action: usize, why: &str) -> Result<(), WorkspaceError> {
        let action = &self.plan.actions[action];
        let Step::Replace { index, .. } = action.step else { return Ok(()) };
        self.commit(vec![self.quarantined(action, index, why)]).await
    }

    fn quarantined(&self, action: &Action, index: usize, reason: &str) -> StoreChange {
        let (since, mark) = ((self.apply.now)(), definition_hash(self.source(index)));
        StoreChange::Quarantine(
            action.name.clone(),
            QuarantineEntry { since, reason: reason.to_owned(), definition_hash: mark },
        )
    }
}

/// Returns a hash of the definition; an edit changes it and so ends the quarantine.
pub(crate) fn definition_hash(source: &DesiredSource) -> String {
    let text = serde_json::to_vec(&source.definition).unwrap_or_default();
    hex::encode(&Sha256::digest(text)[..8])
}
