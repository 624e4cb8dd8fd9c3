//! What came of one connect.

use super::Pending;
use crate::model::{Applied, Fingerprint, FingerprintKey, Intent, ObservedSource, Owned, SourceId};
use crate::plan::carried::{carried_out, shows_what_was_before};
use std::sync::Arc;

/// A connect of one source, with what is known of its answer.
pub(super) struct Connect<'a> {
    pub(super) intent: &'a Intent,
    pub(super) applied: &'a Applied,
    /// What is ours under its name.
    pub(super) owned: Option<&'a Arc<Owned>>,
    /// What it bore.
    pub(super) stamp: Fingerprint,
    /// The platform had time to settle since.
    pub(super) settled: bool,
    /// It was sent so long ago that nothing more is waited for.
    pub(super) expired: bool,
    /// The platform shows our stamps.
    pub(super) stamps: bool,
    /// The platform refused it: no row is taken for it on trust.
    pub(super) refused: bool,
}

/// What came of a connect.
pub(super) enum Came<'a> {
    /// This row; older ones of ours are superseded by it.
    Row(&'a ObservedSource, Vec<SourceId>),
    /// Nothing that shows.
    Nothing,
    /// That is not decided yet.
    Open(Pending),
}

impl Connect<'_> {
    fn answered_id(&self) -> Option<&SourceId> {
        self.intent.answer.as_ref()?.id.as_ref()
    }

    /// The platform said that it connected it, and not too long ago.
    fn is_waited_for(&self) -> bool {
        self.intent.answer.is_some() && !self.expired
    }

    /// A row that did not bear the name before.
    fn is_new(&self, row: &ObservedSource) -> bool {
        row.id.as_ref().is_none_or(|id| !self.intent.before.contains(id))
    }

    /// Does only our stamp show that a new row came of it? An answer that was lost leaves room for doubt where
    /// the row that is known as ours is listed beside, and none where the platform refused the connect.
    fn needs_proof(&self, rows: &[&ObservedSource]) -> bool {
        let known = self.owned.and_then(|owned| owned.id.as_ref());
        self.intent.answer.is_none()
            && (self.refused || known.is_some_and(|id| rows.iter().any(|row| row.id.as_ref() == Some(id))))
    }

    fn bears_our_stamp(&self, row: &ObservedSource) -> bool {
        row.echo.fingerprint.as_deref().is_some_and(|shown| self.stamp.reads(shown))
    }

    /// Ids that bore the name before and are listed. They are ours only where the inventory says so.
    fn older(&self, rows: &[&ObservedSource]) -> Vec<SourceId> {
        let ours = |id: &&SourceId| {
            self.owned.is_some_and(|owned| owned.id.as_ref() == Some(id) || owned.superseded.contains(id))
        };
        let listed = |id: &&SourceId| rows.iter().any(|row| row.id.as_ref() == Some(id));
        self.intent.before.iter().filter(ours).filter(listed).cloned().collect()
    }

    /// This row and no other; new ones that bear our stamp are twins of it.
    fn row<'a>(&self, keep: &'a ObservedSource, rows: &[&'a ObservedSource]) -> Came<'a> {
        let is_twin =
            |row: &&&ObservedSource| row.id != keep.id && self.is_new(row) && self.bears_our_stamp(row);
        let twins = rows.iter().filter(is_twin).filter_map(|row| row.id.clone());
        let older = self.older(rows).into_iter().filter(|id| keep.id.as_ref() != Some(id));
        Came::Row(keep, older.chain(twins).collect())
    }
}

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
        // Our stamp on a new row, or on the old one in the place of another, proves as much.
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

/// The platform named a row that bore the name before: it was updated in place, once the list shows it.
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

/// No answer tells which row it is.
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
        // The name's only row stood there before: updated in place, not carried out, or not yet.
        ([], [row]) if !sent.is_new(row) || row.id.is_none() => {
            let previous = sent.owned.map(|owned| &owned.applied);
            if carried_out(sent.applied, &sent.stamp, previous, row, key) {
                return Came::Row(row, Vec::new());
            }
            // What is shown may still be what stood there before.
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
        // A row without an id cannot be told from one that stood there before.
        ([new], _) if rows.len() == 1 || rows.iter().all(|row| row.id.is_some()) => sent.row(new, rows),
        // Several appeared: one request delivered twice, or someone else's. Our keyed stamp proves which are ours.
        (several, _) => {
            let stamped = several.iter().filter(|row| row.id.is_some() && sent.bears_our_stamp(row));
            stamped.min_by_key(|row| &row.id).map_or_else(nothing, |row| sent.row(row, rows))
        }
    }
}

/// The rows that came of the connect; `None` while that is not decided.
fn appeared<'a>(sent: &Connect<'_>, rows: &[&'a ObservedSource]) -> Option<Vec<&'a ObservedSource>> {
    let new: Vec<&ObservedSource> = rows.iter().filter(|row| sent.is_new(row)).copied().collect();
    let needs_proof = sent.needs_proof(rows);
    let told = |row: &&ObservedSource| may_be(sent, row, needs_proof);
    if sent.intent.answer.is_none() || new.is_empty() || new.iter().any(&told) {
        return Some(new.into_iter().filter(told).collect());
    }
    // A lagging list may show someone else's row before it shows ours. What the platform said it
    // connected is waited for; and if it shows no stamps at all, a new row is the one.
    sent.settled.then(|| if sent.stamps { Vec::new() } else { new })
}

/// Is there nothing against this row having come of the connect? Where the platform shows anything of
/// a definition, only our stamp speaks for it; where it shows nothing but a name and perhaps the type, the recorded
/// intent does, unless proof is needed.
fn may_be(sent: &Connect<'_>, row: &ObservedSource, needs_proof: bool) -> bool {
    let is_of_its_type = row.kind.as_ref().is_none_or(|kind| *kind == sent.applied.definition.kind);
    match row.echo.fingerprint.as_deref() {
        Some(shown) => sent.stamp.reads(shown),
        None => !needs_proof && is_of_its_type && shows_nothing(row),
    }
}

fn shows_nothing(row: &ObservedSource) -> bool {
    let echo = &row.echo;
    echo.connection_config.is_none() && echo.metadata.is_none() && echo.fingerprint.is_none()
}
