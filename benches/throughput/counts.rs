//! Instructions, waits for the disk, and opened databases of whole runs, independent of the machine's load.
//!
//! Valgrind's callgrind counts each `apply`. Instructions are a ratio to a yardstick counted in the same way: parsing
//! the list of as many sources into `serde_json::Value`.

use super::platform::Platform;
use super::scene::Scene;
use super::workload::{self, Shape};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

/// Shape for instructions, which are similar for every source.
const MANY: Shape = Shape { workspaces: 10, sources: 100 };

/// Shape for waits: workspaces that are written at the same time share some, so that the number varies.
const ONE: Shape = Shape { workspaces: 1, sources: 100 };

const STEPS: [&str; 4] = ["cold converge", "first no-op", "one source changed", "10 % removed"];

/// Counts of one run.
#[derive(Default)]
struct Counts {
    instructions: u64,
    fsyncs: u64,
    database_opens: u64,
}

/// Prints the counts.
pub(crate) fn counts(platform: &Platform) {
    let many = run_all(platform, MANY);
    let one = run_all(platform, ONE);
    let scratch = tempfile::tempdir().unwrap();
    let this = std::env::current_exe().unwrap();
    let parsing = |times: &str| {
        let mut command = Command::new(&this);
        counted(command.args(["parse", times]), scratch.path()).instructions
    };
    let yardstick = (parsing("3") - parsing("1")) / 2;
    println!("one yardstick is {} instructions per source", yardstick / MANY.total() as u64);
    println!("{:26}{:>30}{:>30}", "", MANY.to_string(), ONE.to_string());
    println!("{:26}{:>30}{:>14}{:>16}", "", "yardsticks", "fsyncs", "database opens");
    for ((what, many), one) in STEPS.into_iter().zip(many).zip(one) {
        let ratio = many.instructions as f64 / yardstick as f64;
        println!("{what:26}{ratio:>30.2}{:>14}{:>16}", one.fsyncs, one.database_opens);
    }
}

/// Counts each of [`STEPS`].
fn run_all(platform: &Platform, shape: Shape) -> [Counts; 4] {
    let scene = Scene::new(platform, shape);
    scene.forget();
    let apply = || counted(&scene.apply_command(), scene.scratch());
    let (cold, first) = (apply(), apply());
    scene.write(0, 0..shape.sources, 6000);
    let changed = apply();
    (0..shape.workspaces).for_each(|n| scene.write(n, shape.sources / 10..shape.sources, 5432));
    [cold, first, changed, apply()]
}

/// Entry point of the process that is the yardstick.
pub(crate) fn be_parsing(arguments: &[String]) {
    let list = format!("[{}]", workload::connect_body(MANY.total()));
    for _ in 0..arguments[0].parse().unwrap() {
        black_box(serde_json::from_str::<serde_json::Value>(black_box(&list)).unwrap());
    }
}

/// Runs a command under callgrind.
fn counted(command: &Command, scratch: &Path) -> Counts {
    let out = scratch.join("callgrind");
    let mut valgrind = Command::new("valgrind");
    valgrind.arg("--tool=callgrind").arg(format!("--callgrind-out-file={}", out.display()));
    valgrind.arg(command.get_program()).args(command.get_args());
    valgrind.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    // Selects the same routines of the C library on every x86-64.
    valgrind.env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-ERMS,-FSRM");
    let output = valgrind.output().expect("valgrind is needed: apt-get install valgrind");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    let line = text.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind's sum");
    let profile = std::fs::read_to_string(out).unwrap();
    let calls = calls(&profile);
    let of = |name| calls.get(name).copied().unwrap_or(0);
    Counts {
        instructions: line.1.trim().parse().unwrap(),
        fsyncs: of("fsync") + of("fdatasync"),
        database_opens: of("sqlite3_open_v2"),
    }
}

/// Returns how often each function was called according to callgrind's output.
fn calls(profile: &str) -> HashMap<&str, u64> {
    // A name is given once, as `(7) name`, and is `(7)` from then on.
    let (mut names, mut calls) = (HashMap::new(), HashMap::new());
    let (mut caller, mut callee) = ("", "");
    for line in profile.lines() {
        if let Some((kind, function)) = line.split_once("fn=") {
            let (number, name) = function.split_once(' ').unwrap_or((function, ""));
            let name = *names.entry(number).or_insert(name);
            *if kind == "c" { &mut callee } else { &mut caller } = name;
        } else if let Some(times) = line.strip_prefix("calls=")
            // A stub that jumps into a library has the name of the function there.
            && caller != callee
        {
            *calls.entry(callee).or_default() += times.split(' ').next().unwrap().parse::<u64>().unwrap();
        }
    }
    calls
}
