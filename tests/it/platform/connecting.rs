//! Tests of connect, list and cleanup.

use serde_json::{Value, json};

use wellspring::platform::{NameConflict, PlatformConfig, start};

use super::harness::{House, TOKEN, in_memory, reply};

#[tokio::test]
async fn connecting_a_taken_name_changes_it_and_keeps_its_id() {
    let house = House::new().await;
    let first = house.connect("orders", "csv", json!({ "path": "old.csv" })).await;
    let before = house.list().await[0].clone();
    let second = house.connect("orders", "csv", json!({ "path": "new.csv" })).await;
    assert_eq!(first, second);
    let rows = house.list().await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["connection_config"]["path"], "new.csv");
    assert_eq!(rows[0]["created_at"], before["created_at"]);
    assert!(rows[0]["updated_at"].as_str() > before["updated_at"].as_str());
}

#[tokio::test]
async fn a_name_is_unique_within_its_workspace_and_scope_only() {
    let house = House::new().await;
    let source = json!([{ "type": "csv", "name": "n", "connection_config": { "path": "a.csv" } }]);
    for (workspace, scope) in [("ws", "user"), ("ws", "organization"), ("a%2Fb%20c", "user")] {
        let body = json!({ "scope": scope, "sources": source });
        assert_eq!(house.post_to(&format!("/api/v1/data/{workspace}/connect"), &body).await.0, 200);
    }
    for (path, count) in [
        ("ws/list", 1),
        ("ws/list?scope=organization", 1),
        ("a%2Fb%20c/list?scope=user", 1),
        ("a%2fb+c/list", 0),
        ("never-seen/list", 0),
    ] {
        let (code, answer) = house.get(&format!("/api/v1/data/{path}")).await;
        assert_eq!((code, answer["data"].as_array().unwrap().len()), (200, count), "{path}");
    }
}

#[tokio::test]
async fn good_sources_go_through_and_bad_ones_are_named() {
    let house = House::new().await;
    let good = json!({ "type": "csv", "name": "good", "connection_config": { "path": "a.csv" } });
    let bad = [
        json!({ "type": "csv", "name": "no config" }),
        json!({ "type": "csv", "name": "no path", "connection_config": {} }),
        json!({ "type": "csv", "name": "list", "connection_config": [] }),
        json!({ "type": "carrier pigeon", "name": "unknown", "connection_config": {} }),
        json!({ "type": "csv", "name": "meta", "connection_config": { "path": "a.csv" }, "metadata": 1 }),
        json!({ "name": "no type", "connection_config": {} }),
        json!({ "type": "csv", "name": "good", "connection_config": { "path": "a.csv" } }),
        json!({ "type": "csv", "connection_config": { "path": "a.csv" } }),
        json!("nothing"),
    ];
    let mut sources = vec![good];
    sources.extend(bad.clone());
    let (code, answer) = house.post("connect", &json!({ "sources": sources })).await;
    assert_eq!((code, answer["status"].as_str()), (200, Some("success")));
    assert_eq!(answer["data"]["connected_sources"].as_array().unwrap().len(), 1);
    let errors = answer["data"]["errors"].as_array().unwrap();
    let names: Vec<_> = errors.iter().map(|error| error["name"].clone()).collect();
    let expected: Vec<_> =
        bad.iter().map(|source| source.get("name").cloned().unwrap_or(Value::Null)).collect();
    assert_eq!(names, expected);

    let (code, answer) = house.post("connect", &json!({ "sources": &bad[..2] })).await;
    assert_eq!((code, answer["data"]["errors"].as_array().unwrap().len()), (422, 2));
}

#[tokio::test]
async fn secrets_are_stored_and_never_shown() {
    let house = House::new().await;
    let config = json!({
        "base_url": "http://user:pa55word@127.0.0.1:1/x",
        "token": "pa55word",
        "headers": { "Authorization": "pa55word", "Accept-Language": "it" },
    });
    let id = house.connect("secretive", "api", config).await;
    let shown = json!(house.list().await).to_string();
    assert!(!shown.contains("pa55word"), "{shown}");
    assert!(shown.contains("user:***@127.0.0.1") && shown.contains("\"it\""));
    let failure = house.sync_failure(&id).await;
    assert!(!failure.contains("pa55word") && failure.contains("refused"), "{failure}");
    assert!(!json!(house.list().await).to_string().contains("pa55word"));
}

#[tokio::test]
async fn cleanup_removes_sources_and_their_rows() {
    let house = House::new().await;
    house.write("a.csv", "x\n1\n");
    let id = house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    let other = house.connect("b", "csv", json!({ "path": "a.csv" })).await;
    house.post("sync", &json!({})).await;
    let files = || house.storage().join("rows").read_dir().unwrap().count();
    assert_eq!(files(), 2);

    // Another scope does not affect it.
    let (_, answer) = house.post("cleanup", &json!({ "scope": "organization", "source_ids": [id] })).await;
    assert_eq!(answer["data"], json!({ "deleted_count": 0, "not_found": 1 }));

    let (code, answer) = house.post("cleanup", &json!({ "source_ids": [id, id] })).await;
    assert_eq!((code, &answer["data"]), (200, &json!({ "deleted_count": 1, "not_found": 0 })));
    assert_eq!(files(), 1);
    assert_eq!(house.list().await[0]["id"].as_str(), Some(other.as_str()));
    let (code, _) = house.post("cleanup", &json!({ "source_ids": [id] })).await;
    assert_eq!(code, 200, "what is gone already is no error");
}

#[tokio::test]
async fn a_platform_may_refuse_names_that_are_taken() {
    let place = tempfile::tempdir().unwrap();
    let config = PlatformConfig { on_conflict: NameConflict::Refuse, ..in_memory(place.path()) };
    let running = start(config).await.unwrap();
    let connect = async |names: &[&str]| {
        let source = |name| json!({ "type": "csv", "name": name, "connection_config": { "path": "a.csv" } });
        let sources: Vec<_> = names.iter().map(source).collect();
        let url = format!("{}/api/v1/data/ws/connect", running.base_url());
        reply(reqwest::Client::new().post(url).bearer_auth(TOKEN).json(&json!({ "sources": sources }))).await
    };
    assert_eq!(connect(&["a"]).await.0, 200);
    let (code, answer) = connect(&["b", "a"]).await;
    assert_eq!((code, answer["status"].as_str()), (409, Some("conflict")), "{answer}");
    assert_eq!(answer["data"]["errors"][0]["name"], "a");
    assert_eq!(connect(&["b"]).await.0, 200, "nothing of the call before was connected");
    running.stop().await;
}
