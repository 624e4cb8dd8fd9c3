//! How values stand in the database: JSON as text, instants as nanoseconds.

use super::error::Fault;
use super::inventory::NewIntent;
use super::{StateError, store};
use crate::model::deflate;
use crate::model::{Declared, Definition, IntentKind, Owned, Scope, Sent, SourceId, Unit, WorkspaceId};
use jiff::Timestamp;
use rusqlite::types::Value as Stored;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::borrow::Borrow as _;

/// `value` as JSON, after making sure that it reads back the same. `what` names it in the error.
pub(super) fn encode<T>(value: &T, what: &dyn std::fmt::Display) -> Result<String, StateError>
where
    T: Serialize + ToOwned<Owned: DeserializeOwned> + PartialEq + Plain + ?Sized,
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
        .ok_or_else(|| StateError::Unstorable { what: what.to_string() })
}

/// What reads back as it was written, unless it holds what JSON has no word for, or is nested so deep that
/// a reader gives up.
pub(super) trait Plain {
    /// There is nothing of the kind in it. Where there may be, reading it back decides.
    fn is_plain(&self) -> bool {
        true
    }

    /// About how many bytes it takes.
    fn length(&self) -> usize {
        1024
    }
}

impl Plain for SourceId {
    fn length(&self) -> usize {
        64
    }
}

impl Plain for [Unit] {}

impl Plain for Owned {
    fn is_plain(&self) -> bool {
        let of_sent = |sent: &Sent| sent.applied.as_ref().is_none_or(|applied| applied.definition.is_plain());
        self.applied.definition.is_plain() && self.sent.iter().all(of_sent)
    }
}

impl Plain for [NewIntent] {
    fn is_plain(&self) -> bool {
        self.iter().all(|intent| match &intent.kind {
            IntentKind::Connect(applied) => applied.definition.is_plain(),
            IntentKind::Cleanup(_) => true,
        })
    }

    fn length(&self) -> usize {
        1024 * self.len()
    }
}

/// Levels that any reader takes.
const LEVELS: usize = 30;

impl Plain for Definition {
    fn is_plain(&self) -> bool {
        self.connection_config.values().all(|value| is_plain(value, LEVELS))
            && self.metadata.values().all(|value| is_shallow(value, LEVELS))
    }
}

fn is_plain(value: &Declared, levels: usize) -> bool {
    match (value, levels) {
        (_, 0) => false,
        (Declared::Float(number), _) => number.is_finite(),
        (Declared::Array(items), _) => items.iter().all(|item| is_plain(item, levels - 1)),
        (Declared::Table(entries), _) => entries.values().all(|value| is_plain(value, levels - 1)),
        _ => true,
    }
}

fn is_shallow(value: &Value, levels: usize) -> bool {
    match (value, levels) {
        (_, 0) => false,
        (Value::Array(items), _) => items.iter().all(|item| is_shallow(item, levels - 1)),
        // Some keys that begin so mean something else to a reader.
        (Value::Object(entries), _) => {
            entries.iter().all(|(key, value)| !key.starts_with('$') && is_shallow(value, levels - 1))
        }
        _ => true,
    }
}

/// The value stored as `text` in `table`. The error tells no content.
pub(super) fn decode<T: DeserializeOwned>(text: &str, table: &str) -> Result<T, Fault> {
    serde_json::from_str(text).map_err(|_| Fault::Unreadable(format!("a row of {table} cannot be read")))
}

/// Text that says much the same again and again, deflated where it would fill pages of its own.
pub(super) fn deflated(text: String) -> Stored {
    let is_large = text.len() > usize::from(store::PAGE);
    match is_large.then(|| deflate::deflated(text.as_bytes())).flatten() {
        Some(small) => Stored::Blob(small.into_vec()),
        None => Stored::Text(text),
    }
}

/// The text that was stored so in `table`.
pub(super) fn inflated(stored: Stored, table: &str) -> Result<String, Fault> {
    let unreadable = || Fault::Unreadable(format!("a row of {table} cannot be read"));
    match stored {
        Stored::Text(text) => Ok(text),
        Stored::Blob(small) => {
            let text = deflate::inflated(&small, 8 * small.len()).ok_or_else(unreadable)?;
            String::from_utf8(text).map_err(|_| unreadable())
        }
        _ => Err(unreadable()),
    }
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
