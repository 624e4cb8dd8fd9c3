//! Cache of earlier loads.
//!
//! Unchanged files are not parsed and unchanged units not assembled again. Valid for unchanged settings. Only
//! files without diagnostics are cached: any other file is parsed in each load, together with every file that
//! contributes to the same units.

use super::SourceFile;
use super::diagnostic::Diagnostic;
use super::document::Span;
use super::workspace::FileReading;
use crate::model::{FoldedUnit, Unit};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// SHA-256 of a file's text.
pub type TextDigest = [u8; 32];

/// One file of the project, for a load that may have cached it.
#[derive(Debug, Clone)]
pub struct File<'a> {
    /// Path below the project root, with `/`.
    pub path: Arc<str>,
    /// Digest of the text; `None` if there is no text, or it must not be cached.
    pub digest: Option<TextDigest>,
    /// Contents, or why they could not be read.
    ///
    /// `None` if unchanged according to the digest.
    pub text: Option<Result<&'a str, String>>,
}

/// Paths of files whose text is needed after all.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<Arc<str>>);

/// Results of a load, for use by the next one.
#[derive(Default)]
pub struct Known {
    /// Cache key; `None` if the cache cannot be reused.
    pub(super) ground: Option<Ground>,
    pub(super) files: HashMap<Arc<str>, KnownFile>,
    pub(super) units: HashMap<Unit, KnownUnit>,
}

/// Inputs that invalidate every cached file.
#[derive(PartialEq, Eq)]
pub(super) struct Ground {
    /// Digest of `wellspring.toml`; `None` if there is none.
    pub(super) settings: Option<TextDigest>,
    /// Values of the variables that it refers to.
    pub(super) variables: BTreeMap<String, Option<String>>,
}

/// A valid file.
#[derive(Clone)]
pub(super) struct KnownFile {
    pub(super) digest: TextDigest,
    /// Units that the file names.
    pub(super) units: Arc<[Unit]>,
    /// Bytes that its sources take.
    pub(super) weight: usize,
}

/// A unit, assembled from valid files only.
#[derive(Clone)]
pub(super) struct KnownUnit {
    pub(super) files: Vec<(Arc<str>, TextDigest)>,
    /// True if the units of every file were known, as checks of `[moved]` require.
    pub(super) complete: bool,
    /// True if the unit has `[moved]` entries.
    pub(super) moved: bool,
    pub(super) desired: Kept,
}

/// The cached form of a unit.
#[derive(Clone)]
pub(super) enum Kept {
    /// The unit itself.
    Unit(Arc<FoldedUnit>),
    /// Only that nothing needs to be done for it: see [`UnitRecord`].
    Settled,
}

/// Serialised cache entry of a unit for which nothing needs to be done.
///
/// A later process need not parse the unit's files while they are unchanged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UnitRecord {
    files: Vec<FileRecord>,
    moved: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct FileRecord {
    path: Arc<str>,
    digest: TextDigest,
    weight: usize,
    units: Arc<[Unit]>,
}

impl UnitRecord {
    /// Returns true if all files of the unit are unchanged.
    pub fn holds(&self, digest: impl Fn(&str) -> Option<TextDigest>) -> bool {
        self.files.iter().all(|file| digest(&file.path) == Some(file.digest))
    }
}

/// Result of parsing one file, with its diagnostics.
pub(super) struct Learned {
    pub(super) reading: FileReading,
    pub(super) found: Vec<(Span, Diagnostic)>,
    /// Number of errors in the file itself, including unlisted ones.
    pub(super) errors: usize,
    /// Bytes that its sources take.
    pub(super) weight: usize,
}

impl<'a> File<'a> {
    /// Wraps a file that must not be cached.
    pub(super) fn of(file: &'a SourceFile<'_>) -> Self {
        let text = file.text.as_deref().map_err(Clone::clone);
        Self { path: Arc::clone(&file.path), digest: None, text: Some(text) }
    }

    /// Returns the text, empty if there is none.
    pub(super) fn text(&self) -> &'a str {
        match &self.text {
            Some(Ok(text)) => text,
            _ => "",
        }
    }
}

impl Known {
    /// Creates a cache from the records of an earlier process.
    ///
    /// The records are of units for which nothing needs to be done, with these settings and variables. Units
    /// with unchanged files become [`Desired::settled`].
    ///
    /// [`Desired::settled`]: crate::model::Desired::settled
    #[must_use]
    pub fn of_settled(
        settings: Option<TextDigest>,
        variables: BTreeMap<String, Option<String>>,
        units: impl IntoIterator<Item = (Unit, UnitRecord)>,
    ) -> Self {
        let mut known = Self { ground: Some(Ground { settings, variables }), ..Self::default() };
        for (unit, record) in units {
            let files = record.files.iter().map(|file| (Arc::clone(&file.path), file.digest)).collect();
            known.files.extend(record.files.into_iter().map(|file| {
                (file.path, KnownFile { digest: file.digest, units: file.units, weight: file.weight })
            }));
            let unit_known = KnownUnit { files, complete: true, moved: record.moved, desired: Kept::Settled };
            known.units.insert(unit, unit_known);
        }
        known
    }

    /// Returns the record of a unit for a later process.
    ///
    /// `None` if the unit has errors, or the units of some file are unknown.
    #[must_use]
    pub fn record(&self, unit: &Unit) -> Option<UnitRecord> {
        let known = self.units.get(unit).filter(|known| known.complete)?;
        let record = |(path, digest): &(Arc<str>, TextDigest)| {
            let KnownFile { units, weight, .. } = self.files.get(path)?;
            let path = Arc::clone(path);
            Some(FileRecord { path, digest: *digest, weight: *weight, units: Arc::clone(units) })
        };
        let files = known.files.iter().map(record).collect::<Option<_>>()?;
        Some(UnitRecord { files, moved: known.moved })
    }

    /// Returns the cache if it was filled with the same settings and variables.
    pub(super) fn on(&self, ground: Option<&Ground>) -> Option<&Self> {
        ground.is_some_and(|ground| self.ground.as_ref() == Some(ground)).then_some(self)
    }
}
