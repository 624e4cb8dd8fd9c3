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

/// The tasks of workspace files, each given as its text.
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
        commit: None,
        removals_barred: None,
        released: Vec::new(),
    });
    Asked { tasks: tasks.collect(), held: BTreeMap::new(), stranger: None }
}

/// `n` empty workspaces.
fn workspaces(n: usize) -> Asked {
    let texts: Vec<String> = (0..n).map(|n| format!("[workspace]\nid = \"w{n:02}\"\n[sources]\n")).collect();
    tasks(&texts.iter().map(String::as_str).collect::<Vec<_>>())
}

/// One workspace `w` with a source for each (name, what stands in its table).
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

/// Every source is ours, its schedule in force since the start; none ever ran.
fn all_ours(task: &Task) -> Records {
    let desired = task.desired.open();
    let owned = desired.sources.iter().map(|source| (source.name.clone(), Some(at(0)))).collect();
    Records { owned, runs: BTreeMap::new(), at_once: Vec::new() }
}

/// Every source is ours, and its schedule in force since the start.
fn owned(board: &Board, runs: &[(&str, LastRun)]) -> Ended {
    let records = all_ours(&board.slots.values().next().unwrap().task);
    let name = |name: &str| SourceName::parse(name).unwrap();
    let runs = runs.iter().map(|(of, run)| (name(of), run.clone())).collect();
    Ended { records: Some(Records { runs, ..records }), ..good() }
}

/// The board after its first pass, nothing run yet.
fn scheduled(of: &[(&str, &str)]) -> Board {
    let mut board = board(sources(of));
    pass(&mut board, 0, &[]);
    board
}

/// A pass over the one unit, with these runs in the state.
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

/// The one call that goes out, as (names, firing).
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

#[test]
fn a_new_unit_is_passed_over_at_once_and_then_every_interval() {
    let mut board = board(workspaces(1));
    let unit = unit(&board, 0);
    assert_eq!(started(&mut board, 0), std::slice::from_ref(&unit));
    assert!(started(&mut board, 1).is_empty(), "one pass at a time");
    board.pass_ended(&unit, good(), INTERVAL, at(2));
    assert!(started(&mut board, 301).is_empty());
    assert_eq!(board.next(at(2)), Some(at(302)));
    assert_eq!(started(&mut board, 302), [unit]);
}

#[test]
fn failures_back_off_from_five_seconds_to_the_interval_and_an_edit_resets() {
    let mut board = board(workspaces(1));
    let unit = unit(&board, 0);
    let mut now = 0;
    let mut waits = Vec::new();
    for _ in 0..9 {
        assert_eq!(started(&mut board, now).len(), 1);
        board.pass_ended(&unit, failed(), INTERVAL, at(now));
        let next = board.next(at(now)).unwrap();
        let wait = next.duration_since(at(now)).as_secs_f64();
        waits.push(wait);
        now = next.as_second() - at(0).as_second() + 1;
    }
    for (wait, plain) in waits.iter().zip([5., 10., 20., 40., 80., 160., 300., 300., 300.]) {
        assert!((plain..=plain * 1.25).contains(wait), "{waits:?}");
    }
    board.pass_ended(&unit, failed(), INTERVAL, at(now));
    board.accept(
        tasks(&["[workspace]\nid = \"w00\"\n[sources.a]\ntype = \"api\"\nconnection_config = {}\n"]),
        None,
        at(now),
    );
    assert_eq!(started(&mut board, now), std::slice::from_ref(&unit), "what is edited is tried at once");
    board.pass_ended(&unit, failed(), INTERVAL, at(now));
    assert!(board.next(at(now)).unwrap() < at(now + 7));
}

#[test]
fn what_failed_together_does_not_return_together() {
    let mut board = board(workspaces(10));
    let units = started(&mut board, 0);
    for unit in &units {
        board.pass_ended(unit, failed(), INTERVAL, at(0));
    }
    let unique: BTreeSet<Timestamp> = board.slots.values().map(|slot| slot.check_at).collect();
    assert!(unique.len() > 5, "{unique:?}");
}

