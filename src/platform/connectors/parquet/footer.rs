//! A look at the footer of a file before it is decoded.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};

use super::assembly::DEEPEST;
use super::thrift::{I32, LIST, Reader, STRUCT};

/// The length of the footer and `PAR1`.
const TAIL: u64 = 8;
const MAGIC: &[u8] = b"PAR1";
/// The fields of the footer that are looked at.
const SCHEMA: i16 = 2;
const ROW_GROUPS: i16 = 4;
/// The field of an element of the schema that counts what lies in it.
const CHILDREN: i16 = 5;

/// Checks that the schema is not nested too deeply. Returns the metadata of a file without row groups whose
/// writer gave their empty list no type, as fastparquet and hyparquet-writer do: others do not read it.
pub(super) fn look(file: &File) -> Result<Option<ParquetMetaData>> {
    let Some(mut footer) = footer(file) else { return Ok(None) };
    let mut reader = Reader::new(&footer);
    let (mut last, mut untyped) = (0, None);
    while let Some(Some(field)) = reader.field(last) {
        last = field.number;
        let at = reader.at();
        if field.number == SCHEMA && field.kind == LIST {
            if depth(&mut Reader::new(&footer[at..])).is_none_or(|depth| depth > DEEPEST) {
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

/// The bytes of the footer, unless they cannot be there: the decoder says why.
fn footer(file: &File) -> Option<Vec<u8>> {
    let length = file.metadata().ok()?.len();
    let mut tail = [0; TAIL as usize];
    file.read_exact_at(&mut tail, length.checked_sub(TAIL)?).ok()?;
    let (size, magic) = tail.split_first_chunk::<4>()?;
    let size = u64::from(u32::from_le_bytes(*size));
    let start = (length - TAIL).checked_sub(size).filter(|_| magic == MAGIC)?;
    let mut footer = vec![0; usize::try_from(size).ok()?];
    file.read_exact_at(&mut footer, start).ok()?;
    Some(footer)
}

/// How deep the elements of a schema lie in each other; each says how many follow that lie in it.
fn depth(reader: &mut Reader<'_>) -> Option<usize> {
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
