//! Collector of diagnostics, with limits on their number and on memory.

use super::cron::CronCache;
use super::diagnostic::{Code, Diagnostic, Label, Severity};
use super::document::{Document, Span, SpannedTable, TomlValue, small};
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The diagnostics collected so far.
pub struct DiagnosticSink<'d, 'a> {
    /// The documents that spans refer to.
    pub documents: &'d [Document<'a>],
    diagnostics: Vec<(Span, Diagnostic)>,
    reported: HashSet<(Code, Span, String)>,
    /// Number of errors in each document, including unlisted ones.
    counts: HashMap<u32, usize>,
    total: usize,
    warnings: usize,
    /// Documents that are broken by an error reported in another one.
    marked_broken: HashSet<u32>,
    /// Limits shared with the collectors of other files.
    pub limits: SinkLimits,
    reserved_bytes: usize,
}

/// State shared by parallel parsers.
#[derive(Clone)]
pub struct SinkLimits {
    /// Bytes that all sources may still reserve.
    memory_left: Arc<AtomicUsize>,
    pub(super) cron: CronCache,
}

/// Memory limit of all sources in bytes.
///
/// A hundred thousand sources take half of it. The limit is necessary because templates and lists of
/// workspaces can multiply a small file beyond any memory.
const MEMORY_BUDGET: usize = 256 << 20;

/// Maximum number of values in one source.
///
/// Each is compared and shown individually.
const MAX_VALUES: usize = 10_000;

/// Maximum number of listed errors in one file; more would only cost memory.
const MAX_ERRORS_PER_FILE: usize = 100;

