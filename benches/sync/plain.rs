//! Plain loops: read every row, and insert a line per row.

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use futures_util::TryStreamExt as _;
use parquet::file::reader::{FileReader as _, SerializedFileReader};
use reqwest::Url;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::{ConnectOptions as _, Row as _, ValueRef as _};
use tokio::runtime::Handle;

/// Inserts the lines that `fill` passes on, in one transaction, and returns their number.
fn insert(into: &Path, fill: impl FnOnce(&mut dyn FnMut(&str))) -> u64 {
    let mut connection = rusqlite::Connection::open(into).unwrap();
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
        fill(&mut |line| {
            put.execute([line]).unwrap();
            rows += 1;
        });
    }
    change.commit().unwrap();
    rows
}

/// `psql -c "COPY …"`.
pub(super) fn postgres(url: &Url, into: &Path) -> u64 {
    let mut psql = Command::new("psql")
        .args(["-Xq", url.as_str(), "-c", "COPY bench_orders TO STDOUT"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let rows = insert(into, |put| {
        let mut lines = BufReader::new(psql.stdout.take().unwrap());
        let mut line = String::new();
        while lines.read_line(&mut line).unwrap() > 0 {
            put(line.trim_end_matches('\n'));
            line.clear();
        }
    });
    assert!(psql.wait().unwrap().success());
    rows
}

/// The driver of the platform, and the text protocol.
pub(super) fn mariadb(url: &Url, into: &Path) -> u64 {
    insert(into, |put| {
        Handle::current().block_on(async {
            let mut connection = connect(url).await;
            let mut rows = sqlx::raw_sql("SELECT * FROM bench_orders").fetch(&mut connection);
            let mut line = String::new();
            while let Some(row) = rows.try_next().await.unwrap() {
                line.clear();
                for index in 0..row.len() {
                    let value = row.try_get_raw(index).unwrap();
                    if !value.is_null() {
                        line.push_str(&row.try_get_unchecked::<String, _>(index).unwrap());
                    }
                    line.push('\t');
                }
                put(&line);
            }
        });
    })
}

async fn connect(url: &Url) -> MySqlConnection {
    MySqlConnectOptions::from_url(url).unwrap().connect().await.unwrap()
}

/// The number of columns that one query finds.
pub(super) async fn columns(url: &Url) -> usize {
    let sql = "SELECT * FROM information_schema.columns WHERE table_schema = database()";
    sqlx::raw_sql(sql).fetch_all(&mut connect(url).await).await.unwrap().len()
}

pub(super) fn csv(file: &Path, into: &Path) -> u64 {
    insert(into, |put| {
        let mut reader = ::csv::Reader::from_path(file).unwrap();
        let (mut record, mut line) = (::csv::StringRecord::new(), String::new());
        while reader.read_record(&mut record).unwrap() {
            line.clear();
            for value in &record {
                line.push_str(value);
                line.push('\t');
            }
            put(&line);
        }
    })
}

pub(super) fn parquet(file: &Path, into: &Path) -> u64 {
    insert(into, |put| {
        let reader = SerializedFileReader::new(File::open(file).unwrap()).unwrap();
        for row in reader.get_row_iter(None).unwrap() {
            put(&row.unwrap().to_string());
        }
    })
}

/// One record per line, as the file has them.
pub(super) fn json(file: &Path, into: &Path) -> u64 {
    insert(into, |put| {
        for line in BufReader::new(File::open(file).unwrap()).lines() {
            let line = line.unwrap();
            let record = line.trim_start_matches('[').trim_end_matches([',', ']']);
            put(&serde_json::from_str::<serde_json::Value>(record).unwrap().to_string());
        }
    })
}
