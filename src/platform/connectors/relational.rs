//! What all database servers have in common: tables and views, read within one snapshot, row after row.
//!
//! A server writes its values as text, and so does [`Kind`] know them. An engine is what is particular:
//! its SQL, its types, its driver.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::marker::PhantomData;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use futures_util::stream::BoxStream;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::row::RowText;
use super::server::{CONNECT, Server};
use super::values::Kind;
use super::{Column, Connector, Failure, Fields, Intake, Reach, Reading, Table, Take, Unfit};

/// How long a look at the server may take.
const LOOK: Duration = Duration::from_secs(50);
/// A sync takes as long as it needs, but rows must come.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// Texts in a line of the catalogue.
const LINE: usize = 9;

/// A kind of database server.
pub(super) trait Engine: Send + Sized + 'static {
    const NAME: &'static str;
    const PORT: u16;
    /// Opens a snapshot that only reads.
    const BEGIN: &'static str;
    type Connection: sqlx::Connection;
    type Row;

    async fn connect(server: &Server) -> Result<Self::Connection, Failure>;

    /// Runs a statement and gives its rows as they come.
    fn rows(connection: &mut Self::Connection, sql: String) -> BoxStream<'_, Result<Self::Row, sqlx::Error>>;

    /// A value of a row, null when there is none.
    fn value(row: &Self::Row, index: usize) -> Result<Option<&[u8]>, sqlx::Error>;

    /// Lists the columns of what may be read, as [`add`] takes them.
    fn catalogue(schema: Option<&str>) -> String;

    /// How a table is named in SQL.
    fn path(schema: &str, table: &str, form: &str) -> String;

    fn quoted(name: &str) -> String;

    /// A value as it was read, written so that it can be asked for again.
    fn literal(kind: &Kind, text: &str) -> Option<String>;

    /// How values of a type are written, when they are selected by this expression.
    fn kind(of: &str, quoted: &str) -> (Kind, String);
}

/// `tables` (or `table`) names tables and views, all tables when left out; `schema` is the only one read.
pub(super) fn open<E: Engine>(fields: Fields<'_>, reach: &Reach) -> Result<Box<dyn Connector>, Unfit> {
    let wanted = match fields.texts("tables")? {
        Some(tables) => Some(tables),
        None => fields.text("table")?.map(|table| vec![table.to_owned()]),
    };
    Ok(Box::new(Relational::<E> {
        server: Server::read(fields, E::NAME, E::PORT, reach)?,
        schema: fields.text("schema")?.map(str::to_owned),
        wanted,
        reach: reach.clone(),
        engine: PhantomData,
    }))
}

struct Relational<E> {
    server: Server,
    schema: Option<String>,
    wanted: Option<Vec<String>>,
    reach: Reach,
    engine: PhantomData<E>,
}

/// A table or view, and how it is read.
struct Relation {
    name: String,
    /// With its schema, as people write it.
    full_name: String,
    path: String,
    view: bool,
    columns: Vec<Column>,
    kinds: Vec<Kind>,
    /// What is selected, column by column.
    selected: Vec<String>,
    /// The places of the columns of its primary key.
    key: Vec<usize>,
}

/// Where a reading of one table came to.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mark {
    /// The largest value of a whole-number key, and the digest of the row it has: when that row has changed
    /// or is gone, the table may have been filled anew, and its keys say nothing any more.
    Key { column: String, last: String, digest: String },
    /// The largest value of the cursor column; null before the first.
    Cursor { column: String, last: Option<String> },
    /// Rows are told apart by their key or, without one, by what they hold.
    Rows,
}

impl<E: Engine> Connector for Relational<E> {
    fn test(&self) -> Result<String, Failure> {
        self.look(async |connection| {
            let relations = self.relations(connection).await?;
            for relation in &relations {
                let sql = format!("{} LIMIT 1", relation.select());
                self.each(connection, sql, &mut |_| Ok(())).await?;
            }
            let Server { engine, host, port, .. } = &self.server;
            Ok(format!("read {} tables of {engine} at {host}:{port}", relations.len()))
        })
    }

    fn schema(&self) -> Result<Vec<Table>, Failure> {
        self.look(async |connection| {
            let table = |relation: Relation| Table {
                name: relation.name,
                kind: if relation.view { "view" } else { "table" },
                columns: relation.columns,
            };
            Ok(self.relations(connection).await?.into_iter().map(table).collect())
        })
    }

