//! Tests of `wellspring-checkout`, interrupted at every command.

use super::{host, packaged, said};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// Commands of the script; each is a point at which it may be interrupted.
const COMMANDS: [&str; 9] = ["basename", "flock", "git", "ln", "mkdir", "mv", "readlink", "rm", "sync"];

/// A repository, and a directory to check it out into.
struct Scene {
    dir: TempDir,
}

impl Scene {
    fn new() -> Self {
        let scene = Self { dir: tempfile::tempdir().unwrap() };
        fs::create_dir(scene.state()).unwrap();
        fs::create_dir(scene.repository()).unwrap();
        scene.git(&["init", "--quiet", "--initial-branch=main"]);
        scene
    }

    fn state(&self) -> PathBuf {
        self.dir.path().join("state")
    }

    fn repository(&self) -> PathBuf {
        self.dir.path().join("repository")
    }

    #[track_caller]
    fn git(&self, args: &[&str]) -> String {
        let name =
            ["-c", "user.name=Tests", "-c", "user.email=tests@example.com", "-c", "commit.gpgsign=false"];
        let mut git = Command::new("git");
        git.args(name).args(args).current_dir(self.repository());
        let done = host(git.env("GIT_CONFIG_GLOBAL", "/dev/null"));
        assert!(done.status.success(), "{}", said(&done));
        String::from_utf8(done.stdout).unwrap().trim().to_owned()
    }

