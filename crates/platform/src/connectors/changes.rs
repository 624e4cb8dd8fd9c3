//! Change detection for sources that return complete records.
//!
//! Used for documents, Parquet files and pages of APIs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{ConfigError, ConfigFields, ReadError, ReadOptions, RowSink, WriteMode};
use crate::order::{Mark, Point, identity};

/// Note of a sync whose position belongs to another cursor.
pub(super) const OTHER_CURSOR: &str =
    "the last sync had another cursor: all records were read again and replaced the stored rows";

/// Key fields of records; without any, the whole record is the key.
#[derive(Debug, Clone, Default)]
pub(super) struct RecordKey(Vec<String>);

impl RecordKey {
    /// Parses `key`: a field or an array of fields; a leading `/` marks a JSON pointer.
    pub(super) fn read(fields: ConfigFields<'_>) -> Result<Self, ConfigError> {
        if let Ok(single) = fields.text("key") {
            return Ok(Self(single.map(str::to_owned).into_iter().collect()));
        }
        match fields.texts("key") {
            Ok(Some(names)) if !names.is_empty() && names.iter().all(|name| !name.is_empty()) => {
                Ok(Self(names))
            }
            _ => Err(ConfigError::new("\"key\" must be the name of a field, or an array of names")),
        }
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    fn of(&self, row: &Map<String, Value>) -> Option<String> {
        identity(self.0.iter().map(|name| field(row, name)))
    }
}

/// Returns a field by its name or, if there is none, by a JSON pointer.
pub(super) fn field<'r>(row: &'r Map<String, Value>, name: &str) -> Option<&'r Value> {
    row.get(name).or_else(|| {
        let (first, rest) =
            name.strip_prefix('/').map(|path| path.split_at(path.find('/').unwrap_or(path.len())))?;
        row.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
    })
}

/// Position of a read: the greatest value of the cursor, as the source formats it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watermark {
    cursor: Option<String>,
    mark: Value,
}

/// One read of records, which forwards possibly new records and advances the mark.
///
/// Records before the previous mark are skipped. All others are forwarded with their identity,
/// because several records may share the mark's value, and some values cannot be compared with it.
pub(super) struct Changes<'k> {
    table: &'k str,
    key: &'k RecordKey,
    cursor: Option<String>,
    /// True if rows of a previous read are stored, with any cursor.
    stored: bool,
    /// Mark of the previous read with the same cursor, if any.
    previous_mark: Option<Value>,
    mark: Mark<Value>,
    counts: RecordCounts,
}

/// Counts records, and those with the configured fields.
#[derive(Default)]
struct RecordCounts {
    records: u64,
    cursor: bool,
    key: bool,
}

impl<'k> Changes<'k> {
    /// Continues a read with the same cursor.
    pub(super) fn resume(
        before: Option<Watermark>,
        table: &'k str,
        key: &'k RecordKey,
        options: &ReadOptions,
    ) -> Self {
        let stored = options.since.is_some();
        let before = before.filter(|before| before.cursor == options.cursor);
        let previous_mark = before.map(|before| before.mark);
        let mark = Mark::resume(previous_mark.clone(), Point::of);
        let cursor = options.cursor.clone();
        Self { table, key, cursor, stored, previous_mark, mark, counts: RecordCounts::default() }
    }

    /// Starts the table with the first record, so that a source without records replaces no rows.
    fn begin(&self, intake: &mut dyn RowSink) -> Result<(), ReadError> {
        if self.is_other() {
            intake.add_note(OTHER_CURSOR.to_owned());
        }
        intake.begin_table(self.table, self.write_mode())
    }

    /// Returns true if the stored rows were read with another cursor.
    fn is_other(&self) -> bool {
        self.stored && self.previous_mark.is_none()
    }

