//! JSON files: one document with an array of records, or one record a line.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::changes::{Changes, Key, Watermark};
use super::file::{Growing, Mark, Named};
use super::records::{Flow, each};
use super::row::record;
use super::{Column, Connector, Failure, Fields, Intake, Reach, Reading, Table, Take, Unfit};

/// Records that are looked at to tell the columns.
const SAMPLE: usize = 100;

/// How records lie in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layout {
    Document,
    Lines,
}

/// `path` (or `file`); `records`, a JSON pointer to the array; `key`, the field that tells records
/// apart; `table` (the name of the file).
pub(super) fn open(fields: Fields<'_>, layout: Layout, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    let named = Named::read(fields, &["path", "file"], reach)?;
    let path = fields.pointer("records")?.unwrap_or_default();
    let key = Key::read(fields)?;
    let table = fields.text("table")?.map_or_else(|| named.stem(), str::to_owned);
    Ok(Box::new(Json { named, layout, path, key, table }))
}

struct Json {
    named: Named,
    layout: Layout,
    path: Vec<String>,
    key: Key,
    table: String,
}

/// Where a reading came to.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Position {
    Lines(Mark),
    Records(Watermark),
}

impl Connector for Json {
    fn test(&self) -> Result<String, Failure> {
        let mut count = 0;
        self.each(&mut |_| {
            count += 1;
            Ok(if count == SAMPLE { Flow::Enough } else { Flow::More })
        })?;
        Ok(format!("read the JSON file: {}{count} records", if count == SAMPLE { "at least " } else { "" }))
    }

    fn schema(&self) -> Result<Vec<Table>, Failure> {
        let mut shape = Shape::default();
        self.each(&mut |raw| {
            shape.add(&record(&raw).map_err(|error| self.named.wrong(error))?);
            Ok(if shape.seen == SAMPLE { Flow::Enough } else { Flow::More })
        })?;
        Ok(vec![shape.table(&self.table)])
    }

    fn read(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure> {
        // Lines are counted unless something else is to tell what is new.
        let position = if self.layout == Layout::Lines && self.key.is_empty() && options.cursor.is_none() {
            let since = since.and_then(|position| Position::deserialize(position).ok());
            Position::Lines(self.read_lines(since, intake)?)
        } else {
            let since = since.and_then(|position| position.get("records"));
            Position::Records(self.read_records(since, options, intake)?)
        };
        Ok(serde_json::to_value(position).unwrap_or(Value::Null))
    }
}

impl Json {
    fn growing(&self) -> Result<Growing, Failure> {
        Growing::new(self.named.open()?).map_err(|error| self.named.unreadable(&error))
    }

    fn read_lines(&self, since: Option<Position>, intake: &mut dyn Intake) -> Result<Mark, Failure> {
        let mut growing = self.growing()?;
        let mut take = Take::All;
        if let Some(Position::Lines(mark)) = since {
            if growing.skip(&mark).map_err(|error| self.named.unreadable(&error))? {
                take = Take::New;
            } else {
                growing = self.growing()?;
            }
        }
        intake.table(&self.table, take)?;
        self.each_line(growing, &mut |raw| {
            let row = record(&raw).map_err(|error| self.named.wrong(error))?;
            intake.row(&Value::Object(row).to_string(), None)?;
            Ok(Flow::More)
        })
    }

    fn read_records(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Watermark, Failure> {
        let mut changes = Changes::since(since, &self.key, options);
        intake.table(&self.table, changes.take())?;
        self.each(&mut |raw| {
            changes.record(record(&raw).map_err(|error| self.named.wrong(error))?, intake)?;
            Ok(Flow::More)
        })?;
        changes.finish()
    }

    /// Hands out every record, whatever the layout.
    fn each(&self, take: &mut dyn FnMut(Box<RawValue>) -> Result<Flow, Failure>) -> Result<(), Failure> {
        let growing = self.growing()?;
        if self.layout == Layout::Lines {
            return self.each_line(growing, take).map(|_| ());
        }
        let size = growing.record();
        let read = each(BufReader::new(Unmarked::new(growing)), &self.path, &mut |raw| {
            size.set(0);
            take(raw)
        })?;
        match read {
            Ok(true) => Ok(()),
            Ok(false) => Err(self.named.wrong(format!("there is nothing at /{}", self.path.join("/")))),
            Err(error) => Err(self.named.wrong(error)),
        }
    }

    fn each_line(
        &self,
        growing: Growing,
        take: &mut dyn FnMut(Box<RawValue>) -> Result<Flow, Failure>,
    ) -> Result<Mark, Failure> {
        let size = growing.record();
        let mut lines = BufReader::new(growing);
        let mut line = Vec::new();
        let mut number = 0_u64;
        loop {
            line.clear();
            size.set(0);
            if lines.read_until(b'\n', &mut line).map_err(|error| self.named.unreadable(&error))? == 0 {
                return Ok(lines.get_ref().mark());
            }
            number += 1;
            let text = line.strip_prefix(b"\xef\xbb\xbf").filter(|_| number == 1).unwrap_or(&line);
            if text.trim_ascii().is_empty() {
                continue;
            }
            let raw = serde_json::from_slice::<Box<RawValue>>(text)
                .map_err(|error| self.named.wrong(format!("line {number} is not JSON: {error}")))?;
            if take(raw)? == Flow::Enough {
                return Ok(lines.get_ref().mark());
            }
        }
    }
}

/// The columns of records that were looked at.
#[derive(Default)]
pub(super) struct Shape {
    pub(super) seen: usize,
    columns: BTreeMap<String, (&'static str, usize)>,
}

impl Shape {
    pub(super) fn add(&mut self, row: &Map<String, Value>) {
        self.seen += 1;
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

    pub(super) fn table(self, name: &str) -> Table {
        let column = |(name, (kind, count)): (String, (&str, usize))| Column {
            nullable: (count < self.seen).then_some(true),
            ..Column::new(name, kind)
        };
        let columns = self.columns.into_iter().map(column).collect();
        Table { name: name.to_owned(), kind: "table", columns }
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

/// A document without the mark some editors put before it.
struct Unmarked {
    file: Growing,
    start: std::io::Cursor<Vec<u8>>,
    begun: bool,
}

impl Unmarked {
    fn new(file: Growing) -> Self {
        Self { file, start: std::io::Cursor::default(), begun: false }
    }
}

impl std::io::Read for Unmarked {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.begun {
            self.begun = true;
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
