//! A file's text and its spanned tree: every key and value knows where it stands.

use super::diagnostic::{Code, Diagnostic, Label, Severity};
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;
use std::sync::Arc;
use toml::de::{DeTable, DeValue};
use toml_parser::lexer::TokenKind;

/// A file as text, with its lines found.
pub(super) struct Document<'a> {
    pub(super) path: Arc<str>,
    pub(super) text: &'a str,
    line_starts: Vec<usize>,
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
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n').map(|(at, _)| at + 1);
        let line_starts = std::iter::once(0).chain(breaks).collect();
        Self { path, text, line_starts }
    }

    /// The line of a byte, from 1; the text's end is on its last line.
    fn line(&self, at: usize) -> usize {
        let last = if self.text.ends_with('\n') { self.text.len() - 1 } else { self.text.len() };
        self.line_starts.partition_point(|start| *start <= at.min(last)).max(1)
    }

    /// Line and column of a place the text can be cut at.
    fn position(&self, at: usize) -> (u32, u32) {
        let line = self.line(at);
        let start = self.line_starts[line - 1];
        let before = self.text[start..at.min(self.text.len())].trim_end_matches('\n');
        (small(line), small(before.chars().count() + 1))
    }

    /// A range the text can be cut at.
    fn clamp(&self, range: Range<usize>) -> Range<usize> {
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

/// The findings so far.
pub(super) struct Findings<'d, 'a> {
    pub(super) documents: &'d [Document<'a>],
    found: Vec<(Span, Diagnostic)>,
    seen: HashSet<(Code, Span, String)>,
    /// Errors found in each document, listed or not.
    counts: Vec<usize>,
    /// Bytes that the sources may still take.
    room: usize,
}

/// A hundred thousand sources take a quarter of it; templates and lists of workspaces can multiply
/// a small file beyond any memory.
const ROOM: usize = 512 << 20;

/// More errors in one file than this help nobody, and cost memory.
const MOST_LISTED: usize = 100;

impl<'d, 'a> Findings<'d, 'a> {
    pub(super) fn new(documents: &'d [Document<'a>]) -> Self {
        Self {
            documents,
            found: Vec::new(),
            seen: HashSet::new(),
            counts: vec![0; documents.len()],
            room: ROOM,
        }
    }

    /// Reports an error. What defaults and templates hold is checked once for each source, so the
    /// same finding at the same place is reported once.
    pub(super) fn error(&mut self, code: Code, span: Span, message: impl Into<String>) -> Remark<'_, 'd, 'a> {
        let message = message.into();
        let count = self.counts[span.document as usize];
        let fresh = count < MOST_LISTED && self.seen.insert((code, span, message.clone()));
        if fresh || count >= MOST_LISTED {
            self.counts[span.document as usize] += 1;
        }
        if fresh {
            self.list(code, span, message);
        }
        Remark { findings: self, fresh }
    }

    fn list(&mut self, code: Code, span: Span, message: String) {
        let document = &self.documents[span.document as usize];
        let range = document.clamp(span.start as usize..span.end as usize);
        let (line, column) = document.position(range.start);
        let diagnostic = Diagnostic {
            code,
            severity: Severity::Error,
            file: Arc::clone(&document.path),
            line,
            column,
            message,
            help: None,
            span: range,
            label: None,
            labels: Vec::new(),
        };
        self.found.push((span, diagnostic));
    }

    pub(super) fn documents_with_errors(&self) -> HashSet<u32> {
        self.found.iter().map(|(span, _)| span.document).collect()
    }

    /// Reserves memory for that many copies of a source.
    pub(super) fn reserve(&mut self, source: &Table<'_>, copies: usize, at: Span) {
        let size = weight(source).saturating_mul(copies);
        match self.room.checked_sub(size) {
            Some(left) => self.room = left,
            None => {
                let message = format!("all sources together hold more than {} MiB", ROOM >> 20);
                self.error(Code::TooMuch, at, message)
                    .help("make templates smaller, or declare the sources in fewer workspaces");
            }
        }
    }

    /// How many errors were found so far.
    pub(super) fn count(&self) -> usize {
        self.counts.iter().sum()
    }

    pub(super) fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.found;
        found.sort_by(|(a, x), (b, y)| (a, x.code, &x.message).cmp(&(b, y.code, &y.message)));
        for (document, count) in self.counts.iter().enumerate().filter(|(_, count)| **count > MOST_LISTED) {
            let last = found.iter_mut().rfind(|(span, _)| span.document as usize == document);
            if let Some((_, diagnostic)) = last {
                diagnostic.help =
                    Some(format!("{} more errors in this file are not listed", count - MOST_LISTED));
            }
        }
        found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
    }

    pub(super) fn place(&self, span: Span) -> (Arc<str>, u32) {
        let document = &self.documents[span.document as usize];
        (Arc::clone(&document.path), small(document.line(span.start as usize)))
    }

    pub(super) fn source_of(&self, span: Span) -> &'a str {
        let document = &self.documents[span.document as usize];
        &document.text[document.clamp(span.start as usize..span.end as usize)]
    }
}

