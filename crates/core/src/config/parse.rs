//! Parses TOML 1.0 into the syntax tree, within limits.
//!
//! An ordinary document takes the short way of [`events`]; everything else is parsed exhaustively, for its messages.

use super::diagnostic::Code;
use super::document::{Span, SpannedTable, SpannedValue, TableEntry, TomlValue, small};
use super::sink::DiagnosticSink;
use super::{depth, events, syntax};
use std::num::IntErrorKind::{NegOverflow, PosOverflow};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Maximum nesting depth; deeper than any configuration, and bounds recursion.
const MAX_DEPTH: usize = 32;

/// Parses a document; `None` if it is not TOML.
///
/// Every error is reported; a value that cannot be parsed is omitted.
pub fn parse<'a>(document: u32, findings: &mut DiagnosticSink<'_, 'a>) -> Option<SpannedTable<'a>> {
    let text = findings.documents[document as usize].text;
    events::parse(document, text).or_else(|| parse_exhaustively(document, findings))
}

/// Like [`parse`], for every document.
pub fn parse_exhaustively<'a>(
    document: u32,
    findings: &mut DiagnosticSink<'_, 'a>,
) -> Option<SpannedTable<'a>> {
    let text = findings.documents[document as usize].text;
    if let Some(at) = depth::first_too_deep(2 * MAX_DEPTH, text) {
        report_too_deep(Span::new(document, &at), findings);
        return None;
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    let spoiled = syntax::report(document, &root, &errors, findings)?;
    let has_newer_escapes = text.contains("\\e") || text.contains("\\x");
    let mut lowering = AstBuilder { document, findings, has_newer_escapes, spoiled };
    let table = lowering.table(root.into_inner(), 0);
    errors.is_empty().then_some(table)
}

fn report_too_deep(at: Span, findings: &mut DiagnosticSink<'_, '_>) {
    findings
        .error(Code::TooDeep, at, format!("nested more than {MAX_DEPTH} levels deep"))
        .help("flatten the value");
}

/// Converts the parser's tree into ours; refuses more than TOML 1.0 and JSON.
struct AstBuilder<'f, 'd, 'a> {
    document: u32,
    findings: &'f mut DiagnosticSink<'d, 'a>,
    /// True if the text may contain an escape of TOML 1.1.
    has_newer_escapes: bool,
    /// Lines with a syntax error, from which other errors follow.
    spoiled: Vec<Range<usize>>,
}

