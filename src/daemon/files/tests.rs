use super::*;
use crate::plan::WithheldReason;

const SETTLE: SignedDuration = SignedDuration::from_secs(1);

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millisecond(1_000_000 + millis).unwrap()
}

/// Scans a directory with contents `digest` and a fixed `wellspring.toml`.
fn look(files: &mut Files, digest: u8, millis: i64) -> Counts {
    files.look_at = None;
    files.looked([digest; 32], Some([0; 32]), false, false, at(millis))
}

/// A directory whose contents `digest` were accepted in full.
fn settled(digest: u8) -> Files {
    let mut files = Files::new(SETTLE, at(-5000));
    assert_eq!(look(&mut files, digest, -5000), Counts::NotYet);
    assert_eq!(look(&mut files, digest, -4000), Counts::Wholly);
    assert_eq!(files.look_at, None);
    files
}

#[test]
fn a_half_written_file_is_not_acted_on() {
    let mut files = settled(1);
    assert_eq!(look(&mut files, 2, 0), Counts::NotYet);
    assert_eq!(files.look_at, Some(at(100)));
    assert_eq!(look(&mut files, 3, 100), Counts::NotYet, "it was still being written");
    assert_eq!(look(&mut files, 3, 150), Counts::NotYet, "two looks are a moment apart");
    assert_eq!(files.look_at, Some(at(200)));
    assert!(matches!(look(&mut files, 3, 200), Counts::Additions(_)));
}

#[test]
fn an_addition_counts_a_moment_after_and_a_removal_after_the_quiet_time() {
    let mut files = settled(1);
    look(&mut files, 2, 0);
    let Counts::Additions(barred) = look(&mut files, 2, 100) else { panic!("additions count") };
    assert_eq!(barred.code, WithheldReason::Unsettled);
    assert_eq!(files.look_at, Some(at(1000)), "the look that settles it is planned");
    assert_eq!(look(&mut files, 2, 500), Counts::NotYet, "the same is not told twice");
    assert_eq!(look(&mut files, 2, 1000), Counts::Wholly);
    assert_eq!(look(&mut files, 2, 9000), Counts::NotYet, "nothing new");
    assert_eq!(files.look_at, None);
}

/// Scans files that were all finished by their writers.
fn look_at_finished(files: &mut Files, digest: u8, millis: i64) -> Counts {
    files.look_at = None;
    files.looked([digest; 32], Some([0; 32]), false, true, at(millis))
}

#[test]
fn what_a_finished_file_adds_counts_at_once_and_its_removals_after_the_quiet_time() {
    let mut files = settled(1);
    assert!(matches!(look_at_finished(&mut files, 2, 0), Counts::Additions(_)));
    assert_eq!(files.look_at, Some(at(1000)), "the look that settles it is planned");
    assert_eq!(look(&mut files, 2, 1000), Counts::Wholly);
    // Scanned while it was written, then finished.
    assert_eq!(look(&mut files, 3, 5000), Counts::NotYet);
    assert!(matches!(look_at_finished(&mut files, 3, 5001), Counts::Additions(_)));
}

#[test]
fn not_even_finished_files_count_at_once_before_the_first_reading_under_gits_lock_or_other_settings() {
    let mut files = Files::new(SETTLE, at(0));
    assert_eq!(look_at_finished(&mut files, 1, 0), Counts::NotYet);
    let mut files = settled(1);
    assert_eq!(files.looked([2; 32], Some([0; 32]), true, true, at(0)), Counts::NotYet);
    let mut files = settled(1);
    assert_eq!(files.looked([2; 32], Some([9; 32]), false, true, at(0)), Counts::NotYet);
    assert_eq!(files.looked([2; 32], Some([9; 32]), false, true, at(500)), Counts::NotYet);
    assert_eq!(files.looked([2; 32], Some([9; 32]), false, true, at(1000)), Counts::Wholly);
}

#[test]
fn the_quiet_time_starts_anew_with_every_change() {
    let mut files = settled(1);
    look(&mut files, 2, 0);
    look(&mut files, 2, 100);
    look(&mut files, 3, 900);
    assert!(matches!(look(&mut files, 3, 1000), Counts::Additions(_)));
    assert_eq!(look(&mut files, 3, 1900), Counts::Wholly);
}

#[test]
fn what_wellspring_toml_changes_waits_for_rest() {
    let mut files = settled(1);
    let mut look = |millis| {
        files.look_at = None;
        files.looked([2; 32], Some([9; 32]), false, false, at(millis))
    };
    assert_eq!(look(0), Counts::NotYet);
    assert_eq!(look(100), Counts::NotYet);
    assert_eq!(look(999), Counts::NotYet);
    assert_eq!(look(1000), Counts::Wholly);
}

