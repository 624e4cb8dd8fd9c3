//! Tables of a database, with the reading and identity of their rows.

use super::super::row::{RowText, bytes, digest_of};
use super::super::values::ValueKind;
use super::super::{SourceColumn, SourceTable};
use super::Engine;

/// A column as listed by a server; columns of a table are adjacent and in order.
pub(in super::super) struct CatalogLine {
    pub(in super::super) schema: String,
    /// True if table names include the schema.
    pub(in super::super) prefixed: bool,
    pub(in super::super) table: String,
    pub(in super::super) form: ColumnForm,
    /// True if the table belongs to an extension.
    pub(in super::super) extension: bool,
    pub(in super::super) column: String,
    /// Type for display.
    pub(in super::super) shown: String,
    pub(in super::super) nullable: bool,
    pub(in super::super) type_name: String,
    pub(in super::super) primary: Option<Primary>,
}

pub(in super::super) struct Primary {
    /// Number of columns of the key, including those hidden from the user.
    pub(in super::super) columns: usize,
    /// Equality of the column's values.
    pub(in super::super) same: Same,
}

/// Rule by which the server considers two key values equal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Same {
    Text,
    /// Equal texts except for trailing blanks.
    Trimmed,
    /// Equal numbers, regardless of zeros.
    Number,
    Expression(String),
    /// Known to the server only.
    Unknown,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum ColumnForm {
    Table,
    /// A table with inheriting tables.
    Parent,
    Parts,
    View,
}

pub(in super::super) struct ColumnReader {
    pub(in super::super) kind: ValueKind,
    pub(in super::super) expression: String,
    pub(in super::super) order: CursorOrder,
    /// True if the column may or may not contain JSON.
    pub(in super::super) doubtful: bool,
}

/// Order of a cursor column's values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum CursorOrder {
    /// Order of the server: by the column, or by a number derived from it.
    ///
    /// `marks` selects the values that may become the mark; rows that match `always` are always
    /// read.
    Server {
        number: Option<String>,
        marks: String,
        always: Option<String>,
    },
    /// Times, numbers or words in text form, which servers compare by characters.
    Text,
    None,
}

/// Identity of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum TableKey {
    /// One integer, in the column at this index.
    Number(usize),
    Columns(Vec<(usize, Same)>),
    /// A key that cannot be compared here, or is only partly visible.
    Foreign,
    /// The complete content of the row.
    Content,
}

/// A table or view, with the way to read it.
pub(in super::super) struct Relation {
    pub(in super::super) name: String,
    pub(in super::super) full_name: String,
    pub(in super::super) schema: String,
    pub(in super::super) table: String,
    pub(in super::super) form: ColumnForm,
    pub(in super::super) extension: bool,
    /// Name in SQL statements.
    pub(in super::super) path: String,
    pub(in super::super) columns: Vec<SourceColumn>,
    pub(in super::super) readings: Vec<ColumnReader>,
    pub(in super::super) key: TableKey,
}

/// Groups the lines of a catalogue into relations.
pub(in super::super) fn relations<E: Engine>(lines: Vec<CatalogLine>) -> Vec<Relation> {
    let mut found: Vec<Relation> = Vec::new();
    let mut keys: Vec<(usize, Vec<(usize, Same)>)> = Vec::new();
    for line in lines {
        let full_name = format!("{}.{}", line.schema, line.table);
        if found.last().is_none_or(|last| last.full_name != full_name) {
            keys.push((0, Vec::new()));
            found.push(Relation {
                name: if line.prefixed { full_name.clone() } else { line.table.clone() },
                path: E::path(
                    &line.schema,
                    &line.table,
                    matches!(line.form, ColumnForm::Table | ColumnForm::Parent),
                ),
                full_name,
                schema: line.schema,
                table: line.table,
                form: line.form,
                extension: line.extension,
                columns: Vec::new(),
                readings: Vec::new(),
                key: TableKey::Content,
            });
        }
        let (Some(relation), Some((size, parts))) = (found.last_mut(), keys.last_mut()) else { continue };
        let (view, primary) = (line.form == ColumnForm::View, line.primary.is_some());
        if let Some(Primary { columns, same }) = line.primary {
            *size = columns;
            parts.push((relation.columns.len(), same));
        }
        relation.readings.push(E::column_reader(&line.type_name, &E::quoted(&line.column)));
        relation.columns.push(SourceColumn {
            name: line.column,
            kind: line.shown,
            nullable: (!view).then_some(line.nullable),
            primary_key: (!view).then_some(primary),
        });
    }
    for (relation, (size, parts)) in found.iter_mut().zip(keys) {
        relation.key = match parts.as_slice() {
            [] => TableKey::Content,
            parts if parts.len() != size => TableKey::Foreign,
            [(place, _)] if relation.readings[*place].kind == ValueKind::Integer => TableKey::Number(*place),
            parts if parts.iter().any(|(_, same)| *same == Same::Unknown) => TableKey::Foreign,
            _ => TableKey::Columns(parts),
        };
    }
    found
}

