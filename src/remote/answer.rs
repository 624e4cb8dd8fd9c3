//! The answers of all endpoints but `list`: the envelope, and what is read from its `data`.

use super::Verdict;
use super::error::RemoteErrorKind;
use super::transport::Reply;
use super::{
    CleanupAnswer, Column, ConnectAnswer, ConnectedRow, ItemError, Schema, SyncAnswer, SyncedRow, Table,
};
use crate::model::SourceId;
use reqwest::StatusCode;
use serde_json::Value;

/// An envelope that says `success`.
struct Accepted {
    /// Not yet fit to be shown.
    message: String,
    data: Value,
    errors: Vec<ItemError>,
}

pub(super) fn connect(
    reply: &Reply,
    clean: &dyn Fn(&str) -> String,
) -> Result<ConnectAnswer, RemoteErrorKind> {
    let Accepted { data, mut errors, .. } = accepted(reply, clean)?;
    let mut connected = Vec::new();
    for row in rows(&data, "connected_sources") {
        match failure(row, clean) {
            Some(error) => errors.push(error),
            None => connected.push(ConnectedRow { id: id(row), name: name(row) }),
        }
    }
    Ok(ConnectAnswer { connected, errors })
}

pub(super) fn cleanup(
    reply: &Reply,
    clean: &dyn Fn(&str) -> String,
) -> Result<CleanupAnswer, RemoteErrorKind> {
    let Accepted { data, errors, .. } = accepted(reply, clean)?;
    Ok(CleanupAnswer { deleted: data.get("deleted_count").and_then(Value::as_u64), errors })
}

pub(super) fn sync(reply: &Reply, clean: &dyn Fn(&str) -> String) -> Result<SyncAnswer, RemoteErrorKind> {
    let Accepted { data, mut errors, .. } = accepted(reply, clean)?;
    let records = |value: &Value| value.get("records_processed").and_then(Value::as_u64);
    let mut sources = Vec::new();
    for row in rows(&data, "sources") {
        match failure(row, clean) {
            Some(error) => errors.push(error),
            None => {
                let message = row.get("message").and_then(Value::as_str).filter(|text| !text.is_empty());
                let message = message.map(clean);
                sources.push(SyncedRow { id: id(row), name: name(row), records: records(row), message });
            }
        }
    }
    Ok(SyncAnswer { records: records(&data), errors, sources })
}

pub(super) fn schema(reply: &Reply, clean: &dyn Fn(&str) -> String) -> Result<Schema, RemoteErrorKind> {
    let Accepted { data, .. } = accepted(reply, clean)?;
    let odd =
        || RemoteErrorKind::Malformed("`data.tables` is not a list of tables that each have a name".into());
    let named = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    let tables = data.get("tables").and_then(Value::as_array).ok_or_else(odd)?;
    let table = |table: &Value| {
        let columns = rows(table, "columns").iter().map(|column| {
            let kind = column.get("type").and_then(Value::as_str).unwrap_or_default();
            Some(Column { name: named(column)?, kind: kind.to_owned() })
        });
        Some(Table { name: named(table)?, columns: columns.collect::<Option<_>>()? })
    };
    Ok(Schema { tables: tables.iter().map(table).collect::<Option<_>>().ok_or_else(odd)? })
}

/// The verdict that a 2xx answer gives: by its `status`, nothing else.
pub(super) fn verdict(reply: &Reply, clean: &dyn Fn(&str) -> String) -> Result<Verdict, RemoteErrorKind> {
    match accepted(reply, clean) {
        Ok(Accepted { message, errors, .. }) => match errors.into_iter().next() {
            None => Ok(Verdict::Passed(clean(&message))),
            Some(error) => Ok(Verdict::Failed(error.message)),
        },
        Err(RemoteErrorKind::Refused { message, .. } | RemoteErrorKind::Conflict(message)) => {
            Ok(Verdict::Failed(message))
        }
        Err(other) => Err(other),
    }
}

/// Opens the envelope. 202 and 204 may come without one: what was asked for was taken on.
fn accepted(reply: &Reply, clean: &dyn Fn(&str) -> String) -> Result<Accepted, RemoteErrorKind> {
    let taken_on = matches!(reply.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT);
    if taken_on && reply.body.trim_ascii().is_empty() {
        return Ok(Accepted { message: String::new(), data: Value::Null, errors: Vec::new() });
    }
    // serde's own text may quote what it found there, and that may be a secret.
    let mut envelope: Value = serde_json::from_slice(&reply.body).map_err(|error| {
        RemoteErrorKind::Malformed(format!("not JSON (line {}, column {})", error.line(), error.column()))
    })?;
    let message = envelope.get("message").and_then(Value::as_str).unwrap_or_default();
    let status = envelope.get("status").and_then(Value::as_str).unwrap_or_default();
    match status {
        "success" => {}
        "error" => {
            return Err(RemoteErrorKind::Refused { status: reply.status.as_u16(), message: clean(message) });
        }
        "conflict" => return Err(RemoteErrorKind::Conflict(clean(message))),
        // `accepted`, `pending`, `running`: whatever it is called, it has begun.
        _ if reply.status == StatusCode::ACCEPTED && envelope.is_object() => {}
        _ => return Err(RemoteErrorKind::Malformed("no `status` that the contract knows".into())),
    }
    let message = message.to_owned();
    let data = envelope.get_mut("data").map(Value::take).unwrap_or_default();
    let listed = rows(&envelope, "errors").iter().chain(rows(&data, "errors"));
    let errors = listed.map(|entry| item_error(entry, clean)).collect();
    Ok(Accepted { message, data, errors })
}

fn rows<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn id(row: &Value) -> Option<SourceId> {
    ["source_id", "id"].iter().find_map(|key| SourceId::from_json(row.get(key)?))
}

/// A row's name; a row that is but a text is the name itself.
fn name(row: &Value) -> Option<String> {
    row.as_str().or_else(|| row.get("name")?.as_str()).map(str::to_owned)
}

/// A row among the results that tells of a failure.
fn failure(row: &Value, clean: &dyn Fn(&str) -> String) -> Option<ItemError> {
    let failed = matches!(row.get("status").and_then(Value::as_str), Some("error" | "failed" | "conflict"));
    let says_why = row.get("error").is_some_and(|error| !matches!(error, Value::Null | Value::Bool(false)));
    (failed || says_why).then(|| item_error(row, clean))
}

fn item_error(entry: &Value, clean: &dyn Fn(&str) -> String) -> ItemError {
    if let Some(text) = entry.as_str() {
        return ItemError { id: None, name: None, message: clean(text) };
    }
    let message = ["message", "error", "detail"].iter().find_map(|key| entry.get(key)?.as_str());
    let name = ["name", "source", "source_name"].iter().find_map(|key| entry.get(key)?.as_str());
    ItemError {
        id: id(entry),
        name: name.map(str::to_owned),
        message: clean(message.unwrap_or("the platform gave no reason")),
    }
}
