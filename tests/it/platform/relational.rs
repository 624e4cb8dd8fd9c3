//! Tests that PostgreSQL and MariaDB behave alike.

use serde_json::{Value, json};

use super::databases::{BOTH, Database, Engine};
use super::harness::{House, incremental};
use wellspring_testkit::servers::servers;

#[tokio::test]
async fn new_rows_of_a_number_key_are_taken_and_a_table_filled_anew_is_read_anew() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        database
            .sql(
                "CREATE TABLE t (id bigint PRIMARY KEY, v varchar(20)); CREATE TABLE empty (id int PRIMARY KEY);
                 INSERT INTO t VALUES (1, 'a'), (9007199254740993, 'b'), (-5, 'c')",
            )
            .await;
        let name = database.kind();
        let id = house.connect(name, database.kind(), database.config(json!({}))).await;
        for (sql, options, records, ids) in [
            ("SELECT 1", incremental(), 3, vec![-5, 1, 9_007_199_254_740_993_i64]),
            ("SELECT 1", incremental(), 0, vec![-5, 1, 9_007_199_254_740_993]),
            (
                "INSERT INTO t VALUES (9007199254740994, 'd'), (2, 'too late'); INSERT INTO empty VALUES (7)",
                incremental(),
                2,
                vec![-5, 1, 7, 9_007_199_254_740_993, 9_007_199_254_740_994],
            ),
            (
                "DELETE FROM t WHERE id > 1; INSERT INTO t VALUES (3, 'another')",
                incremental(),
                3,
                vec![-5, 1, 3, 7],
            ),
            ("DELETE FROM t", incremental(), 0, vec![7]),
            ("INSERT INTO t VALUES (3, 'again')", incremental(), 1, vec![3, 7]),
            ("DELETE FROM empty", json!({}), 1, vec![3]),
        ] {
            database.sql(sql).await;
            assert_eq!(house.sync(&id, options).await, records, "{engine:?}: {sql}");
            let mut found: Vec<_> = house.rows(name).iter().map(|row| row["id"].as_i64().unwrap()).collect();
            found.sort_unstable();
            assert_eq!(found, ids, "{engine:?}: {sql}");
        }
    }
}

#[tokio::test]
async fn other_keys_tell_rows_apart_and_a_changed_row_replaces_what_it_was() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        database
            .sql(
                "CREATE TABLE texts (k varchar(10) PRIMARY KEY, v int);
                 CREATE TABLE pairs (a int, b int, v int, PRIMARY KEY (b, a));
                 CREATE TABLE plain (v int);
                 INSERT INTO texts VALUES ('z', 1), ('b', 2);
                 INSERT INTO pairs VALUES (1, 12, 0), (11, 2, 0);
                 INSERT INTO plain VALUES (1), (1)",
            )
            .await;
        let name = database.kind();
        let id = house.connect(name, name, database.config(json!({}))).await;
        assert_eq!(house.sync(&id, incremental()).await, 6, "{engine:?}");
        assert_eq!(house.sync(&id, incremental()).await, 0, "{engine:?}: nothing is new");
        database
            .sql(
                "INSERT INTO texts VALUES ('a', 3); UPDATE texts SET v = 20 WHERE k = 'b';
                 UPDATE pairs SET v = 5 WHERE a = 11; INSERT INTO plain VALUES (1), (2)",
            )
            .await;
        assert_eq!(house.sync(&id, incremental()).await, 5, "{engine:?}");
        let of = |table: &str| -> Vec<Value> {
            house.table_rows(name).into_iter().filter(|(from, _)| from == table).map(|(_, row)| row).collect()
        };
        let texts = of("texts");
        assert_eq!(texts.len(), 3);
        assert!(
            texts.contains(&json!({ "k": "b", "v": 20 })) && texts.contains(&json!({ "k": "a", "v": 3 }))
        );
        let pairs = of("pairs");
        assert!(pairs.contains(&json!({ "a": 11, "b": 2, "v": 5 })) && pairs.len() == 2, "{pairs:?}");
        let mut plain: Vec<_> = of("plain").iter().map(|row| row["v"].as_i64().unwrap()).collect();
        plain.sort_unstable();
        assert_eq!(plain, [1, 1, 1, 2], "{engine:?}: each as often as it is there");
    }
}

