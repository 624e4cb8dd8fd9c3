//! Doubt in lists: one that lacks many managed sources at once is probably wrong.

use super::listing_index::ListingIndex;
use crate::model::{Inventory, ManagedSource, ObservedSource, SourceName};
use std::fmt;

/// Number of sources that may disappear at once without doubt.
///
/// Applies regardless of their share.
const MAX_UNQUESTIONED_MISSING: usize = 2;

/// Inverse of the share that may disappear without doubt: less than one in ten.
const MISSING_SHARE_DIVISOR: usize = 10;

/// Number of managed sources that a list lacks, or lists with other ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MissingSecrets {
    /// Number of missing sources.
    pub missing: usize,
    /// Number of managed sources with a known id.
    pub owned: usize,
}

impl fmt::Display for MissingSecrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, owned } = self;
        write!(
            f,
            "the list lacks {missing} of {owned} sources of ours at once, or shows other ids for them; unless it stays \
             so for a minute, that is taken for a wrong list"
        )
    }
}

/// Returns the numbers if too many managed sources are missing to trust the list.
#[must_use]
pub fn check_missing(inventory: &Inventory, listing: &[ObservedSource]) -> Option<MissingSecrets> {
    let listed = ListingIndex::by_name(listing);
    let is_open = |name: &SourceName| inventory.intents.values().any(|intent| intent.name == *name);
    let (mut missing, mut owned) = (0, 0);
    for (name, source) in inventory.managed.iter().filter(|(_, source)| source.id.is_some()) {
        owned += 1;
        let shown = source.listed_as.as_ref().unwrap_or(name);
        if !listed.rows(shown).iter().any(|row| is_ours(source, row)) {
            missing += usize::from(!is_open(name));
        }
    }
    (missing > MAX_UNQUESTIONED_MISSING && missing * MISSING_SHARE_DIVISOR >= owned)
        .then_some(MissingSecrets { missing, owned })
}

/// Returns true if the row of this name is ours or may be.
fn is_ours(source: &ManagedSource, row: &ObservedSource) -> bool {
    row.id.as_ref().is_none_or(|id| {
        source.id.as_ref() == Some(id)
            || source.superseded.contains(id)
            || source.former.iter().any(|former| former.id == *id)
            || source.sent.iter().any(|sent| sent.id.as_ref() == Some(id))
    })
}