    /// Commits exactly these files and returns the commit's id.
    fn commit(&self, files: &[(&str, &str)]) -> String {
        if !self.git(&["ls-files"]).is_empty() {
            self.git(&["rm", "-r", "--quiet", "."]);
        }
        for (path, text) in files {
            let path = self.repository().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        self.git(&["add", "."]);
        self.git(&["commit", "--quiet", "--message=files"]);
        self.git(&["rev-parse", "HEAD"])
    }

    fn checkout(&self) -> Command {
        let mut checkout = Command::new(packaged("systemd/checkout"));
        checkout
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("HOME", self.state())
            .env("REPOSITORY", format!("file://{}", self.repository().display()))
            .env("STATE_DIRECTORY", self.state());
        checkout
    }

    /// Returns the checked-out files and their contents.
    ///
    /// `None` if there is no checkout.
    fn current(&self) -> Option<BTreeMap<String, String>> {
        let current = self.state().join("current");
        current.exists().then(|| files_below(&current, &current))
    }
}

fn files_below(root: &Path, folder: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.ends_with(".git") {
            files.extend(files_below(root, &path));
        } else if path.is_file() {
            let name = path.strip_prefix(root).unwrap().display().to_string();
            files.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    files
}

fn as_files(files: &[(&str, &str)]) -> Option<BTreeMap<String, String>> {
    Some(files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect())
}

#[track_caller]
fn succeeds(output: &Output) -> String {
    assert!(output.status.success(), "{}", said(output));
    said(output)
}

const OLD: [(&str, &str); 2] = [("wellspring.toml", "# old\n"), ("workspaces/a.toml", "# old\n")];
const NEW: [(&str, &str); 2] = [("wellspring.toml", "# new\n"), ("workspaces/b.toml", "# new\n")];

#[test]
fn the_branch_is_checked_out_and_followed_and_what_is_there_is_left_alone() {
    let scene = Scene::new();
    let old = scene.commit(&OLD);
    assert_eq!(succeeds(&host(&mut scene.checkout())), format!("checked out {old}\n"));
    assert_eq!(scene.current(), as_files(&OLD));
    assert_eq!(succeeds(&host(&mut scene.checkout())), "");
    let new = scene.commit(&NEW);
    assert_eq!(succeeds(&host(&mut scene.checkout())), format!("checked out {new}\n"));
    assert_eq!(scene.current(), as_files(&NEW));
    // Checking out the old commit again must find its files.
    scene.git(&["reset", "--quiet", "--hard", &old]);
    assert_eq!(succeeds(&host(&mut scene.checkout())), format!("checked out {old}\n"));
    assert_eq!(scene.current(), as_files(&OLD));
}

#[test]
fn two_checkouts_are_kept_and_no_more() {
    let scene = Scene::new();
    let mut commits = Vec::new();
    for n in 0..4 {
        commits.push(scene.commit(&[("wellspring.toml", &format!("# {n}\n"))]));
        succeeds(&host(&mut scene.checkout()));
    }
    let kept = fs::read_dir(scene.state().join("checkouts")).unwrap();
    let mut kept: Vec<String> = kept.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    kept.sort();
    let mut wanted = commits.split_off(2);
    wanted.sort();
    assert_eq!(kept, wanted);
}

#[test]
fn a_repository_out_of_reach_changes_nothing_and_says_so() {
    let scene = Scene::new();
    let old = scene.commit(&OLD);
    succeeds(&host(&mut scene.checkout()));
    let away = scene.dir.path().join("away");
    fs::rename(scene.repository(), &away).unwrap();
    let failed = host(&mut scene.checkout());
    assert!(!failed.status.success());
    assert!(said(&failed).contains(&format!("{old} stays checked out")), "{}", said(&failed));
    fs::rename(&away, scene.repository()).unwrap();
    let failed = host(scene.checkout().env("BRANCH", "nowhere"));
    assert!(!failed.status.success() && said(&failed).contains("nowhere"), "{}", said(&failed));
    assert_eq!(scene.current(), as_files(&OLD));
}

#[test]
fn a_password_is_read_from_its_credential_and_nowhere_else() {
    let scene = Scene::new();
    fs::write(scene.state().join("git-token"), "p4ss").unwrap();
    let ask = |prompt: &str| {
        succeeds(&host(scene.checkout().arg(prompt).env("CREDENTIALS_DIRECTORY", scene.state())))
    };
    assert_eq!(ask("Username for 'https://git.example.com': "), "x-access-token\n");
    assert_eq!(ask("Password for 'https://x-access-token@git.example.com': "), "p4ss");
}

/// The point of a command at which the run is interrupted.
#[derive(Debug, Clone, Copy)]
enum Cut {
    Before,
    After,
    /// In the middle: a file is missing from the checkout, and Git's lock exists.
    Halfway,
}

/// Creates a folder of fake commands, the `nth` of which interrupts the script.
fn cutting(scene: &Scene, nth: usize, cut: Cut) -> PathBuf {
    let folder = scene.dir.path().join("cutting");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir(&folder).unwrap();
    let half = "rm -f checkouts/new/wellspring.toml; [ ! -d checkouts/new/.git ] || touch checkouts/new/.git/index.lock";
    let (before, after) = match cut {
        Cut::Before => ("kill -KILL $PPID $$", ""),
        Cut::After => ("", "kill -KILL $PPID $$"),
        Cut::Halfway => ("", &*format!("{half}; kill -KILL $PPID $$")),
    };
    for command in COMMANDS {
        // The script runs its commands one after the other, also in subshells: the fake kills its parent, and
        // the script ends because of `set -e` or at its own next command.
        let text = format!(
            "#!/bin/sh\nPATH=/usr/bin:/bin\ncount=$(($(cat {0}/count) + 1))\necho $count >{0}/count\n\
             if [ $count -lt {nth} ]; then exec {command} \"$@\"; fi\n{before}\n{command} \"$@\"\n{after}\n",
            folder.display()
        );
        let path = folder.join(command);
        fs::write(&path, text).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    fs::write(folder.join("count"), "0\n").unwrap();
    folder
}

#[test]
fn cut_off_at_any_point_the_old_or_the_new_is_checked_out_and_the_next_run_goes_on() {
    let mut seen = [0, 0];
    for cut in [Cut::Before, Cut::After, Cut::Halfway] {
        for nth in 1.. {
            let scene = Scene::new();
            scene.commit(&OLD);
            succeeds(&host(&mut scene.checkout()));
            scene.commit(&NEW);
            let folder = cutting(&scene, nth, cut);
            let cut_off = host(scene.checkout().env("PATH", format!("{}:/usr/bin:/bin", folder.display())));
            if cut_off.status.success() {
                assert!(nth > 8, "only {nth} commands were run: {}", said(&cut_off));
                break;
            }
            let current = scene.current();
            assert!(current == as_files(&OLD) || current == as_files(&NEW), "{cut:?} at {nth}: {current:#?}");
            seen[usize::from(current == as_files(&NEW))] += 1;
            succeeds(&host(&mut scene.checkout()));
            assert_eq!(scene.current(), as_files(&NEW), "{cut:?} at {nth}");
        }
    }
    assert!(seen.iter().all(|count| *count > 0), "{seen:?}");
}
