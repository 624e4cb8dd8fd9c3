//! What earlier readings learned: below settings that are as they were, a file that is as it was is not
//! parsed again, and a unit whose files are all as they were is not put together again.
//!
//! Only what is sound is remembered. A file with anything wrong in it or said against it is read anew
//! each time, with every file that speaks of the same units.

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

/// One file of the tree, for a reading that may know it already.
#[derive(Debug, Clone)]
pub struct File<'a> {
    /// Path below the root, with `/`.
    pub path: Arc<str>,
    /// Of its text; `None` where there is none, or nothing is to be remembered of it.
    pub digest: Option<TextDigest>,
    /// The text, or why there is none. `None` when it was not read again: it is as the digest says.
    pub text: Option<Result<&'a str, String>>,
}

/// Texts that a reading needs after all, by path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing(pub Vec<Arc<str>>);

/// What was learned of a tree.
#[derive(Default)]
pub struct Known {
    /// What every file was read by; `None` when that cannot be told again.
    pub(super) ground: Option<Ground>,
    pub(super) files: HashMap<Arc<str>, KnownFile>,
    pub(super) units: HashMap<Unit, KnownUnit>,
}

/// What the meaning of a file depends on beside its text.
#[derive(PartialEq, Eq)]
pub(super) struct Ground {
    /// `wellspring.toml`; `None` when there is none.
    pub(super) settings: Option<TextDigest>,
    /// The variables that were looked up for it.
    pub(super) variables: BTreeMap<String, Option<String>>,
}

/// A sound file.
#[derive(Clone)]
pub(super) struct KnownFile {
    pub(super) digest: TextDigest,
    /// The units it names.
    pub(super) units: Arc<[Unit]>,
    /// Bytes that its sources take.
    pub(super) weight: usize,
}

/// A unit, put together from sound files only.
#[derive(Clone)]
pub(super) struct KnownUnit {
    pub(super) files: Vec<(Arc<str>, TextDigest)>,
    /// The units of every file were known: only then is it told what leads nowhere.
    pub(super) complete: bool,
    /// It says that a source moved.
    pub(super) moved: bool,
    pub(super) desired: Kept,
}

/// What is kept of a unit.
#[derive(Clone)]
pub(super) enum Kept {
    /// What its files say.
    Unit(Arc<FoldedUnit>),
    /// That nothing needs to be done about it: see [`UnitRecord`].
    Settled,
}

/// What a reading learned of one unit, in words, so that a later process need not read its files while
/// nothing needs to be done about it.
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
    /// Are all its files as they were?
    pub fn holds(&self, digest: impl Fn(&str) -> Option<TextDigest>) -> bool {
        self.files.iter().all(|file| digest(&file.path) == Some(file.digest))
    }
}

/// What one file says, and what is wrong with it.
pub(super) struct Learned {
    pub(super) reading: FileReading,
    pub(super) found: Vec<(Span, Diagnostic)>,
    /// Errors in the file itself, listed or not.
    pub(super) errors: usize,
    /// Bytes that its sources take.
    pub(super) weight: usize,
}

impl<'a> File<'a> {
    /// Nothing is remembered of it.
    pub(super) fn of(file: &'a SourceFile<'_>) -> Self {
        let text = file.text.as_deref().map_err(Clone::clone);
        Self { path: Arc::clone(&file.path), digest: None, text: Some(text) }
    }

    /// Empty where there is none.
    pub(super) fn text(&self) -> &'a str {
        match &self.text {
            Some(Ok(text)) => text,
            _ => "",
        }
    }
}

impl Known {
    /// What an earlier process learned of units about which nothing needs to be done, from settings of this
    /// digest and with these variables. Where the files still say so, they are [`Desired::settled`].
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

    /// What to tell a later process of a unit; `None` where the units of some file are not known, or it is not
    /// sound.
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

    /// Nothing is known of what was read by other settings.
    pub(super) fn on(&self, ground: Option<&Ground>) -> Option<&Self> {
        ground.is_some_and(|ground| self.ground.as_ref() == Some(ground)).then_some(self)
    }
}
