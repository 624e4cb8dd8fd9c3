//! Tests of the file watcher on real directories.

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;
use tokio::time::timeout;
use wellspring::watch::{self, Watch};

/// Timeout for expected events.
///
/// Far longer than any takes, so that only a missing one fails.
const LONG: Duration = Duration::from_secs(20);
/// Time without an event that counts as silence.
///
/// Too short, it can only let a test pass.
const SILENCE: Duration = Duration::from_millis(150);

struct Scene {
    dir: TempDir,
    watch: Watch,
}

impl Scene {
    /// Creates a directory filled by `before`, and watches `root` in it.
    fn new(root: &str, before: impl FnOnce(&Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        before(dir.path());
        let watch = watch::start_with_cookie(&dir.path().join(root), &dir.path().join("bell")).unwrap();
        Self { dir, watch }
    }

    fn path(&self, below: &str) -> PathBuf {
        self.dir.path().join(below)
    }

    fn write(&self, below: &str) {
        fs::write(self.path(below), below).unwrap();
    }

    /// Checks that `act` wakes the watcher, and waits until all events have arrived.
    async fn wakes(&mut self, what: &str, act: impl FnOnce(&Path)) {
        act(self.dir.path());
        assert!(timeout(LONG, self.watch.changed()).await.is_ok(), "no wake: {what}");
        while timeout(SILENCE, self.watch.changed()).await.is_ok() {}
    }

    async fn stays_quiet(&mut self, what: &str, act: impl FnOnce(&Path)) {
        act(self.dir.path());
        // Waits for the event of the cookie, which comes after those of every earlier change.
        let tracker = self.watch.change_tracker();
        let _ = tracker.since(tracker.current_seq(), self.dir.path());
        assert!(timeout(Duration::ZERO, self.watch.changed()).await.is_err(), "a wake: {what}");
    }
}

fn tree(dir: &Path) {
    fs::create_dir_all(dir.join("tree/sub")).unwrap();
    fs::write(dir.join("tree/sub/a.toml"), "a").unwrap();
}

fn swap(dir: &Path, target: &str, link: &str) {
    symlink(target, dir.join("link.new")).unwrap();
    fs::rename(dir.join("link.new"), dir.join(link)).unwrap();
}

#[tokio::test]
async fn files_that_come_change_and_go_wake() {
    let mut scene = Scene::new("tree", tree);
    scene.wakes("created", |dir| fs::write(dir.join("tree/b.toml"), "b").unwrap()).await;
    scene.wakes("changed", |dir| fs::write(dir.join("tree/sub/a.toml"), "b").unwrap()).await;
    scene.wakes("removed", |dir| fs::remove_file(dir.join("tree/sub/a.toml")).unwrap()).await;
    let mut file = OpenOptions::new().append(true).open(scene.path("tree/b.toml")).unwrap();
    scene.wakes("appended", |_| file.write_all(b"more").unwrap()).await;
    scene.wakes("closed", |_| drop(file)).await;
}

#[tokio::test]
async fn an_editor_that_saves_by_rename_wakes_every_time() {
    let mut scene = Scene::new("tree", tree);
    for _ in 0..3 {
        scene
            .wakes("saved", |dir| {
                fs::write(dir.join("tree/sub/.a.toml.tmp"), "new").unwrap();
                fs::rename(dir.join("tree/sub/.a.toml.tmp"), dir.join("tree/sub/a.toml")).unwrap();
            })
            .await;
    }
}

#[tokio::test]
async fn merely_reading_does_not_wake() {
    let mut scene = Scene::new("tree", tree);
    scene
        .stays_quiet("read", |dir| {
            fs::read_to_string(dir.join("tree/sub/a.toml")).unwrap();
            assert_eq!(fs::read_dir(dir.join("tree")).unwrap().count(), 1);
            fs::metadata(dir.join("tree/sub/a.toml")).unwrap();
        })
        .await;
}

#[tokio::test]
async fn what_the_tree_does_not_read_does_not_wake() {
    let mut scene = Scene::new("tree", |dir| {
        tree(dir);
        fs::create_dir_all(dir.join("tree/.wellspring")).unwrap();
    });
    scene
        .stays_quiet("state, swap files, neighbours", |dir| {
            fs::write(dir.join("tree/.wellspring/state.db"), "x").unwrap();
            fs::write(dir.join("tree/sub/.a.toml.swp"), "x").unwrap();
            fs::write(dir.join("neighbour"), "x").unwrap();
        })
        .await;
}

#[tokio::test]
async fn new_folders_are_watched_however_deep() {
    let mut scene = Scene::new("tree", tree);
    scene.wakes("created", |dir| fs::create_dir_all(dir.join("tree/x/y/z")).unwrap()).await;
    scene.wakes("written below", |dir| fs::write(dir.join("tree/x/y/z/b.toml"), "b").unwrap()).await;
    scene.wakes("moved", |dir| fs::rename(dir.join("tree/x/y"), dir.join("tree/y")).unwrap()).await;
    scene.wakes("written where it is now", |dir| fs::write(dir.join("tree/y/z/c.toml"), "c").unwrap()).await;
    scene.wakes("removed", |dir| fs::remove_dir_all(dir.join("tree/y")).unwrap()).await;
    scene.wakes("made again", |dir| fs::create_dir_all(dir.join("tree/y/z")).unwrap()).await;
    scene.wakes("written again", |dir| fs::write(dir.join("tree/y/z/c.toml"), "c").unwrap()).await;
}

#[tokio::test]
async fn a_git_sync_swap_wakes_and_the_new_checkout_is_watched() {
    let mut scene = Scene::new("current", |dir| {
        fs::create_dir_all(dir.join("worktrees/rev1")).unwrap();
        fs::create_dir_all(dir.join("worktrees/rev2")).unwrap();
        symlink("worktrees/rev1", dir.join("current")).unwrap();
    });
    scene.wakes("swapped", |dir| swap(dir, "worktrees/rev2", "current")).await;
    scene.wakes("written after", |dir| fs::write(dir.join("worktrees/rev2/a.toml"), "a").unwrap()).await;
    scene
        .stays_quiet("the old checkout is of no concern", |dir| {
            fs::write(dir.join("worktrees/rev1/a.toml"), "a").unwrap();
            fs::remove_dir_all(dir.join("worktrees/rev1")).unwrap();
        })
        .await;
    scene.wakes("swapped again", |dir| swap(dir, "worktrees/rev1", "current")).await;
}

#[tokio::test]
async fn a_swap_of_a_link_on_the_way_to_the_root_wakes() {
    let mut scene = Scene::new("configured", |dir| {
        fs::create_dir_all(dir.join("rev1/sources")).unwrap();
        fs::create_dir_all(dir.join("rev2/sources")).unwrap();
        symlink("rev1", dir.join("current")).unwrap();
        symlink(dir.join("current/sources"), dir.join("configured")).unwrap();
    });
    scene.wakes("swapped", |dir| swap(dir, "rev2", "current")).await;
    scene.wakes("written after", |dir| fs::write(dir.join("rev2/sources/a.toml"), "a").unwrap()).await;
}

#[tokio::test]
async fn a_config_map_swap_wakes_every_time() {
    let mut scene = Scene::new("mount", |dir| {
        fs::create_dir_all(dir.join("mount/..rev0")).unwrap();
        fs::write(dir.join("mount/..rev0/a.toml"), "0").unwrap();
        symlink("..rev0", dir.join("mount/..data")).unwrap();
        symlink("..data/a.toml", dir.join("mount/a.toml")).unwrap();
    });
    for n in 1..4 {
        scene
            .wakes("prepared", |dir| {
                fs::create_dir(dir.join(format!("mount/..rev{n}"))).unwrap();
                fs::write(dir.join(format!("mount/..rev{n}/a.toml")), "n").unwrap();
                symlink(format!("..rev{n}"), dir.join("mount/..data_tmp")).unwrap();
            })
            .await;
        scene
            .wakes("swapped", |dir| {
                fs::rename(dir.join("mount/..data_tmp"), dir.join("mount/..data")).unwrap();
            })
            .await;
        let old = format!("mount/..rev{}", n - 1);
        scene.wakes("the old one removed", |dir| fs::remove_dir_all(dir.join(old)).unwrap()).await;
    }
}

#[tokio::test]
async fn a_root_that_is_deleted_and_made_again_is_watched_again() {
    let mut scene = Scene::new("above/tree", |dir| fs::create_dir_all(dir.join("above/tree")).unwrap());
    for below in ["above/tree", "above"] {
        scene.wakes("deleted", |dir| fs::remove_dir_all(dir.join(below)).unwrap()).await;
        scene.wakes("made again", |dir| fs::create_dir_all(dir.join("above/tree")).unwrap()).await;
        scene.wakes("written after", |dir| fs::write(dir.join("above/tree/a.toml"), "a").unwrap()).await;
    }
    scene
        .wakes("replaced by rename", |dir| {
            fs::create_dir(dir.join("above/next")).unwrap();
            fs::rename(dir.join("above/tree"), dir.join("above/old")).unwrap();
            fs::rename(dir.join("above/next"), dir.join("above/tree")).unwrap();
        })
        .await;
    scene.wakes("written after", |dir| fs::write(dir.join("above/tree/a.toml"), "a").unwrap()).await;
    scene.stays_quiet("the old one", |dir| fs::write(dir.join("above/old/a.toml"), "b").unwrap()).await;
}

#[tokio::test]
async fn a_root_that_is_not_there_yet_is_awaited() {
    let mut scene = Scene::new("a/b/tree", |_| {});
    scene.wakes("the first folder", |dir| fs::create_dir(dir.join("a")).unwrap()).await;
    scene.wakes("the rest", |dir| fs::create_dir_all(dir.join("a/b/tree")).unwrap()).await;
    scene.wakes("a file", |dir| fs::write(dir.join("a/b/tree/a.toml"), "a").unwrap()).await;
}

#[tokio::test]
async fn a_dangling_or_circling_link_is_awaited() {
    let mut scene = Scene::new("current", |dir| symlink("nowhere", dir.join("current")).unwrap());
    scene.wakes("its target appears", |dir| fs::create_dir(dir.join("nowhere")).unwrap()).await;
    scene.wakes("a circle", |dir| swap(dir, "current", "current")).await;
    scene.wakes("mended", |dir| swap(dir, "nowhere", "current")).await;
    scene.wakes("a file", |dir| fs::write(dir.join("nowhere/a.toml"), "a").unwrap()).await;
}

#[tokio::test]
async fn git_wakes_when_it_is_done_and_not_before() {
    for (root, git) in [("tree", "tree/.git"), ("tree/sub", "tree/.git")] {
        let mut scene = Scene::new(root, |dir| {
            tree(dir);
            fs::create_dir_all(dir.join("tree/.git/objects")).unwrap();
        });
        scene
            .stays_quiet("git at work", |dir| {
                let git = dir.join(git);
                fs::write(git.join("index.lock"), "x").unwrap();
                fs::write(git.join("objects/ab"), "x").unwrap();
                fs::write(git.join("FETCH_HEAD"), "x").unwrap();
            })
            .await;
        scene
            .wakes("git done", |dir| {
                fs::rename(dir.join(git).join("index.lock"), dir.join(git).join("index")).unwrap();
            })
            .await;
        scene
            .wakes("another commit", |dir| {
                fs::write(dir.join(git).join("HEAD.lock"), "x").unwrap();
                fs::rename(dir.join(git).join("HEAD.lock"), dir.join(git).join("HEAD")).unwrap();
            })
            .await;
    }
}

#[tokio::test]
async fn any_number_of_changes_before_a_look_is_one_wake() {
    let mut scene = Scene::new("tree", tree);
    (0..500).for_each(|n| scene.write(&format!("tree/{n}.toml")));
    scene.wakes("all of them", |_| {}).await;
    scene.stays_quiet("nothing more", |_| {}).await;
}

#[tokio::test]
async fn a_wait_that_is_given_up_loses_no_wake() {
    let mut scene = Scene::new("tree", tree);
    for n in 0..20 {
        let _ = timeout(Duration::ZERO, scene.watch.changed()).await;
        scene
            .wakes("after giving up", |dir| fs::write(dir.join(format!("tree/{n}.toml")), "x").unwrap())
            .await;
    }
}

#[tokio::test]
async fn a_reading_that_begins_by_itself_arms_what_is_there() {
    let mut scene = Scene::new("tree", tree);
    scene.watch.rewatch();
    scene.wakes("still watched", |dir| fs::write(dir.join("tree/b.toml"), "b").unwrap()).await;
}

#[test]
fn without_descriptors_for_events_the_tree_is_looked_at_instead() {
    if std::env::var_os("STARVED").is_some() {
        return starved();
    }
    let name = "without_descriptors_for_events_the_tree_is_looked_at_instead";
    let script = format!("ulimit -n 64 && STARVED=1 exec \"$0\" --exact watch::{name}");
    let run =
        Command::new("sh").args(["-c", &script]).arg(std::env::current_exe().unwrap()).output().unwrap();
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stdout));
}

