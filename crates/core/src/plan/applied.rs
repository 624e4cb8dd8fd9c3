//! Decides from the listing whether a connect was carried out in place.

use crate::model::{
    FieldPath, Fingerprint, FingerprintKey, LastApplied, LeafValue, ObservedSource, ReadbackState, ValueRef,
    is_hidden, zip_leaves,
};
use serde_json::Value;
use std::collections::BTreeMap;

/// Returns true if this row shows the new definition, not the previous one.
///
/// Either the row has the fingerprint of this definition and the previous one had another (a drift correction
/// has the same, and the edit of another may have left it in place), or every readable declared field has the
/// new value and at least one of them differs from the previous definition. `stamp` is the fingerprint of
/// `applied`.
#[must_use]
pub fn was_applied(
    applied: &LastApplied,
    stamp: &Fingerprint,
    previous: Option<&LastApplied>,
    row: &ObservedSource,
    key: &FingerprintKey,
) -> bool {
    if let Some(shown) = row.echo.fingerprint.as_deref() {
        return stamp.eq_hex(shown)
            && previous.is_none_or(|previous| previous.marker_fingerprint(key) != *stamp);
    }
    if row.kind.as_ref().is_some_and(|kind| *kind != applied.definition.kind) {
        return false;
    }
    let (mut contradicts, mut telling) = (false, false);
    let before = previous.map(|previous| (&*previous.definition).into()).unwrap_or_default();
    let sides = [(&*applied.definition).into(), before, (&row.echo).into()];
    zip_leaves(sides, |_, [new, old, echoed]| {
        let (Some(new), Some(shown @ ValueRef::Json(value))) = (new, echoed) else { return };
        if new.is_secret() || is_hidden(value) {
            return;
        }
        contradicts |= !new.eq_value(shown) && !new.is_reordered(shown);
        telling |= !old.is_some_and(|old| old.eq_value(new));
    });
    telling && !contradicts && previous.is_some()
}

/// Returns true if this row shows the previous definition, not the new one.
///
/// Fields that the platform returned exactly as applied would have the new values; if they have others, the
/// list is out of date, or the platform ignored the connect. A field that the platform normalises proves
/// neither. `stamp` is the fingerprint of `applied`.
pub(super) fn shows_previous(
    applied: &LastApplied,
    stamp: &Fingerprint,
    previous: Option<&LastApplied>,
    row: &ObservedSource,
    key: &FingerprintKey,
) -> bool {
    let Some(previous) = previous else { return false };
    let bears =
        |stamp: &Fingerprint| row.echo.fingerprint.as_deref().is_some_and(|shown| stamp.eq_hex(shown));
    if bears(stamp) && previous.marker_fingerprint(key) != *stamp {
        return false;
    }
    let is_exact = |path: &FieldPath| previous.echo.get(path) == ReadbackState::Equal;
    let (now, was) = (&applied.definition.kind, &previous.definition.kind);
    if row.kind.as_ref().is_some_and(|kind| kind != now) && is_exact(&super::diff::type_path()) {
        return true;
    }
    let shown = row.echo.leaves();
    let old: BTreeMap<FieldPath, LeafValue> = previous.definition.leaves();
    let mut shows_news = now != was && row.kind.as_ref() == Some(now);
    for (path, leaf) in &applied.definition.leaves() {
        let (LeafValue::Plain(value), Some(shown)) = (leaf, shown.get(path)) else { continue };
        let Some(LeafValue::Plain(before)) = old.get(path) else {
            shows_news |= !old.contains_key(path) && is_equivalent(value, shown);
            continue;
        };
        if is_exact(path) && !is_equivalent(value, shown) {
            return true;
        }
        shows_news |= !is_equivalent(value, before) && is_equivalent(value, shown);
    }
    !shows_news && previous.marker_fingerprint(key) != *stamp && bears(&previous.marker_fingerprint(key))
}

/// Returns the declared fields that the row shows with another value than was applied.
///
/// Forms that platforms normalise to are no other value.
pub(super) fn contradictions(applied: &LastApplied, row: &ObservedSource) -> Vec<FieldPath> {
    let shown = row.echo.leaves();
    let differs = |(path, leaf): &(FieldPath, LeafValue)| match (leaf, shown.get(path)) {
        (LeafValue::Plain(value), Some(shown)) => {
            plain(value).is_some() && plain(shown).is_some() && !is_equivalent(value, shown)
        }
        _ => false,
    };
    applied.definition.leaves().into_iter().filter(differs).map(|(path, _)| path).collect()
}

/// Records the readback of a row that is first listed late, or whose connect got no response.
///
/// A value other than the applied one is then more likely someone's edit than the platform's own form of it, so it
/// counts as drift.
pub(super) fn record_late_readback(
    applied: LastApplied,
    row: &ObservedSource,
    key: &FingerprintKey,
) -> LastApplied {
    let edited = contradictions(&applied, row);
    let mut applied = super::record_readback(applied, row, key);
    edited.into_iter().for_each(|path| applied.echo.record_undeclared(path, ReadbackState::Equal));
    applied
}

/// Returns true if the values differ only in ways that platforms normalise.
///
/// These are case, surrounding blanks, a trailing slash, and a number as text.
fn is_equivalent(one: &Value, other: &Value) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    one == other
        || match (plain(one), plain(other)) {
            (Some(one), Some(other)) => {
                one == other || number(&one).is_some_and(|one| number(&other) == Some(one))
            }
            _ => false,
        }
}

/// The value without what platforms normalise; `None` for lists, tables and null.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.trim().trim_end_matches('/').to_lowercase()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        _ => None,
    }
}
