//! Sources with resolved secrets, used only to send them to the platform.

use super::{ConfigValue, Definition, Fingerprint, SortedMap, SourceName};
use secrecy::{ExposeSecret, SecretString};
use serde::ser::{Error as _, SerializeMap, SerializeSeq};
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::cell::Cell;
use std::sync::Arc;

/// A source ready to be sent: its definition and the values of its references.
///
/// The type cannot be printed or serialised by accident; its secrets are wiped from memory when the last
/// source that shares them is dropped.
pub struct ResolvedSource {
    name: SourceName,
    definition: Arc<Definition>,
    /// Values of the leaves that refer to a secret, in their order.
    leaves: Vec<Arc<SecretString>>,
    secrets: Vec<Arc<SecretString>>,
    marker: Option<OwnershipMarker>,
}

/// `metadata.wellspring` as sent: writer and keyed fingerprint of the definition.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnershipMarker {
    /// Fingerprint of the definition.
    pub fingerprint: Fingerprint,
    /// `platform.owner`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
    /// Id of the fingerprint key of the state that wrote the source.
    pub writer: Arc<str>,
}

/// Overwrites every string in `value`; keys and numbers stay.
pub fn wipe(value: &mut Value) {
    match value {
        Value::String(text) => secrecy::zeroize::Zeroize::zeroize(text),
        Value::Array(items) => items.iter_mut().for_each(wipe),
        Value::Object(entries) => entries.values_mut().for_each(wipe),
        _ => {}
    }
}

impl ResolvedSource {
    /// Creates a source; `leaves` are the values of the secret leaves, in their order.
    #[must_use]
    pub fn new(name: SourceName, definition: Arc<Definition>, leaves: Vec<Arc<SecretString>>) -> Self {
        Self { name, definition, leaves, secrets: Vec::new(), marker: None }
    }

    /// Registers the resolved values of the references as secrets.
    ///
    /// Messages of the platform that contain one of them are not shown.
    #[must_use]
    pub fn with_secrets(self, secrets: Vec<Arc<SecretString>>) -> Self {
        Self { secrets, ..self }
    }

    /// Sets the ownership marker to send.
    #[must_use]
    pub fn with_marker(self, stamp: OwnershipMarker) -> Self {
        Self { marker: Some(stamp), ..self }
    }

    /// Returns the ownership marker, if one is sent.
    #[must_use]
    pub fn marker(&self) -> Option<&OwnershipMarker> {
        self.marker.as_ref()
    }

    /// Iterates over the registered values of the references.
    pub fn secrets(&self) -> impl Iterator<Item = &SecretString> {
        self.secrets.iter().map(|secret| &**secret)
    }

    /// Returns the API's `name`.
    #[must_use]
    pub fn name(&self) -> &SourceName {
        &self.name
    }

    /// Returns the API's `type`.
    #[must_use]
    pub fn kind(&self) -> &str {
        &self.definition.kind
    }

    /// Returns the API's `metadata` without the ownership marker.
    pub(super) fn declared_metadata(&self) -> &SortedMap<Value> {
        &self.definition.metadata
    }

    /// Returns the API's `metadata` with the ownership marker; `None` if empty.
    #[must_use]
    pub fn metadata(&self) -> Option<Metadata<'_>> {
        let (metadata, stamp) = (&self.definition.metadata, self.marker.as_ref());
        (!metadata.is_empty() || stamp.is_some()).then_some(Metadata { metadata, marker: stamp })
    }

    /// Returns the API's `connection_config` with secrets.
    ///
    /// For the body of a request only.
    #[must_use]
    pub fn expose_connection_config(&self) -> ExposedConfig<'_> {
        ExposedConfig { config: &self.definition.connection_config, leaves: &self.leaves }
    }
}

/// The API's `metadata` as it is sent.
pub struct Metadata<'a> {
    metadata: &'a SortedMap<Value>,
    marker: Option<&'a OwnershipMarker>,
}

impl Serialize for Metadata<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, value) in self.metadata {
            map.serialize_entry(key, value)?;
        }
        if let Some(stamp) = self.marker {
            map.serialize_entry("wellspring", stamp)?;
        }
        map.end()
    }
}

/// `connection_config` with secrets in it.
pub struct ExposedConfig<'a> {
    config: &'a SortedMap<ConfigValue>,
    leaves: &'a [Arc<SecretString>],
}

impl Serialize for ExposedConfig<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let next = Cell::new(self.leaves);
        serializer
            .collect_map(self.config.iter().map(|(key, value)| (key, ExposedSecret { value, next: &next })))
    }
}

/// A value within it; secret leaves are taken from `next` in order.
struct ExposedSecret<'a, 'b> {
    value: &'a ConfigValue,
    next: &'b Cell<&'a [Arc<SecretString>]>,
}

impl Serialize for ExposedSecret<'_, '_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let next = self.next;
        match self.value {
            ConfigValue::Bool(value) => serializer.serialize_bool(*value),
            ConfigValue::Integer(value) => serializer.serialize_i64(*value),
            ConfigValue::Float(value) => serializer.serialize_f64(*value),
            ConfigValue::String(value) => serializer.serialize_str(value),
            ConfigValue::Template(_) | ConfigValue::Secret(_) => {
                let (leaf, rest) = next.get().split_first().ok_or_else(|| S::Error::custom("no value"))?;
                next.set(rest);
                serializer.serialize_str(leaf.expose_secret())
            }
            ConfigValue::Array(items) => {
                let mut list = serializer.serialize_seq(Some(items.len()))?;
                for value in items {
                    list.serialize_element(&ExposedSecret { value, next })?;
                }
                list.end()
            }
            ConfigValue::Table(entries) => serializer
                .collect_map(entries.iter().map(|(key, value)| (key, ExposedSecret { value, next }))),
        }
    }
}
