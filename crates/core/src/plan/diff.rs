//! Three-way comparison by field: declared, last applied, and observed.
//!
//! A *change* is a difference between declared and applied. *Drift* is a difference between the observed
//! value and the readback of the last verified write, so a platform that normalises or masks values causes no
//! endless changes. An observed value that equals the declared one is never drift, nor is a list in another
//! order: some platforms return a list in a new order each time. Fields that others add outside the declared
//! keys are drift, too; [`super::additions`] excludes those of the platform.

use crate::model::{
    DesiredSource, FieldPath, Fingerprint, FingerprintKey, LastApplied, LeafValue, ObservedSource,
    ReadbackMap, ReadbackState, ValueRef, for_each_undeclared, is_hidden, looks_secret, unordered,
    zip_leaves,
};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};

/// One field that differs; values are omitted if one of them is or was a secret.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// Path of the field.
    pub path: FieldPath,
    /// Kind of difference, also known if the values are omitted.
    pub kind: ChangeKind,
    /// Previous value, if it may be shown.
    pub before: Option<Value>,
    /// Declared value, if it may be shown.
    pub after: Option<Value>,
    /// True if values are omitted because one of them is a secret.
    pub sensitive: bool,
    /// Reference to the secret as written in the files.
    pub reference: Option<String>,
    /// True if the field was changed on the platform by others.
    pub drift: bool,
}

/// The change to make to a field on the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// New in the files, or removed by others.
    Added,
    /// Another value.
    Changed,
    /// Deleted from the files, or never declared.
    Removed,
}

/// Comparison of one declared source with its row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FieldDiff {
    /// Differences, by path.
    pub changes: Vec<FieldChange>,
    /// Declared fields that the platform does not return.
    pub unreadable: Vec<FieldPath>,
    /// True if the platform returns keys that are not declared.
    pub undeclared_keys: bool,
    /// True if `changes` are those to a connect without a response, which the row may hold.
    pub unconfirmed: bool,
    /// Fields that others added since our last write; also in `changes`.
    pub added: BTreeMap<FieldPath, Fingerprint>,
    /// True if others removed our ownership marker since our last write.
    ///
    /// Also in `changes`.
    pub lost_marker: bool,
}

impl FieldDiff {
    /// Returns true if there are differences, and all of them are in `metadata`.
    #[must_use]
    pub fn only_metadata(&self) -> bool {
        let in_metadata = |change: &FieldChange| change.path.as_str().starts_with("metadata.");
        !self.changes.is_empty() && self.changes.iter().all(in_metadata)
    }

    /// Returns true if any difference was made by others.
    #[must_use]
    pub fn has_drift(&self) -> bool {
        self.changes.iter().any(|change| change.drift)
    }
}

/// Path under which the observed `type` is recorded.
pub(super) fn type_path() -> FieldPath {
    FieldPath::root("type")
}

