//! A definition with cached JSON.
//!
//! The JSON is used three times: for the ownership marker, for the intent and for the inventory.

use super::{Declared, Definition, Fields};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A definition that caches its JSON.
#[derive(Clone)]
pub struct Worded {
    definition: Arc<Definition>,
    words: OnceLock<Box<RawValue>>,
}

/// A definition that serialises with sorted keys, like `serde_json` values.
#[derive(Serialize)]
pub struct Sorted<'a> {
    connection_config: &'a Fields<Declared>,
    metadata: &'a Fields<Value>,
    r#type: &'a str,
}

impl Definition {
    /// Returns a wrapper that serialises with sorted keys.
    #[must_use]
    pub fn sorted(&self) -> Sorted<'_> {
        let Self { kind, connection_config, metadata } = self;
        Sorted { connection_config, metadata, r#type: kind }
    }
}

impl Worded {
    /// Returns the definition as JSON with sorted keys.
    #[must_use]
    pub fn words(&self) -> &RawValue {
        self.words.get_or_init(|| {
            #[expect(clippy::expect_used, reason = "its maps have text for keys")]
            to_raw_value(&self.sorted()).expect("a definition is representable in JSON")
        })
    }

    /// Returns true if both definitions are equal.
    #[must_use]
    pub fn is(&self, definition: &Arc<Definition>) -> bool {
        Arc::ptr_eq(&self.definition, definition) || self.definition == *definition
    }

    /// Returns the shared definition.
    #[must_use]
    pub fn shared(&self) -> &Arc<Definition> {
        &self.definition
    }
}

impl From<Arc<Definition>> for Worded {
    fn from(definition: Arc<Definition>) -> Self {
        Self { definition, words: OnceLock::new() }
    }
}

impl Deref for Worded {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.definition
    }
}

/// Compares the definitions only.
impl PartialEq for Worded {
    fn eq(&self, other: &Self) -> bool {
        self.is(&other.definition)
    }
}

impl fmt::Debug for Worded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.definition, f)
    }
}

impl Serialize for Worded {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.words.get() {
            Some(words) => words.serialize(serializer),
            None => self.definition.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Worded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Arc::deserialize(deserializer).map(Self::from)
    }
}
