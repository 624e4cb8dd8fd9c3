//! Sources that count as ours by their names alone.
//!
//! A platform that returns neither ids in responses nor markers shows by nothing but the name which row a connect
//! created. A list that is out of date, or truncated, hides our row and shows that of another. Therefore such a row
//! is neither replaced nor cleaned up until it has been the only one of its name for a while, and a second row of
//! the name makes neither ours.

use super::connect_outcome::could_be_ours;
use super::sent_connects::has_marker;
use super::{InventoryUpdate, Recovered};
use crate::model::{FingerprintKey, ManagedSource, ObservedSource, SourceName};
use crate::plan::listing_index::ListingIndex;
use jiff::{SignedDuration, Timestamp};
use std::sync::Arc;

/// Time for which a row must stay the only one of its name to be ours without other evidence.
pub const UNPROVEN_PERIOD: SignedDuration = SignedDuration::from_mins(1);

/// Result of another look at a source that counts as ours by its name alone.
enum UnprovenOutcome {
    /// Too early to say.
    Open,
    Ours,
    /// Another row of the name may be ours just as well.
    Ambiguous,
}

impl UnprovenOutcome {
    fn of(owned: &ManagedSource, rows: &[&ObservedSource], key: &FingerprintKey, now: Timestamp) -> Self {
        let is_it = |row: &&&ObservedSource| row.id.is_some() && row.id == owned.id;
        let is_older = |row: &&&ObservedSource| {
            row.id.as_ref().is_some_and(|id| {
                owned.superseded.contains(id) || owned.former.iter().any(|former| former.id == *id)
            })
        };
        let age = owned.unproven_since.map(|since| now.duration_since(since).abs());
        let is_rival =
            |row: &&&ObservedSource| !is_it(row) && !is_older(row) && could_be_ours(&owned.applied, row);
        if rows.iter().any(|row| is_rival(&row)) {
            return Self::Ambiguous;
        }
        let Some(row) = rows.iter().find(is_it) else { return Self::Open };
        // Few such rows show a marker, and its fingerprint is not cheap.
        let is_marked =
            row.echo.fingerprint.is_some() && has_marker(row, &owned.applied.marker_fingerprint(key));
        if is_marked || age.is_none_or(|age| age >= UNPROVEN_PERIOD) { Self::Ours } else { Self::Open }
    }
}

impl Recovered {
    /// Decides by another listing about sources that count as ours by their names alone.
    pub(super) fn settle_unproven(
        &mut self,
        listed: &ListingIndex<'_>,
        key: &FingerprintKey,
        now: Timestamp,
    ) {
        let is_open = |(name, owned): &(&SourceName, &Arc<ManagedSource>)| {
            owned.unproven_since.is_some() && !self.pending.contains_key(*name)
        };
        let unproven = self.inventory.managed.iter().filter(is_open);
        let looks: Vec<_> = unproven
            .map(|(name, owned)| (name.clone(), UnprovenOutcome::of(owned, listed.rows(name), key, now)))
            .collect();
        for (name, outcome) in looks {
            match outcome {
                UnprovenOutcome::Open => {}
                UnprovenOutcome::Ours => {
                    let Some(owned) = self.inventory.managed.get(&name) else { continue };
                    let owned = ManagedSource { unproven_since: None, ..ManagedSource::clone(owned) };
                    self.set_managed(name, owned);
                }
                UnprovenOutcome::Ambiguous => {
                    self.inventory.managed.remove(&name);
                    self.corrections.push(InventoryUpdate::Remove(name));
                }
            }
        }
    }
}
