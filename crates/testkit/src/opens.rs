//! Counts how often a file or directory is opened.

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;

/// A watch on one path.
pub struct Opens(OwnedFd);

impl Opens {
    /// Starts counting.
    pub fn of(path: &Path) -> Self {
        let watch = inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC).unwrap();
        // Equal events in a row are reported once, so each close is reported as well.
        inotify::add_watch(&watch, path, WatchFlags::OPEN | WatchFlags::CLOSE).unwrap();
        Self(watch)
    }

    /// Returns the number of opens since the last call.
    pub fn take(&self) -> usize {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.0, &mut buffer);
        let mut opens = 0;
        while let Ok(event) = events.next() {
            opens += usize::from(event.events().contains(ReadFlags::OPEN));
        }
        opens
    }
}