#[tokio::test]
async fn a_cursor_column_tells_what_is_new_or_changed() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        let moment = if engine == Engine::Postgres { "timestamptz" } else { "timestamp(6) NULL" };
        database
            .sql(&format!(
                "CREATE TABLE t (id int PRIMARY KEY, at {moment}, v int); CREATE TABLE other (v int);
                 INSERT INTO t VALUES (1, '2026-01-01 00:00:00', 0), (2, '2026-01-02 00:00:00.000001', 0),
                                      (3, NULL, 0);
                 INSERT INTO other VALUES (1)"
            ))
            .await;
        let name = database.kind();
        let id = house.connect(name, name, database.config(json!({}))).await;
        let at = || json!({ "incremental": true, "cursor": "at" });
        assert_eq!(house.sync(&id, at()).await, 4, "{engine:?}");
        assert_eq!(house.sync(&id, at()).await, 0, "{engine:?}: nothing is new");
        // One changed, one at the mark, and one before the mark, which is therefore not new.
        database
            .sql(
                "UPDATE t SET at = '2026-01-05 00:00:00', v = 1 WHERE id = 1;
                 INSERT INTO t VALUES (4, '2026-01-02 00:00:00.000001', 0), (5, '2025-01-01 00:00:00', 0)",
            )
            .await;
        assert_eq!(house.sync(&id, at()).await, 2, "{engine:?}");
        let mut rows: Vec<_> = house
            .table_rows(name)
            .into_iter()
            .filter(|(table, _)| table == "t")
            .map(|(_, row)| (row["id"].as_i64().unwrap(), row["v"].as_i64().unwrap()))
            .collect();
        rows.sort_unstable();
        assert_eq!(rows, [(1, 1), (2, 0), (3, 0), (4, 0)], "{engine:?}");

        let nowhere = json!({ "source_ids": [id], "sync_options": { "cursor": "nowhere" } });
        let (_, answer) = house.post("sync", &nowhere).await;
        let message = answer["data"]["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("no table has the cursor column \"nowhere\""), "{message}");
    }
}

#[tokio::test]
async fn cursors_of_every_order_hold() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        database
            .sql(
                "CREATE TABLE t (i bigint, d decimal(30, 5), f double precision, s varchar(20), day date);
                 INSERT INTO t VALUES (9007199254740993, 12345678901234567890.00001, 0.1, 'it''s \\\\', '2026-01-01')",
            )
            .await;
        for column in ["i", "d", "f", "s", "day"] {
            let name = format!("{}-{column}", database.kind());
            let id = house.connect(&name, database.kind(), database.config(json!({}))).await;
            let options = || json!({ "incremental": true, "cursor": column });
            assert_eq!(house.sync(&id, options()).await, 1, "{name}");
            assert_eq!(house.sync(&id, options()).await, 0, "{name}");
        }
        database
            .sql(
                "INSERT INTO t VALUES (9007199254740994, 12345678901234567890.00002, 0.2, 'j', '2026-01-02'),
                                      (1, 1, 0, 'a', '2025-01-01')",
            )
            .await;
        let sources = house.list().await;
        for source in sources.iter().filter(|source| source["type"] == database.kind()) {
            let column = source["name"].as_str().unwrap().rsplit_once('-').unwrap().1;
            let options = json!({ "incremental": true, "cursor": column });
            // The order of texts differs between both sides, so all of them are read.
            let taken = if column == "s" { 2 } else { 1 };
            assert_eq!(house.sync(source["id"].as_str().unwrap(), options).await, taken, "{source}");
        }
    }
}

#[tokio::test]
async fn the_schema_tells_tables_views_and_columns() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        database
            .sql(
                "CREATE TABLE orders (id int PRIMARY KEY, price decimal(8, 2) NOT NULL, note varchar(20));
                 CREATE VIEW dear AS SELECT id, price FROM orders WHERE price > 100;
                 INSERT INTO orders VALUES (1, 5, NULL), (2, 500, 'x')",
            )
            .await;
        let id = house.connect(database.kind(), database.kind(), database.config(json!({}))).await;
        let (code, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
        assert_eq!(code, 200, "{answer}");
        let (number, price, note) = match engine {
            Engine::Postgres => ("integer", "numeric(8,2)", "character varying(20)"),
            Engine::MariaDb => ("int(11)", "decimal(8,2)", "varchar(20)"),
        };
        assert_eq!(
            answer["data"]["tables"],
            json!([
                { "name": "dear", "type": "view", "columns": [
                    { "name": "id", "type": number }, { "name": "price", "type": price } ] },
                { "name": "orders", "type": "table", "columns": [
                    { "name": "id", "type": number, "nullable": false, "primary_key": true },
                    { "name": "price", "type": price, "nullable": false, "primary_key": false },
                    { "name": "note", "type": note, "nullable": true, "primary_key": false } ] },
            ])
        );
        // Tables are read by default, a view if it is listed.
        assert_eq!(house.sync(&id, json!({})).await, 2);
        let config = database.config(json!({ "tables": ["dear"] }));
        let id = house.connect("dear", database.kind(), config).await;
        assert_eq!(house.sync(&id, json!({})).await, 1);
        let (_, answer) = house.test(database.kind(), database.config(json!({ "table": "nothing" }))).await;
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains("there is no table \"nothing\" that \"tests\" may read"), "{message}");
    }
}

