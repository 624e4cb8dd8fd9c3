//! Outcome of one connect.

use super::PendingWrite;
use crate::model::{
    Fingerprint, FingerprintKey, Intent, LastApplied, ManagedSource, ObservedSource, SourceId,
};
use crate::plan::applied::{contradictions, shows_previous, was_applied};
use std::sync::Arc;

/// A connect of one source, with everything known about its response.
pub(super) struct OpenConnect<'a> {
    pub(super) intent: &'a Intent,
    pub(super) applied: &'a LastApplied,
    /// Inventory entry of its name.
    pub(super) owned: Option<&'a Arc<ManagedSource>>,
    pub(super) marker: Fingerprint,
    /// True if the platform has had time to settle since.
    pub(super) settle_elapsed: bool,
    /// True if it was sent so long ago that its effect is no longer awaited.
    pub(super) expired: bool,
    /// True if the platform returns our markers.
    pub(super) returns_markers: bool,
}

pub(super) enum ConnectOutcome<'a> {
    /// This row; our older rows are superseded by it.
    Created(&'a ObservedSource, Vec<SourceId>),
    /// No visible effect.
    NotCreated,
    /// Not decided yet.
    Undetermined(PendingWrite),
}

impl OpenConnect<'_> {
    fn response_id(&self) -> Option<&SourceId> {
        self.intent.answer.as_ref()?.id.as_ref()
    }

    /// Returns true if the platform reported success, less than a day ago.
    fn is_awaited(&self) -> bool {
        self.intent.answer.is_some() && !self.expired
    }

    /// Returns true if the row did not have this name before the connect.
    ///
    /// A row without an id is new only if nothing of ours had the name.
    fn is_new(&self, row: &ObservedSource) -> bool {
        match &row.id {
            Some(id) => !self.intent.before.contains(id),
            None => self.owned.is_none(),
        }
    }

    /// Returns true if the list behind the connect may have hidden this row of another, as it hid our own.
    fn may_have_been_hidden(&self, row: &ObservedSource, rows: &[&ObservedSource]) -> bool {
        self.intent.list_lacked_ours && !self.has_our_marker(row) && !self.older_ids(rows).is_empty()
    }

    fn has_our_marker(&self, row: &ObservedSource) -> bool {
        row.echo.fingerprint.as_deref().is_some_and(|shown| self.marker.eq_hex(shown))
    }

    /// Returns true if our marker on this older row proves that the connect updated it in place.
    ///
    /// An earlier connect may have left the same marker on a superseded row.
    fn is_updated(&self, row: &ObservedSource, key: &FingerprintKey) -> bool {
        let previous = self.owned.map(|owned| &owned.applied);
        let bore_it = self.owned.is_some_and(|owned| {
            owned.id != row.id && owned.sent.iter().any(|sent| sent.stamp == self.marker)
        });
        row.id.is_some()
            && self.has_our_marker(row)
            && !bore_it
            && was_applied(self.applied, &self.marker, previous, row, key)
    }

    /// Returns true if this older managed row has the sent values, and the row to be replaced still has others.
    ///
    /// The platform may have updated it instead, once it reported success and had time to settle.
    fn is_held_instead(&self, row: &ObservedSource, rows: &[&ObservedSource]) -> bool {
        let current = self.owned.and_then(|owned| owned.id.as_ref());
        let is_unchanged =
            |other: &&&ObservedSource| other.id.as_ref() == current && shows_another(self.applied, other);
        self.intent.answer.is_some()
            && self.settle_elapsed
            && !self.is_new(row)
            && self.has_our_marker(row)
            && !shows_another(self.applied, row)
            && rows.iter().any(|other| is_unchanged(&other))
    }

    /// Returns the listed ids that had the name before and are managed.
    fn older_ids(&self, rows: &[&ObservedSource]) -> Vec<SourceId> {
        let ours = |id: &&SourceId| {
            self.owned.is_some_and(|owned| owned.id.as_ref() == Some(id) || owned.superseded.contains(id))
        };
        let listed = |id: &&SourceId| rows.iter().any(|row| row.id.as_ref() == Some(id));
        self.intent.before.iter().filter(ours).filter(listed).cloned().collect()
    }

    /// Returns the outcome with this row.
    ///
    /// Other new rows with our marker are duplicates.
    fn created_as<'a>(&self, keep: &'a ObservedSource, rows: &[&'a ObservedSource]) -> ConnectOutcome<'a> {
        let is_twin =
            |row: &&&ObservedSource| row.id != keep.id && self.is_new(row) && self.has_our_marker(row);
        let twins = rows.iter().filter(is_twin).filter_map(|row| row.id.clone());
        let older = self.older_ids(rows).into_iter().filter(|id| keep.id.as_ref() != Some(id));
        ConnectOutcome::Created(keep, older.chain(twins).collect())
    }
}

