//! One unit on the board: its task, its passes, and the syncs of its sources.

use super::syncable::{Syncable, join};
use super::{Ended, Records, later};
use crate::model::{DesiredUnit, SourceName, Unit};
use crate::reconcile::Task;
use crate::schedule::{self, Last, Scheduled, Timing};
use crate::state::{Spent, Trigger};
use crate::sync::{Call, Member, spent};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// The first wait after a failed pass; each further failure doubles it up to the interval.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// The most sources in one sync call.
const SYNC_BATCH: usize = 100;

/// A unit, with what is under way and what is due.
pub(super) struct Slot {
    pub(super) task: Task,
    /// No file declares it any more; it goes once nothing is under way.
    pub(super) gone: bool,
    pub(super) wanted: bool,
    pub(super) running: bool,
    /// Its files changed and no pass has begun since; the pass under way is the first since.
    pub(super) edited: bool,
    pub(super) passing_edit: bool,
    /// Only a full look finds drift; it is due then.
    pub(super) check_at: Timestamp,
    pub(super) failures: u32,
    /// A removal waits for the files to come to rest.
    waits_for_rest: bool,
    /// An action waits for a sync to end.
    waits_for_sync: bool,
    pub(super) sources: Vec<Syncable>,
    /// What the files say, kept open while it has schedules.
    pub(super) open: Option<Arc<DesiredUnit>>,
    pub(super) sync_running: bool,
    /// Firings that will not run, not yet recorded.
    pub(super) spent: Vec<Spent>,
}

impl Slot {
    /// It was just declared, and is to be looked at now.
    pub(super) fn new(task: Task, now: Timestamp) -> Self {
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
            open: None,
            sync_running: false,
            spent: Vec::new(),
        }
    }

    /// What the files ask for from now on.
    pub(super) fn accept(&mut self, mut task: Task) {
        if Arc::ptr_eq(&task.desired, &self.task.desired) || task.desired.says_the_same(&self.task.desired) {
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
        self.keep_open();
    }

    fn keep_open(&mut self) {
        self.open = (!self.sources.is_empty()).then(|| self.task.desired.open());
    }

    /// A pass or a sync is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.running || self.sync_running
    }

    /// Decides when to look again, and takes over what the pass left behind.
    pub(super) fn pass_ended(&mut self, ended: Ended, interval: SignedDuration, now: Timestamp) {
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

    /// Marks the sources of the next call as running, if one is due.
    pub(super) fn sync_due(&mut self, now: Timestamp) -> Option<Call> {
        let mut firings = self.judge(now);
        let desired = Arc::clone(self.open.as_ref()?);
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

    /// Nothing of the call is recorded: its firings are due as before.
    pub(super) fn sync_not_sent(&mut self, call: &Call) {
        self.sync_running = false;
        self.wanted |= std::mem::take(&mut self.waits_for_sync);
        for member in &call.members {
            if let Some(source) = self.sources.iter_mut().find(|source| source.name == member.name) {
                source.last = source.before.take();
                source.now = (member.trigger != Trigger::Schedule).then_some(member.trigger).or(source.now);
            }
        }
    }

    /// Its sources count as synced, well or not.
    pub(super) fn sync_ended(&mut self, call: &Call, now: Timestamp) {
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
        let desired = self.task.desired.open();
        for (index, source) in desired.sources.iter().enumerate() {
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
        self.keep_open();
    }

    /// The firings that are due, by index. What will not run counts as claimed, or it would come back.
    fn judge(&mut self, now: Timestamp) -> BTreeMap<usize, (Timestamp, Trigger)> {
        let Some(desired) = self.open.clone() else { return BTreeMap::new() };
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
}

/// Doubles from failure to failure; spread by unit, so that what failed together does not return together.
fn retry_after(unit: &Unit, failures: u32, interval: SignedDuration) -> SignedDuration {
    let doubled =
        FIRST_RETRY.saturating_mul(1_i32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(i32::MAX));
    let wait = doubled.min(interval.max(FIRST_RETRY));
    let spread: u32 = unit.workspace.as_str().bytes().chain(unit.scope.as_str().bytes()).map(u32::from).sum();
    wait.saturating_mul(100 + i32::try_from(spread % 25).unwrap_or(0)) / 100
}
