//! Connectors: one file for each kind of source, and a small common trait.
//!
//! A new kind needs a file with a `Connector` and a line in [`open`].

mod changes;
mod csv;
mod exact;
mod fields;
mod file;
#[cfg(test)]
mod histories;
mod http;
mod json;
mod link;
mod mysql;
mod parquet;
mod postgres;
mod records;
mod relational;
mod row;
mod server;
mod sqlite;
mod table;
mod values;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::time::Instant;

use super::HostOverride;
use super::hosts::AllowedHosts;
use super::memory::{LARGE_BYTES, MemoryBudget, MemoryUse, Reservation, SYNC_WAIT};
use fields::{ConfigFields, KnownField};
pub(super) use file::file_names;

/// Maximum size in bytes of a record, line or value, which is held in memory.
pub(super) const MAX_RECORD_BYTES: usize = 64 << 20;

/// Maximum wait of a test or schema request for memory.
const INSPECT_WAIT: Duration = Duration::from_secs(50);
/// Error of a read that waited too long for memory.
const MEMORY_IN_USE: &str =
    "other syncs hold the memory for large records and pages; sync again, or fewer sources at a time";

/// Maximum duration of a read, because a view may be endless.
const READ_TIMEOUT: Duration = Duration::from_secs(6 * 60 * 60);

/// A source of rows. The calls block, so they run on blocking threads.
pub(super) trait Connector: Send {
    /// Returns false for an engine that can be declared but not read here.
    fn is_built_in(&self) -> bool {
        true
    }

    /// Connects and reads something; returns a description of the result.
    fn test(&self) -> Result<String, ReadError>;

    fn schema(&self) -> Result<Vec<SourceTable>, ReadError>;

    /// Streams rows into `intake` and returns the new position.
    ///
    /// Reads all rows, or those after the position of an earlier read.
    fn read(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError>;
}

/// Receives the rows of a read, table by table.
pub(super) trait RowSink {
    /// Starts a table; the following rows belong to it.
    fn begin_table(&mut self, name: &str, take: WriteMode) -> Result<(), ReadError>;

    /// Receives a row as JSON object text.
    ///
    /// The identity, if given, distinguishes it from earlier rows of its table.
    fn push_row(&mut self, row: &str, identity: Option<&str>) -> Result<(), ReadError>;

    /// Removes the row with this identity from its table.
    fn remove_row(&mut self, identity: &str) -> Result<(), ReadError>;

    /// Receives a remark for the response of a successful sync; contains no secrets.
    fn add_note(&mut self, note: String);
}

/// Effect of a table's rows on the stored rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WriteMode {
    Replace,
    Append,
    /// Append those with a new identity.
    AppendUnseen,
    /// Append, replacing stored rows with the same identity.
    Upsert,
    /// Replace the stored rows; of equal identities, keep the last.
    ReplaceDistinct,
}

#[derive(Debug, Clone)]
pub(super) struct ReadOptions {
    /// Only new rows are wanted; unfinished records may be left to the next sync.
    pub(super) incremental: bool,
    /// Position of an earlier read, whose rows are stored.
    pub(super) since: Option<Value>,
    /// Field that indicates new records.
    pub(super) cursor: Option<String>,
    /// Number of rows processed together, and the page size where supported.
    pub(super) batch_size: usize,
    /// Position of the last sync of this definition, even if all is read again.
    pub(super) last_position: Option<Value>,
}

impl ReadOptions {
    /// Returns the position of the earlier read if it is of this kind.
    fn position<T: DeserializeOwned>(&self) -> Option<T> {
        self.since.as_ref().and_then(|position| T::deserialize(position).ok())
    }

    /// Returns the position of a read that found nothing new.
    fn same_position(&self) -> Value {
        self.since.clone().unwrap_or_default()
    }
}

#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct SourceTable {
    pub(super) name: String,
    /// `begin_table` or `view`.
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) columns: Vec<SourceColumn>,
}

/// A column of a table; unknown properties are omitted.
#[derive(Debug, Clone, serde::Serialize)]
pub(super) struct SourceColumn {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) nullable: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) primary_key: Option<bool>,
}

/// Reason why a source could not be read, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ReadError(String);

/// Reason why a configuration is invalid, without secrets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ConfigError(String);

/// Resources that connectors may reach, with the clients for them.
#[derive(Debug, Clone)]
pub(super) struct ConnectorContext {
    /// Data directory with resolved links.
    data_dir: PathBuf,
    /// The platform's own storage, which must not be read.
    storage: Option<PathBuf>,
    clients: http::Clients,
    host_overrides: Vec<HostOverride>,
    hosts: AllowedHosts,
    runtime: Handle,
    stopping: watch::Receiver<bool>,
    memory: MemoryBudget,
    limits: Option<ReadLimits>,
}

/// Memory of the current record of a read, reserved while the record is large.
struct RecordMemory {
    reach: ConnectorContext,
    reserved: Option<Reservation>,
}

/// Conditions that end a read early.
#[derive(Debug, Clone)]
struct ReadLimits {
    stop: watch::Receiver<Option<Stop>>,
    deadline: Instant,
}

