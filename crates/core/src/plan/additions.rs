//! Drift outside the declared keys: added fields, and a removed ownership marker.
//!
//! Platforms add keys of their own: defaults, times, counters. The keys that a row has after our write count
//! as such. A key that appears later is drift, unless the platform gave it to every source of that type at
//! once, or its value differs each time it reappears.

use super::FieldDiff;
use super::diff::{marker_path, record_undeclared};
use crate::model::{FieldPath, ManagedSource, ObservedSource, ReadbackState};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Changes that the platform made to every source of a type since our last writes.
#[derive(Debug, Default)]
pub(super) struct ByPlatform {
    added: BTreeSet<(String, FieldPath)>,
    lost_markers: BTreeSet<String>,
}

/// Counts the additions per type of source.
#[derive(Debug, Default)]
pub(super) struct AdditionCount {
    compared: BTreeMap<String, usize>,
    added: BTreeMap<(String, FieldPath), usize>,
    lost_markers: BTreeMap<String, usize>,
}

impl AdditionCount {
    /// Counts one source of `kind`.
    pub(super) fn count(&mut self, kind: &str, comparison: &FieldDiff) {
        match self.compared.get_mut(kind) {
            Some(compared) => *compared += 1,
            None => drop(self.compared.insert(kind.to_owned(), 1)),
        }
        for path in comparison.added.keys() {
            *self.added.entry((kind.to_owned(), path.clone())).or_default() += 1;
        }
        if comparison.lost_marker {
            *self.lost_markers.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// Returns changes that affect every source of a type with several sources, if any.
    pub(super) fn by_platform(self) -> Option<ByPlatform> {
        let is_all =
            |kind: &str, count: usize| count > 1 && self.compared.get(kind).is_some_and(|all| *all == count);
        let added = self.added.into_iter().filter(|((kind, _), count)| is_all(kind, *count));
        let lost = self.lost_markers.into_iter().filter(|(kind, count)| is_all(kind, *count));
        let by = ByPlatform {
            added: added.map(|(addition, _)| addition).collect(),
            lost_markers: lost.map(|(kind, _)| kind).collect(),
        };
        (!by.added.is_empty() || !by.lost_markers.is_empty()).then_some(by)
    }
}

impl ByPlatform {
    /// Removes the platform's own changes from the drift of a source of `kind`.
    pub(super) fn remove_platform_changes(&self, kind: &str, comparison: &mut FieldDiff) {
        let excused = |path: &FieldPath| self.added.contains(&(kind.to_owned(), path.clone()));
        let added = &comparison.added;
        comparison.changes.retain(|change| !(added.contains_key(&change.path) && excused(&change.path)));
        comparison.added.retain(|path, _| !excused(path));
        if comparison.lost_marker && self.lost_markers.contains(kind) {
            comparison.lost_marker = false;
            comparison.changes.retain(|change| change.path.as_str() != "metadata.wellspring");
        }
    }
}

/// Records the additions in the inventory.
///
/// Needed to recognise them if they reappear, and to treat some as the platform's own.
pub(super) fn record_additions(
    owned: &mut Arc<ManagedSource>,
    comparison: &FieldDiff,
    by: &ByPlatform,
    row: &ObservedSource,
) {
    let kind = owned.applied.definition.kind.clone();
    let excused =
        by.added.iter().filter(|(of, _)| *of == kind).map(|(_, path)| (path, ReadbackState::PlatformOwned));
    let stamp = marker_path();
    let lost = by.lost_markers.contains(&kind).then_some((&stamp, ReadbackState::Absent));
    let added = comparison.added.iter().map(|(path, print)| (path, ReadbackState::AddedByOthers(*print)));
    let notes: Vec<_> = excused
        .chain(lost)
        .chain(added)
        .filter(|(path, echoed)| owned.applied.echo.undeclared(path) != *echoed)
        .map(|(path, echoed)| (path.clone(), echoed))
        .collect();
    let is_first = comparison.changes.is_empty()
        && !owned.applied.echo.has_all_undeclared()
        && matches!(row.echo.connection_config(), Some(Value::Object(_)));
    if notes.is_empty() && !is_first {
        return;
    }
    let applied = &mut Arc::make_mut(owned).applied;
    notes.into_iter().for_each(|(path, echoed)| applied.echo.record_undeclared(path, echoed));
    if is_first {
        let mut echo = std::mem::take(&mut applied.echo);
        record_undeclared(applied, row, &mut echo);
        applied.echo = echo;
    }
}