    /// Returns the effect of the records on the stored rows.
    fn write_mode(&self) -> WriteMode {
        match (self.previous_mark.is_some(), self.key.is_empty()) {
            (false, true) => WriteMode::Replace,
            (false, false) => WriteMode::ReplaceDistinct,
            (true, true) => WriteMode::AppendUnseen,
            (true, false) => WriteMode::Upsert,
        }
    }

    /// Returns the previous mark as text, for sources that can filter by it.
    pub(super) fn mark(&self) -> Option<String> {
        match self.previous_mark.as_ref()? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Forwards a record, unless it is before the previous mark.
    pub(super) fn record(
        &mut self,
        row: Map<String, Value>,
        intake: &mut dyn RowSink,
    ) -> Result<(), ReadError> {
        let at = self.cursor.as_deref().and_then(|name| field(&row, name));
        let identity = self.key.of(&row);
        if !self.advance(at, identity.is_some(), intake)? {
            return Ok(());
        }
        let row = Value::Object(row).to_string();
        intake.push_row(&row, Some(identity.as_ref().unwrap_or(&row)))
    }

    /// Returns true if only their content identifies the records.
    pub(super) fn is_by_content(&self) -> bool {
        self.key.is_empty() && self.cursor.is_none()
    }

    /// Like [`Changes::record`], for the text of a record that only its content identifies.
    pub(super) fn push_content(&mut self, row: &str, intake: &mut dyn RowSink) -> Result<(), ReadError> {
        self.advance(None, false, intake)?;
        intake.push_row(row, Some(row))
    }

    /// Like [`Changes::record`], for rows with text values and ordered columns.
    pub(super) fn push_text_row(
        &mut self,
        columns: &[String],
        values: &[&str],
        row: &str,
        intake: &mut dyn RowSink,
    ) -> Result<(), ReadError> {
        let value = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            values.get(at).map(|value| Value::from(*value))
        };
        let key: Vec<_> = self.key.names().map(value).collect();
        let identity = identity(key.iter().map(Option::as_ref));
        let at = self.cursor.as_deref().and_then(value);
        if !self.advance(at.as_ref(), identity.is_some(), intake)? {
            return Ok(());
        }
        intake.push_row(row, Some(identity.as_deref().unwrap_or(row)))
    }

    /// Counts a record and advances the mark.
    ///
    /// Returns false if it is before the previous mark.
    fn advance(
        &mut self,
        at: Option<&Value>,
        keyed: bool,
        intake: &mut dyn RowSink,
    ) -> Result<bool, ReadError> {
        if self.counts.records == 0 {
            self.begin(intake)?;
        }
        self.counts.records += 1;
        self.counts.cursor |= at.is_some();
        self.counts.key |= keyed;
        Ok(at.is_none_or(|value| self.mark.admit(Point::of(value), || value.clone())))
    }

    /// Ends the read and returns its position, or `None` if the last position remains valid.
    ///
    /// Without records, the rows of another cursor are kept. Fails if no record has the cursor or key
    /// field, because a misspelled name would never match.
    pub(super) fn finish(self, intake: &mut dyn RowSink) -> Result<Option<Watermark>, ReadError> {
        if self.counts.records == 0 && self.is_other() {
            intake.add_note("there is no whole record now; the rows of before are kept".to_owned());
            return Ok(None);
        }
        let RecordCounts { records, cursor, key } = self.counts;
        let missing = |what: &str, names: &str| {
            Err(ReadError::new(format!(
                "none of the {records} records has the {what} {names}; correct its name"
            )))
        };
        if records > 0
            && !cursor
            && let Some(name) = &self.cursor
        {
            return missing("cursor field", &format!("\"{name}\""));
        }
        if records > 0 && !key && !self.key.is_empty() {
            let names: Vec<_> = self.key.names().map(|name| format!("\"{name}\"")).collect();
            return missing("key", &names.join(", "));
        }
        let mark = self.mark.into_value().unwrap_or(Value::Null);
        Ok(Some(Watermark { cursor: self.cursor, mark }))
    }
}
