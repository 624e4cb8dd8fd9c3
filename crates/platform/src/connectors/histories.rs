//! Tests random histories of files and APIs.
//!
//! After each step, an incremental sync must have stored the content of the source.

mod served;
mod written;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use rusqlite::Connection;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use super::{ConnectorContext, ReadError, ReadOptions, open};
use crate::hosts::AllowedHosts;
use crate::rows::{Writing, prepare};

/// Pseudo-random numbers from a seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn of<'a, T>(&mut self, items: &'a [T]) -> &'a T {
        &items[usize::try_from(self.below(items.len() as u64)).unwrap()]
    }
}

/// A source in its own folder, with the stored rows.
struct Source {
    folder: TempDir,
    reach: ConnectorContext,
    /// Must outlive the connectors that use them.
    _runtime: Runtime,
    _stop: watch::Sender<bool>,
    rows: Connection,
    config: Value,
    cursor: Option<String>,
}

impl Source {
    fn new(config: Value, cursor: Option<&str>) -> Self {
        let rows = Connection::open_in_memory().unwrap();
        prepare(&rows).unwrap();
        let folder = tempfile::tempdir().unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let root = Path::new(folder.path()).canonicalize().unwrap();
        let entered = runtime.enter();
        let (stop, stopping) = watch::channel(false);
        let reach = ConnectorContext::new(root, None, Vec::new(), AllowedHosts::All, stopping).unwrap();
        drop(entered);
        let cursor = cursor.map(str::to_owned);
        Self { folder, reach, _runtime: runtime, _stop: stop, rows, config, cursor }
    }

    fn path(&self) -> std::path::PathBuf {
        self.folder.path().join("source")
    }

    fn write(&self, content: &str) {
        std::fs::write(self.path(), content).unwrap();
    }

    fn sync(&mut self, kind: &str) -> Result<(), ReadError> {
        let connector = open(kind, &self.config, &self.reach).unwrap().connector;
        let mut writing = Writing::begin(&mut self.rows, 7, || None)?;
        let since = writing.position("d")?;
        if since.is_none() {
            writing.clear()?;
        }
        let reading = ReadOptions {
            incremental: true,
            since,
            cursor: self.cursor.clone(),
            batch_size: 7,
            last_position: None,
        };
        let position = connector.read(&reading, &mut writing)?;
        writing.commit("d", &position).map(|_| ())
    }

    fn stored(&self) -> Vec<Value> {
        let mut query = self.rows.prepare("SELECT row FROM rows ORDER BY seq").unwrap();
        let rows = query.query_map([], |row| row.get::<_, String>(0)).unwrap();
        rows.map(|row| serde_json::from_str(&row.unwrap()).unwrap()).collect()
    }
}

/// A format in which records are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Growing {
    Csv,
    Lines,
}

const VALUES: [&str; 7] = ["", "plain", "two\nlines", "say \"hi\"", "a,b", "\"", "naïve\r\nend"];

impl Growing {
    fn kind(self) -> &'static str {
        if self == Self::Csv { "csv" } else { "jsonl" }
    }

    fn head(self) -> &'static str {
        if self == Self::Csv { "id,v\n" } else { "" }
    }

    fn text(self, id: u64, value: &str) -> String {
        match self {
            Self::Lines => json!({ "id": id.to_string(), "v": value }).to_string(),
            Self::Csv if value.contains(['"', ',', '\n', '\r']) => {
                format!("{id},\"{}\"", value.replace('"', "\"\""))
            }
            Self::Csv => format!("{id},{value}"),
        }
    }

    /// Returns the row for an unterminated record, if any.
    fn unended(self, text: &str) -> Option<Value> {
        if self == Self::Lines {
            return serde_json::from_str(text).ok();
        }
        let (id, value) = text.split_once(',')?;
        let Some(quoted) = value.strip_prefix('"') else { return Some(json!({ "id": id, "v": value })) };
        if quoted.bytes().filter(|byte| *byte == b'"').count() % 2 == 0 {
            return None;
        }
        // Half of a quote within the value looks like its end.
        Some(json!({ "id": id, "v": quoted.strip_suffix('"')?.replace("\"\"", "\"") }))
    }
}

