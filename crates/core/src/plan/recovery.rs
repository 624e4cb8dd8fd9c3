//! Recovery: decides the outcome of writes without a response by the listing.
//!
//! Every write is recorded as an intent before it is sent. An intent stays open until the listing shows its
//! outcome. A write whose response was lost (or whose process died) is decided once the platform must have
//! settled. A write that the platform reported as successful is awaited however long the list is out of date.
//! No write is sent again before this check, and evidence from a response or a row is kept for a day.

mod connect_outcome;
mod sent_connects;
mod unproven;

use super::WithheldReason;
use super::listing_index::{ListingIndex, without_shared_ids};
use crate::model::{
    FingerprintKey, Forgotten, Former, Intent, IntentKind, Inventory, ManagedSource, ObservedSource,
    SourceId, SourceName,
};
use connect_outcome::{ConnectOutcome, OpenConnect, connect_outcome};
use jiff::{SignedDuration, Timestamp};
use sent_connects::rename_to_sent;
use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;

pub use sent_connects::with_sent_names;
pub(super) use sent_connects::{is_accepted_writer, unconfirmed_connects};
pub use unproven::UNPROVEN_PERIOD;

/// The inventory, corrected by the listing.
#[derive(Debug, Clone, Default)]
pub struct Recovered {
    /// The corrected inventory; still contains the open intents.
    pub inventory: Inventory,
    /// Changes to record for these corrections.
    pub corrections: Vec<InventoryUpdate>,
    /// Intents whose connect was carried out according to the listing.
    pub applied_intents: BTreeSet<i64>,
    /// Names whose last write is still open, with the reason.
    pub pending: BTreeMap<SourceName, PendingWrite>,
}

/// The reason why a write is still open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PendingWrite {
    /// The response was lost; the platform gets time to settle.
    Settling,
    /// Reported as connected, with an id if given, but not listed yet.
    Unlisted(Option<SourceId>),
    /// Reported as connected, but nothing shows which of this number of rows it is.
    Ambiguous(usize),
    /// Reported as connected, but the list still shows the previous definition.
    Unchanged,
}

impl PendingWrite {
    /// Returns a stable code for scripts.
    #[must_use]
    pub fn code(&self) -> WithheldReason {
        match self {
            Self::Settling => WithheldReason::Settling,
            Self::Unlisted(_) | Self::Ambiguous(_) => WithheldReason::NotListed,
            Self::Unchanged => WithheldReason::NotUpdated,
        }
    }
}

impl fmt::Display for PendingWrite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Settling => {
                f.write_str("the response to the last write was lost; the platform is given time to settle")
            }
            Self::Unlisted(Some(id)) => {
                write!(f, "the platform answered that it connected it as {id}, and does not list that yet")
            }
            Self::Unlisted(None) => {
                f.write_str("the platform answered that it connected it, and does not list it yet")
            }
            Self::Ambiguous(rows) => write!(
                f,
                "the platform answered that it connected it, and lists {rows} sources of this name: nothing shows \
                 which of them it is"
            ),
            Self::Unchanged => f.write_str(
                "the platform answered that it connected it, and its list still shows the definition before",
            ),
        }
    }
}

/// One correction of the inventory.
#[derive(Debug, Clone, PartialEq)]
pub enum InventoryUpdate {
    /// The source is managed, with this entry.
    Manage(SourceName, Arc<ManagedSource>),
    /// The source is gone.
    Remove(SourceName),
    /// The list lacks the source; its entry is kept for a day.
    Forget(SourceName, Arc<ManagedSource>),
    /// A forgotten entry is no longer needed.
    DropForgotten(SourceName),
    /// Time since which the unit's lists are doubted for missing sources.
    ///
    /// `None` if trusted.
    SetDoubt(Option<Timestamp>),
    /// The outcome of the intent is known.
    Close(i64),
}

/// Age after which a lost request cannot take effect and a hidden row is gone.
const MAX_REQUEST_DELAY: SignedDuration = SignedDuration::from_hours(24);

