//! Reads the current commit from Git's own files, without running Git.

use super::linked_checkout;
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// Maximum sizes in bytes of files that are read.
///
/// `HEAD` and a ref hold one line, `packed-refs` one line for each ref.
const LONGEST_LINE: u64 = 4096;
const LONGEST_REFS: u64 = 16 << 20;

/// Git checkout at the time the files were read.
///
/// Git writes the files, then its index, and updates HEAD last. The commit of files read in between
/// is known a moment later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    commit: Option<Arc<str>>,
    unsaid: Option<Unsaid>,
}

/// The index is newer than HEAD and the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Unsaid {
    root: PathBuf,
    index: Index,
}

/// Identity of an index; Git writes each index as a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Index {
    number: u64,
    written: SystemTime,
}

impl Checkout {
    /// Returns the current checkout that contains `root`.
    pub(super) fn at(root: &Path) -> Option<Self> {
        let git = git(root)?;
        // In this order, so that a concurrent update counts as pending.
        let said = last_said(&git);
        let index = Index::of(&git);
        let commit = head(&git).map(Arc::from);
        let unsaid = index.filter(|index| said.is_none_or(|said| said < index.written));
        let unsaid = unsaid.map(|index| Unsaid { root: root.to_owned(), index });
        (commit.is_some() || unsaid.is_some()).then_some(Self { commit, unsaid })
    }

    /// Returns the commit known when the files were read, in hexadecimal.
    #[must_use]
    pub fn commit(&self) -> Option<&Arc<str>> {
        self.commit.as_ref()
    }

    /// Returns the commit known by now.
    #[must_use]
    pub fn commit_by_now(&self) -> Option<Arc<str>> {
        self.unsaid.as_ref().and_then(Unsaid::said).or_else(|| self.commit.clone())
    }

    /// Returns true if the index was just written and HEAD is not updated yet.
    #[must_use]
    pub fn is_about_to_be_said(&self) -> bool {
        /// Time in which Git updates HEAD after the index, normally milliseconds.
        ///
        /// An older index was written for another reason.
        const AT_ONCE: Duration = Duration::from_secs(1);
        let just_now = |unsaid: &Unsaid| unsaid.index.written.elapsed().is_ok_and(|ago| ago < AT_ONCE);
        self.unsaid.as_ref().is_some_and(|unsaid| just_now(unsaid) && !unsaid.is_over())
    }
}

impl Unsaid {
    /// Returns true if HEAD was updated, or the index was replaced.
    fn is_over(&self) -> bool {
        git(&self.root).is_none_or(|git| {
            Index::of(&git).as_ref() != Some(&self.index)
                || last_said(&git).is_some_and(|said| said >= self.index.written)
        })
    }

    /// Returns the current commit if the index is unchanged.
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

/// Returns the time of the last update of HEAD or its branch.
fn last_said(git: &Path) -> Option<SystemTime> {
    let written = |path: PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let branch = branch(git).map(|(shared, name)| shared.join(name));
    let places = [git.join("HEAD"), git.join("logs/HEAD")].into_iter().chain(branch);
    places.filter_map(written).max()
}

/// Returns true if the repository stores its branches as reftable.
///
/// That format is not supported, so its commits are unknown.
#[must_use]
pub fn uses_reftable(root: &Path) -> bool {
    git(root).is_some_and(|git| {
        let shared = text(&git.join("commondir"), LONGEST_LINE).map(|common| git.join(common.trim()));
        shared.unwrap_or(git).join("reftable").is_dir()
    })
}

/// Returns the Git directory of the checkout that contains `root`.
fn git(root: &Path) -> Option<PathBuf> {
    // The symlink's target comes first, because it changes from checkout to checkout.
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    real.ancestors().chain(root.ancestors()).find_map(git_of)
}

/// Returns the Git directory of a checkout whose top is this folder.
pub(super) fn git_of(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    if git.is_dir() { Some(git) } else { linked_checkout(&git) }
}

/// Returns the commit of `HEAD` in hexadecimal; `None` if it is unknown.
fn head(git: &Path) -> Option<String> {
    let head = text(&git.join("HEAD"), LONGEST_LINE)?;
    if !head.trim().starts_with("ref:") {
        return commit(&head);
    }
    let (shared, name) = branch(git)?;
    loose(git, &name).or_else(|| loose(&shared, &name)).or_else(|| packed(&shared, &name))
}

/// Returns the branch of `HEAD` and the directory that stores it.
///
/// Linked checkouts share their branches.
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

/// Reads a file, unless it exceeds `longest` bytes.
pub(super) fn bytes(path: &Path, longest: u64) -> Option<Vec<u8>> {
    if !path.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= longest) {
        return None;
    }
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(longest).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}
