//! Locates the records in a response.
//!
//! Content not known to be records is an error and never becomes a row.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use serde_json::{Map, Value};
use wellspring_sensitive::Words;

use super::super::ReadError;
use super::super::exact::exact;
use super::errors::{self, is_error, is_remark};
use super::names::normalize;
use super::signs::is_sign;

/// Usual fields of records if `records` is not configured.
const RECORD_FIELDS: [&str; 4] = ["data", "items", "results", "records"];
/// Objects that may contain the records one level deeper.
const WRAPPER_FIELDS: [&str; 9] =
    ["data", "items", "results", "result", "response", "d", "hits", "feed", "records"];
/// Lists in such objects that contain records regardless of their neighbours.
const NESTED_RECORD_FIELDS: [&str; 11] =
    ["data", "items", "results", "records", "hits", "docs", "rows", "list", "entries", "nodes", "entry"];
/// Lists without records.
const NON_RECORD_LISTS: Words =
    Words("links link errors warnings included messages facets fields search jsonapi");
const IDENTITIES: Words = Words("id uuid guid oid name slug key");
/// Maximum size in bytes of values that are examined next to records.
const MAX_SIBLING_BYTES: usize = 64 << 10;

type RawBody<'p> = BTreeMap<String, &'p RawValue>;

/// Records of a response, and the fields next to them.
pub(super) struct HttpBody<'p> {
    pub(super) place: Vec<String>,
    pub(super) records: &'p RawValue,
    pub(super) siblings: Map<String, Value>,
}

/// Kind of value at the place of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BodyForm {
    List,
    One,
    Null,
}

impl<'p> HttpBody<'p> {
    /// Locates the records in a body: at the configured pointer, or at an unambiguous place.
    ///
    /// Fields named in `ignored` do not indicate errors.
    pub(super) fn find(
        body: &'p [u8],
        told: Option<&[String]>,
        ignored: &BTreeSet<String>,
    ) -> Result<Self, ReadError> {
        let whole: &RawValue = serde_json::from_slice(body).map_err(|error| not_json(body, &error))?;
        // Reject excessive nesting before recursing.
        serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(|error| not_json(body, &error))?;
        let fields = object(whole);
        let beside = |path: &[String]| {
            let mut beside = fields.as_ref().map(|fields| siblings_of(fields, path)).unwrap_or_default();
            beside.retain(|name, _| !ignored.contains(&normalize(name)));
            beside
        };
        if let Some(path) = told {
            let beside = beside(path);
            check_reported_error(&beside)?;
            // A document that is one record has no neighbouring fields.
            let beside = if path.is_empty() { Map::new() } else { beside };
            let records = at(whole, path).ok_or_else(|| {
                ReadError::new(format!("the API answered, but there is nothing at /{}", path.join("/")))
            })?;
            return Ok(Self { place: path.to_vec(), records, siblings: beside });
        }
        let Some(fields) = &fields else {
            if form(whole) == BodyForm::List {
                return Ok(Self { place: Vec::new(), records: whole, siblings: Map::new() });
            }
            return Err(ReadError::new("the API answered with a single value where records are expected"));
        };
        if let Some(place) = locate_records(fields)? {
            let beside = beside(&place);
            check_reported_error(&beside)?;
            let records = at(whole, &place).unwrap_or(whole);
            return Ok(Self { place, records, siblings: beside });
        }
        let beside = beside(&[String::new()]);
        check_single_record(&beside, fields)?;
        Ok(Self { place: Vec::new(), records: whole, siblings: Map::new() })
    }

    pub(super) fn form(&self) -> BodyForm {
        form(self.records)
    }

    /// Returns the message if the only record of a list is an error.
    pub(super) fn only_error(&self, ignored: &BTreeSet<String>) -> Option<String> {
        if self.records.get().len() > MAX_SIBLING_BYTES {
            return None;
        }
        let [record]: [&RawValue; 1] = serde_json::from_str(self.records.get()).ok()?;
        let mut fields = siblings_of(&object(record)?, &[String::new()]);
        fields.retain(|name, _| !ignored.contains(&normalize(name)));
        errors::error_record(&fields)
    }
}

