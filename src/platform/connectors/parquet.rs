//! Parquet files, read a few hundred rows at a time.
//!
//! Neither a file nor a row group is ever completely in memory.

mod assembly;
mod civil;
mod footer;
mod kind;
mod pages;
mod thrift;

use std::fs::File;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use serde_json::{Map, Value};

use super::changes::{Changes, Key};
use super::file::Named;
use super::{Connector, Failure, Fields, Intake, Reach, Reading, Table, Unfit};
use assembly::{Columns, Shape};
use pages::{LISTED, check};

/// Maximum number of rows assembled at once, if their size permits.
const ROWS: usize = 1024;
/// Approximate size in bytes of rows assembled at once, by the sizes in the file.
const ROOM: usize = 8 << 20;
/// Maximum bytes of pages kept in memory by texts that are read at once.
const TEXTS: u64 = 256 << 20;
/// Maximum bytes of one page of each column (1 GiB).
const PAGES: u64 = 1 << 30;

/// Reads the configuration.
///
/// Fields: `path` (or `file`); `key`, the column that identifies rows; `table` (name of the file).
pub(super) fn open(fields: Fields<'_>, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    let named = Named::read(fields, &["path", "file"], reach)?;
    let key = Key::read(fields)?;
    let table = fields.text("table")?.map_or_else(|| named.stem(), str::to_owned);
    Ok(Box::new(Parquet { named, key, table }))
}

struct Parquet {
    named: Named,
    key: Key,
    table: String,
}

/// An open file: its columns, and its row groups if there are any.
struct Open {
    groups: Option<(SerializedFileReader<File>, File)>,
    shape: Shape,
    rows: i64,
}

impl Connector for Parquet {
    fn test(&self) -> Result<String, Failure> {
        let Open { groups, shape, rows } = self.open()?;
        for (reader, file) in groups.iter() {
            let filled = reader.metadata().row_groups().iter().position(|group| group.num_rows() > 0);
            let Some(number) = filled else { continue };
            let group = reader.get_row_group(number).map_err(|error| self.damaged(&error))?;
            let (mut columns, _) = self.columns(&*group, file)?;
            columns.fill(1).and_then(|()| columns.row(&shape)).map_err(|error| self.damaged(&error))?;
        }
        Ok(format!("read the Parquet file: {rows} rows"))
    }

    fn schema(&self) -> Result<Vec<Table>, Failure> {
        let Open { shape, .. } = self.open()?;
        Ok(vec![Table { name: self.table.clone(), kind: "table", columns: shape.columns() }])
    }

    /// Reads all rows and detects new ones by the cursor or their content.
    ///
    /// Parquet files are always rewritten as a whole.
    fn read(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure> {
        let mut changes = Changes::since(since, since.is_some(), &self.table, &self.key, options);
        let Open { groups, shape, .. } = self.open()?;
        for (reader, file) in groups.iter() {
            for number in 0..reader.num_row_groups() {
                let group = reader.get_row_group(number).map_err(|error| self.damaged(&error))?;
                let (mut columns, most) = self.columns(&*group, file)?;
                let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
                while left > 0 {
                    let count = left.min(most);
                    columns.fill(count).map_err(|error| self.damaged(&error))?;
                    for _ in 0..count {
                        changes.record(columns.row(&shape).map_err(|error| self.damaged(&error))?, intake)?;
                    }
                    left -= count;
                }
            }
        }
        let Some(watermark) = changes.finish(intake)? else { return Ok(since.cloned().unwrap_or_default()) };
        Ok(serde_json::to_value(watermark).unwrap_or(Value::Null))
    }
}

impl Parquet {
    fn open(&self) -> Result<Open, Failure> {
        let damaged = |error: ParquetError| self.damaged(&error);
        let file = self.named.open()?;
        let found = |metadata: &ParquetMetaData| {
            let about = metadata.file_metadata();
            let arrow = about.created_by().is_some_and(|writer| writer.starts_with("parquet-cpp-arrow"));
            Ok((Shape::of(about.schema_descr().root_schema(), arrow)?, about.num_rows()))
        };
        if let Some(metadata) = footer::look(&file).map_err(damaged)? {
            let (shape, rows) = found(&metadata).map_err(damaged)?;
            return Ok(Open { groups: None, shape, rows });
        }
        let pages = file.try_clone().map_err(|error| self.named.unreadable(&error))?;
        let reader = SerializedFileReader::new(file).map_err(damaged)?;
        let (shape, rows) = found(reader.metadata()).map_err(damaged)?;
        Ok(Open { groups: Some((reader, pages)), shape, rows })
    }

    /// Returns the columns of a row group, and the number of rows to assemble at once.
    fn columns(&self, group: &dyn RowGroupReader, file: &File) -> Result<(Columns, usize), Failure> {
        let (mut most, mut pages) = (rows_at_once(group.metadata()), 0_u64);
        for column in group.metadata().columns() {
            if let Some(name) = unknown(column.compression()) {
                return Err(self
                    .named
                    .wrong(format!("it is compressed with {name}; write it with snappy, zstd or gzip")));
            }
            let budget = check(file, column).map_err(|error| self.damaged(&error))?;
            pages = pages.saturating_add(budget.largest);
            if budget.texts {
                let fits = TEXTS / budget.largest.max(1);
                most = most.min(usize::try_from(fits).unwrap_or(ROWS)).max(1);
            }
            // Any row may contain most of the values.
            if budget.listed > LISTED {
                most = 1;
            }
        }
        if pages > PAGES {
            return Err(self
                .named
                .wrong("the pages of one row group take more than 1 GiB; write smaller pages"));
        }
        Ok((Columns::of(group).map_err(|error| self.damaged(&error))?, most))
    }

    fn damaged(&self, error: &ParquetError) -> Failure {
        let text = error.to_string();
        let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
        self.named.wrong(format!("this is not a Parquet file that can be read: {reason}"))
    }
}

/// A row, with columns by name.
type Record = Map<String, Value>;

fn rows_at_once(group: &RowGroupMetaData) -> usize {
    let rows = group.num_rows().max(1).unsigned_abs();
    let row = group.total_byte_size().unsigned_abs() / rows;
    (ROOM / usize::try_from(row).unwrap_or(ROOM).max(1)).clamp(1, ROWS)
}

/// Returns the name of an unsupported compression.
fn unknown(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => None,
        Compression::LZO => Some("LZO"),
        Compression::BROTLI(_) => Some("Brotli"),
        Compression::LZ4 | Compression::LZ4_RAW => Some("LZ4"),
    }
}
