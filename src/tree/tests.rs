//! Tests on real folders.

use super::*;
use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use tempfile::TempDir;

fn tree(files: &[(&str, &[u8])]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

/// One line per file: `path: text` or `path: ! reason`.
fn shown(root: &Path) -> String {
    shown_of(&read(root).unwrap())
}

fn shown_of(reading: &TreeSnapshot) -> String {
    let line = |file: &TreeFile| match &file.text {
        Some(Ok(text)) => format!("{}: {text}", file.path),
        Some(Err(error)) => format!("{}: ! {error}", file.path),
        None => format!("{}: as it was", file.path),
    };
    reading.files.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_toml_file_is_read_and_hidden_ones_are_not() {
    let folder = tree(&[
        ("wellspring.toml", b"w"),
        ("a/b/c.toml", b"c"),
        ("a.toml", b"a"),
        ("README.md", b""),
        (".hidden.toml", b""),
        (".git/config.toml", b""),
        (".wellspring/state.toml", b""),
    ]);
    assert_eq!(shown(folder.path()), "a.toml: a\na/b/c.toml: c\nwellspring.toml: w");
}

#[test]
fn equal_trees_agree_and_others_do_not() {
    let one = tree(&[("a.toml", b"1"), ("b.toml", b"2")]);
    let same = tree(&[("b.toml", b"2"), ("a.toml", b"1"), ("other.txt", b"")]);
    let digest = |folder: &TempDir| read(folder.path()).unwrap().digest;
    assert_eq!(digest(&one), digest(&same));
    for other in [
        tree(&[("a.toml", b"1"), ("b.toml", b"3")]),
        tree(&[("a.toml", b"1"), ("c.toml", b"2")]),
        tree(&[("a.toml", b"1")]),
        tree(&[("a.toml", b"12"), ("b.toml", b"")]),
        tree(&[]),
    ] {
        assert_ne!(digest(&one), digest(&other));
    }
}

#[test]
fn a_missing_root_or_a_file_in_its_place_is_an_error_and_an_empty_one_is_empty() {
    let folder = tree(&[("file", b"")]);
    assert!(matches!(read(&folder.path().join("none")), Err(TreeError::Unreadable { .. })));
    assert!(matches!(read(&folder.path().join("file")), Err(TreeError::NotAFolder(_))));
    assert_eq!(shown(folder.path()), "");
}

#[test]
fn what_is_no_text_is_listed_with_the_reason() {
    let folder = tree(&[("bad.toml", b"ab\xff"), ("nul.toml", b"a\0"), ("bom.toml", b"\xef\xbb\xbfx")]);
    fs::write(folder.path().join("wide.toml"), b"\xff\xfea\0").unwrap();
    File::create(folder.path().join("huge.toml")).unwrap().set_len(100 << 20).unwrap();
    fs::create_dir(folder.path().join("folder.toml")).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(folder.path().join("socket.toml")).unwrap();
    let pipe = folder.path().join("pipe.toml");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
    assert!(made.success());
    symlink("/dev/zero", folder.path().join("zero.toml")).unwrap();
    assert_eq!(
        shown(folder.path()),
        "bad.toml: ! line 1 is not UTF-8 text; save the file as UTF-8\n\
         bom.toml: x\n\
         huge.toml: ! the file is larger than 4 MiB\n\
         nul.toml: ! line 1 contains a NUL byte; not a text file\n\
         pipe.toml: ! not a regular file: pipes, sockets and devices are not read\n\
         socket.toml: ! not a regular file: pipes, sockets and devices are not read\n\
         wide.toml: ! the file is UTF-16 text; save it as UTF-8\n\
         zero.toml: ! the symlink leads out of the project; only files within it are read"
    );
    drop(socket);
}

#[test]
fn symlinks_are_followed_within_the_tree_only() {
    let outside = tree(&[("secret.toml", b"s"), ("folder/x.toml", b"x")]);
    let folder = tree(&[("real/a.toml", b"a")]);
    let link = |to: &Path, name: &str| symlink(to, folder.path().join(name)).unwrap();
    link(Path::new("real/a.toml"), "inside.toml");
    link(&outside.path().join("secret.toml"), "outside.toml");
    link(&outside.path().join("folder"), "elsewhere");
    link(Path::new("nowhere"), "lost");
    link(Path::new("real"), "linked");
    link(Path::new("."), "loop");
    link(Path::new("self.toml"), "self.toml");
    let found = shown(folder.path());
    let expected = [
        "elsewhere: ! the symlink leads out",
        "inside.toml: a",
        "linked/a.toml: a",
        "lost: ! cannot read the file: No such file",
        "outside.toml: ! the symlink leads out",
        "real/a.toml: a",
        "self.toml: ! cannot read the file: Too many levels",
    ];
    assert_eq!(found.lines().count(), expected.len(), "{found}");
    for (line, start) in found.lines().zip(expected) {
        assert!(line.starts_with(start), "{line}");
    }
}

#[test]
fn a_projected_volume_is_read_through_its_links_before_and_after_a_swap() {
    let folder = tree(&[
        ("..one/a.toml", b"1"),
        ("..one/w/b.toml", b"1"),
        ("..two/a.toml", b"2"),
        ("..two/w/b.toml", b"2"),
    ]);
    let root = folder.path();
    symlink("..one", root.join("..data")).unwrap();
    symlink("..data/a.toml", root.join("a.toml")).unwrap();
    symlink("..data/w", root.join("w")).unwrap();
    assert_eq!(shown(root), "a.toml: 1\nw/b.toml: 1");
    symlink("..two", root.join("..next")).unwrap();
    fs::rename(root.join("..next"), root.join("..data")).unwrap();
    assert_eq!(shown(root), "a.toml: 2\nw/b.toml: 2");
}

#[test]
fn a_root_that_is_a_symlink_keeps_its_configured_name() {
    let folder = tree(&[("one/a.toml", b"1"), ("two/a.toml", b"2")]);
    let root = folder.path().join("current");
    symlink("one", &root).unwrap();
    assert_eq!(shown(&root), "a.toml: 1");
    fs::remove_file(&root).unwrap();
    symlink("two", &root).unwrap();
    assert_eq!(shown(&root), "a.toml: 2");
    assert_eq!(read(&root).unwrap().root, root);
}

#[test]
fn a_folder_that_cannot_be_listed_fails_the_reading_and_a_file_only_itself() {
    let folder = tree(&[("shut/a.toml", b""), ("b.toml", b"")]);
    let shut = folder.path().join("shut");
    let forbid = |path: &Path| fs::set_permissions(path, fs::Permissions::from_mode(0o0)).unwrap();
    forbid(&shut);
    if fs::read_dir(&shut).is_ok() {
        return; // privileged users can read everything, so nothing to test
    }
    assert!(matches!(read(folder.path()), Err(TreeError::Unreadable { path, .. }) if path == shut));
    fs::set_permissions(&shut, fs::Permissions::from_mode(0o755)).unwrap();
    forbid(&folder.path().join("b.toml"));
    assert!(shown(folder.path()).starts_with("b.toml: ! cannot read the file: Permission denied"));
}

#[test]
fn depth_is_bounded_and_reported() {
    let deep = |levels: usize| tree(&[(&format!("{}a.toml", "d/".repeat(levels)), b"")]);
    assert_eq!(read(deep(32).path()).unwrap().files.len(), 1);
    assert!(matches!(read(deep(33).path()), Err(TreeError::TooLarge { .. })));
    let folder = tree(&[("x/a.toml", b""), ("y/a.toml", b"")]);
    symlink("../y", folder.path().join("x/l")).unwrap();
    symlink("../x", folder.path().join("y/l")).unwrap();
    assert!(matches!(read(folder.path()), Err(TreeError::TooLarge { .. })));
}

#[test]
fn a_lock_of_the_checkout_is_seen_from_below_and_through_links() {
    let folder = tree(&[("repo/.git/HEAD", b""), ("repo/deploy/a.toml", b""), ("tree/a.toml", b"")]);
    let at = |name: &str| folder.path().join(name);
    symlink("repo/deploy", at("current")).unwrap();
    fs::write(at("tree/.git"), "gitdir: ../repo/.git/worktrees/tree\n").unwrap();
    fs::create_dir_all(at("repo/.git/worktrees/tree")).unwrap();
    for root in ["repo", "repo/deploy", "current", "tree"] {
        assert!(!read(&at(root)).unwrap().git_locked, "{root}");
    }
    fs::write(at("repo/.git/index.lock"), "").unwrap();
    for root in ["repo", "repo/deploy", "current"] {
        assert!(read(&at(root)).unwrap().git_locked, "{root}");
    }
    assert!(!read(&at("tree")).unwrap().git_locked);
    fs::write(at("repo/.git/worktrees/tree/index.lock"), "").unwrap();
    assert!(read(&at("tree")).unwrap().git_locked);
}

#[test]
fn the_commit_is_read_where_head_leads_and_guessed_nowhere() {
    let (a, b, c) = ("a".repeat(40), "b".repeat(64), "c".repeat(40));
    let folder = tree(&[
        ("repo/.git/HEAD", b"ref: refs/heads/main\n"),
        ("repo/.git/refs/heads/main", format!("{a}\n").as_bytes()),
        ("repo/.git/packed-refs", format!("# pack-refs\n{b} refs/heads/packed\n^{c}\n").as_bytes()),
        ("repo/deploy/a.toml", b""),
        ("repo/.git/worktrees/tree/HEAD", b"ref: refs/heads/packed\n"),
        ("repo/.git/worktrees/tree/commondir", b"../..\n"),
        ("tree/.git", b"gitdir: ../repo/.git/worktrees/tree\n"),
        ("plain/a.toml", b""),
    ]);
    let at = |name: &str| folder.path().join(name);
    symlink("repo/deploy", at("current")).unwrap();
    let commit = |root: &str| Some(read(&at(root)).unwrap().checkout?.commit()?.to_string());
    for root in ["repo", "repo/deploy", "current"] {
        assert_eq!(commit(root), Some(a.clone()), "{root}");
    }
    assert_eq!(commit("tree"), Some(b));
    assert_eq!(commit("plain"), None);
    fs::write(at("repo/.git/HEAD"), format!("{c}\n")).unwrap();
    assert_eq!(commit("repo"), Some(c));
    for head in ["", "ref: refs/heads/none", "ref: refs/../../../secret", "ref: /etc/passwd", "xyz"] {
        fs::write(at("repo/.git/HEAD"), head).unwrap();
        assert_eq!(commit("repo"), None, "{head}");
    }
}

#[test]
fn the_commit_is_that_of_the_files_though_git_says_it_after_it_has_written_them() {
    let (old, new) = ("a".repeat(40), "b".repeat(40));
    let folder = tree(&[
        ("repo/.git/HEAD", b"ref: refs/heads/main\n"),
        ("repo/.git/refs/heads/main", old.as_bytes()),
        ("repo/.git/index", b"of the old one"),
        ("repo/a.toml", b""),
    ]);
    let at = |name: &str| folder.path().join("repo").join(name);
    let write = |name: &str, text: &str, second: u64| {
        fs::write(at("other"), text).unwrap();
        let time = SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(second);
        File::options().write(true).open(at("other")).unwrap().set_modified(time).unwrap();
        fs::rename(at("other"), at(name)).unwrap();
    };
    write(".git/HEAD", "ref: refs/heads/main\n", 1);
    write(".git/index", "of the old one", 2);
    write(".git/refs/heads/main", &old, 2);
    let checkout = || read(&at("")).unwrap().checkout.unwrap();
    let settled = checkout();
    write(".git/index", "of the new one", 5);
    let between = checkout();
    assert_eq!(between.commit().map(|commit| &**commit), Some(&*old));
    assert_eq!(between.resolve_commit().as_deref(), Some(&*old), "nothing else is said so far");
    write(".git/refs/heads/main", &new, 5);
    assert_eq!(between.resolve_commit().as_deref(), Some(&*new));
    assert_eq!(checkout().resolve_commit().as_deref(), Some(&*new));
    assert_eq!(settled.resolve_commit().as_deref(), Some(&*old), "it was said then");
    write(".git/index", "of a third one", 7);
    write(".git/refs/heads/main", &"c".repeat(40), 7);
    assert_eq!(between.resolve_commit().as_deref(), Some(&*old), "what is said now is said of other files");
}

#[test]
fn what_git_is_about_to_say_is_waited_for_and_nothing_else() {
    let folder = tree(&[
        ("repo/.git/HEAD", b"ref: refs/heads/main\n"),
        ("repo/.git/refs/heads/main", "a".repeat(40).as_bytes()),
        ("repo/.git/index", b""),
        ("repo/a.toml", b""),
    ]);
    let at = |name: &str| folder.path().join("repo/.git").join(name);
    let age = |name: &str, seconds: u64| {
        let time = SystemTime::now() - std::time::Duration::from_secs(seconds);
        File::options().write(true).open(at(name)).unwrap().set_modified(time).unwrap();
    };
    let about_to = || read(&folder.path().join("repo")).unwrap().checkout.unwrap().head_is_pending();
    age("HEAD", 100);
    age("refs/heads/main", 100);
    age("index", 0);
    assert!(about_to(), "the index was written just now");
    let between = read(&folder.path().join("repo")).unwrap().checkout.unwrap();
    age("index", 50);
    assert!(!between.head_is_pending(), "another one stands there");
    assert!(!about_to(), "that one is old");
    age("index", 0);
    let between = read(&folder.path().join("repo")).unwrap().checkout.unwrap();
    age("refs/heads/main", 0);
    assert!(!between.head_is_pending(), "it was said");
}

#[test]
fn the_root_is_found_upwards() {
    let folder = tree(&[("wellspring.toml", b""), ("a/b/c.toml", b""), ("a/n/wellspring.toml", b"")]);
    let at = |name: &str| folder.path().join(name);
    assert_eq!(find_root(&at("a/b")), Some(folder.path().to_owned()));
    assert_eq!(find_root(&at("a/n")), Some(at("a/n")));
    assert_eq!(find_root(Path::new("/")), None);
}

#[test]
fn a_file_whose_times_stand_is_not_read_again_and_any_other_is() {
    let folder = tree(&[("a.toml", b"a"), ("b.toml", b"b"), ("wellspring.toml", b"w")]);
    let root = folder.path();
    let later = SystemTime::now() + std::time::Duration::from_secs(60);
    let first = scan_until_stable(root, &StatCache::default(), later).unwrap();
    let again = scan_until_stable(root, &first.stat_cache, later).unwrap();
    assert_eq!(shown_of(&again), "a.toml: as it was\nb.toml: as it was\nwellspring.toml: w");
    assert_eq!(again.digest, first.digest);

    fs::write(root.join("b.toml"), "B").unwrap();
    let again = scan_until_stable(root, &again.stat_cache, later).unwrap();
    assert_eq!(shown_of(&again), "a.toml: as it was\nb.toml: B\nwellspring.toml: w");
    assert_eq!(again.digest, read(root).unwrap().digest);
    // Same size and times, but a different inode.
    let times = fs::metadata(root.join("a.toml")).unwrap().modified().unwrap();
    fs::write(root.join("other"), "A").unwrap();
    File::options().write(true).open(root.join("other")).unwrap().set_modified(times).unwrap();
    fs::rename(root.join("other"), root.join("a.toml")).unwrap();
    assert!(
        shown_of(&scan_until_stable(root, &again.stat_cache, later).unwrap())
            .starts_with("a.toml: A\nb.toml: as it was")
    );
}

#[test]
fn what_was_written_just_now_is_read_again_since_its_times_may_not_move() {
    let folder = tree(&[("a.toml", b"a")]);
    let written = fs::metadata(folder.path().join("a.toml")).unwrap().modified().unwrap();
    for now in [written, written - std::time::Duration::from_secs(3600)] {
        let first = scan_until_stable(folder.path(), &StatCache::default(), now).unwrap();
        assert_eq!(shown_of(&scan_until_stable(folder.path(), &first.stat_cache, now).unwrap()), "a.toml: a");
    }
}

#[test]
fn a_text_that_is_needed_after_all_must_be_the_one_that_was_seen() {
    let folder = tree(&[("a.toml", b"a"), ("b.toml", b"b")]);
    let later = SystemTime::now() + std::time::Duration::from_secs(60);
    let first = scan_until_stable(folder.path(), &StatCache::default(), later).unwrap();
    let mut again = scan_until_stable(folder.path(), &first.stat_cache, later).unwrap();
    assert!(again.load(&["a.toml".into()]));
    assert_eq!(shown_of(&again), "a.toml: a\nb.toml: as it was");
    fs::write(folder.path().join("b.toml"), "B").unwrap();
    assert!(!again.load(&["b.toml".into()]), "it is another by now");
    assert!(!again.load(&["c.toml".into()]));
}

#[test]
fn a_tree_that_is_written_meanwhile_is_read_whole_or_not_at_all() {
    // Two files with always equal content, behind a symlink that is swapped constantly.
    let folder = tree(&[("0/a.toml", b"0"), ("0/b.toml", b"0")]);
    let base = folder.path().to_owned();
    let current = folder.path().join("current");
    symlink("0", &current).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut turn = 0_u64;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                turn += 1;
                let next = base.join(turn.to_string());
                fs::create_dir(&next).unwrap();
                fs::write(next.join("a.toml"), turn.to_string()).unwrap();
                fs::write(next.join("b.toml"), turn.to_string()).unwrap();
                symlink(turn.to_string(), base.join("next")).unwrap();
                fs::rename(base.join("next"), &current).unwrap();
                fs::remove_dir_all(base.join((turn - 1).to_string())).unwrap();
            }
        });
        for _ in 0..200 {
            if let Ok(reading) = read(&current) {
                let texts: Vec<_> =
                    reading.files.iter().map(|file| file.text.clone().unwrap().unwrap()).collect();
                assert_eq!(texts.len(), 2);
                assert_eq!(texts[0], texts[1]);
            }
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

fn touched(files: &[(&str, bool)]) -> BTreeMap<String, bool> {
    files.iter().map(|(name, finished)| ((*name).to_owned(), *finished)).collect()
}

#[test]
fn a_look_at_what_was_touched_finds_what_a_look_at_everything_does() {
    let folder = tree(&[("a.toml", b"a"), ("b.toml", b"b"), ("sub/c.toml", b"c"), ("wellspring.toml", b"w")]);
    let root = folder.path();
    let later = SystemTime::now() + std::time::Duration::from_secs(60);
    let before = scan_until_stable(root, &StatCache::default(), later).unwrap().without_texts();
    assert_eq!(before.digest, read(root).unwrap().digest);
    fs::write(root.join("b.toml"), "B").unwrap();
    fs::write(root.join("sub/new.toml"), "new").unwrap();
    fs::write(root.join("sub/notes"), "").unwrap();
    let now =
        touched(&[("b.toml", true), ("sub/new.toml", true), ("sub/notes", false), ("gone.toml", false)]);
    let reading = rescan_paths(&before, &now).unwrap();
    assert_eq!(
        shown_of(&reading),
        "a.toml: as it was\nb.toml: B\nsub/c.toml: as it was\nsub/new.toml: new\nwellspring.toml: as it was"
    );
    assert_eq!(reading.digest, read(root).unwrap().digest);
    // A file read within the last second is read again: a write may leave its times unchanged.
    let again = scan_until_stable(root, &reading.stat_cache, later).unwrap();
    assert!(shown_of(&again).starts_with("a.toml: as it was\nb.toml: B\n"), "{}", shown_of(&again));
    fs::write(root.join(".git"), "gitdir: git\n").unwrap();
    fs::create_dir(root.join("git")).unwrap();
    fs::write(root.join("git/index.lock"), "").unwrap();
    assert!(rescan_paths(&before, &now).unwrap().git_locked);
}

#[test]
fn a_look_at_what_was_touched_gives_up_where_that_does_not_tell_everything() {
    let folder = tree(&[("a.toml", b"a"), ("sub/c.toml", b"c"), ("wellspring.toml", b"w")]);
    let root = folder.path();
    let before = read(root).unwrap();
    let gives_up = |name, finished| rescan_paths(&before, &touched(&[(name, finished)])).is_none();
    assert!(!gives_up("a.toml", true));
    assert!(gives_up("a.toml", false), "it is being written");
    assert!(gives_up("wellspring.toml", true), "it speaks for every file");
    fs::create_dir(root.join("folder")).unwrap();
    assert!(gives_up("folder", false));
    symlink("a.toml", root.join("link.toml")).unwrap();
    assert!(gives_up("link.toml", true));
    fs::remove_file(root.join("link.toml")).unwrap();
    fs::remove_file(root.join("a.toml")).unwrap();
    assert!(gives_up("a.toml", false), "it is gone");
    assert!(gives_up("a.toml", true));
    fs::remove_dir_all(root.join("sub")).unwrap();
    assert!(gives_up("sub", false), "with all that lay in it");
    symlink("sub/c.toml", root.join("link.toml")).unwrap();
    fs::create_dir(root.join("sub")).unwrap();
    fs::write(root.join("sub/c.toml"), "c").unwrap();
    let with_link = read(root).unwrap();
    assert!(
        rescan_paths(&with_link, &touched(&[("sub/c.toml", true)])).is_none(),
        "the link leads there, too"
    );
}

#[test]
fn a_root_that_leads_elsewhere_by_now_is_looked_at_whole() {
    let folder = tree(&[("one/a.toml", b"1"), ("two/a.toml", b"2")]);
    let root = folder.path().join("current");
    symlink("one", &root).unwrap();
    let before = read(&root).unwrap();
    assert!(rescan_paths(&before, &touched(&[("a.toml", true)])).is_some());
    fs::remove_file(&root).unwrap();
    symlink("two", &root).unwrap();
    assert!(rescan_paths(&before, &touched(&[("a.toml", true)])).is_none());
}
