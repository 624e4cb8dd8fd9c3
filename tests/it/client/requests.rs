//! Tests of requests, byte by byte.

use super::*;
use wellspring::model::{Fingerprint, OwnershipMarker};
use wellspring_testkit::{Platform, Recorded};

fn only(calls: Vec<Recorded>) -> Recorded {
    assert_eq!(calls.len(), 1);
    calls.into_iter().next().unwrap()
}

#[track_caller]
fn check(call: &Recorded, method: &str, target: &str, body: &str) {
    assert_eq!((call.method.as_str(), call.target.as_str()), (method, target));
    assert_eq!(std::str::from_utf8(&call.body).unwrap(), body);
    assert_eq!(call.headers.get("authorization").unwrap(), "Bearer token-of-the-tests");
    assert_eq!(call.headers.contains_key("content-type"), !body.is_empty());
}

#[tokio::test]
async fn list_names_its_scope() {
    let platform = Platform::start();
    let reader = writer(&platform).reader().clone();
    let elsewhere = WorkspaceRef {
        workspace: WorkspaceId::parse("a/../b c").unwrap(),
        scope: Scope::parse("org&scope=user").unwrap(),
    };
    reader.list(&workspace_ref()).await.unwrap();
    reader.list(&elsewhere).await.unwrap();
    let calls = platform.calls();
    check(&calls[0], "GET", "/api/v1/data/ws/list?scope=user", "");
    check(&calls[1], "GET", "/api/v1/data/a%2F..%2Fb%20c/list?scope=org%26scope%3Duser", "");
    assert_eq!(calls[1].workspace, "a/../b c");
    assert_eq!(calls[1].scope.as_deref(), Some("org&scope=user"));
}

#[tokio::test]
async fn connect_sends_the_contracts_fields_and_no_others() {
    let platform = Platform::start();
    let metadata = json!({"description": "CRM"});
    let fingerprint = Fingerprint::parse("00112233445566778899aabbccddeeff").unwrap();
    let config = json!({"port": 5432, "password": "pä\"ss"});
    let crm = described("crm", config, metadata.as_object().unwrap().clone()).with_marker(OwnershipMarker {
        fingerprint,
        owner: Some("me".into()),
        writer: "key".into(),
    });
    let bare = source("bare", json!({}));
    let sources = NonEmpty::from_vec(vec![&crm, &bare]).unwrap();
    let answer = writer(&platform).connect(&workspace_ref(), &sources).await.unwrap();
    check(
        &only(platform.calls()),
        "POST",
        "/api/v1/data/ws/connect",
        concat!(
            r#"{"scope":"user","sources":[{"type":"database","name":"crm","#,
            r#""connection_config":{"password":"pä\"ss","port":5432},"#,
            r#""metadata":{"description":"CRM","wellspring":"#,
            r#"{"fingerprint":"00112233445566778899aabbccddeeff","owner":"me","writer":"key"}}},"#,
            r#"{"type":"database","name":"bare","connection_config":{}}]}"#
        ),
    );
    let names: Vec<_> = answer.connected.iter().map(|row| row.name.as_deref().unwrap()).collect();
    assert_eq!(names, ["crm", "bare"]);
    assert_eq!(answer.connected[0].id, Some(id(json!("source_1"))));
    assert_eq!(answer.errors, []);
}

#[tokio::test]
async fn cleanup_and_sync_always_name_their_sources_in_the_type_their_ids_came_in() {
    let platform = Platform::start();
    let writer = writer(&platform);
    let ids = NonEmpty::from_vec(vec![id(json!("7")), id(json!(7)), id(json!(u64::MAX))]).unwrap();
    writer.cleanup(&workspace_ref(), &ids).await.unwrap();
    writer.sync(&workspace_ref(), &ids, &options(), None).await.unwrap();
    writer.sync(&workspace_ref(), &ids, &serde_json::Map::new(), None).await.unwrap();
    let calls = platform.calls();
    let ids = r#""scope":"user","source_ids":["7",7,18446744073709551615]"#;
    check(&calls[0], "POST", "/api/v1/data/ws/cleanup", &format!("{{{ids}}}"));
    check(
        &calls[1],
        "POST",
        "/api/v1/data/ws/sync",
        &format!(r#"{{{ids},"sync_options":{{"incremental":true}}}}"#),
    );
    check(&calls[2], "POST", "/api/v1/data/ws/sync", &format!("{{{ids}}}"));
}

#[tokio::test]
async fn test_connection_sends_the_definition_without_a_name() {
    let platform = Platform::start();
    let source = source("crm", json!({"host": "h"}));
    writer(&platform).reader().test_connection(&workspace_id(), &source).await.unwrap();
    check(
        &only(platform.calls()),
        "POST",
        "/api/v1/data/ws/test-connection",
        r#"{"source_config":{"type":"database","connection_config":{"host":"h"}}}"#,
    );
}

#[tokio::test]
async fn schema_names_source_and_scope() {
    let platform = Platform::start();
    platform.add("ws", "user", "crm", "database", json!({}));
    let schema = writer(&platform).reader().schema(&workspace_ref(), &id(json!("source_1"))).await.unwrap();
    check(&only(platform.calls()), "GET", "/api/v1/data/ws/schema?source_id=source_1&scope=user", "");
    assert_eq!(schema.tables[0].name, "crm");
    assert_eq!(schema.tables[0].columns[1].kind, "text");
}

#[tokio::test]
async fn every_spelling_of_the_base_url_leads_to_the_same_place() {
    let platform = Platform::start();
    for suffix in ["", "/", "/api/v1", "/api/v1/"] {
        let url = format!("{}{suffix}", platform.url());
        writer_at(&url, &platform).reader().list(&workspace_ref()).await.unwrap();
    }
    assert!(platform.calls().iter().all(|call| call.target == "/api/v1/data/ws/list?scope=user"));
}

#[test]
fn plain_http_is_for_this_machine_unless_allowed() {
    let token = "token";
    let distant = settings("http://platform.example.com", token);
    let error = ApiReader::new(distant.clone()).err().unwrap();
    assert!(error.to_string().contains("allow_plaintext"), "{error}");
    assert!(ApiReader::new(ClientConfig { allow_plaintext: true, ..distant }).is_ok());
    assert!(ApiReader::new(settings("http://localhost:1", token)).is_ok());
    assert!(ApiReader::new(settings("http://[::1]:1", token)).is_ok());
}
