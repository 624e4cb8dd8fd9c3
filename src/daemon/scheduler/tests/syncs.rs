//! Due syncs, and firings that are not sent.

use super::*;

#[test]
fn no_sync_goes_out_while_the_token_is_refused() {
    let mut board = scheduled(&[("a", HOURLY)]);
    board.start_auth_pause(at(3600));
    assert!(call(&mut board, 3600).is_none());
    let probe = started(&mut board, 3660);
    board.finish_pass(&probe[0], good(), INTERVAL, at(3661));
    assert_eq!(firings(&call(&mut board, 3661).unwrap()), [("a", at(3600), Trigger::Schedule)]);
}

#[test]
fn a_clock_that_goes_back_delays_nothing() {
    let mut board = board(work_set(1));
    let workspace = workspace(&board, 0);
    started(&mut board, 0);
    board.finish_pass(&workspace, good(), INTERVAL, at(0));
    board.clock_set_back(at(-86_400));
    assert_eq!(started(&mut board, -86_400), [workspace]);
}

#[test]
fn a_clock_that_leaps_ahead_makes_one_run_of_what_it_skipped() {
    let mut board = scheduled(&[("a", HOURLY)]);
    let sent = call(&mut board, 10 * 3600 + 60).unwrap();
    assert_eq!(firings(&sent), [("a", at(36_000), Trigger::Schedule)]);
    board.finish_sync(&sent, at(36_070));
    assert!(call(&mut board, 36_071).is_none());
}

#[test]
fn a_firing_from_the_future_does_not_silence_the_schedule() {
    let mut board = board(sources(&[("a", HOURLY)]));
    let year = 365 * 86_400;
    for now in [0, 300, 3300] {
        pass(&mut board, now, &[("a", run(year, RunOutcome::Done, Some(year)))]);
        assert!(call(&mut board, now).is_none());
    }
    assert_eq!(firings(&call(&mut board, 3600).unwrap()), [("a", at(3600), Trigger::Schedule)]);
}

#[test]
fn sources_of_one_workspace_share_one_call_and_the_next_waits_for_its_end() {
    let mut board = scheduled(&[
        ("a", HOURLY),
        ("b", HOURLY),
        ("c", "sync = { cron = \"1 1 * * *\", on_connect = false }"),
    ]);
    assert_eq!(board.next_wake(at(1)), Some(at(300)));
    let sent = call(&mut board, 3600).unwrap();
    assert_eq!(sent.members.len(), 2);
    assert!(call(&mut board, 3660).is_none(), "one call at a time");
    board.finish_sync(&sent, at(3700));
    assert_eq!(firings(&call(&mut board, 3700).unwrap()), [("c", at(3660), Trigger::Schedule)]);
}

#[test]
fn a_firing_during_the_sources_own_sync_is_spent_or_queued_as_declared() {
    for (spec, expected) in [(HOURLY, None), (QUEUED, Some(at(7200)))] {
        let mut board = scheduled(&[("a", spec)]);
        let sent = call(&mut board, 3600).unwrap();
        board.finish_sync(&sent, at(7260));
        // The store contains no skipped run, and a pass reads the store.
        pass(&mut board, 7270, &[("a", run(3600, RunOutcome::Done, Some(7260)))]);
        let next = call(&mut board, 7280).map(|call| call.members[0].firing);
        assert_eq!(next, expected, "{spec}");
    }
}

#[test]
fn a_late_firing_that_is_not_made_up_for_does_not_come_back() {
    let mut board = scheduled(&[("a", MISSED)]);
    assert!(call(&mut board, 3600 + 301).is_none());
    pass(&mut board, 4000, &[("a", run(0, RunOutcome::Done, Some(1)))]);
    assert!(call(&mut board, 4000).is_none());
    assert_eq!(firings(&call(&mut board, 7200).unwrap()), [("a", at(7200), Trigger::Schedule)]);
}

#[test]
fn a_connected_source_syncs_once_though_a_pass_saw_the_state_before_the_claim() {
    let mut board = scheduled(&[("a", CONNECT)]);
    let sent = call(&mut board, 1).unwrap();
    assert_eq!(firings(&sent), [("a", at(1), Trigger::Connect)]);
    pass(&mut board, 2, &[]);
    board.finish_sync(&sent, at(3));
    assert!(call(&mut board, 4).is_none());
}

