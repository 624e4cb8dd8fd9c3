//! Measures time, CPU time and memory of processes.

use nix::sys::resource::{UsageWho, getrusage};
use std::io::Write as _;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Resources used.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Used {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
    /// Peak resident memory in bytes; 0 if not measured.
    pub(crate) peak: u64,
}

impl Used {
    /// Returns the CPU time of this process so far.
    pub(crate) fn own_cpu() -> Duration {
        cpu(UsageWho::RUSAGE_SELF)
    }
}

/// Runs a command as the child of a separate process.
///
/// The separation isolates its resource usage. Its output is discarded unless it fails.
pub(crate) fn run(command: &Command) -> Used {
    let mut measuring = Command::new(std::env::current_exe().unwrap());
    measuring.arg("measure").arg(command.get_program()).args(command.get_args());
    measuring.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let output = measuring.stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{command:?}\n{text}\n{}", String::from_utf8_lossy(&output.stderr));
    let figures: Vec<f64> =
        text.lines().last().unwrap().split(' ').map(|word| word.parse().unwrap()).collect();
    let [wall, cpu, peak] = figures[..] else { panic!("{text}") };
    Used {
        wall: Duration::from_secs_f64(wall),
        cpu: Duration::from_secs_f64(cpu),
        peak: (peak * 1024.) as u64,
    }
}

/// Entry point of the process that [`run`] starts.
pub(crate) fn be_measuring(arguments: &[String]) {
    let start = Instant::now();
    let status = Command::new(&arguments[0]).args(&arguments[1..]).stdout(Stdio::null()).status().unwrap();
    let wall = start.elapsed();
    let peak = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap().max_rss();
    println!("{} {} {peak}", wall.as_secs_f64(), cpu(UsageWho::RUSAGE_CHILDREN).as_secs_f64());
    std::io::stdout().flush().unwrap();
    std::process::exit(status.code().unwrap_or(1));
}

fn cpu(of: UsageWho) -> Duration {
    let usage = getrusage(of).unwrap();
    let time = |at: nix::sys::time::TimeVal| {
        Duration::new(at.tv_sec().unsigned_abs(), 1000 * u32::try_from(at.tv_usec()).unwrap())
    };
    time(usage.user_time()) + time(usage.system_time())
}

/// Returns the CPU time of a running process, including ended threads.
pub(crate) fn cpu_of(child: &Child) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap();
    // The name of the program may contain anything, but no later field contains a bracket.
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: u64 = [fields[11], fields[12]].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum();
    // USER_HZ is 100 on every Linux that Rust supports.
    Duration::from_millis(10 * ticks)
}

/// Returns a line of `/proc/PID/status` in bytes: `VmRSS` or `VmHWM`.
pub(crate) fn memory_of(child: &Child, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|text| text.strip_prefix(line)?.strip_prefix(':')).unwrap();
    1024 * line.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
}

/// Resets `VmHWM` to the current memory.
pub(crate) fn forget_peak(child: &Child) {
    std::fs::write(format!("/proc/{}/clear_refs", child.id()), "5").unwrap();
}

/// Returns the median by wall time.
pub(crate) fn median(mut of: Vec<Used>) -> Used {
    of.sort_by_key(|used| used.wall);
    of[of.len() / 2]
}
