//! Comma-separated files. Every value is text as it stands in the file; nothing is guessed.

use std::collections::BTreeSet;
use std::io::Read;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::file::{Growing, Mark, Named};
use super::row::RowText;
use super::{Column, Connector, Failure, Fields, Intake, Reach, Reading, Table, Take, Unfit};

/// `path` (or `file`); `delimiter`, `has_header` (true), `table` (the name of the file).
pub(super) fn open(fields: Fields<'_>, delimiter: u8, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    let named = Named::read(fields, &["path", "file"], reach)?;
    let delimiter = match fields.text("delimiter")? {
        None => delimiter,
        Some("tab" | "\\t") => b'\t',
        Some(sign) if sign.len() == 1 && !matches!(sign, "\"" | "\n" | "\r") => sign.as_bytes()[0],
        Some(_) => return Err(Unfit::new("\"delimiter\" must be one ASCII character")),
    };
    let header = match fields.flag("has_header")? {
        Some(header) => header,
        None => fields.flag("header")?.unwrap_or(true),
    };
    let table = fields.text("table")?.map_or_else(|| named.stem(), str::to_owned);
    Ok(Box::new(Csv { named, delimiter, header, table }))
}

struct Csv {
    named: Named,
    delimiter: u8,
    header: bool,
    table: String,
}

/// How far the file was read, and the columns its first line named.
#[derive(Serialize, Deserialize)]
struct Position {
    mark: Mark,
    columns: Vec<String>,
}

impl Connector for Csv {
    fn test(&self) -> Result<String, Failure> {
        let (mut reader, columns) = self.start(self.growing()?)?;
        let mut record = ::csv::StringRecord::new();
        reader.read_record(&mut record).map_err(|error| self.failed(&error))?;
        Ok(format!("read the CSV file: {} columns", columns.len()))
    }

    fn schema(&self) -> Result<Vec<Table>, Failure> {
        let (_, columns) = self.start(self.growing()?)?;
        let columns = columns.into_iter().map(|name| Column::new(name, "text")).collect();
        Ok(vec![Table { name: self.table.clone(), kind: "table", columns }])
    }

    fn read(&self, since: Option<&Value>, _: &Reading, intake: &mut dyn Intake) -> Result<Value, Failure> {
        let since: Option<Position> =
            since.and_then(|position| serde_json::from_value(position.clone()).ok());
        // An empty file had no columns; its first line has yet to name them.
        if let Some(Position { mark, columns }) = since.filter(|position| !position.columns.is_empty()) {
            let mut growing = self.growing()?;
            if growing.skip(&mark).map_err(|error| self.named.unreadable(&error))? {
                intake.table(&self.table, Take::New)?;
                return self.read_on(self.reader(growing), columns, intake);
            }
        }
        let (reader, columns) = self.start(self.growing()?)?;
        intake.table(&self.table, Take::All)?;
        self.read_on(reader, columns, intake)
    }
}

impl Csv {
    fn growing(&self) -> Result<Growing, Failure> {
        Growing::new(self.named.open()?).map_err(|error| self.named.unreadable(&error))
    }

    fn reader<R: Read>(&self, content: R) -> ::csv::Reader<R> {
        ::csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(content)
    }

    /// Reads the names of the columns. Without a header they are counted, and the first record is
    /// read again.
    fn start(&self, growing: Growing) -> Result<(::csv::Reader<Growing>, Vec<String>), Failure> {
        let mut first = ::csv::StringRecord::new();
        if self.header {
            let mut reader = self.reader(growing);
            reader.read_record(&mut first).map_err(|error| self.failed(&error))?;
            let columns = distinct(first.iter().map(|name| name.trim_start_matches('\u{feff}').to_owned()));
            return Ok((reader, columns));
        }
        self.reader(growing).read_record(&mut first).map_err(|error| self.failed(&error))?;
        Ok((self.reader(self.growing()?), distinct(first.iter().map(|_| String::new()))))
    }

    fn read_on(
        &self,
        mut reader: ::csv::Reader<Growing>,
        columns: Vec<String>,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure> {
        let size = reader.get_ref().record();
        let mut record = ::csv::StringRecord::new();
        let mut row = RowText::default();
        while reader.read_record(&mut record).map_err(|error| self.failed(&error))? {
            size.set(0);
            if record.len() != columns.len() {
                let line = record.position().map_or(0, ::csv::Position::line);
                let (found, expected) = (record.len(), columns.len());
                return Err(self
                    .named
                    .wrong(format!("line {line} has {found} values where {expected} are expected")));
            }
            row.clear();
            for (column, value) in columns.iter().zip(&record) {
                row.put(column, value);
            }
            intake.row(row.finish(), None)?;
        }
        let position = Position { mark: reader.get_ref().mark(), columns };
        Ok(serde_json::to_value(position).unwrap_or(Value::Null))
    }

    fn failed(&self, error: &::csv::Error) -> Failure {
        let line = error.position().map_or(String::new(), |at| format!("line {}: ", at.line()));
        match error.kind() {
            ::csv::ErrorKind::Io(error) => self.named.unreadable(error),
            ::csv::ErrorKind::Utf8 { .. } => {
                self.named.wrong(format!("{line}this is not UTF-8; convert the file"))
            }
            _ => self.named.wrong(format!("{line}this is not CSV")),
        }
    }
}

/// Every column gets a name, and no two the same.
fn distinct(names: impl Iterator<Item = String>) -> Vec<String> {
    let mut taken = BTreeSet::new();
    let mut columns = Vec::new();
    for (index, name) in names.enumerate() {
        let base = if name.is_empty() { format!("column{}", index + 1) } else { name };
        let mut name = base.clone();
        let mut copy = 2;
        while !taken.insert(name.clone()) {
            name = format!("{base}_{copy}");
            copy += 1;
        }
        columns.push(name);
    }
    columns
}
