//! Outcome of one connect.

use super::Pending;
use crate::model::{Applied, Fingerprint, FingerprintKey, Intent, ObservedSource, Owned, SourceId};
use crate::plan::carried::{carried_out, contradictions, shows_what_was_before};
use std::sync::Arc;

/// A connect of one source, with everything known about its response.
pub(super) struct Connect<'a> {
    pub(super) intent: &'a Intent,
    pub(super) applied: &'a Applied,
    /// Inventory entry of its name.
    pub(super) owned: Option<&'a Arc<Owned>>,
    /// Fingerprint in its ownership marker.
    pub(super) stamp: Fingerprint,
    /// True if the platform has had time to settle since.
    pub(super) settled: bool,
    /// True if it was sent so long ago that its effect is no longer awaited.
    pub(super) expired: bool,
    /// True if the platform returns our markers.
    pub(super) stamps: bool,
}

/// The outcome of a connect.
pub(super) enum Came<'a> {
    /// This row; our older rows are superseded by it.
    Row(&'a ObservedSource, Vec<SourceId>),
    /// No visible effect.
    Nothing,
    /// Not decided yet.
    Open(Pending),
}

impl Connect<'_> {
    fn answered_id(&self) -> Option<&SourceId> {
        self.intent.answer.as_ref()?.id.as_ref()
    }

    /// Returns true if the platform reported success, less than a day ago.
    fn is_waited_for(&self) -> bool {
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

    fn bears_our_stamp(&self, row: &ObservedSource) -> bool {
        row.echo.fingerprint.as_deref().is_some_and(|shown| self.stamp.reads(shown))
    }

    /// Returns the listed ids that had the name before and are managed.
    fn older(&self, rows: &[&ObservedSource]) -> Vec<SourceId> {
        let ours = |id: &&SourceId| {
            self.owned.is_some_and(|owned| owned.id.as_ref() == Some(id) || owned.superseded.contains(id))
        };
        let listed = |id: &&SourceId| rows.iter().any(|row| row.id.as_ref() == Some(id));
        self.intent.before.iter().filter(ours).filter(listed).cloned().collect()
    }

    /// Returns the outcome with this row.
    ///
    /// Other new rows with our marker are duplicates.
    fn row<'a>(&self, keep: &'a ObservedSource, rows: &[&'a ObservedSource]) -> Came<'a> {
        let is_twin =
            |row: &&&ObservedSource| row.id != keep.id && self.is_new(row) && self.bears_our_stamp(row);
        let twins = rows.iter().filter(is_twin).filter_map(|row| row.id.clone());
        let older = self.older(rows).into_iter().filter(|id| keep.id.as_ref() != Some(id));
        Came::Row(keep, older.chain(twins).collect())
    }
}

/// Decides the outcome of a connect.
///
/// `elsewhere` finds a row by its id under any name that is not ours.
pub(super) fn came_of<'a>(
    sent: &Connect<'_>,
    rows: &[&'a ObservedSource],
    elsewhere: impl Fn(&SourceId) -> Option<&'a ObservedSource>,
    key: &FingerprintKey,
) -> Came<'a> {
    let shows_ids = rows.is_empty() || rows.iter().any(|row| row.id.is_some());
    if let Some(id) = sent.answered_id().filter(|_| shows_ids) {
        if let Some(row) = rows.iter().find(|row| row.id.as_ref() == Some(id)) {
            return if sent.is_new(row) { sent.row(row, rows) } else { in_place(sent, row, rows, key) };
        }
        if let Some(row) = elsewhere(id) {
            return sent.row(row, rows);
        }
        // Our marker on a new row, or in place of another on the old row, proves as much.
        let proves = |row: &&&ObservedSource| {
            row.id.is_some()
                && sent.bears_our_stamp(row)
                && (sent.is_new(row)
                    || carried_out(
                        sent.applied,
                        &sent.stamp,
                        sent.owned.map(|owned| &owned.applied),
                        row,
                        key,
                    ))
        };
        if let Some(row) = rows.iter().find(proves) {
            return sent.row(row, rows);
        }
        if sent.is_waited_for() {
            return Came::Open(Pending::Unlisted(Some(id.clone())));
        }
    }
    without_an_id(sent, rows, key)
}

