//! Prints the results.

use super::measure::Used;
use super::platform::Calls;
use super::workload::Shape;
use std::time::Duration;

pub(crate) struct Report {
    py: Option<Used>,
}

/// One result.
#[derive(Clone, Copy)]
pub(crate) struct Line {
    pub(crate) what: &'static str,
    pub(crate) used: Used,
    /// Resources of a bare client for the same main requests.
    pub(crate) raw: Used,
    /// Resources of *bare* for the same task.
    pub(crate) bare: Option<Used>,
    pub(crate) calls: Calls,
    /// Minimum numbers of lists, connects and cleanups.
    pub(crate) necessary: [u64; 3],
}

impl Report {
    pub(crate) fn new(shape: Shape, latency: Duration, rounds: usize, py: Option<Used>) -> Self {
        println!("{shape}, {} ms for each call, medians of {rounds}", latency.as_millis());
        println!(
            "{:26}{:>10}{:>8}{:>8}{:>8}{:>11}{:>8}{:>8}{:>8}{:>9}   {:22} necessary",
            "",
            "ms",
            "/ raw",
            "/ bare",
            "/ py",
            "CPU ms",
            "/ raw",
            "/ bare",
            "/ py",
            "peak MiB",
            "list+connect+cleanup"
        );
        Self { py }
    }

    pub(crate) fn yardstick(&self, what: &str, used: Used) {
        println!("{what:26}{:>10.1}{:>24}{:>11.1}", ms(used.wall), "", ms(used.cpu));
    }

    pub(crate) fn line(&self, line: Line) {
        let Line { what, used, raw, bare, calls, necessary } = line;
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        let to_bare = |of: &dyn Fn(Used) -> Duration| {
            bare.map_or_else(|| "-".to_owned(), |bare| format!("{:.2}", ratio(of(used), of(bare))))
        };
        let to_py = |ratio: Option<f64>| match ratio {
            Some(ratio) if ratio < 1. => format!("1/{:.0}", 1. / ratio),
            Some(ratio) => format!("{ratio:.1}"),
            None => "-".to_owned(),
        };
        let made = [calls.list, calls.connect, calls.cleanup];
        let together = |calls: [u64; 3]| calls.map(|calls| calls.to_string()).join("+");
        let peak = if used.peak == 0 { "-".to_owned() } else { mib(used.peak) };
        println!(
            "{what:26}{:>10.1}{:>8.2}{:>8}{:>8}{:>11.1}{:>8.2}{:>8}{:>8}{peak:>9}   {:22} {}",
            ms(used.wall),
            ratio(used.wall, raw.wall),
            to_bare(&|used| used.wall),
            to_py(self.py.map(|py| ratio(used.wall, py.wall))),
            ms(used.cpu),
            ratio(used.cpu, raw.cpu),
            to_bare(&|used| used.cpu),
            to_py(self.py.map(|py| ratio(used.cpu, py.cpu))),
            together(made),
            if made == necessary { "the same".to_owned() } else { together(necessary) },
        );
    }

    /// Prints a result relative to another yardstick.
    pub(crate) fn beside(&self, what: &str, used: Used, raw: Used) {
        let ratio = |a: Duration, b: Duration| a.as_secs_f64() / b.as_secs_f64();
        println!("{what:28}{:>16.2}{:>35.2}", ratio(used.wall, raw.wall), ratio(used.cpu, raw.cpu));
    }

    /// Prints the times from the rename of a file to its connect; `took` is sorted.
    pub(crate) fn renames(&self, took: &[Duration], calls: Calls) {
        let at = |share: usize| ms(took[(took.len() * share / 100).min(took.len() - 1)]);
        println!(
            "{:26}{:>10.1}   p50 of {}; p99 {:.1} ms, fastest {:.1} ms   {}+{}+{} calls (necessary: 2+1+0)",
            "rename → connect (daemon)",
            at(50),
            took.len(),
            at(99),
            at(0),
            calls.list,
            calls.connect,
            calls.cleanup
        );
    }

    pub(crate) fn memory(&self, resting: u64, after: u64, peak: u64) {
        println!(
            "{:26}{:>10} MiB at rest, {} MiB after the above, {} MiB at most",
            "resident memory (daemon)",
            mib(resting),
            mib(after),
            mib(peak)
        );
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
