//! Parses the body of a `list` response.
//!
//! Invariant: anything but a complete, well-formed list is an error, because sources taken for absent
//! may be removed.

mod account;
mod as_sent;
mod bind;
mod claims;
mod relevant;

use crate::model::{ObservedSource, Readback, SourceId, SourceName};
pub use account::parse_account;
pub use as_sent::SentSources;
pub use relevant::RelevantRows;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::convert::Infallible;
use std::fmt;
use std::marker::PhantomData;

/// Reason for which a body is not a complete list; quotes nothing of its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListError {
    /// The envelope reports an error.
    Error,
    /// The envelope reports a conflict.
    Conflict,
    /// A field of this name next to `data` shows that there may be more rows.
    MoreRows {
        /// The platform's spelling; may contain control characters.
        field: String,
    },
    /// The body does not follow the contract.
    Malformed(String),
}

/// Returns the rows of a complete list, without the content of those that are not relevant.
///
/// # Errors
/// When the list may be incomplete, or the body does not follow the contract.
pub fn parse(body: &[u8], relevant: Option<&RelevantRows<'_>>) -> Result<Vec<ObservedSource>, ListError> {
    if let Some(Envelope { data, beside }) = parse_typed(body, relevant) {
        return rows(data.map(Ok), &beside);
    }
    let mut parser = serde_json::Deserializer::from_slice(body);
    let envelope = EnvelopeSeed(PhantomData::<&RawValue>).deserialize(&mut parser);
    let Envelope { data, beside } =
        envelope.and_then(|envelope| parser.end().map(|()| envelope)).map_err(|error| malformed(&error))?;
    rows(data.map(|data| read(data.get(), relevant)), &beside)
}

/// Returns the rows if the envelope shows that the list is complete.
fn rows(
    data: Option<Result<Vec<ObservedSource>, ListError>>,
    beside: &[(String, &RawValue)],
) -> Result<Vec<ObservedSource>, ListError> {
    let status = beside.iter().find(|(field, _)| field == "status").map(|(_, raw)| raw.get());
    match status.and_then(|raw| serde_json::from_str::<String>(raw).ok()).as_deref() {
        Some("success") => {}
        Some("error") => return Err(ListError::Error),
        Some("conflict") => return Err(ListError::Conflict),
        _ => return Err(ListError::Malformed("no known `status`".into())),
    }
    let rows = data.ok_or_else(|| ListError::Malformed("no `data`".into()))??;
    if let Some((field, _)) = beside.iter().find(|(name, raw)| shows_more_rows(name, raw, rows.len())) {
        return Err(ListError::MoreRows { field: field.clone() });
    }
    Ok(rows)
}

/// Limits on rows and values.
///
/// Short text can become many values, so these bound the memory.
const MAX_ROWS: usize = 200_000;
const MAX_VALUES: usize = 4_000_000;

/// Parses envelope and rows in one step, which works for nearly every response.
fn parse_typed<'a>(
    body: &'a [u8],
    relevant: Option<&RelevantRows<'_>>,
) -> Option<Envelope<'a, Vec<ObservedSource>>> {
    // A value takes at least two bytes.
    let text = str::from_utf8(body).ok().filter(|text| text.len() <= 2 * MAX_VALUES)?;
    let mut parser = serde_json::Deserializer::from_str(text);
    let sent = relevant.and_then(RelevantRows::sent);
    let envelope = if let Some(sent) = sent {
        let convert = |n, row: ListRow<'_, &RawValue>| match row.as_sent(sent) {
            Some(row) => Ok(row),
            None => row.parsed().map_err(|error| malformed(&error))?.observed(n, relevant),
        };
        EnvelopeSeed(RowsSeed(convert, PhantomData)).deserialize(&mut parser).ok()?
    } else {
        let convert = |n, row: ListRow<'_, Value>| row.observed(n, relevant);
        EnvelopeSeed(RowsSeed(convert, PhantomData)).deserialize(&mut parser).ok()?
    };
    parser.end().ok()?;
    Some(envelope)
}

