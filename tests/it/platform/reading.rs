//! Tests that rows are read exactly.

use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::json;

use super::harness::{House, Served};

#[tokio::test]
async fn csv_rows_arrive_as_they_are_written() {
    let house = House::new().await;
    house.write(
        "orders.csv",
        "\u{feff}id,note,note,\n007,\"a \"\"quoted\"\"\nline\",,x\n8,naïve,\" \",12345678901234567890.10\n",
    );
    let id = house.connect("orders", "file", json!({ "path": "orders.csv" })).await;
    assert_eq!(house.sync(&id, json!({})).await, 2);
    assert_eq!(
        house.table_rows("orders"),
        [
            json!({ "id": "007", "note": "a \"quoted\"\nline", "note_2": "", "column4": "x" }),
            json!({ "id": "8", "note": "naïve", "note_2": " ", "column4": "12345678901234567890.10" }),
        ]
        .map(|row| ("orders".to_owned(), row))
    );
    let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
    let columns = answer["data"]["tables"][0]["columns"].as_array().unwrap();
    assert_eq!(columns[0], json!({ "name": "id", "type": "text" }));
    assert_eq!(columns.len(), 4);
}

#[tokio::test]
async fn csv_options_are_heeded() {
    let house = House::new().await;
    house.write("a.txt", "1;2\n3;4");
    let config = json!({
        "path": "a.txt", "format": "csv", "delimiter": ";", "has_header": false, "table": "pairs"
    });
    let id = house.connect("a", "file", config).await;
    assert_eq!(house.sync(&id, json!({})).await, 2);
    let rows = [json!({ "column1": "1", "column2": "2" }), json!({ "column1": "3", "column2": "4" })];
    assert_eq!(house.table_rows("a"), rows.map(|row| ("pairs".to_owned(), row)));
}

#[tokio::test]
async fn every_sqlite_type_arrives() {
    let house = House::new().await;
    house.sqlite(
        "all.db",
        "CREATE TABLE \"every \"\"type\" (id INTEGER PRIMARY KEY, i, r REAL, t TEXT, b BLOB, n, d DECIMAL(30, 10),
                                         at TIMESTAMP NOT NULL, twice GENERATED ALWAYS AS (id * 2));
         INSERT INTO \"every \"\"type\" VALUES
             (1, 9223372036854775807, 0.1, 'è', x'00ff', NULL, '12345678901234567890.0123456789x', '2026-01-02T03:04:05Z'),
             (-2, -9223372036854775808, 9e999, '', x'', 1.0, 5, 'now');
         CREATE TABLE by_text (code TEXT PRIMARY KEY, v) WITHOUT ROWID;
         INSERT INTO by_text VALUES ('b', 1), ('a', CAST(x'ff' AS TEXT));
         CREATE TABLE taken (rowid TEXT, _rowid_ TEXT, v);
         INSERT INTO taken VALUES ('x', 'y', 1);
         CREATE VIEW codes AS SELECT code FROM by_text;",
    );
    let id = house.connect("all", "database", json!({ "path": "all.db" })).await;
    assert_eq!(house.sync(&id, json!({ "batch_size": 1 })).await, 5);
    let row = |table: &str, row| (table.to_owned(), row);
    assert_eq!(
        house.table_rows("all"),
        [
            row("by_text", json!({ "code": "a", "v": { "$base64": "/w==" } })),
            row("by_text", json!({ "code": "b", "v": 1 })),
            row(
                "every \"type",
                json!({ "id": -2, "i": i64::MIN, "r": "inf", "t": "", "b": { "$base64": "" }, "n": 1.0,
                        "d": 5, "at": "now", "twice": -4 })
            ),
            row(
                "every \"type",
                json!({ "id": 1, "i": i64::MAX, "r": 0.1, "t": "è", "b": { "$base64": "AP8=" }, "n": null,
                        "d": "12345678901234567890.0123456789x", "at": "2026-01-02T03:04:05Z", "twice": 2 })
            ),
            row("taken", json!({ "rowid": "x", "_rowid_": "y", "v": 1 })),
        ]
    );

    let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
    let tables = answer["data"]["tables"].as_array().unwrap();
    let names: Vec<_> = tables.iter().map(|table| (table["name"].as_str(), table["type"].as_str())).collect();
    assert_eq!(
        names,
        [
            (Some("by_text"), Some("table")),
            (Some("codes"), Some("view")),
            (Some("every \"type"), Some("table")),
            (Some("taken"), Some("table")),
        ]
    );
    let columns = &tables[2]["columns"];
    assert_eq!(
        columns[0],
        json!({ "name": "id", "type": "INTEGER", "nullable": false, "primary_key": true })
    );
    assert_eq!(
        columns[6],
        json!({ "name": "d", "type": "DECIMAL(30, 10)", "nullable": true, "primary_key": false })
    );
    assert_eq!(columns[7]["nullable"], false);

    // A view is read if it is listed.
    let id = house.connect("codes", "sqlite", json!({ "path": "all.db", "tables": ["codes"] })).await;
    assert_eq!(house.sync(&id, json!({})).await, 2);
    let (_, answer) = house.test("sqlite", json!({ "path": "all.db" })).await;
    assert_eq!(answer["status"], "success", "{answer}");
}

