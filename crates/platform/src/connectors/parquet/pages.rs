//! Limits on pages, because a small file may require any amount of memory.
//!
//! The headers of all pages of a column are checked before one is decoded. Properties visible only
//! in the decoded page are checked before its values are read. Columns beyond the limits are
//! rejected.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use parquet::basic::{Encoding, Type as Physical};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescriptor;

use super::thrift::{I32, STRUCT, ThriftReader};

/// Maximum uncompressed size of a page in bytes (256 MiB).
///
/// A row group's column may be a single page.
const MAX_PAGE_BYTES: u64 = 256 << 20;
/// Maximum size of a page's values in bytes (128 MiB) if they share prefixes.
const MAX_SHARED_BYTES: u64 = 128 << 20;
/// Maximum number of dictionary values; each takes about 32 bytes plus its content.
const MAX_DICTIONARY_VALUES: u64 = 1 << 22;
/// Maximum number of list values read at once, and of a row.
pub(super) const MAX_LIST_VALUES: u64 = 1 << 21;
/// Maximum size of a page header in bytes; its statistics may be long texts.
const MAX_HEADER_BYTES: usize = 1 << 20;
/// Bytes read at first for a header; most are shorter.
const TYPICAL_HEADER_BYTES: usize = 1 << 10;

/// Fields of a page header that determine the memory of the page.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Header {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    values: i64,
}

/// Type number of dictionary pages.
const DICTIONARY: i64 = 2;

/// Limits of a column's pages, and the totals of the pages checked.
#[derive(Debug)]
pub(super) struct Budget {
    /// Minimum number of bytes of a plain value.
    smallest: u64,
    lists: bool,
    /// Number of the column's values, if they are in lists.
    pub(super) list_values: u64,
    /// Size of the largest page; each text read at once may keep one page in memory.
    pub(super) largest: u64,
    /// True if the values are texts or bytes.
    pub(super) texts: bool,
}

/// Checks the headers of all pages of a column of a row group.
pub(super) fn check(file: &File, column: &ColumnChunkMetaData) -> Result<Budget> {
    let length = file.metadata()?.len();
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let bounds = (u64::try_from(start), u64::try_from(column.compressed_size()));
    let (Ok(start), Ok(size)) = bounds else { return Err(page_error(column, "has no place in the file")) };
    let end = start.checked_add(size).filter(|end| *end <= length);
    let end = end.ok_or_else(|| page_error(column, "is longer than the file"))?;
    let mut budget = Budget::of(column.column_descr());
    let (mut at, mut read) = (start, 0_i64);
    while at < end && read < column.num_values() {
        let (header, bytes) = header_at(file, at, end).ok_or_else(|| page_error(column, DAMAGED))?;
        at += bytes;
        at += budget.admit(&header, end - at).map_err(|what| page_error(column, what))?;
        if header.kind != DICTIONARY {
            read = read.saturating_add(header.values);
        }
    }
    Ok(budget)
}

const DAMAGED: &str = "has a damaged page";

impl Budget {
    fn of(column: &ColumnDescriptor) -> Self {
        let smallest = match column.physical_type() {
            Physical::BOOLEAN => 0,
            Physical::INT32 | Physical::FLOAT | Physical::BYTE_ARRAY => 4,
            Physical::INT64 | Physical::DOUBLE => 8,
            Physical::INT96 => 12,
            Physical::FIXED_LEN_BYTE_ARRAY => u64::try_from(column.type_length()).unwrap_or(0),
        };
        let texts = matches!(column.physical_type(), Physical::BYTE_ARRAY | Physical::FIXED_LEN_BYTE_ARRAY);
        Self { smallest, lists: column.max_rep_level() > 0, list_values: 0, largest: 0, texts }
    }

    /// Checks a page header; returns the number of bytes that follow it.
    fn admit(&mut self, header: &Header, left: u64) -> Result<u64, &'static str> {
        let size = |number: i64| u64::try_from(number).map_err(|_| DAMAGED);
        let (compressed, uncompressed) = (size(header.compressed)?, size(header.uncompressed)?);
        let count = size(header.values)?;
        if compressed > left {
            return Err("has a page that is longer than the column");
        }
        if uncompressed > MAX_PAGE_BYTES {
            return Err("has a page of more than 256 MiB");
        }
        self.largest = uncompressed.max(self.largest);
        if header.kind == DICTIONARY {
            if count > MAX_DICTIONARY_VALUES || count.saturating_mul(self.smallest) > uncompressed {
                return Err("has a dictionary of too many values");
            }
            return Ok(compressed);
        }
        if self.lists {
            self.list_values = self.list_values.saturating_add(count);
        }
        Ok(compressed)
    }
}

