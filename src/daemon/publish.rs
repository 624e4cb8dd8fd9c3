//! Publishes the state of the daemon as immutable [`Snapshot`]s.
//!
//! A snapshot is replaced before each sleep of the loop if something changed. Readers cannot block the loop.

use super::board::Board;
use super::{Made, Tested};
use crate::manifest::Severity;
use crate::model::{SourceName, Unit};
use crate::plan::{Action, ActionResult, ErrorKind, Outcome, UnitPlan, Unmanaged, WithheldReason};
use crate::reading::{Asked, Reading};
use crate::state::RunOutcome;
use crate::status::metrics::Metrics;
use crate::status::{
    About, Config, Facts, Files, LastSync, Mended, PassSpan, Snapshot, Stranger, Test, Trouble, Withheld,
    Workspace, passed,
};
use crate::sync::{Call, Synced};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Maximum number of published errors in the files.
const MOST_FINDINGS: usize = 100;

/// Maximum number of published drift corrections per workspace.
const MOST_MENDED: usize = 20;

/// Maximum number of named unmanaged sources per workspace.
const MOST_STRANGERS: usize = 100;

/// Time per workspace within which changes are published together.
///
/// The cost of a snapshot depends on the number of workspaces, not on what changed. This is more than a
/// thousand times the time for building one.
const TOGETHER: SignedDuration = SignedDuration::from_micros(50);

/// Keeps the next snapshot up to date; does nothing if no receiver exists.
pub struct Publisher(Option<Desk>);

struct Desk {
    sender: watch::Sender<Arc<Snapshot>>,
    metrics: Arc<Metrics>,
    about: Arc<About>,
    files: Arc<Files>,
    platform: Option<Trouble>,
    workspaces: BTreeMap<Unit, Arc<Workspace>>,
    passes: Arc<VecDeque<PassSpan>>,
    changed: bool,
    /// Time of the last snapshot.
    at: Timestamp,
}

impl Publisher {
    /// Creates a publisher that does nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// Creates a publisher and the receiver of its snapshots.
    #[must_use]
    pub fn new(about: About, metrics: Arc<Metrics>) -> (Self, watch::Receiver<Arc<Snapshot>>) {
        let about = Arc::new(about);
        let first = Snapshot {
            at: about.started,
            about: Arc::clone(&about),
            files: Arc::default(),
            platform: None,
            workspaces: Vec::new(),
            passes: Arc::default(),
        };
        let (sender, receiver) = watch::channel(Arc::new(first));
        let desk = Desk {
            sender,
            metrics,
            about,
            files: Arc::default(),
            platform: None,
            workspaces: BTreeMap::new(),
            passes: Arc::default(),
            changed: false,
            at: Timestamp::MIN,
        };
        (Self(Some(desk)), receiver)
    }

    /// Publishes changes since the last call, or returns when to publish them.
    pub(super) fn publish(&mut self, now: Timestamp) -> Option<Timestamp> {
        let desk = self.0.as_mut()?;
        desk.metrics.turned(now);
        if !desk.changed {
            return None;
        }
        let workspaces = i32::try_from(desk.workspaces.len()).unwrap_or(i32::MAX);
        let next = desk.at.checked_add(TOGETHER * workspaces).unwrap_or(Timestamp::MAX);
        if (desk.at..next).contains(&now) {
            return Some(next);
        }
        let snapshot = Snapshot {
            about: Arc::clone(&desk.about),
            at: now,
            files: Arc::clone(&desk.files),
            platform: desk.platform.clone(),
            workspaces: desk.workspaces.values().cloned().collect(),
            passes: Arc::clone(&desk.passes),
        };
        desk.sender.send_replace(Arc::new(snapshot));
        desk.changed = false;
        desk.at = now;
        None
    }

