//! Bounds for pages: a file of a few kilobytes may ask for any amount of memory.
//!
//! The headers of all pages of a column are looked at before one is decoded, and what only the decoded page
//! shows is checked before its values are read. A column that asks for more than the bounds is refused.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use parquet::basic::{Encoding, Type as Physical};
use parquet::column::page::{Page, PageMetadata, PageReader};
use parquet::errors::{ParquetError, Result};
use parquet::file::metadata::ColumnChunkMetaData;
use parquet::schema::types::ColumnDescriptor;

use super::thrift::{I32, Reader, STRUCT};

/// Bytes of one page when it is not compressed (256 MiB): a column of a row group may be one page.
const LARGEST_PAGE: u64 = 256 << 20;
/// Values of one dictionary: each takes some 32 bytes beside its own.
const LARGEST_DICTIONARY: u64 = 1 << 22;
/// Values of lists in a row group, beside those that its size makes likely: one row may hold all of them.
const LISTED: u64 = 1 << 20;
/// Values of lists to one byte of a column, at most.
const LISTED_A_BYTE: u64 = 64;
/// The header of a page holds statistics, which may be long texts.
const LARGEST_HEADER: usize = 1 << 20;
/// Most headers are shorter.
const USUAL_HEADER: usize = 1 << 10;

/// The header of a page, as far as it says how much memory the page takes.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Header {
    kind: i64,
    uncompressed: i64,
    compressed: i64,
    values: i64,
    encoding: i64,
}

/// The numbers of a kind of page and of an encoding.
const DICTIONARY: i64 = 2;
const DELTA_BYTE_ARRAY: i64 = 7;

/// Looks at the headers of all pages of a column of a row group. Returns the size of the largest page whose
/// values are written by what they have in common with the one before: each may be as long as the page.
pub(super) fn check(file: &File, column: &ColumnChunkMetaData) -> Result<u64> {
    let length = file.metadata()?.len();
    let start = column.dictionary_page_offset().unwrap_or_else(|| column.data_page_offset());
    let bounds = (u64::try_from(start), u64::try_from(column.compressed_size()));
    let (Ok(start), Ok(size)) = bounds else { return Err(wrong(column, "has no place in the file")) };
    let end = start.checked_add(size).filter(|end| *end <= length);
    let end = end.ok_or_else(|| wrong(column, "is longer than the file"))?;
    let mut budget = Budget::of(column.column_descr(), size);
    let (mut at, mut read) = (start, 0_i64);
    while at < end && read < column.num_values() {
        let (header, bytes) = header_at(file, at, end).ok_or_else(|| wrong(column, DAMAGED))?;
        at += bytes;
        at += budget.admit(&header, end - at).map_err(|what| wrong(column, what))?;
        if header.kind != DICTIONARY {
            read = read.saturating_add(header.values);
        }
    }
    Ok(budget.shared)
}

const DAMAGED: &str = "has a damaged page";

/// What the pages of a column may ask for.
#[derive(Debug)]
struct Budget {
    /// The bytes that a plain value takes at least.
    smallest: u64,
    /// The values lie in lists, and there may be so many.
    listed: Option<u64>,
    values: u64,
    /// The largest page whose values share their beginnings.
    shared: u64,
}

impl Budget {
    fn of(column: &ColumnDescriptor, size: u64) -> Self {
        let smallest = match column.physical_type() {
            Physical::BOOLEAN => 0,
            Physical::INT32 | Physical::FLOAT | Physical::BYTE_ARRAY => 4,
            Physical::INT64 | Physical::DOUBLE => 8,
            Physical::INT96 => 12,
            Physical::FIXED_LEN_BYTE_ARRAY => u64::try_from(column.type_length()).unwrap_or(0),
        };
        let listed = (column.max_rep_level() > 0).then(|| size.saturating_mul(LISTED_A_BYTE).max(LISTED));
        Self { smallest, listed, values: 0, shared: 0 }
    }

