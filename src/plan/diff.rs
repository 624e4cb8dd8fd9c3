//! Field by field, three ways: what is declared, what was last applied, what the platform echoes.
//!
//! A *change* is declared differing from applied. *Drift* is the echo having moved since the last
//! verified write, so a platform that normalises or masks values makes no endless differences. An echo that
//! equals what is declared is never drift, nor is a list in another order: some platforms show a list in a
//! new order each time. What someone adds beside the declared keys is drift: see [`super::additions`].

use super::additions::{additions, is_empty};
use crate::model::{
    Applied, DesiredSource, Echoed, Echoes, FieldPath, Fingerprint, FingerprintKey, Leaf, ObservedSource,
    Part, beside, is_hidden, side_by_side, unordered,
};
use serde_json::Value;
use std::cell::OnceCell;
use std::collections::BTreeMap;

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

/// What is to be done to a field on the platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It is new in the files, or someone took it away.
    Added,
    /// Its value is another.
    Changed,
    /// It is gone from the files, or was never declared.
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
    /// What someone added beside the declared keys since our last write; also in `changes`.
    pub added: BTreeMap<FieldPath, Fingerprint>,
    /// Our stamp was there after our last write and is not now; also in `changes`.
    pub lost_stamp: bool,
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

/// What was applied, with what the row echoes of it after that write.
#[must_use]
pub fn seen(applied: Applied, row: &ObservedSource, key: &FingerprintKey) -> Applied {
    let echoed = |tell: &mut dyn FnMut(&FieldPath, Echoed)| {
        side_by_side([(&*applied.definition).into(), (&row.echo).into()], |path, [was, shown]| {
            let Some(was) = was else { return };
            let is_secret = |shown: &Value| applied.secrets.get(path) == Some(&key.of(shown));
            tell(
                path,
                match shown.and_then(readable) {
                    None => Echoed::Nothing,
                    Some(shown) if is_same(was, shown) => Echoed::AsApplied,
                    Some(shown) if was.is_secret() && is_secret(shown) => Echoed::AsApplied,
                    Some(shown) => Echoed::Other(print(shown, key)),
                },
            );
        });
        tell(
            &type_path(),
            match &row.kind {
                None => Echoed::Nothing,
                Some(kind) if *kind == applied.definition.kind => Echoed::AsApplied,
                Some(kind) => Echoed::Other(key.of(kind)),
            },
        );
    };
    // What most fields have in common is not told of each. Returns the others, and what it is indeed.
    let but = |common: Echoed| {
        let (mut as_applied, mut nothing) = (0, 0);
        let mut exceptions = BTreeMap::new();
        echoed(&mut |path, echoed| {
            match echoed {
                Echoed::AsApplied => as_applied += 1,
                Echoed::Nothing => nothing += 1,
                Echoed::Other(_) | Echoed::Beside | Echoed::Added(_) => {}
            }
            if echoed != common {
                exceptions.insert(path.clone(), echoed);
            }
        });
        (if as_applied > nothing { Echoed::AsApplied } else { Echoed::Nothing }, exceptions)
    };
    let shows = row.echo.connection_config.is_some() || row.echo.metadata.is_some();
    let expected = if shows { Echoed::AsApplied } else { Echoed::Nothing };
    let (common, mut exceptions) = but(expected);
    if common != expected {
        (_, exceptions) = but(common);
    }
    if let Some(stamp) = &row.echo.fingerprint {
        exceptions.insert(stamp_path(), Echoed::Other(stamp_print(stamp, key)));
    }
    exceptions.extend(applied.echo.added());
    let mut echo = match common {
        Echoed::AsApplied => Echoes::as_applied_but(exceptions),
        _ => Echoes::nothing_but(exceptions),
    };
    note_beside(&applied, row, &mut echo);
    Applied { echo, ..applied }
}

/// Records what the row shows beside the definition.
pub(super) fn note_beside(applied: &Applied, row: &ObservedSource, echo: &mut Echoes) {
    if !matches!(row.echo.connection_config, Some(Value::Object(_))) {
        return;
    }
    beside((&*applied.definition).into(), (&row.echo).into(), |path, value| {
        if !is_empty(value) {
            echo.note(path.clone(), Echoed::Beside);
        }
    });
    echo.note_all_beside();
}