    /// Records that the directory cannot be read.
    pub(super) fn unreadable(&mut self, why: &str) {
        let Some(desk) = &mut self.0 else { return };
        if desk.files.unreadable.as_deref() != Some(why) {
            Arc::make_mut(&mut desk.files).unreadable = Some(why.to_owned());
            desk.changed = true;
        }
    }

    /// Records an accepted load.
    pub(super) fn read(&mut self, reading: &Reading, elsewhere: bool, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        let found = |severity| reading.diagnostics.iter().filter(move |found| found.severity == severity);
        let (errors, warnings) = (|| found(Severity::Error), || found(Severity::Warning));
        desk.files = Arc::new(Files {
            read_at: Some(now),
            count: reading.file_count(),
            commit: reading.commit().cloned(),
            rejected: errors().take(MOST_FINDINGS).cloned().collect(),
            errors: errors().count(),
            warnings: warnings().take(MOST_FINDINGS).cloned().collect(),
            warning_count: warnings().count(),
            unreadable: None,
            elsewhere,
        });
        desk.changed = true;
    }

    /// Records that the same files now belong to this commit.
    pub(super) fn checked_out(&mut self, commit: Option<&Arc<str>>) {
        let Some(desk) = &mut self.0 else { return };
        Arc::make_mut(&mut desk.files).commit = commit.cloned();
        desk.changed = true;
    }

    /// Records the declared workspaces after the scheduler has accepted them.
    pub(super) fn accepted(&mut self, asked: &Held, board: &Board) {
        let Some(desk) = &mut self.0 else { return };
        let mut before = std::mem::take(&mut desk.workspaces);
        for task in board.tasks() {
            let (unit, desired) = (&task.desired.unit, &task.desired);
            let mut workspace =
                before.remove(unit).unwrap_or_else(|| Arc::new(Workspace::new(Arc::clone(desired))));
            let held_by = asked.0.get(unit);
            if !Arc::ptr_eq(&workspace.desired, desired) || workspace.held_by.as_ref() != held_by {
                let workspace = Arc::make_mut(&mut workspace);
                workspace.declare(Arc::clone(desired));
                workspace.held_by = held_by.cloned();
            }
            desk.workspaces.insert(unit.clone(), workspace);
        }
        desk.changed = true;
    }

    /// Records the end of a pass.
    pub(super) fn pass_ended(&mut self, ended: &Made, took: Duration, good: bool, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        desk.metrics.passed(took, good);
        passed(Arc::make_mut(&mut desk.passes), took, good, now);
        count(&desk.metrics, &ended.plan, ended.outcome.as_ref());
        let unit = ended.plan.unit();
        let Some(workspace) = desk.workspaces.get_mut(unit) else { return };
        let workspace = Arc::make_mut(workspace);
        workspace.passed_at = Some(now);
        if ended.plan.error.as_ref().is_none_or(|error| error.kind == ErrorKind::List) {
            workspace.answered_at = Some(now);
        }
        if good {
            workspace.good_at = Some(now);
        }
        let error = ended.outcome.as_ref().map_or(&ended.plan.error, |outcome| &outcome.error);
        let since = workspace.error.as_ref().map_or(now, |before| before.since);
        workspace.error = error.as_ref().map(|error| Trouble {
            kind: error.kind.as_str(),
            message: error.message.clone(),
            since,
        });
        if ended.plan.error.is_none() {
            compared(workspace, &ended.plan, ended.outcome.as_ref(), now);
        }
        if let Some(records) = &ended.records {
            for (source, facts) in workspace.declared.iter().zip(&mut workspace.facts) {
                let ours = records.owned.get(&source.name);
                facts.ours = ours.is_some();
                let is_running = facts.last.as_ref().is_some_and(|last| !last.is_over());
                let connected_at = ours.and_then(|ours| ours.connected_at);
                let is_another = facts.ours && facts.connected_at != connected_at;
                if is_another {
                    (facts.connected_at, facts.last_success, facts.before) = (connected_at, None, None);
                }
                let Some(run) = records.runs.get(&source.name) else {
                    // No recorded run belongs to the source that is connected now.
                    if facts.ours && !is_running {
                        (facts.last, facts.last_success) = (None, None);
                    }
                    continue;
                };
                let at = run.finished_at.unwrap_or(run.started_at);
                facts.last_success = facts.last_success.max(run.last_success);
                if is_another && !is_running || facts.last.as_ref().is_none_or(|last| last.at < at) {
                    let took = run.finished_at.map(|end| end.duration_since(run.started_at).unsigned_abs());
                    let (outcome, records) = (run.outcome, run.records);
                    facts.last = Some(Box::new(LastSync { at, outcome, message: None, took, records }));
                }
            }
        }
        desk.changed = true;
    }

