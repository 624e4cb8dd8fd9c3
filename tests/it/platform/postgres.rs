//! Tests that every type of PostgreSQL is read exactly.

use serde_json::{Value, json};

use super::databases::{Database, Engine};
use super::harness::House;

/// The expected row with every type.
const FULL: &str = r#"{
    "i2": -32768, "i4": 2147483647, "i8": 9223372036854775807, "o": 4294967295,
    "n": "12345678901234567890.12345678901234567890", "d": "1.5000000000", "m": "$12.50",
    "f4": 0.1, "f8": 1e-300, "b": true, "t": "è\n\"quoted\\", "v": "abcde", "c": "a  ", "Naïve": "n",
    "bytes": { "$base64": "AP8=" }, "at": "2026-01-02T03:04:05.678901", "moment": "2026-01-02T01:04:05Z",
    "day": "2026-01-02", "clock": "03:04:05.6", "zoned": "01:04:05Z", "span": "P1Y2DT3.5S",
    "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "j": { "a": [null], "b": 1 },
    "jb": { "long": "1234567890123456789.5", "a": "π" }, "e": "it's \"ok\"", "p": "99.50", "k": 5,
    "bits": "101", "ip": "::1/64", "net": "10.0.0.0/8", "mac": "08:00:2b:01:02:03", "xy": "(1,2)",
    "ts": "'a':1", "x": "<a/>", "r": "[1,5)", "rr": "{[1,2.5]}", "pair": "(1,\"x y\")",
    "ai": [1, null, -9223372036854775808], "at2": [["a", "b \"c\""], [null, "NULL"]], "aj": [{ "a": 1 }],
    "ae": ["sad"], "ab": [{ "$base64": "AP8=" }], "am": ["2026-01-02T03:04:05Z"], "ax": "{(1,1),(0,0)}",
    "tenth": 214748364 }"#;

#[tokio::test]
async fn every_postgres_type_arrives() {
    let (house, database) = (House::new().await, Database::new(Engine::Postgres).await);
    database
        .sql(
            "CREATE TYPE mood AS ENUM ('sad', 'it''s \"ok\"');
             CREATE DOMAIN percent AS numeric(5, 2) CHECK (value <= 100);
             CREATE DOMAIN small AS percent;
             CREATE DOMAIN count AS bigint;
             CREATE TYPE pair AS (a int, b text);
             CREATE TABLE \"every \"\"type\" (
                 i2 smallint, i4 integer, i8 bigint PRIMARY KEY, o oid, n numeric, d decimal(30, 10), m money,
                 f4 real, f8 double precision, b boolean, t text, v varchar(5), c char(3), \"Naïve\" name,
                 bytes bytea, at timestamp, moment timestamptz, day date, clock time, zoned timetz, span interval,
                 u uuid, j json, jb jsonb, e mood, p small, k count, bits bit(3), ip inet, net cidr, mac macaddr,
                 xy point, ts tsvector, x xml, r int4range, rr nummultirange, pair pair,
                 ai bigint[], at2 text[][], aj jsonb[], ae mood[], ab bytea[], am timestamptz[], ax box[],
                 tenth integer GENERATED ALWAYS AS (i4 / 10) STORED);
             INSERT INTO \"every \"\"type\" VALUES (
                 -32768, 2147483647, 9223372036854775807, 4294967295, 12345678901234567890.12345678901234567890,
                 1.5, 12.5, 0.1, 1e-300, true, E'è\\n\"quoted\\\\', 'abcde', 'a', 'n',
                 '\\x00ff', '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05+02', '2026-01-02', '03:04:05.6',
                 '03:04:05+02', '1 year 2 days 3.5 seconds',
                 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '{\"b\": 1,  \"a\": [null]}',
                 '{\"long\": 1234567890123456789.5, \"a\": \"π\"}', 'it''s \"ok\"', 99.5, 5, B'101', '::1/64',
                 '10.0.0.0/8', '08:00:2b:01:02:03', '(1,2)', 'a:1', '<a/>', '[1,5)', '{[1,2.5]}', '(1,\"x y\")',
                 '{1,NULL,-9223372036854775808}', '{{a,\"b \\\"c\\\"\"},{NULL,\"NULL\"}}', '{\"{\\\"a\\\": 1}\"}',
                 '{sad}', '{\"\\\\x00ff\"}', '{\"2026-01-02 03:04:05+00\"}', '{(1,1),(0,0)}');
             INSERT INTO \"every \"\"type\" (i8, f4, f8, n, at, moment) VALUES
                 (-1, 'NaN', '-Infinity', 'NaN', 'infinity', '0044-03-15 12:00:00+00 BC');",
        )
        .await;
    let id = house.connect("all", "database", database.config(json!({ "engine": "postgresql" }))).await;
    assert_eq!(house.sync(&id, json!({ "batch_size": 1 })).await, 2);
    let rows = house.table_rows("all");
    assert_eq!((rows[0].0.as_str(), rows.len()), ("every \"type", 2));
    let full: Value = serde_json::from_str(FULL).unwrap();
    let with = |mut row: Value, more: Value| {
        row.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        row
    };
    assert_eq!(rows[1].1, full);
    let nulls = full.as_object().unwrap().keys().map(|key| (key.clone(), Value::Null)).collect();
    let odd = json!({ "i8": -1, "f4": "NaN", "f8": "-inf", "n": "NaN", "at": "infinity",
                      "moment": "0044-03-15 12:00:00+00 BC" });
    assert_eq!(rows[0].1, with(Value::Object(nulls), odd));
}