    fn read(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure> {
        let rows = Cell::new(0_u64);
        let mut counted = Counted { intake, rows: &rows };
        self.reach.runtime.block_on(async {
            tokio::select! {
                position = self.read_all(since, options, &mut counted) => position,
                () = self.reach.stopped() => Err(Failure::new("the platform is stopping; sync again")),
                () = silence(&rows) => {
                    let minutes = SILENCE.as_secs() / 60;
                    Err(self.server.wrong(&format!("no row came for {minutes} minutes (timeout)")))
                }
            }
        })
    }
}

impl<E: Engine> Relational<E> {
    /// Connects and does what is not to take long.
    fn look<T>(
        &self,
        work: impl AsyncFnOnce(&mut E::Connection) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let late = |_| self.server.wrong(&format!("no answer within {} seconds (timeout)", LOOK.as_secs()));
        self.reach.runtime.block_on(async {
            let work = async { work(&mut self.connect().await?).await };
            tokio::select! {
                done = tokio::time::timeout(LOOK, work) => done.map_err(late)?,
                () = self.reach.stopped() => Err(Failure::new("the platform is stopping; try again")),
            }
        })
    }

    /// Logs in and begins to read.
    async fn connect(&self) -> Result<E::Connection, Failure> {
        let late = |_| {
            let seconds = CONNECT.as_secs();
            self.server.wrong(&format!("no connection and login within {seconds} seconds (timeout)"))
        };
        let connecting = tokio::time::timeout(CONNECT, E::connect(&self.server));
        let mut connection = connecting.await.map_err(late)??;
        self.each(&mut connection, E::BEGIN.to_owned(), &mut |_| Ok(())).await?;
        Ok(connection)
    }

