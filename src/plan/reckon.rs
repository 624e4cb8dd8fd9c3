//! What became of writes that were never answered: the listing decides, never a guess.
//!
//! Every write is recorded as an intent before it is sent. An intent still open is a write whose
//! answer was lost (or whose process died). Once the platform must have settled, the listing tells
//! whether it was carried out. Nothing is ever sent again without this look.

use super::{carried::carried_out, listed::Listed, seen};
use crate::model::{
    Applied, Declaration, Fingerprint, FingerprintKey, Intent, IntentKind, Inventory, ObservedSource, Owned,
    Sent, SourceId, SourceName,
};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The inventory as the listing shows it to be.
#[derive(Debug, Clone, Default)]
pub struct Reckoning {
    /// The corrected inventory; intents that are still open stay in it.
    pub inventory: Inventory,
    /// What to record for it to be so.
    pub corrections: Vec<Correction>,
    /// Names whose last write may still be under way.
    pub pending: BTreeSet<SourceName>,
}

/// One thing the listing taught.
#[derive(Debug, Clone, PartialEq)]
pub enum Correction {
    /// The source is ours, so.
    Own(SourceName, Arc<Owned>),
    /// The source is gone.
    Disown(SourceName),
    /// The intent's outcome is known.
    Close(i64),
}

/// A request that was sent longer ago than this does not land any more.
const LATEST: SignedDuration = SignedDuration::from_hours(24);

/// So many connects of one name are remembered for their stamps.
const REMEMBERED: usize = 8;

/// What `connect` answered with success, by the intent's number: the id it gave, if it gave one.
pub type Answers = BTreeMap<i64, Option<SourceId>>;

/// Settles the open intents of a unit by a complete listing.
///
/// `settle` is how long a write may take to show. `answers` is empty after a crash.
#[must_use]
pub fn reckon(
    mut inventory: Inventory,
    listing: &[ObservedSource],
    answers: &Answers,
    key: &FingerprintKey,
    now: Timestamp,
    settle: SignedDuration,
) -> Reckoning {
    let intents = std::mem::take(&mut inventory.intents);
    let mut out = Reckoning { inventory, ..Reckoning::default() };
    let listed = Listed::by_name(listing);
    let stamps = listing.iter().any(|row| row.echo.fingerprint.is_some());
    for (number, intent) in intents {
        let rows = listed.of(&intent.name);
        let settled = now.duration_since(intent.recorded_at).abs() >= settle;
        let known = match &intent.kind {
            IntentKind::Connect(applied) => {
                let (stamp, answer) = (applied.stamp(key), answers.get(&number));
                let owned = out.inventory.owned.get(&intent.name);
                let sent = Connect { intent: &intent, applied, owned, stamp, answer, settled, stamps };
                match came_of(&sent, rows, key) {
                    Came::Row(row, superseded) => {
                        out.take(intent, stamp, row, superseded, key);
                        out.corrections.push(Correction::Close(number));
                        continue;
                    }
                    Came::Nothing if settled => {
                        out.give_up(&intent, stamp);
                        true
                    }
                    Came::Nothing | Came::Undecided => false,
                }
            }
            IntentKind::Cleanup(id) => cleaned_up(&mut out, &intent, id, rows, settled),
        };
        if known {
            out.corrections.push(Correction::Close(number));
        } else {
            out.pending.insert(intent.name.clone());
            out.inventory.intents.insert(number, intent);
        }
    }
    out.find_late_ones(&listed, now);
    out
}

/// A connect of one source, with what is known of its answer.
struct Connect<'a> {
    intent: &'a Intent,
    applied: &'a Applied,
    /// What is ours under its name.
    owned: Option<&'a Arc<Owned>>,
    /// What it bore.
    stamp: Fingerprint,
    answer: Option<&'a Option<SourceId>>,
    settled: bool,
    /// The platform shows our stamps.
    stamps: bool,
}

/// What came of a connect.
enum Came<'a> {
    /// This row; older ones of ours are superseded by it.
    Row(&'a ObservedSource, Vec<SourceId>),
    /// Nothing that shows.
    Nothing,
    /// That is not decided yet.
    Undecided,
}

