use super::*;
use crate::plan::WithheldReason;

const SETTLE: SignedDuration = SignedDuration::from_secs(1);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000 + millis).unwrap()
}

/// Scans a directory with contents `digest` and a fixed `wellspring.toml`.
fn look(files: &mut SettleTracker, digest: u8, millis: i64) -> Acceptance {
    files.next_scan_at = None;
    files.observe_full([digest; 32], Some([0; 32]), false, false, at(millis))
}

/// A directory whose contents `digest` were accepted in full.
fn settled(digest: u8) -> SettleTracker {
    let mut files = SettleTracker::new(SETTLE, at(-5000));
    assert_eq!(look(&mut files, digest, -5000), Acceptance::Wait);
    assert_eq!(look(&mut files, digest, -4000), Acceptance::Full);
    assert_eq!(files.next_scan_at, None);
    files
}

#[test]
fn a_half_written_file_is_not_acted_on() {
    let mut files = settled(1);
    assert_eq!(look(&mut files, 2, 0), Acceptance::Wait);
    assert_eq!(files.next_scan_at, Some(at(100)));
    assert_eq!(look(&mut files, 3, 100), Acceptance::Wait, "it was still being written");
    assert_eq!(look(&mut files, 3, 150), Acceptance::Wait, "two looks are a moment apart");
    assert_eq!(files.next_scan_at, Some(at(200)));
    assert!(matches!(look(&mut files, 3, 200), Acceptance::AdditionsOnly(_)));
}

#[test]
fn an_addition_counts_a_moment_after_and_a_removal_after_the_quiet_time() {
    let mut files = settled(1);
    look(&mut files, 2, 0);
    let Acceptance::AdditionsOnly(barred) = look(&mut files, 2, 100) else { panic!("additions count") };
    assert_eq!(barred.code, WithheldReason::Unsettled);
    assert_eq!(files.next_scan_at, Some(at(1000)), "the look that settles it is planned");
    assert_eq!(look(&mut files, 2, 500), Acceptance::Wait, "the same is not told twice");
    assert_eq!(look(&mut files, 2, 1000), Acceptance::Full);
    assert_eq!(look(&mut files, 2, 9000), Acceptance::Wait, "nothing new");
    assert_eq!(files.next_scan_at, None);
}

/// Scans files that were all finished by their writers.
fn look_at_finished(files: &mut SettleTracker, digest: u8, millis: i64) -> Acceptance {
    files.next_scan_at = None;
    files.observe_full([digest; 32], Some([0; 32]), false, true, at(millis))
}

#[test]
fn what_a_finished_file_adds_counts_at_once_and_its_removals_after_the_quiet_time() {
    let mut files = settled(1);
    assert!(matches!(look_at_finished(&mut files, 2, 0), Acceptance::AdditionsOnly(_)));
    assert_eq!(files.next_scan_at, Some(at(1000)), "the look that settles it is planned");
    assert_eq!(look(&mut files, 2, 1000), Acceptance::Full);
    // Scanned while it was written, then finished.
    assert_eq!(look(&mut files, 3, 5000), Acceptance::Wait);
    assert!(matches!(look_at_finished(&mut files, 3, 5001), Acceptance::AdditionsOnly(_)));
}

#[test]
fn not_even_finished_files_count_at_once_before_the_first_reading_under_gits_lock_or_other_settings() {
    let mut files = SettleTracker::new(SETTLE, at(0));
    assert_eq!(look_at_finished(&mut files, 1, 0), Acceptance::Wait);
    let mut files = settled(1);
    assert_eq!(files.observe_full([2; 32], Some([0; 32]), true, true, at(0)), Acceptance::Wait);
    let mut files = settled(1);
    assert_eq!(files.observe_full([2; 32], Some([9; 32]), false, true, at(0)), Acceptance::Wait);
    assert_eq!(files.observe_full([2; 32], Some([9; 32]), false, true, at(500)), Acceptance::Wait);
    assert_eq!(files.observe_full([2; 32], Some([9; 32]), false, true, at(1000)), Acceptance::Full);
}

#[test]
fn the_quiet_time_starts_anew_with_every_change() {
    let mut files = settled(1);
    look(&mut files, 2, 0);
    look(&mut files, 2, 100);
    look(&mut files, 3, 900);
    assert!(matches!(look(&mut files, 3, 1000), Acceptance::AdditionsOnly(_)));
    assert_eq!(look(&mut files, 3, 1900), Acceptance::Full);
}

#[test]
fn what_wellspring_toml_changes_waits_for_rest() {
    let mut files = settled(1);
    let mut look = |millis| {
        files.next_scan_at = None;
        files.observe_full([2; 32], Some([9; 32]), false, false, at(millis))
    };
    assert_eq!(look(0), Acceptance::Wait);
    assert_eq!(look(100), Acceptance::Wait);
    assert_eq!(look(999), Acceptance::Wait);
    assert_eq!(look(1000), Acceptance::Full);
}