#[tokio::test]
async fn a_sqlite_file_in_use_is_read_as_it_is() {
    let house = House::new().await;
    let writer = rusqlite::Connection::open(house.data().join("live.db")).unwrap();
    writer.execute_batch("PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)").unwrap();
    let id = house.connect("live", "sqlite", json!({ "path": "live.db" })).await;
    writer.execute_batch("BEGIN; INSERT INTO t VALUES (2)").unwrap();
    assert_eq!(house.sync(&id, json!({})).await, 1);
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(house.sync(&id, json!({})).await, 2);
}

#[tokio::test]
async fn json_records_arrive_without_rounding() {
    let house = House::new().await;
    let rows = [
        json!({ "id": 9_007_199_254_740_993_i64, "price": "1234567890123456789.99", "deep": { "a": [1, null, true] } }),
        json!({ "id": 2, "extra": "π" }),
        json!({ "value": 3 }),
    ];
    house.write(
        "doc.json",
        r#"{"meta": {"items": 1}, "data": {"items": [
            {"id": 9007199254740993, "price": 1234567890123456789.99, "deep": {"a": [1, null, true]}},
            {"id": 2, "extra": "\u03c0"}, 3]}}"#,
    );
    house.write(
        "lines.jsonl",
        "{\"id\": 9007199254740993, \"price\": 1234567890123456789.99, \"deep\": {\"a\": [1, null, true]}}\r\n\n\
         {\"id\": 2, \"extra\": \"π\"}\n3",
    );
    let document = json!({ "path": "doc.json", "records": "/data/items" });
    for (name, kind, config) in
        [("doc", "json", document), ("lines", "file", json!({ "path": "lines.jsonl" }))]
    {
        let id = house.connect(name, kind, config).await;
        assert_eq!(house.sync(&id, json!({})).await, 3, "{name}");
        assert_eq!(house.rows(name), rows, "{name}");
        let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
        assert_eq!(
            answer["data"]["tables"][0]["columns"],
            json!([
                { "name": "deep", "type": "object", "nullable": true },
                { "name": "extra", "type": "text", "nullable": true },
                { "name": "id", "type": "integer", "nullable": true },
                { "name": "price", "type": "text", "nullable": true },
                { "name": "value", "type": "integer", "nullable": true },
            ])
        );
    }
}

#[tokio::test]
async fn ten_thousand_rows_arrive_in_their_order_whatever_the_batch() {
    let house = House::new().await;
    let lines: String = (0..10_000).map(|n| format!("{n}\n")).collect();
    house.write("many.csv", &format!("n\n{lines}"));
    let id = house.connect("many", "csv", json!({ "path": "many.csv" })).await;
    for batch in [7, 1000, 1_000_000] {
        assert_eq!(house.sync(&id, json!({ "batch_size": batch })).await, 10_000);
        let rows = house.rows("many");
        let expected: Vec<_> = (0..10_000).map(|n: u32| json!({ "n": n.to_string() })).collect();
        assert!(rows == expected, "batch {batch}");
    }
}

