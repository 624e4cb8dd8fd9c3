//! The requests the contract shows, as they stand there.

use serde_json::{Value, json};

use super::harness::{House, TOKEN, reply};

const PREFIX: &str = "/jarvispy/my-org/my-user/api/v1/data/workspace_id";

fn example_sources() -> Value {
    json!([
        {
            "type": "database",
            "name": "customer_db",
            "connection_config": {
                "host": "db.example.com", "port": 5432, "database": "customers",
                "username": "user", "password": "password"
            },
            "metadata": { "description": "Customer database connection" }
        },
        {
            "type": "api",
            "name": "sales_api",
            "connection_config": { "base_url": "https://api.sales.com", "api_key": "your_api_key" }
        }
    ])
}

#[tokio::test]
async fn connect_list_schema_and_cleanup_take_the_examples() {
    let house = House::new().await;
    let (code, answer) = house
        .post_to(&format!("{PREFIX}/connect"), &json!({ "scope": "user", "sources": example_sources() }))
        .await;
    assert_eq!((code, answer["status"].as_str()), (200, Some("success")));
    let connected = answer["data"]["connected_sources"].as_array().unwrap();
    let names: Vec<_> = connected.iter().map(|source| source["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["customer_db", "sales_api"]);
    assert_eq!(connected[0]["type"], "database");
    assert_eq!(connected[0]["id"], connected[0]["source_id"]);

    let (code, answer) = house.get(&format!("{PREFIX}/list?scope=user")).await;
    assert_eq!(code, 200);
    let row = &answer["data"][0];
    assert_eq!(
        (&row["name"], &row["type"], &row["scope"]),
        (&json!("customer_db"), &json!("database"), &json!("user"))
    );
    assert_eq!(row["connection_config"]["password"], "***");
    assert_eq!(row["connection_config"]["host"], "db.example.com");
    assert_eq!(row["metadata"]["description"], "Customer database connection");
    assert_eq!(row["last_sync"], Value::Null);
    assert_eq!(answer["data"][1]["connection_config"]["api_key"], "***");

    let id = row["id"].as_str().unwrap();
    let (code, answer) = house.get(&format!("{PREFIX}/schema?source_id={id}&scope=user")).await;
    assert_eq!((code, answer["status"].as_str()), (200, Some("error")));
    assert!(answer["message"].as_str().unwrap().contains("PostgreSQL at db.example.com:5432: "));

    let ids = json!({ "scope": "user", "source_ids": [id, "source_456"] });
    let (code, answer) = house.post_to(&format!("{PREFIX}/cleanup"), &ids).await;
    assert_eq!((code, answer["status"].as_str()), (200, Some("success")));
    assert_eq!(answer["data"], json!({ "deleted_count": 1, "not_found": 1 }));

    // Without ids everything goes, as the contract says.
    let (_, answer) = house.post_to(&format!("{PREFIX}/cleanup"), &json!({ "scope": "user" })).await;
    assert_eq!(answer["data"]["deleted_count"], 1);
}

#[tokio::test]
async fn sync_takes_the_examples_and_unknown_ids_are_not_found() {
    let house = House::new().await;
    let body = json!({
        "scope": "user", "source_ids": ["source_123", "source_456"],
        "sync_options": { "incremental": true, "batch_size": 1000 }
    });
    let (code, answer) = house.post_to(&format!("{PREFIX}/sync"), &body).await;
    assert_eq!((code, answer["status"].as_str()), (404, Some("error")));
    assert_eq!(answer["data"]["errors"].as_array().unwrap().len(), 2);

    let (code, answer) = house.post_to(&format!("{PREFIX}/sync"), &json!({ "scope": "user" })).await;
    assert_eq!((code, answer["data"]["records_processed"].as_u64()), (200, Some(0)));

    let (code, _) = house.get(&format!("{PREFIX}/schema?source_id=source_123&scope=user")).await;
    assert_eq!(code, 404);
}

#[tokio::test]
async fn test_connection_takes_the_example_and_says_what_failed() {
    let house = House::new().await;
    let source_config = json!({
        "type": "database",
        "connection_config": {
            "host": "db.example.com", "port": 5432, "database": "customers",
            "username": "user", "password": "password"
        }
    });
    let (code, answer) =
        house.post_to(&format!("{PREFIX}/test-connection"), &json!({ "source_config": source_config })).await;
    assert_eq!((code, answer["status"].as_str()), (200, Some("error")));
    assert!(answer["message"].as_str().unwrap().starts_with("PostgreSQL at db.example.com:5432: "));
}

#[tokio::test]
async fn empty_ids_mean_all_and_unknown_fields_are_ignored() {
    let house = House::new().await;
    house.write("a.csv", "x\n1\n");
    house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    house.connect("b", "csv", json!({ "path": "a.csv" })).await;
    let (_, answer) = house.post("sync", &json!({ "source_ids": [], "surprise": 1 })).await;
    assert_eq!(answer["data"]["records_processed"], 2);
    let (_, answer) = house.post("cleanup", &json!({ "source_ids": [] })).await;
    assert_eq!(answer["data"]["deleted_count"], 2);
}

#[tokio::test]
async fn only_the_bearer_of_the_token_comes_in() {
    let house = House::new().await;
    let url = format!("{}/api/v1/data/ws/list", house.base);
    let client = reqwest::Client::new();
    for call in [
        client.get(&url),
        client.get(&url).bearer_auth("another"),
        client.get(&url).bearer_auth(""),
        client.get(&url).header("authorization", TOKEN),
        client.get(&url).basic_auth("user", Some(TOKEN)),
        client.get(format!("{}/nowhere", house.base)),
    ] {
        let (code, answer) = reply(call).await;
        assert_eq!((code, answer["status"].as_str()), (401, Some("error")));
    }
    assert_eq!(reply(client.get(&url).header("authorization", format!("bearer {TOKEN}"))).await.0, 200);
    assert_eq!(reply(client.get(format!("{}/healthz", house.base))).await.0, 200);
}
