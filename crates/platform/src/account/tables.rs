//! The tables of a `database` object, found by connecting to it.

use serde_json::{Map, Value, json};

use super::database::{Database, Family};
use crate::connectors::{
    self, ConfigError, ConnectorContext, OpenedSource, ReadError, SourceColumn, SourceTable, file_names,
};

/// A table that can be read, with the configuration of its connector.
pub(super) struct Table {
    /// Name as requested or found.
    pub(super) name: String,
    /// Type of the connector.
    pub(super) connector: &'static str,
    pub(super) config: Value,
    pub(super) columns: Vec<SourceColumn>,
}

impl From<ConfigError> for ReadError {
    fn from(unfit: ConfigError) -> Self {
        Self::new(unfit.into_message())
    }
}

/// Connects and returns the requested tables, or all. Blocks.
pub(super) fn discover(database: &Database, reach: &ConnectorContext) -> Result<Vec<Table>, ReadError> {
    let tables = match database.family {
        Family::Server(connector) => relational(database, connector, &server_config(database), reach)?,
        Family::Sqlite => {
            let path = below(database.folder(), &database.name);
            relational(database, "sqlite", &with(&database.options, json!({ "path": path })), reach)?
        }
        Family::Files(connector) => files(database, connector, reach)?,
        Family::Api => api(database, reach)?,
        Family::Unknown => {
            return Err(ReadError::new(format!(
                "no local connector for \"{}\"; there are postgresql, mysql, mariadb, sqlite, csv, tsv, json, \
                 parquet and api",
                database.kind
            )));
        }
    };
    if tables.is_empty() {
        return Err(ReadError::new("there is no table that can be read; name one in \"tables\""));
    }
    Ok(tables)
}

fn server_config(database: &Database) -> Map<String, Value> {
    let Database { host, port, name, schema, username, password, url, options, .. } = database;
    let mut config = options.clone();
    let texts = [
        ("host", host),
        ("database", name),
        ("schema", schema),
        ("username", username),
        ("password", password),
        ("url", url),
    ];
    for (field, text) in texts {
        if !text.is_empty() {
            config.insert(field.into(), text.clone().into());
        }
    }
    if *port > 0 {
        config.insert("port".into(), (*port).into());
    }
    config
}

/// Returns tables of a database, which one connection describes.
fn relational(
    database: &Database,
    connector: &'static str,
    config: &Map<String, Value>,
    reach: &ConnectorContext,
) -> Result<Vec<Table>, ReadError> {
    let of = |name: &str, local: &str, found: Option<&SourceTable>| Table {
        name: name.to_owned(),
        connector,
        config: with(config, json!({ "tables": [local] })).into(),
        columns: found.map(|table| table.columns.clone()).unwrap_or_default(),
    };
    if database.tables.is_empty() {
        let found = describe(connector, config.clone(), reach)?;
        let found = found.iter().filter(|table| !database.ignored.contains(&table.name));
        return Ok(found.map(|table| of(&table.name, &table.name, Some(table))).collect());
    }
    let locals: Vec<_> = database.tables.iter().map(|table| database.local_name(table)).collect();
    let found = describe(connector, with(config, json!({ "tables": locals })), reach)?;
    let named = |local: &str| {
        let last = local.rsplit_once('.').map(|(_, last)| last);
        found
            .iter()
            .find(|table| table.name == local)
            .or_else(|| found.iter().find(|table| last == Some(table.name.as_str())))
    };
    Ok(database.tables.iter().zip(locals).map(|(table, local)| of(table, local, named(local))).collect())
}

/// Returns files as tables: the requested ones, the one named as database, or those of the folder.
fn files(
    database: &Database,
    connector: &'static str,
    reach: &ConnectorContext,
) -> Result<Vec<Table>, ReadError> {
    if database.is_remote() {
        return Err(ReadError::new(
            "no local connector for object stores; \"host\" is a folder below \"disk\", the data directory",
        ));
    }
    let names = match (database.tables.as_slice(), database.name.as_str()) {
        ([], "") => file_names(database.folder(), connector, reach)?,
        ([], name) => vec![name.to_owned()],
        (tables, _) => tables.to_vec(),
    };
    let names = names.into_iter().filter(|name| !database.ignored.contains(name));
    names
        .map(|name| {
            let path = below(database.folder(), &name);
            let config = with(&file_options(&database.options), json!({ "path": path }));
            one(name, connector, config, reach)
        })
        .collect()
}

/// Returns paths of an API as tables, or the URL itself.
fn api(database: &Database, reach: &ConnectorContext) -> Result<Vec<Table>, ReadError> {
    let base = if database.url.is_empty() { &database.host } else { &database.url };
    let mut config = with(&database.options, json!({ "base_url": base }));
    for (field, text) in [("username", &database.username), ("password", &database.password)] {
        if !text.is_empty() {
            config.insert(field.into(), text.clone().into());
        }
    }
    if database.tables.is_empty() {
        return Ok(vec![one("records".into(), "api", config, reach)?]);
    }
    let tables = database.tables.iter();
    tables.map(|path| one(path.clone(), "api", with(&config, json!({ "path": path })), reach)).collect()
}

/// Connects to a source with one table.
fn one(
    name: String,
    connector: &'static str,
    config: Map<String, Value>,
    reach: &ConnectorContext,
) -> Result<Table, ReadError> {
    let columns =
        describe(connector, config.clone(), reach)?.into_iter().flat_map(|table| table.columns).collect();
    Ok(Table { name, connector, config: config.into(), columns })
}

fn describe(
    connector: &str,
    config: Map<String, Value>,
    reach: &ConnectorContext,
) -> Result<Vec<SourceTable>, ReadError> {
    let OpenedSource { connector, .. } = connectors::open(connector, &config.into(), reach)?;
    connector.schema()
}

/// Translates the options of files to those of the connectors.
fn file_options(options: &Map<String, Value>) -> Map<String, Value> {
    let mut options = options.clone();
    if let Some(header) = options.remove("useHeaders") {
        let header =
            header.as_str().and_then(|text| text.to_lowercase().parse().ok()).map_or(header, Value::Bool);
        options.insert("has_header".into(), header);
    }
    options
}

/// Returns `config` with these fields, which override its own.
fn with(config: &Map<String, Value>, fields: Value) -> Map<String, Value> {
    let mut config = config.clone();
    if let Value::Object(fields) = fields {
        config.extend(fields);
    }
    config
}

fn below(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}
