//! Staleness of data.

use super::*;

fn turned(board: &mut Scheduler, seconds: i64) -> Vec<(String, bool)> {
    board
        .freshness_changes(at(seconds))
        .into_iter()
        .map(|turned| (turned.key.to_string(), turned.stale))
        .collect()
}

#[test]
fn stale_data_is_told_once_and_so_is_fresh_data() {
    let sync = "sync = { every = \"10h\", stale_after = \"11h\", on_connect = false }";
    let mut board = board(sources(&[("a", sync)]));
    pass(&mut board, 0, &[]);
    let workspace = workspace(&board, 0);
    assert_eq!(turned(&mut board, 100), []);
    assert_eq!(turned(&mut board, 11 * 3600), [("a".to_owned(), true)]);
    assert_eq!(turned(&mut board, 12 * 3600), []);
    board.mark_fresh(&workspace, [&SourceName::parse("a").unwrap()], at(12 * 3600));
    assert_eq!(turned(&mut board, 12 * 3600 + 1), [("a".to_owned(), false)]);
    assert_eq!(turned(&mut board, 12 * 3600 + 2), []);
}

#[test]
fn another_schedule_makes_no_data_fresh() {
    let text = |every: &str| {
        format!("sync = {{ every = \"{every}\", stale_after = \"{every}\", on_connect = false }}")
    };
    let edited = |every: &str| sources(&[("a", &text(every))]);
    let mut board = board(edited("10h"));
    pass(&mut board, 0, &[]);
    board.set_workspaces(edited("1m"), None, at(3600));
    assert_eq!(turned(&mut board, 3600), [], "when it came into force is not known before the pass");
    pass(&mut board, 3600, &[]);
    assert_eq!(turned(&mut board, 3601), [("a".to_owned(), true)]);
    board.set_workspaces(edited("20h"), None, at(3602));
    pass(&mut board, 3602, &[]);
    let turned = board.freshness_changes(at(3603));
    assert_eq!(
        turned.iter().map(|turned| (turned.stale, turned.synced)).collect::<Vec<_>>(),
        [(false, false)]
    );
}

#[test]
fn the_loop_wakes_when_data_becomes_stale() {
    let sync = "sync = { every = \"1000h\", stale_after = \"1m\", on_connect = false }";
    let mut board = scheduled(&[("a", sync)]);
    assert_eq!(board.next_wake(at(1)), Some(at(60)));
    turned(&mut board, 60);
    assert!(board.next_wake(at(60)).unwrap() > at(60));
}

#[test]
fn a_suspended_source_is_not_called_stale() {
    let sync = "suspend = { reason = \"moving\" }\nsync = { every = \"10h\", stale_after = \"11h\" }";
    let mut board = scheduled(&[("a", sync)]);
    assert_eq!(turned(&mut board, 1_000_000), []);
}