    /// Records a pass that found nothing changed since a good one.
    pub(super) fn passed_as_before(&mut self, unit: &Unit, took: Duration, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        desk.metrics.passed(took, true);
        passed(Arc::make_mut(&mut desk.passes), took, true, now);
        let Some(workspace) = desk.workspaces.get_mut(unit).map(Arc::make_mut) else { return };
        workspace.passed_at = Some(now);
        workspace.answered_at = Some(now);
        workspace.good_at = Some(now);
        desk.changed = true;
    }

    /// Records the next firings of a workspace's sources.
    pub(super) fn scheduled(&mut self, unit: &Unit, board: &Board, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        let Some(workspace) = desk.workspaces.get_mut(unit).map(Arc::make_mut) else { return };
        for facts in &mut workspace.facts {
            facts.next = None;
        }
        for (name, next) in board.schedules(unit, now) {
            if let Some(facts) = workspace.facts_of(name) {
                facts.next = next;
            }
        }
        desk.changed = true;
    }

    /// Records the start of a sync request.
    pub(super) fn sync_started(&mut self, call: &Call, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        let Some(workspace) = desk.workspaces.get_mut(&call.unit).map(Arc::make_mut) else { return };
        for member in &call.members {
            if let Some(facts) = workspace.facts_of(&member.name) {
                let outcome = RunOutcome::Running;
                let running = LastSync { at: now, outcome, message: None, took: None, records: None };
                facts.before = facts.last.replace(Box::new(running));
            }
        }
        desk.changed = true;
    }

    /// Records that a sync request was not sent after all.
    pub(super) fn sync_not_sent(&mut self, call: &Call) {
        for member in &call.members {
            self.with(&call.unit, &member.name, |facts| facts.last = facts.before.take());
        }
    }

    /// Records the end of a sync request.
    pub(super) fn synced(&mut self, unit: &Unit, synced: &[Synced]) {
        let Some(desk) = &mut self.0 else { return };
        synced.iter().for_each(|synced| desk.metrics.synced(synced.outcome, synced.records));
        let Some(workspace) = desk.workspaces.get_mut(unit).map(Arc::make_mut) else { return };
        for synced in synced {
            let Some(facts) = workspace.facts_of(&synced.name) else { continue };
            if synced.outcome == RunOutcome::Done {
                facts.last_success = Some(synced.finished_at);
            }
            let began = facts.last.as_ref().filter(|last| !last.is_over()).map(|last| last.at);
            facts.before = None;
            facts.last = Some(Box::new(LastSync {
                at: synced.finished_at,
                outcome: synced.outcome,
                took: began.map(|began| synced.finished_at.duration_since(began).unsigned_abs()),
                records: synced.records,
                message: synced.message.as_deref().map(Into::into),
            }));
        }
        desk.changed = true;
    }

    /// Counts a recorded firing that will not run.
    pub(super) fn spent(&mut self, outcome: RunOutcome) {
        let Some(desk) = &mut self.0 else { return };
        desk.metrics.synced(outcome, None);
    }

    /// Records that the data of a source became stale or fresh.
    pub(super) fn turned(&mut self, unit: &Unit, name: &SourceName, stale: bool) {
        self.with(unit, name, |facts| facts.stale = stale);
    }

