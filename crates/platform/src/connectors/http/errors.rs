//! Errors that an API reports in a response of status 200.

use serde_json::{Map, Value};
use wellspring_sensitive::Words;

use super::names::{
    CODES, ERRORS, FAILURE_FLAGS, FAILURES, MESSAGE_FIELDS, OUTCOMES, REQUIRED_MESSAGE_FIELDS,
    RESULT_CONTAINERS, STATUSES, SUCCESS_FLAGS, SUCCESSES, normalize,
};
use super::reasons::joined_reasons;
use super::values::{integer, is_no, is_yes};

/// Words that turn a message next to an empty list into an error.
const ERROR_WORDS: [&str; 18] = [
    "limit",
    "invalid",
    "denied",
    "expired",
    "unauthor",
    "forbidden",
    "exceed",
    "fail",
    "error",
    "not allowed",
    "unavailable",
    "maintenance",
    "try again",
    "too many",
    "quota",
    "not valid",
    "permission",
    "timed out",
];

/// Returns true if a field of this name contains errors.
pub(super) fn is_error(name: &str) -> bool {
    ERRORS.contains(&normalize(name))
}

/// Returns true if a field of this name describes the result of a call.
pub(super) fn is_remark(name: &str) -> bool {
    let name = normalize(name);
    let lists = [MESSAGE_FIELDS, ERRORS, SUCCESS_FLAGS, FAILURE_FLAGS, STATUSES];
    name != "data" && lists.iter().any(|list| list.contains(&name))
}

/// Returns the message of an error reported next to the records.
pub(super) fn error_in(beside: &Map<String, Value>) -> Option<String> {
    let bad = beside.iter().any(|(name, value)| {
        let name = normalize(name);
        let name = name.as_str();
        (ERRORS.contains(name) && means_error(value))
            || (SUCCESS_FLAGS.contains(name) && is_no(value))
            || (FAILURE_FLAGS.contains(name) && is_yes(value))
            || (OUTCOMES.contains(name)
                && value.as_str().is_some_and(|word| FAILURES.contains(&normalize(word))))
            || (STATUSES.contains(name) && integer(value).is_some_and(|code| (400..600).contains(&code)))
            || (OUTCOMES.contains(name) && *value == Value::Bool(false))
    });
    if bad {
        return Some(joined_reasons(beside));
    }
    beside.iter().find_map(|(name, value)| {
        let name = normalize(name);
        if !RESULT_CONTAINERS.contains(&name) {
            return None;
        }
        let fields = value.as_object()?;
        if name == "shards" {
            let failed = fields.get("failed").and_then(integer).is_some_and(|failed| failed > 0);
            return if failed { Some("some shards of the search failed".to_owned()) } else { None };
        }
        error_in(fields)
    })
}

/// Returns the message of an error in an object without records.
pub(super) fn error_of(answer: &Map<String, Value>) -> Option<String> {
    if answer.is_empty() {
        return Some("an empty object, without a reason".to_owned());
    }
    let names: Vec<String> = answer.keys().map(|name| normalize(name)).collect();
    let remark = names.iter().all(|name| MESSAGE_FIELDS.contains(name))
        && names.iter().any(|name| REQUIRED_MESSAGE_FIELDS.contains(name));
    let strict =
        |name: &str| ERRORS.contains(name) || SUCCESS_FLAGS.contains(name) || FAILURE_FLAGS.contains(name);
    let telling =
        || answer.iter().filter(|(name, _)| strict(&normalize(name))).map(|(a, b)| (a.clone(), b.clone()));
    if remark {
        Some(joined_reasons(answer))
    } else {
        error_in(&telling().collect()).map(|_| joined_reasons(answer))
    }
}

/// Returns the message of a record that has nothing but an error.
pub(super) fn error_record(record: &Map<String, Value>) -> Option<String> {
    let only = record.keys().all(|name| is_error(name) || is_remark(name));
    let bad = record.iter().any(|(name, value)| is_error(name) && means_error(value));
    if only && bad { Some(joined_reasons(record)) } else { None }
}

/// Returns the reason to distrust an empty list, if any.
pub(super) fn incomplete_reason(beside: &Map<String, Value>) -> Option<String> {
    let get = |names: Words| -> Vec<&Value> {
        let named = beside.iter().filter(|(name, _)| names.contains(&normalize(name)));
        named.map(|(_, value)| value).collect()
    };
    let message = get(Words("message msg detail info reason description"));
    let message = message.iter().find_map(|value| value.as_str()).unwrap_or_default().to_ascii_lowercase();
    if get(SUCCESS_FLAGS).into_iter().any(is_yes) || is_success(&message) && !message.is_empty() {
        return None;
    }
    let odd_word = get(Words("status result")).into_iter().filter_map(Value::as_str).any(|word| {
        let plain = normalize(word);
        !is_success(&plain) && plain.parse::<u64>().is_err() && plain != "active"
    });
    let good = |code: i64| code == 0 || (200..300).contains(&code) || code % 10_000 == 0;
    let odd_code = get(STATUSES).into_iter().filter_map(integer).any(|code| !good(code));
    let troubled = ERROR_WORDS.iter().any(|word| message.contains(word));
    if odd_word || odd_code || troubled { Some(joined_reasons(beside)) } else { None }
}

