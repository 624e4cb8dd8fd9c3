//! Builds the syntax tree of an ordinary document straight from the parser's events.
//!
//! Invariant: a tree is returned only if the exhaustive parser returns the same one without a finding. Errors,
//! TOML 1.1, arrays of tables, and tables that do not follow their parent are left to that parser.

use super::document::{Span, SpannedTable, SpannedValue, TableEntry, TomlValue};
use std::borrow::Cow;
use toml_parser::decoder::{Encoding, ScalarKind};
use toml_parser::parser::{EventReceiver, parse_document};
use toml_parser::{ErrorSink, ParseError, Raw, Source};

/// Maximum depth, below every limit of the exhaustive parser.
const MAX_DEPTH: usize = 16;

type Key<'a> = (Cow<'a, str>, Span);
type Entries<'a> = Vec<(Cow<'a, str>, TableEntry<'a>)>;

/// Returns the tree of a document; `None` unless it is an ordinary one.
pub fn parse(document: u32, text: &str) -> Option<SpannedTable<'_>> {
    let source = Source::new(text);
    let tokens = source.lex().into_vec();
    let mut builder = TreeBuilder {
        document,
        source,
        is_ordinary: !text.starts_with('\u{feff}'),
        tables: vec![OpenTable::new(TableKind::Header, (Cow::Borrowed(""), Span::new(document, &(0..0))))],
        header_depth: 1,
        header_start: 0,
        keys: Vec::new(),
        values: Vec::new(),
    };
    let mut has_errors = false;
    parse_document(&tokens, &mut builder, &mut |_: ParseError| has_errors = true);
    builder.close_tables(1);
    let root = builder.tables.pop()?;
    let root = unique(root.entries)?;
    (builder.is_ordinary && !has_errors && builder.values.is_empty()).then_some(root)
}

/// A table of the document that may get further entries.
struct OpenTable<'a> {
    kind: TableKind,
    key: Key<'a>,
    /// Location of the header, or of the key that made the table.
    span: Span,
    entries: Entries<'a>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum TableKind {
    /// Has a header, or is part of the path of one.
    Header,
    /// Made by a dotted key.
    Dotted,
}

impl<'a> OpenTable<'a> {
    fn new(kind: TableKind, key: Key<'a>) -> Self {
        Self { kind, span: key.1, key, entries: Vec::new() }
    }
}

/// A value that has been opened and not closed yet.
struct OpenValue<'a> {
    start: usize,
    content: OpenContent<'a>,
}

enum OpenContent<'a> {
    Array(Vec<SpannedValue<'a>>),
    /// An inline table, with the key whose value follows.
    Table(Entries<'a>, Option<Key<'a>>),
}

struct TreeBuilder<'a> {
    document: u32,
    source: Source<'a>,
    is_ordinary: bool,
    /// The root, and each further table within the one before.
    tables: Vec<OpenTable<'a>>,
    /// Number of `tables` up to that of the last header.
    header_depth: usize,
    header_start: usize,
    /// Parts of the header, or of the key, that is being read.
    keys: Vec<Key<'a>>,
    values: Vec<OpenValue<'a>>,
}

impl<'a> TreeBuilder<'a> {
    fn give_up(&mut self) {
        self.is_ordinary = false;
    }

    fn raw(&self, span: toml_parser::Span, encoding: Option<Encoding>) -> Raw<'a> {
        let text = self.source.input().get(span.start()..span.end()).unwrap_or_default();
        Raw::new_unchecked(text, encoding, span)
    }

    fn span(&self, start: usize, end: usize) -> Span {
        Span::new(self.document, &(start..end))
    }

    /// Closes all tables but the first `kept`.
    fn close_tables(&mut self, kept: usize) {
        while self.tables.len() > kept
            && let Some(OpenTable { key: (key, key_span), span, entries, .. }) = self.tables.pop()
        {
            match (unique(entries), self.tables.last_mut()) {
                (Some(table), Some(parent)) => {
                    let node = SpannedValue { span, value: TomlValue::Table(table) };
                    parent.entries.push((key, TableEntry { key: key_span, node }));
                }
                _ => self.give_up(),
            }
        }
    }

    /// Opens the tables of this path below the first `base`, keeping those that are open already.
    fn open_tables(&mut self, base: usize, path: Vec<Key<'a>>, kind: TableKind) {
        if base + path.len() >= MAX_DEPTH {
            return self.give_up();
        }
        let open = self.tables.iter().skip(base).zip(&path);
        let shared = open.take_while(|(table, key)| table.kind == kind && table.key.0 == key.0).count();
        self.close_tables(base + shared);
        self.tables.extend(path.into_iter().skip(shared).map(|key| OpenTable::new(kind, key)));
    }

    fn open_header(&mut self, end: usize) {
        let mut path = std::mem::take(&mut self.keys);
        self.close_tables(self.header_depth);
        let is_open = |(table, key): (&OpenTable<'_>, &Key<'_>)| table.key.0 == key.0;
        if self.tables.len() > path.len() && self.tables.iter().skip(1).zip(&path).all(is_open) {
            return self.give_up();
        }
        let Some(key) = path.pop() else { return self.give_up() };
        self.open_tables(1, path, TableKind::Header);
        let span = self.span(self.header_start, end);
        self.tables.push(OpenTable { span, ..OpenTable::new(TableKind::Header, key) });
        self.header_depth = self.tables.len();
    }

    /// Adds a value to the innermost open value, or as the value of the key that was read.
    fn add(&mut self, value: SpannedValue<'a>) {
        match self.values.last_mut().map(|open| &mut open.content) {
            Some(OpenContent::Array(items)) => items.push(value),
            Some(OpenContent::Table(entries, key)) => match key.take() {
                Some((key, at)) => entries.push((key, TableEntry { key: at, node: value })),
                None => self.give_up(),
            },
            None => {
                let mut path = std::mem::take(&mut self.keys);
                let Some((key, at)) = path.pop() else { return self.give_up() };
                self.open_tables(self.header_depth, path, TableKind::Dotted);
                if let Some(table) = self.tables.last_mut() {
                    table.entries.push((key, TableEntry { key: at, node: value }));
                }
            }
        }
    }

    fn open_value(&mut self, start: usize, content: OpenContent<'a>) -> bool {
        self.values.push(OpenValue { start, content });
        let is_shallow = self.tables.len() + self.values.len() <= MAX_DEPTH;
        self.is_ordinary &= is_shallow;
        is_shallow
    }

    fn close_value(&mut self, end: usize) {
        let Some(OpenValue { start, content }) = self.values.pop() else { return self.give_up() };
        let value = match content {
            OpenContent::Array(items) => Some(TomlValue::Array(items)),
            // Several lines are TOML 1.1, except within a value.
            OpenContent::Table(..) if self.source.input()[start..end].contains('\n') => None,
            OpenContent::Table(entries, _) => unique(entries).map(TomlValue::Table),
        };
        match value {
            Some(value) => self.add(SpannedValue { span: self.span(start, end), value }),
            None => self.give_up(),
        }
    }

    fn is_in_inline_table(&self) -> bool {
        matches!(self.values.last(), Some(OpenValue { content: OpenContent::Table(..), .. }))
    }
}