/// Decides a connect whose response names an existing row, updated in place.
fn in_place<'a>(
    sent: &Connect<'_>,
    row: &'a ObservedSource,
    rows: &[&'a ObservedSource],
    key: &FingerprintKey,
) -> Came<'a> {
    let previous = sent.owned.map(|owned| &owned.applied);
    if shows_nothing(row) || carried_out(sent.applied, &sent.stamp, previous, row, key) {
        return sent.row(row, rows);
    }
    let unchanged = shows_what_was_before(sent.applied, &sent.stamp, previous, row, key);
    match (unchanged, sent.settled) {
        (true, _) if sent.is_waited_for() => Came::Open(Pending::Unchanged),
        (true, _) => Came::Nothing,
        (false, true) => sent.row(row, rows),
        (false, false) => Came::Open(Pending::Settling),
    }
}

/// Decides a connect without an id in the response.
fn without_an_id<'a>(sent: &Connect<'_>, rows: &[&'a ObservedSource], key: &FingerprintKey) -> Came<'a> {
    let answered = sent.intent.answer.is_some();
    let undecided = || Came::Open(Pending::Settling);
    let nothing = || match (sent.is_waited_for(), sent.settled) {
        (_, false) => undecided(),
        (true, true) => Came::Open(Pending::Unlisted(None)),
        (false, true) => Came::Nothing,
    };
    let Some(appeared) = appeared(sent, rows) else { return undecided() };
    match (appeared.as_slice(), rows) {
        // The only row existed before: updated in place, not carried out, or not visible yet.
        ([], [row]) if !sent.is_new(row) || row.id.is_none() => {
            let previous = sent.owned.map(|owned| &owned.applied);
            if carried_out(sent.applied, &sent.stamp, previous, row, key) {
                return Came::Row(row, Vec::new());
            }
            // The row may still show the previous definition.
            let unchanged = shows_what_was_before(sent.applied, &sent.stamp, previous, row, key);
            match (sent.settled, answered, unchanged) {
                (true, true, false) => Came::Row(row, Vec::new()),
                (true, true, true) if sent.is_waited_for() => Came::Open(Pending::Unchanged),
                (true, ..) => Came::Nothing,
                (false, ..) => undecided(),
            }
        }
        ([], _) => {
            let proves = |row: &&&ObservedSource| {
                let previous = sent.owned.map(|owned| &owned.applied);
                row.id.is_some()
                    && !sent.is_new(row)
                    && sent.bears_our_stamp(row)
                    && carried_out(sent.applied, &sent.stamp, previous, row, key)
            };
            rows.iter().find(proves).map_or_else(nothing, |row| sent.row(row, rows))
        }
        // A row without an id cannot be distinguished from one that existed before.
        ([new], _) if rows.len() == 1 || rows.iter().all(|row| row.id.is_some()) => sent.row(new, rows),
        // Several rows appeared: one request delivered twice, or rows of others. Our keyed marker proves
        // which are ours.
        (several, _) => {
            let stamped = several.iter().filter(|row| row.id.is_some() && sent.bears_our_stamp(row));
            stamped
                .min_by_key(|row| (shows_another(sent.applied, row), &row.id))
                .map_or_else(nothing, |row| sent.row(row, rows))
        }
    }
}

/// Returns the rows created by the connect; `None` while that is undecided.
///
/// A name proves nothing: an outdated list hides rows of others and shows them later. A new row counts for its marker.
/// If the platform reported success and returns no markers, a new row that contradicts nothing is the one.
fn appeared<'a>(sent: &Connect<'_>, rows: &[&'a ObservedSource]) -> Option<Vec<&'a ObservedSource>> {
    let new: Vec<&ObservedSource> = rows.iter().filter(|row| sent.is_new(row)).copied().collect();
    let stamped: Vec<&ObservedSource> = new.iter().filter(|row| sent.bears_our_stamp(row)).copied().collect();
    if sent.intent.answer.is_none() || sent.stamps || new.is_empty() || !stamped.is_empty() {
        return Some(stamped);
    }
    // The row of another may be listed first.
    sent.settled.then(|| new.into_iter().filter(|row| may_be(sent.applied, row)).collect())
}

/// Returns true if nothing contradicts that this row came from the connect.
fn may_be(applied: &Applied, row: &ObservedSource) -> bool {
    let is_of_its_type = row.kind.as_ref().is_none_or(|kind| *kind == applied.definition.kind);
    is_of_its_type && !shows_another(applied, row)
}

/// Returns true if the row shows another definition than was applied.
pub(super) fn shows_another(applied: &Applied, row: &ObservedSource) -> bool {
    !contradictions(applied, row).is_empty()
}

fn shows_nothing(row: &ObservedSource) -> bool {
    let echo = &row.echo;
    echo.connection_config.is_none() && echo.metadata.is_none() && echo.fingerprint.is_none()
}
