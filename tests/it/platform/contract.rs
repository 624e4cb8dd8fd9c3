//! Tests of the requests in the API description, verbatim.
//!
//! The requests are sent by curl and by Python, with real servers behind the names.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};
use sqlx::postgres::PgConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::harness::{House, Served, TOKEN, reply};
use wellspring_testkit::servers::servers;

const PREFIX: &str = "/jarvispy/my-org/my-user/api/v1";

/// A platform that uses servers of the test for the names in the description.
///
/// These names are `db.example.com` and `api.sales.com`.
struct Rehearsal {
    served: Served,
    _house: House,
}

impl Rehearsal {
    async fn start() -> Self {
        let house = House::new().await;
        let database = customers().await;
        let (api, certificate) = sales(house.outside()).await;
        let served = Served::start(
            &house.data(),
            &house.outside().join("state"),
            &[
                "--stand-in",
                &format!("db.example.com={database}"),
                "--stand-in",
                &format!("api.sales.com={api}"),
            ],
            &[("SSL_CERT_FILE", certificate.to_str().unwrap()), ("NO_PROXY", "*")],
        );
        Self { served, _house: house }
    }

    /// Sends a request like the curl command of the description.
    async fn curl(&self, method: &str, path: &str, body: Option<Value>) -> Value {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--show-error", "--noproxy", "*", "-X", method]);
        curl.arg(format!("{}{PREFIX}/data/workspace_id/{path}", self.served.base));
        curl.args(["-H", &format!("Authorization: Bearer {TOKEN}")]);
        if let Some(body) = body {
            curl.args(["-H", "Content-Type: application/json", "-d", &body.to_string()]);
        }
        // The replacement API responds within this process meanwhile.
        let done = tokio::task::spawn_blocking(move || curl.output().unwrap()).await.unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        serde_json::from_slice(&done.stdout).unwrap()
    }
}

/// Creates the database, table and user of the examples.
///
/// Returns the server's address.
async fn customers() -> String {
    let admin: reqwest::Url = servers().postgres.parse().unwrap();
    let run = async |url: &reqwest::Url, sql: &str| {
        let mut connection = PgConnectOptions::from_url(url).unwrap().connect().await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut connection).await.unwrap();
    };
    run(&admin, "DROP DATABASE IF EXISTS customers").await;
    run(&admin, "DROP ROLE IF EXISTS \"user\"; CREATE ROLE \"user\" LOGIN PASSWORD 'password'").await;
    run(&admin, "CREATE DATABASE customers OWNER \"user\"").await;
    let mut url = admin.clone();
    url.set_path("customers");
    url.set_username("user").unwrap();
    url.set_password(Some("password")).unwrap();
    let table = "CREATE TABLE customers (id integer PRIMARY KEY, name text NOT NULL);
                 INSERT INTO customers VALUES (1, 'Ada'), (2, 'Grace'), (3, 'Mary')";
    run(&url, table).await;
    format!("{}:{}", admin.host_str().unwrap(), admin.port().unwrap())
}

/// Starts the API of the examples, with TLS and bearer key.
///
/// Returns address and certificate.
async fn sales(place: &Path) -> (std::net::SocketAddr, PathBuf) {
    let (certificate, key) = wellspring_testkit::certificate(place, "api.sales.com", "DNS:api.sales.com");
    let chain = CertificateDer::from_pem_file(&certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&key).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![chain], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the runtime of the test.
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let Ok(mut stream) = acceptor.accept(connection).await else { continue };
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
            let known =
                head.contains("host: api.sales.com\r\n") && head.contains("x-api-key: your_api_key\r\n");
            let (status, body) = if known {
                ("200 OK", r#"[{"sale": 1, "amount": "9.90"}, {"sale": 2, "amount": "0.10"}]"#)
            } else {
                ("401 Unauthorized", "{}")
            };
            let length = body.len();
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\
                 connection: close\r\n\r\n{body}"
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
            let _ = stream.shutdown().await;
        }
    });
    (address, certificate)
}