/// Parses rows of which some may be malformed, or which may be too many.
fn read(data: &str, relevant: Option<&RelevantRows<'_>>) -> Result<Vec<ObservedSource>, ListError> {
    fn as_text<'a>(_: usize, row: ListRow<'a, &'a RawValue>) -> Result<ListRow<'a, &'a RawValue>, ListError> {
        Ok(row)
    }
    let rows = RowsSeed(as_text, PhantomData).deserialize(&mut serde_json::Deserializer::from_str(data));
    let rows: Vec<ListRow<'_, &RawValue>> = rows.map_err(|_| {
        ListError::Malformed(format!(
            "`data` is not a list of at most {MAX_ROWS} sources that each have a name"
        ))
    })?;
    if rows.iter().map(ListRow::values).sum::<usize>() > MAX_VALUES {
        return Err(ListError::Malformed(format!("more than {MAX_VALUES} values in one list")));
    }
    rows.into_iter().enumerate().map(|(n, row)| row.readable().observed(n, relevant)).collect()
}

/// serde's error message may quote the content, which may be a secret.
fn malformed(error: &serde_json::Error) -> ListError {
    ListError::Malformed(format!("not the JSON of a list (line {}, column {})", error.line(), error.column()))
}

/// Returns true if a field next to `data` shows that there may be more rows.
fn shows_more_rows(name: &str, raw: &RawValue, rows: usize) -> bool {
    // A long value counts as a sign.
    let short = Some(raw.get()).filter(|text| text.len() <= 1000);
    let value = short.and_then(|text| serde_json::from_str(text).ok()).unwrap_or(Value::Bool(true));
    signals_more(&plain(name), &value, rows, true)
}

/// `outermost`: the field is next to `data`, not within `meta` or the like.
fn signals_more(name: &str, value: &Value, rows: usize, outermost: bool) -> bool {
    let holds = |words: &[&str]| words.iter().any(|word| name.contains(word));
    if is_empty_value(value) {
        // `complete: false` and the like also mean an incomplete list.
        return *value == Value::Bool(false) && holds(&["complete", "final", "islast", "lastpage"]);
    }
    let counts =
        name.starts_with("total") || matches!(name, "count" | "rowcount" | "itemcount" | "recordcount");
    match name {
        "status" | "message" | "data" if outermost => false,
        "errors" | "error" | "warnings" | "warning" | "partial" | "truncated" | "incomplete" => true,
        "links" | "pagination" | "paging" if outermost => true,
        "limit" | "offset" | "perpage" | "size" | "start" | "skip" if outermost => true,
        "totalpages" | "pagecount" | "pages" => value.as_u64() != Some(1),
        _ if counts => value.as_u64() != Some(rows as u64),
        _ => match value {
            // The content of an object counts regardless of its name.
            Value::Object(fields) => {
                fields.iter().any(|(name, value)| signals_more(&plain(name), value, rows, false))
                    || (outermost && holds(&["page"]))
            }
            _ => holds(&["next", "hasmore", "more", "cursor", "continu"]) || (outermost && holds(&["page"])),
        },
    }
}

/// Normalises a field name: lower case, letters and digits only.
fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

fn is_empty_value(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(entries) => entries.is_empty(),
        _ => false,
    }
}

/// Fields of an object without duplicates.
///
/// A repeated field is ambiguous, so it is an error.
struct Envelope<'a, D> {
    data: Option<D>,
    beside: Vec<(String, &'a RawValue)>,
}

/// Maximum number of fields, far above any envelope.
const MAX_FIELDS: usize = 100;

/// Reads an envelope, and its `data` by another seed.
struct EnvelopeSeed<S>(S);

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for EnvelopeSeed<S> {
    type Value = Envelope<'de, S::Value>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, S: DeserializeSeed<'de>> Visitor<'de> for EnvelopeSeed<S> {
    type Value = Envelope<'de, S::Value>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut seed, mut data, mut beside) = (Some(self.0), None, Vec::new());
        while let Some(name) = map.next_key::<String>()? {
            let is_data = name == "data";
            let seed = if is_data { seed.take() } else { None };
            let is_repeated = beside.iter().any(|(field, _)| *field == name) || (is_data && seed.is_none());
            if is_repeated || beside.len() == MAX_FIELDS {
                return Err(serde::de::Error::custom("a repeated field, or too many"));
            }
            match seed {
                Some(seed) => data = Some(map.next_value_seed(seed)?),
                None => beside.push((name, map.next_value()?)),
            }
        }
        Ok(Envelope { data, beside })
    }
}

