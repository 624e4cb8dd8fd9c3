//! Locates the records in a response.
//!
//! Content not known to be records is an error and never becomes a row.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::super::Failure;
use super::super::exact::exact;
use super::signs::is_sign;
use super::words::{self, is_error, is_remark, key};

/// Usual fields of records if `records` is not configured.
const USUAL: [&str; 4] = ["data", "items", "results", "records"];
/// Objects that may contain the records one level deeper.
const AROUND: [&str; 9] = ["data", "items", "results", "result", "response", "d", "hits", "feed", "records"];
/// Lists in such objects that contain records regardless of their neighbours.
const WITHIN: [&str; 11] =
    ["data", "items", "results", "records", "hits", "docs", "rows", "list", "entries", "nodes", "entry"];
/// Lists without records.
const BESIDE: [&str; 10] =
    ["links", "link", "errors", "warnings", "included", "messages", "facets", "fields", "search", "jsonapi"];
const IDENTITIES: [&str; 7] = ["id", "uuid", "guid", "oid", "name", "slug", "key"];
/// Maximum size in bytes of values that are examined next to records.
const LONGEST_BESIDE: usize = 64 << 10;

type Raw<'p> = BTreeMap<String, &'p RawValue>;

/// Records of a response, and the fields next to them.
pub(super) struct Answer<'p> {
    pub(super) place: Vec<String>,
    pub(super) records: &'p RawValue,
    pub(super) beside: Map<String, Value>,
}

/// Kind of value at the place of the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    List,
    /// A single record.
    One,
    Null,
}

impl<'p> Answer<'p> {
    /// Locates the records in a body: at `told`, or at an unambiguous place.
    ///
    /// Fields named in `ignored` do not indicate errors.
    pub(super) fn find(
        body: &'p [u8],
        told: Option<&[String]>,
        ignored: &BTreeSet<String>,
    ) -> Result<Self, Failure> {
        let whole: &RawValue = serde_json::from_slice(body).map_err(|error| not_json(body, &error))?;
        // Reject excessive nesting before recursing.
        serde_json::from_slice::<serde::de::IgnoredAny>(body).map_err(|error| not_json(body, &error))?;
        let fields = object(whole);
        let beside = |path: &[String]| {
            let mut beside = fields.as_ref().map(|fields| around(fields, path)).unwrap_or_default();
            beside.retain(|name, _| !ignored.contains(&key(name)));
            beside
        };
        if let Some(path) = told {
            let beside = beside(path);
            refused(&beside)?;
            // A document that is one record has no neighbouring fields.
            let beside = if path.is_empty() { Map::new() } else { beside };
            let records = at(whole, path).ok_or_else(|| {
                Failure::new(format!("the API answered, but there is nothing at /{}", path.join("/")))
            })?;
            return Ok(Self { place: path.to_vec(), records, beside });
        }
        let Some(fields) = &fields else {
            if form(whole) == Form::List {
                return Ok(Self { place: Vec::new(), records: whole, beside: Map::new() });
            }
            return Err(Failure::new("the API answered with a single value where records are expected"));
        };
        if let Some(place) = usual_place(fields)? {
            let beside = beside(&place);
            refused(&beside)?;
            let records = at(whole, &place).unwrap_or(whole);
            return Ok(Self { place, records, beside });
        }
        let beside = beside(&[String::new()]);
        one_record(&beside, fields)?;
        Ok(Self { place: Vec::new(), records: whole, beside: Map::new() })
    }

    pub(super) fn form(&self) -> Form {
        form(self.records)
    }
}

/// Describes a response that is not JSON, such as an HTML page.
pub(super) fn not_json(body: &[u8], error: &serde_json::Error) -> Failure {
    let start = body.trim_ascii_start();
    Failure::new(if start.is_empty() {
        "the API answered with an empty body where records are expected".to_owned()
    } else if start.starts_with(b"<") {
        "the API answered with HTML or XML, which is not JSON as expected; check the address and the credentials".to_owned()
    } else {
        let (line, column) = (error.line(), error.column());
        format!("the API answered with something that is not JSON as expected (line {line}, column {column})")
    })
}

fn refused(beside: &Map<String, Value>) -> Result<(), Failure> {
    match words::error_in(beside) {
        Some(words) => Err(Failure::new(format!("the API reports an error: {words}"))),
        None => Ok(()),
    }
}

/// Accepts an object without a place for records as one record.
///
/// Fails if it indicates an error or further pages.
fn one_record(answer: &Map<String, Value>, fields: &Raw<'_>) -> Result<(), Failure> {
    if let Some(words) = words::error_of(answer) {
        return Err(Failure::new(format!("the API answered with no records: {words}")));
    }
    let signs = super::signs::Signs::read(&Default::default(), answer, &[], &BTreeSet::new());
    let one = fields.keys().any(|name| is_identity(name));
    let listed = fields.values().any(|raw| is_list_of_objects(raw));
    let counted = signs.pages.is_some() || signs.limit.is_some() || (signs.total.is_some() && !one);
    let paged = signs.link.is_some() || signs.token.is_some() || signs.more.is_some() || (listed && counted);
    let wrapped = fields.keys().all(|name| is_beside(name) || AROUND.contains(&name.as_str()));
    if !paged && !wrapped {
        return Ok(());
    }
    refused(answer)?;
    let lists: Vec<String> = fields
        .iter()
        .filter(|(_, raw)| matches!(form(raw), Form::List) || raw.get().starts_with('{'))
        .map(|(name, _)| format!("/{name}"))
        .take(5)
        .collect();
    let found = if lists.is_empty() { String::new() } else { format!("; it has {}", lists.join(", ")) };
    Err(Failure::new(format!(
        "the API answered with an object in which the place of the records is not known; write records = \"/...\"{found}"
    )))
}

