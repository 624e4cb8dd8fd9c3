//! Scheduling state of one unit: its task, its passes and the syncs of its sources.

use super::agenda::{PassDue, Standing, Tally};
use super::syncable::{Ahead, Heard, Syncable};
use super::{Ended, Records, Turned, later};
use crate::model::{DesiredUnit, SourceName, Unit};
use crate::reconcile::Task;
use crate::schedule::{self, Terms, Timings};
use crate::state::{Spent, Trigger};
use crate::sync::{Call, Member, spent};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// First delay after a failed pass, doubled per further failure up to the interval.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// Interval of checks whether a sync of another process has ended.
const ELSEWHERE: SignedDuration = SignedDuration::from_secs(5);

/// Maximum number of sources in one sync request.
const SYNC_BATCH: usize = 100;

/// A unit, with its running and due work.
pub(super) struct Slot {
    pub(super) task: Task,
    /// True if the last load contains the unit.
    pub(super) declared: bool,
    /// True if no file declares the unit; the slot is dropped once nothing is running.
    pub(super) gone: bool,
    pub(super) wanted: bool,
    pub(super) running: bool,
    /// Files changed and no pass has started since.
    ///
    /// With `passing_edit`, the first one since is running.
    pub(super) edited: bool,
    pub(super) passing_edit: bool,
    /// Due time of the next full check, which alone finds drift.
    pub(super) check_at: Timestamp,
    pub(super) failures: u32,
    /// A removal waits until the files are stable.
    waits_for_rest: bool,
    /// An action waits for a sync to end.
    waits_for_sync: bool,
    /// A removal waits for a source of another workspace.
    waits_for_arrival: bool,
    /// Number of passes that had connected a source when the last pass started.
    arrivals: u64,
    /// Sorted by name, like the unit's sources.
    pub(super) sources: Vec<Syncable>,
    /// Earliest next events of the sources; reset on every change.
    ahead: Option<Ahead>,
    /// Desired state, kept decompressed while it has schedules.
    open: Option<Arc<DesiredUnit>>,
    /// Desired state that `sources` was built from.
    scheduled: Option<Arc<DesiredUnit>>,
    /// The files changed; the next pass rebuilds the schedules.
    outdated: bool,
    pub(super) sync_running: bool,
    /// Firings that will not run and are not recorded yet.
    pub(super) spent: Vec<Spent>,
    /// Due times as recorded in the queue.
    pub(super) standing: Standing,
}

impl Slot {
    /// Creates the slot of a newly declared unit, with a pass due at once.
    pub(super) fn new(task: Task, now: Timestamp) -> Self {
        Self {
            task,
            declared: true,
            gone: false,
            wanted: true,
            running: false,
            edited: false,
            passing_edit: false,
            check_at: now,
            failures: 0,
            waits_for_rest: false,
            waits_for_sync: false,
            waits_for_arrival: false,
            arrivals: 0,
            sources: Vec::new(),
            ahead: None,
            open: None,
            scheduled: None,
            outdated: false,
            sync_running: false,
            spent: Vec::new(),
            standing: Standing::default(),
        }
    }

    /// Sets the new task; returns true if due times changed.
    pub(super) fn accept(&mut self, mut task: Task) -> bool {
        self.declared = true;
        if Arc::ptr_eq(&task.desired, &self.task.desired) || task.desired.says_the_same(&self.task.desired) {
            // Share the same value, so that later comparisons are by pointer.
            task.desired = Arc::clone(&self.task.desired);
        }
        let changed = !Arc::ptr_eq(&task.desired, &self.task.desired) || task.owner != self.task.owner;
        let at_rest = self.waits_for_rest && task.removals_barred.is_none();
        if changed {
            // Edits are tried at once, regardless of earlier failures.
            self.failures = 0;
        }
        let moved = changed || at_rest || self.waits_for_arrival || self.gone;
        self.edited |= changed;
        self.wanted |= moved;
        self.gone = false;
        self.task = task;
        if changed {
            self.open = self.open.take().map(|_| self.task.desired.open());
            let declares = |source: &Syncable| source.declared(self.open.as_ref()?).map(|_| ());
            self.outdated = !self.sources.iter().all(|source| declares(source).is_some());
            self.reckon_anew();
        }
        moved
    }

