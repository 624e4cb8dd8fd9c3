//! Canonical format of the files, compatible with common TOML formatters.
//!
//! The order of keys and tables is kept, and comments stay with the line below them. The rules:
//!
//! - subtables follow their table, in the order of first mention (`[a]`, `[b]`, `[a.c]` become `[a]`,
//!   `[a.c]`, `[b]`), and so do dotted keys unless separated by a blank line;
//! - a comment at the end of a line moves to a line of its own above it;
//! - no indentation, one blank around `=`, none around dots and brackets, `{ a = 1 }`;
//! - one blank line above each header (above its comments), none below it; else at most one;
//! - a list is on one line if that has at most 80 columns and contains no comment, else one element per line,
//!   indented by two, with a comma after the last;
//! - `"basic"` strings and keys instead of equivalent `'literal'` ones; `T` between a date and a time;
//! - a blank after the `#` of a comment, and a blank line after a `#:schema` line.

mod sort;
mod tokens;

use super::document::Document;
use super::parse;
use super::sink::DiagnosticSink;
use std::sync::Arc;
use tokens::{Element, LineToken, ValueToken};

/// Maximum width in columns of a list on one line.
const WIDTH: usize = 80;

/// Formats the text; formatting the result again changes nothing.
///
/// `None` if [`tokenize`](super::read) does not accept the text as TOML.
#[must_use]
pub fn format(text: &str) -> Option<String> {
    let documents = [Document::new(Arc::from(""), text)];
    let mut findings = DiagnosticSink::new(&documents);
    parse::parse(0, &mut findings)?;
    if findings.count() > 0 {
        return None;
    }
    let formatted = print(&sort::group_tables(tokens::tokenize(text)));
    // Formatting must not change the contents.
    let same = || Some(toml::from_str::<toml::Table>(text).ok()? == toml::from_str(&formatted).ok()?);
    same()?.then_some(formatted)
}

fn print(lines: &[LineToken<'_>]) -> String {
    let mut out = String::new();
    let mut blank = false;
    let mut after_header = false;
    for (n, line) in lines.iter().enumerate() {
        if matches!(line, LineToken::Blank) {
            blank = true;
            continue;
        }
        let wanted = (blank && !after_header) || opens_table(&lines[n..]) && !is_attached(&lines[..n]);
        if wanted && !out.is_empty() {
            out.push('\n');
        }
        (blank, after_header) = (false, false);
        match line {
            LineToken::Blank => {}
            LineToken::Comment(text) => {
                out.push_str(&comment(text));
                out.push('\n');
                blank = is_directive(text);
            }
            LineToken::Header(header, _) => {
                out.push_str(header);
                out.push('\n');
                after_header = true;
            }
            LineToken::Entry(key, _, value) => {
                let entry = format!("{key} = ");
                let mut one_line = entry.clone();
                write(value, None, &mut one_line);
                if one_line.chars().count() > WIDTH || must_break(value) {
                    out.push_str(&entry);
                    write(value, Some(0), &mut out);
                } else {
                    out.push_str(&one_line);
                }
                out.push('\n');
            }
        }
    }
    out
}

/// Returns true if the lines begin with a header or with comments directly above it.
fn opens_table(lines: &[LineToken<'_>]) -> bool {
    let below = lines.iter().find(|line| !matches!(line, LineToken::Comment(_)));
    matches!(below, Some(LineToken::Header(..)))
}

/// Returns true if the next line follows a comment directly.
fn is_attached(before: &[LineToken<'_>]) -> bool {
    matches!(before.last(), Some(LineToken::Comment(_)))
}

fn comment(text: &str) -> String {
    let text = text.trim_end();
    let (marks, said) = text.split_at(text.len() - text.trim_start_matches('#').len());
    match said.chars().next() {
        Some(' ') | None => text.to_owned(),
        _ if is_directive(text) => text.to_owned(),
        Some('\t') => format!("{marks} {}", &said[1..]),
        Some(_) => format!("{marks} {said}"),
    }
}

/// Returns true if the comment is meant for an editor.
fn is_directive(comment: &str) -> bool {
    comment.starts_with("#:schema")
}

/// Returns true if a list in the value contains a comment.
fn must_break(value: &ValueToken<'_>) -> bool {
    match value {
        ValueToken::Scalar(_) => false,
        ValueToken::List(elements) => elements.iter().any(|element| match element {
            Element::Comment(_) => true,
            Element::Value(value) => must_break(value),
        }),
        ValueToken::Table(entries) => entries.iter().any(|(_, value)| must_break(value)),
    }
}

/// Writes the value on one line, or with its lists broken at `depth`.
fn write(value: &ValueToken<'_>, depth: Option<usize>, out: &mut String) {
    match value {
        ValueToken::Scalar(text) => out.push_str(text),
        ValueToken::List(elements) if elements.is_empty() => out.push_str("[]"),
        ValueToken::List(elements) => match depth {
            None => {
                out.push('[');
                for (n, element) in elements.iter().enumerate() {
                    out.push_str(if n > 0 { ", " } else { "" });
                    if let Element::Value(value) = element {
                        write(value, None, out);
                    }
                }
                out.push(']');
            }
            Some(depth) => write_broken(elements, depth, out),
        },
        ValueToken::Table(entries) if entries.is_empty() => out.push_str("{}"),
        ValueToken::Table(entries) => {
            out.push_str("{ ");
            for (n, (key, value)) in entries.iter().enumerate() {
                out.push_str(if n > 0 { ", " } else { "" });
                out.push_str(key);
                out.push_str(" = ");
                write(value, depth, out);
            }
            out.push_str(" }");
        }
    }
}

fn write_broken(elements: &[Element<'_>], depth: usize, out: &mut String) {
    out.push_str("[\n");
    for element in elements {
        out.push_str(&"  ".repeat(depth + 1));
        match element {
            Element::Comment(text) => out.push_str(&comment(text)),
            Element::Value(value) => {
                write(value, Some(depth + 1), out);
                out.push(',');
            }
        }
        out.push('\n');
    }
    out.push_str(&"  ".repeat(depth));
    out.push(']');
}
