//! Tests of incremental syncs of SQLite files.

use serde_json::{Value, json};

use super::harness::{House, by, incremental};

#[tokio::test]
async fn a_later_row_is_taken_however_its_cursor_is_written() {
    let house = House::new().await;
    for (name, first, later) in [
        ("fraction", "'2026-11-01T10:00:05Z'", "'2026-11-01T10:00:05.25Z'"),
        ("blank", "'2026-11-01T10:00:05Z'", "'2026-11-01 23:00:00'"),
        ("offset", "'2026-11-01T10:00:00Z'", "'2026-11-01T09:30:00-05:00'"),
        ("number", "'9'", "'10'"),
        ("kinds", "9", "'10'"),
        ("real", "9007199254740992.0", "9007199254740993"),
        ("word", "'v9'", "'v10'"),
        ("bytes", "x'02'", "x'01'"),
        ("endless", "9e999", "7"),
        ("smallest", "5", "-9e999"),
        ("null", "5", "NULL"),
    ] {
        let file = format!("{name}.db");
        house.sqlite(
            &file,
            &format!("CREATE TABLE t (id INTEGER PRIMARY KEY, at); INSERT INTO t VALUES (1, {first})"),
        );
        let id = house.connect(name, "sqlite", json!({ "path": file })).await;
        assert_eq!(house.sync(&id, by("at")).await, 1, "{name}");
        house.sqlite(&file, &format!("INSERT INTO t VALUES (2, {later})"));
        assert_eq!(house.sync(&id, by("at")).await, 1, "{name}: the later row is new");
        assert_eq!(house.sync(&id, by("at")).await, 0, "{name}: nothing is new");
        assert_eq!(house.rows(name).len(), 2, "{name}");
    }
}

#[tokio::test]
async fn infinities_never_move_the_mark() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, at REAL); INSERT INTO t VALUES (1, 0.5), (2, 9e999), (3, -9e999)",
    );
    let id = house.connect("t", "sqlite", json!({ "path": "a.db" })).await;
    assert_eq!(house.sync(&id, by("at")).await, 3);
    house.sqlite("a.db", "INSERT INTO t VALUES (4, 7.5), (5, 9e999), (6, -9e999), (7, 0.25)");
    assert_eq!(house.sync(&id, by("at")).await, 3, "0.25 lies before the mark");
    house.sqlite("a.db", "INSERT INTO t VALUES (8, 6.0), (9, 7.5)");
    assert_eq!(house.sync(&id, by("at")).await, 1);
}

#[tokio::test]
async fn a_changed_row_takes_the_place_of_what_it_was_wherever_there_is_a_key() {
    let house = House::new().await;
    for (name, table) in [
        ("text", "(k TEXT PRIMARY KEY, v, at)"),
        ("int", "(k INT PRIMARY KEY, v, at)"),
        ("descending", "(k INTEGER PRIMARY KEY DESC, v, at)"),
        ("pair", "(k, v, at, PRIMARY KEY (k, at))"),
        ("keyed", "(k TEXT PRIMARY KEY, v, at) WITHOUT ROWID"),
        ("pair keyed", "(v, k, at, PRIMARY KEY (at, k)) WITHOUT ROWID"),
    ] {
        for cursor in [false, true] {
            let source = format!("{name} {cursor}");
            let file = format!("{source}.db");
            house.sqlite(
                &file,
                &format!("CREATE TABLE t {table}; INSERT INTO t (k, v, at) VALUES ('a', 1, 1), ('b', 1, 1)"),
            );
            let options = || if cursor { by("at") } else { incremental() };
            let id = house.connect(&source, "sqlite", json!({ "path": file })).await;
            assert_eq!(house.sync(&id, options()).await, 2, "{source}");
            assert_eq!(house.sync(&id, options()).await, 0, "{source}: nothing is new");
            house.sqlite(
                &file,
                "UPDATE t SET v = 2 WHERE k = 'a'; INSERT INTO t (k, v, at) VALUES ('c', 1, 1)",
            );
            assert_eq!(house.sync(&id, options()).await, 2, "{source}");
            let mut found: Vec<_> =
                house.rows(&source).iter().map(|row| json!([row["k"], row["v"]])).collect();
            found.sort_by_key(Value::to_string);
            assert_eq!(found, [json!(["a", 2]), json!(["b", 1]), json!(["c", 1])], "{source}");
        }
    }
}

#[tokio::test]
async fn keys_that_sqlite_takes_for_equal_are_one_and_others_are_not() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE cases (k TEXT PRIMARY KEY COLLATE NOCASE, v); INSERT INTO cases VALUES ('Ann', 1);
         CREATE TABLE blanks (k TEXT PRIMARY KEY COLLATE RTRIM, v); INSERT INTO blanks VALUES ('a ', 1);
         CREATE TABLE numbers (k PRIMARY KEY, v); INSERT INTO numbers VALUES (1, 1), ('1', 1), (x'31', 1), (2.5, 1);
         CREATE TABLE nulls (a, b, v, PRIMARY KEY (a, b)); INSERT INTO nulls VALUES (1, NULL, 1), (1, NULL, 2)",
    );
    let id = house.connect("a", "sqlite", json!({ "path": "a.db" })).await;
    assert_eq!(house.sync(&id, incremental()).await, 8);
    house.sqlite(
        "a.db",
        "UPDATE cases SET k = 'ANN', v = 2; UPDATE blanks SET k = 'a', v = 2;
         UPDATE numbers SET k = 1.0, v = 2 WHERE typeof(k) = 'integer';
         INSERT INTO nulls VALUES (1, NULL, 3)",
    );
    assert_eq!(house.sync(&id, incremental()).await, 4);
    assert_eq!(house.rows("a").len(), 9);
}

