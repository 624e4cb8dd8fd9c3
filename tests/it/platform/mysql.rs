//! Tests that every type of MariaDB is read exactly.

use serde_json::{Value, json};

use super::databases::{Database, Engine};
use super::harness::House;

/// The expected row with every type.
const FULL: &str = r#"{
    "i1": -128, "u1": 255, "i2": -32768, "i3": 8388607, "i4": 2147483647, "i8": 9223372036854775807,
    "u8": 18446744073709551615, "z": 42, "y": 2026, "flag": 1, "d": "-12345678901234567890.1234567890",
    "f": 0.1, "f2": 16777216.0, "g": 1e-300, "bits": 5,
    "day": "2026-01-02", "clock": "-03:04:05.600", "at": "2026-01-02T03:04:05.678901",
    "moment": "2026-01-02T01:04:05Z", "c": "a", "v": "è\n\"quoted\\'", "tt": "t", "lt": "long", "latin": "é",
    "bin": { "$base64": "AGEA" }, "vb": { "$base64": "AP8=" }, "b": { "$base64": "" },
    "e": "it's \"ok\"", "s": "a,b", "j": { "b": 1, "long": "1234567890123456789.5" },
    "u": "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "ip": "::1", "xy": "POINT(1 2)", "tenth": 214748365 }"#;

#[tokio::test]
async fn every_mysql_type_arrives() {
    let (house, database) = (House::new().await, Database::new(Engine::MariaDb).await);
    database
        .sql(
            "SET time_zone = '+02:00';
             CREATE TABLE `every ``type` (
                 i1 tinyint, u1 tinyint unsigned, i2 smallint, i3 mediumint, i4 int, i8 bigint PRIMARY KEY,
                 u8 bigint unsigned, z int(5) zerofill, y year, flag boolean, d decimal(30, 10), f float, f2 float,
                 g double, bits bit(4), day date, clock time(3), at datetime(6), moment timestamp NULL,
                 c char(3), v varchar(20), tt tinytext, lt longtext, latin varchar(5) CHARACTER SET latin1,
                 bin binary(3), vb varbinary(4), b longblob, e enum('sad', 'it''s \"ok\"'), s set('a', 'b', 'c'),
                 j json, u uuid, ip inet6, xy point, tenth int GENERATED ALWAYS AS (i4 / 10) VIRTUAL
             ) CHARACTER SET utf8mb4;
             INSERT INTO `every ``type` VALUES (
                 -128, 255, -32768, 8388607, 2147483647, 9223372036854775807, 18446744073709551615, 42, 2026, true,
                 -12345678901234567890.1234567890, 0.1, 16777217, 1e-300, b'0101', '2026-01-02', '-03:04:05.6',
                 '2026-01-02 03:04:05.678901', '2026-01-02 03:04:05', 'a', 'è\\n\"quoted\\\\''', 't', 'long', 'é',
                 x'006100', x'00ff', '', 'it''s \"ok\"', 'b,a', '{\"b\": 1, \"long\": 1234567890123456789.5}',
                 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11', '::1', ST_GeomFromText('POINT(1 2)'), DEFAULT);
             INSERT INTO `every ``type` (i8, at) VALUES (-1, '0000-00-00');",
        )
        .await;
    let id = house.connect("all", "database", database.config(json!({ "engine": "mysql" }))).await;
    assert_eq!(house.sync(&id, json!({ "batch_size": 1 })).await, 2);
    let rows = house.table_rows("all");
    assert_eq!((rows[0].0.as_str(), rows.len()), ("every `type", 2));
    let full: Value = serde_json::from_str(FULL).unwrap();
    assert_eq!(rows[1].1, full);
    let nulls = full.as_object().unwrap().keys().map(|key| (key.clone(), Value::Null)).collect();
    let mut odd = Value::Object(nulls);
    odd["i8"] = json!(-1);
    odd["at"] = json!("0000-00-00T00:00:00.000000");
    assert_eq!(rows[0].1, odd);
}
