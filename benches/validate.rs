//! Measures validation against parsing with the `toml` crate on all cores.
//!
//! `cargo bench --bench validate` prints the ratios: a thousand files with a hundred sources each, loaded for
//! the first time, again unchanged, and again with one file changed. Each is the median of a few rounds.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run is to stop")]

use std::fmt::Write as _;
use std::hint::black_box;
use std::time::{Duration, Instant};
use wellspring::load::{LoadCache, LoadedConfig};

const FILES: usize = 1_000;
const SOURCES: usize = 100;
const ROUNDS: usize = 7;

fn main() {
    let tree = tempfile::tempdir().unwrap();
    let texts: Vec<String> = (0..FILES).map(text).collect();
    for (n, text) in texts.iter().enumerate() {
        std::fs::write(tree.path().join(format!("ws_{n:04}.toml")), text).unwrap();
    }
    std::fs::write(tree.path().join("wellspring.toml"), "[defaults]\nsync = { every = \"6h\" }\n").unwrap();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);

    let take = |known: &LoadCache| {
        // The daemon's scan after an event: files with unchanged timestamps are not read.
        let reading =
            LoadedConfig::reload(tree.path(), &|_| wellspring::config::Lookup::Unset, known, false).unwrap();
        assert!(!reading.has_errors(), "{}", reading.render_diagnostics(false));
        reading
    };
    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..ROUNDS {
        times[0].push(timed(|| parse(&texts, cores)).0);
        let (first, reading) = timed(|| take(&LoadCache::default()));
        times[1].push(first);
        let (unchanged, reading) = timed(|| take(&reading.cache));
        times[2].push(unchanged);
        let changed = format!("{}\n# {round}\n", texts[0]);
        std::fs::write(tree.path().join("ws_0000.toml"), changed).unwrap();
        times[3].push(timed(|| take(&reading.cache)).0);
    }
    let medians = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2]
    });
    println!(
        "{FILES} files of {SOURCES} sources, {} KiB, {cores} cores",
        texts.iter().map(String::len).sum::<usize>() >> 10
    );
    for (what, time) in
        ["toml crate, all cores", "first reading", "unchanged", "one file changed"].iter().zip(medians)
    {
        println!(
            "{what:24}{:8.1} ms  {:.2}",
            time.as_secs_f64() * 1e3,
            time.as_secs_f64() / medians[0].as_secs_f64()
        );
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let start = Instant::now();
    let done = work();
    (start.elapsed(), done)
}

fn parse(texts: &[String], cores: usize) {
    std::thread::scope(|scope| {
        for part in texts.chunks(texts.len().div_ceil(cores)) {
            scope.spawn(move || {
                for text in part {
                    black_box(text.parse::<toml::Table>().unwrap());
                }
            });
        }
    });
}

fn text(file: usize) -> String {
    let mut text = format!("[workspace]\nid = \"ws_{file:04}\"\n");
    for n in 0..SOURCES {
        write!(
            text,
            "\n[sources.orders_{n}]\ntype = \"database\"\nmetadata = {{ description = \"Orders replica {n}\", \
             owner = \"sales-data\" }}\nsync = {{ cron = \"{} 2 * * MON-SAT\", timezone = \"Europe/Rome\" }}\n\
             sync_options = {{ incremental = true, batch_size = 5000 }}\n\n\
             [sources.orders_{n}.connection_config]\nhost = \"orders-{n}.db.example.com\"\nport = 5432\n\
             database = \"orders\"\nusername = \"reader\"\npassword = \"${{ORDERS_{n}}}\"\n",
            n % 60
        )
        .unwrap();
    }
    text
}
