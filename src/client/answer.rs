//! Parses the responses of all endpoints but `list`.

use super::TestVerdict;
use super::error::RemoteErrorKind;
use super::reasons::{self, failure};
use super::transport::RawResponse;
use super::{
    CleanupAnswer, ConnectAnswer, ConnectedRow, ItemError, Schema, SchemaColumn, SchemaTable, SyncAnswer,
    SyncedRow,
};
use crate::model::SourceId;
use reqwest::StatusCode;
use serde::de::IgnoredAny;
use serde_json::Value;
use std::borrow::Cow;

/// An envelope that reports success, or failures of specific sources.
pub(super) struct AcceptedEnvelope {
    /// Raw message that must be cleaned before it is shown.
    message: String,
    pub(super) data: Value,
    errors: Vec<ItemError>,
    /// Reason for the sources that the response does not mention.
    unattributed_failure: Option<String>,
}

/// Returns true if the body is a successful list, whatever its rows contain.
pub(super) fn is_list(body: &[u8]) -> bool {
    #[derive(serde::Deserialize)]
    struct Envelope<'a> {
        #[serde(borrow)]
        status: Cow<'a, str>,
        #[expect(dead_code, reason = "only its form matters")]
        data: Vec<IgnoredAny>,
    }
    serde_json::from_slice::<Envelope<'_>>(body).is_ok_and(|envelope| envelope.status == "success")
}

pub(super) fn connect(
    reply: &RawResponse,
    clean: &dyn Fn(&str) -> String,
) -> Result<ConnectAnswer, RemoteErrorKind> {
    let AcceptedEnvelope { data, errors, unattributed_failure: rest, .. } = accepted(reply, clean)?;
    let mut connected = Vec::new();
    for row in rows(&data, "connected_sources") {
        if failure(row, clean).is_none() {
            connected.push(ConnectedRow { id: id(row), name: name(row) });
        }
    }
    Ok(ConnectAnswer { connected, errors, rest })
}

pub(super) fn cleanup(
    reply: &RawResponse,
    clean: &dyn Fn(&str) -> String,
) -> Result<CleanupAnswer, RemoteErrorKind> {
    let AcceptedEnvelope { data, errors, unattributed_failure: rest, .. } = accepted(reply, clean)?;
    Ok(CleanupAnswer { deleted: data.get("deleted_count").and_then(Value::as_u64), errors, rest })
}

pub(super) fn sync(
    reply: &RawResponse,
    clean: &dyn Fn(&str) -> String,
) -> Result<SyncAnswer, RemoteErrorKind> {
    let AcceptedEnvelope { data, errors, unattributed_failure: rest, .. } = accepted(reply, clean)?;
    let records = |value: &Value| value.get("records_processed").and_then(Value::as_u64);
    let mut sources = Vec::new();
    for list in ["sources", "results", "synced_sources"] {
        for row in rows(&data, list) {
            if failure(row, clean).is_none() {
                let message = row.get("message").and_then(Value::as_str).filter(|text| !text.is_empty());
                let message = message.map(clean);
                sources.push(SyncedRow { id: id(row), name: name(row), records: records(row), message });
            }
        }
    }
    Ok(SyncAnswer { records: records(&data), errors, sources, rest })
}

pub(super) fn schema(reply: &RawResponse, clean: &dyn Fn(&str) -> String) -> Result<Schema, RemoteErrorKind> {
    let AcceptedEnvelope { data, unattributed_failure: rest, .. } = accepted(reply, clean)?;
    if let Some(message) = rest {
        return Err(RemoteErrorKind::Refused { status: reply.status.as_u16(), message });
    }
    let odd =
        || RemoteErrorKind::Malformed("`data.tables` is not a list of tables that each have a name".into());
    let named = |value: &Value| value.get("name").and_then(Value::as_str).map(str::to_owned);
    let tables = data.get("tables").and_then(Value::as_array).ok_or_else(odd)?;
    let table = |table: &Value| {
        let columns = rows(table, "columns").iter().map(|column| {
            let kind = column.get("type").and_then(Value::as_str).unwrap_or_default();
            Some(SchemaColumn { name: named(column)?, kind: kind.to_owned() })
        });
        Some(SchemaTable { name: named(table)?, columns: columns.collect::<Option<_>>()? })
    };
    Ok(Schema { tables: tables.iter().map(table).collect::<Option<_>>().ok_or_else(odd)? })
}

/// Returns the test result of a 2xx response, based on its `status` alone.
pub(super) fn verdict(
    reply: &RawResponse,
    clean: &dyn Fn(&str) -> String,
) -> Result<TestVerdict, RemoteErrorKind> {
    match accepted(reply, clean) {
        Ok(AcceptedEnvelope { unattributed_failure: Some(message), .. }) => Ok(TestVerdict::Failed(message)),
        Ok(AcceptedEnvelope { message, errors, .. }) => match errors.into_iter().next() {
            None => Ok(TestVerdict::Passed(clean(&message))),
            Some(error) => Ok(TestVerdict::Failed(error.message)),
        },
        Err(RemoteErrorKind::Refused { message, .. } | RemoteErrorKind::Conflict(message)) => {
            Ok(TestVerdict::Failed(message))
        }
        Err(other) => Err(other),
    }
}

/// Parses the envelope.
///
/// 202 and 204 may have an empty body: the request was accepted.
pub(super) fn accepted(
    reply: &RawResponse,
    clean: &dyn Fn(&str) -> String,
) -> Result<AcceptedEnvelope, RemoteErrorKind> {
    let taken_on = matches!(reply.status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT);
    if taken_on && reply.body.trim_ascii().is_empty() {
        return Ok(AcceptedEnvelope {
            message: String::new(),
            data: Value::Null,
            errors: Vec::new(),
            unattributed_failure: None,
        });
    }
    // serde's error message may quote the content, which may be a secret.
    let mut envelope: Value = serde_json::from_slice(&reply.body).map_err(|error| {
        RemoteErrorKind::Malformed(format!("not JSON (line {}, column {})", error.line(), error.column()))
    })?;
    let errors = reasons::failures(&envelope, clean);
    let named = errors.iter().any(|error| error.id.is_some() || error.name.is_some());
    let message = || clean(&reasons::message(&envelope));
    let rest = match envelope.get("status").and_then(Value::as_str).unwrap_or_default() {
        // An error without a source may concern any of them.
        "success" => (!named && !errors.is_empty()).then(message),
        "error" | "failed" | "failure" | "conflict" | "partial" | "partial_success" if named => {
            Some(message())
        }
        "error" | "failed" | "failure" | "partial" | "partial_success" => {
            return Err(RemoteErrorKind::Refused { status: reply.status.as_u16(), message: message() });
        }
        "conflict" => return Err(RemoteErrorKind::Conflict(message())),
        // 202 with `accepted`, `pending`, `running` or the like: the work has begun.
        _ if reply.status == StatusCode::ACCEPTED && envelope.is_object() => None,
        _ => return Err(RemoteErrorKind::Malformed("no known `status`".into())),
    };
    let message = envelope.get("message").and_then(Value::as_str).unwrap_or_default().to_owned();
    let data = envelope.get_mut("data").map(Value::take).unwrap_or_default();
    Ok(AcceptedEnvelope { message, data, errors, unattributed_failure: rest })
}

fn rows<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn id(row: &Value) -> Option<SourceId> {
    ["source_id", "id"].iter().find_map(|key| SourceId::from_json(row.get(key)?))
}

/// Returns a row's name; a row may be the name itself.
fn name(row: &Value) -> Option<String> {
    row.as_str().or_else(|| row.get("name")?.as_str()).map(str::to_owned)
}
