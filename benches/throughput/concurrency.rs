//! Measures concurrency control against fixed numbers of connections.
//!
//! Both sides do the same work on various platforms: list each workspace, connect its sources, and list it
//! again. *raw* repeats refused requests at once.

use super::measure::{Used, median};
use super::platform::{Manner, Platform};
use super::scene::Scene;
use super::workload::Shape;
use super::yardstick::{self, Raw};
use std::time::Duration;

pub(crate) fn concurrency(platform: &Platform, rounds: usize) {
    let shape = Shape { workspaces: 500, sources: 10 };
    let scene = Scene::new(platform, shape);
    println!("{shape}, cold, medians of {rounds}: how many calls at once");
    println!("both list, connect and list again; raw with fixed numbers of connections, and no patience");
    println!("{:34}{:>10}{:>14}{:>10}", "", "ms", "most at once", "refused");
    for (latency, capacity) in [(0, None), (20, None), (200, None), (20, Some(10)), (20, Some(4))] {
        platform.behave(Manner { latency: Duration::from_millis(latency), capacity, ..Manner::default() });
        let bears = capacity
            .map_or(String::new(), |most| format!(", works on {most} at once, refuses beyond twice that"));
        println!("{latency} ms for each call{bears}");
        let row = |what: &str, work: &dyn Fn() -> Used| {
            let took = median(
                (0..rounds)
                    .map(|_| {
                        scene.forget();
                        work()
                    })
                    .collect(),
            )
            .wall;
            let (most, refused) = (platform.most_at_once(), platform.calls().refused);
            println!("    {what:30}{:>10.0}{most:>14}{refused:>10}", took.as_secs_f64() * 1e3);
        };
        row("wellspring", &|| scene.apply());
        let fixed = capacity.map_or(vec![16, 64], |most| vec![most, 2 * most, 64]);
        for connections in fixed {
            let raw = || yardstick::raw(&platform.url, shape, Raw::ListConnectAndList, connections);
            row(&format!("raw, fixed at {connections}"), &raw);
        }
    }
    platform.behave(Manner::default());
}
