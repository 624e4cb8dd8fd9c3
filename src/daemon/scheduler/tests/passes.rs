//! Due times of passes.
use crate::plan::WithheldReason;

use super::*;

#[test]
fn a_new_workspace_is_passed_over_at_once_and_then_every_interval() {
    let mut board = board(work_set(1));
    let workspace = workspace(&board, 0);
    assert_eq!(started(&mut board, 0), std::slice::from_ref(&workspace));
    assert!(started(&mut board, 1).is_empty(), "one pass at a time");
    board.finish_pass(&workspace, good(), INTERVAL, at(2));
    assert!(started(&mut board, 301).is_empty());
    assert_eq!(board.next_wake(at(2)), Some(at(302)));
    assert_eq!(started(&mut board, 302), [workspace]);
}

#[test]
fn failures_back_off_from_five_seconds_to_the_interval_and_an_edit_resets() {
    let mut board = board(work_set(1));
    let workspace = workspace(&board, 0);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(started(&mut board, now).len(), 1);
        board.finish_pass(&workspace, failed(), INTERVAL, at(now));
        let next = board.next_wake(at(now)).unwrap();
        let wait = next.duration_since(at(now)).as_secs_f64();
        waits.push(wait);
        now = next.as_second() - at(0).as_second() + 1;
    }
    for (wait, plain) in waits.iter().zip([5., 10., 20., 40., 80., 160., 300., 300., 300.]) {
        assert!((plain..=plain * 1.25).contains(wait), "{waits:?}");
    }
    board.finish_pass(&workspace, failed(), INTERVAL, at(now));
    board.set_workspaces(
        tasks(&["[workspace]\nid = \"w00\"\n[sources.a]\ntype = \"api\"\nconnection_config = {}\n"]),
        None,
        at(now),
    );
    assert_eq!(started(&mut board, now), std::slice::from_ref(&workspace), "what is edited is tried at once");
    board.finish_pass(&workspace, failed(), INTERVAL, at(now));
    assert!(board.next_wake(at(now)).unwrap() < at(now + 7));
}

#[test]
fn what_failed_together_does_not_return_together() {
    let mut board = board(work_set(10));
    let workspaces = started(&mut board, 0);
    for workspace in &workspaces {
        board.finish_pass(workspace, failed(), INTERVAL, at(0));
    }
    let unique: BTreeSet<Timestamp> = board.entries.values().map(|slot| slot.next_check_at).collect();
    assert!(unique.len() > 5, "{unique:?}");
}

#[test]
fn only_so_many_passes_run_at_once_and_waiting_for_one_to_end_is_no_busy_loop() {
    let mut board = board(work_set(40));
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let workspaces = started(&mut board, 0);
        assert!(workspaces.len() <= MAX_PASSES);
        if workspaces.len() == MAX_PASSES {
            assert_eq!(board.next_wake(at(0)), None);
        }
        for workspace in workspaces {
            board.finish_pass(&workspace, good(), INTERVAL, at(1));
            seen.insert(workspace);
        }
    }
    assert_eq!(seen.len(), 40, "all of them had a turn");
}

#[test]
fn a_refused_token_costs_one_call_a_minute_however_many_workspaces_there_are() {
    let mut board = board(work_set(10));
    let workspaces = started(&mut board, 0);
    let mut told = 0;
    for workspace in &workspaces {
        board.finish_pass(workspace, refused(), INTERVAL, at(1));
        told += usize::from(board.start_auth_pause(at(1)));
    }
    assert_eq!(told, 1);
    let mut calls = 0;
    for now in 2..=601 {
        for workspace in started(&mut board, now) {
            calls += 1;
            assert!(started(&mut board, now).is_empty());
            assert!(!board.finish_pass(&workspace, refused(), INTERVAL, at(now)));
            assert!(!board.start_auth_pause(at(now)));
        }
        assert!(board.next_wake(at(now)).unwrap() > at(now), "no busy loop");
    }
    assert_eq!(calls, 10);
    let probe = started(&mut board, 662);
    assert_eq!(probe.len(), 1);
    assert!(board.finish_pass(&probe[0], good(), INTERVAL, at(662)), "it goes on by itself");
    assert!(!board.is_paused());
    assert_eq!(started(&mut board, 662).len(), 9, "and the others follow at once");
}

#[test]
fn a_pass_from_before_the_pause_does_not_end_it_and_a_signal_tries_at_once() {
    let mut board = board(work_set(3));
    let workspaces = started(&mut board, 0);
    board.finish_pass(&workspaces[0], refused(), INTERVAL, at(1));
    board.start_auth_pause(at(1));
    assert!(!board.finish_pass(&workspaces[1], good(), INTERVAL, at(2)));
    assert!(board.is_paused());
    board.request_all(at(3));
    assert_eq!(started(&mut board, 3).len(), 1);
}

