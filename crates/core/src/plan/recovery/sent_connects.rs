//! Evidence kept for a day that a row is ours.
//!
//! Consists of fingerprints, ids from responses, older ids and forgotten sources.

use super::connect_outcome::{could_be_ours, shows_another};
use super::{InventoryUpdate, MAX_REQUEST_DELAY, Recovered, is_superseded};
use crate::model::{
    DeclarationHash, Fingerprint, FingerprintKey, Forgotten, Former, Intent, IntentKind, Inventory,
    LastApplied, ManagedSource, ObservedSource, SentConnect, SourceId, SourceName,
};
use crate::plan::applied::record_late_readback;
use crate::plan::listing_index::ListingIndex;
use crate::plan::record_readback;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of recent connects kept per source.
const MAX_SENT_CONNECTS: usize = 8;

/// Renames our rows from names that the platform chose to the names that were sent.
///
/// Returns `None` if there are none, the usual case.
pub(super) fn rename_to_sent(
    listing: &[ObservedSource],
    inventory: &Inventory,
) -> Option<Vec<ObservedSource>> {
    let renamed: BTreeMap<(&SourceName, &SourceId), &SourceName> = inventory
        .managed
        .iter()
        .filter_map(|(name, owned)| Some((owned.listed_as.as_ref()?, name, owned)))
        .flat_map(|(shown, name, owned)| {
            let former = owned.former.iter().map(|former| &former.id);
            let ids = owned.id.iter().chain(&owned.superseded).chain(former);
            ids.map(move |id| ((shown, id), name))
        })
        .collect();
    if renamed.is_empty() {
        return None;
    }
    let name_of = |row: &ObservedSource| renamed.get(&(&row.name, row.id.as_ref()?)).copied();
    Some(
        listing
            .iter()
            .map(|row| match name_of(row) {
                Some(name) => ObservedSource { name: name.clone(), ..row.clone() },
                None => row.clone(),
            })
            .collect(),
    )
}

/// Returns the listing with our rows under the names that were sent.
#[must_use]
pub fn with_sent_names(listing: Vec<ObservedSource>, inventory: &Inventory) -> Vec<ObservedSource> {
    rename_to_sent(&listing, inventory).unwrap_or(listing)
}

/// Returns the recent connects of this name including `sent`, in recorded order.
fn record_sent(before: Option<&ManagedSource>, sent: SentConnect) -> Vec<SentConnect> {
    let mut all: Vec<SentConnect> = before.into_iter().flat_map(|owned| &owned.sent).cloned().collect();
    let is_another =
        |other: &SentConnect| other.stamp != sent.stamp || (other.id.is_some() && other.id != sent.id);
    all.retain(|other| is_another(other) && sent.at.duration_since(other.at) < MAX_REQUEST_DELAY);
    let place = all.partition_point(|other| other.at <= sent.at);
    all.insert(place, sent);
    let surplus = all.len().saturating_sub(MAX_SENT_CONNECTS);
    all.drain(..surplus);
    all
}

impl Recovered {
    /// Records a connect as not carried out.
    ///
    /// If it takes effect nevertheless, its fingerprint or its id reveals that.
    pub(super) fn abandon(&mut self, intent: &Intent, stamp: Fingerprint, now: Timestamp) {
        let IntentKind::Connect(applied) = &intent.kind else { return };
        let id = intent.answer.as_ref().and_then(|answer| answer.id.clone());
        let sent = SentConnect { stamp, at: intent.recorded_at, id, applied: Some(Arc::clone(applied)) };
        if let Some(owned) = self.inventory.managed.get_mut(&intent.name) {
            let sent = record_sent(Some(owned), sent);
            Arc::make_mut(owned).sent = sent;
            self.corrections.push(InventoryUpdate::Manage(intent.name.clone(), Arc::clone(owned)));
            return;
        }
        let kept = self.inventory.forgotten.get(&intent.name).map(|kept| Arc::clone(&kept.managed));
        let mut owned = kept.unwrap_or_else(|| Arc::new(unlisted_entry(intent, applied)));
        let sent = record_sent(Some(&owned), sent);
        Arc::make_mut(&mut owned).sent = sent;
        self.corrections.push(InventoryUpdate::Forget(intent.name.clone(), Arc::clone(&owned)));
        self.inventory.forgotten.insert(intent.name.clone(), Forgotten { since: now, managed: owned });
    }

