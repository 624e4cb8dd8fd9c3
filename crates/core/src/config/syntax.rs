//! Reports syntax errors, with fixes for people who know other formats better.

use super::diagnostic::Code;
use super::document::Span;
use super::sink::DiagnosticSink;
use std::ops::Range;
use toml::de::{DeTable, Error};

/// Maximum number of syntax errors that are reported in a file, because later ones follow from earlier ones.
const MAX_ERRORS: usize = 20;

/// Quotes that word processors write in the place of `"` and `'`.
const TYPOGRAPHIC: [char; 10] = ['“', '”', '„', '‟', '‘', '’', '‚', '‛', '«', '»'];

/// A cause of all errors in a file.
struct Cause {
    at: Range<usize>,
    what: &'static str,
    also: Option<(Range<usize>, &'static str)>,
    help: &'static str,
}

/// Reports the errors and returns their lines; `None` if one cause explains the whole file.
pub(super) fn report(
    document: u32,
    root: &toml::Spanned<DeTable<'_>>,
    errors: &[Error],
    findings: &mut DiagnosticSink<'_, '_>,
) -> Option<Vec<Range<usize>>> {
    let text = findings.documents[document as usize].text;
    if errors.is_empty() {
        return Some(Vec::new());
    }
    if let Some(Cause { at, what, also, help }) = cause(text, root, errors) {
        let remark = findings.error(Code::Syntax, Span::new(document, &at), what).help(help);
        if let Some((also, label)) = also {
            remark.with_label(Span::new(document, &also), label);
        }
        return None;
    }
    let mut lines = Vec::new();
    for error in causes(text, errors) {
        report_one(document, error, findings);
        lines.push(line_of(text, start(text, error)));
    }
    Some(lines)
}

fn start(text: &str, error: &Error) -> usize {
    text.floor_char_boundary(error.span().map_or(text.len(), |span| span.start))
}

/// Returns the line around a place, without its break.
fn line_of(text: &str, at: usize) -> Range<usize> {
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end = text[at..].find('\n').map_or(text.len(), |end| at + end);
    start..end
}

fn is_repeated(error: &Error) -> bool {
    error.message().starts_with("duplicate key")
}

/// Drops errors that follow from others: further ones in a line, and the keys below a repeated header.
///
/// After sorting, each error is compared with the previous one only, which bounds the cost even for a long line.
fn causes<'e>(text: &str, errors: &'e [Error]) -> Vec<&'e Error> {
    let mut sorted: Vec<&Error> = errors.iter().collect();
    sorted.sort_by_key(|error| start(text, error));
    let mut before: Option<usize> = None;
    let mut below_a_repeated_header = false;
    let bytes = text.as_bytes();
    let is_header = |line: &[u8]| line.trim_ascii_start().starts_with(b"[");
    let is_cause = |error: &&Error| {
        let at = start(text, error);
        let between = before.replace(at).map(|before| &bytes[before..at]);
        if between.is_some_and(|between| !between.contains(&b'\n')) {
            return false;
        }
        let headers = between.into_iter().flat_map(|between| between.split(|byte| *byte == b'\n').skip(1));
        below_a_repeated_header &= !headers.into_iter().any(is_header);
        let follows = below_a_repeated_header && is_repeated(error);
        let line = text[..at].rfind('\n').map_or(0, |end| end + 1);
        below_a_repeated_header |= is_header(&bytes[line..]) && is_repeated(error);
        !follows
    };
    sorted.into_iter().filter(is_cause).take(MAX_ERRORS).collect()
}