fn page_error(column: &ColumnChunkMetaData, what: &str) -> ParquetError {
    ParquetError::General(format!("the column {} {what}", column.column_descr().path().string()))
}

/// Reads the header at an offset, and returns it with its length.
fn header_at(file: &File, at: u64, end: u64) -> Option<(Header, u64)> {
    let mut room = TYPICAL_HEADER_BYTES;
    loop {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let mut bytes = vec![0; room.min(left)];
        file.read_exact_at(&mut bytes, at).ok()?;
        let mut reader = ThriftReader::new(&bytes);
        if let Some(header) = header(&mut reader) {
            return Some((header, reader.at() as u64));
        }
        if room >= left || room >= MAX_HEADER_BYTES {
            return None;
        }
        room *= 16;
    }
}

fn header(reader: &mut ThriftReader<'_>) -> Option<Header> {
    let mut found = Header::default();
    let mut last = 0;
    while let Some(field) = reader.field(last)? {
        last = field.number;
        match (field.number, field.kind) {
            (1, I32) => found.kind = reader.signed()?,
            (2, I32) => found.uncompressed = reader.signed()?,
            (3, I32) => found.compressed = reader.signed()?,
            // Headers of data pages and dictionaries begin with the number of values.
            (5 | 7 | 8, STRUCT) => {
                let mut inner = 0;
                while let Some(field) = reader.field(inner)? {
                    inner = field.number;
                    match (field.number, field.kind) {
                        (1, I32) => found.values = reader.signed()?,
                        (_, kind) => reader.skip(kind)?,
                    }
                }
            }
            (_, kind) => reader.skip(kind)?,
        }
    }
    Some(found)
}

/// Pages of a column with additional checks.
///
/// Rejects pages with more lengths than values, and rows with too many values.
pub(super) struct Guarded {
    pages: Box<dyn PageReader>,
    /// Number of enclosing lists, and true if values may be absent.
    levels: (i16, bool),
    /// Number of values of the current row.
    row: u64,
    column: String,
}

impl Guarded {
    pub(super) fn new(pages: Box<dyn PageReader>, column: &ColumnDescriptor) -> Self {
        let levels = (column.max_rep_level(), column.max_def_level() > 0);
        Self { pages, levels, row: 0, column: column.path().string() }
    }

    fn check(&mut self, page: &Page) -> Result<(), &'static str> {
        let (repeats, values, count, encoding) = self.parts(page).ok_or(DAMAGED)?;
        if self.levels.0 > 0 {
            let width = usize::try_from(16 - self.levels.0.leading_zeros()).unwrap_or(16);
            rows(repeats, width, count, &mut self.row)?;
        }
        let mut reader = ThriftReader::new(values);
        let lengths = match encoding {
            _ if values.is_empty() => 0,
            Encoding::DELTA_LENGTH_BYTE_ARRAY => 1,
            Encoding::DELTA_BYTE_ARRAY => 2,
            _ => 0,
        };
        let mut sum = 0_u64;
        for _ in 0..lengths {
            sum = sum.saturating_add(deltas(&mut reader, count).ok_or(DAMAGED)?);
        }
        if sum > MAX_SHARED_BYTES { Err("has a page whose values are too long together") } else { Ok(()) }
    }

    /// Returns the repetition levels of a page, its values, their number and encoding.
    fn parts<'p>(&self, page: &'p Page) -> Option<(&'p [u8], &'p [u8], u64, Encoding)> {
        match page {
            Page::DataPage { buf, num_values, encoding, rep_level_encoding, def_level_encoding, .. } => {
                let mut rest = buf.as_ref();
                let mut repeats = &rest[..0];
                // RLE-encoded levels begin with their length.
                if self.levels.0 > 0 && *rep_level_encoding == Encoding::RLE {
                    (repeats, rest) = with_length(rest)?;
                }
                if self.levels.1 && *def_level_encoding == Encoding::RLE {
                    (_, rest) = with_length(rest)?;
                }
                Some((repeats, rest, u64::from(*num_values), *encoding))
            }
            Page::DataPageV2 {
                buf, num_values, encoding, def_levels_byte_len, rep_levels_byte_len, ..
            } => {
                let (repeats, rest) = buf.split_at_checked(usize::try_from(*rep_levels_byte_len).ok()?)?;
                let values = rest.get(usize::try_from(*def_levels_byte_len).ok()?..)?;
                Some((repeats, values, u64::from(*num_values), *encoding))
            }
            Page::DictionaryPage { buf, .. } => Some((&buf[..0], &buf[..0], 0, Encoding::PLAIN)),
        }
    }
}

