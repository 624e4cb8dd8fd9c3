//! Tests of the HTTP connector against a small API.

use std::sync::{Arc, Mutex};

use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};

use super::harness::House;

/// Serves records `1..=count`, three per page, with the paging style in the path.
#[derive(Clone, Default)]
struct Shop {
    count: Arc<Mutex<u64>>,
    asked: Arc<Mutex<Vec<String>>>,
}

type Params = Query<std::collections::BTreeMap<String, String>>;

impl Shop {
    fn page(&self, params: &Params) -> (u64, Vec<Value>, bool) {
        let page = params.get("page").map_or(1, |page| page.parse().unwrap());
        let count = *self.count.lock().unwrap();
        let from = (page - 1) * 3 + 1;
        let records = (from..from + 3).filter(|n| *n <= count).map(|n| json!({ "n": n })).collect();
        (page, records, from + 3 <= count)
    }
}

async fn by_link(State(shop): State<Shop>, params: Params) -> Response {
    let (page, records, more) = shop.page(&params);
    let link = if more { format!("</link?page={}>; rel=\"next\"", page + 1) } else { "<x>; rel=prev".into() };
    ([(header::LINK, link)], Json(records)).into_response()
}

async fn by_field(State(shop): State<Shop>, params: Params) -> Json<Value> {
    let (page, records, more) = shop.page(&params);
    let next = more.then(|| format!("/field?page={}", page + 1));
    Json(json!({ "items": records, "next": next }))
}

async fn by_token(State(shop): State<Shop>, params: Params) -> Json<Value> {
    let (page, records, more) = shop.page(&params);
    Json(json!({ "deep": { "rows": records }, "meta": { "after": more.then_some(page + 1) } }))
}

async fn by_number(State(shop): State<Shop>, params: Params) -> Json<Value> {
    let size = params.get("size").cloned().unwrap_or_default();
    shop.asked.lock().unwrap().push(size);
    Json(json!(shop.page(&params).1))
}

async fn guarded(headers: HeaderMap) -> Response {
    let given = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
    let open = given("authorization").is_some_and(|value| value == "Bearer t" || value == "Basic dTpw")
        || given("x-api-key").as_deref() == Some("k")
        || given("key").as_deref() == Some("k");
    if open { Json(json!([{ "n": 1 }])).into_response() } else { StatusCode::UNAUTHORIZED.into_response() }
}

async fn serve(shop: Shop) -> String {
    let circles = || async { Json(json!({ "items": [], "next": "/circles" })) };
    let elsewhere = || async { Json(json!({ "items": [], "next": "http://127.0.0.2:1/x" })) };
    let router = Router::new()
        .route("/link", get(by_link))
        .route("/field", get(by_field))
        .route("/token", get(by_token))
        .route("/v2/number", get(by_number))
        .route("/guarded", get(guarded))
        .route("/circles", get(circles))
        .route("/elsewhere", get(elsewhere))
        .route("/moved", get(|| async { Redirect::temporary("/link") }))
        .route("/lured", get(|| async { Redirect::temporary("http://127.0.0.2:1/x") }))
        .route("/text", get(|| async { "pa55word, not JSON" }))
        .route("/broken", get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .with_state(shop);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    // Ends with the runtime of the test.
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    base
}

#[tokio::test]
async fn all_pages_arrive_however_the_next_is_told() {
    let house = House::new().await;
    let shop = Shop::default();
    let base = serve(shop.clone()).await;
    for (name, config) in [
        ("link", json!({ "base_url": base, "path": "/link" })),
        ("moved", json!({ "base_url": base, "path": "moved" })),
        ("field", json!({ "base_url": format!("{base}/"), "endpoint": "field" })),
        (
            "token",
            json!({ "base_url": format!("{base}/token"), "records": "/deep/rows", "next": "/meta/after",
                    "next_param": "page" }),
        ),
        (
            "number",
            json!({ "base_url": format!("{base}/v2"), "path": "number", "page_param": "page",
                    "page_size_param": "size" }),
        ),
    ] {
        *shop.count.lock().unwrap() = 7;
        let id = house.connect(name, "api", config).await;
        assert_eq!(house.sync(&id, json!({ "batch_size": 3 })).await, 7, "{name}");
        let expected: Vec<_> = (1..=7).map(|n| json!({ "n": n })).collect();
        assert_eq!(house.rows(name), expected, "{name}");
        *shop.count.lock().unwrap() = 9;
        assert_eq!(house.sync(&id, json!({ "incremental": true })).await, 2, "{name}");
        assert_eq!(house.rows(name).len(), 9, "{name}");
        let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
        assert_eq!(answer["data"]["tables"][0]["columns"], json!([{ "name": "n", "type": "integer" }]));
    }
    assert!(shop.asked.lock().unwrap().contains(&"3".to_owned()));
}

#[tokio::test]
async fn credentials_are_sent_as_the_configuration_says() {
    let house = House::new().await;
    let base = serve(Shop::default()).await;
    let base = format!("{base}/guarded");
    for (credentials, open) in [
        (json!({ "token": "t" }), true),
        (json!({ "api_key": "k" }), true),
        (json!({ "api_key": "k", "api_key_header": "Key" }), true),
        (json!({ "username": "u", "password": "p" }), true),
        (json!({ "headers": { "Authorization": "Bearer t" } }), true),
        (json!({}), false),
        (json!({ "token": "wrong-one" }), false),
    ] {
        let mut config = credentials.clone();
        config["base_url"] = json!(base);
        let (code, answer) = house.test("api", config).await;
        assert_eq!((code, answer["status"] == "success"), (200, open), "{credentials}: {answer}");
        if !open {
            assert_eq!(answer["message"], "the API refused the credentials (401)");
        }
    }
}

#[tokio::test]
async fn an_api_cannot_lead_away_nor_in_circles() {
    let house = House::new().await;
    let base = serve(Shop::default()).await;
    for (path, expected) in [
        ("circles", "circles"),
        ("elsewhere", "another server"),
        ("lured", "redirects to another server"),
        ("text", "not JSON"),
        ("broken", "status 500"),
        ("missing", "404"),
    ] {
        let id = house.connect(path, "api", json!({ "base_url": base, "path": path })).await;
        let message = house.sync_failure(&id).await;
        assert!(message.contains(expected) && !message.contains("pa55word"), "{path}: {message}");
    }
    let shop = Shop::default();
    *shop.count.lock().unwrap() = 100;
    let base = serve(shop).await;
    let config = json!({ "base_url": base, "path": "link", "max_pages": 2 });
    let id = house.connect("long", "api", config).await;
    assert!(house.sync_failure(&id).await.contains("more than 2 pages"));
    assert!(house.rows("long").is_empty());
}

#[tokio::test]
async fn stopping_gives_up_a_sync_that_waits_for_its_api() {
    let mut house = House::new().await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let id = house.connect("silent", "api", json!({ "base_url": base })).await;
    let running = house.running.take().unwrap();
    let (message, ()) = tokio::join!(house.sync_failure(&id), async {
        // The API accepts the connection and never responds.
        let _open = listener.accept().await.unwrap();
        running.stop().await;
    });
    assert!(message.contains("the platform is stopping"), "{message}");
}