#[test]
fn only_so_many_passes_run_at_once_and_waiting_for_one_to_end_is_no_busy_loop() {
    let mut board = board(workspaces(40));
    let mut seen = BTreeSet::new();
    for _ in 0..3 {
        let units = started(&mut board, 0);
        assert!(units.len() <= MOST_PASSES);
        if units.len() == MOST_PASSES {
            assert_eq!(board.next(at(0)), None);
        }
        for unit in units {
            board.pass_ended(&unit, good(), INTERVAL, at(1));
            seen.insert(unit);
        }
    }
    assert_eq!(seen.len(), 40, "all of them had a turn");
}

#[test]
fn a_refused_token_costs_one_call_a_minute_however_many_workspaces_there_are() {
    let mut board = board(workspaces(10));
    let units = started(&mut board, 0);
    let mut told = 0;
    for unit in &units {
        board.pass_ended(unit, refused(), INTERVAL, at(1));
        told += usize::from(board.pause(at(1)));
    }
    assert_eq!(told, 1);
    let mut calls = 0;
    for now in 2..=601 {
        for unit in started(&mut board, now) {
            calls += 1;
            assert!(started(&mut board, now).is_empty());
            assert!(!board.pass_ended(&unit, refused(), INTERVAL, at(now)));
            assert!(!board.pause(at(now)));
        }
        assert!(board.next(at(now)).unwrap() > at(now), "no busy loop");
    }
    assert_eq!(calls, 10);
    let probe = started(&mut board, 662);
    assert_eq!(probe.len(), 1);
    assert!(board.pass_ended(&probe[0], good(), INTERVAL, at(662)), "it goes on by itself");
    assert!(!board.is_paused());
    assert_eq!(started(&mut board, 662).len(), 9, "and the others follow at once");
}

#[test]
fn a_pass_from_before_the_pause_does_not_end_it_and_a_signal_tries_at_once() {
    let mut board = board(workspaces(3));
    let units = started(&mut board, 0);
    board.pass_ended(&units[0], refused(), INTERVAL, at(1));
    board.pause(at(1));
    assert!(!board.pass_ended(&units[1], good(), INTERVAL, at(2)));
    assert!(board.is_paused());
    board.want_all(at(3));
    assert_eq!(started(&mut board, 3).len(), 1);
}

#[test]
fn no_sync_goes_out_while_the_token_is_refused() {
    let mut board = scheduled(&[("a", HOURLY)]);
    board.pause(at(3600));
    assert!(call(&mut board, 3600).is_none());
    let probe = started(&mut board, 3660);
    board.pass_ended(&probe[0], good(), INTERVAL, at(3661));
    assert_eq!(firings(&call(&mut board, 3661).unwrap()), [("a", at(3600), Trigger::Schedule)]);
}

#[test]
fn when_the_probed_workspace_is_gone_another_one_is_probed() {
    let mut board = board(workspaces(2));
    for unit in started(&mut board, 0) {
        board.pass_ended(&unit, refused(), INTERVAL, at(0));
    }
    board.pause(at(0));
    let probe = started(&mut board, 60);
    board.accept(
        Asked {
            tasks: vec![board.slots.values().nth(1).unwrap().task.clone()],
            held: BTreeMap::new(),
            stranger: None,
        },
        None,
        at(61),
    );
    board.pass_ended(&probe[0], refused(), INTERVAL, at(62));
    board.pause(at(62));
    let second = started(&mut board, 122);
    assert_eq!(second.len(), 1);
    assert_ne!(second, probe);
}

#[test]
fn a_removal_waits_for_rest_and_is_then_done_at_once() {
    let mut board = board(workspaces(1));
    let unit = unit(&board, 0);
    started(&mut board, 0);
    let barred = Barred { code: "unsettled", why: String::new() };
    board.accept(workspaces(1), Some(&barred), at(1));
    board.pass_ended(&unit, Ended { waits_for_rest: true, ..good() }, INTERVAL, at(2));
    assert!(started(&mut board, 2).is_empty());
    board.accept(workspaces(1), None, at(3));
    let task = board.passes_due(at(3)).pop().unwrap();
    assert!(task.removals_barred.is_none());
}

#[test]
fn a_workspace_is_gone_only_once_the_files_are_at_rest() {
    let mut board = board(workspaces(2));
    let gone = unit(&board, 1);
    for unit in started(&mut board, 0) {
        board.pass_ended(&unit, good(), INTERVAL, at(0));
    }
    let barred = Barred { code: "unsettled", why: String::new() };
    assert!(board.accept(workspaces(1), Some(&barred), at(1)).is_empty());
    assert!(board.task(&gone).is_some());
    assert_eq!(board.accept(workspaces(1), None, at(2)), std::slice::from_ref(&gone));
    assert!(board.task(&gone).is_none());
}

