//! Tests that row identity and cursor order are those of the database server.

use serde_json::json;

use super::databases::{BOTH, Database, Engine};
use super::harness::{House, by, incremental};

/// Checks each key: its column, a row, and the row with its key written differently.
async fn one_row_for_one_key(engine: Engine, cases: &[(&str, &str, &str)]) {
    let house = House::new().await;
    let database = Database::new(engine).await;
    if engine == Engine::Postgres {
        database
            .sql(
                "CREATE EXTENSION citext;
                 CREATE COLLATION loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false)",
            )
            .await;
    }
    for (number, (column, one, other)) in cases.iter().enumerate() {
        let name = format!("k{number}");
        database
            .sql(&format!(
                "CREATE TABLE {name} (k {column}, at int, v int, PRIMARY KEY (k)); INSERT INTO {name} VALUES ({one}, 1, 1)"
            ))
            .await;
        for options in [incremental(), by("at")] {
            let source = format!("{name}{}", options["cursor"]);
            let id = house.connect(&source, database.kind(), database.config(json!({ "table": name }))).await;
            assert_eq!(house.sync(&id, options.clone()).await, 1, "{column}");
            database.sql(&format!("UPDATE {name} SET k = {other}, v = 2")).await;
            house.sync(&id, options).await;
            let rows = house.rows(&source);
            assert_eq!((rows.len(), &rows[0]["v"]), (1, &json!(2)), "{column}: {rows:?}");
            database.sql(&format!("UPDATE {name} SET k = {one}, v = 1")).await;
        }
    }
}

#[tokio::test]
async fn keys_that_postgres_takes_for_equal_are_one() {
    let cases = [
        ("numeric", "1.0", "1.00"),
        ("citext", "'Ann'", "'ANN'"),
        ("interval", "'1 month'", "'30 days'"),
        ("float8", "'-0'", "0"),
        ("bpchar", "'a'", "'a  '"),
        ("text COLLATE loose", "'ann'", "'ANN'"),
        ("numrange", "'[1.0,2.0)'", "'[1.00,2.00)'"),
        ("jsonb", "'1.0'", "'1.00'"),
    ];
    one_row_for_one_key(Engine::Postgres, &cases).await;
}