/// Returns the place of the records, if it is unambiguous.
fn usual_place(fields: &Raw<'_>) -> Result<Option<Vec<String>>, Failure> {
    let is_list = |name: &&str| fields.get(*name).is_some_and(|raw| form(raw) == Form::List);
    let lists: Vec<&str> = USUAL.into_iter().filter(is_list).collect();
    match lists.as_slice() {
        [] => {}
        [name] => return Ok(Some(vec![(*name).to_owned()])),
        several => {
            let names: Vec<_> = several.iter().map(|name| format!("/{name}")).collect();
            return Err(Failure::new(format!(
                "the API answered with several lists; write records = with one of {}",
                names.join(", ")
            )));
        }
    }
    if is_list(&"value") && fields.keys().any(|name| name.contains("odata.")) {
        return Ok(Some(vec!["value".to_owned()]));
    }
    if let Some(embedded) = fields.get("_embedded").and_then(|raw| object(raw)) {
        let mut lists = embedded.iter().filter(|(_, raw)| form(raw) == Form::List);
        if let (Some((name, _)), None) = (lists.next(), lists.next()) {
            return Ok(Some(vec!["_embedded".to_owned(), name.clone()]));
        }
    }
    if let Some(name) = only_list(fields) {
        return Ok(Some(vec![name]));
    }
    for name in AROUND {
        let Some(inner) = fields.get(name).and_then(|raw| object(raw)) else { continue };
        let usual = |name: &&&str| inner.get(**name).is_some_and(|raw| form(raw) == Form::List);
        let lists: Vec<&str> = WITHIN.iter().filter(usual).copied().collect();
        let found = match lists.as_slice() {
            [one] => Some((*one).to_owned()),
            _ => only_list(&inner),
        };
        if let Some(found) = found {
            return Ok(Some(vec![name.to_owned(), found]));
        }
    }
    let null = |name: &&str| fields.get(*name).is_some_and(|raw| form(raw) == Form::Null);
    let one = fields.keys().any(|name| is_identity(name));
    Ok(USUAL.into_iter().find(|name| !one && null(name)).map(|name| vec![name.to_owned()]))
}

/// Returns the only list of objects if other fields describe pages or the call.
fn only_list(fields: &Raw<'_>) -> Option<String> {
    let is_candidate = |name: &str, raw: &RawValue| is_list_of_objects(raw) && !holds_no_records(name);
    let mut lists = fields.iter().filter(|(name, raw)| is_candidate(name, raw));
    let (name, _) = lists.next()?;
    let alone = lists.next().is_none() && fields.keys().all(|other| other == name || is_beside(other));
    alone.then(|| name.clone())
}

fn is_list_of_objects(raw: &RawValue) -> bool {
    let items = raw.get().strip_prefix('[').map(str::trim_start);
    items.is_some_and(|items| items.starts_with(['{', ']']))
}

fn holds_no_records(name: &str) -> bool {
    BESIDE.contains(&key(name).as_str()) || is_error(name)
}

fn is_beside(name: &str) -> bool {
    let linked = name.starts_with('@') || name.contains("odata.") || name.contains("hydra:");
    linked || is_sign(name) || is_remark(name) || holds_no_records(name)
}

/// Returns true if a field of this name identifies a record.
fn is_identity(name: &str) -> bool {
    IDENTITIES.contains(&key(name).as_str())
}

fn form(raw: &RawValue) -> Form {
    match raw.get().as_bytes().first() {
        Some(b'[') => Form::List,
        Some(b'n') => Form::Null,
        _ => Form::One,
    }
}

fn object(raw: &RawValue) -> Option<Raw<'_>> {
    if raw.get().starts_with('{') { serde_json::from_str(raw.get()).ok() } else { None }
}

/// Returns the value at a path.
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
    serde_json::from_str(at(whole, path)?.get()).ok()
}

/// Returns the fields of the objects that enclose `path`, without its value.
fn around(fields: &Raw<'_>, path: &[String]) -> Map<String, Value> {
    let mut beside = Map::new();
    for (name, raw) in fields {
        let inner = match path.split_first() {
            Some((part, [])) if part == name => continue,
            Some((part, rest)) if part == name => {
                object(raw).map(|inner| Value::Object(around(&inner, rest)))
            }
            _ if raw.get().len() > LONGEST_BESIDE => None,
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
    use super::{Answer, Form};

    fn place(body: &str) -> Result<(String, Form), String> {
        let found = Answer::find(body.as_bytes(), None, &[].into());
        found
            .map(|answer| (format!("/{}", answer.place.join("/")), answer.form()))
            .map_err(super::Failure::into_message)
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
            assert_eq!(place(body), Ok((expected.to_owned(), Form::List)), "{body}");
        }
        for body in [
            r#"{"id":7,"lines":[{"n":1}],"total":59}"#,
            r#"{"name":"x","tags":["a"]}"#,
            r#"{"temperature":3.5}"#,
        ] {
            assert_eq!(place(body), Ok(("/".to_owned(), Form::One)), "{body}");
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
        assert_eq!(place(r#"{"data":null}"#), Ok(("/data".to_owned(), Form::Null)));
    }
}