#[tokio::test]
async fn schemas_partitions_and_rights_of_postgres_are_heeded() {
    let (house, database) = (House::new().await, Database::new(Engine::Postgres).await);
    let reader = format!("reader_{}", database.name());
    database
        .sql(&format!(
            "CREATE SCHEMA sales; CREATE SCHEMA secret; CREATE TABLE sales.orders (id int PRIMARY KEY);
             CREATE TABLE secret.keys (k int); CREATE TABLE hidden (k int);
             CREATE TABLE days (day date) PARTITION BY RANGE (day);
             CREATE TABLE days_2026 PARTITION OF days FOR VALUES FROM ('2026-01-01') TO ('2027-01-01');
             CREATE TABLE animals (n text); CREATE TABLE cats (lives int) INHERITS (animals);
             INSERT INTO sales.orders VALUES (1); INSERT INTO days VALUES ('2026-01-02');
             INSERT INTO animals VALUES ('dog'); INSERT INTO cats VALUES ('cat', 7);
             CREATE ROLE {reader} LOGIN PASSWORD 'pw of the reader';
             GRANT USAGE ON SCHEMA sales TO {reader};
             GRANT SELECT ON sales.orders, days, animals, cats TO {reader}"
        ))
        .await;
    let who = json!({ "username": reader, "password": "pw of the reader" });
    let id = house.connect("all", "postgres", database.config(who.clone())).await;
    assert_eq!(house.sync(&id, json!({})).await, 4);
    let tables: Vec<_> = house.table_rows("all").into_iter().map(|(table, _)| table).collect();
    assert_eq!(tables, ["animals", "cats", "days", "sales.orders"]);

    let mut who_and_what = who.clone();
    who_and_what["schema"] = "sales".into();
    let id = house.connect("sales", "postgres", database.config(who_and_what)).await;
    house.sync(&id, json!({})).await;
    assert_eq!(house.table_rows("sales"), [("orders".to_owned(), json!({ "id": 1 }))]);

    let mut who_and_what = who;
    who_and_what["tables"] = json!(["public.days", "sales.orders"]);
    let id = house.connect("named", "postgres", database.config(who_and_what)).await;
    assert_eq!(house.sync(&id, json!({})).await, 2);
    database.sql(&format!("DROP OWNED BY {reader}; DROP ROLE {reader}")).await;
}

#[tokio::test]
async fn a_sync_that_fails_halfway_keeps_the_rows_there_were() {
    let house = House::new().await;
    let numbers: Vec<_> = (1..=10_000).map(|n| format!("({n})")).collect();
    for engine in BOTH {
        let database = Database::new(engine).await;
        // Once two limits apply to a number, the view's subquery fails while it is being read.
        database
            .sql(&format!(
                "CREATE TABLE numbers (n int PRIMARY KEY); CREATE TABLE limits (l int PRIMARY KEY);
                 INSERT INTO numbers VALUES {}; INSERT INTO limits VALUES (1);
                 CREATE VIEW v AS SELECT n, (SELECT l FROM limits WHERE l <= n) AS l FROM numbers",
                numbers.join(", ")
            ))
            .await;
        let config = database.config(json!({ "tables": ["v", "limits"] }));
        let name = database.kind();
        let id = house.connect(name, name, config).await;
        assert_eq!(house.sync(&id, json!({})).await, 10_001, "{engine:?}");
        let rows = house.table_rows(name);
        database.sql("INSERT INTO limits VALUES (9000)").await;
        for options in [json!({ "batch_size": 100 }), json!({ "batch_size": 100, "incremental": true })] {
            let call = json!({ "source_ids": [id], "sync_options": options });
            let (_, answer) = house.post("sync", &call).await;
            assert_eq!(answer["status"], "error", "{engine:?}: {answer}");
            assert_eq!(answer["data"]["records_processed"], 0);
            assert!(house.table_rows(name) == rows, "{engine:?}: the rows are as they were");
        }
        database.sql("UPDATE limits SET l = 20000 WHERE l = 9000").await;
        assert_eq!(house.sync(&id, incremental()).await, 1, "{engine:?}");
    }
}

#[tokio::test]
async fn stopping_gives_up_a_sync_whose_rows_do_not_come() {
    let mut house = House::new().await;
    let database = Database::new(Engine::Postgres).await;
    database.sql("CREATE VIEW slow AS SELECT pg_sleep(600)::text AS s").await;
    let id = house.connect("slow", "postgres", database.config(json!({ "table": "slow" }))).await;
    let message = house.stop_during_sync(&id).await;
    assert!(message.contains("stopping"), "{message}");
}

