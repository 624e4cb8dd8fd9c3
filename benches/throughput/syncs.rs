//! Measures ten thousand syncs due within one minute.
//!
//! The results are the number of requests, and the delay of file changes meanwhile. Every file has an
//! additional source that never syncs, whose port is changed. The change is in a workspace whose sources
//! sync, but need not wait for them.

use super::measure;
use super::platform::{Manner, Platform};
use super::scene::{Daemon, Scene};
use super::workload::{self, Shape};
use jiff::Timestamp;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};
use wellspring::model::{Scope, SourceName, WorkspaceId};
use wellspring::schedule::CompiledSchedule;

/// Maximum number of sources in one request.
const OF_ONE_CALL: usize = 100;

/// Maximum number of concurrent syncs: a quarter of the concurrent requests.
const AT_ONCE: usize = 16;

/// Number of renames on a platform without syncs.
const UNDISTURBED: usize = 50;

/// Time to connect everything and become idle before the schedules fire.
const AHEAD: Duration = Duration::from_secs(20);

/// Duration of the renames if syncs never end.
const MINUTE: Duration = Duration::from_secs(60);

/// Time between two renames.
const BREATH: Duration = Duration::from_millis(20);

pub(crate) fn syncs(platform: &Platform, shapes: &[Shape], takes: Duration) {
    for shape in shapes {
        platform.behave(Manner { sync: takes, ..Manner::default() });
        let undisturbed = at_one_instant(platform, *shape, takes);
        spread_over_a_minute(platform, *shape, takes, undisturbed);
    }
    platform.behave(Manner::default());
}

/// Measures syncs that fire at one instant.
///
/// Returns the delay of changes without syncs.
fn at_one_instant(platform: &Platform, shape: Shape, takes: Duration) -> Usual {
    // The first full minute after that.
    let minute = (Timestamp::now() + AHEAD).as_second() / 60 + 1;
    let due = Timestamp::from_second(60 * minute).unwrap();
    let scene = scene(platform, shape, &format!("cron = \"{} {} * * *\"", minute % 60, minute / 60 % 24));
    let daemon = scene.daemon();
    println!("{shape}, all due at one instant, {} ms for each sync", takes.as_millis());
    let undisturbed: Vec<Duration> = (0..UNDISTURBED).map(|n| change(&daemon, shape, n)).collect();
    daemon.rest();
    let usual = row("rename → connect, no syncs", undisturbed, None);
    let wait = Duration::try_from(due.duration_since(Timestamp::now()));
    std::thread::sleep(wait.expect("the schedules fired before everything was ready"));
    let start = Instant::now();
    let all = || platform.syncs().iter().map(|(_, sources)| sources).sum::<usize>() >= shape.total();
    let changes = observe(&daemon, shape, || all() || start.elapsed() > 4 * MINUTE);
    assert!(all(), "not everything was synced");
    let calls = shape.workspaces * shape.sources.div_ceil(OF_ONE_CALL);
    println!("    {:34}{:>10}   fewest: {calls}", "sync calls", platform.syncs().len());
    let last = platform.syncs().iter().map(|(at, _)| at.duration_since(start)).max().unwrap();
    let rounds = calls.div_ceil(AT_ONCE).saturating_sub(1);
    println!(
        "    {:34}{:>10.2}   with {AT_ONCE} at once all the time: {:.2}",
        "the last was sent after, s",
        last.as_secs_f64(),
        (takes * u32::try_from(rounds).unwrap()).as_secs_f64()
    );
    row("rename → connect, meanwhile", changes, Some(usual));
    println!();
    usual
}

/// Measures sources that each fire once per minute, at different seconds.
fn spread_over_a_minute(platform: &Platform, shape: Shape, takes: Duration, usual: Usual) {
    let scene = scene(platform, shape, "every = \"1m\"");
    let daemon = scene.start();
    println!("{shape}, due within every minute, {} ms for each sync", takes.as_millis());
    // Firings from before the start are made up for first.
    std::thread::sleep(Duration::from_secs(5));
    platform.forget();
    let (from, start) = (Timestamp::now(), Instant::now());
    let changes = observe(&daemon, shape, || start.elapsed() >= MINUTE);
    let (calls, to) = (platform.syncs(), Timestamp::now());
    let sources: usize = calls.iter().map(|(_, sources)| sources).sum();
    println!("    {:34}{:>10}   of {} sources", "sync calls", calls.len(), sources);
    let (firings, instants) = firings(shape, from, to);
    println!("    {:34}{firings:>10}   at {instants} instants, counted by workspace", "firings");
    row("rename → connect, meanwhile", changes, Some(usual));
    println!();
}

