//! Parquet files, read a few hundred rows at a time.
//!
//! Neither a file nor a row group is ever completely in memory.

mod civil;
mod footer;
mod logical_type;
mod pages;
mod record_reader;
mod thrift;

use std::fs::File;

use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::{ParquetMetaData, RowGroupMetaData};
use parquet::file::reader::{FileReader, RowGroupReader, SerializedFileReader};
use serde_json::{Map, Value};

use super::changes::{Changes, RecordKey};
use super::file::DataFile;
use super::row::RowText;
use super::{
    ConfigError, ConfigFields, Connector, ConnectorContext, ReadError, ReadOptions, RowSink, SourceTable,
};
use crate::memory::{LARGE_BYTES, MemoryUse, Reservation};
use pages::{MAX_LIST_VALUES, check};
use record_reader::{Columns, RowShape};

/// Maximum number of rows assembled at once, if their size permits.
const MAX_BATCH_ROWS: usize = 1024;
/// Approximate size in bytes of rows assembled at once, by the sizes in the file.
const BATCH_BYTES: usize = 8 << 20;
/// Maximum bytes of pages kept in memory by texts that are read at once.
const TEXT_PAGE_BUDGET: u64 = 256 << 20;
/// Size in bytes of a text page that may have a large record; writers split pages at 1 MiB.
const LARGE_TEXT_PAGE_BYTES: u64 = 8 << 20;
/// Maximum bytes of one page of each column (1 GiB).
const PAGE_BUDGET: u64 = 1 << 30;

/// Reads the configuration.
///
/// Fields: `path` (or `file`); `key`, the column that identifies rows; `table` (name of the file).
pub(super) fn open(
    fields: ConfigFields<'_>,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
    let named = DataFile::read(fields, &["path", "file"], reach)?;
    let key = RecordKey::read(fields)?;
    let table = fields.text("table")?.map_or_else(|| named.stem(), str::to_owned);
    Ok(Box::new(ParquetFile { named, key, table }))
}

struct ParquetFile {
    named: DataFile,
    key: RecordKey,
    table: String,
}

/// An open file: its columns, and its row groups if there are any.
struct OpenParquet {
    groups: Option<(SerializedFileReader<File>, File)>,
    shape: RowShape,
    rows: i64,
}

impl Connector for ParquetFile {
    fn test(&self) -> Result<String, ReadError> {
        let OpenParquet { groups, shape, rows } = self.open()?;
        for (reader, file) in groups.iter() {
            let filled = reader.metadata().row_groups().iter().position(|group| group.num_rows() > 0);
            let Some(number) = filled else { continue };
            let group = reader.get_row_group(number).map_err(|error| self.damaged(&error))?;
            let (mut columns, _, _memory) = self.columns(&*group, file)?;
            columns.fill(1).and_then(|()| columns.row(&shape)).map_err(|error| self.damaged(&error))?;
        }
        Ok(format!("read the Parquet file: {rows} rows"))
    }

    fn schema(&self) -> Result<Vec<SourceTable>, ReadError> {
        let OpenParquet { shape, .. } = self.open()?;
        Ok(vec![SourceTable { name: self.table.clone(), kind: "table", columns: shape.columns() }])
    }

    /// Reads all rows and detects new ones by the cursor or their content.
    ///
    /// Parquet files are always rewritten as a whole.
    fn read(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        let mut changes = Changes::resume(options.position(), &self.table, &self.key, options);
        let OpenParquet { groups, shape, .. } = self.open()?;
        let mut text = RowText::default();
        for (reader, file) in groups.iter() {
            for number in 0..reader.num_row_groups() {
                let group = reader.get_row_group(number).map_err(|error| self.damaged(&error))?;
                let (mut columns, most, _memory) = self.columns(&*group, file)?;
                let mut left = usize::try_from(group.metadata().num_rows()).unwrap_or(0);
                while left > 0 {
                    if let Some(reason) = self.named.reach().stop() {
                        return Err(reason);
                    }
                    let count = left.min(most);
                    columns.fill(count).map_err(|error| self.damaged(&error))?;
                    for _ in 0..count {
                        if changes.is_by_content() {
                            let row = columns.write_row(&shape, &mut text);
                            changes.push_content(row.map_err(|error| self.damaged(&error))?, intake)?;
                        } else {
                            let row = columns.row(&shape).map_err(|error| self.damaged(&error))?;
                            changes.record(row, intake)?;
                        }
                    }
                    left -= count;
                }
            }
        }
        let Some(watermark) = changes.finish(intake)? else { return Ok(options.same_position()) };
        Ok(serde_json::to_value(watermark).unwrap_or(Value::Null))
    }
}

