//! Tests that a kill during a sync leaves the previous rows.

use serde_json::{Value, json};
use tempfile::TempDir;
use wellspring::platform::stored_rows;

use super::databases::{Database, Engine};
use super::harness::{TOKEN, reply};
use wellspring_testkit::{Running, Wellspring, until};

/// Starts `wellspring serve` in a directory; returns its address.
fn serve(place: &TempDir) -> (Running, String) {
    let serving = Wellspring::new()
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir", "state"])
        .env("PMTX_TOKEN", TOKEN)
        .dir(place.path())
        .spawn();
    serving.wait_for_line("# Listening on ");
    let url = serving.stdout().lines().next().unwrap().rsplit(' ').next().unwrap().to_owned();
    (serving, url)
}

async fn post(url: &str, endpoint: &str, body: &Value) -> Value {
    let call = reqwest::Client::new().post(format!("{url}/api/v1/data/ws/{endpoint}"));
    reply(call.bearer_auth(TOKEN).json(body)).await.1
}

#[tokio::test]
async fn a_sync_that_is_killed_changes_nothing_and_the_next_one_works() {
    let place = tempfile::tempdir().unwrap();
    let storage = place.path().join("state/platform");
    let database = Database::new(Engine::Postgres).await;
    // The first state has three rows; the second has many, followed by one that never arrives.
    database.sql("CREATE VIEW v AS SELECT n, '' AS filler, NULL AS wait FROM generate_series(1, 3) n").await;
    let (serving, url) = serve(&place);
    let config = database.config(json!({ "tables": ["v"] }));
    let source = json!({ "type": "postgresql", "name": "orders", "connection_config": config });
    let answer = post(&url, "connect", &json!({ "sources": [source] })).await;
    let id = answer["data"]["connected_sources"][0]["id"].as_str().unwrap().to_owned();
    assert_eq!(post(&url, "sync", &json!({})).await["data"]["records_processed"], 3);
    let before = stored_rows(&storage, "ws", "user", "orders").unwrap();
    assert_eq!(before.len(), 3);

    database
        .sql(
            "CREATE OR REPLACE VIEW v AS SELECT n, repeat('x', 2000) AS filler,
             CASE WHEN n = 10000 THEN pg_sleep(600)::text END AS wait FROM generate_series(1, 10000) n",
        )
        .await;
    let call = tokio::spawn({
        let url = url.clone();
        async move {
            let call = reqwest::Client::new().post(format!("{url}/api/v1/data/ws/sync"));
            call.bearer_auth(TOKEN).json(&json!({ "sync_options": { "batch_size": 100 } })).send().await
        }
    });
    let log = storage.join(format!("rows/{id}.db-wal"));
    let written = move || log.metadata().is_ok_and(|log| log.len() > 4 << 20);
    tokio::task::spawn_blocking(move || {
        until("the sync has written much", written);
        serving.signal("KILL");
        serving.finish();
    })
    .await
    .unwrap();
    assert!(call.await.unwrap().is_err(), "nobody answers any more");
    assert_eq!(stored_rows(&storage, "ws", "user", "orders").unwrap(), before);

    let (_serving, url) = serve(&place);
    assert_eq!(stored_rows(&storage, "ws", "user", "orders").unwrap(), before);
    database
        .sql("CREATE OR REPLACE VIEW v AS SELECT n, '' AS filler, NULL AS wait FROM generate_series(1, 5) n")
        .await;
    let answer = post(&url, "sync", &json!({ "source_ids": [id] })).await;
    assert_eq!(answer["data"]["sources"][0]["rows_stored"], 5, "{answer}");
}
