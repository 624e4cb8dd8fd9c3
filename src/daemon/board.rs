//! Which unit is due for a pass, and which source for a sync: decisions without a runtime.

use super::voice::After;
use crate::model::{DesiredSource, DesiredUnit, SourceKey, SourceName, Unit};
use crate::plan::Barred;
use crate::reading::Asked;
use crate::reconcile::Task;
use crate::schedule::{self, Freshness, Last, Scheduled, Timing};
use crate::state::{LastRun, RunOutcome, Spent, Trigger};
use crate::sync::{Call, Member, spent};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first wait after a failed pass; each further failure doubles it up to the interval.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// The most passes at once. Each holds a listing of its unit in memory. As many as calls are under way.
const MOST_PASSES: usize = 64;

/// After a refused token nothing is tried for this long; then one unit is.
const PAUSE: SignedDuration = SignedDuration::from_secs(60);

/// The most sources in one sync call.
const SYNC_BATCH: usize = 100;

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

struct Slot {
    task: Task,
    /// No file declares it any more; it goes once nothing is under way.
    gone: bool,
    wanted: bool,
    running: bool,
    /// Its files changed and no pass has begun since; the pass under way is the first since.
    edited: bool,
    passing_edit: bool,
    /// Only a full look finds drift; it is due then.
    check_at: Timestamp,
    failures: u32,
    /// A removal waits for the files to come to rest.
    waits_for_rest: bool,
    /// An action waits for a sync to end.
    waits_for_sync: bool,
    sources: Vec<Syncable>,
    sync_running: bool,
    /// Firings that will not run, not yet recorded.
    spent: Vec<Spent>,
}

