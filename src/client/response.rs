//! Decoded responses of the platform.

use crate::model::SourceId;
use serde::Serialize;

/// Result of `test-connection` for a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TestVerdict {
    /// The connection works; contains the platform's message.
    Passed(String),
    /// The connection fails; contains the platform's message.
    Failed(String),
    /// The platform does not offer the test (404, 405, 501).
    Unavailable,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectAnswer {
    pub connected: Vec<ConnectedRow>,
    /// Sources that could not be connected.
    pub errors: Vec<ItemError>,
    /// Reason for the sources that the response does not mention.
    pub rest: Option<String>,
}

/// A source that was connected according to the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedRow {
    pub id: Option<SourceId>,
    pub name: Option<String>,
}

/// Failure of one source in a request that otherwise succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    pub id: Option<SourceId>,
    pub name: Option<String>,
    pub message: String,
}

impl ItemError {
    /// Returns true if this failure belongs to the source with this id or name.
    ///
    /// Some platforms return an id in the field of the name.
    pub fn is_of(&self, id: Option<&SourceId>, name: &str) -> bool {
        match (&self.id, &self.name) {
            (Some(own), _) => Some(own) == id,
            (None, Some(own)) => own == name || id.is_some_and(|id| id.to_string() == *own),
            (None, None) => false,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanupAnswer {
    pub deleted: Option<u64>,
    /// Sources that could not be removed.
    pub errors: Vec<ItemError>,
    /// Reason for the sources that the response does not mention.
    pub rest: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncAnswer {
    /// `data.records_processed`, if present: the total of all sources.
    pub records: Option<u64>,
    /// Sources that could not be synced.
    pub errors: Vec<ItemError>,
    /// Reason for the sources that the response does not mention.
    pub rest: Option<String>,
    pub sources: Vec<SyncedRow>,
}

/// One source of a `sync` response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedRow {
    pub id: Option<SourceId>,
    pub name: Option<String>,
    pub records: Option<u64>,
    pub message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schema {
    pub tables: Vec<SchemaTable>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaTable {
    pub name: String,
    pub columns: Vec<SchemaColumn>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SchemaColumn {
    pub name: String,
    /// `type`; empty if absent.
    #[serde(rename = "type")]
    pub kind: String,
}
