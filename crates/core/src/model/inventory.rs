//! Inventory of managed sources.
//!
//! Decides whether a source may be replaced or removed.

use super::{CachedJson, FieldPath, Fingerprint, FingerprintKey, SourceId, SourceKey, SourceName, SyncSpec};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Inventory of one (platform, workspace, scope), by name.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Sources that we connected or adopted.
    pub managed: BTreeMap<SourceName, Arc<ManagedSource>>,
    /// Writes recorded before they were sent whose outcome is not known yet, by number.
    pub intents: BTreeMap<i64, Intent>,
    /// Formerly managed sources that were missing from both the files and the list.
    ///
    /// Kept for a day, because a list may have been wrong.
    pub forgotten: BTreeMap<SourceName, Forgotten>,
}

/// A formerly managed source.
#[derive(Debug, Clone, PartialEq)]
pub struct Forgotten {
    /// Time at which it stopped being managed.
    pub since: jiff::Timestamp,
    /// Its last record.
    pub managed: Arc<ManagedSource>,
}

/// A managed source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ManagedSource {
    /// Key under which it was last declared.
    pub key: SourceKey,
    /// Recorded id; a cleanup needs this id *and* the name on the same listed row.
    pub id: Option<SourceId>,
    /// Older ids of ours with the same name, to be cleaned up.
    pub superseded: Vec<SourceId>,
    /// Recent connects under this name, oldest first.
    ///
    /// A row with the marker or the id of one of them was created by us, however late it appears.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<SentConnect>,
    /// Older ids of ours under this name that disappeared from the list.
    ///
    /// Kept for a day, because the list may have been wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Former>,
    /// Name in the platform's list, if it differs from the one that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_as: Option<SourceName>,
    /// Id of the state it was adopted from, as long as its row contains it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<String>,
    /// Time since which the row counts as ours by its name alone.
    ///
    /// The platform returns neither ids in responses nor markers. Such a row is neither replaced nor cleaned up yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven_since: Option<jiff::Timestamp>,
    /// Time at which the source with this id was connected.
    ///
    /// Earlier syncs were of another one.
    ///
    /// `None` if it was adopted, or connected by an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<jiff::Timestamp>,
    /// True if the platform lists it without an id and without our marker.
    ///
    /// Nothing then distinguishes it from another source that was connected under its name.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unidentified: bool,
    /// The definition last applied, and the readback after it.
    pub applied: LastApplied,
    /// `protect` as last declared; stays in force after its block is deleted.
    pub protect: bool,
    /// Root whose complete load last contained its declaration.
    ///
    /// Only that root may remove the source.
    pub declared_in: Option<String>,
    /// File in which it was last declared.
    pub file: Option<String>,
    /// Line in `file`, from 1, at the time of this record.
    pub line: Option<u32>,
}

impl ManagedSource {
    /// Returns the connected source to which runs belong: another one of its name has another value.
    #[must_use]
    pub fn connection(&self) -> Option<Connection> {
        let adopted = || self.id.clone().map(Connection::Adopted);
        self.connected_at.map(Connection::At).or_else(adopted)
    }
}

/// Identity of a connected source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Connected by this program at this time.
    At(jiff::Timestamp),
    /// Adopted with this id.
    Adopted(SourceId),
}

/// An older id of a managed source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The id.
    pub id: SourceId,
    /// Time since which lists do not contain it.
    pub since: jiff::Timestamp,
}

/// A connect that we sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SentConnect {
    /// Fingerprint in its ownership marker.
    pub stamp: Fingerprint,
    /// Time of recording, before it was sent.
    pub at: jiff::Timestamp,
    /// The id in the platform's response, if it differs from the one known so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SourceId>,
    /// The record to apply if this connect turns out to have happened after all.
    ///
    /// Set if it was assumed not to have been carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Arc<LastApplied>>,
}

/// Definition of the last verified write or adoption, and its readback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LastApplied {
    /// The definition with references, never with resolved secrets.
    pub definition: CachedJson,
    /// Fingerprints of the resolved values at the definition's secret leaves.
    pub secrets: BTreeMap<FieldPath, Fingerprint>,
    /// Readback in the list after the write; empty if the list contained none of it.
    pub echo: ReadbackMap,
    /// Cached marker fingerprint; see [`LastApplied::stamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Fingerprint>,
    /// Id of the key that the fingerprints were made with.
    pub key_id: String,
    /// Schedule in force, recorded to detect changes.
    #[serde(default)]
    pub sync: Option<SyncSpec>,
    /// Time since which the schedule is in force; no earlier firing counts as missed.
    #[serde(default)]
    pub sync_since: Option<jiff::Timestamp>,
}

