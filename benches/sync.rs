//! Measures a sync of a million rows from PostgreSQL.
//!
//! The yardstick is `COPY … TO STDOUT` piped into a bulk insert of the same lines into the same kind of
//! SQLite file. Memory of the platform is measured as well.
//!
//! `cargo bench --bench sync` starts its own PostgreSQL (`tests/servers.sh install` installs the packages)
//! and the real program as the platform. The result is the median of a few rounds that alternate between
//! both.
#![expect(clippy::unwrap_used, reason = "a bench that cannot run is to stop")]

#[expect(dead_code, reason = "the bench talks to one of the servers")]
#[path = "../tests/support/servers.rs"]
mod servers;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use reqwest::Client;
use serde_json::{Value, json};
use sqlx::{ConnectOptions as _, postgres::PgConnectOptions};

const ROWS: u64 = 1_000_000;
const ROUNDS: usize = 5;
const TOKEN: &str = "a-token-of-the-bench";

#[tokio::main]
async fn main() {
    let url: reqwest::Url = servers::servers().postgres.parse().unwrap();
    fill(&url).await;
    let place = tempfile::tempdir().unwrap();
    let platform = Platform::start(place.path());
    let source = json!({ "type": "postgresql", "name": "orders", "connection_config": {
        "url": url.as_str(), "tables": ["bench_orders"]
    } });
    let answer = platform.post("connect", &json!({ "sources": [source] })).await;
    assert_eq!(answer["status"], "success", "{answer}");

    let mut times: [Vec<Duration>; 2] = Default::default();
    let before = platform.peak();
    for round in 0..ROUNDS {
        let start = Instant::now();
        assert_eq!(copy(&url, &place.path().join(format!("copy{round}.db"))), ROWS);
        times[0].push(start.elapsed());
        let start = Instant::now();
        let answer = platform.post("sync", &json!({})).await;
        times[1].push(start.elapsed());
        assert_eq!(answer["data"]["records_processed"], ROWS, "{answer}");
    }
    let [copied, synced] = times.map(|mut times| {
        times.sort();
        times[ROUNDS / 2].as_secs_f64()
    });
    println!("{ROWS} rows of PostgreSQL, median of {ROUNDS} rounds");
    println!("COPY into a bulk insert {copied:8.2} s  1.00");
    println!("sync                    {synced:8.2} s  {:.2}", synced / copied);
    println!(
        "the platform's memory   {:8.1} MiB at most, {before:.1} MiB before the first sync",
        platform.peak()
    );
}

/// Fills a typical table: a key, texts, a decimal number, a time, a flag, nulls.
async fn fill(url: &reqwest::Url) {
    let mut connection = PgConnectOptions::from_url(url).unwrap().connect().await.unwrap();
    let sql = format!(
        "CREATE TABLE bench_orders (id bigint PRIMARY KEY, customer text NOT NULL, amount numeric(12, 2),
                                    placed timestamptz NOT NULL, paid boolean, note text);
         INSERT INTO bench_orders
         SELECT n, 'customer ' || n % 5000, n / 100.0, timestamptz '2026-01-01' + n * interval '1 second', n % 3 = 0,
                CASE WHEN n % 2 = 0 THEN 'to be left at the \"back\" door, order ' || n END
         FROM generate_series(1, {ROWS}) n;
         VACUUM ANALYZE bench_orders"
    );
    for statement in sql.split(';') {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement.to_owned())).execute(&mut connection).await.unwrap();
    }
}

/// Runs `psql -c "COPY …"` and a bulk insert of its lines.
fn copy(url: &reqwest::Url, file: &Path) -> u64 {
    let mut psql = Command::new("psql")
        .args(["-Xq", url.as_str(), "-c", "COPY bench_orders TO STDOUT"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut connection = rusqlite::Connection::open(file).unwrap();
    connection.pragma_update(None, "journal_mode", "WAL").unwrap();
    connection.pragma_update(None, "synchronous", "FULL").unwrap();
    let sql = "CREATE TABLE rows (seq INTEGER PRIMARY KEY, \"table\" TEXT NOT NULL, row TEXT NOT NULL, digest BLOB) STRICT;
               CREATE INDEX row_digest ON rows (\"table\", digest) WHERE digest IS NOT NULL;";
    connection.execute_batch(sql).unwrap();
    let change = connection.transaction().unwrap();
    let mut rows = 0;
    {
        let mut put =
            change.prepare("INSERT INTO rows (\"table\", row) VALUES ('bench_orders', ?1)").unwrap();
        let mut lines = BufReader::new(psql.stdout.take().unwrap());
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            put.execute([line.trim_end_matches('\n')]).unwrap();
            line.clear();
            rows += 1;
        }
    }
    change.commit().unwrap();
    assert!(psql.wait().unwrap().success());
    rows
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

    async fn post(&self, endpoint: &str, body: &Value) -> Value {
        let call = Client::new().post(format!("{}/api/v1/data/ws/{endpoint}", self.url)).bearer_auth(TOKEN);
        call.json(body).send().await.unwrap().json().await.unwrap()
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
