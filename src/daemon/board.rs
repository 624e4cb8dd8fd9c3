//! Which unit is due for a pass, and which source for a sync: decisions without a runtime.

mod slot;
mod syncable;

use super::voice::After;
use crate::model::{DesiredUnit, SourceKey, SourceName, Unit};
use crate::plan::Barred;
use crate::reading::Asked;
use crate::reconcile::Task;
use crate::schedule::{Freshness, Timing};
use crate::state::{LastRun, Spent, Trigger};
use crate::sync::Call;
use jiff::{SignedDuration, Timestamp};
use slot::Slot;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use syncable::Syncable;

/// The most passes at once. Each holds a listing of its unit in memory. As many as calls are under way.
const MOST_PASSES: usize = 64;

/// After a refused token nothing is tried for this long; then one unit is.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// Every unit, with what is under way and what is due.
#[derive(Default)]
pub(super) struct Board {
    slots: BTreeMap<Unit, Slot>,
    pause: Option<Pause>,
}

/// The platform refuses our token.
struct Pause {
    until: Timestamp,
    /// The one unit that is tried meanwhile.
    probe: Option<Unit>,
}

/// A source whose data became stale, or is fresh again.
pub(super) struct Turned {
    pub(super) unit: Arc<DesiredUnit>,
    pub(super) key: SourceKey,
    pub(super) name: SourceName,
    /// Its last good sync.
    pub(super) last_success: Option<Timestamp>,
    pub(super) stale: bool,
}

/// What a pass leaves behind for the schedule.
pub(super) struct Records {
    /// Sources of ours, with when their schedule came into force.
    pub(super) owned: BTreeMap<SourceName, Option<Timestamp>>,
    /// Their last runs.
    pub(super) runs: BTreeMap<SourceName, LastRun>,
    /// Sources that were just connected or changed and sync at once.
    pub(super) at_once: Vec<(SourceName, Trigger)>,
}

/// How a pass ended.
#[derive(Default)]
pub(super) struct Ended {
    pub(super) good: bool,
    /// The platform refused the token.
    pub(super) unauthorized: bool,
    /// Look again after this long.
    pub(super) again: Option<std::time::Duration>,
    /// Removals were withheld because the files are not at rest, or one of them cannot be read.
    pub(super) waits_for_rest: bool,
    /// An action was put off until the source's sync ends.
    pub(super) waits_for_sync: bool,
    pub(super) records: Option<Records>,
}

impl Board {
    /// Takes over what a reading asks for. Units held back keep their last good task. Returns the
    /// units that no file declares any more; while the files are not at rest, or one of them may
    /// declare any unit, there are none.
    pub(super) fn accept(&mut self, asked: Asked, barred: Option<&Barred>, now: Timestamp) -> Vec<Unit> {
        let declared: BTreeSet<Unit> = asked.tasks.iter().map(|task| task.desired.unit.clone()).collect();
        for mut task in asked.tasks {
            task.removals_barred = task.removals_barred.or_else(|| barred.cloned());
            match self.slots.get_mut(&task.desired.unit) {
                Some(slot) => slot.accept(task),
                None => {
                    self.slots.insert(task.desired.unit.clone(), Slot::new(task, now));
                }
            }
        }
        let mut gone = Vec::new();
        for (unit, slot) in &mut self.slots {
            let stays = declared.contains(unit)
                || asked.held.contains_key(unit)
                || asked.stranger.is_some()
                || barred.is_some();
            if !stays && !std::mem::replace(&mut slot.gone, true) {
                gone.push(unit.clone());
            }
        }
        self.clear();
        gone
    }

    /// Everything is to be looked at now.
    pub(super) fn want_all(&mut self) {
        if let Some(pause) = &mut self.pause {
            pause.until = Timestamp::MIN;
        }
        for slot in self.slots.values_mut() {
            slot.wanted = true;
            slot.failures = 0;
        }
    }

    /// The platform refuses our token: nothing is tried for a while. Is that news?
    pub(super) fn pause(&mut self, now: Timestamp) -> bool {
        self.pause.replace(Pause { until: later(now, PAUSE), probe: None }).is_none()
    }

    /// Is nothing tried, because the platform refuses our token?
    pub(super) fn is_paused(&self) -> bool {
        self.pause.is_some()
    }

