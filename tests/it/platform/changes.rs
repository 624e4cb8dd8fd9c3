//! Tests of cursor order, and of keys that select the latest version of a record.

use serde_json::{Value, json};

use super::harness::{House, by};

/// Returns the stored ids, sorted.
fn ids(house: &House, name: &str) -> Vec<i64> {
    let mut ids: Vec<_> = house.rows(name).iter().map(|row| row["id"].as_i64().unwrap()).collect();
    ids.sort_unstable();
    ids
}

/// Writes the records as one document, and as lines.
fn write(house: &House, name: &str, records: &[Value]) {
    house.write(&format!("{name}.json"), &Value::from(records.to_vec()).to_string());
    let lines: Vec<_> = records.iter().map(|record| format!("{record}\n")).collect();
    house.write(&format!("{name}.jsonl"), &lines.concat());
}

#[tokio::test]
async fn later_values_of_a_cursor_are_taken_however_they_are_written() {
    let house = House::new().await;
    for (index, (first, later)) in [
        (json!("2026-11-01T10:00:05Z"), json!("2026-11-01T10:00:05.25Z")),
        (json!("2026-11-01T10:00:00Z"), json!("2026-11-01T09:30:00-05:00")),
        (json!("2026-11-01T10:00:05Z"), json!("2026-11-01 23:00:00")),
        (json!("2026-11-01T10:00:05"), json!("2026-11-01 10:00:06")),
        (json!("Sun, 01 Nov 2026 10:00:00 GMT"), json!("Mon, 02 Nov 2026 09:00:00 GMT")),
        (json!("31/12/2026"), json!("01/01/2027")),
        (json!("9"), json!("10")),
        (json!(9), json!("10")),
        (json!("-10.5"), json!("-9.75")),
        (json!("99999999999999999999999999999999999999"), json!("100000000000000000000000000000000000000")),
        (json!("v9"), json!("v10")),
        (json!("unknown"), json!("2026-11-01")),
        (json!(null), json!(1)),
        (json!("NaN"), json!(1)),
        (json!("infinity"), json!("2026-11-01")),
    ]
    .into_iter()
    .enumerate()
    {
        let name = format!("at{index}");
        let (first, later) = (json!({ "id": 1, "at": first }), json!({ "id": 2, "at": later }));
        for kind in ["json", "jsonl"] {
            let source = format!("{name}.{kind}");
            write(&house, &name, std::slice::from_ref(&first));
            let id = house.connect(&source, kind, json!({ "path": source })).await;
            assert_eq!(house.sync(&id, by("at")).await, 1, "{first}");
            assert_eq!(house.sync(&id, by("at")).await, 0, "{first}");
            write(&house, &name, &[first.clone(), later.clone()]);
            assert_eq!(house.sync(&id, by("at")).await, 1, "{first} {later}");
            assert_eq!(house.sync(&id, by("at")).await, 0, "{first} {later}");
            assert_eq!(ids(&house, &source), [1, 2], "{first} {later}");
        }
    }
}

#[tokio::test]
async fn a_value_without_an_order_never_moves_the_mark() {
    let house = House::new().await;
    let record = |id: i64, at: Value| json!({ "id": id, "at": at });
    let mut records = vec![
        record(1, json!("2026-11-01T10:00:00Z")),
        record(2, json!("infinity")),
        record(3, json!(null)),
        record(4, json!("NaN")),
        record(5, json!({ "$date": 7 })),
        json!({ "id": 6 }),
    ];
    write(&house, "a", &records);
    let id = house.connect("a", "json", json!({ "path": "a.json" })).await;
    assert_eq!(house.sync(&id, by("at")).await, 6);
    records.push(record(7, json!("2026-11-02T10:00:00Z")));
    records.push(record(8, json!(null)));
    records.push(record(9, json!("2026-10-01T10:00:00Z")));
    write(&house, "a", &records);
    assert_eq!(house.sync(&id, by("at")).await, 2, "the later one and the one without a value");
    assert_eq!(house.sync(&id, by("at")).await, 0);
    assert_eq!(ids(&house, "a"), [1, 2, 3, 4, 5, 6, 7, 8]);
}

