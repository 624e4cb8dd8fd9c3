//! Tables of a database, with the reading and identity of their rows.

use super::super::row::{RowText, bytes, digest_of};
use super::super::values::Kind;
use super::super::{Column, Table};
use super::Engine;

/// A column as listed by a server; columns of a table are adjacent and in order.
pub(in super::super) struct Line {
    pub(in super::super) schema: String,
    /// True if table names include the schema.
    pub(in super::super) prefixed: bool,
    pub(in super::super) table: String,
    pub(in super::super) form: Form,
    /// True if the table belongs to an extension.
    pub(in super::super) extension: bool,
    pub(in super::super) column: String,
    /// Type for display.
    pub(in super::super) shown: String,
    pub(in super::super) nullable: bool,
    /// Type that determines the reading.
    pub(in super::super) of: String,
    pub(in super::super) primary: Option<Primary>,
}

/// A column of a primary key.
pub(in super::super) struct Primary {
    /// Number of columns of the key, including those hidden from the user.
    pub(in super::super) columns: usize,
    /// Equality of the column's values.
    pub(in super::super) same: Same,
}

/// Rule by which the server considers two key values equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Same {
    /// Equal texts.
    Text,
    /// Equal texts except for trailing blanks.
    Trimmed,
    /// Equal numbers, regardless of zeros.
    Number,
    /// Equal values of this expression.
    Expression(String),
    /// Known to the server only.
    Unknown,
}

/// Kind of a relation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Form {
    Table,
    /// A table with inheriting tables.
    Parent,
    /// A partitioned table.
    Parts,
    View,
}

/// Reading and order of a column.
pub(in super::super) struct Reading {
    pub(in super::super) kind: Kind,
    /// Selected expression.
    pub(in super::super) selected: String,
    pub(in super::super) order: Order,
    /// True if the column may or may not contain JSON.
    pub(in super::super) doubtful: bool,
}

/// Order of a cursor column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Order {
    /// Order of the server: by the column, or by a number derived from it.
    ///
    /// `marks` selects the values that may become the mark; rows that match `always` are always
    /// read.
    Server { number: Option<String>, marks: String, always: Option<String> },
    /// Times, numbers or words in text form, which servers compare by characters.
    Text,
    /// No order.
    None,
}

/// Identity of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Key {
    /// One integer, in the column at this index.
    Number(usize),
    /// Columns at these indices.
    Columns(Vec<(usize, Same)>),
    /// A key that cannot be compared here, or is only partly visible.
    Foreign,
    /// The complete content of the row.
    Content,
}

/// A table or view, with the way to read it.
pub(in super::super) struct Relation {
    pub(in super::super) name: String,
    /// Displayed name with its schema.
    pub(in super::super) full_name: String,
    pub(in super::super) schema: String,
    pub(in super::super) table: String,
    pub(in super::super) form: Form,
    pub(in super::super) extension: bool,
    /// Name in SQL statements.
    pub(in super::super) path: String,
    pub(in super::super) columns: Vec<Column>,
    pub(in super::super) readings: Vec<Reading>,
    pub(in super::super) key: Key,
}

/// Groups the lines of a catalogue into relations.
pub(in super::super) fn relations<E: Engine>(lines: Vec<Line>) -> Vec<Relation> {
    let mut found: Vec<Relation> = Vec::new();
    let mut keys: Vec<(usize, Vec<(usize, Same)>)> = Vec::new();
    for line in lines {
        let full_name = format!("{}.{}", line.schema, line.table);
        if found.last().is_none_or(|last| last.full_name != full_name) {
            keys.push((0, Vec::new()));
            found.push(Relation {
                name: if line.prefixed { full_name.clone() } else { line.table.clone() },
                path: E::path(&line.schema, &line.table, matches!(line.form, Form::Table | Form::Parent)),
                full_name,
                schema: line.schema,
                table: line.table,
                form: line.form,
                extension: line.extension,
                columns: Vec::new(),
                readings: Vec::new(),
                key: Key::Content,
            });
        }
        let (Some(relation), Some((size, parts))) = (found.last_mut(), keys.last_mut()) else { continue };
        let (view, primary) = (line.form == Form::View, line.primary.is_some());
        if let Some(Primary { columns, same }) = line.primary {
            *size = columns;
            parts.push((relation.columns.len(), same));
        }
        relation.readings.push(E::reading(&line.of, &E::quoted(&line.column)));
        relation.columns.push(Column {
            name: line.column,
            kind: line.shown,
            nullable: (!view).then_some(line.nullable),
            primary_key: (!view).then_some(primary),
        });
    }
    for (relation, (size, parts)) in found.iter_mut().zip(keys) {
        relation.key = match parts.as_slice() {
            [] => Key::Content,
            parts if parts.len() != size => Key::Foreign,
            [(place, _)] if relation.readings[*place].kind == Kind::Integer => Key::Number(*place),
            parts if parts.iter().any(|(_, same)| *same == Same::Unknown) => Key::Foreign,
            _ => Key::Columns(parts),
        };
    }
    found
}

