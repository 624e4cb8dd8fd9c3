//! Tests that stored rows are durable, private and atomic.

use std::os::unix::fs::PermissionsExt as _;

use serde_json::json;
use tokio::sync::Notify;
use wellspring::platform::{PlatformError, start, stored_rows};

use super::harness::{House, TOKEN, in_memory, reply};

#[tokio::test]
async fn a_restart_keeps_everything() {
    let mut house = House::new().await;
    house.write("a.csv", "n\n1\n");
    let id = house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    let config = json!({ "host": "h", "database": "d", "username": "u", "password": "pa55", "port": 5432 });
    house.connect("b", "database", config).await;
    house.sync(&id, json!({})).await;
    let before = house.list().await;
    assert_eq!(before[0]["last_sync"]["status"], "success");
    assert_eq!(before[0]["last_sync"]["records_processed"], 1);
    house.restart().await;
    assert_eq!(house.list().await, before);
    assert_eq!(house.rows("a"), [json!({ "n": "1" })]);
    house.append("a.csv", "2\n3\n");
    assert_eq!(house.sync(&id, json!({ "incremental": true })).await, 2);
}

#[tokio::test]
async fn the_storage_is_closed_to_others() {
    let house = House::new().await;
    house.write("a.csv", "n\n1\n");
    let id = house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    house.sync(&id, json!({})).await;
    let mode = |path: &std::path::Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&house.storage()), 0o700);
    assert_eq!(mode(&house.storage().join("rows")), 0o700);
    for folder in [house.storage(), house.storage().join("rows")] {
        for entry in folder.read_dir().unwrap() {
            let path = entry.unwrap().path();
            if path.is_file() {
                assert_eq!(mode(&path), 0o600, "{}", path.display());
            }
        }
    }
}

