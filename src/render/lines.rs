//! Lays out rows in aligned columns.

use super::changes::Shown;
use super::escape;
use super::paint::{Tone, pad, width, wrap};
use super::rows::{Below, Row};

/// Minimum width of the key column, so that blocks with short keys align.
const NARROWEST: usize = 14;
/// Maximum width of the key column, so that one long key does not shift all others.
const WIDEST: usize = 32;
/// Minimum width of the action column.
const WORD: usize = 9;
/// Width of the mark column.
const MARK: usize = 3;
/// Width below which texts start further to the left.
const NARROW: usize = 40;
/// Maximum width of field names.
const FIELD: usize = 32;

/// Layout of the output.
#[derive(Debug, Clone, Copy)]
pub(super) struct Page {
    /// Uses colour codes.
    pub(super) color: bool,
    /// Columns at which lines wrap; 0 disables wrapping.
    pub(super) width: usize,
    /// Puts marks and signs in the first column.
    ///
    /// A Markdown `diff` block expects them there.
    pub(super) flush: bool,
}

impl Page {
    fn indent(self) -> usize {
        if self.flush { 0 } else { 2 }
    }

    fn paint(self, tone: Tone, text: &str) -> String {
        tone.paint(text, self.color)
    }

    /// Lays out the rows, one or more lines each.
    pub(super) fn rows(self, rows: &[Row]) -> Vec<String> {
        let labels: Vec<String> = rows.iter().map(label).collect();
        let key = widest(labels.iter().map(|label| width(label)), WIDEST).max(NARROWEST);
        let word = widest(rows.iter().map(|row| row.word.len()), WIDEST).max(WORD);
        let mut out = Vec::new();
        for (row, label) in rows.iter().zip(&labels) {
            self.row(row, label, key, word, &mut out);
        }
        out
    }

    fn row(self, row: &Row, label: &str, key: usize, word: usize, out: &mut Vec<String>) {
        let column = self.indent() + MARK + 1 + key + 2 + word + 1;
        let start = format!(
            "{}{} {}  {} ",
            " ".repeat(self.indent()),
            self.paint(row.tone, &pad(row.mark, MARK)),
            pad(label, key),
            self.paint(row.tone, &pad(row.word, word)),
        );
        let detail = escape::terminal(&row.detail);
        // A key longer than its column shifts only its own text.
        let room = self.room(column + width(label).saturating_sub(key));
        let mut lines = wrap(&detail, room).into_iter();
        out.push(format!("{start}{}", lines.next().unwrap_or_default()).trim_end().to_owned());
        out.extend(lines.map(|line| format!("{}{line}", " ".repeat(column))));

        let names = row.below.iter().filter_map(|below| match below {
            Below::Field(name, _) => Some(width(&escape::terminal(name))),
            _ => None,
        });
        let name = widest(names, FIELD);
        for below in &row.below {
            match below {
                Below::Field(field, shown) => self.field(&escape::terminal(field), shown, name, out),
                Below::Line(text) => out.push(format!("{}{}", self.margin(), escape::terminal(text))),
                Below::Note(text) => {
                    let tone = if row.tone == Tone::Red && row.mark == "x" { Tone::Red } else { Tone::Plain };
                    self.paragraph(text, column, tone, out);
                }
            }
        }
    }

    /// Indentation of fields.
    fn margin(self) -> String {
        " ".repeat(self.indent() + MARK + 3)
    }

    fn room(self, column: usize) -> usize {
        self.width.saturating_sub(column)
    }

    fn field(self, name: &str, shown: &Shown, longest: usize, out: &mut Vec<String>) {
        let start = format!("{}{}  ", self.margin(), pad(name, longest));
        match shown {
            Shown::Line(text) => out.push(format!("{start}{text}")),
            Shown::Pair(was, is, remark) => self.pair(&start, [was, is, remark], out),
            Shown::Diff(heading, lines) => {
                out.push(format!("{start}{heading}"));
                for line in lines {
                    let tone = match line.sign {
                        '+' => Tone::Green,
                        '-' => Tone::Red,
                        _ => Tone::Plain,
                    };
                    let text = match self.flush {
                        true => format!("{}{}  {}", line.sign, self.margin(), line.text),
                        false => format!("{}  {} {}", self.margin(), line.sign, line.text),
                    };
                    out.push(self.paint(tone, text.trim_end()));
                }
            }
        }
    }

    /// Puts both values on one line if they fit, otherwise on two.
    fn pair(self, start: &str, [was, is, remark]: [&String; 3], out: &mut Vec<String>) {
        let remark = if remark.is_empty() { String::new() } else { format!("  ({remark})") };
        let (red, green) = (self.paint(Tone::Red, was), self.paint(Tone::Green, is));
        let length = width(start) + width(was) + 4 + width(is) + width(&remark);
        if self.width == 0 || length <= self.width {
            out.push(format!("{start}{red} -> {green}{remark}"));
        } else {
            out.push(format!("{start}{}", self.paint(Tone::Red, &format!("- {was}"))));
            let below = " ".repeat(width(start));
            out.push(format!("{below}{}{remark}", self.paint(Tone::Green, &format!("+ {is}"))));
        }
    }

    /// Wraps a text of one or more lines, indented to `column`.
    ///
    /// Uses a smaller indentation if the output is narrow.
    pub(super) fn paragraph(self, text: &str, column: usize, tone: Tone, out: &mut Vec<String>) {
        let narrow = self.width > 0 && self.room(column) < NARROW;
        let column = if self.flush || narrow { self.margin().len() } else { column };
        for line in text.lines() {
            for piece in wrap(&escape::terminal(line), self.room(column)) {
                out.push(format!("{}{}", " ".repeat(column), self.paint(tone, &piece)).trim_end().to_owned());
            }
        }
    }
}

/// Returns the greatest width that does not exceed `most`.
fn widest(widths: impl Iterator<Item = usize>, most: usize) -> usize {
    widths.filter(|width| *width <= most).max().unwrap_or(0)
}

/// Formats the key, with the platform's name if it differs.
fn label(row: &Row) -> String {
    let key = escape::terminal(&row.key);
    match &row.name {
        Some(name) => format!("{key} {}", escape::quoted(name)),
        None => key,
    }
}