/// Decides the outcome of a connect.
///
/// `elsewhere` finds a row by its id under any name that is not ours.
pub(super) fn connect_outcome<'a>(
    sent: &OpenConnect<'_>,
    rows: &[&'a ObservedSource],
    elsewhere: impl Fn(&SourceId) -> Option<&'a ObservedSource>,
    key: &FingerprintKey,
) -> ConnectOutcome<'a> {
    let shows_ids = rows.is_empty() || rows.iter().any(|row| row.id.is_some());
    if let Some(id) = sent.response_id().filter(|_| shows_ids) {
        if let Some(row) = rows.iter().find(|row| row.id.as_ref() == Some(id)) {
            return if sent.is_new(row) {
                sent.created_as(row, rows)
            } else {
                updated_in_place(sent, row, rows, key)
            };
        }
        if let Some(row) = elsewhere(id) {
            return sent.created_as(row, rows);
        }
        // Our marker on a new row, or in place of another on the old row, proves as much.
        let is_created =
            |row: &ObservedSource| row.id.is_some() && sent.is_new(row) && sent.has_our_marker(row);
        let created = rows.iter().filter(|row| is_created(row) || sent.is_updated(row, key));
        if let Some(row) = created.min_by_key(|row| shows_another(sent.applied, row)) {
            return sent.created_as(row, rows);
        }
        if sent.is_awaited() {
            return ConnectOutcome::Undetermined(PendingWrite::Unlisted(Some(id.clone())));
        }
    }
    find_without_id(sent, rows, key)
}

/// Decides a connect whose response names an existing row, updated in place.
fn updated_in_place<'a>(
    sent: &OpenConnect<'_>,
    row: &'a ObservedSource,
    rows: &[&'a ObservedSource],
    key: &FingerprintKey,
) -> ConnectOutcome<'a> {
    let previous = sent.owned.map(|owned| &owned.applied);
    if lists_no_readback(row) || was_applied(sent.applied, &sent.marker, previous, row, key) {
        return sent.created_as(row, rows);
    }
    let unchanged = shows_previous(sent.applied, &sent.marker, previous, row, key);
    match (unchanged, sent.settle_elapsed) {
        (true, _) if sent.is_awaited() => ConnectOutcome::Undetermined(PendingWrite::Unchanged),
        (true, _) => ConnectOutcome::NotCreated,
        (false, true) => sent.created_as(row, rows),
        (false, false) => ConnectOutcome::Undetermined(PendingWrite::Settling),
    }
}

