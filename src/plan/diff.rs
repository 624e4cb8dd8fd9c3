//! Field by field, three ways: what is declared, what was last applied, what the platform echoes.
//!
//! A *change* is declared differing from applied. *Drift* is the echo having moved since the last
//! verified write, so a platform that normalises or masks values makes no endless differences.

use crate::model::{
    Applied, DesiredSource, FieldPath, Fingerprint, FingerprintKey, Leaf, ObservedSource, exposes_secret,
};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// One field that differs. It cannot hold a secret: where one stood or stands, the values are left out.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// Which field.
    pub path: FieldPath,
    /// Was it added, changed or removed? Known also where the values are left out.
    pub how: How,
    /// The value so far, when it may be shown.
    pub before: Option<Value>,
    /// The declared value, when it may be shown.
    pub after: Option<Value>,
    /// Values are left out because one of them is a secret.
    pub sensitive: bool,
    /// How the reference to the secret is written in the files.
    pub reference: Option<String>,
    /// Someone else changed it on the platform.
    pub drift: bool,
}

/// What became of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It is new in the files.
    Added,
    /// Its value is another.
    Changed,
    /// It is gone from the files.
    Removed,
}

/// How one declared source compares with its row.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Comparison {
    /// What differs, by path.
    pub changes: Vec<FieldChange>,
    /// Declared fields that the platform does not show.
    pub unreadable: Vec<FieldPath>,
    /// The platform shows keys that are not declared.
    pub undeclared_keys: bool,
}

impl Comparison {
    /// Everything that differs lies in `metadata`.
    #[must_use]
    pub fn only_metadata(&self) -> bool {
        let in_metadata = |change: &FieldChange| change.path.as_str().starts_with("metadata.");
        !self.changes.is_empty() && self.changes.iter().all(in_metadata)
    }

    /// Some of it was done by someone else.
    #[must_use]
    pub fn has_drift(&self) -> bool {
        self.changes.iter().any(|change| change.drift)
    }
}

/// The path under which the echoed `type` is remembered.
pub(super) fn type_path() -> FieldPath {
    FieldPath::root("type")
}

/// Everything a row echoes, as fingerprints, for [`Applied::echo`].
#[must_use]
pub fn echo_of(row: &ObservedSource, key: &FingerprintKey) -> BTreeMap<FieldPath, Fingerprint> {
    let mut echo: BTreeMap<_, _> =
        row.echo.leaves().into_iter().map(|(path, value)| (path, key.of(value))).collect();
    if let Some(kind) = &row.kind {
        echo.insert(type_path(), key.of(&Value::from(kind.as_str())));
    }
    if let Some(stamp) = &row.echo.fingerprint {
        echo.insert(stamp_path(), key.of(&Value::from(stamp.as_str())));
    }
    echo
}

/// The path under which our echoed stamp is remembered.
fn stamp_path() -> FieldPath {
    FieldPath::root("metadata").key("wellspring").key("fingerprint")
}

/// Our stamp was shown after our write and is not now: someone else wrote the row since. A stamp
/// alone is no difference, but it tells a key that someone took away from one that is not shown.
fn written_by_another(applied: &Applied, row: &ObservedSource, key: &FingerprintKey) -> bool {
    let shown = row.echo.fingerprint.as_deref().map(|stamp| key.of(&Value::from(stamp)));
    applied.echo.get(&stamp_path()).is_some_and(|was| shown.as_ref() != Some(was))
}

/// Compares a source of ours. `secrets` is `None` where they do not resolve here.
#[must_use]
pub fn compare(
    source: &DesiredSource,
    applied: &Applied,
    secrets: Option<&BTreeMap<FieldPath, Fingerprint>>,
    row: &ObservedSource,
    key: &FingerprintKey,
) -> Comparison {
    // Fingerprints under another key are unknown, and unknown is never a difference.
    let key_known = applied.key_id == key.id();
    let declared = source.definition.leaves();
    let before = applied.definition.leaves();
    let shown = row.echo.leaves();
    let mut out = Comparison {
        changes: Vec::new(),
        unreadable: Vec::new(),
        undeclared_keys: shown.keys().any(|path| !declared.contains_key(path)),
    };
    let written_by_another = key_known && written_by_another(applied, row, key);
    out.changes.extend(kind_change(source, applied, row, key_known.then_some(key)));

    let paths: BTreeSet<&FieldPath> = declared.keys().chain(before.keys()).collect();
    for path in paths {
        let (now, was) = (declared.get(path), before.get(path));
        let in_files = match (now, was) {
            (Some(Leaf::Plain(now)), Some(Leaf::Plain(was))) => now != was,
            (Some(Leaf::Secret(_)), Some(Leaf::Secret(_))) => {
                key_known && secrets.is_some_and(|secrets| secrets.get(path) != applied.secrets.get(path))
            }
            _ => true,
        };
        if in_files {
            out.changes.push(change(path, plain(was), now, was, false));
            continue;
        }
        let Some(echoed) = applied.echo.get(path).filter(|_| key_known) else { continue };
        let is_plain = matches!(was, Some(Leaf::Plain(_)));
        match shown.get(path) {
            // A secret is compared by echo only where it was once echoed exactly.
            Some(shown) => {
                let comparable = is_plain || applied.secrets.get(path) == Some(echoed);
                if comparable && *echoed != key.of(shown) {
                    out.changes.push(change(path, Some((*shown).clone()), now, was, true));
                }
            }
            None if is_plain && written_by_another && row.echo.lacks(path) => {
                out.changes.push(change(path, None, now, was, true));
            }
            _ => {}
        }
    }
    // What is new in the files was never there to be read.
    out.unreadable =
        unreadable(&declared, &shown).into_iter().filter(|path| before.contains_key(path)).collect();
    out
}

