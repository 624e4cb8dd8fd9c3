//! Property: the due queue equals a full scan over all workspaces.
use crate::plan::WithheldReason;

use super::*;

/// Checks the queue against a full scan after random sequences of events.
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
        let mut board = Scheduler::new(2);
        let (mut now, mut passes, mut calls) = (0_i64, Vec::new(), Vec::new());
        for _ in 0..150 {
            now += i64::try_from(dice(2000)).unwrap() - if dice(20) == 0 { 40_000 } else { 0 };
            board.clock_set_back(at(now));
            match dice(7) {
                0 => {
                    let declared = dice(16);
                    let declared = (0..4).filter(|n| declared >> n & 1 == 1);
                    let texts: Vec<String> = declared.map(|n| text(n, dice(9))).collect();
                    let barred = RemovalBlock { code: WithheldReason::Unsettled, reason: String::new() };
                    let barred = if dice(2) == 0 { Some(&barred) } else { None };
                    board.set_workspaces(
                        tasks(&texts.iter().map(String::as_str).collect::<Vec<_>>()),
                        barred,
                        at(now),
                    );
                }
                1 | 2 if !passes.is_empty() => {
                    let task: Task = passes.swap_remove(usize::try_from(dice(passes.len() as u64)).unwrap());
                    let records = all_ours(&task);
                    let ended = PassResult {
                        succeeded: dice(3) > 0,
                        unauthorized: dice(6) == 0,
                        waits_for_sync: dice(3) == 0,
                        records: if dice(4) > 0 { Some(records) } else { None },
                        ..PassResult::default()
                    };
                    let unauthorized = ended.unauthorized;
                    board.finish_pass(&task.desired.unit, ended, INTERVAL, at(now));
                    if unauthorized {
                        board.start_auth_pause(at(now));
                    }
                }
                3 if !calls.is_empty() => {
                    let call: SyncCall =
                        calls.swap_remove(usize::try_from(dice(calls.len() as u64)).unwrap());
                    if dice(4) == 0 {
                        board.cancel_sync(&call, at(now));
                    } else {
                        board.finish_sync(&call, at(now));
                        board.mark_fresh(&call.unit, call.members.iter().map(|member| &member.name), at(now));
                    }
                }
                4 => board.request_all(at(now)),
                5 => board.retry_failed(at(now)),
                _ => {
                    board.freshness_changes(at(now));
                }
            }
            for task in board.take_due_passes(at(now)) {
                passes.push(task);
            }
            calls.extend(board.take_due_syncs(at(now)));
            let mut looked_at = DueQueue::default();
            for (workspace, slot) in &mut board.entries {
                slot.recompute();
                looked_at.update(workspace, &queue::DueTimes::default(), &slot.due_times(at(now)));
            }
            assert_eq!(board.queue, looked_at, "seed {seed}, at {now}");
            assert_eq!(board.is_idle(), passes.is_empty() && calls.is_empty());
            let waiting = board.queue.syncs_due(at(now)).next().is_some();
            assert!(!waiting || board.is_paused() || calls.len() == 2, "whatever may start is started");
        }
    }
}

#[test]
fn the_next_firings_are_the_soonest_of_all() {
    let mut board = board(work_set(1));
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
    board.set_workspaces(tasks(&texts.iter().map(String::as_str).collect::<Vec<_>>()), None, at(0));
    for task in board.take_due_passes(at(0)) {
        let ended = PassResult { records: Some(all_ours(&task)), ..good() };
        board.finish_pass(&task.desired.unit, ended, INTERVAL, at(0));
    }
    let minutes = |most| -> Vec<i64> {
        let upcoming = board.upcoming(at(0), most);
        upcoming.iter().map(|(firing, ..)| firing.duration_since(at(3600)).as_secs() / 60).collect()
    };
    assert_eq!(minutes(3), [6, 7, 8]);
    assert_eq!(minutes(7), [6, 7, 8, 9, 10, 20, 21]);
    assert_eq!(minutes(100).len(), 10);
}