/// Reason why a read ends early.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    CallerLeft,
    Cleanup,
}

impl ConnectorContext {
    /// Must be called within a tokio runtime.
    pub(super) fn new(
        root: PathBuf,
        storage: Option<&Path>,
        host_overrides: Vec<HostOverride>,
        hosts: AllowedHosts,
        stopping: watch::Receiver<bool>,
    ) -> Result<Self, reqwest::Error> {
        let clients = http::Clients::new(&host_overrides, hosts)?;
        Ok(Self {
            data_dir: root,
            storage: storage.map(Path::to_path_buf),
            clients,
            host_overrides,
            hosts,
            runtime: Handle::current(),
            stopping,
            memory: MemoryBudget::new(),
            limits: None,
        })
    }

    /// Waits until this read may hold more memory. Blocks.
    fn reserve(&self, wanted: MemoryUse) -> Result<Reservation, ReadError> {
        let limit = if self.limits.is_some() { SYNC_WAIT } else { INSPECT_WAIT };
        self.runtime.block_on(async {
            tokio::select! {
                reserved = self.memory.reserve(wanted, limit) => reserved.ok_or_else(|| ReadError::new(MEMORY_IN_USE)),
                () = self.wait_for_stop() => Err(self.stop_failure()),
            }
        })
    }

    /// Returns a copy for one read, which ends on `stop` or at the time limit.
    pub(super) fn with_limits(&self, stop: watch::Receiver<Option<Stop>>) -> Self {
        Self { limits: Some(ReadLimits { stop, deadline: Instant::now() + READ_TIMEOUT }), ..self.clone() }
    }

    /// Returns the reason why the read must end, if there is one.
    pub(super) fn stop(&self) -> Option<ReadError> {
        let bounds = self.limits.as_ref();
        let stop = bounds.and_then(|bounds| *bounds.stop.borrow());
        Some(ReadError::new(match stop {
            _ if *self.stopping.borrow() => "the platform is stopping; sync again".to_owned(),
            Some(Stop::CallerLeft) => "the caller has left; sync again".to_owned(),
            Some(Stop::Cleanup) => "the source is cleaned up".to_owned(),
            None if bounds.is_some_and(|bounds| bounds.deadline <= Instant::now()) => {
                let hours = READ_TIMEOUT.as_secs() / 3600;
                format!(
                    "reading took more than {hours} hours; read less at a time, by a cursor or from fewer tables"
                )
            }
            None => return None,
        }))
    }

    /// Returns the address of the server that replaces a host.
    fn stand_in(&self, host: &str) -> Option<SocketAddr> {
        let found = self.host_overrides.iter().find(|stand_in| stand_in.host.eq_ignore_ascii_case(host));
        found.map(|stand_in| stand_in.connect_to)
    }

    /// Returns the address for this host and port, and the permitted hosts.
    ///
    /// Replacement servers may be anywhere.
    fn resolve_address(&self, host: &str, port: u16) -> (String, u16, AllowedHosts) {
        self.stand_in(host).map_or_else(
            || (host.to_owned(), port, self.hosts),
            |connect_to| (connect_to.ip().to_string(), connect_to.port(), AllowedHosts::All),
        )
    }

    /// Resolves when the read must end.
    fn wait_for_stop(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopping = super::wait_for_stop(self.stopping.clone());
        let bounds = self.limits.clone();
        async move {
            let Some(ReadLimits { mut stop, deadline: until }) = bounds else { return stopping.await };
            tokio::select! {
                () = stopping => {}
                _ = stop.wait_for(Option::is_some) => {}
                () = tokio::time::sleep_until(until) => {}
            }
        }
    }

    /// Returns the error of a read that [`ConnectorContext::wait_for_stop`] ended.
    fn stop_failure(&self) -> ReadError {
        self.stop().unwrap_or_else(|| ReadError::new("the platform is stopping; try again"))
    }
}

impl RecordMemory {
    fn new(reach: &ConnectorContext) -> Self {
        Self { reach: reach.clone(), reserved: None }
    }

    /// Call before a record grows to this size, and with the next record.
    fn hold(&mut self, bytes: usize) -> Result<(), ReadError> {
        if bytes <= LARGE_BYTES {
            self.reserved = None;
        } else if self.reserved.is_none() {
            self.reserved = Some(self.reach.reserve(MemoryUse::Record)?);
        }
        Ok(())
    }
}

/// A connector with a remark on its configuration.
pub(super) struct OpenedSource {
    pub(super) connector: Box<dyn Connector>,
    /// Names fields that the connector ignores.
    pub(super) warning: Option<String>,
}