impl Relation {
    /// Switches to reading a named table with its inheriting tables.
    ///
    /// The table's key does not identify their rows.
    pub(in super::super) fn asked_for<E: Engine>(&mut self) {
        self.path = E::path(&self.schema, &self.table, false);
        if self.form == Form::Parent {
            self.key = Key::Foreign;
        }
    }

    /// Converts the relation to its form in the schema.
    pub(in super::super) fn shown(self) -> Table {
        let kind = if self.form == Form::View { "view" } else { "table" };
        Table { name: self.name, kind, columns: self.columns }
    }

    pub(in super::super) fn place(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|found| found.name == column)
    }

    /// Returns the SQL that selects its columns and the expressions of its key.
    pub(in super::super) fn select(&self) -> String {
        let columns = self.readings.iter().map(|reading| &reading.selected);
        let selected: Vec<_> = columns.chain(self.expressions()).map(String::as_str).collect();
        format!("SELECT {} FROM {}", selected.join(", "), self.path)
    }

    fn expressions(&self) -> impl Iterator<Item = &String> {
        let parts = if let Key::Columns(parts) = &self.key { parts.as_slice() } else { &[] };
        parts.iter().filter_map(|(_, same)| if let Same::Expression(sql) = same { Some(sql) } else { None })
    }

    /// Digest of the row format, which differs for a recreated table.
    pub(in super::super) fn shape(&self) -> String {
        let kinds: Vec<_> = self.readings.iter().map(|reading| &reading.kind).collect();
        let names: Vec<_> = self.columns.iter().map(|column| &column.name).collect();
        digest_of(&format!("{names:?} {kinds:?} {:?} {}", self.key, self.select()))
    }

    /// Writes the identity of a row, given its values.
    ///
    /// Identities are equal if the server considers the keys equal. `None` if only the complete row
    /// identifies it.
    pub(in super::super) fn identity<'t, 'v, F>(
        &self,
        text: &'t mut RowText,
        value: impl Fn(usize) -> Result<Option<&'v [u8]>, F>,
    ) -> Result<Option<&'t str>, F> {
        let number;
        let parts = match &self.key {
            Key::Number(place) => {
                number = [(*place, Same::Text)];
                &number[..]
            }
            Key::Columns(parts) => parts,
            Key::Foreign | Key::Content => return Ok(None),
        };
        text.clear();
        let mut expressions = self.columns.len()..;
        for (place, same) in parts {
            let place =
                if let Same::Expression(_) = same { expressions.next().unwrap_or(*place) } else { *place };
            let raw = value(place)?.unwrap_or_default();
            match std::str::from_utf8(raw) {
                Ok(found) => text.put("t", folded(found, same)),
                Err(_) => text.put("b", &bytes(raw)),
            }
        }
        Ok(Some(text.finish()))
    }
}

/// Normalises a key value.
fn folded<'t>(text: &'t str, same: &Same) -> &'t str {
    match same {
        Same::Trimmed => text.trim_end_matches(' '),
        Same::Number if text == "-0" => "0",
        Same::Number if text.contains('.') && !text.contains(['e', 'E']) => {
            text.trim_end_matches('0').trim_end_matches('.')
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::{Same, folded};

    #[test]
    fn equal_keys_are_written_alike() {
        for (same, one, other) in [
            (Same::Number, "1.00", "1"),
            (Same::Number, "10", "10.0"),
            (Same::Number, "-0", "0"),
            (Same::Number, "0.50", "0.5"),
            (Same::Trimmed, "a  ", "a"),
        ] {
            assert_eq!(folded(one, &same), folded(other, &same), "{one}");
        }
        for (same, one, other) in [
            (Same::Number, "100", "1"),
            (Same::Number, "1e20", "1e2"),
            (Same::Number, "1.5e-10", "1.5e-1"),
            (Same::Text, "1.00", "1"),
            (Same::Text, "a ", "a"),
        ] {
            assert_ne!(folded(one, &same), folded(other, &same), "{one}");
        }
    }
}
