//! Tests that unwanted reads end, and that the size of server messages is limited.

use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use super::databases::{BOTH, Database, Engine};
use super::harness::{House, TOKEN};
use wellspring_testkit::servers::servers;

/// Starts an endless sync, and drops the request once the sync reads.
async fn leave(house: &House, id: &str) {
    let call = reqwest::Client::new()
        .post(format!("{}/api/v1/data/ws/sync", house.base))
        .bearer_auth(TOKEN)
        .json(&json!({ "source_ids": [id], "sync_options": { "batch_size": 10 } }));
    let caller = tokio::spawn(call.send());
    let log = house.storage().join(format!("rows/{id}.db-wal"));
    while std::fs::metadata(&log).map_or(0, |log| log.len()) < 1 << 20 {
        tokio::task::yield_now().await;
    }
    caller.abort();
}

/// Returns a query with endless rows.
fn endless(engine: Engine) -> &'static str {
    match engine {
        Engine::Postgres => "SELECT generate_series(1, 1000000000000) AS n",
        Engine::MariaDb => {
            "SELECT a.n FROM numbers a, numbers b, numbers c, numbers d, numbers e, numbers f, numbers g, numbers h"
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sync_whose_caller_left_ends() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE TABLE small (n); INSERT INTO small VALUES (1);
         CREATE VIEW endless AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT n FROM n",
    );
    let id = house.connect("sqlite", "sqlite", json!({ "path": "a.db", "table": "endless" })).await;
    leave(&house, &id).await;
    house.connect("sqlite", "sqlite", json!({ "path": "a.db", "table": "small" })).await;
    assert_eq!(house.sync(&id, json!({})).await, 1, "it waits for the one before");
    for engine in BOTH {
        let database = Database::new(engine).await;
        database
            .sql(&format!(
                "CREATE TABLE numbers (n int); INSERT INTO numbers VALUES (0), (1), (2), (3), (4), (5), (6), (7), (8), (9);
                 CREATE VIEW endless AS {}",
                endless(engine)
            ))
            .await;
        let name = database.kind();
        let id = house.connect(name, name, database.config(json!({ "table": "endless" }))).await;
        leave(&house, &id).await;
        house.connect(name, name, database.config(json!({ "table": "numbers" }))).await;
        assert_eq!(house.sync(&id, json!({})).await, 10, "{engine:?}");
        // The server has released the view as well.
        database.sql("DROP VIEW endless").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cleanup_ends_a_sync_that_has_no_end() {
    let house = House::new().await;
    house.sqlite(
        "a.db",
        "CREATE VIEW endless AS WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n) SELECT n FROM n",
    );
    let id = house.connect("t", "sqlite", json!({ "path": "a.db", "table": "endless" })).await;
    let log = house.storage().join(format!("rows/{id}.db-wal"));
    let (message, removed) = tokio::join!(house.sync_failure(&id), async {
        while std::fs::metadata(&log).map_or(0, |log| log.len()) < 1 << 20 {
            tokio::task::yield_now().await;
        }
        house.post("cleanup", &json!({ "source_ids": [id] })).await
    });
    assert!(message.contains("the source is cleaned up"), "{message}");
    assert_eq!(removed.1["data"]["deleted_count"], 1);
}

#[tokio::test]
async fn a_row_that_is_too_large_is_refused() {
    let house = House::new().await;
    for engine in BOTH {
        let database = Database::new(engine).await;
        let large = match engine {
            Engine::Postgres => "SELECT repeat('x', 200000000) AS large",
            // MariaDB limits values by `max_allowed_packet`, but not rows.
            Engine::MariaDb => {
                "SELECT REPEAT('x', 16000000) AS a, REPEAT('x', 16000000) AS b, REPEAT('x', 16000000) AS c,
                        REPEAT('x', 16000000) AS d, REPEAT('x', 16000000) AS e"
            }
        };
        database.sql(&format!("CREATE VIEW large AS {large}")).await;
        let config = database.config(json!({ "table": "large" }));
        let id = house.connect(database.kind(), database.kind(), config.clone()).await;
        let message = house.sync_failure(&id).await;
        assert!(message.contains("table \"large\": a row is larger than 64 MiB"), "{engine:?}: {message}");
        let (_, answer) = house.test(database.kind(), config).await;
        assert!(answer["message"].as_str().unwrap().contains("a row is larger than 64 MiB"), "{answer}");
    }
}

/// Starts a server that sends these bytes repeatedly, independent of its input.
async fn odd_server(answer: &[u8]) -> u16 {
    let answer = answer.to_vec();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let answer = answer.clone();
            tokio::spawn(async move { while stream.write_all(&answer).await.is_ok() {} });
        }
    });
    port
}

