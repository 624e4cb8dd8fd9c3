//! A table in columns.

use super::paint::{Tone, pad, width};
use super::{Look, escape};

/// Rows below headers in aligned columns, two spaces apart, with a newline at the end. Cells are escaped;
/// columns of numbers are aligned to the right. Without headers no line is spent on them.
#[must_use]
pub fn table(headers: &[&str], rows: &[Vec<String>], look: &Look) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| escape::terminal(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).chain([headers.len()]).max().unwrap_or(0);
    let header: Vec<String> = headers.iter().map(|header| escape::terminal(header)).collect();
    let layout: Vec<Column> = (0..columns).map(|index| Column::of(index, &header, &rows)).collect();
    let mut out = String::new();
    if !header.is_empty() {
        out.push_str(&Tone::Bold.paint(&line(&header, &layout), look.color));
        out.push('\n');
    }
    for row in &rows {
        out.push_str(&line(row, &layout));
        out.push('\n');
    }
    out
}

struct Column {
    width: usize,
    right: bool,
}

impl Column {
    fn of(index: usize, header: &[String], rows: &[Vec<String>]) -> Self {
        let cells = || rows.iter().filter_map(|row| row.get(index));
        let widths = cells().chain(header.get(index)).map(|cell| width(cell));
        let mut told = cells().filter(|cell| !matches!(cell.as_str(), "" | "-")).peekable();
        Self {
            width: widths.max().unwrap_or(0),
            right: told.peek().is_some() && told.all(|cell| is_number(cell)),
        }
    }
}

fn is_number(cell: &str) -> bool {
    cell.contains(|c: char| c.is_ascii_digit())
        && cell.chars().all(|c| c.is_ascii_digit() || ",.%-".contains(c))
        && cell.parse::<jiff::civil::Date>().is_err()
}

fn line(cells: &[String], layout: &[Column]) -> String {
    let cells: Vec<String> = cells
        .iter()
        .zip(layout)
        .map(|(cell, column)| match column.right {
            true => format!("{}{cell}", " ".repeat(column.width.saturating_sub(width(cell)))),
            false => pad(cell, column.width),
        })
        .collect();
    cells.join("  ").trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_to_the_right_and_nothing_breaks_the_columns() {
        let rows = [["orders_db", "12,345", "ok"], ["東京\u{1b}[2J", "7", ""], ["x", "-", "2026-11-23"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).into()).collect();
        let expected = "\
source         records  outcome
orders_db       12,345  ok
東京\\u{1b}[2J        7
x                    -  2026-11-23
";
        assert_eq!(table(&["source", "records", "outcome"], &rows, &Look::default()), expected);
        assert_eq!(table(&[], &[], &Look::default()), "");
        assert_eq!(table(&["a", "b"], &[vec!["1".into()]], &Look::default()), "a  b\n1\n");
    }
}
