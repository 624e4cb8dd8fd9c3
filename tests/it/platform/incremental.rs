//! Tests of incremental syncs: new rows only, or everything in case of doubt.

use serde_json::json;

use super::harness::{House, incremental};

#[tokio::test]
async fn two_new_lines_are_two_records() {
    let house = House::new().await;
    for (name, first, more, changed) in [
        ("a.csv", "n\n1\n2\n", "3\n4\n", "n\n9\n2\n3\n4\n5\n"),
        ("open.csv", "n\n1\n2", "\n3\n4", "n\n1\n23\n4\n"),
        ("dos.csv", "n\r\n1\r\n2", "\r\n3\r\n4\r\n", "n\r\n1\r\n"),
        ("a.jsonl", "{\"n\":1}\n{\"n\":2}\n", "{\"n\":3}\n{\"n\":4}\n", "{\"n\":1}\n"),
        ("open.jsonl", "{\"n\":1}\n{\"n\":2}", "\n{\"n\":3}\n{\"n\":4}\n", "{\"n\":5}\n{\"n\":2}\n"),
    ] {
        house.write(name, first);
        let id = house.connect(name, "file", json!({ "path": name })).await;
        assert_eq!(house.sync(&id, incremental()).await, 2, "{name}: the first takes all");
        assert_eq!(house.sync(&id, incremental()).await, 0, "{name}: nothing is new");
        house.append(name, more);
        assert_eq!(house.sync(&id, incremental()).await, 2, "{name}: two are new");
        assert_eq!(house.rows(name).len(), 4, "{name}");
        // The counter restarts: the earlier part differs, so everything is read again.
        house.write(name, changed);
        let taken = house.sync(&id, incremental()).await;
        assert_eq!(house.rows(name).len() as u64, taken, "{name}: the old rows are replaced");
    }
}

#[tokio::test]
async fn a_last_line_that_goes_on_takes_the_place_of_what_was_stored() {
    let house = House::new().await;
    house.write("a.csv", "n\n1\n2");
    let id = house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    house.sync(&id, incremental()).await;
    house.append("a.csv", "3\n");
    assert_eq!(house.sync(&id, incremental()).await, 1);
    assert_eq!(house.rows("a"), [json!({ "n": "1" }), json!({ "n": "23" })]);
}

#[tokio::test]
async fn two_new_rows_of_sqlite_are_two_records() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE keyed (id INTEGER PRIMARY KEY, v); INSERT INTO keyed VALUES (1, 'a'), (2, 'b');
         CREATE TABLE plain (v); INSERT INTO plain VALUES ('a'), ('a');
         CREATE TABLE text_key (k TEXT PRIMARY KEY) WITHOUT ROWID; INSERT INTO text_key VALUES ('z');
         CREATE TABLE empty (v);",
    );
    let id = house.connect("a", "sqlite", json!({ "path": "a.db" })).await;
    assert_eq!(house.sync(&id, incremental()).await, 5);
    assert_eq!(house.sync(&id, incremental()).await, 0);
    house.sqlite("a.db", "INSERT INTO keyed VALUES (10, 'c'); INSERT INTO text_key VALUES ('b')");
    assert_eq!(house.sync(&id, incremental()).await, 2);
    house.sqlite("a.db", "INSERT INTO plain VALUES ('a'); INSERT INTO empty VALUES (1)");
    assert_eq!(house.sync(&id, incremental()).await, 2);
    assert_eq!(house.rows("a").len(), 9);

    // The last row was removed and its key reused, so the table is read again.
    house.sqlite("a.db", "DELETE FROM keyed WHERE id = 10; INSERT INTO keyed VALUES (10, 'another')");
    assert_eq!(house.sync(&id, incremental()).await, 3);
    let keyed: Vec<_> = house.table_rows("a").into_iter().filter(|(table, _)| table == "keyed").collect();
    assert_eq!(keyed.len(), 3);
    assert_eq!(keyed[2].1["v"], "another");
}

