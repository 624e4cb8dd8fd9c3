//! A definition with cached JSON.
//!
//! The JSON is used three times: for the ownership marker, for the intent and for the inventory.

use super::{ConfigValue, Definition, SortedMap};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use std::fmt;
use std::ops::Deref;
use std::sync::{Arc, OnceLock};

/// A definition that caches its JSON.
#[derive(Clone)]
pub struct CachedJson {
    definition: Arc<Definition>,
    cached_json: OnceLock<Box<RawValue>>,
}

/// A definition that serialises with sorted keys, like `serde_json` values.
#[derive(Serialize)]
pub struct SortedKeys<'a> {
    connection_config: &'a SortedMap<ConfigValue>,
    metadata: &'a SortedMap<Value>,
    r#type: &'a str,
}

impl Definition {
    /// Returns a wrapper that serialises with sorted keys.
    #[must_use]
    pub fn sorted(&self) -> SortedKeys<'_> {
        let Self { kind, connection_config, metadata } = self;
        SortedKeys { connection_config, metadata, r#type: kind }
    }
}

impl CachedJson {
    /// Returns the definition as JSON with sorted keys.
    #[must_use]
    pub fn json(&self) -> &RawValue {
        self.cached_json.get_or_init(|| {
            #[expect(clippy::expect_used, reason = "its maps have text for keys")]
            to_raw_value(&self.sorted()).expect("a definition is representable in JSON")
        })
    }

    /// Returns true if both definitions are equal.
    #[must_use]
    pub fn eq_definition(&self, definition: &Arc<Definition>) -> bool {
        Arc::ptr_eq(&self.definition, definition) || self.definition == *definition
    }

    /// Returns the shared definition.
    #[must_use]
    pub fn shared(&self) -> &Arc<Definition> {
        &self.definition
    }
}

impl From<Arc<Definition>> for CachedJson {
    fn from(definition: Arc<Definition>) -> Self {
        Self { definition, cached_json: OnceLock::new() }
    }
}

impl Deref for CachedJson {
    type Target = Definition;

    fn deref(&self) -> &Definition {
        &self.definition
    }
}

/// Compares the definitions only.
impl PartialEq for CachedJson {
    fn eq(&self, other: &Self) -> bool {
        self.eq_definition(&other.definition)
    }
}

impl fmt::Debug for CachedJson {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.definition, f)
    }
}

impl Serialize for CachedJson {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.cached_json.get() {
            Some(words) => words.serialize(serializer),
            None => self.definition.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for CachedJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Arc::deserialize(deserializer).map(Self::from)
    }
}
