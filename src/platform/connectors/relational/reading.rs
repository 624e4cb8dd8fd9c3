//! Reading of a table, and the selection of new rows for an incremental sync.

use std::marker::PhantomData;

use serde::{Deserialize, Serialize};

use super::super::row::{RowText, digest_of};
use super::super::server::Server;
use super::super::values::Kind;
use super::super::{Failure, Intake, Take, lies_before};
use super::Engine;
use super::catalogue::{Key, Order, Relation};
use super::session::Session;
use crate::platform::order::Point;

/// Maximum values of integer types; a key that reached one cannot grow.
const LARGEST_KEYS: [&str; 4] = ["2147483647", "4294967295", "9223372036854775807", "18446744073709551615"];
/// First year of dates that mean "no end", which are never a mark.
const ENDLESS_YEAR: &str = "9999-";

/// Position of a table's last read.
#[derive(Serialize, Deserialize)]
pub(super) struct Mark {
    /// Digest of the row format.
    shape: String,
    at: At,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum At {
    /// Greatest integer key with the digest of its row.
    ///
    /// If that row changed or is gone, the table may have been refilled, so its keys prove nothing.
    Number { last: String, digest: String },
    /// Greatest value of the cursor column; null before the first.
    Cursor { column: String, last: Option<String> },
    /// All rows were read.
    Rows,
}

/// Reads a table and writes its rows.
pub(super) struct Reader<'r, 's, E: Engine> {
    session: &'r mut Session<'s, E>,
    relation: &'r Relation,
    sink: Sink<'r, E>,
}

/// Formats rows as JSON and forwards them.
struct Sink<'r, E> {
    server: &'r Server,
    relation: &'r Relation,
    intake: &'r mut dyn Intake,
    text: RowText,
    identity: RowText,
    engine: PhantomData<E>,
}

impl<'r, 's, E: Engine> Reader<'r, 's, E> {
    pub(super) fn new(
        session: &'r mut Session<'s, E>,
        relation: &'r Relation,
        intake: &'r mut dyn Intake,
    ) -> Self {
        let (text, identity) = (RowText::default(), RowText::default());
        let sink = Sink { server: session.server, relation, intake, text, identity, engine: PhantomData };
        Self { session, relation, sink }
    }

    /// Reads new rows since `before`, by the cursor column if there is one.
    pub(super) async fn read(mut self, cursor: Option<usize>, before: Option<Mark>) -> Result<Mark, Failure> {
        let shape = self.relation.shape();
        let before = before.filter(|before| before.shape == shape).map(|before| before.at);
        let at = match (cursor, &self.relation.key) {
            (_, Key::Foreign) => self.replace().await?,
            (Some(cursor), _) => self.by_cursor(cursor, before).await?,
            (None, Key::Number(key)) => self.by_number(*key, before).await?,
            (None, _) => self.by_rows(before.as_ref()).await?,
        };
        Ok(Mark { shape, at })
    }

    async fn by_number(&mut self, key: usize, before: Option<At>) -> Result<At, Failure> {
        let relation = self.relation;
        let quoted = E::quoted(&relation.columns[key].name);
        let mut start = None;
        if let Some(At::Number { last, digest }) = before
            && !LARGEST_KEYS.contains(&last.as_str())
            && let Some(literal) = E::literal(&relation.readings[key].kind, &last)
        {
            let sql = format!("{} WHERE {quoted} = {literal}", relation.select());
            let mut same = false;
            self.each(sql, |sink, row| {
                same = digest_of(sink.put(row)?) == digest;
                Ok(())
            })
            .await?;
            start = same.then_some((last, digest, literal));
        }
        self.sink.intake.table(&relation.name, if start.is_some() { Take::New } else { Take::All })?;
        let condition =
            start.as_ref().map_or(String::new(), |(.., after)| format!("WHERE {quoted} > {after}"));
        let sql = format!("{} {condition} ORDER BY {quoted}", relation.select());
        let mut last = Vec::new();
        self.each(sql, |sink, row| {
            last.clear();
            last.extend_from_slice(sink.value(row, key)?.unwrap_or_default());
            sink.put(row)?;
            sink.intake.row(sink.text.text(), None)
        })
        .await?;
        let (last, digest) = match start {
            Some((last_before, digest, _)) if last.is_empty() => (last_before, digest),
            _ => (String::from_utf8_lossy(&last).into_owned(), digest_of(self.sink.text.text())),
        };
        Ok(At::Number { last, digest })
    }

