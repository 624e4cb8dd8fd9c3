//! The `database` object of a request.

use axum::http::StatusCode;
use serde_json::{Map, Value};

use crate::definition::{parse_name, whole};
use crate::response::ApiResponse;

/// Folder of files in paths and lists; here the data directory.
pub(super) const DISK: &str = "disk";

/// Fields that select parts of a source, which the connectors do not support.
const NOT_SERVED: [&str; 4] = ["query", "catalog", "selectedColumns", "ignoreColumns"];

/// A syntactically valid `database` object; absent fields are empty.
pub(super) struct Database {
    /// Type in lower case.
    pub(super) kind: String,
    pub(super) family: Family,
    /// Host; the folder of files, which begins with [`DISK`].
    pub(super) host: String,
    /// Port; 0 for the usual one.
    pub(super) port: u16,
    pub(super) name: String,
    pub(super) schema: String,
    pub(super) username: String,
    pub(super) password: String,
    pub(super) url: String,
    /// Requested tables; empty for all.
    pub(super) tables: Vec<String>,
    /// Tables that are not discovered.
    pub(super) ignored: Vec<String>,
    pub(super) options: Map<String, Value>,
}

/// Method of finding the tables of a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    /// A database server with this connector.
    Server(&'static str),
    /// An SQLite file, named by folder and database.
    Sqlite,
    /// Files with this connector and extension, each a table.
    Files(&'static str),
    /// An HTTP API, whose tables are paths.
    Api,
    /// A type without a connector.
    Unknown,
}

impl Family {
    fn of(kind: &str) -> Self {
        match kind {
            "postgresql" | "postgres" => Self::Server("postgresql"),
            "mysql" => Self::Server("mysql"),
            "mariadb" => Self::Server("mariadb"),
            "sqlite" => Self::Sqlite,
            "csv" => Self::Files("csv"),
            "tsv" => Self::Files("tsv"),
            "json" => Self::Files("json"),
            "parquet" => Self::Files("parquet"),
            "api" => Self::Api,
            _ => Self::Unknown,
        }
    }
}

impl Database {
    /// Reads `database` from the fields of a request.
    pub(super) fn read(fields: &Map<String, Value>) -> Result<Self, ApiResponse> {
        let Some(Value::Object(fields)) = fields.get("database") else {
            return Err(ApiResponse::unprocessable("\"database\" must be an object"));
        };
        let is_empty = |value: &Value| match value {
            Value::Null => true,
            Value::String(text) => text.is_empty(),
            Value::Array(items) => items.is_empty(),
            _ => false,
        };
        if let Some(name) =
            NOT_SERVED.iter().find(|name| fields.get(**name).is_some_and(|value| !is_empty(value)))
        {
            let message =
                format!("the local platform does not support \"{name}\" of a database; leave it out");
            return Err(ApiResponse::refused(StatusCode::NOT_IMPLEMENTED, message));
        }
        Self::parse(fields).map_err(ApiResponse::unprocessable)
    }

    fn parse(fields: &Map<String, Value>) -> Result<Self, String> {
        let kind = parse_name("databaseType", &text(fields, &["databaseType"])?)?.to_lowercase();
        let family = Family::of(&kind);
        let mut host = text(fields, &["host"])?;
        if matches!(family, Family::Sqlite | Family::Files(_)) {
            host = folder(&host);
        }
        let options = match fields.get("options") {
            None | Some(Value::Null) => Map::new(),
            Some(Value::Object(options)) => options.clone(),
            Some(_) => return Err("\"options\" must be an object".into()),
        };
        Ok(Self {
            kind,
            family,
            host,
            port: port(fields)?,
            name: text(fields, &["databaseName", "database"])?,
            schema: text(fields, &["schema"])?,
            username: text(fields, &["username"])?,
            password: text(fields, &["password"])?,
            url: text(fields, &["url"])?,
            tables: texts(fields, &["tables", "selectedTables"])?,
            ignored: texts(fields, &["ignoreTables"])?,
            options,
        })
    }

    /// Returns the name of a table without those of this database and schema.
    pub(super) fn local_name<'t>(&self, table: &'t str) -> &'t str {
        let Family::Server(_) = self.family else { return table };
        local_name(table, &self.name, &self.schema)
    }

    /// Returns the folder below the data directory; empty for the data directory itself.
    pub(super) fn folder(&self) -> &str {
        self.host.strip_prefix(DISK).unwrap_or(&self.host).trim_start_matches('/')
    }

    /// Returns true if the files are not on the platform's disk.
    pub(super) fn is_remote(&self) -> bool {
        self.host.contains("://")
    }
}

