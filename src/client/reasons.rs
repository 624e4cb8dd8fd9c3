//! Extracts the reasons of failures from a response.
//!
//! Platforms put them next to the message, in a list or map of failures, or in the rows of results.

use super::ItemError;
use crate::model::SourceId;
use serde_json::{Map, Value};
use wellspring_sensitive::Words;

/// Lists and maps in which every entry is a failure.
const FAILURES: Words =
    Words("errors error failed failures failed_sources rejected rejected_sources source_errors");
/// Lists and maps in which an entry may be a failure.
const RESULTS: Words = Words(
    "results sources connected_sources synced_sources deleted_sources cleaned_sources outcomes details items",
);
/// Fields with the reason, the most specific first.
const MESSAGES: Words =
    Words("message error error_message detail reason msg description title errors details cause exception");
/// Values of `status` that indicate a failed entry.
const FAILED: Words = Words(
    "error errored failed failure fail conflict rejected refused invalid denied unreachable timeout timed_out
    exception aborted cancelled partial",
);
/// Maximum number of reasons combined in one message.
const MAX_REASONS: usize = 5;

/// Returns the failures of single sources, found next to `data` and inside it.
pub(super) fn failures(envelope: &Value, clean: &dyn Fn(&str) -> String) -> Vec<ItemError> {
    let mut found = Vec::new();
    for holder in [Some(envelope), envelope.get("data"), envelope.get("detail"), envelope.get("error")] {
        let Some(Value::Object(fields)) = holder else { continue };
        for (names, sure) in [(FAILURES, true), (RESULTS, false)] {
            for (_, value) in fields.iter().filter(|(name, _)| names.contains(name)) {
                entries(value, sure, clean, &mut found);
            }
        }
    }
    if let Some(rows) = envelope.get("data").filter(|data| data.is_array()) {
        entries(rows, false, clean, &mut found);
    }
    found.dedup();
    found
}

/// Returns the message of an envelope with its reasons, not yet safe to show.
pub(super) fn message(envelope: &Value) -> String {
    let own = ["message", "detail", "error", "title", "msg", "reason", "error_description"]
        .iter()
        .find_map(|key| text(envelope.get(*key)?))
        .unwrap_or_default();
    let named = failures(envelope, &str::to_owned);
    let mut reasons: Vec<String> = Vec::new();
    for ItemError { id, name, message } in &named {
        let id = id.as_ref().map(ToString::to_string);
        let whose = if named.len() > 1 { name.as_deref().or(id.as_deref()) } else { None };
        let reason = whose.map_or_else(|| message.clone(), |whose| format!("{whose}: {message}"));
        if !own.contains(message.as_str()) && !reasons.contains(&reason) {
            reasons.push(reason);
        }
    }
    let more = reasons.len().saturating_sub(MAX_REASONS);
    reasons.truncate(MAX_REASONS);
    if more > 0 {
        reasons.push(format!("and {more} more"));
    }
    let reasons = reasons.join("; ");
    match (own.is_empty(), reasons.is_empty()) {
        (true, _) => reasons,
        (_, true) => own,
        _ => format!("{}: {reasons}", own.trim_end_matches(['.', ':', ' '])),
    }
}

/// Returns the failure described by a row of results.
pub(super) fn failure(row: &Value, clean: &dyn Fn(&str) -> String) -> Option<ItemError> {
    let status = row.get("status").or_else(|| row.get("state")).and_then(Value::as_str);
    let failed = status.is_some_and(|status| FAILED.contains(&status.to_ascii_lowercase()));
    let denied = ["success", "ok"].iter().any(|key| row.get(*key) == Some(&Value::Bool(false)));
    let says_why = ["error", "errors", "error_message"].iter().any(|key| !is_empty_value(row.get(*key)));
    if failed || denied || says_why { Some(item(row, None, clean)) } else { None }
}

fn entries(value: &Value, sure: bool, clean: &dyn Fn(&str) -> String, found: &mut Vec<ItemError>) {
    match value {
        Value::Array(rows) => {
            let failed = |row: &Value| if sure { Some(item(row, None, clean)) } else { failure(row, clean) };
            found.extend(rows.iter().filter(|row| !is_empty_value(Some(row))).filter_map(failed));
        }
        // A map by id or name, unless it is a single failure itself.
        Value::Object(fields) if !is_failure(fields) => {
            for (key, row) in fields.iter().filter(|(_, row)| !is_empty_value(Some(row))) {
                if sure || failure(row, clean).is_some() {
                    found.push(item(row, Some(key), clean));
                }
            }
        }
        _ => {}
    }
}

/// Returns true if an object with these fields is a failure, not a map of them.
fn is_failure(fields: &Map<String, Value>) -> bool {
    ["message", "code", "status", "detail", "reason", "type"].iter().any(|key| fields.contains_key(*key))
}

