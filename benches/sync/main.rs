//! Measures syncs of a million rows from each kind of source.
//!
//! The yardstick of each is a plain loop over the same driver or reader, which inserts a line per row
//! into the same kind of SQLite file; for PostgreSQL, `COPY … TO STDOUT`. The memory of the platform is
//! printed as well, and the time of a schema of 1,000 MariaDB tables beside one plain query.
//!
//! `cargo bench --bench sync [KIND…]` starts its own servers (`tests/servers.sh install` installs the
//! packages) and the real program as the platform. Results are medians of a few rounds that alternate
//! between both.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run is to stop")]

mod data;
mod plain;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::{Client, Url};
use serde_json::{Value, json};
use tempfile::TempDir;
use wellspring_testkit::servers;

const ROWS: u64 = 1_000_000;
const TABLES: usize = 1_000;
const ROUNDS: usize = 5;
const TOKEN: &str = "a-token-of-the-bench";
const ACCEPT_HEADER: [&str; 6] = ["postgresql", "mariadb", "csv", "parquet", "json", "schema"];

#[tokio::main]
async fn main() {
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|kind| ACCEPT_HEADER.contains(&&**kind)).collect();
    println!("{ROWS} rows, median of {ROUNDS} rounds: plain, sync, ratio; memory of the platform");
    for kind in
        ACCEPT_HEADER.into_iter().filter(|kind| wanted.is_empty() || wanted.iter().any(|other| other == kind))
    {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows");
        let path = json!({ "path": "rows" });
        match kind {
            "postgresql" => {
                let url = data::postgres(&servers::servers().postgres).await;
                let config = json!({ "url": url.as_str(), "tables": ["bench_orders"] });
                measure(kind, folder, config, |into| plain::postgres(&url, into)).await;
            }
            "mariadb" => {
                let url = data::mariadb(&servers::servers().mariadb).await;
                let config = json!({ "url": url.as_str(), "tables": ["bench_orders"] });
                measure(kind, folder, config, |into| plain::mariadb(&url, into)).await;
            }
            "csv" => {
                data::csv(&file);
                measure(kind, folder, path, |into| plain::csv(&file, into)).await;
            }
            "parquet" => {
                data::parquet(&file);
                measure(kind, folder, path, |into| plain::parquet(&file, into)).await;
            }
            "json" => {
                data::json(&file);
                measure(kind, folder, path, |into| plain::json(&file, into)).await;
            }
            _ => schema(folder).await,
        }
    }
}

/// Runs a plain loop and a sync in turn, and prints the result.
async fn measure(kind: &str, folder: TempDir, config: Value, plain: impl Fn(&Path) -> u64) {
    let platform = Platform::start(folder.path());
    platform.connect(kind, config).await;
    let mut times: [Vec<Duration>; 2] = Default::default();
    for round in 0..ROUNDS {
        let into = folder.path().join(format!("plain{round}.db"));
        let start = Instant::now();
        assert_eq!(tokio::task::block_in_place(|| plain(&into)), ROWS);
        times[0].push(start.elapsed());
        std::fs::remove_file(into).unwrap();
        let start = Instant::now();
        let answer = platform.post("sync", &json!({})).await;
        times[1].push(start.elapsed());
        assert_eq!(answer["data"]["records_processed"], ROWS, "{answer}");
    }
    print(kind, times, Some(platform.peak()));
}

/// Measures a schema of many MariaDB tables beside one query of their columns.
async fn schema(folder: TempDir) {
    let url = data::tables(&servers::servers().mariadb, TABLES).await;
    let platform = Platform::start(folder.path());
    let id = platform.connect("mariadb", json!({ "url": url.as_str() })).await;
    let mut times: [Vec<Duration>; 2] = Default::default();
    for _ in 0..ROUNDS {
        let start = Instant::now();
        assert!(plain::columns(&url).await >= TABLES);
        times[0].push(start.elapsed());
        let start = Instant::now();
        let answer = platform.get(&format!("schema?source_id={id}")).await;
        times[1].push(start.elapsed());
        assert_eq!(answer["data"]["tables"].as_array().map(Vec::len), Some(TABLES), "{}", answer["message"]);
    }
    print("schema", times, None);
}

fn print(kind: &str, times: [Vec<Duration>; 2], memory: Option<f64>) {
    let [plain, ours] = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_secs_f64()
    });
    let memory = memory.map(|memory| format!("{memory:7.1} MiB")).unwrap_or_default();
    println!("{kind:12} {plain:8.2} s {ours:8.2} s {:6.2} {memory}", ours / plain);
}

/// `wellspring serve` in a folder.
struct Platform {
    child: Child,
    url: String,
}

impl Platform {
    fn start(folder: &Path) -> Self {
        let mut child = Command::new(env!("CARGO_BIN_EXE_wellspring"))
            .args(["serve", "--listen", "127.0.0.1:0"])
            .current_dir(folder)
            .env("PMTX_TOKEN", TOKEN)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut said).unwrap();
        Self { child, url: said.trim().rsplit(' ').next().unwrap().to_owned() }
    }

    /// Connects a source and returns its id.
    async fn connect(&self, kind: &str, config: Value) -> String {
        let source = json!({ "type": kind, "name": "orders", "connection_config": config });
        let answer = self.post("connect", &json!({ "sources": [source] })).await;
        answer["data"]["connected_sources"][0]["id"].as_str().unwrap().to_owned()
    }

    async fn post(&self, endpoint: &str, body: &Value) -> Value {
        let call = Client::new().post(self.endpoint(endpoint)).bearer_auth(TOKEN);
        call.json(body).send().await.unwrap().json().await.unwrap()
    }

    async fn get(&self, endpoint: &str) -> Value {
        Client::new()
            .get(self.endpoint(endpoint))
            .bearer_auth(TOKEN)
            .send()
            .await
            .unwrap()
            .json()
            .await
            .unwrap()
    }

    fn endpoint(&self, endpoint: &str) -> Url {
        format!("{}/api/v1/data/ws/{endpoint}", self.url).parse().unwrap()
    }

    /// Returns the peak memory in MiB.
    fn peak(&self) -> f64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<f64>().unwrap() / 1024.0
    }
}

impl Drop for Platform {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
