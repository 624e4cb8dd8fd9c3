//! Tests of responses: lenient unless a mistake could remove sources.

use super::*;
use wellspring::client::{RemoteErrorKind, TestVerdict};
use wellspring_testkit::{CleanupManner, Fault, Ids, Platform, Semantics, SyncManner, TestManner};

/// Returns the kind of error as a word.
fn word(kind: &RemoteErrorKind) -> &'static str {
    match kind {
        RemoteErrorKind::NotSent(_) => "not sent",
        RemoteErrorKind::Unreachable(_) => "unreachable",
        RemoteErrorKind::Throttled { .. } => "throttled",
        RemoteErrorKind::NoResponse(_) => "no answer",
        RemoteErrorKind::NoToken(_) => "no token",
        RemoteErrorKind::Unauthorized(_) => "unauthorized",
        RemoteErrorKind::Forbidden(_) => "forbidden",
        RemoteErrorKind::Conflict(_) => "conflict",
        RemoteErrorKind::Refused { .. } => "refused",
        RemoteErrorKind::Failed { .. } => "failed",
        RemoteErrorKind::Malformed(_) => "malformed",
        RemoteErrorKind::Partial(_) => "partial",
        RemoteErrorKind::TooLarge { .. } => "too large",
        RemoteErrorKind::Redirected(_) => "redirected",
        RemoteErrorKind::AccountDialect(_) => "account dialect",
        RemoteErrorKind::NoAccount(_) => "no account",
    }
}

/// Lists a platform that returns `fault`; returns the names or the kind of error.
async fn listed(fault: Fault) -> Result<Vec<String>, &'static str> {
    let platform = Platform::start();
    platform.script_always("list", fault);
    match writer(&platform).reader().list(&workspace_ref()).await {
        Ok(rows) => Ok(rows.into_iter().map(|row| row.name.as_str().to_owned()).collect()),
        Err(error) => Err(word(&error.kind)),
    }
}