#[tokio::test]
async fn the_latest_version_of_a_key_takes_the_place_of_the_stored_one() {
    let house = House::new().await;
    let first = [json!({ "id": 1, "at": 10, "v": "a" }), json!({ "id": 2, "at": 20, "v": "b" })];
    let then = [
        json!({ "id": 1.0, "at": 30, "v": "changed" }),
        json!({ "id": 2, "at": 20, "v": "b" }),
        json!({ "id": 3, "at": 30, "v": "c" }),
    ];
    for (kind, options) in [
        ("json", json!({ "incremental": true })),
        ("json", by("at")),
        ("jsonl", json!({ "incremental": true })),
        ("jsonl", by("at")),
    ] {
        let name = format!("{kind}{options}");
        write(&house, "a", &first);
        let id = house.connect(&name, kind, json!({ "path": format!("a.{kind}"), "key": "id" })).await;
        assert_eq!(house.sync(&id, options.clone()).await, 2, "{name}");
        write(&house, "a", &then);
        assert_eq!(house.sync(&id, options.clone()).await, 2, "{name}");
        assert_eq!(house.rows(&name), then, "{name}");
        assert_eq!(house.sync(&id, options).await, 0, "{name}");
    }
}

#[tokio::test]
async fn a_key_may_be_several_fields_and_lie_within_the_record() {
    let house = House::new().await;
    let record = |site: &str, n: u64, v: &str| json!({ "site": { "name": site }, "n": n, "v": v });
    write(&house, "a", &[record("x", 1, "a"), record("y", 1, "b"), record("x", 2, "c"), record("x", 2, "d")]);
    let config = json!({ "path": "a.jsonl", "key": ["/site/name", "n"] });
    let id = house.connect("a", "jsonl", config).await;
    house.sync(&id, json!({})).await;
    let expected = [record("x", 1, "a"), record("y", 1, "b"), record("x", 2, "d")];
    assert_eq!(house.rows("a"), expected, "of two versions in one file the last one counts");
    write(&house, "a", &[record("y", 1, "changed")]);
    assert_eq!(house.sync(&id, json!({ "incremental": true })).await, 1);
    assert_eq!(house.rows("a")[1], record("y", 1, "changed"));
}

#[tokio::test]
async fn a_csv_file_is_read_by_key_and_cursor_too() {
    let house = House::new().await;
    house.write("a.csv", "z,id,at\na,1,9\nb,2,10\n");
    let id = house.connect("a", "csv", json!({ "path": "a.csv", "key": "id" })).await;
    assert_eq!(house.sync(&id, by("at")).await, 2);
    house.write("a.csv", "z,id,at\nlate,4,8\nchanged,1,11\nb,2,10\nc,3,\n");
    assert_eq!(house.sync(&id, by("at")).await, 2);
    let expected = [("changed", "1", "11"), ("b", "2", "10"), ("c", "3", "")];
    assert_eq!(house.rows("a"), expected.map(|(z, id, at)| json!({ "z": z, "id": id, "at": at })));
    assert_eq!(house.sync(&id, by("at")).await, 0);
    // Without a key, an unfinished last line is read once it is finished or has not changed.
    house.write("b.csv", "id,at\n1,9\n2,1");
    let open = house.connect("b", "csv", json!({ "path": "b.csv" })).await;
    assert_eq!(house.sync(&open, by("at")).await, 1);
    house.append("b.csv", "0\n3,11");
    assert_eq!(house.sync(&open, by("at")).await, 1);
    assert_eq!(house.sync(&open, by("at")).await, 1);
    let expected = [("1", "9"), ("2", "10"), ("3", "11")].map(|(id, at)| json!({ "id": id, "at": at }));
    assert_eq!(house.rows("b"), expected);
    let call = json!({ "source_ids": [id], "sync_options": by("updated") });
    let (_, answer) = house.post("sync", &call).await;
    let message = answer["data"]["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("the cursor field \"updated\""), "{message}");
}

