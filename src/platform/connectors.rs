//! Connectors: one file for each kind of thing that can be read, one small trait they share.
//!
//! A new kind is a file with a `Connector`, and a line in [`open`].

mod changes;
mod csv;
mod fields;
mod file;
#[cfg(test)]
mod histories;
mod http;
mod json;
mod mysql;
mod parquet;
mod postgres;
mod records;
mod relational;
mod row;
mod server;
mod sqlite;
mod values;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;

use super::StandIn;
use fields::{Fields, Known};

/// Something rows can be read from. The calls block; they are made where that does no harm.
pub(super) trait Connector: Send {
    /// Returns false for an engine that can be declared and not be read here.
    fn is_built_in(&self) -> bool {
        true
    }

    /// Connects and reads something; the text says what was found.
    fn test(&self) -> Result<String, Failure>;

    /// The tables there are, with their columns.
    fn schema(&self) -> Result<Vec<Table>, Failure>;

    /// Streams rows into `intake`: all of them, or those after `since`, the position an earlier
    /// reading came to. Gives back the new position.
    fn read(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure>;
}

/// Takes the rows of a reading, table after table.
pub(super) trait Intake {
    /// The rows that follow belong to this table.
    fn table(&mut self, name: &str, take: Take) -> Result<(), Failure>;

    /// A row, as the text of a JSON object. The identity, where one is given, tells it from the
    /// rows of its table that were taken before.
    fn row(&mut self, row: &str, identity: Option<&str>) -> Result<(), Failure>;

    /// The row of this identity is no row of its table any more.
    fn remove(&mut self, identity: &str) -> Result<(), Failure>;

    /// Something that the caller of a sync is to know though it succeeds, without secrets.
    fn note(&mut self, note: String);
}

/// What the rows of a table mean for those that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Take {
    /// They replace them.
    All,
    /// They are new and follow them.
    New,
    /// Those whose identity was not seen follow them.
    Unseen,
    /// They follow them, and one whose identity was seen takes the place of the row that has it.
    Latest,
    /// They replace them, and of those with one identity the last one is kept.
    Distinct,
}

/// How a source is to be read.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Only what is new is wanted: what is not finished yet may be left to the next sync.
    pub(super) incremental: bool,
    /// The field that tells what is new.
    pub(super) cursor: Option<String>,
    /// Rows that are handled together; asked for as a page where the source can be told.
    pub(super) batch_size: usize,
}

/// A table of a source.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Table {
    pub(super) name: String,
    /// `table` or `view`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) columns: Vec<Column>,
}

/// A column of a table. What is not known is left out.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct Column {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nullable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) primary_key: Option<bool>,
}

/// Why a source could not be read, for a person and without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Failure(String);

/// Why a configuration makes no sense, for a person and without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unfit(String);

/// What connectors may reach, and what they reach it with.
#[derive(Debug, Clone)]
pub(super) struct Reach {
    /// The data directory, without links in its path.
    root: PathBuf,
    /// The platform's own storage, which is nobody's data.
    storage: Option<PathBuf>,
    client: reqwest::Client,
    stand_ins: Vec<StandIn>,
    runtime: Handle,
    stopping: watch::Receiver<bool>,
}

impl Reach {
    /// Must be called within a tokio runtime.
    pub(super) fn new(
        root: PathBuf,
        storage: Option<&Path>,
        stand_ins: Vec<StandIn>,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, reqwest::Error> {
        let client = http::client(&stand_ins)?;
        Ok(Self {
            root,
            storage: storage.map(Path::to_path_buf),
            client,
            stand_ins,
            runtime: Handle::current(),
            stopping,
        })
    }

    /// Is the platform stopping?
    pub(super) fn stopping(&self) -> bool {
        *self.stopping.borrow()
    }

    /// Where to connect to for this host and port.
    fn place(&self, host: &str, port: u16) -> (String, u16) {
        let stand_in = self.stand_ins.iter().find(|stand_in| stand_in.host.eq_ignore_ascii_case(host));
        stand_in.map_or_else(|| (host.to_owned(), port), |found| (found.at.ip().to_string(), found.at.port()))
    }

    /// Comes to an end when the platform stops.
    fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        super::stopped(self.stopping.clone())
    }
}

/// The connector of a definition, and what is to be known of its configuration.
pub(super) struct Opened {
    pub(super) connector: Box<dyn Connector>,
    /// Names the fields that the connector does not know.
    pub(super) warning: Option<String>,
}

/// The connector a definition asks for. Reaches for nothing yet.
pub(super) fn open(kind: &str, config: &Value, reach: &Reach) -> Result<Opened, Unfit> {
    let empty = Map::new();
    let (found, known) = (config.as_object().unwrap_or(&empty), Known::default());
    let fields = Fields::new(found, &known);
    // Asked for by some connectors only, or only in the absence of another.
    fields.accept(&["engine", "driver", "format", "table", "header"]);
    let connector = connector(kind, fields, reach)?;
    let others: Vec<_> = known.others(found).iter().map(|name| format!("\"{name}\"")).collect();
    let warning = match others.as_slice() {
        _ if !connector.is_built_in() => None,
        [] => None,
        [name] => Some(format!("{name} is no setting of this connector and has no effect")),
        _ => Some(format!("{} are no settings of this connector and have no effect", others.join(", "))),
    };
    Ok(Opened { connector, warning })
}

