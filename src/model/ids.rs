//! Names and ids, one type each, so that none can stand in for another.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// A text that cannot serve as the id or name it was given for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InvalidId {
    /// What it was to be, for example `workspace id`.
    pub what: &'static str,
    /// Why it cannot be.
    pub why: &'static str,
}

impl fmt::Display for InvalidId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not a {}: {}", self.what, self.why)
    }
}

impl std::error::Error for InvalidId {}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        /// Its clones share the text.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Accepts a text that can be this id.
            ///
            /// # Errors
            /// When the text is empty or otherwise unusable.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> Option<&'static str> = $check;
                match check(text) {
                    Some(why) => Err(InvalidId { what: $what, why }),
                    None => Ok(Self(text.into())),
                }
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;
            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(&text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.as_str().to_owned()
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Text;
                impl Visitor<'_> for Text {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("a string")
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        $name::parse(text).map_err(E::custom)
                    }
                }
                deserializer.deserialize_str(Text)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

fn not_empty(text: &str) -> Option<&'static str> {
    text.is_empty().then_some("it is empty")
}

fn path_segment(text: &str) -> Option<&'static str> {
    match text {
        "" => Some("it is empty"),
        // A URL parser would resolve these away and address another endpoint.
        "." | ".." => Some("it would change the URL's path"),
        _ => None,
    }
}

text_id!(
    /// The text of a workspace's id.
    IdText,
    "workspace id",
    path_segment
);
text_id!(
    /// The contract's `scope`: an open string, `user` unless said.
    Scope,
    "scope",
    not_empty
);
text_id!(
    /// The contract's `name` of a source. A source is known by (workspace, scope, name).
    SourceName,
    "source name",
    not_empty
);
text_id!(
    /// The key of a source's table in the files: how people and `[moved]` refer to it.
    SourceKey,
    "source key",
    not_empty
);

/// The platform's id of a workspace: the `{workspace_id}` of every endpoint's path.
///
/// An id that `wellspring.toml` takes from a variable is displayed as it is written there (`${NAME}`): the
/// variable may hold more than an id. Two ids are equal if their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "IdText", into = "IdText")]
pub struct WorkspaceId {
    text: IdText,
    written: Option<Arc<str>>,
}

impl WorkspaceId {
    /// Accepts a text that can be this id.
    ///
    /// # Errors
    /// When the text is empty or otherwise unusable.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        IdText::parse(text).map(Self::from)
    }

    /// The same id, displayed as it is written in the files.
    #[must_use]
    pub fn written_as(self, written: &str) -> Self {
        Self { written: Some(written.into()), ..self }
    }

    /// The id as it is sent and stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// The id as people see it: `${NAME}` where it comes from a variable.
    #[must_use]
    pub fn shown(&self) -> &str {
        self.written.as_deref().unwrap_or(self.as_str())
    }
}

impl TryFrom<String> for WorkspaceId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(&text)
    }
}

impl From<IdText> for WorkspaceId {
    fn from(text: IdText) -> Self {
        Self { text, written: None }
    }
}

impl From<WorkspaceId> for IdText {
    fn from(id: WorkspaceId) -> Self {
        id.text
    }
}

impl PartialEq for WorkspaceId {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for WorkspaceId {}

impl PartialOrd for WorkspaceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for WorkspaceId {
    fn cmp(&self, other: &Self) -> Ordering {
        self.text.cmp(&other.text)
    }
}

impl Hash for WorkspaceId {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.text.hash(state);
    }
}

impl fmt::Display for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.shown())
    }
}

impl fmt::Debug for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.shown(), f)
    }
}

/// A source that says no name has its key for one.
impl From<&SourceKey> for SourceName {
    fn from(key: &SourceKey) -> Self {
        Self(Arc::clone(&key.0))
    }
}

impl Default for Scope {
    /// The contract's default.
    fn default() -> Self {
        static USER: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("user"));
        Self(Arc::clone(&USER))
    }
}

/// The platform's id of a source, kept in the JSON type it came in (text or number).
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub struct SourceId(serde_json::Value);

impl SourceId {
    /// Accepts a non-empty string or a whole number.
    #[must_use]
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        can_be_id(value).then(|| Self(value.clone()))
    }

    /// The id as it goes back to the platform.
    #[must_use]
    pub fn as_json(&self) -> &serde_json::Value {
        &self.0
    }
}

impl TryFrom<serde_json::Value> for SourceId {
    type Error = InvalidId;
    fn try_from(value: serde_json::Value) -> Result<Self, InvalidId> {
        match can_be_id(&value) {
            true => Ok(Self(value)),
            false => Err(InvalidId { what: "source id", why: "it is neither a text nor a whole number" }),
        }
    }
}

fn can_be_id(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::String(text) => !text.is_empty(),
        serde_json::Value::Number(number) => number.is_i64() || number.is_u64(),
        _ => false,
    }
}

impl From<SourceId> for serde_json::Value {
    fn from(id: SourceId) -> Self {
        id.0
    }
}

impl fmt::Display for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            serde_json::Value::String(text) => f.pad(text),
            other => f.pad(&other.to_string()),
        }
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Ord for SourceId {
    /// Texts before numbers, so that `"1"` and `1` stay two ids; numbers by their digits.
    fn cmp(&self, other: &Self) -> Ordering {
        match (&self.0, &other.0) {
            (serde_json::Value::String(one), serde_json::Value::String(other)) => one.cmp(other),
            (serde_json::Value::String(_), _) => Ordering::Less,
            (_, serde_json::Value::String(_)) => Ordering::Greater,
            (one, other) => one.to_string().cmp(&other.to_string()),
        }
    }
}

impl PartialOrd for SourceId {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// The unit of work: everything in it is listed, planned and written together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Unit {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The scope within it.
    pub scope: Scope,
}

impl Unit {
    /// As `workspace_id` and `scope`: beside it stands `workspace`, which is how people call it.
    ///
    /// # Errors
    /// Those of the serializer.
    pub fn beside_its_name<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Ids<'a> {
            workspace_id: &'a str,
            scope: &'a Scope,
        }
        Ids { workspace_id: self.workspace.shown(), scope: &self.scope }.serialize(serializer)
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.workspace)?;
        if self.scope != Scope::default() {
            write!(f, " ({})", self.scope)?;
        }
        Ok(())
    }
}

/// A list with at least one element. The contract reads a missing or empty `source_ids` as *all*;
/// with this type that request cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NonEmpty<T>(Vec<T>);

impl<T> NonEmpty<T> {
    /// A list of one.
    #[must_use]
    pub fn one(element: T) -> Self {
        Self(vec![element])
    }

    /// `None` for an empty list.
    #[must_use]
    pub fn from_vec(elements: Vec<T>) -> Option<Self> {
        if elements.is_empty() { None } else { Some(Self(elements)) }
    }

    /// The elements, at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// The elements as a plain list.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}