/// Splits off a block preceded by its length in four bytes.
fn with_length(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// Counts the values of each row by their repetition levels.
///
/// The levels are runs or packed bits; level 0 starts a row.
fn rows(levels: &[u8], width: usize, count: u64, row: &mut u64) -> Result<(), &'static str> {
    let mut reader = ThriftReader::new(levels);
    let mut left = count;
    while left > 0 && reader.at() < levels.len() {
        let head = reader.unsigned().ok_or(DAMAGED)?;
        if head & 1 == 0 {
            let run = left.min(head >> 1);
            let mut level = 0;
            for _ in 0..width.div_ceil(8) {
                level |= reader.byte().ok_or(DAMAGED)?;
            }
            *row = if level == 0 { u64::from(run > 0) } else { row.saturating_add(run) };
            left -= run;
        } else {
            let bytes = usize::try_from(head >> 1).ok().and_then(|groups| groups.checked_mul(width));
            let start = reader.at();
            let end = bytes.and_then(|bytes| start.checked_add(bytes)).ok_or(DAMAGED)?.min(levels.len());
            let packed = &levels[start..end];
            let fits = u64::try_from(packed.len() * 8 / width.max(1)).unwrap_or(u64::MAX);
            let bit = |at: usize| packed[at / 8] >> (at % 8) & 1 == 1;
            for at in 0..usize::try_from(left.min(fits)).unwrap_or(0) {
                let begins = !(at * width..(at + 1) * width).any(bit);
                *row = if begins { 1 } else { *row + 1 };
                if *row > MAX_LIST_VALUES {
                    break;
                }
            }
            left -= left.min((head >> 1).saturating_mul(8));
            reader.advance(end - start).ok_or(DAMAGED)?;
        }
        if *row > MAX_LIST_VALUES {
            return Err("has a row of more than 2,097,152 values");
        }
    }
    Ok(())
}

/// Skips delta-encoded lengths and returns their sum.
///
/// `None` if there are more than `most`, or one is negative.
fn deltas(reader: &mut ThriftReader<'_>, most: u64) -> Option<u64> {
    let (block, parts, count) = (reader.unsigned()?, reader.unsigned()?, reader.unsigned()?);
    let mut length = reader.signed()?;
    if count > most || parts == 0 || parts > 1 << 12 || block % parts != 0 || block == 0 {
        return None;
    }
    if count == 0 {
        return Some(0);
    }
    let (each, mut left) = (block / parts, count - 1);
    let mut sum = u64::try_from(length).ok()?;
    while left > 0 {
        let smallest = reader.signed()?;
        let widths: Vec<u8> = (0..parts).map(|_| reader.byte()).collect::<Option<_>>()?;
        for width in widths.into_iter().map(usize::from) {
            if left == 0 {
                break;
            }
            let packed = reader.take(width.checked_mul(usize::try_from(each).ok()?)? / 8)?;
            for at in 0..usize::try_from(left.min(each)).ok()? {
                length =
                    length.checked_add(smallest)?.checked_add(packed_number(packed, at * width, width)?)?;
                sum = sum.checked_add(u64::try_from(length).ok()?)?;
            }
            left -= left.min(each);
        }
    }
    Some(sum)
}

/// Returns a number of `width` bits, least significant bit first.
fn packed_number(bytes: &[u8], at: usize, width: usize) -> Option<i64> {
    if width > 32 {
        return None;
    }
    let bit = |at: usize| bytes.get(at / 8).map(|byte| i64::from(byte >> (at % 8) & 1));
    (0..width).try_fold(0, |number, shift| Some(number | bit(at + shift)? << shift))
}

impl PageReader for Guarded {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if let Some(page) = &page {
            self.check(page)
                .map_err(|what| ParquetError::General(format!("the column {} {what}", self.column)))?;
        }
        Ok(page)
    }

    fn peek_next_page(&mut self) -> Result<Option<PageMetadata>> {
        self.pages.peek_next_page()
    }

    fn skip_next_page(&mut self) -> Result<()> {
        self.pages.skip_next_page()
    }

    fn at_record_boundary(&mut self) -> Result<bool> {
        self.pages.at_record_boundary()
    }
}

