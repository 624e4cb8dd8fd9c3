//! Model checker: random histories with the real core and the real shell.
//!
//! Projects are random, the platform settles every open question at random, and there are network faults,
//! changes by others, and kills. The invariants must hold after each step, and once the faults stop.
//!
//! `WELLSPRING_MODEL_HISTORIES=N` runs another number of histories, `WELLSPRING_MODEL_SEED=S` replays one, and both
//! run `N` from `S` on. A million, outside CI: `WELLSPRING_MODEL_HISTORIES=1000000 cargo test --release --test
//! model whatever -- --nocapture`.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod cases;
mod chance;
mod history;
mod plans;
mod tree;
mod wire;
mod world;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

/// Number of histories unless another one is requested: a minute and a half on two cores.
const HISTORIES: u64 = 10_000;

#[test]
fn whatever_happens_the_invariants_hold() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let first = number("WELLSPRING_MODEL_SEED");
    let histories = number("WELLSPRING_MODEL_HISTORIES").unwrap_or(first.map_or(HISTORIES, |_| 1));
    let first = first.unwrap_or_default();
    run(first..first + histories);
}

/// What histories came to.
#[derive(Default)]
struct Tally {
    counts: BTreeMap<String, usize>,
    checks: BTreeMap<&'static str, world::Checks>,
    failed: Vec<u64>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.failed.extend(other.failed);
        for (what, times) in other.counts {
            *self.counts.entry(what).or_default() += times;
        }
        for (invariant, checks) in other.checks {
            let sum = self.checks.entry(invariant).or_default();
            sum.all += checks.all;
            sum.excused += checks.excused;
        }
    }

    /// Fails if exemptions switch an invariant off in more than a tenth of its checks.
    fn check_exemptions(&self) {
        for (invariant, checks) in &self.checks {
            assert!(checks.excused * 10 <= checks.all, "{invariant} is hardly in force: {checks:?}");
        }
    }
}

/// Number of histories from which shares are meaningful.
const MANY: u64 = 1_000;

/// Runs the histories of these seeds, one on each core at a time.
fn run(seeds: Range<u64>) {
    let number = seeds.end - seeds.start;
    let show = number == 1;
    let next = AtomicU64::new(seeds.start);
    let work = || {
        let mut tally = Tally::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= seeds.end {
                return tally;
            }
            let report = history::run(seed, show);
            if show {
                println!("{}", report.log.join("\n"));
            }
            tally.add(Tally { counts: report.counts, checks: report.checks, failed: Vec::new() });
            if !report.breaches.is_empty() {
                println!("seed {seed}: {:?}: {}", report.semantics, report.breaches.join("; "));
                tally.failed.push(seed);
            }
        }
    };
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let mut all = Tally::default();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..cores).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            all.add(worker.join().unwrap());
        }
    });
    println!("{:#?}\n{:#?}", all.counts, all.checks);
    all.failed.sort_unstable();
    let failed = &all.failed;
    assert!(failed.is_empty(), "replay with WELLSPRING_MODEL_SEED={}; {} failed", failed[0], failed.len());
    if number >= MANY {
        all.check_exemptions();
    }
}