/// A file: its records, and part of the next one.
#[derive(Default)]
struct File {
    records: Vec<(u64, &'static str)>,
    part: Option<(u64, &'static str, usize)>,
    /// True if there is not even a header.
    bare: bool,
}

impl File {
    fn content(&self, format: Growing) -> String {
        if self.bare && self.records.is_empty() && self.part.is_none() {
            return String::new();
        }
        let mut content = format.head().to_owned();
        for (id, value) in &self.records {
            let _ = writeln!(content, "{}", format.text(*id, value));
        }
        if let Some((id, value, cut)) = self.part {
            content.push_str(&format.text(id, value)[..cut]);
        }
        content
    }

    fn rows(&self, format: Growing) -> Vec<Value> {
        let whole = self.records.iter().map(|(id, value)| json!({ "id": id.to_string(), "v": value }));
        let part = self.part.and_then(|(id, value, cut)| format.unended(&format.text(id, value)[..cut]));
        whole.chain(part).collect()
    }

    /// Appends records, and perhaps part of one more.
    ///
    /// An existing part is completed or extended first.
    fn grow(&mut self, format: Growing, random: &mut Random, next: &mut u64) {
        let first = match self.part.take() {
            Some((id, value, cut)) => (id, value, cut),
            None => (*next, *random.of(&VALUES), 0),
        };
        *next = (*next).max(first.0) + 1;
        let text = format.text(first.0, first.1);
        if random.below(3) == 0 {
            let mut cut = first.2 + usize::try_from(random.below((text.len() - first.2) as u64 + 1)).unwrap();
            while !text.is_char_boundary(cut) {
                cut += 1;
            }
            self.part = (cut > 0).then_some((first.0, first.1, cut));
            return;
        }
        self.records.push((first.0, first.1));
        for _ in 0..random.below(4) {
            self.records.push((*next, *random.of(&VALUES)));
            *next += 1;
        }
    }
}

#[test]
fn growing_files_are_stored_as_they_are_after_each_step() {
    for format in [Growing::Csv, Growing::Lines] {
        let mut source = Source::new(json!({ "path": "source" }), None);
        for seed in 1..=250_u64 {
            source.rows.execute_batch("DELETE FROM rows; DELETE FROM position").unwrap();
            let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let (mut file, mut next) = (File::default(), 1);
            for step in 0..6 {
                match random.below(8) {
                    0 => file = File { bare: random.below(2) == 0, ..File::default() },
                    1 => {
                        file = File::default();
                        file.grow(format, &mut random, &mut next);
                    }
                    2 if !file.records.is_empty() => file.records[0].0 += 1_000,
                    _ => file.grow(format, &mut random, &mut next),
                }
                source.write(&file.content(format));
                let before = source.stored();
                let told = source.sync(format.kind());
                let at = format!("{format:?}, seed {seed}, step {step}: {:?}", file.content(format));
                let rows = file.rows(format);
                let broken = file.part.is_some() && rows.len() == file.records.len();
                match told {
                    Ok(()) if file.part.is_none() && rows.is_empty() => {
                        assert_eq!(source.stored(), before, "{at}: an empty file empties nothing");
                    }
                    // A partial record removes nothing but its own stored version.
                    Ok(()) if rows.is_empty() => {
                        let stored = source.stored();
                        assert!(stored == before || stored.is_empty() && before.len() == 1, "{at}");
                    }
                    Ok(()) => assert_eq!(source.stored(), rows, "{at}"),
                    Err(failure) => {
                        assert!(broken, "{at}: {failure:?}");
                        assert_eq!(source.stored(), before, "{at}: a failed sync changes nothing");
                    }
                }
            }
            if let Some((id, value, _)) = file.part.take() {
                file.records.push((id, value));
            }
            file.records.push((next, "the last"));
            source.write(&file.content(format));
            source.sync(format.kind()).unwrap();
            assert_eq!(source.stored(), file.rows(format), "{format:?}, seed {seed}: the end");
        }
    }
}

/// Formats a time in one of the spellings with a common order.
fn spelled(random: &mut Random, spelling: u64, at: i64) -> Value {
    let (hour, minute) = (at / 60, at % 60);
    match spelling {
        0 => json!(at),
        1 => json!(format!("{at}{}", random.of(&["", ".0", ".00"]))),
        2 => json!(format!("-{}.5", 1_000 - at)),
        _ => {
            let zone = i64::try_from(random.below(3)).unwrap();
            let day = 1 + (hour + zone) / 24;
            json!(format!(
                "2026-11-{day:02}{}{:02}:{minute:02}:00{}{}",
                random.of(&["T", " "]),
                (hour + zone) % 24,
                random.of(&["", ".0", ".000"]),
                if zone == 0 { "Z".to_owned() } else { format!("+{zone:02}:00") },
            ))
        }
    }
}

/// A record with its key, and its time if it has one.
type Dated = (u64, Option<i64>, Value);

/// Formats that are read as a whole each time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whole {
    Json,
    Lines,
    Csv,
    ParquetFile,
    Api,
}

impl Whole {
    fn kind(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Lines => "jsonl",
            Self::Csv => "csv",
            Self::ParquetFile => "parquet",
            Self::Api => "api",
        }
    }

    /// Number of notations of a point in time.
    fn spellings(self) -> u64 {
        if self == Self::ParquetFile { written::COLUMNS } else { 4 }
    }