fn is_success(word: &str) -> bool {
    let word = normalize(word);
    word.is_empty() || SUCCESSES.contains(&word)
}

fn means_error(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => {
            number.as_f64() != Some(0.0) && !(200..300).contains(&number.as_i64().unwrap_or(0))
        }
        Value::String(text) => {
            let word = normalize(text);
            let none = matches!(word.as_str(), "0" | "00000" | "false" | "null" | "no" | "200");
            !(none || is_success(&word))
        }
        Value::Array(items) => items.iter().any(means_error),
        Value::Object(fields) => {
            let code = fields.iter().find(|(name, _)| CODES.contains(&normalize(name)));
            match code {
                Some((_, code)) if !code.is_null() => means_error(code),
                _ => fields.values().any(means_error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{error_in, error_of, incomplete_reason};

    fn fields(value: &Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    #[test]
    fn an_error_beside_records_is_seen_in_every_common_form() {
        for (answer, words) in [
            (
                json!({"success": false, "error": {"code": 101, "info": "the key is not valid"}}),
                "the key is not valid (101)",
            ),
            (
                json!({"errors": [{"message": "no field x"}, {"message": "no field y"}]}),
                "no field x: no field y",
            ),
            (json!({"status": "error", "message": "expired"}), "expired"),
            (json!({"status": "REQUEST_DENIED", "error_message": "no key"}), "no key"),
            (json!({"ok": false, "error": "invalid_auth"}), "invalid_auth"),
            (
                json!({"fault": {"faultstring": "Invalid ApiKey", "detail": {"errorcode": "keys.Invalid"}}}),
                "keys.Invalid: Invalid ApiKey",
            ),
            (
                json!({"type": "about:blank", "title": "Forbidden", "status": 403, "detail": "not yours"}),
                "Forbidden: not yours (403)",
            ),
            (json!({"meta": {"code": 400, "errorType": "param_error", "errorDetail": "x"}}), "x (400)"),
            (
                json!({"status": {"error_code": 1001, "error_message": "This API Key is invalid."}}),
                "This API Key is invalid. (1001)",
            ),
            (json!({"errcode": 40001, "errmsg": "invalid credential"}), "invalid credential (40001)"),
            (
                json!({"error": "invalid_token", "error_description": "it expired"}),
                "invalid_token: it expired",
            ),
            (json!({"code": 500, "msg": "internal"}), "internal (500)"),
            (json!({"isSuccess": "false"}), "without a reason"),
            (json!({"timed_out": true}), "without a reason"),
            (json!({"_shards": {"total": 5, "failed": 1}}), "some shards of the search failed"),
            (json!({"errors": {"since": ["is no date"]}}), "since is no date"),
            (json!({"result": "fail", "reason": "busy"}), "busy"),
        ] {
            assert_eq!(error_in(&fields(&answer)).as_deref(), Some(words), "{answer}");
        }
    }

    #[test]
    fn no_error_is_seen_where_none_is_reported() {
        for answer in [
            json!({"success": true, "errors": [], "error": null}),
            json!({"status": "ok", "message": "OK", "code": 200}),
            json!({"errcode": 0, "errmsg": "ok"}),
            json!({"error": {"code": "ok", "message": ""}}),
            json!({"errors": false, "status": 200}),
            json!({"error": "", "meta": {"code": 200}}),
            json!({"_shards": {"total": 5, "failed": 0}, "timed_out": false}),
            json!({"code": 0, "msg": "success", "warnings": ["old version"]}),
        ] {
            assert_eq!(error_in(&fields(&answer)), None, "{answer}");
            assert_eq!(incomplete_reason(&fields(&answer)), None, "{answer}");
        }
    }

    #[test]
    fn an_object_that_only_speaks_is_no_record() {
        for answer in [
            json!({}),
            json!({"message": "API rate limit exceeded", "documentation_url": "https://h"}),
            json!({"detail": "Not authenticated"}),
            json!({"error": "x", "anything": 1}),
            json!({"code": "rest_forbidden", "message": "no", "data": {"status": 401}}),
        ] {
            assert!(error_of(&fields(&answer)).is_some(), "{answer}");
        }
        for answer in [
            json!({"id": 1, "message": "hello"}),
            json!({"id": 1, "status": "failed", "code": 450}),
            json!({"temperature": 3.5}),
        ] {
            assert_eq!(error_of(&fields(&answer)), None, "{answer}");
        }
    }

    #[test]
    fn an_empty_list_beside_trouble_is_doubted() {
        for answer in [
            json!({"code": 40001, "msg": "token"}),
            json!({"status": "OVER_LIMIT"}),
            json!({"message": "Rate limit exceeded"}),
        ] {
            assert!(incomplete_reason(&fields(&answer)).is_some(), "{answer}");
        }
        assert_eq!(incomplete_reason(&fields(&json!({"message": "No orders found", "total": 0}))), None);
    }
}
