//! Measures the speed of Wellspring against three yardsticks.
//!
//! ```text
//! cargo bench --bench throughput                      # everything: some minutes
//! cargo bench --bench throughput -- 100x100           # one shape: workspaces × sources
//! cargo bench --bench throughput -- 1000x100 --rounds 5 --latency 20
//! cargo bench --bench throughput -- concurrency       # concurrency control, on various platforms
//! cargo bench --bench throughput -- syncs             # 10,000 syncs due within one minute: some minutes
//! cargo bench --bench throughput -- daemon 1000x100   # only the daemon, interleaved with raw
//! cargo bench --bench throughput -- growth            # with more workspaces, with more sources in one
//! cargo bench --bench throughput -- growth --most 10000
//! cargo bench --bench throughput -- counts            # instructions and waits for the disk of whole runs
//! cargo bench --bench throughput -- memory            # memory of the daemon, by kind
//! ```
//!
//! *raw* sends prepared bodies over the same number of connections, *bare* reads the same files and does the same
//! tasks without state or checks, *py* are the Data API's own Python functions in a loop, one list and one connect
//! for each workspace. The relevant results are the ratios of medians within one run.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run is to stop")]

mod bare;
mod concurrency;
mod counts;
mod growth;
mod measure;
mod memory;
mod platform;
mod report;
mod scene;
mod syncs;
mod workload;
mod yardstick;

use measure::{Used, median};
use platform::{Calls, Manner, Platform};
use report::{Line, Report};
use scene::Scene;
use std::time::Duration;
use workload::Shape;
use yardstick::{CONNECTIONS, Raw};

/// Number of workspaces up to which *py* is measured; more are extrapolated.
///
/// *py* handles one workspace after the other.
const MOST_FOR_PY: usize = 100;

struct Asked {
    what: What,
    shapes: Vec<Shape>,
    latencies: Vec<u64>,
    rounds: usize,
    renames: usize,
    /// Duration of a sync in milliseconds.
    takes: u64,
    /// Maximum number of sources for `growth`.
    most: usize,
}

#[derive(PartialEq, Eq)]
enum What {
    Everything,
    Shapes,
    Daemon,
    Concurrency,
    Counts,
    Syncs,
    Growth,
    Memory,
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.first().map(String::as_str) {
        Some("measure") => return measure::be_measuring(&arguments[1..]),
        Some("bare") => return bare::be_bare(&arguments[1..]),
        Some("parse") => return counts::be_parsing(&arguments[1..]),
        Some("raw") => return yardstick::be_raw(&arguments[1..]),
        _ => {}
    }
    let platform = Platform::start();
    let asked = asked(&arguments);
    match asked.what {
        What::Counts => return counts::counts(&platform),
        What::Concurrency => return concurrency::concurrency(&platform, asked.rounds),
        What::Syncs => return syncs::syncs(&platform, &asked.shapes, Duration::from_millis(asked.takes)),
        What::Growth => return growth::growth(&platform, asked.rounds, asked.most),
        What::Memory => return memory::memory(&platform, &asked.shapes),
        What::Everything | What::Shapes | What::Daemon => {}
    }
    for shape in &asked.shapes {
        for latency in &asked.latencies {
            let latency = Duration::from_millis(*latency);
            platform.behave(Manner { latency, ..Manner::default() });
            match asked.what {
                What::Daemon => daemon(&platform, *shape, latency, &asked),
                _ => converge(&platform, *shape, latency, &asked),
            }
        }
    }
    if asked.what == What::Everything {
        concurrency::concurrency(&platform, asked.rounds);
    }
}

fn asked(arguments: &[String]) -> Asked {
    let shape = |workspaces, sources| Shape { workspaces, sources };
    let mut asked = Asked {
        what: What::Everything,
        shapes: Vec::new(),
        latencies: Vec::new(),
        rounds: 3,
        renames: 100,
        takes: 300,
        most: usize::MAX,
    };
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        let mut number = || arguments.next().unwrap().parse().unwrap();
        match argument.as_str() {
            "daemon" => asked.what = What::Daemon,
            "concurrency" => asked.what = What::Concurrency,
            "counts" => asked.what = What::Counts,
            "syncs" => asked.what = What::Syncs,
            "growth" => asked.what = What::Growth,
            "memory" => asked.what = What::Memory,
            "--rounds" => asked.rounds = number(),
            "--renames" => asked.renames = number(),
            "--latency" => asked.latencies.push(number() as u64),
            "--takes" => asked.takes = number() as u64,
            "--most" => asked.most = number(),
            text => {
                let (workspaces, sources) = text.split_once('x').expect("WORKSPACESxSOURCES");
                asked.shapes.push(shape(workspaces.parse().unwrap(), sources.parse().unwrap()));
                if asked.what == What::Everything {
                    asked.what = What::Shapes;
                }
            }
        }
    }
    if asked.shapes.is_empty() {
        asked.shapes = match asked.what {
            What::Syncs => vec![shape(1_000, 10), shape(100, 100)],
            What::Memory => vec![shape(1, 100), shape(1_000, 100)],
            _ => vec![shape(10, 10), shape(100, 100), shape(1_000, 100)],
        };
    }
    if asked.latencies.is_empty() {
        asked.latencies = vec![0, 20];
    }
    asked
}

