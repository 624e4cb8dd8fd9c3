//! SQLite files: tables by integer key, everything else by what its rows hold.

mod session;

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OptionalExtension as _, Row};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use session::{Session, failure};

use super::file::Named;
use super::row::{RowText, bytes, real};
use super::{Column, Connector, Failure, Fields, Intake, Reach, Reading, Table, Take, Unfit};

/// How long a look at the file may take; syncs take as long as they need.
const LOOK: Duration = Duration::from_secs(50);

/// `path` (or `file`, `database`); `tables` (or `table`) names tables and views, all tables when left out.
pub(super) fn open(fields: Fields<'_>, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    let named = Named::read(fields, &["path", "file", "database"], reach)?;
    let wanted = match fields.texts("tables")? {
        Some(tables) => Some(tables),
        None => fields.text("table")?.map(|table| vec![table.to_owned()]),
    };
    Ok(Box::new(Sqlite { named, wanted }))
}

struct Sqlite {
    named: Named,
    wanted: Option<Vec<String>>,
}

/// A table or view of the file.
struct Relation {
    name: String,
    view: bool,
    columns: Vec<Column>,
    /// The expression for a unique integer of each row.
    key: Option<String>,
}

/// Where a reading of one table came to.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    /// The largest key, and the digest of the row it has: when that row has changed or is gone, the
    /// table may have been filled anew, and its keys say nothing any more.
    Key { last: i64, digest: String },
    /// The largest value of the cursor column; null before the first.
    Cursor { column: String, last: Value },
    /// Rows are told apart by what they hold.
    Content,
}

impl Connector for Sqlite {
    fn test(&self) -> Result<String, Failure> {
        let Session { connection, .. } = &Session::open(&self.named, Some(LOOK))?;
        let relations = self.relations(connection)?;
        for relation in &relations {
            let sql = format!("SELECT * FROM {} LIMIT 1", quoted(&relation.name));
            connection
                .prepare(&sql)
                .and_then(|mut query| query.query([])?.next().map(|_| ()))
                .map_err(|e| self.failed(&e))?;
        }
        Ok(format!("read {} tables of the SQLite file", relations.len()))
    }

    fn schema(&self) -> Result<Vec<Table>, Failure> {
        let session = Session::open(&self.named, Some(LOOK))?;
        let relations = self.relations(&session.connection)?;
        let table = |relation: Relation| Table {
            name: relation.name,
            kind: if relation.view { "view" } else { "table" },
            columns: relation.columns,
        };
        Ok(relations.into_iter().map(table).collect())
    }

    fn read(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure> {
        let session = Session::open(&self.named, None)?;
        let connection = &session.connection;
        // One snapshot for all tables.
        connection.execute_batch("BEGIN").map_err(|error| self.failed(&error))?;
        let mut relations = self.relations(connection)?;
        if self.wanted.is_none() {
            // A view holds what its tables hold; it is read when it is asked for by name.
            relations.retain(|relation| !relation.view);
        }
        let cursor = options.cursor.as_deref();
        let has =
            |relation: &Relation| relation.columns.iter().any(|column| Some(column.name.as_str()) == cursor);
        if let Some(cursor) = cursor
            && !relations.iter().any(has)
        {
            return Err(self.named.wrong(format!("no table has the cursor column \"{cursor}\"")));
        }
        let before: BTreeMap<String, Mark> =
            since.and_then(|position| serde_json::from_value(position.clone()).ok()).unwrap_or_default();
        let mut marks = BTreeMap::new();
        for relation in &relations {
            let before = before.get(&relation.name);
            let mark = match (cursor.filter(|_| has(relation)), &relation.key) {
                (Some(column), _) => self.read_by_cursor(connection, relation, column, before, intake)?,
                (None, Some(key)) => self.read_by_key(connection, relation, key, before, intake)?,
                (None, None) => self.read_by_content(connection, relation, before, intake)?,
            };
            marks.insert(relation.name.clone(), mark);
        }
        session.finish(&self.named)?;
        Ok(serde_json::to_value(marks).unwrap_or(Value::Null))
    }
}

impl Sqlite {
    fn relations(&self, connection: &Connection) -> Result<Vec<Relation>, Failure> {
        let relations = relations(connection).map_err(|error| self.failed(&error))?;
        let Some(wanted) = &self.wanted else { return Ok(relations) };
        if let Some(missing) = wanted.iter().find(|name| !relations.iter().any(|found| found.name == **name))
        {
            return Err(self.named.wrong(format!("there is no table \"{missing}\"")));
        }
        Ok(relations.into_iter().filter(|relation| wanted.contains(&relation.name)).collect())
    }