/// Body of the process of the test above, which has few file descriptors.
fn starved() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let mut hoard: Vec<File> = std::iter::from_fn(|| File::open("/dev/null").ok()).take(1000).collect();
    assert!(hoard.len() < 100, "this process is not starved");
    // Events need three descriptors, polling needs one.
    hoard.truncate(hoard.len() - 2);
    let mut watch = watch::start(&dir.path().join("tree")).unwrap();
    for (from, to) in [("sub/a.toml", "a.toml"), ("a.toml", "sub/a.toml")] {
        fs::rename(dir.path().join("tree").join(from), dir.path().join("tree").join(to)).unwrap();
        assert!(runtime.block_on(async { timeout(LONG, watch.changed()).await }).is_ok());
    }
}

#[tokio::test]
async fn a_file_is_finished_when_its_writer_closes_it_and_not_while_someone_writes() {
    let mut scene = Scene::new("tree", tree);
    let (ends, root) = (scene.watch.change_tracker(), scene.path("tree"));
    let finished = || {
        // Pending events are awaited, and the sequence number is after them.
        let _ = ends.since(ends.current_seq(), &root);
        ends.since(ends.current_seq(), &root).finished
    };
    let is_open = || ends.since(ends.current_seq(), &root).open.contains("sub/b.toml");
    assert!(finished().is_empty(), "nobody was seen to write");
    scene.wakes("a new file", |dir| fs::write(dir.join("tree/sub/b.toml"), "b").unwrap()).await;
    assert!(finished().contains("sub/b.toml"));
    let before = ends.current_seq();
    let mut writer = OpenOptions::new().append(true).open(scene.path("tree/sub/b.toml")).unwrap();
    writer.write_all(b"b").unwrap();
    assert!(!finished().contains("sub/b.toml") && is_open(), "it is being written");
    drop(writer);
    assert!(ends.since(before, &root).finished.is_empty(), "what was read meanwhile may be half of it");
    assert!(finished().contains("sub/b.toml") && !is_open());
    fs::write(scene.path("c.toml"), "c").unwrap();
    fs::rename(scene.path("c.toml"), scene.path("tree/c.toml")).unwrap();
    assert!(finished().contains("c.toml"), "it was renamed into place");
    fs::remove_file(scene.path("tree/c.toml")).unwrap();
    assert!(!finished().contains("c.toml"));
}