    /// Resets the next events of all sources after a change of files or clock.
    pub(super) fn reckon_anew(&mut self) {
        self.ahead = None;
        self.sources.iter_mut().for_each(Syncable::reckon_anew);
    }

    /// Returns true if no file declares the unit and nothing is running.
    pub(super) fn is_over(&self) -> bool {
        self.gone && !self.running && !self.sync_running
    }

    /// Computes the due times for the queue.
    pub(super) fn stands(&mut self, now: Timestamp) -> Standing {
        if self.is_over() {
            return Standing::default();
        }
        let Ahead { ripe, turn } = self.ahead(now);
        // Schedules that no pass has applied yet must not make data stale.
        let is_new = self.edited || self.running && self.passing_edit;
        let pass = match () {
            () if self.edited => PassDue::Edited,
            () if self.wanted => PassDue::Wanted,
            () => PassDue::At(self.check_at),
        };
        let kept = usize::from(!self.gone);
        Standing {
            pass: Some(pass).filter(|_| !self.gone && !self.running),
            sync: ripe.filter(|_| !self.gone && !self.sync_running),
            turn: turn.filter(|_| !self.gone && !is_new),
            tally: Tally {
                units: kept,
                sources: kept * self.task.desired.count,
                failing: kept * usize::from(self.failures > 0),
                passes: usize::from(self.running),
                syncs: usize::from(self.sync_running),
            },
        }
    }

    fn ahead(&mut self, now: Timestamp) -> Ahead {
        if let Some(ahead) = self.ahead {
            return ahead;
        }
        let mut first = Ahead { ripe: None, turn: None };
        if let Some(desired) = self.open.as_ref().filter(|_| !self.outdated) {
            for source in &mut self.sources {
                let ahead = source.ahead(desired, now);
                first = Ahead { ripe: sooner(first.ripe, ahead.ripe), turn: sooner(first.turn, ahead.turn) };
            }
        }
        *self.ahead.insert(first)
    }

    /// Starts a pass; `arrivals` counts the passes of any unit that connected a source.
    pub(super) fn begin_pass(&mut self, arrivals: u64) -> Task {
        self.arrivals = arrivals;
        self.running = true;
        self.wanted = false;
        self.passing_edit = std::mem::take(&mut self.edited);
        self.task.clone()
    }

    /// Decides when the next pass is due, and applies the records of this one.
    pub(super) fn pass_ended(
        &mut self,
        ended: Ended,
        (interval, arrivals): (SignedDuration, u64),
        timings: &mut Timings,
        now: Timestamp,
    ) {
        self.running = false;
        self.waits_for_rest = ended.waits_for_rest;
        self.waits_for_arrival = ended.waits_for_arrival;
        // The awaited condition may be over by now.
        self.waits_for_sync = ended.waits_for_sync && self.sync_running;
        self.wanted |= ended.waits_for_sync && !self.sync_running;
        self.wanted |= ended.waits_for_rest && self.task.removals_barred.is_none();
        self.wanted |= ended.waits_for_arrival && arrivals != self.arrivals;
        self.failures = if ended.good { 0 } else { self.failures.saturating_add(1) };
        let again = ended.again.and_then(|again| SignedDuration::try_from(again).ok());
        let wait = match again {
            _ if !ended.good => retry_after(&self.task.desired.unit, self.failures, interval),
            Some(again) => again.min(interval),
            None => interval,
        };
        self.check_at = later(now, wait);
        if let Some(records) = ended.records {
            self.schedule(&records, timings, now);
        }
        if self.sources.iter().any(Syncable::runs_elsewhere) {
            self.check_at = self.check_at.min(later(now, ELSEWHERE));
        }
    }

