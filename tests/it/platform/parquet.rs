//! Tests of Parquet files from another implementation, and of large ones.

use std::fs::File;
use std::path::Path;
use std::sync::Arc;

use ::parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use serde_json::{Value, json};

use super::harness::{House, Served};

/// Creates a house with the files that `parquet/make.py` wrote.
async fn house() -> House {
    let house = House::new().await;
    let files = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/platform/parquet");
    for name in ["types.parquet", "nested.parquet", "old.parquet", "lz4.parquet"] {
        std::fs::copy(files.join(name), house.data().join(name)).unwrap();
    }
    house
}

/// Writes `n` and a `text` of `letters` bytes, in the given row groups.
fn write(path: &Path, groups: &[std::ops::Range<i64>], letters: usize) {
    let schema = "message rows { required int64 n; required binary text (UTF8); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let properties = Arc::new(WriterProperties::builder().set_dictionary_enabled(false).build());
    let mut file = SerializedFileWriter::new(File::create(path).unwrap(), schema, properties).unwrap();
    for rows in groups {
        let mut group = file.next_row_group().unwrap();
        let numbers: Vec<_> = rows.clone().collect();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&numbers, None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        for part in numbers.chunks(1000) {
            let texts = part.iter().map(|n| ByteArray::from(format!("{n:0>letters$}").into_bytes()));
            let texts: Vec<_> = texts.collect();
            column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap();
        }
        column.close().unwrap();
        group.close().unwrap();
    }
    file.close().unwrap();
}

#[tokio::test]
async fn every_parquet_type_arrives() {
    let house = house().await;
    let id = house.connect("types", "file", json!({ "path": "types.parquet" })).await;
    assert_eq!(house.sync(&id, json!({})).await, 2);
    let rows = house.rows("types");
    assert_eq!(
        rows[0],
        json!({
            "boolean": true, "small": -128, "unsigned": 4_294_967_295_u32, "long": i64::MIN, "longest": u64::MAX,
            "half": -1.5, "single": 0.1, "double": "inf", "money": "-0.05",
            "large": "1234567890123456789012345678.0123456789", "larger": format!("-{}", "1234567890".repeat(7)),
            "text": "naïve", "json": { "a": [1, null] }, "bytes": { "$base64": "AP8=" },
            "fixed": { "$base64": "YWJj" }, "uuid": "00010203-0405-0607-0809-0a0b0c0d0e0f",
            "date": "1969-12-31", "time": "23:59:59.999999", "millis": "2026-01-02T03:04:05.678Z",
            "micros": "2026-01-02T03:04:05.678901Z", "nanos": "2026-01-02T03:04:05.678901234Z",
            "wall": "2026-01-02T03:04:05.678901",
        })
    );
    let nulls = rows[1].as_object().unwrap();
    assert!(nulls.len() == 22 && nulls.values().all(Value::is_null), "{nulls:?}");

    let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
    let columns = answer["data"]["tables"][0]["columns"].as_array().unwrap();
    let names: Vec<_> = columns.iter().map(|column| column["type"].as_str().unwrap()).collect();
    assert_eq!(
        names,
        [
            "boolean",
            "integer",
            "integer",
            "integer",
            "integer",
            "number",
            "number",
            "number",
            "decimal(10,2)",
            "decimal(38,10)",
            "decimal(70,0)",
            "text",
            "json",
            "bytes",
            "bytes",
            "uuid",
            "date",
            "time",
            "timestamp with time zone",
            "timestamp with time zone",
            "timestamp with time zone",
            "timestamp",
        ]
    );
    assert_eq!(columns[0], json!({ "name": "boolean", "type": "boolean", "nullable": true }));
}

