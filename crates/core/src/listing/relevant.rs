//! Rows of a list whose content a plan may need.

use crate::model::{DesiredWorkspace, Inventory, SourceId, SourceName};
use std::collections::HashSet;

/// Names and ids of the rows whose content matters to a workspace.
///
/// A platform may list many sources of others; only their name, type, id and marker are kept, because the content of
/// 200,000 of them takes hundreds of MB.
#[derive(Debug)]
pub struct RelevantRows<'a> {
    names: HashSet<&'a SourceName>,
    ids: HashSet<&'a SourceId>,
}

impl<'a> RelevantRows<'a> {
    /// Collects the declared, managed, forgotten and open names, and the ids of responses to open writes.
    #[must_use]
    pub fn new(desired: &'a DesiredWorkspace, inventory: &'a Inventory) -> Self {
        let forgotten = inventory.forgotten.iter().map(|(name, kept)| (name, &kept.managed));
        let managed = inventory.managed.iter().chain(forgotten);
        let mut names: HashSet<&SourceName> = desired.sources.iter().map(|source| &source.name).collect();
        names.extend(managed.flat_map(|(name, owned)| owned.listed_as.iter().chain([name])));
        names.extend(inventory.intents.values().map(|intent| &intent.name));
        let answers = inventory.intents.values().filter_map(|intent| intent.answer.as_ref()?.id.as_ref());
        Self { names, ids: answers.collect() }
    }

    pub(super) fn contains(&self, name: &SourceName, id: Option<&SourceId>) -> bool {
        self.names.contains(name) || id.is_some_and(|id| self.ids.contains(id))
    }
}