#[tokio::test]
async fn what_was_touched_is_told_and_where_more_may_have_changed_nothing_is() {
    let mut scene = Scene::new("tree", tree);
    let (ends, root) = (scene.watch.change_tracker(), scene.path("tree"));
    let start = ends.current_seq();
    assert!(ends.touched(start, &root).is_some_and(|touched| touched.is_empty()));
    scene.wakes("written", |dir| fs::write(dir.join("tree/sub/a.toml"), "b").unwrap()).await;
    let touched = ends.touched(start, &root).unwrap();
    assert_eq!(touched.into_iter().collect::<Vec<_>>(), [("sub/a.toml".to_owned(), true)]);
    let moment = ends.current_seq();
    scene.stays_quiet("read", |dir| drop(fs::read(dir.join("tree/sub/a.toml")).unwrap())).await;
    assert!(ends.touched(moment, &root).is_some_and(|touched| touched.is_empty()));
    scene.wakes("a folder", |dir| fs::create_dir(dir.join("tree/new")).unwrap()).await;
    assert_eq!(ends.touched(moment, &root), None);
    let moment = ends.current_seq();
    assert!(ends.touched(moment, &root).is_some_and(|touched| touched.is_empty()));
    scene.wakes("in it", |dir| fs::write(dir.join("tree/new/b.toml"), "b").unwrap()).await;
    assert!(ends.touched(moment, &root).unwrap()["new/b.toml"]);
    scene.wakes("gone as a folder", |dir| fs::remove_dir_all(dir.join("tree/new")).unwrap()).await;
    assert_eq!(ends.touched(moment, &root), None);
}

#[tokio::test]
async fn without_a_bell_nothing_is_known_to_be_all_that_was_touched() {
    let dir = tempfile::tempdir().unwrap();
    tree(dir.path());
    let watch = watch::start(&dir.path().join("tree")).unwrap();
    assert_eq!(
        watch.change_tracker().touched(watch.change_tracker().current_seq(), &dir.path().join("tree")),
        None
    );
}
