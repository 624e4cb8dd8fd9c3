//! The files that somebody is writing, from reading to reading, and which of them take too long.

use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};

/// An editor or a copy closes its file long before this.
const PATIENCE: SignedDuration = SignedDuration::from_secs(10);

/// Since when each file is open, and whether that was reported.
#[derive(Debug, Default)]
pub(super) struct Writers(BTreeMap<String, (Timestamp, bool)>);

impl Writers {
    /// These are open now. Returns those whose writer was reported and has closed them.
    pub(super) fn seen(&mut self, open: &BTreeSet<String>, now: Timestamp) -> Vec<String> {
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

    /// The files that have been open for too long, each reported once.
    pub(super) fn overdue(&mut self, now: Timestamp) -> Vec<String> {
        let overdue = self.0.iter_mut().filter(|(_, (since, reported))| !reported && due(*since) <= now);
        overdue
            .map(|(file, (_, reported))| {
                *reported = true;
                file.clone()
            })
            .collect()
    }

    /// When the next file has been open for too long.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.0.values().filter(|(_, reported)| !reported).map(|(since, _)| due(*since)).min()
    }

    /// The clock went back: the files are open for an unknown time.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.0.values_mut().for_each(|(since, _)| *since = (*since).min(now));
    }
}

fn due(since: Timestamp) -> Timestamp {
    since.checked_add(PATIENCE).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_writer_that_never_closes_its_file_is_reported_once_and_its_end_too() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let open = |files: &[&str]| files.iter().map(|file| (*file).to_owned()).collect::<BTreeSet<_>>();
        let mut writers = Writers::default();
        assert!(writers.seen(&open(&["a.toml", "b.toml"]), at(0)).is_empty());
        assert!(writers.overdue(at(9)).is_empty());
        assert_eq!(writers.next(), Some(at(10)));
        assert!(writers.seen(&open(&["a.toml"]), at(9)).is_empty(), "it was closed in good time");
        assert_eq!(writers.overdue(at(10)), ["a.toml"]);
        assert_eq!((writers.overdue(at(20)), writers.next()), (Vec::new(), None));
        assert_eq!(writers.seen(&open(&[]), at(30)), ["a.toml"]);
        writers.seen(&open(&["a.toml"]), at(40));
        assert_eq!(writers.next(), Some(at(50)), "another writer is another matter");
    }
}