#[tokio::test]
async fn a_server_that_sends_nonsense_harms_nothing() {
    let house = House::new().await;
    // An endless parameter message.
    let parameter = [b"S\0\x01\0\x06".as_slice(), &[b'x'; 1 << 16], b"\0\0"].concat();
    for (answer, expected) in [
        (parameter.as_slice(), "larger than 64 MiB"),
        // A truncated authentication request.
        (b"R\0\0\0\x04".as_slice(), "internal error while reading the source"),
    ] {
        let port = odd_server(answer).await;
        let config = json!({
            "host": "127.0.0.1", "port": port, "database": "d", "username": "u", "sslmode": "disable"
        });
        let (code, reply) = house.test("postgresql", config.clone()).await;
        assert_eq!((code, reply["status"].as_str()), (200, Some("error")), "{reply}");
        let message = reply["message"].as_str().unwrap();
        assert!(message.contains(expected), "{message}");
        let id = house.connect("odd", "postgresql", config).await;
        let message = house.sync_failure(&id).await;
        assert!(message.contains(expected), "{message}");
    }
}

#[tokio::test]
async fn a_login_that_is_not_known_is_named_with_what_to_do() {
    let house = House::new().await;
    let greeting = b"\x4d\0\0\0\x0a10.11.19-MariaDB\0\x01\0\0\0salt8888\0\x0a\xa2\x21\x02\0\x08\0\x15\0\0\0\0\0\0\0\0\0\0saltsalt1212\0client_ed25519\0";
    let kerberos = b"R\0\0\0\x08\0\0\0\x07";
    for (kind, answer, expected) in [
        (
            "mariadb",
            greeting.as_slice(),
            "the login of this user is by client_ed25519, which is not known here",
        ),
        (
            "postgresql",
            kerberos.as_slice(),
            "the login of this user is by Kerberos (GSSAPI), which is not known here",
        ),
    ] {
        let port = odd_server(answer).await;
        let config = json!({ "host": "127.0.0.1", "port": port, "database": "d", "username": "u", "sslmode": "disable" });
        let (_, reply) = house.test(kind, config).await;
        let message = reply["message"].as_str().unwrap();
        assert!(message.contains(expected) && !message.contains("sqlx"), "{message}");
    }
}

#[tokio::test]
async fn a_pool_before_a_server_needs_no_settings() {
    let (house, database) = (House::new().await, Database::new(Engine::Postgres).await);
    database
        .sql(
            "CREATE TABLE t (at timestamptz, f float8); INSERT INTO t VALUES ('2026-01-02 03:04:05+02', 0.1)",
        )
        .await;
    let port = reqwest::Url::parse(&servers().pgbouncer).unwrap().port();
    let id = house.connect("t", "postgresql", database.config(json!({ "port": port }))).await;
    assert_eq!(house.sync(&id, json!({})).await, 1);
    assert_eq!(house.rows("t"), [json!({ "at": "2026-01-02T01:04:05Z", "f": 0.1 })]);
}

#[tokio::test]
async fn a_socket_of_the_host_is_not_reached() {
    let house = House::new().await;
    for host in ["/run/postgresql", "@postgres"] {
        let config = json!({ "host": host, "database": "d", "username": "u" });
        for kind in ["postgresql", "mariadb"] {
            let (_, answer) = house.test(kind, config.clone()).await;
            assert!(answer["message"].as_str().unwrap().contains("must be a name or an address"), "{answer}");
        }
    }
}
