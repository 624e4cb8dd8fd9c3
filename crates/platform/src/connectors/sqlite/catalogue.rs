//! Tables and views of a SQLite file, with the identity of their rows.

use rusqlite::types::ValueRef;
use rusqlite::{Connection, Row};
use serde_json::Value;

use super::super::row::{RowText, bytes, digest_of, real};
use super::super::{SourceColumn, SourceTable};

/// Suffixes of the shadow tables of each module; their prefix is the virtual table.
const SHADOW_SUFFIXES: [(&str, &[&str]); 2] = [
    (
        "vec0",
        &["_chunks", "_info", "_rowids", "_auxiliary", "_vector_chunks", "_metadatachunks", "_metadatatext"],
    ),
    ("vss0", &["_data", "_index"]),
];

/// Kind of a name in the schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum SqliteColumnForm {
    Table,
    View,
    /// Rows computed by a module.
    Virtual,
    /// A table with internal data of a module.
    Shadow,
}

pub(super) struct SqliteEntry {
    pub(super) name: String,
    pub(super) form: SqliteColumnForm,
}

/// A table or view of the file.
pub(super) struct SqliteRelation {
    pub(super) name: String,
    pub(super) view: bool,
    pub(super) columns: Vec<SourceColumn>,
    pub(super) key: SqliteKey,
}

/// Identity of a table's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum SqliteKey {
    /// The column at this index is the row number.
    Number(usize),
    /// Columns at these indices with their collations.
    Columns(Vec<(usize, Collation)>),
    /// Columns with a collation that only the owning program defines.
    Foreign,
    /// The complete content of the row.
    Content,
}

/// Comparison of key texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Collation {
    Binary,
    NoCase,
    Rtrim,
}

/// Lists the names in the file, sorted.
pub(super) fn list(connection: &Connection) -> rusqlite::Result<Vec<SqliteEntry>> {
    let mut query = connection.prepare(
        "SELECT name, type FROM pragma_table_list
         WHERE schema = 'main' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
    )?;
    let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(String, String)> = found.collect::<Result<_, _>>()?;
    let modules = unknown_modules(connection)?;
    let entry = |(name, kind): (String, String)| {
        let form = match kind.as_str() {
            "view" => SqliteColumnForm::View,
            "virtual" => SqliteColumnForm::Virtual,
            "shadow" => SqliteColumnForm::Shadow,
            _ if is_shadow(&name, &modules) => SqliteColumnForm::Shadow,
            _ => SqliteColumnForm::Table,
        };
        SqliteEntry { name, form }
    };
    Ok(found.into_iter().map(entry).collect())
}

/// Returns the virtual tables whose module is unavailable, with its name.
///
/// SQLite itself knows the shadow tables of the others.
fn unknown_modules(connection: &Connection) -> rusqlite::Result<Vec<(String, String)>> {
    let mut query = connection.prepare(
        "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND rootpage = 0 AND sql LIKE 'CREATE VIRTUAL%'",
    )?;
    let found = query.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(String, String)> = found.collect::<Result<_, _>>()?;
    let mut known =
        connection.prepare("SELECT count(*) FROM pragma_module_list WHERE name = ?1 COLLATE NOCASE")?;
    let mut unknown = Vec::new();
    for (name, sql) in found {
        let module = module_of(&sql);
        let count: i64 = known.query_row([&module], |row| row.get(0))?;
        if count == 0 {
            unknown.push((name, module));
        }
    }
    Ok(unknown)
}

fn module_of(sql: &str) -> String {
    let lower = sql.to_ascii_lowercase();
    let after = lower.find(" using ").map_or("", |at| &lower[at + " using ".len()..]);
    let name = after.trim_start().trim_start_matches(['"', '`', '[', '\'']);
    name.split(|sign: char| !sign.is_alphanumeric() && sign != '_').next().unwrap_or_default().to_owned()
}

fn is_shadow(name: &str, modules: &[(String, String)]) -> bool {
    modules.iter().any(|(owner, module)| {
        let Some(rest) = name.strip_prefix(owner.as_str()).filter(|rest| rest.starts_with('_')) else {
            return false;
        };
        let plain = rest.trim_end_matches(|last: char| last.is_ascii_digit());
        let known = SHADOW_SUFFIXES.iter().find(|(of, _)| of == module);
        known.is_none_or(|(_, endings)| endings.contains(&plain))
    })
}

/// Returns the columns and the key of a table or view.
pub(super) fn describe(connection: &Connection, entry: &SqliteEntry) -> rusqlite::Result<SqliteRelation> {
    let view = entry.form == SqliteColumnForm::View;
    // Hidden columns (1) belong to virtual tables; generated ones (2, 3) are read normally.
    let mut query = connection.prepare(
        "SELECT name, type, \"notnull\", pk FROM pragma_table_xinfo(?1) WHERE hidden <> 1 ORDER BY cid",
    )?;
    let found = query.query_map([&entry.name], |row| {
        Ok((row.get(0)?, row.get::<_, Option<String>>(1)?.unwrap_or_default(), row.get(2)?, row.get(3)?))
    })?;
    let found: Vec<(String, String, bool, i64)> = found.collect::<Result<_, _>>()?;
    let key = if view { SqliteKey::Content } else { key(connection, &entry.name, &found)? };
    let columns = found
        .into_iter()
        .map(|(name, kind, not_null, primary)| SourceColumn {
            name,
            kind: if kind.is_empty() { "ANY".into() } else { kind },
            nullable: (!view).then_some(!not_null && primary == 0),
            primary_key: (!view).then_some(primary > 0),
        })
        .collect();
    Ok(SqliteRelation { name: entry.name.clone(), view, columns, key })
}

