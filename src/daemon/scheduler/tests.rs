//! Tests of the scheduler through the interface that the loop uses.

mod listed;
mod passes;
mod stale;
mod syncs;

use super::*;
use crate::config::{SourceFile, read};
use crate::store::RunOutcome;
use std::collections::BTreeSet;
use std::time::Duration as StdDuration;

const INTERVAL: SignedDuration = SignedDuration::from_secs(300);

fn at(seconds: i64) -> Timestamp {
    // Midnight, so that cron expressions are easy to follow.
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// Returns the tasks of workspace files, given as text.
fn tasks(texts: &[&str]) -> WorkSet {
    let files: Vec<SourceFile<'_>> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| SourceFile { path: format!("{n}.toml").into(), text: Ok(text) })
        .collect();
    let reading = read(&files, &|_| None);
    assert!(!reading.has_errors(), "{:?}", reading.diagnostics);
    let tasks = reading.desired.workspaces.into_iter().map(|workspace| Task {
        desired: workspace,
        owner: None,
        checkout: None,
        removals_blocked: None,
        released: Vec::new(),
        declarations: Arc::default(),
    });
    WorkSet { tasks: tasks.collect(), ..WorkSet::default() }
}

fn work_set(n: usize) -> WorkSet {
    let texts: Vec<String> = (0..n).map(|n| format!("[workspace]\nid = \"w{n:02}\"\n[sources]\n")).collect();
    tasks(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns one workspace `w` with a source for each (name, contents of its table).
fn sources(of: &[(&str, &str)]) -> WorkSet {
    let mut text = "[workspace]\nid = \"w\"\n".to_owned();
    for (name, rest) in of {
        text += &format!("[sources.{name}]\ntype = \"api\"\n{rest}\nconnection_config = {{ url = \"u\" }}\n");
    }
    tasks(&[&text])
}

fn board(asked: WorkSet) -> Scheduler {
    let mut board = Scheduler::new(16);
    assert!(board.set_workspaces(asked, None, at(0)).is_empty());
    board
}

fn workspace(board: &Scheduler, n: usize) -> WorkspaceRef {
    (**board.entries.keys().nth(n).unwrap()).clone()
}

fn started(board: &mut Scheduler, seconds: i64) -> Vec<WorkspaceRef> {
    board.take_due_passes(at(seconds)).iter().map(|task| task.desired.unit.clone()).collect()
}

fn good() -> PassResult {
    PassResult { succeeded: true, ..PassResult::default() }
}

fn failed() -> PassResult {
    PassResult::default()
}

fn refused() -> PassResult {
    PassResult { unauthorized: true, ..PassResult::default() }
}

/// Records in which all sources are managed and scheduled, and never ran.
fn all_ours(task: &Task) -> PassRecords {
    let desired = task.desired.open();
    let ours = Ownership { scheduled_since: Some(at(0)), ..Ownership::default() };
    let owned = desired.sources.iter().map(|source| (source.name.clone(), ours.clone())).collect();
    PassRecords { owned, runs: BTreeMap::new(), immediate_syncs: Vec::new() }
}

/// A good pass in which all sources are managed and scheduled from the start.
fn owned(board: &Scheduler, runs: &[(&str, LastRun)]) -> PassResult {
    let records = all_ours(&board.entries.values().next().unwrap().task);
    let name = |name: &str| SourceName::parse(name).unwrap();
    let runs = runs.iter().map(|(of, run)| (name(of), run.clone())).collect();
    PassResult { records: Some(PassRecords { runs, ..records }), ..good() }
}

/// Returns the scheduler after its first pass, before any run.
fn scheduled(of: &[(&str, &str)]) -> Scheduler {
    let mut board = board(sources(of));
    pass(&mut board, 0, &[]);
    board
}

/// Runs a pass over the only workspace, with these runs in the store.
fn pass(board: &mut Scheduler, seconds: i64, runs: &[(&str, LastRun)]) {
    let workspace = workspace(board, 0);
    board.request_all(at(seconds));
    assert_eq!(started(board, seconds), std::slice::from_ref(&workspace));
    let ended = owned(board, runs);
    board.finish_pass(&workspace, ended, INTERVAL, at(seconds));
}

fn run(firing: i64, outcome: RunOutcome, ended: Option<i64>) -> LastRun {
    LastRun {
        firing: at(firing),
        started_at: at(firing),
        finished_at: ended.map(at),
        outcome,
        last_success: None,
        records: None,
    }
}

/// Returns the one request that is due.
fn call(board: &mut Scheduler, seconds: i64) -> Option<SyncCall> {
    let mut calls = board.take_due_syncs(at(seconds));
    assert!(calls.len() <= 1);
    calls.pop()
}

fn firings(call: &SyncCall) -> Vec<(&str, Timestamp, Trigger)> {
    call.members.iter().map(|member| (member.name.as_str(), member.firing, member.trigger)).collect()
}

const HOURLY: &str = "sync = { cron = \"0 * * * *\", on_connect = false }";
const QUEUED: &str = "sync = { cron = \"0 * * * *\", on_connect = false, overlap = \"queue\" }";
const MISSED: &str = "sync = { cron = \"0 * * * *\", on_connect = false, missed = \"skip\" }";
const CONNECT: &str = "sync = { cron = \"0 * * * *\", on_connect = true }";
const SUSPENDED: &str = "sync = { cron = \"0 * * * *\" }\nsuspend = { reason = \"r\" }";
