//! Second check of cleanup and sync, on the bytes to be sent.
//!
//! In the contract, a missing or empty `source_ids` means *all sources*.

use super::error::Endpoint;
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
    let ids = body.get("source_ids").and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
    let names_one = |id: &Value| match id {
        Value::String(text) => !text.is_empty(),
        Value::Number(number) => number.is_i64() || number.is_u64(),
        _ => false,
    };
    if ids.is_empty() || !ids.iter().all(names_one) {
        return Err("the request was held back: it does not name the sources, and would mean all of them");
    }
    if body.get("scope").and_then(Value::as_str).is_none_or(str::is_empty) {
        return Err("the request was held back: it names no scope");
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

    #[test]
    fn named_sources_pass() {
        let body = br#"{"scope":"user","source_ids":["a",7]}"#;
        assert_eq!(check(Endpoint::Cleanup, Some(body)), Ok(()));
        assert_eq!(check(Endpoint::Connect, Some(b"{}")), Ok(()));
        assert_eq!(check(Endpoint::List, None), Ok(()));
    }
}
