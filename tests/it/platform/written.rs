//! Tests of files from other software; `fixtures/make.sh` regenerates them.

use std::path::Path;

use serde_json::{Value, json};

use super::harness::House;

const DUCKDB: &str = "duckdb-2.0.0";
const FASTPARQUET: &str = "fastparquet-2026.9.0";
const HYPARQUET: &str = "hyparquet-writer-0.17.0";
const PANDAS: &str = "pandas-3.1.1";
const POLARS: &str = "polars-2.1.0";
const PYARROW: &str = "pyarrow-26.0.1";

/// Copies a fixture into a house, and connects it.
async fn connect(house: &House, name: &str, config: Value) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/platform/fixtures");
    std::fs::copy(folder.join(name), house.data().join(name)).unwrap();
    let mut config = config;
    config["path"] = name.into();
    house.connect(name, "file", config).await
}

/// Syncs a fixture and returns its rows.
async fn rows(house: &House, name: &str, config: Value) -> Vec<Value> {
    let id = connect(house, name, config).await;
    house.sync(&id, json!({})).await;
    house.rows(name)
}

#[tokio::test]
async fn csv_files_are_read_as_they_were_written() {
    let house = House::new().await;
    let text = "say \"hi\", twice\nor more";
    for (name, sum, at) in [
        (format!("{DUCKDB}-rows.csv"), "0.3", ["2026-01-02 03:04:05", "2026-01-02 03:04:05.25"]),
        (format!("{DUCKDB}-rows.tsv"), "0.3", ["2026-01-02 03:04:05", "2026-01-02 03:04:05.25"]),
        (
            format!("{PANDAS}-rows.csv"),
            "0.30000000000000004",
            ["2026-01-02 03:04:05.000", "2026-01-02 03:04:05.250"],
        ),
        (
            format!("{PANDAS}-rows.tsv"),
            "0.30000000000000004",
            ["2026-01-02 03:04:05.000", "2026-01-02 03:04:05.250"],
        ),
    ] {
        let expected = [
            json!({ "id": "1", "text": "plain", "n": sum, "at": at[0] }),
            json!({ "id": "2", "text": text, "n": "1e-05", "at": "" }),
            json!({ "id": "3", "text": "", "n": "", "at": at[1] }),
        ];
        assert_eq!(rows(&house, &name, json!({})).await, expected, "{name}");
    }
    let expected = [
        json!({ "id": "1", "text": "plain", "n": "0.30000000000000004", "at": "2026-01-02T03:04:05.000000", "day": "2026-01-02" }),
        json!({ "id": "2", "text": text, "n": "0.00001", "at": "", "day": "" }),
        json!({ "id": "3", "text": "", "n": "", "at": "2026-01-02T03:04:05.250000", "day": "1969-12-31" }),
    ];
    assert_eq!(rows(&house, &format!("{POLARS}-rows.csv"), json!({})).await, expected);
    for writer in [PANDAS, POLARS] {
        let expected = ["a", "", "b"].map(|value| json!({ "only": value }));
        assert_eq!(rows(&house, &format!("{writer}-one-column.csv"), json!({})).await, expected, "{writer}");
    }
}

#[tokio::test]
async fn csv_files_of_spreadsheets_name_their_delimiter() {
    let house = House::new().await;
    let expected = [
        json!({ "id": "1", "Straße": "zwei; drei", "n": "0,5" }),
        json!({ "id": "2", "Straße": "sagt \"hallo\"", "n": "" }),
        json!({ "id": "3", "Straße": "Zeile 1\nZeile 2", "n": "007" }),
    ];
    assert_eq!(rows(&house, "excel-sep.csv", json!({})).await, expected);
    assert_eq!(rows(&house, "excel-semicolons.csv", json!({ "delimiter": ";" })).await, expected);
    let id = connect(&house, "excel-sep.csv", json!({ "delimiter": "|" })).await;
    assert!(house.sync_failure(&id).await.contains("its first line names the delimiter \";\""));
    let id = connect(&house, "excel-unicode-text.txt", json!({ "format": "tsv" })).await;
    assert!(house.sync_failure(&id).await.contains("this is UTF-16; convert the file to UTF-8"));
}

#[tokio::test]
async fn json_files_are_read_as_they_were_written() {
    let house = House::new().await;
    let text = "say \"hi\", twice\nor more";
    for (name, at) in [
        (format!("{DUCKDB}-rows.json"), ["2026-01-02 03:04:05", "2026-01-02 03:04:05.25"]),
        (format!("{DUCKDB}-rows.jsonl"), ["2026-01-02 03:04:05", "2026-01-02 03:04:05.25"]),
        (format!("{PANDAS}-rows.json"), ["2026-01-02T03:04:05.000", "2026-01-02T03:04:05.250"]),
        (format!("{PANDAS}-rows.jsonl"), ["2026-01-02T03:04:05.000", "2026-01-02T03:04:05.250"]),
    ] {
        let expected = [
            json!({ "id": 1, "text": "plain", "n": 0.3, "at": at[0] }),
            json!({ "id": 2, "text": text, "n": 1e-5, "at": null }),
            json!({ "id": 3, "text": "", "n": null, "at": at[1] }),
        ];
        assert_eq!(rows(&house, &name, json!({})).await, expected, "{name}");
    }
    let found = rows(&house, &format!("{POLARS}-rows.jsonl"), json!({})).await;
    assert_eq!(found[0]["n"], json!(0.1 + 0.2));
    assert_eq!(found[0]["tags"], json!(["a", "b"]));
}