impl<'d, 'a> DiagnosticSink<'d, 'a> {
    /// Creates a collector with limits of its own.
    pub fn new(documents: &'d [Document<'a>]) -> Self {
        Self::with_limits(
            documents,
            SinkLimits { memory_left: Arc::new(AtomicUsize::new(MEMORY_BUDGET)), cron: CronCache::default() },
        )
    }

    /// Creates a collector that shares the memory limit with others.
    fn with_limits(documents: &'d [Document<'a>], limits: SinkLimits) -> Self {
        Self {
            documents,
            diagnostics: Vec::new(),
            reported: HashSet::new(),
            counts: HashMap::new(),
            total: 0,
            warnings: 0,
            marked_broken: HashSet::new(),
            limits,
            reserved_bytes: 0,
        }
    }

    /// Reports an error, once per location.
    ///
    /// Defaults and templates are checked again for each source, so the same error may be found repeatedly.
    pub fn error(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> DiagnosticBuilder<'_, 'd, 'a> {
        let message = message.into();
        let count = self.counts.get(&span.document).copied().unwrap_or_default();
        let fresh = count < MAX_ERRORS_PER_FILE && self.reported.insert((code, span, message.clone()));
        if fresh || count >= MAX_ERRORS_PER_FILE {
            *self.counts.entry(span.document).or_default() += 1;
            self.total += 1;
        }
        if fresh {
            self.list((code, Severity::Error), span, message);
        }
        DiagnosticBuilder { findings: self, is_new: fresh }
    }

    /// Reports a valid but probably unintended construct.
    ///
    /// The file is used nevertheless.
    pub(super) fn warning(
        &mut self,
        code: Code,
        span: Span,
        message: impl Into<String>,
    ) -> DiagnosticBuilder<'_, 'd, 'a> {
        let message = message.into();
        let fresh =
            self.warnings < MAX_ERRORS_PER_FILE && self.reported.insert((code, span, message.clone()));
        if fresh {
            self.warnings += 1;
            self.list((code, Severity::Warning), span, message);
        }
        DiagnosticBuilder { findings: self, is_new: fresh }
    }

    /// Reports a problem of the whole project, at the first location that shows it.
    ///
    /// Every document that shows it is broken.
    pub fn report_once(&mut self, code: Code, span: Span, message: String) -> DiagnosticBuilder<'_, 'd, 'a> {
        if self.diagnostics.iter().any(|(_, found)| found.code == code && found.message == message) {
            self.mark_broken(span);
            return DiagnosticBuilder { findings: self, is_new: false };
        }
        self.error(code, span, message).with(|diagnostic| diagnostic.is_global = true)
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
            redacted: if code == Code::PlainSecret { vec![range.clone()] } else { Vec::new() },
            is_global: false,
        };
        self.diagnostics.push((span, diagnostic));
    }

    /// Marks the document of this location as broken by an error reported elsewhere.
    pub fn mark_broken(&mut self, span: Span) {
        self.marked_broken.insert(span.document);
    }

    /// Returns the documents with at least one error.
    pub fn documents_with_errors(&self) -> HashSet<u32> {
        let errors = self.diagnostics.iter().filter(|(_, found)| found.severity == Severity::Error);
        errors.map(|(span, _)| span.document).chain(self.marked_broken.iter().copied()).collect()
    }

    /// Returns the documents with errors or warnings.
    pub fn documents_reported(&self) -> HashSet<u32> {
        self.diagnostics.iter().map(|(span, _)| span.document).collect()
    }

    /// Checks the number of values of a source.
    pub fn check_size(&mut self, source: &SpannedTable<'_>, at: Span) -> bool {
        let count = HeapSize::of(source).values;
        if count > MAX_VALUES {
            self.error(Code::TooMuch, at, format!("this source holds more than {MAX_VALUES} values"))
                .label(format!("{count} values"))
                .help("a source describes a connection; data belongs elsewhere");
        }
        count <= MAX_VALUES
    }

    /// Reserves memory for everything that a file declares, before it is assembled.
    ///
    /// Returns false and reports an error if the limit is exceeded.
    pub fn reserve(&mut self, bytes: usize, at: Span, declared: &str) -> bool {
        let taken = self.try_reserve(bytes);
        if taken {
            self.reserved_bytes += bytes;
        } else {
            let message = format!("this file declares {declared}, which is more than fits");
            self.error(Code::TooMuch, at, message)
                .label(format!(
                    "about {} MiB; all files together have {} MiB",
                    bytes >> 20,
                    MEMORY_BUDGET >> 20
                ))
                .help("make templates smaller, or declare the sources in fewer workspaces");
        }
        taken
    }

    /// Reserves memory for a cached file; returns false if the limit is exceeded.
    pub fn try_reserve(&self, size: usize) -> bool {
        let take = |left: usize| left.checked_sub(size);
        self.limits.memory_left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    /// Releases reserved memory.
    pub fn release(&self, size: usize) {
        self.limits.memory_left.fetch_add(size, Ordering::Relaxed);
    }

    /// Creates a collector for one file, to be merged into that of the project.
    pub fn for_file(documents: &'d [Document<'a>], shared: &SinkLimits) -> Self {
        Self::with_limits(documents, shared.clone())
    }

    pub(super) fn into_file(self, document: u32) -> FileDiagnostics {
        let errors = self.counts.get(&document).copied().unwrap_or_default();
        FileDiagnostics { document, diagnostics: self.diagnostics, errors, weight: self.reserved_bytes }
    }

    /// Adds the diagnostics of one file, including those in the settings.
    pub(super) fn merge(&mut self, file: &FileDiagnostics) {
        for (span, diagnostic) in &file.diagnostics {
            let same = |(_, other): &(Span, Diagnostic)| {
                other.code == diagnostic.code && other.message == diagnostic.message
            };
            if diagnostic.is_global && self.diagnostics.iter().any(same) {
                self.mark_broken(*span);
                continue;
            }
            let elsewhere = span.document != file.document;
            let count = self.counts.entry(span.document).or_default();
            if *count < MAX_ERRORS_PER_FILE
                && self.reported.insert((diagnostic.code, *span, diagnostic.message.clone()))
            {
                *count += usize::from(elsewhere);
                self.diagnostics.push((*span, diagnostic.clone()));
            }
        }
        if file.errors > 0 {
            *self.counts.entry(file.document).or_default() += file.errors;
        }
    }

    /// Returns the number of errors so far.
    pub fn count(&self) -> usize {
        self.total
    }

    /// Returns the diagnostics by location, with the number of unlisted errors.
    pub fn into_sorted(self) -> Vec<Diagnostic> {
        let mut found = self.diagnostics;
        found.sort_by(|(a, x), (b, y)| (a, x.code, &x.message).cmp(&(b, y.code, &y.message)));
        for (document, count) in self.counts.iter().filter(|(_, count)| **count > MAX_ERRORS_PER_FILE) {
            let last = found.iter_mut().rfind(|(span, _)| span.document == *document);
            if let Some((_, diagnostic)) = last {
                diagnostic.help =
                    Some(format!("{} more errors in this file are not listed", count - MAX_ERRORS_PER_FILE));
            }
        }
        found.into_iter().map(|(_, diagnostic)| diagnostic).collect()
    }

    /// Returns path and line of a span.
    pub fn place(&self, span: Span) -> (Arc<str>, u32) {
        let document = &self.documents[span.document as usize];
        (Arc::clone(&document.path), small(document.line(span.start as usize)))
    }

    /// Returns the text of a span.
    pub fn source_of(&self, span: Span) -> &'a str {
        let document = &self.documents[span.document as usize];
        &document.text[document.clamp(span.start as usize..span.end as usize)]
    }
}

