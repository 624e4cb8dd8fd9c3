//! Files below the data directory, and nothing else; what of them was read before.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Failure, Fields, Reach, Unfit};

/// One record, line or value may not be larger: it is held in memory.
const LARGEST_RECORD: usize = 64 << 20;

/// A file a configuration names. Its path is sound by its looks; [`Named::find`] looks at the disk.
pub(super) struct Named {
    /// As it was written, for messages.
    path: String,
    reach: Reach,
}

impl Named {
    /// Reads the path from the first of these fields that is there.
    pub(super) fn read(fields: Fields<'_>, names: &[&str], reach: &Reach) -> Result<Self, Unfit> {
        let path = fields
            .first_text(names)?
            .ok_or_else(|| Unfit::new(format!("\"{}\" is missing: the file to read", names[0])))?;
        if path.contains('\0') {
            return Err(Unfit::new("the path holds a zero byte"));
        }
        for part in Path::new(path).components() {
            match part {
                Component::CurDir => {}
                Component::Normal(name) if !name.to_string_lossy().starts_with('.') => {}
                Component::Normal(_) => {
                    return Err(Unfit::new("the path leads to a hidden file; these are not read"));
                }
                _ => {
                    return Err(Unfit::new(
                        "the path must be relative to the data directory, without \"..\"",
                    ));
                }
            }
        }
        Ok(Self { path: path.to_owned(), reach: reach.clone() })
    }

    /// What the file is reached with.
    pub(super) fn reach(&self) -> &Reach {
        &self.reach
    }

    /// The name without folders and ending: what a table is called when nothing else is said.
    pub(super) fn stem(&self) -> String {
        Path::new(&self.path).file_stem().map_or_else(|| "rows".into(), |stem| stem.to_string_lossy().into())
    }

    /// Where the file is, links resolved. It is a regular file below the data directory, not
    /// hidden, and none of the platform's own.
    pub(super) fn find(&self) -> Result<PathBuf, Failure> {
        let found =
            self.reach.root.join(&self.path).canonicalize().map_err(|error| self.unreadable(&error))?;
        let below = found.strip_prefix(&self.reach.root).ok();
        let storage = self.reach.storage.as_ref().is_some_and(|storage| found.starts_with(storage));
        let hidden = |path: &Path| path.iter().any(|part| part.to_string_lossy().starts_with('.'));
        if storage || below.is_none_or(hidden) {
            return Err(Failure::new(format!("{} leads out of the data directory", self.path)));
        }
        let about = found.metadata().map_err(|error| self.unreadable(&error))?;
        if !about.is_file() {
            return Err(Failure::new(format!("{} is not a regular file", self.path)));
        }
        Ok(found)
    }

    /// Opens the file and makes sure that what was opened is what was found: a link could have
    /// been put in its place in between.
    pub(super) fn open(&self) -> Result<File, Failure> {
        let found = self.find()?;
        let file = File::open(&found).map_err(|error| self.unreadable(&error))?;
        let opened = file.metadata().map_err(|error| self.unreadable(&error))?;
        let again = self.find()?.metadata().map_err(|error| self.unreadable(&error))?;
        if (opened.dev(), opened.ino()) != (again.dev(), again.ino()) {
            return Err(Failure::new(format!("{} was replaced while it was opened; try again", self.path)));
        }
        Ok(file)
    }

    /// An error of reading, with the name of the file.
    pub(super) fn unreadable(&self, error: &io::Error) -> Failure {
        let path = &self.path;
        Failure::new(match error.kind() {
            ErrorKind::NotFound => format!("there is no file {path} in the data directory"),
            ErrorKind::PermissionDenied => format!("{path} may not be read: permission denied"),
            _ => format!("{path} could not be read: {error}"),
        })
    }

    /// A message about the content, with the name of the file.
    pub(super) fn wrong(&self, message: impl std::fmt::Display) -> Failure {
        Failure::new(format!("{}: {message}", self.path))
    }
}

/// How far a file was read: its length then, and what it held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark {
    bytes: u64,
    digest: String,
    /// The last byte ended a line.
    whole: bool,
}

/// A file that only grows, read up to the length it has now, with a digest of everything read.
/// Refuses records that are too large.
pub(super) struct Growing {
    file: io::Take<File>,
    digest: Sha256,
    read: u64,
    last: u8,
    record: Rc<Cell<usize>>,
}

impl Growing {
    pub(super) fn new(file: File) -> io::Result<Self> {
        let length = file.metadata()?.len();
        Ok(Self {
            file: file.take(length),
            digest: Sha256::new(),
            read: 0,
            last: b'\n',
            record: Rc::default(),
        })
    }

    /// Set it to 0 with every record that was taken.
    pub(super) fn record(&self) -> Rc<Cell<usize>> {
        Rc::clone(&self.record)
    }

    /// Reads past what was read before. False when that part has changed, or its last line went on:
    /// then the file is to be read anew, from its start.
    pub(super) fn skip(&mut self, mark: &Mark) -> io::Result<bool> {
        let mut buffer = vec![0; 64 << 10];
        while self.read < mark.bytes {
            let left = usize::try_from(mark.bytes - self.read).unwrap_or(usize::MAX);
            let room = buffer.len().min(left);
            if self.read(&mut buffer[..room])? == 0 {
                return Ok(false);
            }
            self.record.set(0);
        }
        if self.mark().digest != mark.digest {
            return Ok(false);
        }
        if mark.whole {
            return Ok(true);
        }
        // The last line had no end. Only a line break, or nothing, may follow.
        let mut next = [0];
        Ok(self.read(&mut next)? == 0 || matches!(next[0], b'\n' | b'\r'))
    }

    /// What has been read so far.
    pub(super) fn mark(&self) -> Mark {
        let digest = self.digest.clone().finalize().iter().map(|byte| format!("{byte:02x}")).collect();
        Mark { bytes: self.read, digest, whole: self.last == b'\n' }
    }
}

impl Read for Growing {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.file.read(buffer)?;
        self.digest.update(&buffer[..count]);
        self.read += count as u64;
        if let Some(last) = buffer[..count].last() {
            self.last = *last;
        }
        let size = self.record.get().saturating_add(count);
        if size > LARGEST_RECORD {
            return Err(io::Error::other(format!("a record is larger than {} MiB", LARGEST_RECORD >> 20)));
        }
        self.record.set(size);
        Ok(count)
    }
}
