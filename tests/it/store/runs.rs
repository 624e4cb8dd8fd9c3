//! Tests of runs: claimed once, ended once, and closed for dead processes.

use super::{PLATFORM, all_rows, all_runs, at, entry, journalled, name, scheduled, workspace};
use jiff::{SignedDuration, Timestamp};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use wellspring::store::{
    Claim, HistoryFilter, Retention, RunEnd, RunOutcome, RunRecord, SkippedRun, Store, StoreChange, Trigger,
};

fn finished(run: i64, second: i64, outcome: RunOutcome) -> RunEnd {
    RunEnd { run, finished_at: at(second), outcome, records: Some(10), message: None }
}

#[test]
fn a_firing_is_claimed_once_however_many_try() {
    let dir = tempfile::tempdir().unwrap();
    let path: Arc<Path> = dir.path().into();
    let tries: Vec<_> = (0..4)
        .map(|_| {
            let path = path.clone();
            std::thread::spawn(move || {
                let state = Store::open(&path, PLATFORM).unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                let claims = |n| vec![scheduled("crm", at(n)), scheduled("erp", at(n))];
                (0..25)
                    .flat_map(|n| runtime.block_on(state.claim(&workspace("a"), claims(n), at(n))).unwrap())
                    .flatten()
                    .collect::<Vec<_>>()
            })
        })
        .collect();
    let mut won: Vec<i64> = tries.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert_eq!(won.len(), 50);
    won.sort_unstable();
    won.dedup();
    assert_eq!(won.len(), 50, "every run has a number of its own");
}

#[tokio::test]
async fn only_scheduled_firings_are_unique_and_per_source() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let manual = Claim { trigger: Trigger::Manual, ..scheduled("crm", at(0)) };
    let claims =
        vec![scheduled("crm", at(0)), scheduled("crm", at(0)), manual.clone(), manual, scheduled("b", at(0))];
    let won = state.claim(&workspace("a"), claims, at(0)).await.unwrap();
    assert_eq!(won.iter().map(Option::is_some).collect::<Vec<_>>(), [true, false, true, true, true]);
    let elsewhere = state.claim(&workspace("b"), vec![scheduled("crm", at(0))], at(0)).await.unwrap();
    assert!(elsewhere[0].is_some());
}

#[tokio::test]
async fn runs_end_once_and_are_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    for (n, outcome) in [(0, RunOutcome::Done), (1, RunOutcome::Failed)] {
        let run =
            state.claim(&workspace("a"), vec![scheduled("crm", at(n * 60))], at(n * 60 + 1)).await.unwrap()
                [0];
        state.finish(vec![finished(run.unwrap(), n * 60 + 5, outcome)]).await.unwrap();
        state.finish(vec![finished(run.unwrap(), 9999, RunOutcome::Unknown)]).await.unwrap();
    }
    let last = &state.last_runs(&workspace("a")).await.unwrap()[&name("crm")];
    assert_eq!(last.outcome, RunOutcome::Failed);
    assert_eq!((last.firing, last.started_at), (at(60), at(61)));
    assert_eq!((last.finished_at, last.last_success), (Some(at(65)), Some(at(5))));
    assert_eq!(last.records, Some(10));
    let history = state.history(all_runs()).await.unwrap();
    assert_eq!(
        history.iter().map(|run| run.outcome).collect::<Vec<_>>(),
        [RunOutcome::Failed, RunOutcome::Done]
    );
    assert_eq!(history[0].message, None);
    let none = HistoryFilter { source: Some(name("other")), ..all_runs() };
    assert!(state.history(none).await.unwrap().is_empty());
    let one = HistoryFilter { workspace: Some(workspace("a")), source: Some(name("crm")), limit: 1 };
    assert_eq!(state.history(one).await.unwrap().len(), 1);
}

#[tokio::test]
async fn runs_of_a_dead_process_end_as_unknown_and_those_of_a_living_one_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let living = Store::open(dir.path(), PLATFORM).unwrap();
    let dead = Store::open(dir.path(), PLATFORM).unwrap();
    living.claim(&workspace("a"), vec![scheduled("crm", at(0))], at(0)).await.unwrap();
    dead.claim(&workspace("a"), vec![scheduled("erp", at(0))], at(0)).await.unwrap();
    drop(dead);
    let third = Store::open(dir.path(), PLATFORM).unwrap();
    let check = async |state: &Store| {
        let last = state.last_runs(&workspace("a")).await.unwrap();
        assert_eq!(last[&name("crm")].outcome, RunOutcome::Running);
        assert_eq!(last[&name("erp")].outcome, RunOutcome::Unknown);
    };
    check(&third).await;
    check(&living).await;
    let again = living.claim(&workspace("a"), vec![scheduled("erp", at(0))], at(1)).await.unwrap();
    assert_eq!(again, [None], "the firing stays spent");
}