/// Describes a response that is not JSON, such as an HTML page.
pub(super) fn not_json(body: &[u8], error: &serde_json::Error) -> ReadError {
    let start = body.trim_ascii_start();
    ReadError::new(if start.is_empty() {
        "the API answered with an empty body where records are expected".to_owned()
    } else if start.starts_with(b"<") {
        "the API answered with HTML or XML, which is not JSON as expected; check the address and the credentials".to_owned()
    } else {
        let (line, column) = (error.line(), error.column());
        format!("the API answered with something that is not JSON as expected (line {line}, column {column})")
    })
}

fn check_reported_error(beside: &Map<String, Value>) -> Result<(), ReadError> {
    match errors::error_in(beside) {
        Some(words) => Err(ReadError::new(format!("the API reports an error: {words}"))),
        None => Ok(()),
    }
}

/// Accepts an object without a place for records as one record.
///
/// Fails if it indicates an error or further pages.
fn check_single_record(answer: &Map<String, Value>, fields: &RawBody<'_>) -> Result<(), ReadError> {
    if let Some(words) = errors::error_of(answer) {
        return Err(ReadError::new(format!("the API answered with no records: {words}")));
    }
    let signs = super::signs::Signs::read(&Default::default(), answer, &[], &BTreeSet::new());
    let one = fields.keys().any(|name| is_identity(name));
    let listed = fields.values().any(|raw| is_list_of_objects(raw));
    let counted = signs.pages.is_some() || signs.limit.is_some() || (signs.total.is_some() && !one);
    let paged = signs.link.is_some() || signs.token.is_some() || signs.more.is_some() || (listed && counted);
    let wrapped = fields.keys().all(|name| is_beside(name) || WRAPPER_FIELDS.contains(&name.as_str()));
    if !paged && !wrapped {
        return Ok(());
    }
    check_reported_error(answer)?;
    let lists: Vec<String> = fields
        .iter()
        .filter(|(_, raw)| matches!(form(raw), BodyForm::List) || raw.get().starts_with('{'))
        .map(|(name, _)| format!("/{name}"))
        .take(5)
        .collect();
    let found = if lists.is_empty() { String::new() } else { format!("; it has {}", lists.join(", ")) };
    Err(ReadError::new(format!(
        "the API answered with an object in which the place of the records is not known; write records = \"/...\"{found}"
    )))
}

/// Returns the place of the records, if it is unambiguous.
fn locate_records(fields: &RawBody<'_>) -> Result<Option<Vec<String>>, ReadError> {
    let is_list = |name: &&str| fields.get(*name).is_some_and(|raw| form(raw) == BodyForm::List);
    let lists: Vec<&str> = RECORD_FIELDS.into_iter().filter(is_list).collect();
    match lists.as_slice() {
        [] => {}
        [name] => return Ok(Some(vec![(*name).to_owned()])),
        several => {
            let names: Vec<_> = several.iter().map(|name| format!("/{name}")).collect();
            return Err(ReadError::new(format!(
                "the API answered with several lists; write records = with one of {}",
                names.join(", ")
            )));
        }
    }
    if is_list(&"value") && fields.keys().any(|name| name.contains("odata.")) {
        return Ok(Some(vec!["value".to_owned()]));
    }
    if let Some(embedded) = fields.get("_embedded").and_then(|raw| object(raw)) {
        let mut lists = embedded.iter().filter(|(_, raw)| form(raw) == BodyForm::List);
        if let (Some((name, _)), None) = (lists.next(), lists.next()) {
            return Ok(Some(vec!["_embedded".to_owned(), name.clone()]));
        }
    }
    if let Some(name) = only_list(fields) {
        return Ok(Some(vec![name]));
    }
    for name in WRAPPER_FIELDS {
        let Some(inner) = fields.get(name).and_then(|raw| object(raw)) else { continue };
        let usual = |name: &&&str| inner.get(**name).is_some_and(|raw| form(raw) == BodyForm::List);
        let lists: Vec<&str> = NESTED_RECORD_FIELDS.iter().filter(usual).copied().collect();
        let found = match lists.as_slice() {
            [one] => Some((*one).to_owned()),
            _ => only_list(&inner),
        };
        if let Some(found) = found {
            return Ok(Some(vec![name.to_owned(), found]));
        }
    }
    let null = |name: &&str| fields.get(*name).is_some_and(|raw| form(raw) == BodyForm::Null);
    let one = fields.keys().any(|name| is_identity(name));
    Ok(RECORD_FIELDS.into_iter().find(|name| !one && null(name)).map(|name| vec![name.to_owned()]))
}