/// Creates a scene with connected sources that never synced.
fn scene<'a>(platform: &'a Platform, shape: Shape, when: &str) -> Scene<'a> {
    let scene = Scene::new(platform, shape);
    scene.forget();
    let settings = workload::settings(&platform.url) + &format!("sync = {{ {when}, on_connect = false }}\n");
    std::fs::write(scene.root().join("wellspring.toml"), settings).unwrap();
    for n in 0..shape.workspaces {
        std::fs::write(scene.root().join(workload::file(n)), text(n, shape, 0)).unwrap();
    }
    scene.apply();
    assert_eq!(platform.rows(), shape.total() + shape.workspaces);
    scene
}

/// Returns the text of the `n`th file, with the source that does not sync.
fn text(n: usize, shape: Shape, port: usize) -> String {
    workload::text(n, 0..shape.sources, 5432)
        + &format!(
            "\n[sources.changing]\ntype = \"database\"\nunset = [\"sync\"]\n\
             connection_config = {{ host = \"changing.db.example.com\", port = {port} }}\n"
        )
}

/// Changes one file after the other until `is_over`.
///
/// Prints the delays and the syncs.
fn observe(daemon: &Daemon<'_>, shape: Shape, is_over: impl Fn() -> bool) -> Vec<Duration> {
    let (cpu, resting) = (measure::cpu_of(&daemon.child), measure::memory_of(&daemon.child, "VmRSS"));
    measure::forget_peak(&daemon.child);
    let mut changes = Vec::new();
    while !is_over() {
        changes.push(change(daemon, shape, UNDISTURBED + changes.len()));
        std::thread::sleep(BREATH);
    }
    let cpu = measure::cpu_of(&daemon.child) - cpu;
    let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
    println!("    {:34}{:>10}   {} changes of files in it", "CPU, ms", cpu.as_millis(), changes.len());
    println!(
        "    {:34}{:>10.1}   {:.1} before",
        "most memory, MiB",
        mib(measure::memory_of(&daemon.child, "VmHWM")),
        mib(resting)
    );
    changes
}

/// Returns the time from renaming a file into place until its connect arrives.
fn change(daemon: &Daemon<'_>, shape: Shape, n: usize) -> Duration {
    let of = n * 7 % shape.workspaces;
    daemon.rename(of, &text(of, shape, 6000 + n))
}

/// Delay of changes.
#[derive(Clone, Copy)]
struct Usual {
    median: Duration,
    most: Duration,
}

/// Prints a row, relative to the usual delay if known.
fn row(what: &str, mut took: Vec<Duration>, usual: Option<Usual>) -> Usual {
    took.sort();
    let at = |share: usize| took[(took.len() * share / 100).min(took.len() - 1)];
    let ms = |time: Duration| time.as_secs_f64() * 1e3;
    let now = Usual { median: at(50), most: at(100) };
    let (count, late) = (took.len(), ms(at(99)));
    print!(
        "    {what:34}{:>10.1}   p50 of {count}; p99 {late:.1}, most {:.1} ms",
        ms(now.median),
        ms(now.most)
    );
    match usual {
        None => println!(),
        Some(usual) => println!(
            "; later by {:.1}, the latest by {:.1} ms",
            ms(now.median) - ms(usual.median),
            ms(now.most) - ms(usual.most)
        ),
    }
    now
}

/// Returns the numbers of firings and of (workspace, instant) pairs in a period.
fn firings(shape: Shape, from: Timestamp, to: Timestamp) -> (usize, usize) {
    let spec = wellspring::model::SyncSpec {
        when: wellspring::model::Schedule::Every(MINUTE),
        jitter: Duration::ZERO,
        stale_after: None,
        missed: wellspring::model::Missed::Once,
        timeout: None,
        on_connect: false,
        on_change: false,
        overlap: wellspring::model::Overlap::Forbid,
    };
    let (mut all, mut instants) = (0, 0);
    for workspace in shape.ids() {
        let workspace = WorkspaceId::parse(&workspace).unwrap();
        let workspace = wellspring::model::WorkspaceRef { workspace, scope: Scope::default() };
        let mut of_workspace = BTreeSet::new();
        for n in 0..shape.sources {
            let name = SourceName::parse(&format!("orders_{n}")).unwrap();
            let timing = CompiledSchedule::compile(&workspace, &name, &spec).unwrap();
            let firings = std::iter::successors(timing.next_after(from), |at| timing.next_after(*at));
            for at in firings.take_while(|at| *at <= to) {
                all += 1;
                of_workspace.insert(at);
            }
        }
        instants += of_workspace.len();
    }
    (all, instants)
}
