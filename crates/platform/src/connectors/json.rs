//! JSON files: a document with an array of records, or one record per line.

use std::collections::BTreeMap;
use std::io::BufReader;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::changes::{Changes, OTHER_CURSOR, RecordKey, Watermark};
use super::exact::record;
use super::file::{AppendOnlyReader, DataFile, FileCursor, Limited, LineEnd};
use super::records::{Flow, for_each_record};
use super::{
    ConfigError, ConfigFields, Connector, ConnectorContext, ReadError, ReadOptions, RowSink, SourceColumn,
    SourceTable, WriteMode,
};
use crate::order::Extent;

type JsonRecord = Map<String, Value>;

/// Number of records examined to determine the columns.
const SAMPLE: usize = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JsonLayout {
    Document,
    Lines,
}

/// Reads the configuration.
///
/// Fields: `path` (or `file`); `records`, a JSON pointer to the array; `key`, the field that
/// identifies records; `table` (name of the file).
pub(super) fn open(
    fields: ConfigFields<'_>,
    layout: JsonLayout,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
    let named = DataFile::read(fields, &["path", "file"], reach)?;
    let path = match layout {
        JsonLayout::Document => fields.pointer("records")?.unwrap_or_default(),
        JsonLayout::Lines => Vec::new(),
    };
    let key = RecordKey::read(fields)?;
    let table = fields.text("table")?.map_or_else(|| named.stem(), str::to_owned);
    Ok(Box::new(JsonFile { named, layout, path, key, table }))
}

struct JsonFile {
    named: DataFile,
    layout: JsonLayout,
    path: Vec<String>,
    key: RecordKey,
    table: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum JsonPosition {
    Lines {
        mark: FileCursor,
        lines: u64,
    },
    Records {
        watermark: Watermark,
        /// Line of the last record if it was incomplete.
        unfinished_line: Option<u64>,
    },
}

impl Connector for JsonFile {
    fn test(&self) -> Result<String, ReadError> {
        let mut count = 0;
        self.each(&mut |_| {
            count += 1;
            Ok(if count == SAMPLE { Flow::Break } else { Flow::Continue })
        })?;
        Ok(format!("read the JSON file: {}{count} records", if count == SAMPLE { "at least " } else { "" }))
    }

    fn schema(&self) -> Result<Vec<SourceTable>, ReadError> {
        let mut shape = JsonShape::default();
        self.each(&mut |row| {
            shape.add(&row);
            Ok(if shape.record_count == SAMPLE { Flow::Break } else { Flow::Continue })
        })?;
        Ok(vec![shape.table(&self.table)])
    }

    fn read(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        // Lines are counted unless a key or cursor detects new records.
        if self.layout == JsonLayout::Lines && self.key.is_empty() && options.cursor.is_none() {
            self.read_lines(options, intake)
        } else {
            self.read_records(options, intake)
        }
    }
}

impl JsonFile {
    /// Reads the lines after the previous position, or all if those before changed.
    fn read_lines(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        let before = options.position();
        let changed = matches!(before, Some(JsonPosition::Lines { .. }));
        if let Some(JsonPosition::Lines { mark, lines }) = before {
            let mut resumed = self.lines()?;
            if resumed.growing.skip(&mark)? {
                (resumed.read, resumed.complete_lines) = (lines, lines);
                intake.begin_table(&self.table, WriteMode::Upsert)?;
                return self.read_new_lines(resumed, Some(&mark), options, intake);
            }
        }
        let mut lines = self.lines()?;
        if let Some(since) = &options.since {
            if matches!(lines.peek()?, None | Some(Extent::More)) {
                intake.add_note(self.named.emptied());
                return Ok(since.clone());
            }
            intake.add_note(if changed { self.named.replaced() } else { OTHER_CURSOR.to_owned() });
        }
        intake.begin_table(&self.table, WriteMode::Replace)?;
        self.read_new_lines(lines, None, options, intake)
    }

