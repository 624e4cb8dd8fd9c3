//! Inventory of managed sources.
//!
//! Decides whether a source may be replaced or removed.

use super::{FieldPath, Fingerprint, FingerprintKey, SourceId, SourceKey, SourceName, SyncSpec, Worded};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Inventory of one (platform, workspace, scope), by name.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Sources that we connected or adopted.
    pub owned: BTreeMap<SourceName, Arc<Owned>>,
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
    pub owned: Arc<Owned>,
}

/// A managed source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Owned {
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
    pub sent: Vec<Sent>,
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
    /// Time at which the source with this id was connected.
    ///
    /// Earlier syncs were of another one.
    ///
    /// `None` if it was adopted, or connected by an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<jiff::Timestamp>,
    /// The definition last applied, and the readback after it.
    pub applied: Applied,
    /// `protect` as last declared; stays in force after its block is deleted.
    pub protect: bool,
    /// Root whose complete load last contained its declaration.
    ///
    /// Only that root may remove the source.
    pub declared_in: Option<String>,
    /// File in which it was last declared.
    pub file: Option<String>,
    /// Line in `file`, from 1.
    pub line: Option<u32>,
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
pub struct Sent {
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
    pub applied: Option<Arc<Applied>>,
}

/// Definition of the last verified write or adoption, and its readback.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The definition with references, never with resolved secrets.
    pub definition: Worded,
    /// Fingerprints of the resolved values at the definition's secret leaves.
    pub secrets: BTreeMap<FieldPath, Fingerprint>,
    /// Readback in the list after the write; empty if the list contained none of it.
    pub echo: Echoes,
    /// Cached marker fingerprint; see [`Applied::stamp`].
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
pub struct Echoes(BTreeMap<FieldPath, Echoed>);

/// Readback of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echoed {
    /// The applied value: the definition's, or one with the secret's fingerprint.
    AsApplied,
    /// A value with this fingerprint.
    Other(Fingerprint),
    /// No value.
    Nothing,
    /// An undeclared value that was there after our write: the platform's own.
    Beside,
    /// An undeclared value that was not there after our write, with its fingerprint.
    Added(Fingerprint),
}

/// Stored forms of [`Echoed`]; another value is stored as its fingerprint.
const AS_APPLIED: &str = "=";
const NOTHING: &str = "-";
const BESIDE: &str = "+";
const ADDED: char = '!';

/// Path of the default for all other fields of the definition.
const OTHERS: &str = "*";

/// Path whose presence means that all undeclared values were recorded.
const ALL_BESIDE: &str = "+";

impl Echoes {
    /// Creates a readback with every field as applied, except for these.
    #[must_use]
    pub fn as_applied_but(mut exceptions: BTreeMap<FieldPath, Echoed>) -> Self {
        exceptions.insert(FieldPath::root(OTHERS), Echoed::AsApplied);
        Self(exceptions)
    }

    /// Creates a readback with only these fields.
    #[must_use]
    pub fn nothing_but(exceptions: BTreeMap<FieldPath, Echoed>) -> Self {
        Self(exceptions)
    }

    /// Returns the readback of a field of the definition.
    #[must_use]
    pub fn of(&self, path: &FieldPath) -> Echoed {
        self.0.get(path).or_else(|| self.0.get(OTHERS)).copied().unwrap_or(Echoed::Nothing)
    }

    /// Returns the readback of an undeclared path.
    #[must_use]
    pub fn beside(&self, path: &FieldPath) -> Echoed {
        self.0.get(path).copied().unwrap_or(Echoed::Nothing)
    }

    /// Records the readback of an undeclared path.
    pub fn note(&mut self, path: FieldPath, echoed: Echoed) {
        self.0.insert(path, echoed);
    }

    /// Records that there are no undeclared values except the recorded ones.
    pub fn note_all_beside(&mut self) {
        self.note(FieldPath::root(ALL_BESIDE), Echoed::Beside);
    }

    /// Returns true if all undeclared values were recorded.
    #[must_use]
    pub fn knows_all_beside(&self) -> bool {
        self.0.contains_key(&FieldPath::root(ALL_BESIDE))
    }

