//! Reads the directory once, consistently.
//!
//! A file that cannot be read is part of the result, with the reason, so that it is never taken for
//! absent. A folder that cannot be listed fails the whole read.
//!
//! Invariant: interprets no content and runs no program but Git; parsing is the manifest's task.

mod git;
mod git_head;
mod parallel;
mod rescan;
mod scan;
mod tracked;

pub use git_head::{Checkout, Described, uses_reftable};
pub use parallel::for_each_index;
pub use scan::StatCache;
pub use tracked::is_tracked;

use crate::config::{CachedFileText, FILE_NAME, SourceFile};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;
use thiserror::Error;

/// Every TOML file below a root, at one time.
#[derive(Debug, Clone)]
pub struct TreeSnapshot {
    /// Absolute path as configured; symlinks in it are not resolved.
    pub root: PathBuf,
    /// Sorted by path.
    pub files: Vec<TreeFile>,
    /// Digest of names and contents; equal for equal trees.
    pub digest: Digest,
    /// True if `.git/index.lock` exists in the root or a folder above it.
    pub git_locked: bool,
    /// Git checkout of the files, if it can be determined.
    pub checkout: Option<Arc<Checkout>>,
    pub stat_cache: StatCache,
    context: ScanContext,
}

/// Facts about the whole tree.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ScanContext {
    real: PathBuf,
    /// True if the tree contains a symlink.
    has_links: bool,
    /// Lower bound of the total text size in bytes.
    total: u64,
}

impl TreeSnapshot {
    fn of(root: PathBuf, (files, stat_cache, context): (Vec<TreeFile>, StatCache, ScanContext)) -> Self {
        Self {
            digest: digest(&files),
            git_locked: git_locked(&root),
            checkout: Checkout::at(&root, &files).map(Arc::new),
            files,
            stat_cache,
            context,
            root,
        }
    }

    /// Returns a copy without the file contents.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        let of = |file: &TreeFile| TreeFile {
            path: Arc::clone(&file.path),
            text: file.text.clone().filter(Result::is_err),
            digest: file.digest,
        };
        let Self { root, digest, git_locked, checkout, stat_cache: seen, context: ground, .. } = self;
        Self {
            root: root.clone(),
            files: self.files.iter().map(of).collect(),
            digest: *digest,
            git_locked: *git_locked,
            checkout: checkout.clone(),
            stat_cache: seen.clone(),
            context: ground.clone(),
        }
    }

    /// Returns the files whose content was read, or could not be read.
    pub fn sources(&self) -> Vec<SourceFile<'_>> {
        let read = self.files.iter().filter_map(|file| Some((file, file.text()?)));
        read.map(|(file, text)| SourceFile { path: Arc::clone(&file.path), text }).collect()
    }

    /// Returns the content of the file at `path`, if it was read.
    pub fn text(&self, path: &str) -> Option<Arc<str>> {
        let at = self.files.binary_search_by(|file| (*file.path).cmp(path)).ok()?;
        self.files[at].text.clone()?.ok()
    }

    /// Returns the files as input for the manifest parser.
    pub fn for_manifest(&self) -> Vec<CachedFileText<'_>> {
        self.files.iter().map(TreeFile::for_manifest).collect()
    }

    /// Reads these files now; returns true if they are unchanged since they were seen.
    pub fn load(&mut self, paths: &[Arc<str>]) -> bool {
        paths.iter().all(|path| {
            let Ok(at) = self.files.binary_search_by(|file| file.path.cmp(path)) else { return false };
            let text = scan::one(&self.root, path);
            let same = text.as_ref().is_some_and(|text| scan::digest(text) == self.files[at].digest);
            self.files[at].text = text;
            same
        })
    }
}

#[derive(Debug, Clone)]
pub struct TreeFile {
    /// Path below the root, with `/` as separator.
    pub path: Arc<str>,
    /// Content, or the error; `None` if the file is unchanged and was not read.
    pub text: Option<Result<Arc<str>, FileError>>,
    /// SHA-256 of the content, or of the error message.
    pub digest: [u8; 32],
}

impl TreeFile {
    fn text(&self) -> Option<Result<&str, String>> {
        self.text.as_ref().map(|text| text.as_deref().map_err(ToString::to_string))
    }

    fn for_manifest(&self) -> CachedFileText<'_> {
        let digest = (!matches!(self.text, Some(Err(_)))).then_some(self.digest);
        CachedFileText { path: Arc::clone(&self.path), digest, text: self.text() }
    }
}