    /// Forwards the lines up to the end of the file or an incomplete one.
    fn read_new_lines(
        &self,
        mut lines: JsonLines<'_>,
        before: Option<&FileCursor>,
        options: &ReadOptions,
        intake: &mut dyn RowSink,
    ) -> Result<Value, ReadError> {
        // The stored version of an unterminated last line is replaced by its current text.
        let mut identity = before.map(FileCursor::last_record_identity);
        let mut unfinished = false;
        while let Some((row, extent)) = lines.next()? {
            if extent == Extent::More {
                unfinished = true;
                if !options.incremental || lines.growing.mark(true).is_stalled(before) {
                    return Err(lines.unfinished());
                }
                intake.add_note(self.named.unfinished(lines.read));
                break;
            }
            if extent == Extent::Unknown {
                identity = Some(lines.growing.mark(false).last_record_identity());
            }
            intake.push_row(&Value::Object(row).to_string(), identity.take().as_deref())?;
            lines.accept(extent);
        }
        if unfinished && let Some(gone) = identity {
            intake.remove_row(&gone)?;
        }
        let position =
            JsonPosition::Lines { mark: lines.growing.mark(unfinished), lines: lines.complete_lines };
        Ok(serde_json::to_value(position).unwrap_or(Value::Null))
    }

    fn read_records(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        let (watermark, stuck_at) = match options.position() {
            Some(JsonPosition::Records { watermark, unfinished_line }) => (Some(watermark), unfinished_line),
            _ => (None, None),
        };
        let mut changes = Changes::resume(watermark, &self.table, &self.key, options);
        let mut unfinished_line = None;
        if self.layout == JsonLayout::Lines {
            let mut lines = self.lines()?;
            while let Some((row, extent)) = lines.next()? {
                if extent == Extent::More {
                    unfinished_line = Some(lines.read);
                    if !options.incremental || stuck_at == unfinished_line {
                        return Err(lines.unfinished());
                    }
                    intake.add_note(self.named.unfinished(lines.read));
                    break;
                }
                changes.record(row, intake)?;
                lines.accept(extent);
            }
        } else {
            self.each(&mut |row| changes.record(row, intake).map(|()| Flow::Continue))?;
        }
        let Some(watermark) = changes.finish(intake)? else { return Ok(options.same_position()) };
        let position = JsonPosition::Records { watermark, unfinished_line };
        Ok(serde_json::to_value(position).unwrap_or(Value::Null))
    }

    fn lines(&self) -> Result<JsonLines<'_>, ReadError> {
        let growing = AppendOnlyReader::open(&self.named)?;
        let named = &self.named;
        Ok(JsonLines { named, growing, line: Vec::new(), read: 0, complete_lines: 0, pending: None })
    }

    /// Calls `take` for every record in either layout.
    fn each(&self, take: &mut dyn FnMut(JsonRecord) -> Result<Flow, ReadError>) -> Result<(), ReadError> {
        if self.layout == JsonLayout::Lines {
            let mut lines = self.lines()?;
            while let Some((row, extent)) = lines.next()? {
                if extent == Extent::More {
                    return Err(lines.unfinished());
                }
                if take(row)? == Flow::Break {
                    break;
                }
                lines.accept(extent);
            }
            return Ok(());
        }
        let document = Limited::open(&self.named)?;
        let size = document.record();
        let mut count = 0_u64;
        let read = for_each_record(BufReader::new(RowSkipper::new(document)), &self.path, &mut |raw| {
            size.set(0);
            count += 1;
            // The parser counts lines from the start of the record.
            let invalid = |error| self.named.content_error(format!("record {count}: {}", reason(&error)));
            take(record(&raw).map_err(invalid)?)
        })?;
        match read {
            Ok(true) => Ok(()),
            Ok(false) => {
                Err(self.named.content_error(format!("there is nothing at /{}", self.path.join("/"))))
            }
            Err(error) => Err(self.named.content_error(error)),
        }
    }
}

/// Returns the message of a parser without its position.
fn reason(error: &serde_json::Error) -> String {
    let position = format!(" at line {} column {}", error.line(), error.column());
    error.to_string().replace(&position, "")
}

/// Iterator over the lines of a file, one record each.
struct JsonLines<'f> {
    named: &'f DataFile,
    growing: AppendOnlyReader<'f>,
    line: Vec<u8>,
    read: u64,
    /// Number of complete lines.
    complete_lines: u64,
    /// Line to return by the next call of [`JsonLines::next`].
    pending: Option<(JsonRecord, Extent)>,
}