    /// Returns the bytes behind the header of a page, or what is wrong with it.
    fn admit(&mut self, header: &Header, left: u64) -> Result<u64, &'static str> {
        let size = |number: i64| u64::try_from(number).map_err(|_| DAMAGED);
        let (compressed, uncompressed) = (size(header.compressed)?, size(header.uncompressed)?);
        let count = size(header.values)?;
        if compressed > left {
            return Err("has a page that is longer than the column");
        }
        if uncompressed > LARGEST_PAGE {
            return Err("has a page of more than 256 MiB");
        }
        if header.kind == DICTIONARY {
            if count > LARGEST_DICTIONARY || count.saturating_mul(self.smallest) > uncompressed {
                return Err("has a dictionary of too many values");
            }
            return Ok(compressed);
        }
        self.values = self.values.saturating_add(count);
        if self.listed.is_some_and(|most| self.values > most) {
            return Err("has lists of too many values for its size");
        }
        if header.encoding == DELTA_BYTE_ARRAY {
            self.shared = uncompressed.max(self.shared);
        }
        Ok(compressed)
    }
}

fn wrong(column: &ColumnChunkMetaData, what: &str) -> ParquetError {
    ParquetError::General(format!("the column {} {what}", column.column_descr().path().string()))
}

/// Reads the header at a place of the file, and the bytes it takes.
fn header_at(file: &File, at: u64, end: u64) -> Option<(Header, u64)> {
    let mut room = USUAL_HEADER;
    loop {
        let left = usize::try_from(end - at).unwrap_or(usize::MAX);
        let mut bytes = vec![0; room.min(left)];
        file.read_exact_at(&mut bytes, at).ok()?;
        let mut reader = Reader::new(&bytes);
        if let Some(header) = header(&mut reader) {
            return Some((header, reader.at() as u64));
        }
        if room >= left || room >= LARGEST_HEADER {
            return None;
        }
        room *= 16;
    }
}

fn header(reader: &mut Reader<'_>) -> Option<Header> {
    let mut found = Header::default();
    let mut last = 0;
    while let Some(field) = reader.field(last)? {
        last = field.number;
        match (field.number, field.kind) {
            (1, I32) => found.kind = reader.signed()?,
            (2, I32) => found.uncompressed = reader.signed()?,
            (3, I32) => found.compressed = reader.signed()?,
            // The headers of data pages and dictionaries begin with the number of their values.
            (5 | 7 | 8, STRUCT) => {
                let encoding = if field.number == 8 { 4 } else { 2 };
                let mut inner = 0;
                while let Some(field) = reader.field(inner)? {
                    inner = field.number;
                    match (field.number, field.kind) {
                        (1, I32) => found.values = reader.signed()?,
                        (number, I32) if number == encoding => found.encoding = reader.signed()?,
                        (_, kind) => reader.skip(kind)?,
                    }
                }
            }
            (_, kind) => reader.skip(kind)?,
        }
    }
    Some(found)
}

/// The pages of a column; those that ask for lengths of more values than they have are refused.
pub(super) struct Guarded {
    pages: Box<dyn PageReader>,
    levels: [bool; 2],
    column: String,
}

impl Guarded {
    pub(super) fn new(pages: Box<dyn PageReader>, column: &ColumnDescriptor) -> Self {
        let levels = [column.max_rep_level() > 0, column.max_def_level() > 0];
        Self { pages, levels, column: column.path().string() }
    }

    fn check(&self, page: &Page) -> Option<()> {
        let (values, count, encoding) = match page {
            Page::DataPage { buf, num_values, encoding, .. } => {
                let mut values = buf.as_ref();
                // Levels in the encoding that all writers use begin with their length.
                for _ in self.levels.iter().filter(|level| **level) {
                    let (length, rest) = values.split_first_chunk::<4>()?;
                    values = rest.get(usize::try_from(u32::from_le_bytes(*length)).ok()?..)?;
                }
                (values, *num_values, *encoding)
            }
            Page::DataPageV2 {
                buf, num_values, encoding, def_levels_byte_len, rep_levels_byte_len, ..
            } => {
                let levels =
                    usize::try_from(u64::from(*def_levels_byte_len) + u64::from(*rep_levels_byte_len));
                (buf.get(levels.ok()?..)?, *num_values, *encoding)
            }
            Page::DictionaryPage { .. } => return Some(()),
        };
        let mut reader = Reader::new(values);
        match encoding {
            _ if values.is_empty() => Some(()),
            Encoding::DELTA_LENGTH_BYTE_ARRAY => deltas(&mut reader, u64::from(count)),
            Encoding::DELTA_BYTE_ARRAY => {
                deltas(&mut reader, u64::from(count))?;
                deltas(&mut reader, u64::from(count))
            }
            _ => Some(()),
        }
    }
}

