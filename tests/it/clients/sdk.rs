//! The platform's SDK in four releases.

use serde_json::{Value, json};

use super::harness::{Place, field};
use crate::platform::databases::{BOTH, Database};

const ORDERS: &str = "CREATE TABLE orders (id INTEGER PRIMARY KEY, name TEXT);
                      INSERT INTO orders VALUES (1, 'one'), (2, 'two');
                      CREATE TABLE items (id INTEGER PRIMARY KEY)";

fn sqlite(more: Value) -> Value {
    with(json!({ "database_type": "sqlite", "port": 0, "database_name": "shop.db" }), more)
}

/// Adds fields to an object.
fn with(mut object: Value, more: Value) -> Value {
    let Value::Object(more) = more else { panic!("no fields: {more}") };
    object.as_object_mut().unwrap().extend(more);
    object
}

#[test]
fn release_0_2_10_connects_sources_of_its_workspace() {
    let Some(place) = Place::start(&[]) else { return };
    place.sqlite("shop.db", ORDERS);
    let sdk = place.sdk("0.2.10");
    let in_workspace = |id: &str, more: Value| with(json!({ "workspace_id": id }), more);
    let list = |id: &str| sdk.call("list_sources", in_workspace(id, json!({}))).as_array().unwrap().clone();
    assert_eq!(list("one").len(), 0);
    // This release has no default values.
    let login = json!({ "username": null, "password": "canary-password", "host": "" });
    let database = sqlite(login.clone());
    let connected =
        sdk.call("connect_sources", in_workspace("one", json!({ "database_payload": database.clone() })));
    assert_eq!(connected["connectionStatus"], true, "{connected}");
    let rows = list("one");
    assert_eq!(field(&rows, "name"), ["items", "orders"]);
    assert_eq!(list("two").len(), 0);
    let binds = sdk.call("infer_schema", json!({ "database": database }))["binds"].take();
    assert_eq!(binds.as_array().unwrap().len(), 2);
    let first = json!({ "source_ids": [rows[0]["id"]] });
    sdk.call("cleanup_sources", in_workspace("one", first));
    assert_eq!(field(&list("one"), "name"), ["orders"]);
    // Accounts do not see sources of workspaces.
    assert_eq!(place.sdk("0.4.12").list().len(), 0);
    let mut stranger = place.sdk("0.2.10");
    stranger.token = "wrong";
    let refusal = stranger.failure("list_sources", in_workspace("one", json!({})));
    assert!(refusal.contains("Unauthorized"), "{refusal}");
}

#[test]
fn release_0_2_14_meets_each_reaction_to_a_taken_address() {
    for (options, rows, keeps_ids) in [
        (&[][..], 2, true),
        (&["--on-conflict", "replace"], 1, true),
        (&["--on-conflict", "reject"], 1, true),
    ] {
        let Some(place) = Place::start(options) else { return };
        place.sqlite("shop.db", ORDERS);
        let sdk = place.sdk("0.2.14");
        let orders = sqlite(json!({ "tables": ["orders"] }));
        sdk.connect(orders.clone());
        let before = sdk.list();
        let again = sdk.outcome("connect_sources", json!({ "database_payload": orders }));
        assert_eq!(again["raised"].is_string(), options.contains(&"reject"), "{again}");
        let after = sdk.list();
        assert_eq!(after.len(), rows, "{options:?}");
        assert_eq!(field(&after, "id").contains(&field(&before, "id")[0]), keeps_ids);
        sdk.connect(sqlite(json!({ "tables": ["items"] })));
        sdk.call("cleanup_sources", json!({ "source_ids": field(&after, "id") }));
        assert_eq!(field(&sdk.list(), "table_name"), ["items"], "the others are still there");
        sdk.call("cleanup_sources", json!({ "source_ids": ["unknown"] }));
        assert_eq!(sdk.list().len(), 1);
        sdk.call("cleanup_sources", json!({}));
        assert_eq!(sdk.list().len(), 0, "no ids mean all");
    }
}

#[test]
fn release_0_3_4_refreshes_away_what_cannot_be_read() {
    let Some(place) = Place::start(&[]) else { return };
    place.write("reports/a.csv", "id,name\n1,Ann\n");
    place.write("reports/b.csv", "id,name\n1,Ann\n");
    let sdk = place.sdk("0.3.4");
    let connected = sdk.connect(json!({ "database_type": "csv", "host": "reports", "port": 0 }));
    assert_eq!(connected["sources"].as_array().unwrap().len(), 2, "{connected}");
    std::fs::remove_file(place.data("reports/b.csv")).unwrap();
    let answer = sdk.call("client.refresh_sources", json!({}));
    assert_eq!(answer["status"], "success", "{answer}");
    assert_eq!(field(answer["data"].as_array().unwrap(), "table_name"), ["a.csv"]);
    assert_eq!(field(answer["failed_datasources"].as_array().unwrap(), "table_name"), ["b.csv"]);
    assert_eq!(field(&sdk.list(), "table_name"), ["a.csv"]);
}

