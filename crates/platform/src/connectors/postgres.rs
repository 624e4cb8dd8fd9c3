//! PostgreSQL and compatible databases.

use std::time::Duration;

use futures_util::stream::BoxStream;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgRow, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _, ValueRef as _};

use super::ReadError;
use super::link::{Link, Protocol};
use super::relational::Engine;
use super::relational::catalogue::{CatalogLine, ColumnForm, ColumnReader, CursorOrder, Primary, Same};
use super::relational::session::Session;
use super::server::Server;
use super::values::ValueKind;

/// Engine of PostgreSQL.
///
/// Fields: `host`, `port` (5432), `database`, `username`, `password`; more in [`Server::read`].
pub(super) struct Postgres;

impl Engine for Postgres {
    const NAME: &'static str = "PostgreSQL";
    const PORT: u16 = 5432;
    type Connection = PgConnection;
    type Row = PgRow;

    const PROTOCOL: Protocol = Protocol::Postgres;

    async fn login(server: &Server, link: &Link) -> Result<PgConnection, sqlx::Error> {
        // The link has already negotiated TLS, if required.
        PgConnectOptions::new_without_pgpass()
            .socket(link.path())
            .port(server.target.1)
            .database(&server.database)
            .username(&server.username)
            .password(server.password())
            .ssl_mode(PgSslMode::Disable)
            .extra_float_digits(None)
            .application_name("wellspring")
            .disable_statement_logging()
            .connect()
            .await
    }

    fn begin_snapshot(limit: Option<Duration>) -> String {
        // These settings define the format of texts regardless of the server's defaults. The last
        // one ends a statement whose client has disconnected; older versions lack it.
        let mut sql = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; \
            SET LOCAL standard_conforming_strings = on; SET LOCAL bytea_output = hex; \
            SET LOCAL IntervalStyle = iso_8601; SET LOCAL extra_float_digits = 3; \
            SET LOCAL DateStyle = 'ISO, MDY'; SET LOCAL TimeZone = 'UTC'; \
            SELECT set_config(name, '10s', true) FROM pg_catalog.pg_settings \
            WHERE name = 'client_connection_check_interval' AND version() LIKE '%linux%'"
            .to_owned();
        if let Some(limit) = limit {
            sql.push_str(&format!("; SET LOCAL statement_timeout = {}", limit.as_millis()));
        }
        sql
    }

    fn rows(connection: &mut PgConnection, sql: String) -> BoxStream<'_, Result<PgRow, sqlx::Error>> {
        sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection)
    }

    fn value(row: &PgRow, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        let value = row.try_get_raw(index)?;
        if value.is_null() { Ok(None) } else { value.as_bytes().map(Some).map_err(sqlx::Error::Decode) }
    }

    async fn catalogue(
        session: &mut Session<'_, Self>,
        schema: Option<&str>,
        by_name: bool,
    ) -> Result<Vec<CatalogLine>, ReadError> {
        let (schemas, prefixed) = match schema.map(text) {
            Some(schema) => (format!("n.nspname = {schema}"), "false"),
            None => (
                "n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'".to_owned(),
                "n.nspname IS DISTINCT FROM current_schema()",
            ),
        };
        // A partition is read with its table, unless it is named.
        let parts = if by_name { "true" } else { "NOT c.relispartition" };
        let sql = CATALOGUE.replace("{schemas}", &schemas).replace("{prefixed}", prefixed);
        let found = session.texts::<11>(sql.replace("{parts}", parts)).await?;
        let line = |line: [String; 11]| {
            let [prefixed, schema, table, form, extension, column, shown, nullable, of, primary, same] = line;
            CatalogLine {
                prefixed: prefixed == "t",
                schema,
                table,
                form: match form.as_str() {
                    "v" | "m" => ColumnForm::View,
                    "p" => ColumnForm::Parts,
                    "parent" => ColumnForm::Parent,
                    _ => ColumnForm::Table,
                },
                extension: extension == "t",
                primary: primary.parse().ok().map(|columns| Primary {
                    columns,
                    same: if same == "false" { Same::Unknown } else { same_key(&of, &Self::quoted(&column)) },
                }),
                column,
                shown,
                nullable: nullable == "t",
                type_name: of,
            }
        };
        Ok(found.into_iter().map(line).collect())
    }

    fn schemas(name: &str) -> String {
        format!("SELECT count(*) FROM pg_catalog.pg_namespace WHERE nspname = {}", text(name))
    }

    fn path(schema: &str, table: &str, only: bool) -> String {
        let only = if only { "ONLY " } else { "" };
        format!("{only}{}.{}", Self::quoted(schema), Self::quoted(table))
    }

    fn quoted(name: &str) -> String {
        format!("\"{}\"", name.replace('"', "\"\""))
    }

    fn literal(kind: &ValueKind, value: &str) -> Option<String> {
        // The literal takes the type of the compared column. The key of an empty table is empty.
        if *kind == ValueKind::Integer && value.is_empty() { None } else { Some(text(value)) }
    }

    fn column_reader(of: &str, quoted: &str) -> ColumnReader {
        ColumnReader {
            kind: kind(of),
            expression: quoted.to_owned(),
            order: order(of, quoted),
            doubtful: false,
        }
    }
}

