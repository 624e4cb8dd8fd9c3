//! What became of writes that were never answered: the listing decides, never a guess.
//!
//! Every write is recorded as an intent before it is sent. An intent still open is a write whose
//! answer was lost (or whose process died). Once the platform must have settled, the listing tells
//! whether it was carried out. Nothing is ever sent again without this look.

use super::{carried::carried_out, echo_of};
use crate::model::{
    Applied, Declaration, FingerprintKey, Intent, IntentKind, Inventory, ObservedSource, Owned, SourceId,
    SourceName,
};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;

/// The inventory as the listing shows it to be.
#[derive(Debug, Clone, Default)]
pub struct Reckoning {
    /// The corrected inventory; intents that are still open stay in it.
    pub inventory: Inventory,
    /// What to record for it to be so.
    pub corrections: Vec<Correction>,
    /// Names whose last write may still be under way.
    pub pending: Vec<SourceName>,
}

/// One thing the listing taught.
#[derive(Debug, Clone, PartialEq)]
pub enum Correction {
    /// The source is ours, so.
    Own(SourceName, Box<Owned>),
    /// The source is gone.
    Disown(SourceName),
    /// The intent's outcome is known.
    Close(i64),
}

/// What `connect` answered with success, by the intent's number: the id it gave, if it gave one.
pub type Answers = BTreeMap<i64, Option<SourceId>>;

/// Settles the open intents of a unit by a complete listing.
///
/// `settle` is how long a write may take to show. `answers` is empty after a crash.
#[must_use]
pub fn reckon(
    inventory: &Inventory,
    listing: &[ObservedSource],
    answers: &Answers,
    key: &FingerprintKey,
    now: Timestamp,
    settle: SignedDuration,
) -> Reckoning {
    let mut out = Reckoning { inventory: inventory.clone(), ..Reckoning::default() };
    out.inventory.intents.clear();
    let mut intents: Vec<&Intent> = inventory.intents.iter().collect();
    intents.sort_by_key(|intent| intent.number);
    let mut by_name: BTreeMap<&SourceName, Vec<&ObservedSource>> =
        intents.iter().map(|intent| (&intent.name, Vec::new())).collect();
    for row in listing {
        if let Some(rows) = by_name.get_mut(&row.name) {
            rows.push(row);
        }
    }
    for intent in intents {
        let rows = by_name.get(&intent.name).map_or(&[][..], Vec::as_slice);
        let settled = now.duration_since(intent.recorded_at).abs() >= settle;
        let known = match &intent.kind {
            IntentKind::Connect(applied) => {
                let sent = Sent { intent, applied, answer: answers.get(&intent.number), settled };
                connected(&mut out, &sent, rows, key)
            }
            IntentKind::Cleanup(id) => cleaned_up(&mut out, intent, id, rows, settled),
        };
        if known {
            out.corrections.push(Correction::Close(intent.number));
        } else {
            out.pending.push(intent.name.clone());
            out.inventory.intents.push(intent.clone());
        }
    }
    out
}

/// A connect of one source, with what is known of its answer.
struct Sent<'a> {
    intent: &'a Intent,
    applied: &'a Applied,
    answer: Option<&'a Option<SourceId>>,
    settled: bool,
}

/// Returns whether the outcome is known.
fn connected(out: &mut Reckoning, sent: &Sent<'_>, rows: &[&ObservedSource], key: &FingerprintKey) -> bool {
    let Sent { intent, applied, answer, settled } = *sent;
    let owned = out.inventory.owned.get(&intent.name);
    let answered_id = answer.and_then(Option::as_ref);
    let appeared: Vec<&ObservedSource> = rows
        .iter()
        .copied()
        .filter(|row| row.id.as_ref().is_none_or(|id| !intent.before.contains(id)))
        .collect();
    // Ids that bore the name before are ours only where the inventory says so.
    let ours = |id: &&SourceId| {
        owned.is_some_and(|owned| owned.id.as_ref() == Some(id) || owned.superseded.contains(id))
    };
    let listed = |id: &&SourceId| rows.iter().any(|row| row.id.as_ref() == Some(id));
    let older: Vec<SourceId> = intent.before.iter().filter(ours).filter(listed).cloned().collect();
    match (appeared.as_slice(), rows) {
        // The name's only row stood there before: updated in place, not carried out, or not yet.
        ([], [row]) => {
            let in_place = (row.id.is_some() && answered_id == row.id.as_ref())
                || carried_out(applied, owned.map(|owned| &owned.applied), row, key)
                || (settled && answer.is_some());
            if in_place {
                out.take(intent, applied, row, Vec::new(), key);
            }
            in_place || settled
        }
        ([], _) => settled,
        // A row without an id cannot be told from one that stood there before.
        ([new], _) if rows.len() == 1 || rows.iter().all(|row| row.id.is_some()) => {
            out.take(intent, applied, new, older, key);
            true
        }
        // Several appeared: one request delivered twice, or someone else's. Our keyed stamp proves
        // which are ours, and the answer's id names one.
        (several, _) => {
            let stamp = applied.stamp(key);
            let mut ours: Vec<&ObservedSource> = several
                .iter()
                .copied()
                .filter(|row| row.id.is_some())
                .filter(|row| {
                    row.id.as_ref() == answered_id || row.echo.fingerprint.as_deref() == Some(stamp.as_str())
                })
                .collect();
            ours.sort_by_key(|row| (row.id.as_ref() != answered_id, row.id.clone()));
            match ours.split_first() {
                Some((keep, rest)) => {
                    let twins = rest.iter().filter_map(|row| row.id.clone());
                    let superseded = older.into_iter().chain(twins).collect();
                    out.take(intent, applied, keep, superseded, key);
                    true
                }
                None => settled,
            }
        }
    }
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
            owned.superseded.retain(|other| other != id);
            out.corrections.push(Correction::Own(intent.name.clone(), Box::new(owned.clone())));
        }
    }
    true
}

impl Reckoning {
    /// The row is ours, with the definition that the intent was to apply.
    fn take(
        &mut self,
        intent: &Intent,
        applied: &Applied,
        row: &ObservedSource,
        mut superseded: Vec<SourceId>,
        key: &FingerprintKey,
    ) {
        let before = self.inventory.owned.get(&intent.name);
        for id in before.iter().flat_map(|owned| &owned.superseded) {
            if !superseded.contains(id) && Some(id) != row.id.as_ref() {
                superseded.push(id.clone());
            }
        }
        let owned = Owned {
            key: intent.key.clone(),
            id: row.id.clone(),
            superseded,
            applied: Applied { echo: echo_of(row, key), ..applied.clone() },
            protect: before.is_some_and(|owned| owned.protect),
            declared_in: before.and_then(|owned| owned.declared_in.clone()),
            file: before.and_then(|owned| owned.file.clone()),
            line: before.and_then(|owned| owned.line),
        };
        let owned = match intent.declared.clone() {
            Some(Declaration { root, file, line, protect }) => {
                Owned { protect, declared_in: Some(root), file: Some(file), line: Some(line), ..owned }
            }
            None => owned,
        };
        self.corrections.push(Correction::Own(intent.name.clone(), Box::new(owned.clone())));
        self.inventory.owned.insert(intent.name.clone(), owned);
    }
}
