//! The account dialect, next to the contract on one port.

use serde_json::{Value, json};

use super::harness::{House, TOKEN};

const ACCOUNT: &str = "/jarvispy/acme/ana/api/v1";

fn csv(table: &str) -> Value {
    json!({ "database": { "databaseType": "csv", "host": "", "port": 0, "tables": [table] } })
}

/// Connects a file to an account, and returns the listed rows.
async fn connect(house: &House, account: &str, table: &str) -> Vec<Value> {
    let (code, answer) = house.post_to(&format!("{account}/data/connect"), &csv(table)).await;
    assert_eq!((code, &answer["data"]["connectionStatus"]), (200, &json!(true)), "{answer}");
    rows(house, account).await
}

async fn rows(house: &House, account: &str) -> Vec<Value> {
    let (code, answer) = house.get(&format!("{account}/data/list")).await;
    assert_eq!(code, 200, "{answer}");
    answer["data"].as_array().unwrap().clone()
}

#[tokio::test]
async fn accounts_and_workspaces_do_not_see_each_other() {
    let mut house = House::new().await;
    house.write("a.csv", "x\n1\n");
    let id = house.connect("a", "csv", json!({ "path": "a.csv", "password": "canary" })).await;
    assert_eq!(connect(&house, ACCOUNT, "a.csv").await.len(), 1);
    let own = connect(&house, "/api/v1", "a.csv").await;
    assert_eq!(own.len(), 1, "the account without a prefix is another");
    let foreign = json!({ "source_ids": [own[0]["id"]] });
    let (_, answer) = house.post_to(&format!("{ACCOUNT}/data/cleanup"), &foreign).await;
    assert_eq!(answer["data"]["deleted_count"], 0, "an id of another account is unknown");
    assert_eq!(
        house.list().await[0]["connection_config"]["password"],
        "***",
        "lists of the contract stay masked"
    );
    let all = json!({ "source_ids": null });
    let (_, answer) = house.post_to(&format!("{ACCOUNT}/data/cleanup"), &all).await;
    assert_eq!(answer["data"]["deleted_count"], 1);
    let (_, answer) = house.post_to("/api/v1/data/cleanup", &json!({ "source_ids": [id] })).await;
    assert_eq!(answer["data"]["deleted_count"], 0, "ids of workspaces are unknown here");
    house.restart().await;
    assert_eq!(house.list().await.len(), 1);
    assert_eq!(rows(&house, "/api/v1").await.len(), 1);
    let (_, answer) = house.post("cleanup", &all).await;
    assert_eq!(answer["data"]["deleted_count"], 1);
    assert_eq!(rows(&house, "/any/prefix/api/v1").await.len(), 1, "any other prefix means the same account");
    let (_, answer) = house.post_to("/api/v1/data/cleanup", &json!({ "source_ids": [] })).await;
    assert_eq!(answer["data"]["deleted_count"], 0, "an empty array names nothing");
}

#[tokio::test]
async fn every_response_names_the_dialects() {
    let house = House::new().await;
    for path in ["/api/v1/data/ws/list", "/api/v1/data/list", "/openapi.json", "/nowhere"] {
        let call = reqwest::Client::new().get(format!("{}{path}", house.base)).bearer_auth(TOKEN);
        let response = call.send().await.unwrap();
        assert_eq!(response.headers()["wellspring-dialects"], "contract, account", "{path}");
    }
}

#[tokio::test]
async fn what_is_not_served_is_named() {
    let house = House::new().await;
    for (path, missing) in [
        ("concepts/project/save", "concepts/project/save"),
        ("data/list-sheets", "data/list-sheets"),
        ("data/files/upload", "data/files/upload"),
        ("ontologies/snapshots/create", "ontologies/snapshots/create"),
    ] {
        let (code, answer) = house.post_to(&format!("{ACCOUNT}/{path}"), &json!({})).await;
        let said = answer["message"].as_str().unwrap();
        assert!(code == 501 && said.contains(&format!("has no {missing};")), "{code} {said}");
    }
}