#[tokio::test]
async fn keys_that_mariadb_takes_for_equal_are_one() {
    let cases = [
        ("varchar(20)", "'Ann'", "'ANN'"),
        ("varchar(20) CHARACTER SET utf8mb4", "'ann'", "'änn '"),
        ("char(9) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci", "'straße'", "'STRASSE'"),
        ("varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "'a'", "'a '"),
        ("varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", "'a '", "'a '"),
        ("double", "-0e0", "0"),
    ];
    one_row_for_one_key(Engine::MariaDb, &cases).await;
}

#[tokio::test]
async fn keys_that_differ_stay_apart() {
    let house = House::new().await;
    for (engine, column, keys) in [
        (Engine::Postgres, "numeric", "100, 1, 10"),
        (Engine::Postgres, "text", "'a', 'a ', 'A'"),
        (Engine::Postgres, "interval", "'1 month', '31 days', '-1 month'"),
        (Engine::MariaDb, "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", "'a', 'A', ' a'"),
        (Engine::MariaDb, "varchar(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", "'a', 'a ', 'b'"),
        (Engine::MariaDb, "varbinary(5)", "'a', 'a ', 'A'"),
        (Engine::MariaDb, "double", "1e20, 1e2, 1"),
    ] {
        let database = Database::new(engine).await;
        let values: Vec<_> = keys.split(", ").map(|key| format!("({key}, 1)")).collect();
        let sql = format!(
            "CREATE TABLE t (k {column}, v int, PRIMARY KEY (k)); INSERT INTO t VALUES {}",
            values.join(", ")
        );
        database.sql(&sql).await;
        let id = house.connect("t", database.kind(), database.config(json!({}))).await;
        assert_eq!(house.sync(&id, json!({})).await, 3);
        house.sync(&id, incremental()).await;
        database.sql("UPDATE t SET v = 2").await;
        assert_eq!(house.sync(&id, incremental()).await, 3, "{column}");
        assert_eq!(house.rows("t").len(), 3, "{column}");
    }
}

#[tokio::test]
async fn columns_that_an_index_only_carries_are_no_part_of_a_key() {
    let (house, database) = (House::new().await, Database::new(Engine::Postgres).await);
    database
        .sql(
            "CREATE TABLE t (region text, id int, name text, PRIMARY KEY (region, id) INCLUDE (name));
             INSERT INTO t VALUES ('eu', 1, 'ann'), ('eu', 2, 'bob')",
        )
        .await;
    let id = house.connect("t", "postgresql", database.config(json!({}))).await;
    assert_eq!(house.sync(&id, incremental()).await, 2);
    database.sql("UPDATE t SET name = 'anna' WHERE id = 1").await;
    assert_eq!(house.sync(&id, incremental()).await, 1);
    assert_eq!(
        house.sorted_rows("t"),
        [r#"{"id":1,"name":"anna","region":"eu"}"#, r#"{"id":2,"name":"bob","region":"eu"}"#]
    );
}

#[tokio::test]
async fn a_key_on_the_beginning_of_a_text_is_one() {
    let (house, database) = (House::new().await, Database::new(Engine::MariaDb).await);
    database
        .sql(
            "CREATE TABLE part (k text, PRIMARY KEY (k(3))); INSERT INTO part VALUES ('abcdef'), ('xyz');
             CREATE TABLE bytes (k blob, PRIMARY KEY (k(2))); INSERT INTO bytes VALUES (x'010203');
             CREATE TABLE promoted (a int NOT NULL, b varchar(5) NOT NULL, v int, UNIQUE KEY (b, a));
             INSERT INTO promoted VALUES (1, 'x', 1)",
        )
        .await;
    let id = house.connect("t", "mariadb", database.config(json!({}))).await;
    assert_eq!(house.sync(&id, incremental()).await, 4);
    database
        .sql("UPDATE part SET k = 'ABCother' WHERE k LIKE 'abc%'; UPDATE bytes SET k = x'0102ff'; UPDATE promoted SET v = 2")
        .await;
    assert_eq!(house.sync(&id, incremental()).await, 3);
    assert_eq!(house.rows("t").len(), 4);
}

#[tokio::test]
async fn infinities_and_ends_of_time_never_move_the_mark() {
    let (house, database) = (House::new().await, Database::new(Engine::Postgres).await);
    for (column, first, endless, later) in [
        ("timestamptz", "'2026-01-01'", "('infinity'), ('9999-12-31'), ('-infinity')", "'2026-02-01'"),
        ("timestamp", "'2026-01-01'", "('infinity'), ('9999-12-31 23:59:59'), ('-infinity')", "'2026-02-01'"),
        ("date", "'2026-01-01'", "('infinity'), ('9999-12-31'), ('-infinity')", "'2026-02-01'"),
        ("numeric", "0.5", "('NaN'), ('Infinity'), ('-Infinity')", "7.5"),
        ("float8", "0.5", "('NaN'), ('Infinity'), ('-Infinity')", "7.5"),
        ("float4", "0.5", "('NaN'), ('Infinity'), ('-Infinity')", "7.5"),
        ("text", "'2026-01-01'", "('infinity'), ('9999-12-31'), ('NaN')", "'2026-02-01'"),
    ] {
        database
            .sql(&format!(
                "DROP TABLE IF EXISTS t; CREATE TABLE t (at {column}, id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY);
                 INSERT INTO t VALUES ({first}); INSERT INTO t VALUES {endless}"
            ))
            .await;
        let id = house.connect(column, "postgresql", database.config(json!({}))).await;
        assert_eq!(house.sync(&id, by("at")).await, 4, "{column}");
        database.sql(&format!("INSERT INTO t VALUES ({later}); INSERT INTO t VALUES {endless}")).await;
        assert_eq!(house.sync(&id, by("at")).await, 4, "{column}: all are new");
        database.sql(&format!("INSERT INTO t VALUES ({first}), ({later})")).await;
        assert_eq!(house.sync(&id, by("at")).await, 1, "{column}: the other lies before the mark");
        assert_eq!(house.sync(&id, by("at")).await, 0, "{column}: nothing is new");
    }
    let database = Database::new(Engine::MariaDb).await;
    database
        .sql(
            "CREATE TABLE t (at datetime, id int AUTO_INCREMENT PRIMARY KEY);
             INSERT INTO t (at) VALUES ('2026-01-01'), ('9999-12-31 23:59:59'), (NULL), ('0000-00-00')",
        )
        .await;
    let id = house.connect("mariadb", "mariadb", database.config(json!({}))).await;
    assert_eq!(house.sync(&id, by("at")).await, 4);
    database.sql("INSERT INTO t (at) VALUES ('2026-02-01'), (NULL)").await;
    assert_eq!(house.sync(&id, by("at")).await, 2);
}

#[tokio::test]
async fn a_cursor_that_is_text_is_ordered_by_what_it_says() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        for (number, (first, later)) in [
            ("9", "10"),
            ("2026-11-01T10:00:05Z", "2026-11-01T10:00:05.25Z"),
            ("2026-11-01T10:00:00Z", "2026-11-01T09:30:00-05:00"),
            ("2026-11-01T10:00:05Z", "2026-11-01 23:00:00"),
            ("v9", "v10"),
        ]
        .iter()
        .enumerate()
        {
            let name = format!("t{number}");
            database
                .sql(&format!(
                    "CREATE TABLE {name} (id int PRIMARY KEY, at varchar(40)); INSERT INTO {name} VALUES (1, '{first}')"
                ))
                .await;
            let source = format!("{engine:?}{number}");
            let id = house.connect(&source, database.kind(), database.config(json!({ "table": name }))).await;
            assert_eq!(house.sync(&id, by("at")).await, 1, "{engine:?} {later}");
            database.sql(&format!("INSERT INTO {name} VALUES (2, '{later}')")).await;
            assert_eq!(house.sync(&id, by("at")).await, 1, "{engine:?} {later}");
            assert_eq!(house.sync(&id, by("at")).await, 0, "{engine:?} {later}: nothing is new");
        }
    }
    let database = Database::new(Engine::MariaDb).await;
    database
        .sql("CREATE TABLE t (id int PRIMARY KEY, at enum('low', 'high')); INSERT INTO t VALUES (1, 'low')")
        .await;
    let id = house.connect("enum", "mariadb", database.config(json!({}))).await;
    assert_eq!(house.sync(&id, by("at")).await, 1);
    database.sql("INSERT INTO t VALUES (2, 'high')").await;
    assert_eq!(house.sync(&id, by("at")).await, 1, "its place in the type is larger, its text is not");
}

