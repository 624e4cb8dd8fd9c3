//! Comma-separated files. Values stay text; no types are guessed.

mod parser;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::changes::{Changes, OTHER_CURSOR, RecordKey, Watermark};
use super::file::{AppendOnlyReader, DataFile, FileCursor, LineEnd};
use super::row::{RowText, distinct};
use super::{
    ConfigError, ConfigFields, Connector, ConnectorContext, ReadError, ReadOptions, RowSink, SourceColumn,
    SourceTable, WriteMode,
};
use crate::order::Extent;
use parser::{CsvRecord, Dialect};

const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Reads the configuration.
///
/// Fields: `path` (or `file`); `delimiter`, `quote`, `has_header` (true); `key`, the columns that
/// identify rows; `table` (name of the file).
pub(super) fn open(
    fields: ConfigFields<'_>,
    delimiter: u8,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
    let named = DataFile::read(fields, &["path", "file"], reach)?;
    let wish = match fields.text("delimiter")? {
        None => None,
        Some("tab" | "\\t") => Some(b'\t'),
        Some(sign) if sign.len() == 1 && !matches!(sign, "\"" | "\n" | "\r") => Some(sign.as_bytes()[0]),
        Some(_) => return Err(ConfigError::new("\"delimiter\" must be one ASCII character")),
    };
    let delimiter_found = wish.unwrap_or(delimiter);
    let quote = match fields.text("quote")? {
        None => Some(b'"'),
        Some("none") => None,
        Some(sign) if sign.len() == 1 && !matches!(sign, "\n" | "\r") => Some(sign.as_bytes()[0]),
        Some(_) => return Err(ConfigError::new("\"quote\" must be one ASCII character, or \"none\"")),
    };
    if quote == Some(delimiter_found) {
        return Err(ConfigError::new("\"quote\" and \"delimiter\" must not be the same character"));
    }
    let header = match fields.flag("has_header")? {
        Some(header) => header,
        None => fields.flag("header")?.unwrap_or(true),
    };
    let table = fields.text("table")?.map_or_else(|| named.stem(), str::to_owned);
    let dialect = Dialect { delimiter: delimiter_found, quote };
    let key = RecordKey::read(fields)?;
    Ok(Box::new(Csv { named, dialect, delimiter_given: wish.is_some(), header, key, table }))
}

struct Csv {
    named: DataFile,
    dialect: Dialect,
    /// True if the delimiter is configured.
    delimiter_given: bool,
    header: bool,
    key: RecordKey,
    table: String,
}

/// Position in the file, and the format derived from its first lines.
///
/// Without columns, the header line is incomplete, and the file must be read from its start.
#[derive(Serialize, Deserialize)]
struct CsvPosition {
    mark: FileCursor,
    lines: u64,
    columns: Vec<String>,
    delimiter: u8,
}

/// Position of a read by key or cursor.
#[derive(Serialize, Deserialize)]
struct CsvByCursor {
    watermark: Watermark,
    /// Line of the last record if it was incomplete.
    unfinished_line: Option<u64>,
}

impl Connector for Csv {
    fn test(&self) -> Result<String, ReadError> {
        let (mut records, columns) = self.start()?;
        match records.next(columns.len())? {
            Some(Extent::More) => return Err(records.unclosed_quote_error()),
            Some(_) => records.values().map(|_| ())?,
            None => {}
        }
        Ok(format!("read the CSV file: {} columns", columns.len()))
    }

    fn schema(&self) -> Result<Vec<SourceTable>, ReadError> {
        let (_, columns) = self.start()?;
        let columns = columns.into_iter().map(|name| SourceColumn::new(name, "text")).collect();
        Ok(vec![SourceTable { name: self.table.clone(), kind: "table", columns }])
    }

    fn read(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        if !self.key.is_empty() || options.cursor.is_some() {
            return self.read_records(options, intake);
        }
        let before: Option<CsvPosition> = options.position();
        let other = before.is_none();
        let before = before.filter(|position| !position.columns.is_empty());
        let changed = before.is_some();
        if let Some(before) = before {
            let mut growing = AppendOnlyReader::open(&self.named)?;
            if growing.skip(&before.mark)? {
                intake.begin_table(&self.table, WriteMode::Upsert)?;
                let mut records = CsvRecords::new(self, growing);
                records.dialect.delimiter = before.delimiter;
                (records.lines, records.complete_lines) = (before.lines, before.lines);
                records.named = true;
                return self.read_appended(records, before.columns, Some(&before.mark), options, intake);
            }
        }
        let (mut records, columns) = self.start()?;
        if let Some(since) = &options.since {
            let none = match records.peek(columns.len())? {
                None => true,
                Some(Extent::Unknown) => records.record.len() < columns.len(),
                Some(Extent::Complete | Extent::More) => false,
            };
            if none {
                intake.add_note(self.named.emptied());
                return Ok(since.clone());
            }
            if changed {
                intake.add_note(self.named.replaced());
            } else if other {
                intake.add_note(OTHER_CURSOR.to_owned());
            }
        }
        intake.begin_table(&self.table, WriteMode::Replace)?;
        self.read_appended(records, columns, None, options, intake)
    }
}