impl EventReceiver for TreeBuilder<'_> {
    fn std_table_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.header_start = span.start();
        self.keys.clear();
    }

    fn std_table_close(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.open_header(span.end());
    }

    fn array_table_open(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.give_up();
    }

    fn inline_table_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) -> bool {
        self.open_value(span.start(), OpenContent::Table(Vec::new(), None))
    }

    fn inline_table_close(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        // A comma before the end is TOML 1.1.
        if self.source.input()[..span.start()].trim_ascii_end().ends_with(',') {
            self.give_up();
        }
        self.close_value(span.end());
    }

    fn array_open(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) -> bool {
        self.open_value(span.start(), OpenContent::Array(Vec::new()))
    }

    fn array_close(&mut self, span: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.close_value(span.end());
    }

    fn simple_key(&mut self, span: toml_parser::Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let mut key = Cow::Borrowed("");
        self.raw(span, encoding).decode_key(&mut key, error);
        // The JSON library has a special meaning for such keys.
        if key.starts_with("$serde_json::") {
            self.give_up();
        }
        let key = (key, self.span(span.start(), span.end()));
        match self.values.last_mut().map(|open| &mut open.content) {
            Some(OpenContent::Table(_, next @ None)) => *next = Some(key),
            Some(_) => self.give_up(),
            None => self.keys.push(key),
        }
    }

    fn key_sep(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        if self.is_in_inline_table() {
            self.give_up();
        }
    }

    fn scalar(&mut self, span: toml_parser::Span, encoding: Option<Encoding>, error: &mut dyn ErrorSink) {
        let raw = self.raw(span, encoding);
        let mut text = Cow::Borrowed("");
        let value = match raw.decode_scalar(&mut text, error) {
            ScalarKind::String if matches!(text, Cow::Owned(_)) && has_newer_escapes(raw.as_str()) => None,
            ScalarKind::String => Some(TomlValue::String(text)),
            ScalarKind::Boolean(value) => Some(TomlValue::Bool(value)),
            ScalarKind::Integer(radix) => {
                i64::from_str_radix(&text, radix.value()).ok().map(TomlValue::Integer)
            }
            ScalarKind::Float => {
                text.parse().ok().filter(|number: &f64| number.is_finite()).map(TomlValue::Float)
            }
            ScalarKind::DateTime => {
                let moment = text.parse::<toml::value::Datetime>().ok();
                let has_seconds =
                    |moment: &toml::value::Datetime| moment.time.is_none_or(|time| time.second.is_some());
                moment.filter(has_seconds).map(TomlValue::Datetime)
            }
        };
        match value {
            Some(value) => self.add(SpannedValue { span: self.span(span.start(), span.end()), value }),
            None => self.give_up(),
        }
    }

    fn comment(&mut self, span: toml_parser::Span, error: &mut dyn ErrorSink) {
        self.raw(span, None).decode_comment(error);
    }

    fn newline(&mut self, span: toml_parser::Span, error: &mut dyn ErrorSink) {
        self.raw(span, None).decode_newline(error);
    }

    fn error(&mut self, _: toml_parser::Span, _: &mut dyn ErrorSink) {
        self.give_up();
    }
}

/// Returns the table; `None` if a key is repeated.
fn unique(entries: Entries<'_>) -> Option<SpannedTable<'_>> {
    let table = SpannedTable::of(entries);
    let repeats = table.keys().zip(table.keys().skip(1)).any(|(key, next)| key == next);
    (!repeats).then_some(table)
}

/// Returns true if the text may contain an escape of TOML 1.1.
fn has_newer_escapes(text: &str) -> bool {
    text.contains("\\e") || text.contains("\\x")
}
