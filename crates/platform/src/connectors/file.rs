//! Access to files below the data directory, and detection of their growth.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read};
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{ConfigError, ConfigFields, ConnectorContext, MAX_RECORD_BYTES, ReadError, RecordMemory};
use crate::memory::LARGE_BYTES;

const BUFFER: usize = 64 << 10;
/// First bytes of files that no connector reads, with the reason.
const OTHERS: [(&[u8], &str); 5] = [
    (b"\x1f\x8b", "this is compressed with gzip; decompress the file"),
    (b"\x28\xb5\x2f\xfd", "this is compressed with zstd; decompress the file"),
    (b"PK\x03\x04", "this is a ZIP archive or a spreadsheet; export its content as CSV"),
    (b"\xff\xfe", UTF_16),
    (b"\xfe\xff", UTF_16),
];
const UTF_16: &str = "this is UTF-16; convert the file to UTF-8";

/// A file named in a configuration. Only [`DataFile::find`] accesses the disk.
pub(super) struct DataFile {
    /// Path as written, for messages.
    path: String,
    reach: ConnectorContext,
}

impl DataFile {
    /// Reads the path from the first of these fields that exists.
    pub(super) fn read(
        fields: ConfigFields<'_>,
        names: &[&str],
        reach: &ConnectorContext,
    ) -> Result<Self, ConfigError> {
        let path = fields
            .first_text(names)?
            .ok_or_else(|| ConfigError::new(format!("\"{}\" is missing: the file to read", names[0])))?;
        check_path(path)?;
        Ok(Self { path: path.to_owned(), reach: reach.clone() })
    }

    /// Returns the resources for access.
    pub(super) fn reach(&self) -> &ConnectorContext {
        &self.reach
    }

    /// Returns the file name without folders and extension, the default table name.
    pub(super) fn stem(&self) -> String {
        Path::new(&self.path).file_stem().map_or_else(|| "rows".into(), |stem| stem.to_string_lossy().into())
    }

    /// Returns the resolved path of the file.
    ///
    /// Requires a regular file.
    pub(super) fn find(&self) -> Result<PathBuf, ReadError> {
        let found = self.resolve()?;
        let about = found.metadata().map_err(|error| self.unreadable(&error))?;
        if !about.is_file() {
            return Err(ReadError::new(format!("{} is not a regular file", self.path)));
        }
        Ok(found)
    }

    /// Returns the resolved path, which may be a folder.
    ///
    /// Requires a path below the data directory that is neither hidden nor part of the platform's
    /// storage.
    fn resolve(&self) -> Result<PathBuf, ReadError> {
        let found =
            self.reach.data_dir.join(&self.path).canonicalize().map_err(|error| self.unreadable(&error))?;
        let below = found.strip_prefix(&self.reach.data_dir).ok();
        let storage = self.reach.storage.as_ref().is_some_and(|storage| found.starts_with(storage));
        let hidden = |path: &Path| path.iter().any(|part| part.to_string_lossy().starts_with('.'));
        if storage || below.is_none_or(hidden) {
            return Err(ReadError::new(format!("{} leads out of the data directory", self.path)));
        }
        Ok(found)
    }

    /// Opens the file and verifies that it is the one that was found.
    ///
    /// A link could have replaced it in between.
    pub(super) fn open(&self) -> Result<File, ReadError> {
        let found = self.find()?;
        let file = File::open(&found).map_err(|error| self.unreadable(&error))?;
        let opened = file.metadata().map_err(|error| self.unreadable(&error))?;
        let again = self.find()?.metadata().map_err(|error| self.unreadable(&error))?;
        if (opened.dev(), opened.ino()) != (again.dev(), again.ino()) {
            return Err(ReadError::new(format!("{} was replaced while it was opened; try again", self.path)));
        }
        let mut start = [0; 4];
        let count = file.read_at(&mut start, 0).map_err(|error| self.unreadable(&error))?;
        // UTF-16 without a byte order mark has a zero byte in each character of ASCII.
        if matches!(start, [(1..), 0, (1..), 0] | [0, (1..), 0, (1..)]) {
            return Err(self.content_error(UTF_16));
        }
        let other = OTHERS.iter().find(|(mark, _)| start[..count].starts_with(mark));
        other.map_or(Ok(file), |(_, what)| Err(self.content_error(what)))
    }

