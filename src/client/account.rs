//! Requests of the account dialect.
//!
//! Invariant: there are four requests and no other. None of them can name no rows to remove, and none asks the
//! platform to look at its sources again, because that may remove those of others.

use super::base_url::BaseUrl;
use super::error::{Endpoint, RemoteErrorKind};
use super::request::percent_encoded;
use crate::model::{Account, NonEmpty, ResolvedSource, SourceId, wipe};
use hyper::body::Bytes;
use reqwest::Method;
use serde_json::{Map, Value, json};

/// A request to an account.
#[derive(Clone, Copy)]
pub(super) enum AccountRequest<'a> {
    List,
    /// Connects one source.
    Connect(&'a ResolvedSource),
    /// Opens the connection of a source and stores nothing; `models` asks for columns, too.
    InferSchema {
        source: &'a ResolvedSource,
        models: bool,
    },
    /// Removes these rows.
    Cleanup(&'a NonEmpty<SourceId>),
}

/// Fields of `database` by the key of `connection_config`; all are sent, absent ones as null.
const DATABASE: [(&str, &str); 14] = [
    ("username", "username"),
    ("password", "password"),
    ("host", "host"),
    ("port", "port"),
    ("databaseName", "database"),
    ("options", "options"),
    ("schema", "schema"),
    ("catalog", "catalog"),
    ("query", "query"),
    ("selectedColumns", "selected_columns"),
    ("ignoreColumns", "ignore_columns"),
    ("ignoreTables", "ignore_tables"),
    ("tables", "tables"),
    ("url", "url"),
];

/// Method and last segment of the path of every request.
pub(super) const PATHS: [(Method, &str); 4] = [
    (Method::GET, "list"),
    (Method::POST, "connect"),
    (Method::POST, "infer-schema"),
    (Method::POST, "cleanup"),
];

impl AccountRequest<'_> {
    pub(super) fn endpoint(&self) -> Endpoint {
        match self {
            Self::List => Endpoint::List,
            Self::Connect(_) => Endpoint::Connect,
            Self::InferSchema { .. } => Endpoint::InferSchema,
            Self::Cleanup(_) => Endpoint::Cleanup,
        }
    }

    /// Returns the body of a POST.
    pub(super) fn body(&self) -> Option<Bytes> {
        match self {
            Self::List => None,
            Self::Connect(source) => Some(with_database(source, json!({ "computeRowCount": false }))),
            Self::InferSchema { source, models } => {
                Some(with_database(source, json!({ "addBind": true, "addModel": models })))
            }
            Self::Cleanup(ids) => Some(super::body_of(&json!({ "source_ids": ids }))),
        }
    }
}

/// Returns a body with the `database` of a source, and wipes the copy of its secrets.
fn with_database(source: &ResolvedSource, mut body: Value) -> Bytes {
    // Fails only without a value for a secret; the guard rejects the missing port then.
    let mut config = serde_json::to_value(source.expose_connection_config()).unwrap_or_default();
    let mut database = Map::new();
    database.insert("databaseType".to_owned(), source.kind().into());
    for (field, key) in DATABASE {
        let value = config.get_mut(key).map(Value::take);
        // The platform refuses null for a port.
        let absent = if field == "port" && config.is_object() { json!(0) } else { Value::Null };
        database.insert(field.to_owned(), value.unwrap_or(absent));
    }
    body["database"] = database.into();
    let bytes = super::body_of(&body);
    wipe(&mut body);
    wipe(&mut config);
    bytes
}

/// Returns the path of a request to an account.
///
/// The platform's URL may end with an account, which must then be this one.
pub(super) fn path(
    base: &BaseUrl,
    account: Account<'_>,
    endpoint: Endpoint,
) -> Result<String, RemoteErrorKind> {
    let base = base.url().path().trim_end_matches('/');
    let prefix = match account.segments() {
        None => base.to_owned(),
        Some((org, user)) => {
            let own = format!("/jarvispy/{}/{}", percent_encoded(org), percent_encoded(user));
            match base.rsplit_once("/jarvispy/") {
                _ if base.ends_with(&own) => base.to_owned(),
                Some((_, other)) => {
                    let why = format!(
                        "the platform's URL is that of another account, {}",
                        super::message::printable(other)
                    );
                    return Err(RemoteErrorKind::NotSent(why));
                }
                None => base.to_owned() + &own,
            }
        }
    };
    Ok(format!("{prefix}/api/v1/data/{endpoint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_is_that_of_the_account_however_the_url_is_written() {
        let at = |url: &str, account: &str| {
            let account = Account::parse(account).unwrap();
            path(&BaseUrl::parse(url).unwrap(), account, Endpoint::List)
        };
        let cloud = Ok("/jarvispy/acme/ana/api/v1/data/list".to_owned());
        assert_eq!(at("https://h", "acme/ana"), cloud);
        assert_eq!(at("https://h/jarvispy/acme/ana/", "acme/ana"), cloud);
        assert_eq!(at("https://h/jarvispy/acme/ana/api/v1", "."), cloud);
        assert_eq!(at("https://h", "."), Ok("/api/v1/data/list".to_owned()));
        assert_eq!(at("https://h", "a b/c?d"), Ok("/jarvispy/a%20b/c%3Fd/api/v1/data/list".to_owned()));
        assert!(at("https://h/jarvispy/acme/bo", "acme/ana").is_err());
    }
}