#[tokio::test]
async fn a_death_is_noticed_without_opening_again() {
    let dir = tempfile::tempdir().unwrap();
    let living = Store::open(dir.path(), PLATFORM).unwrap();
    let dead = Store::open(dir.path(), PLATFORM).unwrap();
    dead.claim(&workspace("a"), vec![scheduled("erp", at(0))], at(0)).await.unwrap();
    assert_eq!(living.last_runs(&workspace("a")).await.unwrap()[&name("erp")].outcome, RunOutcome::Running);
    drop(dead);
    let reader = Store::open_read_only(dir.path(), PLATFORM).unwrap().unwrap();
    for state in [&living, &reader] {
        assert_eq!(
            state.last_runs(&workspace("a")).await.unwrap()[&name("erp")].outcome,
            RunOutcome::Unknown
        );
        let run = &state.history(all_runs()).await.unwrap()[0];
        assert_eq!(run.message.as_deref(), Some("the process ended before the response arrived"));
    }
}

#[tokio::test]
async fn pruning_keeps_what_is_needed() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let outcomes =
        [RunOutcome::Done, RunOutcome::Done, RunOutcome::Failed, RunOutcome::Failed, RunOutcome::Failed];
    let running =
        state.claim(&workspace("a"), vec![scheduled("crm", at(0))], at(0)).await.unwrap()[0].unwrap();
    let mut runs = Vec::new();
    for (n, outcome) in (1..).zip(outcomes) {
        let run =
            state.claim(&workspace("a"), vec![scheduled("crm", at(n))], at(n)).await.unwrap()[0].unwrap();
        state.finish(vec![finished(run, n, outcome)]).await.unwrap();
        runs.push(run);
    }
    let day = SignedDuration::from_hours(24).as_secs();
    state
        .commit(
            &workspace("a"),
            vec![journalled(entry("old", at(-day - 1))), journalled(entry("new", at(0)))],
        )
        .await
        .unwrap();
    state
        .prune_history(at(0), Retention { runs_per_source: 2, age: Duration::ZERO, journal_rows: 100 })
        .await
        .unwrap();
    let kept: Vec<i64> = state.history(all_runs()).await.unwrap().iter().map(|run| run.run).collect();
    assert_eq!(kept, [runs[4], runs[3], runs[1], running]);
    assert_eq!(state.journal(all_rows()).await.unwrap().len(), 1);
    assert_eq!(state.last_runs(&workspace("a")).await.unwrap()[&name("crm")].last_success, Some(at(2)));
}

#[tokio::test]
async fn each_workspace_keeps_its_own_newest_runs_of_a_name() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let mut newest = Vec::new();
    for n in 1..=4 {
        newest.clear();
        for name in ["a", "b", "c"] {
            let claim = vec![scheduled("crm", at(n))];
            let run = state.claim(&workspace(name), claim, at(n)).await.unwrap()[0].unwrap();
            state.finish(vec![finished(run, n, RunOutcome::Done)]).await.unwrap();
            newest.push(run);
        }
    }
    let keep = Retention { runs_per_source: 1, age: Duration::ZERO, journal_rows: 100 };
    state.prune_history(at(10), keep).await.unwrap();
    let mut kept: Vec<i64> = state.history(all_runs()).await.unwrap().iter().map(|run| run.run).collect();
    kept.sort_unstable();
    assert_eq!(kept, newest);
}

#[tokio::test]
async fn the_journal_does_not_grow_without_bound_and_keeps_its_last_day() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let day = SignedDuration::from_hours(24).as_secs();
    let old = (0..20).map(|n| journalled(entry("old", at(n - 2 * day))));
    let new = (0..5).map(|n| journalled(entry("new", at(n))));
    state.commit(&workspace("a"), old.chain(new).collect()).await.unwrap();
    let year = Duration::from_secs(365 * 86_400);
    for (journal_rows, left) in [(100, 25), (8, 8), (2, 5)] {
        state.prune_history(at(10), Retention { runs_per_source: 2, age: year, journal_rows }).await.unwrap();
        assert_eq!(state.journal(all_rows()).await.unwrap().len(), left);
    }
}

