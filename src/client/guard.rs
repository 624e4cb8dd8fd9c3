//! Second check of cleanup and sync, on the bytes to be sent.
//!
//! In the contract, a missing or empty `source_ids` means *all sources*.

use super::account::PATHS;
use super::error::Endpoint;
use reqwest::Request;
use serde_json::Value;

/// Rejects a cleanup or sync that does not name its sources or its scope.
///
/// Checks the bytes only, independent of the types that produced them.
pub(super) fn check(endpoint: Endpoint, body: Option<&[u8]>) -> Result<(), &'static str> {
    if !matches!(endpoint, Endpoint::Cleanup | Endpoint::Sync) {
        return Ok(());
    }
    let body: Value = body
        .and_then(|bytes| serde_json::from_slice(bytes).ok())
        .ok_or("the request was held back: its body is not JSON")?;
    check_ids(&body)?;
    if body.get("scope").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("the request was held back: it names no scope");
    }
    Ok(())
}

fn check_ids(body: &Value) -> Result<(), &'static str> {
    let ids = body.get("source_ids").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names_one = |id: &Value| match id {
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.is_i64() || number.is_u64(),
        _ => false,
    };
    if ids.is_empty() || !ids.iter().all(names_one) {
        return Err("the request was held back: it does not name the sources, and would mean all of them");
    }
    Ok(())
}

/// Rejects every request to an account but the four known ones, in the form that each must have.
///
/// Checks the URL and the bytes only, independent of the types that produced them.
pub(super) fn check_account(request: &Request, body: Option<&[u8]>) -> Result<(), &'static str> {
    let (before, endpoint) = request.url().path().rsplit_once('/').unwrap_or_default();
    let is_known = PATHS.iter().any(|(method, path)| request.method() == method && endpoint == *path);
    if !before.ends_with("/api/v1/data") || !is_known || request.url().query().is_some() {
        return Err("the request was held back: accounts have no such path");
    }
    let Some(body) = body else { return Ok(()) };
    let body: Value =
        serde_json::from_slice(body).map_err(|_| "the request was held back: its body is not JSON")?;
    let fields = body.as_object().ok_or("the request was held back: its body is no object")?;
    if endpoint == "cleanup" {
        if fields.len() != 1 {
            return Err("the request was held back: a cleanup of an account has nothing but ids");
        }
        return check_ids(&body);
    }
    let port = body.pointer("/database/port");
    if port.is_none_or(Value::is_null) || fields.contains_key("source_ids") {
        return Err("the request was held back: it has no database with a port");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_would_mean_all_sources_never_leaves() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"scope":"user"}"#,
            r#"{"scope":"user","source_ids":null}"#,
            r#"{"scope":"user","source_ids":[]}"#,
            r#"{"scope":"user","source_ids":{}}"#,
            r#"{"scope":"user","source_ids":"a"}"#,
            r#"{"scope":"user","source_ids":[""]}"#,
            r#"{"scope":"user","source_ids":["a",null]}"#,
            r#"{"scope":"user","source_ids":[1.5]}"#,
            r#"{"scope":"user","sourceIds":["a"]}"#,
            r#"{"scope":"","source_ids":["a"]}"#,
            r#"{"source_ids":["a"]}"#,
        ] {
            for endpoint in [Endpoint::Cleanup, Endpoint::Sync] {
                assert!(check(endpoint, Some(body.as_bytes())).is_err(), "{endpoint} {body}");
            }
        }
        assert!(check(Endpoint::Cleanup, None).is_err());
    }

    fn account(method: &str, path: &str, body: Option<&str>) -> Result<(), &'static str> {
        let url = format!("https://h/jarvispy/acme/ana{path}").parse().unwrap();
        check_account(&Request::new(method.parse().unwrap(), url), body.map(str::as_bytes))
    }

    #[test]
    fn an_account_receives_four_requests_and_no_other() {
        let cleanup = Some(r#"{"source_ids":["a"]}"#);
        let database = Some(r#"{"database":{"port":0}}"#);
        for (method, path, body) in [
            ("GET", "/api/v1/data/list", None),
            ("POST", "/api/v1/data/connect", database),
            ("POST", "/api/v1/data/infer-schema", database),
            ("POST", "/api/v1/data/cleanup", cleanup),
        ] {
            assert_eq!(account(method, path, body), Ok(()), "{path}");
        }
        for (method, path, body) in [
            ("POST", "/api/v1/data/list", None),
            ("GET", "/api/v1/data/cleanup", None),
            ("GET", "/api/v1/data/list?scope=user", None),
            ("POST", "/api/v1/data/sync", cleanup),
            ("POST", "/api/v1/data/files/list", None),
            ("POST", "/api/v1/data/ws/cleanup", cleanup),
            ("POST", "/cleanup", cleanup),
        ] {
            assert!(account(method, path, body).is_err(), "{method} {path}");
        }
    }

    #[test]
    fn a_cleanup_of_an_account_names_its_rows_and_nothing_else() {
        for body in [
            "",
            "null",
            "[]",
            "{}",
            r#"{"source_ids":null}"#,
            r#"{"source_ids":[]}"#,
            r#"{"source_ids":[null]}"#,
            r#"{"source_ids":[""]}"#,
            r#"{"source_ids":"a"}"#,
            r#"{"source_ids":["a"],"scope":"user"}"#,
            r#"{"database":{"port":0}}"#,
        ] {
            assert!(account("POST", "/api/v1/data/cleanup", Some(body)).is_err(), "{body}");
        }
        for body in [r#"{"database":{}}"#, r#"{"database":{"port":null}}"#, r#"{"source_ids":["a"]}"#, "{}"] {
            assert!(account("POST", "/api/v1/data/connect", Some(body)).is_err(), "{body}");
        }
    }

    #[test]
    fn named_sources_pass() {
        let body = br#"{"scope":"user","source_ids":["a",7]}"#;
        assert_eq!(check(Endpoint::Cleanup, Some(body)), Ok(()));
        assert_eq!(check(Endpoint::Connect, Some(b"{}")), Ok(()));
        assert_eq!(check(Endpoint::List, None), Ok(()));
    }
}
