//! Text of a file and its syntax tree, with the location of every key and value.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A file with an index of its lines.
pub struct Document<'a> {
    /// Path as shown in messages.
    pub path: Arc<str>,
    /// Text of the whole file.
    pub text: &'a str,
    line_breaks: OnceLock<Vec<usize>>,
}

/// A byte range in one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span {
    /// Index into the documents of this load.
    pub document: u32,
    /// First byte.
    pub start: u32,
    /// Byte after the last.
    pub end: u32,
}

/// A table with the locations of its keys, sorted by key.
#[derive(Debug, Clone, Default)]
pub struct SpannedTable<'a>(Vec<(Cow<'a, str>, TableEntry<'a>)>);

/// A value with the locations of its key and itself.
#[derive(Debug, Clone)]
pub struct TableEntry<'a> {
    /// Location of the key.
    pub key: Span,
    /// The value.
    pub node: SpannedValue<'a>,
}

/// A value and its location; for a `[header]` table, that of the header.
#[derive(Debug, Clone)]
pub struct SpannedValue<'a> {
    /// Location of the value.
    pub span: Span,
    /// The value itself.
    pub value: TomlValue<'a>,
}

/// TOML values; numbers that do not fit are reported and omitted.
#[derive(Debug, Clone)]
pub enum TomlValue<'a> {
    /// A string of any of the four kinds.
    String(Cow<'a, str>),
    /// An integer.
    Integer(i64),
    /// A float; may be infinite or NaN.
    Float(f64),
    /// A boolean.
    Bool(bool),
    /// A date, a time or both.
    Datetime(toml::value::Datetime),
    /// An array.
    Array(Vec<SpannedValue<'a>>),
    /// A table of any form.
    Table(SpannedTable<'a>),
}

impl<'a> Document<'a> {
    /// Pairs a text with its path.
    pub fn new(path: Arc<str>, text: &'a str) -> Self {
        Self { path, text, line_breaks: OnceLock::new() }
    }

    /// Returns the number of line breaks before each stretch and before the end.
    ///
    /// Computed on first use, because most files need no locations.
    fn line_breaks(&self) -> &[usize] {
        self.line_breaks.get_or_init(|| {
            let sum = |sum: &mut usize, stretch| {
                *sum += breaks(stretch);
                Some(*sum)
            };
            std::iter::once(0).chain(self.text.as_bytes().chunks(LINE_BLOCK_BYTES).scan(0, sum)).collect()
        })
    }

    /// Moves a position at the end of the text onto the last line.
    fn clamp_to_last_line(&self, at: usize) -> usize {
        at.min(self.text.len() - usize::from(self.text.ends_with('\n')))
    }

    /// Returns the line of a byte position, from 1.
    pub fn line(&self, at: usize) -> usize {
        let at = self.clamp_to_last_line(at);
        let stretch = &self.text.as_bytes()[at - at % LINE_BLOCK_BYTES..at];
        self.line_breaks()[at / LINE_BLOCK_BYTES] + breaks(stretch) + 1
    }

    /// Returns line and column of a position on a character boundary.
    pub fn position(&self, at: usize) -> (u32, u32) {
        let line = self.line(at);
        let start = self.text[..self.clamp_to_last_line(at)].rfind('\n').map_or(0, |at| at + 1);
        let before = self.text[start..at.min(self.text.len())].trim_end_matches('\n');
        (small(line), small(before.chars().count() + 1))
    }

    /// Moves a range to character boundaries.
    pub fn clamp(&self, range: Range<usize>) -> Range<usize> {
        let floor = |mut at: usize| {
            at = at.min(self.text.len());
            while !self.text.is_char_boundary(at) {
                at -= 1;
            }
            at
        };
        let start = floor(range.start);
        start..floor(range.end).max(start)
    }
}

impl<'a> SpannedTable<'a> {
    /// Builds a table of entries with unique keys.
    pub fn of(mut entries: Vec<(Cow<'a, str>, TableEntry<'a>)>) -> Self {
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Self(entries)
    }

    fn position(&self, key: &str) -> Option<usize> {
        // For few keys, a linear search is faster.
        const MAX_LINEAR_SEARCH: usize = 16;
        match self.0.len() {
            ..=MAX_LINEAR_SEARCH => self.0.iter().position(|(other, _)| other == key),
            _ => self.0.binary_search_by(|(other, _)| other.as_ref().cmp(key)).ok(),
        }
    }

    /// Returns the entry of a key.
    pub fn get(&self, key: &str) -> Option<&TableEntry<'a>> {
        self.position(key).map(|at| &self.0[at].1)
    }

    /// Returns the entry of a key for changes.
    pub fn get_mut(&mut self, key: &str) -> Option<&mut TableEntry<'a>> {
        self.position(key).map(|at| &mut self.0[at].1)
    }

    /// Returns true if the table has the key.
    pub fn contains_key(&self, key: &str) -> bool {
        self.position(key).is_some()
    }

    /// Removes and returns the entry of a key.
    pub fn remove(&mut self, key: &str) -> Option<TableEntry<'a>> {
        self.position(key).map(|at| self.0.remove(at).1)
    }

    /// Adds entries whose keys are not in the table yet.
    pub fn add(&mut self, entries: Vec<(Cow<'a, str>, TableEntry<'a>)>) {
        self.0.extend(entries);
        self.0.sort_by(|(a, _), (b, _)| a.cmp(b));
    }

    /// Returns the number of keys.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns true if the table has no keys.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Iterates over keys and entries, sorted by key.
    pub fn iter(&self) -> impl Iterator<Item = (&Cow<'a, str>, &TableEntry<'a>)> {
        self.0.iter().map(|(key, entry)| (key, entry))
    }

    /// Iterates over the sorted keys.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(key, _)| key.as_ref())
    }

    /// Iterates over the entries, sorted by key.
    pub fn values(&self) -> impl Iterator<Item = &TableEntry<'a>> {
        self.0.iter().map(|(_, entry)| entry)
    }
}

impl<'a> IntoIterator for SpannedTable<'a> {
    type Item = (Cow<'a, str>, TableEntry<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl<'a> FromIterator<(Cow<'a, str>, TableEntry<'a>)> for SpannedTable<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, TableEntry<'a>)>>(entries: I) -> Self {
        Self::of(entries.into_iter().collect())
    }
}

impl Span {
    /// Converts a byte range; positions beyond 4 GiB become the largest.
    pub fn new(document: u32, range: &Range<usize>) -> Self {
        Self { document, start: small(range.start), end: small(range.end) }
    }
}

/// Length in bytes of the stretches for which line breaks are counted.
///
/// Finding a line only scans one stretch; the index of a large file stays small.
const LINE_BLOCK_BYTES: usize = 128;

fn breaks(stretch: &[u8]) -> usize {
    stretch.iter().map(|byte| u8::from(*byte == b'\n')).sum::<u8>().into()
}

/// Converts a position; one beyond 4 GiB becomes the largest.
pub fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