#[test]
fn nothing_counts_while_git_writes_the_checkout() {
    let mut files = settled(1);
    for millis in [0, 1000, 2000, 60_000] {
        files.look_at = None;
        assert_eq!(files.looked([2; 32], None, true, false, at(millis)), Counts::NotYet);
        assert!(files.look_at.is_some(), "it is looked at again");
    }
    assert_eq!(look(&mut files, 2, 61_000), Counts::Wholly);
}

#[test]
fn a_lock_that_nobody_takes_away_is_told_once() {
    let mut files = settled(1);
    let mut told = Vec::new();
    for minute in 0..30 {
        files.looked([1; 32], None, true, false, at(minute * 60_000));
        if files.lock_is_stale(at(minute * 60_000)) {
            told.push(minute);
        }
    }
    assert_eq!(told, [10]);
    files.looked([1; 32], None, false, false, at(0));
    files.looked([1; 32], None, true, false, at(0));
    assert!(!files.lock_is_stale(at(60_000)), "another lock is another matter");
}

#[test]
fn after_an_unreadable_tree_two_looks_must_agree_again() {
    let mut files = settled(1);
    files.look_at = None;
    files.unreadable(at(0));
    assert_eq!(files.look_at, Some(at(1000)));
    assert_eq!(look(&mut files, 1, 1000), Counts::NotYet);
    assert_eq!(look(&mut files, 1, 1100), Counts::NotYet, "nothing new, and not at rest yet");
    assert_eq!(look(&mut files, 1, 2000), Counts::Wholly);
}

#[test]
fn a_clock_that_goes_back_proves_no_quiet_time() {
    let mut files = settled(1);
    look(&mut files, 2, 0);
    assert_eq!(look(&mut files, 2, -3_600_000), Counts::NotYet);
    assert!(files.look_at.is_some_and(|look| look <= at(-3_600_000 + 1000)));
    assert!(matches!(look(&mut files, 2, -3_600_000 + 100), Counts::Additions(_)));
    assert_eq!(look(&mut files, 2, -3_600_000 + 1000), Counts::Wholly);

    let mut files = settled(1);
    look(&mut files, 2, 0);
    files.clock_set_back(at(-3_600_000));
    assert_eq!(files.look_at, Some(at(-3_600_000)), "no look is planned for an hour from now");
}

#[test]
fn without_a_quiet_time_two_looks_are_enough() {
    let mut files = Files::new(SignedDuration::ZERO, at(0));
    assert_eq!(look(&mut files, 1, 0), Counts::NotYet);
    assert_eq!(files.look_at, Some(at(0)));
    assert_eq!(look(&mut files, 1, 0), Counts::Wholly);
}

/// Scans only changed files, all of them finished.
fn glance(files: &mut Files, digest: u8, millis: i64) -> Counts {
    files.glanced([digest; 32], Some([0; 32]), false, true, at(millis))
}

#[test]
fn a_glance_adds_at_once_and_settles_nothing() {
    let mut files = settled(1);
    assert!(matches!(glance(&mut files, 2, 0), Counts::Additions(_)));
    assert_eq!(files.look_at, Some(at(1000)), "the look at everything that settles it is planned");
    for millis in [500, 1000, 9000] {
        assert_eq!(glance(&mut files, 2, millis), Counts::NotYet);
        assert_eq!(files.look_at, Some(at(1000)), "and stays planned");
    }
    assert!(matches!(glance(&mut files, 3, 900), Counts::Additions(_)));
    assert_eq!(look(&mut files, 3, 1000), Counts::NotYet, "the quiet time began anew");
    assert_eq!(look(&mut files, 3, 1900), Counts::Wholly);
    // Scanned while it was written, then finished.
    assert_eq!(look(&mut files, 4, 5000), Counts::NotYet);
    assert!(matches!(glance(&mut files, 4, 5001), Counts::Additions(_)));
}

#[test]
fn a_glance_that_may_not_count_is_followed_by_a_look_at_everything() {
    let now = Some(at(0));
    let mut first = Files::new(SETTLE, at(0));
    first.look_at = None;
    assert_eq!((glance(&mut first, 1, 0), first.look_at), (Counts::NotYet, now), "nothing was accepted yet");
    for (settings, git_locked, finished) in [(9, false, true), (0, true, true), (0, false, false)] {
        let mut files = settled(1);
        let counts = files.glanced([2; 32], Some([settings; 32]), git_locked, finished, at(0));
        assert_eq!((counts, files.look_at), (Counts::NotYet, now));
    }
}