    /// Creates an error with the name of the file.
    pub(super) fn unreadable(&self, error: &io::Error) -> ReadError {
        let path = &self.path;
        ReadError::new(match error.kind() {
            ErrorKind::NotFound => format!("there is no file {path} in the data directory"),
            ErrorKind::PermissionDenied => format!("{path} may not be read: permission denied"),
            _ => format!("{path} could not be read: {error}"),
        })
    }

    /// Creates an error about the content, with the name of the file.
    pub(super) fn content_error(&self, message: impl std::fmt::Display) -> ReadError {
        ReadError::new(format!("{}: {message}", self.path))
    }
}

/// Returns the names of the visible files of a folder with this extension, sorted.
///
/// The folder is below the data directory; empty for the data directory itself.
pub(in super::super) fn file_names(
    folder: &str,
    extension: &str,
    reach: &ConnectorContext,
) -> Result<Vec<String>, ReadError> {
    check_path(folder).map_err(|unfit| ReadError::new(unfit.into_message()))?;
    let named = DataFile { path: folder.to_owned(), reach: reach.clone() };
    let mut names = Vec::new();
    for entry in named.resolve()?.read_dir().map_err(|error| named.unreadable(&error))? {
        let Ok(name) = entry.map_err(|error| named.unreadable(&error))?.file_name().into_string() else {
            continue;
        };
        let end = Path::new(&name).extension().and_then(|end| end.to_str()).unwrap_or_default();
        let file = DataFile {
            path: Path::new(folder).join(&name).to_string_lossy().into_owned(),
            reach: reach.clone(),
        };
        if end.eq_ignore_ascii_case(extension) && !name.starts_with('.') && file.find().is_ok() {
            names.push(name);
        }
    }
    names.sort();
    Ok(names)
}

/// Requires a relative path without hidden parts.
fn check_path(path: &str) -> Result<(), ConfigError> {
    if path.contains('\0') {
        return Err(ConfigError::new("the path holds a zero byte"));
    }
    for part in Path::new(path).components() {
        match part {
            Component::CurDir => {}
            Component::Normal(name) if !name.to_string_lossy().starts_with('.') => {}
            Component::Normal(_) => {
                return Err(ConfigError::new("the path leads to a hidden file; these are not read"));
            }
            _ => {
                return Err(ConfigError::new(
                    "the path must be relative to the data directory, without \"..\"",
                ));
            }
        }
    }
    Ok(())
}

/// Remarks of a successful sync of a growing file.
impl DataFile {
    /// The file was replaced and has no complete record.
    pub(super) fn emptied(&self) -> String {
        format!("{} has no whole record now; the rows of before are kept", self.path)
    }

    pub(super) fn replaced(&self) -> String {
        format!(
            "{} no longer begins with what was read before (rotated, or written again): its rows replaced all \
             rows of before",
            self.path
        )
    }

    /// The last record is incomplete, beginning or ending in this line.
    pub(super) fn unfinished(&self, line: u64) -> String {
        format!("{}: the record in line {line} is not finished yet; the next sync reads it", self.path)
    }
}

/// Position in a growing file: the end of its last complete record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct FileCursor {
    whole_bytes: u64,
    /// Digest of the bytes before the position.
    digest: String,
    /// True if an incomplete record follows.
    unfinished: bool,
}

/// A growing file, read record by record up to its current length.
///
/// Computes a digest of the complete records and rejects records that are too large.
pub(super) struct AppendOnlyReader<'f> {
    named: &'f DataFile,
    memory: RecordMemory,
    content: BufReader<io::Take<File>>,
    digest: Sha256,
    accepted_bytes: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LineEnd {
    LineFeed,
    /// Carriage return, line feed, or both.
    Any,
}

impl<'f> AppendOnlyReader<'f> {
    pub(super) fn open(named: &'f DataFile) -> Result<Self, ReadError> {
        let file = named.open()?;
        let length = file.metadata().map_err(|error| named.unreadable(&error))?.len();
        Ok(Self {
            named,
            memory: RecordMemory::new(&named.reach),
            content: BufReader::with_capacity(BUFFER, file.take(length)),
            digest: Sha256::new(),
            accepted_bytes: 0,
        })
    }

