//! Many sources of ours missing from one list: that is more likely a wrong list than a wish.

use super::listed::Listed;
use crate::model::{Inventory, ObservedSource, Owned, SourceName};
use std::fmt;

/// So few may go missing at once without any doubt in the list, whatever share of ours that is.
const FEW: usize = 2;

/// Fewer than one in so many may, too.
const SHARE: usize = 10;

/// How many sources of ours a list lacks, or shows with other ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Missing {
    /// Those.
    pub missing: usize,
    /// All of ours whose ids are known.
    pub owned: usize,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { missing, owned } = self;
        write!(
            f,
            "the list lacks {missing} of {owned} sources of ours at once, or shows other ids for them; unless it stays \
             so for a minute, that is taken for a wrong list"
        )
    }
}

/// Are so many of ours missing from the listing that it is to be doubted?
#[must_use]
pub fn missing(inventory: &Inventory, listing: &[ObservedSource]) -> Option<Missing> {
    let listed = Listed::by_name(listing);
    let is_open = |name: &SourceName| inventory.intents.values().any(|intent| intent.name == *name);
    let (mut missing, mut owned) = (0, 0);
    for (name, source) in inventory.owned.iter().filter(|(_, source)| source.id.is_some()) {
        owned += 1;
        let shown = source.listed_as.as_ref().unwrap_or(name);
        if !listed.of(shown).iter().any(|row| is_ours(source, row)) {
            missing += usize::from(!is_open(name));
        }
    }
    (missing > FEW && missing * SHARE >= owned).then_some(Missing { missing, owned })
}

/// A row of its name that is ours, or may be.
fn is_ours(source: &Owned, row: &ObservedSource) -> bool {
    row.id.as_ref().is_none_or(|id| {
        source.id.as_ref() == Some(id)
            || source.superseded.contains(id)
            || source.former.iter().any(|former| former.id == *id)
            || source.sent.iter().any(|sent| sent.id.as_ref() == Some(id))
    })
}