#[tokio::test]
async fn pruning_reaches_everything_and_others_write_meanwhile() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let a = workspace("a");
    for n in 1..=2 {
        let claims = (0..250).map(|source| scheduled(&format!("s{source}"), at(n))).collect();
        let runs = state.claim(&a, claims, at(n)).await.unwrap();
        let ended = runs.into_iter().map(|run| finished(run.unwrap(), n, RunOutcome::Failed)).collect();
        state.finish(ended).await.unwrap();
    }
    let old = SignedDuration::from_hours(48).as_secs();
    let rows = (0..20_001).map(|_| journalled(entry("old", at(-old)))).collect();
    state.commit(&a, rows).await.unwrap();
    let keep = Retention { runs_per_source: 1, age: Duration::ZERO, journal_rows: 1_000_000 };
    let b = workspace("b");
    let mut pruning = std::pin::pin!(state.prune_history(at(10), keep));
    tokio::select! {
        biased;
        _ = &mut pruning => panic!("a write waits until all of it is dropped"),
        claimed = state.claim(&b, vec![scheduled("crm", at(3))], at(3)) => drop(claimed.unwrap()),
    }
    pruning.await.unwrap();
    let mut kept = state.history(HistoryFilter { limit: 1_000, ..all_runs() }).await.unwrap();
    assert_eq!(kept.len(), 251);
    kept.retain(|run| run.firing == at(2));
    assert_eq!(kept.len(), 250, "of each the newest");
    assert!(state.journal(all_rows()).await.unwrap().is_empty());
}

/// The source as it was connected at this second.
async fn connected(state: &Store, second: i64) {
    let mut source = super::owned("crm", super::definition([]));
    source.connected_at = Some(at(second));
    let change = StoreChange::Manage(name("crm"), Arc::new(source));
    state.commit(&workspace("a"), vec![change]).await.unwrap();
}

#[tokio::test]
async fn a_run_belongs_to_what_was_connected_when_it_was_claimed() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let claim = async |second| {
        state.claim(&workspace("a"), vec![scheduled("crm", at(second))], at(second)).await.unwrap()[0]
            .unwrap()
    };
    let end = async |run, second, outcome| state.finish(vec![finished(run, second, outcome)]).await.unwrap();
    let last = async || state.last_runs(&workspace("a")).await.unwrap().remove(&name("crm"));
    connected(&state, 0).await;
    end(claim(10).await, 11, RunOutcome::Done).await;
    assert_eq!(last().await.unwrap().last_success, Some(at(11)));

    // One that was begun before ends after it was connected anew, while the clock goes back.
    let under_way = claim(20).await;
    connected(&state, 5).await;
    assert_eq!(last().await, None, "it was never synced");
    end(under_way, 31, RunOutcome::Done).await;
    assert_eq!(last().await, None);

    end(claim(6).await, 7, RunOutcome::Failed).await;
    let failed = last().await.unwrap();
    assert_eq!((failed.outcome, failed.last_success), (RunOutcome::Failed, None));
    assert_eq!(failed.firing, at(20), "the schedule stays with the name");
    end(claim(40).await, 41, RunOutcome::Done).await;
    assert_eq!(last().await.unwrap().last_success, Some(at(41)));
    assert_eq!(state.history(all_runs()).await.unwrap().len(), 4);

    // A clock that was ahead when it was connected hides no run since.
    connected(&state, 9000).await;
    end(claim(50).await, 51, RunOutcome::Done).await;
    assert_eq!(last().await.unwrap().last_success, Some(at(51)));
}

fn spent(firing: i64, outcome: RunOutcome) -> SkippedRun {
    SkippedRun { name: name("crm"), firing: at(firing), outcome, message: "why".to_owned() }
}

#[tokio::test]
async fn what_was_skipped_stays_skipped_and_hides_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let open = || Store::open(dir.path(), PLATFORM).unwrap();
    let state = open();
    let run = state.claim(&workspace("a"), vec![scheduled("crm", at(60))], at(60)).await.unwrap()[0];
    state.finish(vec![finished(run.unwrap(), 65, RunOutcome::Done)]).await.unwrap();
    state.record_skipped(&workspace("a"), vec![spent(120, RunOutcome::Skipped)], at(121)).await.unwrap();
    drop(state);

    let state = open();
    state.record_skipped(&workspace("a"), vec![spent(120, RunOutcome::Skipped)], at(122)).await.unwrap();
    let last = state.last_runs(&workspace("a")).await.unwrap()[&name("crm")].clone();
    assert_eq!((last.firing, last.outcome, last.last_success), (at(120), RunOutcome::Done, Some(at(65))));
    let again = state.claim(&workspace("a"), vec![scheduled("crm", at(120))], at(130)).await.unwrap();
    assert_eq!(again, [None], "a skipped firing was claimed");
    let runs = state.history(all_runs()).await.unwrap();
    let told: Vec<_> = runs.iter().map(|run| (run.outcome, run.message.as_deref())).collect();
    assert_eq!(told, [(RunOutcome::Skipped, Some("why")), (RunOutcome::Done, None)]);
}