/// Returns the only list of objects if other fields describe pages or the call.
fn only_list(fields: &RawBody<'_>) -> Option<String> {
    let is_candidate = |name: &str, raw: &RawValue| is_list_of_objects(raw) && !is_non_record_list(name);
    let mut lists = fields.iter().filter(|(name, raw)| is_candidate(name, raw));
    let (name, _) = lists.next()?;
    let alone = lists.next().is_none() && fields.keys().all(|other| other == name || is_beside(other));
    if alone { Some(name.clone()) } else { None }
}

fn is_list_of_objects(raw: &RawValue) -> bool {
    let items = raw.get().strip_prefix('[').map(str::trim_start);
    items.is_some_and(|items| items.starts_with(['{', ']']))
}

fn is_non_record_list(name: &str) -> bool {
    NON_RECORD_LISTS.contains(&normalize(name)) || is_error(name)
}

fn is_beside(name: &str) -> bool {
    let linked = name.starts_with('@') || name.contains("odata.") || name.contains("hydra:");
    linked || is_sign(name) || is_remark(name) || is_non_record_list(name)
}

/// Returns true if a field of this name identifies a record.
fn is_identity(name: &str) -> bool {
    IDENTITIES.contains(&normalize(name))
}

fn form(raw: &RawValue) -> BodyForm {
    match raw.get().as_bytes().first() {
        Some(b'[') => BodyForm::List,
        Some(b'n') => BodyForm::Null,
        _ => BodyForm::One,
    }
}

fn object(raw: &RawValue) -> Option<RawBody<'_>> {
    if raw.get().starts_with('{') { serde_json::from_str(raw.get()).ok() } else { None }
}

fn at<'p>(raw: &'p RawValue, path: &[String]) -> Option<&'p RawValue> {
    let Some((part, rest)) = path.split_first() else { return Some(raw) };
    if raw.get().starts_with('[') {
        let items: Vec<&RawValue> = serde_json::from_str(raw.get()).ok()?;
        return at(items.get(part.parse::<usize>().ok()?)?, rest);
    }
    at(object(raw)?.get(part)?, rest)
}

/// Returns the text or number at a path, if any.
pub(super) fn plain_at(body: &[u8], path: &[String]) -> Option<Value> {
    let whole: &RawValue = serde_json::from_slice(body).ok()?;
    let raw = at(whole, path)?.get();
    if raw.len() > MAX_SIBLING_BYTES { None } else { serde_json::from_str(raw).ok() }
}

/// Returns the fields of the objects that enclose `path`, without its value.
fn siblings_of(fields: &RawBody<'_>, path: &[String]) -> Map<String, Value> {
    let mut beside = Map::new();
    for (name, raw) in fields {
        let inner = match path.split_first() {
            Some((part, [])) if part == name => continue,
            Some((part, rest)) if part == name => {
                object(raw).map(|inner| Value::Object(siblings_of(&inner, rest)))
            }
            _ if raw.get().len() > MAX_SIBLING_BYTES => None,
            _ => exact(raw.get()).ok(),
        };
        if let Some(inner) = inner {
            beside.insert(name.clone(), inner);
        }
    }
    beside
}

