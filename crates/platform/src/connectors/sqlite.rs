//! SQLite files; rows are identified by row number, key or content.

mod catalogue;
mod reading;
mod session;

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;
use serde_json::Value;

use catalogue::{SqliteColumnForm, SqliteEntry, SqliteRelation, describe, quoted};
use reading::{SqliteCursor, SqliteReader};
use session::{SqliteSession, failure};

use super::file::DataFile;
use super::{
    ConfigError, ConfigFields, Connector, ConnectorContext, ReadError, ReadOptions, RecordMemory, RowSink,
    SourceTable,
};

/// Maximum duration of a test or schema request; syncs have no limit here.
const INSPECT_TIMEOUT: Duration = Duration::from_secs(50);

/// Reads the configuration.
///
/// Fields: `path` (or `file`, `database`); `tables` (or `table`) names tables and views, by default
/// all tables.
pub(super) fn open(
    fields: ConfigFields<'_>,
    reach: &ConnectorContext,
) -> Result<Box<dyn Connector>, ConfigError> {
    let named = DataFile::read(fields, &["path", "file", "database"], reach)?;
    let wanted = match fields.texts("tables")? {
        Some(tables) => Some(tables),
        None => fields.text("table")?.map(|table| vec![table.to_owned()]),
    };
    Ok(Box::new(Sqlite { named, tables: wanted }))
}

struct Sqlite {
    named: DataFile,
    tables: Option<Vec<String>>,
}

impl Connector for Sqlite {
    fn test(&self) -> Result<String, ReadError> {
        let SqliteSession { connection, .. } = &SqliteSession::open(&self.named, Some(INSPECT_TIMEOUT))?;
        let relations = self.relations(connection)?;
        for relation in &relations {
            let sql = format!("SELECT * FROM {} LIMIT 1", quoted(&relation.name));
            connection
                .prepare(&sql)
                .and_then(|mut query| query.query([])?.next().map(|_| ()))
                .map_err(|error| failure(&self.named, Some(&relation.name), &error))?;
        }
        Ok(format!("read {} tables of the SQLite file", relations.len()))
    }

    fn schema(&self) -> Result<Vec<SourceTable>, ReadError> {
        let session = SqliteSession::open(&self.named, Some(INSPECT_TIMEOUT))?;
        let connection = &session.connection;
        let mut tables = Vec::new();
        for entry in self.entries(connection)? {
            let described = match describe(connection, &entry) {
                // A broken view is ignored unless it is named.
                Err(rusqlite::Error::SqliteFailure(..))
                    if entry.form == SqliteColumnForm::View && self.tables.is_none() =>
                {
                    SqliteRelation::unknown(&entry)
                }
                described => described.map_err(|error| failure(&self.named, Some(&entry.name), &error))?,
            };
            tables.push(described.table());
        }
        Ok(tables)
    }

    fn read(&self, options: &ReadOptions, intake: &mut dyn RowSink) -> Result<Value, ReadError> {
        let session = SqliteSession::open(&self.named, None)?;
        let connection = &session.connection;
        // One snapshot for all tables.
        connection.execute_batch("BEGIN").map_err(|error| failure(&self.named, None, &error))?;
        let relations = self.relations(connection)?;
        let cursor = options.cursor.as_deref();
        let has = |relation: &SqliteRelation| cursor.filter(|name| relation.column_index(name).is_some());
        if let Some(cursor) = cursor
            && !relations.iter().any(|relation| has(relation).is_some())
        {
            return Err(self.named.content_error(format!("no table has the cursor column \"{cursor}\"")));
        }
        let mut before: BTreeMap<String, SqliteCursor> = options.position().unwrap_or_default();
        let mut marks = BTreeMap::new();
        for relation in &relations {
            let memory = RecordMemory::new(self.named.reach());
            let reader =
                SqliteReader { named: &self.named, connection, relation, intake: &mut *intake, memory };
            marks.insert(relation.name.clone(), reader.read(has(relation), before.remove(&relation.name))?);
        }
        session.finish(&self.named)?;
        Ok(serde_json::to_value(marks).unwrap_or(Value::Null))
    }
}

impl Sqlite {
    /// Returns the named entries, or all tables and views of the file.
    fn entries(&self, connection: &Connection) -> Result<Vec<SqliteEntry>, ReadError> {
        let mut entries = catalogue::list(connection).map_err(|error| failure(&self.named, None, &error))?;
        let Some(wanted) = &self.tables else {
            entries.retain(|entry| matches!(entry.form, SqliteColumnForm::Table | SqliteColumnForm::View));
            return Ok(entries);
        };
        for name in wanted {
            match entries.iter().find(|found| found.name == *name) {
                None => return Err(self.named.content_error(format!("there is no table \"{name}\""))),
                Some(SqliteEntry { form: SqliteColumnForm::Virtual, .. }) => {
                    let message = format!("\"{name}\" is a virtual table; only tables and views are read");
                    return Err(self.named.content_error(message));
                }
                Some(_) => {}
            }
        }
        entries.retain(|found| wanted.contains(&found.name));
        Ok(entries)
    }

    /// Returns the tables that a sync reads.
    ///
    /// Views repeat the data of their tables, so they are read only if named.
    fn relations(&self, connection: &Connection) -> Result<Vec<SqliteRelation>, ReadError> {
        let entries = self.entries(connection)?.into_iter();
        let read = entries.filter(|entry| self.tables.is_some() || entry.form != SqliteColumnForm::View);
        read.map(|entry| {
            describe(connection, &entry).map_err(|error| failure(&self.named, Some(&entry.name), &error))
        })
        .collect()
    }
}
