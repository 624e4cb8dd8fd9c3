//! How values stand in the database: JSON as text, instants as nanoseconds.

use super::StateError;
use super::error::Fault;
use crate::model::{Scope, Unit, WorkspaceId};
use jiff::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// `value` as JSON, after making sure that it reads back the same. `what` names it in the error.
pub(super) fn encode<T>(value: &T, what: &dyn std::fmt::Display) -> Result<String, StateError>
where
    T: Serialize + DeserializeOwned + PartialEq,
{
    serde_json::to_string(value)
        .ok()
        .filter(|text| serde_json::from_str::<T>(text).is_ok_and(|back| back == *value))
        .ok_or_else(|| StateError::Unstorable { what: what.to_string() })
}

/// The value stored as `text` in `table`. The error tells no content.
pub(super) fn decode<T: DeserializeOwned>(text: &str, table: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|_| Fault::Unreadable(format!("a row of {table} cannot be read")))
}

/// A name or id stored as plain text in `table`.
pub(super) fn name<T: TryFrom<String>>(text: String, table: &str) -> Result<T, Fault> {
    T::try_from(text).map_err(|_| Fault::Unreadable(format!("a row of {table} has no usable name")))
}

/// The unit of a row of `table`.
pub(super) fn unit(workspace: String, scope: String, table: &str) -> Result<Unit, Fault> {
    Ok(Unit { workspace: name::<WorkspaceId>(workspace, table)?, scope: name::<Scope>(scope, table)? })
}

/// Nanoseconds since 1970, which sort as the instants do. Good from 1677 to 2262; what lies beyond is
/// held at the ends.
pub(super) fn nanoseconds(at: Timestamp) -> i64 {
    let at = at.as_nanosecond();
    i64::try_from(at).unwrap_or(if at < 0 { i64::MIN } else { i64::MAX })
}

/// The instant of [`nanoseconds`].
pub(super) fn instant(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(i128::from(nanoseconds)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A number of rows to ask for; SQLite reads a negative one as "all".
pub(super) fn limit(rows: usize) -> i64 {
    i64::try_from(rows).unwrap_or(i64::MAX)
}