/// Records the readback of a write: the row as listed after it.
#[must_use]
pub fn record_readback(applied: LastApplied, row: &ObservedSource, key: &FingerprintKey) -> LastApplied {
    if let Some(marker) = row.echo.marker_as_sent(&applied, key) {
        let exceptions = [(marker_path(), ReadbackState::Differs(marker))].into_iter();
        let mut echo = ReadbackMap::equal_except(exceptions.chain(applied.echo.added_by_others()).collect());
        echo.mark_undeclared_complete();
        return LastApplied { echo, ..applied };
    }
    let echoed = |tell: &mut dyn FnMut(&FieldPath, ReadbackState)| {
        zip_leaves([(&*applied.definition).into(), (&row.echo).into()], |path, [was, shown]| {
            let Some(was) = was else { return };
            let is_secret = |shown: &Value| applied.secrets.get(path) == Some(&key.fingerprint(shown));
            tell(
                path,
                match shown.and_then(readable) {
                    None => ReadbackState::Absent,
                    Some(shown) if is_same(was, shown) => ReadbackState::Equal,
                    Some(shown) if was.is_secret() && is_secret(shown) => ReadbackState::Equal,
                    Some(shown) => ReadbackState::Differs(observed_fingerprint(shown, key)),
                },
            );
        });
        tell(
            &type_path(),
            match &row.kind {
                None => ReadbackState::Absent,
                Some(kind) if *kind == applied.definition.kind => ReadbackState::Equal,
                Some(kind) => ReadbackState::Differs(key.fingerprint(kind)),
            },
        );
    };
    // Collects the fields that differ from `common`; also returns the value that most fields have.
    let but = |common: ReadbackState| {
        let (mut as_applied, mut nothing) = (0, 0);
        let mut exceptions = BTreeMap::new();
        echoed(&mut |path, echoed| {
            match echoed {
                ReadbackState::Equal => as_applied += 1,
                ReadbackState::Absent => nothing += 1,
                ReadbackState::Differs(_)
                | ReadbackState::PlatformOwned
                | ReadbackState::AddedByOthers(_) => {}
            }
            if echoed != common {
                exceptions.insert(path.clone(), echoed);
            }
        });
        (if as_applied > nothing { ReadbackState::Equal } else { ReadbackState::Absent }, exceptions)
    };
    let shows = row.echo.connection_config().is_some() || row.echo.metadata().is_some();
    let expected = if shows { ReadbackState::Equal } else { ReadbackState::Absent };
    let (common, mut exceptions) = but(expected);
    if common != expected {
        (_, exceptions) = but(common);
    }
    if let Some(stamp) = &row.echo.fingerprint {
        exceptions.insert(marker_path(), ReadbackState::Differs(marker_fingerprint(stamp, key)));
    }
    exceptions.extend(applied.echo.added_by_others());
    let mut echo = match common {
        ReadbackState::Equal => ReadbackMap::equal_except(exceptions),
        _ => ReadbackMap::absent_except(exceptions),
    };
    record_undeclared(&applied, row, &mut echo);
    LastApplied { echo, ..applied }
}

/// Records the fields of the row that are outside the definition.
pub(super) fn record_undeclared(applied: &LastApplied, row: &ObservedSource, echo: &mut ReadbackMap) {
    if !matches!(row.echo.connection_config(), Some(Value::Object(_))) {
        return;
    }
    for_each_undeclared((&*applied.definition).into(), (&row.echo).into(), |path, value| {
        if !is_empty(value) {
            echo.record_undeclared(path.clone(), ReadbackState::PlatformOwned);
        }
    });
    echo.mark_undeclared_complete();
}

/// Returns true if a row has the applied value.
///
/// Some platforms do not keep the order of lists.
fn is_same(was: ValueRef<'_>, shown: &Value) -> bool {
    let shown = ValueRef::Json(shown);
    was.eq_value(shown) || was.is_reordered(shown)
}

/// Returns the fingerprint of an observed value; for lists, regardless of order.
fn observed_fingerprint(shown: &Value, key: &FingerprintKey) -> Fingerprint {
    match shown {
        Value::Array(_) => key.fingerprint(&unordered(shown)),
        _ => key.fingerprint(shown),
    }
}

/// Our markers contain fingerprints already.
fn marker_fingerprint(stamp: &str, key: &FingerprintKey) -> Fingerprint {
    Fingerprint::parse(stamp).unwrap_or_else(|| key.fingerprint(stamp))
}

/// Returns the value of a leaf unless it is masked or null.
///
/// Masked and null values are unknown, never drift.
fn readable(leaf: ValueRef<'_>) -> Option<&Value> {
    match leaf {
        ValueRef::Json(value) if !is_hidden(value) => Some(value),
        _ => None,
    }
}

/// Path under which the observed marker is recorded.
pub(super) fn marker_path() -> FieldPath {
    let mut path = FieldPath::with_capacity("metadata");
    path.push_key("wellspring");
    path.push_key("fingerprint");
    path
}

/// Returns true if our marker was there after our write and is not now.
///
/// Others wrote the row since. The marker alone is no difference, but distinguishes a key that others removed
/// from one that the platform does not return.
fn written_by_other(applied: &LastApplied, row: &ObservedSource, key: &FingerprintKey) -> bool {
    let ReadbackState::Differs(was) = applied.echo.undeclared(&marker_path()) else { return false };
    // Older versions recorded a fingerprint of the marker.
    let is_it = |stamp: &String| was == marker_fingerprint(stamp, key) || was == key.fingerprint(stamp);
    !row.echo.fingerprint.as_ref().is_some_and(is_it)
}