fn customer_db() -> Value {
    json!({
        "host": "db.example.com", "port": 5432, "database": "customers", "username": "user", "password": "password",
    })
}

/// One test only, since the database has a fixed name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_of_the_contract_is_accepted_as_it_stands() {
    let rehearsal = Rehearsal::start().await;
    by_curl(&rehearsal).await;
    by_python(&rehearsal).await;
}

async fn by_curl(rehearsal: &Rehearsal) {
    let source = json!({
        "type": "database", "name": "customer_db", "connection_config": customer_db(),
        "metadata": { "description": "Customer database connection" },
    });
    let answer =
        rehearsal.curl("POST", "connect", Some(json!({ "scope": "user", "sources": [source] }))).await;
    assert_eq!(answer["status"], "success", "{answer}");
    let connected = &answer["data"]["connected_sources"][0];
    let id = connected["id"].as_str().unwrap();
    assert_eq!(
        *connected,
        json!({ "id": id, "source_id": id, "name": "customer_db", "type": "database",
                                   "status": "connected" })
    );

    let answer = rehearsal.curl("GET", "list?scope=user", None).await;
    let row = &answer["data"][0];
    assert_eq!(
        [&row["id"], &row["name"], &row["type"], &row["scope"], &row["last_sync"]],
        [&json!(id), &json!("customer_db"), &json!("database"), &json!("user"), &Value::Null]
    );
    let mut shown = customer_db();
    shown["password"] = json!("***");
    assert_eq!(row["connection_config"], shown);
    assert_eq!(row["metadata"], json!({ "description": "Customer database connection" }));

    let options = json!({ "incremental": true, "batch_size": 1000 });
    let sync = |ids: [&str; 2]| json!({ "scope": "user", "source_ids": ids, "sync_options": options });
    let answer = rehearsal.curl("POST", "sync", Some(sync(["source_123", "source_456"]))).await;
    assert_eq!(answer["status"], "error", "nobody has these ids: {answer}");
    assert_eq!(answer["data"]["errors"].as_array().unwrap().len(), 2);
    for expected in [3, 0] {
        let answer = rehearsal.curl("POST", "sync", Some(sync([id, "source_456"]))).await;
        assert_eq!(
            (&answer["status"], &answer["data"]["records_processed"]),
            (&json!("success"), &json!(expected))
        );
    }

    let test = json!({ "source_config": { "type": "database", "connection_config": customer_db() } });
    let answer = rehearsal.curl("POST", "test-connection", Some(test)).await;
    assert_eq!(answer["status"], "success", "{answer}");

    let answer = rehearsal.curl("GET", "schema?source_id=source_123&scope=user", None).await;
    assert_eq!(answer["status"], "error", "{answer}");
    let answer = rehearsal.curl("GET", &format!("schema?source_id={id}&scope=user"), None).await;
    let table = &answer["data"]["tables"][0];
    assert_eq!(table["name"], "customers", "{answer}");
    assert_eq!([&table["columns"][0]["name"], &table["columns"][1]["type"]], ["id", "text"]);

    let ids = json!({ "scope": "user", "source_ids": [id, "source_456"] });
    let answer = rehearsal.curl("POST", "cleanup", Some(ids)).await;
    assert_eq!(answer["data"], json!({ "deleted_count": 1, "not_found": 1 }));
}

async fn by_python(rehearsal: &Rehearsal) {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/platform/contract.py");
    let mut python = Command::new("python3");
    python.arg(script).arg(format!("{}{PREFIX}", rehearsal.served.base)).arg(TOKEN).env("NO_PROXY", "*");
    let done = tokio::task::spawn_blocking(move || python.output().unwrap()).await.unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let said = String::from_utf8(done.stdout).unwrap();
    let lines: Vec<_> = said.lines().collect();
    assert_eq!(
        lines,
        [
            "connect 2",
            "list customer_db database",
            "list sales_api api",
            "test success",
            "schema customers: id integer, name text",
            "schema records: amount text, sale integer",
            "sync one 3",
            "sync all 5",
            "sync unknown error",
            "cleanup one removed 1 source",
            "cleanup all removed 1 source",
        ]
    );
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
