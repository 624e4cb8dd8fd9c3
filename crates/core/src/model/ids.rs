//! Names and ids, one type each, so that they cannot be confused.

use serde::de::{self, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, LazyLock};

/// The error for a text that is not a valid id or name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a {what}: {reason}")]
pub struct InvalidId {
    /// Kind of id, for example `workspace id`.
    pub what: &'static str,
    /// Reason why the text is invalid.
    pub reason: &'static str,
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $what:literal, $check:expr) => {
        $(#[$doc])*
        /// Cheap to clone.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Parses a text as this kind of id.
            ///
            /// # Errors
            /// If the text is empty or otherwise unusable.
            pub fn parse(text: &str) -> Result<Self, InvalidId> {
                let check: fn(&str) -> Option<&'static str> = $check;
                match check(text) {
                    Some(why) => Err(InvalidId { what: $what, reason: why }),
                    None => Ok(Self(text.into())),
                }
            }

            /// Returns the text.
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
        // A URL parser would resolve these and the request would reach another endpoint.
        "." | ".." => Some("it would change the URL's path"),
        _ => text.strip_prefix(PREFIX).and_then(|account| Some(Account::parse(account).err()?.reason)),
    }
}

text_id!(IdText, "workspace id", path_segment);
text_id!(
    /// The API's `scope`: any string, by default `user`.
    Scope,
    "scope",
    not_empty
);
text_id!(
    /// The API's `name` of a source; (workspace, scope, name) identifies a source.
    SourceName,
    "source name",
    not_empty
);
text_id!(
    /// Key of a source's table in the files, also used in `[moved]`.
    SourceKey,
    "source key",
    not_empty
);

/// The platform's id of a workspace, `{workspace_id}` in the path of every endpoint.
///
/// An id that `wellspring.toml` takes from a variable is displayed as `${NAME}`, because the variable may
/// hold more than an id. Two ids are equal if their texts are.
#[derive(Clone, Serialize, Deserialize)]
#[serde(from = "IdText", into = "IdText")]
pub struct WorkspaceId {
    text: IdText,
    display_form: Option<Arc<str>>,
}

impl WorkspaceId {
    /// Parses a text as a workspace id.
    ///
    /// # Errors
    /// If the text is empty or otherwise unusable.
    pub fn parse(text: &str) -> Result<Self, InvalidId> {
        IdText::parse(text).map(Self::from)
    }

    /// Sets the form in which the id is displayed: the one in the files.
    #[must_use]
    pub fn with_display_form(self, written: &str) -> Self {
        Self { display_form: Some(written.into()), ..self }
    }

    /// Returns the account, if it is one and not a workspace.
    #[must_use]
    pub fn account(&self) -> Option<Account<'_>> {
        Account::parse(self.as_str().strip_prefix(PREFIX)?).ok()
    }

    /// Returns the id as it is sent and stored.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.text.as_str()
    }

    /// Returns the id for display: `${NAME}` if it comes from a variable.
    #[must_use]
    pub fn display_text(&self) -> &str {
        self.display_form.as_deref().unwrap_or(self.as_str())
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
        Self { text, display_form: None }
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
        f.pad(self.display_text())
    }
}

impl fmt::Debug for WorkspaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.display_text(), f)
    }
}

/// A source without a `name` uses its key as the name.
impl From<&SourceKey> for SourceName {
    fn from(key: &SourceKey) -> Self {
        Self(Arc::clone(&key.0))
    }
}

impl Default for Scope {
    /// Returns the API's default, `user`.
    fn default() -> Self {
        static USER: LazyLock<Arc<str>> = LazyLock::new(|| Arc::from("user"));
        Self(Arc::clone(&USER))
    }
}

/// The platform's id of a source, in the JSON type in which it was received.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "serde_json::Value")]
pub struct SourceId(serde_json::Value);

impl SourceId {
    /// Accepts a non-empty string or a whole number.
    #[must_use]
    pub fn from_json(value: &serde_json::Value) -> Option<Self> {
        if can_be_id(value) { Some(Self(value.clone())) } else { None }
    }

    /// Returns the id as it is sent to the platform.
    #[must_use]
    pub fn as_json(&self) -> &serde_json::Value {
        &self.0
    }
}