    /// Starts the next request that is due and returns it.
    ///
    /// Evaluates no more schedules than needed to fill the request.
    pub(super) fn sync_due(&mut self, now: Timestamp) -> Option<Call> {
        if self.sync_running || self.gone || self.outdated {
            return None;
        }
        let desired = Arc::clone(self.open.as_ref()?);
        let ripe: Vec<usize> = (0..self.sources.len()).filter(|n| self.sources[*n].is_ripe(now)).collect();
        let mut due: Vec<(usize, Terms<'_>)> = Vec::new();
        let mut firings = BTreeMap::new();
        let mut filled = 0;
        for some in ripe.chunks(SYNC_BATCH) {
            let mut more = self.firings(some, now);
            let before = due.len();
            due.extend(more.keys().filter_map(|n| Some((*n, self.terms(*n, &desired)?))));
            firings.append(&mut more);
            let first = due.first().map(|(_, terms)| *terms);
            filled += due[before..].iter().filter(|(_, terms)| Some(*terms) == first).count();
            if filled >= SYNC_BATCH {
                break;
            }
        }
        let batch = schedule::batches(due, SYNC_BATCH).into_iter().next()?;
        let (options, timeout) = (batch.terms.options.clone(), batch.terms.timeout);
        let mut members = Vec::with_capacity(batch.members.as_slice().len());
        for n in batch.members.into_vec() {
            let (firing, trigger) = firings[&n];
            let source = self.source(n);
            source.begin(firing);
            members.push(Member { name: source.name.clone(), key: source.key.clone(), trigger, firing });
        }
        self.sync_running = true;
        Some(Call { unit: desired.unit.clone(), members, options, timeout })
    }

    /// Restores the firings of a request of which nothing is recorded.
    pub(super) fn sync_not_sent(&mut self, call: &Call) {
        self.sync_running = false;
        self.wanted |= std::mem::take(&mut self.waits_for_sync);
        for member in &call.members {
            if let Some(n) = self.place(&member.name) {
                self.source(n).not_sent(member.trigger);
            }
        }
    }

    /// Records that the syncs of a request ended, successfully or not.
    pub(super) fn sync_ended(&mut self, call: &Call, now: Timestamp) {
        let members: Vec<usize> = call.members.iter().filter_map(|member| self.place(&member.name)).collect();
        // Evaluate firings during the request before it counts as ended.
        let ripe: Vec<usize> = members.iter().copied().filter(|n| self.sources[*n].is_ripe(now)).collect();
        self.judge(&ripe, now);
        self.sync_running = false;
        self.wanted |= std::mem::take(&mut self.waits_for_sync);
        members.into_iter().for_each(|n| self.source(n).ended(now));
    }

    /// Records successful syncs.
    pub(super) fn refreshed<'a>(&mut self, names: impl IntoIterator<Item = &'a SourceName>, now: Timestamp) {
        for name in names {
            if let Some(n) = self.place(name) {
                self.source(n).refreshed(now);
            }
        }
    }

    /// Returns the sources whose data became stale or fresh since the last call.
    pub(super) fn turned(&mut self, now: Timestamp) -> Vec<Turned> {
        self.ahead = None;
        let Some(desired) = &self.open else { return Vec::new() };
        let turned = self.sources.iter_mut().filter_map(|source| {
            source.ahead(desired, now).turn.filter(|turn| *turn <= now)?;
            source.turned(desired, now)
        });
        turned.collect()
    }

