//! A file's text and its spanned tree: every key and value knows where it stands.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

/// A file as text, with its lines found.
pub(super) struct Document<'a> {
    pub(super) path: Arc<str>,
    pub(super) text: &'a str,
    line_starts: OnceLock<Vec<usize>>,
}

/// A place: bytes of one document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Span {
    /// Index into the documents of this reading.
    pub(super) document: u32,
    pub(super) start: u32,
    pub(super) end: u32,
}

/// A table with the places of its keys.
pub(super) type Table<'a> = BTreeMap<Cow<'a, str>, Entry<'a>>;

/// A key's value, with the place of both.
#[derive(Debug, Clone)]
pub(super) struct Entry<'a> {
    pub(super) key: Span,
    pub(super) node: Node<'a>,
}

/// A value and its place. A `[header]` table's place is its header.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    pub(super) span: Span,
    pub(super) value: Value<'a>,
}

/// TOML's values. Numbers that do not fit are reported and not here.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    String(Cow<'a, str>),
    Integer(i64),
    Float(f64),
    Bool(bool),
    Datetime(toml::value::Datetime),
    Array(Vec<Node<'a>>),
    Table(Table<'a>),
}

impl<'a> Document<'a> {
    pub(super) fn new(path: Arc<str>, text: &'a str) -> Self {
        Self { path, text, line_starts: OnceLock::new() }
    }

    /// Found when first asked for: a file that is not read again has no place to tell.
    fn line_starts(&self) -> &[usize] {
        self.line_starts.get_or_init(|| {
            let breaks =
                self.text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
            std::iter::once(0).chain(breaks).collect()
        })
    }

    /// The line of a byte, from 1; the text's end is on its last line.
    pub(super) fn line(&self, at: usize) -> usize {
        let last = if self.text.ends_with('\n') { self.text.len() - 1 } else { self.text.len() };
        self.line_starts().partition_point(|start| *start <= at.min(last)).max(1)
    }

    /// Line and column of a place the text can be cut at.
    pub(super) fn position(&self, at: usize) -> (u32, u32) {
        let line = self.line(at);
        let start = self.line_starts()[line - 1];
        let before = self.text[start..at.min(self.text.len())].trim_end_matches('\n');
        (small(line), small(before.chars().count() + 1))
    }

    /// A range the text can be cut at.
    pub(super) fn clamp(&self, range: Range<usize>) -> Range<usize> {
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

impl Span {
    pub(super) fn new(document: u32, range: &Range<usize>) -> Self {
        Self { document, start: small(range.start), end: small(range.end) }
    }
}

pub(super) fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}
