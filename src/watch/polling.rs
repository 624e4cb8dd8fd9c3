//! Polling of the tree, for systems that cannot report changes.

use super::targets::{WatchTargets, is_hidden};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// Polling thread that ends on drop.
pub(super) struct Polling {
    _alive: Sender<()>,
}

impl Polling {
    /// Polls now and at every interval; calls `wake` if anything differs.
    pub(super) fn start(
        configured: &Path,
        every: Duration,
        wake: impl Fn() + Send + 'static,
    ) -> io::Result<Self> {
        let (alive, ended) = channel::<()>();
        let configured = configured.to_owned();
        let mut seen = metadata_digest(&configured);
        std::thread::Builder::new().name("watch".to_owned()).spawn(move || {
            while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
                let now = metadata_digest(&configured);
                if now != seen {
                    seen = now;
                    wake();
                }
            }
        })?;
        Ok(Self { _alive: alive })
    }
}

/// Digest of the tree's metadata.
///
/// Contents are not read: a write changes a file's times, a swap changes its inode.
fn metadata_digest(configured: &Path) -> u64 {
    let ground = WatchTargets::scan(configured);
    let mut digest = DefaultHasher::new();
    ground.root.hash(&mut digest);
    for path in &ground.swap_points {
        hash_entry(path, &mut digest);
    }
    for folder in &ground.folders {
        let mut entries: Vec<_> = fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| !is_hidden(&entry.file_name()))
            .map(|entry| entry.path())
            .collect();
        entries.sort();
        entries.iter().for_each(|path| hash_entry(path, &mut digest));
    }
    for name in ["index.lock", "HEAD"] {
        ground.git.iter().for_each(|git| hash_entry(&git.join(name), &mut digest));
    }
    digest.finish()
}

fn hash_entry(path: &Path, digest: &mut DefaultHasher) {
    path.hash(digest);
    let found = fs::symlink_metadata(path).ok().map(|file| {
        // Hidden files change a folder's times too; its visible entries are hashed themselves.
        let times = if file.is_dir() {
            None
        } else {
            Some((file.mtime(), file.mtime_nsec(), file.ctime(), file.ctime_nsec()))
        };
        (file.dev(), file.ino(), file.mode(), file.is_file().then_some(file.len()), times)
    });
    found.hash(digest);
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn every_kind_of_change_is_seen_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("current");
        let mut seen = metadata_digest(&root);
        let mut check = |what: &str, differs: bool| {
            let now = metadata_digest(&root);
            assert_eq!(now != seen, differs, "{what}");
            seen = now;
        };
        fs::create_dir_all(dir.path().join("rev1/sub")).unwrap();
        symlink("rev1", &root).unwrap();
        check("the root appears", true);
        fs::write(root.join("sub/a.toml"), "one").unwrap();
        check("a file appears", true);
        fs::write(root.join("sub/a.toml"), "longer").unwrap();
        check("a file is written", true);
        fs::read(root.join("sub/a.toml")).unwrap();
        fs::create_dir(root.join(".wellspring")).unwrap();
        fs::write(root.join(".wellspring/state.db"), "x").unwrap();
        fs::write(dir.path().join("neighbour"), "x").unwrap();
        check("reading, hidden files, neighbours", false);
        fs::write(root.join("sub/.new"), "longer").unwrap();
        fs::rename(root.join("sub/.new"), root.join("sub/a.toml")).unwrap();
        check("a file is replaced by one of the same size", true);
        fs::create_dir_all(dir.path().join("rev2/sub")).unwrap();
        symlink("rev2", dir.path().join("next")).unwrap();
        fs::rename(dir.path().join("next"), &root).unwrap();
        check("the link is swapped", true);
        fs::remove_file(&root).unwrap();
        check("the root disappears", true);
    }

    #[test]
    fn a_change_wakes_and_dropping_ends_it() {
        let dir = tempfile::tempdir().unwrap();
        let (woken, wakes) = channel();
        let polling = Polling::start(dir.path(), Duration::from_millis(5), move || {
            let _ = woken.send(());
        })
        .unwrap();
        fs::write(dir.path().join("a.toml"), "").unwrap();
        wakes.recv_timeout(Duration::from_secs(10)).unwrap();
        drop(polling);
        // The thread drops its sender.
        let end =
            std::iter::from_fn(|| Some(wakes.recv_timeout(Duration::from_secs(10)))).find_map(Result::err);
        assert_eq!(end, Some(RecvTimeoutError::Disconnected));
    }
}
