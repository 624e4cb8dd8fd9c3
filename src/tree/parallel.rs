//! Runs work on many files in parallel.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Calls `work` for each number, on as many threads as there are cores.
pub fn for_each_index(count: usize, work: &(dyn Fn(usize) + Sync)) {
    /// Files per thread at least; fewer are done before a thread has started.
    const MIN_ITEMS_PER_THREAD: usize = 8;
    // Evaluated only if needed, because the system reads several files for it.
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let worth = count / MIN_ITEMS_PER_THREAD;
    let threads = if worth < 2 { 1 } else { cores().min(worth) };
    if threads < 2 {
        return (0..count).for_each(work);
    }
    let next = AtomicUsize::new(0);
    let share = || {
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            if n >= count {
                break;
            }
            work(n);
        }
    };
    std::thread::scope(|scope| {
        // If no thread can be started, this thread does all the work.
        for _ in 1..threads {
            if std::thread::Builder::new().spawn_scoped(scope, share).is_err() {
                break;
            }
        }
        share();
    });
}