    fn read_by_key(
        &self,
        connection: &Connection,
        relation: &Relation,
        key: &str,
        before: Option<&Mark>,
        intake: &mut dyn Intake,
    ) -> Result<Mark, Failure> {
        let table = quoted(&relation.name);
        let mut start = None;
        if let Some(Mark::Key { last, digest }) = before {
            let sql = format!("SELECT {key}, * FROM {table} WHERE {key} = ?1");
            let row = connection
                .prepare(&sql)
                .and_then(|mut query| {
                    query
                        .query_row([last], |row| put(&mut RowText::default(), row, relation).map(digest_of))
                        .optional()
                })
                .map_err(|error| self.failed(&error))?;
            start = row.filter(|found| found == digest).map(|_| (*last, digest.clone()));
        }
        // Nothing is smaller than the smallest key but the start of an empty table.
        let (mut last, mut digest) = start.clone().unwrap_or((i64::MIN, String::new()));
        intake.table(&relation.name, if start.is_some() { Take::New } else { Take::All })?;
        let comparison = if start.is_some() { ">" } else { ">=" };
        let sql = format!("SELECT {key}, * FROM {table} WHERE {key} {comparison} ?1 ORDER BY {key}");
        let mut query = connection.prepare(&sql).map_err(|error| self.failed(&error))?;
        let mut rows = query.query([last]).map_err(|error| self.failed(&error))?;
        let mut latest = RowText::default();
        let mut read = false;
        while let Some(row) = rows.next().map_err(|error| self.failed(&error))? {
            last = row.get(0).map_err(|error| self.failed(&error))?;
            let row = put(&mut latest, row, relation).map_err(|error| self.failed(&error))?;
            intake.row(row, None)?;
            read = true;
        }
        if read {
            digest = digest_of(latest.text());
        }
        Ok(Mark::Key { last, digest })
    }

    fn read_by_cursor(
        &self,
        connection: &Connection,
        relation: &Relation,
        column: &str,
        before: Option<&Mark>,
        intake: &mut dyn Intake,
    ) -> Result<Mark, Failure> {
        let (table, cursor) = (quoted(&relation.name), quoted(column));
        let since = match before {
            Some(Mark::Cursor { column: earlier, last }) if earlier == column => Some(last),
            _ => None,
        };
        // Rows at the very mark may have come since, so they are read again and told apart by their key or,
        // without one, by what they hold.
        let again = if relation.key.is_some() { Take::Latest } else { Take::Unseen };
        intake.table(&relation.name, if since.is_some() { again } else { Take::All })?;
        let bound = since.and_then(parameter);
        let condition =
            if bound.is_some() { format!("WHERE {cursor} >= ?1 OR {cursor} IS NULL") } else { String::new() };
        let key = relation.key.as_deref().unwrap_or("NULL");
        let sql = format!("SELECT {cursor}, *, {key} FROM {table} {condition} ORDER BY {cursor}");
        let mut query = connection.prepare(&sql).map_err(|error| self.failed(&error))?;
        let mut rows = query.query(rusqlite::params_from_iter(bound)).map_err(|error| self.failed(&error))?;
        let mut last = since.cloned().unwrap_or(Value::Null);
        let mut text = RowText::default();
        while let Some(row) = rows.next().map_err(|error| self.failed(&error))? {
            let at = row.get_ref(0).map(value).map_err(|error| self.failed(&error))?;
            // Bytes and infinities cannot be asked for again as they are; they do not move the mark.
            if parameter(&at).is_some() {
                last = at;
            }
            let key: Option<i64> =
                row.get(relation.columns.len() + 1).map_err(|error| self.failed(&error))?;
            let row = put(&mut text, row, relation).map_err(|error| self.failed(&error))?;
            intake.row(row, Some(key.map(|key| key.to_string()).as_deref().unwrap_or(row)))?;
        }
        Ok(Mark::Cursor { column: column.to_owned(), last })
    }