#[tokio::test]
async fn row_numbers_that_reached_the_largest_are_not_counted_on() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE t (id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES (9223372036854775807, 'last');
         CREATE TABLE empty (id INTEGER PRIMARY KEY)",
    );
    let id = house.connect("t", "sqlite", json!({ "path": "a.db" })).await;
    assert_eq!(house.sync(&id, incremental()).await, 1);
    house.sqlite(
        "a.db",
        "INSERT INTO t (v) VALUES (1), (2), (3), (4), (5); INSERT INTO empty VALUES (-9223372036854775808)",
    );
    house.sync(&id, incremental()).await;
    assert_eq!(house.rows("t").len(), 7);
}

#[tokio::test]
async fn a_column_that_is_added_doubles_no_row() {
    let house = House::new().await;
    house.sqlite("a.db", "CREATE TABLE t (v, at); INSERT INTO t VALUES (1, 1), (2, 1)");
    let rows_id = house.connect("rows", "sqlite", json!({ "path": "a.db" })).await;
    let cursor_id = house.connect("cursor", "sqlite", json!({ "path": "a.db" })).await;
    house.sync(&rows_id, incremental()).await;
    house.sync(&cursor_id, by("at")).await;
    house.sqlite("a.db", "ALTER TABLE t ADD COLUMN w DEFAULT 7");
    house.sync(&rows_id, incremental()).await;
    house.sync(&cursor_id, by("at")).await;
    let expected = [r#"{"at":1,"v":1,"w":7}"#, r#"{"at":1,"v":2,"w":7}"#];
    assert_eq!(
        (house.sorted_rows("rows"), house.sorted_rows("cursor")),
        (expected.map(String::from).into(), expected.map(String::from).into())
    );
}

#[tokio::test]
async fn a_broken_view_that_nobody_asked_for_does_no_harm() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE t (v); INSERT INTO t VALUES (1); CREATE TABLE gone (v);
         CREATE VIEW broken AS SELECT v FROM gone; CREATE VIEW odd AS SELECT no_such_function(v) AS w FROM t;
         CREATE VIEW sound AS SELECT v FROM t;
         PRAGMA legacy_alter_table = ON; DROP TABLE gone",
    );
    let id = house.connect("all", "sqlite", json!({ "path": "a.db" })).await;
    assert_eq!(house.sync(&id, json!({})).await, 1);
    let (_, answer) = house.test("sqlite", json!({ "path": "a.db" })).await;
    assert_eq!(answer["status"], "success", "{answer}");
    let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
    let tables = answer["data"]["tables"].as_array().unwrap();
    let shown: Vec<_> =
        tables.iter().map(|table| (&table["name"], table["columns"].as_array().unwrap().len())).collect();
    assert_eq!(json!(shown), json!([["broken", 0], ["odd", 0], ["sound", 1], ["t", 1]]));

    let named = house.connect("named", "sqlite", json!({ "path": "a.db", "tables": ["sound", "t"] })).await;
    assert_eq!(house.sync(&named, json!({})).await, 2);
    let named = house.connect("named", "sqlite", json!({ "path": "a.db", "table": "broken" })).await;
    let message = house.sync_failure(&named).await;
    assert!(message.contains("table \"broken\": SQLite: no such table: main.gone"), "{message}");
}

#[tokio::test]
async fn tables_of_a_module_are_read_by_name_only() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE mine (v); INSERT INTO mine VALUES (1);
         CREATE TABLE docs_chunks (v); INSERT INTO docs_chunks VALUES (1);
         CREATE TABLE docs_vector_chunks00 (v); INSERT INTO docs_vector_chunks00 VALUES (1);
         CREATE TABLE docs_mine (v); INSERT INTO docs_mine VALUES (1);
         CREATE VIRTUAL TABLE words USING fts5(w); INSERT INTO words VALUES ('one');
         PRAGMA writable_schema = ON;
         INSERT INTO sqlite_schema (type, name, tbl_name, rootpage, sql)
             VALUES ('table', 'docs', 'docs', 0, 'CREATE VIRTUAL TABLE docs USING vec0(a float[3])')",
    );
    let id = house.connect("all", "sqlite", json!({ "path": "a.db" })).await;
    assert_eq!(house.sync(&id, json!({})).await, 2);
    let tables: Vec<_> = house.table_rows("all").into_iter().map(|(table, _)| table).collect();
    assert_eq!(tables, ["docs_mine", "mine"]);
    let id = house.connect("named", "sqlite", json!({ "path": "a.db", "table": "docs_chunks" })).await;
    assert_eq!(house.sync(&id, json!({})).await, 1);
    let id = house.connect("virtual", "sqlite", json!({ "path": "a.db", "table": "docs" })).await;
    let message = house.sync_failure(&id).await;
    assert!(message.contains("\"docs\" is a virtual table"), "{message}");
}

#[tokio::test]
async fn a_value_that_is_too_large_is_refused_and_harms_no_other_table() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE large (v); INSERT INTO large VALUES (zeroblob((64 << 20) + 1));
         CREATE TABLE wide (a, b); INSERT INTO wide VALUES (zeroblob(40 << 20), zeroblob(40 << 20));
         CREATE TABLE small (v); INSERT INTO small VALUES (1)",
    );
    for (table, expected) in [
        ("large", "table \"large\": a value is larger than 64 MiB"),
        ("wide", "table \"wide\": a row is larger than 64 MiB"),
    ] {
        let id = house.connect("large", "sqlite", json!({ "path": "a.db", "table": table })).await;
        let message = house.sync_failure(&id).await;
        assert!(message.contains(expected), "{message}");
    }
    let id = house.connect("small", "sqlite", json!({ "path": "a.db", "table": "small" })).await;
    assert_eq!(house.sync(&id, json!({})).await, 1);
}