impl Relation {
    /// Switches to reading a named table with its inheriting tables.
    ///
    /// The table's key does not identify their rows.
    pub(in super::super) fn include_children<E: Engine>(&mut self) {
        self.path = E::path(&self.schema, &self.table, false);
        if self.form == ColumnForm::Parent {
            self.key = TableKey::Foreign;
        }
    }

    /// Converts the relation to its form in the schema.
    pub(in super::super) fn shown(self) -> SourceTable {
        let kind = if self.form == ColumnForm::View { "view" } else { "table" };
        SourceTable { name: self.name, kind, columns: self.columns }
    }

    pub(in super::super) fn column_index(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|found| found.name == column)
    }

    /// Returns the SQL that selects its columns and the expressions of its key.
    pub(in super::super) fn select(&self) -> String {
        let columns = self.readings.iter().map(|reading| &reading.expression);
        let selected: Vec<_> = columns.chain(self.expressions()).map(String::as_str).collect();
        format!("SELECT {} FROM {}", selected.join(", "), self.path)
    }

    fn expressions(&self) -> impl Iterator<Item = &String> {
        let parts = if let TableKey::Columns(parts) = &self.key { parts.as_slice() } else { &[] };
        parts.iter().filter_map(|(_, same)| if let Same::Expression(sql) = same { Some(sql) } else { None })
    }

    /// Digest of the row format, which differs for a recreated table.
    pub(in super::super) fn row_signature(&self) -> String {
        let kinds: Vec<_> = self.readings.iter().map(|reading| &reading.kind).collect();
        // With their types, because another precision is another text for the same key.
        let names: Vec<_> = self.columns.iter().map(|column| (&column.name, &column.kind)).collect();
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
            TableKey::Number(place) => {
                number = [(*place, Same::Text)];
                &number[..]
            }
            TableKey::Columns(parts) => parts,
            TableKey::Foreign | TableKey::Content => return Ok(None),
        };
        text.clear();
        let mut expressions = self.columns.len()..;
        for (place, same) in parts {
            let place =
                if let Same::Expression(_) = same { expressions.next().unwrap_or(*place) } else { *place };
            let raw = value(place)?.unwrap_or_default();
            match std::str::from_utf8(raw) {
                Ok(found) => text.put("t", canonical_text(found, same)),
                Err(_) => text.put("b", &bytes(raw)),
            }
        }
        Ok(Some(text.finish()))
    }
}

/// Normalises a key value.
fn canonical_text<'t>(text: &'t str, same: &Same) -> &'t str {
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
    use super::{Same, canonical_text};

    #[test]
    fn equal_keys_are_written_alike() {
        for (same, one, other) in [
            (Same::Number, "1.00", "1"),
            (Same::Number, "10", "10.0"),
            (Same::Number, "-0", "0"),
            (Same::Number, "0.50", "0.5"),
            (Same::Trimmed, "a  ", "a"),
        ] {
            assert_eq!(canonical_text(one, &same), canonical_text(other, &same), "{one}");
        }
        for (same, one, other) in [
            (Same::Number, "100", "1"),
            (Same::Number, "1e20", "1e2"),
            (Same::Number, "1.5e-10", "1.5e-1"),
            (Same::Text, "1.00", "1"),
            (Same::Text, "a ", "a"),
        ] {
            assert_ne!(canonical_text(one, &same), canonical_text(other, &same), "{one}");
        }
    }
}