impl JsonLines<'_> {
    /// Reads the next record; `None` at the end of the file.
    ///
    /// An incomplete last line is returned without fields and with [`Extent::More`].
    fn next(&mut self) -> Result<Option<(JsonRecord, Extent)>, ReadError> {
        if let Some(pending) = self.pending.take() {
            return Ok(Some(pending));
        }
        loop {
            self.line.clear();
            let ended = self.growing.line(LineEnd::LineFeed, &mut self.line)?;
            if self.line.is_empty() {
                return Ok(None);
            }
            self.read += 1;
            let first = self.read == 1;
            let text = match self.line.strip_prefix(b"\xef\xbb\xbf") {
                Some(text) if first => text,
                _ => &self.line,
            };
            let text = text.trim_ascii_end();
            if text.is_empty() {
                if ended {
                    self.accept(Extent::Complete);
                    continue;
                }
                return Ok(None);
            }
            let line = self.read;
            return match serde_json::from_slice::<&RawValue>(text) {
                Ok(raw) => {
                    let invalid =
                        |error| self.named.content_error(format!("line {line}: {}", reason(&error)));
                    let extent = if ended { Extent::Complete } else { Extent::Unknown };
                    Ok(Some((record(raw).map_err(invalid)?, extent)))
                }
                Err(error) if !ended && error.is_eof() => Ok(Some((JsonRecord::new(), Extent::More))),
                Err(error) => {
                    let document = first && (error.is_eof() || text.starts_with(b"["));
                    let hint = if document { "; a document is read with format = \"json\"" } else { "" };
                    let (column, reason) = (error.column(), reason(&error));
                    let message = format!("line {line} is not JSON: {reason} (column {column}){hint}");
                    Err(self.named.content_error(message))
                }
            };
        }
    }

    /// Like [`JsonLines::next`], but the next call returns the same line.
    fn peek(&mut self) -> Result<Option<Extent>, ReadError> {
        self.pending = self.next()?;
        Ok(self.pending.as_ref().map(|(_, extent)| *extent))
    }

    /// Counts the line if it is complete.
    fn accept(&mut self, extent: Extent) {
        if extent == Extent::Complete {
            self.growing.accept(&self.line);
            self.complete_lines = self.read;
        }
    }

    fn unfinished(&self) -> ReadError {
        self.named.content_error(format!(
            "line {} breaks off; it is read once its writer has finished it",
            self.read
        ))
    }
}

/// Columns of the examined records.
#[derive(Default)]
pub(super) struct JsonShape {
    pub(super) record_count: usize,
    columns: BTreeMap<String, (&'static str, usize)>,
}

impl JsonShape {
    pub(super) fn add(&mut self, row: &JsonRecord) {
        self.record_count += 1;
        for (name, value) in row {
            let kind = kind(value);
            let (known, count) = self.columns.entry(name.clone()).or_insert((kind, 0));
            *known = match (*known, kind) {
                (one, other) if one == other => one,
                ("null", other) | (other, "null") => other,
                ("integer", "number") | ("number", "integer") => "number",
                _ => "json",
            };
            *count += usize::from(!value.is_null());
        }
    }

    pub(super) fn table(self, name: &str) -> SourceTable {
        let column = |(name, (kind, count)): (String, (&str, usize))| SourceColumn {
            nullable: (count < self.record_count).then_some(true),
            ..SourceColumn::new(name, kind)
        };
        let columns = self.columns.into_iter().map(column).collect();
        SourceTable { name: name.to_owned(), kind: "table", columns }
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if number.is_f64() => "number",
        Value::Number(_) => "integer",
        Value::String(_) => "text",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// A document without a leading byte order mark.
struct RowSkipper {
    file: Limited,
    start: std::io::Cursor<Vec<u8>>,
    started: bool,
}

impl RowSkipper {
    fn new(file: Limited) -> Self {
        Self { file, start: std::io::Cursor::default(), started: false }
    }
}

impl std::io::Read for RowSkipper {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.started {
            self.started = true;
            let mut first = Vec::new();
            (&mut self.file).take(3).read_to_end(&mut first)?;
            if first != b"\xef\xbb\xbf" {
                self.start = std::io::Cursor::new(first);
            }
        }
        match self.start.read(buffer)? {
            0 => self.file.read(buffer),
            count => Ok(count),
        }
    }
}