impl Csv {
    /// Reads the column names; none if the file is empty.
    ///
    /// Without a header, columns are numbered.
    fn start(&self) -> Result<(CsvRecords<'_>, Vec<String>), ReadError> {
        let mut records = CsvRecords::new(self, AppendOnlyReader::open(&self.named)?);
        let extent = loop {
            match records.next(0)? {
                Some(_) if records.is_separator()? => records.accept(),
                Some(Extent::More) => return Err(records.unclosed_quote_error()),
                other => break other,
            }
        };
        let Some(extent) = extent else { return Ok((records, Vec::new())) };
        // A line without an end may still get more columns.
        records.named = extent == Extent::Complete;
        if !self.header {
            let columns = distinct((0..records.record.len()).map(|_| String::new()));
            records.pending = Some(extent);
            return Ok((records, columns));
        }
        let names = records.values()?;
        let columns = distinct(names.into_iter().map(str::to_owned));
        if extent == Extent::Complete {
            records.accept();
        }
        Ok((records, columns))
    }

    /// Reads all records and forwards new ones by cursor, key or content.
    fn read_records(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        let before: Option<CsvByCursor> = options.position();
        let stuck_at = before.as_ref().and_then(|before| before.unfinished_line);
        let watermark = before.map(|before| before.watermark);
        let mut changes = Changes::resume(watermark, &self.table, &self.key, options);
        let (mut records, columns) = self.start()?;
        let mut row = RowText::default();
        let mut unfinished_line = None;
        while let Some(extent) = records.next(columns.len())? {
            let (found, expected) = (records.record.len(), columns.len());
            let short = extent == Extent::Unknown && found < expected;
            if extent == Extent::More || short {
                unfinished_line = Some(records.first_line);
                if extent == Extent::More && (!options.incremental || stuck_at == unfinished_line) {
                    return Err(records.unclosed_quote_error());
                }
                if !options.incremental || stuck_at == unfinished_line {
                    return Err(records.column_count_error(found, expected));
                }
                intake.add_note(self.named.unfinished(records.first_line));
                break;
            }
            if found != expected {
                return Err(records.column_count_error(found, expected));
            }
            // Otherwise half of its last value would be stored permanently as a separate record.
            let open = extent == Extent::Unknown && self.key.is_empty() && options.incremental;
            if open && stuck_at != Some(records.first_line) {
                unfinished_line = Some(records.first_line);
                intake.add_note(self.named.unfinished(records.first_line));
                break;
            }
            let values = records.values()?;
            row.clear();
            for (column, value) in columns.iter().zip(&values) {
                row.put(column, *value);
            }
            changes.push_text_row(&columns, &values, row.finish(), intake)?;
        }
        let Some(watermark) = changes.finish(intake)? else { return Ok(options.same_position()) };
        Ok(serde_json::to_value(CsvByCursor { watermark, unfinished_line }).unwrap_or(Value::Null))
    }

    /// Forwards the records up to the end of the file or an incomplete one.
    fn read_appended(
        &self,
        mut records: CsvRecords<'_>,
        columns: Vec<String>,
        before: Option<&FileCursor>,
        options: &ReadOptions,
        intake: &mut dyn RowSink,
    ) -> Result<Value, ReadError> {
        let mut row = RowText::default();
        let mut unfinished = false;
        // The stored version of an unterminated last line is replaced by its current text.
        let mut identity = before.map(FileCursor::last_record_identity);
        while let Some(extent) = records.next(columns.len())? {
            let (found, expected) = (records.record.len(), columns.len());
            unfinished = match extent {
                Extent::More => true,
                Extent::Unknown => found < expected,
                Extent::Complete => false,
            };
            if unfinished {
                let stuck = records.growing.mark(true).is_stalled(before);
                let cannot_wait =
                    if extent == Extent::More { before.is_none() } else { !options.incremental };
                match extent {
                    Extent::More if stuck || cannot_wait => return Err(records.unclosed_quote_error()),
                    _ if stuck || cannot_wait => return Err(records.column_count_error(found, expected)),
                    _ => intake.add_note(self.named.unfinished(records.first_line)),
                }
                break;
            }
            if found != expected {
                return Err(records.column_count_error(found, expected));
            }
            if extent == Extent::Unknown {
                identity = Some(records.growing.mark(false).last_record_identity());
            }
            row.clear();
            for (column, value) in columns.iter().zip(records.values()?) {
                row.put(column, value);
            }
            intake.push_row(row.finish(), identity.take().as_deref())?;
            if extent == Extent::Complete {
                records.accept();
            }
        }
        if unfinished && let Some(gone) = identity {
            intake.remove_row(&gone)?;
        }
        let mark = records.growing.mark(unfinished);
        let columns = if records.named { columns } else { Vec::new() };
        let position = CsvPosition {
            mark,
            lines: records.complete_lines,
            columns,
            delimiter: records.dialect.delimiter,
        };
        Ok(serde_json::to_value(position).unwrap_or(Value::Null))
    }
}