/// The finding just reported, to say more about it.
pub(super) struct Remark<'f, 'd, 'a> {
    findings: &'f mut Findings<'d, 'a>,
    fresh: bool,
}

impl Remark<'_, '_, '_> {
    fn with(self, change: impl FnOnce(&mut Diagnostic)) -> Self {
        if self.fresh
            && let Some((_, diagnostic)) = self.findings.found.last_mut()
        {
            change(diagnostic);
        }
        self
    }

    pub(super) fn help(self, text: impl Into<String>) -> Self {
        self.with(|diagnostic| diagnostic.help = Some(text.into()))
    }

    pub(super) fn maybe_help(self, text: Option<String>) -> Self {
        self.with(|diagnostic| diagnostic.help = text)
    }

    pub(super) fn label(self, text: impl Into<String>) -> Self {
        self.with(|diagnostic| diagnostic.label = Some(text.into()))
    }

    /// Points at another place as well.
    pub(super) fn also(self, span: Span, text: impl Into<String>) -> Self {
        let document = &self.findings.documents[span.document as usize];
        let label = Label {
            file: Arc::clone(&document.path),
            span: document.clamp(span.start as usize..span.end as usize),
            text: text.into(),
        };
        self.with(|diagnostic| diagnostic.labels.push(label))
    }
}

/// Roughly the memory a table takes.
fn weight(table: &Table<'_>) -> usize {
    fn node(value: &Value<'_>) -> usize {
        const NODE: usize = 96;
        NODE + match value {
            Value::String(text) => text.len(),
            Value::Array(items) => items.iter().map(|item| node(&item.value)).sum(),
            Value::Table(inner) => weight(inner),
            _ => 0,
        }
    }
    table.iter().map(|(key, entry)| key.len() + node(&entry.node.value)).sum()
}

/// Past a few, syntax errors follow from each other.
const MOST_SYNTAX_ERRORS: usize = 20;

/// Nested deeper than any configuration; keeps recursion below it bounded.
const DEEPEST: usize = 32;

