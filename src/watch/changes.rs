//! Tracks files by events: closed by their writer, open for writing, or touched.
//!
//! A file counts as closed if it was closed after writing or renamed into place, and was not
//! touched since.

use notify::event::{AccessKind, AccessMode, EventKind, ModifyKind, RenameMode};
use notify::{Event, Result};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Bound;
use std::path::{Path, PathBuf};

/// Reported changes to the files of one tree.
#[derive(Debug, Default)]
pub(super) struct ChangeLog {
    events: u64,
    /// Ordered, so that the contents of a folder follow it.
    files: BTreeMap<PathBuf, FileActivity>,
    /// Number of the last event that may have changed files it did not name.
    unknown_from: u64,
}

/// Event numbers of one file.
#[derive(Debug, Clone, Copy, Default)]
struct FileActivity {
    touched: u64,
    /// `None` while a writer may be active, and after removal.
    closed_at: Option<u64>,
    /// Written to and not closed yet.
    open: bool,
}

/// Point between two events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventSeq(u64);

impl ChangeLog {
    pub(super) fn record(&mut self, event: &Result<Event>) {
        let Ok(event) = event else { return self.mark_all_unknown() };
        if event.need_rescan() || event.paths.is_empty() {
            return self.mark_all_unknown();
        }
        self.events += 1;
        let touched = self.events;
        match event.kind {
            EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To)) => {
                let known = FileActivity { touched, closed_at: Some(touched), open: false };
                self.files.extend(event.paths.iter().map(|path| (path.clone(), known)));
            }
            // Reported in addition to `From` and `To`, which are recorded.
            EventKind::Modify(ModifyKind::Name(RenameMode::Both)) | EventKind::Access(_) => {}
            EventKind::Modify(ModifyKind::Metadata(_)) => {
                for path in &event.paths {
                    self.files.entry(path.clone()).or_default().touched = touched;
                }
            }
            EventKind::Modify(ModifyKind::Data(_)) => {
                let known = FileActivity { touched, closed_at: None, open: true };
                self.files.extend(event.paths.iter().map(|path| (path.clone(), known)));
            }
            // A hard link is never closed, so a new name alone does not indicate a writer.
            EventKind::Create(_) => {
                let known = FileActivity { touched, ..FileActivity::default() };
                self.files.extend(event.paths.iter().map(|path| (path.clone(), known)));
            }
            // Renaming or removing a folder affects everything in it.
            _ => {
                let known = FileActivity { touched, ..FileActivity::default() };
                for path in &event.paths {
                    let from_there = (Bound::Included(path.as_path()), Bound::Unbounded);
                    let behind = self.files.range_mut::<Path, _>(from_there);
                    behind.take_while(|(file, _)| file.starts_with(path)).for_each(|(_, of)| *of = known);
                }
                self.files.extend(event.paths.iter().map(|path| (path.clone(), known)));
            }
        }
    }

    /// Forgets all files, because events were lost.
    pub(super) fn mark_all_unknown(&mut self) {
        self.files.clear();
        self.mark_unknown_from();
    }

    /// Records that unnamed files may have changed.
    pub(super) fn mark_unknown_from(&mut self) {
        self.events += 1;
        self.unknown_from = self.events;
    }

    pub(super) fn current_seq(&self) -> EventSeq {
        EventSeq(self.events)
    }

    /// Returns the files below `root` closed at `moment` and unchanged since.
    pub(super) fn closed_since(&self, moment: EventSeq, root: &Path) -> HashSet<String> {
        let since =
            self.files.iter().filter(|(_, file)| file.closed_at.is_some_and(|event| event <= moment.0));
        since.filter_map(|(file, _)| Some(file.strip_prefix(root).ok()?.to_str()?.to_owned())).collect()
    }

    /// Returns the files below `root` that were written to and not closed yet.
    pub(super) fn open(&self, root: &Path) -> BTreeSet<String> {
        let open = self.files.iter().filter(|(_, file)| file.open);
        open.filter_map(|(file, _)| Some(file.strip_prefix(root).ok()?.to_str()?.to_owned())).collect()
    }

    /// Returns the files touched after `moment`, with true if the writer closed it.
    ///
    /// `None` if other files below `root` may have changed. Forgets older events of files that are
    /// neither closed nor open.
    pub(super) fn touched(&mut self, moment: EventSeq, root: &Path) -> Option<BTreeMap<String, bool>> {
        self.files.retain(|_, file| file.touched > moment.0 || file.closed_at.is_some() || file.open);
        if self.unknown_from > moment.0 {
            return None;
        }
        let touched = self.files.iter().filter(|(_, file)| file.touched > moment.0);
        touched
            .map(|(path, file)| {
                let name = path.strip_prefix(root).ok()?.to_str()?.to_owned();
                // Hidden entries of volume swaps and of Git affect other files.
                let is_hidden = name.split('/').any(|part| part.starts_with('.'));
                if is_hidden { None } else { Some((name, file.closed_at.is_some())) }
            })
            .collect()
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

    /// Records the events and returns whether the file counts as closed.
    fn ends_finished(events: &[(EventKind, &str)]) -> bool {
        let mut finished = ChangeLog::default();
        for (kind, path) in events {
            finished.record(&Ok(Event::new(*kind).add_path(path.into())));
        }
        finished.closed_since(finished.current_seq(), Path::new("/tree")).contains("sub/a.toml")
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
    fn a_file_is_open_from_the_first_write_until_it_is_closed_replaced_or_gone() {
        const A: &str = "/tree/sub/a.toml";
        let is_open = |events: &[(EventKind, &str)]| {
            let mut finished = ChangeLog::default();
            for (kind, path) in events {
                finished.record(&Ok(Event::new(*kind).add_path(path.into())));
            }
            // Reading the touched files forgets the others, but keeps open ones.
            finished.touched(finished.current_seq(), Path::new(TREE));
            finished.open(Path::new(TREE)).contains("sub/a.toml")
        };
        for open in [
            &[(CREATED, A), (WRITTEN, A)][..],
            &[(CLOSED, A), (WRITTEN, A)],
            &[(WRITTEN, A), (TOUCHED, A)],
            &[(TO, A), (WRITTEN, A), (CLOSED, "/tree/sub/b.toml")],
        ] {
            assert!(is_open(open), "{open:?}");
        }
        for closed in [
            &[(CREATED, A)][..],
            &[(WRITTEN, A), (CLOSED, A)],
            &[(WRITTEN, A), (TO, A)],
            &[(WRITTEN, A), (REMOVED, A)],
            &[(WRITTEN, A), (FROM, "/tree/sub")],
            &[(TOUCHED, A)],
        ] {
            assert!(!is_open(closed), "{closed:?}");
        }
    }

    #[test]
    fn what_goes_takes_along_what_lies_in_it_and_nothing_beside_it() {
        for gone in [REMOVED, FROM] {
            let mut finished = ChangeLog::default();
            for name in
                ["sub.toml", "sub/a.toml", "sub/x/b.toml", "sub-x/c.toml", "su/d.toml", "sub0", "t.toml"]
            {
                finished.record(&Ok(Event::new(CLOSED).add_path(Path::new(TREE).join(name))));
            }
            let moment = finished.current_seq();
            finished.record(&Ok(Event::new(gone).add_path("/tree/sub".into())));
            let left = finished.closed_since(finished.current_seq(), Path::new(TREE));
            let beside = ["sub.toml", "sub-x/c.toml", "su/d.toml", "sub0", "t.toml"].map(str::to_owned);
            assert_eq!(left, HashSet::from(beside));
            let touched = finished.touched(moment, Path::new(TREE)).unwrap();
            assert_eq!(touched.into_keys().collect::<Vec<_>>(), ["sub", "sub/a.toml", "sub/x/b.toml"]);
        }
    }

    #[test]
    fn as_many_files_may_go_as_were_known() {
        let mut finished = ChangeLog::default();
        let events = |kind: EventKind| {
            (0..20_000).map(move |n| Ok(Event::new(kind).add_path(format!("/tree/{n}/a.toml").into())))
        };
        events(CLOSED).chain(events(REMOVED)).for_each(|event| finished.record(&event));
        assert!(finished.closed_since(finished.current_seq(), Path::new(TREE)).is_empty());
    }

    #[test]
    fn what_is_touched_after_the_moment_or_lost_sight_of_is_not_finished() {
        let closed = || Ok(Event::new(CLOSED).add_path("/tree/a.toml".into()));
        let mut finished = ChangeLog::default();
        let before = finished.current_seq();
        finished.record(&closed());
        let after = finished.current_seq();
        let root = Path::new("/tree");
        assert!(finished.closed_since(before, root).is_empty(), "it was finished later");
        assert_eq!(finished.closed_since(after, root).len(), 1);
        finished.record(&closed());
        assert!(finished.closed_since(after, root).is_empty(), "someone wrote it again");
        for lost in
            [Err(notify::Error::generic("odd")), Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))]
        {
            let mut finished = ChangeLog::default();
            finished.record(&closed());
            finished.record(&lost);
            assert!(finished.closed_since(finished.current_seq(), root).is_empty());
        }
    }

    const TREE: &str = "/tree";

    /// Returns the files touched by these later events; `None` if incomplete.
    fn touched_by(events: &[(EventKind, &str)]) -> Option<Vec<(String, bool)>> {
        let mut finished = ChangeLog::default();
        finished.mark_unknown_from();
        finished.record(&Ok(Event::new(CLOSED).add_path("/tree/before.toml".into())));
        let moment = finished.current_seq();
        for (kind, path) in events {
            finished.record(&Ok(Event::new(*kind).add_path(path.into())));
        }
        Some(finished.touched(moment, Path::new(TREE))?.into_iter().collect())
    }

    #[test]
    fn what_was_touched_since_a_moment_is_told_with_whether_it_is_finished() {
        let told =
            |of: &[(&str, bool)]| Some(of.iter().map(|(name, of)| ((*name).to_owned(), *of)).collect());
        const A: &str = "/tree/sub/a.toml";
        assert_eq!(touched_by(&[]), told(&[]));
        assert_eq!(touched_by(&[(TO, A)]), told(&[("sub/a.toml", true)]));
        assert_eq!(touched_by(&[(CREATED, A), (WRITTEN, A)]), told(&[("sub/a.toml", false)]));
        assert_eq!(touched_by(&[(TOUCHED, A)]), told(&[("sub/a.toml", false)]), "its mode may be another");
        assert_eq!(touched_by(&[(TOUCHED, "/tree/before.toml")]), told(&[("before.toml", true)]));
        assert_eq!(touched_by(&[(CLOSED, A), (REMOVED, A)]), told(&[("sub/a.toml", false)]));
        let by_rename = [(CREATED, "/tree/tmp"), (CLOSED, "/tree/tmp"), (FROM, "/tree/tmp"), (TO, A)];
        assert_eq!(touched_by(&by_rename), told(&[("sub/a.toml", true), ("tmp", false)]));
    }

    #[test]
    fn where_more_may_have_changed_than_was_told_nothing_is_said() {
        for elsewhere in ["/elsewhere/a.toml", "/tree/..data", "/tree/.git/HEAD"] {
            assert_eq!(touched_by(&[(TO, elsewhere)]), None, "{elsewhere}");
        }
        let lost =
            [Err(notify::Error::generic("odd")), Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan))];
        for lost in lost {
            let mut finished = ChangeLog::default();
            let before = finished.current_seq();
            finished.record(&lost);
            finished.record(&Ok(Event::new(CLOSED).add_path("/tree/a.toml".into())));
            assert_eq!(finished.touched(before, Path::new(TREE)), None);
            assert!(finished.touched(finished.current_seq(), Path::new(TREE)).is_some(), "it is over by now");
        }
    }
}
