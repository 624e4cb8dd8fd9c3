//! What `list` showed.

use super::{FieldPath, Part, SourceId, SourceName, side_by_side};
use std::collections::BTreeMap;
use std::fmt;

/// One row of a complete `list` answer.
#[derive(Debug, Clone, PartialEq)]
pub struct ObservedSource {
    /// `id` or `source_id`, when there.
    pub id: Option<SourceId>,
    /// `name`
    pub name: SourceName,
    /// `type`, when there.
    pub kind: Option<String>,
    /// `connection_config` and `metadata`, as far as they are echoed.
    pub echo: Echo,
}

/// What a row echoes of a source's definition. It may hold credentials in plain text: no `Display`,
/// no `Serialize`, and `Debug` shows nothing.
#[derive(Clone, PartialEq, Default)]
pub struct Echo {
    /// `connection_config`, `None` when absent or null.
    pub connection_config: Option<serde_json::Value>,
    /// `metadata` without our stamp, `None` when absent or null.
    pub metadata: Option<serde_json::Value>,
    /// `metadata.wellspring.owner`, when there.
    pub owner: Option<String>,
    /// `metadata.wellspring.writer`, when there: which state wrote the row.
    pub writer: Option<String>,
    /// `metadata.wellspring.fingerprint`, when there.
    pub fingerprint: Option<String>,
}

impl Echo {
    /// The echoed leaves by path, masked and null ones left out: those are unknown, never drift.
    #[must_use]
    pub fn leaves(&self) -> BTreeMap<FieldPath, &serde_json::Value> {
        let mut out = self.all_leaves();
        out.retain(|_, value| !is_hidden(value));
        out
    }

    /// The paths of every echoed leaf that is set, masked ones with them.
    #[must_use]
    pub fn set_paths(&self) -> Vec<FieldPath> {
        let set = self.all_leaves().into_iter().filter(|(_, value)| !value.is_null());
        set.map(|(path, _)| path).collect()
    }

    /// Does the row show the half of the definition that `path` lies in?
    #[must_use]
    pub fn shows_half_of(&self, path: &FieldPath) -> bool {
        let half =
            if path.as_str().starts_with("metadata.") { &self.metadata } else { &self.connection_config };
        matches!(half, Some(serde_json::Value::Object(_)))
    }

    fn all_leaves(&self) -> BTreeMap<FieldPath, &serde_json::Value> {
        let mut out = BTreeMap::new();
        side_by_side([self.into()], |path, [leaf]| {
            if let Some(Part::Json(value)) = leaf {
                out.insert(path.clone(), value);
            }
        });
        out
    }
}

impl fmt::Debug for Echo {
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

/// Null, or a text of nothing but `*`, `•` or `x` (three or more), or `<redacted>` and its like.
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