#[tokio::test]
async fn lists_maps_and_structs_arrive_as_they_are_nested() {
    let house = house().await;
    let id = house.connect("nested", "parquet", json!({ "path": "nested.parquet" })).await;
    assert_eq!(house.sync(&id, json!({ "batch_size": 1 })).await, 4);
    assert_eq!(
        house.rows("nested"),
        [
            json!({
                "id": 1, "tags": ["a", null, ""], "grid": [[1, 2], [], null, [3]],
                "prices": { "x": 1.5, "y": null }, "by_number": [{ "key": 7, "value": "seven" }],
                "station": { "name": "Pier", "docks": [1, 2] },
                "stations": [{ "name": "A", "docks": null }, null, { "name": null, "docks": [9] }],
            }),
            json!({
                "id": 2, "tags": [], "grid": [], "prices": {}, "by_number": [],
                "station": { "name": null, "docks": [] }, "stations": [],
            }),
            json!({
                "id": 3, "tags": null, "grid": null, "prices": null, "by_number": null, "station": null,
                "stations": null,
            }),
            json!({
                "id": 4, "tags": ["last"], "grid": [[null]], "prices": { "z": 0.0 }, "by_number": null,
                "station": { "name": "Quay", "docks": null },
                "stations": [{ "name": "B", "docks": [1, null, 3] }],
            }),
        ]
    );
    let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
    let columns = &answer["data"]["tables"][0]["columns"];
    assert_eq!(columns[0], json!({ "name": "id", "type": "integer", "nullable": false }));
    assert_eq!(columns[2], json!({ "name": "grid", "type": "array of array of integer", "nullable": true }));
}

#[tokio::test]
async fn timestamps_of_older_engines_keep_their_microseconds() {
    let house = house().await;
    let id = house.connect("old", "parquet", json!({ "path": "old.parquet" })).await;
    house.sync(&id, json!({})).await;
    let at = |text| json!({ "at": text });
    let (first, last) = ("2026-01-02T03:04:05.678901Z", "1900-01-01T00:00:00Z");
    assert_eq!(house.rows("old"), [at(Some(first)), at(None), at(Some(last))]);
}

#[tokio::test]
async fn a_test_of_a_parquet_file_says_what_is_wrong_with_it() {
    let house = house().await;
    house.write("text.parquet", "PAR1 and then something else, so this is no such file");
    house.write("short.parquet", "PAR1");
    let whole = std::fs::read(house.data().join("types.parquet")).unwrap();
    let mut damaged = whole.clone();
    damaged[4..2000].fill(0x55);
    std::fs::write(house.data().join("damaged.parquet"), damaged).unwrap();
    for (name, expected) in [
        ("text.parquet", "not a Parquet file"),
        ("short.parquet", "not a Parquet file"),
        ("damaged.parquet", "not a Parquet file that can be read"),
        ("lz4.parquet", "compressed with LZ4; write it with snappy, zstd or gzip"),
        ("gone.parquet", "there is no file gone.parquet"),
    ] {
        let (code, answer) = house.test("parquet", json!({ "path": name })).await;
        assert_eq!((code, answer["status"].as_str()), (200, Some("error")), "{name}: {answer}");
        assert!(answer["message"].as_str().unwrap().contains(expected), "{name}: {answer}");
    }
    let (_, answer) = house.test("file", json!({ "path": "nested.parquet" })).await;
    assert_eq!(answer["message"], "read the Parquet file: 4 rows");
}

#[tokio::test]
async fn a_parquet_file_written_anew_gives_what_is_new_in_it() {
    let house = House::new().await;
    let path = house.data().join("a.parquet");
    write(&path, &[0..3, 3..5], 4);
    let id = house.connect("a", "parquet", json!({ "path": "a.parquet" })).await;
    let new = || json!({ "incremental": true });
    assert_eq!(house.sync(&id, new()).await, 5);
    assert_eq!(house.sync(&id, new()).await, 0);
    write(&path, &[0..5, 5..7], 4);
    assert_eq!(house.sync(&id, new()).await, 2);
    let numbers: Vec<_> = house.rows("a").iter().map(|row| row["n"].as_i64().unwrap()).collect();
    assert_eq!(numbers, [0, 1, 2, 3, 4, 5, 6]);

    let by_cursor = || json!({ "incremental": true, "cursor": "n" });
    assert_eq!(house.sync(&id, by_cursor()).await, 7, "another way to tell what is new reads anew");
    write(&path, &[2..3, 6..9], 4);
    assert_eq!(house.sync(&id, by_cursor()).await, 2);
    assert_eq!(house.rows("a").len(), 9);
}

