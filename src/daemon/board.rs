//! Scheduler: decides which units are due for a pass and which sources for a sync.
//!
//! Uses no runtime. Due times are indexed, so that an iteration of the loop costs as much as what changed,
//! not as much as what exists: every change of a slot goes through [`Board::change`], which updates the
//! index.

mod agenda;
mod slot;
mod syncable;

use super::voice::After;
use crate::model::{DesiredUnit, SourceKey, SourceName, Unit};
use crate::plan::Barred;
use crate::reading::Asked;
use crate::reconcile::Task;
use crate::schedule::{Timing, Timings};
use crate::state::{LastRun, Spent, Trigger};
use crate::sync::Call;
use crate::tree::Checkout;
use agenda::Agenda;
use jiff::{SignedDuration, Timestamp};
use slot::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of concurrent passes.
///
/// Each holds the listing of its unit in memory. Equals the number of concurrent requests.
const MOST_PASSES: usize = 64;

/// Pause after a refused token, until one unit is tried again.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// All units, with their running and due work.
pub(super) struct Board {
    /// Maximum number of concurrent sync requests.
    ///
    /// Further due syncs wait here and not in the client: more sources of the unit may join the request by
    /// then.
    most_syncs: usize,
    slots: BTreeMap<Arc<Unit>, Slot>,
    agenda: Agenda,
    /// Firings that will not run and are not recorded yet.
    spent: Vec<(Arc<DesiredUnit>, Vec<Spent>)>,
    timings: Timings,
    pause: Option<Pause>,
    /// Number of passes that connected a source.
    arrivals: u64,
    /// Units with a removal that waits for a source of another unit.
    waiting: BTreeSet<Unit>,
}

/// State while the platform refuses the token.
struct Pause {
    until: Timestamp,
    /// The one unit that is tried in the meantime.
    probe: Option<Unit>,
}

/// A source whose data became stale or fresh.
pub(super) struct Turned {
    pub(super) unit: Arc<DesiredUnit>,
    pub(super) key: SourceKey,
    pub(super) name: SourceName,
    /// Time of the last successful sync.
    pub(super) last_success: Option<Timestamp>,
    pub(super) stale: bool,
    /// True if a sync succeeded since the data was reported as stale.
    pub(super) synced: bool,
}

/// Records that the scheduler needs after a pass.
pub(super) struct Records {
    /// Managed sources.
    pub(super) owned: BTreeMap<SourceName, Ownership>,
    /// Their last runs.
    pub(super) runs: BTreeMap<SourceName, LastRun>,
    /// Sources that were just connected or changed and sync at once.
    pub(super) at_once: Vec<(SourceName, Trigger)>,
}

/// The parts of a managed source that its syncs depend on.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Ownership {
    /// Time since which its schedule is in force.
    pub(super) scheduled_since: Option<Timestamp>,
    /// Time at which it was connected; tells apart two sources with one name.
    pub(super) connected_at: Option<Timestamp>,
}

/// The result of a pass.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) good: bool,
    /// The platform refused the token.
    pub(super) unauthorized: bool,
    /// Delay until the next pass, if requested.
    pub(super) again: Option<std::time::Duration>,
    /// Removals were withheld because the files are changing or one is unreadable.
    pub(super) waits_for_rest: bool,
    /// An action was deferred until the sync of the source ends.
    pub(super) waits_for_sync: bool,
    /// A removal waits until a source is connected in another workspace.
    pub(super) waits_for_arrival: bool,
    /// A source was connected, replaced or adopted.
    pub(super) connected: bool,
    pub(super) records: Option<Records>,
}

impl Board {
    /// Creates an empty scheduler.
    pub(super) fn new(most_syncs: usize) -> Self {
        Self {
            most_syncs,
            slots: BTreeMap::new(),
            agenda: Agenda::default(),
            spent: Vec::new(),
            timings: Timings::default(),
            pause: None,
            arrivals: 0,
            waiting: BTreeSet::new(),
        }
    }

