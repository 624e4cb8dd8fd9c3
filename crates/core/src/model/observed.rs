//! Sources as returned by `list`.

use super::zip_leaves::{DefinitionView, ValueRef, zip_leaves};
use super::{FieldPath, Fingerprint, FingerprintKey, LastApplied, ResolvedSource, SourceId, SourceName};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// One row of a complete `list` response.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedSource {
    /// `id` or `source_id`, if present.
    pub id: Option<SourceId>,
    /// `name`
    pub name: SourceName,
    /// `type`, if present.
    pub kind: Option<String>,
    /// `connection_config` and `metadata`, as far as they are returned.
    pub echo: Readback,
}

/// The part of a definition that a row returns.
///
/// May contain credentials in plain text: no `Display`, no `Serialize`, and `Debug` prints nothing.
#[derive(Clone, Default)]
pub struct Readback {
    content: ReadbackContent,
    /// `metadata.wellspring.owner`, if present.
    pub owner: Option<String>,
    /// `metadata.wellspring.writer`, if present: id of the state that wrote the row.
    pub writer: Option<String>,
    /// `metadata.wellspring.fingerprint`, if present.
    pub fingerprint: Option<String>,
}

#[derive(Clone)]
enum ReadbackContent {
    /// `connection_config` and `metadata` without the ownership marker; `None` if absent or null.
    Values(Option<Value>, Option<Value>),
    /// Those of the source, which the row shows byte for byte. They become values only if needed.
    Sent(Arc<ResolvedSource>, OnceLock<(Option<Value>, Option<Value>)>),
}

impl Default for ReadbackContent {
    fn default() -> Self {
        Self::Values(None, None)
    }
}

impl Readback {
    /// Creates a readback without a marker from `connection_config` and `metadata`.
    #[must_use]
    pub fn of_values(connection_config: Option<Value>, metadata: Option<Value>) -> Self {
        Self { content: ReadbackContent::Values(connection_config, metadata), ..Self::default() }
    }

    /// Creates the readback of a row that equals the sent source.
    #[must_use]
    pub fn of_sent(source: &Arc<ResolvedSource>) -> Self {
        let marker = source.marker();
        Self {
            content: ReadbackContent::Sent(Arc::clone(source), OnceLock::new()),
            owner: marker.and_then(|marker| Some(marker.owner.as_deref()?.to_owned())),
            writer: marker.map(|marker| marker.writer.to_string()),
            fingerprint: marker.map(|marker| marker.fingerprint.to_string()),
        }
    }

    /// Returns the fingerprint of our marker if the row shows exactly the definition and secrets of `applied`.
    #[must_use]
    pub fn marker_as_sent(&self, applied: &LastApplied, key: &FingerprintKey) -> Option<Fingerprint> {
        // The fingerprint covers both.
        self.sent_fingerprint().filter(|sent| applied.key_id == key.id() && applied.stamp == Some(*sent))
    }

    /// Returns the marker's fingerprint if the row equals the sent source.
    pub(crate) fn sent_fingerprint(&self) -> Option<Fingerprint> {
        match &self.content {
            ReadbackContent::Values(..) => None,
            ReadbackContent::Sent(source, _) => source.marker().map(|marker| marker.fingerprint),
        }
    }

    /// Returns `connection_config`, `None` if absent or null.
    #[must_use]
    pub fn connection_config(&self) -> Option<&Value> {
        self.values().0
    }

    /// Returns `metadata` without the ownership marker, `None` if absent or null.
    #[must_use]
    pub fn metadata(&self) -> Option<&Value> {
        self.values().1
    }

    fn values(&self) -> (Option<&Value>, Option<&Value>) {
        let (config, metadata) = match &self.content {
            ReadbackContent::Values(config, metadata) => (config, metadata),
            ReadbackContent::Sent(source, values) => {
                let of = |source: &ResolvedSource| {
                    let config = serde_json::to_value(source.expose_connection_config()).ok();
                    (config, serde_json::to_value(source.declared_metadata()).ok())
                };
                let (config, metadata) = values.get_or_init(|| of(source));
                (config, metadata)
            }
        };
        (config.as_ref(), metadata.as_ref())
    }

    /// Returns the leaves by path, without masked and null ones.
    ///
    /// Those are unknown and never count as drift.
    #[must_use]
    pub fn leaves(&self) -> BTreeMap<FieldPath, &Value> {
        let mut out = self.all_leaves();
        out.retain(|_, value| !is_hidden(value));
        out
    }

    /// Returns the paths of all leaves that are not null, including masked ones.
    #[must_use]
    pub fn set_paths(&self) -> Vec<FieldPath> {
        let set = self.all_leaves().into_iter().filter(|(_, value)| !value.is_null());
        set.map(|(path, _)| path).collect()
    }

    /// Returns true if the row contains the half of the definition that `path` is in.
    #[must_use]
    pub fn returns_section_of(&self, path: &FieldPath) -> bool {
        let half =
            if path.as_str().starts_with("metadata.") { self.metadata() } else { self.connection_config() };
        matches!(half, Some(Value::Object(_)))
    }

    fn all_leaves(&self) -> BTreeMap<FieldPath, &Value> {
        let mut out = BTreeMap::new();
        zip_leaves([self.into()], |path, [leaf]| {
            if let Some(ValueRef::Json(value)) = leaf {
                out.insert(path.clone(), value);
            }
        });
        out
    }
}

impl<'a> From<&'a Readback> for DefinitionView<'a> {
    fn from(echo: &'a Readback) -> Self {
        Self::observed(echo.connection_config(), echo.metadata())
    }
}

impl PartialEq for Readback {
    fn eq(&self, other: &Self) -> bool {
        self.values() == other.values()
            && self.owner == other.owner
            && self.writer == other.writer
            && self.fingerprint == other.fingerprint
    }
}

impl fmt::Debug for Readback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echo(…)")
    }
}

/// Returns true if the platform hides the value, or a part of it.
#[must_use]
pub fn is_hidden(value: &Value) -> bool {
    match value {
        Value::Array(items) => items.iter().any(is_hidden),
        Value::Object(entries) => entries.values().any(is_hidden),
        value => is_masked(value),
    }
}

/// Returns true for null and for placeholders.
///
/// A placeholder is three or more `*`, `•` or `x`, or a word such as `<redacted>`.
#[must_use]
pub fn is_masked(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => match text.chars().next() {
            Some(mask @ ('*' | '•' | 'x' | 'X')) => {
                text.chars().all(|c| c == mask) && text.chars().nth(2).is_some()
            }
            Some('<' | '[' | '(') => matches!(
                text.trim_matches(['<', '>', '[', ']', '(', ')']).to_ascii_lowercase().as_str(),
                "redacted" | "masked" | "hidden" | "secret" | "sensitive"
            ),
            _ => false,
        },
        _ => false,
    }
}
