//! Rows of a list whose content a plan may need.

use super::SentSources;
use super::claims::Claims;
use crate::model::{DesiredWorkspace, FingerprintKey, Inventory, SourceId, SourceName};
use std::collections::HashSet;

/// Names and ids of the rows whose content matters to a workspace.
///
/// A platform may list many sources of others; only their name, type, id and marker are kept, because the content of
/// 200,000 of them takes hundreds of MB.
pub struct RelevantRows<'a> {
    names: HashSet<&'a SourceName>,
    ids: HashSet<&'a SourceId>,
    sent: Option<&'a SentSources>,
    /// Set for an account, whose rows have addresses in place of names.
    claims: Option<Claims<'a>>,
    /// True if the rows of no source keep their content, too.
    keeps_all: bool,
}

impl<'a> RelevantRows<'a> {
    /// Collects the declared, managed, forgotten and open names, and the ids of responses to open writes.
    #[must_use]
    pub fn new(desired: &'a DesiredWorkspace, inventory: &'a Inventory, key: &'a FingerprintKey) -> Self {
        let forgotten = inventory.forgotten.iter().map(|(name, kept)| (name, &kept.managed));
        let managed = inventory.managed.iter().chain(forgotten);
        let mut names: HashSet<&SourceName> = desired.sources.iter().map(|source| &source.name).collect();
        names.extend(managed.flat_map(|(name, owned)| owned.listed_as.iter().chain([name])));
        names.extend(inventory.intents.values().map(|intent| &intent.name));
        let answers = inventory.intents.values().filter_map(|intent| intent.answer.as_ref()?.id.as_ref());
        let account = desired.workspace().account();
        let claims = account.map(|_| Claims::new(desired, inventory, key));
        Self { names, ids: answers.collect(), sent: None, claims, keeps_all: false }
    }

    /// Adds the sources that this pass sent, whose rows may show them unchanged.
    #[must_use]
    pub fn with_sent(self, sent: &'a SentSources) -> Self {
        Self { sent: (!sent.is_empty()).then_some(sent), ..self }
    }

    pub(super) fn sent(&self) -> Option<&'a SentSources> {
        self.sent
    }

    /// Keeps the content of every row of an account, to write files from it.
    #[must_use]
    pub fn with_all(self) -> Self {
        Self { keeps_all: true, ..self }
    }

    pub(super) fn keeps_all(&self) -> bool {
        self.keeps_all
    }

    pub(super) fn claims(&self) -> Option<&Claims<'a>> {
        self.claims.as_ref()
    }

    pub(super) fn contains(&self, name: &SourceName, id: Option<&SourceId>) -> bool {
        self.names.contains(name) || id.is_some_and(|id| self.ids.contains(id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::listing::parse;
    use crate::model::Readback;
    use serde_json::json;

    #[test]
    fn other_rows_keep_name_type_id_and_marker_only() {
        let row = |name: &str, id: u64| {
            json!({"id": id, "name": name, "type": "api", "connection_config": {"host": "h"},
                   "metadata": {"team": "x", "wellspring": {"fingerprint": "f"}}})
        };
        let (name, id) = (SourceName::parse("a").unwrap(), SourceId::from_json(&json!(2)).unwrap());
        let relevant = RelevantRows {
            names: HashSet::from([&name]),
            ids: HashSet::from([&id]),
            sent: None,
            claims: None,
            keeps_all: false,
        };
        let body = json!({"status": "success", "data": [row("a", 1), row("b", 2), row("c", 3)]}).to_string();
        // A value that no number can hold takes the other way through the parser.
        for body in [body.clone(), body.replacen(r#""h""#, "1e999", 1)] {
            let rows = parse(body.as_bytes(), Some(&relevant)).unwrap();
            let whole = parse(body.as_bytes(), None).unwrap();
            assert_eq!(rows[..2], whole[..2]);
            assert!(whole[2].echo.connection_config().is_some() && whole[2].echo.metadata().is_some());
            let mut other = whole[2].clone();
            other.echo = Readback::default();
            other.echo.fingerprint.clone_from(&whole[2].echo.fingerprint);
            assert_eq!(rows[2], other);
            assert_eq!(rows[2].echo.fingerprint.as_deref(), Some("f"));
        }
    }
}
