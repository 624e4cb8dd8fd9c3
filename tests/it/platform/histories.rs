//! Property tests of incremental syncs after random histories of a table.
//!
//! The stored rows must match the documentation. Real engines, with duplicates, ties, nulls, infinities and
//! late rows.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use serde_json::{Value, json};
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions as _};

use super::databases::{Database, Engine};
use super::harness::House;
use wellspring_testkit::servers::servers;

/// A value of the cursor column.
#[derive(Debug, Clone, Copy, PartialEq)]
enum At {
    Value(i64),
    Null,
    Most,
    Least,
    NoNumber,
}

#[derive(Debug, Clone)]
enum Change {
    Insert(At),
    /// Inserts a row late, with a key between others.
    Between(At),
    /// Changes a row, with a new or the same cursor.
    Touch(usize, Option<At>),
    Copy(usize),
    Remove(usize),
}

#[derive(Debug, Clone)]
struct Step {
    changes: Vec<Change>,
    full: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Key {
    Number,
    Text,
    None,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Cursor {
    None,
    Whole,
    Float,
    Moment,
    Text,
}

/// A table and how it is synced.
#[derive(Debug, Clone, Copy)]
struct Table {
    key: Key,
    cursor: Cursor,
}

const TABLES: [Table; 9] = [
    Table { key: Key::Number, cursor: Cursor::None },
    Table { key: Key::Text, cursor: Cursor::None },
    Table { key: Key::None, cursor: Cursor::None },
    Table { key: Key::Number, cursor: Cursor::Whole },
    Table { key: Key::Text, cursor: Cursor::Float },
    Table { key: Key::Number, cursor: Cursor::Moment },
    Table { key: Key::None, cursor: Cursor::Moment },
    Table { key: Key::Text, cursor: Cursor::Text },
    Table { key: Key::None, cursor: Cursor::Text },
];

fn histories() -> impl Strategy<Value = (usize, Vec<Step>)> {
    let at = || {
        prop_oneof![
            6 => (0..6_i64).prop_map(At::Value),
            1 => Just(At::Null),
            1 => Just(At::Most),
            1 => Just(At::Least),
            1 => Just(At::NoNumber),
        ]
    };
    let change = prop_oneof![
        4 => at().prop_map(Change::Insert),
        1 => at().prop_map(Change::Between),
        2 => (0..8_usize, proptest::option::of(at())).prop_map(|(which, at)| Change::Touch(which, at)),
        1 => (0..8_usize).prop_map(Change::Copy),
        1 => (0..8_usize).prop_map(Change::Remove),
    ];
    let step =
        (vec(change, 0..4), prop::bool::weighted(0.1)).prop_map(|(changes, full)| Step { changes, full });
    (0..TABLES.len(), vec(step, 1..4))
}

/// A row: its key, its cursor, and a unique version number.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Row {
    id: i64,
    at: At,
    version: i64,
}

/// Expected contents of source and store.
struct Model {
    table: Table,
    source: Vec<Row>,
    stored: Vec<Row>,
    mark: Option<i64>,
    newest: Option<Row>,
    versions: i64,
}

impl Model {
    fn new(table: Table) -> Self {
        Self { table, source: Vec::new(), stored: Vec::new(), mark: None, newest: None, versions: 0 }
    }

    fn version(&mut self) -> i64 {
        self.versions += 1;
        self.versions
    }

    /// Makes a change and returns the corresponding statement.
    fn change(&mut self, change: &Change, engine: Kind) -> Option<String> {
        let largest = self.source.iter().map(|row| row.id).max().unwrap_or(0);
        let which = |which: usize| self.source.get(which % self.source.len().max(1)).copied();
        match *change {
            Change::Insert(at) | Change::Between(at) => {
                // Keys have gaps, so that later keys fit between them.
                let id = match change {
                    Change::Between(_) => largest - 1,
                    _ => largest + 4,
                };
                if self.table.key != Key::None && self.source.iter().any(|row| row.id == id) {
                    return None;
                }
                let row = Row { id, at, version: self.version() };
                self.source.push(row);
                Some(self.table.insert(engine, &row))
            }
            Change::Copy(index) => {
                let row = which(index).filter(|_| self.table.key == Key::None)?;
                self.source.push(row);
                Some(self.table.insert(engine, &row))
            }
            Change::Touch(index, at) => {
                let old = which(index)?;
                let (at, version) = (at.unwrap_or(old.at), self.version());
                for row in self.source.iter_mut().filter(|row| row.version == old.version) {
                    (row.at, row.version) = (at, version);
                }
                let value = self.table.value(engine, at);
                Some(format!(
                    "UPDATE t SET at = {value}, version = {version} WHERE version = {}",
                    old.version
                ))
            }
            Change::Remove(index) => {
                let old = which(index)?;
                self.source.retain(|row| row.version != old.version);
                Some(format!("DELETE FROM t WHERE version = {}", old.version))
            }
        }
    }

