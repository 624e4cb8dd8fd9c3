//! Was a connect carried out in place? Concluded only from what the platform shows.

use crate::model::{Applied, Fingerprint, FingerprintKey, ObservedSource, Part, is_hidden, side_by_side};

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
    let (mut contradicts, mut telling) = (false, false);
    let before = previous.map(|previous| (&*previous.definition).into()).unwrap_or_default();
    let sides = [(&*applied.definition).into(), before, (&row.echo).into()];
    side_by_side(sides, |_, [new, old, echoed]| {
        let (Some(new), Some(shown @ Part::Json(value))) = (new, echoed) else { return };
        if new.is_secret() || is_hidden(value) {
            return;
        }
        contradicts |= !new.is_like(shown) && !new.is_reordered(shown);
        telling |= !old.is_some_and(|old| old.is_like(new));
    });
    telling && !contradicts && previous.is_some()
}