/// Returns the cause of all errors if the file has another format, or is half merged.
fn cause(text: &str, root: &toml::Spanned<DeTable<'_>>, errors: &[Error]) -> Option<Cause> {
    const JSON: &str = "`wellspring explain W002` shows a file in TOML";
    const YAML: &str =
        "TOML writes `key = value`; `key: value` is YAML. `wellspring explain W002` shows a file in TOML";
    if let Some((at, end)) = conflict(text) {
        return Some(Cause {
            at,
            what: "the file has an unresolved merge conflict",
            also: Some((end, "the conflict ends here")),
            help: "keep one side, or combine both, and remove the conflict markers",
        });
    }
    if let Some((at, first)) = sources_twice(text, root, errors) {
        return Some(Cause {
            at,
            what: "`sources = {}` declares that the workspace has no sources, but sources follow",
            also: Some((first, "the first of them")),
            help: "remove the line `sources = {}`",
        });
    }
    let is_content = |line: &&str| !line.trim().is_empty() && !line.trim_start().starts_with('#');
    let line = text.lines().find(is_content)?;
    let at = line.as_ptr().addr() - text.as_ptr().addr();
    let (what, help) = match line.trim() {
        line if line.starts_with('{') => ("this file is JSON, not TOML", JSON),
        line if line == "---" || is_yaml(line) => ("this file is YAML, not TOML", YAML),
        _ => return None,
    };
    Some(Cause { at: at..at + line.trim_end().len(), what, also: None, help })
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
    errors: &[Error],
) -> Option<(Range<usize>, Range<usize>)> {
    let (key, value) = root.get_ref().get_key_value("sources")?;
    let is_empty = text.get(value.span()).is_some_and(|value| {
        let inside = value.strip_prefix('{').and_then(|value| value.strip_suffix('}'));
        inside.is_some_and(|inside| inside.trim().is_empty())
    });
    let header = |error: &Error| {
        let line = line_of(text, start(text, error));
        let header = text[line.clone()].trim_start().trim_start_matches('[').trim_start();
        let rest = header.strip_prefix("sources")?.trim_start();
        if rest.starts_with('.') { Some(line.start..line.start + text[line].trim_end().len()) } else { None }
    };
    // Looking up the line of each error is quadratic in a long line, so do it for empty `sources` only.
    let first = errors.iter().take(if is_empty { MAX_ERRORS } else { 0 }).find_map(header)?;
    Some((key.span().start..value.span().end, first))
}

/// Returns true if the line is `key: value`.
fn is_yaml(line: &str) -> bool {
    let key = line.trim_start().trim_start_matches("- ");
    let rest = key.trim_start_matches(|c: char| c.is_alphanumeric() || "_-\"".contains(c));
    rest.len() < key.len() && (rest.trim_end() == ":" || rest.starts_with(": "))
}

fn report_one(document: u32, error: &Error, findings: &mut DiagnosticSink<'_, '_>) {
    let text = findings.documents[document as usize].text;
    let range = error.span().unwrap_or(text.len()..text.len());
    let at = start(text, error);
    // An element that is missing at the end of a line is reported there, not after the line break.
    let at_break = text.as_bytes().get(range.start).is_some_and(|byte| matches!(byte, b'\n' | b'\r'));
    let end = if at_break { range.start } else { range.end.max(range.start) };
    let place = Span::new(document, &(range.start..end));
    if is_repeated(error) {
        let remark = findings
            .error(Code::Syntax, place, "this name is used for the second time")
            .help("rename it, or put both together: each key and each header can be used once");
        if let Some(first) = first_use(text, at) {
            remark.with_label(Span::new(document, &first), "used here first");
        }
        return;
    }
    let line = line_of(text, at);
    let (before, after) = (&text[line.start..at], &text[at..line.end]);
    let (what, help) = value_mistake(error.message(), before, &text[line])
        .or_else(|| mistake(error.message(), before, after))
        .unwrap_or_else(|| (error.message(), None));
    let what = what.split(", expected nothing").next().unwrap_or_default().replace('\n', " ");
    findings.error(Code::Syntax, place, what).maybe_help(help.map(str::to_owned));
}

/// Returns the earlier header, or the earlier key of the same table, that a place repeats.
fn first_use(text: &str, at: usize) -> Option<Range<usize>> {
    let line = line_of(text, at);
    let key = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let header =
        |line: &str| if line.trim_start().starts_with('[') { Some(line.trim().to_owned()) } else { None };
    let repeated = &text[line.clone()];
    let mut end = line.start;
    let mut earlier = text[..line.start].split_inclusive('\n').rev().map(|line| {
        end -= line.len();
        (end, line)
    });
    let (start, first) = match header(repeated) {
        Some(wanted) => earlier.find(|(_, line)| header(line).as_ref() == Some(&wanted))?,
        None => earlier
            .take_while(|(_, line)| header(line).is_none())
            .find(|(_, line)| key(line) == key(repeated))?,
    };
    let start = start + first.len() - first.trim_start().len();
    Some(start..start + header(first).unwrap_or_else(|| key(first)).len())
}

