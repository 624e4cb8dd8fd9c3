//! Which unit is due for a pass, and which source for a sync: decisions without a runtime.

use crate::model::{DesiredSource, SourceKey, SourceName, Unit};
use crate::plan::Barred;
use crate::reading::Asked;
use crate::reconcile::Task;
use crate::schedule::{self, Last, Scheduled, Timing};
use crate::state::{LastRun, RunOutcome, Trigger};
use crate::sync::{Call, Member};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first wait after a failed pass; each further failure doubles it up to the interval.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// The most sources in one sync call.
const SYNC_BATCH: usize = 100;

/// Every unit, with what is under way and what is due.
#[derive(Default)]
pub(super) struct Board {
    slots: BTreeMap<Unit, Slot>,
}

struct Slot {
    task: Task,
    wanted: bool,
    running: bool,
    /// Only a full look finds drift; it is due then.
    check_at: Timestamp,
    failures: u32,
    /// A removal waits for the files to come to rest.
    waits_for_rest: bool,
    /// An action waits for a sync to end.
    waits_for_sync: bool,
    sources: Vec<Syncable>,
    sync_running: bool,
}

/// A source of ours with a schedule.
struct Syncable {
    name: SourceName,
    key: SourceKey,
    index: usize,
    timing: Timing,
    known_since: Timestamp,
    last: Option<Last>,
    /// To be synced once, whatever the schedule.
    now: Option<Trigger>,
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
pub(super) struct Ended {
    pub(super) good: bool,
    /// Look again after this long.
    pub(super) again: Option<std::time::Duration>,
    /// Removals were withheld because the files had not come to rest.
    pub(super) waits_for_rest: bool,
    /// An action was put off until the source's sync ends.
    pub(super) waits_for_sync: bool,
    pub(super) records: Option<Records>,
}

impl Board {
    /// Takes over what a reading asks for. Units held back keep their last good task. Returns the
    /// units that no file declares any more.
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
        let gone: Vec<Unit> = self
            .slots
            .keys()
            .filter(|unit| !declared.contains(*unit) && !asked.held.contains_key(*unit))
            .cloned()
            .collect();
        self.slots.retain(|unit, _| !gone.contains(unit));
        gone
    }

    /// Everything is to be looked at now.
    pub(super) fn want_all(&mut self) {
        for slot in self.slots.values_mut() {
            slot.wanted = true;
            slot.failures = 0;
        }
    }

    /// The platform refuses our token: nothing is tried before then.
    pub(super) fn pause_all(&mut self, until: Timestamp) {
        for slot in self.slots.values_mut() {
            slot.wanted = false;
            slot.check_at = until;
        }
    }

    /// Marks every due pass as running and returns it.
    pub(super) fn passes_due(&mut self, now: Timestamp) -> Vec<Task> {
        let mut due = Vec::new();
        for slot in self.slots.values_mut() {
            if !slot.running && (slot.wanted || slot.check_at <= now) {
                slot.running = true;
                slot.wanted = false;
                due.push(slot.task.clone());
            }
        }
        due
    }

    /// A pass ended.
    pub(super) fn pass_ended(&mut self, unit: &Unit, ended: Ended, interval: SignedDuration, now: Timestamp) {
        let Some(slot) = self.slots.get_mut(unit) else { return };
        slot.running = false;
        slot.waits_for_rest = ended.waits_for_rest;
        slot.waits_for_sync = ended.waits_for_sync && slot.sync_running;
        slot.wanted |= ended.waits_for_sync && !slot.sync_running;
        // The files may have come to rest while the pass was under way.
        slot.wanted |= ended.waits_for_rest && slot.task.removals_barred.is_none();
        slot.failures = if ended.good { 0 } else { slot.failures.saturating_add(1) };
        let wait = if ended.good { interval } else { retry_after(unit, slot.failures, interval) };
        slot.check_at = later(now, wait);
        if let Some(again) = ended.again.filter(|_| ended.good) {
            let again = SignedDuration::try_from(again).unwrap_or(interval);
            slot.check_at = slot.check_at.min(later(now, again));
        }
        if let Some(records) = ended.records {
            slot.schedule(&records, now);
        }
    }

    /// Marks every due sync as running and returns its call; one call at a time for each unit.
    pub(super) fn syncs_due(&mut self, now: Timestamp) -> Vec<Call> {
        self.slots
            .values_mut()
            .filter(|slot| !slot.sync_running)
            .filter_map(|slot| slot.sync_due(now))
            .collect()
    }

    /// A call ended, with what was claimed for each of its sources.
    pub(super) fn sync_ended(&mut self, call: &Call, ended_at: Timestamp) {
        let Some(slot) = self.slots.get_mut(&call.unit) else { return };
        slot.sync_running = false;
        for source in &mut slot.sources {
            if call.members.iter().any(|member| member.name == source.name)
                && let Some(last) = &mut source.last
            {
                last.running = false;
                last.ended = Some(ended_at);
            }
        }
    }

    /// When something is next due, if nothing else happens.
    pub(super) fn next(&self, now: Timestamp) -> Option<Timestamp> {
        let checks = self.slots.values().filter(|slot| !slot.running).map(|slot| slot.check_at);
        let syncs =
            self.slots.values().filter(|slot| !slot.sync_running).filter_map(|slot| slot.next_sync(now));
        checks.chain(syncs).min()
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

    /// What is asked of a unit.
    pub(super) fn task(&self, unit: &Unit) -> Option<&Task> {
        self.slots.get(unit).map(|slot| &slot.task)
    }

    /// A sync ended; an action of this unit may have been put off for it.
    pub(super) fn want_waiting(&mut self, unit: &Unit) {
        if let Some(slot) = self.slots.get_mut(unit) {
            slot.wanted |= std::mem::take(&mut slot.waits_for_sync);
        }
    }

    /// Nothing is under way.
    pub(super) fn is_idle(&self) -> bool {
        self.slots.values().all(|slot| !slot.running && !slot.sync_running)
    }
}

impl Slot {
    fn new(task: Task, now: Timestamp) -> Self {
        Self {
            task,
            wanted: true,
            running: false,
            check_at: now,
            failures: 0,
            waits_for_rest: false,
            waits_for_sync: false,
            sources: Vec::new(),
            sync_running: false,
        }
    }