fn connector(kind: &str, fields: Fields<'_>, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    match kind.to_ascii_lowercase().as_str() {
        "database" => database(fields, reach),
        "file" => file(fields, reach),
        "csv" => csv::open(fields, b',', reach),
        "tsv" => csv::open(fields, b'\t', reach),
        "json" => json::open(fields, json::Layout::Document, reach),
        "jsonl" | "ndjson" => json::open(fields, json::Layout::Lines, reach),
        "parquet" => parquet::open(fields, reach),
        "api" | "http" | "https" | "rest" => http::open(fields, reach),
        engine => by_engine(engine, fields, reach).unwrap_or_else(|| {
            Err(Unfit::new(format!(
                "the type \"{kind}\" is not known here; there are database, postgresql, mysql, mariadb, sqlite, \
                 file, csv, tsv, json, jsonl, parquet and api"
            )))
        }),
    }
}

/// The engine is named, or the address or the port tells it.
fn database(fields: Fields<'_>, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    let address = fields.first_text(&["url", "uri", "connection_string", "dsn"])?;
    let scheme = address.map(|address| address.strip_prefix("jdbc:").unwrap_or(address));
    let scheme = scheme.and_then(|address| address.split_once("://")).map(|(scheme, _)| scheme);
    let engine = match fields.first_text(&["engine", "driver"])?.or(scheme) {
        Some(engine) => engine,
        None if fields.text("path")?.is_some() => "sqlite",
        None => match fields.whole("port")? {
            Some(5432) => "postgresql",
            Some(3306) => "mysql",
            _ => {
                return Err(Unfit::new(
                    "\"engine\" is missing: postgresql, mysql, mariadb or sqlite (port 5432 or 3306 tells as well)",
                ));
            }
        },
    };
    by_engine(&engine.to_ascii_lowercase(), fields, reach)
        .unwrap_or_else(|| Err(Unfit::new("\"engine\" must be postgresql, mysql, mariadb or sqlite")))
}

/// The connector of a database engine, and none for what is no name of one.
fn by_engine(engine: &str, fields: Fields<'_>, reach: &Reach) -> Option<Result<Box<dyn Connector>, Unfit>> {
    let name = match engine {
        "sqlite" | "sqlite3" => return Some(sqlite::open(fields, reach)),
        "postgres" | "postgresql" => return Some(relational::open::<postgres::Postgres>(fields, reach)),
        "mysql" | "mariadb" => return Some(relational::open::<mysql::MySql>(fields, reach)),
        "mssql" | "sqlserver" => "SQL Server",
        "oracle" => "Oracle",
        "snowflake" => "Snowflake",
        "bigquery" => "BigQuery",
        "mongodb" => "MongoDB",
        _ => return None,
    };
    Some(Ok(Box::new(Elsewhere(name))))
}

fn file(fields: Fields<'_>, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    let format = match fields.text("format")? {
        Some(format) => format.to_ascii_lowercase(),
        None => {
            let path = fields.first_text(&["path", "file"])?.unwrap_or_default();
            Path::new(path).extension().and_then(|end| end.to_str()).unwrap_or_default().to_ascii_lowercase()
        }
    };
    match format.as_str() {
        "csv" => csv::open(fields, b',', reach),
        "tsv" | "tab" => csv::open(fields, b'\t', reach),
        "json" => json::open(fields, json::Layout::Document, reach),
        "jsonl" | "ndjson" => json::open(fields, json::Layout::Lines, reach),
        "parquet" => parquet::open(fields, reach),
        "sqlite" | "sqlite3" | "db" => sqlite::open(fields, reach),
        _ => Err(Unfit::new("a file needs \"format\": csv, tsv, json, jsonl, parquet or sqlite")),
    }
}

/// A database that can be declared and not be read here.
struct Elsewhere(&'static str);

impl Elsewhere {
    fn failure(&self) -> Failure {
        Failure::new(format!(
            "{} is not built into this platform; it reads PostgreSQL, MySQL, MariaDB, SQLite, files and HTTP APIs",
            self.0
        ))
    }
}

impl Connector for Elsewhere {
    fn is_built_in(&self) -> bool {
        false
    }

    fn test(&self) -> Result<String, Failure> {
        Err(self.failure())
    }

    fn schema(&self) -> Result<Vec<Table>, Failure> {
        Err(self.failure())
    }

    fn read(&self, _: Option<&Value>, _: &Reading, _: &mut dyn Intake) -> Result<Value, Failure> {
        Err(self.failure())
    }
}

impl Column {
    /// A column of which only name and type are known.
    fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), nullable: None, primary_key: None }
    }
}

impl Failure {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(super) fn timed_out(limit: Duration) -> Self {
        Self(format!("no answer within {} seconds", limit.as_secs()))
    }

    pub(super) fn into_message(self) -> String {
        self.0
    }
}

impl Unfit {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(super) fn into_message(self) -> String {
        self.0
    }
}
