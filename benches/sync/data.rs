//! Creates the rows to be synced: a key, texts, a decimal number, a time, a flag, nulls.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;

use parquet::data_type::{BoolType, ByteArray, ByteArrayType, Int64Type};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use parquet::schema::parser::parse_message_type;
use reqwest::Url;
use sqlx::ConnectOptions as _;
use sqlx::mysql::MySqlConnectOptions;
use sqlx::postgres::PgConnectOptions;

use super::ROWS;

/// Values that are written to a Parquet column at once.
const BATCH: usize = 10_000;
/// Start of the times, 2026-01-01, in seconds.
const START: u64 = 1_767_225_600;

fn customer(n: u64) -> String {
    format!("customer {}", n % 5_000)
}

fn note(n: u64) -> Option<String> {
    n.is_multiple_of(2).then(|| format!("to be left at the \"back\" door, order {n}"))
}

fn placed(n: u64) -> String {
    jiff::Timestamp::from_second(i64::try_from(START + n).unwrap()).unwrap().to_string()
}

pub(super) async fn postgres(url: &str) -> Url {
    let url: Url = url.parse().unwrap();
    let mut connection = PgConnectOptions::from_url(&url).unwrap().connect().await.unwrap();
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
    url
}

/// Runs statements in a new database of MariaDB.
async fn database(url: &str, name: &str, statements: Vec<String>) -> Url {
    let mut url: Url = url.parse().unwrap();
    let mut connection = MySqlConnectOptions::from_url(&url).unwrap().connect().await.unwrap();
    let start = [format!("CREATE DATABASE {name}"), format!("USE {name}")];
    for statement in start.into_iter().chain(statements) {
        sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut connection).await.unwrap();
    }
    url.set_path(name);
    url
}

pub(super) async fn mariadb(url: &str) -> Url {
    let create =
        "CREATE TABLE bench_orders (id bigint PRIMARY KEY, customer text NOT NULL, amount decimal(12, 2),
                                             placed datetime NOT NULL, paid boolean, note text)";
    let insert = format!(
        "INSERT INTO bench_orders
         SELECT seq, concat('customer ', seq % 5000), seq / 100, '2026-01-01' + INTERVAL seq SECOND, seq % 3 = 0,
                CASE WHEN seq % 2 = 0 THEN concat('to be left at the \"back\" door, order ', seq) END
         FROM seq_1_to_{ROWS}"
    );
    database(url, "bench_sync", vec![create.to_owned(), insert]).await
}

/// Creates tables, each with some columns, one of them JSON.
pub(super) async fn tables(url: &str, count: usize) -> Url {
    let create = |n: usize| {
        format!(
            "CREATE TABLE t{n} (id bigint PRIMARY KEY, name varchar(100) NOT NULL, at datetime, about JSON,
                                amount decimal(10, 2))"
        )
    };
    database(url, "bench_schema", (0..count).map(create).collect()).await
}

pub(super) fn csv(path: &Path) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    writeln!(file, "id,customer,amount,placed,paid,note").unwrap();
    for n in 1..=ROWS {
        let note = note(n).map(|note| format!("\"{}\"", note.replace('"', "\"\""))).unwrap_or_default();
        let (customer, placed, paid) = (customer(n), placed(n), n.is_multiple_of(3));
        writeln!(file, "{n},{customer},{}.{:02},{placed},{paid},{note}", n / 100, n % 100).unwrap();
    }
}

pub(super) fn json(path: &Path) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for n in 1..=ROWS {
        let record = serde_json::json!({
            "id": n, "customer": customer(n), "amount": format!("{}.{:02}", n / 100, n % 100),
            "placed": placed(n), "paid": n.is_multiple_of(3), "note": note(n),
        });
        write!(file, "{}{record}", if n == 1 { "[" } else { ",\n" }).unwrap();
    }
    writeln!(file, "]").unwrap();
}

/// Writes one row group.
pub(super) fn parquet(path: &Path) {
    let schema = "message rows {
        required int64 id; required binary customer (UTF8); required int64 amount (DECIMAL(12,2));
        required int64 placed (TIMESTAMP(MICROS,true)); required boolean paid; optional binary note (UTF8);
    }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().build());
    let mut file = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    let mut group = file.next_row_group().unwrap();
    let whole = |n: u64| i64::try_from(n).unwrap();
    column::<Int64Type>(&mut group, |n| Some(whole(n)));
    column::<ByteArrayType>(&mut group, |n| Some(ByteArray::from(customer(n).into_bytes())));
    column::<Int64Type>(&mut group, |n| Some(whole(n)));
    column::<Int64Type>(&mut group, |n| Some(whole((START + n) * 1_000_000)));
    column::<BoolType>(&mut group, |n| Some(n.is_multiple_of(3)));
    column::<ByteArrayType>(&mut group, |n| note(n).map(|note| ByteArray::from(note.into_bytes())));
    group.close().unwrap();
    file.close().unwrap();
}

fn column<D: parquet::data_type::DataType>(
    group: &mut SerializedRowGroupWriter<'_, File>,
    value: impl Fn(u64) -> Option<D::T>,
) {
    let mut column = group.next_column().unwrap().unwrap();
    let rows: Vec<u64> = (1..=ROWS).collect();
    for part in rows.chunks(BATCH) {
        let values: Vec<Option<D::T>> = part.iter().map(|n| value(*n)).collect();
        let levels: Vec<i16> = values.iter().map(|value| i16::from(value.is_some())).collect();
        let values: Vec<D::T> = values.into_iter().flatten().collect();
        column.typed::<D>().write_batch(&values, Some(&levels), None).unwrap();
    }
    column.close().unwrap();
}
