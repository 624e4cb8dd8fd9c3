//! Sources as returned by `list`.

use super::zip_leaves::{DefinitionView, ValueRef, zip_leaves};
use super::{FieldPath, SourceId, SourceName};
use std::collections::BTreeMap;
use std::fmt;

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
#[derive(Clone, PartialEq, Default)]
pub struct Readback {
    /// `connection_config`, `None` if absent or null.
    pub connection_config: Option<serde_json::Value>,
    /// `metadata` without the ownership marker, `None` if absent or null.
    pub metadata: Option<serde_json::Value>,
    /// `metadata.wellspring.owner`, if present.
    pub owner: Option<String>,
    /// `metadata.wellspring.writer`, if present: id of the state that wrote the row.
    pub writer: Option<String>,
    /// `metadata.wellspring.fingerprint`, if present.
    pub fingerprint: Option<String>,
}

impl Readback {
    /// Returns the leaves by path, without masked and null ones.
    ///
    /// Those are unknown and never count as drift.
    #[must_use]
    pub fn leaves(&self) -> BTreeMap<FieldPath, &serde_json::Value> {
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
            if path.as_str().starts_with("metadata.") { &self.metadata } else { &self.connection_config };
        matches!(half, Some(serde_json::Value::Object(_)))
    }

    fn all_leaves(&self) -> BTreeMap<FieldPath, &serde_json::Value> {
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
        Self::observed(echo.connection_config.as_ref(), echo.metadata.as_ref())
    }
}

impl fmt::Debug for Readback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echo(…)")
    }
}

/// Returns true if the platform hides the value, or a part of it.
#[must_use]
pub fn is_hidden(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Array(items) => items.iter().any(is_hidden),
        serde_json::Value::Object(entries) => entries.values().any(is_hidden),
        value => is_masked(value),
    }
}

/// Returns true for null and for placeholders.
///
/// A placeholder is three or more `*`, `•` or `x`, or a word such as `<redacted>`.
#[must_use]
pub fn is_masked(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(text) => match text.chars().next() {
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
