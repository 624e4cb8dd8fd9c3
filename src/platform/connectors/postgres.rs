//! PostgreSQL, and what speaks like it.

use futures_util::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, ValueRef as _};

use super::Failure;
use super::relational::Engine;
use super::server::{Pems, Safety, Server};
use super::values::Kind;

/// `host`, `port` (5432), `database`, `username`, `password`; more in [`Server::read`].
pub(super) struct Postgres;

impl Engine for Postgres {
    const NAME: &'static str = "PostgreSQL";
    const PORT: u16 = 5432;
    // The texts that follow are made and read by these rules, whatever the server's defaults are.
    const BEGIN: &'static str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
        SET LOCAL standard_conforming_strings = on; SET LOCAL bytea_output = hex; \
        SET LOCAL IntervalStyle = iso_8601; SET LOCAL extra_float_digits = 3";
    type Connection = PgConnection;
    type Row = PgRow;

    async fn connect(server: &Server) -> Result<PgConnection, Failure> {
        let Pems { root, own } = server.pems()?;
        let mode = match server.safety {
            Safety::Disable => PgSslMode::Disable,
            Safety::Prefer => PgSslMode::Prefer,
            Safety::Require => PgSslMode::Require,
            Safety::VerifyCa => PgSslMode::VerifyCa,
            Safety::VerifyFull => PgSslMode::VerifyFull,
        };
        let mut options = PgConnectOptions::new_without_pgpass()
            .host(&server.place.0)
            .port(server.place.1)
            .database(&server.database)
            .username(&server.username)
            .password(server.password())
            .ssl_mode(mode)
            .application_name("wellspring")
            .disable_statement_logging();
        if let Some(root) = root {
            options = options.ssl_root_cert_from_pem(root);
        }
        if let Some((certificate, key)) = own {
            options = options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key);
        }
        options.connect().await.map_err(|error| server.failed(&error))
    }

    fn rows(connection: &mut PgConnection, sql: String) -> BoxStream<'_, Result<PgRow, sqlx::Error>> {
        sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection)
    }

    fn value(row: &PgRow, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        let value = row.try_get_raw(index)?;
        if value.is_null() { Ok(None) } else { value.as_bytes().map(Some).map_err(sqlx::Error::Decode) }
    }

    fn catalogue(schema: Option<&str>) -> String {
        let (schemas, shown) = match schema.map(text) {
            Some(schema) => (format!("n.nspname = {schema}"), "''"),
            None => (
                "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'".to_owned(),
                "CASE WHEN n.nspname = current_schema() THEN '' ELSE n.nspname END",
            ),
        };
        // A domain is read as what it is made of, and an array by what its elements are. A partition is
        // read with its table, and a table without those that inherit from it.
        format!(
            "WITH RECURSIVE relation AS (
                 SELECT c.oid, c.relname, c.relkind, n.nspname, {shown} AS shown
                 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
                 WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND NOT c.relispartition AND {schemas}
                     AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
             ), attribute AS (
                 SELECT a.* FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
                 WHERE a.attnum > 0 AND NOT a.attisdropped
             ), base (oid, at) AS (
                 SELECT DISTINCT atttypid, atttypid FROM attribute
                 UNION ALL
                 SELECT base.oid, t.typbasetype FROM base JOIN pg_catalog.pg_type t ON t.oid = base.at
                 WHERE t.typtype = 'd'
             ), known AS (
                 SELECT base.oid, CASE WHEN t.typcategory <> 'A' THEN t.typname
                                       WHEN e.typdelim = ',' THEN '_' || e.typname ELSE 'text' END AS name
                 FROM base JOIN pg_catalog.pg_type t ON t.oid = base.at AND t.typtype <> 'd'
                 LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem AND t.typcategory = 'A'
                 WHERE t.typnamespace = 'pg_catalog'::regnamespace OR t.typcategory = 'A'
             )
             SELECT r.shown, r.nspname, r.relname,
                    CASE r.relkind WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' WHEN 'r' THEN 'only' ELSE '' END,
                    a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, k.name,
                    a.attnum = ANY (i.indkey)
             FROM relation r
             JOIN attribute a ON a.attrelid = r.oid
             LEFT JOIN known k ON k.oid = a.atttypid
             LEFT JOIN pg_catalog.pg_index i ON i.indrelid = r.oid AND i.indisprimary
             ORDER BY r.shown, r.nspname, r.relname, a.attnum"
        )
    }

    fn path(schema: &str, table: &str, form: &str) -> String {
        let only = if form == "only" { "ONLY " } else { "" };
        format!("{only}{}.{}", Self::quoted(schema), Self::quoted(table))
    }

    fn quoted(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn literal(kind: &Kind, value: &str) -> Option<String> {
        // It takes the type of the column it is compared with. The key of no row at all is empty.
        (*kind != Kind::Integer || !value.is_empty()).then(|| text(value))
    }

    fn kind(of: &str, quoted: &str) -> (Kind, String) {
        (kind(of), quoted.to_owned())
    }
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn kind(of: &str) -> Kind {
    if let Some(element) = of.strip_prefix('_') {
        return Kind::Array(Box::new(kind(element)));
    }
    match of {
        "int2" | "int4" | "int8" | "oid" => Kind::Integer,
        "float4" | "float8" => Kind::Real,
        "bool" => Kind::Truth,
        "bytea" => Kind::Hex,
        "json" | "jsonb" => Kind::Json,
        "timestamp" => Kind::Timestamp,
        "timestamptz" => Kind::Moment,
        _ => Kind::Text,
    }
}
