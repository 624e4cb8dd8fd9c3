//! MySQL and MariaDB.

mod json;

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::stream::BoxStream;
use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlRow, MySqlSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Row as _};

use super::ReadError;
use super::link::{Link, Protocol};
use super::relational::catalogue::{
    CatalogLine, ColumnForm, ColumnReader, CursorOrder, Primary, Relation, Same,
};
use super::relational::session::Session;
use super::relational::{Engine, STALL_TIMEOUT};
use super::server::{Pems, Safety, Server};
use super::values::ValueKind;

/// Engine of MySQL and MariaDB.
///
/// Fields: `host`, `port` (3306), `database`, `username`, `password`; more in [`Server::read`].
pub(super) struct MySql;

impl Engine for MySql {
    const NAME: &'static str = "MySQL";
    const PORT: u16 = 3306;
    type Connection = MySqlConnection;
    type Row = MySqlRow;

    const PROTOCOL: Protocol = Protocol::MySql;

    async fn login(server: &Server, link: &Link) -> Result<MySqlConnection, sqlx::Error> {
        let Pems { root, client_identity: own } =
            server.pems().map_err(|failure| sqlx::Error::Configuration(failure.into_message().into()))?;
        let mode = match server.safety {
            _ if link.is_secure() => MySqlSslMode::Disabled,
            Safety::Disable => MySqlSslMode::Disabled,
            Safety::Prefer => MySqlSslMode::Preferred,
            Safety::Require => MySqlSslMode::Required,
            Safety::VerifyCa => MySqlSslMode::VerifyCa,
            Safety::VerifyFull => MySqlSslMode::VerifyIdentity,
        };
        let mut options = MySqlConnectOptions::new()
            .socket(link.path())
            .host(&server.host)
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
        options.connect().await
    }

    fn begin_snapshot(limit: Option<Duration>) -> String {
        // The driver sets the time zone to UTC; the mode decides the quoting of texts. Server and
        // client use the same timeout between rows. Both engines limit statements in different
        // ways.
        let limits = limit.map_or(String::new(), |limit| {
            let (seconds, milliseconds) = (limit.as_secs(), limit.as_millis());
            format!(
                " /*M!, max_statement_time = {seconds} */ /*!50708 , max_execution_time = {milliseconds} */"
            )
        });
        let wait = STALL_TIMEOUT.as_secs();
        format!(
            "SET SESSION sql_mode = '', net_write_timeout = {wait}{limits}; \
             SET SESSION TRANSACTION ISOLATION LEVEL REPEATABLE READ; \
             START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY"
        )
    }

    fn rows(connection: &mut MySqlConnection, sql: String) -> BoxStream<'_, Result<MySqlRow, sqlx::Error>> {
        sqlx::raw_sql(AssertSqlSafe(sql)).fetch(connection)
    }

    fn value(row: &MySqlRow, index: usize) -> Result<Option<&[u8]>, sqlx::Error> {
        row.try_get_unchecked(index)
    }

    async fn catalogue(
        session: &mut Session<'_, Self>,
        schema: Option<&str>,
        _: bool,
    ) -> Result<Vec<CatalogLine>, ReadError> {
        let of = format!("TABLE_SCHEMA = {}", schema.map_or_else(|| "DATABASE()".to_owned(), text));
        let forms = session.texts(format!(
            "SELECT TABLE_NAME, TABLE_TYPE FROM information_schema.TABLES WHERE {of} AND TABLE_TYPE <> 'SEQUENCE'"
        ));
        let forms: BTreeMap<_, _> =
            forms.await?.into_iter().map(|[table, form]: [String; 2]| (table, form)).collect();
        let keys = Keys::load(session, &of).await?;
        let json = json::JsonColumns::load(session, &of).await?;
        let columns = session.texts::<8>(format!(
            "SELECT TABLE_SCHEMA, TABLE_NAME, COLUMN_NAME, COLUMN_TYPE, IS_NULLABLE, DATA_TYPE, COLUMN_KEY,
                    COALESCE(COLLATION_NAME, '')
             FROM information_schema.COLUMNS WHERE {of} AND FIND_IN_SET('select', PRIVILEGES)
             ORDER BY TABLE_NAME, ORDINAL_POSITION"
        ));
        let columns = columns.await?;
        let primary = keys.primary(&columns);
        let line = |line: [String; 8]| {
            let [schema, table, column, shown, nullable, of, key, collation] = line;
            let form = forms.get(&table)?;
            let view = form.ends_with("VIEW");
            let primary = if key == "PRI" && !view {
                let part = primary.get(&table).and_then(|parts| Some((parts.len(), parts.get(&column)?)));
                Some(match part {
                    Some((columns, prefix)) => {
                        let same = same_key(&of, &collation, &Self::quoted(&column), prefix);
                        Primary { columns, same }
                    }
                    None => Primary { columns: usize::MAX, same: Same::Unknown },
                })
            } else {
                None
            };
            Some(CatalogLine {
                prefixed: false,
                type_name: json.kind(&table, &column, of, &collation, view),
                schema,
                form: if view { ColumnForm::View } else { ColumnForm::Table },
                extension: false,
                shown,
                nullable: nullable == "YES",
                table,
                column,
                primary,
            })
        };
        Ok(columns.into_iter().filter_map(line).collect())
    }

    fn schemas(name: &str) -> String {
        format!("SELECT count(*) FROM information_schema.SCHEMATA WHERE SCHEMA_NAME = {}", text(name))
    }

    async fn resolve_doubtful(
        session: &mut Session<'_, Self>,
        relation: &mut Relation,
    ) -> Result<(), ReadError> {
        json::resolve_doubtful(session, relation).await
    }

    fn path(schema: &str, table: &str, _: bool) -> String {
        format!("{}.{}", Self::quoted(schema), Self::quoted(table))
    }

    fn quoted(name: &str) -> String {
        format!("`{}`", name.replace('`', "``"))
    }

    fn literal(kind: &ValueKind, value: &str) -> Option<String> {
        // A quoted number would be compared as a floating-point number.
        let number = value.parse::<f64>().is_ok_and(f64::is_finite)
            && value.bytes().all(|sign| sign.is_ascii_digit() || matches!(sign, b'-' | b'.' | b'e' | b'+'));
        match kind {
            ValueKind::Integer | ValueKind::Real | ValueKind::Single | ValueKind::Decimal => {
                if number {
                    Some(value.to_owned())
                } else {
                    None
                }
            }
            ValueKind::Bytes => None,
            _ => Some(text(value)),
        }
    }

    fn column_reader(of: &str, quoted: &str) -> ColumnReader {
        let (kind, selected) = kind(of, quoted);
        let order = match (of, &kind) {
            ("date" | "datetime" | "timestamp", _) => CursorOrder::Server {
                // Dates that mean "no end" are never a mark, because nothing would follow them.
                number: None,
                marks: format!("{quoted} < '9999-01-01'"),
                always: None,
            },
            // Ordered by their position in the type, but compared with a text by their text.
            ("enum" | "set", _) => CursorOrder::Server {
                number: Some(format!("{quoted} + 0")),
                marks: format!("{quoted} IS NOT NULL"),
                always: None,
            },
            ("time" | "uuid" | "inet4" | "inet6", _)
            | (_, ValueKind::Integer | ValueKind::Real | ValueKind::Single | ValueKind::Decimal) => {
                CursorOrder::Server { number: None, marks: format!("{quoted} IS NOT NULL"), always: None }
            }
            (_, ValueKind::Bytes) => CursorOrder::None,
            _ if selected != quoted => CursorOrder::None,
            _ => CursorOrder::Text,
        };
        ColumnReader { kind, expression: selected, order, doubtful: of == json::DOUBTFUL_TYPE }
    }
}

