//! Lays out rows in aligned columns.

use super::changes::ValueText;
use super::escape;
use super::sections::{RowDetail, SectionRow};
use super::style::{Color, pad, width, wrap};

/// Minimum width of the key column, so that blocks with short keys align.
const MIN_KEY_WIDTH: usize = 14;
/// Maximum width of the key column, so that one long key does not shift all others.
const MAX_KEY_WIDTH: usize = 32;
/// Minimum width of the action column.
const WORD: usize = 9;
const MARK: usize = 3;
/// Width below which texts start further to the left.
const MIN_TEXT_WIDTH: usize = 40;
/// Maximum width of field names.
const FIELD: usize = 32;

#[derive(Debug, Clone, Copy)]
pub(super) struct LineLayout {
    /// Uses colour codes.
    pub(super) color: bool,
    /// Columns at which lines wrap; 0 disables wrapping.
    pub(super) width: usize,
    /// Puts marks and signs in the first column.
    ///
    /// A Markdown `diff` block expects them there.
    pub(super) flush_left: bool,
}

impl LineLayout {
    fn indent(self) -> usize {
        if self.flush_left { 0 } else { 2 }
    }

    fn paint(self, tone: Color, text: &str) -> String {
        tone.paint(text, self.color)
    }

    /// Lays out the rows, one or more lines each.
    pub(super) fn rows(self, rows: &[SectionRow]) -> Vec<String> {
        let labels: Vec<String> = rows.iter().map(label).collect();
        let key = widest(labels.iter().map(|label| width(label)), MAX_KEY_WIDTH).max(MIN_KEY_WIDTH);
        let word = widest(rows.iter().map(|row| row.word.len()), MAX_KEY_WIDTH).max(WORD);
        let mut out = Vec::new();
        for (row, label) in rows.iter().zip(&labels) {
            self.row(row, label, key, word, &mut out);
        }
        out
    }

    fn row(self, row: &SectionRow, label: &str, key: usize, word: usize, out: &mut Vec<String>) {
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
        let room = self.remaining_width(column + width(label).saturating_sub(key));
        let mut lines = wrap(&detail, room).into_iter();
        out.push(format!("{start}{}", lines.next().unwrap_or_default()).trim_end().to_owned());
        out.extend(lines.map(|line| format!("{}{line}", " ".repeat(column))));

        let names = row.nested.iter().filter_map(|below| match below {
            RowDetail::Field(name, _) => Some(width(&escape::terminal(name))),
            _ => None,
        });
        let name = widest(names, FIELD);
        for below in &row.nested {
            match below {
                RowDetail::Field(field, shown) => self.field(&escape::terminal(field), shown, name, out),
                RowDetail::Line(text) => out.push(format!("{}{}", self.margin(), escape::terminal(text))),
                RowDetail::Note(text) => {
                    let tone =
                        if row.tone == Color::Red && row.mark == "x" { Color::Red } else { Color::Plain };
                    self.paragraph(text, column, tone, out);
                }
            }
        }
    }

    fn margin(self) -> String {
        " ".repeat(self.indent() + MARK + 3)
    }

    fn remaining_width(self, column: usize) -> usize {
        self.width.saturating_sub(column)
    }

    fn field(self, name: &str, shown: &ValueText, longest: usize, out: &mut Vec<String>) {
        let start = format!("{}{}  ", self.margin(), pad(name, longest));
        match shown {
            ValueText::Line(text) => out.push(format!("{start}{text}")),
            ValueText::Pair(was, is, remark) => self.pair(&start, [was, is, remark], out),
            ValueText::Diff(heading, lines) => {
                out.push(format!("{start}{heading}"));
                for line in lines {
                    let tone = match line.sign {
                        '+' => Color::Green,
                        '-' => Color::Red,
                        _ => Color::Plain,
                    };
                    let text = if self.flush_left {
                        format!("{}{}  {}", line.sign, self.margin(), line.text)
                    } else {
                        format!("{}  {} {}", self.margin(), line.sign, line.text)
                    };
                    out.push(self.paint(tone, text.trim_end()));
                }
            }
        }
    }

    /// Puts both values on one line if they fit, otherwise on two.
    fn pair(self, start: &str, [was, is, remark]: [&String; 3], out: &mut Vec<String>) {
        let remark = if remark.is_empty() { String::new() } else { format!("  ({remark})") };
        let (red, green) = (self.paint(Color::Red, was), self.paint(Color::Green, is));
        let length = width(start) + width(was) + 4 + width(is) + width(&remark);
        if self.width == 0 || length <= self.width {
            out.push(format!("{start}{red} -> {green}{remark}"));
        } else {
            out.push(format!("{start}{}", self.paint(Color::Red, &format!("- {was}"))));
            let below = " ".repeat(width(start));
            out.push(format!("{below}{}{remark}", self.paint(Color::Green, &format!("+ {is}"))));
        }
    }

    /// Wraps a text of one or more lines, indented to `column`.
    ///
    /// Uses a smaller indentation if the output is narrow.
    pub(super) fn paragraph(self, text: &str, column: usize, tone: Color, out: &mut Vec<String>) {
        let narrow = self.width > 0 && self.remaining_width(column) < MIN_TEXT_WIDTH;
        let column = if self.flush_left || narrow { self.margin().len() } else { column };
        for line in text.lines() {
            for piece in wrap(&escape::terminal(line), self.remaining_width(column)) {
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
fn label(row: &SectionRow) -> String {
    let key = escape::terminal(&row.key);
    match &row.name {
        Some(name) => format!("{key} {}", escape::quoted(name)),
        None => key,
    }
}