    /// Rebuilds the schedules of managed sources.
    fn schedule(&mut self, records: &Records, timings: &mut Timings, now: Timestamp) {
        let desired = self.open.take().unwrap_or_else(|| self.task.desired.open());
        let before = self.scheduled.take();
        let mut known: BTreeMap<SourceName, Syncable> =
            self.sources.drain(..).map(|source| (source.name.clone(), source)).collect();
        let at_once: BTreeMap<&SourceName, Trigger> =
            records.at_once.iter().rev().map(|(name, why)| (name, *why)).collect();
        for (index, source) in desired.sources.iter().enumerate() {
            let (Some(spec), Some(ours)) = (&source.sync, records.owned.get(&source.name)) else { continue };
            let known = known.remove(&source.name);
            let fires_the_same = |known: &&Syncable| {
                let declared = before.as_ref().and_then(|before| known.declared(before));
                declared.is_some_and(|(_, before)| before.when == spec.when && before.jitter == spec.jitter)
            };
            let timing = match known.as_ref().filter(fires_the_same) {
                Some(known) => known.timing.clone(),
                None => match timings.compile(&desired.unit, &source.name, spec) {
                    Ok(timing) => timing,
                    Err(_) => continue,
                },
            };
            let heard = Heard {
                known,
                ours: *ours,
                run: records.runs.get(&source.name),
                at_once: at_once.get(&source.name).copied(),
            };
            self.sources.push(Syncable::new(source, index, timing, heard, now));
        }
        self.open = (!self.sources.is_empty()).then_some(desired);
        self.scheduled = self.open.clone();
        self.outdated = false;
        self.ahead = None;
    }

    /// Returns the firings due for these sources.
    ///
    /// Firings that will not run count as claimed, or they would reappear.
    fn firings(&mut self, of: &[usize], now: Timestamp) -> BTreeMap<usize, (Timestamp, Trigger)> {
        let mut firings = self.judge(of, now);
        let Some(desired) = &self.open else { return firings };
        for n in of {
            let source = &self.sources[*n];
            let is_active = source.declared(desired).is_some_and(|(source, _)| source.suspend.is_none());
            if let Some(trigger) = source.at_once().filter(|_| is_active) {
                firings.entry(*n).or_insert((now, trigger));
            }
        }
        firings
    }

    fn judge(&mut self, of: &[usize], now: Timestamp) -> BTreeMap<usize, (Timestamp, Trigger)> {
        let Some(desired) = self.open.clone() else { return BTreeMap::new() };
        let scheduled = of.iter().map(|n| {
            let source = &self.sources[*n];
            let (declared, spec) = source.declared(&desired)?;
            Some(source.scheduled(&desired, declared, spec))
        });
        let Some(scheduled) = scheduled.collect::<Option<Vec<_>>>().filter(|_| !self.outdated) else {
            return BTreeMap::new();
        };
        let decision = schedule::due(now, &scheduled);
        for (index, firing, outcome, message) in spent(&decision) {
            let source = self.source(of[index]);
            source.spend(firing);
            let name = source.name.clone();
            self.spent.push(Spent { name, firing, outcome, message });
        }
        decision.due.iter().map(|due| (of[due.index], (due.firing, Trigger::Schedule))).collect()
    }

    fn terms<'a>(&self, n: usize, desired: &'a DesiredUnit) -> Option<Terms<'a>> {
        let (declared, spec) = self.sources[n].declared(desired)?;
        Some(Terms { unit: &desired.unit, options: &declared.sync_options, timeout: spec.timeout })
    }

    /// Returns a source for modification.
    fn source(&mut self, n: usize) -> &mut Syncable {
        self.ahead = None;
        &mut self.sources[n]
    }

    fn place(&self, name: &SourceName) -> Option<usize> {
        self.sources.binary_search_by(|source| source.name.cmp(name)).ok()
    }
}

fn sooner(a: Option<Timestamp>, b: Option<Timestamp>) -> Option<Timestamp> {
    a.into_iter().chain(b).min()
}

/// Returns the retry delay: doubled per failure, spread by unit to avoid bursts.
fn retry_after(unit: &Unit, failures: u32, interval: SignedDuration) -> SignedDuration {
    let doubled =
        FIRST_RETRY.saturating_mul(1_i32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(i32::MAX));
    let wait = doubled.min(interval.max(FIRST_RETRY));
    let spread: u32 = unit.workspace.as_str().bytes().chain(unit.scope.as_str().bytes()).map(u32::from).sum();
    wait.saturating_mul(100 + i32::try_from(spread % 25).unwrap_or(0)) / 100
}
