//! Collector of diagnostics, with limits on their number and on memory.

use super::cron::Verdicts;
use super::diagnostic::{Code, Diagnostic, Label, Severity};
use super::document::{Document, Span, Table, Value, small};
use super::known::Learned;
use super::workspace::FileReading;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The diagnostics collected so far.
pub(crate) struct Findings<'d, 'a> {
    pub(crate) documents: &'d [Document<'a>],
    found: Vec<(Span, Diagnostic)>,
    seen: HashSet<(Code, Span, String)>,
    /// Number of errors in each document, including unlisted ones.
    counts: HashMap<u32, usize>,
    /// Their sum.
    total: usize,
    /// Number of listed warnings.
    warnings: usize,
    /// Documents that are broken by an error reported in another one.
    broken_too: HashSet<u32>,
    pub(crate) shared: Shared,
    /// Bytes reserved by this collector.
    weight: usize,
}

/// State shared by parallel parsers.
#[derive(Clone)]
pub(crate) struct Shared {
    /// Bytes that all sources may still reserve.
    room: Arc<AtomicUsize>,
    /// Cache of checked cron expressions.
    pub(super) cron: Verdicts,
}

/// Memory limit of all sources in bytes.
///
/// A hundred thousand sources take half of it. The limit is necessary because templates and lists of
/// workspaces can multiply a small file beyond any memory.
const ROOM: usize = 256 << 20;

/// Maximum number of values in one source.
///
/// Each is compared and shown individually.
const MOST_VALUES: usize = 10_000;

/// Maximum number of listed errors in one file; more would only cost memory.
const MOST_LISTED: usize = 100;

impl<'d, 'a> Findings<'d, 'a> {
    pub(crate) fn new(documents: &'d [Document<'a>]) -> Self {
        Self::within(documents, Shared { room: Arc::new(AtomicUsize::new(ROOM)), cron: Verdicts::default() })
    }

    /// Creates a collector that shares the memory limit with others.
    fn within(documents: &'d [Document<'a>], shared: Shared) -> Self {
        Self {
            documents,
            found: Vec::new(),
            seen: HashSet::new(),
            counts: HashMap::new(),
            total: 0,
            warnings: 0,
            broken_too: HashSet::new(),
            shared,
            weight: 0,
        }
    }

    /// Reports an error, once per location.
    ///
    /// Defaults and templates are checked again for each source, so the same error may be found repeatedly.
    pub(crate) fn error(&mut self, code: Code, span: Span, message: impl Into<String>) -> Remark<'_, 'd, 'a> {
        let message = message.into();
        let count = self.counts.get(&span.document).copied().unwrap_or_default();
        let fresh = count < MOST_LISTED && self.seen.insert((code, span, message.clone()));
        if fresh || count >= MOST_LISTED {
            *self.counts.entry(span.document).or_default() += 1;
            self.total += 1;
        }
        if fresh {
            self.list((code, Severity::Error), span, message);
        }
        Remark { findings: self, fresh }
    }

    /// Reports a valid but probably unintended construct.
    ///
    /// The file is used nevertheless.
    pub(super) fn warning(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> Remark<'_, 'd, 'a> {
        let message = message.into();
        let fresh = self.warnings < MOST_LISTED && self.seen.insert((code, span, message.clone()));
        if fresh {
            self.warnings += 1;
            self.list((code, Severity::Warning), span, message);
        }
        Remark { findings: self, fresh }
    }

    /// Reports a problem of the whole project, at the first location that shows it.
    ///
    /// Every document that shows it is broken.
    pub(crate) fn once(&mut self, code: Code, span: Span, message: String) -> Remark<'_, 'd, 'a> {
        if self.found.iter().any(|(_, found)| found.code == code && found.message == message) {
            self.break_too(span);
            return Remark { findings: self, fresh: false };
        }
        self.error(code, span, message).with(|diagnostic| diagnostic.once = true)
    }

    fn list(&mut self, (code, severity): (Code, Severity), span: Span, message: String) {
        let document = &self.documents[span.document as usize];
        let range = document.clamp(span.start as usize..span.end as usize);
        let (line, column) = document.position(range.start);
        let diagnostic = Diagnostic {
            code,
            severity,
            file: Arc::clone(&document.path),
            line,
            column,
            message,
            help: None,
            span: range.clone(),
            label: None,
            labels: Vec::new(),
            // Hides the secret in every form.
            hides: if code == Code::PlainSecret { vec![range.clone()] } else { Vec::new() },
            once: false,
        };
        self.found.push((span, diagnostic));
    }

    /// Marks the document of this location as broken by an error reported elsewhere.
    pub(crate) fn break_too(&mut self, span: Span) {
        self.broken_too.insert(span.document);
    }

    pub(crate) fn documents_with_errors(&self) -> HashSet<u32> {
        let errors = self.found.iter().filter(|(_, found)| found.severity == Severity::Error);
        errors.map(|(span, _)| span.document).chain(self.broken_too.iter().copied()).collect()
    }

    /// Returns the documents with errors or warnings.
    pub(crate) fn documents_reported(&self) -> HashSet<u32> {
        self.found.iter().map(|(span, _)| span.document).collect()
    }

    /// Checks the number of values of a source.
    pub(crate) fn fits(&mut self, source: &Table<'_>, at: Span) -> bool {
        let count = Size::of(source).values;
        if count > MOST_VALUES {
            self.error(Code::TooMuch, at, format!("this source holds more than {MOST_VALUES} values"))
                .label(format!("{count} values"))
                .help("a source describes a connection; data belongs elsewhere");
        }
        count <= MOST_VALUES
    }

    /// Reserves memory for everything that a file declares, before it is assembled.
    ///
    /// Returns false and reports an error if the limit is exceeded.
    pub(crate) fn reserve(&mut self, bytes: usize, at: Span, declared: &str) -> bool {
        let taken = self.take_room(bytes);
        if taken {
            self.weight += bytes;
        } else {
            let message = format!("this file declares {declared}, which is more than fits");
            self.error(Code::TooMuch, at, message)
                .label(format!("about {} MiB; all files together have {} MiB", bytes >> 20, ROOM >> 20))
                .help("make templates smaller, or declare the sources in fewer workspaces");
        }
        taken
    }

    /// Reserves memory for a cached file; returns false if the limit is exceeded.
    pub(crate) fn take_room(&self, size: usize) -> bool {
        let take = |left: usize| left.checked_sub(size);
        self.shared.room.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Releases reserved memory.
    pub(crate) fn give_room(&self, size: usize) {
        self.shared.room.fetch_add(size, Ordering::Relaxed);
    }

    /// Creates a collector for one file, to be [absorbed](Self::absorb).
    pub(crate) fn of_one_file(documents: &'d [Document<'a>], shared: &Shared) -> Self {
        Self::within(documents, shared.clone())
    }

    /// Converts into the result of parsing one file.
    pub(super) fn learned(self, mut reading: FileReading) -> Learned {
        reading.sound = self.found.iter().all(|(_, found)| found.severity == Severity::Warning);
        let errors = self.counts.get(&reading.document).copied().unwrap_or_default();
        Learned { reading, found: self.found, errors, weight: self.weight }
    }

    /// Adds the diagnostics of one file, including those in the settings.
    pub(super) fn absorb(&mut self, learned: &Learned) {
        for (span, diagnostic) in &learned.found {
            let same = |(_, other): &(Span, Diagnostic)| {
                other.code == diagnostic.code && other.message == diagnostic.message
            };
            if diagnostic.once && self.found.iter().any(same) {
                self.break_too(*span);
                continue;
            }
            let elsewhere = span.document != learned.reading.document;
            let count = self.counts.entry(span.document).or_default();
            if *count < MOST_LISTED && self.seen.insert((diagnostic.code, *span, diagnostic.message.clone()))
            {
                *count += usize::from(elsewhere);
                self.found.push((*span, diagnostic.clone()));
            }
        }
        if learned.errors > 0 {
            *self.counts.entry(learned.reading.document).or_default() += learned.errors;
        }
    }

    /// Returns the number of errors so far.
    pub(crate) fn count(&self) -> usize {
        self.total
    }

    pub(crate) fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.found;
        found.sort_by(|(a, x), (b, y)| (a, x.code, &x.message).cmp(&(b, y.code, &y.message)));
        for (document, count) in self.counts.iter().filter(|(_, count)| **count > MOST_LISTED) {
            let last = found.iter_mut().rfind(|(span, _)| span.document == *document);
            if let Some((_, diagnostic)) = last {
                diagnostic.help =
                    Some(format!("{} more errors in this file are not listed", count - MOST_LISTED));
            }
        }
        found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
    }

    pub(crate) fn place(&self, span: Span) -> (Arc<str>, u32) {
        let document = &self.documents[span.document as usize];
        (Arc::clone(&document.path), small(document.line(span.start as usize)))
    }

    pub(crate) fn source_of(&self, span: Span) -> &'a str {
        let document = &self.documents[span.document as usize];
        &document.text[document.clamp(span.start as usize..span.end as usize)]
    }
}