    /// The clock went back: what was to come at some time may lie far ahead now.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        if let Some(pause) = &mut self.pause {
            pause.until = pause.until.min(later(now, PAUSE));
        }
        for slot in self.slots.values_mut() {
            slot.check_at = slot.check_at.min(now);
        }
    }

    /// Marks the passes that are due, as many as may run at once, and returns them. While the
    /// platform refuses our token, one unit at a time finds out whether it still does.
    pub(super) fn passes_due(&mut self, now: Timestamp) -> Vec<Task> {
        let running = self.slots.values().filter(|slot| slot.running).count();
        let room = match &self.pause {
            Some(pause) => usize::from(pause.probe.is_none() && pause.until <= now),
            None => MOST_PASSES.saturating_sub(running),
        };
        let asap = self.pause.is_some();
        let mut due: Vec<(&Unit, &mut Slot)> = self
            .slots
            .iter_mut()
            .filter(|(_, slot)| !slot.running && !slot.gone)
            .filter(|(_, slot)| asap || slot.wanted || slot.check_at <= now)
            .collect();
        due.sort_by_key(|(_, slot)| slot.check_at);
        due.truncate(room);
        for (unit, slot) in &mut due {
            slot.running = true;
            slot.wanted = false;
            slot.passing_edit = std::mem::take(&mut slot.edited);
            if let Some(pause) = &mut self.pause {
                pause.probe = Some((*unit).clone());
            }
        }
        due.into_iter().map(|(_, slot)| slot.task.clone()).collect()
    }

    /// A pass ended. Was it the one that found the token accepted again?
    pub(super) fn pass_ended(
        &mut self,
        unit: &Unit,
        ended: Ended,
        interval: SignedDuration,
        now: Timestamp,
    ) -> bool {
        let probe = self.pause.as_ref().is_some_and(|pause| pause.probe.as_ref() == Some(unit));
        let resumed = probe && !ended.unauthorized;
        if let Some(slot) = self.slots.get_mut(unit) {
            slot.pass_ended(ended, interval, now);
        }
        if resumed {
            self.pause = None;
            self.slots.values_mut().for_each(|slot| slot.wanted |= slot.failures > 0 || slot.check_at <= now);
        }
        self.clear();
        resumed
    }

    /// What there is to tell of the pass of this unit that just ended.
    pub(super) fn after(&mut self, unit: &Unit) -> After {
        let Some(slot) = self.slots.get_mut(unit) else { return After::default() };
        let waits = slot.failures > 0 && !slot.wanted && self.pause.is_none();
        After { again: waits.then_some(slot.check_at), edited: std::mem::take(&mut slot.passing_edit) }
    }

    /// The platform answers again: what failed meanwhile is tried at once.
    pub(super) fn want_failed(&mut self) {
        self.slots.values_mut().for_each(|slot| slot.wanted |= slot.failures > 0);
    }

    /// Marks every due sync as running and returns its call; one call at a time for each unit.
    pub(super) fn syncs_due(&mut self, now: Timestamp) -> Vec<Call> {
        if self.pause.is_some() {
            return Vec::new();
        }
        self.slots
            .values_mut()
            .filter(|slot| !slot.sync_running && !slot.gone)
            .filter_map(|slot| slot.sync_due(now))
            .collect()
    }

    /// A call ended; an action may have been put off for it.
    pub(super) fn sync_ended(&mut self, call: &Call, now: Timestamp) {
        if let Some(slot) = self.slots.get_mut(&call.unit) {
            slot.sync_ended(call, now);
        }
        self.clear();
    }

    /// A call was not sent, and nothing of it is recorded: its firings are due as before.
    pub(super) fn sync_not_sent(&mut self, call: &Call) {
        if let Some(slot) = self.slots.get_mut(&call.unit) {
            slot.sync_not_sent(call);
        }
        self.clear();
    }

    /// These synced well.
    pub(super) fn refreshed<'a>(
        &mut self,
        unit: &Unit,
        names: impl IntoIterator<Item = &'a SourceName>,
        now: Timestamp,
    ) {
        let names: BTreeSet<&SourceName> = names.into_iter().collect();
        let sources = self.slots.get_mut(unit).into_iter().flat_map(|slot| &mut slot.sources);
        for source in sources.filter(|source| names.contains(&source.name)) {
            source.last_success = Some(now);
        }
    }

    /// Firings that will not run. They are to be recorded before anything is sent, or they come back
    /// after a restart.
    pub(super) fn take_spent(&mut self) -> Vec<(Arc<DesiredUnit>, Vec<Spent>)> {
        self.slots
            .values_mut()
            .filter(|slot| !slot.spent.is_empty())
            .map(|slot| (slot.task.desired.open(), std::mem::take(&mut slot.spent)))
            .collect()
    }

    /// What was taken could not be recorded.
    pub(super) fn put_back_spent(&mut self, unit: &Unit, spent: Vec<Spent>) {
        if let Some(slot) = self.slots.get_mut(unit) {
            slot.spent.splice(..0, spent);
        }
    }

    /// The sources whose data became stale since this was last asked, or fresh again.
    pub(super) fn turned(&mut self, now: Timestamp) -> Vec<Turned> {
        let mut turned = Vec::new();
        for slot in self.slots.values_mut().filter(|slot| !slot.gone) {
            let Some(desired) = &slot.open else { continue };
            for source in &mut slot.sources {
                let stale = source.freshness(desired, now).is_some_and(Freshness::is_stale);
                if std::mem::replace(&mut source.told_stale, stale) != stale {
                    turned.push(Turned {
                        unit: Arc::clone(desired),
                        key: source.key.clone(),
                        name: source.name.clone(),
                        last_success: source.last_success,
                        stale,
                    });
                }
            }
        }
        turned
    }

    /// When something is next due, if nothing else happens. Whatever is due already was started, or
    /// waits for something to end.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        if let Some(pause) = &self.pause {
            return (pause.probe.is_none() && !self.slots.is_empty()).then_some(pause.until);
        }
        let running = self.slots.values().filter(|slot| slot.running).count();
        let full = running >= MOST_PASSES;
        let checks = self.slots.values().filter(|slot| !full && !slot.running).map(|slot| slot.check_at);
        let syncs = self.slots.values().filter(|slot| !slot.sync_running).flat_map(|slot| &slot.sources);
        let staling = self.slots.values().flat_map(|slot| {
            let until = |source: &Syncable| match source.freshness(slot.open.as_ref()?, now)? {
                Freshness::Fresh { until } => Some(until),
                Freshness::Stale { .. } => None,
            };
            slot.sources.iter().filter_map(until)
        });
        checks.chain(syncs.filter_map(|source| source.timing.next_after(now))).chain(staling).min()
    }

    /// The next firings of all schedules, soonest first.
    pub(super) fn upcoming(&self, now: Timestamp) -> Vec<(Timestamp, &Task, &SourceKey, &Timing)> {
        let mut upcoming: Vec<_> = self
            .slots
            .values()
            .flat_map(|slot| slot.sources.iter().map(move |source| (slot, source)))
            .filter_map(|(slot, source)| {
                Some((source.timing.next_after(now)?, &slot.task, &source.key, &source.timing))
            })
            .collect();
        upcoming.sort_by_key(|(at, task, key, _)| (*at, task.desired.unit.clone(), (*key).clone()));
        upcoming
    }

    /// How many units are kept, the sources that they declare, and the units whose last pass was not good.
    pub(super) fn tally(&self) -> (usize, usize, usize) {
        let kept = || self.slots.values().filter(|slot| !slot.gone);
        let sources = kept().map(|slot| slot.task.desired.count).sum();
        (kept().count(), sources, kept().filter(|slot| slot.failures > 0).count())
    }

    /// What is asked of every unit that the files declare.
    pub(super) fn tasks(&self) -> impl Iterator<Item = &Task> {
        self.slots.values().filter(|slot| !slot.gone).map(|slot| &slot.task)
    }

    /// The schedules of a unit's sources: since when they hold, and their next firing.
    pub(super) fn schedules(
        &self,
        unit: &Unit,
        now: Timestamp,
    ) -> impl Iterator<Item = (&SourceName, Timestamp, Option<Timestamp>)> {
        let sources = self.slots.get(unit).into_iter().flat_map(|slot| &slot.sources);
        sources.map(move |source| (&source.name, source.known_since, source.timing.next_after(now)))
    }

    /// What is asked of a unit.
    pub(super) fn task(&self, unit: &Unit) -> Option<&Task> {
        self.slots.get(unit).map(|slot| &slot.task)
    }

    /// Nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        !self.slots.values().any(Slot::is_busy)
    }

    /// Drops what is gone, once nothing of it is under way.
    fn clear(&mut self) {
        self.slots.retain(|unit, slot| {
            let stays = !slot.gone || slot.is_busy();
            if !stays && let Some(pause) = &mut self.pause {
                pause.probe.take_if(|probe| probe == unit);
            }
            stays
        });
    }
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