    fn read_by_content(
        &self,
        connection: &Connection,
        relation: &Relation,
        before: Option<&Mark>,
        intake: &mut dyn Intake,
    ) -> Result<Mark, Failure> {
        let unseen = matches!(before, Some(Mark::Content));
        intake.table(&relation.name, if unseen { Take::Unseen } else { Take::All })?;
        let sql = format!("SELECT NULL, * FROM {}", quoted(&relation.name));
        let mut query = connection.prepare(&sql).map_err(|error| self.failed(&error))?;
        let mut rows = query.query([]).map_err(|error| self.failed(&error))?;
        let mut text = RowText::default();
        while let Some(row) = rows.next().map_err(|error| self.failed(&error))? {
            let row = put(&mut text, row, relation).map_err(|error| self.failed(&error))?;
            intake.row(row, Some(row))?;
        }
        Ok(Mark::Content)
    }

    fn failed(&self, error: &rusqlite::Error) -> Failure {
        failure(&self.named, error)
    }
}

fn relations(connection: &Connection) -> rusqlite::Result<Vec<Relation>> {
    let mut query = connection.prepare(
        "SELECT name, type = 'view', wr FROM pragma_table_list
         WHERE schema = 'main' AND type IN ('table', 'view') AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\'
         ORDER BY name",
    )?;
    let names = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    let names: Vec<(String, bool, bool)> = names.collect::<Result<_, _>>()?;
    names.into_iter().map(|(name, view, keyless)| relation(connection, name, view, keyless)).collect()
}

fn relation(connection: &Connection, name: String, view: bool, keyless: bool) -> rusqlite::Result<Relation> {
    // Hidden columns (1) belong to virtual tables; generated ones (2, 3) are read like any other.
    let mut query = connection.prepare(
        "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid",
    )?;
    let found = query.query_map([&name], |row| {
        Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default(), row.get(2)?, row.get(3)?))
    })?;
    let found: Vec<(String, String, bool, i64)> = found.collect::<Result<_, _>>()?;
    let key = if view || keyless { None } else { row_id(&found) };
    let columns = found
        .into_iter()
        .map(|(name, kind, not_null, primary)| Column {
            name,
            kind: if kind.is_empty() { "ANY".into() } else { kind },
            nullable: (!view).then_some(!not_null && primary == 0),
            primary_key: (!view).then_some(primary > 0),
        })
        .collect();
    Ok(Relation { name, view, columns, key })
}

/// A name by which the integer key can be asked for: one that no column of its own has taken, or
/// that of the column which is the key.
fn row_id(columns: &[(String, String, bool, i64)]) -> Option<String> {
    let primary: Vec<_> = columns.iter().filter(|column| column.3 > 0).collect();
    if let [(name, kind, ..)] = primary.as_slice()
        && kind.eq_ignore_ascii_case("integer")
    {
        return Some(quoted(name));
    }
    let free = |name: &&str| !columns.iter().any(|column| column.0.eq_ignore_ascii_case(name));
    ["rowid", "_rowid_", "oid"].into_iter().find(free).map(str::to_owned)
}

/// The row as JSON; its first value is the key and no column.
fn put<'t>(text: &'t mut RowText, row: &Row<'_>, relation: &Relation) -> rusqlite::Result<&'t str> {
    text.clear();
    for (index, column) in relation.columns.iter().enumerate() {
        text.put(&column.name, &value(row.get_ref(index + 1)?));
    }
    Ok(text.finish())
}

fn value(found: ValueRef<'_>) -> Value {
    match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => real(number),
        ValueRef::Text(text) => std::str::from_utf8(text).map_or_else(|_| bytes(text), Value::from),
        ValueRef::Blob(blob) => bytes(blob),
    }
}

/// A value of a cursor as it is asked for again.
fn parameter(value: &Value) -> Option<rusqlite::types::Value> {
    match value {
        Value::Number(number) => number.as_i64().map(Into::into).or_else(|| number.as_f64().map(Into::into)),
        Value::String(text) => Some(text.clone().into()),
        _ => None,
    }
}

fn digest_of(row: &str) -> String {
    Sha256::digest(row.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
