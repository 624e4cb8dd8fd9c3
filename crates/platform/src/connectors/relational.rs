//! Common part of database servers: tables and views, streamed from one snapshot.
//!
//! Servers send values as text, which [`ValueKind`] interprets. An engine defines the specific parts:
//! SQL, types and driver.

pub(super) mod catalogue;
mod reading;
pub(super) mod session;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::stream::BoxStream;
use serde_json::Value;

use super::link::{Link, Protocol};
use super::server::{CONNECT_TIMEOUT, Server};
use super::values::ValueKind;
use super::{
    ConfigError, ConfigFields, Connector, ConnectorContext, ReadError, ReadOptions, RowSink, SourceTable,
    WriteMode,
};
use catalogue::{CatalogLine, ColumnForm, Relation, relations};
use reading::{TableCursor, TableReader};
use session::Session;

/// Maximum duration of a test or schema request.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(50);
/// Maximum time between rows of a sync, whose total duration is not limited.
pub(super) const STALL_TIMEOUT: Duration = Duration::from_secs(15 * 60);

/// A kind of database server.
pub(super) trait Engine: Send + Sized + 'static {
    const NAME: &'static str;
    const PORT: u16;
    type Connection: sqlx::Connection;
    type Row;

    /// Handshake between server and driver.
    const PROTOCOL: Protocol;

    /// Logs in over an open connection.
    async fn login(server: &Server, link: &Link) -> Result<Self::Connection, sqlx::Error>;

    /// SQL that starts a read-only snapshot with a statement timeout of `limit`.
    fn begin_snapshot(limit: Option<Duration>) -> String;

    fn rows(connection: &mut Self::Connection, sql: String) -> BoxStream<'_, Result<Self::Row, sqlx::Error>>;

    /// Returns a value of a row; `None` for null.
    fn value(row: &Self::Row, index: usize) -> Result<Option<&[u8]>, sqlx::Error>;

    /// Lists the readable columns, table by table.
    ///
    /// Includes partitions only if tables are named.
    async fn catalogue(
        session: &mut Session<'_, Self>,
        schema: Option<&str>,
        by_name: bool,
    ) -> Result<Vec<CatalogLine>, ReadError>;

    /// SQL that counts the schemas of this name.
    fn schemas(name: &str) -> String;

    /// Determines properties that the catalogue lacks, before a table is read.
    async fn resolve_doubtful(_: &mut Session<'_, Self>, _: &mut Relation) -> Result<(), ReadError> {
        Ok(())
    }

    /// SQL name of a table; with `only`, excludes inheriting tables.
    fn path(schema: &str, table: &str, only: bool) -> String;

    fn quoted(name: &str) -> String;

    /// SQL literal of a value that was read.
    fn literal(kind: &ValueKind, text: &str) -> Option<String>;

    /// Returns the way to read a column of a type, given its quoted name.
    fn column_reader(of: &str, quoted: &str) -> catalogue::ColumnReader;
}

/// Reads the configuration.
///
/// `tables` (or `table`) names tables and views, by default all tables; `schema` limits them to one
/// schema.
pub(super) fn open<E: Engine>(
    fields: ConfigFields<'_>,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
    let wanted = match fields.texts("tables")? {
        Some(tables) => Some(tables),
        None => fields.text("table")?.map(|table| vec![table.to_owned()]),
    };
    Ok(Box::new(Relational::<E> {
        server: Server::read(fields, E::NAME, E::PORT, reach)?,
        schema: fields.text("schema")?.map(str::to_owned),
        tables: wanted,
        reach: reach.clone(),
        engine: PhantomData,
    }))
}

struct Relational<E> {
    server: Server,
    schema: Option<String>,
    tables: Option<Vec<String>>,
    reach: ConnectorContext,
    engine: PhantomData<E>,
}

impl<E: Engine> Connector for Relational<E> {
    fn test(&self) -> Result<String, ReadError> {
        self.with_session(async |session| {
            let relations = self.read_relations(session).await?;
            for relation in &relations {
                let sql = format!("{} LIMIT 1", relation.select());
                session.each(Some(&relation.name), sql, &mut |_| Ok(())).await?;
            }
            let Server { engine, host, port, .. } = &self.server;
            Ok(format!("read {} tables of {engine} at {host}:{port}", relations.len()))
        })
    }

    fn schema(&self) -> Result<Vec<SourceTable>, ReadError> {
        self.with_session(async |session| {
            let relations = self.relations(session).await?;
            Ok(relations.into_iter().map(Relation::shown).collect())
        })
    }

    fn read(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        let rows = Cell::new(0_u64);
        let mut counted = Counted { intake, rows: &rows };
        self.reach.runtime.block_on(async {
            tokio::select! {
                position = self.read_all(options, &mut counted) => position,
                () = self.reach.wait_for_stop() => Err(self.reach.stop_failure()),
                () = stall_timeout(&rows) => {
                    let minutes = STALL_TIMEOUT.as_secs() / 60;
                    Err(self.server.server_error(&format!("no row came for {minutes} minutes (timeout)")))
                }
            }
        })
    }
}

