//! The fields of a row that lists show.

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::bind;
use super::database::{Database, Family};
use super::tables::Table;

/// A table as lists show it, with credentials in plain text like the platform.
#[derive(Serialize, Deserialize)]
pub(super) struct ListedTable {
    pub(super) datasource_type: String,
    pub(super) host: String,
    /// Port as text; `0` if there is none.
    pub(super) port: String,
    pub(super) database_name: String,
    pub(super) schema_name: String,
    pub(super) table_name: String,
    pub(super) predicate_placeholder: String,
    pub(super) bind_annotation: String,
}

impl ListedTable {
    pub(super) fn new(database: &Database, table: &Table) -> Self {
        let predicate = bind::predicate(&table.name);
        let bind_annotation = bind_annotation(database, &table.name, &predicate);
        Self {
            datasource_type: database.kind.clone(),
            host: database.host.clone(),
            port: database.port.to_string(),
            database_name: database.name.clone(),
            schema_name: database.schema.clone(),
            table_name: table.name.clone(),
            predicate_placeholder: predicate,
            bind_annotation,
        }
    }
}

/// Returns the annotation that reads a table.
pub(super) fn bind_annotation(database: &Database, table: &str, predicate: &str) -> String {
    let Database { family, host, port, name, username, password, url, options, .. } = database;
    let login = [("username", username), ("password", password)];
    let (container, mut settings) = match family {
        Family::Files(_) => (host.clone(), Vec::new()),
        Family::Sqlite => (format!("{host}/{name}"), Vec::new()),
        Family::Api => (if url.is_empty() { host.clone() } else { url.clone() }, present(&login)),
        Family::Server(_) | Family::Unknown => {
            let mut settings = present(&[("host", host)]);
            if *port > 0 {
                settings.push(("port", json!(port)));
            }
            settings.extend(present(&login));
            settings.extend(present(&[("url", url)]));
            (name.clone(), settings)
        }
    };
    settings.extend(options.iter().map(|(name, value)| (name.as_str(), value.clone())));
    bind::bind(predicate, &database.kind, &settings, &container, table)
}

/// Returns the fields that are not empty.
fn present<'n>(fields: &[(&'n str, &String)]) -> Vec<(&'n str, Value)> {
    let fields = fields.iter().filter(|(_, text)| !text.is_empty());
    fields.map(|(name, text)| (*name, json!(text))).collect()
}
