//! Looking again: what the listing shows is what is recorded.

use super::Run;
use crate::model::{DesiredSource, ObservedSource, SourceId, SourceName};
use crate::plan::{Action, ActionResult, Correction, Step, UnitError, placed, reckon};
use crate::state::{Change, Quarantined};
use jiff::SignedDuration;
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::Arc;

/// What stands on the platform.
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
    /// Lists again, and records what is so. Waits for the platform to settle where it must.
    pub(super) async fn verify(&mut self) -> Result<(), UnitError> {
        if self.look(SignedDuration::try_from(self.apply.settle).unwrap_or(SignedDuration::MAX)).await? {
            tokio::time::sleep(self.apply.settle).await;
            self.look(SignedDuration::ZERO).await?;
        }
        Ok(())
    }

    /// Returns whether something may still be under way.
    async fn look(&mut self, settle: SignedDuration) -> Result<bool, UnitError> {
        let listing = self.apply.writer.reader().list(self.unit()).await?;
        let key = Arc::clone(self.apply.state.key());
        let inventory = std::mem::take(&mut self.inventory);
        let reckoning = reckon(inventory, &listing, &self.answers, &key, (self.apply.now)(), settle);
        // What is closed is told to the journal, too.
        let mut changes: Vec<Change> = Vec::with_capacity(2 * reckoning.corrections.len());
        self.inventory = reckoning.inventory;
        let mut closed = Vec::new();
        for correction in reckoning.corrections {
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
                Correction::Close(number) => {
                    closed.push(number);
                    changes.push(Change::CloseIntent(number));
                }
            }
        }
        let mut results = Vec::new();
        let listed = Listed::of(&listing);
        for number in closed {
            let Some(n) = self.intents.close(number) else { continue };
            let action = &self.plan.actions[n];
            let failure = self.failure(n, action, &listed);
            changes.push(Change::Journal(Box::new(self.entry(action, failure.as_deref()))));
            match failure {
                Some(why) => {
                    changes.extend(self.quarantine(number, action));
                    results.push((n, ActionResult::Failed(why)));
                }
                None => {
                    changes.extend(self.learn(action));
                    results.push((n, ActionResult::Done));
                }
            }
        }
        self.let_git_say().await;
        self.commit(changes).await?;
        self.set_all(results);
        Ok(!reckoning.pending.is_empty())
    }

    /// The listing decides what became of an action; this is why it is not done.
    fn failure(&self, n: usize, action: &Action, listed: &Listed<'_>) -> Option<String> {
        let done = match &action.step {
            Step::Connect { index } | Step::Replace { index, .. } => {
                let wanted = self.source(*index);
                self.inventory.owned.get(&action.name).is_some_and(|owned| {
                    owned.applied.definition.is(&wanted.definition)
                        && listed.has_row(&action.name, owned.id.as_ref())
                }) && !self.refused.contains_key(&n)
            }
            Step::Cleanup { id, .. } => !listed.ids.contains(id),
            _ => true,
        };
        (!done).then(|| {
            self.refused.get(&n).cloned().unwrap_or_else(|| match action.step {
                Step::Cleanup { .. } => "the platform still lists it".to_owned(),
                _ => "the platform does not list it".to_owned(),
            })
        })
    }

    /// Connected with success and yet not listed: to connect it again each pass would help nobody.
    fn quarantine(&self, number: i64, action: &Action) -> Option<Change> {
        let Step::Connect { index } = action.step else { return None };
        self.answers.contains_key(&number).then(|| {
            self.quarantined(action, index, "the platform said that it connected it, and does not list it")
        })
    }

    /// A replacement that kept the id was an update in place; one that did not was none.
    fn learn(&self, action: &Action) -> Option<Change> {
        let Step::Replace { old, .. } = &action.step else { return None };
        let now = self.inventory.owned.get(&action.name)?;
        let upserts = now.id.as_ref() == Some(old);
        (upserts != self.apply.upserts).then_some(Change::Upserts(upserts))
    }

    /// The platform refuses to replace what stands there: the next pass would be refused likewise.
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

/// Changes when the source is edited: that lets it out of quarantine.
pub(crate) fn mark_of(source: &DesiredSource) -> String {
    let text = serde_json::to_vec(&source.definition).unwrap_or_default();
    Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}
