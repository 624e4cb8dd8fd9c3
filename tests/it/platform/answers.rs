//! Tests of API responses that are errors, not records.
//!
//! Such a response replaces no rows, and its text is the error.

use std::collections::VecDeque;
use std::io::Write as _;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::{Value, json};

use super::harness::House;

/// One response: status, headers, body.
type Told = (u16, Vec<(&'static str, String)>, Vec<u8>);

/// An API that returns these responses in order, then the last one repeatedly.
#[derive(Clone, Default)]
struct Script {
    answers: Arc<Mutex<VecDeque<Told>>>,
    calls: Arc<Mutex<u64>>,
}

impl Script {
    async fn serve() -> (Self, String) {
        let script = Self::default();
        let router = Router::new().fallback(answer).with_state(script.clone());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (script, base)
    }

    fn tell(&self, answers: impl IntoIterator<Item = Told>) {
        *self.answers.lock().unwrap() = answers.into_iter().collect();
        *self.calls.lock().unwrap() = 0;
    }

    fn body(&self, body: &Value) {
        self.tell([told(200, body)]);
    }
}

async fn answer(State(script): State<Script>) -> Response {
    *script.calls.lock().unwrap() += 1;
    let mut answers = script.answers.lock().unwrap();
    let (code, headers, body) = match answers.len() {
        1 => answers[0].clone(),
        _ => answers.pop_front().unwrap(),
    };
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = StatusCode::from_u16(code).unwrap();
    for (name, value) in headers {
        response.headers_mut().append(HeaderName::from_static(name), HeaderValue::from_str(&value).unwrap());
    }
    response
}

fn told(code: u16, body: &Value) -> Told {
    (code, vec![("content-type", "application/json".into())], body.to_string().into_bytes())
}

#[tokio::test]
async fn an_answer_that_is_an_error_replaces_no_rows_and_its_words_are_the_reason() {
    let house = House::new().await;
    let (script, base) = Script::serve().await;
    let config = json!({ "base_url": base, "token": "t0ken-of-the-test" });
    let id = house.connect("orders", "api", config).await;
    let good = [json!({ "id": 1 }), json!({ "id": 2 })];
    script.body(&json!({ "data": good }));
    assert_eq!(house.sync(&id, json!({})).await, 2);
    for (body, words) in [
        (
            json!({"success": false, "error": {"code": 101, "info": "the key is not valid"}}),
            "the key is not valid (101)",
        ),
        (json!({"message": "API rate limit exceeded", "documentation_url": "x"}), "API rate limit exceeded"),
        (json!({"data": null}), "null where records are expected"),
        (json!({"data": null, "errors": [{"message": "no field x"}]}), "no field x"),
        (json!({"data": [], "errors": [{"title": "Forbidden"}]}), "Forbidden"),
        (json!({"data": good, "status": "error", "message": "half"}), "half"),
        (json!({"error": "invalid_token", "error_description": "it expired"}), "invalid_token: it expired"),
        (json!({"ok": false, "error": "invalid_auth"}), "invalid_auth"),
        (json!([{"message": "Session expired", "errorCode": "INVALID_SESSION_ID"}]), "Session expired"),
        (json!({"fault": {"faultstring": "Quota"}}), "Quota"),
        (json!({"type": "x", "title": "Gone", "status": 410, "detail": "for good"}), "Gone: for good (410)"),
        (json!({"status": "fail", "data": {"id": "is missing"}}), "fail"),
        (json!({"code": 40001, "msg": "access denied", "data": []}), "access denied (40001)"),
        (json!({"result": [], "message": "Too many requests"}), "Too many requests"),
        (json!({}), "an empty object"),
        (json!("maintenance"), "a single value"),
        (json!(null), "a single value"),
        (json!({"anything": "else"}), "with one object, and with a list at the last sync"),
        (json!({"error": "the token t0ken-of-the-test is bad"}), "repeat a secret"),
    ] {
        script.body(&body);
        let message = house.sync_failure(&id).await;
        assert!(message.contains(words) && !message.contains("t0ken"), "{body}: {message}");
        assert_eq!(house.rows("orders"), good, "{body}");
    }
    script.tell([(200, vec![("content-type", "text/html".into())], b"<html>log in".to_vec())]);
    assert!(house.sync_failure(&id).await.contains("HTML"));
    script.tell([(422, Vec::new(), br#"{"errors":{"since":["is no date"]}}"#.to_vec())]);
    assert!(house.sync_failure(&id).await.contains("status 422: since is no date"));
    assert_eq!(house.rows("orders"), good);
}

#[tokio::test]
async fn numbers_that_no_double_holds_are_text_in_records_and_hide_no_error() {
    let house = House::new().await;
    let (script, base) = Script::serve().await;
    let id = house.connect("big", "api", json!({ "base_url": base })).await;
    script.tell([(200, Vec::new(), br#"{"took":1e999,"data":[{"id":1,"n":1e999}]}"#.to_vec())]);
    assert_eq!(house.sync(&id, json!({})).await, 1);
    assert_eq!(house.rows("big"), [json!({ "id": 1, "n": "1e999" })]);
    let failed = br#"{"error":{"message":"no room","free":1e999},"data":[]}"#;
    script.tell([(200, Vec::new(), failed.to_vec())]);
    let failure = house.sync_failure(&id).await;
    assert!(failure.contains("no room"), "{failure}");
}

#[tokio::test]
async fn no_records_are_known_to_be_none() {
    let house = House::new().await;
    let (script, base) = Script::serve().await;
    for (name, empty) in [
        ("list", told(200, &json!({ "data": [] }))),
        ("total", told(200, &json!({ "data": null, "total": 0 }))),
        ("remark", told(200, &json!({ "data": [], "message": "No orders found" }))),
        ("204", (204, Vec::new(), Vec::new())),
    ] {
        let id = house.connect(name, "api", json!({ "base_url": base })).await;
        script.body(&json!({ "data": [{ "id": 1 }] }));
        assert_eq!(house.sync(&id, json!({})).await, 1);
        script.tell([empty]);
        assert_eq!(house.sync(&id, json!({ "incremental": true })).await, 0, "{name}");
        assert_eq!(house.rows(name).len(), 1, "{name}");
        assert_eq!(house.sync(&id, json!({})).await, 0, "{name}");
        assert!(house.rows(name).is_empty(), "{name}");
    }
    let config = json!({ "base_url": base, "null_is_empty": true });
    let id = house.connect("null", "api", config).await;
    script.body(&json!({ "data": null }));
    assert_eq!(house.sync(&id, json!({})).await, 0);
    // The whole response is a record if the configuration requests that.
    let id = house.connect("one", "api", json!({ "base_url": base, "records": "" })).await;
    script.body(&json!({ "next": "/2", "total": 9 }));
    assert_eq!(house.sync(&id, json!({})).await, 1);
}

#[tokio::test]
async fn trouble_that_passes_costs_no_sync() {
    let house = House::new().await;
    let (script, base) = Script::serve().await;
    let id = house.connect("flaky", "api", json!({ "base_url": base })).await;
    let busy = |code, wait: &str| {
        (code, vec![("retry-after", wait.to_owned())], b"{\"error\":\"try again\"}".to_vec())
    };
    let good = || told(200, &json!([{ "id": 1 }]));
    let past = "Mon, 23 Nov 2020 12:00:00 GMT";
    for trouble in [busy(503, "0"), busy(429, past), busy(502, "0.01"), busy(504, "-1")] {
        script.tell([trouble, good()]);
        assert_eq!(house.sync(&id, json!({})).await, 1);
    }
    script.tell([(202, vec![("retry-after", "0".to_owned())], b"{\"status\":\"pending\"}".to_vec()), good()]);
    assert_eq!(house.sync(&id, json!({})).await, 1, "an answer that is still being prepared");
    // The number of attempts is five, and no wait exceeds a plausible limit.
    script.tell([busy(503, "0")]);
    let message = house.sync_failure(&id).await;
    assert!(message.contains("status 503: try again"), "{message}");
    assert_eq!(*script.calls.lock().unwrap(), 5);
    script.tell([busy(429, "86400")]);
    assert!(house.sync_failure(&id).await.contains("429"));
    assert_eq!(*script.calls.lock().unwrap(), 1);
    script.tell([busy(500, "0")]);
    house.sync_failure(&id).await;
    assert_eq!(*script.calls.lock().unwrap(), 1, "500 is no passing trouble");
}

#[tokio::test]
async fn every_member_of_a_gzip_answer_is_read_or_it_is_an_error() {
    let house = House::new().await;
    let (script, base) = Script::serve().await;
    let id = house.connect("packed", "api", json!({ "base_url": base })).await;
    let packed = |text: &str| {
        let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        member.write_all(text.as_bytes()).unwrap();
        member.finish().unwrap()
    };
    let gzip = |body| (200, vec![("content-encoding", "gzip".to_owned())], body);
    let both = [packed("[{\"id\":1},"), packed("{\"id\":2}]")].concat();
    script.tell([gzip(both.clone())]);
    assert_eq!(house.sync(&id, json!({})).await, 2);
    script.tell([gzip(both[..both.len() - 9].to_vec())]);
    assert!(house.sync_failure(&id).await.contains("gzip"));
    script.tell([gzip([both, b"and more".to_vec()].concat())]);
    assert!(house.sync_failure(&id).await.contains("gzip"));
    script.tell([(200, vec![("content-encoding", "br".to_owned())], b"xyz".to_vec())]);
    assert!(house.sync_failure(&id).await.contains("\"br\""));
    assert_eq!(house.rows("packed").len(), 2);
}