/// Decides the open intents of a unit by a complete listing.
///
/// `settle` is the time after which a write without a response must be visible.
#[must_use]
pub fn recover(
    mut inventory: Inventory,
    listing: &[ObservedSource],
    key: &FingerprintKey,
    (now, settle): (Timestamp, SignedDuration),
) -> Recovered {
    let intents = std::mem::take(&mut inventory.intents);
    let mut out = Recovered { inventory, ..Recovered::default() };
    out.restore_forgotten(listing, key, now);
    let told = if intents.is_empty() { None } else { without_shared_ids(listing) };
    let listing = told.as_deref().unwrap_or(listing);
    let renamed = rename_to_sent(listing, &out.inventory);
    let listing = renamed.as_deref().unwrap_or(listing);
    let listed = ListingIndex::by_name(listing);
    let stamps = listing.iter().any(|row| row.echo.fingerprint.is_some());
    let by_id = OnceCell::new();
    let busy: Vec<SourceName> = intents.values().map(|intent| intent.name.clone()).collect();
    let removed: Vec<(SourceName, SourceId)> = intents.values().filter_map(removed_row).collect();
    for (number, intent) in intents {
        let rows = listed.rows(&intent.name);
        let age = now.duration_since(intent.recorded_at).abs();
        let known = match &intent.kind {
            IntentKind::Connect(applied) => {
                // A list that is out of date may still show a row that was removed to make room for this one.
                let is_removed = |row: &ObservedSource| {
                    let is_it = |(name, id): &(SourceName, SourceId)| {
                        *name == intent.name && row.id.as_ref() == Some(id)
                    };
                    removed.iter().any(is_it)
                };
                let left: Vec<&ObservedSource> =
                    rows.iter().copied().filter(|row| !is_removed(row)).collect();
                let rows = left.as_slice();
                let owned = out.inventory.managed.get(&intent.name);
                let sent = OpenConnect {
                    intent: &intent,
                    applied,
                    owned,
                    marker: applied.marker_fingerprint(key),
                    settle_elapsed: age >= settle,
                    expired: age >= MAX_REQUEST_DELAY,
                    returns_markers: stamps,
                };
                // The id in the response may be listed under a name that the platform chose.
                let overtaken = owned.is_some_and(|owned| is_superseded(&intent, owned));
                let elsewhere = |id: &SourceId| {
                    let by_id = by_id.get_or_init(|| ids_of(listing));
                    by_id.get(id).copied().filter(|row| {
                        !out.inventory.managed.contains_key(&row.name) && !busy.contains(&row.name)
                    })
                };
                match connect_outcome(&sent, rows, elsewhere, key) {
                    ConnectOutcome::Created(row, superseded) => {
                        let stamp = sent.marker;
                        out.record_created(intent, stamp, row, (superseded, rows), (key, now));
                        out.corrections.push(InventoryUpdate::Close(number));
                        out.applied_intents.insert(number);
                        continue;
                    }
                    ConnectOutcome::Undetermined(pending) if !overtaken => Err(pending),
                    ConnectOutcome::NotCreated | ConnectOutcome::Undetermined(_) => {
                        let stamp = sent.marker;
                        out.abandon(&intent, stamp, now);
                        Ok(())
                    }
                }
            }
            IntentKind::Cleanup(id) => {
                let makes_room = intent.answer.is_some() && out.has_open_connect(&intent.name);
                let settled = age >= settle && (!makes_room || age >= MAX_REQUEST_DELAY);
                resolve_cleanup(&mut out, &intent, id, rows, settled, now)
            }
        };
        match known {
            Ok(()) => out.corrections.push(InventoryUpdate::Close(number)),
            Err(pending) => {
                out.pending.insert(intent.name.clone(), pending);
                out.inventory.intents.insert(number, intent);
            }
        }
    }
    out.merge_forgotten_entries();
    out.claim_late_rows(&listed, key, now);
    out.settle_unproven(&listed, key, now);
    out
}

/// Closes these connects as not carried out, without a listing.
///
/// A row with the fingerprint of one of them is recognised as ours nevertheless, whenever it is listed.
#[must_use]
pub fn abandon(
    mut inventory: Inventory,
    numbers: &BTreeSet<i64>,
    key: &FingerprintKey,
    now: Timestamp,
) -> Recovered {
    let intents = std::mem::take(&mut inventory.intents);
    let mut out = Recovered { inventory, ..Recovered::default() };
    for (number, intent) in intents {
        match &intent.kind {
            IntentKind::Connect(applied) if numbers.contains(&number) => {
                out.abandon(&intent, applied.marker_fingerprint(key), now);
                out.corrections.push(InventoryUpdate::Close(number));
            }
            _ => {
                out.inventory.intents.insert(number, intent);
            }
        }
    }
    out
}

/// Returns the row that the platform reported as removed.
fn removed_row(intent: &Intent) -> Option<(SourceName, SourceId)> {
    match &intent.kind {
        IntentKind::Cleanup(id) if intent.answer.is_some() => Some((intent.name.clone(), id.clone())),
        _ => None,
    }
}

/// Returns true if a later connect of the same name was carried out.
fn is_superseded(intent: &Intent, owned: &ManagedSource) -> bool {
    owned.sent.last().is_some_and(|last| last.at > intent.recorded_at && last.applied.is_none())
}

/// Maps each id to its first row.
fn ids_of(listing: &[ObservedSource]) -> HashMap<&SourceId, &ObservedSource> {
    let mut ids = HashMap::with_capacity(listing.len());
    for row in listing {
        if let Some(id) = &row.id {
            ids.entry(id).or_insert(row);
        }
    }
    ids
}

impl Recovered {
    fn has_open_connect(&self, name: &SourceName) -> bool {
        let mut open = self.inventory.intents.values().filter(|intent| intent.name == *name);
        open.any(|intent| matches!(intent.kind, IntentKind::Connect(_)))
    }
}

fn resolve_cleanup(
    out: &mut Recovered,
    intent: &Intent,
    id: &SourceId,
    rows: &[&ObservedSource],
    settled: bool,
    now: Timestamp,
) -> Result<(), PendingWrite> {
    // A row without an id may be the one.
    if rows.iter().any(|row| row.id.as_ref().is_none_or(|shown| shown == id)) {
        return if settled { Ok(()) } else { Err(PendingWrite::Settling) };
    }
    if let Some(owned) = out.inventory.managed.get_mut(&intent.name) {
        if owned.id.as_ref() == Some(id) {
            // The list alone proves little, and a lost connect of this name may still show.
            let is_final = intent.answer.is_some() && owned.sent.iter().all(|sent| sent.applied.is_none());
            let gone = if is_final {
                InventoryUpdate::Remove(intent.name.clone())
            } else {
                InventoryUpdate::Forget(intent.name.clone(), Arc::clone(owned))
            };
            let managed = out.inventory.managed.remove(&intent.name);
            if let Some(managed) = managed.filter(|_| !is_final) {
                out.inventory.forgotten.insert(intent.name.clone(), Forgotten { since: now, managed });
            }
            out.corrections.push(gone);
        } else if owned.superseded.contains(id) {
            let next = Arc::make_mut(owned);
            next.superseded.retain(|other| other != id);
            if intent.answer.is_none() {
                next.former.push(Former { id: id.clone(), since: now });
            }
            out.corrections.push(InventoryUpdate::Manage(intent.name.clone(), Arc::clone(owned)));
        }
    }
    Ok(())
}