impl<E: Engine> Relational<E> {
    /// Connects and runs `work` with a time limit.
    fn with_session<T>(
        &self,
        work: impl AsyncFnOnce(&mut Session<'_, E>) -> Result<T, ReadError>,
    ) -> Result<T, ReadError> {
        let late = |_| {
            self.server
                .server_error(&format!("no answer within {} seconds (timeout)", INSPECT_TIMEOUT.as_secs()))
        };
        self.reach.runtime.block_on(async {
            let work = async { work(&mut self.connect(Some(INSPECT_TIMEOUT)).await?).await };
            tokio::select! {
                done = tokio::time::timeout(INSPECT_TIMEOUT, work) => done.map_err(late)?,
                () = self.reach.wait_for_stop() => Err(self.reach.stop_failure()),
            }
        })
    }

    /// Logs in and starts a snapshot.
    async fn connect(&self, limit: Option<Duration>) -> Result<Session<'_, E>, ReadError> {
        let late = |_| {
            let seconds = CONNECT_TIMEOUT.as_secs();
            self.server.server_error(&format!("no connection and login within {seconds} seconds (timeout)"))
        };
        let connecting = tokio::time::timeout(CONNECT_TIMEOUT, Session::open(&self.server));
        let mut session = connecting.await.map_err(late)??;
        session.each(None, E::begin_snapshot(limit), &mut |_| Ok(())).await?;
        Ok(session)
    }

    /// Returns the named tables, or all except those of extensions.
    async fn relations(&self, session: &mut Session<'_, E>) -> Result<Vec<Relation>, ReadError> {
        let schema = self.schema.as_deref();
        let lines = E::catalogue(session, schema, self.tables.is_some()).await?;
        let mut found = relations::<E>(lines);
        let user = &self.server.username;
        if found.is_empty()
            && let Some(schema) = schema
            && session.texts::<1>(E::schemas(schema)).await?.first().is_none_or(|[count]| count == "0")
        {
            return Err(self.server.server_error(&format!("there is no schema \"{schema}\"")));
        }
        let Some(wanted) = &self.tables else {
            found.retain(|relation| !relation.extension);
            return Ok(found);
        };
        let named =
            |relation: &Relation, name: &String| relation.name == *name || relation.full_name == *name;
        if let Some(missing) = wanted.iter().find(|name| !found.iter().any(|one| named(one, name))) {
            let message = format!("there is no table \"{missing}\" that \"{user}\" may read");
            return Err(self.server.server_error(&message));
        }
        found.retain(|relation| wanted.iter().any(|name| named(relation, name)));
        found.iter_mut().for_each(Relation::include_children::<E>);
        Ok(found)
    }

    /// Returns the tables that a sync reads.
    ///
    /// Views repeat the data of their tables, so they are read only if named.
    async fn read_relations(&self, session: &mut Session<'_, E>) -> Result<Vec<Relation>, ReadError> {
        let mut relations = self.relations(session).await?;
        if self.tables.is_none() {
            relations.retain(|relation| relation.form != ColumnForm::View);
        }
        if relations.is_empty() {
            let of =
                self.schema.as_ref().map_or(String::new(), |schema| format!(" of the schema \"{schema}\""));
            let user = &self.server.username;
            let message = format!("there is no table{of} that \"{user}\" may read; views are read by name");
            return Err(self.server.server_error(&message));
        }
        let mut names = BTreeSet::new();
        if let Some(twice) = relations.iter().find(|relation| !names.insert(&relation.name)) {
            let message = format!("two tables are called \"{}\"; name one schema", twice.name);
            return Err(self.server.server_error(&message));
        }
        Ok(relations)
    }

    async fn read_all(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        let session = &mut self.connect(None).await?;
        let mut relations = self.read_relations(session).await?;
        let cursor = options.cursor.as_deref();
        let place = |relation: &Relation| cursor.and_then(|name| relation.column_index(name));
        if let Some(cursor) = cursor
            && !relations.iter().any(|relation| place(relation).is_some())
        {
            return Err(self.server.server_error(&format!("no table has the cursor column \"{cursor}\"")));
        }
        let mut before: BTreeMap<String, TableCursor> = options.position().unwrap_or_default();
        let mut marks = BTreeMap::new();
        for relation in &mut relations {
            E::resolve_doubtful(session, relation).await?;
            let before = before.remove(&relation.name);
            let mark = TableReader::new(session, relation, intake).read(place(relation), before).await?;
            marks.insert(relation.name.clone(), mark);
        }
        Ok(serde_json::to_value(marks).unwrap_or(Value::Null))
    }
}

/// An intake that counts rows, to detect a stall.
struct Counted<'i> {
    intake: &'i mut dyn RowSink,
    rows: &'i Cell<u64>,
}

impl RowSink for Counted<'_> {
    fn begin_table(&mut self, name: &str, take: WriteMode) -> Result<(), ReadError> {
        self.intake.begin_table(name, take)
    }

    fn push_row(&mut self, row: &str, identity: Option<&str>) -> Result<(), ReadError> {
        self.rows.set(self.rows.get() + 1);
        self.intake.push_row(row, identity)
    }

    fn remove_row(&mut self, identity: &str) -> Result<(), ReadError> {
        self.intake.remove_row(identity)
    }

    fn add_note(&mut self, note: String) {
        self.intake.add_note(note);
    }
}

/// Resolves after a long time without rows.
async fn stall_timeout(rows: &Cell<u64>) {
    let mut seen = None;
    while seen.replace(rows.get()) != Some(rows.get()) {
        tokio::time::sleep(STALL_TIMEOUT).await;
    }
}