/// Lists the readable columns.
///
/// A domain is read like its base type, an array by its elements. Types that are not built in have
/// no name here, except those with their own comparison.
const CATALOGUE: &str = "
    WITH RECURSIVE relation AS (
        SELECT c.oid, c.relname, n.nspname, {prefixed} AS prefixed,
               CASE WHEN c.relkind IN ('r', 'f')
                         AND EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhparent = c.oid)
                    THEN 'parent' ELSE c.relkind::text END AS form,
               EXISTS (SELECT FROM pg_catalog.pg_depend d
                       WHERE d.classid = 'pg_catalog.pg_class'::regclass AND d.objid = c.oid
                           AND d.deptype = 'e') AS extension
        FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
        WHERE c.relkind IN ('r', 'p', 'f', 'v', 'm') AND {parts} AND {schemas}
            AND has_schema_privilege(n.oid, 'USAGE') AND has_any_column_privilege(c.oid, 'SELECT')
    ), attribute AS (
        SELECT a.* FROM relation r JOIN pg_catalog.pg_attribute a ON a.attrelid = r.oid
        WHERE a.attnum > 0 AND NOT a.attisdropped AND has_column_privilege(r.oid, a.attnum, 'SELECT')
    ), base (oid, at, depth) AS (
        SELECT DISTINCT atttypid, atttypid, 0 FROM attribute
        UNION ALL
        SELECT base.oid, CASE WHEN t.typtype = 'd' THEN t.typbasetype ELSE t.typelem END,
               CASE WHEN t.typtype = 'd' THEN base.depth ELSE base.depth + 1 END
        FROM base JOIN pg_catalog.pg_type t ON t.oid = base.at
        LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
        WHERE t.typtype = 'd' OR (t.typcategory = 'A' AND e.typarray = t.oid AND e.typdelim = ',')
    ), known AS (
        SELECT base.oid, repeat('_', base.depth) || CASE
                   WHEN t.typcategory = 'A' THEN 'text'
                   WHEN t.typnamespace = 'pg_catalog'::regnamespace THEN t.typname
                   WHEN t.typname = 'citext' THEN t.typname
                   WHEN t.typtype = 'e' THEN 'enum' ELSE '' END AS name
        FROM base JOIN pg_catalog.pg_type t ON t.oid = base.at AND t.typtype <> 'd'
        LEFT JOIN pg_catalog.pg_type e ON e.oid = t.typelem
        WHERE NOT (t.typcategory = 'A' AND COALESCE(e.typarray = t.oid AND e.typdelim = ',', false))
    )
    SELECT r.prefixed, r.nspname, r.relname, r.form, r.extension,
           a.attname, format_type(a.atttypid, a.atttypmod), NOT a.attnotnull, k.name,
           CASE WHEN a.attnum = ANY (p.conkey) THEN cardinality(p.conkey) END,
           to_jsonb(l) ->> 'collisdeterministic'
    FROM relation r
    JOIN attribute a ON a.attrelid = r.oid
    LEFT JOIN known k ON k.oid = a.atttypid
    LEFT JOIN pg_catalog.pg_constraint p ON p.conrelid = r.oid AND p.contype = 'p'
    LEFT JOIN pg_catalog.pg_collation l ON l.oid = a.attcollation
    ORDER BY r.prefixed, r.nspname, r.relname, a.attnum";

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\'', "''"))
}

fn kind(of: &str) -> ValueKind {
    if let Some(element) = of.strip_prefix('_') {
        return ValueKind::Array(Box::new(kind(element)));
    }
    match of {
        "int2" | "int4" | "int8" | "oid" => ValueKind::Integer,
        "float4" | "float8" => ValueKind::Real,
        "bool" => ValueKind::Truth,
        "bytea" => ValueKind::Hex,
        "json" | "jsonb" => ValueKind::Json,
        "timestamp" => ValueKind::Timestamp,
        "timestamptz" => ValueKind::Moment,
        "timetz" => ValueKind::Zoned,
        _ => ValueKind::Text,
    }
}

/// Returns the order of a type's values.
///
/// Infinities and dates that mean "no end" are never a mark, because nothing would follow them.
fn order(of: &str, quoted: &str) -> CursorOrder {
    let server = |marks: String, always: Option<String>| CursorOrder::Server { number: None, marks, always };
    match of {
        "date" | "timestamp" | "timestamptz" => server(
            format!("{quoted} < '9999-01-01' AND {quoted} > '-infinity'"),
            Some(format!("{quoted} = '-infinity'")),
        ),
        "float4" | "float8" => server(
            format!("{quoted} < 'Infinity' AND {quoted} > '-Infinity'"),
            Some(format!("{quoted} = '-Infinity'")),
        ),
        // Infinite values exist from version 14 on.
        "numeric" => server(
            format!("{quoted}::text NOT IN ('NaN', 'Infinity', '-Infinity')"),
            Some(format!(
                "{quoted} = (CASE WHEN current_setting('server_version_num')::int >= 140000 \
                             THEN '-Infinity' END)::numeric"
            )),
        ),
        "text" | "varchar" | "bpchar" | "name" | "citext" => CursorOrder::Text,
        "json" | "xml" | "point" | "box" | "polygon" | "path" | "line" => CursorOrder::None,
        _ => server(format!("{quoted} IS NOT NULL"), None),
    }
}

fn same_key(of: &str, quoted: &str) -> Same {
    match of {
        "numeric" | "float4" | "float8" => Same::Number,
        "bpchar" => Same::Trimmed,
        "interval" => Same::Expression(format!("justify_interval({quoted})")),
        "citext" => Same::Expression(format!("lower({quoted}::text COLLATE \"default\")")),
        "int2" | "int4" | "int8" | "oid" | "bool" | "text" | "varchar" | "name" | "char" | "bytea"
        | "uuid" | "date" | "time" | "timetz" | "timestamp" | "timestamptz" | "inet" | "cidr" | "macaddr"
        | "macaddr8" | "bit" | "varbit" | "money" | "enum" | "int4range" | "int8range" | "daterange"
        | "tsrange" | "tstzrange" | "pg_lsn" | "xid8" => Same::Text,
        _ => Same::Unknown,
    }
}