    fn sync(&mut self, full: bool) {
        let marked = |row: &Row| if let At::Value(at) = row.at { Some(at) } else { None };
        let by_number = self.table.key == Key::Number && self.table.cursor == Cursor::None;
        let untouched = self.newest.is_some_and(|newest| self.source.contains(&newest));
        if full || (by_number && !untouched) {
            self.stored.clone_from(&self.source);
            self.mark = None;
        } else {
            let (mark, newest) = (self.mark, self.newest);
            let taken = |row: &&Row| match self.table.cursor {
                Cursor::None => !by_number || newest.is_none_or(|newest| row.id > newest.id),
                _ => mark.is_none() || marked(row).is_none_or(|at| Some(at) >= mark),
            };
            let taken: Vec<Row> = self.source.iter().filter(taken).copied().collect();
            for row in &taken {
                if self.table.key == Key::None {
                    let count = |rows: &[Row]| rows.iter().filter(|other| *other == row).count();
                    if count(&self.stored) < count(&taken) {
                        self.stored.push(*row);
                    }
                } else {
                    self.stored.retain(|stored| stored.id != row.id);
                    self.stored.push(*row);
                }
            }
        }
        self.mark = self.source.iter().filter_map(marked).chain(self.mark).max();
        self.newest = self.source.iter().max_by_key(|row| row.id).copied();
    }
}

/// An engine, with its SQL dialect.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    Postgres,
    MariaDb,
    Sqlite,
}

impl Table {
    fn create(self, engine: Kind) -> String {
        let key = match self.key {
            Key::Number => "id int PRIMARY KEY",
            Key::Text => "id varchar(20) PRIMARY KEY",
            Key::None => "id int",
        };
        // Only with this declaration is the key the row id of SQLite.
        let key = if engine == Kind::Sqlite {
            key.replace("int PRIMARY", "INTEGER PRIMARY")
        } else {
            key.to_owned()
        };
        let at = match (self.cursor, engine) {
            (Cursor::None | Cursor::Whole, _) => "bigint",
            (Cursor::Float, Kind::Sqlite) => "REAL",
            (Cursor::Float, _) => "double precision",
            (Cursor::Moment, Kind::Postgres) => "timestamptz",
            (Cursor::Moment, Kind::MariaDb) => "datetime",
            (Cursor::Moment, Kind::Sqlite) => "TEXT",
            (Cursor::Text, _) => "varchar(40)",
        };
        format!("CREATE TABLE t ({key}, at {at}, version int)")
    }

    fn insert(self, engine: Kind, row: &Row) -> String {
        let id = if self.key == Key::Text { format!("'k{}'", row.id) } else { row.id.to_string() };
        format!("INSERT INTO t VALUES ({id}, {}, {})", self.value(engine, row.at), row.version)
    }

    fn value(self, engine: Kind, at: At) -> String {
        let endless = match (self.cursor, engine) {
            (Cursor::Float, Kind::Postgres) => ["'Infinity'", "'-Infinity'", "'NaN'"],
            (Cursor::Float, Kind::Sqlite) => ["9e999", "-9e999", "NULL"],
            (Cursor::Moment, Kind::Postgres) => ["'infinity'", "'-infinity'", "'9999-12-31'"],
            (Cursor::Moment, Kind::MariaDb) => ["'9999-12-31'", "NULL", "'9999-12-31 23:59:59'"],
            (Cursor::Text, _) => ["'infinity'", "'-infinity'", "'NaN'"],
            _ => ["NULL"; 3],
        };
        match at {
            At::Null => "NULL".to_owned(),
            At::Most => endless[0].to_owned(),
            At::Least => endless[1].to_owned(),
            At::NoNumber => endless[2].to_owned(),
            At::Value(at) => match (self.cursor, engine) {
                (Cursor::None | Cursor::Whole, _) => (at - 3).to_string(),
                (Cursor::Float, _) => format!("{}.5", at - 3),
                (Cursor::Text, _) => format!("'{}'", at + 7),
                // SQLite stores what programs write, each in its own format.
                (Cursor::Moment, Kind::Sqlite) if at % 2 == 1 => format!("'2026-01-01T01:0{at}:00+01:00'"),
                (Cursor::Moment, Kind::Sqlite) => format!("'2026-01-01 00:0{at}:00Z'"),
                (Cursor::Moment, _) => format!("'2026-01-01 00:0{at}:00'"),
            },
        }
    }
}

