//! Intents of one pass whose outcome is not known yet.

use std::collections::BTreeMap;

/// Open intents, indexed by number and by action.
#[derive(Default)]
pub(super) struct OpenIntents {
    actions: BTreeMap<i64, Option<usize>>,
    /// An action has at most one open intent.
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

    pub(super) fn of(&self, action: usize) -> Option<i64> {
        self.numbers.get(&action).copied()
    }

    /// Closes an intent and returns its action, if it was open and had one.
    pub(super) fn close(&mut self, number: i64) -> Option<usize> {
        let action = self.actions.remove(&number).flatten()?;
        if self.numbers.get(&action) == Some(&number) {
            self.numbers.remove(&action);
        }
        Some(action)
    }
}