    /// Sets the units to reconcile and returns those that are no longer declared.
    ///
    /// Units blocked by broken files keep their last good task. No unit counts as undeclared while the files
    /// are changing, or while a file may declare any unit.
    pub(super) fn accept(&mut self, mut asked: Asked, barred: Option<&Barred>, now: Timestamp) -> Vec<Unit> {
        for mut task in std::mem::take(&mut asked.tasks) {
            task.removals_barred = task.removals_barred.or_else(|| barred.cloned());
            let desired = Arc::clone(&task.desired);
            let moved = match self.slots.get_mut(&desired.unit) {
                Some(slot) => slot.accept(task),
                None => {
                    self.slots.insert(Arc::new(desired.unit.clone()), Slot::new(task, now));
                    true
                }
            };
            if moved {
                self.change(&desired.unit, now, |_| {});
            }
        }
        let all_stay = asked.stranger.is_some() || barred.is_some();
        let mut gone = Vec::new();
        for (unit, slot) in &mut self.slots {
            let declared = std::mem::take(&mut slot.declared);
            let stays = declared || all_stay || asked.holds(unit);
            if !stays && !std::mem::replace(&mut slot.gone, true) {
                gone.push((**unit).clone());
            }
        }
        for unit in &gone {
            self.change(unit, now, |_| {});
        }
        gone
    }

    /// Sets the Git checkout of the files; affects nothing that is due.
    pub(super) fn checked_out(&mut self, checkout: Option<&Arc<Checkout>>) {
        for slot in self.slots.values_mut() {
            slot.task.checkout = checkout.cloned();
        }
    }

    /// Requests a pass over every unit.
    pub(super) fn want_all(&mut self, now: Timestamp) {
        if let Some(pause) = &mut self.pause {
            pause.until = Timestamp::MIN;
        }
        self.change_all(now, |slot| {
            slot.wanted = true;
            slot.failures = 0;
        });
    }

    /// Pauses because the platform refuses the token.
    ///
    /// Returns true if not paused before.
    pub(super) fn pause(&mut self, now: Timestamp) -> bool {
        self.pause.replace(Pause { until: later(now, PAUSE), probe: None }).is_none()
    }