/// Reads at most [`MAX_ROWS`] rows, each converted as soon as it is read.
struct RowsSeed<F, V>(F, PhantomData<V>);

impl<'de, V, T, F> DeserializeSeed<'de> for RowsSeed<F, V>
where
    V: Deserialize<'de>,
    F: Fn(usize, ListRow<'de, V>) -> Result<T, ListError>,
{
    type Value = Vec<T>;
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_seq(self)
    }
}

impl<'de, V, T, F> Visitor<'de> for RowsSeed<F, V>
where
    V: Deserialize<'de>,
    F: Fn(usize, ListRow<'de, V>) -> Result<T, ListError>,
{
    type Value = Vec<T>;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<T>, A::Error> {
        let mut rows = Vec::new();
        while let Some(row) = seq.next_element()? {
            if rows.len() == MAX_ROWS {
                return Err(serde::de::Error::custom("too many rows"));
            }
            let row = self.0(rows.len(), row).map_err(|_| serde::de::Error::custom("a malformed row"))?;
            rows.push(row);
        }
        Ok(rows)
    }
}

/// One row. Only the needed fields become values; the rest is skipped as text.
#[derive(Deserialize)]
#[serde(bound = "V: Deserialize<'de>")]
struct ListRow<'a, V> {
    #[serde(default)]
    id: Option<V>,
    #[serde(default)]
    source_id: Option<V>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default, rename = "type")]
    kind: Option<V>,
    #[serde(default)]
    connection_config: Option<V>,
    #[serde(default)]
    metadata: Option<V>,
}

/// Rows kept as text, if one cannot be parsed, they may be too many, or they may be as they were sent.
impl<'a> ListRow<'a, &RawValue> {
    /// Returns an upper bound for the number of values in this row.
    fn values(&self) -> usize {
        let open = [self.connection_config, self.metadata, self.kind, self.id, self.source_id];
        let starts = |raw: &&RawValue| {
            raw.get().bytes().filter(|byte| matches!(byte, b',' | b'[' | b'{' | b':')).count()
        };
        open.iter().flatten().map(starts).sum()
    }

    /// Parses all values.
    fn parsed(self) -> serde_json::Result<ListRow<'a, Value>> {
        self.try_map(|raw| serde_json::from_str(raw.get()).map(Some))
    }

    /// Drops values that cannot be parsed, such as excessively nested ones.
    fn readable(self) -> ListRow<'a, Value> {
        let Ok(row) = self.try_map(|raw| Ok::<_, Infallible>(serde_json::from_str(raw.get()).ok()));
        row
    }

    fn try_map<E>(
        self,
        value: impl Fn(&RawValue) -> Result<Option<Value>, E>,
    ) -> Result<ListRow<'a, Value>, E> {
        let value = |raw: Option<&RawValue>| raw.map_or(Ok(None), &value);
        Ok(ListRow {
            id: value(self.id)?,
            source_id: value(self.source_id)?,
            name: self.name,
            kind: value(self.kind)?,
            connection_config: value(self.connection_config)?,
            metadata: value(self.metadata)?,
        })
    }
}

