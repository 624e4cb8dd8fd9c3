//! Drift outside the declared keys: added fields, and a removed ownership marker.
//!
//! Platforms add keys of their own: defaults, times, counters. The keys that a row has after our write count
//! as such. A key that appears later is drift, unless the platform gave it to every source of that type at
//! once, or its value differs each time it reappears.

use super::Comparison;
use super::diff::{FieldChange, How, Known, change, note_beside, stamp_path};
use crate::model::{
    DesiredSource, Echoed, FieldPath, ObservedSource, Owned, beside, is_hidden, looks_secret,
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
pub(super) fn additions(known: &Known<'_>, source: &DesiredSource, any: bool, out: &mut Comparison) {
    let Known { applied, row, key, .. } = known;
    let recorded = &applied.echo;
    let was_stamped = matches!(recorded.beside(&stamp_path()), Echoed::Other(_));
    if was_stamped && row.echo.metadata.is_some() && row.echo.fingerprint.is_none() {
        out.lost_stamp = true;
        let stamp = change(&FieldPath::root("metadata").key("wellspring"), None, None, None, true);
        out.changes.push(FieldChange { how: How::Added, ..stamp });
    }
    if !any || !recorded.knows_all_beside() {
        return;
    }
    let mut found = BTreeMap::new();
    beside((&*applied.definition).into(), (&row.echo).into(), |path, value| {
        // Without a marker after our write, the platform may not have returned metadata at all.
        let is_known = was_stamped || !path.as_str().starts_with("metadata.");
        if is_known && !is_empty(value) {
            let print = key.of(value);
            let is_new = match recorded.beside(path) {
                Echoed::Beside => false,
                Echoed::Added(before) => before == print,
                _ => true,
            };
            if is_new {
                found.insert(path.clone(), (value, print));
            }
        }
    });
    if !found.is_empty() && !applied.definition.is(&source.definition) {
        let mut undeclared = BTreeSet::new();
        beside((&*source.definition).into(), (&row.echo).into(), |path, _| {
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
    lost_stamps: BTreeSet<String>,
}

/// Counts the additions per type of source.
#[derive(Debug, Default)]
pub(super) struct Tally {
    compared: BTreeMap<String, usize>,
    added: BTreeMap<(String, FieldPath), usize>,
    lost_stamps: BTreeMap<String, usize>,
}

impl Tally {
    /// Counts one source of `kind`.
    pub(super) fn count(&mut self, kind: &str, comparison: &Comparison) {
        match self.compared.get_mut(kind) {
            Some(compared) => *compared += 1,
            None => drop(self.compared.insert(kind.to_owned(), 1)),
        }
        for path in comparison.added.keys() {
            *self.added.entry((kind.to_owned(), path.clone())).or_default() += 1;
        }
        if comparison.lost_stamp {
            *self.lost_stamps.entry(kind.to_owned()).or_default() += 1;
        }
    }

    /// Returns changes that affect every source of a type with several sources, if any.
    pub(super) fn by_platform(self) -> Option<ByPlatform> {
        let is_all =
            |kind: &str, count: usize| count > 1 && self.compared.get(kind).is_some_and(|all| *all == count);
        let added = self.added.into_iter().filter(|((kind, _), count)| is_all(kind, *count));
        let lost = self.lost_stamps.into_iter().filter(|(kind, count)| is_all(kind, *count));
        let by = ByPlatform {
            added: added.map(|(addition, _)| addition).collect(),
            lost_stamps: lost.map(|(kind, _)| kind).collect(),
        };
        (!by.added.is_empty() || !by.lost_stamps.is_empty()).then_some(by)
    }
}

impl ByPlatform {
    /// Removes the platform's own changes from the drift of a source of `kind`.
    pub(super) fn excuse(&self, kind: &str, comparison: &mut Comparison) {
        let excused = |path: &FieldPath| self.added.contains(&(kind.to_owned(), path.clone()));
        let added = &comparison.added;
        comparison.changes.retain(|change| !(added.contains_key(&change.path) && excused(&change.path)));
        comparison.added.retain(|path, _| !excused(path));
        if comparison.lost_stamp && self.lost_stamps.contains(kind) {
            comparison.lost_stamp = false;
            comparison.changes.retain(|change| change.path.as_str() != "metadata.wellspring");
        }
    }
}

/// Records the additions in the inventory.
///
/// Needed to recognise them if they reappear, and to treat some as the platform's own.
pub(super) fn note(owned: &mut Arc<Owned>, comparison: &Comparison, by: &ByPlatform, row: &ObservedSource) {
    let kind = owned.applied.definition.kind.clone();
    let excused = by.added.iter().filter(|(of, _)| *of == kind).map(|(_, path)| (path, Echoed::Beside));
    let stamp = stamp_path();
    let lost = by.lost_stamps.contains(&kind).then_some((&stamp, Echoed::Nothing));
    let added = comparison.added.iter().map(|(path, print)| (path, Echoed::Added(*print)));
    let notes: Vec<_> = excused
        .chain(lost)
        .chain(added)
        .filter(|(path, echoed)| owned.applied.echo.beside(path) != *echoed)
        .map(|(path, echoed)| (path.clone(), echoed))
        .collect();
    let is_first = comparison.changes.is_empty()
        && !owned.applied.echo.knows_all_beside()
        && matches!(row.echo.connection_config, Some(Value::Object(_)));
    if notes.is_empty() && !is_first {
        return;
    }
    let applied = &mut Arc::make_mut(owned).applied;
    notes.into_iter().for_each(|(path, echoed)| applied.echo.note(path, echoed));
    if is_first {
        let mut echo = std::mem::take(&mut applied.echo);
        note_beside(applied, row, &mut echo);
        applied.echo = echo;
    }
}
