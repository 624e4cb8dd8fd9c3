//! Measures the resources of an idle daemon.
//!
//! `cargo bench --bench idle` runs it with a thousand sources in ten workspaces of a local platform, waits
//! until all are connected, and then observes it for a minute: CPU time of all its threads, and resident
//! memory. The goal is below 0.2 % of a core and below 40 MiB.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run is to stop")]

use std::fmt::Write as _;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const WORKSPACES: usize = 10;
const SOURCES: usize = 100;

/// Time for the work after the last connect to end.
const REST: Duration = Duration::from_secs(15);
const WATCHED: Duration = Duration::from_secs(60);

/// A process that is killed on drop.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn main() {
    let place = tempfile::tempdir().unwrap();
    let path = |below: &str| place.path().join(below);
    write_tree(&path("tree"));
    fs::create_dir(path("data")).unwrap();
    fs::write(path("data/rows.csv"), "id,name\n1,one\n").unwrap();

    let mut serve = wellspring(&["serve", "--listen", "127.0.0.1:0"], &path("platform"));
    let mut serve =
        Process(serve.arg("--data-dir").arg(path("data")).stdout(Stdio::piped()).spawn().unwrap());
    let lines = BufReader::new(serve.0.stdout.take().unwrap()).lines().map_while(Result::ok);
    let url = lines.take_while(|line| !line.contains("PMTX_TOKEN")).find_map(|line| {
        let url = line.split_once("WELLSPRING_URL=")?.1.trim_matches(['\'', '"']);
        Some(url.to_owned())
    });
    let token = fs::read_to_string(path("platform/platform/token")).unwrap();

    let mut run = wellspring(&["run", "--interval", "1h", "--log-format", "json"], &path("state"));
    run.arg("-C").arg(path("tree")).env("WELLSPRING_URL", url.unwrap()).env("PMTX_TOKEN", token.trim());
    let mut daemon = Process(run.stderr(Stdio::piped()).spawn().unwrap());
    let mut log = BufReader::new(daemon.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let connected =
        log.by_ref().filter(|line| line.contains("connect done")).take(WORKSPACES * SOURCES).count();
    assert_eq!(connected, WORKSPACES * SOURCES, "not everything was connected");
    std::thread::spawn(move || log.count());
    std::thread::sleep(REST);

    let process = format!("/proc/{}", daemon.0.id());
    let (before, began) = (processor_time(&process), Instant::now());
    std::thread::sleep(WATCHED);
    let (used, took) = (processor_time(&process) - before, began.elapsed());
    println!(
        "{connected} sources, {:.0} s between passes: {:.4} % of a core, {:.1} MiB resident ({} threads)",
        took.as_secs_f64(),
        100.0 * used.as_secs_f64() / took.as_secs_f64(),
        status(&process, "VmRSS:") / 1024.0,
        status(&process, "Threads:"),
    );
    println!(
        "of these MiB, {:.1} are the program's own pages in memory",
        status(&process, "RssFile:") / 1024.0
    );
}

fn wellspring(args: &[&str], state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wellspring"));
    command.args(args).arg("--state-dir").arg(state).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn write_tree(tree: &Path) {
    fs::create_dir(tree).unwrap();
    fs::write(tree.join("wellspring.toml"), "[defaults]\nsync = { every = \"6h\", on_connect = false }\n")
        .unwrap();
    for workspace in 0..WORKSPACES {
        let mut text = format!("[workspace]\nid = \"ws_{workspace}\"\n");
        for source in 0..SOURCES {
            write!(
                text,
                "\n[sources.source_{source}]\ntype = \"file\"\n\n[sources.source_{source}.connection_config]\n\
                 path = \"rows.csv\"\nformat = \"csv\"\n"
            )
            .unwrap();
        }
        fs::write(tree.join(format!("ws_{workspace}.toml")), text).unwrap();
    }
}

/// Returns the CPU time of all threads, with nanosecond resolution.
fn processor_time(process: &str) -> Duration {
    let threads = fs::read_dir(format!("{process}/task")).unwrap();
    threads
        .map(|thread| {
            let line = fs::read_to_string(thread.unwrap().path().join("schedstat")).unwrap_or_default();
            let time = line.split_whitespace().next().and_then(|time| time.parse().ok());
            Duration::from_nanos(time.unwrap_or_default())
        })
        .sum()
}

fn status(process: &str, field: &str) -> f64 {
    let status = fs::read_to_string(format!("{process}/status")).unwrap();
    let value = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    value.split_whitespace().next().unwrap().parse().unwrap()
}
