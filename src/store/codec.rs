//! Encoding of values in the database: JSON as text, instants as nanoseconds.

use super::error::DbError;
use super::{StoreError, db};
use crate::model::compress;
use crate::model::{
    ConfigValue, Definition, ManagedSource, Scope, SentConnect, SourceId, WorkspaceId, WorkspaceRef,
};
use jiff::Timestamp;
use rusqlite::types::Value as Stored;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Borrow as _;

/// Encodes `value` as JSON and verifies that it decodes to the same value.
///
/// `what` names the value in the error.
pub(super) fn encode<T>(value: &T, what: &dyn std::fmt::Display) -> Result<String, StoreError>
where
    T: Serialize + ToOwned<Owned: DeserializeOwned> + PartialEq + JsonSafe + ?Sized,
{
    let reads_back = |text: &String| {
        let back = |text| serde_json::from_str::<T::Owned>(text);
        value.is_plain() || back(text).is_ok_and(|back| back.borrow() == value)
    };
    let mut text = Vec::with_capacity(value.length());
    serde_json::to_writer(&mut text, value)
        .ok()
        .and_then(|()| String::from_utf8(text).ok())
        .filter(reads_back)
        .ok_or_else(|| StoreError::Unstorable { what: what.to_string() })
}

/// Values that may skip the round-trip check of [`encode`].
///
/// The round trip can fail only for values that JSON cannot represent and for values nested deeper
/// than the parser's limit.
pub(super) trait JsonSafe {
    /// Returns true if the value is known to survive a round trip.
    fn is_plain(&self) -> bool {
        true
    }

    /// Estimated length of the JSON in bytes.
    fn length(&self) -> usize {
        1024
    }
}

impl JsonSafe for SourceId {
    fn length(&self) -> usize {
        64
    }
}

impl JsonSafe for [WorkspaceRef] {}

impl JsonSafe for ManagedSource {
    fn is_plain(&self) -> bool {
        let of_sent =
            |sent: &SentConnect| sent.applied.as_ref().is_none_or(|applied| applied.definition.is_plain());
        self.applied.definition.is_plain() && self.sent.iter().all(of_sent)
    }
}

/// Nesting depth that every JSON parser accepts.
const LEVELS: usize = 30;

impl JsonSafe for Definition {
    fn is_plain(&self) -> bool {
        self.connection_config.values().all(|value| is_plain(value, LEVELS))
            && self.metadata.values().all(|value| is_shallow(value, LEVELS))
    }
}

fn is_plain(value: &ConfigValue, levels: usize) -> bool {
    match (value, levels) {
        (_, 0) => false,
        (ConfigValue::Float(number), _) => number.is_finite(),
        (ConfigValue::Array(items), _) => items.iter().all(|item| is_plain(item, levels - 1)),
        (ConfigValue::Table(entries), _) => entries.values().all(|value| is_plain(value, levels - 1)),
        _ => true,
    }
}

fn is_shallow(value: &Value, levels: usize) -> bool {
    match (value, levels) {
        (_, 0) => false,
        (Value::Array(items), _) => items.iter().all(|item| is_shallow(item, levels - 1)),
        // serde_json gives some keys that start with `$` a special meaning.
        (Value::Object(entries), _) => {
            entries.iter().all(|(key, value)| !key.starts_with('$') && is_shallow(value, levels - 1))
        }
        _ => true,
    }
}

/// Decodes JSON read from `table`; the error contains no stored content.
pub(super) fn decode<T: DeserializeOwned>(text: &str, table: &str) -> Result<T, DbError> {
    serde_json::from_str(text).map_err(|_| DbError::Undecodable(format!("a row of {table} cannot be read")))
}

/// Compresses `text` if it is longer than a database page.
///
/// Such texts are repetitive and compress well.
pub(super) fn compress(text: String) -> Stored {
    let is_large = text.len() > usize::from(db::PAGE_SIZE);
    match if is_large { compress::compress(text.as_bytes()) } else { None } {
        Some(small) => Stored::Blob(small.into_vec()),
        None => Stored::Text(text),
    }
}

/// Reverses [`compress`] for a value read from `table`.
pub(super) fn decompress(stored: Stored, table: &str) -> Result<String, DbError> {
    let unreadable = || DbError::Undecodable(format!("a row of {table} cannot be read"));
    match stored {
        Stored::Text(text) => Ok(text),
        Stored::Blob(small) => {
            let text = compress::decompress(&small, 8 * small.len()).ok_or_else(unreadable)?;
            String::from_utf8(text).map_err(|_| unreadable())
        }
        _ => Err(unreadable()),
    }
}

/// Parses a name or id stored as plain text in `table`.
pub(super) fn name<T: TryFrom<String>>(text: String, table: &str) -> Result<T, DbError> {
    T::try_from(text).map_err(|_| DbError::Undecodable(format!("a row of {table} has no usable name")))
}

pub(super) fn workspace_ref(workspace: String, scope: String, table: &str) -> Result<WorkspaceRef, DbError> {
    Ok(WorkspaceRef {
        workspace: name::<WorkspaceId>(workspace, table)?,
        scope: name::<Scope>(scope, table)?,
    })
}

/// Nanoseconds since 1970, which sort like the instants.
///
/// Covers 1677 to 2262; instants outside are clamped to these bounds.
pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    let at = at.as_nanosecond();
    i64::try_from(at).unwrap_or(if at < 0 { i64::MIN } else { i64::MAX })
}

/// Reverses [`nanoseconds`].
pub(super) fn instant(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// Row limit for SQL; saturates, because SQLite treats a negative limit as none.
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