#[test]
fn a_sync_that_ended_is_not_held_for_running_because_a_pass_saw_it_run() {
    let mut board = scheduled(&[("a", HOURLY)]);
    let sent = call(&mut board, 3600).unwrap();
    board.finish_sync(&sent, at(3610));
    pass(&mut board, 3611, &[("a", run(3600, RunOutcome::Running, None))]);
    assert_eq!(firings(&call(&mut board, 7200).unwrap()), [("a", at(7200), Trigger::Schedule)]);
}

#[test]
fn a_sync_of_another_process_is_not_overlapped() {
    let mut board = scheduled(&[("a", HOURLY)]);
    pass(&mut board, 3500, &[("a", run(3000, RunOutcome::Running, None))]);
    assert!(call(&mut board, 3600).is_none());
}

#[test]
fn the_end_of_another_process_sync_is_found_out_and_the_next_firing_runs() {
    let mut board = board(sources(&[("a", HOURLY)]));
    pass(&mut board, 0, &[("a", run(0, RunOutcome::Running, None))]);
    let workspace = workspace(&board, 0);
    assert_eq!(started(&mut board, 4), []);
    assert_eq!(started(&mut board, 5), std::slice::from_ref(&workspace), "is it still under way?");
    board.finish_pass(&workspace, good(), INTERVAL, at(6));
    assert_eq!(started(&mut board, 11), std::slice::from_ref(&workspace), "nothing had moved");
    let ended = owned(&board, &[("a", run(0, RunOutcome::Done, Some(9)))]);
    board.finish_pass(&workspace, ended, INTERVAL, at(12));
    assert_eq!(started(&mut board, 60), [], "it ended");
    assert!(call(&mut board, 3600).is_some());
}

#[test]
fn a_suspended_source_keeps_the_loop_asleep() {
    let mut board = scheduled(&[("a", SUSPENDED)]);
    assert!(call(&mut board, 1).is_none());
    assert_eq!(board.next_wake(at(1)), Some(at(300)), "it waits for the next check");
}

#[test]
fn what_waits_for_a_sync_is_done_when_that_ends() {
    let mut board = scheduled(&[("a", CONNECT)]);
    let workspace = workspace(&board, 0);
    let sent = call(&mut board, 1).unwrap();
    board.request_all(at(2));
    started(&mut board, 2);
    board.finish_pass(&workspace, PassResult { waits_for_sync: true, ..good() }, INTERVAL, at(3));
    assert!(started(&mut board, 3).is_empty());
    board.finish_sync(&sent, at(10));
    assert_eq!(started(&mut board, 10), std::slice::from_ref(&workspace));
    board.finish_pass(&workspace, PassResult { waits_for_sync: true, ..good() }, INTERVAL, at(11));
    assert_eq!(started(&mut board, 11), [workspace], "the sync had ended meanwhile");
}

#[test]
fn firings_that_will_not_run_are_to_be_recorded_once() {
    let sync = "sync = { cron = \"0 * * * *\", timezone = \"UTC\", missed = \"skip\", on_connect = false }";
    let mut board = scheduled(&[("a", sync)]);
    assert!(call(&mut board, 3 * 3600 + 1200).is_none());
    let spent: Vec<_> = board.take_skipped().into_iter().flat_map(|(_, spent)| spent).collect();
    assert_eq!((spent[0].firing, spent[0].outcome), (at(3 * 3600), RunOutcome::Skipped));
    assert!(spent[0].message.starts_with("3 firings"), "{spent:?}");
    assert!(spent.len() == 1 && board.take_skipped().is_empty());
}

