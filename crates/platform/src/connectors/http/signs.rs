//! Signs of further pages in headers and next to the records.

use std::collections::BTreeSet;

use reqwest::header::{CONTENT_RANGE, HeaderMap, HeaderValue, LINK};
use serde_json::{Map, Value};
use wellspring_sensitive::Words;

use super::address::next_link;
use super::names::{
    ADDRESSES, COUNT, FIRST, LAST, LIMIT, MORE, NEXT, PAGE_CONTAINERS, PAGES, PLACES, REMAINING, TOKEN,
    TOKENS, TOTAL, normalize,
};
use super::values::integer;

/// Signs of further pages in a response.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Signs {
    /// URL of the next page.
    pub(super) link: Option<String>,
    /// Location of the next page's token (JSON pointer or header name), and the token.
    pub(super) token: Option<(String, String)>,
    /// Field that indicates more records.
    pub(super) more: Option<String>,
    /// True if a field indicates the end.
    pub(super) end: bool,
    /// Field and total number of records.
    pub(super) total: Option<(String, u64)>,
    /// True if the total may also be the number of records of this page.
    pub(super) total_may_be_of_page: bool,
    /// Field and total number of pages.
    pub(super) pages: Option<(String, u64)>,
    /// Field and maximum number of records per page.
    pub(super) limit: Option<(String, u64)>,
    /// Field that indicates that this is not the first page.
    pub(super) not_first: Option<String>,
}

const PREFIXES: [&str; 2] = ["odata", "hydra"];

impl Signs {
    /// Reads the headers and the fields next to the records at `place`.
    ///
    /// Fields named in `ignored` are not signs.
    pub(super) fn read(
        headers: &HeaderMap,
        beside: &Map<String, Value>,
        place: &[String],
        ignored: &BTreeSet<String>,
    ) -> Self {
        let mut signs = Self::default();
        signs.fields(beside, "", place, ignored, 0);
        signs.headers(headers, ignored);
        signs
    }

    /// Adds the sign of a status 206, unless the total is known.
    pub(super) fn add_status(&mut self, partial: bool, ignored: &BTreeSet<String>) {
        if partial && self.total.is_none() && !ignored.contains("status206") {
            self.more.get_or_insert("status 206".to_owned());
        }
    }

    /// Removes a total that is the number of records of this page.
    pub(super) fn distrust_page_count(&mut self, count: u64) {
        self.total.take_if(|(_, total)| self.total_may_be_of_page && *total == count);
    }

    fn headers(&mut self, headers: &HeaderMap, ignored: &BTreeSet<String>) {
        if let Some(link) = next_link(headers.get_all(LINK).iter().map(HeaderValue::as_bytes)) {
            self.link = Some(link);
        }
        // `items 0-24/319`
        let range = headers.get(CONTENT_RANGE).and_then(|value| value.to_str().ok());
        if let Some((_, total)) = range.and_then(|range| range.rsplit_once('/'))
            && let Ok(total) = total.trim().parse()
        {
            self.total.get_or_insert(("Content-Range".to_owned(), total));
        }
        for (header, value) in headers {
            let (header, Ok(value)) = (header.as_str(), value.to_str()) else { continue };
            let mut name = header.strip_prefix("x-").unwrap_or(header);
            if ignored.contains(&normalize(header)) {
                continue;
            }
            if name == "pagination" {
                if let Ok(Value::Object(fields)) = serde_json::from_str(value) {
                    self.fields(&fields, header, &[], ignored, 1);
                }
                continue;
            }
            for prefix in ["ms-", "wp-", "pagination-"] {
                name = name.strip_prefix(prefix).unwrap_or(name);
            }
            let name = normalize(name);
            let known = [TOTAL, PAGES, MORE].iter().any(|names| names.contains(&name));
            let token = matches!(name.as_str(), "continuation" | "continuationtoken");
            if (known && name != "count" && name != "found") || is_next(&name) || token {
                self.field(header.to_owned(), &name, &Value::from(value.trim()));
            }
        }
    }

    fn fields(
        &mut self,
        fields: &Map<String, Value>,
        at: &str,
        place: &[String],
        ignored: &BTreeSet<String>,
        depth: u8,
    ) {
        for (field, value) in fields {
            let name = sign_name(field);
            let pointer = format!("{at}/{field}");
            if ignored.contains(&normalize(field)) {
                continue;
            }
            let around = place.first() == Some(field);
            match value {
                Value::Object(inner) if around => self.fields(inner, &pointer, &place[1..], ignored, depth),
                Value::Object(inner) if depth < 4 && PAGE_CONTAINERS.contains(&name) => {
                    self.fields(inner, &pointer, &[], ignored, depth + 1);
                }
                Value::Array(links) if matches!(name.as_str(), "links" | "link") => self.links(links),
                value => self.field(pointer, &name, value),
            }
        }
    }

