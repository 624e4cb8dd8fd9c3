//! Decides whether an unmanaged source with a declared name is adopted.

use super::{
    ActionKind, FieldDiff, Step, Withheld, WithheldReason, WorkspacePlan, case::SourceCase,
    case::with_location, compare_unmanaged, diff,
};
use crate::model::{
    Adopt, ConfigValue, Definition, FieldPath, Fingerprint, LastApplied, LeafValue, ManagedSource,
    ObservedSource, ReadbackMap, ReadbackState, SortedMap, toml_string,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Adopts the source, or withholds the adoption with the reason and the fix.
pub(super) fn decide_unmanaged(case: &SourceCase<'_>, row: &ObservedSource, plan: &mut WorkspacePlan) {
    let comparison = compare_unmanaged(case.source, row);
    let policy = case.source.adopt.unwrap_or(case.input.desired.policy.adopt);
    match refusal(case, row, policy, &comparison) {
        Some((code, reason, allow)) => {
            let withheld = case.withheld(ActionKind::Adopt, code, reason, allow, true);
            plan.withheld.push(Withheld { changes: comparison.changes, ..withheld });
        }
        None => {
            let owned = adopted(case, row, policy, &comparison);
            let reason = match policy {
                _ if comparison.changes.is_empty() => "in sync, but not managed so far".to_owned(),
                _ => "taken over under its name; differences are replaced next".to_owned(),
            };
            let mut action = case.action(Step::Adopt { index: case.index, entry: owned }, reason);
            action.changes = comparison.changes;
            case.act_unless_quarantined(action, plan);
        }
    }
}

type AdoptRefusal = (WithheldReason, String, Option<String>);

fn refusal(
    case: &SourceCase<'_>,
    row: &ObservedSource,
    policy: Adopt,
    comparison: &FieldDiff,
) -> Option<AdoptRefusal> {
    if let Some(owner) = row.echo.owner.as_deref()
        && case.input.owner != Some(owner)
    {
        let reason = format!("its ownership marker on the platform names {}", toml_string(owner));
        return Some((WithheldReason::OtherOwner, reason, None));
    }
    if let Some(writer) = case.other_writer(row)
        && !case.input.quarantine.released.contains(&case.source.name)
    {
        return Some((WithheldReason::OtherWriter, written_by(writer), Some(case.takeover_hint())));
    }
    let write = |value: &str| Some(format!("write `adopt = \"{value}\"` in the source"));
    match policy {
        Adopt::Never => {
            let reason = "an unmanaged source of this name is on the platform".to_owned();
            Some((WithheldReason::Adopt, reason, write("identical")))
        }
        Adopt::Identical => {
            let why = if let Some(change) = comparison.changes.first() {
                format!("{} differs", change.path)
            } else if let Some(path) = other_secret(case, row) {
                format!("{path} differs")
            } else if let Some(path) = first_hidden(case, comparison) {
                format!("{path} cannot be read")
            } else if comparison.undeclared_keys {
                "it has settings that the files do not declare".to_owned()
            } else {
                return None;
            };
            let reason = format!("an unmanaged source of this name is on the platform, and {why}");
            Some((WithheldReason::Adopt, reason, write("by-name")))
        }
        Adopt::ByName if row.kind.as_ref().is_some_and(|kind| *kind != case.source.definition.kind) => {
            let reason = "an unmanaged source of this name and of another type is on the platform".to_owned();
            Some((WithheldReason::Adopt, reason, write("replace")))
        }
        Adopt::ByName | Adopt::Replace => None,
    }
}

/// Returns the first secret of which an account's row shows another value.
///
/// An account has no markers, and its row at this address may be that of another user.
fn other_secret(case: &SourceCase<'_>, row: &ObservedSource) -> Option<FieldPath> {
    case.input.desired.workspace().account()?;
    let super::SecretState::Resolved(secrets) = case.input.secrets.get(&case.source.name)? else {
        return None;
    };
    let shown = row.echo.leaves();
    let differs = |(path, secret): &(&FieldPath, &Fingerprint)| {
        shown.get(*path).is_some_and(|shown| case.input.key.fingerprint(shown) != **secret)
    };
    secrets.iter().find(differs).map(|(path, _)| path.clone())
}

/// Returns the first declared value other than a secret that the row does not show.
fn first_hidden<'a>(case: &SourceCase<'_>, comparison: &'a FieldDiff) -> Option<&'a FieldPath> {
    let declared = case.source.definition.leaves();
    let is_plain = |path: &&FieldPath| matches!(declared.get(*path), Some(LeafValue::Plain(_)));
    comparison.unreadable.iter().find(is_plain)
}

/// Returns the reason for leaving a source to another state.
///
/// Two states that manage the same sources would sync each of them twice and undo each other's changes.
pub(super) fn written_by(writer: &str) -> String {
    format!(
        "another Wellspring state ({writer}) connected it: if a second daemon or a CI job keeps the same sources, let \
         one of them go"
    )
}

/// Builds the inventory entry of an adopted source.
///
/// Adopted as identical, its readback is recorded. Adopted by name, the declared values are recorded as the
/// expected readback, so that differences count as drift and are corrected. Adopted to be replaced, a source that
/// hides values has those that it shows as declared, and no others.
fn adopted(
    case: &SourceCase<'_>,
    row: &ObservedSource,
    policy: Adopt,
    comparison: &FieldDiff,
) -> Arc<ManagedSource> {
    let secrets = match case.input.secrets.get(&case.source.name) {
        Some(super::SecretState::Resolved(secrets)) if policy != Adopt::Replace => secrets.clone(),
        _ => BTreeMap::new(),
    };
    let is_unknown = policy == Adopt::Replace && first_hidden(case, comparison).is_some();
    let declared = &case.source.definition;
    let definition =
        if is_unknown { Arc::new(shown_part(declared, row, comparison)) } else { Arc::clone(declared) };
    let applied = LastApplied {
        definition: definition.into(),
        secrets,
        echo: ReadbackMap::default(),
        stamp: None,
        key_id: case.input.key.id().to_owned(),
        sync: case.source.sync.clone(),
        sync_since: None,
    };
    let applied = match policy {
        Adopt::Identical | Adopt::Never => diff::record_readback(applied, row, case.input.key),
        Adopt::ByName | Adopt::Replace => LastApplied { echo: declared_readback(case), ..applied },
    };
    let before = case.owned;
    let owned = ManagedSource {
        key: case.source.key.clone(),
        id: row.id.clone(),
        // Our own row is not listed; keep its id as ours in case the list is wrong.
        superseded: before
            .iter()
            .flat_map(|owned| owned.id.iter().chain(&owned.superseded))
            .cloned()
            .collect(),
        sent: before.map(|owned| owned.sent.clone()).unwrap_or_default(),
        former: before.map(|owned| owned.former.clone()).unwrap_or_default(),
        listed_as: None,
        unproven_since: None,
        connected_at: None,
        unidentified: false,
        taken_from: row.echo.writer.clone().filter(|writer| *writer != case.input.key.id()),
        applied,
        protect: case.source.protect,
        declared_in: None,
        file: None,
        line: None,
    };
    with_location(Arc::new(owned), case.source, case.input.root)
}

/// Returns the part of the definition that the row shows.
///
/// Values of the row itself are not recorded, because these may be secrets.
fn shown_part(declared: &Definition, row: &ObservedSource, comparison: &FieldDiff) -> Definition {
    let changed = comparison.changes.iter().map(|change| &change.path);
    let other: BTreeSet<&FieldPath> = changed.chain(&comparison.unreadable).collect();
    let config = FieldPath::root("connection_config");
    let metadata = FieldPath::root("metadata");
    let is_within = |inner: &FieldPath, path: &FieldPath| {
        inner
            .as_str()
            .strip_prefix(path.as_str())
            .is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let shows = |path: &FieldPath| !other.iter().any(|differs| is_within(differs, path));
    Definition {
        kind: row.kind.as_deref().map_or_else(|| declared.kind.clone(), Into::into),
        connection_config: shown_entries(&declared.connection_config, &config, &other),
        metadata: declared
            .metadata
            .iter()
            .filter(|(key, _)| shows(&metadata.key(key)))
            .map(|(key, value)| (key.clone(), value.clone()))
            .collect(),
    }
}

fn shown_entries(
    entries: &SortedMap<ConfigValue>,
    path: &FieldPath,
    other: &BTreeSet<&FieldPath>,
) -> SortedMap<ConfigValue> {
    let shown = entries.iter().filter_map(|(key, value)| {
        let path = path.key(key);
        let value = match value {
            ConfigValue::Table(inner) => ConfigValue::Table(shown_entries(inner, &path, other)),
            _ if other.contains(&path) => return None,
            value => value.clone(),
        };
        Some((key.clone(), value))
    });
    shown.collect()
}

fn declared_readback(case: &SourceCase<'_>) -> ReadbackMap {
    let leaves = case.source.definition.leaves().into_iter();
    let secret = leaves.filter(|(_, leaf)| matches!(leaf, LeafValue::Secret(_)));
    ReadbackMap::equal_except(secret.map(|(path, _)| (path, ReadbackState::Absent)).collect())
}