#[test]
fn release_0_4_12_reads_files_and_learns_what_is_missing() {
    let Some(place) = Place::start(&[]) else { return };
    place.write("reports/a.csv", "id;name\n1;Ann\n2;Bob\n");
    place.sqlite("shop.db", ORDERS);
    let sdk = place.sdk("0.4.12");
    let options = json!({ "useHeaders": "true", "delimiter": ";" });
    sdk.connect(json!({
        "database_type": "csv", "host": "disk/reports", "port": 0, "tables": ["a.csv"], "options": options,
    }));
    sdk.connect(sqlite(json!({})));
    let rows = sdk.list();
    assert_eq!(field(&rows, "table_name"), ["a.csv", "items", "orders"]);
    assert_eq!(field(&rows, "host"), ["disk/reports", "disk", "disk"]);
    let preview = |row: usize, more: Value| {
        let arguments = with(json!({ "bind_annotation": rows[row]["bind_annotation"] }), more);
        sdk.call("preview_datasource", arguments)["rows"].take()
    };
    assert_eq!(preview(0, json!({})), json!([{ "id": "1", "name": "Ann" }, { "id": "2", "name": "Bob" }]));
    assert_eq!(preview(2, json!({ "limit": 1 })), json!([{ "id": 1, "name": "one" }]));
    assert_eq!(preview(2, json!({ "page": 2, "page_size": 1 })), json!([{ "id": 2, "name": "two" }]));
    let inferred = sdk.call("infer_schema", json!({ "database": sqlite(json!({})), "add_model": true }));
    assert_eq!(inferred["models"][1], r#"@model("orders", "['id:int', 'name:string']")."#);
    for empty in ["list_demo_sources", "list_files", "list_ontologies"] {
        assert_eq!(sdk.call(empty, json!({})), json!([]), "{empty}");
    }
    for (function, arguments, missing) in [
        ("make_directory", json!({ "path": "new" }), "no data/files/mkdir"),
        ("all_pairs_join", json!({ "database_payloads": [] }), "no data/all-pairs-join"),
        ("list_concepts", json!({ "ontology_id": "o" }), "no concepts/o/list"),
        ("connect_sources", json!({ "database_payload": sqlite(json!({ "query": "SELECT 1" })) }), "query"),
    ] {
        let said = sdk.failure(function, arguments);
        assert!(said.contains("501") && said.contains(missing), "{function}: {said}");
    }
    let null = sdk.failure("connect_sources", json!({ "database_payload": sqlite(json!({ "port": null })) }));
    assert!(null.contains("422") && null.contains("port"), "{null}");
    let unknown = sdk.connect(json!({ "database_type": "snowflake", "port": 0 }));
    assert_eq!(unknown["connectionStatus"], false);
    assert!(unknown["errorMessage"].as_str().unwrap().contains("no local connector for \"snowflake\""));
    let mut other = place.sdk("0.4.12");
    other.account = "/jarvispy/acme/bo";
    assert_eq!(other.list().len(), 0, "each account has its own rows");
}

#[tokio::test]
async fn release_0_4_12_connects_database_servers() {
    for engine in BOTH {
        let database = Database::new(engine).await;
        database.sql("CREATE TABLE orders (id integer PRIMARY KEY, name varchar(9))").await;
        database.sql("INSERT INTO orders VALUES (1, 'one')").await;
        let Some(place) = Place::start(&[]) else { return };
        let sdk = place.sdk("0.4.12");
        let config = database.config(json!({}));
        let with = |password: &str, tables: Value| {
            json!({
                "database_type": database.kind(), "host": config["host"], "port": config["port"],
                "database_name": database.name(), "username": config["username"], "password": password,
                "tables": tables,
            })
        };
        let refused = sdk.connect(with("wrong", Value::Null));
        assert_eq!(refused["connectionStatus"], false, "{refused}");
        assert!(refused["errorMessage"].as_str().unwrap().contains("authentication"), "{refused}");
        assert_eq!(sdk.list().len(), 0);
        let missing = sdk.connect(with(database.password(), json!(["nothing"])));
        assert_eq!(missing["connectionStatus"], false, "{missing}");
        let full = format!("{}.orders", database.name());
        sdk.connect(with(database.password(), json!([full])));
        sdk.connect(with(database.password(), Value::Null));
        let rows = sdk.list();
        assert_eq!(field(&rows, "table_name"), [full.as_str(), "orders"]);
        for row in &rows {
            let bind = row["bind_annotation"].as_str().unwrap();
            assert!(bind.contains(&format!("password='{}'", database.password())), "{bind}");
            let preview = sdk.call("preview_datasource", json!({ "bind_annotation": bind }));
            assert_eq!(preview["rows"], json!([{ "id": 1, "name": "one" }]));
        }
        let inferred = sdk.call(
            "infer_schema",
            json!({ "database": with(database.password(), json!([full])), "add_model": true }),
        );
        assert_eq!(inferred["binds"][0], rows[0]["bind_annotation"]);
        assert_eq!(inferred["models"][0], r#"@model("orders", "['id:int', 'name:string']")."#);
        let failed = sdk.failure("infer_schema", json!({ "database": with("wrong", Value::Null) }));
        assert!(failed.contains("authentication") && !failed.contains("'wrong'"), "{failed}");
    }
}