#[tokio::test]
async fn a_cursor_tells_what_is_new() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at TEXT);
         INSERT INTO t VALUES (1, '2026-01-01'), (2, '2026-01-02'), (3, NULL)",
    );
    house.write("a.json", r#"[{"id": 1, "at": 10}, {"id": 2, "at": 20}]"#);
    let table = house.connect("table", "sqlite", json!({ "path": "a.db" })).await;
    let document = house.connect("document", "json", json!({ "path": "a.json" })).await;
    let at = || json!({ "incremental": true, "cursor": "at" });
    assert_eq!(house.sync(&table, at()).await, 3);
    assert_eq!(house.sync(&document, at()).await, 2);

    // One at the mark, one changed, and one before the mark, which is therefore not new.
    house.sqlite(
        "a.db",
        "UPDATE t SET at = '2026-01-05' WHERE id = 1;
         INSERT INTO t VALUES (4, '2026-01-02'), (5, '2025-01-01')",
    );
    assert_eq!(house.sync(&table, at()).await, 2);
    // The changed row keeps its position.
    let expected =
        [(1, json!("2026-01-05")), (2, json!("2026-01-02")), (3, json!(null)), (4, json!("2026-01-02"))];
    let mut rows = house.rows("table");
    rows.sort_by_key(|row| row["id"].as_i64());
    assert_eq!(rows, expected.map(|(id, at)| json!({ "id": id, "at": at })));
    house.write(
        "a.json",
        r#"[{"id": 2, "at": 20}, {"id": 3, "at": 20}, {"id": 4, "at": 5}, {"id": 5, "at": 30}]"#,
    );
    assert_eq!(house.sync(&document, at()).await, 2);
    assert_eq!(house.sync(&document, at()).await, 0);

    let failing = json!({ "source_ids": [table], "sync_options": { "cursor": "nowhere" } });
    let (_, answer) = house.post("sync", &failing).await;
    let message = answer["data"]["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("no table has the cursor column \"nowhere\""), "{message}");
}

#[tokio::test]
async fn records_of_a_document_are_told_apart_by_key_or_content() {
    let house = House::new().await;
    house.write("a.json", r#"[{"id": 1, "v": "a"}, {"id": 2, "v": "b"}]"#);
    let content = house.connect("content", "json", json!({ "path": "a.json" })).await;
    let keyed = house.connect("keyed", "json", json!({ "path": "a.json", "key": "id" })).await;
    house.sync(&content, incremental()).await;
    house.sync(&keyed, incremental()).await;
    house.write("a.json", r#"[{"id": 3, "v": "c"}, {"id": 2, "v": "changed"}, {"v": "a", "id": 1}]"#);
    assert_eq!(house.sync(&content, incremental()).await, 2);
    assert_eq!(house.rows("content").len(), 4, "what a changed record held stays where no key names it");
    assert_eq!(house.sync(&keyed, incremental()).await, 2);
    let expected = [(1, "a"), (2, "changed"), (3, "c")].map(|(id, v)| json!({ "id": id, "v": v }));
    assert_eq!(house.rows("keyed"), expected);
}

#[tokio::test]
async fn a_full_sync_and_a_new_definition_take_all() {
    let house = House::new().await;
    house.write("a.csv", "n\n1\n2\n");
    house.write("b.csv", "n\n3\n");
    let id = house.connect("a", "csv", json!({ "path": "a.csv" })).await;
    house.sync(&id, incremental()).await;
    assert_eq!(house.sync(&id, json!({})).await, 2);
    assert_eq!(house.rows("a").len(), 2);
    house.connect("a", "csv", json!({ "path": "b.csv" })).await;
    assert_eq!(house.sync(&id, incremental()).await, 1);
    assert_eq!(house.rows("a"), [json!({ "n": "3" })]);
}
