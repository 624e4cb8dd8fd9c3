//! One unit on the board: its task, its passes, and the syncs of its sources.

use super::agenda::{PassDue, Standing, Tally};
use super::syncable::{Ahead, Syncable};
use super::{Ended, Records, Turned, later};
use crate::model::{DesiredUnit, SourceName, Unit};
use crate::reconcile::Task;
use crate::schedule::{self, Terms, Timings};
use crate::state::{Spent, Trigger};
use crate::sync::{Call, Member, spent};
use jiff::{SignedDuration, Timestamp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The first wait after a failed pass; each further failure doubles it up to the interval.
const FIRST_RETRY: SignedDuration = SignedDuration::from_secs(5);

/// While another process syncs a source, the state is asked this often whether it still does.
const ELSEWHERE: SignedDuration = SignedDuration::from_secs(5);

/// The most sources in one sync call.
const SYNC_BATCH: usize = 100;

/// A unit, with what is under way and what is due.
pub(super) struct Slot {
    pub(super) task: Task,
    /// The last reading asks for it.
    pub(super) declared: bool,
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
    /// A removal waits for a source of another workspace.
    waits_for_arrival: bool,
    /// How many passes had connected something when the last pass here began.
    arrivals: u64,
    /// Sorted by name, as the unit's sources are.
    pub(super) sources: Vec<Syncable>,
    /// What lies ahead of the first of them; forgotten whenever one changes.
    ahead: Option<Ahead>,
    /// What the files say, kept open while it has schedules.
    open: Option<Arc<DesiredUnit>>,
    /// What they said when `sources` was made.
    scheduled: Option<Arc<DesiredUnit>>,
    /// The files moved on; the pass that follows sets the schedule anew.
    outdated: bool,
    pub(super) sync_running: bool,
    /// Firings that will not run, not yet recorded.
    pub(super) spent: Vec<Spent>,
    /// As the agenda has it.
    pub(super) standing: Standing,
}

impl Slot {
    /// It was just declared, and is to be looked at now.
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

    /// What the files ask for from now on. Does that move anything that is due?
    pub(super) fn accept(&mut self, mut task: Task) -> bool {
        self.declared = true;
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

    /// The files or the clock say something else of every source.
    pub(super) fn reckon_anew(&mut self) {
        self.ahead = None;
        self.sources.iter_mut().for_each(Syncable::reckon_anew);
    }

    /// No file declares it, and nothing of it is under way.
    pub(super) fn is_over(&self) -> bool {
        self.gone && !self.running && !self.sync_running
    }

    /// What the whole board is to know of it.
    pub(super) fn stands(&mut self, now: Timestamp) -> Standing {
        if self.is_over() {
            return Standing::default();
        }
        let Ahead { ripe, turn } = self.ahead(now);
        // By what a pass has yet to take over, nothing is called stale.
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

    /// A pass begins. `arrivals` counts the passes of any unit that connected something.
    pub(super) fn begin_pass(&mut self, arrivals: u64) -> Task {
        self.arrivals = arrivals;
        self.running = true;
        self.wanted = false;
        self.passing_edit = std::mem::take(&mut self.edited);
        self.task.clone()
    }

    /// Decides when to look again, and takes over what the pass left behind.
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
        // What it waited for may be over by now.
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

    /// Marks the sources of the next call as running, if one is due. No more is judged than it takes to
    /// fill it.
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

    /// Nothing of the call is recorded: its firings are due as before.
    pub(super) fn sync_not_sent(&mut self, call: &Call) {
        self.sync_running = false;
        self.wanted |= std::mem::take(&mut self.waits_for_sync);
        for member in &call.members {
            if let Some(n) = self.place(&member.name) {
                self.source(n).not_sent(member.trigger);
            }
        }
    }

    /// Its sources count as synced, well or not.
    pub(super) fn sync_ended(&mut self, call: &Call, now: Timestamp) {
        let members: Vec<usize> = call.members.iter().filter_map(|member| self.place(&member.name)).collect();
        // Firings that came while it ran are judged before it counts as ended.
        let ripe: Vec<usize> = members.iter().copied().filter(|n| self.sources[*n].is_ripe(now)).collect();
        self.judge(&ripe, now);
        self.sync_running = false;
        self.wanted |= std::mem::take(&mut self.waits_for_sync);
        members.into_iter().for_each(|n| self.source(n).ended(now));
    }

    /// These synced well.
    pub(super) fn refreshed<'a>(&mut self, names: impl IntoIterator<Item = &'a SourceName>, now: Timestamp) {
        for name in names {
            if let Some(n) = self.place(name) {
                self.source(n).refreshed(now);
            }
        }
    }

    /// The sources whose data became stale since this was last asked, or fresh again.
    pub(super) fn turned(&mut self, now: Timestamp) -> Vec<Turned> {
        self.ahead = None;
        let Some(desired) = &self.open else { return Vec::new() };
        let turned = self.sources.iter_mut().filter_map(|source| {
            source.ahead(desired, now).turn.filter(|turn| *turn <= now)?;
            source.turned(desired, now)
        });
        turned.collect()
    }

    /// The schedules of what is ours.
    fn schedule(&mut self, records: &Records, timings: &mut Timings, now: Timestamp) {
        let desired = self.open.take().unwrap_or_else(|| self.task.desired.open());
        let before = self.scheduled.take();
        let mut known: BTreeMap<SourceName, Syncable> =
            self.sources.drain(..).map(|source| (source.name.clone(), source)).collect();
        let at_once: BTreeMap<&SourceName, Trigger> =
            records.at_once.iter().rev().map(|(name, why)| (name, *why)).collect();
        for (index, source) in desired.sources.iter().enumerate() {
            let (Some(spec), Some(since)) = (&source.sync, records.owned.get(&source.name)) else { continue };
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
            let heard = (known, records.runs.get(&source.name), at_once.get(&source.name).copied());
            self.sources.push(Syncable::new(source, index, timing, *since, heard, now));
        }
        self.open = (!self.sources.is_empty()).then_some(desired);
        self.scheduled = self.open.clone();
        self.outdated = false;
        self.ahead = None;
    }

    /// Of these sources, what is due. What will not run counts as claimed, or it would come back.
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

    /// To be changed.
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

/// Doubles from failure to failure; spread by unit, so that what failed together does not return together.
fn retry_after(unit: &Unit, failures: u32, interval: SignedDuration) -> SignedDuration {
    let doubled =
        FIRST_RETRY.saturating_mul(1_i32.checked_shl(failures.saturating_sub(1).min(16)).unwrap_or(i32::MAX));
    let wait = doubled.min(interval.max(FIRST_RETRY));
    let spread: u32 = unit.workspace.as_str().bytes().chain(unit.scope.as_str().bytes()).map(u32::from).sum();
    wait.saturating_mul(100 + i32::try_from(spread % 25).unwrap_or(0)) / 100
}
