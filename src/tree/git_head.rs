//! Reads the current commit from Git's own files, and asks Git whether it holds the files that were read.

use super::{TreeFile, git, linked_checkout, scan};
use crate::mutex::lock;
use crate::report::humanize::DIRTY_SUFFIX;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

/// Maximum sizes in bytes of files that are read.
///
/// `HEAD` and a ref hold one line, `packed-refs` one line for each ref.
const MAX_REF_BYTES: u64 = 4096;
const MAX_PACKED_REFS_BYTES: u64 = 16 << 20;

/// Git checkout at the time the files were read.
///
/// Git writes the files, then its index, and updates HEAD last. The commit of files read in between
/// is known a moment later.
#[derive(Debug)]
pub struct Checkout {
    root: PathBuf,
    commit: Option<Arc<str>>,
    pending: Option<PendingHead>,
    /// Sorted by path, each with the digest of its text.
    files: Vec<(Arc<str>, [u8; 32])>,
    /// Files that are to be compared with the commit.
    wanted: Mutex<BTreeSet<Arc<str>>>,
    compared: Mutex<Compared>,
}

/// Files by whether the commit lacks them as they were read.
#[derive(Debug, Default)]
struct Compared {
    commit: Option<Arc<str>>,
    differs: BTreeMap<Arc<str>, bool>,
}

/// A commit, and the files that differ from it: changed, staged or untracked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Described {
    commit: Arc<str>,
    dirty: Arc<str>,
    differing: BTreeSet<Arc<str>>,
}

impl Described {
    /// Returns the commit of these files; ends in `-dirty` if one of them differs from it.
    pub fn of<'f>(&self, files: impl IntoIterator<Item = &'f Arc<str>>) -> &Arc<str> {
        let is_dirty = files.into_iter().any(|file| self.differing.contains(file));
        if is_dirty { &self.dirty } else { &self.commit }
    }
}

/// Equal where the same commit is checked out, of the same files.
impl PartialEq for Checkout {
    fn eq(&self, other: &Self) -> bool {
        self.commit == other.commit && self.pending == other.pending && self.files == other.files
    }
}

/// The index is newer than HEAD and the branch.
#[derive(Debug, Clone, PartialEq, Eq)]
struct PendingHead {
    root: PathBuf,
    index: IndexVersion,
}

/// Identity of an index; Git writes each index as a new file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IndexVersion {
    number: u64,
    written: SystemTime,
}

impl Checkout {
    /// Returns the current checkout that contains `root`.
    pub(super) fn at(root: &Path, files: &[TreeFile]) -> Option<Self> {
        let git = git_dir(root)?;
        // In this order, so that a concurrent update counts as pending.
        let said = head_mtime(&git);
        let index = IndexVersion::of(&git);
        let commit = head(&git).map(Arc::from);
        let unsaid = index.filter(|index| said.is_none_or(|said| said < index.written));
        let unsaid = unsaid.map(|index| PendingHead { root: root.to_owned(), index });
        if commit.is_none() && unsaid.is_none() {
            return None;
        }
        Some(Self {
            root: root.to_owned(),
            commit,
            pending: unsaid,
            files: files.iter().map(|file| (Arc::clone(&file.path), file.digest)).collect(),
            wanted: Mutex::default(),
            compared: Mutex::default(),
        })
    }

    /// Returns the commit known when the files were read, in hexadecimal.
    pub fn commit(&self) -> Option<&Arc<str>> {
        self.commit.as_ref()
    }

    /// Returns the commit known by now.
    pub fn resolve_commit(&self) -> Option<Arc<str>> {
        self.pending.as_ref().and_then(PendingHead::current_commit).or_else(|| self.commit.clone())
    }