/// Diagnostics of one file, from a collector of its own.
pub(super) struct FileDiagnostics {
    document: u32,
    diagnostics: Vec<(Span, Diagnostic)>,
    /// Number of errors in the file itself, including unlisted ones.
    errors: usize,
    /// Bytes that its sources take.
    pub(super) weight: usize,
}

impl FileDiagnostics {
    /// Returns true if there are only warnings.
    pub(super) fn has_no_errors(&self) -> bool {
        self.diagnostics.iter().all(|(_, found)| found.severity == Severity::Warning)
    }
}

/// Handle to the diagnostic just reported, for adding details.
pub struct DiagnosticBuilder<'f, 'd, 'a> {
    findings: &'f mut DiagnosticSink<'d, 'a>,
    is_new: bool,
}

impl DiagnosticBuilder<'_, '_, '_> {
    fn with(self, change: impl FnOnce(&mut Diagnostic)) -> Self {
        if self.is_new
            && let Some((_, diagnostic)) = self.findings.diagnostics.last_mut()
        {
            change(diagnostic);
        }
        self
    }

    /// Adds advice.
    pub fn help(self, text: impl Into<String>) -> Self {
        self.with(|diagnostic| diagnostic.help = Some(text.into()))
    }

    /// Adds advice, if there is any.
    pub fn maybe_help(self, text: Option<String>) -> Self {
        self.with(|diagnostic| diagnostic.help = text)
    }

    /// Adds a label at the location itself.
    pub fn label(self, text: impl Into<String>) -> Self {
        self.with(|diagnostic| diagnostic.label = Some(text.into()))
    }

    /// Adds a related location.
    pub fn with_label(self, span: Span, text: impl Into<String>) -> Self {
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
pub struct HeapSize {
    /// Number of values at any depth.
    values: usize,
    /// Approximate memory in bytes.
    pub bytes: usize,
}

impl HeapSize {
    /// Estimates the memory of a table.
    pub fn of(table: &SpannedTable<'_>) -> Self {
        let mut size = Self::default();
        size.add_table(table);
        size
    }

    fn add_table(&mut self, table: &SpannedTable<'_>) {
        for (key, entry) in table.iter() {
            self.bytes += key.len();
            self.add(&entry.node.value);
        }
    }

    fn add(&mut self, value: &TomlValue<'_>) {
        const NODE: usize = 96;
        self.bytes += NODE;
        match value {
            TomlValue::Array(items) => items.iter().for_each(|item| self.add(&item.value)),
            TomlValue::Table(inner) => self.add_table(inner),
            TomlValue::String(text) => {
                // Each reference becomes a separate value in the resulting template.
                self.bytes += text.len() + NODE * text.matches("${").count();
                self.values += 1;
            }
            _ => self.values += 1,
        }
    }
}
