//! MySQL and MariaDB.

use futures_util::stream::BoxStream;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use super::Failure;
use super::relational::Engine;
use super::server::{Pems, Safety, Server};
use super::values::Kind;

/// `host`, `port` (3306), `database`, `username`, `password`; more in [`Server::read`].
pub(super) struct MySql;

impl Engine for MySql {
    const NAME: &'static str = "MySQL";
    const PORT: u16 = 3306;
    // The driver has set the time zone to UTC; the mode decides how texts are quoted.
    const BEGIN: &'static str = "SET SESSION sql_mode = ''; \
        SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
        START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY";
    type Connection = MySqlConnection;
    type Row = MySqlRow;

    async fn connect(server: &Server) -> Result<MySqlConnection, Failure> {
        let Pems { root, own } = server.pems()?;
        let mode = match server.safety {
            Safety::Disable => MySqlSslMode::Disabled,
            Safety::Prefer => MySqlSslMode::Preferred,
            Safety::Require => MySqlSslMode::Required,
            Safety::VerifyCa => MySqlSslMode::VerifyCa,
            Safety::VerifyFull => MySqlSslMode::VerifyIdentity,
        };
        let mut options = MySqlConnectOptions::new()
            .host(&server.place.0)
            .port(server.place.1)
            .database(&server.database)
            .username(&server.username)
            .password(server.password())
            .ssl_mode(mode)
            .disable_statement_logging();
        if let Some(root) = root {
            options = options.ssl_ca_from_pem(root);
        }
        if let Some((certificate, key)) = own {
            options = options.ssl_client_cert_from_pem(certificate).ssl_client_key_from_pem(key);
        }
        options.connect().await.map_err(|error| server.failed(&error))
    }

    fn rows(connection: &mut MySqlConnection, sql: String) -> BoxStream<'_, Result<MySqlRow, sqlx::Error>> {
        sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection)
    }

    fn value(row: &MySqlRow, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        row.try_get_unchecked(index)
    }

    fn catalogue(schema: Option<&str>) -> String {
        let schema = schema.map_or_else(|| "DATABASE()".to_owned(), text);
        // JSON is a type of MySQL, and a text with a check in MariaDB.
        format!(
            "SELECT '', t.TABLE_SCHEMA, t.TABLE_NAME, IF(t.TABLE_TYPE LIKE '%VIEW', 'view', ''),
                    c.COLUMN_NAME, c.COLUMN_TYPE, IF(c.IS_NULLABLE = 'YES', 't', 'f'),
                    CASE WHEN c.DATA_TYPE = 'json' THEN 'json'
                         /*M! WHEN EXISTS (
                             SELECT 1 FROM information_schema.CHECK_CONSTRAINTS k
                             WHERE k.CONSTRAINT_SCHEMA = c.TABLE_SCHEMA AND k.TABLE_NAME = c.TABLE_NAME
                                 AND k.CONSTRAINT_NAME = c.COLUMN_NAME AND k.CHECK_CLAUSE LIKE 'json_valid(%'
                         ) THEN 'json' */
                         ELSE c.DATA_TYPE END,
                    IF(c.COLUMN_KEY = 'PRI', 't', 'f')
             FROM information_schema.TABLES t
             JOIN information_schema.COLUMNS c
                 ON c.TABLE_SCHEMA = t.TABLE_SCHEMA AND c.TABLE_NAME = t.TABLE_NAME
             WHERE t.TABLE_SCHEMA = {schema} AND t.TABLE_TYPE <> 'SEQUENCE'
             ORDER BY t.TABLE_NAME, c.ORDINAL_POSITION"
        )
    }

    fn path(schema: &str, table: &str, _: &str) -> String {
        format!("{}.{}", Self::quoted(schema), Self::quoted(table))
    }

    fn quoted(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn literal(kind: &Kind, value: &str) -> Option<String> {
        // A number in quotes would be compared as a floating-point number.
        let number = value.parse::<f64>().is_ok_and(f64::is_finite)
            && value.bytes().all(|sign| sign.is_ascii_digit() || matches!(sign, b'-' | b'.' | b'e' | b'+'));
        match kind {
            Kind::Integer | Kind::Real | Kind::Single | Kind::Decimal => number.then(|| value.to_owned()),
            Kind::Bytes => None,
            _ => Some(text(value)),
        }
    }

    fn kind(of: &str, quoted: &str) -> (Kind, String) {
        let kind = match of.to_ascii_lowercase().as_str() {
            "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => Kind::Integer,
            // Its text has fewer digits than it has itself, unless it is told as a double.
            "float" => return (Kind::Single, format!("{quoted} + 0e0")),
            "double" => Kind::Real,
            "decimal" => Kind::Decimal,
            "bit" => return (Kind::Integer, format!("{quoted} + 0")),
            "json" => Kind::Json,
            "datetime" => Kind::Timestamp,
            "timestamp" => Kind::Moment,
            "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => {
                Kind::Bytes
            }
            "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
            | "multipolygon" | "geometrycollection" | "geomcollection" => {
                return (Kind::Text, format!("ST_AsText({quoted})"));
            }
            _ => Kind::Text,
        };
        (kind, quoted.to_owned())
    }
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}
