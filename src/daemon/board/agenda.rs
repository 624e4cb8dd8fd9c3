//! What is due next, and how much is under way: known without a look at every unit.

use crate::model::Unit;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// When a pass is due, the most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PassDue {
    /// Its files were edited, and someone waits for it.
    Edited,
    /// It is to be looked at now.
    Wanted,
    /// Nothing is known to have happened; it is looked at all the same.
    At(Timestamp),
}

impl PassDue {
    fn has_come(self, now: Timestamp) -> bool {
        match self {
            Self::Edited | Self::Wanted => true,
            Self::At(at) => at <= now,
        }
    }
}

/// How one unit stands, as far as the others are concerned.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// `None` while a pass is under way.
    pub(super) pass: Option<PassDue>,
    /// From then on a firing is to be judged; `None` while a sync is under way.
    pub(super) sync: Option<Timestamp>,
    /// From then on data is stale, or is no more, that was not told of so.
    pub(super) turn: Option<Timestamp>,
    pub(super) tally: Tally,
}

/// Sums over all units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Units that the files declare.
    pub(super) units: usize,
    /// Their sources.
    pub(super) sources: usize,
    /// Those whose last pass was not good.
    pub(super) failing: usize,
    /// Passes under way.
    pub(super) passes: usize,
    /// Sync calls under way.
    pub(super) syncs: usize,
}

impl Tally {
    fn with(self, other: Self, sum: impl Fn(usize, usize) -> usize) -> Self {
        Self {
            units: sum(self.units, other.units),
            sources: sum(self.sources, other.sources),
            failing: sum(self.failing, other.failing),
            passes: sum(self.passes, other.passes),
            syncs: sum(self.syncs, other.syncs),
        }
    }
}

/// Every unit, listed by when something of it is due.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Agenda {
    passes: BTreeSet<(PassDue, Arc<Unit>)>,
    syncs: BTreeSet<(Timestamp, Arc<Unit>)>,
    turns: BTreeSet<(Timestamp, Arc<Unit>)>,
    tally: Tally,
}

impl Agenda {
    /// A unit stands otherwise than before.
    pub(super) fn relist(&mut self, unit: &Arc<Unit>, before: &Standing, now: &Standing) {
        relist(&mut self.passes, unit, before.pass, now.pass);
        relist(&mut self.syncs, unit, before.sync, now.sync);
        relist(&mut self.turns, unit, before.turn, now.turn);
        let added = self.tally.with(now.tally, |sum, new| sum + new);
        self.tally = added.with(before.tally, |sum, old| sum - old);
    }

    pub(super) fn tally(&self) -> Tally {
        self.tally
    }

    /// The most urgent units to pass over, of those that are due.
    pub(super) fn passes_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Unit>> {
        self.passes.iter().take_while(move |(due, _)| due.has_come(now)).map(|(_, unit)| unit)
    }

    /// Every unit that none passes over now, the most urgent first.
    pub(super) fn passes(&self) -> impl Iterator<Item = &Arc<Unit>> {
        self.passes.iter().map(|(_, unit)| unit)
    }

    /// When the next pass is due; what is due already is due now.
    pub(super) fn next_pass(&self, now: Timestamp) -> Option<Timestamp> {
        self.passes.first().map(|(due, _)| match due {
            PassDue::Edited | PassDue::Wanted => now,
            PassDue::At(at) => *at,
        })
    }

    /// The units with a firing to be judged.
    pub(super) fn syncs_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Unit>> {
        until(&self.syncs, now)
    }

    /// Every unit with a firing to come or to be judged, soonest first.
    pub(super) fn syncs(&self) -> impl Iterator<Item = &(Timestamp, Arc<Unit>)> {
        self.syncs.iter()
    }

    /// When the next firing comes.
    pub(super) fn next_sync(&self, now: Timestamp) -> Option<Timestamp> {
        after(&self.syncs, now)
    }

    /// The units with data that turned.
    pub(super) fn turns_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Unit>> {
        until(&self.turns, now)
    }

    /// When data turns next.
    pub(super) fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        after(&self.turns, now)
    }
}

type List = BTreeSet<(Timestamp, Arc<Unit>)>;

fn until(list: &List, now: Timestamp) -> impl Iterator<Item = &Arc<Unit>> {
    list.iter().take_while(move |(at, _)| *at <= now).map(|(_, unit)| unit)
}

/// Whatever has come already is not waited for.
fn after(list: &List, now: Timestamp) -> Option<Timestamp> {
    list.iter().map(|(at, _)| *at).find(|at| *at > now)
}

fn relist<T: Ord + Copy>(
    list: &mut BTreeSet<(T, Arc<Unit>)>,
    unit: &Arc<Unit>,
    before: Option<T>,
    now: Option<T>,
) {
    if before == now {
        return;
    }
    if let Some(before) = before {
        list.remove(&(before, Arc::clone(unit)));
    }
    if let Some(now) = now {
        list.insert((now, Arc::clone(unit)));
    }
}
