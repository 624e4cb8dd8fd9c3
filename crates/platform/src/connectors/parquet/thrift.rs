//! Minimal reader of Thrift's compact protocol, to find fields of a structure.

/// Maximum nesting of structures; Parquet uses far less.
const MAX_DEPTH: usize = 32;

/// Cursor over the bytes of a structure.
pub(super) struct ThriftReader<'b> {
    bytes: &'b [u8],
    at: usize,
}

/// Header of a field: its number and its type.
pub(super) struct Field {
    pub(super) number: i16,
    pub(super) kind: u8,
}

pub(super) const I32: u8 = 5;
pub(super) const BINARY: u8 = 8;
pub(super) const LIST: u8 = 9;
pub(super) const STRUCT: u8 = 12;

impl<'b> ThriftReader<'b> {
    pub(super) fn new(bytes: &'b [u8]) -> Self {
        Self { bytes, at: 0 }
    }

    /// Returns the position of the next byte.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    pub(super) fn unsigned(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    /// Reads a zigzag varint.
    pub(super) fn signed(&mut self) -> Option<i64> {
        let number = self.unsigned()?;
        Some((number >> 1).cast_signed() ^ -(number & 1).cast_signed())
    }

    /// Skips `count` bytes.
    pub(super) fn advance(&mut self, count: usize) -> Option<()> {
        self.at = self.at.checked_add(count).filter(|end| *end <= self.bytes.len())?;
        Some(())
    }

    /// Returns the next `count` bytes.
    pub(super) fn take(&mut self, count: usize) -> Option<&'b [u8]> {
        let start = self.at;
        self.advance(count)?;
        self.bytes.get(start..self.at)
    }

    /// Reads the field after the one with number `last`; `Some(None)` at the end.
    pub(super) fn field(&mut self, last: i16) -> Option<Option<Field>> {
        let head = self.byte()?;
        if head == 0 {
            return Some(None);
        }
        let step = i16::from(head >> 4);
        let number = if step == 0 { i16::try_from(self.signed()?).ok()? } else { last.checked_add(step)? };
        Some(Some(Field { number, kind: head & 0x0f }))
    }

    /// Reads a list header: the type and number of its elements.
    pub(super) fn list(&mut self) -> Option<(u8, u64)> {
        let head = self.byte()?;
        let count = if head >> 4 == 15 { self.unsigned()? } else { u64::from(head >> 4) };
        Some((head & 0x0f, count))
    }

    pub(super) fn skip(&mut self, kind: u8) -> Option<()> {
        self.skip_within(kind, MAX_DEPTH)
    }

    fn skip_within(&mut self, kind: u8, depth: usize) -> Option<()> {
        let depth = depth.checked_sub(1)?;
        match kind {
            // The type of a boolean field is its value.
            1 | 2 => Some(()),
            3 => self.advance(1),
            4..=6 => self.unsigned().map(|_| ()),
            7 => self.advance(8),
            BINARY => {
                let length = usize::try_from(self.unsigned()?).ok()?;
                self.advance(length)
            }
            LIST | 10 => {
                let (kind, count) = self.list()?;
                (0..count).try_for_each(|_| self.skip_element(kind, depth))
            }
            11 => match self.unsigned()? {
                0 => Some(()),
                count => {
                    let kinds = self.byte()?;
                    (0..count).try_for_each(|_| {
                        self.skip_element(kinds >> 4, depth)?;
                        self.skip_element(kinds & 0x0f, depth)
                    })
                }
            },
            STRUCT => {
                let mut last = 0;
                while let Some(field) = self.field(last)? {
                    last = field.number;
                    self.skip_within(field.kind, depth)?;
                }
                Some(())
            }
            _ => None,
        }
    }

    /// In lists and maps, a boolean takes one byte.
    fn skip_element(&mut self, kind: u8, depth: usize) -> Option<()> {
        if matches!(kind, 1 | 2) { self.advance(1) } else { self.skip_within(kind, depth) }
    }
}