    /// Returns the commit known by now, with those of `files` that it does not hold as they were read.
    ///
    /// `None` compares all files. Concurrent calls share one call of Git. Without the program, or if it cannot
    /// answer, no file counts as differing.
    pub fn described(&self, files: Option<BTreeSet<Arc<str>>>) -> Option<Described> {
        let commit = self.resolve_commit()?;
        let files = files.unwrap_or_else(|| self.files.iter().map(|(path, _)| Arc::clone(path)).collect());
        lock(&self.wanted).extend(files.iter().cloned());
        let mut compared = lock(&self.compared);
        if compared.commit.as_ref() != Some(&commit) {
            *compared = Compared { commit: Some(Arc::clone(&commit)), ..Compared::default() };
        }
        let wanted = std::mem::take(&mut *lock(&self.wanted));
        let missing = wanted.iter().chain(&files).filter(|file| !compared.differs.contains_key(*file));
        let missing: BTreeSet<_> = missing.cloned().collect();
        if !missing.is_empty() {
            compared.differs.extend(self.compare(&commit, &missing));
        }
        let differing = files.into_iter().filter(|file| compared.differs.get(file) == Some(&true)).collect();
        Some(Described { dirty: format!("{commit}{DIRTY_SUFFIX}").into(), commit, differing })
    }

    /// Returns the commit known by now; ends in `-dirty` if a file differs from it, or a TOML file of it is gone.
    pub fn describe_directory(&self) -> Option<Arc<str>> {
        let described = self.described(None)?;
        let is_gone = || self.lacks_file_of(&described.commit).unwrap_or(false);
        let is_dirty = !described.differing.is_empty() || is_gone();
        Some(if is_dirty { described.dirty } else { described.commit })
    }

    /// Returns true if the commit has a TOML file that the directory lacks.
    fn lacks_file_of(&self, commit: &str) -> Option<bool> {
        let (git, inside) = located(&self.root)?;
        let is_read = |path: &str| self.files.binary_search_by(|(file, _)| (**file).cmp(path)).is_ok();
        let paths = git::paths(&git, commit, &inside)?;
        let mut unread = paths.iter().filter(|path| path.ends_with(".toml") && !is_read(path));
        Some(unread.any(|path| self.root.join(path).symlink_metadata().is_err()))
    }

    /// Compares files with those of the commit; a file that is gone must be missing there too.
    fn compare(&self, commit: &str, files: &BTreeSet<Arc<str>>) -> BTreeMap<Arc<str>, bool> {
        let digest = |file: &Arc<str>| {
            let at = self.files.binary_search_by(|(path, _)| path.cmp(file)).ok()?;
            Some(self.files[at].1)
        };
        let found = located(&self.root);
        let inside = |file: &Arc<str>| match &found {
            Some((_, inside)) if !inside.is_empty() => format!("{inside}/{file}"),
            _ => file.to_string(),
        };
        let expected: Vec<_> = files.iter().map(|file| (inside(file), digest(file))).collect();
        let differing =
            found.as_ref().and_then(|(git, _)| git::differing(git, commit, &expected, scan::digest_of_file));
        let differing = differing.unwrap_or_default();
        let answers = expected.iter().map(|(path, _)| differing.contains(path.as_str()));
        files.iter().cloned().zip(answers).collect()
    }

    /// Returns true if the index was just written and HEAD is not updated yet.
    pub fn head_is_pending(&self) -> bool {
        /// Time in which Git updates HEAD after the index, normally milliseconds.
        ///
        /// An older index was written for another reason.
        const HEAD_UPDATE_WINDOW: Duration = Duration::from_secs(1);
        let just_now =
            |unsaid: &PendingHead| unsaid.index.written.elapsed().is_ok_and(|ago| ago < HEAD_UPDATE_WINDOW);
        self.pending.as_ref().is_some_and(|unsaid| just_now(unsaid) && !unsaid.is_resolved())
    }
}

impl PendingHead {
    /// Returns true if HEAD was updated, or the index was replaced.
    fn is_resolved(&self) -> bool {
        git_dir(&self.root).is_none_or(|git| {
            IndexVersion::of(&git).as_ref() != Some(&self.index)
                || head_mtime(&git).is_some_and(|said| said >= self.index.written)
        })
    }