    fn value(self, random: &mut Random, spelling: u64, at: Option<i64>) -> Value {
        match at {
            _ if self == Self::ParquetFile => written::value(random, spelling, at),
            Some(at) => spelled(random, spelling, at),
            None => random.of(&[json!(null), json!("NaN"), json!("infinity"), json!("")]).clone(),
        }
    }

    fn write(self, source: &Source, api: &served::Api, spelling: u64, records: &[Dated]) {
        let all: Vec<&Value> = records.iter().map(|(.., record)| record).collect();
        let lines = |text: String, line: String| text + &line + "\n";
        match self {
            Self::Json => source.write(&json!(all).to_string()),
            Self::Lines => source.write(&all.iter().map(ToString::to_string).fold(String::new(), lines)),
            Self::Csv => {
                let line = |record: &&Value| {
                    ["at", "id", "v"].map(|name| record[name].as_str().unwrap_or_default()).join(",")
                };
                source.write(&all.iter().map(line).fold("at,id,v\n".to_owned(), lines));
            }
            Self::ParquetFile => written::write(&source.path(), spelling, &all),
            Self::Api => api.serve(all),
        }
    }
}

/// Converts the record to its form in a CSV file.
fn texts(record: &mut Value) {
    for value in record.as_object_mut().unwrap().values_mut() {
        let text = match &*value {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        *value = text.into();
    }
}

/// Reference model of a sync by key and cursor.
#[derive(Default)]
struct Model {
    mark: Option<i64>,
    stored: BTreeMap<String, Value>,
}

impl Model {
    fn sync(&mut self, records: &[Dated], keyed: bool) {
        let start = self.mark;
        for (id, at, record) in records {
            if at.is_some_and(|at| start.is_some_and(|start| at < start)) {
                continue;
            }
            self.mark = self.mark.max(*at);
            let identity = if keyed { id.to_string() } else { record.to_string() };
            self.stored.insert(identity, record.clone());
        }
    }
}

#[test]
fn records_by_key_and_cursor_are_stored_as_both_are_defined() {
    let api = served::Api::start();
    for (format, keyed) in [
        (Whole::Json, true),
        (Whole::Json, false),
        (Whole::Lines, true),
        (Whole::Lines, false),
        (Whole::Csv, true),
        (Whole::Csv, false),
        (Whole::ParquetFile, true),
        (Whole::ParquetFile, false),
        (Whole::Api, true),
    ] {
        let mut config = json!({ "path": "source" });
        if format == Whole::Api {
            config = json!({ "base_url": api.url(), "page_param": "page" });
        }
        if keyed {
            config["key"] = "id".into();
        }
        let mut source = Source::new(config, Some("at"));
        for seed in 1..=80_u64 {
            source.rows.execute_batch("DELETE FROM rows; DELETE FROM position").unwrap();
            let mut random = Random(seed.wrapping_mul(0x2545_f491_4f6c_dd1d));
            let spelling = random.below(format.spellings());
            let mut records: Vec<Dated> = Vec::new();
            let (mut model, mut next, mut now) = (Model::default(), 1_u64, 100_i64);
            for step in 0..6 {
                for _ in 0..random.below(4) {
                    now += i64::try_from(random.below(3)).unwrap();
                    let late = i64::try_from(random.below(5) / 4 * random.below(20)).unwrap();
                    let at = (random.below(6) > 0).then_some(now - late);
                    let value = format.value(&mut random, spelling, at);
                    // A new record, or a new version of an existing one.
                    let id = if random.below(3) == 0 && next > 1 { 1 + random.below(next - 1) } else { next };
                    next = next.max(id + 1);
                    let mut record = json!({ "id": id, "at": value, "v": random.below(1_000_000) });
                    if format == Whole::Csv {
                        texts(&mut record);
                    }
                    records.retain(|(other, ..)| !keyed || *other != id);
                    records.push((id, at, record));
                }
                if random.below(6) == 0 && !records.is_empty() {
                    records.remove(0);
                }
                format.write(&source, &api, spelling, &records);
                let at = format!("{format:?}, key {keyed}, seed {seed}, step {step}, spelling {spelling}");
                let told = source.sync(format.kind());
                assert!(told.is_ok(), "{at}: {told:?}: {records:?}");
                model.sync(&records, keyed);
                let id =
                    |row: &Value| row["id"].as_str().map_or_else(|| row["id"].to_string(), str::to_owned);
                let identity = |row: &Value| if keyed { id(row) } else { row.to_string() };
                let stored = source.stored();
                let found: BTreeMap<String, Value> =
                    stored.iter().map(|row| (identity(row), row.clone())).collect();
                assert_eq!(stored.len(), found.len(), "{at}: nothing is stored twice: {records:?}");
                assert_eq!(found, model.stored, "{at}: {records:?}");
            }
        }
    }
}