impl<'a> AstBuilder<'_, '_, 'a> {
    fn table(&mut self, table: DeTable<'a>, depth: usize) -> SpannedTable<'a> {
        // Capacity for one value added by the defaults.
        let mut entries = Vec::with_capacity(table.len() + 1);
        for (key, value) in table {
            let at = Span::new(self.document, &key.span());
            self.check_key(key.get_ref(), at);
            if let Some(node) = self.node(value, at, depth + 1) {
                entries.push((key.into_inner(), TableEntry { key: at, node }));
            }
        }
        SpannedTable::of(entries)
    }

    fn node(
        &mut self,
        value: toml::Spanned<DeValue<'a>>,
        key: Span,
        depth: usize,
    ) -> Option<SpannedValue<'a>> {
        let at = Span::new(self.document, &value.span());
        if depth > MAX_DEPTH {
            report_too_deep(key, self.findings);
            return None;
        }
        let value = match value.into_inner() {
            DeValue::String(text) => {
                self.check_escapes(at);
                TomlValue::String(text)
            }
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => TomlValue::Integer(number),
                // Invalid numbers are reported as syntax errors.
                Err(error) if !matches!(error.kind(), PosOverflow | NegOverflow) => return None,
                Err(_) => {
                    self.findings
                        .error(Code::NotSendable, at, "this number is too large")
                        .help("whole numbers have at most 64 bits; write it as a string");
                    return None;
                }
            },
            DeValue::Float(number) => match number.as_str().parse::<f64>() {
                Ok(number) if number.is_finite() => TomlValue::Float(number),
                _ if self.is_spoiled(at) => return None,
                _ => {
                    self.findings
                        .error(Code::NotSendable, at, "JSON has no such number")
                        .help("write a finite number, or a string");
                    return None;
                }
            },
            DeValue::Boolean(value) => TomlValue::Bool(value),
            DeValue::Datetime(value) => {
                if value.time.is_some_and(|time| time.second.is_none()) {
                    self.report_newer_toml(at, "a time without seconds", "write the seconds");
                }
                TomlValue::Datetime(value)
            }
            DeValue::Array(items) => TomlValue::Array(
                items.into_iter().filter_map(|item| self.node(item, at, depth + 1)).collect(),
            ),
            DeValue::Table(table) => {
                let table = self.table(table, depth);
                self.check_inline(at, &table);
                TomlValue::Table(table)
            }
        };
        Some(SpannedValue { span: at, value })
    }

    /// Refuses keys that have a special meaning to the JSON library.
    fn check_key(&mut self, key: &str, at: Span) {
        if key.starts_with("$serde_json::") {
            self.findings
                .error(Code::NotSendable, at, "this key cannot be sent")
                .help("rename it: names that begin with `$serde_json::` are reserved");
        }
    }

    fn is_spoiled(&self, at: Span) -> bool {
        self.spoiled.iter().any(|line| line.contains(&(at.start as usize)))
    }

    fn report_newer_toml(&mut self, at: Span, what: &str, help: &str) {
        if self.is_spoiled(at) {
            return;
        }
        self.findings
            .error(Code::NewerToml, at, format!("{what} is TOML 1.1; files here are TOML 1.0"))
            .help(help);
    }

    fn check_escapes(&mut self, at: Span) {
        if !self.has_newer_escapes {
            return;
        }
        let raw = self.findings.source_of(at);
        let mut characters = raw.chars();
        while raw.starts_with('"')
            && let Some(character) = characters.next()
        {
            if character == '\\' && matches!(characters.next(), Some('e' | 'x')) {
                self.report_newer_toml(at, "the escape `\\e` or `\\x`", "write it as `\\u00XX`");
                return;
            }
        }
    }

    /// Refuses inline tables over several lines or with a trailing comma.
    ///
    /// Line breaks are permitted only within their values.
    fn check_inline(&mut self, at: Span, table: &SpannedTable<'a>) {
        let text = self.findings.source_of(at);
        // Quick check that excludes most tables.
        let is_doubtful =
            || text.contains('\n') || text.split(',').skip(1).any(|rest| rest.trim_start().starts_with('}'));
        if !text.starts_with('{') || !is_doubtful() {
            return;
        }
        let mut values = Vec::new();
        self.collect_values(table, &mut values);
        values.sort_unstable();
        let mut from = at.start;
        let mut gap = text;
        for value in values {
            gap = self.findings.source_of(Span { start: from, end: value.start, ..at });
            if gap.contains('\n') {
                break;
            }
            from = value.end;
            gap = self.findings.source_of(Span { start: from, end: at.end, ..at });
        }
        if gap.contains('\n') {
            let first = text.find(['\n', '\r']).unwrap_or(1);
            let line = Span { end: at.start + small(first), ..at };
            self.report_newer_toml(
                line,
                "an inline table over several lines",
                "write it on one line, or as a table of its own under a [header]",
            );
        } else if gap.trim_start().strip_prefix(',').is_some_and(|rest| rest.trim_start().starts_with('}')) {
            self.report_newer_toml(at, "a comma after an inline table's last entry", "remove the last comma");
        }
    }

    fn collect_values(&self, table: &SpannedTable<'a>, out: &mut Vec<Span>) {
        for entry in table.values() {
            match &entry.node.value {
                // The location of a table made by a dotted key is that of its key.
                TomlValue::Table(inner) if !self.findings.source_of(entry.node.span).starts_with('{') => {
                    self.collect_values(inner, out);
                }
                _ => out.push(entry.node.span),
            }
        }
    }
}
