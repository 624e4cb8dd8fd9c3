//! One attempt to read a tree, which fails if the tree changes meanwhile.

use super::{FileError, ScanContext, TreeError, TreeFile, for_each_index};
use crate::config::FILE_NAME;
use sha2::{Digest as _, Sha256};
use std::collections::{HashMap, VecDeque};
use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Limits on the tree: bytes of a file, bytes of all files, number of files.
///
/// 100,000 sources are about 30 MB; a file of one team is a few hundred kilobytes.
const MAX_FILE_BYTES: u64 = 4 << 20;
pub(super) const MAX_TREE_BYTES: u64 = 256 << 20;
pub(super) const MAX_FILES: usize = 100_000;
/// Limits on folders and other entries, and on the depth.
///
/// All entries are listed on every event.
const MAX_ENTRIES: usize = 1_000_000;
const MAX_DEPTH: usize = 32;

/// Age below which a write may leave a file's times unchanged.
const RACY_WINDOW: Duration = Duration::from_secs(1);

/// Reads the tree once, except for files in `seen`.
///
/// `None` if the tree changed meanwhile.
pub(super) fn scan_once(
    root: &Path,
    seen: &StatCache,
    now: SystemTime,
) -> Result<Option<(Vec<TreeFile>, StatCache, ScanContext)>, TreeError> {
    let unreadable = |source| TreeError::Unreadable { path: root.to_owned(), source };
    // Resolve once, so that this read stays in one tree if a symlink is swapped.
    let real = root.canonicalize().map_err(unreadable)?;
    if !fs::metadata(&real).map_err(unreadable)?.is_dir() {
        return Err(TreeError::NotAFolder(root.to_owned()));
    }
    let Some((found, has_links)) = list(&real)? else { return Ok(None) };
    let looks: Vec<OnceLock<Option<ScannedFile>>> = found.iter().map(|_| OnceLock::new()).collect();
    for_each_index(found.len(), &|n| {
        let _ = looks[n].set(scan_file(&found[n], &real, seen));
    });
    let mut files = Vec::with_capacity(found.len());
    let mut stamps = Vec::with_capacity(found.len());
    let mut next = StatCache(HashMap::with_capacity(found.len()));
    let mut total = 0_u64;
    for (FoundFile { name, .. }, look) in found.iter().zip(looks) {
        let Some(ScannedFile { file, stamp }) = look.into_inner().flatten() else { return Ok(None) };
        stamps.push(stamp);
        total += match &file.text {
            Some(Ok(text)) => text.len() as u64,
            Some(Err(_)) => 0,
            None => stamp.map_or(0, |stamp| stamp.size),
        };
        if total > MAX_TREE_BYTES {
            let bound = "256 MiB of text in all";
            return Err(TreeError::TooLarge { path: root.to_owned(), bound });
        }
        if let Some(stamp) = stamp.filter(|stamp| stamp.is_settled_at(now))
            && !matches!(file.text, Some(Err(_)))
            && name != FILE_NAME
        {
            next.0.insert(Arc::clone(&file.path), (stamp, file.digest));
        }
        files.push(file);
    }
    // A second listing detects added and renamed files; the stamps detect written files and swapped
    // symlinks.
    let still = |(found, before): (&FoundFile, &Option<Stamp>)| {
        fs::metadata(&found.path).ok().map(|metadata| Stamp::of(&metadata)) == *before
    };
    let held = list(&real)?.is_some_and(|(again, _)| again == found) && found.iter().zip(&stamps).all(still);
    // A root that was swapped out may have been partly deleted before it was listed.
    let same_root = root.canonicalize().is_ok_and(|now| now == real);
    Ok((held && same_root).then_some((files, next, ScanContext { real, has_links, total })))
}

struct ScannedFile {
    file: TreeFile,
    /// Taken before the read.
    stamp: Option<Stamp>,
}

/// Looks at one file; `None` if it vanished.
fn scan_file(FoundFile { path, name }: &FoundFile, root: &Path, seen: &StatCache) -> Option<ScannedFile> {
    let stamp = fs::metadata(path).ok().map(|metadata| Stamp::of(&metadata));
    let before = seen.0.get_key_value(name.as_str());
    let file = match before.filter(|(_, (was, _))| Some(*was) == stamp) {
        Some((path, (_, digest))) => TreeFile { path: Arc::clone(path), text: None, digest: *digest },
        None => {
            let text = read_stable(path, root)?;
            TreeFile { path: Arc::from(name.as_str()), digest: digest(&text), text: Some(text) }
        }
    };
    Some(ScannedFile { file, stamp })
}

