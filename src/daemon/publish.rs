//! Publishes the state of the daemon as immutable [`Snapshot`]s.
//!
//! A snapshot is replaced before each sleep of the loop if something changed. Readers cannot block the loop.

mod comparison;

use super::scheduler::Scheduler;
use super::{PassReport, TestEnded};
use crate::config::Severity;
use crate::load::{LoadedConfig, WorkSet};
use crate::model::{SourceName, WorkspaceRef};
use crate::observe::metrics::Metrics;
use crate::observe::{
    Facts, FilesStatus, LastSyncStatus, PassSpan, Problem, ProcessInfo, Snapshot, Test, WorkspaceSnapshot,
    record_pass,
};
use crate::plan::{ActionResult, ApplyOutcome, ErrorKind, WorkspacePlan};
use crate::store::RunOutcome;
use crate::sync::{SyncCall, SyncResult};
use comparison::{forget_comparison, record_comparison, restore_comparison};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// Maximum number of published errors in the files.
const MAX_DIAGNOSTICS: usize = 100;

/// Time per workspace within which changes are published together.
///
/// The cost of a snapshot depends on the number of workspaces, not on what changed. This is more than a
/// thousand times the time for building one.
const INTERVAL_PER_WORKSPACE: SignedDuration = SignedDuration::from_micros(50);

/// Keeps the next snapshot up to date; does nothing if no receiver exists.
pub struct Publisher(Option<Publication>);

struct Publication {
    sender: watch::Sender<Arc<Snapshot>>,
    metrics: Arc<Metrics>,
    about: Arc<ProcessInfo>,
    files: Arc<FilesStatus>,
    platform: Option<Problem>,
    workspaces: BTreeMap<WorkspaceRef, Arc<WorkspaceSnapshot>>,
    passes: Arc<VecDeque<PassSpan>>,
    changed: bool,
    at: Timestamp,
}