/// Columns of unique keys by table and key, with the length of their prefix.
struct Keys(BTreeMap<String, BTreeMap<String, BTreeMap<String, String>>>);

impl Keys {
    async fn load(session: &mut Session<'_, MySql>, of: &str) -> Result<Self, ReadError> {
        let found = session.texts(format!(
            "SELECT TABLE_NAME, INDEX_NAME, COLUMN_NAME, COALESCE(SUB_PART, '')
             FROM information_schema.STATISTICS WHERE {of} AND NON_UNIQUE = 0"
        ));
        let mut keys = Self(BTreeMap::new());
        for [table, key, column, prefix] in found.await? {
            keys.0.entry(table).or_default().entry(key).or_default().insert(column, prefix);
        }
        Ok(keys)
    }

    /// Returns the primary key of each table.
    ///
    /// Without one, the server reports the columns of a unique key instead.
    fn primary(&self, columns: &[[String; 8]]) -> BTreeMap<String, &BTreeMap<String, String>> {
        let mut marked: BTreeMap<&String, Vec<&String>> = BTreeMap::new();
        for [_, table, column, _, _, _, key, _] in columns {
            if key == "PRI" {
                marked.entry(table).or_default().push(column);
            }
        }
        let key = |(table, marked): (&String, Vec<&String>)| {
            let keys = self.0.get(table)?;
            let same = |key: &&BTreeMap<String, String>| {
                key.len() == marked.len() && marked.iter().all(|column| key.contains_key(*column))
            };
            Some((table.clone(), keys.get("PRIMARY").or_else(|| keys.values().find(same))?))
        };
        marked.into_iter().filter_map(key).collect()
    }
}

/// Text is compared by its collation, with equal letters and trailing blanks.
fn same_key(of: &str, collation: &str, quoted: &str, prefix: &str) -> Same {
    let part = if prefix.is_empty() { quoted.to_owned() } else { format!("LEFT({quoted}, {prefix})") };
    match of {
        "float" | "double" => Same::Number,
        "enum" | "set" => Same::Text,
        _ if collation.contains("nopad") || collation.contains("_0900_") => {
            Same::Expression(format!("HEX(WEIGHT_STRING({part}))"))
        }
        _ if !collation.is_empty() => Same::Expression(format!("HEX(WEIGHT_STRING(RTRIM({part})))")),
        _ if prefix.is_empty() => Same::Text,
        _ => Same::Expression(format!("HEX({part})")),
    }
}

/// Returns the kind of a type's values, and the expression that selects them.
fn kind(of: &str, quoted: &str) -> (ValueKind, String) {
    let kind = match of.to_ascii_lowercase().as_str() {
        "tinyint" | "smallint" | "mediumint" | "int" | "bigint" | "year" => ValueKind::Integer,
        // Its text has fewer digits than the value, unless converted to double.
        "float" => return (ValueKind::Single, format!("{quoted} + 0e0")),
        "double" => ValueKind::Real,
        "decimal" => ValueKind::Decimal,
        "bit" => return (ValueKind::Integer, format!("{quoted} + 0")),
        "json" => ValueKind::Json,
        "datetime" => ValueKind::Timestamp,
        "timestamp" => ValueKind::Moment,
        "binary" | "varbinary" | "tinyblob" | "blob" | "mediumblob" | "longblob" | "vector" => {
            ValueKind::Bytes
        }
        "geometry" | "point" | "linestring" | "polygon" | "multipoint" | "multilinestring"
        | "multipolygon" | "geometrycollection" | "geomcollection" => {
            return (ValueKind::Text, format!("ST_AsText({quoted})"));
        }
        _ => ValueKind::Text,
    };
    (kind, quoted.to_owned())
}

fn text(value: &str) -> String {
    format!("'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}
