//! What changed in a source whose records come whole each time: documents, Parquet files, pages of APIs.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::{Failure, Fields, Intake, Reading, Take, Unfit};
use crate::platform::order::{Point, identity};

/// The fields that tell records apart. Without any, records are told apart by all they hold.
#[derive(Debug, Clone, Default)]
pub(super) struct Key(Vec<String>);

impl Key {
    /// Reads `key`: one field or an array of them; a name that begins with `/` is a JSON pointer.
    pub(super) fn read(fields: Fields<'_>) -> Result<Self, Unfit> {
        if let Ok(single) = fields.text("key") {
            return Ok(Self(single.map(str::to_owned).into_iter().collect()));
        }
        match fields.texts("key") {
            Ok(Some(names)) if !names.is_empty() && names.iter().all(|name| !name.is_empty()) => {
                Ok(Self(names))
            }
            _ => Err(Unfit::new("\"key\" must be the name of a field, or an array of names")),
        }
    }

    /// The names of the fields.
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

/// The field of a record by its name or, where there is none of that name, by a JSON pointer.
pub(super) fn field<'r>(row: &'r Map<String, Value>, name: &str) -> Option<&'r Value> {
    row.get(name).or_else(|| {
        let (first, rest) =
            name.strip_prefix('/').map(|path| path.split_at(path.find('/').unwrap_or(path.len())))?;
        row.get(&first.replace("~1", "/").replace("~0", "~"))?.pointer(rest)
    })
}

/// How far a reading came: the largest value of the cursor, as its source writes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watermark {
    cursor: Option<String>,
    mark: Value,
}

/// One reading of records: hands over those that are new or may be, and moves the mark.
///
/// Records before the mark of the last reading are passed over. All others are handed over with their
/// identity: the mark may lie among equal values, and not every value can be ordered against it.
pub(super) struct Changes<'k> {
    key: &'k Key,
    cursor: Option<String>,
    /// The mark of the last reading, when there was one by this cursor.
    before: Option<Value>,
    /// The same, in its order.
    start: Option<Point>,
    /// The mark this reading came to.
    reached: Option<Point>,
    mark: Value,
    seen: Seen,
}

/// Counts records, and those that have the fields asked for.
#[derive(Default)]
struct Seen {
    records: u64,
    cursor: bool,
    key: bool,
}

impl<'k> Changes<'k> {
    /// Goes on where a reading by the same cursor ended. What is no [`Watermark`] is taken for none.
    pub(super) fn since(position: Option<&Value>, key: &'k Key, options: &Reading) -> Self {
        let before = position.and_then(|position| Watermark::deserialize(position).ok());
        let before = before.filter(|before| before.cursor == options.cursor);
        let before = before.map(|before| before.mark);
        let start = before.as_ref().and_then(Point::of);
        let (reached, mark) = (start.clone(), before.clone().unwrap_or(Value::Null));
        Self { key, cursor: options.cursor.clone(), before, start, reached, mark, seen: Seen::default() }
    }

    /// What the records mean for the stored rows.
    pub(super) fn take(&self) -> Take {
        match (self.before.is_some(), self.key.is_empty()) {
            (false, true) => Take::All,
            (false, false) => Take::Distinct,
            (true, true) => Take::Unseen,
            (true, false) => Take::Latest,
        }
    }

    /// The mark of the last reading as text, for a source that can be asked for what follows it.
    pub(super) fn mark(&self) -> Option<String> {
        match self.before.as_ref()? {
            Value::String(text) => Some(text.clone()),
            Value::Number(number) => Some(number.to_string()),
            _ => None,
        }
    }

    /// Hands a record over, unless it lies before the mark of the last reading.
    pub(super) fn record(&mut self, row: Map<String, Value>, intake: &mut dyn Intake) -> Result<(), Failure> {
        let at = self.cursor.as_deref().and_then(|name| field(&row, name));
        let identity = self.key.of(&row);
        if !self.passes(at.cloned().as_ref(), identity.is_some()) {
            return Ok(());
        }
        let row = Value::Object(row).to_string();
        intake.row(&row, Some(identity.as_ref().unwrap_or(&row)))
    }

    /// Like [`Changes::record`], for a row whose values are texts and whose columns keep their order.
    pub(super) fn texts(
        &mut self,
        columns: &[String],
        values: &[&str],
        row: &str,
        intake: &mut dyn Intake,
    ) -> Result<(), Failure> {
        let value = |name: &str| {
            let at = columns.iter().position(|column| column == name)?;
            values.get(at).map(|value| Value::from(*value))
        };
        let key: Vec<_> = self.key.names().map(value).collect();
        let identity = identity(key.iter().map(Option::as_ref));
        let at = self.cursor.as_deref().and_then(value);
        if !self.passes(at.as_ref(), identity.is_some()) {
            return Ok(());
        }
        intake.row(row, Some(identity.as_deref().unwrap_or(row)))
    }

    /// Counts a record and moves the mark to it. Returns false when it lies before the mark of the last
    /// reading.
    fn passes(&mut self, at: Option<&Value>, keyed: bool) -> bool {
        self.seen.records += 1;
        self.seen.cursor |= at.is_some();
        self.seen.key |= keyed;
        let Some((value, point)) = at.and_then(|value| Some((value, Point::of(value)?))) else { return true };
        let before = |mark: &Point| point.compare(mark) == Some(std::cmp::Ordering::Less);
        if self.start.as_ref().is_some_and(before) {
            return false;
        }
        if self.reached.as_ref().is_none_or(|reached| reached.yields_to(&point)) {
            self.mark = value.clone();
            self.reached = Some(point);
        }
        true
    }

    /// Ends the reading and returns how far it came. Fails where no record has the cursor or the key: what
    /// is asked for by a name that fits nothing would never be found.
    pub(super) fn finish(self) -> Result<Watermark, Failure> {
        let Seen { records, cursor, key } = self.seen;
        let missing = |what: &str, names: &str| {
            Err(Failure::new(format!(
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
        Ok(Watermark { cursor: self.cursor, mark: self.mark })
    }
}