/// Removes a leading `DATABASE.` and then `SCHEMA.` from the name of a table.
pub(super) fn local_name<'t>(table: &'t str, database: &str, schema: &str) -> &'t str {
    let without = |table: &'t str, name: &str| {
        let rest = if name.is_empty() { None } else { table.strip_prefix(name) };
        rest.and_then(|rest| rest.strip_prefix('.')).filter(|rest| !rest.is_empty()).unwrap_or(table)
    };
    without(without(table, database), schema)
}

/// Normalises the folder of files; `reports/` becomes `disk/reports`.
fn folder(host: &str) -> String {
    let host = host.trim_end_matches('/');
    let is_complete = host == DISK || host.starts_with("disk/") || host.contains("://");
    match host {
        "" => DISK.to_owned(),
        _ if is_complete => host.to_owned(),
        _ => format!("{DISK}/{host}"),
    }
}

/// Returns the first text among several names; empty if there is none.
fn text(fields: &Map<String, Value>, names: &[&str]) -> Result<String, String> {
    for name in names {
        match fields.get(*name) {
            None | Some(Value::Null) => {}
            Some(Value::String(text)) => return Ok(text.clone()),
            Some(_) => return Err(format!("\"{name}\" must be a text")),
        }
    }
    Ok(String::new())
}

/// Returns the first array of texts among several names; empty if there is none.
fn texts(fields: &Map<String, Value>, names: &[&str]) -> Result<Vec<String>, String> {
    for name in names {
        let items = match fields.get(*name) {
            None | Some(Value::Null) => continue,
            Some(Value::Array(items)) => items,
            Some(_) => return Err(format!("\"{name}\" must be an array of texts")),
        };
        let mut texts: Vec<String> = Vec::new();
        for item in items {
            let text = item.as_str().filter(|text| !text.is_empty());
            let text = text.ok_or_else(|| format!("\"{name}\" must hold texts that are not empty"))?;
            if !texts.iter().any(|known| known == text) {
                texts.push(text.to_owned());
            }
        }
        return Ok(texts);
    }
    Ok(Vec::new())
}

/// Returns the port; null is refused, as on the platform.
fn port(fields: &Map<String, Value>) -> Result<u16, String> {
    let port = match fields.get("port") {
        None => Some(0),
        Some(port @ Value::Number(_)) => whole(port),
        Some(Value::String(text)) if text.is_empty() => Some(0),
        Some(Value::String(text)) => text.parse().ok(),
        Some(_) => None,
    };
    port.and_then(|port| u16::try_from(port).ok())
        .ok_or_else(|| "\"port\" must be 0 to 65535, where 0 is the usual port; null is refused".to_owned())
}

#[cfg(test)]
mod tests {
    use super::{folder, local_name};

    #[test]
    fn only_names_of_the_database_and_schema_are_removed() {
        for (table, local) in [
            ("shop.public.orders", "orders"),
            ("public.orders", "orders"),
            ("shop.orders", "orders"),
            ("orders", "orders"),
            ("shopping.orders", "shopping.orders"),
            ("public.shop.orders", "shop.orders"),
            ("shop.", "shop."),
        ] {
            assert_eq!(local_name(table, "shop", "public"), local, "{table}");
        }
    }

    #[test]
    fn folders_are_below_the_disk() {
        for (host, expected) in [
            ("", "disk"),
            ("disk", "disk"),
            ("disk/", "disk"),
            ("reports", "disk/reports"),
            ("disk/reports/", "disk/reports"),
            ("diskette", "disk/diskette"),
            ("s3a://bucket/dir/", "s3a://bucket/dir"),
        ] {
            assert_eq!(folder(host), expected);
        }
    }
}
