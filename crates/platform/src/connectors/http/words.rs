//! Error messages of APIs, made safe to show.

use serde_json::{Map, Value};

/// Maximum length of a message in characters.
const MAX_REASON_LEN: usize = 300;
/// Maximum number of reasons shown of a response.
const MAX_REASONS: usize = 3;

/// Fields with a reason, the most specific first.
const REASONS: [&str; 24] = [
    "message",
    "msg",
    "errormessage",
    "errormsg",
    "errmsg",
    "error",
    "errordescription",
    "errordetail",
    "errordetails",
    "errors",
    "errormessages",
    "title",
    "detail",
    "details",
    "description",
    "reason",
    "info",
    "faultstring",
    "fault",
    "exception",
    "exceptionmessage",
    "cause",
    "text",
    "err",
];
/// Fields with a reason, used if the others have none.
const LAST_REASONS: [&str; 3] = ["status", "meta", "result"];
/// Fields with the number or name of an error.
const CODES: [&str; 11] = [
    "code",
    "errorcode",
    "errcode",
    "errno",
    "statuscode",
    "status",
    "faultcode",
    "type",
    "errortype",
    "key",
    "ret",
];
/// Fields that indicate an error unless they are empty.
const ERRORS: [&str; 19] = [
    "error",
    "errors",
    "err",
    "fault",
    "faults",
    "exception",
    "exceptions",
    "errormessage",
    "errormessages",
    "errormsg",
    "errmsg",
    "errordescription",
    "errorcode",
    "errcode",
    "errno",
    "errortype",
    "faultstring",
    "faultcode",
    "odataerror",
];
/// Fields in which `false` indicates failure.
const SUCCESS_FLAGS: [&str; 8] =
    ["success", "ok", "succeeded", "successful", "issuccess", "issuccessful", "isok", "wassuccessful"];
/// Fields in which `true` indicates failure or incomplete results.
const FAILURE_FLAGS: [&str; 8] =
    ["iserror", "haserror", "haserrors", "failed", "isfailed", "isfault", "timedout", "errored"];
/// Fields with the result of a call as a word or number.
const OUTCOMES: [&str; 5] = ["status", "result", "outcome", "responsestatus", "state"];
/// Fields with an HTTP status or a code of the API.
const STATUSES: [&str; 10] = [
    "code",
    "status",
    "statuscode",
    "httpcode",
    "httpstatus",
    "httpstatuscode",
    "responsecode",
    "resultcode",
    "retcode",
    "returncode",
];
/// Objects next to the records that describe the result of the call.
const CONTAINERS: [&str; 10] = [
    "status",
    "meta",
    "metadata",
    "responsestatus",
    "header",
    "head",
    "result",
    "response",
    "responseheader",
    "shards",
];
const FAILURES: [&str; 18] = [
    "error",
    "errors",
    "err",
    "fail",
    "failed",
    "failure",
    "fault",
    "ko",
    "nok",
    "notok",
    "exception",
    "denied",
    "requestdenied",
    "unauthorized",
    "forbidden",
    "invalid",
    "invalidrequest",
    "overquerylimit",
];
const SUCCESSES: [&str; 14] = [
    "",
    "ok",
    "okay",
    "success",
    "succeeded",
    "successful",
    "successfully",
    "complete",
    "completed",
    "done",
    "true",
    "none",
    "zeroresults",
    "noerror",
];
/// Fields of responses that contain a message but no data.
const MESSAGE_FIELDS: [&str; 38] = [
    "message",
    "msg",
    "detail",
    "details",
    "title",
    "description",
    "reason",
    "info",
    "hint",
    "help",
    "status",
    "code",
    "statuscode",
    "httpstatus",
    "type",
    "kind",
    "instance",
    "path",
    "method",
    "timestamp",
    "time",
    "requestid",
    "traceid",
    "correlationid",
    "documentationurl",
    "documentation",
    "docs",
    "moreinfo",
    "link",
    "links",
    "success",
    "ok",
    "result",
    "reasoncode",
    "retryafter",
    "version",
    "data",
    "exceptionmessage",
];
/// The remarks that contain the actual message.
const REQUIRED_MESSAGE_FIELDS: [&str; 10] = [
    "message",
    "msg",
    "detail",
    "details",
    "title",
    "description",
    "reason",
    "info",
    "exceptionmessage",
    "code",
];
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
    ERRORS.contains(&key(name).as_str())
}

