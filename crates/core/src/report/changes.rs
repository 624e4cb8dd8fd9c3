//! Renders a changed field, on one line or as a line-by-line comparison.

use super::{escape, humanize};
use crate::model::{FieldPath, LeafValue};
use crate::plan::{ChangeKind, FieldChange};
use serde_json::Value;
use similar::{ChangeTag, TextDiff};
use std::borrow::Cow;

/// Maximum length in characters of a line shown in full.
const MAX_LINE_LEN: usize = 240;
/// Length in characters of a shortened line.
const EXCERPT: usize = 120;
/// Maximum number of lines of texts that are compared line by line.
const MAX_DIFF_LINES: usize = 2_000;
/// Maximum size in bytes of texts that are compared line by line.
const MAX_DIFF_BYTES: usize = 200_000;
/// Maximum number of lines shown of a comparison.
const MAX_SHOWN_LINES: usize = 40;
/// Number of unchanged lines around each difference.
const CONTEXT: usize = 2;

/// Rendered change of a field, with foreign text escaped for a terminal.
pub(super) enum ValueText {
    Line(String),
    /// Old value, new value and remark.
    Pair(String, String, String),
    Diff(String, Vec<DiffLine>),
}

pub(super) struct DiffLine {
    /// `+`, `-` or ` `.
    pub(super) sign: char,
    pub(super) text: String,
}

/// Displayed name of a field.
///
/// Omits the prefix `connection_config`, unless that is ambiguous.
pub(super) fn field_name(path: &FieldPath) -> String {
    let text = path.as_str();
    match text.strip_prefix("connection_config.") {
        Some(short) if !matches!(short.split(['.', '[']).next(), Some("type" | "metadata" | "sync")) => {
            short.to_owned()
        }
        _ => text.to_owned(),
    }
}

/// Renders a change; with `mark_drift`, the field mentions drift.
pub(super) fn show(change: &FieldChange, mark_drift: bool) -> ValueText {
    let on_platform = if change.drift && mark_drift { external_change(change) } else { "" };
    if change.sensitive {
        return ValueText::Line(hidden(change));
    }
    match (&change.before, &change.after) {
        (Some(before), Some(after)) => {
            let (was, is) = (as_text(before), as_text(after));
            if !(is_short(before) && is_short(after)) && (was.contains('\n') || is.contains('\n')) {
                return diff(&was, &is, on_platform);
            }
            let (was, is) = both(before, after);
            ValueText::Pair(was, is, on_platform.to_owned())
        }
        (None, Some(after)) if change.drift && change.kind == ChangeKind::Added => {
            ValueText::Pair("(none)".to_owned(), one(after), on_platform.to_owned())
        }
        (None, Some(after)) if change.drift => {
            // A value that Wellspring did not write may contain a secret, so it is not shown.
            ValueText::Pair("(not shown)".to_owned(), one(after), on_platform.to_owned())
        }
        (None, Some(after)) => whole(after, '+', "added"),
        (Some(before), None) if change.drift => whole(before, '-', external_change(change)),
        (Some(before), None) => whole(before, '-', "removed"),
        (None, None) if change.drift => ValueText::Line(format!("({})", external_change(change))),
        (None, None) => ValueText::Line("(changed)".to_owned()),
    }
}

/// Describes the change on the platform that will be reverted.
fn external_change(change: &FieldChange) -> &'static str {
    match change.kind {
        ChangeKind::Added => "removed on the platform",
        ChangeKind::Changed => "changed on the platform",
        ChangeKind::Removed => "added on the platform",
    }
}

/// Returns true for a value that fits on a line.
fn is_short(value: &Value) -> bool {
    const SHORT: usize = 60;
    match value {
        Value::String(text) => !text.contains('\n'),
        Value::Array(_) | Value::Object(_) => value.to_string().len() <= SHORT,
        _ => true,
    }
}

/// Renders one field of a source to connect.
pub(super) fn show_declared(path: &FieldPath, leaf: &LeafValue) -> ValueText {
    match leaf {
        LeafValue::Secret(reference) => {
            ValueText::Line(format!("{} (sensitive)", escape::terminal(reference)))
        }
        LeafValue::Plain(value) if path.looks_secret() || path.exposes_secret(value) => {
            ValueText::Line("(sensitive)".to_owned())
        }
        LeafValue::Plain(value) => ValueText::Line(one(value)),
    }
}

/// Renders a change without its values.
fn hidden(change: &FieldChange) -> String {
    let how = match change.kind {
        _ if change.drift => external_change(change),
        ChangeKind::Added => "added",
        ChangeKind::Changed => "changed",
        ChangeKind::Removed => "removed",
    };
    match &change.reference {
        Some(reference) => format!("{} ({how})", escape::terminal(reference)),
        None => format!("(sensitive, {how})"),
    }
}