/// Reads one file of the tree; `None` if it does not exist.
pub(super) fn one(root: &Path, name: &str) -> Option<Result<Arc<str>, FileError>> {
    let real = root.canonicalize().ok()?;
    read_stable(&real.join(name), &real)
}

/// SHA-256 of the text, or of the error message.
pub(super) fn digest(text: &Result<Arc<str>, FileError>) -> [u8; 32] {
    match text {
        Ok(text) => digest_of(text.as_bytes()),
        Err(error) => digest_of(error.to_string().as_bytes()),
    }
}

fn digest_of(text: &[u8]) -> [u8; 32] {
    Sha256::digest(text).into()
}

/// Returns the digest of a file with these contents; a byte order mark is not part of its text.
pub(super) fn digest_of_file(contents: &[u8]) -> [u8; 32] {
    digest_of(contents.strip_prefix(b"\xef\xbb\xbf").unwrap_or(contents))
}

/// Files by name, each with its stamp and the digest of its text.
#[derive(Debug, Clone, Default)]
pub struct StatCache(HashMap<Arc<str>, (Stamp, [u8; 32])>);

impl StatCache {
    /// Makes the next read open this file.
    pub(super) fn forget(&mut self, name: &str) {
        self.0.remove(name);
    }
}

#[derive(PartialEq, Eq)]
struct FoundFile {
    path: PathBuf,
    name: String,
}

/// Lists the files below `root`, sorted by name; true if there is any symlink.
///
/// `None` if a folder vanished meanwhile.
fn list(root: &Path) -> Result<Option<(Vec<FoundFile>, bool)>, TreeError> {
    let mut found = Vec::new();
    let mut has_links = false;
    let mut entries = 0;
    let mut folders = VecDeque::from([(root.to_owned(), String::new(), 0)]);
    while let Some((folder, prefix, depth)) = folders.pop_front() {
        let unreadable = |source| TreeError::Unreadable { path: folder.clone(), source };
        let too_large = |bound| TreeError::TooLarge { path: folder.clone(), bound };
        let listing = match fs::read_dir(&folder) {
            Ok(listing) => listing,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(unreadable(error)),
        };
        for entry in listing {
            let entry = entry.map_err(unreadable)?;
            entries += 1;
            if entries > MAX_ENTRIES {
                return Err(too_large("1,000,000 entries in all"));
            }
            let name = entry.file_name();
            let name = name.to_string_lossy();
            if name.starts_with('.') {
                continue;
            }
            let path = entry.path();
            let below = format!("{prefix}{name}");
            let kind = entry.file_type().map_err(unreadable)?;
            has_links |= kind.is_symlink();
            let target = if kind.is_symlink() { target(&path, root) } else { EntryTarget::Direct };
            if matches!(target, EntryTarget::Ancestor) {
                continue;
            }
            if kind.is_dir() || matches!(target, EntryTarget::Folder) {
                if depth + 1 > MAX_DEPTH {
                    return Err(too_large("32 folders deep"));
                }
                folders.push_back((path, format!("{below}/"), depth + 1));
            } else if is_toml(&name) || matches!(target, EntryTarget::Unreachable) {
                found.push(FoundFile { path, name: below });
                if found.len() > MAX_FILES {
                    return Err(too_large("100,000 files"));
                }
            }
        }
    }
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Some((found, has_links)))
}

/// Returns true for names that end in `.toml` in any case.
///
/// A name in capitals is rejected rather than ignored, because users expect it to be read.
pub(super) fn is_toml(name: &str) -> bool {
    let extension = name.rsplit_once('.').map(|(_, extension)| extension);
    extension.is_some_and(|extension| extension.eq_ignore_ascii_case("toml"))
}

enum EntryTarget {
    /// Not a symlink, or a symlink to a file, which is checked when it is read.
    Direct,
    Folder,
    /// A folder that contains the symlink.
    Ancestor,
    /// No target, or a folder outside the tree.
    ///
    /// Its earlier content is unreachable rather than deleted, so the entry is listed and rejected
    /// on reading.
    Unreachable,
}

fn target(link: &Path, root: &Path) -> EntryTarget {
    let Ok(real) = link.canonicalize() else { return EntryTarget::Unreachable };
    let folder = link.parent().and_then(|folder| folder.canonicalize().ok());
    match real.is_dir() {
        false => EntryTarget::Direct,
        true if !real.starts_with(root) => EntryTarget::Unreachable,
        true if folder.is_some_and(|folder| folder.starts_with(&real)) => EntryTarget::Ancestor,
        true => EntryTarget::Folder,
    }
}