/// Readback in a list, by path.
///
/// The value that most fields have is stored once, under `*`, which is not a path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ReadbackMap(BTreeMap<FieldPath, ReadbackState>);

/// Readback of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReadbackState {
    /// The applied value: the definition's, or one with the secret's fingerprint.
    Equal,
    /// A value with this fingerprint.
    Differs(Fingerprint),
    /// No value.
    Absent,
    /// An undeclared value that was there after our write: the platform's own.
    PlatformOwned,
    /// An undeclared value that was not there after our write, with its fingerprint.
    AddedByOthers(Fingerprint),
}

/// Stored forms of [`ReadbackState`]; another value is stored as its fingerprint.
const EQUAL: &str = "=";
const ABSENT: &str = "-";
const PLATFORM_OWNED: &str = "+";
const ADDED_BY_OTHERS: char = '!';

/// Path of the default for all other fields of the definition.
const DEFAULT_PATH: &str = "*";

/// Path whose presence means that all undeclared values were recorded.
const UNDECLARED_COMPLETE: &str = "+";

impl ReadbackMap {
    /// Creates a readback with every field as applied, except for these.
    #[must_use]
    pub fn equal_except(mut exceptions: BTreeMap<FieldPath, ReadbackState>) -> Self {
        exceptions.insert(FieldPath::root(DEFAULT_PATH), ReadbackState::Equal);
        Self(exceptions)
    }

    /// Creates a readback with only these fields.
    #[must_use]
    pub fn absent_except(exceptions: BTreeMap<FieldPath, ReadbackState>) -> Self {
        Self(exceptions)
    }

    /// Returns the readback of a field of the definition.
    #[must_use]
    pub fn get(&self, path: &FieldPath) -> ReadbackState {
        self.0.get(path).or_else(|| self.0.get(DEFAULT_PATH)).copied().unwrap_or(ReadbackState::Absent)
    }

    /// Returns the readback of an undeclared path.
    #[must_use]
    pub fn undeclared(&self, path: &FieldPath) -> ReadbackState {
        self.0.get(path).copied().unwrap_or(ReadbackState::Absent)
    }

    /// Records the readback of an undeclared path.
    pub fn record_undeclared(&mut self, path: FieldPath, echoed: ReadbackState) {
        self.0.insert(path, echoed);
    }

    /// Records that there are no undeclared values except the recorded ones.
    pub fn mark_undeclared_complete(&mut self) {
        self.record_undeclared(FieldPath::root(UNDECLARED_COMPLETE), ReadbackState::PlatformOwned);
    }

    /// Returns true if all undeclared values were recorded.
    #[must_use]
    pub fn has_all_undeclared(&self) -> bool {
        self.0.contains_key(&FieldPath::root(UNDECLARED_COMPLETE))
    }

    /// Returns the values that others added, with their fingerprints.
    #[must_use]
    pub fn added_by_others(&self) -> Self {
        let added =
            |(_, echoed): &(&FieldPath, &ReadbackState)| matches!(echoed, ReadbackState::AddedByOthers(_));
        Self(self.0.iter().filter(added).map(|(path, echoed)| (path.clone(), *echoed)).collect())
    }

    /// Returns true if elements of the list at `path` were recorded one by one.
    #[must_use]
    pub fn has_elements_of(&self, path: &FieldPath) -> bool {
        let first = path.index(0);
        let stem = first.as_str().trim_end_matches("0]");
        self.0
            .range(FieldPath::root(stem)..)
            .next()
            .is_some_and(|(other, _)| other.as_str().starts_with(stem))
    }
}

impl IntoIterator for ReadbackMap {
    type Item = (FieldPath, ReadbackState);
    type IntoIter = std::collections::btree_map::IntoIter<FieldPath, ReadbackState>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Serialize for ReadbackState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Equal => serializer.serialize_str(EQUAL),
            Self::Absent => serializer.serialize_str(ABSENT),
            Self::PlatformOwned => serializer.serialize_str(PLATFORM_OWNED),
            Self::AddedByOthers(fingerprint) => {
                serializer.collect_str(&format_args!("{ADDED_BY_OTHERS}{fingerprint}"))
            }
            Self::Differs(fingerprint) => fingerprint.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for ReadbackState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        match &*text {
            EQUAL => Ok(Self::Equal),
            ABSENT => Ok(Self::Absent),
            PLATFORM_OWNED => Ok(Self::PlatformOwned),
            text => {
                let added = text.strip_prefix(ADDED_BY_OTHERS);
                let print = Fingerprint::parse(added.unwrap_or(text));
                let print = print.ok_or_else(|| serde::de::Error::custom("not an echo"))?;
                Ok(if added.is_some() { Self::AddedByOthers(print) } else { Self::Differs(print) })
            }
        }
    }
}

