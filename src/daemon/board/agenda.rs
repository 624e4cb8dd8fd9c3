//! Due queue: index of due times and totals, which avoids scans over all units.

use crate::model::Unit;
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Due time of a pass, most urgent first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum PassDue {
    /// The files were edited, so a user is waiting.
    Edited,
    /// A pass was requested.
    Wanted,
    /// The regular check.
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

/// Due times and totals of one unit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Standing {
    /// `None` while a pass is running.
    pub(super) pass: Option<PassDue>,
    /// Time at which a firing must be evaluated; `None` while a sync is running.
    pub(super) sync: Option<Timestamp>,
    /// Time at which data becomes stale or fresh and has to be reported.
    pub(super) turn: Option<Timestamp>,
    pub(super) tally: Tally,
}

/// Totals over all units.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Declared units.
    pub(super) units: usize,
    /// Their sources.
    pub(super) sources: usize,
    /// Units whose last pass failed.
    pub(super) failing: usize,
    /// Passes that are running.
    pub(super) passes: usize,
    /// Sync requests that are running.
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

/// All units, ordered by due time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Agenda {
    passes: BTreeSet<(PassDue, Arc<Unit>)>,
    syncs: BTreeSet<(Timestamp, Arc<Unit>)>,
    turns: BTreeSet<(Timestamp, Arc<Unit>)>,
    tally: Tally,
}

impl Agenda {
    /// Updates the entries of a unit.
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

    /// Iterates over the units whose pass is due, most urgent first.
    pub(super) fn passes_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Unit>> {
        self.passes.iter().take_while(move |(due, _)| due.has_come(now)).map(|(_, unit)| unit)
    }

    /// Iterates over all units without a running pass, most urgent first.
    pub(super) fn passes(&self) -> impl Iterator<Item = &Arc<Unit>> {
        self.passes.iter().map(|(_, unit)| unit)
    }

    /// Returns when the next pass is due; `now` if one is due already.
    pub(super) fn next_pass(&self, now: Timestamp) -> Option<Timestamp> {
        self.passes.first().map(|(due, _)| match due {
            PassDue::Edited | PassDue::Wanted => now,
            PassDue::At(at) => *at,
        })
    }

    /// Iterates over the units with a firing to evaluate.
    pub(super) fn syncs_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Unit>> {
        until(&self.syncs, now)
    }

    /// Iterates over the units with a future or due firing, in order.
    pub(super) fn syncs(&self) -> impl Iterator<Item = &(Timestamp, Arc<Unit>)> {
        self.syncs.iter()
    }

    /// Returns the time of the next firing.
    pub(super) fn next_sync(&self, now: Timestamp) -> Option<Timestamp> {
        after(&self.syncs, now)
    }

    /// Iterates over the units with data that became stale or fresh.
    pub(super) fn turns_due(&self, now: Timestamp) -> impl Iterator<Item = &Arc<Unit>> {
        until(&self.turns, now)
    }

    /// Returns when data next becomes stale or fresh.
    pub(super) fn next_turn(&self, now: Timestamp) -> Option<Timestamp> {
        after(&self.turns, now)
    }
}

type List = BTreeSet<(Timestamp, Arc<Unit>)>;

fn until(list: &List, now: Timestamp) -> impl Iterator<Item = &Arc<Unit>> {
    list.iter().take_while(move |(at, _)| *at <= now).map(|(_, unit)| unit)
}

/// Returns the first time after `now`; earlier ones need no wake-up.
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