#[tokio::test]
async fn a_list_is_whole_or_an_error() {
    let whole: Result<Vec<String>, &str> = Ok(vec!["a".into()]);
    for (body, expected) in [
        (r#"{"status":"success","message":"","data":[{"name":"a"}]}"#, whole.clone()),
        (r#"{"status":"success","data":[]}"#, Ok(vec![])),
        (
            r#"{"status":"success","data":[{"name":"a","more":[1]}],"next":null,"has_more":false}"#,
            whole.clone(),
        ),
        (r#"{"status":"success","data":[{"name":"a"}],"total":1,"errors":[]}"#, whole),
        (r#"{"status":"success","data":[{"name":"a"}],"total":2}"#, Err("partial")),
        (r#"{"status":"success","data":[{"name":"a"}],"next":"/list?page=2"}"#, Err("partial")),
        (r#"{"status":"success","data":[],"hasMore":true}"#, Err("partial")),
        (r#"{"status":"success","data":[],"next_cursor":"x"}"#, Err("partial")),
        (r#"{"status":"success","data":[],"page":1}"#, Err("partial")),
        (r#"{"status":"success","data":[],"pagination":{"next":2}}"#, Err("partial")),
        (r#"{"status":"success","data":[],"errors":[{"message":"shard 2"}]}"#, Err("partial")),
        (r#"{"status":"success","data":null}"#, Err("malformed")),
        (r#"{"status":"success","data":{}}"#, Err("malformed")),
        (r#"{"status":"success","data":{"sources":[]}}"#, Err("malformed")),
        (r#"{"status":"success"}"#, Err("malformed")),
        (r#"{"status":"success","data":[],"data":[]}"#, Err("malformed")),
        (r#"{"status":"success","data":[null]}"#, Err("malformed")),
        (r#"{"status":"success","data":[{"name":"a"},{}]}"#, Err("malformed")),
        (r#"{"status":"success","data":[{"name":""}]}"#, Err("malformed")),
        (r#"{"status":"success","data":[{"name":null}]}"#, Err("malformed")),
        (r#"{"status":"success","data":[{"name":7}]}"#, Err("malformed")),
        (r#"{"status":"success","data":["a"]}"#, Err("malformed")),
        (r#"{"status":"pending","data":[]}"#, Err("malformed")),
        (r#"{"data":[]}"#, Err("malformed")),
        (r#"[]"#, Err("malformed")),
        (r#"null"#, Err("malformed")),
        ("", Err("malformed")),
        ("<html>Sign in</html>", Err("malformed")),
        (r#"{"status":"success","data":[{"name":"a"}"#, Err("malformed")),
        (r#"{"status":"error","message":"no","data":[]}"#, Err("refused")),
        (r#"{"status":"conflict","data":[]}"#, Err("conflict")),
    ] {
        assert_eq!(listed(Fault::body(200, "application/json", body)).await, expected, "{body}");
    }
    let empty = json!({"status": "success", "data": []});
    assert_eq!(listed(Fault::json(206, &empty)).await, Err("partial"));
    assert_eq!(listed(Fault::json(202, &empty)).await, Err("malformed"));
    let linked = Fault::json(200, &empty).header("link", r#"<https://x/2>; rel="next""#);
    assert_eq!(listed(linked).await, Err("partial"));
}

#[tokio::test]
async fn nesting_without_end_neither_overflows_nor_counts_as_a_value() {
    let deep = format!("{}{}", "[".repeat(200_000), "]".repeat(200_000));
    assert_eq!(listed(Fault::body(200, "application/json", deep.clone())).await, Err("malformed"));
    let platform = Platform::start();
    let body = format!(
        r#"{{"status":"success","data":[{{"name":"a","connection_config":{{"k":{deep}}},"metadata":{{}}}}]}}"#
    );
    platform.script("list", Fault::body(200, "application/json", body));
    let rows = writer(&platform).reader().list(&workspace_ref()).await.unwrap();
    assert_eq!(rows[0].echo.connection_config(), None);
}

#[tokio::test]
async fn ids_and_echoes_are_read_as_they_come() {
    let platform = Platform::start();
    let rows = json!([
        {"name": "text", "id": "a", "type": "api"},
        {"name": "number", "source_id": 7},
        {"name": "both", "id": 1, "source_id": "s"},
        {"name": "null", "id": null},
        {"name": "empty", "id": ""},
        {"name": "odd", "id": {"x": 1}},
        {"name": "fraction", "id": 1.5},
        {"name": "masked", "connection_config": "***", "metadata": null},
        {"name": "echo", "connection_config": {"port": "5432"},
         "metadata": {"d": 1, "wellspring": {"owner": "us", "fingerprint": "f"}}},
        {"name": "odd stamp", "metadata": {"wellspring": "x"}},
    ]);
    platform.script("list", Fault::json(200, &json!({"status": "success", "data": rows})));
    let rows = writer(&platform).reader().list(&workspace_ref()).await.unwrap();
    let ids: Vec<_> = rows.iter().map(|row| row.id.as_ref().map(|id| id.as_json().clone())).collect();
    assert_eq!(ids[..3], [Some(json!("a")), Some(json!(7)), Some(json!("s"))]);
    assert!(ids[3..].iter().all(Option::is_none));
    assert_eq!(rows[0].kind.as_deref(), Some("api"));
    assert_eq!(rows[7].echo.connection_config(), None);
    let echo = &rows[8].echo;
    assert_eq!(echo.connection_config(), Some(&json!({"port": "5432"})));
    assert_eq!(echo.metadata(), Some(&json!({"d": 1})));
    assert_eq!((echo.owner.as_deref(), echo.fingerprint.as_deref()), (Some("us"), Some("f")));
    assert_eq!(rows[9].echo.owner, None);
}

#[tokio::test]
async fn every_status_has_its_meaning_for_a_read_and_for_a_write() {
    for (status, envelope, read, write, write_is_unknown) in [
        (200, "error", "refused", "refused", false),
        (200, "conflict", "conflict", "conflict", false),
        (200, "odd", "malformed", "malformed", true),
        (400, "error", "refused", "refused", false),
        (400, "conflict", "conflict", "conflict", false),
        (401, "error", "unauthorized", "unauthorized", false),
        (403, "error", "forbidden", "failed", true),
        (404, "error", "refused", "refused", false),
        (408, "error", "no answer", "no answer", true),
        (409, "conflict", "conflict", "conflict", false),
        (413, "error", "refused", "failed", true),
        (425, "error", "refused", "failed", true),
        (499, "error", "refused", "failed", true),
        (520, "error", "failed", "failed", true),
        (422, "error", "refused", "refused", false),
        (429, "error", "throttled", "throttled", false),
        (302, "error", "redirected", "redirected", false),
        (500, "error", "failed", "failed", true),
        (502, "error", "failed", "failed", true),
        (503, "error", "throttled", "failed", true),
        (504, "error", "failed", "failed", true),
    ] {
        let platform = Platform::start();
        for endpoint in ["list", "schema", "connect", "cleanup", "sync"] {
            let body = json!({"status": envelope, "message": "why", "data": null});
            platform.script_always(endpoint, Fault::json(status, &body));
        }
        let writer = writer(&platform);
        let crm = source("crm", json!({}));
        for error in [
            writer.reader().list(&workspace_ref()).await.unwrap_err(),
            writer.reader().schema(&workspace_ref(), &id(json!(1))).await.unwrap_err(),
        ] {
            assert_eq!((word(&error.kind), error.is_outcome_unknown()), (read, false), "{status} {error}");
        }
        for error in [
            writer.connect(&workspace_ref(), &NonEmpty::one(&crm)).await.unwrap_err(),
            writer.cleanup(&workspace_ref(), &one(json!(1))).await.unwrap_err(),
        ] {
            assert_eq!(
                (word(&error.kind), error.is_outcome_unknown()),
                (write, write_is_unknown),
                "{status} {error}"
            );
        }
        let error = writer.sync(&workspace_ref(), &one(json!(1)), &options(), None).await.unwrap_err();
        assert_eq!(error.is_outcome_unknown(), write_is_unknown, "{status} {error}");
        assert_eq!(error.is_auth(), status == 401);
    }
}

#[tokio::test]
async fn a_partial_success_tells_what_failed() {
    let platform = Platform::with(Semantics { partial_connect: vec!["b".into()], ..Semantics::default() });
    let (a, b) = (source("a", json!({})), source("b", json!({})));
    let sources = NonEmpty::from_vec(vec![&a, &b]).unwrap();
    let answer = writer(&platform).connect(&workspace_ref(), &sources).await.unwrap();
    assert_eq!(answer.connected.len(), 1);
    assert_eq!(answer.errors[0].name.as_deref(), Some("b"));
    assert_eq!(answer.errors[0].message, "cannot be reached");
    assert_eq!(platform.names("ws", "user"), ["a"]);

    let data = json!({"connected_sources": ["a", {"source_id": 3, "name": "b", "status": "failed", "error": "x"}, 7],
                      "errors": ["something else"]});
    platform.script("connect", Fault::json(200, &json!({"status": "success", "data": data})));
    let answer = writer(&platform).connect(&workspace_ref(), &sources).await.unwrap();
    assert_eq!(answer.connected[0].name.as_deref(), Some("a"));
    assert_eq!((answer.connected[1].id.as_ref(), answer.connected[1].name.as_ref()), (None, None));
    let messages: Vec<_> = answer.errors.iter().map(|error| error.message.as_str()).collect();
    assert_eq!(messages, ["something else", "x"]);
}

#[tokio::test]
async fn sync_and_cleanup_accept_an_answer_without_counts() {
    let platform = Platform::with(Semantics { ids: Ids::Number, ..Semantics::default() });
    let number = platform.add("ws", "user", "a", "api", json!({}));
    platform.add("ws", "user", "b", "api", json!({}));
    let writer = writer(&platform);
    let ids = one(json!(number));
    let answer = writer.sync(&workspace_ref(), &ids, &options(), None).await.unwrap();
    assert_eq!((answer.records, answer.sources[0].records), (Some(10), Some(10)));
    for manner in [SyncManner::Silent, SyncManner::Accepted] {
        platform.semantics(|semantics| semantics.sync = manner);
        let answer = writer.sync(&workspace_ref(), &ids, &options(), None).await.unwrap();
        assert_eq!((answer.records, answer.sources), (None, vec![]));
    }
    platform.script("sync", Fault::json(202, &json!({"status": "pending", "message": "begun"})));
    assert_eq!(writer.sync(&workspace_ref(), &ids, &options(), None).await.unwrap().records, None);
    assert_eq!(platform.rows("ws", "user")[0].syncs, 3);

    platform.semantics(|semantics| semantics.cleanup = CleanupManner::OnlySome);
    assert_eq!(writer.cleanup(&workspace_ref(), &ids).await.unwrap().deleted, Some(1));
    assert_eq!(platform.names("ws", "user"), ["b"]);
    platform.script("cleanup", Fault::body(204, "text/plain", ""));
    assert_eq!(writer.cleanup(&workspace_ref(), &ids).await.unwrap().deleted, None);
}

#[tokio::test]
async fn a_test_gives_a_verdict_only_where_the_platform_gave_one() {
    let platform = Platform::start();
    let reader = writer(&platform).reader().clone();
    let crm = source("crm", json!({"host": "h"}));
    let test = async || reader.test_connection(&workspace_id(), &crm).await;
    assert_eq!(test().await, Ok(TestVerdict::Passed("connection works".into())));
    platform.semantics(|semantics| semantics.test_connection = TestManner::FailsFor(vec!["h".into()]));
    assert_eq!(test().await, Ok(TestVerdict::Failed("cannot connect".into())));
    platform.semantics(|semantics| semantics.test_connection = TestManner::Missing);
    assert_eq!(test().await, Ok(TestVerdict::Unavailable));
    for (status, verdict) in [
        (400, TestVerdict::Failed("why".into())),
        (409, TestVerdict::Failed("why".into())),
        (422, TestVerdict::Failed("why".into())),
        (404, TestVerdict::Unavailable),
        (405, TestVerdict::Unavailable),
        (501, TestVerdict::Unavailable),
    ] {
        platform.script("test-connection", Fault::status(status, "why"));
        assert_eq!(test().await, Ok(verdict), "{status}");
    }
    for (status, kind, attempts) in
        [(401, "unauthorized", 1), (403, "forbidden", 1), (500, "failed", 4), (503, "throttled", 4)]
    {
        platform.forget_calls();
        platform.script_always("test-connection", Fault::status(status, "why"));
        assert_eq!(word(&test().await.unwrap_err().kind), kind);
        assert_eq!(platform.calls().len(), attempts, "{status}");
    }
    platform.script_always("test-connection", Fault::body(200, "text/html", "<html>"));
    assert_eq!(word(&test().await.unwrap_err().kind), "malformed");
}