impl ListRow<'_, Value> {
    fn observed(self, n: usize, relevant: Option<&RelevantRows<'_>>) -> Result<ObservedSource, ListError> {
        let name = SourceName::parse(&self.name)
            .map_err(|_| ListError::Malformed(format!("row {} has an empty name", n + 1)))?;
        let id = |value: Option<Value>| SourceId::try_from(value?).ok();
        // A value other than an object, such as a mask, has no information.
        let object = |value: Option<Value>| value.filter(Value::is_object);
        let mut metadata = object(self.metadata);
        let stamp = metadata.as_mut().and_then(|metadata| metadata.as_object_mut()?.remove("wellspring"));
        let mut stamp = stamp.unwrap_or_default();
        let text = |value: Value| match value {
            Value::String(text) => Some(text),
            _ => None,
        };
        let mut stamped = |key: &str| text(stamp.get_mut(key)?.take());
        // `source_id` is the contract's name for the id used by cleanup and sync.
        let id = id(self.source_id).or_else(|| id(self.id));
        let has_content = relevant.is_none_or(|relevant| relevant.contains(&name, id.as_ref()));
        let connection_config = if has_content { object(self.connection_config) } else { None };
        let marker = (stamped("owner"), stamped("writer"), stamped("fingerprint"));
        let metadata = if has_content { metadata } else { None };
        let mut echo = Readback::of_values(connection_config, metadata);
        (echo.owner, echo.writer, echo.fingerprint) = marker;
        Ok(ObservedSource { id, name, kind: self.kind.and_then(text), echo })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const WHOLE: &str = r#"{"status":"success","message":"","data":[{"id":7,"name":"a","type":"api",
        "connection_config":{"port":1},"metadata":{"d":[1,"x"]}},{"name":"b"}]}"#;

    #[test]
    fn no_beginning_of_a_list_is_taken_for_a_list() {
        assert_eq!(parse(WHOLE.as_bytes(), None).unwrap().len(), 2);
        for end in 0..WHOLE.len() {
            assert!(parse(&WHOLE.as_bytes()[..end], None).is_err(), "{}", &WHOLE[..end]);
        }
    }

    #[test]
    fn an_error_quotes_nothing_of_the_answer() {
        for body in [r#"{"status":"success","data":"canary"}"#, r#"{"status":"canary"}"#, r#""canary""#] {
            assert!(!format!("{:?}", parse(body.as_bytes(), None).unwrap_err()).contains("canary"), "{body}");
        }
    }

    #[test]
    fn what_cannot_be_read_takes_nothing_else_with_it() {
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        for odd in [deep.as_str(), "1e999", r#""\ud800""#] {
            let row = |config: &str| {
                format!(
                    r#"{{"id":7,"name":"a","type":"api","connection_config":{{"x":{config}}},"metadata":{{"y":1}}}}"#
                )
            };
            let body = format!(r#"{{"status":"success","data":[{},{}]}}"#, row("1"), row(odd));
            let rows = parse(body.as_bytes(), None).unwrap();
            assert!(rows[0].echo.connection_config().is_some());
            assert_eq!(rows[1].echo, Readback::of_values(None, rows[0].echo.metadata().cloned()));
            assert_eq!((&rows[1].id, &rows[1].kind), (&rows[0].id, &rows[0].kind));
        }
    }

    #[test]
    fn a_small_answer_cannot_become_a_large_memory() {
        let of = |data: &str| format!(r#"{{"status":"success","data":{data}}}"#);
        let many = |element: &str, n: usize| format!("[{}]", vec![element; n].join(","));
        let rows = |n| of(&many(r#"{"name":"a"}"#, n));
        assert_eq!(parse(rows(MAX_ROWS).as_bytes(), None).unwrap().len(), MAX_ROWS);
        assert!(parse(rows(MAX_ROWS + 1).as_bytes(), None).is_err());
        let echo = |n| of(&format!(r#"[{{"name":"a","metadata":{{"x":{}}}}}]"#, many("0", n)));
        assert!(parse(echo(1000).as_bytes(), None).is_ok());
        assert!(parse(echo(MAX_VALUES).as_bytes(), None).is_err());
        let beside = format!(r#"{{"status":"success","data":[],"next":{}}}"#, many("0", 10_000));
        assert!(matches!(parse(beside.as_bytes(), None), Err(ListError::MoreRows { .. })));
    }

    proptest! {
        #[test]
        fn damaged_lists_never_panic(at in 0..WHOLE.len(), bytes in prop::collection::vec(any::<u8>(), 0..4)) {
            let mut body = WHOLE.as_bytes().to_vec();
            body.splice(at..(at + bytes.len()).min(WHOLE.len()), bytes);
            let _ = parse(&body, None);
        }
    }
}