    /// Calls `take` with every row of a statement.
    async fn each(
        &self,
        connection: &mut E::Connection,
        sql: String,
        take: &mut dyn FnMut(&E::Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let mut rows = E::rows(connection, sql);
        while let Some(row) = rows.try_next().await.map_err(|error| self.server.failed(&error))? {
            take(&row)?;
        }
        Ok(())
    }

    /// What is to be read: everything, or what was asked for by name.
    async fn relations(&self, connection: &mut E::Connection) -> Result<Vec<Relation>, Failure> {
        let mut found: Vec<Relation> = Vec::new();
        self.each(connection, E::catalogue(self.schema.as_deref()), &mut |row| {
            let mut line: [String; LINE] = Default::default();
            for (index, text) in line.iter_mut().enumerate() {
                *text = self.text(row, index)?;
            }
            add::<E>(&mut found, &line);
            Ok(())
        })
        .await?;
        let Some(wanted) = &self.wanted else { return Ok(found) };
        let named =
            |relation: &Relation, name: &String| relation.name == *name || relation.full_name == *name;
        if let Some(missing) = wanted.iter().find(|name| !found.iter().any(|one| named(one, name))) {
            let user = &self.server.username;
            return Err(self
                .server
                .wrong(&format!("there is no table \"{missing}\" that \"{user}\" may read")));
        }
        found.retain(|relation| wanted.iter().any(|name| named(relation, name)));
        Ok(found)
    }

    async fn read_all(
        &self,
        since: Option<&Value>,
        options: &Reading,
        intake: &mut dyn Intake,
    ) -> Result<Value, Failure> {
        let connection = &mut self.connect().await?;
        let mut relations = self.relations(connection).await?;
        if self.wanted.is_none() {
            // A view holds what its tables hold; it is read when it is asked for by name.
            relations.retain(|relation| !relation.view);
        }
        let cursor = options.cursor.as_deref();
        let place = |relation: &Relation| cursor.and_then(|name| relation.place(name));
        if let Some(cursor) = cursor
            && !relations.iter().any(|relation| place(relation).is_some())
        {
            return Err(self.server.wrong(&format!("no table has the cursor column \"{cursor}\"")));
        }
        let mut before: BTreeMap<String, Mark> =
            since.and_then(|position| serde_json::from_value(position.clone()).ok()).unwrap_or_default();
        let mut marks = BTreeMap::new();
        for relation in &relations {
            let before = before.remove(&relation.name);
            let mark = match (place(relation), relation.number()) {
                (Some(cursor), _) => {
                    self.read_by_cursor(connection, relation, cursor, before, intake).await?
                }
                (None, Some(key)) => self.read_by_key(connection, relation, key, before, intake).await?,
                (None, None) => self.read_by_rows(connection, relation, before, intake).await?,
            };
            marks.insert(&relation.name, mark);
        }
        Ok(serde_json::to_value(marks).unwrap_or(Value::Null))
    }

    async fn read_by_key(
        &self,
        connection: &mut E::Connection,
        relation: &Relation,
        key: usize,
        before: Option<Mark>,
        intake: &mut dyn Intake,
    ) -> Result<Mark, Failure> {
        let column = &relation.columns[key].name;
        let quoted = E::quoted(column);
        let mut text = RowText::default();
        let mut start = None;
        if let Some(Mark::Key { column: earlier, last, digest }) = before
            && earlier == *column
            && let Some(literal) = E::literal(&relation.kinds[key], &last)
        {
            let sql = format!("{} WHERE {quoted} = {literal}", relation.select());
            let mut same = false;
            self.each(connection, sql, &mut |row| {
                same = digest_of(self.put(&mut text, row, relation)?) == digest;
                Ok(())
            })
            .await?;
            start = same.then_some((last, digest, literal));
        }
        intake.table(&relation.name, if start.is_some() { Take::New } else { Take::All })?;
        let condition =
            start.as_ref().map_or(String::new(), |(.., after)| format!("WHERE {quoted} > {after}"));
        let sql = format!("{} {condition} ORDER BY {quoted}", relation.select());
        let mut last = Vec::new();
        self.each(connection, sql, &mut |row| {
            last.clear();
            last.extend_from_slice(self.value(row, key)?.unwrap_or_default());
            intake.row(self.put(&mut text, row, relation)?, None)
        })
        .await?;
        let (last, digest) = match start {
            Some((last_before, digest, _)) if last.is_empty() => (last_before, digest),
            _ => (String::from_utf8_lossy(&last).into_owned(), digest_of(text.text())),
        };
        Ok(Mark::Key { column: column.clone(), last, digest })
    }

    async fn read_by_cursor(
        &self,
        connection: &mut E::Connection,
        relation: &Relation,
        cursor: usize,
        before: Option<Mark>,
        intake: &mut dyn Intake,
    ) -> Result<Mark, Failure> {
        let (column, kind) = (&relation.columns[cursor].name, &relation.kinds[cursor]);
        let quoted = E::quoted(column);
        let since = match before {
            Some(Mark::Cursor { column: earlier, last }) if earlier == *column => Some(last),
            _ => None,
        };
        let mut last = since.clone().flatten();
        let largest = format!(
            "SELECT {} FROM {} WHERE {quoted} IS NOT NULL ORDER BY {quoted} DESC LIMIT 1",
            relation.selected[cursor], relation.path
        );
        self.each(connection, largest, &mut |row| {
            last = Some(self.text(row, 0)?);
            Ok(())
        })
        .await?;
        let literal = |last: &String| {
            let unfit =
                || self.server.wrong(&format!("\"{column}\" cannot be a cursor: it has no order to ask by"));
            E::literal(kind, last).ok_or_else(unfit)
        };
        last.as_ref().map(literal).transpose()?;
        // Rows at the very mark may have come since, so they are read again and told apart.
        let condition = match since.as_ref().and_then(Option::as_ref).map(literal).transpose()? {
            Some(mark) => format!("WHERE {quoted} >= {mark} OR {quoted} IS NULL"),
            None => String::new(),
        };
        let sql = format!("{} {condition}", relation.select());
        self.hand_over(connection, relation, sql, since.is_some(), intake).await?;
        Ok(Mark::Cursor { column: column.clone(), last })
    }

    async fn read_by_rows(
        &self,
        connection: &mut E::Connection,
        relation: &Relation,
        before: Option<Mark>,
        intake: &mut dyn Intake,
    ) -> Result<Mark, Failure> {
        let again = matches!(before, Some(Mark::Rows));
        self.hand_over(connection, relation, relation.select(), again, intake).await?;
        Ok(Mark::Rows)
    }

    /// Hands rows over that are told apart by their key: then a row that changed takes the place of what
    /// it was. Without a key they are told apart by what they hold.
    async fn hand_over(
        &self,
        connection: &mut E::Connection,
        relation: &Relation,
        sql: String,
        again: bool,
        intake: &mut dyn Intake,
    ) -> Result<(), Failure> {
        let keyed = !relation.key.is_empty();
        let take = match (again, keyed) {
            (false, _) => Take::All,
            (true, true) => Take::Latest,
            (true, false) => Take::Unseen,
        };
        intake.table(&relation.name, take)?;
        let (mut text, mut identity) = (RowText::default(), RowText::default());
        self.each(connection, sql, &mut |row| {
            identity.clear();
            for place in &relation.key {
                self.put_column(&mut identity, row, relation, *place)?;
            }
            let identity = identity.finish();
            let text = self.put(&mut text, row, relation)?;
            intake.row(text, Some(if keyed { identity } else { text }))
        })
        .await
    }

    /// The row as JSON.
    fn put<'t>(&self, text: &'t mut RowText, row: &E::Row, relation: &Relation) -> Result<&'t str, Failure> {
        text.clear();
        for place in 0..relation.columns.len() {
            self.put_column(text, row, relation, place)?;
        }
        Ok(text.finish())
    }