/// Handle to the diagnostic just reported, for adding details.
pub(crate) struct Remark<'f, 'd, 'a> {
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

    pub(crate) fn help(self, text: impl Into<String>) -> Self {
        self.with(|diagnostic| diagnostic.help = Some(text.into()))
    }

    pub(crate) fn maybe_help(self, text: Option<String>) -> Self {
        self.with(|diagnostic| diagnostic.help = text)
    }

    pub(crate) fn label(self, text: impl Into<String>) -> Self {
        self.with(|diagnostic| diagnostic.label = Some(text.into()))
    }

    /// Adds a related location.
    pub(crate) fn also(self, span: Span, text: impl Into<String>) -> Self {
        let document = &self.findings.documents[span.document as usize];
        let label = Label {
            file: Arc::clone(&document.path),
            span: document.clamp(span.start as usize..span.end as usize),
            text: text.into(),
        };
        self.with(|diagnostic| diagnostic.labels.push(label))
    }
}

/// The size of a table.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Size {
    /// Number of values at any depth.
    values: usize,
    /// Approximate memory in bytes.
    pub(crate) bytes: usize,
}

impl Size {
    pub(crate) fn of(table: &Table<'_>) -> Self {
        let mut size = Self::default();
        size.add_table(table);
        size
    }

    fn add_table(&mut self, table: &Table<'_>) {
        for (key, entry) in table.iter() {
            self.bytes += key.len();
            self.add(&entry.node.value);
        }
    }

    fn add(&mut self, value: &Value<'_>) {
        const NODE: usize = 96;
        self.bytes += NODE;
        match value {
            Value::Array(items) => items.iter().for_each(|item| self.add(&item.value)),
            Value::Table(inner) => self.add_table(inner),
            Value::String(text) => {
                // Each reference becomes a separate value in the resulting template.
                self.bytes += text.len() + NODE * text.matches("${").count();
                self.values += 1;
            }
            _ => self.values += 1,
        }
    }
}
