//! Reading of a table, and the selection of new rows for an incremental sync.

use std::marker::PhantomData;

use super::super::row::{RowText, digest_of};
use super::super::server::Server;
use super::super::table::{self, write_mode};
use super::super::values::ValueKind;
use super::super::{ReadError, RowSink, WriteMode};
use super::Engine;
use super::catalogue::{CursorOrder, Relation, TableKey};
use super::session::Session;
use crate::order::{Mark, Point};

/// Maximum values of integer types; a key that reached one cannot grow.
const MAX_KEYS: [&str; 4] = ["2147483647", "4294967295", "9223372036854775807", "18446744073709551615"];
/// Keys and cursor values are texts of the server.
pub(super) type TableCursor = table::TableCursor<String, String>;
type TablePosition = table::TablePosition<String, String>;

/// Reads a table and writes its rows.
pub(super) struct TableReader<'r, 's, E: Engine> {
    session: &'r mut Session<'s, E>,
    relation: &'r Relation,
    sink: Sink<'r, E>,
}

/// Formats rows as JSON and forwards them.
struct Sink<'r, E> {
    server: &'r Server,
    relation: &'r Relation,
    intake: &'r mut dyn RowSink,
    text: RowText,
    identity: RowText,
    engine: PhantomData<E>,
}

impl<'r, 's, E: Engine> TableReader<'r, 's, E> {
    pub(super) fn new(
        session: &'r mut Session<'s, E>,
        relation: &'r Relation,
        intake: &'r mut dyn RowSink,
    ) -> Self {
        let (text, identity) = (RowText::default(), RowText::default());
        let sink = Sink { server: session.server, relation, intake, text, identity, engine: PhantomData };
        Self { session, relation, sink }
    }

    /// Reads new rows since `before`, by the cursor column if there is one.
    pub(super) async fn read(
        mut self,
        cursor: Option<usize>,
        before: Option<TableCursor>,
    ) -> Result<TableCursor, ReadError> {
        let shape = self.relation.row_signature();
        let before = before.filter(|before| before.shape == shape).map(|before| before.at);
        let at = match (cursor, &self.relation.key) {
            (_, TableKey::Foreign) => self.replace().await?,
            (Some(cursor), _) => self.by_cursor(cursor, before).await?,
            (None, TableKey::Number(key)) => self.by_number(*key, before).await?,
            (None, _) => self.by_rows(before.as_ref()).await?,
        };
        Ok(TableCursor { shape, at })
    }

    async fn by_number(
        &mut self,
        key: usize,
        before: Option<TablePosition>,
    ) -> Result<TablePosition, ReadError> {
        let relation = self.relation;
        let quoted = E::quoted(&relation.columns[key].name);
        let mut start = None;
        if let Some(TablePosition::Number { last, digest }) = before
            && !MAX_KEYS.contains(&last.as_str())
            && let Some(literal) = E::literal(&relation.readings[key].kind, &last)
        {
            let sql = format!("{} WHERE {quoted} = {literal}", relation.select());
            let mut same = false;
            self.each(sql, |sink, row| {
                same = digest_of(sink.write_row(row)?) == digest;
                Ok(())
            })
            .await?;
            start = same.then_some((last, digest, literal));
        }
        self.sink.intake.begin_table(
            &relation.name,
            if start.is_some() { WriteMode::Append } else { WriteMode::Replace },
        )?;
        let condition =
            start.as_ref().map_or(String::new(), |(.., after)| format!("WHERE {quoted} > {after}"));
        let sql = format!("{} {condition} ORDER BY {quoted}", relation.select());
        let mut last = Vec::new();
        self.each(sql, |sink, row| {
            last.clear();
            last.extend_from_slice(sink.value(row, key)?.unwrap_or_default());
            sink.write_row(row)?;
            sink.intake.push_row(sink.text.text(), None)
        })
        .await?;
        let (last, digest) = match start {
            Some((last_before, digest, _)) if last.is_empty() => (last_before, digest),
            _ => (String::from_utf8_lossy(&last).into_owned(), digest_of(self.sink.text.text())),
        };
        Ok(TablePosition::Number { last, digest })
    }

    async fn by_cursor(
        &mut self,
        cursor: usize,
        before: Option<TablePosition>,
    ) -> Result<TablePosition, ReadError> {
        let column = &self.relation.columns[cursor].name;
        let since = before.and_then(|before| before.mark(column));
        let last = match &self.relation.readings[cursor].order {
            CursorOrder::Server { number, marks, always } => {
                self.by_order(cursor, number.as_deref(), since, marks, always.as_deref()).await?
            }
            CursorOrder::Text => self.by_text(cursor, since).await?,
            CursorOrder::None => {
                let message = format!("\"{column}\" cannot be a cursor: its values have no order");
                return Err(self.sink.server.table_error(Some(&self.relation.name), &message));
            }
        };
        Ok(TablePosition::Cursor { column: column.clone(), last })
    }

