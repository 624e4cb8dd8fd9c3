//! Drift outside the declared keys: added fields, and a removed ownership marker.
//!
//! Platforms add keys of their own: defaults, times, counters. The keys that a row has after our write count
//! as such. A key that appears later is drift, unless the platform gave it to every source of that type at
//! once, or its value differs each time it reappears.

use super::FieldDiff;
use super::diff::{ChangeKind, FieldChange, ReadbackComparison, change, marker_path, record_undeclared};
use crate::model::{
    DesiredSource, FieldPath, ManagedSource, ObservedSource, ReadbackState, for_each_undeclared, is_hidden,
    looks_secret,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Returns true for a value that means the same as an absent key.
pub(super) fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.values().all(is_empty),
        Value::Bool(_) | Value::Number(_) => false,
    }
}

/// Adds to `out` the fields that others added since our last write.
///
/// `any` is true if the row contains more than the applied definition.
pub(super) fn find_additions(
    known: &ReadbackComparison<'_>,
    source: &DesiredSource,
    any: bool,
    out: &mut FieldDiff,
) {
    let ReadbackComparison { applied, row, key, .. } = known;
    let recorded = &applied.echo;
    let was_stamped = matches!(recorded.undeclared(&marker_path()), ReadbackState::Differs(_));
    if was_stamped && row.echo.metadata.is_some() && row.echo.fingerprint.is_none() {
        out.lost_marker = true;
        let stamp = change(&FieldPath::root("metadata").key("wellspring"), None, None, None, true);
        out.changes.push(FieldChange { kind: ChangeKind::Added, ..stamp });
    }
    if !any || !recorded.has_all_undeclared() {
        return;
    }
    let mut found = BTreeMap::new();
    for_each_undeclared((&*applied.definition).into(), (&row.echo).into(), |path, value| {
        // Without a marker after our write, the platform may not have returned metadata at all.
        let is_known = was_stamped || !path.as_str().starts_with("metadata.");
        if is_known && !is_empty(value) {
            let print = key.fingerprint(value);
            let is_new = match recorded.undeclared(path) {
                ReadbackState::PlatformOwned => false,
                ReadbackState::AddedByOthers(before) => before == print,
                _ => true,
            };
            if is_new {
                found.insert(path.clone(), (value, print));
            }
        }
    });
    if !found.is_empty() && !applied.definition.eq_definition(&source.definition) {
        let mut undeclared = BTreeSet::new();
        for_each_undeclared((&*source.definition).into(), (&row.echo).into(), |path, _| {
            undeclared.insert(path.clone());
        });
        found.retain(|path, _| undeclared.contains(path));
    }
    for (path, (value, print)) in found {
        let value = (!is_hidden(value)).then(|| value.clone());
        let sensitive = value.as_ref().is_some_and(has_secret_key);
        let change = change(&path, value, None, None, true);
        let sensitive = sensitive || change.sensitive;
        let before = change.before.filter(|_| !sensitive);
        out.changes.push(FieldChange { sensitive, before, ..change });
        out.added.insert(path, print);
    }
}

fn has_secret_key(value: &Value) -> bool {
    match value {
        Value::Object(entries) => {
            entries.iter().any(|(key, value)| looks_secret(key) || has_secret_key(value))
        }
        Value::Array(items) => items.iter().any(has_secret_key),
        _ => false,
    }
}

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
        && matches!(row.echo.connection_config, Some(Value::Object(_)));
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
