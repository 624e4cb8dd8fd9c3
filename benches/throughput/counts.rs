//! Instructions, waits for the disk, and opened databases of whole runs, independent of the machine's load.
//!
//! Valgrind's callgrind counts the instructions of each `apply`, as a ratio to a yardstick counted in the same way: parsing
//! the list of as many sources into `serde_json::Value`. strace counts the waits and opens.

use super::platform::Platform;
use super::scene::Scene;
use super::workload::{self, Shape};
use std::hint::black_box;
use std::path::Path;
use std::process::Command;

/// Shape for instructions, which are similar for every source.
const MANY: Shape = Shape { workspaces: 10, sources: 100 };

/// Shape for waits: workspaces that are written at the same time share some, so that the number varies.
const ONE: Shape = Shape { workspaces: 1, sources: 100 };

const STEPS: [&str; 4] = ["cold converge", "first no-op", "one source changed", "10 % removed"];

/// Prints the counts.
pub(crate) fn counts(platform: &Platform) {
    let one = run_all(platform, ONE, waits);
    let many = run_all(platform, MANY, |command, _| instructions(command));
    let this = std::env::current_exe().unwrap();
    let parsing = |times: &str| instructions(Command::new(&this).args(["parse", times]));
    let yardstick = (parsing("3") - parsing("1")) / 2;
    println!("one yardstick is {} instructions per source", yardstick / MANY.total() as u64);
    println!("{:26}{:>30}{:>30}", "", MANY.to_string(), ONE.to_string());
    println!("{:26}{:>30}{:>14}{:>16}", "", "yardsticks", "fsyncs", "database opens");
    for ((what, many), [fsyncs, opens]) in STEPS.into_iter().zip(many).zip(one) {
        println!("{what:26}{:>30.2}{fsyncs:>14}{opens:>16}", many as f64 / yardstick as f64);
    }
}

/// Counts each of [`STEPS`].
fn run_all<T>(platform: &Platform, shape: Shape, count: impl Fn(&Command, &Path) -> T) -> [T; 4] {
    let scene = Scene::new(platform, shape);
    scene.forget();
    let apply = || count(&scene.apply_command(), scene.scratch());
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

/// Runs a command under callgrind; returns the instructions.
fn instructions(command: &Command) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    // Selects the same routines of the C library on every x86-64.
    valgrind.env("GLIBC_TUNABLES", "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-ERMS,-FSRM");
    let text = run_within(valgrind, command, "valgrind");
    let line = text.lines().find_map(|line| line.split_once("Collected : ")).expect("callgrind's sum");
    line.1.trim().parse().unwrap()
}

/// Runs a command under strace; returns its waits for the disk and how often it opened the database.
///
/// Under callgrind, a run takes so long that the database does work meant for idle times.
fn waits(command: &Command, scratch: &Path) -> [usize; 2] {
    let out = scratch.join("strace");
    let mut strace = Command::new("strace");
    strace.args(["-f", "-e", "trace=fsync,fdatasync,openat", "-o"]).arg(&out);
    run_within(strace, command, "strace");
    let calls = std::fs::read_to_string(out).unwrap();
    [calls.matches("sync(").count(), calls.matches("/state.db\"").count()]
}

/// Runs a command under a measuring program and returns the text that both write to standard error.
fn run_within(mut tool: Command, command: &Command, package: &str) -> String {
    tool.arg(command.get_program()).args(command.get_args());
    tool.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = tool.output().unwrap_or_else(|error| panic!("apt-get install {package}: {error}"));
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{text}");
    text
}