    /// Returns the current commit if the index is unchanged.
    fn current_commit(&self) -> Option<Arc<str>> {
        let git = git_dir(&self.root)?;
        let commit = head(&git)?;
        if IndexVersion::of(&git).as_ref() == Some(&self.index) { Some(commit.into()) } else { None }
    }
}

impl IndexVersion {
    fn of(git: &Path) -> Option<Self> {
        let index = git.join("index").metadata().ok()?;
        Some(Self { number: index.ino(), written: index.modified().ok()? })
    }
}

/// Returns the time of the last update of HEAD or its branch.
fn head_mtime(git: &Path) -> Option<SystemTime> {
    let written = |path: PathBuf| path.metadata().and_then(|file| file.modified()).ok();
    let branch = branch(git).map(|(shared, name)| shared.join(name));
    let tables = [git, &shared(git)].map(|folder| folder.join("reftable/tables.list"));
    let places = [git.join("HEAD"), git.join("logs/HEAD")].into_iter().chain(branch).chain(tables);
    places.filter_map(written).max()
}

/// Returns true if the repository keeps its branches as reftable, which only the Git program reads.
pub fn uses_reftable(root: &Path) -> bool {
    git_dir(root).is_some_and(|git| has_reftable(&git))
}

fn has_reftable(git: &Path) -> bool {
    shared(git).join("reftable").is_dir()
}

/// Returns the Git directory of the checkout that contains `root`.
fn git_dir(root: &Path) -> Option<PathBuf> {
    located(root).map(|(git, _)| git)
}

/// Returns the Git directory, and the path of `root` below the top of its checkout.
fn located(root: &Path) -> Option<(PathBuf, String)> {
    // The symlink's target comes first, because it changes from checkout to checkout.
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    let within = |root: &Path, top: &Path| Some(root.strip_prefix(top).ok()?.to_str()?.to_owned());
    [&*real, root]
        .into_iter()
        .find_map(|root| root.ancestors().find_map(|top| Some((git_of(top)?, within(root, top)?))))
}

/// Returns the Git directory of a checkout whose top is this folder.
pub(super) fn git_of(folder: &Path) -> Option<PathBuf> {
    let git = folder.join(".git");
    if git.is_dir() { Some(git) } else { linked_checkout(&git) }
}

/// Returns the commit of `HEAD` in hexadecimal; `None` if it is unknown.
fn head(git: &Path) -> Option<String> {
    let head = text(&git.join("HEAD"), MAX_REF_BYTES)?;
    if !head.trim().starts_with("ref:") {
        return commit(&head);
    }
    if has_reftable(git) {
        return commit(&git::head(git)?);
    }
    let (shared, name) = branch(git)?;
    loose(git, &name).or_else(|| loose(&shared, &name)).or_else(|| packed(&shared, &name))
}

/// Returns the branch of `HEAD` and the directory that stores it.
///
/// Linked checkouts share their branches.
fn branch(git: &Path) -> Option<(PathBuf, String)> {
    let head = text(&git.join("HEAD"), MAX_REF_BYTES)?;
    let name = head.trim().strip_prefix("ref:")?.trim();
    if !name.starts_with("refs/") || name.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return None;
    }
    Some((shared(git), name.to_owned()))
}

/// Returns the directory that all linked checkouts of the repository share.
fn shared(git: &Path) -> PathBuf {
    let common = text(&git.join("commondir"), MAX_REF_BYTES);
    common.map_or_else(|| git.to_owned(), |common| git.join(common.trim()))
}

fn loose(git: &Path, name: &str) -> Option<String> {
    commit(&text(&git.join(name), MAX_REF_BYTES)?)
}

fn packed(git: &Path, name: &str) -> Option<String> {
    let refs = text(&git.join("packed-refs"), MAX_PACKED_REFS_BYTES)?;
    refs.lines().find_map(|line| commit(line.strip_suffix(name)?.strip_suffix(' ')?))
}

fn commit(text: &str) -> Option<String> {
    let text = text.trim();
    let is_one = matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_one { Some(text.to_ascii_lowercase()) } else { None }
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
