//! Tests of the scheduler through the interface that the loop uses.

mod listed;
mod passes;
mod stale;
mod syncs;

use super::*;
use crate::manifest::{SourceFile, read};
use crate::state::RunOutcome;
use std::collections::BTreeSet;
use std::time::Duration as StdDuration;

const INTERVAL: SignedDuration = SignedDuration::from_secs(300);

fn at(seconds: i64) -> Timestamp {
    // Midnight, so that cron expressions are easy to follow.
    Timestamp::from_second(1_767_225_600 + seconds).unwrap()
}

/// Returns the tasks of workspace files, given as text.
fn tasks(texts: &[&str]) -> Asked {
    let files: Vec<SourceFile<'_>> = texts
        .iter()
        .enumerate()
        .map(|(n, text)| SourceFile { path: format!("{n}.toml").into(), text: Ok(text) })
        .collect();
    let reading = read(&files, &|_| None);
    assert!(!reading.has_errors(), "{:?}", reading.diagnostics);
    let tasks = reading.desired.units.into_iter().map(|unit| Task {
        desired: unit,
        owner: None,
        checkout: None,
        removals_barred: None,
        released: Vec::new(),
        declarations: Arc::default(),
    });
    Asked { tasks: tasks.collect(), ..Asked::default() }
}

/// Returns `n` empty workspaces.
fn workspaces(n: usize) -> Asked {
    let texts: Vec<String> = (0..n).map(|n| format!("[workspace]\nid = \"w{n:02}\"\n[sources]\n")).collect();
    tasks(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns one workspace `w` with a source for each (name, contents of its table).
fn sources(of: &[(&str, &str)]) -> Asked {
    let mut text = "[workspace]\nid = \"w\"\n".to_owned();
    for (name, rest) in of {
        text += &format!("[sources.{name}]\ntype = \"api\"\n{rest}\nconnection_config = {{ url = \"u\" }}\n");
    }
    tasks(&[&text])
}

fn board(asked: Asked) -> Board {
    let mut board = Board::new(16);
    assert!(board.accept(asked, None, at(0)).is_empty());
    board
}

fn unit(board: &Board, n: usize) -> Unit {
    (**board.slots.keys().nth(n).unwrap()).clone()
}

fn started(board: &mut Board, seconds: i64) -> Vec<Unit> {
    board.passes_due(at(seconds)).iter().map(|task| task.desired.unit.clone()).collect()
}

fn good() -> Ended {
    Ended { good: true, ..Ended::default() }
}

fn failed() -> Ended {
    Ended::default()
}

fn refused() -> Ended {
    Ended { unauthorized: true, ..Ended::default() }
}

/// Records in which all sources are managed and scheduled, and never ran.
fn all_ours(task: &Task) -> Records {
    let desired = task.desired.open();
    let ours = Ownership { scheduled_since: Some(at(0)), connected_at: None };
    let owned = desired.sources.iter().map(|source| (source.name.clone(), ours)).collect();
    Records { owned, runs: BTreeMap::new(), at_once: Vec::new() }
}

/// A good pass in which all sources are managed and scheduled from the start.
fn owned(board: &Board, runs: &[(&str, LastRun)]) -> Ended {
    let records = all_ours(&board.slots.values().next().unwrap().task);
    let name = |name: &str| SourceName::parse(name).unwrap();
    let runs = runs.iter().map(|(of, run)| (name(of), run.clone())).collect();
    Ended { records: Some(Records { runs, ..records }), ..good() }
}

/// Returns the scheduler after its first pass, before any run.
fn scheduled(of: &[(&str, &str)]) -> Board {
    let mut board = board(sources(of));
    pass(&mut board, 0, &[]);
    board
}

/// Runs a pass over the only unit, with these runs in the store.
fn pass(board: &mut Board, seconds: i64, runs: &[(&str, LastRun)]) {
    let unit = unit(board, 0);
    board.want_all(at(seconds));
    assert_eq!(started(board, seconds), std::slice::from_ref(&unit));
    let ended = owned(board, runs);
    board.pass_ended(&unit, ended, INTERVAL, at(seconds));
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
fn call(board: &mut Board, seconds: i64) -> Option<Call> {
    let mut calls = board.syncs_due(at(seconds));
    assert!(calls.len() <= 1);
    calls.pop()
}

fn firings(call: &Call) -> Vec<(&str, Timestamp, Trigger)> {
    call.members.iter().map(|member| (member.name.as_str(), member.firing, member.trigger)).collect()
}

const HOURLY: &str = "sync = { cron = \"0 * * * *\", on_connect = false }";
const QUEUED: &str = "sync = { cron = \"0 * * * *\", on_connect = false, overlap = \"queue\" }";
const MISSED: &str = "sync = { cron = \"0 * * * *\", on_connect = false, missed = \"skip\" }";
const CONNECT: &str = "sync = { cron = \"0 * * * *\", on_connect = true }";
const SUSPENDED: &str = "sync = { cron = \"0 * * * *\" }\nsuspend = { reason = \"r\" }";