#[tokio::test]
async fn parquet_files_are_read_as_they_were_written() {
    let house = House::new().await;
    let text = "say \"hi\", twice\nor more";
    for (name, sum, text, zone) in [
        (format!("{DUCKDB}-rows.parquet"), 0.3, text, ""),
        (format!("{FASTPARQUET}-rows.parquet"), 0.1 + 0.2, text, ""),
        (format!("{HYPARQUET}-rows.parquet"), 0.1 + 0.2, "say \"hi\"", "Z"),
    ] {
        let at = |text: &str| format!("{text}{zone}");
        let expected = [
            json!({ "id": 1, "text": "plain", "n": sum, "at": at("2026-01-02T03:04:05") }),
            json!({ "id": 2, "text": text, "n": 1e-5, "at": null }),
            json!({ "id": 3, "text": "", "n": null, "at": at("2026-01-02T03:04:05.25") }),
        ];
        assert_eq!(rows(&house, &name, json!({})).await, expected, "{name}");
    }
    let found = rows(&house, &format!("{POLARS}-rows.parquet"), json!({})).await;
    let first = json!({ "id": 1, "text": "plain", "n": 0.1 + 0.2, "at": "2026-01-02T03:04:05", "tags": ["a", "b"],
                        "day": "2026-01-02" });
    assert_eq!(found[0], first);
    assert_eq!((&found[1]["tags"], &found[2]["tags"]), (&json!([]), &json!(null)));
}

#[tokio::test]
async fn parquet_files_without_rows_are_sound() {
    let house = House::new().await;
    for name in [
        format!("{DUCKDB}-none.parquet"),
        format!("{FASTPARQUET}-none.parquet"),
        format!("{HYPARQUET}-none.parquet"),
        format!("{POLARS}-none.parquet"),
        format!("{PYARROW}-none.parquet"),
        format!("{PYARROW}-none-grouped.parquet"),
    ] {
        let id = connect(&house, &name, json!({})).await;
        let (_, answer) = house.test("file", json!({ "path": name })).await;
        assert_eq!(answer["message"], "read the Parquet file: 0 rows", "{name}");
        let (_, answer) = house.get(&format!("/api/v1/data/ws/schema?source_id={id}")).await;
        assert_eq!(answer["data"]["tables"][0]["columns"][0]["name"], "id", "{name}");
        assert_eq!(house.sync(&id, json!({})).await, 0, "{name}");
        assert_eq!(house.sync(&id, json!({ "incremental": true })).await, 0, "{name}");
    }
}

#[tokio::test]
async fn moments_of_any_year_and_the_ends_of_their_range_are_text() {
    let house = House::new().await;
    let expected = [
        json!({ "ms": "9999-12-31T22:00:00Z", "us": "9999-12-31T22:00:00.000001",
                "ns": "2262-04-11T23:47:16.854775807", "d": "9999-12-31" }),
        json!({ "ms": "9999-12-31T23:59:59.999Z", "us": "9999-12-31T23:59:59.999001",
                "ns": "1677-09-21T00:12:43.145224193", "d": "10000-01-01" }),
        json!({ "ms": "14999-11-23T23:40:00Z", "us": "14999-11-23T23:40:00.000001",
                "ns": "1970-01-01T00:00:00", "d": "infinity" }),
        json!({ "ms": "-000001-12-31T23:59:59.999Z", "us": "-000001-12-31T23:59:59.999001",
                "ns": "1970-01-01T00:00:00.000000001", "d": "-infinity" }),
    ];
    assert_eq!(rows(&house, &format!("{PYARROW}-far.parquet"), json!({})).await, expected);
    let expected = ["9999-12-31T23:59:59.999Z", "14999-11-23T23:40:00Z"].map(|at| json!({ "at": at }));
    assert_eq!(rows(&house, &format!("{PYARROW}-int96.parquet"), json!({})).await, expected);
    let expected = [
        json!({ "z": "08:00:00Z", "t": "24:00:00", "d": "infinity", "ts": "-infinity", "tz": "infinity" }),
        json!({ "z": "00:30:00.25Z", "t": "00:00:00", "d": "-000043-03-15", "ts": "15000-12-31T23:40:00",
                "tz": "2026-01-02T03:04:05.5Z" }),
    ];
    assert_eq!(rows(&house, &format!("{DUCKDB}-times.parquet"), json!({})).await, expected);
    let expected = ["10:00:00", "23:59:59"].map(|t| json!({ "t": t }));
    assert_eq!(rows(&house, &format!("{PYARROW}-time.parquet"), json!({})).await, expected);
}