    /// Records the row as ours, with the definition of the intent.
    pub(super) fn record_created(
        &mut self,
        intent: Intent,
        stamp: Fingerprint,
        row: &ObservedSource,
        (mut superseded, rows): (Vec<SourceId>, &[&ObservedSource]),
        (key, now): (&FingerprintKey, Timestamp),
    ) {
        let before = self.inventory.managed.get(&intent.name).map(|owned| &**owned);
        let overtaken = before.is_some_and(|owned| is_superseded(&intent, owned));
        let Intent { name, key: source_key, kind, declared, recorded_at, answer, before: stood, .. } = intent;
        let IntentKind::Connect(applied) = kind else { return };
        let record_readback = if answer.is_some() { record_readback } else { record_late_readback };
        let answered = answer.and_then(|answer| answer.id);
        let is_proven = match &row.id {
            None => true,
            Some(id) => answered.as_ref() == Some(id) || stood.contains(id) || has_marker(row, &stamp),
        };
        let answered = answered.filter(|id| Some(id) != row.id.as_ref());
        let sent = SentConnect { stamp, at: recorded_at, id: answered, applied: None };
        if let (Some(before), Some(id), true) = (before, &row.id, overtaken) {
            // A newer row of ours is known already.
            let mut owned = before.clone();
            if before.id.as_ref() != Some(id) && !before.superseded.contains(id) {
                owned.superseded.push(id.clone());
            }
            return self.set_managed(name, owned);
        }
        for id in before.iter().flat_map(|owned| &owned.superseded) {
            if !superseded.contains(id) && Some(id) != row.id.as_ref() {
                superseded.push(id.clone());
            }
        }
        let (protect, declared_in, file, line) = match (declared, before) {
            (Some(DeclarationHash { root, file, line, protect }), _) => {
                (protect, Some(root), Some(file), Some(line))
            }
            (None, Some(owned)) => (owned.protect, owned.declared_in.clone(), owned.file.clone(), owned.line),
            (None, None) => (false, None, None, None),
        };
        let same = before.filter(|owned| owned.id == row.id);
        let unproven_since = match same {
            Some(owned) => owned.unproven_since.filter(|_| !has_marker(row, &stamp)),
            None => (!is_proven).then_some(now),
        };
        let mut applied = Arc::unwrap_or_clone(applied);
        if same.is_none() {
            // Earlier firings belonged to another source.
            applied.sync_since = applied.sync_since.max(Some(recorded_at));
        }
        let owned = ManagedSource {
            key: source_key,
            id: row.id.clone(),
            former: former_ids(before, &stood, row, rows, now),
            superseded,
            sent: record_sent(before, sent),
            listed_as: (row.name != name).then(|| row.name.clone()).or_else(|| before?.listed_as.clone()),
            taken_from: None,
            unproven_since,
            connected_at: same.map_or(Some(recorded_at), |owned| owned.connected_at),
            unidentified: false,
            applied: record_readback(applied, row, key),
            protect,
            declared_in,
            file,
            line,
        };
        self.set_managed(name, owned);
    }

    pub(super) fn set_managed(&mut self, name: SourceName, owned: ManagedSource) {
        let owned = Arc::new(owned);
        self.corrections.push(InventoryUpdate::Manage(name.clone(), Arc::clone(&owned)));
        self.inventory.managed.insert(name, owned);
    }

    /// Finds rows of connects that became visible after their outcome was decided.
    ///
    /// A row with the fingerprint or the id of a recent connect of this name is ours, and so is one with a
    /// former id. The one sent last is kept, the others are superseded. Superseded rows that are not listed
    /// become former ones.
    pub(super) fn claim_late_rows(
        &mut self,
        listed: &ListingIndex<'_>,
        key: &FingerprintKey,
        now: Timestamp,
    ) {
        let mut found = Vec::new();
        for (name, owned) in &self.inventory.managed {
            let remembers =
                !owned.sent.is_empty() || !owned.former.is_empty() || !owned.superseded.is_empty();
            if remembers && !self.pending.contains_key(name) {
                let next = with_late_rows(owned, listed.rows(name), key, now);
                found.extend(next.map(|next| (name.clone(), next)));
            }
        }
        for (name, owned) in found {
            self.set_managed(name, owned);
        }
    }

