//! The platform's bridge for the Model Context Protocol.

use serde_json::{Value, json};

use super::harness::Place;
use crate::platform::harness::TOKEN;

#[test]
fn the_bridge_lists_previews_and_deletes() {
    let Some(place) = Place::start(&[]) else { return };
    place.write("a.csv", "id,name\n1,Ann\n");
    place.write("b.csv", "id,name\n2,Bob\n");
    let sdk = place.sdk("0.4.12");
    sdk.connect(json!({ "database_type": "csv", "port": 0 }));
    let bind = sdk.list()[0]["bind_annotation"].clone();
    let variables = [
        ("PROMETHEUX_URL", place.base()),
        ("PROMETHEUX_TOKEN", TOKEN),
        ("PROMETHEUX_ORGANIZATION", "acme"),
        ("PROMETHEUX_USERNAME", "ana"),
    ];
    let calls = json!([
        ["list_data_sources", {}],
        ["preview_data_source", { "bind_annotation": bind }],
        ["delete_data_source", { "bind_annotation": bind }],
        ["delete_data_source", { "bind_annotation": bind }],
        ["no_tool", {}],
    ]);
    let seen = place.script("bridge.py", &variables, &calls);
    assert!(seen["instructions"].as_str().unwrap().contains("local platform"), "{seen}");
    assert_eq!(seen["tools"], json!(["list_data_sources", "preview_data_source", "delete_data_source"]));
    let answer =
        |index: usize| -> Value { serde_json::from_str(seen["answers"][index].as_str().unwrap()).unwrap() };
    assert_eq!(answer(0).as_array().unwrap().len(), 2);
    assert_eq!(answer(1)["rows"], json!([{ "id": "1", "name": "Ann" }]));
    assert_eq!(answer(2)["deleted_count"], 1);
    assert!(answer(3)["error"].is_string() && answer(4)["error"].is_string(), "{seen}");
    let left = sdk.list();
    assert_eq!((left.len(), &left[0]["table_name"]), (1, &json!("b.csv")));
}
