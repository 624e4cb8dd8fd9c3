//! Which commit is checked out, read from Git's own files: no program is run.

use super::linked_checkout;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Longer files than these are not read: `HEAD` and a ref hold one line, `packed-refs` one for each ref.
const LONGEST_LINE: u64 = 4096;
const LONGEST_REFS: u64 = 16 << 20;

/// What was checked out when the files were read. Git writes the files, then its index, and only then says
/// which commit they are of: what is read in between is known by its commit a moment later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    commit: Option<Arc<str>>,
    unsaid: Option<Unsaid>,
}

/// The index is younger than what says which commit it is of.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unsaid {
    root: PathBuf,
    index: Index,
}

/// Git writes each index as a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Index {
    number: u64,
    written: SystemTime,
}

impl Checkout {
    /// What is checked out now, where `root` is.
    pub(super) fn at(root: &Path) -> Option<Self> {
        let git = git(root)?;
        // In this order: what is said meanwhile counts as unsaid.
        let said = last_said(&git);
        let index = Index::of(&git);
        let commit = head(&git).map(Arc::from);
        let unsaid = index.filter(|index| said.is_none_or(|said| said < index.written));
        let unsaid = unsaid.map(|index| Unsaid { root: root.to_owned(), index });
        (commit.is_some() || unsaid.is_some()).then_some(Self { commit, unsaid })
    }

    /// The commit, in hexadecimal, as it was known when the files were read.
    #[must_use]
    pub fn commit(&self) -> Option<&Arc<str>> {
        self.commit.as_ref()
    }

    /// The same, as far as it is known by now.
    #[must_use]
    pub fn commit_by_now(&self) -> Option<Arc<str>> {
        self.unsaid.as_ref().and_then(Unsaid::said).or_else(|| self.commit.clone())
    }

    /// Has the index been written just now, and nothing been said of it yet?
    #[must_use]
    pub fn is_about_to_be_said(&self) -> bool {
        /// Git says it within milliseconds. An index that stays unsaid was written for another reason.
        const AT_ONCE: Duration = Duration::from_secs(1);
        let just_now = |unsaid: &Unsaid| unsaid.index.written.elapsed().is_ok_and(|ago| ago < AT_ONCE);
        self.unsaid.as_ref().is_some_and(|unsaid| just_now(unsaid) && !unsaid.is_over())
    }
}

impl Unsaid {
    /// It was said, or another index stands there.
    fn is_over(&self) -> bool {
        git(&self.root).is_none_or(|git| {
            Index::of(&git).as_ref() != Some(&self.index)
                || last_said(&git).is_some_and(|said| said >= self.index.written)
        })
    }

    /// What is said now, where it is still said of this index.
    fn said(&self) -> Option<Arc<str>> {
        let git = git(&self.root)?;
        let commit = head(&git)?;
        (Index::of(&git).as_ref() == Some(&self.index)).then(|| commit.into())
    }
}

impl Index {
    fn of(git: &Path) -> Option<Self> {
        let index = git.join("index").metadata().ok()?;
        Some(Self { number: index.ino(), written: index.modified().ok()? })
    }
}

/// When it was last said which commit is checked out.
fn last_said(git: &Path) -> Option<SystemTime> {
    let written = |path: PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let branch = branch(git).map(|(shared, name)| shared.join(name));
    let places = [git.join("HEAD"), git.join("logs/HEAD")].into_iter().chain(branch);
    places.filter_map(written).max()
}

/// Returns true if the repository stores its branches as reftable: that format is not read, so commits are unknown.
#[must_use]
pub fn uses_reftable(root: &Path) -> bool {
    git(root).is_some_and(|git| {
        let shared = text(&git.join("commondir"), LONGEST_LINE).map(|common| git.join(common.trim()));
        shared.unwrap_or(git).join("reftable").is_dir()
    })
}

/// Where Git keeps what it knows of the checkout that holds `root`.
fn git(root: &Path) -> Option<PathBuf> {
    // Where a symlink leads comes first: it is swapped from checkout to checkout.
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    real.ancestors().chain(root.ancestors()).find_map(git_of)
}

/// The same of a checkout that begins at this folder.
pub(super) fn git_of(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    if git.is_dir() { Some(git) } else { linked_checkout(&git) }
}

/// The commit that `HEAD` leads to, in hexadecimal. `None` where it cannot be told.
fn head(git: &Path) -> Option<String> {
    let head = text(&git.join("HEAD"), LONGEST_LINE)?;
    if !head.trim().starts_with("ref:") {
        return commit(&head);
    }
    let (shared, name) = branch(git)?;
    loose(git, &name).or_else(|| loose(&shared, &name)).or_else(|| packed(&shared, &name))
}

/// The branch that `HEAD` names, and where it is kept: a linked checkout shares its branches with the others.
fn branch(git: &Path) -> Option<(PathBuf, String)> {
    let head = text(&git.join("HEAD"), LONGEST_LINE)?;
    let name = head.trim().strip_prefix("ref:")?.trim();
    if !name.starts_with("refs/") || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    let shared = text(&git.join("commondir"), LONGEST_LINE).map(|common| git.join(common.trim()));
    Some((shared.unwrap_or_else(|| git.to_owned()), name.to_owned()))
}

fn loose(git: &Path, name: &str) -> Option<String> {
    commit(&text(&git.join(name), LONGEST_LINE)?)
}

fn packed(git: &Path, name: &str) -> Option<String> {
    let refs = text(&git.join("packed-refs"), LONGEST_REFS)?;
    refs.lines().find_map(|line| commit(line.strip_suffix(name)?.strip_suffix(' ')?))
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_one = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    is_one.then(|| text.to_ascii_lowercase())
}

fn text(path: &Path, longest: u64) -> Option<String> {
    String::from_utf8(bytes(path, longest)?).ok()
}

/// What stands in a file, unless it is longer.
pub(super) fn bytes(path: &Path, longest: u64) -> Option<Vec<u8>> {
    if !path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= longest) {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(longest).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