/// Reads a document. `None` when it is not TOML. Everything wrong is reported; a value that cannot be
/// read is left out.
pub(super) fn parse<'a>(document: u32, findings: &mut Findings<'_, 'a>) -> Option<Table<'a>> {
    let text = findings.documents[document as usize].text;
    if let Some(at) = unbounded(text) {
        too_deep(span(document, at), findings);
        return None;
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in errors.iter().take(MOST_SYNTAX_ERRORS) {
        report_syntax(document, error, findings);
    }
    let mut lowering = Lowering { document, findings, escapes: text.contains("\\e") || text.contains("\\x") };
    let table = lowering.table(root.into_inner(), 0);
    errors.is_empty().then_some(table)
}

fn too_deep(at: Span, findings: &mut Findings<'_, '_>) {
    findings
        .error(Code::TooDeep, at, format!("nested more than {DEEPEST} levels deep"))
        .help("flatten the value");
}

/// The first place where brackets and dotted keys together nest beyond any reason. The parser
/// bounds each by itself, and what it builds from both is torn down by recursion.
fn unbounded(text: &str) -> Option<Range<usize>> {
    const MOST: usize = 2 * DEEPEST;
    let mut open: Vec<(TokenKind, usize)> = Vec::new();
    let mut outer = 0;
    let mut dots = 0;
    for token in toml_parser::Source::new(text).lex() {
        match token.kind() {
            TokenKind::Dot => dots += 1,
            kind @ (TokenKind::LeftSquareBracket | TokenKind::LeftCurlyBracket) => {
                open.push((kind, dots + 1));
                outer += dots + 1;
                dots = 0;
            }
            TokenKind::RightSquareBracket => close(TokenKind::LeftSquareBracket, &mut open, &mut outer),
            TokenKind::RightCurlyBracket => close(TokenKind::LeftCurlyBracket, &mut open, &mut outer),
            TokenKind::Comma | TokenKind::Newline => dots = 0,
            _ => {}
        }
        if outer + dots > MOST {
            return Some(token.span().start()..token.span().end());
        }
    }
    None
}

/// A bracket that closes another than the last one opened closes nothing.
fn close(kind: TokenKind, open: &mut Vec<(TokenKind, usize)>, outer: &mut usize) {
    if let Some((_, levels)) = open.pop_if(|(last, _)| *last == kind) {
        *outer -= levels;
    }
}

fn report_syntax(document: u32, error: &toml::de::Error, findings: &mut Findings<'_, '_>) {
    let text = findings.documents[document as usize].text;
    let range = error.span().unwrap_or(text.len()..text.len());
    // What is missing at a line's end is pointed at there, not across the line break.
    let at_break = text.as_bytes().get(range.start).is_some_and(|byte| matches!(byte, b'\n' | b'\r'));
    let end = if at_break { range.start } else { range.end.max(range.start) };
    let help = match error.message() {
        message if message.starts_with("duplicate key") => Some("a key and a header may stand once only"),
        message if message.contains("recursion") => Some("nest less deeply"),
        _ => None,
    };
    findings
        .error(Code::Syntax, span(document, range.start..end), error.message().replace('\n', " "))
        .maybe_help(help.map(str::to_owned));
}

fn small(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn span(document: u32, range: Range<usize>) -> Span {
    Span { document, start: small(range.start), end: small(range.end) }
}

/// Turns the parser's tree into ours, refusing what TOML 1.0 and JSON do not have.
struct Lowering<'f, 'd, 'a> {
    document: u32,
    findings: &'f mut Findings<'d, 'a>,
    /// Does an escape of TOML 1.1 stand anywhere in the text?
    escapes: bool,
}

impl<'a> Lowering<'_, '_, 'a> {
    fn table(&mut self, table: DeTable<'a>, depth: usize) -> Table<'a> {
        table
            .into_iter()
            .filter_map(|(key, value)| {
                let at = span(self.document, key.span());
                let node = self.node(value, at, depth + 1)?;
                Some((key.into_inner(), Entry { key: at, node }))
            })
            .collect()
    }

    fn node(&mut self, value: toml::Spanned<DeValue<'a>>, key: Span, depth: usize) -> Option<Node<'a>> {
        let at = span(self.document, value.span());
        if depth > DEEPEST {
            too_deep(key, self.findings);
            return None;
        }
        let value = match value.into_inner() {
            DeValue::String(text) => {
                self.check_escapes(at);
                Value::String(text)
            }
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_) => {
                    self.findings
                        .error(Code::NotSendable, at, "this number is too large")
                        .help("whole numbers have at most 64 bits; write it as a string");
                    return None;
                }
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => Value::Float(number),
                _ => {
                    self.findings
                        .error(Code::NotSendable, at, "JSON has no such number")
                        .help("write a finite number, or a string");
                    return None;
                }
            },
            DeValue::Boolean(value) => Value::Bool(value),
            DeValue::Datetime(value) => {
                if value.time.is_some_and(|time| time.second.is_none()) {
                    self.newer(at, "a time without seconds", "write the seconds");
                }
                Value::Datetime(value)
            }
            DeValue::Array(items) => {
                Value::Array(items.into_iter().filter_map(|item| self.node(item, at, depth + 1)).collect())
            }
            DeValue::Table(table) => {
                let table = self.table(table, depth);
                self.check_inline(at, &table);
                Value::Table(table)
            }
        };
        Some(Node { span: at, value })
    }

    fn newer(&mut self, at: Span, what: &str, help: &str) {
        self.findings
            .error(Code::NewerToml, at, format!("{what} is TOML 1.1; files here are TOML 1.0"))
            .help(help);
    }

    fn check_escapes(&mut self, at: Span) {
        if !self.escapes {
            return;
        }
        let raw = self.findings.source_of(at);
        let mut characters = raw.chars();
        while raw.starts_with('"')
            && let Some(character) = characters.next()
        {
            if character == '\\' && matches!(characters.next(), Some('e' | 'x')) {
                self.newer(at, "the escape `\\e` or `\\x`", "write it as `\\u00XX`");
                return;
            }
        }
    }

    /// An inline table stands on one line, without a comma after its last entry. Lines may break
    /// only within the values in it.
    fn check_inline(&mut self, at: Span, table: &Table<'a>) {
        if !self.findings.source_of(at).starts_with('{') {
            return;
        }
        let mut values = Vec::new();
        self.collect_values(table, &mut values);
        values.sort_unstable();
        let mut from = at.start;
        let mut gap = self.findings.source_of(at);
        for value in values {
            gap = self.findings.source_of(Span { start: from, end: value.start, ..at });
            if gap.contains('\n') {
                break;
            }
            from = value.end;
            gap = self.findings.source_of(Span { start: from, end: at.end, ..at });
        }
        if gap.contains('\n') {
            let first = self.findings.source_of(at).find(['\n', '\r']).unwrap_or(1);
            let line = Span { end: at.start + small(first), ..at };
            self.newer(
                line,
                "an inline table over several lines",
                "write it on one line, or as a table of its own under a [header]",
            );
        } else if gap.trim_start().starts_with(',') {
            self.newer(at, "a comma after an inline table's last entry", "remove the last comma");
        }
    }

    fn collect_values(&self, table: &Table<'a>, out: &mut Vec<Span>) {
        for entry in table.values() {
            match &entry.node.value {
                // A table made by a dotted key has its key's place.
                Value::Table(inner) if !self.findings.source_of(entry.node.span).starts_with('{') => {
                    self.collect_values(inner, out);
                }
                _ => out.push(entry.node.span),
            }
        }
    }
}