#[tokio::test]
async fn a_cursor_or_key_that_no_record_has_fails_with_its_name() {
    let house = House::new().await;
    write(&house, "a", &[json!({ "id": 1, "at": 1 })]);
    for (key, options, words) in [
        (json!("idd"), json!({}), "the key \"idd\""),
        (json!(["id", "n"]), json!({}), "the key \"id\", \"n\""),
        (json!(null), by("updated"), "the cursor field \"updated\""),
    ] {
        for kind in ["json", "jsonl"] {
            let id = house.connect("a", kind, json!({ "path": format!("a.{kind}"), "key": key })).await;
            let call = json!({ "source_ids": [id], "sync_options": options });
            let (_, answer) = house.post("sync", &call).await;
            let message = answer["data"]["errors"][0]["message"].as_str().unwrap();
            assert!(message.contains(words), "{message}");
        }
    }
    let wrong = json!({ "sources": [{ "type": "json", "name": "b", "connection_config": { "path": "a.json", "key": 1 } }] });
    let (_, answer) = house.post("connect", &wrong).await;
    assert!(answer.to_string().contains("\\\"key\\\" must be the name of a field"), "{answer}");
}

#[tokio::test]
async fn another_cursor_is_said_to_read_everything_again_and_an_empty_file_keeps_the_rows() {
    let house = House::new().await;
    let none = json!({ "incremental": true });
    for (nth, (before, after)) in
        [(by("at"), by("id")), (by("at"), none.clone()), (none.clone(), by("at"))].into_iter().enumerate()
    {
        for kind in ["json", "jsonl", "csv"] {
            let name = format!("{nth}.{kind}");
            let put = |ids: &[i64]| match kind {
                "csv" => house.write(
                    &name,
                    &ids.iter().fold("id,at\n".to_owned(), |text, id| text + &format!("{id},{id}\n")),
                ),
                _ => write(
                    &house,
                    &nth.to_string(),
                    &ids.iter().map(|id| json!({ "id": id, "at": id })).collect::<Vec<_>>(),
                ),
            };
            let said = async |id: &str, options: &Value| {
                let call = json!({ "source_ids": [id], "sync_options": options });
                let (_, answer) = house.post("sync", &call).await;
                assert_eq!(answer["status"], "success", "{answer}");
                answer["data"]["sources"][0]["message"].as_str().unwrap_or_default().to_owned()
            };
            put(&[1, 2]);
            let id = house.connect(&name, kind, json!({ "path": name })).await;
            assert_eq!(house.sync(&id, before.clone()).await, 2);
            put(&[]);
            let message = said(&id, &after).await;
            assert!(message.contains("the rows of before are kept"), "{name}: {message}");
            assert_eq!(house.rows(&name).len(), 2, "{name}");
            put(&[3]);
            let message = said(&id, &after).await;
            assert!(message.contains("had another cursor"), "{name}: {message}");
            assert_eq!(house.rows(&name).len(), 1, "{name}");
            assert_eq!(said(&id, &after).await, "", "{name}");
            put(&[]);
            said(&id, &json!({})).await;
            assert_eq!(house.rows(&name).len(), 0, "{name}: a full sync takes an empty file at its word");
        }
    }
}

#[tokio::test]
async fn numbers_of_every_size_are_kept_exactly_and_keep_their_order() {
    let house = House::new().await;
    let long = format!("1{}", "0".repeat(400));
    let text = |records: &[&str]| format!("[{}]", records.join(","));
    house.write("n.json", &text(&[r#"{"id":1,"n":1e999}"#, r#"{"id":2,"n":-1e-999}"#]));
    let id = house.connect("n", "json", json!({ "path": "n.json", "key": "id" })).await;
    assert_eq!(house.sync(&id, by("n")).await, 2);
    house.write("n.json", &text(&[&format!(r#"{{"id":3,"n":{long}}}"#), r#"{"id":4,"n":1e1000}"#]));
    assert_eq!(house.sync(&id, by("n")).await, 1, "1e400 lies before the mark");
    let rows = [("1", "1e999"), ("2", "-1e-999"), ("4", "1e1000")]
        .map(|(id, n)| json!({ "id": id.parse::<i64>().unwrap(), "n": n }));
    assert_eq!(house.rows("n"), rows);

    house.write("one.json", "0.1000000000000000055511151231257827");
    let id = house.connect("one", "json", json!({ "path": "one.json" })).await;
    let failure = house.sync_failure(&id).await;
    assert!(failure.contains("expected records, found a number at line 1"), "{failure}");
}
