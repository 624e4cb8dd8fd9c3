//! Tests that the rows in the local platform are those of the files.

use serde_json::{Value, json};
use std::collections::BTreeMap;
use wellspring::platform::{stored_rows, stored_table_rows};
use wellspring_testkit::Quickstart;

fn applied() -> Quickstart {
    let copy = Quickstart::copy();
    let finished = copy.wellspring(&["apply", "--yes"]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    copy
}

/// Syncs a source and returns the reported number of records.
#[track_caller]
fn records(copy: &Quickstart, source: &str) -> u64 {
    let answer = copy.json(&["sync", source]);
    assert_eq!(answer["syncs"].as_array().map(Vec::len), Some(1), "{answer}");
    assert_eq!(answer["syncs"][0]["outcome"], "done", "{answer}");
    answer["syncs"][0]["records"].as_u64().unwrap()
}

fn fleet(copy: &Quickstart) -> rusqlite::Connection {
    rusqlite::Connection::open(copy.tree.join("data/fleet.db")).unwrap()
}

#[test]
fn the_rows_of_a_csv_file_arrive_and_only_these() {
    let copy = applied();
    assert_eq!(records(&copy, "mobility/stations"), 12);
    let rows = stored_rows(&copy.storage(), "ws_mobility", "user", "stations").unwrap();
    let text = copy.tree.read("data/stations.csv");
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let told = |value: &Value| value.as_str().map_or_else(|| value.to_string(), ToOwned::to_owned);
    for (row, line) in rows.iter().zip(lines.clone()) {
        for (column, cell) in columns.iter().zip(line.split(',')) {
            assert_eq!(told(&row[column]), cell, "{row}");
        }
        assert_eq!(row.as_object().unwrap().len(), columns.len());
    }
    assert_eq!(rows.len(), lines.count());
    assert_eq!(records(&copy, "mobility/stations"), 12, "read anew, and not twice there");
    assert_eq!(stored_rows(&copy.storage(), "ws_mobility", "user", "stations").unwrap(), rows);
}

#[test]
fn the_rows_of_every_table_of_a_database_arrive() {
    let copy = applied();
    records(&copy, "mobility/fleet");
    let mut arrived: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (table, row) in stored_table_rows(&copy.storage(), "ws_mobility", "user", "fleet").unwrap() {
        arrived.entry(table).or_default().push(row);
    }
    assert_eq!(arrived.keys().collect::<Vec<_>>(), ["bikes", "trips"], "a view only repeats its tables");
    let database = fleet(&copy);
    for (table, rows) in &arrived {
        let mut query = database.prepare(&format!("SELECT * FROM {table}")).unwrap();
        let columns: Vec<String> = query.column_names().map(ToOwned::to_owned).collect();
        let mut there: Vec<String> = query
            .query_map([], |row| {
                let mut object = serde_json::Map::new();
                for (n, column) in columns.iter().enumerate() {
                    let value = match row.get_ref(n)? {
                        rusqlite::types::ValueRef::Null => Value::Null,
                        rusqlite::types::ValueRef::Integer(value) => json!(value),
                        rusqlite::types::ValueRef::Real(value) => json!(value),
                        rusqlite::types::ValueRef::Text(text) => json!(std::str::from_utf8(text).unwrap()),
                        rusqlite::types::ValueRef::Blob(_) => panic!("no blobs here"),
                    };
                    object.insert(column.clone(), value);
                }
                Ok(Value::Object(object).to_string())
            })
            .unwrap()
            .map(Result::unwrap)
            .collect();
        let mut rows: Vec<String> = rows.iter().map(ToString::to_string).collect();
        there.sort();
        rows.sort();
        assert_eq!(rows, there, "{table}");
    }
}

#[test]
fn an_incremental_sync_reports_the_two_new_rows() {
    let copy = applied();
    records(&copy, "workshop/repairs");
    assert_eq!(records(&copy, "workshop/repairs"), 0);
    let more = "{\"id\": 121, \"bike_id\": 1}\n{\"id\": 122, \"bike_id\": 2}\n";
    let text = copy.tree.read("data/repairs.jsonl");
    std::fs::write(copy.tree.join("data/repairs.jsonl"), text + more).unwrap();
    assert_eq!(records(&copy, "workshop/repairs"), 2);
    assert_eq!(stored_rows(&copy.storage(), "ws_workshop", "user", "repairs").unwrap().len(), 122);
    let history = copy.json(&["history"]);
    let counts: Vec<u64> =
        history["runs"].as_array().unwrap().iter().filter_map(|run| run["records"].as_u64()).collect();
    assert_eq!(counts, [2, 0, 120], "the newest first");
}

#[test]
fn an_incremental_sync_of_a_database_reads_the_new_rows_of_its_tables() {
    let copy = applied();
    records(&copy, "mobility/fleet");
    let trips = |copy: &Quickstart| {
        let rows = stored_table_rows(&copy.storage(), "ws_mobility", "user", "fleet").unwrap();
        rows.iter().filter(|(table, _)| table == "trips").count()
    };
    let before = trips(&copy);
    assert_eq!(records(&copy, "mobility/fleet"), 0);
    fleet(&copy)
        .execute_batch(
            "INSERT INTO trips (bike_id, from_station, to_station, started_at, minutes, fare_eur)
             VALUES (1, 'ST01', 'ST02', '2026-11-20T08:00:00', 10, 2.5),
                    (2, 'ST02', 'ST01', '2026-11-20T09:00:00', 12, 3)",
        )
        .unwrap();
    assert_eq!(records(&copy, "mobility/fleet"), 2);
    assert_eq!(trips(&copy), before + 2);
}

#[test]
fn a_full_sync_reads_everything_anew() {
    let copy = applied();
    records(&copy, "workshop/repairs");
    let answer = copy.json(&["sync", "--full", "workshop/repairs"]);
    assert_eq!(answer["syncs"][0]["records"], 120);
    assert_eq!(stored_rows(&copy.storage(), "ws_workshop", "user", "repairs").unwrap().len(), 120);
}

#[test]
fn what_is_due_is_synced_once() {
    let copy = applied();
    let first = copy.json(&["sync", "--due"]);
    assert_eq!(first["syncs"].as_array().map(Vec::len), Some(3), "apply leaves the first sync due: {first}");
    copy.edit("workspaces/mobility.toml", "every = \"30s\"", "every = \"1000h\"");
    copy.wellspring(&["apply", "-y"]);
    let second = copy.json(&["sync", "--due"]);
    assert_eq!(second["syncs"], json!([]));
}

#[test]
fn a_removed_source_takes_its_rows_along() {
    let copy = applied();
    records(&copy, "workshop/repairs");
    copy.tree.write("workspaces/workshop.toml", "sources = {}\n\n[workspace]\nuse = \"workshop\"\n");
    let refused = copy.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(refused.code, Some(2), "one may always go: {refused:#?}");
    let finished = copy.wellspring(&["apply", "-y"]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(stored_rows(&copy.storage(), "ws_workshop", "user", "repairs").is_err());
}

#[test]
fn a_sync_that_fails_says_so_and_the_others_arrive() {
    let copy = applied();
    copy.tree.remove("data/stations.csv");
    let finished = copy.wellspring(&["sync"]);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    assert!(finished.stdout.contains("✗ mobility/stations sync failed"), "{finished:#?}");
    assert!(finished.stdout.contains("✓ workshop/repairs synced: 120 records"), "{finished:#?}");
    assert!(finished.stdout.contains("✓ mobility/fleet synced"), "{finished:#?}");
}