/// Passes over lengths that are written as differences; `None` when there are more than `most`.
fn deltas(reader: &mut Reader<'_>, most: u64) -> Option<()> {
    let (block, parts, count) = (reader.unsigned()?, reader.unsigned()?, reader.unsigned()?);
    reader.signed()?;
    if count > most || parts == 0 || parts > 1 << 12 || block % parts != 0 {
        return None;
    }
    let each = block / parts;
    let mut left = count.saturating_sub(1);
    while left > 0 {
        reader.signed()?;
        let widths: Vec<u64> = (0..parts).map(|_| reader.byte().map(u64::from)).collect::<Option<_>>()?;
        for width in widths {
            if left == 0 {
                break;
            }
            reader.pass(usize::try_from(width.checked_mul(each)? / 8).ok()?)?;
            left = left.saturating_sub(each.max(1));
        }
    }
    Some(())
}

impl PageReader for Guarded {
    fn get_next_page(&mut self) -> Result<Option<Page>> {
        let page = self.pages.get_next_page()?;
        if page.as_ref().is_some_and(|page| self.check(page).is_none()) {
            return Err(ParquetError::General(format!("the column {} has a damaged page", self.column)));
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
    use super::{Budget, DICTIONARY, Header, LARGEST_PAGE, Reader, deltas, header};

    fn budget(smallest: u64, listed: Option<u64>) -> Budget {
        Budget { smallest, listed, values: 0, shared: 0 }
    }

    fn page(compressed: i64, uncompressed: i64, values: i64) -> Header {
        Header { compressed, uncompressed, values, ..Header::default() }
    }

    #[test]
    fn a_page_takes_no_more_memory_than_the_bounds() {
        let mut plain = budget(4, None);
        assert_eq!(plain.admit(&page(10, 100, 1_000_000_000), 10), Ok(10), "values come a few at a time");
        for (header, left) in [
            (page(11, 100, 1), 10),
            (page(-1, 100, 1), 10),
            (page(10, -1, 1), 10),
            (page(10, 100, -1), 10),
            (page(10, i64::try_from(LARGEST_PAGE).unwrap() + 1, 1), 10),
        ] {
            assert!(plain.admit(&header, left).is_err(), "{header:?}");
        }
        let mut lists = budget(4, Some(1_000));
        assert_eq!(lists.admit(&page(10, 100, 600), 10), Ok(10));
        assert!(lists.admit(&page(10, 100, 600), 10).is_err(), "the values of all pages count together");
    }

    #[test]
    fn a_dictionary_has_no_more_values_than_bytes_for_them() {
        let dictionary = |values| Header { kind: DICTIONARY, ..page(10, 100, values) };
        assert_eq!(budget(4, None).admit(&dictionary(25), 10), Ok(10));
        assert!(budget(4, None).admit(&dictionary(26), 10).is_err());
        assert!(budget(0, None).admit(&dictionary(5_000_000), 10).is_err());
    }

    #[test]
    fn lengths_that_are_written_as_differences_are_counted() {
        // Blocks of 128 in 4 parts, 3 values, the first one 1; a smallest difference of 0, and no bits for the rest.
        let lengths = [0x80, 0x01, 4, 3, 2, 0, 0, 0, 0, 0];
        assert_eq!(deltas(&mut Reader::new(&lengths), 3), Some(()));
        assert_eq!(deltas(&mut Reader::new(&lengths), 2), None, "more lengths than values");
        assert_eq!(deltas(&mut Reader::new(&lengths[..7]), 3), None, "cut off");
    }

    #[test]
    fn the_sizes_of_a_page_are_read_from_its_header() {
        // Kind 0, sizes 100 and 10, a data page of 7 values in encoding 0, and a field nobody knows.
        let bytes = [0x15, 0, 0x15, 200, 1, 0x15, 20, 0x2c, 0x15, 14, 0x15, 0, 0, 0x58, 2, b'a', b'b', 0];
        let expected = page(10, 100, 7);
        assert_eq!(header(&mut Reader::new(&bytes)), Some(expected));
        assert_eq!(header(&mut Reader::new(&bytes[..bytes.len() - 1])), None);
    }
}