    /// Restores forgotten sources that are listed again and not managed, and drops expired ones.
    pub(super) fn restore_forgotten(
        &mut self,
        listing: &[ObservedSource],
        key: &FingerprintKey,
        now: Timestamp,
    ) {
        if self.inventory.forgotten.is_empty() {
            return;
        }
        let forgotten = std::mem::take(&mut self.inventory.forgotten);
        let listed = ListingIndex::by_name(listing);
        for (name, kept) in forgotten {
            let shown = kept.managed.listed_as.as_ref().unwrap_or(&name);
            if now.duration_since(kept.since).abs() >= MAX_REQUEST_DELAY {
                self.corrections.push(InventoryUpdate::DropForgotten(name));
                continue;
            }
            let is_managed = self.inventory.managed.contains_key(&name);
            let restored =
                if is_managed { None } else { restored_entry(&kept.managed, listed.rows(shown), key, now) };
            match restored {
                Some(owned) => {
                    self.set_managed(name.clone(), owned);
                    self.corrections.push(InventoryUpdate::DropForgotten(name));
                }
                None => drop(self.inventory.forgotten.insert(name, kept)),
            }
        }
    }

    /// Adds the evidence of forgotten entries to the managed ones of their names.
    pub(super) fn merge_forgotten_entries(&mut self) {
        let Inventory { forgotten, managed, .. } = &mut self.inventory;
        let both: Vec<_> = forgotten.extract_if(.., |name, _| managed.contains_key(name)).collect();
        for (name, kept) in both {
            let Some(owned) = self.inventory.managed.get(&name) else { continue };
            let merged = merge_forgotten(owned, &kept);
            self.set_managed(name.clone(), merged);
            self.corrections.push(InventoryUpdate::DropForgotten(name));
        }
    }
}

pub(super) fn has_marker(row: &ObservedSource, stamp: &Fingerprint) -> bool {
    row.echo.fingerprint.as_deref().is_some_and(|shown| stamp.eq_hex(shown))
}

/// Creates the entry of a source that was sent but never listed.
fn unlisted_entry(intent: &Intent, applied: &Arc<LastApplied>) -> ManagedSource {
    let declared = intent.declared.as_ref();
    ManagedSource {
        key: intent.key.clone(),
        id: None,
        superseded: Vec::new(),
        sent: Vec::new(),
        former: Vec::new(),
        listed_as: None,
        taken_from: None,
        unproven_since: None,
        connected_at: Some(intent.recorded_at),
        unidentified: false,
        applied: LastApplied::clone(applied),
        protect: declared.is_some_and(|declared| declared.protect),
        declared_in: declared.map(|declared| declared.root.clone()),
        file: declared.map(|declared| declared.file.clone()),
        line: declared.map(|declared| declared.line),
    }
}

/// Merges an entry with the forgotten one of the same name.
fn merge_forgotten(owned: &ManagedSource, kept: &Forgotten) -> ManagedSource {
    let mut owned = ManagedSource::clone(owned);
    let ids = kept.managed.id.iter().chain(&kept.managed.superseded);
    let former: Vec<&SourceId> = ids.filter(|id| owned.id.as_ref() != Some(id)).collect();
    owned.former.extend(former.into_iter().map(|id| Former { id: id.clone(), since: kept.since }));
    owned.sent.extend(kept.managed.sent.iter().cloned());
    owned.sent.sort_by_key(|sent| sent.at);
    let surplus = owned.sent.len().saturating_sub(MAX_SENT_CONNECTS);
    owned.sent.drain(..surplus);
    owned
}