/// Renders a value that was added or removed.
fn whole(value: &Value, sign: char, how: &str) -> ValueText {
    let text = as_text(value);
    let lines: Vec<&str> = text.lines().collect();
    if lines.len() < 2 || is_short(value) {
        return ValueText::Line(format!("{} ({how})", one(value)));
    }
    let mut shown: Vec<DiffLine> =
        lines.iter().take(MAX_SHOWN_LINES).map(|line| DiffLine { sign, text: diff_text(line) }).collect();
    push_omitted(&mut shown, lines.len().saturating_sub(MAX_SHOWN_LINES));
    ValueText::Diff(how.to_owned(), shown)
}

/// Formats strings as they are, lists and tables as indented JSON, others as JSON.
fn as_text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(_) | Value::Object(_) => serde_json::to_string_pretty(value).unwrap_or_default(),
        other => other.to_string(),
    }
}

fn one(value: &Value) -> String {
    excerpt(value, &inline(value), 0)
}

/// Renders both values on one line each; long ones start near their difference.
fn both(before: &Value, after: &Value) -> (String, String) {
    let (was, is) = (inline(before), inline(after));
    let start = was.chars().zip(is.chars()).take_while(|(a, b)| a == b).count();
    let differs = start < was.chars().count().max(is.chars().count());
    let start = if differs { start.saturating_sub(EXCERPT / 4) } else { 0 };
    (excerpt(before, &was, start), excerpt(after, &is, start))
}

fn inline(value: &Value) -> Cow<'_, str> {
    match value {
        Value::String(text) => text.into(),
        other => other.to_string().into(),
    }
}

fn excerpt(value: &Value, text: &str, start: usize) -> String {
    let show = |text: &str| match value {
        Value::String(_) => escape::quoted(text),
        _ => escape::terminal(text),
    };
    if text.len() <= MAX_LINE_LEN {
        return show(text);
    }
    let length = text.chars().count();
    if length <= MAX_LINE_LEN {
        return show(text);
    }
    let start = start.min(length - EXCERPT);
    let part: String = text.chars().skip(start).take(EXCERPT).collect();
    let front = if start > 0 { "…" } else { "" };
    let back = if start + EXCERPT < length { "…" } else { "" };
    format!("{front}{}{back} ({})", show(&part), humanize::count(length, "character"))
}

fn diff(was: &str, is: &str, remark: &str) -> ValueText {
    let heading = if remark.is_empty() { "changed" } else { remark };
    let (old, new) = (was.lines().count(), is.lines().count());
    if old.max(new) > MAX_DIFF_LINES || was.len().max(is.len()) > MAX_DIFF_BYTES {
        let sizes = format!(
            "{heading}: {} ({}) -> {} ({}), too long to compare here",
            humanize::count(old, "line"),
            humanize::count(was.len(), "byte"),
            humanize::count(new, "line"),
            humanize::count(is.len(), "byte"),
        );
        return ValueText::Line(sizes);
    }
    let diff = TextDiff::from_lines(was, is);
    let groups = diff.grouped_ops(CONTEXT);
    let mut lines = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        if index > 0 {
            lines.push(DiffLine { sign: ' ', text: "…".to_owned() });
        }
        for change in group.iter().flat_map(|op| diff.iter_changes(op)) {
            let sign = match change.tag() {
                ChangeTag::Insert => '+',
                ChangeTag::Delete => '-',
                ChangeTag::Equal => ' ',
            };
            let line = change.value();
            let mut text = diff_text(line.strip_suffix('\n').unwrap_or(line));
            if change.missing_newline() && sign != ' ' {
                text.push_str("  (no newline at the end)");
            }
            lines.push(DiffLine { sign, text });
        }
    }
    let rest = lines.len().saturating_sub(MAX_SHOWN_LINES);
    lines.truncate(MAX_SHOWN_LINES);
    push_omitted(&mut lines, rest);
    ValueText::Diff(heading.to_owned(), lines)
}

fn push_omitted(lines: &mut Vec<DiffLine>, rest: usize) {
    if rest > 0 {
        lines.push(DiffLine { sign: ' ', text: format!("… {}", humanize::count(rest, "more line")) });
    }
}

fn diff_text(line: &str) -> String {
    let length = line.chars().count();
    if length <= MAX_LINE_LEN {
        return escape::terminal_line(line);
    }
    let part: String = line.chars().take(EXCERPT).collect();
    format!("{}… ({})", escape::terminal_line(&part), humanize::count(length, "character"))
}
