//! Selects the events that require a read.

use super::targets::{WatchTargets, is_hidden};
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind, RenameMode};
use notify::{Event, Result};
use std::path::Path;

/// Request to read again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FilterResult {
    /// The set of folders to watch may have changed.
    pub(super) stale: bool,
}

/// Interprets an event; `None` if it is irrelevant.
pub(super) fn classify_event(ground: &WatchTargets, event: &Result<Event>) -> Option<FilterResult> {
    match event {
        // Errors, lost events and events without a path: anything may have changed.
        Err(_) => Some(FilterResult { stale: true }),
        Ok(event) if event.need_rescan() || event.paths.is_empty() => Some(FilterResult { stale: true }),
        Ok(event) if is_reading(event.kind) => None,
        Ok(event) => event
            .paths
            .iter()
            .filter_map(|path| classify_path(ground, path, event.kind))
            .reduce(|one, other| FilterResult { stale: one.stale || other.stale }),
    }
}

/// Returns true for read events; closing after a write is not one.
fn is_reading(kind: EventKind) -> bool {
    matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}

fn classify_path(ground: &WatchTargets, path: &Path, kind: EventKind) -> Option<FilterResult> {
    if ground.swap_points.contains(path) {
        return Some(FilterResult { stale: true });
    }
    if ground.swap_parents.contains(path) && is_removal(kind) {
        return Some(FilterResult { stale: true });
    }
    if path.parent().is_some_and(|parent| Some(parent) == ground.git.as_deref()) {
        return classify_git_path(path, kind).then_some(FilterResult { stale: false });
    }
    let below = path.strip_prefix(ground.root.as_ref()?).ok()?;
    if below == Path::new(".git") {
        return may_change_folders(ground, path, kind).then_some(FilterResult { stale: true });
    }
    if below.iter().any(is_hidden) {
        return None;
    }
    Some(FilterResult { stale: may_change_folders(ground, path, kind) })
}

/// Git causes many events; only a removed lock or a new HEAD completes its work.
fn classify_git_path(path: &Path, kind: EventKind) -> bool {
    match path.file_name().and_then(|name| name.to_str()) {
        Some("index.lock") => is_removal(kind),
        Some("HEAD") => true,
        _ => false,
    }
}

fn is_removal(kind: EventKind) -> bool {
    matches!(kind, EventKind::Remove(_))
        || matches!(kind, EventKind::Modify(ModifyKind::Name(mode)) if mode != RenameMode::To)
}

/// Returns true if the event may have added or removed a folder.
fn may_change_folders(ground: &WatchTargets, path: &Path, kind: EventKind) -> bool {
    match kind {
        EventKind::Create(CreateKind::Folder) | EventKind::Remove(RemoveKind::Folder) => true,
        EventKind::Create(CreateKind::File) | EventKind::Access(_) => false,
        EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Metadata(_)) => false,
        _ => {
            ground.folders.contains(path)
                || path.symlink_metadata().is_ok_and(|found| found.file_type().is_dir())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notify::event::{DataChange, Flag, MetadataKind};

    fn ground() -> WatchTargets {
        WatchTargets {
            root: Some("/git/rev1".into()),
            folders: ["/git/rev1".into(), "/git/rev1/sub".into()].into(),
            swap_points: ["/git/current".into(), "/git/rev1".into()].into(),
            swap_parents: ["/git".into()].into(),
            git: Some("/git/rev1/.git".into()),
        }
    }

    fn check(kind: EventKind, path: &str, expected: Option<bool>) {
        let event = Ok(Event::new(kind).add_path(path.into()));
        let got = classify_event(&ground(), &event).map(|notice| notice.stale);
        assert_eq!(got, expected, "{kind:?} {path}");
    }

    const WRITTEN: EventKind = EventKind::Modify(ModifyKind::Data(DataChange::Any));
    const CLOSED: EventKind = EventKind::Access(AccessKind::Close(AccessMode::Write));
    const OPENED: EventKind = EventKind::Access(AccessKind::Open(AccessMode::Any));
    const CREATED: EventKind = EventKind::Create(CreateKind::File);
    const FOLDER: EventKind = EventKind::Create(CreateKind::Folder);
    const REMOVED: EventKind = EventKind::Remove(RemoveKind::File);
    const FROM: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::From));
    const TO: EventKind = EventKind::Modify(ModifyKind::Name(RenameMode::To));
    const TOUCHED: EventKind = EventKind::Modify(ModifyKind::Metadata(MetadataKind::Any));

    #[test]
    fn what_changes_in_the_tree_wakes_and_new_folders_are_armed() {
        for kind in [WRITTEN, CLOSED, CREATED, REMOVED, FROM, TO, TOUCHED] {
            check(kind, "/git/rev1/sub/a.toml", Some(false));
        }
        check(FOLDER, "/git/rev1/new", Some(true));
        check(FROM, "/git/rev1/sub", Some(true));
        check(TO, "/git/rev1/..data", Some(false));
    }

    #[test]
    fn reading_and_what_the_tree_does_not_read_are_of_no_concern() {
        check(OPENED, "/git/rev1/a.toml", None);
        check(OPENED, "/git/current", None);
        check(WRITTEN, "/git/rev1/.wellspring/state.db-wal", None);
        check(CREATED, "/git/rev1/.a.toml.swp", None);
        check(CREATED, "/git/neighbour", None);
    }

    #[test]
    fn a_swapped_root_wakes_and_is_armed_again() {
        for path in ["/git/current", "/git/rev1"] {
            check(TO, path, Some(true));
            check(REMOVED, path, Some(true));
        }
        check(REMOVED, "/git", Some(true));
        check(TOUCHED, "/git", None);
    }

    #[test]
    fn of_git_only_the_end_of_its_work_counts() {
        check(CREATED, "/git/rev1/.git/index.lock", None);
        check(WRITTEN, "/git/rev1/.git/index", None);
        check(FROM, "/git/rev1/.git/index.lock", Some(false));
        check(REMOVED, "/git/rev1/.git/index.lock", Some(false));
        check(TO, "/git/rev1/.git/HEAD", Some(false));
        check(FOLDER, "/git/rev1/.git", Some(true));
    }

    #[test]
    fn errors_and_lost_events_wake() {
        let lost = Event::new(EventKind::Other).set_flag(Flag::Rescan);
        for event in [Err(notify::Error::generic("odd")), Ok(lost), Ok(Event::new(EventKind::Any))] {
            assert_eq!(classify_event(&ground(), &event), Some(FilterResult { stale: true }));
        }
    }
}
