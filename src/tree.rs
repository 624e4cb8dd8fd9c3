//! Reads the directory once, consistently.
//!
//! A file that cannot be read stands in the reading with the reason, so that unreadable is never
//! taken for absent; a folder that cannot be listed fails the reading as a whole.

mod commit;
mod cores;
mod touched;
mod tracked;
mod walk;

pub use commit::{Checkout, uses_reftable};
pub use cores::on_all_cores;
pub use tracked::is_tracked;
pub use walk::Seen;

use crate::manifest::{FILE_NAME, File, SourceFile};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

/// Every TOML file below a root, as it stood at one time.
#[derive(Debug, Clone)]
pub struct Reading {
    /// As configured, absolute; symlinks in it are not resolved.
    pub root: PathBuf,
    /// Sorted by path.
    pub files: Vec<TreeFile>,
    /// Over names and contents: equal trees agree.
    pub digest: Digest,
    /// Is a checkout being written? `.git/index.lock` stands in the root or a folder above it.
    pub git_locked: bool,
    /// What is checked out there, when Git's files tell.
    pub checkout: Option<Arc<Checkout>>,
    /// What the next reading need not read again.
    pub seen: Seen,
    ground: Ground,
}

/// What was read, as a whole.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Ground {
    /// Where the root led to.
    real: PathBuf,
    /// Something below it is a symlink.
    has_links: bool,
    /// Bytes of text, at least.
    total: u64,
}

impl Reading {
    fn of(root: PathBuf, (files, seen, ground): (Vec<TreeFile>, Seen, Ground)) -> Self {
        Self {
            digest: digest(&files),
            git_locked: git_locked(&root),
            checkout: Checkout::at(&root).map(Arc::new),
            files,
            seen,
            ground,
            root,
        }
    }

    /// The same without the texts.
    #[must_use]
    pub fn without_texts(&self) -> Self {
        let of = |file: &TreeFile| TreeFile {
            path: Arc::clone(&file.path),
            text: file.text.clone().filter(Result::is_err),
            digest: file.digest,
        };
        let Self { root, digest, git_locked, checkout, seen, ground, .. } = self;
        Self {
            root: root.clone(),
            files: self.files.iter().map(of).collect(),
            digest: *digest,
            git_locked: *git_locked,
            checkout: checkout.clone(),
            seen: seen.clone(),
            ground: ground.clone(),
        }
    }

    /// The files whose text was read, or could not be.
    #[must_use]
    pub fn sources(&self) -> Vec<SourceFile<'_>> {
        let read = self.files.iter().filter_map(|file| Some((file, file.text()?)));
        read.map(|(file, text)| SourceFile { path: Arc::clone(&file.path), text }).collect()
    }

    /// The text of the file at `path`, where it was read.
    #[must_use]
    pub fn text(&self, path: &str) -> Option<Arc<str>> {
        let at = self.files.binary_search_by(|file| (*file.path).cmp(path)).ok()?;
        self.files[at].text.clone()?.ok()
    }

    /// The files as the manifest reads them, given what it knows.
    #[must_use]
    pub fn for_manifest(&self) -> Vec<File<'_>> {
        self.files.iter().map(TreeFile::for_manifest).collect()
    }

    /// Reads these files after all. Returns whether they are still as they were seen.
    pub fn load(&mut self, paths: &[Arc<str>]) -> bool {
        paths.iter().all(|path| {
            let Ok(at) = self.files.binary_search_by(|file| file.path.cmp(path)) else { return false };
            let text = walk::one(&self.root, path);
            let same = text.as_ref().is_some_and(|text| walk::digest(text) == self.files[at].digest);
            self.files[at].text = text;
            same
        })
    }
}

/// One file of the tree.
#[derive(Debug, Clone)]
pub struct TreeFile {
    /// Below the root, with `/`.
    pub path: Arc<str>,
    /// The text, or why there is none. `None` when it was seen before and not read again.
    pub text: Option<Result<Arc<str>, FileError>>,
    /// SHA-256 of the contents; of the reason, where there are none.
    pub digest: [u8; 32],
}

impl TreeFile {
    fn text(&self) -> Option<Result<&str, String>> {
        self.text.as_ref().map(|text| text.as_deref().map_err(ToString::to_string))
    }

    fn for_manifest(&self) -> File<'_> {
        let digest = (!matches!(self.text, Some(Err(_)))).then_some(self.digest);
        File { path: Arc::clone(&self.path), digest, text: self.text() }
    }
}