    fn put_column(
        &self,
        text: &mut RowText,
        row: &E::Row,
        relation: &Relation,
        place: usize,
    ) -> Result<(), Failure> {
        relation.kinds[place].put(text, &relation.columns[place].name, self.value(row, place)?);
        Ok(())
    }

    fn value<'r>(&self, row: &'r E::Row, index: usize) -> Result<Option<&'r [u8]>, Failure> {
        E::value(row, index).map_err(|error| self.server.failed(&error))
    }

    fn text(&self, row: &E::Row, index: usize) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(self.value(row, index)?.unwrap_or_default()).into_owned())
    }
}

impl Relation {
    fn select(&self) -> String {
        format!("SELECT {} FROM {}", self.selected.join(", "), self.path)
    }

    fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|found| found.name == column)
    }

    /// The place of its key, when that is one whole number.
    fn number(&self) -> Option<usize> {
        match self.key.as_slice() {
            [place] if self.kinds[*place] == Kind::Integer => Some(*place),
            _ => None,
        }
    }
}

/// Takes a line of the catalogue: the schema as it is to be shown, the schema, table, form, column, its type
/// for people, `t` when it may be null, its type by which it is read, `t` when it is part of the primary key.
/// The columns of a table follow each other, in their order.
fn add<E: Engine>(found: &mut Vec<Relation>, line: &[String; LINE]) {
    let [prefix, schema, table, form, column, shown, nullable, of, primary] = line;
    let full_name = format!("{schema}.{table}");
    let view = form == "view";
    if found.last().is_none_or(|last| last.full_name != full_name) {
        found.push(Relation {
            name: if prefix.is_empty() { table.clone() } else { full_name.clone() },
            path: E::path(schema, table, form),
            full_name,
            view,
            columns: Vec::new(),
            kinds: Vec::new(),
            selected: Vec::new(),
            key: Vec::new(),
        });
    }
    let Some(relation) = found.last_mut() else { return };
    if primary == "t" {
        relation.key.push(relation.columns.len());
    }
    let (kind, selected) = E::kind(of, &E::quoted(column));
    relation.kinds.push(kind);
    relation.selected.push(selected);
    relation.columns.push(Column {
        name: column.clone(),
        kind: shown.clone(),
        nullable: (!view).then_some(nullable == "t"),
        primary_key: (!view).then_some(primary == "t"),
    });
}

/// An intake that counts, so that silence is noticed.
struct Counted<'i> {
    intake: &'i mut dyn Intake,
    rows: &'i Cell<u64>,
}

impl Intake for Counted<'_> {
    fn table(&mut self, name: &str, take: Take) -> Result<(), Failure> {
        self.intake.table(name, take)
    }

    fn row(&mut self, row: &str, identity: Option<&str>) -> Result<(), Failure> {
        self.rows.set(self.rows.get() + 1);
        self.intake.row(row, identity)
    }

    fn remove(&mut self, identity: &str) -> Result<(), Failure> {
        self.intake.remove(identity)
    }

    fn note(&mut self, note: String) {
        self.intake.note(note);
    }
}

/// Comes to an end when no row has come for long.
async fn silence(rows: &Cell<u64>) {
    let mut seen = None;
    while seen.replace(rows.get()) != Some(rows.get()) {
        tokio::time::sleep(SILENCE).await;
    }
}

fn digest_of(row: &str) -> String {
    Sha256::digest(row.as_bytes()).iter().map(|byte| format!("{byte:02x}")).collect()
}
