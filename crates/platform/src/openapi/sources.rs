//! Schemas of source definitions, by type.

use serde_json::{Map, Value, json};

use super::refer;

/// Relative path below the data directory, without hidden parts.
const PATH: &str = r"(\.|[^./\u0000][^/\u0000]*)(/+(\.|[^./\u0000][^/\u0000]*))*/*";
const LAST: &str = r"((\.|[^./\u0000][^/\u0000]*)/+)*[^./\u0000][^/\u0000]*\.";
/// Valid value of an HTTP header.
const HEADER: &str = r"^[^\u0000-\u0008\u000a-\u001f\u007f]+$";
const HEADERS: &str = r"^[^\u0000-\u0008\u000a-\u001f\u007f]*$";
const HEADER_NAME: &str = r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$";
/// Host name or address, with an optional port.
const HOST: &str = concat!(
    r"(([A-Za-z0-9_-]+\.)*[A-Za-z][A-Za-z0-9_-]*|((25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])\.){3}",
    r"(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9]))(:([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}))?"
);

/// Returns `Source`, `SourceConfig` and the configurations they refer to.
pub(super) fn schemas() -> Map<String, Value> {
    let kinds: [(&[&str], &str); 9] = [
        (&["csv", "tsv"], "CsvConfig"),
        (&["json", "jsonl", "ndjson"], "JsonConfig"),
        (&["parquet"], "ParquetConfig"),
        (&["sqlite", "sqlite3"], "SqliteConfig"),
        (&["api", "http", "https", "rest"], "ApiConfig"),
        (&["database"], "DatabaseConfig"),
        (&SERVERS, "ServerConfig"),
        (&UNSUPPORTED_ENGINES, "AnyConfig"),
        (&["file"], "FileConfig"),
    ];
    let sources = |named: bool| -> Vec<Value> {
        kinds.iter().map(|(types, config)| source(types, config, named)).collect()
    };
    let mut schemas = configs();
    schemas.insert("Source".into(), json!({ "anyOf": sources(true) }));
    schemas.insert("SourceConfig".into(), json!({ "anyOf": sources(false) }));
    schemas
}

/// Database servers, and engines that can be declared but not read.
const SERVERS: [&str; 4] = ["postgresql", "postgres", "mysql", "mariadb"];
const UNSUPPORTED_ENGINES: [&str; 6] = ["mssql", "sqlserver", "oracle", "snowflake", "bigquery", "mongodb"];

/// Creates the schema of a configuration from that of its path.
type ConfigSchema = fn(Value) -> Value;

fn source(types: &[&str], config: &str, named: bool) -> Value {
    let mut source = json!({
        "type": "object",
        "required": ["type", "connection_config"],
        "properties": { "type": { "enum": types }, "connection_config": refer(config) },
    });
    if named {
        source["required"] = json!(["type", "name", "connection_config"]);
        source["properties"]["name"] = refer("Word");
        source["properties"]["metadata"] = json!({ "type": ["object", "null"] });
    }
    source
}

fn configs() -> Map<String, Value> {
    let path = || json!({ "type": "string", "pattern": format!("^{PATH}$") });
    let files: [(&[&str], ConfigSchema); 4] = [
        (&["csv", "tsv"], csv),
        (&["json", "jsonl", "ndjson"], json),
        (&["parquet"], parquet),
        (&["sqlite", "sqlite3", "db"], sqlite),
    ];
    let mut file = Vec::new();
    for (formats, config) in files {
        file.push(required(config(path()), "format", json!({ "enum": formats })));
        let ending = json!({ "type": "string", "pattern": format!("^{LAST}({})/*$", formats.join("|")) });
        file.push(optional(config(ending), "format", json!({ "type": "null" })));
    }
    let absent = || json!({ "type": "null" });
    let telling = json!({ "enum": [5432, 3306, "5432", "3306"] });
    let database = json!({ "anyOf": [
        required(sqlite(path()), "engine", json!({ "enum": ["sqlite", "sqlite3"] })),
        optional(sqlite(path()), "engine", absent()),
        required(server(), "engine", json!({ "enum": SERVERS })),
        optional(required(server(), "port", telling), "engine", absent()),
        required(by_url(), "engine", json!({ "enum": SERVERS })),
        optional(by_url(), "engine", absent()),
        { "type": "object", "required": ["engine"], "properties": { "engine": { "enum": UNSUPPORTED_ENGINES } } },
    ] });
    let configs = json!({
        "CsvConfig": csv(path()),
        "JsonConfig": json(path()),
        "ParquetConfig": parquet(path()),
        "SqliteConfig": sqlite(path()),
        "FileConfig": { "anyOf": file },
        "DatabaseConfig": database,
        "ServerConfig": { "anyOf": [server(), by_url()] },
        "AnyConfig": { "type": "object" },
        "ApiConfig": api(),
    });
    configs.as_object().cloned().unwrap_or_default()
}