/// Returns true if a field of this name describes the result of a call.
pub(super) fn is_remark(name: &str) -> bool {
    let name = key(name);
    let name = name.as_str();
    let lists = [&MESSAGE_FIELDS[..], &ERRORS, &SUCCESS_FLAGS, &FAILURE_FLAGS, &STATUSES];
    name != "data" && lists.iter().any(|list| list.contains(&name))
}

/// Normalises a name to its letters and digits in lower case.
///
/// Makes `error_code`, `errorCode` and `@error.code` equal.
pub(super) fn key(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|letter| letter.to_ascii_lowercase()).collect()
}

/// Returns the message of an error reported next to the records.
pub(super) fn error_in(beside: &Map<String, Value>) -> Option<String> {
    let bad = beside.iter().any(|(name, value)| {
        let name = key(name);
        let name = name.as_str();
        (ERRORS.contains(&name) && means_error(value))
            || (SUCCESS_FLAGS.contains(&name) && is_no(value))
            || (FAILURE_FLAGS.contains(&name) && is_yes(value))
            || (OUTCOMES.contains(&name)
                && value.as_str().is_some_and(|word| FAILURES.contains(&key(word).as_str())))
            || (STATUSES.contains(&name) && number(value).is_some_and(|code| (400..600).contains(&code)))
            || (OUTCOMES.contains(&name) && *value == Value::Bool(false))
    });
    if bad {
        return Some(joined_reasons(beside));
    }
    beside.iter().find_map(|(name, value)| {
        let name = key(name);
        let fields = value.as_object().filter(|_| CONTAINERS.contains(&name.as_str()))?;
        if name == "shards" {
            let failed = fields.get("failed").and_then(number).is_some_and(|failed| failed > 0);
            return failed.then(|| "some shards of the search failed".to_owned());
        }
        error_in(fields)
    })
}

/// Returns the message of an error in an object without records.
pub(super) fn error_of(answer: &Map<String, Value>) -> Option<String> {
    if answer.is_empty() {
        return Some("an empty object, without a reason".to_owned());
    }
    let names: Vec<String> = answer.keys().map(|name| key(name)).collect();
    let remark = names.iter().all(|name| MESSAGE_FIELDS.contains(&name.as_str()))
        && names.iter().any(|name| REQUIRED_MESSAGE_FIELDS.contains(&name.as_str()));
    let strict =
        |name: &str| ERRORS.contains(&name) || SUCCESS_FLAGS.contains(&name) || FAILURE_FLAGS.contains(&name);
    let telling =
        || answer.iter().filter(|(name, _)| strict(&key(name))).map(|(a, b)| (a.clone(), b.clone()));
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
    (only && bad).then(|| joined_reasons(record))
}

/// Returns the reason to distrust an empty list, if any.
pub(super) fn incomplete_reason(beside: &Map<String, Value>) -> Option<String> {
    let get = |names: &[&str]| -> Vec<&Value> {
        let named = beside.iter().filter(|(name, _)| names.contains(&key(name).as_str()));
        named.map(|(_, value)| value).collect()
    };
    let message = get(&["message", "msg", "detail", "info", "reason", "description"]);
    let message = message.iter().find_map(|value| value.as_str()).unwrap_or_default().to_ascii_lowercase();
    if get(&SUCCESS_FLAGS).into_iter().any(is_yes)
        || SUCCESSES.contains(&key(&message).as_str()) && !message.is_empty()
    {
        return None;
    }
    let odd_word = get(&["status", "result"]).into_iter().filter_map(Value::as_str).any(|word| {
        let plain = key(word);
        !SUCCESSES.contains(&plain.as_str()) && plain.parse::<u64>().is_err() && plain != "active"
    });
    let good = |code: i64| code == 0 || (200..300).contains(&code) || code % 10_000 == 0;
    let odd_code = get(&STATUSES).into_iter().filter_map(number).any(|code| !good(code));
    let troubled = ERROR_WORDS.iter().any(|word| message.contains(word));
    (odd_word || odd_code || troubled).then(|| joined_reasons(beside))
}

/// Returns the message in an error body of any form; empty without one.
pub(super) fn of_body(body: &[u8]) -> String {
    match serde_json::from_slice(body) {
        Ok(Value::Object(fields)) => {
            let words = reasons(&Value::Object(fields));
            words.unwrap_or_default()
        }
        Ok(value) => reasons(&value).unwrap_or_default(),
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            let text = text.trim();
            // An HTML page contains no useful message.
            if text.starts_with('<') || text.lines().count() > 3 { String::new() } else { plain(text) }
        }
    }
}

fn joined_reasons(fields: &Map<String, Value>) -> String {
    reasons(&Value::Object(fields.clone())).unwrap_or_else(|| "without a reason".to_owned())
}

