//! Work on many files, spread over the cores.

use std::sync::atomic::{AtomicUsize, Ordering};

/// Runs the work for each number on as many threads as there are cores.
pub fn on_all_cores(count: usize, work: &(dyn Fn(usize) + Sync)) {
    /// Fewer are done before a thread has started.
    const WORTH_A_THREAD: usize = 8;
    // Not asked for nothing: it takes the system a look at several files.
    let cores = || std::thread::available_parallelism().map_or(1, usize::from);
    let worth = count / WORTH_A_THREAD;
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
        // Where the system has no room for another thread, this one does all of it.
        for _ in 1..threads {
            if std::thread::Builder::new().spawn_scoped(scope, share).is_err() {
                break;
            }
        }
        share();
    });
}