/// Returns the mistake in a value, and the fix.
fn value_mistake(message: &str, before: &str, line: &str) -> Option<(&'static str, Option<&'static str>)> {
    let (_, value) = line.split_once('=').filter(|(key, _)| before.len() > key.len())?;
    let value = value.trim();
    let word = value.split([' ', '\t', '#', ',', ';']).next().unwrap_or_default();
    let is_closed =
        !message.starts_with("invalid basic string") && !message.starts_with("invalid literal string");
    let (what, help) = match word.to_ascii_lowercase().as_str() {
        _ if value.is_empty() => ("this key has no value", "write a value after the `=`, or remove the line"),
        _ if value.starts_with(TYPOGRAPHIC) || (!is_closed && value.ends_with(TYPOGRAPHIC)) => {
            ("these quotes are typographic", "write straight quotes: \"…\"")
        }
        "true" | "false" if word.contains(|c: char| c.is_ascii_uppercase()) => {
            ("`true` and `false` are written in lower case", "write `true` or `false`")
        }
        "yes" | "no" | "on" | "off" => {
            ("a text needs quotes", "for a switch, write `true` or `false`; for a text, quotes: \"…\"")
        }
        "null" | "none" | "nil" | "undefined" | "~" => {
            ("TOML has no null", "remove the line: a key that is not there has no value")
        }
        "|" | ">" | "|-" | ">-" => {
            ("this is a text over several lines in YAML", "write it between three quotes: \"\"\"…\"\"\"")
        }
        _ if value.ends_with(';') => ("a line of TOML ends without `;`", "remove the `;`"),
        _ if value.ends_with(',') && !value.starts_with(['[', '{']) => {
            ("a line of TOML ends without a comma", "remove the comma")
        }
        _ if value.contains(" //") => ("a comment of TOML begins with `#`", "write `#` in the place of `//`"),
        _ => return None,
    };
    Some((what, Some(help)))
}

/// Beginnings of the parser's messages, each with a clearer message (the same if empty) and the fix.
const MISTAKES: [(&str, &str, &str); 22] = [
    ("string values must be quoted", "a text needs quotes", "write the text in quotes: \"…\""),
    ("invalid basic string", "this text has no closing quote", CLOSE),
    ("invalid literal string", "this text has no closing quote", CLOSE),
    (
        "invalid multi-line",
        "this text has no closing quotes",
        "close it with the three quotes that it begins with",
    ),
    ("missing escaped value", "no such escape", BACKSLASH),
    ("too few unicode", "no such escape", BACKSLASH),
    ("invalid unicode", "no such escape", BACKSLASH),
    ("unclosed array table", "this header is not closed", "close it with `]]`"),
    (
        "unclosed table",
        "this header is not closed",
        "close it with `]`; a name with blanks needs quotes: [sources.\"…\"]",
    ),
    ("unclosed array", "this list is not closed", "close it with `]`"),
    ("unclosed inline table", "this table is not closed", "close it with `}`"),
    (
        "missing comma between array",
        "this list goes on without a comma",
        "put commas between its elements, and `]` after the last one",
    ),
    (
        "missing comma between key",
        "this table goes on without a comma",
        "put commas between its entries, and `}` after the last one",
    ),
    (
        "unquoted keys cannot be empty",
        "the name of a key is missing here",
        "write the name, or \"\" for the empty one",
    ),
    ("missing table open", "there is no `[` for this", "remove it, or open the header"),
    ("extra `=`", "one `=` is enough", "remove the other"),
    (
        "unexpected key or value",
        "something follows the value",
        "write one `key = value` in a line; a comment begins with `#`, and a text with one kind of quotes in it goes into the other",
    ),
    (
        "key with no value",
        "this line is no `key = value`",
        "write the key, `=` and a value; a comment begins with `#`",
    ),
    ("invalid date", "", "write a date as 2026-01-31, or a text in quotes"),
    ("invalid time", "", "write a time as 02:15:00, or a text in quotes"),
    ("recursion", "", "nest less deeply"),
    (
        "invalid unquoted key",
        "a key of letters, digits, `-` and `_` ends here",
        "put any other key into quotes: \"…\"",
    ),
];

const CLOSE: &str = "add the closing quote; a `\"` within the text is written `\\\"`";
const BACKSLASH: &str =
    "in double quotes a backslash begins an escape: write `\\\\` for one, or put the text in single quotes";

fn mistake<'m>(message: &'m str, before: &str, after: &str) -> Option<(&'m str, Option<&'static str>)> {
    const NUMBER: [&str; 7] = [
        "invalid float",
        "invalid fraction",
        "invalid mantissa",
        "redundant numeric sign",
        "`_` may",
        "unexpected leading zero",
        "invalid integer",
    ];
    if NUMBER.iter().any(|number| message.starts_with(number)) {
        return Some((
            message,
            Some("write it in quotes if it is a text: \"…\"; a number has digits, and at most one `.`"),
        ));
    }
    let is_key = message.starts_with("key with no value") || message.starts_with("invalid unquoted key");
    if is_key && is_yaml(&format!("{before}{after}")) {
        return Some((message, Some("TOML writes `key = value`; `key: value` is YAML")));
    }
    if is_key && after.starts_with(": ") {
        return Some(("a key is followed by `=`", Some("write `=` in place of `:`")));
    }
    let (_, what, help) = MISTAKES.iter().find(|(beginning, ..)| message.starts_with(beginning))?;
    Some((if what.is_empty() { message } else { what }, Some(help)))
}