impl ParquetFile {
    fn open(&self) -> Result<OpenParquet, ReadError> {
        let damaged = |error: ParquetError| self.damaged(&error);
        let file = self.named.open()?;
        let found = |metadata: &ParquetMetaData| {
            let about = metadata.file_metadata();
            let arrow = about.created_by().is_some_and(|writer| writer.starts_with("parquet-cpp-arrow"));
            Ok((RowShape::of(about.schema_descr().root_schema(), arrow)?, about.num_rows()))
        };
        if let Some(metadata) = footer::check_nesting(&file).map_err(damaged)? {
            let (shape, rows) = found(&metadata).map_err(damaged)?;
            return Ok(OpenParquet { groups: None, shape, rows });
        }
        let pages = file.try_clone().map_err(|error| self.named.unreadable(&error))?;
        let reader = SerializedFileReader::new(file).map_err(damaged)?;
        let (shape, rows) = found(reader.metadata()).map_err(damaged)?;
        Ok(OpenParquet { groups: Some((reader, pages)), shape, rows })
    }

    /// Returns the columns of a row group, the number of rows to assemble at once, and their memory.
    fn columns(
        &self,
        group: &dyn RowGroupReader,
        file: &File,
    ) -> Result<(Columns, usize, Vec<Reservation>), ReadError> {
        let (mut most, mut pages, mut has_large_text) = (batch_rows(group.metadata()), 0_u64, false);
        for column in group.metadata().columns() {
            if let Some(name) = unknown(column.compression()) {
                return Err(self.named.content_error(format!(
                    "it is compressed with {name}; write it with snappy, zstd or gzip"
                )));
            }
            let budget = check(file, column).map_err(|error| self.damaged(&error))?;
            pages = pages.saturating_add(budget.largest);
            if budget.texts {
                has_large_text |= budget.largest > LARGE_TEXT_PAGE_BYTES;
                let fits = TEXT_PAGE_BUDGET / budget.largest.max(1);
                most = most.min(usize::try_from(fits).unwrap_or(MAX_BATCH_ROWS)).max(1);
            }
            // Any row may contain most of the values.
            if budget.list_values > MAX_LIST_VALUES {
                most = 1;
            }
        }
        if pages > PAGE_BUDGET {
            return Err(self
                .named
                .content_error("the pages of one row group take more than 1 GiB; write smaller pages"));
        }
        let mut memory = Vec::new();
        // A page is held compressed and decompressed.
        if 2 * pages > LARGE_BYTES as u64 {
            memory.push(self.named.reach().reserve(MemoryUse::Pages(2 * pages))?);
        }
        if has_large_text {
            memory.push(self.named.reach().reserve(MemoryUse::Record)?);
        }
        Ok((Columns::of(group).map_err(|error| self.damaged(&error))?, most, memory))
    }

    fn damaged(&self, error: &ParquetError) -> ReadError {
        let text = error.to_string();
        let reason = text.split_once(": ").map_or(text.as_str(), |(_, reason)| reason);
        self.named.content_error(format!("this is not a Parquet file that can be read: {reason}"))
    }
}

/// A row, with columns by name.
type ParquetRecord = Map<String, Value>;

fn batch_rows(group: &RowGroupMetaData) -> usize {
    let rows = group.num_rows().max(1).unsigned_abs();
    let row = group.total_byte_size().unsigned_abs() / rows;
    (BATCH_BYTES / usize::try_from(row).unwrap_or(BATCH_BYTES).max(1)).clamp(1, MAX_BATCH_ROWS)
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