impl Publisher {
    /// Creates a publisher that does nothing.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    pub fn new(about: ProcessInfo, metrics: Arc<Metrics>) -> (Self, watch::Receiver<Arc<Snapshot>>) {
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
        let desk = Publication {
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
        let next = desk.at.checked_add(INTERVAL_PER_WORKSPACE * workspaces).unwrap_or(Timestamp::MAX);
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
    pub(super) fn config_unreadable(&mut self, why: &str) {
        let Some(desk) = &mut self.0 else { return };
        if desk.files.unreadable.as_deref() != Some(why) {
            Arc::make_mut(&mut desk.files).unreadable = Some(why.to_owned());
            desk.changed = true;
        }
    }

    pub(super) fn config_loaded(&mut self, reading: &LoadedConfig, elsewhere: bool, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        let found = |severity| reading.diagnostics.iter().filter(move |found| found.severity == severity);
        let (errors, warnings) = (|| found(Severity::Error), || found(Severity::Warning));
        desk.files = Arc::new(FilesStatus {
            read_at: Some(now),
            count: reading.file_count(),
            commit: desk.files.commit.clone(),
            rejected: errors().take(MAX_DIAGNOSTICS).cloned().collect(),
            errors: errors().count(),
            warnings: warnings().take(MAX_DIAGNOSTICS).cloned().collect(),
            warning_count: warnings().count(),
            unreadable: None,
            names_other_platform: elsewhere,
        });
        desk.changed = true;
    }

    /// Returns true if there is a receiver of snapshots.
    pub(super) fn is_active(&self) -> bool {
        self.0.is_some()
    }

    /// Records the commit of the files; `None` until it is known.
    pub(super) fn set_commit(&mut self, commit: Option<Arc<str>>) {
        let Some(desk) = &mut self.0 else { return };
        Arc::make_mut(&mut desk.files).commit = commit;
        desk.changed = true;
    }

    /// Records the declared workspaces after the scheduler has accepted them.
    pub(super) fn config_accepted(&mut self, asked: &BlockedWorkspaces, board: &Scheduler) {
        let Some(desk) = &mut self.0 else { return };
        let mut before = std::mem::take(&mut desk.workspaces);
        for task in board.tasks() {
            let (workspace, desired) = (&task.desired.unit, &task.desired);
            let mut snapshot = before
                .remove(workspace)
                .unwrap_or_else(|| Arc::new(WorkspaceSnapshot::new(Arc::clone(desired))));
            let held_by = asked.0.get(workspace);
            if !Arc::ptr_eq(&snapshot.desired, desired) || snapshot.blocked_by.as_ref() != held_by {
                let snapshot = Arc::make_mut(&mut snapshot);
                snapshot.declare(Arc::clone(desired));
                snapshot.blocked_by = held_by.cloned();
            }
            desk.workspaces.insert(workspace.clone(), snapshot);
        }
        desk.changed = true;
    }

    pub(super) fn pass_ended(&mut self, ended: &PassReport, took: Duration, good: bool, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        desk.metrics.record_pass(took, good);
        record_pass(Arc::make_mut(&mut desk.passes), took, good, now);
        count(&desk.metrics, &ended.plan, ended.outcome.as_ref());
        let workspace = ended.plan.unit();
        let Some(workspace) = desk.workspaces.get_mut(workspace) else { return };
        let workspace = Arc::make_mut(workspace);
        workspace.last_passed_at = Some(now);
        if ended.plan.error.as_ref().is_none_or(|error| error.kind == ErrorKind::List) {
            workspace.last_listed_at = Some(now);
        }
        if good {
            workspace.last_good_at = Some(now);
        }
        let error = ended.outcome.as_ref().map_or(&ended.plan.error, |outcome| &outcome.error);
        let since = workspace.error.as_ref().map_or(now, |before| before.since);
        workspace.error =
            error.as_ref().map(|error| Problem { kind: error.kind, message: error.message.clone(), since });
        if ended.plan.error.is_some() {
            forget_comparison(workspace);
        } else {
            record_comparison(workspace, &ended.plan, ended.outcome.as_ref(), now);
        }
        if let Some(records) = &ended.records {
            for (source, facts) in workspace.declared.iter().zip(&mut workspace.facts) {
                let managed = records.owned.get(&source.name);
                facts.managed = managed.is_some();
                let is_running = facts.last.as_ref().is_some_and(|last| !last.is_over());
                facts.unidentified = managed.is_some_and(|managed| managed.unidentified);
                let connection = managed.and_then(|managed| managed.connection.clone());
                let is_another = facts.managed && facts.connection != connection;
                if is_another {
                    (facts.connection, facts.last_success, facts.previous) = (connection, None, None);
                }
                let Some(run) = records.runs.get(&source.name) else {
                    // No recorded run belongs to the source that is connected now.
                    if facts.managed && !is_running {
                        (facts.last, facts.last_success) = (None, None);
                    }
                    continue;
                };
                let at = run.finished_at.unwrap_or(run.started_at);
                facts.last_success = facts.last_success.max(run.last_success);
                if is_another && !is_running || facts.last.as_ref().is_none_or(|last| last.at < at) {
                    let took = run.finished_at.map(|end| end.duration_since(run.started_at).unsigned_abs());
                    let (outcome, records) = (run.outcome, run.records);
                    facts.last = Some(Box::new(LastSyncStatus { at, outcome, message: None, took, records }));
                }
            }
        }
        desk.changed = true;
    }

    /// Records a pass that found nothing changed since a good one.
    pub(super) fn pass_unchanged(&mut self, workspace: &WorkspaceRef, took: Duration, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        desk.metrics.record_pass(took, true);
        record_pass(Arc::make_mut(&mut desk.passes), took, true, now);
        let Some(workspace) = desk.workspaces.get_mut(workspace).map(Arc::make_mut) else { return };
        restore_comparison(workspace);
        workspace.last_passed_at = Some(now);
        workspace.last_listed_at = Some(now);
        workspace.last_good_at = Some(now);
        desk.changed = true;
    }

    /// Records the next firings of a workspace's sources.
    pub(super) fn scheduled(&mut self, workspace: &WorkspaceRef, board: &Scheduler, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        let Some(snapshot) = desk.workspaces.get_mut(workspace).map(Arc::make_mut) else { return };
        for facts in &mut snapshot.facts {
            facts.next = None;
        }
        for (name, next) in board.schedules(workspace, now) {
            if let Some(facts) = snapshot.facts_mut(name) {
                facts.next = next;
            }
        }
        desk.changed = true;
    }

    pub(super) fn sync_started(&mut self, call: &SyncCall, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        let Some(workspace) = desk.workspaces.get_mut(&call.unit).map(Arc::make_mut) else { return };
        for member in &call.members {
            if let Some(facts) = workspace.facts_mut(&member.name) {
                let outcome = RunOutcome::Running;
                let running = LastSyncStatus { at: now, outcome, message: None, took: None, records: None };
                facts.previous = facts.last.replace(Box::new(running));
            }
        }
        desk.changed = true;
    }

    /// Records that a sync request was not sent after all.
    pub(super) fn sync_not_sent(&mut self, call: &SyncCall) {
        for member in &call.members {
            self.update(&call.unit, &member.name, |facts| facts.last = facts.previous.take());
        }
    }

    /// Records the end of a sync request.
    pub(super) fn synced(&mut self, workspace: &WorkspaceRef, synced: &[SyncResult]) {
        let Some(desk) = &mut self.0 else { return };
        synced.iter().for_each(|synced| desk.metrics.record_sync(synced.outcome, synced.records));
        let Some(workspace) = desk.workspaces.get_mut(workspace).map(Arc::make_mut) else { return };
        for synced in synced {
            let Some(facts) = workspace.facts_mut(&synced.name) else { continue };
            if synced.outcome == RunOutcome::Done {
                facts.last_success = Some(synced.finished_at);
            }
            let began = facts.last.as_ref().filter(|last| !last.is_over()).map(|last| last.at);
            facts.previous = None;
            facts.last = Some(Box::new(LastSyncStatus {
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
    pub(super) fn firing_skipped(&mut self, outcome: RunOutcome) {
        let Some(desk) = &mut self.0 else { return };
        desk.metrics.record_sync(outcome, None);
    }

    /// Records that the data of a source became stale or fresh.
    pub(super) fn freshness_changed(&mut self, workspace: &WorkspaceRef, name: &SourceName, stale: bool) {
        self.update(workspace, name, |facts| facts.stale = stale);
    }

    pub(super) fn test_ended(&mut self, tested: &TestEnded, now: Timestamp) {
        let Some(up) = tested.is_reachable else { return };
        self.update(&tested.workspace, &tested.name, |facts| {
            let since = facts.test.as_ref().filter(|before| before.up == up).map_or(now, |test| test.since);
            facts.test = Some(Box::new(Test { at: now, up, message: tested.message.clone(), since }));
        });
    }

    /// Records that the platform is unavailable, with the reason, or available again.
    pub(super) fn platform(&mut self, trouble: Option<(ErrorKind, String)>, now: Timestamp) {
        let Some(desk) = &mut self.0 else { return };
        let since = desk.platform.as_ref().map_or(now, |before| before.since);
        let trouble = trouble.map(|(kind, message)| Problem { kind, message, since });
        desk.changed |= desk.platform != trouble;
        desk.platform = trouble;
    }

    fn update(&mut self, workspace: &WorkspaceRef, name: &SourceName, change: impl FnOnce(&mut Facts)) {
        let Some(desk) = &mut self.0 else { return };
        let Some(workspace) = desk.workspaces.get_mut(workspace).map(Arc::make_mut) else { return };
        if let Some(facts) = workspace.facts_mut(name) {
            change(facts);
            desk.changed = true;
        }
    }
}

/// Workspaces that use their last valid configuration because of a broken file.
pub(super) struct BlockedWorkspaces(BTreeMap<WorkspaceRef, Arc<str>>);

impl BlockedWorkspaces {
    pub(super) fn by(asked: &WorkSet) -> Self {
        Self(asked.blocked.clone())
    }
}

fn count(metrics: &Metrics, plan: &WorkspacePlan, outcome: Option<&ApplyOutcome>) {
    let results = outcome.map(|outcome| outcome.results.as_slice()).unwrap_or_default();
    for (action, result) in plan.actions.iter().zip(results) {
        match result {
            ActionResult::Done => metrics.record_change(action.step.kind().as_str(), "done"),
            ActionResult::Failed(_) => metrics.record_change(action.step.kind().as_str(), "failed"),
            ActionResult::Skipped(_) | ActionResult::Open => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, read};

    fn at(microseconds: i64) -> Timestamp {
        Timestamp::from_microsecond(1_000_000 + microseconds).unwrap()
    }

    fn publisher(workspaces: usize) -> (Publisher, watch::Receiver<Arc<Snapshot>>) {
        let about = ProcessInfo {
            root: "/tree".into(),
            platform: "https://px.example.com".to_owned(),
            interval: SignedDuration::from_mins(1),
            dry_run: false,
            started: at(0),
            warnings: Vec::new(),
        };
        let (mut publisher, published) = Publisher::new(about, Arc::default());
        let text = |n| format!("[workspace]\nid = \"w{n}\"\n[sources]\n");
        let texts: Vec<String> = (0..workspaces).map(text).collect();
        let file = |(n, text)| SourceFile { path: format!("{n}.toml").into(), text: Ok(text) };
        let files: Vec<SourceFile<'_>> = texts.iter().map(String::as_str).enumerate().map(file).collect();
        let workspaces = read(&files, &|_| None).desired.workspaces;
        let known = workspaces
            .into_iter()
            .map(|workspace| (workspace.unit.clone(), Arc::new(WorkspaceSnapshot::new(workspace))));
        publisher.0.as_mut().unwrap().workspaces = known.collect();
        (publisher, published)
    }

    #[test]
    fn what_changes_within_a_moment_is_handed_out_together_and_not_kept_back() {
        let (mut publisher, published) = publisher(20);
        let unreadable = || published.borrow().files.unreadable.clone();
        publisher.config_unreadable("first");
        assert_eq!(publisher.publish(at(0)), None);
        assert_eq!(unreadable().as_deref(), Some("first"), "nothing was handed out just before");

        publisher.config_unreadable("second");
        assert_eq!(publisher.publish(at(10)), Some(at(1_000)));
        publisher.config_unreadable("third");
        assert_eq!(publisher.publish(at(999)), Some(at(1_000)));
        assert_eq!(unreadable().as_deref(), Some("first"));
        assert_eq!(publisher.publish(at(1_000)), None);
        assert_eq!(unreadable().as_deref(), Some("third"));

        publisher.config_unreadable("fourth");
        assert_eq!(publisher.publish(at(-10)), None, "the clock was set back");
        assert_eq!(unreadable().as_deref(), Some("fourth"));
    }
}