#[tokio::test]
async fn a_failure_says_what_failed_and_never_the_password() {
    let house = House::new().await;
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    for engine in BOTH {
        let database = Database::new(engine).await;
        let wrong = json!({ "password": "a wrong password" });
        let mut cases = vec![
            (json!({ "host": "nowhere.invalid" }), "could not be resolved (DNS)"),
            (json!({ "port": closed }), "the connection was refused"),
            (wrong.clone(), "was refused (authentication)"),
            (json!({ "username": "nobody knows" }), "was refused (authentication)"),
            (json!({ "database": "not_there" }), "there is no database \"not_there\""),
            (json!({ "sslmode": "verify-full" }), "no secure connection (TLS)"),
            (json!({ "tls": true }), "no secure connection (TLS)"),
        ];
        if engine == Engine::Postgres {
            let port = silent.local_addr().unwrap().port();
            cases.push((json!({ "port": port }), "no connection and login within 10 seconds (timeout)"));
        }
        for (change, expected) in cases {
            let config = database.config(change.clone());
            let (code, answer) = house.test(database.kind(), config.clone()).await;
            assert_eq!((code, answer["status"].as_str()), (200, Some("error")), "{engine:?} {change}");
            let message = answer["message"].as_str().unwrap();
            assert!(message.contains(expected), "{engine:?} {change}: {message}");
            let secret = config["password"].as_str().unwrap();
            assert!(!answer.to_string().contains(secret), "{engine:?} {change}: {message}");
        }
        let id = house.connect(database.kind(), database.kind(), database.config(wrong)).await;
        assert!(house.sync_failure(&id).await.contains("(authentication)"));
        assert!(!house.list().await[0].to_string().contains("a wrong password"));
        let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
        assert!(answer["message"].as_str().unwrap().contains("(authentication)"));
    }
}

#[tokio::test]
async fn tls_is_checked_as_asked() {
    let house = House::new().await;
    let certificate = std::fs::read_to_string(&servers().certificate).unwrap();
    house.write("ca.pem", &certificate);
    house.write("not.pem", "nothing");
    for engine in BOTH {
        let database = Database::new(engine).await;
        database.sql("CREATE TABLE t (v int)").await;
        for (change, works) in [
            (json!({}), true),
            (json!({ "sslmode": "disable" }), true),
            (json!({ "sslmode": "require" }), true),
            (json!({ "sslmode": "verify-ca", "sslrootcert": "ca.pem" }), true),
            (json!({ "ssl_mode": "VERIFY_IDENTITY", "ssl_ca": certificate, "host": "localhost" }), true),
            // The certificate is for a name other than this address.
            (json!({ "sslmode": "verify-full", "sslrootcert": "ca.pem" }), false),
            (json!({ "sslmode": "verify-ca", "sslrootcert": "not.pem" }), false),
            (json!({ "sslmode": "require", "sslrootcert": "gone.pem" }), false),
            (json!({ "sslmode": "require", "sslkey": "ca.pem" }), false),
        ] {
            let (code, answer) = house.test(database.kind(), database.config(change.clone())).await;
            let expected = if works { "success" } else { "error" };
            assert_eq!(
                (code, answer["status"].as_str()),
                (200, Some(expected)),
                "{engine:?} {change}: {answer}"
            );
        }
    }
}

#[tokio::test]
async fn a_database_may_be_named_in_many_ways() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        database.sql("CREATE TABLE t (v int)").await;
        let url = database.url().to_owned();
        let address = |scheme: &str| format!("{scheme}{}", &url[url.find("://").unwrap()..]);
        let kinds: &[&str] = match engine {
            Engine::Postgres => &["postgres", "postgresql", "PostgreSQL"],
            Engine::MariaDb => &["mysql", "mariadb", "MariaDB"],
        };
        for kind in kinds {
            let scheme = kind.to_ascii_lowercase();
            for (kind, config) in [
                (*kind, database.config(json!({}))),
                ("database", database.config(json!({ "engine": kind }))),
                ("database", json!({ "url": address(&scheme) })),
                ("database", json!({ "connection_string": format!("jdbc:{}", address(&scheme)) })),
                (*kind, json!({ "url": address("x"), "user": "tests" })),
            ] {
                let (code, answer) = house.test(kind, config.clone()).await;
                let done = (code, answer["status"].as_str());
                assert_eq!(done, (200, Some("success")), "{kind} {config}: {answer}");
            }
        }
    }
}