    async fn by_cursor(&mut self, cursor: usize, before: Option<At>) -> Result<At, Failure> {
        let column = &self.relation.columns[cursor].name;
        let since = match before {
            Some(At::Cursor { column: earlier, last }) if earlier == *column => Some(last),
            _ => None,
        };
        let last = match &self.relation.readings[cursor].order {
            Order::Server { number, marks, always } => {
                let quoted = E::quoted(column);
                let by = match number {
                    Some(number) => (number.as_str(), &Kind::Integer),
                    None => (quoted.as_str(), &self.relation.readings[cursor].kind),
                };
                self.by_order(cursor, by, since, (marks, always.as_deref())).await?
            }
            Order::Text => self.by_text(cursor, since).await?,
            Order::None => {
                let message = format!("\"{column}\" cannot be a cursor: its values have no order");
                return Err(self.sink.server.wrong_at(Some(&self.relation.name), &message));
            }
        };
        Ok(At::Cursor { column: column.clone(), last })
    }

    /// Lets the server select the rows.
    async fn by_order(
        &mut self,
        cursor: usize,
        (by, kind): (&str, &Kind),
        since: Option<Option<String>>,
        (marks, always): (&str, Option<&str>),
    ) -> Result<Option<String>, Failure> {
        let (relation, reading) = (self.relation, &self.relation.readings[cursor]);
        let selected = if *kind == reading.kind { &reading.selected } else { by };
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
        self.take_told_apart(since.is_some())?;
        self.each(format!("{} {condition}", relation.select()), Sink::hand_over).await?;
        Ok(last)
    }

    /// Reads all rows and keeps those not before the mark.
    async fn by_text(
        &mut self,
        cursor: usize,
        since: Option<Option<String>>,
    ) -> Result<Option<String>, Failure> {
        self.take_told_apart(since.is_some())?;
        let mut last = since.flatten();
        let start = last.as_deref().and_then(Point::parse);
        let mut reached = start.clone();
        self.each(self.relation.select(), |sink, row| {
            let at = sink.value(row, cursor)?.and_then(|raw| std::str::from_utf8(raw).ok());
            if let Some((at, point)) = at.and_then(|at| Some((at, Point::parse(at)?))) {
                if start.as_ref().is_some_and(|start| lies_before(&point, start)) {
                    return Ok(());
                }
                if !at.starts_with(ENDLESS_YEAR)
                    && reached.as_ref().is_none_or(|reached| reached.yields_to(&point))
                {
                    (last, reached) = (Some(at.to_owned()), Some(point));
                }
            }
            sink.hand_over(row)
        })
        .await?;
        Ok(last)
    }

    async fn by_rows(&mut self, before: Option<&At>) -> Result<At, Failure> {
        self.take_told_apart(matches!(before, Some(At::Rows)))?;
        self.each(self.relation.select(), Sink::hand_over).await?;
        Ok(At::Rows)
    }

    /// Reads all rows and replaces the stored ones.
    async fn replace(&mut self) -> Result<At, Failure> {
        self.sink.intake.table(&self.relation.name, Take::All)?;
        self.each(self.relation.select(), |sink, row| {
            sink.put(row)?;
            sink.intake.row(sink.text.text(), None)
        })
        .await?;
        Ok(At::Rows)
    }

    fn take_told_apart(&mut self, again: bool) -> Result<(), Failure> {
        let take = match (again, &self.relation.key) {
            (false, _) => Take::All,
            (true, Key::Content) => Take::Unseen,
            (true, _) => Take::Latest,
        };
        self.sink.intake.table(&self.relation.name, take)
    }

    async fn each(
        &mut self,
        sql: String,
        mut take: impl FnMut(&mut Sink<'r, E>, &E::Row) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let Self { session, relation, sink } = self;
        session.each(Some(&relation.name), sql, &mut |row| take(sink, row)).await
    }
}

impl<E: Engine> Sink<'_, E> {
    /// Forwards a row.
    ///
    /// With a key, a changed row replaces its stored version. Without one, the content is the
    /// identity.
    fn hand_over(&mut self, row: &E::Row) -> Result<(), Failure> {
        self.put(row)?;
        let (server, name) = (self.server, Some(self.relation.name.as_str()));
        let value = |place| E::value(row, place).map_err(|error| server.failed(name, &error));
        let identity = self.relation.identity(&mut self.identity, value)?;
        let row = self.text.text();
        self.intake.row(row, Some(identity.unwrap_or(row)))
    }

    /// Formats the row as JSON.
    fn put(&mut self, row: &E::Row) -> Result<&str, Failure> {
        self.text.clear();
        for (place, column) in self.relation.columns.iter().enumerate() {
            let value = self.value(row, place)?;
            self.relation.readings[place].kind.put(&mut self.text, &column.name, value);
        }
        Ok(self.text.finish())
    }

    fn value<'v>(&self, row: &'v E::Row, place: usize) -> Result<Option<&'v [u8]>, Failure> {
        E::value(row, place).map_err(|error| self.server.failed(Some(&self.relation.name), &error))
    }
}