#[tokio::test]
async fn a_failed_sync_keeps_the_rows_there_were() {
    let house = House::new().await;
    house.write("a.csv", "n\n1\n2\n");
    let id = house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    house.sync(&id, json!({})).await;
    let rows = house.rows("a");
    house.write("a.csv", "n\n7\n8\n9,10\n");
    for options in [json!({ "batch_size": 1 }), json!({ "batch_size": 1, "incremental": true })] {
        let (_, answer) = house.post("sync", &json!({ "source_ids": [id], "sync_options": options })).await;
        assert_eq!(answer["status"], "error");
        let message = answer["data"]["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("line 4 has 2 values where 1 are expected"), "{message}");
        assert_eq!(house.rows("a"), rows);
    }
    let listed = &house.list().await[0];
    assert_eq!(listed["last_sync"]["status"], "error");
    std::fs::remove_file(house.data().join("a.csv")).unwrap();
    assert!(house.sync_failure(&id).await.contains("there is no file a.csv"));
    assert_eq!(house.rows("a"), rows);
}

#[tokio::test]
async fn one_source_that_fails_does_not_keep_the_others_from_it() {
    let house = House::new().await;
    house.write("a.csv", "n\n1\n");
    let good = house.connect("good", "csv", json!({ "path": "a.csv" })).await;
    let bad = house.connect("bad", "csv", json!({ "path": "gone.csv" })).await;
    let (code, answer) = house.post("sync", &json!({ "source_ids": [bad, "src_unknown", good] })).await;
    assert_eq!((code, answer["status"].as_str()), (200, Some("success")));
    let data = &answer["data"];
    assert_eq!(data["records_processed"], 1);
    assert_eq!(
        data["sources"],
        json!([{ "id": good, "name": "good", "records_processed": 1, "rows_stored": 1 }])
    );
    assert_eq!(data["errors"][0]["id"].as_str(), Some(bad.as_str()));
    assert_eq!(data["errors"][1]["id"], "src_unknown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn syncs_lists_and_connects_go_on_side_by_side() {
    let house = std::sync::Arc::new(House::new().await);
    let lines: String = (0..5_000).map(|n| format!("{n}\n")).collect();
    house.write("a.csv", &format!("n\n{lines}"));
    let mut ids = Vec::new();
    for n in 0..4 {
        ids.push(house.connect(&format!("s{n}"), "csv", json!({ "path": "a.csv" })).await);
    }
    let mut tasks = tokio::task::JoinSet::new();
    for round in 0..12 {
        let (house, id) = (house.clone(), ids[round % 4].clone());
        tasks.spawn(async move { assert_eq!(house.sync(&id, json!({ "batch_size": 100 })).await, 5_000) });
    }
    for round in 0..12 {
        let house = house.clone();
        tasks.spawn(async move {
            house.connect(&format!("t{round}"), "csv", json!({ "path": "a.csv" })).await;
            assert!(house.list().await.len() >= 5);
        });
    }
    while let Some(task) = tasks.join_next().await {
        task.unwrap();
    }
    assert_eq!(house.list().await.len(), 16);
    for n in 0..4 {
        assert_eq!(house.rows(&format!("s{n}")).len(), 5_000);
    }
}

#[tokio::test]
async fn a_platform_in_memory_works_and_leaves_nothing() {
    let place = tempfile::tempdir().unwrap();
    std::fs::write(place.path().join("a.csv"), "n\n1\n2\n").unwrap();
    let config = in_memory(place.path());
    for _ in 0..2 {
        let running = start(config.clone()).await.unwrap();
        let url = |endpoint: &str| format!("{}/api/v1/data/ws/{endpoint}", running.base_url());
        let client = reqwest::Client::new();
        let source = json!({ "type": "csv", "name": "a", "connection_config": { "path": "a.csv" } });
        let connect = client.post(url("connect")).bearer_auth(TOKEN).json(&json!({ "sources": [source] }));
        assert_eq!(reply(connect).await.0, 200);
        for (options, records) in [(json!({}), 2), (json!({ "incremental": true }), 0), (json!({}), 2)] {
            let call = client.post(url("sync")).bearer_auth(TOKEN).json(&json!({ "sync_options": options }));
            assert_eq!(reply(call).await.1["data"]["records_processed"], records);
        }
        let (_, answer) = reply(client.post(url("cleanup")).bearer_auth(TOKEN).json(&json!({}))).await;
        assert_eq!(answer["data"]["deleted_count"], 1, "nothing of the one before is left");
        running.stop().await;
    }
    assert_eq!(place.path().read_dir().unwrap().count(), 1);
}

#[tokio::test]
async fn what_is_not_stored_cannot_be_read() {
    let house = House::new().await;
    house.connect("never synced", "csv", json!({ "path": "a.csv" })).await;
    assert!(house.rows("never synced").is_empty());
    let missing = stored_rows(&house.storage(), "ws", "user", "nobody");
    assert!(matches!(missing, Err(PlatformError::NoSuchSource(_))));
    let missing = stored_rows(house.outside(), "ws", "user", "nobody");
    assert!(matches!(missing, Err(PlatformError::Directory { .. })));
}

#[tokio::test]
async fn stopping_gives_up_a_query_without_end() {
    let mut house = House::new().await;
    house.sqlite(
        "endless.db",
        "CREATE TABLE t (a); INSERT INTO t VALUES (1);
         CREATE VIEW endless AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                                SELECT i FROM n WHERE i < 0;",
    );
    let id = house.connect("endless", "sqlite", json!({ "path": "endless.db", "table": "endless" })).await;
    let message = house.stop_during_sync(&id).await;
    assert!(message.contains("stopping"), "{message}");
}

#[tokio::test]
async fn a_cleanup_ends_the_sync_of_its_source_and_everything_else_goes_on() {
    use axum::{Json, Router, routing::get};
    let house = House::new().await;
    let (reached, open) = (std::sync::Arc::new(Notify::new()), std::sync::Arc::new(Notify::new()));
    let (at_gate, gate) = (reached.clone(), open.clone());
    let slow = move || async move {
        at_gate.notify_one();
        gate.notified().await;
        Json(json!([{ "n": 1 }]))
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/", get(slow))).await.unwrap() });

    house.write("a.csv", "n\n1\n");
    let slow = house.connect("slow", "api", json!({ "base_url": base })).await;
    let quick = house.connect("quick", "csv", json!({ "path": "a.csv" })).await;
    let ((), message) = tokio::join!(
        async {
            reached.notified().await;
            // The sync waits at the gate; other work continues.
            assert_eq!(house.sync(&quick, json!({})).await, 1);
            house.connect("another", "csv", json!({ "path": "a.csv" })).await;
            assert_eq!(house.list().await.len(), 3);
            assert_eq!(house.post("cleanup", &json!({ "source_ids": [quick] })).await.0, 200);
            // A cleanup of another workspace does not end it.
            let elsewhere =
                house.post_to("/api/v1/data/other/cleanup", &json!({ "source_ids": [slow] })).await;
            assert_eq!(elsewhere.1["data"]["deleted_count"], 0);
            let (_, removed) = house.post("cleanup", &json!({ "source_ids": [slow] })).await;
            assert_eq!(removed["data"]["deleted_count"], 1);
        },
        house.sync_failure(&slow),
    );
    assert!(message.contains("the source is cleaned up"), "{message}");
    assert_eq!(house.list().await.len(), 1);
    assert_eq!(house.storage().join("rows").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn rows_of_a_source_that_is_gone_are_swept_at_the_start() {
    let mut house = House::new().await;
    house.write("a.csv", "n\n1\n");
    let id = house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    house.sync(&id, json!({})).await;
    house.running.take().unwrap().stop().await;
    // Simulates a crash during a cleanup.
    let catalogue = rusqlite::Connection::open(house.storage().join("catalogue.db")).unwrap();
    catalogue.execute("DELETE FROM source", []).unwrap();
    drop(catalogue);
    house.start().await;
    assert_eq!(house.storage().join("rows").read_dir().unwrap().count(), 0);
}

#[tokio::test]
async fn a_storage_of_a_newer_version_is_left_alone() {
    let mut house = House::new().await;
    house.running.take().unwrap().stop().await;
    let catalogue = rusqlite::Connection::open(house.storage().join("catalogue.db")).unwrap();
    catalogue.pragma_update(None, "user_version", 99).unwrap();
    drop(catalogue);
    assert!(matches!(start(house.config()).await, Err(PlatformError::Newer { found: 99, .. })));
}