/// Compares a source that is not ours with its row: every difference is one between the files and
/// the platform, and what is not shown is unreadable.
#[must_use]
pub fn compare_foreign(source: &DesiredSource, row: &ObservedSource) -> Comparison {
    let declared = source.definition.leaves();
    let shown = row.echo.leaves();
    let mut out = Comparison {
        changes: Vec::new(),
        unreadable: declared.keys().filter(|path| !shown.contains_key(*path)).cloned().collect(),
        // A masked one is set all the same, and would be lost with the first replacement.
        undeclared_keys: row.echo.set_paths().iter().any(|path| !declared.contains_key(path)),
    };
    if let Some(kind) = row.kind.as_ref().filter(|kind| **kind != source.definition.kind) {
        let after = source.definition.kind.as_str();
        out.changes.push(kind_changed(Some(kind.as_str()), after, true));
    }
    for (path, now) in &declared {
        if let (Leaf::Plain(value), Some(shown)) = (now, shown.get(path))
            && *shown != value
        {
            // How it came to be there is not known, so neither is whether it may be shown.
            out.changes.push(FieldChange { before: None, ..change(path, None, Some(now), None, true) });
        }
    }
    out
}

fn unreadable(declared: &BTreeMap<FieldPath, Leaf>, shown: &BTreeMap<FieldPath, &Value>) -> Vec<FieldPath> {
    declared
        .keys()
        .filter(|path| path.as_str().starts_with("connection_config.") && !shown.contains_key(*path))
        .cloned()
        .collect()
}

fn kind_change(
    source: &DesiredSource,
    applied: &Applied,
    row: &ObservedSource,
    key: Option<&FingerprintKey>,
) -> Option<FieldChange> {
    let (now, was) = (source.definition.kind.as_str(), applied.definition.kind.as_str());
    if now != was {
        return Some(kind_changed(Some(was), now, false));
    }
    let (key, shown, echoed) = (key?, row.kind.as_deref()?, applied.echo.get(&type_path())?);
    (*echoed != key.of(&Value::from(shown))).then(|| kind_changed(Some(shown), now, true))
}

fn kind_changed(before: Option<&str>, after: &str, drift: bool) -> FieldChange {
    FieldChange {
        path: type_path(),
        how: How::Changed,
        before: before.map(Value::from),
        after: Some(Value::from(after)),
        sensitive: false,
        reference: None,
        drift,
    }
}

/// Values are left out when either side is, or was, a secret, or it or its key looks like one.
fn change(
    path: &FieldPath,
    before: Option<Value>,
    now: Option<&Leaf>,
    was: Option<&Leaf>,
    drift: bool,
) -> FieldChange {
    let is_secret = |leaf: Option<&Leaf>| matches!(leaf, Some(Leaf::Secret(_)));
    let exposes = |leaf: Option<&Leaf>| matches!(leaf, Some(Leaf::Plain(value)) if exposes_secret(value));
    let sensitive = is_secret(now)
        || is_secret(was)
        || path.looks_secret()
        || exposes(now)
        || exposes(was)
        || before.as_ref().is_some_and(exposes_secret);
    let how = match (was, now) {
        (None, Some(_)) if !drift => How::Added,
        (Some(_), None) => How::Removed,
        _ => How::Changed,
    };
    FieldChange {
        path: path.clone(),
        how,
        before: before.filter(|_| !sensitive),
        after: plain(now).filter(|_| !sensitive),
        sensitive,
        reference: match now {
            Some(Leaf::Secret(text)) => Some(text.clone()),
            _ => None,
        },
        drift,
    }
}

fn plain(leaf: Option<&Leaf>) -> Option<Value> {
    match leaf {
        Some(Leaf::Plain(value)) => Some(value.clone()),
        _ => None,
    }
}
