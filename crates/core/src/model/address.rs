//! Addresses of the rows of an account.
//!
//! An account lists one row for each table and shows no names. Two rows are the same table if their addresses are
//! equal; text is compared exactly, because a guess could take the row of another for ours.

use super::{ConfigValue, Definition};
use std::fmt;

/// Types whose tables are files in a folder.
const FILE_TYPES: [&str; 7] = ["csv", "excel", "json", "parquet", "sqlite", "tsv", "xlsx"];

/// Name of the platform's own disk in the host of file types.
const DISK: &str = "disk";

/// Keys of `connection_config` that form the address, and so hold no references.
pub const ADDRESS_KEYS: [&str; 5] = ["host", "port", "database", "schema", "tables"];

/// Address of a table: type, host, port, database, schema and table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    place: Place,
    /// Compared only if both sides have one.
    schema: String,
}

/// The parts of an address that must all be equal.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    kind: String,
    host: String,
    port: String,
    database: String,
    table: String,
}

/// The parts of an address as a row or a file has them; absent ones are empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct AddressParts<'a> {
    /// Type of the database.
    pub kind: &'a str,
    /// Host or folder.
    pub host: &'a str,
    /// Port as text.
    pub port: &'a str,
    /// Database.
    pub database: &'a str,
    /// Schema.
    pub schema: &'a str,
    /// Table, perhaps with database and schema in front.
    pub table: &'a str,
}

impl From<AddressParts<'_>> for Address {
    fn from(parts: AddressParts<'_>) -> Self {
        let AddressParts { kind, host, port, database, schema, table } = parts;
        let kind = kind.to_lowercase();
        let host = if FILE_TYPES.contains(&kind.as_str()) { folder(host) } else { host.to_owned() };
        let port = if port == "0" { "" } else { port };
        let table = without(without(table, database), schema);
        let [port, database, table] = [port, database, table].map(str::to_owned);
        Self { place: Place { kind, host, port, database, table }, schema: schema.to_owned() }
    }
}

impl Address {
    /// Returns the address of a definition with one table; `None` if it has another form.
    #[must_use]
    pub fn of(definition: &Definition) -> Option<Self> {
        let text = |key: &str| match value(definition, key) {
            None => Some(String::new()),
            Some(ConfigValue::String(text)) => Some(text.clone()),
            Some(ConfigValue::Integer(number)) => Some(number.to_string()),
            Some(_) => None,
        };
        let Some(ConfigValue::Array(tables)) = value(definition, "tables") else { return None };
        let [ConfigValue::String(table)] = tables.as_slice() else { return None };
        let [host, port, database, schema] =
            [text("host")?, text("port")?, text("database")?, text("schema")?];
        Some(Self::from(AddressParts {
            kind: &definition.kind,
            host: &host,
            port: &port,
            database: &database,
            schema: &schema,
            table,
        }))
    }

    /// Returns the parts by which addresses are looked up.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// Returns true if both are the same table.
    #[must_use]
    pub fn is_same(&self, other: &Self) -> bool {
        let schemas = [&self.schema, &other.schema];
        self.place == other.place
            && (schemas.iter().any(|schema| schema.is_empty()) || schemas[0] == schemas[1])
    }
}

/// Writes the address like a URL.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { kind, host, port, database, table } = &self.place;
        write!(f, "{kind}://{host}")?;
        if !port.is_empty() {
            write!(f, ":{port}")?;
        }
        for part in [database, &self.schema, table].into_iter().filter(|part| !part.is_empty()) {
            write!(f, "/{part}")?;
        }
        Ok(())
    }
}

/// Returns a value of `connection_config`.
fn value<'d>(definition: &'d Definition, key: &str) -> Option<&'d ConfigValue> {
    definition.connection_config.iter().find(|(name, _)| **name == *key).map(|(_, value)| value)
}

/// Returns the folder of a file type as the platform lists it.
fn folder(host: &str) -> String {
    let host = host.trim_end_matches('/');
    match host.strip_prefix(DISK) {
        _ if host.contains("://") => host.to_owned(),
        Some(rest) if rest.is_empty() || rest.starts_with('/') => host.to_owned(),
        _ if host.is_empty() => DISK.to_owned(),
        _ => format!("{DISK}/{}", host.trim_start_matches('/')),
    }
}

/// Removes a leading `NAME.`.
fn without<'t>(table: &'t str, name: &str) -> &'t str {
    let rest = if name.is_empty() { None } else { table.strip_prefix(name) };
    rest.and_then(|rest| rest.strip_prefix('.')).filter(|rest| !rest.is_empty()).unwrap_or(table)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts<'a>(text: &[&'a str; 6]) -> AddressParts<'a> {
        let [kind, host, port, database, schema, table] = *text;
        AddressParts { kind, host, port, database, schema, table }
    }

    #[test]
    fn spellings_of_one_table_are_one_address() {
        for (one, other) in [
            (["PostgreSQL", "h", "0", "d", "s", "d.s.t"], ["postgresql", "h", "", "d", "", "t"]),
            (["mysql", "h", "3306", "d", "", "d.t"], ["mysql", "h", "3306", "d", "s", "t"]),
            (["csv", "", "", "", "", "a.csv"], ["csv", "disk/", "0", "", "", "a.csv"]),
            (["csv", "reports", "", "", "", "a.csv"], ["csv", "disk/reports", "", "", "", "a.csv"]),
        ] {
            assert!(Address::from(parts(&one)).is_same(&Address::from(parts(&other))), "{one:?} {other:?}");
        }
    }

    #[test]
    fn another_part_is_another_address() {
        let one = ["postgresql", "h", "5432", "d", "s", "t"];
        for n in 0..one.len() {
            let mut other = one;
            other[n] = "x";
            assert!(!Address::from(parts(&one)).is_same(&Address::from(parts(&other))), "{other:?}");
        }
        for (one, other) in [("T", "t"), ("d.t", "x.t")] {
            let of = |table| {
                Address::from(AddressParts { kind: "mysql", table, ..parts(&["", "h", "", "d", "", ""]) })
            };
            assert!(!of(one).is_same(&of(other)), "{one} {other}");
        }
    }
}