/// Compares a managed source with its row.
///
/// `secrets` is `None` if they do not resolve here.
#[must_use]
pub fn compare(
    source: &DesiredSource,
    applied: &LastApplied,
    secrets: Option<&BTreeMap<FieldPath, Fingerprint>>,
    row: &ObservedSource,
    key: &FingerprintKey,
) -> FieldDiff {
    let mut out = FieldDiff::default();
    let is_as_sent = row.echo.marker_as_sent(applied, key).is_some()
        && applied.definition.eq_definition(&source.definition)
        && secrets.is_none_or(|secrets| *secrets == applied.secrets);
    if is_as_sent {
        return out;
    }
    // Fingerprints under another key are unknown, and unknown is never a difference.
    let is_known = applied.key_id == key.id();
    let known =
        is_known.then(|| ReadbackComparison { applied, row, key, cached_other_writer: OnceCell::new() });
    let sides = [(&*source.definition).into(), (&*applied.definition).into(), (&row.echo).into()];
    let mut has_additions = false;
    zip_leaves(sides, |path, [now, was, echoed]| {
        let shown = echoed.and_then(readable);
        out.undeclared_keys |= shown.is_some() && now.is_none();
        has_additions |= echoed.is_some() && was.is_none();
        let in_files = match (now, was) {
            (None, None) => return,
            (Some(now), Some(was)) if now.is_secret() && was.is_secret() => {
                let moved = |now: &BTreeMap<_, _>| now.get(path) != applied.secrets.get(path);
                known.is_some() && secrets.is_some_and(moved)
            }
            (Some(now), Some(was)) => !now.eq_value(was),
            _ => true,
        };
        // Fields that are new in the files could not be returned yet.
        if now.is_some()
            && was.is_some()
            && shown.is_none()
            && path.as_str().starts_with("connection_config.")
        {
            out.unreadable.push(path.clone());
        }
        let leaf = |part: Option<ValueRef<'_>>| part.map(ValueRef::leaf);
        if in_files {
            let was = leaf(was);
            out.changes.push(change(path, plain(was.as_ref()), leaf(now).as_ref(), was.as_ref(), false));
        } else if let (Some(known), Some(before)) = (&known, was)
            && known.has_drifted(path, before, shown, echoed.is_some())
        {
            out.changes.push(change(path, shown.cloned(), leaf(now).as_ref(), leaf(was).as_ref(), true));
        }
    });
    if let Some(known) = &known {
        find_additions(known, source, has_additions, &mut out);
    }
    out.changes.sort_by(|a, b| a.path.cmp(&b.path));
    out.unreadable.sort();
    out.changes.splice(0..0, kind_change(source, applied, row, known.is_some().then_some(key)));
    out
}

/// A source whose observed values can be compared with the last readback.
pub(super) struct ReadbackComparison<'a> {
    pub(super) applied: &'a LastApplied,
    pub(super) row: &'a ObservedSource,
    pub(super) key: &'a FingerprintKey,
    cached_other_writer: OnceCell<bool>,
}

impl ReadbackComparison<'_> {
    /// Returns true if the observed value of this field changed since the last write.
    ///
    /// `set` is true if the row has the field, even if masked.
    fn has_drifted(&self, path: &FieldPath, was: ValueRef<'_>, shown: Option<&Value>, set: bool) -> bool {
        let echoed = self.applied.echo.get(path);
        let Some(shown) = shown else {
            return echoed != ReadbackState::Absent
                && !was.is_secret()
                && !set
                && self.row.echo.returns_section_of(path)
                && self.drifted_by_other();
        };
        let is_list = matches!(shown, Value::Array(_));
        if is_same(was, shown) || is_list && self.applied.echo.has_elements_of(path) {
            return false;
        }
        let secret = self.applied.secrets.get(path);
        match echoed {
            ReadbackState::Equal if was.is_secret() => {
                secret.is_some_and(|secret| *secret != self.key.fingerprint(shown))
            }
            ReadbackState::Equal => true,
            ReadbackState::Absent | ReadbackState::PlatformOwned | ReadbackState::AddedByOthers(_) => false,
            ReadbackState::Differs(echoed) => {
                // A secret is comparable only if its readback was exact.
                let comparable = !was.is_secret() || secret == Some(&echoed);
                comparable && echoed != observed_fingerprint(shown, self.key)
            }
        }
    }

    fn drifted_by_other(&self) -> bool {
        *self.cached_other_writer.get_or_init(|| written_by_other(self.applied, self.row, self.key))
    }
}

