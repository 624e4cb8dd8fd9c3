//! Parses records of a comma-separated file line by line.

use crate::memory::LARGE_BYTES;
use crate::order::Extent;

/// Delimiter and quote of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    /// Quoted values may contain delimiters and line breaks; `None` disables quoting.
    pub(super) quote: Option<u8>,
}

/// Values of one record, to which lines are added until it is complete.
#[derive(Debug, Default)]
pub(super) struct CsvRecord {
    text: Vec<u8>,
    ends: Vec<usize>,
    state: ParserState,
    /// True if one of its values was quoted.
    quoted: bool,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum ParserState {
    #[default]
    Start,
    Plain,
    Quoted,
    /// After a quote within quotes, which ends the value unless another quote follows.
    Closed,
}

/// Text follows the closing quote of a value.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Misquoted;

impl CsvRecord {
    pub(super) fn clear(&mut self) {
        self.text.clear();
        self.text.shrink_to(LARGE_BYTES);
        self.ends.clear();
        self.state = ParserState::Start;
        self.quoted = false;
    }

    /// Adds a line with its end; completes the record unless a quoted value continues.
    pub(super) fn line(&mut self, line: &[u8], dialect: Dialect) -> Result<Extent, Misquoted> {
        for byte in line {
            let (byte, quote) = (*byte, Some(*byte) == dialect.quote);
            match self.state {
                ParserState::Quoted if quote => self.state = ParserState::Closed,
                ParserState::Quoted => self.text.push(byte),
                ParserState::Closed if quote => {
                    self.text.push(byte);
                    self.state = ParserState::Quoted;
                }
                ParserState::Start if quote => {
                    self.state = ParserState::Quoted;
                    self.quoted = true;
                }
                _ if byte == dialect.delimiter => {
                    self.ends.push(self.text.len());
                    self.state = ParserState::Start;
                }
                _ if matches!(byte, b'\n' | b'\r') => {
                    self.ends.push(self.text.len());
                    return Ok(Extent::Complete);
                }
                ParserState::Closed => return Err(Misquoted),
                ParserState::Start | ParserState::Plain => {
                    self.text.push(byte);
                    self.state = ParserState::Plain;
                }
            }
        }
        Ok(if self.state == ParserState::Quoted { Extent::More } else { Extent::Unknown })
    }

    /// Completes a record whose last line has no end.
    pub(super) fn end(&mut self) {
        self.ends.push(self.text.len());
    }

    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    pub(super) fn is_blank(&self) -> bool {
        self.ends == [0] && !self.quoted
    }

    /// Returns the values; `None` for one that is not UTF-8.
    pub(super) fn values(&self) -> impl Iterator<Item = Option<&str>> {
        let mut start = 0;
        self.ends.iter().map(move |end| {
            let value = &self.text[start..*end];
            start = *end;
            std::str::from_utf8(value).ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::{CsvRecord, Dialect, Extent, Misquoted};

    const COMMA: Dialect = Dialect { delimiter: b',', quote: Some(b'"') };

    fn values(lines: &[&str], dialect: Dialect) -> Result<(Vec<String>, Extent), Misquoted> {
        let mut record = CsvRecord::default();
        let mut extent = Extent::Unknown;
        for line in lines {
            extent = record.line(line.as_bytes(), dialect)?;
        }
        if extent == Extent::Unknown {
            record.end();
        }
        Ok((record.values().map(|value| value.unwrap().to_owned()).collect(), extent))
    }

    #[test]
    fn values_are_as_they_were_written() {
        for (line, expected) in [
            ("a,b\n", vec!["a", "b"]),
            ("a,b\r\n", vec!["a", "b"]),
            (",\n", vec!["", ""]),
            ("\n", vec![""]),
            ("\"\"\n", vec![""]),
            ("\"a,\"\"b\"\"\",c\n", vec!["a,\"b\"", "c"]),
            ("5\" pipe,it's\n", vec!["5\" pipe", "it's"]),
            (" \"a\", b \n", vec![" \"a\"", " b "]),
        ] {
            let expected = expected.into_iter().map(str::to_owned).collect();
            assert_eq!(values(&[line], COMMA), Ok((expected, Extent::Complete)), "{line}");
        }
        let plain = Dialect { delimiter: b'\t', quote: None };
        assert_eq!(values(&["\"a\tb\n"], plain), Ok((vec!["\"a".into(), "b".into()], Extent::Complete)));
    }

    #[test]
    fn a_record_ends_where_its_quotes_are_closed() {
        let whole = (vec!["1".to_owned(), "two\r\nlines".to_owned()], Extent::Complete);
        assert_eq!(values(&["1,\"two\r\n", "lines\"\n"], COMMA), Ok(whole));
        for (lines, extent) in [
            (&["1,\"open\n"][..], Extent::More),
            (&["1,\"open"], Extent::More),
            (&["1,\"open\n", "2,\"\"\n"], Extent::More),
            (&["1,\"closed\""], Extent::Unknown),
            (&["1,plain"], Extent::Unknown),
        ] {
            assert_eq!(values(lines, COMMA).unwrap().1, extent, "{lines:?}");
        }
    }

    #[test]
    fn text_behind_a_closing_quote_is_no_part_of_a_value() {
        for line in ["\"a\"b,c\n", "1,\"a\" ,c\n", "\"a\"\"\"b\n"] {
            assert_eq!(values(&[line], COMMA), Err(Misquoted), "{line}");
        }
    }
}