/// A database of an engine, open for the duration of the test.
enum Open {
    Postgres(PgConnection),
    MariaDb(MySqlConnection),
    Sqlite(rusqlite::Connection),
}

impl Open {
    async fn run(&mut self, sql: &str) {
        let safe = AssertSqlSafe(sql.to_owned());
        match self {
            Self::Postgres(open) => drop(sqlx::raw_sql(safe).execute(open).await.unwrap()),
            Self::MariaDb(open) => drop(sqlx::raw_sql(safe).execute(open).await.unwrap()),
            Self::Sqlite(open) => open.execute_batch(sql).unwrap(),
        }
    }
}

/// A table in its own database, and the source that reads it.
struct Place {
    open: Open,
    id: String,
}

impl Place {
    async fn new(house: &House, engine: Kind, number: usize) -> Self {
        let name = format!("h{number}");
        let (mut open, kind, config) = match engine {
            Kind::Sqlite => {
                let file = format!("{name}.db");
                let open = rusqlite::Connection::open(house.data().join(&file)).unwrap();
                open.execute_batch("PRAGMA synchronous = OFF").unwrap();
                (Open::Sqlite(open), "sqlite", json!({ "path": file }))
            }
            Kind::Postgres => {
                let database = Database::new(Engine::Postgres).await;
                let open = PgConnectOptions::from_url(&database.url().parse().unwrap()).unwrap();
                // Logging in to the pool is faster.
                let port = reqwest::Url::parse(&servers().pgbouncer).unwrap().port();
                let config = database.config(json!({ "port": port, "sslmode": "disable" }));
                (Open::Postgres(open.connect().await.unwrap()), "postgresql", config)
            }
            Kind::MariaDb => {
                let database = Database::new(Engine::MariaDb).await;
                let open = MySqlConnectOptions::from_url(&database.url().parse().unwrap()).unwrap();
                let config = database.config(json!({ "sslmode": "disable" }));
                (Open::MariaDb(open.connect().await.unwrap()), "mariadb", config)
            }
        };
        open.run(&TABLES[number].create(engine)).await;
        let id = house.connect(&name, kind, config).await;
        Self { open, id }
    }

    /// Runs a history; returns the first step after which the stored rows are wrong.
    async fn live(
        &mut self,
        house: &House,
        engine: Kind,
        table: usize,
        steps: &[Step],
    ) -> Result<(), String> {
        let mut model = Model::new(TABLES[table]);
        let cursor = if TABLES[table].cursor == Cursor::None { Value::Null } else { "at".into() };
        self.open.run("DELETE FROM t").await;
        let start = Step { changes: Vec::new(), full: true };
        for (number, step) in std::iter::once(&start).chain(steps).enumerate() {
            let mut statements = Vec::new();
            for change in &step.changes {
                statements.extend(model.change(change, engine));
            }
            if !statements.is_empty() {
                self.open.run(&statements.join("; ")).await;
            }
            let options = json!({ "incremental": !step.full, "cursor": cursor });
            house.sync(&self.id, options).await;
            model.sync(step.full);
            let mut stored: Vec<_> =
                house.rows(&format!("h{table}")).iter().map(|row| row["version"].as_i64().unwrap()).collect();
            let mut expected: Vec<_> = model.stored.iter().map(|row| row.version).collect();
            stored.sort_unstable();
            expected.sort_unstable();
            if stored != expected {
                return Err(format!(
                    "{engine:?}, {:?}, step {number}: {statements:?}\nstored {stored:?}, not {expected:?}\n{:?}",
                    TABLES[table], model.source
                ));
            }
        }
        Ok(())
    }
}

fn live_through(engine: Kind, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (house, mut places) = runtime.block_on(async {
        let house = House::quick().await;
        let mut places = Vec::new();
        for number in 0..TABLES.len() {
            places.push(Place::new(&house, engine, number).await);
        }
        (house, places)
    });
    let places = std::cell::RefCell::new(&mut places);
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let lived = runner.run(&histories(), |(table, steps)| {
        let mut places = places.borrow_mut();
        let lived = runtime.block_on(places[table].live(&house, engine, table, &steps));
        lived.map_err(TestCaseError::fail)
    });
    if let Err(failure) = lived {
        panic!("{failure}");
    }
}

#[test]
fn what_is_stored_of_postgres_is_what_is_promised() {
    live_through(Kind::Postgres, 100);
}

#[test]
fn what_is_stored_of_mariadb_is_what_is_promised() {
    live_through(Kind::MariaDb, 100);
}

#[test]
fn what_is_stored_of_sqlite_is_what_is_promised() {
    live_through(Kind::Sqlite, 200);
}