/// SHA-256 over the names and contents of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Reason why a file has no content.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FileError {
    /// Error of the operating system, as text.
    #[error("cannot read the file: {0}")]
    Io(String),
    #[error("not a regular file: pipes, sockets and devices are not read")]
    NotRegular,
    /// A symlink that points outside the tree.
    #[error("the symlink leads out of the project; only files within it are read")]
    Escapes,
    /// Size in bytes of a file above the limit.
    #[error("the file is larger than {} MiB", .0 >> 20)]
    TooLarge(u64),
    #[error("line {0} is not UTF-8 text; save the file as UTF-8")]
    NotUtf8(usize),
    /// UTF-16.
    #[error("the file is UTF-16 text; save it as UTF-8")]
    Utf16,
    #[error("line {0} contains a NUL byte; not a text file")]
    Nul(usize),
    /// The file's name is not UTF-8.
    #[error("the file's name is not UTF-8")]
    Name,
    /// The file's extension is `.toml` in capitals.
    #[error("the extension must be `.toml` in lower case; rename the file")]
    Extension,
    /// The file changed during every attempt.
    #[error("the file changed each time it was read")]
    Unsettled,
}

/// Reason why a tree could not be read as a whole.
///
/// The content of the tree is then unknown, so nothing may be removed.
#[derive(Debug, Error)]
pub enum TreeError {
    /// The root or a folder below it cannot be listed.
    #[error("cannot read the directory {path}")]
    Unreadable { path: PathBuf, source: io::Error },
    #[error("{0} is not a directory; name the project directory")]
    NotAFolder(PathBuf),
    #[error("too much to read at {path}: {bound}")]
    TooLarge { path: PathBuf, bound: &'static str },
    /// The tree changed during every attempt.
    #[error("{0} kept changing while it was read; try again later")]
    Unsettled(PathBuf),
    /// The tree contained files before and contains none now.
    #[error(
        "{0} holds no wellspring.toml and no other file any more: it was emptied, or is not mounted; put the files back \
         (a workspace file with `sources = {{}}` declares none)"
    )]
    Emptied(PathBuf),
    #[error("internal error while reading {0}; retrying. Please report this bug")]
    Panicked(PathBuf),
}

/// Reads every `*.toml` below `root`, except in hidden folders.
///
/// # Errors
/// When the root is missing or not a folder, a folder cannot be listed, a limit is exceeded, or the
/// tree keeps changing.
pub fn read(root: &Path) -> Result<TreeSnapshot, TreeError> {
    rescan_by_stat(root, &StatCache::default())
}

/// Like [`read`], but does not read files that are unchanged since `seen`.
///
/// Unchanged means the same inode, size and times. The times must have been at least a second old,
/// because a write within the same clock tick does not change them.
pub fn rescan_by_stat(root: &Path, seen: &StatCache) -> Result<TreeSnapshot, TreeError> {
    scan_until_stable(root, seen, SystemTime::now())
}

/// Like [`rescan_by_stat`], but looks only at the files in `touched`.
///
/// The caller guarantees that no other file changed; the value is true if the writer closed the
/// file. `None` if everything must be read.
pub fn rescan_paths(before: &TreeSnapshot, touched: &BTreeMap<String, bool>) -> Option<TreeSnapshot> {
    rescan::read(before, touched).map(|found| TreeSnapshot::of(before.root.clone(), found))
}

fn scan_until_stable(root: &Path, seen: &StatCache, now: SystemTime) -> Result<TreeSnapshot, TreeError> {
    let root = std::path::absolute(root)
        .map_err(|source| TreeError::Unreadable { path: root.to_owned(), source })?;
    // A tree that is being written is read again; if it never settles, the read fails.
    const MAX_ATTEMPTS: usize = 4;
    for _ in 0..MAX_ATTEMPTS {
        if let Some(found) = scan::scan_once(&root, seen, now)? {
            return Ok(TreeSnapshot::of(root, found));
        }
    }
    Err(TreeError::Unsettled(root))
}

/// Finds the nearest folder from `start` upwards that contains `wellspring.toml`.
pub fn find_root(start: &Path) -> Option<PathBuf> {
    let start = std::path::absolute(start).ok()?;
    start.ancestors().find(|folder| folder.join(FILE_NAME).is_file()).map(Path::to_owned)
}

fn digest(files: &[TreeFile]) -> Digest {
    let mut hash = Sha256::new();
    for file in files {
        hash.update((file.path.len() as u64).to_be_bytes());
        hash.update(file.path.as_bytes());
        hash.update([u8::from(!matches!(file.text, Some(Err(_))))]);
        hash.update(file.digest);
    }
    Digest(hash.finalize().into())
}

/// Returns true if a checkout around `root` is being written.
///
/// Looks above the configured path and above its target, because a checkout may be swapped by
/// symlink.
fn git_locked(root: &Path) -> bool {
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    root.ancestors().chain(real.ancestors()).any(|folder| {
        let git = folder.join(".git");
        git.join("index.lock").exists()
            || linked_checkout(&git).is_some_and(|git| git.join("index.lock").exists())
    })
}

/// Returns the Git directory of a linked checkout.
///
/// Its `.git` is a file with the content `gitdir: PATH`.
fn linked_checkout(git: &Path) -> Option<PathBuf> {
    const MAX_GITFILE_BYTES: u64 = 4096;
    if !git.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= MAX_GITFILE_BYTES) {
        return None;
    }
    let text = std::fs::read_to_string(git).ok()?;
    Some(git.parent()?.join(text.strip_prefix("gitdir:")?.trim()))
}

#[cfg(test)]
mod tests;
