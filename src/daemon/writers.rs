//! Tracks files that are being written, and finds those that stay open too long.

use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// Time after which an open file is reported.
///
/// Editors and copies close theirs much earlier.
const OPEN_FILE_TIMEOUT: SignedDuration = SignedDuration::from_secs(10);

/// Time since which each file is open, and whether that was reported.
#[derive(Debug, Default)]
pub(super) struct FileWriters(BTreeMap<String, (Timestamp, bool)>);

impl FileWriters {
    /// Records the open files; returns those that were reported and are closed now.
    pub(super) fn update(&mut self, open: &BTreeSet<String>, now: Timestamp) -> Vec<String> {
        let mut closed = Vec::new();
        self.0.retain(|file, (_, reported)| {
            let stays = open.contains(file);
            if !stays && *reported {
                closed.push(file.clone());
            }
            stays
        });
        for file in open {
            self.0.entry(file.clone()).or_insert((now, false));
        }
        closed
    }

    /// Returns the files that have been open too long, each once.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Vec<String> {
        let overdue = self.0.iter_mut().filter(|(_, (since, reported))| !reported && due(*since) <= now);
        overdue
            .map(|(file, (_, reported))| {
                *reported = true;
                file.clone()
            })
            .collect()
    }

    /// Returns when the next file will have been open too long.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.values().filter(|(_, reported)| !reported).map(|(since, _)| due(*since)).min()
    }

    /// Resets start times after the clock was set back.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.0.values_mut().for_each(|(since, _)| *since = (*since).min(now));
    }
}

fn due(since: Timestamp) -> Timestamp {
    since.checked_add(OPEN_FILE_TIMEOUT).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_never_closes_its_file_is_reported_once_and_its_end_too() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let open = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>();
        let mut writers = FileWriters::default();
        assert!(writers.update(&open(&["a.toml", "b.toml"]), at(0)).is_empty());
        assert!(writers.overdue(at(9)).is_empty());
        assert_eq!(writers.next(), Some(at(10)));
        assert!(writers.update(&open(&["a.toml"]), at(9)).is_empty(), "it was closed in good time");
        assert_eq!(writers.overdue(at(10)), ["a.toml"]);
        assert_eq!((writers.overdue(at(20)), writers.next()), (Vec::new(), None));
        assert_eq!(writers.update(&open(&[]), at(30)), ["a.toml"]);
        writers.update(&open(&["a.toml"]), at(40));
        assert_eq!(writers.next(), Some(at(50)), "another writer is another matter");
    }
}
