//! Tests of refused requests: the error, and the absence of side effects.

use serde_json::{Value, json};
use wellspring::platform::{PlatformConfig, PlatformError, Storage, start};

use super::harness::{House, TOKEN, in_memory, reply};

#[tokio::test]
async fn bad_calls_are_answered_with_the_envelope() {
    let house = House::new().await;
    let client = reqwest::Client::new();
    let raw = |body: String| {
        client.post(format!("{}/api/v1/data/ws/connect", house.base)).bearer_auth(TOKEN).body(body)
    };
    for (body, expected) in [
        ("{".to_owned(), 400),
        (String::new(), 400),
        (format!("{}{}", "[".repeat(100_000), "]".repeat(100_000)), 400),
        ("[]".to_owned(), 422),
        ("{}".to_owned(), 422),
        (r#"{"sources": {}}"#.to_owned(), 422),
        (r#"{"sources": []}"#.to_owned(), 422),
        (r#"{"scope": 1, "sources": []}"#.to_owned(), 422),
    ] {
        let (code, answer) = reply(raw(body.clone())).await;
        assert_eq!((code, answer["status"].as_str()), (expected, Some("error")), "{body:.80}");
    }
    for (path, expected) in [
        ("/api/v1/data/ws/nothing", 404),
        ("/api/v1/data/ws", 404),
        ("/", 404),
        ("/api/v1/data//list", 400),
        ("/api/v1/data/%ff/list", 400),
        ("/api/v1/data/%2e%2e%00/list", 400),
        ("/api/v1/data/ws/connect", 405),
        ("/api/v1/data/ws/schema", 422),
        ("/api/v1/data/ws/list?scope=", 422),
    ] {
        assert_eq!(house.get(path).await.0, expected, "{path}");
    }
    assert_eq!(house.post("list", &json!({})).await.0, 405);
    for (endpoint, body) in [
        ("sync", json!({ "source_ids": "src" })),
        ("sync", json!({ "source_ids": [1] })),
        ("sync", json!({ "sync_options": { "batch_size": 0 } })),
        ("sync", json!({ "sync_options": { "incremental": "yes" } })),
        ("cleanup", json!({ "source_ids": { "a": 1 } })),
        ("test-connection", json!({})),
        ("test-connection", json!({ "source_config": { "type": "csv" } })),
    ] {
        assert_eq!(house.post(endpoint, &body).await.0, 422, "{endpoint} {body}");
    }
}

#[tokio::test]
async fn a_body_that_is_too_large_is_not_read() {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    let house = House::new().await;
    let address = house.base.strip_prefix("http://").unwrap();
    let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
    let head = format!(
        "POST /api/v1/data/ws/connect HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {TOKEN}\r\n\
         content-length: 17000000\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
    assert!(answer.contains("\"status\":\"error\""));
}

#[tokio::test]
async fn paths_stay_below_the_data_directory() {
    let house = House::new().await;
    std::fs::write(house.outside().join("secret.csv"), "a\n1\n").unwrap();
    std::fs::create_dir(house.data().join(".git")).unwrap();
    house.write(".git/x.csv", "a\n1\n");
    let link = |target: &std::path::Path, name: &str| {
        std::os::unix::fs::symlink(target, house.data().join(name)).unwrap();
    };
    link(&house.outside().join("secret.csv"), "file.csv");
    link(house.outside(), "folder");
    link(&house.data().join(".git/x.csv"), "hidden.csv");
    std::fs::create_dir(house.data().join("really.csv")).unwrap();

    for path in ["../secret.csv", "/etc/passwd", "a/../../secret.csv", ".git/x.csv", "", "a\0b"] {
        for kind in ["csv", "json", "jsonl", "sqlite"] {
            let (code, answer) = house.test(kind, json!({ "path": path })).await;
            assert_eq!((code, answer["status"].as_str()), (422, Some("error")), "{kind} {path:?}");
        }
    }
    for path in ["file.csv", "folder/secret.csv", "hidden.csv", "really.csv", "missing.csv"] {
        for kind in ["csv", "json", "jsonl", "sqlite"] {
            let (code, answer) = house.test(kind, json!({ "path": path })).await;
            assert_eq!((code, answer["status"].as_str()), (200, Some("error")), "{kind} {path}");
        }
    }
}

#[tokio::test]
async fn the_platforms_own_storage_is_nobodys_data() {
    let place = tempfile::tempdir().unwrap();
    let config = PlatformConfig {
        storage: Storage::Directory(place.path().join("platform")),
        ..in_memory(place.path())
    };
    let running = start(config).await.unwrap();
    let body = json!({ "source_config": {
        "type": "sqlite", "connection_config": { "path": "platform/catalogue.db" }
    } });
    let url = format!("{}/api/v1/data/ws/test-connection", running.base_url());
    let (_, answer) = reply(reqwest::Client::new().post(url).bearer_auth(TOKEN).json(&body)).await;
    assert_eq!(answer["status"], "error", "{answer}");
    running.stop().await;
}

#[tokio::test]
async fn a_test_says_what_failed() {
    let house = House::new().await;
    house.write("not.db", "this is no database, but long enough to look like one to those who do not look");
    house.write("bad.json", "{\"a\": ");
    house.write("bad.jsonl", "{\"a\": 1}\n{\"a\"\n");
    house.write("latin.csv", "a\n1\n");
    std::fs::write(house.data().join("latin.csv"), b"a\n\xe9\n").unwrap();
    for (name, start) in
        [("gz.csv", b"\x1f\x8b\x08\0"), ("xlsx.csv", b"PK\x03\x04"), ("zst.jsonl", b"\x28\xb5\x2f\xfd")]
    {
        std::fs::write(house.data().join(name), start).unwrap();
    }
    std::fs::write(house.data().join("wide.json"), b"\xff\xfe[\0]\0").unwrap();
    std::fs::write(house.data().join("utf16.csv"), b"a\0b\0\n\0").unwrap();
    house.write("surrogate.jsonl", "{\"a\": 1}\n{\"a\": \"\\ud800\"}\n");
    house.write("surrogate.json", "[\n{\"a\": 1},\n{\"a\": \"\\ud800\"}]");
    house.write("document.jsonl", "[{\"a\": 1},\n{\"a\": 2}]\n");
    house.sqlite("one.db", "CREATE TABLE one (a)");
    for (kind, config, expected) in [
        ("sqlite", json!({ "path": "gone.db" }), "there is no file gone.db"),
        ("sqlite", json!({ "path": "not.db" }), "not a SQLite file"),
        ("sqlite", json!({ "path": "one.db", "table": "two" }), "there is no table \"two\""),
        ("csv", json!({ "path": "gone.csv" }), "there is no file gone.csv"),
        ("csv", json!({ "path": "latin.csv" }), "line 2: this is not UTF-8"),
        ("json", json!({ "path": "bad.json" }), "bad.json"),
        ("csv", json!({ "path": "gz.csv" }), "compressed with gzip; decompress the file"),
        ("csv", json!({ "path": "xlsx.csv" }), "a ZIP archive or a spreadsheet"),
        ("jsonl", json!({ "path": "zst.jsonl" }), "compressed with zstd"),
        ("json", json!({ "path": "wide.json" }), "this is UTF-16"),
        ("jsonl", json!({ "path": "bad.jsonl" }), "line 2 is not JSON"),
        ("jsonl", json!({ "path": "surrogate.jsonl" }), "line 2: unexpected end of hex escape"),
        ("json", json!({ "path": "surrogate.json" }), "record 2: unexpected end of hex escape"),
        ("jsonl", json!({ "path": "document.jsonl" }), "a document is read with format = \"json\""),
        ("csv", json!({ "path": "utf16.csv" }), "this is UTF-16"),
        ("api", json!({ "base_url": "http://127.0.0.1:1" }), "refused the connection"),
        ("database", json!({ "host": "h", "engine": "oracle" }), "Oracle is not built into this platform"),
        ("mongodb", json!({ "host": "h" }), "MongoDB is not built into this platform"),
    ] {
        let (code, answer) = house.test(kind, config.clone()).await;
        assert_eq!((code, answer["status"].as_str()), (200, Some("error")), "{kind} {config}");
        let message = answer["message"].as_str().unwrap();
        assert!(message.contains(expected), "{kind} {config}: {message}");
    }
}

#[tokio::test]
async fn configurations_that_make_no_sense_are_refused() {
    let house = House::new().await;
    for (kind, config) in [
        ("api", json!({})),
        ("api", json!({ "base_url": "nonsense" })),
        ("api", json!({ "base_url": "file:///etc/passwd" })),
        ("api", json!({ "base_url": "http://h", "token": "a\nb" })),
        ("api", json!({ "base_url": "http://h", "headers": [] })),
        ("csv", json!({ "path": 1 })),
        ("csv", json!({ "path": "a.csv", "delimiter": "ab" })),
        ("file", json!({ "path": "a.doc" })),
        ("database", json!({})),
        ("database", json!({ "host": "h", "database": "d", "username": "u" })),
        ("database", json!({ "host": "h", "port": "x" })),
        ("database", json!({ "host": "h", "port": 5432, "database": "d" })),
        ("database", json!({ "host": "h", "port": 3306, "username": "u" })),
        ("postgres", json!({ "database": "d", "username": "u" })),
        ("postgres", json!({ "host": "h", "port": 0, "database": "d", "username": "u" })),
        ("mysql", json!({ "host": "h", "port": 65536, "database": "d", "username": "u" })),
        ("mysql", json!({ "host": "h", "database": "d", "username": "u", "sslmode": "perhaps" })),
        ("mysql", json!({ "host": "h", "database": "d", "username": "u", "ssl_ca": "../ca.pem" })),
        ("database", json!({ "url": "postgres" })),
        ("database", json!({ "url": "pigeon://u:p@h/d" })),
        ("database", json!({ "engine": "abacus", "host": "h" })),
        ("pigeon", json!({})),
    ] {
        let (code, answer) = house.test(kind, config.clone()).await;
        assert_eq!((code, answer["status"].as_str()), (422, Some("error")), "{kind} {config}: {answer}");
    }
}

#[tokio::test]
async fn a_platform_does_not_start_where_it_could_do_harm() {
    let house = House::new().await;
    assert!(matches!(start(house.config()).await, Err(PlatformError::InUse(_))));
    let token = PlatformConfig { token: "".into(), ..house.config() };
    assert!(matches!(start(token).await, Err(PlatformError::EmptyToken)));
    let data =
        PlatformConfig { data_dir: "/does/not/exist".into(), storage: Storage::Memory, ..house.config() };
    assert!(matches!(start(data).await, Err(PlatformError::DataDirectory { .. })));
    let listen = house.base.strip_prefix("http://").unwrap().parse().unwrap();
    let taken = PlatformConfig { listen, storage: Storage::Memory, ..house.config() };
    assert!(matches!(start(taken).await, Err(PlatformError::Listen { .. })));
    assert_eq!(house.list().await, Vec::<Value>::new());
}
