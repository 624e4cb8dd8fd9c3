//! Index of listed rows by name.

use crate::model::{ObservedSource, SourceId, SourceName};
use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap};

/// A listing, sorted by name.
pub(super) struct ListingIndex<'a>(Vec<&'a ObservedSource>);

impl<'a> ListingIndex<'a> {
    /// Indexes a listing; rows of one name keep their order.
    pub(super) fn by_name(listing: &'a [ObservedSource]) -> Self {
        let mut rows: Vec<&ObservedSource> = listing.iter().collect();
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Self(rows)
    }

    /// Indexes a listing.
    ///
    /// Rows of one name are sorted by id, independent of the list's order.
    pub(super) fn by_name_and_id(listing: &'a [ObservedSource]) -> Self {
        let mut rows: Vec<&ObservedSource> = listing.iter().collect();
        rows.sort_by(|a, b| (&a.name, &a.id, &a.kind).cmp(&(&b.name, &b.id, &b.kind)));
        Self(rows)
    }

    pub(super) fn rows(&self, name: &SourceName) -> &[&'a ObservedSource] {
        let start = self.0.partition_point(|row| row.name < *name);
        let rows = &self.0[start..];
        &rows[..rows.iter().take_while(|row| row.name == *name).count()]
    }

    /// Iterates over the names, each with its rows.
    pub(super) fn names(&self) -> impl Iterator<Item = (&'a SourceName, &[&'a ObservedSource])> {
        let names = self.0.chunk_by(|a, b| a.name == b.name);
        names.filter_map(|rows| Some((&rows.first()?.name, rows)))
    }
}

/// Returns the listing without the ids that several different rows share; `None` if there are none.
///
/// A shared id identifies no row: a cleanup by it could remove the source of another.
pub(super) fn without_shared_ids(listing: &[ObservedSource]) -> Option<Vec<ObservedSource>> {
    let mut rows: HashMap<&SourceId, &ObservedSource> = HashMap::with_capacity(listing.len());
    let mut shared: BTreeSet<&SourceId> = BTreeSet::new();
    for row in listing {
        let Some(id) = &row.id else { continue };
        match rows.entry(id) {
            Entry::Vacant(vacant) => {
                vacant.insert(row);
            }
            Entry::Occupied(first) if *first.get() != row => {
                shared.insert(id);
            }
            Entry::Occupied(_) => {}
        }
    }
    let tells = |row: &ObservedSource| row.id.clone().filter(|id| !shared.contains(id));
    (!shared.is_empty())
        .then(|| listing.iter().map(|row| ObservedSource { id: tells(row), ..row.clone() }).collect())
}