/// Decides a connect without an id in the response.
fn find_without_id<'a>(
    sent: &OpenConnect<'_>,
    rows: &[&'a ObservedSource],
    key: &FingerprintKey,
) -> ConnectOutcome<'a> {
    let answered = sent.intent.answer.is_some();
    let undecided = || ConnectOutcome::Undetermined(PendingWrite::Settling);
    let nothing = || match (sent.is_awaited(), sent.settle_elapsed) {
        (_, false) => undecided(),
        (true, true) => ConnectOutcome::Undetermined(PendingWrite::Unlisted(None)),
        (false, true) => ConnectOutcome::NotCreated,
    };
    let Some(appeared) = find_created_rows(sent, rows) else { return undecided() };
    match (appeared.as_slice(), rows) {
        // The only row existed before: updated in place, not carried out, or not visible yet.
        ([], [row]) if !sent.is_new(row) || row.id.is_none() => {
            let previous = sent.owned.map(|owned| &owned.applied);
            if was_applied(sent.applied, &sent.marker, previous, row, key) {
                return ConnectOutcome::Created(row, Vec::new());
            }
            // The row may still show the previous definition.
            let unchanged = shows_previous(sent.applied, &sent.marker, previous, row, key);
            match (sent.settle_elapsed, answered, unchanged) {
                (true, true, false) => ConnectOutcome::Created(row, Vec::new()),
                (true, true, true) if sent.is_awaited() => {
                    ConnectOutcome::Undetermined(PendingWrite::Unchanged)
                }
                (true, ..) => ConnectOutcome::NotCreated,
                (false, ..) => undecided(),
            }
        }
        ([], _) => {
            let updated = rows.iter().find(|row| !sent.is_new(row) && sent.is_updated(row, key));
            let updated = updated.or_else(|| rows.iter().find(|row| sent.is_held_instead(row, rows)));
            updated.map_or_else(nothing, |row| sent.created_as(row, rows))
        }
        // A row without an id cannot be distinguished from one that existed before.
        ([new], _)
            if (rows.len() == 1 || rows.iter().all(|row| row.id.is_some()))
                && !sent.may_have_been_hidden(new, rows) =>
        {
            sent.created_as(new, rows)
        }
        // Several rows appeared: one request delivered twice, or rows of others. Our keyed marker proves
        // which are ours.
        (several, _) => {
            let stamped = several.iter().filter(|row| row.id.is_some() && sent.has_our_marker(row));
            let best = stamped.min_by_key(|row| (shows_another(sent.applied, row), &row.id));
            match best {
                Some(row) => sent.created_as(row, rows),
                None if sent.settle_elapsed && sent.is_awaited() => {
                    ConnectOutcome::Undetermined(PendingWrite::Ambiguous(rows.len()))
                }
                None => nothing(),
            }
        }
    }
}

/// Returns the rows created by the connect; `None` while that is undecided.
///
/// A name proves nothing: an outdated list hides rows of others and shows them later. A new row counts for its marker.
/// If the platform reported success and returns no markers, a new row that contradicts nothing is the one.
fn find_created_rows<'a>(
    sent: &OpenConnect<'_>,
    rows: &[&'a ObservedSource],
) -> Option<Vec<&'a ObservedSource>> {
    let new: Vec<&ObservedSource> = rows.iter().filter(|row| sent.is_new(row)).copied().collect();
    let stamped: Vec<&ObservedSource> = new.iter().filter(|row| sent.has_our_marker(row)).copied().collect();
    if sent.intent.answer.is_none() || sent.returns_markers || new.is_empty() || !stamped.is_empty() {
        return Some(stamped);
    }
    // The row of another may be listed first.
    sent.settle_elapsed.then(|| new.into_iter().filter(|row| could_be_ours(sent.applied, row)).collect())
}

/// Returns true if nothing contradicts that this row came from the connect.
pub(super) fn could_be_ours(applied: &LastApplied, row: &ObservedSource) -> bool {
    let is_of_its_type = row.kind.as_ref().is_none_or(|kind| *kind == applied.definition.kind);
    is_of_its_type && !shows_another(applied, row)
}

/// Returns true if the row shows another definition than was applied.
pub(super) fn shows_another(applied: &LastApplied, row: &ObservedSource) -> bool {
    !contradictions(applied, row).is_empty()
}

fn lists_no_readback(row: &ObservedSource) -> bool {
    let echo = &row.echo;
    echo.fingerprint.is_none() && echo.connection_config().is_none() && echo.metadata().is_none()
}