/// Creates the connector of a definition without contacting the source.
pub(super) fn open(
    kind: &str,
    config: &Value,
    reach: &ConnectorContext,
) -> Result<OpenedSource, ConfigError> {
    let empty = Map::new();
    let (found, known) = (config.as_object().unwrap_or(&empty), KnownField::default());
    let fields = ConfigFields::new(found, &known);
    // Only some connectors read these, or only if another is absent.
    fields.mark_known(&["engine", "driver", "format", "table", "header"]);
    let connector = connector(kind, fields, reach)?;
    let others: Vec<_> = known.unknown_fields(found).iter().map(|name| format!("\"{name}\"")).collect();
    let warning = match others.as_slice() {
        _ if !connector.is_built_in() => None,
        [] => None,
        [name] => Some(format!("{name} is no setting of this connector and has no effect")),
        _ => Some(format!("{} are no settings of this connector and have no effect", others.join(", "))),
    };
    Ok(OpenedSource { connector, warning })
}

fn connector(
    kind: &str,
    fields: ConfigFields<'_>,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
    match kind.to_ascii_lowercase().as_str() {
        "database" => database_connector(fields, reach),
        "file" => file_connector(fields, reach),
        "csv" => csv::open(fields, b',', reach),
        "tsv" => csv::open(fields, b'\t', reach),
        "json" => json::open(fields, json::JsonLayout::Document, reach),
        "jsonl" | "ndjson" => json::open(fields, json::JsonLayout::Lines, reach),
        "parquet" => parquet::open(fields, reach),
        "api" | "http" | "https" | "rest" => http::open(fields, reach),
        engine => engine_connector(engine, fields, reach).unwrap_or_else(|| {
            Err(ConfigError::new(format!(
                "the type \"{kind}\" is not known here; there are database, postgresql, mysql, mariadb, sqlite, \
                 file, csv, tsv, json, jsonl, parquet and api"
            )))
        }),
    }
}

/// Runs a connector and turns panics into errors; drivers may panic on bad input.
pub(super) fn catch_panic<T>(work: impl FnOnce() -> Result<T, ReadError>) -> Result<T, ReadError> {
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ReadError::new(
            "internal error while reading the source: its data is damaged, it uses another protocol, or this is a bug of the platform; see the platform's log",
        ))
    })
}

/// The engine is named, or derived from address or port.
fn database_connector(
    fields: ConfigFields<'_>,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
    let address = fields.first_text(&["url", "uri", "connection_string", "dsn"])?;
    let scheme = address.map(|address| address.strip_prefix("jdbc:").unwrap_or(address));
    let scheme = scheme.and_then(|address| address.split_once("://")).map(|(scheme, _)| scheme);
    let engine = match fields.first_text(&["engine", "driver"])?.or(scheme) {
        Some(engine) => engine,
        None if fields.text("path")?.is_some() => "sqlite",
        None => match fields.unsigned("port")? {
            Some(5432) => "postgresql",
            Some(3306) => "mysql",
            _ => {
                return Err(ConfigError::new(
                    "\"engine\" is missing: postgresql, mysql, mariadb or sqlite (or write port 5432 or 3306)",
                ));
            }
        },
    };
    engine_connector(&engine.to_ascii_lowercase(), fields, reach)
        .unwrap_or_else(|| Err(ConfigError::new("\"engine\" must be postgresql, mysql, mariadb or sqlite")))
}

/// Returns the connector of a database engine; `None` for an unknown name.
fn engine_connector(
    engine: &str,
    fields: ConfigFields<'_>,
    reach: &ConnectorContext,
) -> Option<Result<Box<dyn Connector>, ConfigError>> {
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
    Some(Ok(Box::new(UnsupportedEngine(name))))
}

fn file_connector(
    fields: ConfigFields<'_>,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
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
        "json" => json::open(fields, json::JsonLayout::Document, reach),
        "jsonl" | "ndjson" => json::open(fields, json::JsonLayout::Lines, reach),
        "parquet" => parquet::open(fields, reach),
        "sqlite" | "sqlite3" | "db" => sqlite::open(fields, reach),
        _ => Err(ConfigError::new("a file needs \"format\": csv, tsv, json, jsonl, parquet or sqlite")),
    }
}

/// A database that can be declared but not read here.
struct UnsupportedEngine(&'static str);

impl UnsupportedEngine {
    fn failure(&self) -> ReadError {
        ReadError::new(format!(
            "{} is not built into this platform; it reads PostgreSQL, MySQL, MariaDB, SQLite, files and HTTP APIs",
            self.0
        ))
    }
}

impl Connector for UnsupportedEngine {
    fn is_built_in(&self) -> bool {
        false
    }

    fn test(&self) -> Result<String, ReadError> {
        Err(self.failure())
    }

    fn schema(&self) -> Result<Vec<SourceTable>, ReadError> {
        Err(self.failure())
    }

    fn read(&self, _: &ReadOptions, _: &mut dyn RowSink) -> Result<Value, ReadError> {
        Err(self.failure())
    }
}

impl SourceColumn {
    /// Creates a column with only a name and a type.
    fn new(name: impl Into<String>, kind: impl Into<String>) -> Self {
        Self { name: name.into(), kind: kind.into(), nullable: None, primary_key: None }
    }
}

impl ReadError {
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

impl ConfigError {
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }

    pub(super) fn into_message(self) -> String {
        self.0
    }
}
