//! Was a connect carried out in place? Concluded only from what the platform shows.

use crate::model::{Applied, Fingerprint, FingerprintKey, Leaf, ObservedSource};

/// Does this row show the new definition, in a way it could not have shown the previous one?
///
/// Either it bears our keyed stamp of just this definition where the previous one had another (what
/// mends drift has the same, and someone's edit may have left it in place), or every readable declared field has the
/// new value and at least one of them differs from what was applied before. `stamp` is that of `applied`.
#[must_use]
pub fn carried_out(
    applied: &Applied,
    stamp: &Fingerprint,
    previous: Option<&Applied>,
    row: &ObservedSource,
    key: &FingerprintKey,
) -> bool {
    if let Some(shown) = row.echo.fingerprint.as_deref() {
        return stamp.reads(shown) && previous.is_none_or(|previous| previous.stamp(key) != *stamp);
    }
    if row.kind.as_ref().is_some_and(|kind| *kind != applied.definition.kind) {
        return false;
    }
    let shown = row.echo.leaves();
    let new = applied.definition.leaves();
    let old = previous.map(|previous| previous.definition.leaves()).unwrap_or_default();
    let mut telling = false;
    for (path, leaf) in &new {
        let (Leaf::Plain(value), Some(shown)) = (leaf, shown.get(path)) else { continue };
        if *shown != value {
            return false;
        }
        telling |= !matches!(old.get(path), Some(Leaf::Plain(was)) if was == value);
    }
    telling && previous.is_some()
}