    /// Records the end of a connection test.
    pub(super) fn tested(&mut self, tested: &Tested, now: Timestamp) {
        let Some(up) = tested.up else { return };
        self.with(&tested.unit, &tested.name, |facts| {
            let since = facts.test.as_ref().filter(|before| before.up == up).map_or(now, |test| test.since);
            facts.test = Some(Box::new(Test { at: now, up, message: tested.message.clone(), since }));
        });
    }

    /// Records that the platform is unavailable, with the reason, or available again.
    pub(super) fn platform(&mut self, trouble: Option<(&'static str, String)>, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        let since = desk.platform.as_ref().map_or(now, |before| before.since);
        let trouble = trouble.map(|(kind, message)| Trouble { kind, message, since });
        desk.changed |= desk.platform != trouble;
        desk.platform = trouble;
    }

    fn with(&mut self, unit: &Unit, name: &SourceName, change: impl FnOnce(&mut Facts)) {
        let Some(desk) = &mut self.0 else { return };
        let Some(workspace) = desk.workspaces.get_mut(unit).map(Arc::make_mut) else { return };
        if let Some(facts) = workspace.facts_of(name) {
            change(facts);
            desk.changed = true;
        }
    }
}

/// Workspaces that use their last valid configuration because of a broken file.
pub(super) struct Held(BTreeMap<Unit, Arc<str>>);

impl Held {
    pub(super) fn by(asked: &Asked) -> Self {
        Self(asked.held.clone())
    }
}

fn count(metrics: &Metrics, plan: &UnitPlan, outcome: Option<&Outcome>) {
    let results = outcome.map(|outcome| outcome.results.as_slice()).unwrap_or_default();
    for (action, result) in plan.actions.iter().zip(results) {
        match result {
            ActionResult::Done => metrics.changed(action.step.kind().as_str(), "done"),
            ActionResult::Failed(_) => metrics.changed(action.step.kind().as_str(), "failed"),
            ActionResult::Skipped(_) | ActionResult::Open => {}
        }
    }
}

/// Sets the state of each source from a plan and its outcome.
fn compared(workspace: &mut Workspace, plan: &UnitPlan, outcome: Option<&Outcome>, now: Timestamp) {
    for facts in &mut workspace.facts {
        facts.config = Config::Unknown;
        facts.why = None;
    }
    plan.unchanged.iter().for_each(|name| say(workspace, name, Config::InSync, None));
    for suspended in &plan.suspended {
        say(workspace, &suspended.name, Config::Suspended, Some(&suspended.reason));
    }
    for unchecked in &plan.unchecked {
        say(workspace, &unchecked.name, Config::Failing, Some(&unchecked.why));
    }
    // Removals wait about a second for stable files; not worth reporting.
    workspace.withheld = plan
        .withheld
        .iter()
        .filter(|withheld| withheld.code != WithheldReason::Unsettled)
        .map(withheld)
        .collect();
    for withheld in &plan.withheld {
        say(workspace, &withheld.name, Config::Withheld, Some(&withheld.reason));
    }
    workspace.unmanaged = plan.unmanaged.len();
    let strangers = plan.unmanaged.iter().take(MOST_STRANGERS);
    let stranger = |it: &Unmanaged| Stranger { name: it.name.clone(), kind: it.kind.clone() };
    workspace.strangers = strangers.map(stranger).collect();
    workspace.to_do.clear();
    for (n, action) in plan.actions.iter().enumerate() {
        let result = outcome.and_then(|outcome| outcome.results.get(n));
        if result != Some(&ActionResult::Done) {
            *workspace.to_do.entry(action.step.kind().as_str()).or_default() += 1;
        } else if action.mends_drift {
            mended(&mut workspace.mended, action, now);
        }
        let (config, why) = match result {
            Some(ActionResult::Done) => (Config::InSync, None),
            Some(ActionResult::Failed(why)) => (Config::Failing, Some(why.as_str())),
            // Without its secret the action can never be done.
            Some(ActionResult::Skipped(why)) if action.lacks_secret.is_some() => {
                (Config::Failing, Some(why.as_str()))
            }
            Some(ActionResult::Skipped(why)) => (Config::Pending, Some(why.as_str())),
            Some(ActionResult::Open) | None => (Config::Pending, Some(action.reason.as_str())),
        };
        say(workspace, &action.name, config, why);
    }
}

/// Sets the state of a source unless a more severe one is set already.
fn say(workspace: &mut Workspace, name: &SourceName, config: Config, why: Option<&str>) {
    let Some(facts) = workspace.facts_of(name) else { return };
    if facts.config == Config::Unknown || config < facts.config {
        facts.config = config;
        facts.why = why.map(Into::into);
    }
    facts.ours |= config == Config::InSync;
}

fn withheld(withheld: &crate::plan::Withheld) -> Withheld {
    let crate::plan::Withheld { source, name, action, code, reason, at, allow, refused: _, changes: _ } =
        withheld.clone();
    let (action, code) = (action.as_str(), code.as_str());
    Withheld { source, name, action, code, reason, at, allow }
}

fn mended(known: &mut Vec<Mended>, action: &Action, at: Timestamp) {
    if known.len() == MOST_MENDED {
        known.remove(0);
    }
    let (source, name, reason) = (action.source.clone(), action.name.clone(), action.reason.clone());
    known.push(Mended { source, name, action: action.step.kind().as_str(), reason, at });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{SourceFile, read};

    fn at(microseconds: i64) -> Timestamp {
        Timestamp::from_microsecond(1_000_000 + microseconds).unwrap()
    }

    /// Creates a publisher with this number of workspaces.
    fn publisher(workspaces: usize) -> (Publisher, watch::Receiver<Arc<Snapshot>>) {
        let about = About {
            root: "/tree".into(),
            platform: "https://px.example.com".to_owned(),
            interval: SignedDuration::from_mins(1),
            dry_run: false,
            started: at(0),
        };
        let (mut publisher, published) = Publisher::new(about, Arc::default());
        let text = |n| format!("[workspace]\nid = \"w{n}\"\n[sources]\n");
        let texts: Vec<String> = (0..workspaces).map(text).collect();
        let file = |(n, text)| SourceFile { path: format!("{n}.toml").into(), text: Ok(text) };
        let files: Vec<SourceFile<'_>> = texts.iter().map(String::as_str).enumerate().map(file).collect();
        let units = read(&files, &|_| None).desired.units;
        let known = units.into_iter().map(|unit| (unit.unit.clone(), Arc::new(Workspace::new(unit))));
        publisher.0.as_mut().unwrap().workspaces = known.collect();
        (publisher, published)
    }

    #[test]
    fn what_changes_within_a_moment_is_handed_out_together_and_not_kept_back() {
        let (mut publisher, published) = publisher(20);
        let unreadable = || published.borrow().files.unreadable.clone();
        publisher.unreadable("first");
        assert_eq!(publisher.publish(at(0)), None);
        assert_eq!(unreadable().as_deref(), Some("first"), "nothing was handed out just before");

        publisher.unreadable("second");
        assert_eq!(publisher.publish(at(10)), Some(at(1_000)));
        publisher.unreadable("third");
        assert_eq!(publisher.publish(at(999)), Some(at(1_000)));
        assert_eq!(unreadable().as_deref(), Some("first"));
        assert_eq!(publisher.publish(at(1_000)), None);
        assert_eq!(unreadable().as_deref(), Some("third"));

        publisher.unreadable("fourth");
        assert_eq!(publisher.publish(at(-10)), None, "the clock was set back");
        assert_eq!(unreadable().as_deref(), Some("fourth"));
    }
}