#[test]
fn what_comes_during_a_sync_is_recorded_when_it_ends() {
    let sync = "sync = { cron = \"0 * * * *\", timezone = \"UTC\", on_connect = false }";
    let mut board = scheduled(&[("a", sync)]);
    let sent = call(&mut board, 3600).unwrap();
    assert!(board.take_skipped().is_empty());
    board.finish_sync(&sent, at(2 * 3600 + 60));
    let spent: Vec<_> = board.take_skipped().into_iter().flat_map(|(_, spent)| spent).collect();
    assert_eq!(spent.iter().map(|spent| spent.firing).collect::<Vec<_>>(), [at(2 * 3600)]);
    assert_eq!(spent[0].message, "its last sync was still running");
}

#[test]
fn a_clock_that_went_back_is_to_be_recorded() {
    let sync = "sync = { cron = \"0 * * * *\", timezone = \"UTC\", on_connect = false }";
    let mut board = board(sources(&[("a", sync)]));
    pass(&mut board, 0, &[("a", run(365 * 86_400, RunOutcome::Done, Some(365 * 86_400)))]);
    assert!(call(&mut board, 60).is_none());
    let spent: Vec<_> = board.take_skipped().into_iter().flat_map(|(_, spent)| spent).collect();
    assert_eq!((spent[0].firing, spent[0].outcome), (at(60), RunOutcome::Rewound));
    assert!(call(&mut board, 3600).is_some());
}

#[test]
fn a_call_that_could_not_be_recorded_is_due_as_before() {
    let mut board = scheduled(&[("a", CONNECT), ("b", HOURLY)]);
    let workspace = workspace(&board, 0);
    let sent = call(&mut board, 3600).unwrap();
    let due = firings(&sent)
        .iter()
        .map(|(name, at, trigger)| ((*name).to_owned(), *at, *trigger))
        .collect::<Vec<_>>();
    assert_eq!(due.len(), 2);
    board.cancel_sync(&sent, at(3601));
    assert!(board.is_idle());
    let again = call(&mut board, 3605).unwrap();
    assert_eq!(firings(&again), due.iter().map(|(n, at, t)| (n.as_str(), *at, *t)).collect::<Vec<_>>());
    // Later firings in the meantime become one run, as after any outage.
    board.cancel_sync(&again, at(3606));
    let late = call(&mut board, 3 * 3600 + 60).unwrap();
    assert!(firings(&late).iter().all(|(_, firing, _)| *firing == at(3 * 3600)), "{late:?}");
    board.finish_sync(&late, at(3 * 3600 + 70));
    assert!(call(&mut board, 3 * 3600 + 71).is_none());

    let spent = vec![SkippedRun {
        name: SourceName::parse("a").unwrap(),
        firing: at(1),
        outcome: RunOutcome::Skipped,
        message: String::new(),
    }];
    let desired = board.task(&workspace).unwrap().desired.open();
    board.restore_skipped(desired, spent.clone());
    assert_eq!(board.take_skipped().pop().unwrap().1, spent);
}

#[test]
fn what_waits_for_other_syncs_to_end_goes_in_one_call_with_what_came_meanwhile() {
    let of = |minute: usize| format!("sync = {{ cron = \"{minute} 1 * * *\", on_connect = false }}");
    let mut board = Scheduler::new(1);
    let text = |workspace: &str| {
        let source = |name: &str, minute| {
            format!("[sources.{name}]\ntype = \"api\"\n{}\nconnection_config = {{}}\n", of(minute))
        };
        format!("[workspace]\nid = \"{workspace}\"\n{}{}", source("a", 0), source("b", 5))
    };
    board.set_workspaces(tasks(&[&text("one"), &text("two")]), None, at(0));
    for task in board.take_due_passes(at(0)) {
        let ended = PassResult { records: Some(all_ours(&task)), ..good() };
        board.finish_pass(&task.desired.unit, ended, INTERVAL, at(0));
    }
    let first = call(&mut board, 3600).unwrap();
    assert!(call(&mut board, 3900).is_none());
    board.finish_sync(&first, at(3910));
    let second = call(&mut board, 3910).unwrap();
    assert_eq!(second.members.len(), 2, "both of the other workspace");
    board.finish_sync(&second, at(3920));
    let third = call(&mut board, 3920).unwrap();
    assert_eq!((&third.unit, firings(&third)), (&first.unit, vec![("b", at(3900), Trigger::Schedule)]));
}