    /// Reads a list of links with relations.
    fn links(&mut self, links: &[Value]) {
        let is_next = |rel: &Value| rel.as_str().is_some_and(|rel| rel.eq_ignore_ascii_case("next"));
        for link in links {
            let rel = link.get("rel").or_else(|| link.get("relation"));
            let next = rel.is_some_and(|rel| {
                is_next(rel) || rel.as_array().is_some_and(|rels| rels.iter().any(is_next))
            });
            let target = ["href", "url", "uri"].iter().find_map(|name| link.get(*name)?.as_str());
            if let Some(target) = target.filter(|target| next && !target.is_empty()) {
                self.link.get_or_insert(target.to_owned());
            }
        }
    }

    /// Reads one field by its normalised name.
    fn field(&mut self, pointer: String, name: &str, value: &Value) {
        let flag = as_flag(value);
        if is_next(name) {
            self.next(pointer, name, value);
        } else if MORE.contains(name) {
            match flag {
                Some(true) => self.more = Some(pointer),
                Some(false) => self.end = true,
                None => {}
            }
        } else if LAST.contains(name) && value.is_boolean() {
            match flag {
                Some(false) => self.more = Some(pointer),
                _ => self.end = true,
            }
        } else if FIRST.contains(name) && *value == Value::Bool(false) {
            self.not_first = Some(pointer);
        } else if TOKEN.contains(name) {
            if let Some(token) = token(value) {
                self.token.get_or_insert((pointer, token));
            }
        } else if TOTAL.contains(name) {
            let total = value.get("value").unwrap_or(value);
            if let Some(total) = integer(total).and_then(|total| u64::try_from(total).ok()) {
                let known = self.total.as_ref().is_some_and(|(_, known)| *known >= total);
                if !known {
                    self.total = Some((pointer, total));
                    self.total_may_be_of_page = COUNT.contains(name);
                }
            }
        } else if REMAINING.contains(name) {
            if integer(value).is_some_and(|left| left > 0) {
                self.more = Some(pointer);
            }
        } else if PAGES.contains(name) {
            if let Some(pages) = integer(value).and_then(|pages| u64::try_from(pages).ok()) {
                self.pages = Some((pointer, pages));
            }
        } else if LIMIT.contains(name)
            && let Some(limit) = integer(value).and_then(|limit| u64::try_from(limit).ok())
        {
            self.limit = Some((pointer, limit));
        }
    }

    fn next(&mut self, pointer: String, name: &str, value: &Value) {
        let names_address = ["url", "uri", "href", "link"].iter().any(|end| name.ends_with(end));
        match value {
            Value::Null | Value::Bool(false) => self.end = true,
            Value::Bool(true) => self.more = Some(pointer),
            Value::String(text) if matches!(text.trim(), "" | "null" | "false" | "0") => self.end = true,
            Value::String(text) if text == "true" => self.more = Some(pointer),
            Value::String(text) if names_address || is_address(text) => {
                self.link.get_or_insert(text.clone());
            }
            Value::Number(number) if number.as_f64() == Some(0.0) => self.end = true,
            Value::Object(fields) if fields.is_empty() => self.end = true,
            Value::Array(items) if items.is_empty() => self.end = true,
            Value::Array(items) => self.next(format!("{pointer}/0"), name, &items[0]),
            Value::Object(fields) => {
                let named = |names: Words| {
                    let mut of_name = fields.iter().filter(|(field, _)| names.contains(&normalize(field)));
                    of_name.next().map(|(field, value)| (field.clone(), value.clone()))
                };
                if let Some((_, Value::String(address))) = named(ADDRESSES) {
                    self.link.get_or_insert(address);
                } else if let Some((field, inner)) = named(TOKENS)
                    && let Some(token) = token(&inner)
                {
                    self.token = Some((format!("{pointer}/{field}"), token));
                } else {
                    self.more = Some(pointer);
                }
            }
            plain => {
                if let Some(token) = token(plain) {
                    self.token = Some((pointer, token));
                }
            }
        }
    }
}

/// Returns true if a field of this name describes pages.
pub(super) fn is_sign(field: &str) -> bool {
    let name = sign_name(field);
    let lists = [MORE, LAST, FIRST, TOKEN, TOTAL, REMAINING, PAGES, LIMIT, PAGE_CONTAINERS, PLACES];
    is_next(&name) || lists.iter().any(|list| list.contains(&name))
}

fn sign_name(field: &str) -> String {
    let name = normalize(field);
    let bare = PREFIXES.iter().find_map(|prefix| name.strip_prefix(prefix));
    bare.map_or(name.clone(), str::to_owned)
}

fn is_next(name: &str) -> bool {
    name.strip_prefix("next").is_some_and(|end| end.is_empty() || NEXT.contains(end))
}

fn is_address(text: &str) -> bool {
    text.starts_with(['/', '?']) || text.starts_with("http://") || text.starts_with("https://")
}