    /// Returns true if paused because the platform refuses the token.
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// Recomputes due times after the clock was set back; they may be far ahead now.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(later(now, PAUSE));
        }
        self.change_all(now, |slot| {
            slot.check_at = slot.check_at.min(now);
            slot.reckon_anew();
        });
    }

    /// Starts the passes that are due, up to the limit, and returns them.
    ///
    /// While the platform refuses the token, one unit at a time is tried.
    pub(super) fn passes_due(&mut self, now: Timestamp) -> Vec<Task> {
        let room = MOST_PASSES.saturating_sub(self.agenda.tally().passes);
        let due: Vec<Arc<Unit>> = match &self.pause {
            None => self.agenda.passes_due(now).take(room).cloned().collect(),
            Some(pause) if pause.probe.is_none() && pause.until <= now => {
                self.agenda.passes().take(1).cloned().collect()
            }
            Some(_) => Vec::new(),
        };
        if let (Some(pause), Some(unit)) = (&mut self.pause, due.first()) {
            pause.probe = Some((**unit).clone());
        }
        let arrivals = self.arrivals;
        due.iter().filter_map(|unit| self.change(unit, now, |slot| slot.begin_pass(arrivals))).collect()
    }

    /// Records the end of a pass; returns true if it found the token accepted again.
    pub(super) fn pass_ended(
        &mut self,
        unit: &Unit,
        ended: Ended,
        interval: SignedDuration,
        now: Timestamp,
    ) -> bool {
        let probe = self.pause.as_ref().is_some_and(|pause| pause.probe.as_ref() == Some(unit));
        let resumed = probe && !ended.unauthorized;
        let Ended { connected, waits_for_arrival, .. } = ended;
        self.arrivals += u64::from(connected);
        let arrivals = self.arrivals;
        let mut timings = std::mem::take(&mut self.timings);
        self.change(unit, now, |slot| slot.pass_ended(ended, (interval, arrivals), &mut timings, now));
        self.timings = timings;
        let others = if connected { std::mem::take(&mut self.waiting) } else { BTreeSet::new() };
        for other in others {
            self.change(&other, now, |slot| slot.wanted = true);
        }
        if waits_for_arrival {
            self.waiting.insert(unit.clone());
        }
        if resumed {
            self.pause = None;
            self.change_all(now, |slot| slot.wanted |= slot.failures > 0 || slot.check_at <= now);
        }
        resumed
    }

    /// Returns what to report after the pass of this unit that just ended.
    pub(super) fn after(&mut self, unit: &Unit) -> After {
        let Some(slot) = self.slots.get_mut(unit) else { return After::default() };
        let waits = slot.failures > 0 && !slot.wanted && self.pause.is_none();
        After { again: waits.then_some(slot.check_at), edited: std::mem::take(&mut slot.passing_edit) }
    }

    /// Requests passes over all failed units, because the platform is available again.
    pub(super) fn want_failed(&mut self, now: Timestamp) {
        self.change_all(now, |slot| slot.wanted |= slot.failures > 0);
    }

    /// Starts the syncs that are due, up to the limit, and returns their requests.
    ///
    /// A unit has at most one request at a time.
    pub(super) fn syncs_due(&mut self, now: Timestamp) -> Vec<Call> {
        let mut calls = Vec::new();
        while self.pause.is_none() && self.agenda.tally().syncs < self.most_syncs {
            let Some(unit) = self.agenda.syncs_due(now).next().cloned() else { break };
            calls.extend(self.change(&unit, now, |slot| slot.sync_due(now)).flatten());
        }
        calls
    }

    /// Records the end of a request; an action may have been deferred for it.
    pub(super) fn sync_ended(&mut self, call: &Call, now: Timestamp) {
        self.change(&call.unit, now, |slot| slot.sync_ended(call, now));
    }

    /// Restores the firings of a request that was not sent.
    pub(super) fn sync_not_sent(&mut self, call: &Call, now: Timestamp) {
        self.change(&call.unit, now, |slot| slot.sync_not_sent(call));
    }

    /// Records successful syncs.
    pub(super) fn refreshed<'a>(
        &mut self,
        unit: &Unit,
        names: impl IntoIterator<Item = &'a SourceName>,
        now: Timestamp,
    ) {
        self.change(unit, now, |slot| slot.refreshed(names, now));
    }

    /// Takes the firings that will not run.
    ///
    /// These must be recorded before anything is sent, or they reappear after a restart.
    pub(super) fn take_spent(&mut self) -> Vec<(Arc<DesiredUnit>, Vec<Spent>)> {
        std::mem::take(&mut self.spent)
    }

    /// Puts back firings that could not be recorded.
    pub(super) fn put_back_spent(&mut self, unit: Arc<DesiredUnit>, spent: Vec<Spent>) {
        self.spent.push((unit, spent));
    }

    /// Returns the sources whose data became stale or fresh since the last call.
    pub(super) fn turned(&mut self, now: Timestamp) -> Vec<Turned> {
        let due: Vec<Arc<Unit>> = self.agenda.turns_due(now).cloned().collect();
        due.iter().filter_map(|unit| self.change(unit, now, |slot| slot.turned(now))).flatten().collect()
    }

    /// Returns when something is next due, unless an event arrives earlier.
    ///
    /// Anything due already was started, or waits for other work to end.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        if let Some(pause) = &self.pause {
            return (pause.probe.is_none() && !self.slots.is_empty()).then_some(pause.until);
        }
        let under_way = self.agenda.tally();
        let pass = self.agenda.next_pass(now).filter(|_| under_way.passes < MOST_PASSES);
        let sync = self.agenda.next_sync(now).filter(|_| under_way.syncs < self.most_syncs);
        [pass, sync, self.agenda.next_turn(now)].into_iter().flatten().min()
    }

    /// Returns true if nothing is running and nothing is due.
    pub(super) fn is_at_rest(&self, now: Timestamp) -> bool {
        let due = self.agenda.passes_due(now).chain(self.agenda.syncs_due(now)).next();
        self.is_idle() && due.is_none()
    }

    /// Returns the next `most` firings of all schedules, in order.
    pub(super) fn upcoming(
        &self,
        now: Timestamp,
        most: usize,
    ) -> Vec<(Timestamp, &Task, &SourceKey, &Timing)> {
        let mut upcoming: Vec<(Timestamp, &Task, &SourceKey, &Timing)> = Vec::new();
        for (soonest, unit) in self.agenda.syncs() {
            // Neither this unit nor any after it has an earlier firing.
            if upcoming.len() == most && upcoming.last().is_some_and(|(at, ..)| at <= soonest) {
                break;
            }
            let Some(slot) = self.slots.get(unit) else { continue };
            let firings = slot.sources.iter().filter_map(|source| {
                Some((source.next_firing(now)?, &slot.task, &source.key, &source.timing))
            });
            upcoming.extend(firings);
            upcoming.sort_by(|a, b| (a.0, &a.1.desired.unit, a.2).cmp(&(b.0, &b.1.desired.unit, b.2)));
            upcoming.truncate(most);
        }
        upcoming
    }

    /// Returns the number of units, of declared sources, and of failed units.
    pub(super) fn tally(&self) -> (usize, usize, usize) {
        let tally = self.agenda.tally();
        (tally.units, tally.sources, tally.failing)
    }

    /// Iterates over the tasks of all declared units.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.slots.values().filter(|slot| !slot.gone).map(|slot| &slot.task)
    }

    /// Returns the next firings of a unit's scheduled sources.
    pub(super) fn schedules(
        &self,
        unit: &Unit,
        now: Timestamp,
    ) -> impl Iterator<Item = (&SourceName, Option<Timestamp>)> {
        let sources = self.slots.get(unit).into_iter().flat_map(|slot| &slot.sources);
        sources.map(move |source| (&source.name, source.next_firing(now)))
    }

    pub(super) fn task(&self, unit: &Unit) -> Option<&Task> {
        self.slots.get(unit).map(|slot| &slot.task)
    }

    /// Returns true if nothing is running.
    pub(super) fn is_idle(&self) -> bool {
        let tally = self.agenda.tally();
        tally.passes == 0 && tally.syncs == 0
    }

    /// Changes a slot and updates its due times in the index.
    fn change<T>(&mut self, unit: &Unit, now: Timestamp, change: impl FnOnce(&mut Slot) -> T) -> Option<T> {
        let (key, _) = self.slots.get_key_value(unit)?;
        let (key, slot) = (Arc::clone(key), self.slots.get_mut(unit)?);
        let value = change(slot);
        list(&mut self.agenda, &mut self.spent, &key, slot, now);
        if slot.is_over() {
            self.slots.remove(unit);
            self.forget_probe(unit);
        }
        Some(value)
    }

    /// Changes every slot.
    fn change_all(&mut self, now: Timestamp, change: impl Fn(&mut Slot)) {
        let mut over = Vec::new();
        for (unit, slot) in &mut self.slots {
            change(slot);
            list(&mut self.agenda, &mut self.spent, unit, slot, now);
            if slot.is_over() {
                over.push(Arc::clone(unit));
            }
        }
        for unit in over {
            self.slots.remove(&unit);
            self.forget_probe(&unit);
        }
    }

    /// Lets another unit be tried.
    fn forget_probe(&mut self, unit: &Unit) {
        if let Some(pause) = &mut self.pause {
            pause.probe.take_if(|probe| probe == unit);
        }
    }
}

fn list(
    agenda: &mut Agenda,
    spent: &mut Vec<(Arc<DesiredUnit>, Vec<Spent>)>,
    unit: &Arc<Unit>,
    slot: &mut Slot,
    now: Timestamp,
) {
    let standing = slot.stands(now);
    agenda.relist(unit, &slot.standing, &standing);
    slot.standing = standing;
    if !slot.spent.is_empty() {
        spent.push((slot.task.desired.open(), std::mem::take(&mut slot.spent)));
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