#[test]
fn when_the_probed_workspace_is_gone_another_one_is_probed() {
    let mut board = board(work_set(2));
    for workspace in started(&mut board, 0) {
        board.finish_pass(&workspace, refused(), INTERVAL, at(0));
    }
    board.start_auth_pause(at(0));
    let probe = started(&mut board, 60);
    board.set_workspaces(
        WorkSet { tasks: vec![board.entries.values().nth(1).unwrap().task.clone()], ..WorkSet::default() },
        None,
        at(61),
    );
    board.finish_pass(&probe[0], refused(), INTERVAL, at(62));
    board.start_auth_pause(at(62));
    let second = started(&mut board, 122);
    assert_eq!(second.len(), 1);
    assert_ne!(second, probe);
}

#[test]
fn a_removal_waits_for_rest_and_is_then_done_at_once() {
    let mut board = board(work_set(1));
    let workspace = workspace(&board, 0);
    started(&mut board, 0);
    let barred = RemovalBlock { code: WithheldReason::Unsettled, reason: String::new() };
    board.set_workspaces(work_set(1), Some(&barred), at(1));
    board.finish_pass(&workspace, PassResult { waits_for_quiet: true, ..good() }, INTERVAL, at(2));
    assert!(started(&mut board, 2).is_empty());
    board.set_workspaces(work_set(1), None, at(3));
    let task = board.take_due_passes(at(3)).pop().unwrap();
    assert!(task.removals_blocked.is_none());
}

#[test]
fn a_removal_that_waits_for_another_workspace_is_tried_once_that_connected_something() {
    let mut board = board(work_set(2));
    let (workspace, other) = (workspace(&board, 0), workspace(&board, 1));
    let waits = || PassResult { waits_for_connect: true, ..good() };
    let connects = || PassResult { connected: true, ..good() };
    // The other workspace may end before or after.
    assert_eq!(started(&mut board, 0).len(), 2);
    board.finish_pass(&other, connects(), INTERVAL, at(1));
    board.finish_pass(&workspace, waits(), INTERVAL, at(2));
    assert_eq!(started(&mut board, 2), std::slice::from_ref(&workspace));
    board.finish_pass(&workspace, waits(), INTERVAL, at(3));
    assert!(started(&mut board, 3).is_empty());
    board.finish_pass(&other, connects(), INTERVAL, at(4));
    assert_eq!(started(&mut board, 4), std::slice::from_ref(&workspace));
    board.finish_pass(&workspace, good(), INTERVAL, at(5));
    board.finish_pass(&other, connects(), INTERVAL, at(6));
    assert!(started(&mut board, 6).is_empty());
}

#[test]
fn a_workspace_is_gone_only_once_the_files_are_at_rest() {
    let mut board = board(work_set(2));
    let gone = workspace(&board, 1);
    for workspace in started(&mut board, 0) {
        board.finish_pass(&workspace, good(), INTERVAL, at(0));
    }
    let barred = RemovalBlock { code: WithheldReason::Unsettled, reason: String::new() };
    assert!(board.set_workspaces(work_set(1), Some(&barred), at(1)).is_empty());
    assert!(board.task(&gone).is_some());
    assert_eq!(board.set_workspaces(work_set(1), None, at(2)), std::slice::from_ref(&gone));
    assert!(board.task(&gone).is_none());
}

#[test]
fn a_workspace_that_goes_while_it_is_passed_over_is_waited_for() {
    let mut board = board(work_set(2));
    let gone = workspace(&board, 1);
    let workspaces = started(&mut board, 0);
    board.finish_pass(&workspaces[0], good(), INTERVAL, at(1));
    assert_eq!(board.set_workspaces(work_set(1), None, at(2)), std::slice::from_ref(&gone));
    assert!(!board.is_idle(), "its pass is still under way");
    assert!(board.set_workspaces(work_set(1), None, at(3)).is_empty(), "told once");
    board.set_workspaces(work_set(2), None, at(4));
    assert!(started(&mut board, 4).is_empty(), "no second pass beside the first");
    board.finish_pass(&gone, good(), INTERVAL, at(5));
    assert_eq!(started(&mut board, 5), [gone]);
}

#[test]
fn what_is_still_settling_is_looked_at_again_soon() {
    let mut board = board(work_set(1));
    let workspace = workspace(&board, 0);
    started(&mut board, 0);
    board.finish_pass(
        &workspace,
        PassResult { retry_after: Some(StdDuration::from_secs(5)), ..good() },
        INTERVAL,
        at(0),
    );
    assert_eq!(board.next_wake(at(0)), Some(at(5)));
    started(&mut board, 5);
    let never_good = PassResult { retry_after: Some(StdDuration::ZERO), ..failed() };
    board.finish_pass(&workspace, never_good, INTERVAL, at(5));
    assert!(board.next_wake(at(5)).unwrap() >= at(10), "but not at once when it fails");
}

#[test]
fn a_signal_looks_at_everything_at_once() {
    let mut board = board(work_set(3));
    for workspace in started(&mut board, 0) {
        board.finish_pass(&workspace, failed(), INTERVAL, at(0));
    }
    assert!(started(&mut board, 1).is_empty());
    board.request_all(at(1));
    assert_eq!(started(&mut board, 1).len(), 3);
}
