//! Measures time, CPU time and memory by number of sources.
//!
//! The sources are spread over more workspaces, or concentrated in one.

mod plot;

use super::measure::{self, Used, median};
use super::platform::{Manner, Platform};
use super::scene::Scene;
use super::workload::{self, Shape};
use plot::{Line, Panel};

/// Sources per workspace when the number of workspaces grows.
const OF_EACH: usize = 100;

/// Sources per file when several files declare one workspace.
const OF_A_FILE: usize = 1_000;

const BY_WORKSPACES: [usize; 5] = [1_000, 3_000, 10_000, 30_000, 100_000];
/// More sources would exceed the maximum size of a file.
const IN_ONE_FILE: [usize; 4] = [1_000, 3_000, 10_000, 15_000];
const IN_FILES: [usize; 4] = [1_000, 3_000, 10_000, 20_000];

/// Distribution of the sources.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Over {
    Workspaces,
    OneFile,
    FilesOfOneWorkspace,
}

/// Results for one project.
struct Point {
    sources: usize,
    cold: Used,
    nothing: Used,
    recheck: Used,
    memory: u64,
}

/// Measures projects with up to `most` sources; draws the plot if all are measured.
pub(crate) fn growth(platform: &Platform, rounds: usize, most: usize) {
    platform.behave(Manner::default());
    println!("medians of {rounds}; time and CPU time in ms, memory of the daemon at rest in MiB");
    let mut lines = Vec::new();
    for (over, sizes, name) in [
        (Over::Workspaces, &BY_WORKSPACES[..], "workspaces of 100 sources"),
        (Over::OneFile, &IN_ONE_FILE, "one workspace in one file"),
        (Over::FilesOfOneWorkspace, &IN_FILES, "one workspace in files of 1,000"),
    ] {
        println!(
            "{name:32}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}{:>10}",
            "cold", "CPU", "no-op", "CPU", "re-check", "CPU", "memory"
        );
        let mut points = Vec::new();
        for sources in sizes.iter().filter(|sources| **sources <= most) {
            let point = measured(platform, over, *sources, rounds);
            let of = |used: Used| format!("{:>10.1}{:>10.1}", ms(used.wall), ms(used.cpu));
            let (cold, nothing, recheck) = (of(point.cold), of(point.nothing), of(point.recheck));
            println!("{sources:>32}{cold}{nothing}{recheck}{:>10.1}", mib(point.memory));
            points.push(point);
        }
        let slope = |of: &dyn Fn(&Point) -> f64| {
            let points = series(&points, of);
            // Values too small to measure have no slope.
            let told = points.iter().all(|point| point.1 > 0.);
            if told { format!("{:>10.2}", plot::slope(&points)) } else { format!("{:>10}", "-") }
        };
        let times =
            [|point: &Point| point.cold, |point: &Point| point.nothing, |point: &Point| point.recheck]
                .map(|used| slope(&|point| ms(used(point).wall)) + &slope(&|point| ms(used(point).cpu)));
        println!(
            "{:>32}{}{}\n",
            "slope, both axes logarithmic",
            times.concat(),
            slope(&|point| mib(point.memory))
        );
        lines.push((name, points));
    }
    if most >= BY_WORKSPACES[4] {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/growth.svg");
        std::fs::write(path, drawn(&lines)).unwrap();
        println!("drawn in docs/growth.svg");
    }
}

fn measured(platform: &Platform, over: Over, sources: usize, rounds: usize) -> Point {
    let shape = match over {
        Over::Workspaces => Shape { workspaces: sources / OF_EACH, sources: OF_EACH },
        Over::OneFile | Over::FilesOfOneWorkspace => Shape { workspaces: 1, sources },
    };
    let scene = Scene::new(platform, shape);
    if over == Over::FilesOfOneWorkspace {
        std::fs::remove_file(scene.root().join(workload::file(0))).unwrap();
        for (n, first) in (0..sources).step_by(OF_A_FILE).enumerate() {
            let text = workload::text(0, first..(first + OF_A_FILE).min(sources), 5432);
            std::fs::write(scene.root().join(format!("part_{n:03}.toml")), text).unwrap();
        }
    }
    let rounds = |work: &dyn Fn() -> Used| median((0..rounds).map(|_| work()).collect());
    let cold = rounds(&|| {
        scene.forget();
        scene.apply()
    });
    assert_eq!(platform.rows(), sources);
    let nothing = rounds(&|| scene.apply());
    let daemon = scene.daemon();
    let memory = measure::memory_of(&daemon.child, "VmRSS");
    let recheck = rounds(&|| daemon.recheck());
    Point { sources, cold, nothing, recheck, memory }
}

fn drawn(lines: &[(&str, Vec<Point>)]) -> String {
    let panel = |title: &str, unit: &'static str, of: &dyn Fn(&Point) -> f64| Panel {
        title: title.to_owned(),
        unit,
        lines: lines.iter().map(|(name, points)| Line { name, points: series(points, of) }).collect(),
    };
    plot::svg(&[
        panel("cold converge, CPU time", "ms", &|point| ms(point.cold.cpu)),
        panel("one-shot no-op, CPU time", "ms", &|point| ms(point.nothing.cpu)),
        panel("warm re-check (daemon), time", "ms", &|point| ms(point.recheck.wall)),
        panel("memory of the daemon", "MiB", &|point| mib(point.memory)),
    ])
}

fn series(points: &[Point], of: &dyn Fn(&Point) -> f64) -> Vec<(f64, f64)> {
    points.iter().map(|point| (point.sources as f64, of(point))).collect()
}

fn ms(time: std::time::Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}
