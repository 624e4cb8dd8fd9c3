//! Responses of the account dialect.

use super::answer::{AcceptedEnvelope, accepted, verdict};
use super::error::RemoteErrorKind;
use super::transport::RawResponse;
use super::{ConnectAnswer, ConnectedRow, ItemError, Schema, SchemaColumn, SchemaTable, TestVerdict};
use crate::model::{SourceName, wipe};
use serde_json::Value;

/// Returns the result of a connect to an account.
///
/// A success without `connectionStatus: true` is none. The rows in the response are those of the whole account, so
/// ids come from the list alone.
pub(super) fn account_connect(
    reply: &RawResponse,
    name: &SourceName,
    clean: &dyn Fn(&str) -> String,
) -> Result<ConnectAnswer, RemoteErrorKind> {
    let status = connection(reply)?;
    let name = Some(name.as_str().to_owned());
    Ok(match status {
        Connection::Open => {
            ConnectAnswer { connected: vec![ConnectedRow { id: None, name }], errors: Vec::new(), rest: None }
        }
        Connection::Failed(why) => {
            let error = ItemError { id: None, name, message: clean(&why) };
            ConnectAnswer { connected: Vec::new(), errors: vec![error], rest: None }
        }
        Connection::Unstated => {
            return Err(RemoteErrorKind::Malformed("no `connectionStatus` in a connect's response".into()));
        }
    })
}

/// Returns the test result of an `infer-schema`, which has no `connectionStatus` of its own.
pub(super) fn account_verdict(
    reply: &RawResponse,
    clean: &dyn Fn(&str) -> String,
) -> Result<TestVerdict, RemoteErrorKind> {
    match verdict(reply, clean)? {
        TestVerdict::Passed(message) => Ok(match connection(reply)? {
            Connection::Failed(why) => TestVerdict::Failed(clean(&why)),
            Connection::Open | Connection::Unstated => TestVerdict::Passed(message),
        }),
        other => Ok(other),
    }
}

/// Returns the tables of an `infer-schema`; models in another form are an error, never an empty schema.
pub(super) fn account_schema(
    reply: &RawResponse,
    clean: &dyn Fn(&str) -> String,
) -> Result<Schema, RemoteErrorKind> {
    if let TestVerdict::Failed(message) = account_verdict(reply, clean)? {
        return Err(RemoteErrorKind::Refused { status: reply.status.as_u16(), message });
    }
    let AcceptedEnvelope { data, .. } = accepted(reply, clean)?;
    let odd = || RemoteErrorKind::Malformed("`data.models` is not a list of @model annotations".into());
    let models = data.get("models").and_then(Value::as_array).filter(|models| !models.is_empty());
    let tables = models.ok_or_else(odd)?.iter().map(|model| table_of_model(model.as_str()?));
    Ok(Schema { tables: tables.collect::<Option<_>>().ok_or_else(odd)? })
}

/// Parses `@model("TABLE", "['column:type', …]").`
fn table_of_model(model: &str) -> Option<SchemaTable> {
    let inner = model.trim().strip_prefix("@model(\"")?.strip_suffix("]\").")?;
    let (name, columns) = inner.split_once("\", \"[")?;
    let column = |text: &str| {
        let (name, kind) = text.trim().strip_prefix('\'')?.strip_suffix('\'')?.rsplit_once(':')?;
        Some(SchemaColumn { name: name.to_owned(), kind: kind.to_owned() })
    };
    let columns = columns.split(',').filter(|text| !text.trim().is_empty()).map(column);
    Some(SchemaTable { name: name.to_owned(), columns: columns.collect::<Option<_>>()? })
}

/// Statement of a 2xx response about the connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Connection {
    Open,
    /// Contains the platform's reason, which may repeat a secret.
    Failed(String),
    /// Neither.
    Unstated,
}

/// Returns what a response states about the connection: the platform reports failures within a success.
pub(super) fn connection(reply: &RawResponse) -> Result<Connection, RemoteErrorKind> {
    let mut envelope: Value = serde_json::from_slice(&reply.body)
        .map_err(|_| RemoteErrorKind::Malformed("the response is not JSON".into()))?;
    let stated = if envelope.get("status").and_then(Value::as_str) == Some("success") {
        stated(&envelope["data"])
    } else {
        // Errors have a status of their own, which is read before.
        let clean = |text: &str| text.to_owned();
        match verdict(reply, &clean)? {
            TestVerdict::Failed(why) => Connection::Failed(why),
            _ => Connection::Unstated,
        }
    };
    // The response repeats the rows of the whole account.
    wipe(&mut envelope);
    Ok(stated)
}

fn stated(data: &Value) -> Connection {
    let message = data.get("errorMessage").and_then(Value::as_str).unwrap_or_default().trim();
    let reason = || if message.is_empty() { "the platform gave no reason" } else { message }.to_owned();
    match data.get("connectionStatus") {
        Some(Value::Bool(true)) if message.is_empty() => Connection::Open,
        None | Some(Value::Null) if message.is_empty() => Connection::Unstated,
        _ => Connection::Failed(reason()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_success_may_report_a_failed_connection() {
        let failed = |why: &str| Connection::Failed(why.to_owned());
        for (data, expected) in [
            (json!({ "connectionStatus": true, "errorMessage": null }), Connection::Open),
            (json!({}), Connection::Unstated),
            (json!({ "connectionStatus": null }), Connection::Unstated),
            (json!({ "connectionStatus": false }), failed("the platform gave no reason")),
            (json!({ "connectionStatus": "true" }), failed("the platform gave no reason")),
            (json!({ "connectionStatus": "false", "errorMessage": "no" }), failed("no")),
            (json!({ "connectionStatus": true, "errorMessage": "no" }), failed("no")),
        ] {
            assert_eq!(stated(&data), expected, "{data}");
        }
    }
}