#[tokio::test]
async fn reading_a_sqlite_file_leaves_nothing_beside_it() {
    let house = House::new().await;
    house.sqlite("a b?#%.db", "PRAGMA journal_mode = WAL; CREATE TABLE t (a); INSERT INTO t VALUES (1)");
    let id = house.connect("quiet", "sqlite", json!({ "path": "a b?#%.db" })).await;
    assert_eq!(house.sync(&id, json!({})).await, 1);
    house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
    assert_eq!(house.data().read_dir().unwrap().count(), 1);
    house.sqlite("a b?#%.db", "INSERT INTO t VALUES (2)");
    assert_eq!(house.sync(&id, json!({ "incremental": true })).await, 1);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 6, failure_persistence: None, ..ProptestConfig::default() })]

    /// Checks that the rows of any table are the same in every format.
    #[test]
    fn any_table_arrives_as_it_is(rows in vec(("\\PC{0,12}|[\"\n,\r]{1,4}", any::<i64>()), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let house = House::new().await;
            let mut csv = csv::Writer::from_path(house.data().join("t.csv")).unwrap();
            csv.write_record(["text", "number"]).unwrap();
            let table = rusqlite::Connection::open(house.data().join("t.db")).unwrap();
            table.execute_batch("CREATE TABLE t (text, number)").unwrap();
            let mut lines = String::new();
            for (text, number) in &rows {
                csv.write_record([text, &number.to_string()]).unwrap();
                table.execute("INSERT INTO t VALUES (?1, ?2)", (text, number)).unwrap();
                lines.push_str(&format!("{}\n", json!({ "text": text, "number": number })));
            }
            csv.flush().unwrap();
            house.write("t.jsonl", &lines);
            house.write("t.json", &format!("[{}]", lines.trim_end().replace('\n', ",")));

            let exact: Vec<_> = rows.iter().map(|row| json!({ "text": row.0, "number": row.1 })).collect();
            for (kind, path) in [("sqlite", "t.db"), ("jsonl", "t.jsonl"), ("json", "t.json")] {
                let id = house.connect(path, kind, json!({ "path": path })).await;
                assert_eq!(house.sync(&id, json!({ "batch_size": 3 })).await, rows.len() as u64);
                assert_eq!(house.rows(path), exact, "{kind}");
            }
            let as_text = |row: &(String, i64)| json!({ "text": row.0, "number": row.1.to_string() });
            let id = house.connect("t.csv", "csv", json!({ "path": "t.csv" })).await;
            house.sync(&id, json!({ "batch_size": 3 })).await;
            assert_eq!(house.rows("t.csv"), rows.iter().map(as_text).collect::<Vec<_>>());
        });
    }
}

#[tokio::test]
async fn files_are_read_a_record_at_a_time() {
    let house = House::new().await;
    let text = "x".repeat(4_000);
    let write = |size: &str, rows: usize| {
        let record = format!("{{\"text\":\"{text}\"}}");
        house.write(&format!("{size}.json"), &format!("[{}]", vec![record.as_str(); rows].join(",")));
        house.write(&format!("{size}.jsonl"), &format!("{record}\n").repeat(rows));
        house.write(&format!("{size}.csv"), &format!("text\n{}", format!("{text}\n").repeat(rows)));
    };
    write("small", 500);
    write("large", 6_000);
    let served = Served::start(&house.data(), &house.outside().join("state"), &[], &[]);
    let mut memory = Vec::new();
    for (size, rows) in [("small", 500), ("large", 6_000)] {
        for kind in ["json", "jsonl", "csv"] {
            let path = format!("{size}.{kind}");
            let source = json!({ "type": kind, "name": path, "connection_config": { "path": path } });
            let (_, answer) = served.post("connect", &json!({ "sources": [source] })).await;
            let id = &answer["data"]["connected_sources"][0]["id"];
            let (_, answer) = served.post("sync", &json!({ "source_ids": [id] })).await;
            assert_eq!(answer["data"]["records_processed"], rows, "{answer}");
        }
        memory.push(served.most_memory());
    }
    assert!(memory[1] < memory[0] + (16 << 10), "KiB for 2 MB and for 24 MB: {memory:?}");
}

#[tokio::test]
async fn syncs_at_one_time_hold_one_large_record_together() {
    const SOURCES: usize = 6;
    let house = House::new().await;
    // Each record takes many times its size while it is parsed.
    house.write("large.json", &format!("[[{}0]]", "0,".repeat(1 << 21)));
    let served = Served::start(&house.data(), &house.outside().join("state"), &[], &[]);
    let sync = async |count: usize| {
        let source = |n| json!({ "type": "json", "name": format!("s{n}"), "connection_config": { "path": "large.json" } });
        let sources: Vec<_> = (0..count).map(source).collect();
        served.post("connect", &json!({ "sources": sources })).await;
        let (_, answer) = served.post("sync", &json!({})).await;
        assert_eq!(answer["data"]["records_processed"], count, "{answer}");
        served.most_memory()
    };
    let (one, all) = (sync(1).await, sync(SOURCES).await);
    // The text of a record is 4 MiB, and the values parsed from it are 64 MiB.
    assert!(all < one + (64 << 10), "KiB for 1 and for {SOURCES} sources: {one}, {all}");
}
