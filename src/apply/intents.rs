//! The writes of one pass that were recorded and whose outcomes are not known yet.

use std::collections::BTreeMap;

/// Open intents, found by their number and by the action they belong to.
#[derive(Default)]
pub(super) struct OpenIntents {
    actions: BTreeMap<i64, Option<usize>>,
    /// An action has one at a time.
    numbers: BTreeMap<usize, i64>,
}

impl OpenIntents {
    pub(super) fn is_empty(&self) -> bool {
        self.actions.is_empty()
    }

    pub(super) fn open(&mut self, number: i64, action: Option<usize>) {
        self.actions.insert(number, action);
        if let Some(action) = action {
            self.numbers.insert(action, number);
        }
    }

    pub(super) fn contains(&self, number: i64) -> bool {
        self.actions.contains_key(&number)
    }

    /// The open intent of an action.
    pub(super) fn of(&self, action: usize) -> Option<i64> {
        self.numbers.get(&action).copied()
    }

    /// Returns the action it belonged to, if it was open and belonged to one.
    pub(super) fn close(&mut self, number: i64) -> Option<usize> {
        let action = self.actions.remove(&number).flatten()?;
        if self.numbers.get(&action) == Some(&number) {
            self.numbers.remove(&action);
        }
        Some(action)
    }
}
