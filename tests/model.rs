//! Model checker: random histories with the real core and the real shell.
//!
//! Projects are random, the platform settles every open question at random, and there are network faults,
//! changes by others, and kills. The invariants must hold after each step, and once the faults stop.
//!
//! `WELLSPRING_MODEL_HISTORIES=N` runs more histories, `WELLSPRING_MODEL_SEED=S` replays one. A million takes
//! some hours: `WELLSPRING_MODEL_HISTORIES=1000000 cargo test --release --test model whatever --
//! --nocapture`.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[path = "model/cases.rs"]
mod cases;
#[path = "model/chance.rs"]
mod chance;
#[path = "model/history.rs"]
mod history;
#[path = "model/plans.rs"]
mod plans;
#[path = "model/tree.rs"]
mod tree;
#[path = "model/wire.rs"]
mod wire;
#[path = "model/world.rs"]
mod world;

use std::collections::BTreeMap;
use std::ops::Range;

#[test]
fn whatever_happens_the_invariants_hold() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let seeds = match number("WELLSPRING_MODEL_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..number("WELLSPRING_MODEL_HISTORIES").unwrap_or(1_000),
    };
    run(seeds);
}

/// Histories in which an unmanaged source was once mistaken for ours.
///
/// A list omitted it, the platform refused our connect of its name or the response was lost, and the next
/// list contained it by name only.
#[test]
fn what_a_list_hid_is_not_taken_for_ours() {
    for seed in [2654, 2679, 3014, 3172, 3805, 3867, 4217, 4670, 4999] {
        run(seed..seed + 1);
    }
}

fn run(seeds: Range<u64>) {
    let show = seeds.end - seeds.start == 1;
    let mut failed = Vec::new();
    let mut counts = BTreeMap::new();
    for seed in seeds {
        let report = history::run(seed);
        if show {
            println!("{}", report.log.join("\n"));
        }
        for (what, times) in report.counts {
            *counts.entry(what).or_insert(0) += times;
        }
        if !report.breaches.is_empty() {
            println!("seed {seed}: {:?}: {}", report.semantics, report.breaches.join("; "));
            failed.push(seed);
        }
    }
    println!("{counts:#?}");
    assert!(failed.is_empty(), "replay with WELLSPRING_MODEL_SEED={}; {} failed", failed[0], failed.len());
}