/// Returns the entry of a forgotten source if a row shows that it exists.
fn restored_entry(
    kept: &ManagedSource,
    rows: &[&ObservedSource],
    key: &FingerprintKey,
    now: Timestamp,
) -> Option<ManagedSource> {
    if rows.iter().any(|row| is_written_by_other(kept, row)) {
        return None;
    }
    if rows.iter().any(|row| is_same_source(kept, row)) {
        return Some(kept.clone());
    }
    let is_late = |row: &&&ObservedSource| row.id.is_some() && is_connected_by_us(kept, row, now);
    let late: Vec<&ObservedSource> = rows.iter().filter(is_late).copied().collect();
    let (row, sent) = kept.sent.iter().rev().find_map(|sent| {
        let bears = |row: &&&ObservedSource| {
            let stamp = row.echo.fingerprint.as_deref();
            stamp.is_some_and(|shown| sent.stamp.eq_hex(shown)) || (sent.id.is_some() && sent.id == row.id)
        };
        Some((*late.iter().find(bears)?, sent))
    })?;
    let applied = sent.applied.as_deref()?.clone();
    let mut owned = kept.clone();
    owned.superseded =
        late.iter().filter(|other| other.id != row.id).filter_map(|other| other.id.clone()).collect();
    owned.id.clone_from(&row.id);
    owned.applied = record_late_readback(applied, row, key);
    Some(owned)
}

/// Returns the entry with all our rows included; `None` if it is complete already.
fn with_late_rows(
    owned: &ManagedSource,
    rows: &[&ObservedSource],
    key: &FingerprintKey,
    now: Timestamp,
) -> Option<ManagedSource> {
    let known: BTreeSet<&SourceId> = owned.id.iter().chain(&owned.superseded).collect();
    let is_late = |row: &&&ObservedSource| {
        row.id.as_ref().is_some_and(|id| !known.contains(id)) && is_connected_by_us(owned, row, now)
    };
    let late: Vec<&ObservedSource> = rows.iter().filter(is_late).copied().collect();
    let listed = |id: &SourceId| rows.iter().any(|row| row.id.as_ref().is_none_or(|shown| shown == id));
    let (superseded, hidden): (Vec<_>, Vec<_>) = owned.superseded.iter().cloned().partition(listed);
    if late.is_empty() && hidden.is_empty() {
        return None;
    }
    let mut next = ManagedSource { superseded, ..owned.clone() };
    next.superseded.extend(late.iter().filter_map(|row| row.id.clone()));
    next.former.extend(hidden.into_iter().map(|id| Former { id, since: now }));
    let superseded = &next.superseded;
    next.former.retain(|former| {
        !superseded.contains(&former.id) && now.duration_since(former.since).abs() < MAX_REQUEST_DELAY
    });
    promote(&mut next, &late, rows, key, now);
    replace_unlisted(&mut next, &late, rows, key, now);
    Some(next)
}

/// Returns true if we connected this row of our name.
fn is_connected_by_us(owned: &ManagedSource, row: &ObservedSource, now: Timestamp) -> bool {
    let lately = |at: Timestamp| now.duration_since(at).abs() < MAX_REQUEST_DELAY;
    let sent = |sent: &SentConnect| {
        let bears = row.echo.fingerprint.as_deref().is_some_and(|shown| sent.stamp.eq_hex(shown));
        lately(sent.at) && (bears || (sent.id.is_some() && sent.id == row.id))
    };
    let former = |former: &Former| lately(former.since) && row.id.as_ref() == Some(&former.id);
    owned.sent.iter().any(sent) || owned.former.iter().any(former)
}

/// Returns the connects without a confirmed outcome whose values this row may hold, the last one first.
///
/// Such a connect may have taken effect in place, and a row that returns neither marker nor secrets does not
/// show that. A connect that was confirmed later has replaced the values of those before it.
pub(in crate::plan) fn unconfirmed_connects<'a>(
    owned: &'a ManagedSource,
    row: &'a ObservedSource,
) -> impl Iterator<Item = &'a LastApplied> {
    let confirmed = owned.sent.iter().rposition(|sent| sent.applied.is_none());
    let after = confirmed.map_or(0, |place| place + 1);
    owned.sent.iter().enumerate().rev().filter_map(move |(place, sent)| {
        let applied = sent.applied.as_deref()?;
        let may_hold = match &row.echo.fingerprint {
            Some(_) => has_marker(row, &sent.stamp),
            None => place >= after && could_be_ours(applied, row),
        };
        let is_another = sent.id.is_some() && sent.id != row.id;
        if may_hold && !is_another { Some(applied) } else { None }
    })
}

/// Returns true if this state wrote the source, or is the one it was adopted from.
pub(in crate::plan) fn is_accepted_writer(owned: &ManagedSource, writer: &str) -> bool {
    writer == owned.applied.key_id || owned.taken_from.as_deref() == Some(writer)
}