    /// Returns the values that others added, with their fingerprints.
    #[must_use]
    pub fn added(&self) -> Self {
        let added = |(_, echoed): &(&FieldPath, &Echoed)| matches!(echoed, Echoed::Added(_));
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

impl IntoIterator for Echoes {
    type Item = (FieldPath, Echoed);
    type IntoIter = std::collections::btree_map::IntoIter<FieldPath, Echoed>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl Serialize for Echoed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::AsApplied => serializer.serialize_str(AS_APPLIED),
            Self::Nothing => serializer.serialize_str(NOTHING),
            Self::Beside => serializer.serialize_str(BESIDE),
            Self::Added(fingerprint) => serializer.collect_str(&format_args!("{ADDED}{fingerprint}")),
            Self::Other(fingerprint) => fingerprint.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Echoed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        match &*text {
            AS_APPLIED => Ok(Self::AsApplied),
            NOTHING => Ok(Self::Nothing),
            BESIDE => Ok(Self::Beside),
            text => {
                let added = text.strip_prefix(ADDED);
                let print = Fingerprint::parse(added.unwrap_or(text));
                let print = print.ok_or_else(|| serde::de::Error::custom("not an echo"))?;
                Ok(if added.is_some() { Self::Added(print) } else { Self::Other(print) })
            }
        }
    }
}

impl Applied {
    /// Returns the fingerprint sent as `metadata.wellspring.fingerprint`.
    ///
    /// The fingerprint is keyed, so a row that contains it was written with this definition by the owner of
    /// this state.
    #[must_use]
    pub fn stamp(&self, key: &FingerprintKey) -> Fingerprint {
        self.stamp.filter(|_| self.key_id == key.id()).unwrap_or_else(|| self.stamp_anew(key))
    }

    /// Caches the fingerprint.
    #[must_use]
    pub fn stamped(self, key: &FingerprintKey) -> Self {
        Self { stamp: Some(self.stamp_anew(key)), ..self }
    }

    fn stamp_anew(&self, key: &FingerprintKey) -> Fingerprint {
        /// Fields are sorted by key.
        #[derive(Serialize)]
        struct Content<'a> {
            definition: &'a RawValue,
            secrets: &'a BTreeMap<FieldPath, Fingerprint>,
        }
        key.of_plain(&Content { definition: self.definition.words(), secrets: &self.secrets })
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
    /// Declaration of the source when the write was planned.
    ///
    /// The block may be deleted before the outcome is known.
    pub declared: Option<Declaration>,
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
pub struct Declaration {
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
    Connect(Arc<Applied>),
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
        let applied = Applied {
            definition: Arc::new(definition).into(),
            secrets: BTreeMap::from([(path, key.of("hunter2"))]),
            echo: Echoes::default(),
            stamp: None,
            key_id: key.id().to_owned(),
            sync: None,
            sync_since: None,
        };
        let content = json!({ "definition": &**applied.definition.shared(), "secrets": &applied.secrets });
        let stamp = key.of(&content);
        assert_eq!(applied.stamp(&key), stamp);
        let applied = applied.stamped(&key);
        assert_eq!((applied.stamp, applied.stamp(&key)), (Some(stamp), stamp));
        let other = FingerprintKey::new([8; 32]);
        assert_eq!(applied.stamp(&other), other.of(&content));
    }

    #[test]
    fn what_was_echoed_is_remembered_in_either_form() {
        let print = FingerprintKey::new([7; 32]).of("x");
        let forms = [
            (Echoed::AsApplied, json!("=")),
            (Echoed::Nothing, json!("-")),
            (Echoed::Beside, json!("+")),
            (Echoed::Other(print), json!(print)),
            (Echoed::Added(print), json!(format!("!{print}"))),
        ];
        for (echoed, text) in forms {
            assert_eq!(serde_json::to_value(echoed).unwrap(), text);
            assert_eq!(serde_json::from_value::<Echoed>(text).unwrap(), echoed);
        }
        assert!(serde_json::from_value::<Echoed>(json!("==")).is_err());
    }
}
