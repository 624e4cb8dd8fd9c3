//! Checks of a file's footer before it is decoded.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::record_reader::MAX_DEPTH;
use super::thrift::{I32, LIST, STRUCT, ThriftReader};

/// Bytes of the footer's length and `PAR1`.
const TAIL: u64 = 8;
const MAGIC: &[u8] = b"PAR1";
/// Footer fields that are examined.
const SCHEMA: i16 = 2;
const ROW_GROUPS: i16 = 4;
/// Field of a schema element with the number of its children.
const CHILDREN: i16 = 5;

/// Checks the nesting of the schema.
///
/// Returns the metadata of a file without row groups whose writer gave the empty list no type, as
/// fastparquet and hyparquet-writer do; the decoder cannot read it.
pub(super) fn check_nesting(file: &File) -> Result<Option<ParquetMetaData>> {
    let Some(mut footer) = footer(file) else { return Ok(None) };
    let mut reader = ThriftReader::new(&footer);
    let (mut last, mut untyped) = (0, None);
    while let Some(Some(field)) = reader.field(last) {
        last = field.number;
        let at = reader.at();
        if field.number == SCHEMA && field.kind == LIST {
            if depth(&mut ThriftReader::new(&footer[at..])).is_none_or(|depth| depth > MAX_DEPTH) {
                return Err(ParquetError::General("its columns are nested too deeply".into()));
            }
        } else if field.number == ROW_GROUPS && footer.get(at) == Some(&0) {
            untyped = Some(at);
        }
        if reader.skip(field.kind).is_none() {
            return Ok(None);
        }
    }
    let Some(at) = untyped else { return Ok(None) };
    footer[at] = STRUCT;
    ParquetMetaDataReader::decode_metadata(&footer).map(Some)
}

/// Returns the bytes of the footer; `None` if there is none (the decoder fails).
fn footer(file: &File) -> Option<Vec<u8>> {
    let length = file.metadata().ok()?.len();
    let mut tail = [0; TAIL as usize];
    file.read_exact_at(&mut tail, length.checked_sub(TAIL)?).ok()?;
    let (size, magic) = tail.split_first_chunk::<4>()?;
    if magic != MAGIC {
        return None;
    }
    let size = u64::from(u32::from_le_bytes(*size));
    let start = (length - TAIL).checked_sub(size)?;
    let mut footer = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut footer, start).ok()?;
    Some(footer)
}

/// Returns the depth of a schema whose elements state the number of their children.
fn depth(reader: &mut ThriftReader<'_>) -> Option<usize> {
    let (_, count) = reader.list()?;
    let (mut open, mut deepest) = (Vec::new(), 0);
    for _ in 0..count {
        let (mut last, mut children) = (0, 0);
        while let Some(field) = reader.field(last)? {
            last = field.number;
            match (field.number, field.kind) {
                (CHILDREN, I32) => children = reader.signed()?,
                (_, kind) => reader.skip(kind)?,
            }
        }
        while open.last() == Some(&0) {
            open.pop();
        }
        if let Some(left) = open.last_mut() {
            *left -= 1;
        }
        if children > 0 {
            open.push(children);
            deepest = deepest.max(open.len());
        }
    }
    Some(deepest)
}