fn converge(platform: &Platform, shape: Shape, latency: Duration, asked: &Asked) {
    let scene = Scene::new(platform, shape);
    let rounds = |work: &dyn Fn() -> Used| median((0..asked.rounds).map(|_| work()).collect());
    let raw = |what| rounds(&|| yardstick::raw(&platform.url, shape, what, CONNECTIONS));
    platform.clear();
    let raw_both = rounds(&|| {
        platform.clear();
        yardstick::raw(&platform.url, shape, Raw::ListAndConnect, CONNECTIONS)
    });
    let raw_all = rounds(&|| {
        platform.clear();
        yardstick::raw(&platform.url, shape, Raw::ListConnectAndList, CONNECTIONS)
    });
    let raw_list = raw(Raw::List);
    let few = Shape { workspaces: shape.workspaces.min(MOST_FOR_PY), ..shape };
    let py = yardstick::py(&platform.url, few, scene.scratch()).map(|py| {
        let times = shape.workspaces as f64 / few.workspaces as f64;
        Used { wall: py.wall.mul_f64(times), cpu: py.cpu.mul_f64(times), peak: 0 }
    });
    let report = Report::new(shape, latency, asked.rounds, py);
    report.yardstick("raw: list", raw_list);
    report.yardstick("raw: list + connect", raw_both);
    report.yardstick("raw: list + connect + list", raw_all);
    if let Some(py) = py {
        report.yardstick("py: list + connect", py);
    }
    let workspaces = shape.workspaces as u64;
    let batches = workspaces * shape.sources.div_ceil(100) as u64;

    let tenth = shape.sources.div_ceil(10);
    let steps = [
        Step { what: "cold converge", raw: raw_both, necessary: [2 * workspaces, batches, 0] },
        Step { what: "first no-op", raw: raw_list, necessary: [workspaces, 0, 0] },
        Step { what: "one-shot no-op", raw: raw_list, necessary: [workspaces, 0, 0] },
        Step { what: "one source changed", raw: raw_list, necessary: [workspaces + 1, 1, 0] },
        Step {
            what: "10 % removed",
            raw: raw_both,
            necessary: [2 * workspaces, 0, workspaces * tenth.div_ceil(100) as u64],
        },
    ];
    let turns: Vec<_> = (0..asked.rounds).map(|_| (turn(&scene, true), turn(&scene, false))).collect();
    for (n, Step { what, raw, necessary }) in steps.into_iter().enumerate() {
        let bare = median(turns.iter().map(|(bare, _)| bare[n].0).collect());
        let used = median(turns.iter().map(|(_, ours)| ours[n].0).collect());
        let calls = turns[0].1[n].1;
        report.line(Line { what, used, raw, bare: Some(bare), calls, necessary });
        if n == 0 {
            report.beside("  beside raw that looks again", used, raw_all);
        }
    }
    workload::write(&scene.root(), shape, &platform.url);
    scene.apply();
    the_daemon(&scene, &report, asked);
    println!();
}

/// One task of [`turn`].
struct Step {
    what: &'static str,
    raw: Used,
    /// Minimum numbers of lists, connects and cleanups.
    necessary: [u64; 3],
}

/// Runs *bare* or Wellspring through all tasks, so that the two alternate.
fn turn(scene: &Scene<'_>, is_bare: bool) -> [(Used, Calls); 5] {
    let (platform, shape) = (scene.platform, scene.shape);
    let apply = || {
        platform.forget();
        let used = if is_bare { bare::bare(&platform.url, &scene.root()) } else { scene.apply() };
        (used, platform.calls())
    };
    workload::write(&scene.root(), shape, &platform.url);
    scene.forget();
    let (cold, first, again) = (apply(), apply(), apply());
    assert_eq!(platform.rows(), shape.total());
    scene.write(0, 0..shape.sources, 6000);
    let changed = apply();
    let tenth = shape.sources.div_ceil(10);
    scene.write(0, 0..shape.sources, 5432);
    apply();
    (0..shape.workspaces).for_each(|n| scene.write(n, tenth..shape.sources, 5432));
    let removed = apply();
    assert_eq!(platform.rows(), shape.workspaces * (shape.sources - tenth));
    [cold, first, again, changed, removed]
}

/// Measures the daemon only.
fn daemon(platform: &Platform, shape: Shape, latency: Duration, asked: &Asked) {
    let scene = Scene::new(platform, shape);
    let report = Report::new(shape, latency, asked.rounds, None);
    scene.forget();
    scene.apply();
    the_daemon(&scene, &report, asked);
    println!();
}

/// Alternates between *raw* lists and passes, so that load affects both alike.
fn the_daemon(scene: &Scene<'_>, report: &Report, asked: &Asked) {
    let (platform, shape) = (scene.platform, scene.shape);
    let daemon = scene.daemon();
    let resting = measure::memory_of(&daemon.child, "VmRSS");
    let turn = || (yardstick::raw(&platform.url, shape, Raw::List, CONNECTIONS), daemon.recheck());
    let (raw, used): (Vec<Used>, Vec<Used>) = (0..asked.rounds).map(|_| turn()).unzip();
    let (raw, used) = (median(raw), median(used));
    report.yardstick("raw: list, in between", raw);
    let (calls, necessary) = (platform.calls(), [shape.workspaces as u64, 0, 0]);
    report.line(Line { what: "warm re-check (daemon)", used, raw, bare: None, calls, necessary });
    let mut took: Vec<Duration> = (0..asked.renames)
        .map(|n| {
            let (of, port) = (n * 7 % shape.workspaces, format!("port = {}", 7000 + n));
            let text = workload::text(of, 0..shape.sources, 5432).replacen("port = 5432", &port, 1);
            platform.forget();
            daemon.rename(of, &text)
        })
        .collect();
    took.sort();
    report.renames(&took, platform.calls());
    let after = measure::memory_of(&daemon.child, "VmRSS");
    report.memory(resting, after, measure::memory_of(&daemon.child, "VmHWM"));
}