    fn accept(&mut self, task: Task) {
        let changed = *task.desired != *self.task.desired || task.owner != self.task.owner;
        let at_rest = self.waits_for_rest && task.removals_barred.is_none();
        if changed {
            // What is edited is tried at once, however often it failed before.
            self.failures = 0;
        }
        self.wanted |= changed || at_rest;
        self.task = task;
    }

    /// The schedules of what is ours.
    fn schedule(&mut self, records: &Records, now: Timestamp) {
        let unit = &self.task.desired.unit;
        let mut pending: BTreeMap<SourceName, Trigger> =
            self.sources.drain(..).filter_map(|source| Some((source.name, source.now?))).collect();
        pending.extend(records.at_once.iter().cloned());
        for (index, source) in self.task.desired.sources.iter().enumerate() {
            let (Some(spec), Some(since)) = (&source.sync, records.owned.get(&source.name)) else { continue };
            let Ok(timing) = Timing::compile(unit, &source.name, spec) else { continue };
            let run = records.runs.get(&source.name);
            let never_ran = run.is_none() && spec.on_connect;
            self.sources.push(Syncable {
                name: source.name.clone(),
                key: source.key.clone(),
                index,
                timing,
                known_since: since.unwrap_or(now),
                last: run.map(|run| Last {
                    firing: run.firing,
                    running: run.outcome == RunOutcome::Running,
                    ended: run.finished_at,
                }),
                now: pending.remove(&source.name).or(never_ran.then_some(Trigger::Connect)),
            });
        }
    }

    fn sync_due(&mut self, now: Timestamp) -> Option<Call> {
        let desired = Arc::clone(&self.task.desired);
        let scheduled: Vec<Scheduled<'_>> = self
            .sources
            .iter()
            .filter_map(|source| source.scheduled(desired.sources.get(source.index)?, &desired.unit))
            .collect();
        if scheduled.len() != self.sources.len() {
            // The files moved on; the pass that follows sets the schedule anew.
            return None;
        }
        let decision = schedule::due(now, &scheduled);
        // What will not run counts as claimed, or it would come back.
        let skipped = decision.skipped.iter().map(|skipped| (skipped.index, skipped.firing));
        let rewound = decision.rewound.iter().map(|rewound| (rewound.index, rewound.firing));
        let spent: Vec<(usize, Timestamp)> = skipped.chain(rewound).collect();
        let mut firings: BTreeMap<usize, (Timestamp, Trigger)> =
            decision.due.iter().map(|due| (due.index, (due.firing, Trigger::Schedule))).collect();
        for (index, source) in self.sources.iter().enumerate() {
            if let Some(trigger) = source.now
                && !scheduled[index].suspended
            {
                firings.entry(index).or_insert((now, trigger));
            }
        }
        let due = firings.keys().map(|index| (*index, scheduled[*index].terms()));
        let batch = schedule::batches(due, SYNC_BATCH)
            .into_iter()
            .next()
            .map(|batch| (batch.terms.options.clone(), batch.terms.timeout, batch.members.into_vec()));
        for (index, firing) in spent {
            let last = &mut self.sources[index].last;
            *last = Some(Last { firing, ..last.unwrap_or(Last { firing, running: false, ended: None }) });
        }
        let (options, timeout, chosen) = batch?;
        let mut members = Vec::with_capacity(chosen.len());
        for index in chosen {
            let (firing, trigger) = firings[&index];
            let source = &mut self.sources[index];
            source.now = None;
            source.last = Some(Last { firing, running: true, ended: None });
            members.push(Member { name: source.name.clone(), key: source.key.clone(), trigger, firing });
        }
        self.sync_running = true;
        Some(Call { unit: desired.unit.clone(), members, options, timeout })
    }

    fn next_sync(&self, now: Timestamp) -> Option<Timestamp> {
        let waiting = self.sources.iter().any(|source| source.now.is_some());
        if waiting {
            return Some(now);
        }
        self.sources.iter().filter_map(|source| source.timing.next_after(now)).min()
    }
}

impl Syncable {
    fn scheduled<'a>(&'a self, source: &'a DesiredSource, unit: &'a Unit) -> Option<Scheduled<'a>> {
        let spec = source.sync.as_ref().filter(|_| source.name == self.name)?;
        Some(Scheduled {
            unit,
            name: &self.name,
            spec,
            timing: &self.timing,
            options: &source.sync_options,
            last: self.last,
            known_since: self.known_since,
            suspended: source.suspend.is_some(),
        })
    }
}

/// Doubles from failure to failure; spread by unit, so that what failed together does not return together.
fn retry_after(unit: &Unit, failures: u32, interval: SignedDuration) -> SignedDuration {
    let doubled =
        FIRST_RETRY.saturating_mul(1_i32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(i32::MAX));
    let wait = doubled.min(interval.max(FIRST_RETRY));
    let spread: u32 = unit.workspace.as_str().bytes().chain(unit.scope.as_str().bytes()).map(u32::from).sum();
    wait.saturating_mul(100 + i32::try_from(spread % 25).unwrap_or(0)) / 100
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}
