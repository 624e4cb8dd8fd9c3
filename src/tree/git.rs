//! Runs Git for questions about a repository, so that the repository cannot make it run anything.

use std::collections::BTreeSet;
use std::io::{Read as _, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// Maximum wait for Git, because the journal entry of a write waits for its response.
const GIT_TIMEOUT: Duration = Duration::from_secs(2);

/// Returns the commit of `HEAD`, for every format of the branches.
pub(super) fn head(git: &Path) -> Option<String> {
    let answer = ask(git, &["rev-parse", "--verify", "--quiet", "HEAD^{commit}"], String::new())?;
    String::from_utf8(answer).ok()
}

/// Returns the paths whose contents in `commit` have another `hash` than expected, or no contents if some are.
///
/// Paths begin at the top of the checkout. `None` if Git cannot answer.
pub(super) fn differing<'p>(
    git: &Path,
    commit: &str,
    expected: &'p [(String, Option<[u8; 32]>)],
    hash: impl Fn(&[u8]) -> [u8; 32],
) -> Option<BTreeSet<&'p str>> {
    let askable = || expected.iter().filter(|(path, _)| !path.contains('\n'));
    // The commit itself comes first: in a repository that lacks it, every file would seem to be missing.
    let mut questions = format!("{commit}^{{tree}}\n");
    askable().for_each(|(path, _)| questions.extend([commit, ":", path.as_str(), "\n"]));
    let answer = ask(git, &["cat-file", "--batch", "--follow-symlinks"], questions)?;
    let mut answers = Answers(&answer);
    answers.next()??;
    let mut differing = BTreeSet::new();
    for (path, digest) in askable() {
        if answers.next()?.map(&hash) != *digest {
            differing.insert(path.as_str());
        }
    }
    Some(differing)
}

/// Returns the paths of the files below `folder` in `commit`.
pub(super) fn paths(git: &Path, commit: &str, folder: &str) -> Option<Vec<String>> {
    let tree = format!("{commit}:{folder}");
    let answer = ask(git, &["ls-tree", "-r", "-z", "--name-only", &tree], String::new())?;
    let answer = String::from_utf8(answer).ok()?;
    Some(answer.split_terminator('\0').map(str::to_owned).collect())
}

/// Answers of `cat-file --batch`: the contents of each object, or `None` if there is no such object.
struct Answers<'a>(&'a [u8]);

impl<'a> Iterator for Answers<'a> {
    type Item = Option<&'a [u8]>;

    fn next(&mut self) -> Option<Self::Item> {
        let end = self.0.iter().position(|byte| *byte == b'\n')?;
        let head = std::str::from_utf8(&self.0[..end]).ok()?;
        let (kind, last) = head.rsplit_once(' ')?;
        self.0 = &self.0[end + 1..];
        if matches!(last, "missing" | "ambiguous") {
            return Some(None);
        }
        let length: usize = last.parse().ok()?;
        let contents = self.0.get(..length)?;
        self.0 = self.0.get(length + 1..)?;
        // Links that lead nowhere, out of the commit or in a circle have a line of their own.
        let is_object = !matches!(kind, "symlink" | "dangling" | "loop" | "notdir");
        Some(is_object.then_some(contents))
    }
}

/// Runs a read-only command of Git and returns its output.
///
/// The repository is named explicitly, so that its owner does not matter. Nothing is fetched, and no variable of
/// this process, such as the token, is passed on.
fn ask(git: &Path, command: &[&str], questions: String) -> Option<Vec<u8>> {
    let mut child = Command::new("git")
        .args(command)
        .env_clear()
        .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
        .current_dir(git)
        .env("GIT_DIR", git)
        .envs([("GIT_CONFIG_NOSYSTEM", "1"), ("GIT_NO_LAZY_FETCH", "1"), ("GIT_ALLOW_PROTOCOL", "none")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .ok()?;
    let (mut stdin, mut stdout) = (child.stdin.take()?, child.stdout.take()?);
    let (answered, answer) = mpsc::channel();
    thread::spawn(move || stdin.write_all(questions.as_bytes()));
    thread::spawn(move || {
        let mut text = Vec::new();
        let read = stdout.read_to_end(&mut text);
        answered.send(read.map(|_| text))
    });
    let answer = answer.recv_timeout(GIT_TIMEOUT).ok();
    if answer.is_none() {
        child.kill().ok()?;
    }
    let ended = child.wait().ok()?;
    if ended.success() { answer?.ok() } else { None }
}
