//! What is ours: the memory that decides whether a source may be replaced or removed.

use super::{Definition, FieldPath, Fingerprint, FingerprintKey, SourceId, SourceKey, SourceName, SyncSpec};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The inventory of one (platform, workspace, scope), by name.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Sources that we connected or adopted.
    pub owned: BTreeMap<SourceName, Owned>,
    /// Writes that were recorded before they were sent and whose outcome is not known yet, by number.
    pub intents: BTreeMap<i64, Intent>,
}

/// A source of ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Owned {
    /// The key it was last declared under.
    pub key: SourceKey,
    /// The recorded id. A cleanup needs this id *and* the name on the same listed row.
    pub id: Option<SourceId>,
    /// Older ids of ours that bear the same name and wait to be cleaned up.
    pub superseded: Vec<SourceId>,
    /// The stamps of the connects we lately sent under this name, oldest first: a row that bears one
    /// was made by us, however late the request landed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Sent>,
    /// What we last applied, and what the platform then showed.
    pub applied: Applied,
    /// `protect`, as last declared; it outlives its block.
    pub protect: bool,
    /// The root in whose complete reading it was last seen declared. Only that root may remove it.
    pub declared_in: Option<String>,
    /// The file and line it was last declared at.
    pub file: Option<String>,
    /// The line in `file`, from 1.
    pub line: Option<u32>,
}

/// A connect that we sent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sent {
    /// The stamp it bore.
    pub stamp: Fingerprint,
    /// When it was recorded, before it was sent.
    pub at: jiff::Timestamp,
}

/// What was sent in the last verified write (or found, when adopted), and what was echoed after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The definition with references, never with resolved secrets.
    pub definition: Definition,
    /// Fingerprints of the resolved values at the definition's secret leaves.
    pub secrets: BTreeMap<FieldPath, Fingerprint>,
    /// Fingerprints of what `list` echoed after the write, by path. Empty when nothing was echoed.
    pub echo: BTreeMap<FieldPath, Fingerprint>,
    /// The id of the key the fingerprints were made with.
    pub key_id: String,
    /// The schedule in force, so that a change of it can be told.
    #[serde(default)]
    pub sync: Option<SyncSpec>,
    /// Since when it is in force. Firings before that are not missed, they never were.
    #[serde(default)]
    pub sync_since: Option<jiff::Timestamp>,
}

impl Applied {
    /// The stamp that goes with this definition as `metadata.wellspring.fingerprint`. It is keyed, so
    /// a row that bears it was written by this state's owner with this very definition.
    #[must_use]
    pub fn stamp(&self, key: &FingerprintKey) -> Fingerprint {
        key.of(&serde_json::json!({ "definition": &self.definition, "secrets": &self.secrets }))
    }
}

/// A write that is about to be sent, or was sent and never answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// The state store's number of it.
    pub number: i64,
    /// The source's name.
    pub name: SourceName,
    /// The source's key.
    pub key: SourceKey,
    /// What was to be done.
    pub kind: IntentKind,
    /// Ids that bore the name before the write.
    pub before: Vec<SourceId>,
    /// How the source was declared when the write was decided on. Its block may be gone before its
    /// outcome is known.
    pub declared: Option<Declaration>,
    /// When it was recorded.
    pub recorded_at: jiff::Timestamp,
}

/// How a source stood in the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Declaration {
    /// The root that was read.
    pub root: String,
    /// The file, below the root.
    pub file: String,
    /// The line in `file`, from 1.
    pub line: u32,
    /// `protect`
    pub protect: bool,
}

/// What an [`Intent`] was about to do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum IntentKind {
    /// `connect`, new or as a replacement; what would be applied if it went through.
    Connect(Box<Applied>),
    /// `cleanup` of one id.
    Cleanup(SourceId),
}