/// Parses one failure; `key` is its key in a map, the source's id or name.
fn item(entry: &Value, key: Option<&str>, clean: &dyn Fn(&str) -> String) -> ItemError {
    let own = |keys: &[&str]| keys.iter().find_map(|key| entry.get(*key));
    let nested =
        ["source", "data_source"].iter().find_map(|key| entry.get(*key).filter(|value| value.is_object()));
    let id = own(&["source_id", "id", "sourceId", "data_source_id"]).or_else(|| nested?.get("id"));
    let name = own(&["name", "source_name", "sourceName"])
        .or_else(|| nested.map_or_else(|| own(&["source", "data_source"]), |nested| nested.get("name")));
    let why = match entry {
        Value::Object(_) => MESSAGES.iter().find_map(|key| text(entry.get(key)?)),
        entry => text(entry),
    };
    ItemError {
        id: id.and_then(SourceId::from_json),
        name: name.and_then(Value::as_str).or(key).map(str::to_owned),
        message: clean(why.as_deref().unwrap_or("the platform gave no reason")),
    }
}

/// Returns the text of a value: a string, or the text of fields or list elements.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.clone()),
        Value::Array(items) => {
            let texts: Vec<String> = items.iter().filter_map(text).take(MAX_REASONS).collect();
            if texts.is_empty() { None } else { Some(texts.join("; ")) }
        }
        Value::Object(fields) => MESSAGES.iter().find_map(|key| text(fields.get(key)?)),
        _ => None,
    }
}

fn is_empty_value(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null | Value::Bool(false)) => true,
        Some(Value::String(text)) => text.is_empty(),
        Some(Value::Array(items)) => items.is_empty(),
        Some(Value::Object(fields)) => fields.is_empty(),
        Some(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(envelope: &Value) -> Vec<(Option<String>, Option<String>, String)> {
        let shown = |error: ItemError| (error.id.map(|id| id.to_string()), error.name, error.message);
        failures(envelope, &str::to_owned).into_iter().map(shown).collect()
    }

    #[test]
    fn the_reason_of_a_source_is_found_wherever_it_is() {
        let by_id = |why: &str| vec![(Some("s1".to_owned()), None, why.to_owned())];
        let by_name = |why: &str| vec![(None, Some("s1".to_owned()), why.to_owned())];
        for (envelope, expected) in [
            (json!({"data": {"errors": [{"id": "s1", "message": "no"}]}}), by_id("no")),
            (json!({"errors": [{"source_id": "s1", "error": "no"}]}), by_id("no")),
            (json!({"data": {"failed": [{"sourceId": "s1", "reason": "no"}]}}), by_id("no")),
            (json!({"data": {"failed_sources": [{"source": {"id": "s1"}, "detail": "no"}]}}), by_id("no")),
            (
                json!({"data": {"results": [{"id": "s1", "status": "FAILED", "error": {"message": "no"}}]}}),
                by_id("no"),
            ),
            (json!({"data": {"results": [{"id": "s1", "success": false, "msg": "no"}]}}), by_id("no")),
            (
                json!({"data": [{"id": "s1", "status": "error", "errors": ["no", "never"]}]}),
                by_id("no; never"),
            ),
            (
                json!({"results": {"s1": {"status": "failed", "message": "no"}, "s2": {"status": "ok"}}}),
                by_name("no"),
            ),
            (json!({"data": {"errors": {"s1": "no"}}}), by_name("no")),
            (json!({"errors": {"s1": ["no"]}}), by_name("no")),
            (json!({"data": {"failures": [{"name": "s1", "message": "no"}]}}), by_name("no")),
            (json!({"data": {"sources": [{"source": "s1", "error_message": "no"}]}}), by_name("no")),
            (json!({"error": {"code": 7, "message": "as a whole"}}), vec![]),
            (
                json!({"data": {"sources": [{"id": "s1", "status": "success", "error": null}]}, "errors": []}),
                vec![],
            ),
            (json!({"detail": {"errors": [{"id": "s1", "message": "no"}]}}), by_id("no")),
        ] {
            assert_eq!(of(&envelope), expected, "{envelope}");
        }
    }

    #[test]
    fn a_message_names_the_reasons_once() {
        for (envelope, expected) in [
            (
                json!({"message": "2 failed", "data": {"errors": [{"name": "a", "message": "x"}, {"name": "b", "message": "y"}]}}),
                "2 failed: a: x; b: y",
            ),
            (
                json!({"message": "none of them.", "data": {"errors": [{"name": "a", "message": "x"}]}}),
                "none of them: x",
            ),
            (json!({"message": "a: x", "errors": [{"name": "a", "message": "x"}]}), "a: x"),
            (json!({"error": {"code": 7, "message": "as a whole"}}), "as a whole"),
            (json!({"detail": [{"loc": ["body"], "msg": "field required"}]}), "field required"),
            (json!({"errors": ["disk full"]}), "disk full"),
            (json!({"title": "Bad", "status": 400}), "Bad"),
            (json!({}), ""),
        ] {
            assert_eq!(message(&envelope), expected, "{envelope}");
        }
        let many: Vec<_> = (0..9).map(|n| json!({"name": n.to_string(), "message": "x"})).collect();
        assert!(message(&json!({"errors": many})).ends_with("4: x; and 4 more"));
    }
}
