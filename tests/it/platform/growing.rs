//! Tests of files that grow, are rotated, or are read while they are being written.

use serde_json::{Value, json};

use super::harness::{House, incremental};

/// Syncs; returns the number of records and the platform's note or error.
async fn said(house: &House, id: &str, options: Value) -> (u64, String) {
    let (_, answer) = house.post("sync", &json!({ "source_ids": [id], "sync_options": options })).await;
    let data = &answer["data"];
    let message = [&data["errors"][0]["message"], &data["sources"][0]["message"]];
    let message = message.iter().find_map(|message| message.as_str()).unwrap_or_default().to_owned();
    (data["records_processed"].as_u64().unwrap_or(0), message)
}

#[tokio::test]
async fn a_quote_that_nothing_closes_fails_with_its_line_and_the_rows_stay() {
    let house = House::new().await;
    for (index, (content, words)) in [
        ("id,name\n1,\"Ann\n2,Bob\n3,Cy\n4,Dee\n", "line 2 opens a quote that nothing closes"),
        ("id,name\n1,Ann\n2,\"Bob\n3,Cy\n4,Dee", "line 3 opens a quote that nothing closes"),
        ("\"id,name\n1,Ann\n", "line 1 opens a quote that nothing closes"),
        (
            "id,name\n1,\"Ann\n2,\"Bob\"\n",
            "line 3 (of a record that begins in line 2) has text behind a closing quote",
        ),
        ("id,name\n1,\"An\"n\n", "line 2 has text behind a closing quote"),
    ]
    .into_iter()
    .enumerate()
    {
        for (kind, options) in
            [("csv", json!({})), ("csv", incremental()), ("tsv", json!({})), ("tsv", incremental())]
        {
            let name = format!("{index}.{kind}");
            let spelled = |text: &str| if kind == "tsv" { text.replace(',', "\t") } else { text.to_owned() };
            house.write(&name, &spelled("id,name\n1,Ann\n2,Bob\n3,Cy\n4,Dee\n"));
            let id = house.connect(&name, kind, json!({ "path": name })).await;
            said(&house, &id, options.clone()).await;
            assert_eq!(house.rows(&name).len(), 4);
            house.write(&name, &spelled(content));
            let (_, message) = said(&house, &id, options.clone()).await;
            assert!(message.contains(words), "{name} {options}: {message}");
            assert_eq!(house.rows(&name).len(), 4, "{name}: the rows of before stay");
        }
    }
    house.write("plain.tsv", "id\tname\n1\t\"Ann\n2\tBob \"B\" Roe\n");
    let id = house.connect("plain", "tsv", json!({ "path": "plain.tsv", "quote": "none" })).await;
    house.sync(&id, json!({})).await;
    let expected = [json!({ "id": "1", "name": "\"Ann" }), json!({ "id": "2", "name": "Bob \"B\" Roe" })];
    assert_eq!(house.rows("plain"), expected);
}