/// A source of ours with a schedule.
struct Syncable {
    name: SourceName,
    key: SourceKey,
    index: usize,
    timing: Timing,
    known_since: Timestamp,
    last: Option<Last>,
    /// The last run before the one that was begun last.
    before: Option<Last>,
    last_success: Option<Timestamp>,
    /// That its data is stale was told.
    told_stale: bool,
    /// To be synced once, whatever the schedule.
    now: Option<Trigger>,
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
            .map(|slot| (Arc::clone(&slot.task.desired), std::mem::take(&mut slot.spent)))
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
            for source in &mut slot.sources {
                let stale = source.freshness(&slot.task.desired, now).is_some_and(Freshness::is_stale);
                if std::mem::replace(&mut source.told_stale, stale) != stale {
                    turned.push(Turned {
                        unit: Arc::clone(&slot.task.desired),
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
            let until = |source: &Syncable| match source.freshness(&slot.task.desired, now)? {
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
        let sources = kept().map(|slot| slot.task.desired.sources.len()).sum();
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

impl Slot {
    fn new(task: Task, now: Timestamp) -> Self {
        Self {
            task,
            gone: false,
            wanted: true,
            running: false,
            edited: false,
            passing_edit: false,
            check_at: now,
            failures: 0,
            waits_for_rest: false,
            waits_for_sync: false,
            sources: Vec::new(),
            sync_running: false,
            spent: Vec::new(),
        }
    }

    fn accept(&mut self, mut task: Task) {
        if Arc::ptr_eq(&task.desired, &self.task.desired) || *task.desired == *self.task.desired {
            // What stayed the same is known to be the same.
            task.desired = Arc::clone(&self.task.desired);
        }
        let changed = !Arc::ptr_eq(&task.desired, &self.task.desired) || task.owner != self.task.owner;
        let at_rest = self.waits_for_rest && task.removals_barred.is_none();
        if changed {
            // What is edited is tried at once, however often it failed before.
            self.failures = 0;
        }
        self.edited |= changed;
        self.wanted |= changed || at_rest || self.gone;
        self.gone = false;
        self.task = task;
    }

    fn is_busy(&self) -> bool {
        self.running || self.sync_running
    }

    fn pass_ended(&mut self, ended: Ended, interval: SignedDuration, now: Timestamp) {
        self.running = false;
        self.waits_for_rest = ended.waits_for_rest;
        // What it waited for may be over by now.
        self.waits_for_sync = ended.waits_for_sync && self.sync_running;
        self.wanted |= ended.waits_for_sync && !self.sync_running;
        self.wanted |= ended.waits_for_rest && self.task.removals_barred.is_none();
        self.failures = if ended.good { 0 } else { self.failures.saturating_add(1) };
        let again = ended.again.and_then(|again| SignedDuration::try_from(again).ok());
        let wait = match again {
            _ if !ended.good => retry_after(&self.task.desired.unit, self.failures, interval),
            Some(again) => again.min(interval),
            None => interval,
        };
        self.check_at = later(now, wait);
        if let Some(records) = ended.records {
            self.schedule(&records, now);
        }
    }

    fn sync_not_sent(&mut self, call: &Call) {
        self.sync_running = false;
        self.wanted |= std::mem::take(&mut self.waits_for_sync);
        for member in &call.members {
            if let Some(source) = self.sources.iter_mut().find(|source| source.name == member.name) {
                source.last = source.before.take();
                source.now = (member.trigger != Trigger::Schedule).then_some(member.trigger).or(source.now);
            }
        }
    }

    fn sync_ended(&mut self, call: &Call, now: Timestamp) {
        // Firings that came while it ran are judged before it counts as ended.
        self.judge(now);
        self.sync_running = false;
        self.wanted |= std::mem::take(&mut self.waits_for_sync);
        let members: BTreeSet<&SourceName> = call.members.iter().map(|member| &member.name).collect();
        for source in &mut self.sources {
            if members.contains(&source.name)
                && let Some(last) = &mut source.last
            {
                last.running = false;
                last.ended = Some(now);
            }
        }
    }

    /// The schedules of what is ours.
    fn schedule(&mut self, records: &Records, now: Timestamp) {
        let unit = &self.task.desired.unit;
        let mut known: BTreeMap<SourceName, Syncable> =
            self.sources.drain(..).map(|source| (source.name.clone(), source)).collect();
        let at_once: BTreeMap<&SourceName, Trigger> =
            records.at_once.iter().rev().map(|(name, why)| (name, *why)).collect();
        for (index, source) in self.task.desired.sources.iter().enumerate() {
            let (Some(spec), Some(since)) = (&source.sync, records.owned.get(&source.name)) else { continue };
            let Ok(timing) = Timing::compile(unit, &source.name, spec) else { continue };
            let before = known.remove(&source.name);
            let last =
                join(before.as_ref().and_then(|before| before.last), records.runs.get(&source.name), now);
            let at_once = at_once.get(&source.name).copied();
            let pending = before.as_ref().and_then(|before| before.now);
            let last_success = before.as_ref().and_then(|before| before.last_success);
            let recorded = records.runs.get(&source.name).and_then(|run| run.last_success);
            let never_ran = (last.is_none() && spec.on_connect).then_some(Trigger::Connect);
            self.sources.push(Syncable {
                name: source.name.clone(),
                key: source.key.clone(),
                index,
                timing,
                known_since: since.or(before.as_ref().map(|before| before.known_since)).unwrap_or(now),
                last,
                before: before.as_ref().and_then(|before| before.before),
                last_success: last_success.max(recorded),
                told_stale: before.as_ref().is_some_and(|before| before.told_stale),
                now: at_once.or(pending).or(never_ran),
            });
        }
    }

    /// The firings that are due, by index. What will not run counts as claimed, or it would come back.
    fn judge(&mut self, now: Timestamp) -> BTreeMap<usize, (Timestamp, Trigger)> {
        let desired = Arc::clone(&self.task.desired);
        let Some(scheduled) = self.scheduled(&desired) else { return BTreeMap::new() };
        let decision = schedule::due(now, &scheduled);
        for (index, firing, outcome, message) in spent(&decision) {
            let source = &mut self.sources[index];
            let last = source.last.unwrap_or(Last { firing, running: false, ended: None });
            source.last = Some(Last { firing, ..last });
            self.spent.push(Spent { name: source.name.clone(), firing, outcome, message });
        }
        decision.due.iter().map(|due| (due.index, (due.firing, Trigger::Schedule))).collect()
    }

    /// `None` when the files moved on; the pass that follows sets the schedule anew.
    fn scheduled<'a>(&'a self, desired: &'a DesiredUnit) -> Option<Vec<Scheduled<'a>>> {
        let of = |source: &'a Syncable| source.scheduled(desired.sources.get(source.index)?, &desired.unit);
        self.sources.iter().map(of).collect()
    }

    fn sync_due(&mut self, now: Timestamp) -> Option<Call> {
        let mut firings = self.judge(now);
        let desired = Arc::clone(&self.task.desired);
        let scheduled = self.scheduled(&desired)?;
        for (index, source) in self.sources.iter().enumerate() {
            if let Some(trigger) = source.now
                && !scheduled[index].suspended
            {
                firings.entry(index).or_insert((now, trigger));
            }
        }
        let due = firings.keys().map(|index| (*index, scheduled[*index].terms()));
        let batch = schedule::batches(due, SYNC_BATCH).into_iter().next()?;
        let (options, timeout) = (batch.terms.options.clone(), batch.terms.timeout);
        let mut members = Vec::with_capacity(batch.members.as_slice().len());
        for index in batch.members.into_vec() {
            let (firing, trigger) = firings[&index];
            let source = &mut self.sources[index];
            source.now = None;
            source.before = source.last.replace(Last { firing, running: true, ended: None });
            members.push(Member { name: source.name.clone(), key: source.key.clone(), trigger, firing });
        }
        self.sync_running = true;
        Some(Call { unit: desired.unit.clone(), members, options, timeout })
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

    /// Of a suspended source, nobody expects fresh data.
    fn freshness(&self, unit: &DesiredUnit, now: Timestamp) -> Option<Freshness> {
        let source = unit.sources.get(self.index).filter(|source| source.name == self.name)?;
        let spec = source.sync.as_ref().filter(|_| source.suspend.is_none())?;
        schedule::freshness(spec, self.last_success, self.known_since, now)
    }
}

/// What is known of a source's last run, from here and from the state. The state may have been looked at just before a run was claimed, or ended.
fn join(known: Option<Last>, run: Option<&LastRun>, now: Timestamp) -> Option<Last> {
    let Some(run) = run else { return known };
    let recorded =
        Last { firing: run.firing, running: run.outcome == RunOutcome::Running, ended: run.finished_at };
    let Some(known) = known else { return Some(recorded) };
    let rewound = run.firing.duration_since(now) > schedule::CLOCK_TOLERANCE;
    let over = known.ended.is_some_and(|ended| ended >= run.started_at);
    Some(Last {
        firing: if rewound { known.firing } else { known.firing.max(run.firing) },
        running: known.running || (recorded.running && !over),
        ended: known.ended.max(recorded.ended),
    })
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

#[cfg(test)]
mod tests;