#[tokio::test]
async fn a_parent_or_a_partition_asked_for_by_name_is_read_whole() {
    let (house, database) = (House::new().await, Database::new(Engine::Postgres).await);
    database
        .sql(
            "CREATE TABLE measurements (id int PRIMARY KEY, v int);
             CREATE TABLE m1 () INHERITS (measurements); CREATE TABLE m2 (extra text) INHERITS (measurements);
             INSERT INTO m1 SELECT n, 0 FROM generate_series(1, 500) n;
             INSERT INTO m2 SELECT n, 0, 'x' FROM generate_series(1, 500) n;
             CREATE TABLE days (day date) PARTITION BY RANGE (day);
             CREATE TABLE days_2026 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
             INSERT INTO days VALUES ('2026-01-02')",
        )
        .await;
    let config = database.config(json!({ "tables": ["measurements"] }));
    let id = house.connect("parent", "postgresql", config).await;
    assert_eq!(house.sync(&id, incremental()).await, 1000);
    database.sql("UPDATE m1 SET v = 1 WHERE id = 1; INSERT INTO m2 VALUES (0, 0, 'y')").await;
    house.sync(&id, incremental()).await;
    assert_eq!(house.rows("parent").len(), 1001, "both tables have a row 1");
    let config = database.config(json!({ "table": "days_2026" }));
    let id = house.connect("partition", "postgresql", config).await;
    assert_eq!(house.sync(&id, incremental()).await, 1);
    let id = house.connect("all", "postgresql", database.config(json!({}))).await;
    assert_eq!(house.sync(&id, incremental()).await, 1002, "each row once");
}