/// Iterator over the records of a file.
struct CsvRecords<'c> {
    csv: &'c Csv,
    growing: AppendOnlyReader<'c>,
    dialect: Dialect,
    raw: Vec<u8>,
    record: CsvRecord,
    /// Record to return by the next call of [`CsvRecords::next`].
    pending: Option<Extent>,
    first_line: u64,
    lines: u64,
    /// Number of lines of complete records.
    complete_lines: u64,
    /// True if the header line is complete.
    named: bool,
}

impl<'c> CsvRecords<'c> {
    fn new(csv: &'c Csv, growing: AppendOnlyReader<'c>) -> Self {
        Self {
            dialect: csv.dialect,
            csv,
            growing,
            raw: Vec::new(),
            record: CsvRecord::default(),
            pending: None,
            first_line: 1,
            lines: 0,
            complete_lines: 0,
            named: false,
        }
    }

    /// Reads the next record; `None` at the end of the file.
    ///
    /// A blank line is a record if there is only one column, whose value is then empty.
    fn next(&mut self, columns: usize) -> Result<Option<Extent>, ReadError> {
        if let Some(extent) = self.pending.take() {
            return Ok(Some(extent));
        }
        loop {
            let extent = self.read()?;
            if extent == Some(Extent::Complete) && self.record.is_blank() && columns != 1 {
                self.accept();
            } else {
                return Ok(extent);
            }
        }
    }

    /// Like [`CsvRecords::next`], but the next call returns the same record.
    fn peek(&mut self, columns: usize) -> Result<Option<Extent>, ReadError> {
        self.pending = self.next(columns)?;
        Ok(self.pending)
    }

    fn read(&mut self) -> Result<Option<Extent>, ReadError> {
        self.raw.clear();
        self.record.clear();
        self.first_line = self.lines + 1;
        loop {
            let start = self.raw.len();
            let ended = self.growing.line(LineEnd::Any, &mut self.raw)?;
            if self.raw.len() == start {
                return Ok((start > 0).then_some(Extent::More));
            }
            self.lines += 1;
            let mut line = &self.raw[start..];
            if self.lines == 1 {
                line = line.strip_prefix(BYTE_ORDER_MARK).unwrap_or(line);
            }
            match self.record.line(line, self.dialect) {
                Err(parser::Misquoted) => return Err(self.misquoted_error()),
                Ok(Extent::More) if ended => {}
                Ok(Extent::More) => return Ok(Some(Extent::More)),
                Ok(Extent::Complete) if ended => return Ok(Some(Extent::Complete)),
                Ok(Extent::Complete) => return Ok(Some(Extent::Unknown)),
                Ok(Extent::Unknown) => {
                    self.record.end();
                    return Ok(Some(Extent::Unknown));
                }
            }
        }
    }

    /// Counts the record as complete.
    fn accept(&mut self) {
        self.growing.accept(&self.raw);
        self.complete_lines = self.lines;
    }

    /// Returns true for a first line such as `sep=;`, which sets the delimiter.
    fn is_separator(&mut self) -> Result<bool, ReadError> {
        let line = self.raw.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&self.raw).trim_ascii_end();
        let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
        // A tab at the end is the delimiter, so it must not be trimmed.
        let tab = self.raw.windows(5).any(|found| found.eq_ignore_ascii_case(b"sep=\t"));
        let named = match line.split_at_checked(4) {
            _ if tab => Some(b'\t'),
            Some((start, rest)) if start.eq_ignore_ascii_case(b"sep=") => rest.first().copied(),
            _ => None,
        };
        let Some(named) = named else { return Ok(false) };
        if self.first_line != 1 || !(tab || line.len() == 5) {
            return Ok(false);
        }
        if self.csv.delimiter_given && named != self.dialect.delimiter {
            return Err(self.csv.named.content_error(format!(
                "its first line names the delimiter \"{}\", and \"delimiter\" another one",
                char::from(named)
            )));
        }
        self.dialect.delimiter = named;
        Ok(true)
    }

    fn values(&self) -> Result<Vec<&str>, ReadError> {
        let values: Option<_> = self.record.values().collect();
        values.ok_or_else(|| {
            self.csv
                .named
                .content_error(format!("line {}: this is not UTF-8; convert the file", self.first_line))
        })
    }

    fn unclosed_quote_error(&self) -> ReadError {
        self.csv.named.content_error(format!(
            "line {} opens a quote that nothing closes; where quotes are plain characters, set quote = \"none\"",
            self.first_line
        ))
    }

    fn misquoted_error(&self) -> ReadError {
        let at = if self.first_line == self.lines {
            format!("line {}", self.lines)
        } else {
            format!("line {} (of a record that begins in line {})", self.lines, self.first_line)
        };
        self.csv.named.content_error(format!(
            "{at} has text behind a closing quote; a quote within a value is written twice, and where quotes are \
             plain characters, set quote = \"none\""
        ))
    }

    fn column_count_error(&self, found: usize, expected: usize) -> ReadError {
        let line = self.first_line;
        self.csv.named.content_error(format!("line {line} has {found} values where {expected} are expected"))
    }
}
