//! Parquet files, a few hundred rows at a time: neither a file nor a row group is ever in memory.

mod assembly;
mod kind;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::RowGroupMetaData;
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use serde_json::{Map, Value};

use super::changes::{Changes, Key};
use super::file::Named;
use super::{Connector, Failure, Fields, Intake, Reach, Reading, Table, Unfit};
use assembly::{Columns, Shape};

/// Rows that are put together at one time, if their size permits.
const ROWS: usize = 1024;
/// Values of that many rows take about this room, by the sizes the file tells.
const ROOM: usize = 8 << 20;

/// `path` (or `file`); `key`, the column that tells rows apart; `table` (the name of the file).
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

impl Connector for Parquet {
    fn test(&self) -> Result<String, Failure> {
        let (file, shape) = self.file()?;
        if file.num_row_groups() > 0 {
            let group = file.get_row_group(0).map_err(|error| self.damaged(&error))?;
            self.columns(&*group)?.read(&shape, 1).map_err(|error| self.damaged(&error))?;
        }
        let rows = file.metadata().file_metadata().num_rows();
        Ok(format!("read the Parquet file: {rows} rows"))
    }

    fn schema(&self) -> Result<Vec<Table>, Failure> {
        let (_, shape) = self.file()?;
        Ok(vec![Table { name: self.table.clone(), kind: "table", columns: shape.columns() }])
    }

    /// Such a file is written anew as a whole, so what is new is told by the cursor, or by what
    /// rows hold.
    fn read(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure> {
        let mut changes = Changes::since(since, &self.key, options);
        let (file, shape) = self.file()?;
        intake.table(&self.table, changes.take())?;
        for number in 0..file.num_row_groups() {
            let group = file.get_row_group(number).map_err(|error| self.damaged(&error))?;
            let mut columns = self.columns(&*group)?;
            let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
            let most = rows_at_once(group.metadata());
            while left > 0 {
                let count = left.min(most);
                for row in columns.read(&shape, count).map_err(|error| self.damaged(&error))? {
                    changes.record(row, intake)?;
                }
                left -= count;
            }
        }
        Ok(serde_json::to_value(changes.finish()?).unwrap_or(Value::Null))
    }
}

impl Parquet {
    fn file(&self) -> Result<(SerializedFileReader<std::fs::File>, Shape), Failure> {
        let file = SerializedFileReader::new(self.named.open()?).map_err(|error| self.damaged(&error))?;
        let schema = file.metadata().file_metadata().schema_descr_ptr();
        let shape = Shape::of(schema.root_schema()).map_err(|error| self.damaged(&error))?;
        Ok((file, shape))
    }

    fn columns(&self, group: &dyn RowGroupReader) -> Result<Columns, Failure> {
        for column in group.metadata().columns() {
            if let Some(name) = unknown(column.compression()) {
                return Err(self
                    .named
                    .wrong(format!("it is compressed with {name}; write it with snappy, zstd or gzip")));
            }
        }
        Columns::of(group).map_err(|error| self.damaged(&error))
    }

    fn damaged(&self, error: &ParquetError) -> Failure {
        let text = error.to_string();
        let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
        self.named.wrong(format!("this is not a Parquet file that can be read: {reason}"))
    }
}

/// A row, columns by name.
type Record = Map<String, Value>;

fn rows_at_once(group: &RowGroupMetaData) -> usize {
    let rows = group.num_rows().max(1).unsigned_abs();
    let row = group.total_byte_size().unsigned_abs() / rows;
    (ROOM / usize::try_from(row).unwrap_or(ROOM).max(1)).clamp(1, ROWS)
}

/// The name of a compression that is not built in.
fn unknown(compression: Compression) -> Option<&'static str> {
    match compression {
        Compression::UNCOMPRESSED | Compression::SNAPPY | Compression::GZIP(_) | Compression::ZSTD(_) => None,
        Compression::LZO => Some("LZO"),
        Compression::BROTLI(_) => Some("Brotli"),
        Compression::LZ4 | Compression::LZ4_RAW => Some("LZ4"),
    }
}