/// Determines the key.
///
/// A key with an index consists of columns; the one without an index is the row number. The
/// declared type is no evidence: `INTEGER PRIMARY KEY DESC` may contain anything.
fn key(
    connection: &Connection,
    table: &str,
    columns: &[(String, String, bool, i64)],
) -> rusqlite::Result<SqliteKey> {
    let mut query = connection.prepare(
        "SELECT x.name, lower(x.coll) FROM pragma_index_list(?1) AS l, pragma_index_xinfo(l.name) AS x
         WHERE l.origin = 'pk' AND x.key = 1 ORDER BY x.seqno",
    )?;
    let found = query.query_map([table], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let found: Vec<(Option<String>, String)> = found.collect::<Result<_, _>>()?;
    let primary: Vec<_> = columns.iter().filter(|column| column.3 > 0).collect();
    if found.is_empty() {
        return Ok(match columns.iter().position(|column| column.3 > 0) {
            Some(place) if primary.len() == 1 => SqliteKey::Number(place),
            _ => SqliteKey::Content,
        });
    }
    let part = |(name, collation): (Option<String>, String)| {
        let place = columns.iter().position(|column| Some(&column.0) == name.as_ref())?;
        let collation = match collation.as_str() {
            "binary" => Collation::Binary,
            "nocase" => Collation::NoCase,
            "rtrim" => Collation::Rtrim,
            _ => return None,
        };
        Some((place, collation))
    };
    let parts: Option<Vec<_>> = found.into_iter().map(part).collect();
    Ok(parts.map_or(SqliteKey::Foreign, SqliteKey::Columns))
}

impl SqliteRelation {
    /// Converts the relation to its form in the schema.
    pub(super) fn table(self) -> SourceTable {
        SourceTable { name: self.name, kind: if self.view { "view" } else { "table" }, columns: self.columns }
    }

    /// Creates a view with unknown columns.
    pub(super) fn unknown(entry: &SqliteEntry) -> Self {
        Self { name: entry.name.clone(), view: true, columns: Vec::new(), key: SqliteKey::Content }
    }

    pub(super) fn column_index(&self, column: &str) -> Option<usize> {
        self.columns.iter().position(|found| found.name == column)
    }

    pub(super) fn select(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| quoted(&column.name)).collect();
        format!("SELECT {} FROM {}", columns.join(", "), quoted(&self.name))
    }

    /// Digest of the row format, which differs for a recreated table.
    pub(super) fn row_signature(&self) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| &column.name).collect();
        digest_of(&format!("{columns:?} {:?}", self.key))
    }

    /// Writes the identity of a row; equal if SQLite considers the keys equal.
    ///
    /// `None` if only the complete row identifies it: SQLite permits null in keys.
    pub(super) fn identity<'t>(
        &self,
        row: &Row<'_>,
        text: &'t mut RowText,
    ) -> rusqlite::Result<Option<&'t str>> {
        let number;
        let parts = match &self.key {
            SqliteKey::Number(place) => {
                number = [(*place, Collation::Binary)];
                &number[..]
            }
            SqliteKey::Columns(parts) => parts,
            SqliteKey::Foreign | SqliteKey::Content => return Ok(None),
        };
        text.clear();
        for (place, collation) in parts {
            match row.get_ref(*place)? {
                ValueRef::Null => return Ok(None),
                ValueRef::Integer(number) => text.put("n", &number),
                ValueRef::Real(number) => {
                    text.put("n", &whole(number).map_or_else(|| real(number), Value::from));
                }
                ValueRef::Blob(blob) => text.put("b", &bytes(blob)),
                ValueRef::Text(found) => match std::str::from_utf8(found) {
                    Ok(found) => match collation {
                        Collation::Binary => text.put("t", found),
                        Collation::NoCase => text.put("t", &found.to_ascii_lowercase()),
                        Collation::Rtrim => text.put("t", found.trim_end_matches(' ')),
                    },
                    Err(_) => text.put("x", &bytes(found)),
                },
            }
        }
        Ok(Some(text.finish()))
    }
}

/// Returns the integer equal to this number, if any.
#[expect(clippy::cast_possible_truncation, reason = "it is within the range of whole numbers")]
fn whole(number: f64) -> Option<i64> {
    let within = (-9_223_372_036_854_775_808.0..9_223_372_036_854_775_808.0).contains(&number);
    (within && number.fract() == 0.0).then_some(number as i64)
}

pub(super) fn value(found: ValueRef<'_>) -> Value {
    match found {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(number) => number.into(),
        ValueRef::Real(number) => real(number),
        ValueRef::Text(text) => std::str::from_utf8(text).map_or_else(|_| bytes(text), Value::from),
        ValueRef::Blob(blob) => bytes(blob),
    }
}

pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::{is_shadow, module_of};

    #[test]
    fn what_a_module_keeps_is_told_from_the_users_tables() {
        assert_eq!(module_of("CREATE VIRTUAL TABLE docs USING vec0(a float[3])"), "vec0");
        assert_eq!(module_of("create virtual table \"docs\" using \"spellfix1\""), "spellfix1");
        let of = |module: &str| vec![("docs".to_owned(), module.to_owned())];
        for (name, module, expected) in [
            ("docs_chunks", "vec0", true),
            ("docs_vector_chunks00", "vec0", true),
            ("docs_mine", "vec0", false),
            ("docsx_chunks", "vec0", false),
            ("docs_vocab", "spellfix1", true),
            ("other", "spellfix1", false),
        ] {
            assert_eq!(is_shadow(name, &of(module)), expected, "{name} {module}");
        }
    }
}
