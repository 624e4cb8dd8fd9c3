//! Reading of a SQLite table, and the selection of new rows.

use rusqlite::{Connection, OptionalExtension as _, Row};
use serde_json::Value;

use super::super::file::DataFile;
use super::super::row::{RowText, digest_of};
use super::super::table::{self, write_mode};
use super::super::{MAX_RECORD_BYTES, ReadError, RecordMemory, RowSink, WriteMode};
use super::catalogue::{SqliteKey, SqliteRelation, quoted, value};
use super::session::failure;
use crate::order::{Mark, Point};

/// Any column may contain any value.
pub(super) type SqliteCursor = table::TableCursor<i64, Value>;
type SqlitePosition = table::TablePosition<i64, Value>;

/// Reads a table and forwards its rows.
pub(super) struct SqliteReader<'r> {
    pub(super) named: &'r DataFile,
    pub(super) connection: &'r Connection,
    pub(super) relation: &'r SqliteRelation,
    pub(super) intake: &'r mut dyn RowSink,
    pub(super) memory: RecordMemory,
}

impl SqliteReader<'_> {
    /// Reads new rows since `before`, by the cursor column if there is one.
    pub(super) fn read(
        mut self,
        cursor: Option<&str>,
        before: Option<SqliteCursor>,
    ) -> Result<SqliteCursor, ReadError> {
        let shape = self.relation.row_signature();
        let before = before.filter(|before| before.shape == shape).map(|before| before.at);
        let at = match (cursor, &self.relation.key) {
            (_, SqliteKey::Foreign) => self.replace()?,
            (Some(column), _) => self.by_cursor(column, before)?,
            (None, SqliteKey::Number(place)) => self.by_number(*place, before)?,
            (None, _) => self.by_rows(before.as_ref())?,
        };
        Ok(SqliteCursor { shape, at })
    }

    fn by_number(
        &mut self,
        place: usize,
        before: Option<SqlitePosition>,
    ) -> Result<SqlitePosition, ReadError> {
        let key = quoted(&self.relation.columns[place].name);
        let mut start = None;
        // After the largest number, SQLite assigns free smaller ones.
        if let Some(SqlitePosition::Number { last, digest }) = before
            && last < i64::MAX
        {
            let sql = format!("{} WHERE {key} = ?1", self.relation.select());
            let mut query = self.connection.prepare(&sql).map_err(|error| self.failed(&error))?;
            let put = |row: &Row<'_>| Ok(self.write_row(&mut RowText::default(), row).map(digest_of));
            let found = query.query_row([last], put).optional().map_err(|error| self.failed(&error))?;
            start = (found.transpose()?.as_ref() == Some(&digest)).then_some((last, digest));
        }
        self.intake.begin_table(
            &self.relation.name,
            if start.is_some() { WriteMode::Append } else { WriteMode::Replace },
        )?;
        let (condition, bound) = match &start {
            Some((last, _)) => (format!("WHERE {key} > ?1"), Some(*last)),
            None => (String::new(), None),
        };
        let sql = format!("{} {condition} ORDER BY {key}", self.relation.select());
        let (mut last, mut digest) = start.unwrap_or((i64::MIN, String::new()));
        let mut latest = RowText::default();
        let mut read = false;
        self.each(&sql, bound.map(Into::into), |reader, row| {
            last = row.get(place).map_err(|error| reader.failed(&error))?;
            let text = reader.write_row(&mut latest, row)?;
            read = true;
            reader.intake.push_row(text, None)
        })?;
        if read {
            digest = digest_of(latest.text());
        }
        Ok(SqlitePosition::Number { last, digest })
    }

    /// Reads by the cursor.
    ///
    /// SQLite orders texts by bytes, and any column may contain texts. SQLite selects rows only if
    /// the mark is a number, because then no skipped number or text is greater.
    fn by_cursor(
        &mut self,
        column: &str,
        before: Option<SqlitePosition>,
    ) -> Result<SqlitePosition, ReadError> {
        let Some(place) = self.relation.column_index(column) else { return self.by_rows(before.as_ref()) };
        let since = before.and_then(|before| before.mark(column));
        self.begin_keyed_table(since.is_some())?;
        let bound = since.as_ref().and_then(Option::as_ref).and_then(number);
        let condition = if bound.is_some() {
            let cursor = quoted(column);
            format!("WHERE {cursor} >= ?1 OR {cursor} IS NULL OR {cursor} = -9e999")
        } else {
            String::new()
        };
        let mut mark = Mark::resume(since.flatten(), Point::of).with_foreign_texts();
        let (mut text, mut identity) = (RowText::default(), RowText::default());
        let sql = format!("{} {condition}", self.relation.select());
        self.each(&sql, bound, |reader, row| {
            let at = row.get_ref(place).map(value).map_err(|error| reader.failed(&error))?;
            if mark.admit(Point::of(&at), || at) {
                reader.emit_row(row, &mut text, &mut identity)
            } else {
                Ok(())
            }
        })?;
        Ok(SqlitePosition::Cursor { column: column.to_owned(), last: mark.into_value() })
    }

    fn by_rows(&mut self, before: Option<&SqlitePosition>) -> Result<SqlitePosition, ReadError> {
        self.begin_keyed_table(matches!(before, Some(SqlitePosition::Rows)))?;
        let (mut text, mut identity) = (RowText::default(), RowText::default());
        let sql = self.relation.select();
        self.each(&sql, None, |reader, row| reader.emit_row(row, &mut text, &mut identity))?;
        Ok(SqlitePosition::Rows)
    }

    /// Reads all rows and replaces the stored ones.
    fn replace(&mut self) -> Result<SqlitePosition, ReadError> {
        self.intake.begin_table(&self.relation.name, WriteMode::Replace)?;
        let mut text = RowText::default();
        let sql = self.relation.select();
        self.each(&sql, None, |reader, row| {
            let text = reader.write_row(&mut text, row)?;
            reader.intake.push_row(text, None)
        })?;
        Ok(SqlitePosition::Rows)
    }

    fn begin_keyed_table(&mut self, again: bool) -> Result<(), ReadError> {
        let take = write_mode(again, self.relation.key == SqliteKey::Content);
        self.intake.begin_table(&self.relation.name, take)
    }

    fn emit_row(
        &mut self,
        row: &Row<'_>,
        text: &mut RowText,
        identity: &mut RowText,
    ) -> Result<(), ReadError> {
        let text = self.write_row(text, row)?;
        let identity = self.relation.identity(row, identity).map_err(|error| self.failed(&error))?;
        self.intake.push_row(text, Some(identity.unwrap_or(text)))
    }

    fn each(
        &mut self,
        sql: &str,
        bound: Option<rusqlite::types::Value>,
        mut take: impl FnMut(&mut Self, &Row<'_>) -> Result<(), ReadError>,
    ) -> Result<(), ReadError> {
        let mut query = self.connection.prepare(sql).map_err(|error| self.failed(&error))?;
        let mut rows = query.query(rusqlite::params_from_iter(bound)).map_err(|error| self.failed(&error))?;
        while let Some(row) = rows.next().map_err(|error| self.failed(&error))? {
            take(self, row)?;
        }
        Ok(())
    }

    fn write_row<'t>(&mut self, text: &'t mut RowText, row: &Row<'_>) -> Result<&'t str, ReadError> {
        let failed = |error: rusqlite::Error| self.failed(&error);
        let mut size = 0;
        for place in 0..self.relation.columns.len() {
            size +=
                row.get_ref(place).map_err(failed)?.as_bytes_or_null().ok().flatten().map_or(0, <[u8]>::len);
        }
        if size > MAX_RECORD_BYTES {
            let largest = MAX_RECORD_BYTES >> 20;
            return Err(self.wrong(&format!("a row is larger than {largest} MiB")));
        }
        self.memory.hold(size)?;
        let failed = |error: rusqlite::Error| self.failed(&error);
        text.clear();
        for (place, column) in self.relation.columns.iter().enumerate() {
            text.put(&column.name, &value(row.get_ref(place).map_err(failed)?));
        }
        Ok(text.finish())
    }

    fn wrong(&self, message: &str) -> ReadError {
        self.named.content_error(format!("table \"{}\": {message}", self.relation.name))
    }

    fn failed(&self, error: &rusqlite::Error) -> ReadError {
        failure(self.named, Some(&self.relation.name), error)
    }
}

/// Converts a number of a cursor to a query parameter.
fn number(value: &Value) -> Option<rusqlite::types::Value> {
    let Value::Number(number) = value else { return None };
    number.as_i64().map(Into::into).or_else(|| number.as_f64().map(Into::into))
}
