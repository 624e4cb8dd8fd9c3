//! Streams the records of a JSON document without loading all of it.

use std::fmt;
use std::io::Read;

use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use super::ReadError;

/// Continue or stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Flow {
    Continue,
    Break,
}

/// Calls `take` for every element of the array at `path`.
///
/// A value that is not an array is one record. Returns false if there is nothing at `path`. The
/// outer error comes from `take`, the inner one describes the document.
pub(super) fn for_each_record(
    document: impl Read,
    path: &[String],
    take: &mut dyn FnMut(Box<RawValue>) -> Result<Flow, ReadError>,
) -> Result<Result<bool, serde_json::Error>, ReadError> {
    let mut end = None;
    let mut found = false;
    let mut parser = serde_json::Deserializer::from_reader(document);
    let seek = Seek { path, take, end: &mut end, found: &mut found };
    let parsed = seek.deserialize(&mut parser).and_then(|()| parser.end());
    match end {
        Some(Err(failure)) => Err(failure),
        Some(Ok(())) => Ok(Ok(true)),
        None => Ok(parsed.map(|()| found)),
    }
}

/// Descends along a path, then yields records.
///
/// An early end is passed as a parser error, with the reason in `end`.
struct Seek<'a> {
    path: &'a [String],
    take: &'a mut dyn FnMut(Box<RawValue>) -> Result<Flow, ReadError>,
    end: &'a mut Option<Result<(), ReadError>>,
    found: &'a mut bool,
}

impl Seek<'_> {
    fn emit<E: serde::de::Error>(&mut self, record: Box<RawValue>) -> Result<(), E> {
        let end = match (self.take)(record) {
            Ok(Flow::Continue) => return Ok(()),
            Ok(Flow::Break) => Ok(()),
            Err(failure) => Err(failure),
        };
        *self.end = Some(end);
        Err(E::custom("the reading ended early"))
    }

    fn descend(&mut self) -> Seek<'_> {
        Seek { path: &self.path[1..], take: &mut *self.take, end: &mut *self.end, found: &mut *self.found }
    }
}

impl<'de> DeserializeSeed<'de> for Seek<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, parser: D) -> Result<(), D::Error> {
        parser.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seek<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let Some(part) = self.path.first() else {
            *self.found = true;
            while let Some(record) = items.next_element::<Box<RawValue>>()? {
                self.emit(record)?;
            }
            return Ok(());
        };
        let wanted = part.parse::<usize>().ok();
        let mut index = 0;
        loop {
            let more = if wanted == Some(index) {
                items.next_element_seed(self.descend())?.is_some()
            } else {
                items.next_element::<IgnoredAny>()?.is_some()
            };
            if !more {
                return Ok(());
            }
            index += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        if self.path.is_empty() {
            // The parser has consumed the start of the object, so rebuild its text.
            *self.found = true;
            let mut text = String::from("{");
            while let Some((key, value)) = fields.next_entry::<String, Box<RawValue>>()? {
                if text.len() > 1 {
                    text.push(',');
                }
                text.push_str(&serde_json::Value::from(key).to_string());
                text.push(':');
                text.push_str(value.get());
            }
            text.push('}');
            return self.emit(RawValue::from_string(text).map_err(A::Error::custom)?);
        }
        while let Some(key) = fields.next_key::<String>()? {
            if key == self.path[0] {
                fields.next_value_seed(self.descend())?;
            } else {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }

    fn visit_bool<E: serde::de::Error>(self, value: bool) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_i64<E: serde::de::Error>(self, value: i64) -> Result<(), E> {
        self.scalar(value)
    }

    fn visit_u64<E: serde::de::Error>(self, value: u64) -> Result<(), E> {
        self.scalar(value)
    }

    /// Refused, because the parser has rounded it.
    fn visit_f64<E: serde::de::Error>(self, _: f64) -> Result<(), E> {
        if self.path.is_empty() { Err(E::custom("expected records, found a number")) } else { Ok(()) }
    }

    fn visit_str<E: serde::de::Error>(self, value: &str) -> Result<(), E> {
        self.scalar(value)
    }

    /// APIs use null for "no records".
    fn visit_unit<E: serde::de::Error>(self) -> Result<(), E> {
        *self.found |= self.path.is_empty();
        Ok(())
    }
}

impl Seek<'_> {
    /// A plain value at the place of the records is one record, elsewhere none.
    fn scalar<E: serde::de::Error>(mut self, value: impl serde::Serialize) -> Result<(), E> {
        if !self.path.is_empty() {
            return Ok(());
        }
        *self.found = true;
        let raw = serde_json::value::to_raw_value(&value).map_err(E::custom)?;
        self.emit(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::{Flow, for_each_record};

    fn read(document: &str, path: &[&str]) -> (Vec<String>, bool) {
        let path: Vec<_> = path.iter().map(|part| (*part).to_owned()).collect();
        let mut records = Vec::new();
        let found = for_each_record(document.as_bytes(), &path, &mut |raw| {
            records.push(raw.get().to_owned());
            Ok(Flow::Continue)
        });
        (records, found.unwrap().unwrap())
    }

    fn check(document: &str, path: &[&str], records: &[&str]) {
        assert_eq!(read(document, path), (records.iter().map(|text| (*text).to_owned()).collect(), true));
    }

    #[test]
    fn records_are_found_wherever_they_are() {
        check("[1, {\"a\": 2}]", &[], &["1", "{\"a\": 2}"]);
        check("{\"a\": {\"b\": [true], \"c\": []}, \"d\": 1}", &["a", "b"], &["true"]);
        check("[[1], [2, 3]]", &["1"], &["2", "3"]);
        check("{\"a\": 1, \"b\": [2]}", &[], &["{\"a\":1,\"b\":[2]}"]);
        check("{\"a\": null}", &["a"], &[]);
        check("{\"next\": \"x\"}", &["next"], &["\"x\""]);
        assert_eq!(read("{\"a\": 1}", &["b"]), (vec![], false));
    }

    #[test]
    fn a_reading_can_end_early() {
        let mut count = 0;
        let found = for_each_record("[1, 2, oh".as_bytes(), &[], &mut |_| {
            count += 1;
            Ok(if count == 2 { Flow::Break } else { Flow::Continue })
        });
        assert!(found.unwrap().unwrap());
        assert_eq!(count, 2);
    }
}
