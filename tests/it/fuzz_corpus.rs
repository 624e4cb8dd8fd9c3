//! Runs the fuzz targets on stable Rust.
//!
//! Uses every file of the corpus and seeded mutations of each.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "public for the fuzz targets, which are a crate of their own")]
pub(crate) mod inputs;

use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// Maximum number of mutations of each file, as far as [`LONGEST`] permits.
const MUTATIONS: u64 = 3000;

/// Time limit of one target.
///
/// Mutations are made in rounds over all files, so every file has its share.
const LONGEST: Duration = Duration::from_secs(3);

#[test]
fn no_tree_is_too_odd_to_be_read() {
    run("manifest", inputs::manifest);
}

#[test]
fn no_list_is_too_odd_to_be_decoded() {
    run("list", inputs::list);
}

#[test]
fn no_cron_expression_is_too_odd_to_be_judged() {
    run("cron", inputs::cron);
}

#[test]
fn no_file_is_too_odd_to_be_read_as_a_saved_plan() {
    run("saved", inputs::saved);
}

fn run(target: &str, input: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty());
    let corpus: Vec<Vec<u8>> = files.iter().map(|file| fs::read(file).unwrap()).collect();
    for (file, bytes) in files.iter().zip(&corpus) {
        attempt(input, bytes, || format!("{}", file.display()));
    }
    let until = Instant::now() + LONGEST;
    for round in 0..MUTATIONS {
        for (n, bytes) in corpus.iter().enumerate() {
            let seed = round << 16 | n as u64;
            let mutated = Dice(seed).mutated(bytes, &corpus);
            attempt(input, &mutated, || {
                format!("{} with seed {seed}: {:?}", files[n].display(), String::from_utf8_lossy(&mutated))
            });
        }
        if Instant::now() > until {
            return;
        }
    }
}

/// Runs one input; a panic prints it.
fn attempt(input: fn(&[u8]), bytes: &[u8], which: impl Fn() -> String) {
    if let Err(panic) = std::panic::catch_unwind(|| input(bytes)) {
        eprintln!("{}", which());
        std::panic::resume_unwind(panic);
    }
}

/// SplitMix64: the same seed makes the same mutation everywhere.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() % end.max(1) as u64).unwrap()
    }

    /// Makes a few changes: bytes set, cut, doubled, or taken from another file.
    fn mutated(&mut self, bytes: &[u8], corpus: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        for _ in 0..=self.below(4) {
            let from = self.below(bytes.len() + 1);
            let to = (from + self.below(12)).min(bytes.len());
            match self.below(6) {
                0 if from < bytes.len() => bytes[from] = self.next().to_le_bytes()[0],
                1 => drop(bytes.drain(from..to)),
                2 => {
                    let twice = bytes[from..to].to_vec();
                    bytes.splice(from..from, twice);
                }
                3 => {
                    let signs = br#"{}[]",:=.-+*/\#$0123456789 tfnaeE"#;
                    bytes.insert(from, signs[self.below(signs.len())]);
                }
                4 => {
                    let other = &corpus[self.below(corpus.len())];
                    let start = self.below(other.len());
                    let end = (start + self.below(40)).min(other.len());
                    bytes.splice(from..to, other[start..end].iter().copied());
                }
                _ => bytes.truncate(from.max(1)),
            }
        }
        bytes
    }
}
