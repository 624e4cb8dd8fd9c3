//! Tests of paging as in ten web frameworks and some well-known APIs.
//!
//! All pages are read, or the sync fails with the setting to add.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::harness::House;

/// Seven records, three per page.
const COUNT: u64 = 7;
const PAGES: u64 = 3;

#[derive(Clone, Default)]
struct Api {
    /// Calls by path, with the query of each.
    asked: Arc<Mutex<BTreeMap<String, Vec<String>>>>,
}

struct Answer {
    code: u16,
    headers: Vec<(&'static str, String)>,
    body: Value,
}

impl Answer {
    fn of(body: Value) -> Self {
        Self { code: 200, headers: Vec::new(), body }
    }

    fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    fn code(code: u16, body: Value) -> Self {
        Self { code, ..Self::of(body) }
    }
}

fn rows(page: u64) -> Value {
    let from = page.saturating_sub(1) * 3 + 1;
    (from..from + 3).filter(|n| page > 0 && *n <= COUNT).map(|n| json!({ "id": n })).collect()
}

/// Returns the responses of frameworks that contain the URL of the next page.
fn linked(style: &str, here: &str, page: u64) -> Option<Answer> {
    let more = page < PAGES;
    let next = |text: String| more.then_some(text);
    let path = next(format!("/{style}?page={}", page + 1));
    let url = next(format!("{here}/{style}?page={}", page + 1));
    let link = url.as_ref().map(|url| format!("<{url}>; rel=\"next\"")).unwrap_or_default();
    Some(match style {
        "django-rest-framework" => {
            Answer::of(json!({ "count": COUNT, "next": url, "previous": null, "results": rows(page) }))
        }
        "laravel" => Answer::of(json!({
            "data": rows(page),
            "links": { "first": "x", "last": "y", "prev": null, "next": url },
            "meta": { "current_page": page, "last_page": PAGES, "per_page": 3, "total": COUNT },
        })),
        "laravel-simple" => {
            Answer::of(json!({ "current_page": page, "data": rows(page), "next_page_url": url }))
        }
        "spring-hateoas" => {
            let mut links = json!({ "self": { "href": "x" } });
            if let Some(url) = &url {
                links["next"] = json!({ "href": url });
            }
            Answer::of(json!({
                "_embedded": { "orders": rows(page) }, "_links": links,
                "page": { "size": 3, "totalElements": COUNT, "totalPages": PAGES, "number": page - 1 },
            }))
        }
        "rails" => Answer::of(rows(page))
            .with("link", format!("<{here}/{style}?page=1>; rel=\"self\""))
            .with("link", link)
            .with("x-total", COUNT.to_string()),
        "odata" => {
            let mut body = json!({ "@odata.context": "x", "@odata.count": COUNT, "value": rows(page) });
            if let Some(url) = url {
                body["@odata.nextLink"] = json!(url);
            }
            Answer::of(body)
        }
        "json-api" => Answer::of(
            json!({ "data": rows(page), "links": { "next": path.map(|path| json!({ "href": path })) } }),
        ),
        "api-platform" => Answer::of(json!({
            "@context": "x", "@id": "y", "hydra:member": rows(page), "hydra:totalItems": COUNT,
            "hydra:view": { "@id": "z", "hydra:next": path },
        })),
        "eve" => {
            let mut links = json!({});
            if let Some(path) = path {
                links["next"] = json!({ "title": "next page", "href": path.trim_start_matches('/') });
            }
            Answer::of(
                json!({ "_items": rows(page), "_links": links, "_meta": { "page": page, "total": COUNT } }),
            )
        }
        "salesforce" => {
            let mut body = json!({ "totalSize": COUNT, "done": !more, "records": rows(page) });
            if let Some(path) = path {
                body["nextRecordsUrl"] = json!(path);
            }
            Answer::of(body)
        }
        "quoted-link" => Answer::of(rows(page))
            .with("link", format!("<{here}/self>; title=\"a, b; rel=next <c>\"; rel=self, {link}")),
        "link-stops" => Answer::of(json!({ "total": COUNT + 1, "items": rows(page), "next": path })),
        "link-shrinks" => Answer::of(json!({ "count": COUNT - page, "items": rows(page), "next": path })),
        "link-shifts" => {
            let from = (page - 1) * 3 + 1 - u64::from(page > 1);
            let rows: Value = (from..from + 3).filter(|n| *n <= COUNT).map(|n| json!({ "id": n })).collect();
            Answer::of(json!({ "items": rows, "next": path }))
        }
        "asp-net" => Answer::of(rows(page)).with(
            "x-pagination",
            json!({ "TotalCount": COUNT, "CurrentPage": page, "HasNext": more, "NextPageLink": url })
                .to_string(),
        ),
        _ => return None,
    })
}

/// Returns the responses of frameworks that contain a number, a token or a flag.
fn counted(style: &str, page: u64) -> Answer {
    let more = page < PAGES;
    let token = more.then(|| (page + 1).to_string());
    match style {
        "spring" => Answer::of(json!({
            "content": rows(page + 1), "pageable": { "pageNumber": page, "pageSize": 3 }, "first": page == 0,
            "last": page + 1 >= PAGES, "totalPages": PAGES, "totalElements": COUNT, "number": page,
        })),
        "fastapi" => Answer::of(
            json!({ "items": rows(page), "total": COUNT, "page": page, "size": 3, "pages": PAGES }),
        ),
        "mongoose" => Answer::of(json!({
            "docs": rows(page), "totalDocs": COUNT, "limit": 3, "totalPages": PAGES, "page": page, "pagingCounter": 1,
            "hasPrevPage": page > 1, "hasNextPage": more, "prevPage": null, "nextPage": more.then_some(page + 1),
        })),
        "scrivener" => {
            Answer::of(json!({ "entries": rows(page), "page_number": page, "total_pages": PAGES }))
        }
        "google" => {
            let mut body = json!({ "kind": "x#list", "items": rows(page) });
            if let Some(token) = token {
                body["nextPageToken"] = json!(token);
            }
            Answer::of(body)
        }
        "slack" => Answer::of(json!({
            "ok": true, "data": rows(page), "response_metadata": { "next_cursor": token.unwrap_or_default() }
        })),
        "stripe" => Answer::of(json!({ "object": "list", "data": rows(page), "has_more": more })),
        "elasticsearch" => Answer::of(json!({
            "took": 1, "timed_out": false, "_shards": { "total": 1, "failed": 0 },
            "hits": { "total": { "value": COUNT, "relation": "eq" }, "hits": rows(page) },
        })),
        "graphql" => Answer::of(json!({
            "data": { "nodes": rows(page), "pageInfo": { "hasNextPage": more, "endCursor": "x" } },
        })),
        "gitlab" => Answer::of(rows(page))
            .with("x-next-page", token.unwrap_or_default())
            .with("x-page", page.to_string()),
        "wordpress" => Answer::of(rows(page)).with("x-wp-total", COUNT.to_string()),
        "json-server" => Answer::of(rows(page)).with("x-total-count", COUNT.to_string()),
        "postgrest" => {
            Answer { code: 206, ..Answer::of(rows(page)) }.with("content-range", format!("0-2/{COUNT}"))
        }
        "jira" => Answer::of(json!({ "startAt": 0, "maxResults": 3, "isLast": !more, "values": rows(page) })),
        "full" => Answer::of(json!({ "data": rows(page), "limit": 3, "offset": 0 })),
        "ends-with-404" if page > PAGES => Answer::code(404, json!({ "detail": "Invalid page." })),
        "ends-with-404" | "plain" => Answer::of(rows(page)),
        "ends-with-204" if page > PAGES => Answer::code(204, Value::Null),
        "ends-with-204" => Answer::of(rows(page)),
        "clamps" => Answer::of(rows(page.min(PAGES))),
        "envelope" => Answer::of(json!({ "orders": rows(page), "total": COUNT })),
        "same" => Answer::of(rows(1)),
        "same-token" => Answer::of(json!({ "items": rows(1), "next": page + 1, "at": page })),
        "itself" => Answer::of(json!({ "items": rows(1), "next": "/itself" })),
        "shrinks" => Answer::of(json!({ "items": rows(page), "total": COUNT - page })),
        "shifts" => {
            let from = (page - 1) * 3 + 1 - u64::from(page > 1);
            Answer::of(
                (from..from + 3).filter(|n| *n <= COUNT).map(|n| json!({ "id": n, "page": page })).collect(),
            )
        }
        "zero-based" => Answer::of(json!({
            "content": rows(page + 1), "page": { "number": page, "totalElements": COUNT, "totalPages": PAGES }
        })),
        "zero-based-pages" => {
            Answer::of(json!({ "content": rows(page + 1), "page": { "number": page, "totalPages": PAGES } }))
        }
        "count-of-page" => {
            let rows = rows(page);
            Answer::of(json!({ "count": rows.as_array().map(Vec::len), "items": rows }))
        }
        "token-stops" => {
            let mut body = json!({ "items": rows(page), "pages": PAGES + 1 });
            if let Some(token) = token {
                body["next"] = json!(token);
            }
            Answer::of(body)
        }
        "total-too-small" => Answer::of(json!({ "items": rows(page), "total": COUNT - 2 })),
        "same-token-at-end" => Answer::of(json!({ "items": rows(page), "next": page.min(PAGES) + 1 })),
        "partial" => Answer { code: 206, ..Answer::of(rows(page)) }.with("content-range", "0-2/*"),
        "azure" => Answer::of(json!({ "value": rows(page) })).with("x-ms-continuation", "abc"),
        "reddit" => {
            Answer::of(json!({ "kind": "Listing", "data": { "after": "t3_x", "children": rows(page) } }))
        }
        "remaining" => Answer::of(json!({ "items": rows(page), "remaining": 4 })),
        "changes" if page == 2 => Answer::of(json!({ "message": "slow down" })),
        "changes" => Answer::of(json!({ "data": rows(page) })),
        _ => Answer::code(404, json!({ "message": "no such path" })),
    }
}

async fn answer(
    State(api): State<Api>,
    Path(style): Path<String>,
    Query(params): Query<BTreeMap<String, String>>,
    uri: axum::http::Uri,
    headers: HeaderMap,
) -> Response {
    let first = u64::from(style != "spring" && !style.starts_with("zero-based"));
    let page = params.get("page").map_or(first, |page| page.parse().unwrap());
    let asked = uri.query().unwrap_or_default().to_owned();
    api.asked.lock().unwrap().entry(style.clone()).or_default().push(asked);
    let accept = headers[header::ACCEPT].to_str().unwrap();
    if style == "json-api" && !accept.contains("application/vnd.api+json") {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    if style == "vendor" && accept != "*/*" {
        return StatusCode::NOT_ACCEPTABLE.into_response();
    }
    let here = format!("http://{}", headers[header::HOST].to_str().unwrap());
    let style = if style == "vendor" { "plain" } else { style.as_str() };
    let answer = linked(style, &here, page).unwrap_or_else(|| counted(style, page));
    let mut response =
        if answer.code == 204 { ().into_response() } else { Json(answer.body).into_response() };
    *response.status_mut() = StatusCode::from_u16(answer.code).unwrap();
    for (name, value) in answer.headers {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
    }
    response
}

async fn serve() -> (Api, String) {
    let api = Api::default();
    let router = Router::new().route("/{style}", get(answer)).with_state(api.clone());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    (api, base)
}

fn config(base: &str, style: &str, more: &Value) -> Value {
    let mut config = json!({ "base_url": base, "path": style });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    config
}

fn all() -> Vec<Value> {
    (1..=COUNT).map(|n| json!({ "id": n })).collect()
}

#[tokio::test]
async fn pages_that_link_to_the_next_one_are_followed_with_nothing_configured() {
    let house = House::new().await;
    let (_, base) = serve().await;
    for style in [
        "django-rest-framework",
        "laravel",
        "laravel-simple",
        "spring-hateoas",
        "rails",
        "odata",
        "json-api",
        "api-platform",
        "eve",
        "salesforce",
        "asp-net",
        "quoted-link",
    ] {
        let id = house.connect(style, "api", config(&base, style, &json!({}))).await;
        assert_eq!(house.sync(&id, json!({})).await, COUNT, "{style}");
        assert_eq!(house.rows(style), all(), "{style}");
    }
}

#[tokio::test]
async fn what_says_that_there_is_more_and_cannot_be_followed_says_what_to_write() {
    let house = House::new().await;
    let (_, base) = serve().await;
    for (style, expected) in [
        ("spring", "\"/last\""),
        ("fastapi", "page_param"),
        ("mongoose", "next = \"/nextPage\""),
        ("scrivener", "page_param"),
        ("google", "next = \"/nextPageToken\""),
        ("slack", "next = \"/response_metadata/next_cursor\""),
        ("stripe", "\"/has_more\""),
        ("elasticsearch", "says that the API has 7 records, and it gave 3"),
        ("graphql", "\"/data/pageInfo/hasNextPage\""),
        ("gitlab", "page_param"),
        ("wordpress", "\"x-wp-total\" says that the API has 7 records"),
        ("json-server", "\"x-total-count\" says"),
        ("postgrest", "\"Content-Range\" says that the API has 7 records"),
        ("jira", "\"/isLast\""),
        ("full", "the answer is full"),
        ("envelope", "\"/total\" says that the API has 7 records"),
        ("partial", "\"status 206\""),
        ("azure", "\"x-ms-continuation\""),
        ("remaining", "\"/remaining\""),
    ] {
        let id = house.connect(style, "api", config(&base, style, &json!({}))).await;
        let message = house.sync_failure(&id).await;
        assert!(message.contains(expected), "{style}: {message}");
        let (_, answer) = house.test("api", config(&base, style, &json!({}))).await;
        assert_eq!(answer["message"], message.as_str(), "{style}: the test says the same");
    }
}

#[tokio::test]
async fn pages_by_number_or_token_come_to_their_end() {
    let house = House::new().await;
    let (api, base) = serve().await;
    let by_page = json!({ "page_param": "page" });
    let by_token = |next: &str| json!({ "next": next, "next_param": "page" });
    for (style, more, calls) in [
        ("spring", json!({ "page_param": "page", "first_page": 0 }), 3),
        ("fastapi", by_page.clone(), 3),
        ("mongoose", by_page.clone(), 3),
        ("scrivener", by_page.clone(), 3),
        ("google", by_token("/nextPageToken"), 3),
        ("slack", by_token("/response_metadata/next_cursor"), 3),
        ("stripe", by_page.clone(), 3),
        ("elasticsearch", by_page.clone(), 3),
        ("gitlab", by_page.clone(), 3),
        ("json-server", by_page.clone(), 3),
        ("postgrest", by_page.clone(), 3),
        ("full", by_page.clone(), 4),
        ("plain", by_page.clone(), 4),
        ("envelope", by_page.clone(), 3),
        ("ends-with-404", by_page.clone(), 4),
        ("ends-with-204", by_page.clone(), 4),
        ("clamps", by_page.clone(), 4),
        ("vendor", by_page.clone(), 5),
        ("count-of-page", by_page.clone(), 4),
        ("total-too-small", by_page.clone(), 4),
        ("same-token-at-end", by_token("/next"), 4),
        ("partial", by_page.clone(), 4),
    ] {
        let id = house.connect(style, "api", config(&base, style, &more)).await;
        assert_eq!(house.sync(&id, json!({})).await, COUNT, "{style}");
        assert_eq!(house.rows(style), all(), "{style}");
        assert_eq!(api.asked.lock().unwrap()[style].len(), calls, "{style}");
    }
}

#[tokio::test]
async fn pages_that_come_again_or_move_are_noticed_after_a_few_calls() {
    let house = House::new().await;
    let (api, base) = serve().await;
    let by_page = json!({ "page_param": "page" });
    for (style, more, expected) in [
        ("same", by_page.clone(), "does not look at \"page\""),
        ("same-token", json!({ "next_param": "page" }), "go in circles"),
        ("itself", json!({}), "go in circles"),
        ("shrinks", by_page.clone(), "fewer records than when the reading began"),
        ("shifts", by_page.clone(), "write key"),
        ("spring", by_page.clone(), "first_page = 0"),
        ("changes", by_page.clone(), "slow down"),
        ("zero-based", by_page.clone(), "7 records, and its pages end after 4; write first_page = 0"),
        ("zero-based-pages", by_page.clone(), "3 pages, and 2 have records; write first_page = 0"),
        ("link-stops", json!({}), "8 records, and its pages end after 7"),
        ("link-shrinks", json!({}), "fewer records than when the reading began"),
        ("link-shifts", json!({}), "write key"),
        (
            "token-stops",
            json!({ "next": "/next", "next_param": "page" }),
            "the API has 4 pages, and it gave 3",
        ),
        ("reddit", json!({ "records": "/data/children" }), "\"/data/after\""),
    ] {
        let id = house.connect(style, "api", config(&base, style, &more)).await;
        let message = house.sync_failure(&id).await;
        assert!(message.contains(expected), "{style}: {message}");
        assert!(api.asked.lock().unwrap()[style].len() <= 3, "{style}");
        assert!(house.rows(style).is_empty(), "{style}");
    }
    // A field with another meaning can be excluded by the configuration.
    let id =
        house.connect("stripe", "api", config(&base, "stripe", &json!({ "ignore": ["has_more"] }))).await;
    assert_eq!(house.sync(&id, json!({})).await, 3);
}

#[tokio::test]
async fn a_record_that_moves_to_the_next_page_is_taken_once_by_its_key() {
    let house = House::new().await;
    let (_, base) = serve().await;
    let more = json!({ "page_param": "page", "key": "id" });
    let id = house.connect("shifts", "api", config(&base, "shifts", &more)).await;
    house.sync(&id, json!({})).await;
    let ids: Vec<_> = house.rows("shifts").iter().map(|row| row["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, (1..=COUNT).collect::<Vec<_>>());
}

#[tokio::test]
async fn the_query_of_the_user_keeps_its_text_on_every_page() {
    let house = House::new().await;
    let (api, base) = serve().await;
    let path = "plain?q=a%20b&flag&filter[x]=1+2";
    let id = house.connect("q", "api", config(&base, path, &json!({ "page_param": "page" }))).await;
    house.sync(&id, json!({})).await;
    let asked = api.asked.lock().unwrap()["plain"].clone();
    let expected: Vec<_> = (1..=4).map(|page| format!("q=a%20b&flag&filter[x]=1+2&page={page}")).collect();
    assert_eq!(asked, expected);
}
