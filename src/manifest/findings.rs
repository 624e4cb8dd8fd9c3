//! What was found so far: errors with their places, within bounds.

use super::cron::Verdicts;
use super::diagnostic::{Code, Diagnostic, Label, Severity};
use super::document::{Document, Span, Table, Value, small};
use std::collections::HashSet;
use std::sync::Arc;

/// The findings so far.
pub(super) struct Findings<'d, 'a> {
    pub(super) documents: &'d [Document<'a>],
    found: Vec<(Span, Diagnostic)>,
    seen: HashSet<(Code, Span, String)>,
    /// Errors found in each document, listed or not.
    counts: Vec<usize>,
    /// Their sum.
    total: usize,
    /// Documents that are broken by what is reported elsewhere.
    broken_too: HashSet<u32>,
    /// The cron expressions judged so far.
    pub(super) cron: Verdicts,
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
            total: 0,
            broken_too: HashSet::new(),
            cron: Verdicts::default(),
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
            self.total += 1;
        }
        if fresh {
            self.list(code, span, message);
        }
        Remark { findings: self, fresh }
    }

    /// Reports what is wrong with the tree as a whole, at the first place that shows it. Every
    /// document that shows it is broken.
    pub(super) fn once(&mut self, code: Code, span: Span, message: String) -> Remark<'_, 'd, 'a> {
        if self.found.iter().any(|(_, found)| found.code == code && found.message == message) {
            self.break_too(span);
            return Remark { findings: self, fresh: false };
        }
        self.error(code, span, message)
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

    /// The document that holds this place is broken as well, by what was reported at another.
    pub(super) fn break_too(&mut self, span: Span) {
        self.broken_too.insert(span.document);
    }

    pub(super) fn documents_with_errors(&self) -> HashSet<u32> {
        self.found.iter().map(|(span, _)| span.document).chain(self.broken_too.iter().copied()).collect()
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
        self.total
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