/// Returns true if a row shows what was applied. Some platforms keep no order in lists.
fn is_same(was: Part<'_>, shown: &Value) -> bool {
    let shown = Part::Json(shown);
    was.is_like(shown) || was.is_reordered(shown)
}

/// The fingerprint of what a row shows; of a list, whatever its order.
fn print(shown: &Value, key: &FingerprintKey) -> Fingerprint {
    match shown {
        Value::Array(_) => key.of(&unordered(shown)),
        _ => key.of(shown),
    }
}

/// Our stamps are fingerprints themselves.
fn stamp_print(stamp: &str, key: &FingerprintKey) -> Fingerprint {
    Fingerprint::parse(stamp).unwrap_or_else(|| key.of(stamp))
}

/// What a row shows in a leaf, unless it is masked or null: that is unknown, never drift.
fn readable(leaf: Part<'_>) -> Option<&Value> {
    match leaf {
        Part::Json(value) if !is_hidden(value) => Some(value),
        _ => None,
    }
}

/// The path under which our echoed stamp is remembered.
pub(super) fn stamp_path() -> FieldPath {
    let mut path = FieldPath::on_the_way("metadata");
    path.enter("wellspring");
    path.enter("fingerprint");
    path
}

/// Our stamp was shown after our write and is not now: someone else wrote the row since. A stamp
/// alone is no difference, but it tells a key that someone took away from one that is not shown.
fn written_by_another(applied: &Applied, row: &ObservedSource, key: &FingerprintKey) -> bool {
    let Echoed::Other(was) = applied.echo.beside(&stamp_path()) else { return false };
    // It was once remembered by a fingerprint of it.
    let is_it = |stamp: &String| was == stamp_print(stamp, key) || was == key.of(stamp);
    !row.echo.fingerprint.as_ref().is_some_and(is_it)
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
    let mut out = Comparison::default();
    // Fingerprints under another key are unknown, and unknown is never a difference.
    let is_known = applied.key_id == key.id();
    let known = is_known.then(|| Known { applied, row, key, by_another: OnceCell::new() });
    let sides = [(&*source.definition).into(), (&*applied.definition).into(), (&row.echo).into()];
    let mut has_additions = false;
    side_by_side(sides, |path, [now, was, echoed]| {
        let shown = echoed.and_then(readable);
        out.undeclared_keys |= shown.is_some() && now.is_none();
        has_additions |= echoed.is_some() && was.is_none();
        let in_files = match (now, was) {
            (None, None) => return,
            (Some(now), Some(was)) if now.is_secret() && was.is_secret() => {
                let moved = |now: &BTreeMap<_, _>| now.get(path) != applied.secrets.get(path);
                known.is_some() && secrets.is_some_and(moved)
            }
            (Some(now), Some(was)) => !now.is_like(was),
            _ => true,
        };
        // What is new in the files was never there to be read.
        if now.is_some()
            && was.is_some()
            && shown.is_none()
            && path.as_str().starts_with("connection_config.")
        {
            out.unreadable.push(path.clone());
        }
        let leaf = |part: Option<Part<'_>>| part.map(Part::leaf);
        if in_files {
            let was = leaf(was);
            out.changes.push(change(path, plain(was.as_ref()), leaf(now).as_ref(), was.as_ref(), false));
        } else if let (Some(known), Some(before)) = (&known, was)
            && known.moved(path, before, shown, echoed.is_some())
        {
            out.changes.push(change(path, shown.cloned(), leaf(now).as_ref(), leaf(was).as_ref(), true));
        }
    });
    if let Some(known) = &known {
        additions(known, source, has_additions, &mut out);
    }
    out.changes.sort_by(|a, b| a.path.cmp(&b.path));
    out.unreadable.sort();
    out.changes.splice(0..0, kind_change(source, applied, row, known.is_some().then_some(key)));
    out
}

/// A source whose echo can be compared with the one after our last write.
pub(super) struct Known<'a> {
    pub(super) applied: &'a Applied,
    pub(super) row: &'a ObservedSource,
    pub(super) key: &'a FingerprintKey,
    by_another: OnceCell<bool>,
}