#[test]
fn a_workspace_that_goes_while_it_is_passed_over_is_waited_for() {
    let mut board = board(workspaces(2));
    let gone = unit(&board, 1);
    let units = started(&mut board, 0);
    board.pass_ended(&units[0], good(), INTERVAL, at(1));
    assert_eq!(board.accept(workspaces(1), None, at(2)), std::slice::from_ref(&gone));
    assert!(!board.is_idle(), "its pass is still under way");
    assert!(board.accept(workspaces(1), None, at(3)).is_empty(), "told once");
    board.accept(workspaces(2), None, at(4));
    assert!(started(&mut board, 4).is_empty(), "no second pass beside the first");
    board.pass_ended(&gone, good(), INTERVAL, at(5));
    assert_eq!(started(&mut board, 5), [gone]);
}

#[test]
fn a_clock_that_goes_back_delays_nothing() {
    let mut board = board(workspaces(1));
    let unit = unit(&board, 0);
    started(&mut board, 0);
    board.pass_ended(&unit, good(), INTERVAL, at(0));
    board.clock_set_back(at(-86_400));
    assert_eq!(started(&mut board, -86_400), [unit]);
}

#[test]
fn a_clock_that_leaps_ahead_makes_one_run_of_what_it_skipped() {
    let mut board = scheduled(&[("a", HOURLY)]);
    let sent = call(&mut board, 10 * 3600 + 60).unwrap();
    assert_eq!(firings(&sent), [("a", at(36_000), Trigger::Schedule)]);
    board.sync_ended(&sent, at(36_070));
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
fn sources_of_one_unit_share_one_call_and_the_next_waits_for_its_end() {
    let mut board = scheduled(&[
        ("a", HOURLY),
        ("b", HOURLY),
        ("c", "sync = { cron = \"1 1 * * *\", on_connect = false }"),
    ]);
    assert_eq!(board.next(at(1)), Some(at(300)));
    let sent = call(&mut board, 3600).unwrap();
    assert_eq!(sent.members.len(), 2);
    assert!(call(&mut board, 3660).is_none(), "one call at a time");
    board.sync_ended(&sent, at(3700));
    assert_eq!(firings(&call(&mut board, 3700).unwrap()), [("c", at(3660), Trigger::Schedule)]);
}

#[test]
fn a_firing_during_the_sources_own_sync_is_spent_or_queued_as_declared() {
    for (spec, expected) in [(HOURLY, None), (QUEUED, Some(at(7200)))] {
        let mut board = scheduled(&[("a", spec)]);
        let sent = call(&mut board, 3600).unwrap();
        board.sync_ended(&sent, at(7260));
        // The state knows nothing of what was skipped, and a pass looks there.
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
    board.sync_ended(&sent, at(3));
    assert!(call(&mut board, 4).is_none());
}

#[test]
fn a_sync_that_ended_is_not_held_for_running_because_a_pass_saw_it_run() {
    let mut board = scheduled(&[("a", HOURLY)]);
    let sent = call(&mut board, 3600).unwrap();
    board.sync_ended(&sent, at(3610));
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
fn a_suspended_source_keeps_the_loop_asleep() {
    let mut board = scheduled(&[("a", SUSPENDED)]);
    assert!(call(&mut board, 1).is_none());
    assert_eq!(board.next(at(1)), Some(at(300)), "it waits for the next check");
}

#[test]
fn what_waits_for_a_sync_is_done_when_that_ends() {
    let mut board = scheduled(&[("a", CONNECT)]);
    let unit = unit(&board, 0);
    let sent = call(&mut board, 1).unwrap();
    board.want_all(at(2));
    started(&mut board, 2);
    board.pass_ended(&unit, Ended { waits_for_sync: true, ..good() }, INTERVAL, at(3));
    assert!(started(&mut board, 3).is_empty());
    board.sync_ended(&sent, at(10));
    assert_eq!(started(&mut board, 10), std::slice::from_ref(&unit));
    board.pass_ended(&unit, Ended { waits_for_sync: true, ..good() }, INTERVAL, at(11));
    assert_eq!(started(&mut board, 11), [unit], "the sync had ended meanwhile");
}

#[test]
fn what_is_still_settling_is_looked_at_again_soon() {
    let mut board = board(workspaces(1));
    let unit = unit(&board, 0);
    started(&mut board, 0);
    board.pass_ended(&unit, Ended { again: Some(StdDuration::from_secs(5)), ..good() }, INTERVAL, at(0));
    assert_eq!(board.next(at(0)), Some(at(5)));
    started(&mut board, 5);
    let never_good = Ended { again: Some(StdDuration::ZERO), ..failed() };
    board.pass_ended(&unit, never_good, INTERVAL, at(5));
    assert!(board.next(at(5)).unwrap() >= at(10), "but not at once when it fails");
}

#[test]
fn a_signal_looks_at_everything_at_once() {
    let mut board = board(workspaces(3));
    for unit in started(&mut board, 0) {
        board.pass_ended(&unit, failed(), INTERVAL, at(0));
    }
    assert!(started(&mut board, 1).is_empty());
    board.want_all(at(1));
    assert_eq!(started(&mut board, 1).len(), 3);
}

fn turned(board: &mut Board, seconds: i64) -> Vec<(String, bool)> {
    board.turned(at(seconds)).into_iter().map(|turned| (turned.key.to_string(), turned.stale)).collect()
}

#[test]
fn stale_data_is_told_once_and_so_is_fresh_data() {
    let sync = "sync = { every = \"10h\", stale_after = \"11h\", on_connect = false }";
    let mut board = board(sources(&[("a", sync)]));
    pass(&mut board, 0, &[]);
    let unit = unit(&board, 0);
    assert_eq!(turned(&mut board, 100), []);
    assert_eq!(turned(&mut board, 11 * 3600), [("a".to_owned(), true)]);
    assert_eq!(turned(&mut board, 12 * 3600), []);
    board.refreshed(&unit, [&SourceName::parse("a").unwrap()], at(12 * 3600));
    assert_eq!(turned(&mut board, 12 * 3600 + 1), [("a".to_owned(), false)]);
    assert_eq!(turned(&mut board, 12 * 3600 + 2), []);
}

#[test]
fn the_loop_wakes_when_data_becomes_stale() {
    let sync = "sync = { every = \"1000h\", stale_after = \"1m\", on_connect = false }";
    let mut board = scheduled(&[("a", sync)]);
    assert_eq!(board.next(at(1)), Some(at(60)));
    turned(&mut board, 60);
    assert!(board.next(at(60)).unwrap() > at(60));
}

#[test]
fn a_suspended_source_is_not_called_stale() {
    let sync = "suspend = { reason = \"moving\" }\nsync = { every = \"10h\", stale_after = \"11h\" }";
    let mut board = scheduled(&[("a", sync)]);
    assert_eq!(turned(&mut board, 1_000_000), []);
}

#[test]
fn firings_that_will_not_run_are_to_be_recorded_once() {
    let sync = "sync = { cron = \"0 * * * *\", timezone = \"UTC\", missed = \"skip\", on_connect = false }";
    let mut board = scheduled(&[("a", sync)]);
    assert!(call(&mut board, 3 * 3600 + 1200).is_none());
    let spent: Vec<_> = board.take_spent().into_iter().flat_map(|(_, spent)| spent).collect();
    assert_eq!((spent[0].firing, spent[0].outcome), (at(3 * 3600), RunOutcome::Skipped));
    assert!(spent[0].message.starts_with("3 firings"), "{spent:?}");
    assert!(spent.len() == 1 && board.take_spent().is_empty());
}

#[test]
fn what_comes_during_a_sync_is_recorded_when_it_ends() {
    let sync = "sync = { cron = \"0 * * * *\", timezone = \"UTC\", on_connect = false }";
    let mut board = scheduled(&[("a", sync)]);
    let sent = call(&mut board, 3600).unwrap();
    assert!(board.take_spent().is_empty());
    board.sync_ended(&sent, at(2 * 3600 + 60));
    let spent: Vec<_> = board.take_spent().into_iter().flat_map(|(_, spent)| spent).collect();
    assert_eq!(spent.iter().map(|spent| spent.firing).collect::<Vec<_>>(), [at(2 * 3600)]);
    assert_eq!(spent[0].message, "its last sync was still running");
}

#[test]
fn a_clock_that_went_back_is_to_be_recorded() {
    let sync = "sync = { cron = \"0 * * * *\", timezone = \"UTC\", on_connect = false }";
    let mut board = board(sources(&[("a", sync)]));
    pass(&mut board, 0, &[("a", run(365 * 86_400, RunOutcome::Done, Some(365 * 86_400)))]);
    assert!(call(&mut board, 60).is_none());
    let spent: Vec<_> = board.take_spent().into_iter().flat_map(|(_, spent)| spent).collect();
    assert_eq!((spent[0].firing, spent[0].outcome), (at(60), RunOutcome::Rewound));
    assert!(call(&mut board, 3600).is_some());
}

#[test]
fn a_call_that_could_not_be_recorded_is_due_as_before() {
    let mut board = scheduled(&[("a", CONNECT), ("b", HOURLY)]);
    let unit = unit(&board, 0);
    let sent = call(&mut board, 3600).unwrap();
    let due = firings(&sent)
        .iter()
        .map(|(name, at, trigger)| ((*name).to_owned(), *at, *trigger))
        .collect::<Vec<_>>();
    assert_eq!(due.len(), 2);
    board.sync_not_sent(&sent, at(3601));
    assert!(board.is_idle());
    let again = call(&mut board, 3605).unwrap();
    assert_eq!(firings(&again), due.iter().map(|(n, at, t)| (n.as_str(), *at, *t)).collect::<Vec<_>>());
    // Later firings that came meanwhile are one run, as after any outage.
    board.sync_not_sent(&again, at(3606));
    let late = call(&mut board, 3 * 3600 + 60).unwrap();
    assert!(firings(&late).iter().all(|(_, firing, _)| *firing == at(3 * 3600)), "{late:?}");
    board.sync_ended(&late, at(3 * 3600 + 70));
    assert!(call(&mut board, 3 * 3600 + 71).is_none());

    let spent = vec![Spent {
        name: SourceName::parse("a").unwrap(),
        firing: at(1),
        outcome: RunOutcome::Skipped,
        message: String::new(),
    }];
    let desired = board.task(&unit).unwrap().desired.open();
    board.put_back_spent(desired, spent.clone());
    assert_eq!(board.take_spent().pop().unwrap().1, spent);
}

/// What the agenda lists is what a look at every slot finds, whatever happens in whatever order.
#[test]
fn what_is_listed_is_what_a_look_at_everything_finds() {
    const STALE: &str = "sync = { every = \"2h\", stale_after = \"3h\", overlap = \"queue\" }";
    let text = |n: usize, edition: u64| {
        let specs = [HOURLY, STALE, MISSED, CONNECT, SUSPENDED];
        let mut text = format!("[workspace]\nid = \"w{n}\"\n");
        for source in 0..3 {
            let spec = specs[(n + source + usize::try_from(edition / 3).unwrap()) % specs.len()];
            text += &format!(
                "[sources.s{source}]\ntype = \"api\"\n{spec}\nconnection_config = {{ url = \"{edition}\" }}\n"
            );
        }
        text
    };
    for seed in 0..12_u64 {
        // splitmix64
        let mut state = seed;
        let mut dice = move |below: u64| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            (z ^ (z >> 27)) % below
        };
        let mut board = Board::new(2);
        let (mut now, mut passes, mut calls) = (0_i64, Vec::new(), Vec::new());
        for _ in 0..150 {
            now += i64::try_from(dice(2000)).unwrap() - if dice(20) == 0 { 40_000 } else { 0 };
            board.clock_set_back(at(now));
            match dice(7) {
                0 => {
                    let declared = dice(16);
                    let declared = (0..4).filter(|n| declared >> n & 1 == 1);
                    let texts: Vec<String> = declared.map(|n| text(n, dice(9))).collect();
                    let barred = Barred { code: "unsettled", why: String::new() };
                    let barred = Some(&barred).filter(|_| dice(2) == 0);
                    board.accept(
                        tasks(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
                        barred,
                        at(now),
                    );
                }
                1 | 2 if !passes.is_empty() => {
                    let task: Task = passes.swap_remove(usize::try_from(dice(passes.len() as u64)).unwrap());
                    let records = all_ours(&task);
                    let ended = Ended {
                        good: dice(3) > 0,
                        unauthorized: dice(6) == 0,
                        waits_for_sync: dice(3) == 0,
                        records: Some(records).filter(|_| dice(4) > 0),
                        ..Ended::default()
                    };
                    let unauthorized = ended.unauthorized;
                    board.pass_ended(&task.desired.unit, ended, INTERVAL, at(now));
                    if unauthorized {
                        board.pause(at(now));
                    }
                }
                3 if !calls.is_empty() => {
                    let call: Call = calls.swap_remove(usize::try_from(dice(calls.len() as u64)).unwrap());
                    if dice(4) == 0 {
                        board.sync_not_sent(&call, at(now));
                    } else {
                        board.sync_ended(&call, at(now));
                        board.refreshed(&call.unit, call.members.iter().map(|member| &member.name), at(now));
                    }
                }
                4 => board.want_all(at(now)),
                5 => board.want_failed(at(now)),
                _ => {
                    board.turned(at(now));
                }
            }
            for task in board.passes_due(at(now)) {
                passes.push(task);
            }
            calls.extend(board.syncs_due(at(now)));
            let mut looked_at = Agenda::default();
            for (unit, slot) in &mut board.slots {
                slot.reckon_anew();
                looked_at.relist(unit, &agenda::Standing::default(), &slot.stands(at(now)));
            }
            assert_eq!(board.agenda, looked_at, "seed {seed}, at {now}");
            assert_eq!(board.is_idle(), passes.is_empty() && calls.is_empty());
            let waiting = board.agenda.syncs_due(at(now)).next().is_some();
            assert!(!waiting || board.is_paused() || calls.len() == 2, "whatever may start is started");
        }
    }
}

#[test]
fn the_next_firings_are_the_soonest_of_all() {
    let mut board = board(workspaces(1));
    let texts: Vec<String> = (0..5)
        .map(|n| {
            let of = |minute: usize| format!("sync = {{ cron = \"{minute} 1 * * *\", on_connect = false }}");
            format!(
                "[workspace]\nid = \"w{n}\"\n[sources.a]\ntype = \"api\"\n{}\nconnection_config = {{}}\n\
                 [sources.b]\ntype = \"api\"\n{}\nconnection_config = {{}}\n",
                of(10 - n),
                of(20 + n)
            )
        })
        .collect();
    board.accept(tasks(&texts.iter().map(String::as_str).collect::<Vec<_>>()), None, at(0));
    for task in board.passes_due(at(0)) {
        let ended = Ended { records: Some(all_ours(&task)), ..good() };
        board.pass_ended(&task.desired.unit, ended, INTERVAL, at(0));
    }
    let minutes = |most| -> Vec<i64> {
        let upcoming = board.upcoming(at(0), most);
        upcoming.iter().map(|(firing, ..)| firing.duration_since(at(3600)).as_secs() / 60).collect()
    };
    assert_eq!(minutes(3), [6, 7, 8]);
    assert_eq!(minutes(7), [6, 7, 8, 9, 10, 20, 21]);
    assert_eq!(minutes(100).len(), 10);
}

#[test]
fn what_waits_for_other_syncs_to_end_goes_in_one_call_with_what_came_meanwhile() {
    let of = |minute: usize| format!("sync = {{ cron = \"{minute} 1 * * *\", on_connect = false }}");
    let mut board = Board::new(1);
    let text = |workspace: &str| {
        let source = |name: &str, minute| {
            format!("[sources.{name}]\ntype = \"api\"\n{}\nconnection_config = {{}}\n", of(minute))
        };
        format!("[workspace]\nid = \"{workspace}\"\n{}{}", source("a", 0), source("b", 5))
    };
    board.accept(tasks(&[&text("one"), &text("two")]), None, at(0));
    for task in board.passes_due(at(0)) {
        let ended = Ended { records: Some(all_ours(&task)), ..good() };
        board.pass_ended(&task.desired.unit, ended, INTERVAL, at(0));
    }
    let first = call(&mut board, 3600).unwrap();
    assert!(call(&mut board, 3900).is_none());
    board.sync_ended(&first, at(3910));
    let second = call(&mut board, 3910).unwrap();
    assert_eq!(second.members.len(), 2, "both of the other workspace");
    board.sync_ended(&second, at(3920));
    let third = call(&mut board, 3920).unwrap();
    assert_eq!((&third.unit, firings(&third)), (&first.unit, vec![("b", at(3900), Trigger::Schedule)]));
}