fn csv(path: Value) -> Value {
    config(
        path,
        &json!({
            "delimiter": { "type": ["string", "null"],
                           "pattern": r"^([\u0000-\u0009\u000b\u000c\u000e-\u0021\u0023-\u007f]|tab|\\t)$" },
            "quote": { "enum": ["\"", "none", null] },
            "has_header": { "type": ["boolean", "null"] },
            "key": key(),
            "table": text(),
        }),
    )
}

fn json(path: Value) -> Value {
    config(path, &json!({ "records": pointer(), "key": key(), "table": text() }))
}

fn parquet(path: Value) -> Value {
    config(path, &json!({ "key": key(), "table": text() }))
}

fn sqlite(path: Value) -> Value {
    config(path, &json!({ "tables": { "type": ["array", "null"], "items": { "type": "string" } } }))
}

/// Schema of a database server, given by parts.
fn server() -> Value {
    let mut server = login(&words(), &words(), &words());
    server["required"] = json!(["host", "database", "username"]);
    server
}

/// Schema of a database server, given by URL.
fn by_url() -> Value {
    let address = format!(
        r"^(postgresql|postgres|mysql|mariadb)://[A-Za-z0-9_]+(:[A-Za-z0-9_]+)?@{HOST}/[A-Za-z0-9_]+$"
    );
    required(login(&text(), &text(), &text()), "url", json!({ "type": "string", "pattern": address }))
}

fn login(host: &Value, database: &Value, username: &Value) -> Value {
    json!({
        "type": "object",
        "required": [],
        "properties": {
            "host": host,
            "port": { "type": ["integer", "string", "null"], "minimum": 1, "maximum": 65535, "pattern": PORT },
            "database": database,
            "username": username,
            "password": text(),
            "sslmode": { "enum": ["disable", "prefer", "require", "verify-ca", "verify-full", null] },
            "schema": text(),
            "tables": { "type": ["array", "null"], "items": { "type": "string" } },
        },
    })
}

const PORT: &str = "^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$";

fn api() -> Value {
    let header = || json!({ "type": ["string", "null"], "minLength": 1, "pattern": HEADER });
    json!({
        "type": "object",
        "required": ["base_url"],
        "properties": {
            "base_url": { "type": "string", "pattern": format!("^https?://{HOST}(/[!$-;=@-Z_a-z~]*)?$") },
            "path": text(),
            "params": { "type": ["object", "null"], "additionalProperties": { "type": ["string", "number", "boolean"] } },
            "headers": {
                "type": ["object", "null"],
                "propertyNames": { "pattern": HEADER_NAME },
                "additionalProperties": { "type": ["string", "number", "boolean"], "pattern": HEADERS },
            },
            "token": header(),
            "api_key": header(),
            "api_key_header": { "type": ["string", "null"], "pattern": HEADER_NAME },
            "username": text(),
            "password": text(),
            "records": place(),
            "null_is_empty": { "type": ["boolean", "null"] },
            "ignore": { "type": ["array", "null"], "items": { "type": "string" } },
            "key": key(),
            "table": text(),
            "next": pointer(),
            "next_param": text(),
            "page_param": text(),
            "page_size_param": text(),
            "cursor_param": text(),
            "first_page": whole(),
            "max_pages": whole(),
        },
    })
}

fn config(path: Value, options: &Value) -> Value {
    let mut config = json!({ "type": "object", "properties": options });
    config["required"] = json!([]);
    required(config, "path", path)
}

fn required(mut config: Value, name: &str, schema: Value) -> Value {
    let mut names = config["required"].as_array().cloned().unwrap_or_default();
    names.push(name.into());
    config["required"] = names.into();
    optional(config, name, schema)
}

fn optional(mut config: Value, name: &str, schema: Value) -> Value {
    config["properties"][name] = schema;
    config
}

fn words() -> Value {
    json!({ "type": "string", "minLength": 1 })
}

fn text() -> Value {
    json!({ "type": ["string", "null"], "minLength": 1 })
}

/// Schema of a field name or an array of field names.
fn key() -> Value {
    let field = || json!({ "type": "string", "minLength": 1 });
    json!({ "anyOf": [field(), { "type": "array", "items": field(), "minItems": 1 }, { "type": "null" }] })
}

fn whole() -> Value {
    json!({ "type": ["integer", "string", "null"], "minimum": 0, "pattern": "^[0-9]{1,19}$" })
}

/// Schema of a JSON pointer; empty for the whole document.
fn place() -> Value {
    json!({ "type": ["string", "null"], "pattern": "^/?[^/]*(/[^/]*){0,31}$" })
}

/// Schema of a JSON pointer with at most 32 parts.
fn pointer() -> Value {
    json!({ "type": ["string", "null"], "minLength": 1, "pattern": "^/?[^/]*(/[^/]*){0,31}$" })
}
