//! What is ours: the memory that decides whether a source may be replaced or removed.

use super::{FieldPath, Fingerprint, FingerprintKey, SourceId, SourceKey, SourceName, SyncSpec, Worded};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The inventory of one (platform, workspace, scope), by name.
#[derive(Debug, Clone, Default)]
pub struct Inventory {
    /// Sources that we connected or adopted.
    pub owned: BTreeMap<SourceName, Arc<Owned>>,
    /// Writes that were recorded before they were sent and whose outcome is not known yet, by number.
    pub intents: BTreeMap<i64, Intent>,
    /// Sources that were ours until they were missing from files and list alike. Kept for a day: a list may
    /// have been wrong.
    pub forgotten: BTreeMap<SourceName, Forgotten>,
}

/// A source that was ours.
#[derive(Debug, Clone, PartialEq)]
pub struct Forgotten {
    /// Since when it is not ours any more.
    pub since: jiff::Timestamp,
    /// As it was.
    pub owned: Arc<Owned>,
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
    /// The connects we lately sent under this name, oldest first: a row that bears the stamp or the id of
    /// one was made by us, however late it shows.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sent: Vec<Sent>,
    /// Older ids of ours under this name that a list did not show any more. Kept for a day: the list may
    /// have been wrong.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Former>,
    /// The name that the platform lists it under, where it is another than the one that was sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listed_as: Option<SourceName>,
    /// The state that it was taken over from, as its row still says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub taken_from: Option<String>,
    /// When the source of this id was connected. Syncs before that were of another one. `None` where it was
    /// adopted, or connected by an older version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected_at: Option<jiff::Timestamp>,
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

/// An older id of a source of ours.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Former {
    /// The id.
    pub id: SourceId,
    /// Since when the list does not show it.
    pub since: jiff::Timestamp,
}

/// A connect that we sent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sent {
    /// The stamp it bore.
    pub stamp: Fingerprint,
    /// When it was recorded, before it was sent.
    pub at: jiff::Timestamp,
    /// The id that the platform answered, where the source was known by another one so far.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<SourceId>,
    /// What it was to apply, where it was taken for not carried out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub applied: Option<Arc<Applied>>,
}

/// What was sent in the last verified write (or found, when adopted), and what was echoed after it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Applied {
    /// The definition with references, never with resolved secrets.
    pub definition: Worded,
    /// Fingerprints of the resolved values at the definition's secret leaves.
    pub secrets: BTreeMap<FieldPath, Fingerprint>,
    /// What `list` echoed of it after the write. Empty when nothing was echoed.
    pub echo: Echoes,
    /// Its stamp, where that was taken: see [`Applied::stamp`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<Fingerprint>,
    /// The id of the key the fingerprints were made with.
    pub key_id: String,
    /// The schedule in force, so that a change of it can be told.
    #[serde(default)]
    pub sync: Option<SyncSpec>,
    /// Since when it is in force. Firings before that are not missed, they never were.
    #[serde(default)]
    pub sync_since: Option<jiff::Timestamp>,
}

/// What `list` echoed, by path. What most fields have in common stands once, under `*`, which is no path.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Echoes(BTreeMap<FieldPath, Echoed>);

/// What `list` echoed of one field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Echoed {
    /// What was applied: the definition's value, or the value that the secret's fingerprint is of.
    AsApplied,
    /// A value with this fingerprint.
    Other(Fingerprint),
    /// Nothing, where other fields are as applied.
    Nothing,
    /// A value that is not declared and was there after our write: the platform's own.
    Beside,
    /// A value that is not declared and was not there after our write. It has this fingerprint.
    Added(Fingerprint),
}

/// How the other kinds of [`Echoed`] are written; another value is written as its fingerprint.
const AS_APPLIED: &str = "=";
const NOTHING: &str = "-";
const BESIDE: &str = "+";
const ADDED: char = '!';

/// The path under which stands what was echoed of every other field of the definition.
const OTHERS: &str = "*";

/// The path whose presence says that everything beside the definition was recorded.
const ALL_BESIDE: &str = "+";

impl Echoes {
    /// Every field as it was applied, but for these.
    #[must_use]
    pub fn as_applied_but(mut exceptions: BTreeMap<FieldPath, Echoed>) -> Self {
        exceptions.insert(FieldPath::root(OTHERS), Echoed::AsApplied);
        Self(exceptions)
    }

    /// Nothing, but for these.
    #[must_use]
    pub fn nothing_but(exceptions: BTreeMap<FieldPath, Echoed>) -> Self {
        Self(exceptions)
    }

    /// What was echoed of a field of the definition.
    #[must_use]
    pub fn of(&self, path: &FieldPath) -> Echoed {
        self.0.get(path).or_else(|| self.0.get(OTHERS)).copied().unwrap_or(Echoed::Nothing)
    }

    /// What was echoed beside the definition.
    #[must_use]
    pub fn beside(&self, path: &FieldPath) -> Echoed {
        self.0.get(path).copied().unwrap_or(Echoed::Nothing)
    }

    /// Records a path beside the definition.
    pub fn note(&mut self, path: FieldPath, echoed: Echoed) {
        self.0.insert(path, echoed);
    }

    /// Records that nothing but what was noted is beside the definition.
    pub fn note_all_beside(&mut self) {
        self.note(FieldPath::root(ALL_BESIDE), Echoed::Beside);
    }

    /// Returns true if everything beside the definition was recorded.
    #[must_use]
    pub fn knows_all_beside(&self) -> bool {
        self.0.contains_key(&FieldPath::root(ALL_BESIDE))
    }

    /// The values that someone else added, with their fingerprints.
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
    /// The stamp that goes with this definition as `metadata.wellspring.fingerprint`. It is keyed, so
    /// a row that bears it was written by this state's owner with this very definition.
    #[must_use]
    pub fn stamp(&self, key: &FingerprintKey) -> Fingerprint {
        self.stamp.filter(|_| self.key_id == key.id()).unwrap_or_else(|| self.stamp_anew(key))
    }

    /// The same, remembering its stamp.
    #[must_use]
    pub fn stamped(self, key: &FingerprintKey) -> Self {
        Self { stamp: Some(self.stamp_anew(key)), ..self }
    }

    fn stamp_anew(&self, key: &FingerprintKey) -> Fingerprint {
        /// Sorted by key.
        #[derive(Serialize)]
        struct Content<'a> {
            definition: &'a RawValue,
            secrets: &'a BTreeMap<FieldPath, Fingerprint>,
        }
        key.of_plain(&Content { definition: self.definition.words(), secrets: &self.secrets })
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
    /// What the platform answered, where it answered with success.
    #[serde(default)]
    pub answer: Option<Answered>,
}

/// The platform said that it carried out a write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answered {
    /// The id it gave, if it gave one.
    pub id: Option<SourceId>,
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