#[tokio::test]
async fn columns_of_one_name_are_all_kept() {
    let house = House::new().await;
    let expected = [
        json!({ "id": 1, "id_2": "a", "s": { "n": 3, "n_2": 5 } }),
        json!({ "id": 2, "id_2": "b", "s": { "n": 4, "n_2": 6 } }),
    ];
    assert_eq!(rows(&house, &format!("{PYARROW}-twice.parquet"), json!({})).await, expected);
    let keys = [json!({ "m": { "a": 1, "a_2": 2, "a_2_2": 3 }, "j": { "a": 1, "a_2": "1e999" } })];
    assert_eq!(
        rows(&house, &format!("{PYARROW}-keys.parquet"), json!({})).await,
        keys,
        "keys of maps and JSON"
    );
}

#[tokio::test]
async fn texts_that_share_their_beginnings_are_read() {
    let house = House::new().await;
    let url = |n: usize| format!("https://example.com/some/path/{}/{n}{}", n % 7, "x".repeat(n % 40));
    let row = |n: usize| json!({ "prefix": url(n), "length": url(499 - n), "list": [url(n), url(n) + "y"] });
    for page in ["1.0", "2.0"] {
        let found = rows(&house, &format!("{PYARROW}-delta-{page}.parquet"), json!({})).await;
        assert_eq!(found, (0..500).map(row).collect::<Vec<_>>(), "pages of version {page}");
    }
}

#[tokio::test]
async fn a_variant_is_refused_by_its_name() {
    let house = House::new().await;
    let id = connect(&house, &format!("{DUCKDB}-variant.parquet"), json!({})).await;
    assert!(house.sync_failure(&id).await.contains("the column v is of the type VARIANT"));
}

#[tokio::test]
async fn a_damaged_page_is_noticed_by_its_checksum() {
    let house = House::new().await;
    for compression in ["none", "snappy"] {
        let name = format!("{PYARROW}-checked-{compression}.parquet");
        let id = connect(&house, &name, json!({})).await;
        assert_eq!(house.sync(&id, json!({})).await, 100);
        // Flips a bit of the values, far behind the header of the page.
        let path = house.data().join(&name);
        let mut content = std::fs::read(&path).unwrap();
        content[300] ^= 0x10;
        std::fs::write(&path, content).unwrap();
        let message = house.sync_failure(&id).await;
        assert!(message.contains("checksum"), "{message}");
        assert_eq!(house.rows(&name).len(), 100, "the rows of before stay");
    }
}

#[tokio::test]
async fn cursors_of_parquet_columns_are_ordered_by_their_kind() {
    for (column, taken) in [("long", 2), ("money", 2), ("at", 2), ("r", 2)] {
        let house = House::new().await;
        let (first, then) = (format!("{PYARROW}-marks-1.parquet"), format!("{PYARROW}-marks-2.parquet"));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/platform/fixtures");
        let copy = |name: &str| std::fs::copy(folder.join(name), house.data().join("marks.parquet")).unwrap();
        copy(&first);
        let config = json!({ "path": "marks.parquet", "key": "id" });
        let id = house.connect("marks", "parquet", config).await;
        let options = || json!({ "incremental": true, "cursor": column });
        assert_eq!(house.sync(&id, options()).await, 1, "{column}");
        copy(&then);
        assert_eq!(house.sync(&id, options()).await, taken, "{column}");
        assert_eq!(house.sync(&id, options()).await, 0, "{column}");
    }
}

#[tokio::test]
async fn durations_and_maps_have_one_kind_of_value_in_a_column() {
    let house = House::new().await;
    // Written as times of a day.
    let found = rows(&house, &format!("{FASTPARQUET}-durations.parquet"), json!({})).await;
    assert_eq!(found, [json!({ "d": "00:00:01" }), json!({ "d": "50:00:00" }), json!({ "d": "-00:00:01" })]);
    // Written as integers; only Arrow's own schema has their workspace.
    let found = rows(&house, &format!("{PYARROW}-durations.parquet"), json!({})).await;
    let of = |value: Value| json!({ "s": value, "ms": value, "us": value, "ns": value });
    assert_eq!(found, [of(json!(1500)), of(json!(-1)), of(json!(null))]);
    let found = rows(&house, &format!("{PYARROW}-maps.parquet"), json!({})).await;
    assert_eq!(
        found,
        [
            json!({ "text": { "a": 1 }, "number": [{ "key": 1, "value": "a" }] }),
            json!({ "text": {}, "number": [] }),
            json!({ "text": null, "number": null }),
        ]
    );
}