#[tokio::test]
async fn a_record_that_is_still_being_written_is_left_to_the_next_sync() {
    let house = House::new().await;
    let ann = "id,name,v\n1,Ann,a\n";
    for (name, first, parts) in [
        ("quoted.csv", ann, vec!["2,\"Bo", "b\nRoe\"", ",b\n3,Cy,c\n"]),
        ("plain.csv", ann, vec!["2", ",Bo", "b,b\n3,Cy,c\n"]),
        ("dos.csv", "id,name,v\r\n1,Ann,a\r\n", vec!["2,\"Bob\r\n", "Roe\",b\r", "\n3,Cy,c\r\n"]),
        (
            "lines.jsonl",
            "{\"id\":\"1\"}\n",
            vec!["{\"id\":", "\"2\", \"name\": \"B", "ob\"}\n{\"id\":\"3\"}\n"],
        ),
    ] {
        house.write(name, first);
        let id = house.connect(name, "file", json!({ "path": name })).await;
        assert_eq!(said(&house, &id, incremental()).await, (1, String::new()), "{name}");
        let (last, halves) = parts.split_last().unwrap();
        for (index, half) in halves.iter().enumerate() {
            house.append(name, half);
            let (taken, message) = said(&house, &id, incremental()).await;
            let whole = house.rows(name).iter().all(|row| row["id"] == "1" || name == "dos.csv");
            assert!(whole, "{name}: nothing of a half record is stored");
            if index == 0 {
                assert!(taken == 0 && message.contains("is not finished yet"), "{name}: {message}");
            }
        }
        house.append(name, last);
        let (taken, message) = said(&house, &id, incremental()).await;
        assert!(taken >= 1 && message.is_empty(), "{name}: {message}");
        let ids: Vec<_> = house.rows(name).iter().map(|row| row["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids, ["1", "2", "3"], "{name}");
    }
}

#[tokio::test]
async fn a_record_that_nobody_finishes_fails_in_the_end() {
    let house = House::new().await;
    for (name, first, half, words) in [
        ("a.csv", "id,name\n1,Ann\n", "2,\"Bob\n", "line 3 opens a quote that nothing closes"),
        ("a.jsonl", "{\"id\":1}\n", "{\"id\":2,", "line 2 breaks off"),
    ] {
        house.write(name, first);
        let id = house.connect(name, "file", json!({ "path": name })).await;
        said(&house, &id, incremental()).await;
        house.append(name, half);
        assert!(said(&house, &id, incremental()).await.1.contains("is not finished yet"), "{name}");
        let (_, message) = said(&house, &id, incremental()).await;
        assert!(message.contains(words), "{name}: {message}");
        // A full sync cannot leave the rest to a later one.
        let (_, message) = said(&house, &id, json!({})).await;
        assert!(message.contains(words), "{name}: {message}");
        assert_eq!(house.rows(name).len(), 1, "{name}");
    }
    // The same with a key.
    house.write("b.jsonl", "{\"id\":1}\n{\"id\":2");
    let id = house.connect("b", "jsonl", json!({ "path": "b.jsonl", "key": "id" })).await;
    assert!(said(&house, &id, incremental()).await.1.contains("is not finished yet"));
    assert!(said(&house, &id, incremental()).await.1.contains("line 2 breaks off"));
    house.append("b.jsonl", ",\"v\":1}");
    assert_eq!(said(&house, &id, incremental()).await, (1, String::new()));
}

#[tokio::test]
async fn a_rotated_file_says_so_and_an_empty_one_keeps_the_rows() {
    let house = House::new().await;
    for (name, head, line) in [("a.csv", "n\n", "N\n"), ("a.jsonl", "", "{\"n\":\"N\"}\n")] {
        let lines = |numbers: std::ops::Range<u32>| -> String {
            numbers.map(|n| line.replace('N', &n.to_string())).collect()
        };
        house.write(name, &format!("{head}{}", lines(0..10)));
        let id = house.connect(name, "file", json!({ "path": name })).await;
        assert_eq!(said(&house, &id, incremental()).await.0, 10);
        // Truncated in place and written again later: stored rows are kept until there are new ones.
        for empty in ["", head] {
            house.write(name, empty);
            let (taken, message) = said(&house, &id, incremental()).await;
            assert!(
                taken == 0 && message.contains("has no whole record now; the rows of before are kept"),
                "{name}: {message}"
            );
            assert_eq!(house.rows(name).len(), 10, "{name}");
        }
        house.write(name, &format!("{head}{}", lines(20..23)));
        let (taken, message) = said(&house, &id, incremental()).await;
        assert!(taken == 3 && message.contains("rotated, or written again"), "{name}: {message}");
        assert_eq!(house.rows(name).len(), 3, "{name}");
        house.append(name, &lines(23..25));
        assert_eq!(said(&house, &id, incremental()).await, (2, String::new()), "{name}");
        // A full sync accepts an empty file.
        house.write(name, head);
        assert_eq!(said(&house, &id, json!({})).await.0, 0);
        assert_eq!(house.rows(name).len(), 0, "{name}");
    }
}

#[tokio::test]
async fn a_file_whose_first_line_is_not_whole_yet_is_read_from_its_start() {
    let house = House::new().await;
    for (header, steps) in [
        (true, vec![("", 0), ("id", 0), (",name\n", 0), ("1", 0), (",Ann", 1), ("\n2,Bob\n", 2)]),
        (true, vec![("sep=,\nid", 0), (",name\n1,Ann", 1), ("e\n2,Bob\n", 2)]),
        (false, vec![("", 0), ("1", 1), (",2\n3", 1), (",4", 2), ("\n5,6\n", 3)]),
    ] {
        let name = format!("{header}{}.csv", steps.len());
        house.write(&name, "");
        let id = house.connect(&name, "csv", json!({ "path": name, "has_header": header })).await;
        for (part, rows) in &steps {
            house.append(&name, part);
            said(&house, &id, incremental()).await;
            assert_eq!(house.rows(&name).len(), *rows, "{name} {part}");
        }
        let columns = house.rows(&name)[0].as_object().unwrap().len();
        assert_eq!(columns, 2, "{name}");
    }
}

#[tokio::test]
async fn blank_lines_are_rows_where_there_is_one_column() {
    let house = House::new().await;
    for (name, content, header, expected) in [
        ("one.csv", "n\n1\n\n2\n\n", true, vec!["1", "", "2", ""]),
        ("dos.csv", "n\r\n1\r\n\r\n2\r\n", true, vec!["1", "", "2"]),
        ("bare.csv", "1\n\n2\n", false, vec!["1", "", "2"]),
        ("quoted.csv", "n\n1\n\"\"\n2", true, vec!["1", "", "2"]),
    ] {
        house.write(name, content);
        let id = house.connect(name, "csv", json!({ "path": name, "has_header": header })).await;
        house.sync(&id, json!({})).await;
        let column = if header { "n" } else { "column1" };
        let found: Vec<_> =
            house.rows(name).iter().map(|row| row[column].as_str().unwrap().to_owned()).collect();
        assert_eq!(found, expected, "{name}");
    }
    house.write("two.csv", "\na,b\n\n1,2\n\n");
    let id = house.connect("two", "csv", json!({ "path": "two.csv" })).await;
    house.sync(&id, json!({})).await;
    assert_eq!(house.rows("two"), [json!({ "a": "1", "b": "2" })]);
}

#[tokio::test]
async fn a_setting_that_fits_nothing_is_named() {
    let house = House::new().await;
    house.write("a.csv", "n;m\n1;2\n");
    let config = json!({ "path": "a.csv", "delimeter": ";" });
    let (_, answer) = house.test("csv", config.clone()).await;
    let message = answer["message"].as_str().unwrap();
    assert!(message.contains("\"delimeter\" is no setting of this connector"), "{message}");
    let id = house.connect("a", "csv", config).await;
    let (taken, message) = said(&house, &id, json!({ "cursr": "n" })).await;
    assert_eq!(taken, 1);
    assert!(message.contains("\"delimeter\" is no setting of this connector"), "{message}");
    assert!(message.contains("\"cursr\" in sync_options"), "{message}");
    let id = house.connect("a", "csv", json!({ "path": "a.csv", "delimiter": ";" })).await;
    assert_eq!(said(&house, &id, json!({})).await, (1, String::new()));
}
