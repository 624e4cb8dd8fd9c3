//! Which files somebody has finished: closed after writing, or renamed into place, and not touched since.

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, Result};
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

/// The finished files of one tree.
#[derive(Debug, Default)]
pub(super) struct Finished {
    events: u64,
    /// Each with the number of the event that finished it.
    files: HashMap<PathBuf, u64>,
}

/// A moment between two events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment(u64);

impl Finished {
    pub(super) fn note(&mut self, event: &Result<Event>) {
        self.events += 1;
        let Ok(event) = event else { return self.files.clear() };
        if event.need_rescan() || event.paths.is_empty() {
            return self.files.clear();
        }
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                self.files.extend(event.paths.iter().map(|path| (path.clone(), self.events)));
            }
            // Told beside `From` and `To`, of which each was noted.
            EventKind::Modify(ModifyKind::Metadata(_) | ModifyKind::Name(RenameMode::Both))
            | EventKind::Access(_) => {}
            // What was renamed or removed as a folder takes along what lies in it.
            EventKind::Modify(ModifyKind::Data(_)) | EventKind::Create(_) => {
                for path in &event.paths {
                    self.files.remove(path);
                }
            }
            _ => self.files.retain(|file, _| !event.paths.iter().any(|path| file.starts_with(path))),
        }
    }

    pub(super) fn now(&self) -> Moment {
        Moment(self.events)
    }

    /// The files below `root` that were finished at `moment`, and are as they were then.
    pub(super) fn since(&self, moment: Moment, root: &Path) -> HashSet<String> {
        let since = self.files.iter().filter(|(_, event)| **event <= moment.0);
        since.filter_map(|(file, _)| Some(file.strip_prefix(root).ok()?.to_str()?.to_owned())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{CreateKind, DataChange, Flag, MetadataKind, RemoveKind};

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const TOUCHED: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);

    /// Notes each event, and tells whether the file at hand is finished in the end.
    fn ends_finished(events: &[(EventKind, &str)]) -> bool {
        let mut finished = Finished::default();
        for (kind, path) in events {
            finished.note(&Ok(Event::new(*kind).add_path(path.into())));
        }
        finished.since(finished.now(), Path::new("/tree")).contains("sub/a.toml")
    }

    #[test]
    fn a_file_is_finished_once_it_is_closed_or_renamed_into_place() {
        const A: &str = "/tree/sub/a.toml";
        assert!(ends_finished(&[(CREATED, A), (WRITTEN, A), (CLOSED, A)]));
        assert!(ends_finished(&[(TO, A)]));
        assert!(ends_finished(&[(CLOSED, A), (TOUCHED, A), (WRITTEN, "/tree/sub/b.toml")]));
        for unfinished in [
            &[(CREATED, A)][..],
            &[(CREATED, A), (WRITTEN, A)],
            &[(CLOSED, A), (WRITTEN, A)],
            &[(TO, A), (WRITTEN, A)],
            &[(CLOSED, A), (FROM, A)],
            &[(CLOSED, A), (REMOVED, A), (CREATED, A)],
            &[(CLOSED, A), (FROM, "/tree/sub")],
            &[(CLOSED, "/tree/sub/b.toml")],
        ] {
            assert!(!ends_finished(unfinished), "{unfinished:?}");
        }
    }

    #[test]
    fn what_is_touched_after_the_moment_or_lost_sight_of_is_not_finished() {
        let closed = || Ok(Event::new(CLOSED).add_path("/tree/a.toml".into()));
        let mut finished = Finished::default();
        let before = finished.now();
        finished.note(&closed());
        let after = finished.now();
        let root = Path::new("/tree");
        assert!(finished.since(before, root).is_empty(), "it was finished later");
        assert_eq!(finished.since(after, root).len(), 1);
        finished.note(&closed());
        assert!(finished.since(after, root).is_empty(), "someone wrote it again");
        for lost in
            [Err(notify::Error::generic("odd")), Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))]
        {
            let mut finished = Finished::default();
            finished.note(&closed());
            finished.note(&lost);
            assert!(finished.since(finished.now(), root).is_empty());
        }
    }
}