/// Compares an unmanaged source with its row.
///
/// Every difference is one between the files and the platform; fields that are not returned are unreadable.
#[must_use]
pub fn compare_unmanaged(source: &DesiredSource, row: &ObservedSource) -> FieldDiff {
    let mut out = FieldDiff::default();
    if let Some(kind) = row.kind.as_ref().filter(|kind| **kind != source.definition.kind) {
        let after = source.definition.kind.as_str();
        out.changes.push(kind_changed(Some(kind.as_str()), after, true));
    }
    zip_leaves([(&*source.definition).into(), (&row.echo).into()], |path, [now, echoed]| {
        // A masked field is set nevertheless, and would be lost with the first replacement.
        let is_set = echoed.is_some_and(|echoed| !matches!(echoed, ValueRef::Json(Value::Null)));
        match (now, echoed.and_then(readable)) {
            (None, _) => out.undeclared_keys |= is_set,
            (Some(_), None) => out.unreadable.push(path.clone()),
            (Some(now), Some(shown)) if !now.is_secret() && !now.eq_value(ValueRef::Json(shown)) => {
                // The origin of the value is unknown, so it may be a secret.
                let before = None;
                out.changes.push(FieldChange { before, ..change(path, None, Some(&now.leaf()), None, true) });
            }
            _ => {}
        }
    });
    out
}

fn kind_change(
    source: &DesiredSource,
    applied: &LastApplied,
    row: &ObservedSource,
    key: Option<&FingerprintKey>,
) -> Option<FieldChange> {
    let (now, was) = (source.definition.kind.as_str(), applied.definition.kind.as_str());
    if now != was {
        return Some(kind_changed(Some(was), now, false));
    }
    let (key, shown) = (key?, row.kind.as_deref()?);
    let moved = match applied.echo.get(&type_path()) {
        ReadbackState::Equal => shown != was,
        ReadbackState::Differs(echoed) => shown != was && echoed != key.fingerprint(shown),
        ReadbackState::Absent | ReadbackState::PlatformOwned | ReadbackState::AddedByOthers(_) => false,
    };
    moved.then(|| kind_changed(Some(shown), now, true))
}

fn kind_changed(before: Option<&str>, after: &str, drift: bool) -> FieldChange {
    FieldChange {
        path: type_path(),
        kind: ChangeKind::Changed,
        before: before.map(Value::from),
        after: Some(Value::from(after)),
        sensitive: false,
        reference: None,
        drift,
    }
}

/// Builds a change; omits values if either side is, was or looks like a secret.
pub(super) fn change(
    path: &FieldPath,
    before: Option<Value>,
    now: Option<&LeafValue>,
    was: Option<&LeafValue>,
    drift: bool,
) -> FieldChange {
    let is_secret = |leaf: Option<&LeafValue>| matches!(leaf, Some(LeafValue::Secret(_)));
    let exposes = |leaf: Option<&LeafValue>| matches!(leaf, Some(LeafValue::Plain(value)) if path.exposes_secret(value));
    let sensitive = is_secret(now)
        || is_secret(was)
        || path.looks_secret()
        || exposes(now)
        || exposes(was)
        || before.as_ref().is_some_and(|value| path.exposes_secret(value));
    let how = match (was, now) {
        (None, Some(_)) if !drift => ChangeKind::Added,
        // The field is to be restored.
        (Some(_), Some(LeafValue::Plain(_))) if drift && before.is_none() => ChangeKind::Added,
        (_, None) => ChangeKind::Removed,
        _ => ChangeKind::Changed,
    };
    FieldChange {
        path: path.clone(),
        kind: how,
        before: before.filter(|_| !sensitive),
        after: plain(now).filter(|_| !sensitive),
        sensitive,
        reference: match now {
            Some(LeafValue::Secret(text)) => Some(text.clone()),
            _ => None,
        },
        drift,
    }
}

fn plain(leaf: Option<&LeafValue>) -> Option<Value> {
    match leaf {
        Some(LeafValue::Plain(value)) => Some(value.clone()),
        _ => None,
    }
}

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
fn find_additions(known: &ReadbackComparison<'_>, source: &DesiredSource, any: bool, out: &mut FieldDiff) {
    let ReadbackComparison { applied, row, key, .. } = known;
    let recorded = &applied.echo;
    let was_stamped = matches!(recorded.undeclared(&marker_path()), ReadbackState::Differs(_));
    if was_stamped && row.echo.fingerprint.is_none() && row.echo.metadata().is_some() {
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