/// Returns the content of a file; `None` if it vanished.
pub(super) fn read_stable(path: &Path, root: &Path) -> Option<Result<Arc<str>, FileError>> {
    const MAX_ATTEMPTS: usize = 3;
    for _ in 0..MAX_ATTEMPTS {
        match read_file(path, root) {
            Ok(Some(text)) => return Some(Ok(text)),
            Ok(None) => {}
            Err(ScanError::Vanished) => return None,
            Err(ScanError::File(error)) => return Some(Err(error)),
        }
    }
    Some(Err(FileError::Unsettled))
}

/// Reason why a file was not read.
enum ScanError {
    /// Listed, but removed meanwhile.
    Vanished,
    File(FileError),
}

impl From<io::Error> for ScanError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound => Self::Vanished,
            _ => Self::File(FileError::Io(error.to_string())),
        }
    }
}

/// Reads a file; `None` if it changed during the read.
fn read_file(path: &Path, root: &Path) -> Result<Option<Arc<str>>, ScanError> {
    if path.file_name().is_none_or(|name| name.to_str().is_none()) {
        return Err(ScanError::File(FileError::Name));
    }
    if path.extension().is_some_and(|extension| extension != "toml" && extension.eq_ignore_ascii_case("toml"))
    {
        return Err(ScanError::File(FileError::Extension));
    }
    let refuse = |error| Err(ScanError::File(error));
    let real = match path.canonicalize() {
        Ok(real) => real,
        // A dangling symlink exists nevertheless.
        Err(error) if path.is_symlink() => return refuse(FileError::Io(error.to_string())),
        Err(error) => return Err(error.into()),
    };
    if !real.starts_with(root) {
        return refuse(FileError::Escapes);
    }
    // Check before opening: opening a pipe would block until it has a writer.
    if !fs::metadata(&real)?.is_file() {
        return refuse(FileError::NotRegular);
    }
    let mut file = open(&real)?;
    let before = file.metadata()?;
    if !before.is_file() {
        return refuse(FileError::NotRegular);
    }
    if before.len() > MAX_FILE_BYTES {
        return refuse(FileError::TooLarge(MAX_FILE_BYTES));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(before.len()).unwrap_or_default() + 1);
    (&mut file).take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes)?;
    let as_before = |now: &Metadata| Stamp::of(now) == Stamp::of(&before);
    if !as_before(&file.metadata()?) || !as_before(&fs::metadata(path)?) {
        return Ok(None);
    }
    if bytes.len() as u64 > MAX_FILE_BYTES {
        return refuse(FileError::TooLarge(MAX_FILE_BYTES));
    }
    // The fast check first.
    if bytes.contains(&0)
        && let Some(at) = bytes.iter().position(|byte| *byte == 0)
    {
        let is_utf16 = bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]);
        return refuse(if is_utf16 { FileError::Utf16 } else { FileError::Nul(line(&bytes, at)) });
    }
    match String::from_utf8(bytes) {
        Ok(text) => Ok(Some(Arc::from(text.strip_prefix('\u{feff}').unwrap_or(&text)))),
        Err(error) if error.as_bytes().starts_with(&[0xff, 0xfe]) => refuse(FileError::Utf16),
        Err(error) => refuse(FileError::NotUtf8(line(error.as_bytes(), error.utf8_error().valid_up_to()))),
    }
}

/// Returns the line of a byte, from 1.
fn line(bytes: &[u8], at: usize) -> usize {
    bytes[..at].iter().filter(|byte| **byte == b'\n').count() + 1
}

fn open(path: &Path) -> io::Result<File> {
    // Do not block if a pipe has replaced the file meanwhile.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const NONBLOCK: i32 = 0o4000;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const NONBLOCK: i32 = 0x0004;
    OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)
}

/// Metadata that changes when a file is written or replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    device: u64,
    number: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            device: metadata.dev(),
            number: metadata.ino(),
            size: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Returns true if every later write changes this stamp.
    fn is_settled_at(&self, now: SystemTime) -> bool {
        let (seconds, nanoseconds) = self.modified.max(self.changed);
        let since =
            Duration::new(u64::try_from(seconds).unwrap_or(0), u32::try_from(nanoseconds).unwrap_or(0));
        now.duration_since(UNIX_EPOCH)
            .is_ok_and(|now| now.checked_sub(RACY_WINDOW).is_some_and(|now| now >= since))
    }
}
