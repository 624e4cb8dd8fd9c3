//! Renders tables with aligned columns.

use super::style::{Color, pad, width, wrap};
use super::{Style, escape};

/// Minimum width of a column; cells that need more move below their row.
const MIN_COLUMN_WIDTH: usize = 24;

/// Indentation of cells below their row.
const OVERFLOW_INDENT: usize = 4;

/// Renders rows in aligned columns, two spaces apart, with a final newline.
///
/// Cells are escaped and numeric columns right-aligned. Empty headers produce no line.
///
/// If a row is wider than `look.width` (0: unlimited), the last column wraps, or columns without
/// room move below their row.
#[must_use]
pub fn table(headers: &[&str], rows: &[Vec<String>], look: &Style) -> String {
    let rows: Vec<Vec<String>> =
        rows.iter().map(|row| row.iter().map(|cell| escape::terminal(cell)).collect()).collect();
    let columns = rows.iter().map(Vec::len).chain([headers.len()]).max().unwrap_or(0);
    let header: Vec<String> = headers.iter().map(|header| escape::terminal(header)).collect();
    let columns: Vec<TableColumn> =
        (0..columns).map(|index| TableColumn::of(index, &header, &rows)).collect();
    let layout = TableLayout::fit(columns, look.width);
    let mut out = String::new();
    let header = if header.is_empty() { Vec::new() } else { layout.lines(&header) };
    let bold = header.into_iter().map(|line| Color::Bold.paint(&line, look.color));
    let lines = rows.iter().flat_map(|row| layout.lines(row));
    for line in bold.chain(lines) {
        out.push_str(&line);
        out.push('\n');
    }
    out
}

struct TableLayout {
    columns: Vec<TableColumn>,
    /// Number of columns on a row's first line.
    inline_columns: usize,
    /// Columns of the terminal; 0 for unlimited.
    width: usize,
}

impl TableLayout {
    fn fit(columns: Vec<TableColumn>, width: usize) -> Self {
        let ends = columns.iter().scan(0, |end, column| {
            let start = *end;
            *end += column.width + 2;
            Some((start, start + column.width))
        });
        let ends: Vec<(usize, usize)> = ends.collect();
        let last_is_wrapped = ends.last().is_some_and(|(start, _)| start + MIN_COLUMN_WIDTH <= width);
        let inline_columns = if width == 0 || last_is_wrapped {
            columns.len()
        } else {
            ends.iter().take_while(|(_, end)| *end <= width).count().max(1)
        };
        Self { columns, inline_columns, width }
    }

    fn lines(&self, cells: &[String]) -> Vec<String> {
        let (beside, below) = cells.split_at(self.inline_columns.min(cells.len()));
        let Some((last, before)) = beside.split_last() else { return vec![String::new()] };
        let mut start = String::new();
        for (cell, column) in before.iter().zip(&self.columns) {
            start.push_str(&column.pad(cell));
            start.push_str("  ");
        }
        let margin = width(&start);
        let mut lines = match self.columns.get(before.len()) {
            Some(column) if column.right => vec![column.pad(last)],
            _ => wrap(last, self.width.saturating_sub(margin)),
        };
        for (n, line) in lines.iter_mut().enumerate() {
            let before = if n == 0 { start.clone() } else { " ".repeat(margin) };
            *line = format!("{before}{line}").trim_end().to_owned();
        }
        let below: Vec<&str> =
            below.iter().map(String::as_str).filter(|cell| !matches!(*cell, "" | "-")).collect();
        if !below.is_empty() {
            let below = wrap(&below.join("  "), self.width.saturating_sub(OVERFLOW_INDENT));
            lines.extend(below.into_iter().map(|line| format!("{}{line}", " ".repeat(OVERFLOW_INDENT))));
        }
        lines
    }
}

struct TableColumn {
    width: usize,
    right: bool,
}

impl TableColumn {
    fn of(index: usize, header: &[String], rows: &[Vec<String>]) -> Self {
        let cells = || rows.iter().filter_map(|row| row.get(index));
        let widths = cells().chain(header.get(index)).map(|cell| width(cell));
        let mut told = cells().filter(|cell| !matches!(cell.as_str(), "" | "-")).peekable();
        Self {
            width: widths.max().unwrap_or(0),
            right: told.peek().is_some() && told.all(|cell| is_number(cell)),
        }
    }

    fn pad(&self, cell: &str) -> String {
        if self.right {
            format!("{}{cell}", " ".repeat(self.width.saturating_sub(width(cell))))
        } else {
            pad(cell, self.width)
        }
    }
}

fn is_number(cell: &str) -> bool {
    cell.contains(|c: char| c.is_ascii_digit())
        && cell.chars().all(|c| c.is_ascii_digit() || ",.%-".contains(c))
        && cell.parse::<jiff::civil::Date>().is_err()
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
        assert_eq!(table(&["source", "records", "outcome"], &rows, &Style::default()), expected);
        assert_eq!(table(&[], &[], &Style::default()), "");
        assert_eq!(table(&["a", "b"], &[vec!["1".into()]], &Style::default()), "a  b\n1\n");
    }
    #[test]
    fn what_is_too_wide_is_wrapped_or_stands_below_its_row() {
        let rows = [["crm/orders", "connected", "the platform refuses it: no such table"], ["x", "new", "-"]];
        let rows: Vec<Vec<String>> = rows.iter().map(|row| row.map(str::to_owned).into()).collect();
        let shown = |width| table(&["SOURCE", "STATE", "WHY"], &rows, &Style { width, ..Style::default() });
        let whole = "\
SOURCE      STATE      WHY
crm/orders  connected  the platform refuses it: no such table
x           new        -
";
        assert_eq!((shown(0).as_str(), shown(61).as_str()), (whole, whole));
        let wrapped = "\
SOURCE      STATE      WHY
crm/orders  connected  the platform refuses it: no
                       such table
x           new        -
";
        assert_eq!(shown(50), wrapped);
        let below = "\
SOURCE      STATE
    WHY
crm/orders  connected
    the platform refuses it:
    no such table
x           new
";
        assert_eq!(shown(30), below);
    }
}