/// Returns true if another state wrote this row.
fn is_written_by_other(owned: &ManagedSource, row: &ObservedSource) -> bool {
    row.echo.writer.as_deref().is_some_and(|writer| !is_accepted_writer(owned, writer))
}

/// Returns true if id and type are unchanged.
fn is_same_source(owned: &ManagedSource, row: &ObservedSource) -> bool {
    row.id.is_some()
        && row.id == owned.id
        && row.kind.as_ref().is_none_or(|kind| *kind == owned.applied.definition.kind)
}

/// Makes a late row the current one if its connect was the last one sent.
fn promote(
    owned: &mut ManagedSource,
    late: &[&ObservedSource],
    rows: &[&ObservedSource],
    key: &FingerprintKey,
    now: Timestamp,
) {
    let Some(last) = owned.sent.last() else { return };
    // The row that counts as updated in place shows something else: the list was out of date.
    let is_contradicted = rows.iter().any(|row| row.id == owned.id && shows_another(&owned.applied, row));
    // Either assumed not carried out or in place, or visible under an id that the platform did not report.
    let same =
        || (last.stamp == owned.applied.marker_fingerprint(key)).then(|| Arc::new(owned.applied.clone()));
    let is_doubted = last.id.is_some() || is_contradicted;
    let Some(applied) = last.applied.clone().or_else(|| same().filter(|_| is_doubted)) else { return };
    let is_it = |row: &&&ObservedSource| {
        let proves = last.applied.is_some() || (is_contradicted && !shows_another(&applied, row));
        (proves && has_marker(row, &last.stamp)) || (last.id.is_some() && last.id == row.id)
    };
    let Some(row) = late.iter().find(is_it) else { return };
    let at = last.at;
    if now.duration_since(at).abs() >= MAX_REQUEST_DELAY {
        return;
    }
    owned.superseded.retain(|id| Some(id) != row.id.as_ref());
    owned.superseded.extend(owned.id.take());
    owned.id.clone_from(&row.id);
    owned.applied = record_late_readback(Arc::unwrap_or_clone(applied), row, key);
    owned.connected_at = Some(at);
    if let Some(last) = owned.sent.last_mut() {
        (last.applied, last.id) = (None, None);
    }
}

/// Returns our unlisted ids that had the name before; a list may show them again.
fn former_ids(
    before: Option<&ManagedSource>,
    stood: &[SourceId],
    row: &ObservedSource,
    rows: &[&ObservedSource],
    now: Timestamp,
) -> Vec<Former> {
    let Some(before) = before else { return Vec::new() };
    let listed = |id: &SourceId| rows.iter().any(|row| row.id.as_ref() == Some(id));
    let mut former: Vec<Former> = before
        .former
        .iter()
        .filter(|former| {
            now.duration_since(former.since).abs() < MAX_REQUEST_DELAY && Some(&former.id) != row.id.as_ref()
        })
        .cloned()
        .collect();
    let ours =
        before.id.iter().filter(|id| stood.contains(id) && Some(*id) != row.id.as_ref() && !listed(id));
    for id in ours {
        if !former.iter().any(|known| known.id == *id) {
            former.push(Former { id: id.clone(), since: now });
        }
    }
    former
}

/// Replaces our unlisted row by a listed one with the same fingerprint.
fn replace_unlisted(
    owned: &mut ManagedSource,
    late: &[&ObservedSource],
    rows: &[&ObservedSource],
    key: &FingerprintKey,
    now: Timestamp,
) {
    if owned.id.is_none() || rows.iter().any(|row| row.id == owned.id) {
        return;
    }
    let stamp = owned.applied.marker_fingerprint(key);
    let bears =
        |row: &&&ObservedSource| row.echo.fingerprint.as_deref().is_some_and(|shown| stamp.eq_hex(shown));
    let stamped = late.iter().filter(bears);
    let Some(row) = stamped.min_by_key(|row| shows_another(&owned.applied, row)) else { return };
    owned.superseded.retain(|id| Some(id) != row.id.as_ref());
    owned.former.extend(owned.id.take().map(|id| Former { id, since: now }));
    owned.id.clone_from(&row.id);
}