fn reasons(value: &Value) -> Option<String> {
    let mut found = Vec::new();
    collect(value, 0, &mut found);
    found.dedup();
    found.truncate(MAX_REASONS);
    let text = found.join(": ");
    (!text.is_empty()).then(|| plain(&text))
}

fn collect(value: &Value, depth: u8, found: &mut Vec<String>) {
    if depth > 4 || found.len() >= MAX_REASONS {
        return;
    }
    match value {
        Value::String(text) if !text.trim().is_empty() => found.push(text.trim().to_owned()),
        Value::Array(items) => {
            items.iter().take(MAX_REASONS).for_each(|item| collect(item, depth + 1, found));
        }
        Value::Object(fields) => {
            let before = found.len();
            for names in [&REASONS[..], &LAST_REASONS] {
                if found.len() > before {
                    break;
                }
                for name in names {
                    let named = fields.iter().filter(|(field, _)| key(field) == *name);
                    named.for_each(|(_, value)| collect(value, depth + 1, found));
                }
            }
            code(fields, before, found);
            // Errors keyed by field: {"errors": {"since": ["is no date"]}}.
            if depth > 0 && found.len() == before {
                for (name, value) in fields.iter().take(MAX_REASONS) {
                    let start = found.len();
                    collect(value, depth + 1, found);
                    if let Some(text) = found.get_mut(start) {
                        *text = format!("{name} {text}");
                    }
                }
            }
        }
        _ => {}
    }
}

/// Adds the error code to the last reason found since `before`.
fn code(fields: &Map<String, Value>, before: usize, found: &mut Vec<String>) {
    let code = CODES.iter().find_map(|name| {
        let value = fields.iter().find(|(field, _)| key(field) == *name)?.1;
        match value {
            Value::Number(code) if code.as_i64() != Some(0) => Some(code.to_string()),
            Value::String(code) if *name != "status" && !code.is_empty() && !code.contains(':') => {
                Some(code.clone())
            }
            _ => None,
        }
    });
    let Some(code) = code.filter(|code| !found.iter().any(|text| text.contains(code))) else { return };
    if found.len() == before {
        found.push(code);
    } else if let Some(last) = found.last_mut() {
        last.push_str(&format!(" ({code})"));
    }
}

fn means_error(value: &Value) -> bool {
    match value {
        Value::Null | Value::Bool(false) => false,
        Value::Bool(true) => true,
        Value::Number(number) => {
            number.as_f64() != Some(0.0) && !(200..300).contains(&number.as_i64().unwrap_or(0))
        }
        Value::String(text) => {
            let word = key(text);
            let none = matches!(word.as_str(), "0" | "00000" | "false" | "null" | "no" | "200");
            !(none || text.trim().is_empty() || SUCCESSES.contains(&word.as_str()))
        }
        Value::Array(items) => items.iter().any(means_error),
        Value::Object(fields) => {
            let code = fields.iter().find(|(name, _)| CODES.contains(&key(name).as_str()));
            match code {
                Some((_, code)) if !code.is_null() => means_error(code),
                _ => fields.values().any(means_error),
            }
        }
    }
}

fn is_no(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => !flag,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => {
            matches!(key(text).as_str(), "false" | "no" | "0" | "n") || FAILURES.contains(&key(text).as_str())
        }
        _ => false,
    }
}

fn is_yes(value: &Value) -> bool {
    match value {
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_i64() == Some(1),
        Value::String(text) => matches!(key(text).as_str(), "true" | "yes" | "1" | "ok" | "success"),
        _ => false,
    }
}

/// Returns an integer, also if written as text.
pub(super) fn number(value: &Value) -> Option<i64> {
    match value {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Formats text on one line with limited length and no control characters.
pub(super) fn plain(text: &str) -> String {
    let steers = |letter: char| matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}');
    let shown = |letter: char| if letter.is_control() || steers(letter) { ' ' } else { letter };
    let text = text.trim();
    let mut out: String = text.chars().take(MAX_REASON_LEN).map(shown).collect();
    if text.chars().nth(MAX_REASON_LEN).is_some() {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::{Map, Value, json};

    use super::{error_in, error_of, incomplete_reason, of_body};

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

    #[test]
    fn the_words_of_a_refusal_are_found() {
        assert_eq!(of_body(br#"{"error":{"message":"slow down","type":"rate"}}"#), "slow down (rate)");
        assert_eq!(of_body(b"not now"), "not now");
        assert_eq!(of_body(b"<html>x</html>"), "");
        assert_eq!(of_body(b"{\"message\":\"a\\u001b[31m\"}"), "a [31m");
    }
}