fn as_flag(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(flag) => Some(*flag),
        Value::Number(number) => number.as_i64().and_then(|number| match number {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        }),
        Value::String(text) => match text.to_ascii_lowercase().as_str() {
            "true" | "yes" | "1" | "y" => Some(true),
            "false" | "no" | "0" | "n" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

fn token(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.is_empty() => Some(text.clone()),
        Value::Number(number) if number.as_f64() != Some(0.0) => Some(number.to_string()),
        Value::Object(fields) if !fields.is_empty() => Some(String::new()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
    use serde_json::{Value, json};

    use super::Signs;

    fn of(beside: &Value) -> Signs {
        Signs::read(&HeaderMap::new(), beside.as_object().unwrap(), &[], &[].into())
    }

    fn of_header(name: &'static str, value: &'static str) -> Signs {
        let headers = [(HeaderName::from_static(name), HeaderValue::from_static(value))];
        Signs::read(&headers.into_iter().collect(), &serde_json::Map::new(), &[], &[].into())
    }

    #[test]
    fn the_address_of_the_next_page_is_found_in_every_common_form() {
        for beside in [
            json!({"next": "/2"}),
            json!({"@odata.nextLink": "/2"}),
            json!({"links": {"next": "/2"}}),
            json!({"links": {"next": {"href": "/2"}}}),
            json!({"_links": {"next": {"href": "/2"}}}),
            json!({"_links": {"next": [{"href": "/2"}]}}),
            json!({"links": [{"rel": "self", "href": "/1"}, {"rel": "next", "href": "/2"}]}),
            json!({"next_page_url": "/2"}),
            json!({"meta": {"pagination": {"links": {"next": "/2"}}}}),
            json!({"paging": {"next": {"link": "/2", "after": "x"}}}),
            json!({"nextRecordsUrl": "/2", "done": false}),
            json!({"hydra:view": {"hydra:next": "/2"}}),
            json!({"next_page_uri": "/2"}),
            json!({"pages": {"next": "/2"}}),
            json!({"response_metadata": {"next": "/2"}}),
        ] {
            assert_eq!(of(&beside).link.as_deref(), Some("/2"), "{beside}");
        }
        assert_eq!(
            of_header("x-pagination", r#"{"totalCount":6,"nextPageLink":"/2"}"#).link.as_deref(),
            Some("/2")
        );
    }

    #[test]
    fn a_sign_of_more_without_an_address_is_seen() {
        for beside in [
            json!({"nextPageToken": "abc"}),
            json!({"meta": {"next_cursor": "2"}}),
            json!({"pagination": {"cursor": "x"}}),
            json!({"pageInfo": {"hasNextPage": true, "endCursor": "x"}}),
            json!({"has_more": true}),
            json!({"page": {"last": false}}),
            json!({"isLast": false}),
            json!({"info": {"more_records": true}}),
            json!({"exceededTransferLimit": true}),
            json!({"continue": {"apcontinue": "B"}}),
            json!({"metadata": {"continue": "x"}}),
            json!({"next_page": 2}),
        ] {
            let signs = of(&beside);
            assert!(signs.token.is_some() || signs.more.is_some(), "{beside}");
            assert!(signs.link.is_none() && !signs.end, "{beside}");
        }
        for (name, value) in [("x-next-page", "2"), ("x-has-more", "true"), ("x-ms-continuation-token", "a")]
        {
            let signs = of_header(name, value);
            assert!(signs.token.is_some() || signs.more.is_some(), "{name}");
        }
    }

    #[test]
    fn totals_are_read() {
        for beside in [
            json!({"total": 6}),
            json!({"count": "6"}),
            json!({"hits": {"total": {"value": 6, "relation": "eq"}}}),
            json!({"meta": {"total_count": 6}}),
            json!({"page": {"totalElements": 6, "size": 2}}),
            json!({"hydra:totalItems": 6}),
            json!({"@odata.count": 6}),
        ] {
            assert_eq!(of(&beside).total.map(|(_, total)| total), Some(6), "{beside}");
        }
        assert_eq!(of_header("x-total-count", "6").total.unwrap().1, 6);
        assert_eq!(of_header("content-range", "items 0-1/6").total.unwrap().1, 6);
        assert_eq!(of_header("x-wp-totalpages", "3").pages.unwrap().1, 3);
    }

    #[test]
    fn what_is_no_sign_of_pages_is_none() {
        for beside in [
            json!({"next_run": "2026-01-01", "nextSyncToken": "x", "total_amount": 10, "estimatedTotal": 9}),
            json!({"facets": {"total": 10, "next": "/x"}, "total": 10.5}),
            json!({"paging": {"cursors": {"after": "x"}}}),
        ] {
            assert_eq!(of(&beside), Signs::default(), "{beside}");
        }
        assert_eq!(of_header("x-nextjs-cache", "HIT"), Signs::default());
        for beside in [
            json!({"next": null}),
            json!({"has_more": false}),
            json!({"nextPageToken": ""}),
            json!({"done": true}),
        ] {
            assert_eq!(of(&beside), Signs { end: true, ..Signs::default() }, "{beside}");
        }
        let ignored = ["total".to_owned()].into();
        let beside = json!({"total": 10});
        assert_eq!(
            Signs::read(&HeaderMap::new(), beside.as_object().unwrap(), &[], &ignored),
            Signs::default()
        );
    }
}
