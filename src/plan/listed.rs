//! Index of listed rows by name.

use crate::model::{ObservedSource, SourceName};

/// A listing, sorted by name.
pub(super) struct Listed<'a>(Vec<&'a ObservedSource>);

impl<'a> Listed<'a> {
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

    /// Returns the rows of this name.
    pub(super) fn of(&self, name: &SourceName) -> &[&'a ObservedSource] {
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