/// SHA-256 over the names and contents of a tree.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    /// The bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Why one file has no text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FileError {
    /// The system refused; the text is its reason.
    Io(String),
    /// A pipe, socket or device.
    NotRegular,
    /// A symlink that leads out of the tree.
    Escapes,
    /// Larger than the bound, in bytes.
    TooLarge(u64),
    /// Not UTF-8, from this byte on.
    NotUtf8(usize),
    /// A NUL byte, at this place.
    Nul(usize),
    /// The file's name is not UTF-8.
    Name,
    /// The file's extension is `.toml` in capitals.
    Extension,
    /// It changed each time it was read.
    Unsettled,
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(why) => write!(f, "cannot read the file: {why}"),
            Self::NotRegular => f.write_str("not a regular file: pipes, sockets and devices are not read"),
            Self::Escapes => {
                f.write_str("the symlink leads out of the project; only files within it are read")
            }
            Self::TooLarge(most) => write!(f, "the file is larger than {} MiB", most >> 20),
            Self::NotUtf8(at) => write!(f, "not UTF-8 text, from byte {at} on"),
            Self::Nul(at) => write!(f, "NUL byte at byte {at}; not a text file"),
            Self::Name => f.write_str("the file's name is not UTF-8"),
            Self::Extension => f.write_str("the extension must be `.toml` in lower case; rename the file"),
            Self::Unsettled => f.write_str("the file changed each time it was read"),
        }
    }
}

impl std::error::Error for FileError {}

/// Why a tree could not be read as a whole. Nothing can be concluded about what it declares.
#[derive(Debug)]
pub enum TreeError {
    /// The root or a folder below it cannot be listed.
    Unreadable {
        /// Which one.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// The root is not a folder.
    NotAFolder(PathBuf),
    /// Too much of something; the text says of what.
    TooLarge {
        /// Where.
        path: PathBuf,
        /// What the bound is.
        bound: &'static str,
    },
    /// The tree changed each time it was read.
    Unsettled(PathBuf),
    /// No file is left of a tree that held some.
    Emptied(PathBuf),
    /// A fault of this program broke the reading off.
    BrokeOff(PathBuf),
}

impl fmt::Display for TreeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { path, .. } => write!(f, "cannot read the directory {}", path.display()),
            Self::NotAFolder(path) => {
                write!(f, "{} is not a directory; name the project directory", path.display())
            }
            Self::TooLarge { path, bound } => write!(f, "too much to read at {}: {bound}", path.display()),
            Self::Unsettled(path) => {
                write!(f, "{} kept changing while it was read; try again later", path.display())
            }
            Self::BrokeOff(path) => {
                write!(f, "internal error while reading {}; retrying. Please report this bug", path.display())
            }
            Self::Emptied(path) => write!(
                f,
                "{} holds no wellspring.toml and no other file any more: it was emptied, or is not mounted; put the \
                 files back (a workspace file with `sources = {{}}` declares none)",
                path.display()
            ),
        }
    }
}

impl std::error::Error for TreeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Unreadable { source, .. } => Some(source),
            _ => None,
        }
    }
}

/// Reads every `*.toml` below `root`, leaving out whatever is hidden.
///
/// # Errors
/// When the root is missing or no folder, a folder cannot be listed, a bound is passed, or the tree
/// does not hold still.
pub fn read(root: &Path) -> Result<Reading, TreeError> {
    read_again(root, &Seen::default())
}

/// The same, given what an earlier reading saw: a file whose number, size and times are as they were is
/// not read again. The times must have been a second old, as they may not move with what is written
/// within one tick of the clock.
///
/// # Errors
/// As for [`read`].
pub fn read_again(root: &Path, seen: &Seen) -> Result<Reading, TreeError> {
    read_at(root, seen, SystemTime::now())
}

/// The same, given a reading since which nothing happened to any other files than those `touched`, each with
/// whether whoever wrote it is done: only these are looked at. `None` where that cannot be done: everything
/// is to be looked at.
#[must_use]
pub fn read_touched(before: &Reading, touched: &BTreeMap<String, bool>) -> Option<Reading> {
    touched::read(before, touched).map(|found| Reading::of(before.root.clone(), found))
}

fn read_at(root: &Path, seen: &Seen, now: SystemTime) -> Result<Reading, TreeError> {
    let root = std::path::absolute(root)
        .map_err(|source| TreeError::Unreadable { path: root.to_owned(), source })?;
    // A tree that is being written is read again; one that never rests is not guessed at.
    const TRIES: usize = 4;
    for _ in 0..TRIES {
        if let Some(found) = walk::attempt(&root, seen, now)? {
            return Ok(Reading::of(root, found));
        }
    }
    Err(TreeError::Unsettled(root))
}

/// The nearest folder from `start` upwards that holds a `wellspring.toml`.
#[must_use]
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

/// Looks above the configured path and above where it leads: a checkout may be swapped by symlink.
fn git_locked(root: &Path) -> bool {
    let real = root.canonicalize().unwrap_or_else(|_| root.to_owned());
    root.ancestors().chain(real.ancestors()).any(|folder| {
        let git = folder.join(".git");
        git.join("index.lock").exists()
            || linked_checkout(&git).is_some_and(|git| git.join("index.lock").exists())
    })
}

/// Where the `.git` of a linked checkout leads: it is a file that says `gitdir: PATH`.
fn linked_checkout(git: &Path) -> Option<PathBuf> {
    const LONGEST: u64 = 4096;
    if !git.metadata().is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LONGEST) {
        return None;
    }
    let text = std::fs::read_to_string(git).ok()?;
    Some(git.parent()?.join(text.strip_prefix("gitdir:")?.trim()))
}

#[cfg(test)]
mod tests;
