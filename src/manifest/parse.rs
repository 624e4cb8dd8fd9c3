//! Parses TOML 1.0 into the syntax tree, within limits.

use super::diagnostic::Code;
use super::document::{Entry, Node, Span, Table, Value, small};
use super::findings::Findings;
use super::nesting;
use std::num::IntErrorKind::{NegOverflow, PosOverflow};
use std::ops::Range;
use toml::de::{DeTable, DeValue};

/// Maximum number of reported syntax errors; further ones are usually consequences.
const MOST_SYNTAX_ERRORS: usize = 20;

/// Maximum nesting depth; deeper than any configuration, and bounds recursion.
const DEEPEST: usize = 32;

/// Parses a document; `None` if it is not TOML.
///
/// Every error is reported; a value that cannot be parsed is omitted.
pub(crate) fn parse<'a>(document: u32, findings: &mut Findings<'_, 'a>) -> Option<Table<'a>> {
    let text = findings.documents[document as usize].text;
    if let Some(at) = nesting::beyond(2 * DEEPEST, text) {
        too_deep(Span::new(document, &at), findings);
        return None;
    }
    let (root, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty()
        && let Some((start, end)) = conflict(text)
    {
        findings
            .error(Code::Syntax, Span::new(document, &start), "the file has an unresolved merge conflict")
            .also(Span::new(document, &end), "the conflict ends here")
            .help("keep one side, or combine both, and remove the conflict markers");
        return None;
    }
    if let Some((all, first)) = sources_twice(text, &root, &errors) {
        findings
            .error(
                Code::Syntax,
                Span::new(document, &all),
                "`sources = {}` declares that the workspace has no sources, but sources follow",
            )
            .also(Span::new(document, &first), "the first of them")
            .help("remove the line `sources = {}`");
        return None;
    }
    if !errors.is_empty() && text.trim_start().starts_with('{') {
        let start = text.len() - text.trim_start().len();
        findings
            .error(Code::Syntax, Span::new(document, &(start..start + 1)), "this file is JSON, not TOML")
            .help("`wellspring explain W002` shows a file in TOML");
        return None;
    }
    // Report one error per line: others in it are usually consequences. After sorting, each error is compared
    // with the previous one only, which bounds the cost even for a long line.
    let start = |error: &toml::de::Error| error.span().map_or(text.len(), |span| span.start.min(text.len()));
    let mut sorted: Vec<&toml::de::Error> = errors.iter().collect();
    sorted.sort_by_key(|error| start(error));
    let mut before = None;
    let first = sorted.into_iter().filter(|error| {
        let at = start(error);
        let new_line = before.is_none_or(|before: usize| text.as_bytes()[before..at].contains(&b'\n'));
        before = Some(at);
        new_line
    });
    for error in first.take(MOST_SYNTAX_ERRORS) {
        report_syntax(document, error, findings);
    }
    let mut lowering = Lowering { document, findings, escapes: text.contains("\\e") || text.contains("\\x") };
    let table = lowering.table(root.into_inner(), 0);
    errors.is_empty().then_some(table)
}

/// Returns the first conflict marker of Git, and the last line of the conflict.
fn conflict(text: &str) -> Option<(Range<usize>, Range<usize>)> {
    let marker = |prefix: char| {
        move |line: &&(usize, &str)| {
            let rest = line.1.trim_start_matches(prefix);
            line.1.len() - rest.len() == 7 && (rest.is_empty() || rest.starts_with(' '))
        }
    };
    let mut at = 0;
    let lines: Vec<(usize, &str)> = text
        .split_inclusive('\n')
        .map(|line| {
            let start = at;
            at += line.len();
            (start, line.trim_end())
        })
        .collect();
    let range = |line: &(usize, &str)| line.0..line.0 + line.1.len();
    let start = lines.iter().find(marker('<'))?;
    let end = lines.iter().filter(|line| line.0 > start.0).find(marker('>'))?;
    Some((range(start), range(end)))
}

/// Returns the places of `sources = {}` and of a header `[sources.NAME]` below it.
fn sources_twice(
    text: &str,
    root: &toml::Spanned<DeTable<'_>>,
    errors: &[toml::de::Error],
) -> Option<(Range<usize>, Range<usize>)> {
    let (key, value) = root.get_ref().get_key_value("sources")?;
    let is_empty = text.get(value.span()).is_some_and(|value| {
        let inside = value.strip_prefix('{').and_then(|value| value.strip_suffix('}'));
        inside.is_some_and(|inside| inside.trim().is_empty())
    });
    let header = |error: &toml::de::Error| {
        let at = error.span()?.start.min(text.len());
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        let line_end = text[line..].find('\n').map_or(text.len(), |end| line + end);
        let rest = text[line..line_end].trim_start().trim_start_matches('[').trim_start();
        let rest = rest.strip_prefix("sources")?.trim_start();
        rest.starts_with('.').then(|| line..line + text[line..line_end].trim_end().len())
    };
    let first = errors.iter().find_map(header)?;
    is_empty.then(|| (key.span().start..value.span().end, first))
}

/// Returns true if the line around a position is `key: value`.
fn is_yaml(text: &str, at: usize) -> bool {
    let at = at.min(text.len());
    let start = text.as_bytes()[..at].iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    let line = text[start..].lines().next().unwrap_or_default();
    let key = line.trim_start().trim_start_matches("- ");
    let rest = key.trim_start_matches(|c: char| c.is_alphanumeric() || "_-\"".contains(c));
    rest.len() < key.len() && (rest == ":" || rest.starts_with(": "))
}

fn too_deep(at: Span, findings: &mut Findings<'_, '_>) {
    findings
        .error(Code::TooDeep, at, format!("nested more than {DEEPEST} levels deep"))
        .help("flatten the value");
}

fn report_syntax(document: u32, error: &toml::de::Error, findings: &mut Findings<'_, '_>) {
    let text = findings.documents[document as usize].text;
    let range = error.span().unwrap_or(text.len()..text.len());
    // Errors at the end of a line are shown there, not across the line break.
    let at_break = text.as_bytes().get(range.start).is_some_and(|byte| matches!(byte, b'\n' | b'\r'));
    let end = if at_break { range.start } else { range.end.max(range.start) };
    let help = match error.message() {
        message if message.starts_with("duplicate key") => Some("each key and each header can be used once"),
        message if message.contains("recursion") => Some("nest less deeply"),
        message if message.starts_with("string values must be quoted") => {
            Some("write the text in quotes: \"…\"")
        }
        _ if is_yaml(text, range.start) => Some("TOML writes `key = value`; `key: value` is YAML"),
        _ => None,
    };
    findings
        .error(Code::Syntax, Span::new(document, &(range.start..end)), error.message().replace('\n', " "))
        .maybe_help(help.map(str::to_owned));
}

/// Converts the parser's tree into ours; refuses more than TOML 1.0 and JSON.
struct Lowering<'f, 'd, 'a> {
    document: u32,
    findings: &'f mut Findings<'d, 'a>,
    /// True if the text may contain an escape of TOML 1.1.
    escapes: bool,
}