impl LastApplied {
    /// Returns the fingerprint sent as `metadata.wellspring.fingerprint`.
    ///
    /// The fingerprint is keyed, so a row that contains it was written with this definition by the owner of
    /// this state.
    #[must_use]
    pub fn marker_fingerprint(&self, key: &FingerprintKey) -> Fingerprint {
        match self.stamp {
            Some(stamp) if self.key_id == key.id() => stamp,
            _ => self.recompute_marker(key),
        }
    }

    /// Caches the fingerprint.
    #[must_use]
    pub fn with_cached_marker(self, key: &FingerprintKey) -> Self {
        Self { stamp: Some(self.recompute_marker(key)), ..self }
    }

    fn recompute_marker(&self, key: &FingerprintKey) -> Fingerprint {
        /// Fields are sorted by key.
        #[derive(Serialize)]
        struct SentContent<'a> {
            definition: &'a RawValue,
            secrets: &'a BTreeMap<FieldPath, Fingerprint>,
        }
        key.fingerprint_public(&SentContent { definition: self.definition.json(), secrets: &self.secrets })
    }
}

/// A write that is about to be sent, or was sent without a response.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Intent {
    /// Number in the state store.
    pub number: i64,
    /// Name of the source.
    pub name: SourceName,
    /// Key of the source.
    pub key: SourceKey,
    /// The kind of write.
    pub kind: IntentKind,
    /// Ids that had the name before the write.
    pub before: Vec<SourceId>,
    /// True if the list behind the write lacked a source of ours.
    #[serde(default)]
    pub list_lacked_ours: bool,
    /// Declaration of the source when the write was planned.
    ///
    /// The block may be deleted before the outcome is known.
    pub declared: Option<DeclarationHash>,
    /// Time of recording.
    pub recorded_at: jiff::Timestamp,
    /// The platform's response, if it reported success.
    #[serde(default)]
    pub answer: Option<Answered>,
}

/// A write that the platform reported as successful.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The id in the response, if any.
    pub id: Option<SourceId>,
}

/// A declaration of a source in the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeclarationHash {
    /// Root that was loaded.
    pub root: String,
    /// File, below the root.
    pub file: String,
    /// Line in `file`, from 1.
    pub line: u32,
    /// `protect`
    pub protect: bool,
}

/// The kind of write of an [`Intent`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum IntentKind {
    /// `connect`, new or as a replacement, with the record to apply on success.
    Connect(Arc<LastApplied>),
    /// `cleanup` of one id.
    Cleanup(SourceId),
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Definition;
    use serde_json::json;

    #[test]
    fn a_stamp_is_what_it_was_in_every_version() {
        let definition: Definition = serde_json::from_value(json!({
            "type": "database",
            "connection_config": {"z": {"Float": 1.5}, "password": {"Secret": {"Env": "PW"}}, "a": {"Array": []}},
            "metadata": {"b": [1, {"y": null, "x": "é"}], "a": 1},
        }))
        .unwrap();
        let key = FingerprintKey::new([7; 32]);
        let path = FieldPath::root("connection_config").key("password");
        let applied = LastApplied {
            definition: Arc::new(definition).into(),
            secrets: BTreeMap::from([(path, key.fingerprint("hunter2"))]),
            echo: ReadbackMap::default(),
            stamp: None,
            key_id: key.id().to_owned(),
            sync: None,
            sync_since: None,
        };
        let content = json!({ "definition": &**applied.definition.shared(), "secrets": &applied.secrets });
        let stamp = key.fingerprint(&content);
        assert_eq!(applied.marker_fingerprint(&key), stamp);
        let applied = applied.with_cached_marker(&key);
        assert_eq!((applied.stamp, applied.marker_fingerprint(&key)), (Some(stamp), stamp));
        let other = FingerprintKey::new([8; 32]);
        assert_eq!(applied.marker_fingerprint(&other), other.fingerprint(&content));
    }

    #[test]
    fn what_was_echoed_is_remembered_in_either_form() {
        let print = FingerprintKey::new([7; 32]).fingerprint("x");
        let forms = [
            (ReadbackState::Equal, json!("=")),
            (ReadbackState::Absent, json!("-")),
            (ReadbackState::PlatformOwned, json!("+")),
            (ReadbackState::Differs(print), json!(print)),
            (ReadbackState::AddedByOthers(print), json!(format!("!{print}"))),
        ];
        for (echoed, text) in forms {
            assert_eq!(serde_json::to_value(echoed).unwrap(), text);
            assert_eq!(serde_json::from_value::<ReadbackState>(text).unwrap(), echoed);
        }
        assert!(serde_json::from_value::<ReadbackState>(json!("==")).is_err());
    }
}