#[tokio::test]
async fn someone_with_rights_on_some_columns_reads_these() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        let reader = format!("columns_{}", database.name());
        let (login, on) = match engine {
            Engine::Postgres => ("LOGIN PASSWORD 'pw'", String::new()),
            Engine::MariaDb => ("IDENTIFIED BY 'pw'", format!("{}.", database.name())),
        };
        database
            .sql(&format!(
                "CREATE TABLE t (region varchar(5), id int, name varchar(9), secret int, PRIMARY KEY (region, id));
                 INSERT INTO t VALUES ('eu', 1, 'ann', 7), ('us', 1, 'bob', 7);
                 CREATE USER {reader} {login}; GRANT SELECT (id, name) ON {on}t TO {reader}"
            ))
            .await;
        let name = database.kind();
        let config = database.config(json!({ "username": reader, "password": "pw" }));
        let id = house.connect(name, name, config).await;
        assert_eq!(house.sync(&id, incremental()).await, 2, "{engine:?}");
        database.sql("UPDATE t SET name = 'zoe' WHERE region = 'us'").await;
        house.sync(&id, incremental()).await;
        let expected = [r#"{"id":1,"name":"ann"}"#, r#"{"id":1,"name":"zoe"}"#];
        assert_eq!(house.sorted_rows(name), expected, "{engine:?}: half of a key tells no rows apart");
        let clean = match engine {
            Engine::Postgres => format!("DROP OWNED BY {reader}; DROP ROLE {reader}"),
            Engine::MariaDb => format!("DROP USER {reader}"),
        };
        database.sql(&clean).await;
    }
}

#[tokio::test]
async fn what_nobody_asked_for_does_no_harm() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        let (sleep, broken) = match engine {
            Engine::Postgres => ("SELECT pg_sleep(600)::text AS s", "SELECT 1 / (v - 1) AS w FROM t"),
            Engine::MariaDb => ("SELECT SLEEP(600) AS s", "SELECT v FROM gone"),
        };
        database
            .sql(&format!(
                "CREATE TABLE t (v int); INSERT INTO t VALUES (1); CREATE TABLE gone (v int);
                 CREATE VIEW slow AS {sleep}; CREATE VIEW broken AS {broken}"
            ))
            .await;
        database.sql("DROP TABLE gone").await;
        let name = database.kind();
        let (_, answer) = house.test(name, database.config(json!({}))).await;
        assert_eq!(answer["status"], "success", "{engine:?} {answer}");
        let id = house.connect(name, name, database.config(json!({}))).await;
        assert_eq!(house.sync(&id, incremental()).await, 1, "{engine:?}");
        let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
        assert_eq!(answer["status"], "success", "{engine:?} {answer}");
        let id = house.connect("named", name, database.config(json!({ "table": "broken" }))).await;
        let message = house.sync_failure(&id).await;
        assert!(message.contains("broken"), "{engine:?}: {message}");
    }
    let database = Database::new(Engine::Postgres).await;
    database
        .sql(
            "CREATE TABLE mine (v int); INSERT INTO mine VALUES (1); CREATE EXTENSION citext;
             CREATE TABLE theirs (v int); INSERT INTO theirs VALUES (1); ALTER EXTENSION citext ADD TABLE theirs",
        )
        .await;
    let id = house.connect("mine", "postgresql", database.config(json!({}))).await;
    assert_eq!(house.sync(&id, incremental()).await, 1, "a table of an extension is not the user's");
    let id = house.connect("theirs", "postgresql", database.config(json!({ "table": "theirs" }))).await;
    assert_eq!(house.sync(&id, incremental()).await, 1);
}

#[tokio::test]
async fn nothing_to_read_is_an_error_that_says_why() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        for (config, expected) in [
            (json!({ "schema": "not there" }), "there is no schema \"not there\""),
            (json!({}), "there is no table that \"tests\" may read; views are read by name"),
        ] {
            let id = house.connect("none", database.kind(), database.config(config.clone())).await;
            let message = house.sync_failure(&id).await;
            assert!(message.contains(expected), "{engine:?}: {message}");
            let (_, answer) = house.test(database.kind(), database.config(config)).await;
            assert!(answer["message"].as_str().unwrap().contains(expected), "{engine:?}: {answer}");
        }
    }
}