impl Iterator for Guarded {
    type Item = Result<Page>;

    fn next(&mut self) -> Option<Self::Item> {
        self.get_next_page().transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Budget, DICTIONARY, Header, MAX_LIST_VALUES, MAX_PAGE_BYTES, ThriftReader, deltas, header, rows,
    };

    fn budget(smallest: u64) -> Budget {
        Budget { smallest, lists: true, list_values: 0, largest: 0, texts: true }
    }

    fn page(compressed: i64, uncompressed: i64, values: i64) -> Header {
        Header { compressed, uncompressed, values, ..Header::default() }
    }

    #[test]
    fn a_page_takes_no_more_memory_than_the_bounds() {
        let mut plain = budget(4);
        assert_eq!(plain.admit(&page(10, 100, 1_000_000_000), 10), Ok(10), "values come a few at a time");
        for (header, left) in [
            (page(11, 100, 1), 10),
            (page(-1, 100, 1), 10),
            (page(10, -1, 1), 10),
            (page(10, 100, -1), 10),
            (page(10, i64::try_from(MAX_PAGE_BYTES).unwrap() + 1, 1), 10),
        ] {
            assert!(plain.admit(&header, left).is_err(), "{header:?}");
        }
        assert_eq!(plain.list_values, 1_000_000_000, "those of lists are counted");
    }

    #[test]
    fn a_row_has_no_more_values_than_the_bound() {
        // Runs of levels: 1 row, 1,000 more values, 1 row, and in bits 0 1 1 0 1 1 1 1.
        let levels = [2, 0, 0xd0, 0x0f, 1, 2, 0, 3, 0b1111_0110];
        let mut row = 0;
        assert_eq!(rows(&levels, 1, 1_010, &mut row), Ok(()));
        assert_eq!(row, 5, "the last row of a page may go on in the next");
        assert_eq!(rows(&[0x80, 0x80, 0x80, 0x02, 1], 1, MAX_LIST_VALUES - 5, &mut row), Ok(()));
        assert!(rows(&[2, 1], 1, 1, &mut row).is_err());
        assert!(rows(&[0x80], 1, 1, &mut 0).is_err());
    }

    #[test]
    fn a_dictionary_has_no_more_values_than_bytes_for_them() {
        let dictionary = |values| Header { kind: DICTIONARY, ..page(10, 100, values) };
        assert_eq!(budget(4).admit(&dictionary(25), 10), Ok(10));
        assert!(budget(4).admit(&dictionary(26), 10).is_err());
        assert!(budget(0).admit(&dictionary(5_000_000), 10).is_err());
    }

    #[test]
    fn lengths_that_are_written_as_differences_are_counted() {
        // Blocks of 128 in 4 parts, 3 values, the first is 1; minimum delta 0, and no bits for the
        // rest.
        let lengths = [0x80, 0x01, 4, 3, 2, 0, 0, 0, 0, 0];
        assert_eq!(deltas(&mut ThriftReader::new(&lengths), 3), Some(3));
        assert_eq!(deltas(&mut ThriftReader::new(&lengths), 2), None, "more lengths than values");
        assert_eq!(deltas(&mut ThriftReader::new(&lengths[..7]), 3), None, "cut off");
        // The second and third lengths are 1 + 2 and 3 + 1: deltas of -1 plus 3 or 2, in two bits
        // each.
        let mut lengths = vec![0x80, 0x01, 4, 3, 2, 1, 2, 0, 0, 0, 0b1011];
        lengths.extend([0; 7]);
        assert_eq!(deltas(&mut ThriftReader::new(&lengths), 3), Some(1 + 3 + 4));
    }

    #[test]
    fn the_sizes_of_a_page_are_read_from_its_header() {
        // Type 0, sizes 100 and 10, a data page of 7 values in encoding 0, and an unknown field.
        let bytes = [0x15, 0, 0x15, 200, 1, 0x15, 20, 0x2c, 0x15, 14, 0x15, 0, 0, 0x58, 2, b'a', b'b', 0];
        let expected = page(10, 100, 7);
        assert_eq!(header(&mut ThriftReader::new(&bytes)), Some(expected));
        assert_eq!(header(&mut ThriftReader::new(&bytes[..bytes.len() - 1])), None);
    }
}