#[tokio::test]
async fn a_clock_that_went_back_is_remembered_and_no_firing_comes_twice() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let a = workspace("a");
    let claim = |second| state.claim(&a, vec![scheduled("crm", at(second))], at(second));
    for second in [1_000, 900_000] {
        let run = claim(second).await.unwrap()[0].unwrap();
        state.finish(vec![finished(run, second, RunOutcome::Done)]).await.unwrap();
    }
    state.record_skipped(&a, vec![spent(2_000, RunOutcome::Rewound)], at(2_000)).await.unwrap();
    assert_eq!(state.last_runs(&a).await.unwrap()[&name("crm")].firing, at(2_000));
    assert!(claim(3_000).await.unwrap()[0].is_some());
    assert_eq!(state.last_runs(&a).await.unwrap()[&name("crm")].firing, at(3_000));
    assert_eq!(claim(900_000).await.unwrap(), [None], "it was run when the clock was ahead");
}

/// Computes the last run of a source from all of its runs.
fn last_of(runs: &[RunRecord]) -> (Timestamp, Timestamp, RunOutcome, Option<Timestamp>) {
    let never_sent = |run: &&RunRecord| matches!(run.outcome, RunOutcome::Skipped | RunOutcome::Rewound);
    // Newest first.
    let newest = runs.iter().find(|run| !never_sent(run)).unwrap_or(&runs[0]);
    let back = runs.iter().position(|run| run.outcome == RunOutcome::Rewound).unwrap_or(runs.len() - 1);
    let firing = runs[..=back].iter().map(|run| run.firing).max().unwrap();
    let done = runs.iter().filter(|run| run.outcome == RunOutcome::Done);
    (firing, newest.started_at, newest.outcome, done.filter_map(|run| run.finished_at).max())
}

#[tokio::test]
async fn the_last_run_is_the_one_that_a_look_at_all_runs_finds() {
    let dir = tempfile::tempdir().unwrap();
    let state = Store::open(dir.path(), PLATFORM).unwrap();
    let a = workspace("a");
    let all = || HistoryFilter { limit: 10_000, ..all_runs() };
    let mut running: Vec<i64> = Vec::new();
    // The sequence has a long period, and no firing occurs twice.
    for n in 0..400_i64 {
        let second = if n % 97 == 96 { n - 50_000 } else { n + 1000 * (n % 7) };
        match (n * n + n / 3) % 11 {
            0 | 1 => state.record_skipped(&a, vec![spent(second, RunOutcome::Skipped)], at(n)).await.unwrap(),
            2 => state.record_skipped(&a, vec![spent(second, RunOutcome::Rewound)], at(n)).await.unwrap(),
            3..=6 => {
                running.extend(state.claim(&a, vec![scheduled("crm", at(second))], at(n)).await.unwrap()[0]);
            }
            _ => {
                let outcomes = [RunOutcome::Done, RunOutcome::Failed, RunOutcome::Unknown];
                let ended = running.drain(..).map(|run| finished(run, n, outcomes[(n % 3) as usize]));
                state.finish(ended.collect()).await.unwrap();
            }
        }
        let runs = state.history(all()).await.unwrap();
        let last = state.last_runs(&a).await.unwrap();
        assert_eq!(last.is_empty(), runs.is_empty());
        if let Some(last) = last.get(&name("crm")) {
            let told = (last.firing, last.started_at, last.outcome, last.last_success);
            assert_eq!(told, last_of(&runs), "{n}");
        }
    }
    // Runs that are kept must also identify the last run.
    state.finish(running.iter().map(|run| finished(*run, 500, RunOutcome::Failed)).collect()).await.unwrap();
    for n in 500..510 {
        state.record_skipped(&a, vec![spent(n, RunOutcome::Skipped)], at(n)).await.unwrap();
    }
    let before = state.last_runs(&a).await.unwrap()[&name("crm")].clone();
    let keep = Retention { runs_per_source: 3, age: Duration::ZERO, journal_rows: 100 };
    state.prune_history(at(600), keep).await.unwrap();
    let after = state.last_runs(&a).await.unwrap()[&name("crm")].clone();
    assert_eq!((after.firing, after.last_success), (before.firing, before.last_success));
    let runs = state.history(all()).await.unwrap();
    let newest = runs.iter().find(|run| run.outcome != RunOutcome::Skipped).unwrap();
    assert_eq!((after.started_at, after.outcome), (newest.started_at, newest.outcome));
}