    /// Reads up to the mark of an earlier read.
    ///
    /// Returns false if that part changed, so that the file is a different one.
    pub(super) fn skip(&mut self, mark: &FileCursor) -> Result<bool, ReadError> {
        while self.accepted_bytes < mark.whole_bytes {
            self.fill()?;
            let found = self.content.buffer();
            let left = usize::try_from(mark.whole_bytes - self.accepted_bytes).unwrap_or(usize::MAX);
            let count = found.len().min(left);
            if count == 0 {
                return Ok(false);
            }
            self.digest.update(&found[..count]);
            self.content.consume(count);
            self.accepted_bytes += count as u64;
        }
        Ok(self.mark(false).digest == mark.digest)
    }

    /// Reads the next part of the file, unless the read must end.
    fn fill(&mut self) -> Result<(), ReadError> {
        if self.content.buffer().is_empty()
            && let Some(reason) = self.named.reach.stop()
        {
            return Err(reason);
        }
        self.content.fill_buf().map(|_| ()).map_err(|error| self.named.unreadable(&error))
    }

    /// Appends the next line to `record`; returns false for an unterminated last line.
    pub(super) fn line(&mut self, ends: LineEnd, record: &mut Vec<u8>) -> Result<bool, ReadError> {
        if record.is_empty() {
            record.shrink_to(LARGE_BYTES);
        }
        loop {
            self.fill()?;
            let found = self.content.buffer();
            if found.is_empty() {
                return Ok(false);
            }
            let is_end = |byte: &u8| *byte == b'\n' || ends == LineEnd::Any && *byte == b'\r';
            let end = found.iter().position(is_end);
            let count = end.map_or(found.len(), |at| at + 1);
            if record.len() + count > MAX_RECORD_BYTES {
                return Err(self.named.unreadable(&too_large()));
            }
            self.memory.hold(record.len() + count)?;
            record.extend_from_slice(&found[..count]);
            self.content.consume(count);
            if end.is_some() {
                return if record.ends_with(b"\r") { self.line_feed(record) } else { Ok(true) };
            }
        }
    }

    /// Appends the line feed after a carriage return.
    ///
    /// At the end of the file, it may still be written.
    fn line_feed(&mut self, record: &mut Vec<u8>) -> Result<bool, ReadError> {
        self.fill()?;
        let next = self.content.buffer().first().copied();
        if next == Some(b'\n') {
            record.push(b'\n');
            self.content.consume(1);
        }
        Ok(next.is_some())
    }

    /// Counts a complete record.
    pub(super) fn accept(&mut self, record: &[u8]) {
        self.digest.update(record);
        self.accepted_bytes += record.len() as u64;
    }

    /// Returns the current mark; `unfinished` if an incomplete record follows.
    pub(super) fn mark(&self, unfinished: bool) -> FileCursor {
        let digest = hex::encode(self.digest.clone().finalize());
        FileCursor { whole_bytes: self.accepted_bytes, digest, unfinished }
    }
}

impl FileCursor {
    /// Returns true if the record after this mark was incomplete in the last read too.
    ///
    /// Its writer has then stopped.
    pub(super) fn is_stalled(&self, before: Option<&Self>) -> bool {
        self.unfinished && before == Some(self)
    }

    /// Returns the identity of an unterminated last record.
    ///
    /// If the record grows, its new version replaces the stored one.
    pub(super) fn last_record_identity(&self) -> String {
        format!("record at byte {}", self.whole_bytes)
    }
}

/// A file up to its current length, with a limit on record sizes.
pub(super) struct Limited {
    memory: RecordMemory,
    file: io::Take<File>,
    record: Rc<Cell<usize>>,
}

impl Limited {
    pub(super) fn open(named: &DataFile) -> Result<Self, ReadError> {
        let file = named.open()?;
        let length = file.metadata().map_err(|error| named.unreadable(&error))?.len();
        Ok(Self { memory: RecordMemory::new(&named.reach), file: file.take(length), record: Rc::default() })
    }

    /// Counter of the current record's bytes; reset to 0 for each record.
    pub(super) fn record(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.record)
    }
}

impl Read for Limited {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        let size = self.record.get().saturating_add(count);
        if size > MAX_RECORD_BYTES {
            return Err(too_large());
        }
        let stopped = self.memory.reach.stop().map_or(Ok(()), Err);
        let allowed = stopped.and_then(|()| self.memory.hold(size));
        allowed.map_err(|reason| io::Error::other(reason.into_message()))?;
        self.record.set(size);
        Ok(count)
    }
}

fn too_large() -> io::Error {
    io::Error::other(format!("a record is larger than {} MiB", MAX_RECORD_BYTES >> 20))
}