impl Known<'_> {
    /// Did the echo of this field move since? `set`: the row has it, be it masked.
    fn moved(&self, path: &FieldPath, was: Part<'_>, shown: Option<&Value>, set: bool) -> bool {
        let echoed = self.applied.echo.of(path);
        let Some(shown) = shown else {
            return echoed != Echoed::Nothing
                && !was.is_secret()
                && !set
                && self.row.echo.shows_half_of(path)
                && self.by_another();
        };
        let is_list = matches!(shown, Value::Array(_));
        if is_same(was, shown) || is_list && self.applied.echo.has_elements_of(path) {
            return false;
        }
        let secret = self.applied.secrets.get(path);
        match echoed {
            Echoed::AsApplied if was.is_secret() => {
                secret.is_some_and(|secret| *secret != self.key.of(shown))
            }
            Echoed::AsApplied => true,
            Echoed::Nothing | Echoed::Beside | Echoed::Added(_) => false,
            Echoed::Other(echoed) => {
                // A secret is compared by echo only where it was once echoed exactly.
                let comparable = !was.is_secret() || secret == Some(&echoed);
                comparable && echoed != print(shown, self.key)
            }
        }
    }

    fn by_another(&self) -> bool {
        *self.by_another.get_or_init(|| written_by_another(self.applied, self.row, self.key))
    }
}

/// Compares a source that is not ours with its row: every difference is one between the files and
/// the platform, and what is not shown is unreadable.
#[must_use]
pub fn compare_foreign(source: &DesiredSource, row: &ObservedSource) -> Comparison {
    let mut out = Comparison::default();
    if let Some(kind) = row.kind.as_ref().filter(|kind| **kind != source.definition.kind) {
        let after = source.definition.kind.as_str();
        out.changes.push(kind_changed(Some(kind.as_str()), after, true));
    }
    side_by_side([(&*source.definition).into(), (&row.echo).into()], |path, [now, echoed]| {
        // A masked one is set all the same, and would be lost with the first replacement.
        let is_set = echoed.is_some_and(|echoed| !matches!(echoed, Part::Json(Value::Null)));
        match (now, echoed.and_then(readable)) {
            (None, _) => out.undeclared_keys |= is_set,
            (Some(_), None) => out.unreadable.push(path.clone()),
            (Some(now), Some(shown)) if !now.is_secret() && !now.is_like(Part::Json(shown)) => {
                // How it came to be there is not known, so neither is whether it may be shown.
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
    applied: &Applied,
    row: &ObservedSource,
    key: Option<&FingerprintKey>,
) -> Option<FieldChange> {
    let (now, was) = (source.definition.kind.as_str(), applied.definition.kind.as_str());
    if now != was {
        return Some(kind_changed(Some(was), now, false));
    }
    let (key, shown) = (key?, row.kind.as_deref()?);
    let moved = match applied.echo.of(&type_path()) {
        Echoed::AsApplied => shown != was,
        Echoed::Other(echoed) => shown != was && echoed != key.of(shown),
        Echoed::Nothing | Echoed::Beside | Echoed::Added(_) => false,
    };
    moved.then(|| kind_changed(Some(shown), now, true))
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
pub(super) fn change(
    path: &FieldPath,
    before: Option<Value>,
    now: Option<&Leaf>,
    was: Option<&Leaf>,
    drift: bool,
) -> FieldChange {
    let is_secret = |leaf: Option<&Leaf>| matches!(leaf, Some(Leaf::Secret(_)));
    let exposes =
        |leaf: Option<&Leaf>| matches!(leaf, Some(Leaf::Plain(value)) if path.exposes_secret(value));
    let sensitive = is_secret(now)
        || is_secret(was)
        || path.looks_secret()
        || exposes(now)
        || exposes(was)
        || before.as_ref().is_some_and(|value| path.exposes_secret(value));
    let how = match (was, now) {
        (None, Some(_)) if !drift => How::Added,
        // It is to be put back.
        (Some(_), Some(Leaf::Plain(_))) if drift && before.is_none() => How::Added,
        (_, None) => How::Removed,
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
