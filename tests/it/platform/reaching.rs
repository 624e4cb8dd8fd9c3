//! Hosts that sources may reach, directly and by a proxy.

use axum::routing::get;
use axum::{Json, Router};
use serde_json::{Value, json};
use wellspring::platform::{HostOverride, PlatformConfig, Storage, start};

use super::harness::{House, Served, TOKEN, reply};

/// An API of so many records, at any path and for any host.
async fn api(records: usize) -> u16 {
    let rows = Json(vec![json!({ "n": 1 }); records]);
    let router = Router::new().fallback(get(async || rows));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    port
}

fn source(base_url: &str) -> Value {
    json!({ "source_config": { "type": "api", "connection_config": { "base_url": base_url } } })
}

#[tokio::test]
async fn an_api_of_this_host_is_not_read_for_others() {
    let house = House::new().await;
    let port = api(1).await;
    let stand_ins = [("api.example.com", port), ("10.255.255.1", port)]
        .map(|(host, port)| HostOverride { host: host.into(), connect_to: ([127, 0, 0, 1], port).into() });
    let listen = "0.0.0.0:0".parse().unwrap();
    let config = PlatformConfig {
        storage: Storage::Memory,
        listen,
        host_overrides: stand_ins.into(),
        ..house.config()
    };
    let running = start(config).await.unwrap();
    let said = async |base_url: &str| {
        let call =
            reqwest::Client::new().post(format!("{}/api/v1/data/ws/test-connection", running.base_url()));
        reply(call.bearer_auth(TOKEN).json(&source(base_url))).await.1["message"].as_str().unwrap().to_owned()
    };
    for host in [
        "127.0.0.1",
        "127.1",
        "0x7f000001",
        "0.0.0.0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
    ]
    .into_iter()
    .chain(["[fe80::1]", "169.254.169.254", "localhost", "LOCALHOST"])
    {
        let said = said(&format!("http://{host}:{port}/")).await;
        assert!(said.contains("are not reached while the platform answers other hosts"), "{host}: {said}");
    }
    assert!(said(&format!("http://api.example.com:{port}/")).await.contains("1 records"), "a stand-in is");
    let other = said(&format!("http://10.255.255.1:{port}/")).await;
    assert!(other.contains("--stand-in replaces an API by its host name"), "{other}");
    running.stop().await;

    let config = json!({ "base_url": format!("http://127.0.0.1:{port}") });
    assert_eq!(house.test("api", config).await.1["status"], "success", "only this host is answered");
}

#[tokio::test]
async fn a_proxy_leads_neither_to_this_host_nor_past_a_stand_in() {
    let place = tempfile::tempdir().unwrap();
    let (proxy, other) = (api(1).await, api(2).await);
    for (nth, host) in ["127.0.0.1", "localhost"].into_iter().enumerate() {
        let stand_in = format!("rehearsed.example.com=127.0.0.1:{other}");
        let options = ["--listen", "0.0.0.0:0", "--allow-plaintext", "--stand-in", &stand_in];
        let url = format!("http://{host}:{proxy}");
        let variables = [("HTTP_PROXY", url.as_str()), ("http_proxy", url.as_str()), ("NO_PROXY", "")];
        let state = place.path().join(format!("state{nth}"));
        let served = Served::start(place.path(), &state, &options, &variables);
        for (base_url, expected) in [
            ("http://known-to-the-proxy.invalid/".to_owned(), "1 records"),
            (format!("http://rehearsed.example.com:{other}/"), "2 records"),
            (format!("http://127.0.0.1:{other}/"), "are not reached"),
            (format!("http://localhost:{other}/"), "are not reached"),
            (format!("http://localhost:{proxy}/"), "are not reached"),
        ] {
            let (_, answer) = served.post("test-connection", &source(&base_url)).await;
            let said = answer["message"].as_str().unwrap();
            assert!(said.contains(expected), "proxy {host}, {base_url}: {said}");
        }
    }
}