impl TryFrom<serde_json::Value> for SourceId {
    type Error = InvalidId;
    fn try_from(value: serde_json::Value) -> Result<Self, InvalidId> {
        if can_be_id(&value) {
            Ok(Self(value))
        } else {
            Err(InvalidId { what: "source id", reason: "it is neither a text nor a whole number" })
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
    /// Orders strings before numbers, so that `"1"` and `1` differ.
    ///
    /// Numbers by their digits.
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

/// The workspace of reconciliation: one scope of one workspace.
///
/// Everything in it is listed, planned and written together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WorkspaceRef {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The scope within it.
    pub scope: Scope,
}

impl WorkspaceRef {
    /// Serialises `workspace_id` and `scope`.
    ///
    /// The field `workspace` next to them contains the display name.
    pub fn beside_its_name<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Ids<'a> {
            workspace_id: &'a str,
            scope: &'a Scope,
        }
        Ids { workspace_id: self.workspace.display_text(), scope: &self.scope }.serialize(serializer)
    }
}

impl fmt::Display for WorkspaceRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.workspace)?;
        if self.scope != Scope::default() {
            write!(f, " ({})", self.scope)?;
        }
        Ok(())
    }
}

/// A list with at least one element.
///
/// The API reads a missing or empty `source_ids` as *all*; with this type that request cannot be built.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct NonEmpty<T>(Vec<T>);

impl<T> NonEmpty<T> {
    /// Returns a list of one element.
    #[must_use]
    pub fn one(element: T) -> Self {
        Self(vec![element])
    }

    /// Returns `None` for an empty list.
    #[must_use]
    pub fn from_vec(elements: Vec<T>) -> Option<Self> {
        if elements.is_empty() { None } else { Some(Self(elements)) }
    }

    /// Returns the first element.
    #[must_use]
    #[expect(clippy::indexing_slicing, reason = "there is at least one element")]
    pub fn first(&self) -> &T {
        &self.0[0]
    }

    /// Returns the elements, at least one.
    #[must_use]
    pub fn as_slice(&self) -> &[T] {
        &self.0
    }

    /// Converts into a plain list.
    #[must_use]
    pub fn into_vec(self) -> Vec<T> {
        self.0
    }
}

/// Beginning of the id under which an account is kept.
const PREFIX: &str = "account:";

/// The account that the platform's URL itself addresses.
const OF_URL: &str = ".";

/// An account: `ORGANIZATION/USER`, or the one that the platform's URL addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Account<'a>(&'a str);

impl<'a> Account<'a> {
    /// Parses `ORGANIZATION/USER` or `.`.
    ///
    /// # Errors
    /// If the text is neither.
    pub fn parse(text: &'a str) -> Result<Self, InvalidId> {
        let is_segment = |part: &str| !matches!(part, "" | "." | "..") && !part.contains('/');
        let is_pair = text.split_once('/').is_some_and(|(org, user)| is_segment(org) && is_segment(user));
        if text == OF_URL || is_pair {
            Ok(Self(text))
        } else {
            Err(InvalidId { what: "account", reason: "it is neither `ORGANIZATION/USER` nor `.`" })
        }
    }

    /// Returns organisation and user; `None` for the account that the platform's URL addresses.
    #[must_use]
    pub fn segments(self) -> Option<(&'a str, &'a str)> {
        self.0.split_once('/')
    }

    /// Returns the id under which the account is kept.
    ///
    /// # Errors
    /// None in practice: every account has an id.
    pub fn id(self) -> Result<WorkspaceId, InvalidId> {
        WorkspaceId::parse(&format!("{PREFIX}{}", self.0))
    }
}

impl fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_is_a_pair_or_the_one_of_the_url() {
        assert_eq!(Account::parse("acme/ana").unwrap().segments(), Some(("acme", "ana")));
        assert_eq!(Account::parse(".").unwrap().segments(), None);
        for text in ["", "acme", "acme/", "/ana", "a/b/c", "../ana", "acme/.."] {
            assert!(Account::parse(text).is_err(), "{text}");
            assert!(WorkspaceId::parse(&format!("{PREFIX}{text}")).is_err(), "{text}");
        }
    }
}