impl<'a> Lowering<'_, '_, 'a> {
    fn table(&mut self, table: DeTable<'a>, depth: usize) -> Table<'a> {
        // Capacity for one value added by the defaults.
        let mut entries = Vec::with_capacity(table.len() + 1);
        for (key, value) in table {
            let at = Span::new(self.document, &key.span());
            self.check_key(key.get_ref(), at);
            if let Some(node) = self.node(value, at, depth + 1) {
                entries.push((key.into_inner(), Entry { key: at, node }));
            }
        }
        Table::of(entries)
    }

    fn node(&mut self, value: toml::Spanned<DeValue<'a>>, key: Span, depth: usize) -> Option<Node<'a>> {
        let at = Span::new(self.document, &value.span());
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

    /// Refuses keys that have a special meaning to the JSON library.
    fn check_key(&mut self, key: &str, at: Span) {
        if key.starts_with("$serde_json::") {
            self.findings
                .error(Code::NotSendable, at, "this key cannot be sent")
                .help("name it otherwise; what begins with `$serde_json::` is taken for something else");
        }
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

    /// Refuses inline tables over several lines or with a trailing comma.
    ///
    /// Line breaks are permitted only within their values.
    fn check_inline(&mut self, at: Span, table: &Table<'a>) {
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
            self.newer(
                line,
                "an inline table over several lines",
                "write it on one line, or as a table of its own under a [header]",
            );
        } else if gap.trim_start().strip_prefix(',').is_some_and(|rest| rest.trim_start().starts_with('}')) {
            self.newer(at, "a comma after an inline table's last entry", "remove the last comma");
        }
    }

    fn collect_values(&self, table: &Table<'a>, out: &mut Vec<Span>) {
        for entry in table.values() {
            match &entry.node.value {
                // The location of a table made by a dotted key is that of its key.
                Value::Table(inner) if !self.findings.source_of(entry.node.span).starts_with('{') => {
                    self.collect_values(inner, out);
                }
                _ => out.push(entry.node.span),
            }
        }
    }
}