#[cfg(test)]
mod tests {
    use super::{BodyForm, HttpBody};

    fn place(body: &str) -> Result<(String, BodyForm), String> {
        let found = HttpBody::find(body.as_bytes(), None, &[].into());
        found
            .map(|answer| (format!("/{}", answer.place.join("/")), answer.form()))
            .map_err(super::ReadError::into_message)
    }

    #[test]
    fn records_are_found_where_frameworks_put_them() {
        for (body, expected) in [
            ("[]", "/"),
            (r#"{"data":[],"meta":{}}"#, "/data"),
            (r#"{"@odata.context":"x","value":[{"id":1}]}"#, "/value"),
            (r#"{"value":[{"id":1}],"nextLink":"x"}"#, "/value"),
            (r#"{"_embedded":{"orders":[{"id":1}]},"page":{"size":2}}"#, "/_embedded/orders"),
            (
                r#"{"took":1,"timed_out":false,"_shards":{"failed":0},"hits":{"total":{"value":1},"hits":[]}}"#,
                "/hits/hits",
            ),
            (r#"{"content":[{"id":1}],"pageable":{},"last":true,"totalPages":1,"number":0}"#, "/content"),
            (r#"{"orders":[{"id":1}],"total":6}"#, "/orders"),
            (r#"{"d":{"results":[{"id":1}],"__next":"x"}}"#, "/d/results"),
            (
                r#"{"response":{"numFound":1,"docs":[{"id":1}]},"responseHeader":{"status":0}}"#,
                "/response/docs",
            ),
            (r#"{"type":"FeatureCollection","features":[{"id":1}]}"#, "/features"),
            (r#"{"hydra:member":[{"id":1}],"hydra:totalItems":1,"@id":"/x"}"#, "/hydra:member"),
            (r#"{"data":{"list":[{"id":1}],"total":1},"code":0}"#, "/data/list"),
            (r#"{"files":[],"nextPageToken":"x","kind":"drive#fileList"}"#, "/files"),
            (r#"{"_items":[{"id":1}],"_links":{"next":{"href":"x"}},"_meta":{"page":1}}"#, "/_items"),
            (r#"{"hits":[{"id":1}],"nbHits":6,"page":0,"nbPages":3,"hitsPerPage":2}"#, "/hits"),
            (r#"{"totalSize":1,"done":true,"records":[{"id":1}]}"#, "/records"),
        ] {
            assert_eq!(place(body), Ok((expected.to_owned(), BodyForm::List)), "{body}");
        }
        for body in [
            r#"{"id":7,"lines":[{"n":1}],"total":59}"#,
            r#"{"name":"x","tags":["a"]}"#,
            r#"{"temperature":3.5}"#,
        ] {
            assert_eq!(place(body), Ok(("/".to_owned(), BodyForm::One)), "{body}");
        }
    }

    #[test]
    fn an_answer_that_is_not_known_to_hold_records_is_an_error() {
        for (body, expected) in [
            (r#"{"message":"API rate limit exceeded","documentation_url":"x"}"#, "API rate limit exceeded"),
            (r#"{"success":false,"error":{"code":101,"info":"no key"},"data":[]}"#, "no key (101)"),
            ("{}", "an empty object"),
            ("\"down\"", "a single value"),
            (" ", "an empty body"),
            ("<html>", "HTML or XML"),
            (r#"{"data":{"id":1}}"#, "write records"),
            (r#"{"next":"/2","lorem":{"id":1}}"#, "write records"),
            (r#"{"data":[],"items":[]}"#, "several lists"),
            (r#"{"hits":[{"id":1}],"nbPages":3,"query":"x"}"#, "write records"),
            (r#"{"data":[{"id":1}],"errors":[{"message":"half of it"}]}"#, "half of it"),
        ] {
            let message = place(body).unwrap_err();
            assert!(message.contains(expected), "{body}: {message}");
        }
        assert_eq!(place(r#"{"data":null}"#), Ok(("/data".to_owned(), BodyForm::Null)));
    }
}
