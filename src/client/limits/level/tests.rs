//! Tests of the level against simulated platforms.

use super::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// A platform with a fixed number of workers and a fixed latency.
///
/// Rejects requests beyond twice the number of workers.
struct Platform {
    latency: Duration,
    workers: usize,
}

/// Result of sending requests for a while.
struct Story {
    levels: Vec<usize>,
    answered: usize,
    refused: usize,
    took: Duration,
}

/// Sends requests, always as many at once as the level permits.
fn send(level: &mut ConcurrencyController, platform: &Platform, calls: usize) -> Story {
    let start = Instant::now();
    let mut now = start;
    let mut workers: BinaryHeap<Reverse<Instant>> = (0..platform.workers).map(|_| Reverse(now)).collect();
    let mut under_way: BinaryHeap<Reverse<(Instant, Instant, bool)>> = BinaryHeap::new();
    let mut story = Story { levels: Vec::new(), answered: 0, refused: 0, took: Duration::ZERO };
    while story.answered < calls {
        while under_way.len() < level.get() {
            if under_way.len() >= 2 * platform.workers {
                under_way.push(Reverse((now + Duration::from_millis(1), now, false)));
                continue;
            }
            let Reverse(free) = workers.pop().unwrap();
            let done = free.max(now) + platform.latency;
            workers.push(Reverse(done));
            under_way.push(Reverse((done, now, true)));
        }
        let Reverse((ended, sent, answered)) = under_way.pop().unwrap();
        now = ended;
        story.answered += usize::from(answered);
        story.refused += usize::from(!answered);
        level.record(
            if answered { CallOutcome::Completed(CallKind::List) } else { CallOutcome::Overloaded },
            sent,
            now,
            true,
        );
        story.levels.push(level.get());
    }
    story.took = now - start;
    story
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

#[tokio::test(start_paused = true)]
async fn a_large_platform_is_asked_as_much_as_is_permitted_within_a_few_rounds() {
    for latency in [20, 200] {
        let mut level = ConcurrencyController::new(64);
        let story = send(&mut level, &Platform { latency: millis(latency), workers: 1000 }, 3000);
        assert!(story.levels[..8].iter().all(|level| *level <= 16), "{:?}", &story.levels[..8]);
        let reached = story.levels.iter().position(|level| *level == 64).unwrap();
        assert!(reached < 64, "{reached}");
        assert!(story.levels[reached..].iter().all(|level| *level == 64));
        // 64 at once would take 47 rounds.
        assert!(story.took < millis(latency) * 51, "{:?}", story.took);
    }
}

#[tokio::test(start_paused = true)]
async fn a_small_platform_is_left_with_a_short_queue_and_hardly_refuses_anything() {
    let mut level = ConcurrencyController::new(64);
    let story = send(&mut level, &Platform { latency: millis(20), workers: 10 }, 5000);
    assert!(story.refused < story.answered / 20, "{} refused", story.refused);
    let settled = &story.levels[1000..];
    assert!(settled.iter().all(|level| (5..=25).contains(level)), "{:?}", settled.iter().max());
    // Its workers are never idle: 5,000 requests on ten of them.
    assert!(story.took < millis(20) * 550, "{:?}", story.took);
}

#[tokio::test(start_paused = true)]
async fn what_was_sent_before_a_refusal_was_noticed_does_not_count_twice() {
    let mut level = ConcurrencyController::new(64);
    send(&mut level, &Platform { latency: millis(20), workers: 1000 }, 1000);
    let sent = Instant::now();
    for _ in 0..64 {
        level.record(CallOutcome::Overloaded, sent, sent + millis(20), true);
    }
    assert_eq!(level.get(), 32);
}

#[tokio::test(start_paused = true)]
async fn a_platform_that_became_slower_for_good_is_asked_as_much_as_before() {
    let mut level = ConcurrencyController::new(64);
    send(&mut level, &Platform { latency: millis(20), workers: 1000 }, 1000);
    let story = send(&mut level, &Platform { latency: millis(100), workers: 1000 }, 20_000);
    assert!(story.levels.iter().min().unwrap() < &64, "it was noticed");
    assert_eq!(story.levels.last(), Some(&64));
}

#[tokio::test(start_paused = true)]
async fn what_is_not_used_does_not_grow_and_one_call_is_always_permitted() {
    let (mut level, now) = (ConcurrencyController::new(64), Instant::now());
    for _ in 0..1000 {
        level.record(CallOutcome::Completed(CallKind::List), now, now + millis(1), false);
    }
    assert_eq!(level.get(), 8);
    for n in 0..100 {
        let sent = now + millis(10 * n);
        level.record(CallOutcome::Overloaded, sent, sent + millis(1), true);
    }
    assert_eq!(level.get(), 1);
    assert_eq!(ConcurrencyController::new(0).get(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_connect_that_takes_longer_than_a_list_is_no_sign_of_a_queue() {
    let (mut level, mut now) = (ConcurrencyController::new(64), Instant::now());
    for (kind, took) in [(CallKind::List, 20), (CallKind::Connect, 400), (CallKind::List, 20)] {
        for _ in 0..500 {
            level.record(CallOutcome::Completed(kind), now, now + millis(took), true);
        }
        now += millis(took);
    }
    assert_eq!(level.get(), 64);
}