fn came_of<'a>(sent: &Connect<'_>, rows: &[&'a ObservedSource], key: &FingerprintKey) -> Came<'a> {
    let Connect { intent, applied, owned, stamp, answer, settled, .. } = *sent;
    let answered_id = answer.and_then(Option::as_ref);
    let Some(appeared) = appeared(sent, rows) else { return Came::Undecided };
    // Ids that bore the name before are ours only where the inventory says so.
    let ours = |id: &&SourceId| {
        owned.is_some_and(|owned| owned.id.as_ref() == Some(id) || owned.superseded.contains(id))
    };
    let listed = |id: &&SourceId| rows.iter().any(|row| row.id.as_ref() == Some(id));
    let older: Vec<SourceId> = intent.before.iter().filter(ours).filter(listed).cloned().collect();
    match (appeared.as_slice(), rows) {
        // The name's only row stood there before: updated in place, not carried out, or not yet.
        ([], [row]) if row.id.as_ref().is_none_or(|id| intent.before.contains(id)) => {
            // What is shown may still be what stood there before.
            let in_place = (row.id.is_some() && answered_id == row.id.as_ref() && shows_nothing(row))
                || carried_out(applied, &stamp, owned.map(|owned| &owned.applied), row, key)
                || (settled && answer.is_some());
            if in_place { Came::Row(row, Vec::new()) } else { Came::Nothing }
        }
        ([], _) => Came::Nothing,
        // A row without an id cannot be told from one that stood there before.
        ([new], _) if rows.len() == 1 || rows.iter().all(|row| row.id.is_some()) => Came::Row(new, older),
        // Several appeared: one request delivered twice, or someone else's. Our keyed stamp proves
        // which are ours, and the answer's id names one.
        (several, _) => {
            let mut ours: Vec<&'a ObservedSource> = several
                .iter()
                .copied()
                .filter(|row| row.id.is_some())
                .filter(|row| {
                    row.id.as_ref() == answered_id
                        || row.echo.fingerprint.as_deref().is_some_and(|shown| stamp.reads(shown))
                })
                .collect();
            ours.sort_by_key(|row| (row.id.as_ref() != answered_id, row.id.clone()));
            match ours.split_first() {
                Some((keep, rest)) => {
                    let twins = rest.iter().filter_map(|row| row.id.clone());
                    Came::Row(keep, older.into_iter().chain(twins).collect())
                }
                None => Came::Nothing,
            }
        }
    }
}

/// The rows that came of the connect; `None` while that is not decided.
fn appeared<'a>(sent: &Connect<'_>, rows: &[&'a ObservedSource]) -> Option<Vec<&'a ObservedSource>> {
    let Connect { intent, stamp, answer, settled, stamps, .. } = *sent;
    let answered_id = answer.and_then(Option::as_ref);
    let new = |row: &&&ObservedSource| row.id.as_ref().is_none_or(|id| !intent.before.contains(id));
    let new: Vec<&ObservedSource> = rows.iter().filter(new).copied().collect();
    let told =
        |row: &&ObservedSource| (row.id.is_some() && row.id.as_ref() == answered_id) || may_be(&stamp, row);
    if answer.is_none() || new.is_empty() || new.iter().any(&told) {
        return Some(new.into_iter().filter(told).collect());
    }
    // A lagging list may show someone else's row before it shows ours. What the platform said it
    // connected is waited for; and if it shows no stamps at all, a new row is the one.
    settled.then(|| if stamps { Vec::new() } else { new })
}

/// Is there nothing against this row having come of the connect? Where the platform shows anything of
/// a definition, only our stamp speaks for it; where it shows nothing, the recorded intent does.
fn may_be(stamp: &Fingerprint, row: &ObservedSource) -> bool {
    match row.echo.fingerprint.as_deref() {
        Some(shown) => stamp.reads(shown),
        None => shows_nothing(row),
    }
}

fn shows_nothing(row: &ObservedSource) -> bool {
    let echo = &row.echo;
    echo.connection_config.is_none() && echo.metadata.is_none() && echo.fingerprint.is_none()
}

/// The connects lately sent under this name, with this one, recorded at `at`.
fn remembering(before: Option<&Owned>, at: Timestamp, stamp: Fingerprint) -> Vec<Sent> {
    let mut sent: Vec<Sent> = before.into_iter().flat_map(|owned| &owned.sent).cloned().collect();
    sent.retain(|other| other.stamp != stamp && at.duration_since(other.at) < LATEST);
    sent.push(Sent { stamp, at });
    let surplus = sent.len().saturating_sub(REMEMBERED);
    sent.drain(..surplus);
    sent
}

/// Returns whether the outcome is known.
fn cleaned_up(
    out: &mut Reckoning,
    intent: &Intent,
    id: &SourceId,
    rows: &[&ObservedSource],
    settled: bool,
) -> bool {
    if rows.iter().any(|row| row.id.as_ref() == Some(id)) {
        return settled;
    }
    if let Some(owned) = out.inventory.owned.get_mut(&intent.name) {
        if owned.id.as_ref() == Some(id) {
            out.inventory.owned.remove(&intent.name);
            out.corrections.push(Correction::Disown(intent.name.clone()));
        } else if owned.superseded.contains(id) {
            Arc::make_mut(owned).superseded.retain(|other| other != id);
            out.corrections.push(Correction::Own(intent.name.clone(), Arc::clone(owned)));
        }
    }
    true
}

impl Reckoning {
    /// Once the platform has settled, a connect that does not show counts as not carried out; should
    /// it land all the same, its stamp tells.
    fn give_up(&mut self, intent: &Intent, stamp: Fingerprint) {
        if let Some(owned) = self.inventory.owned.get_mut(&intent.name) {
            let remembered = remembering(Some(owned), intent.recorded_at, stamp);
            Arc::make_mut(owned).sent = remembered;
            self.corrections.push(Correction::Own(intent.name.clone(), Arc::clone(owned)));
        }
    }

    /// A connect may land, or land a second time, after its outcome was taken for known. A row that
    /// bears the stamp of one we lately sent under this very name is ours, and superseded.
    fn find_late_ones(&mut self, listed: &Listed<'_>, now: Timestamp) {
        for (name, owned) in &mut self.inventory.owned {
            let rows = listed.of(name);
            let stands = owned.id.is_some() && rows.iter().any(|row| row.id == owned.id);
            let is_late = |row: &&&ObservedSource| {
                let known =
                    row.id == owned.id || row.id.as_ref().is_none_or(|id| owned.superseded.contains(id));
                let ours = |sent: &Sent| {
                    row.echo.fingerprint.as_deref().is_some_and(|shown| sent.stamp.reads(shown))
                        && now.duration_since(sent.at) < LATEST
                };
                !known && owned.sent.iter().any(ours)
            };
            let late: Vec<SourceId> = rows.iter().filter(is_late).filter_map(|row| row.id.clone()).collect();
            if stands && !late.is_empty() && !self.pending.contains(name) {
                Arc::make_mut(owned).superseded.extend(late);
                self.corrections.push(Correction::Own(name.clone(), Arc::clone(owned)));
            }
        }
    }

    /// The row is ours, with the definition that the intent was to apply.
    fn take(
        &mut self,
        intent: Intent,
        stamp: Fingerprint,
        row: &ObservedSource,
        mut superseded: Vec<SourceId>,
        key: &FingerprintKey,
    ) {
        let Intent { name, key: source_key, kind, declared, recorded_at, .. } = intent;
        let IntentKind::Connect(applied) = kind else { return };
        let before = self.inventory.owned.get(&name);
        for id in before.iter().flat_map(|owned| &owned.superseded) {
            if !superseded.contains(id) && Some(id) != row.id.as_ref() {
                superseded.push(id.clone());
            }
        }
        let sent = remembering(before.map(|owned| &**owned), recorded_at, stamp);
        let (protect, declared_in, file, line) = match (declared, before) {
            (Some(Declaration { root, file, line, protect }), _) => {
                (protect, Some(root), Some(file), Some(line))
            }
            (None, Some(owned)) => (owned.protect, owned.declared_in.clone(), owned.file.clone(), owned.line),
            (None, None) => (false, None, None, None),
        };
        let owned = Arc::new(Owned {
            key: source_key,
            id: row.id.clone(),
            superseded,
            sent,
            applied: seen(Arc::unwrap_or_clone(applied), row, key),
            protect,
            declared_in,
            file,
            line,
        });
        self.corrections.push(Correction::Own(name.clone(), Arc::clone(&owned)));
        self.inventory.owned.insert(name, owned);
    }
}