#[tokio::test]
async fn json_of_mariadb_is_json_whatever_the_reader_may_see() {
    let (house, database) = (House::new().await, Database::new(Engine::MariaDb).await);
    let name = database.name();
    database
        .sql(&format!(
            "CREATE TABLE t (id int PRIMARY KEY, a json, b json CHECK (json_length(b) > 0), old json, plain longtext
                 CHARACTER SET utf8mb4 COLLATE utf8mb4_bin);
             ALTER TABLE t RENAME COLUMN old TO c;
             INSERT INTO t VALUES (1, '{{\"x\": 1}}', '[1]', '{{\"y\": null}}', '{{\"z\": 1}}');
             CREATE VIEW v AS SELECT * FROM t;
             CREATE USER json_db@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON {name}.* TO json_db@'%';
             CREATE USER json_table@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON {name}.t TO json_table@'%';
             CREATE USER json_columns@'%' IDENTIFIED BY 'pw'; GRANT SELECT (id, a, c, plain) ON {name}.t TO json_columns@'%';
             CREATE USER json_view@'%' IDENTIFIED BY 'pw'; GRANT SELECT ON {name}.v TO json_view@'%'"
        ))
        .await;
    let (a, b, c, plain) = (json!({ "x": 1 }), json!([1]), json!({ "y": null }), json!("{\"z\": 1}"));
    let whole = json!({ "id": 1, "a": a, "b": b, "c": c, "plain": plain });
    let mut view = whole.clone();
    view["b"] = json!("[1]");
    for (user, config, expected) in [
        ("json_db", json!({}), whole.clone()),
        ("json_table", json!({}), whole),
        ("json_columns", json!({}), json!({ "id": 1, "a": a, "c": c, "plain": plain })),
        ("json_view", json!({ "table": "v" }), view),
    ] {
        let mut config = config;
        config["username"] = user.into();
        config["password"] = "pw".into();
        let id = house.connect(user, "mariadb", database.config(config)).await;
        assert_eq!(house.sync(&id, incremental()).await, 1, "{user}");
        assert_eq!(house.rows(user), [expected], "{user}");
    }
    database.sql("DROP USER json_db@'%', json_table@'%', json_columns@'%', json_view@'%'").await;
}

#[tokio::test]
async fn every_value_of_a_column_is_of_one_kind() {
    let (house, database) = (House::new().await, Database::new(Engine::Postgres).await);
    database
        .sql(
            "CREATE DOMAIN big AS bigint; CREATE DOMAIN bigs AS big[]; CREATE DOMAIN pairs AS int[];
             CREATE TABLE t (a big[], b bigs, c pairs[], z timetz);
             INSERT INTO t VALUES ('{1,9007199254740993}', '{2}', ARRAY['{1,2}'::pairs], '03:04:05.6+02'),
                                  ('{}', NULL, NULL, '24:00:00+00')",
        )
        .await;
    let id = house.connect("t", "postgresql", database.config(json!({}))).await;
    house.sync(&id, json!({})).await;
    assert_eq!(
        house.rows("t"),
        [
            json!({ "a": [1, 9_007_199_254_740_993_i64], "b": [2], "c": [[1, 2]], "z": "01:04:05.6Z" }),
            json!({ "a": [], "b": null, "c": null, "z": "24:00:00Z" }),
        ]
    );
}

#[tokio::test]
async fn a_key_that_gets_another_precision_stays_one() {
    let house = House::new().await;
    for (engine, column, value, change) in [
        (Engine::Postgres, "numeric(10, 2)", "1.5", "ALTER k TYPE numeric(12, 4)"),
        (Engine::MariaDb, "decimal(10, 2)", "1.5", "MODIFY k decimal(12, 4)"),
        (Engine::MariaDb, "datetime", "'2026-01-01'", "MODIFY k datetime(3)"),
        (Engine::MariaDb, "time", "'10:00:00'", "MODIFY k time(6)"),
    ] {
        let database = Database::new(engine).await;
        let sql =
            format!("CREATE TABLE t (k {column} PRIMARY KEY, v int); INSERT INTO t VALUES ({value}, 1)");
        database.sql(&sql).await;
        let id = house.connect("t", database.kind(), database.config(json!({}))).await;
        house.sync(&id, incremental()).await;
        database.sql(&format!("ALTER TABLE t {change}; UPDATE t SET v = 2")).await;
        house.sync(&id, incremental()).await;
        let rows = house.rows("t");
        assert_eq!((rows.len(), &rows[0]["v"]), (1, &json!(2)), "{column}: {rows:?}");
    }
}
