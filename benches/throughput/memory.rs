//! Measures the daemon's memory: with few and many sources, page closed and open.

use super::measure;
use super::platform::{Manner, Platform};
use super::scene::Scene;
use super::workload::Shape;
use std::process::Child;
use std::time::Duration;

/// Time after which idle connections are closed and freed memory is returned.
const LATER: Duration = Duration::from_secs(6);

/// Measures projects of each shape, with all sources in sync.
pub(crate) fn memory(platform: &Platform, shapes: &[Shape]) {
    platform.behave(Manner::default());
    println!("resident memory of the daemon in MiB: at rest, and after everything was looked at again");
    println!(
        "{:40}{:>8}{:>8}{:>12}{:>8}{:>8}{:>10}",
        "", "at rest", "heap", "the program", "stacks", "after", "at most"
    );
    for shape in shapes {
        let scene = Scene::new(platform, *shape);
        scene.forget();
        scene.apply();
        for (what, arguments) in [("", &[][..]), (", page open", &["--listen=127.0.0.1:0"])] {
            let daemon = scene.start_with(arguments);
            daemon.rest();
            std::thread::sleep(LATER);
            let [all, heap, program, stacks] = parts(&daemon.child).map(mib);
            daemon.recheck();
            std::thread::sleep(LATER);
            let after = mib(measure::memory_of(&daemon.child, "VmRSS"));
            let most = mib(measure::memory_of(&daemon.child, "VmHWM"));
            let what = format!("{shape}{what}");
            println!("{what:40}{all:>8}{heap:>8}{program:>12}{stacks:>8}{after:>8}{most:>10}");
        }
    }
}

/// Returns total, heap, mapped files and stacks, in bytes.
fn parts(of: &Child) -> [u64; 4] {
    let maps = std::fs::read_to_string(format!("/proc/{}/smaps", of.id())).unwrap();
    let [mut all, mut heap, mut files, mut stacks] = [0; 4];
    let (mut file, mut size, mut resident) = (false, 0, 0);
    for line in maps.lines() {
        let mut words = line.split_whitespace();
        match words.next() {
            Some("Size:") => size = kib(words.next()),
            Some("Rss:") => {
                resident = kib(words.next());
                all += resident;
            }
            Some("Anonymous:") => {
                let anonymous = kib(words.next());
                files += resident - anonymous;
                // Rust's threads have stacks of 2 MiB, each in its own mapping.
                let is_stack = !file && size == 2 << 20;
                if is_stack { stacks += anonymous } else { heap += anonymous }
            }
            Some(range) if range.contains('-') => file = line.contains('/'),
            _ => {}
        }
    }
    [all, heap, files, stacks]
}

fn kib(number: Option<&str>) -> u64 {
    1024 * number.unwrap().parse::<u64>().unwrap()
}

fn mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}