#[tokio::test]
async fn malformed_databases_are_refused() {
    let house = House::new().await;
    for database in [
        json!("csv"),
        json!({}),
        json!({ "databaseType": 1 }),
        json!({ "databaseType": "csv", "port": null }),
        json!({ "databaseType": "csv", "port": 65536 }),
        json!({ "databaseType": "csv", "host": 1 }),
        json!({ "databaseType": "csv", "tables": "a.csv" }),
        json!({ "databaseType": "csv", "tables": [""] }),
        json!({ "databaseType": "csv", "options": [] }),
    ] {
        for endpoint in ["connect", "infer-schema"] {
            let path = format!("{ACCOUNT}/data/{endpoint}");
            let (code, answer) = house.post_to(&path, &json!({ "database": database.clone() })).await;
            assert_eq!((code, answer["status"].as_str()), (422, Some("error")), "{database}");
        }
    }
    assert_eq!(rows(&house, ACCOUNT).await.len(), 0);
}

#[tokio::test]
async fn only_files_of_the_data_directory_are_found() {
    let house = House::new().await;
    house.write("a.csv", "x\n1\n");
    house.write(".hidden.csv", "x\n1\n");
    house.write("b.json", "[]");
    std::fs::write(house.outside().join("secret.csv"), "x\n1\n").unwrap();
    std::os::unix::fs::symlink(house.outside().join("secret.csv"), house.data().join("link.csv")).unwrap();
    let path = format!("{ACCOUNT}/data/connect");
    let (_, answer) =
        house.post_to(&path, &json!({ "database": { "databaseType": "csv", "port": 0 } })).await;
    let sources = answer["data"]["sources"].as_array().unwrap();
    assert_eq!((sources.len(), &sources[0]["table_name"]), (1, &json!("a.csv")), "{answer}");
    for (host, table) in
        [("..", "secret.csv"), ("disk/..", "secret.csv"), ("/", "secret.csv"), ("", "link.csv")]
    {
        let database = json!({ "databaseType": "csv", "host": host, "port": 0, "tables": [table] });
        let (_, answer) = house.post_to(&path, &json!({ "database": database })).await;
        assert_eq!(answer["data"]["connectionStatus"], false, "{host} {table}: {answer}");
    }
    let remote = json!({ "databaseType": "csv", "host": "s3a://bucket/dir", "port": 0, "tables": ["a.csv"] });
    let (_, answer) = house.post_to(&path, &json!({ "database": remote })).await;
    assert!(answer["data"]["errorMessage"].as_str().unwrap().contains("object stores"), "{answer}");
}

#[tokio::test]
async fn ontologies_belong_to_their_account() {
    let house = House::new().await;
    let save = async |project: Value| {
        house.post_to(&format!("{ACCOUNT}/ontologies/save"), &json!({ "project": project })).await
    };
    let (_, answer) = save(json!({ "id": null, "name": "sales", "description": "of shops" })).await;
    let id = answer["data"]["ontology_id"].clone();
    let (_, answer) = save(json!({ "id": id, "name": "shops" })).await;
    assert_eq!(answer["data"]["ontology_id"], id);
    assert_eq!(save(json!({ "id": "unknown", "name": "shops" })).await.0, 404);
    let expected = json!([{ "id": id, "name": "shops", "description": "of shops" }]);
    assert_eq!(house.get(&format!("{ACCOUNT}/ontologies/list")).await.1["data"], expected);
    assert_eq!(house.get("/api/v1/ontologies/list").await.1["data"], json!([]));
    let export = json!({ "project_id": id });
    let (_, answer) = house.post_to(&format!("{ACCOUNT}/ontologies/export-ontology"), &export).await;
    assert_eq!(answer["data"]["tables"]["ontologies_local"]["data"], expected);
    assert_eq!(house.post_to("/api/v1/ontologies/export-ontology", &export).await.0, 404);
}

#[tokio::test]
async fn a_storage_without_accounts_gets_them() {
    let mut house = House::new().await;
    house.write("a.csv", "x\n1\n");
    house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    house.running.take().unwrap().stop().await;
    let catalogue = rusqlite::Connection::open(house.storage().join("catalogue.db")).unwrap();
    catalogue.execute_batch("DROP TABLE account_row; DROP TABLE ontology; PRAGMA user_version = 1").unwrap();
    drop(catalogue);
    house.start().await;
    assert_eq!(house.list().await.len(), 1);
    assert_eq!(connect(&house, ACCOUNT, "a.csv").await.len(), 1);
}