#[test]
fn nothing_counts_while_git_writes_the_checkout() {
    let mut files = settled(1);
    for millis in [0, 1000, 2000, 60_000] {
        files.next_scan_at = None;
        assert_eq!(files.observe_full([2; 32], None, true, false, at(millis)), Acceptance::Wait);
        assert!(files.next_scan_at.is_some(), "it is looked at again");
    }
    assert_eq!(look(&mut files, 2, 61_000), Acceptance::Full);
}

#[test]
fn a_lock_that_nobody_takes_away_is_told_once() {
    let mut files = settled(1);
    let mut told = Vec::new();
    for minute in 0..30 {
        files.observe_full([1; 32], None, true, false, at(minute * 60_000));
        if files.take_stale_lock(at(minute * 60_000)) {
            told.push(minute);
        }
    }
    assert_eq!(told, [10]);
    files.observe_full([1; 32], None, false, false, at(0));
    files.observe_full([1; 32], None, true, false, at(0));
    assert!(!files.take_stale_lock(at(60_000)), "another lock is another matter");
}

#[test]
fn after_an_unreadable_tree_two_looks_must_agree_again() {
    let mut files = settled(1);
    files.next_scan_at = None;
    files.unreadable(at(0));
    assert_eq!(files.next_scan_at, Some(at(1000)));
    assert_eq!(look(&mut files, 1, 1000), Acceptance::Wait);
    assert_eq!(look(&mut files, 1, 1100), Acceptance::Wait, "nothing new, and not at rest yet");
    assert_eq!(look(&mut files, 1, 2000), Acceptance::Full);
}

#[test]
fn a_clock_that_goes_back_proves_no_quiet_time() {
    let mut files = settled(1);
    look(&mut files, 2, 0);
    assert_eq!(look(&mut files, 2, -3_600_000), Acceptance::Wait);
    assert!(files.next_scan_at.is_some_and(|look| look <= at(-3_600_000 + 1000)));
    assert!(matches!(look(&mut files, 2, -3_600_000 + 100), Acceptance::AdditionsOnly(_)));
    assert_eq!(look(&mut files, 2, -3_600_000 + 1000), Acceptance::Full);

    let mut files = settled(1);
    look(&mut files, 2, 0);
    files.clock_set_back(at(-3_600_000));
    assert_eq!(files.next_scan_at, Some(at(-3_600_000)), "no look is planned for an hour from now");
}

#[test]
fn without_a_quiet_time_two_looks_are_enough() {
    let mut files = SettleTracker::new(SignedDuration::ZERO, at(0));
    assert_eq!(look(&mut files, 1, 0), Acceptance::Wait);
    assert_eq!(files.next_scan_at, Some(at(0)));
    assert_eq!(look(&mut files, 1, 0), Acceptance::Full);
}

/// Scans only changed files, all of them finished.
fn glance(files: &mut SettleTracker, digest: u8, millis: i64) -> Acceptance {
    files.observe_partial([digest; 32], Some([0; 32]), false, true, at(millis))
}

#[test]
fn a_glance_adds_at_once_and_settles_nothing() {
    let mut files = settled(1);
    assert!(matches!(glance(&mut files, 2, 0), Acceptance::AdditionsOnly(_)));
    assert_eq!(files.next_scan_at, Some(at(1000)), "the look at everything that settles it is planned");
    for millis in [500, 1000, 9000] {
        assert_eq!(glance(&mut files, 2, millis), Acceptance::Wait);
        assert_eq!(files.next_scan_at, Some(at(1000)), "and stays planned");
    }
    assert!(matches!(glance(&mut files, 3, 900), Acceptance::AdditionsOnly(_)));
    assert_eq!(look(&mut files, 3, 1000), Acceptance::Wait, "the quiet time began anew");
    assert_eq!(look(&mut files, 3, 1900), Acceptance::Full);
    // Scanned while it was written, then finished.
    assert_eq!(look(&mut files, 4, 5000), Acceptance::Wait);
    assert!(matches!(glance(&mut files, 4, 5001), Acceptance::AdditionsOnly(_)));
}

#[test]
fn a_glance_that_may_not_count_is_followed_by_a_look_at_everything() {
    let now = Some(at(0));
    let mut first = SettleTracker::new(SETTLE, at(0));
    first.next_scan_at = None;
    assert_eq!(
        (glance(&mut first, 1, 0), first.next_scan_at),
        (Acceptance::Wait, now),
        "nothing was accepted yet"
    );
    for (settings, git_locked, finished) in [(9, false, true), (0, true, true), (0, false, false)] {
        let mut files = settled(1);
        let counts = files.observe_partial([2; 32], Some([settings; 32]), git_locked, finished, at(0));
        assert_eq!((counts, files.next_scan_at), (Acceptance::Wait, now));
    }
}