#[tokio::test]
async fn row_groups_are_read_a_part_at_a_time() {
    let house = House::new().await;
    write(&house.data().join("small.parquet"), &[0..1, 1..500], 4000);
    write(&house.data().join("large.parquet"), &[0..5_999, 5_999..6_000], 4000);
    let state = house.outside().join("state");
    let served = Served::start(&house.data(), &state, &[], &[]);
    let mut memory = Vec::new();
    for (path, rows) in [("small.parquet", 500), ("large.parquet", 6_000)] {
        let source = json!({ "type": "parquet", "name": path, "connection_config": { "path": path } });
        let (_, answer) = served.post("connect", &json!({ "sources": [source] })).await;
        let id = &answer["data"]["connected_sources"][0]["id"];
        let (_, answer) = served.post("sync", &json!({ "source_ids": [id] })).await;
        assert_eq!(answer["data"]["records_processed"], rows, "{answer}");
        memory.push(served.most_memory());
    }
    assert!(memory[1] < memory[0] + (16 << 10), "KiB for 2 MB and for 24 MB: {memory:?}");
}

#[tokio::test]
async fn a_schema_that_is_nested_too_deeply_is_refused_before_it_is_decoded() {
    let house = House::new().await;
    for (depth, refused) in [(60, false), (70, true)] {
        let schema = format!(
            "message rows {{ {} required int64 n; {} }}",
            "required group g { ".repeat(depth),
            "}".repeat(depth)
        );
        let path = house.data().join("deep.parquet");
        let schema = Arc::new(parse_message_type(&schema).unwrap());
        let mut file =
            SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::default()).unwrap();
        let mut group = file.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[1], None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        file.close().unwrap();
        let (_, answer) = house.test("parquet", json!({ "path": "deep.parquet" })).await;
        let message = answer["message"].as_str().unwrap();
        assert_eq!(message.contains("nested too deeply"), refused, "{depth}: {message}");
    }
}

/// Writes rows with a list of identical texts.
fn write_lists(path: &Path, rows: usize, values: usize, text: &[u8]) {
    let schema = Arc::new(parse_message_type("message rows { repeated binary text (UTF8); }").unwrap());
    let mut file = SerializedFileWriter::new(File::create(path).unwrap(), schema, Arc::default()).unwrap();
    let mut group = file.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let texts = vec![ByteArray::from(text.to_vec()); values];
    let repeats: Vec<i16> = (0..values).map(|at| i16::from(at > 0)).collect();
    for _ in 0..rows {
        let typed = column.typed::<ByteArrayType>();
        typed.write_batch(&texts, Some(&vec![1; values]), Some(&repeats)).unwrap();
    }
    column.close().unwrap();
    group.close().unwrap();
    file.close().unwrap();
}

#[tokio::test]
async fn a_row_is_no_larger_than_a_record_may_be() {
    let house = House::new().await;
    write_lists(&house.data().join("large.parquet"), 1, 80, &vec![b'a'; 1 << 20]);
    let (_, answer) = house.test("parquet", json!({ "path": "large.parquet" })).await;
    assert!(answer["message"].as_str().unwrap().contains("a row is larger than 64 MiB"), "{answer}");
    // Many small values are valid; rows are read one at a time.
    write_lists(&house.data().join("many.parquet"), 2_200, 1_000, b"a");
    let (_, answer) = house.test("parquet", json!({ "path": "many.parquet" })).await;
    assert_eq!(answer["message"], "read the Parquet file: 2200 rows");
}