    /// Lets the server select the rows.
    async fn by_order(
        &mut self,
        cursor: usize,
        number: Option<&str>,
        since: Option<Option<String>>,
        marks: &str,
        always: Option<&str>,
    ) -> Result<Option<String>, ReadError> {
        let (relation, reading) = (self.relation, &self.relation.readings[cursor]);
        let quoted = E::quoted(&relation.columns[cursor].name);
        let (by, kind) = match number {
            Some(number) => (number, &ValueKind::Integer),
            None => (quoted.as_str(), &reading.kind),
        };
        let selected = if *kind == reading.kind { &reading.expression } else { by };
        let mut last = since.clone().flatten();
        let mark = since.as_ref().and_then(Option::as_ref).and_then(|last| E::literal(kind, last));
        // Determine the new mark first: without snapshots, a concurrent row is then read twice
        // rather than lost. A mark never moves back, even if its row is deleted.
        let onward = mark.as_ref().map_or(String::new(), |mark| format!(" AND {by} >= {mark}"));
        let largest = format!(
            "SELECT {selected} FROM {} WHERE ({marks}){onward} ORDER BY {by} DESC LIMIT 1",
            relation.path
        );
        self.each(largest, |sink, row| {
            last = Some(String::from_utf8_lossy(sink.value(row, 0)?.unwrap_or_default()).into_owned());
            Ok(())
        })
        .await?;
        // Rows equal to the mark may be new, so read them again and compare identities.
        let condition = mark.map_or(String::new(), |mark| {
            let always = always.map_or(String::new(), |always| format!(" OR {always}"));
            format!("WHERE {by} >= {mark} OR {by} IS NULL{always}")
        });
        self.begin_keyed_table(since.is_some())?;
        self.each(format!("{} {condition}", relation.select()), Sink::emit_row).await?;
        Ok(last)
    }

    /// Reads all rows and keeps those not before the mark.
    async fn by_text(
        &mut self,
        cursor: usize,
        since: Option<Option<String>>,
    ) -> Result<Option<String>, ReadError> {
        self.begin_keyed_table(since.is_some())?;
        let mut mark = Mark::resume(since.flatten(), |last| Point::parse(last)).with_foreign_texts();
        self.each(self.relation.select(), |sink, row| {
            let at =
                sink.value(row, cursor)?.and_then(|raw| std::str::from_utf8(raw).ok()).unwrap_or_default();
            if mark.admit(Point::parse(at), || at.to_owned()) { sink.emit_row(row) } else { Ok(()) }
        })
        .await?;
        Ok(mark.into_value())
    }

    async fn by_rows(&mut self, before: Option<&TablePosition>) -> Result<TablePosition, ReadError> {
        self.begin_keyed_table(matches!(before, Some(TablePosition::Rows)))?;
        self.each(self.relation.select(), Sink::emit_row).await?;
        Ok(TablePosition::Rows)
    }

    /// Reads all rows and replaces the stored ones.
    async fn replace(&mut self) -> Result<TablePosition, ReadError> {
        self.sink.intake.begin_table(&self.relation.name, WriteMode::Replace)?;
        self.each(self.relation.select(), |sink, row| {
            sink.write_row(row)?;
            sink.intake.push_row(sink.text.text(), None)
        })
        .await?;
        Ok(TablePosition::Rows)
    }

    fn begin_keyed_table(&mut self, again: bool) -> Result<(), ReadError> {
        let take = write_mode(again, self.relation.key == TableKey::Content);
        self.sink.intake.begin_table(&self.relation.name, take)
    }

    async fn each(
        &mut self,
        sql: String,
        mut take: impl FnMut(&mut Sink<'r, E>, &E::Row) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let Self { session, relation, sink } = self;
        session.each(Some(&relation.name), sql, &mut |row| take(sink, row)).await
    }
}

impl<E: Engine> Sink<'_, E> {
    /// Forwards a row.
    ///
    /// With a key, a changed row replaces its stored version. Without one, the content is the
    /// identity.
    fn emit_row(&mut self, row: &E::Row) -> Result<(), ReadError> {
        self.write_row(row)?;
        let (server, name) = (self.server, Some(self.relation.name.as_str()));
        let value = |place| E::value(row, place).map_err(|error| server.query_error(name, &error));
        let identity = self.relation.identity(&mut self.identity, value)?;
        let row = self.text.text();
        self.intake.push_row(row, Some(identity.unwrap_or(row)))
    }

    fn write_row(&mut self, row: &E::Row) -> Result<&str, ReadError> {
        self.text.clear();
        for (place, column) in self.relation.columns.iter().enumerate() {
            let value = self.value(row, place)?;
            self.relation.readings[place].kind.put(&mut self.text, &column.name, value);
        }
        Ok(self.text.finish())
    }

    fn value<'v>(&self, row: &'v E::Row, place: usize) -> Result<Option<&'v [u8]>, ReadError> {
        E::value(row, place).map_err(|error| self.server.query_error(Some(&self.relation.name), &error))
    }
}
