//! What `list` showed.

use super::{FieldPath, SourceId, SourceName, flatten_json};
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
    /// `metadata.wellspring.fingerprint`, when there.
    pub fingerprint: Option<String>,
}

impl Echo {
    /// The echoed leaves by path, masked and null ones left out: those are unknown, never drift.
    #[must_use]
    pub fn leaves(&self) -> BTreeMap<FieldPath, &serde_json::Value> {
        let mut out = self.all_leaves();
        out.retain(|_, value| !is_masked(value));
        out
    }

    /// The paths of every echoed leaf that is set, masked ones with them.
    #[must_use]
    pub fn set_paths(&self) -> Vec<FieldPath> {
        let set = self.all_leaves().into_iter().filter(|(_, value)| !value.is_null());
        set.map(|(path, _)| path).collect()
    }

    /// The row shows the definition's part that `path` lies in, and the path is not in it. Masked or
    /// null it would be.
    #[must_use]
    pub fn lacks(&self, path: &FieldPath) -> bool {
        let part =
            if path.as_str().starts_with("metadata.") { &self.metadata } else { &self.connection_config };
        matches!(part, Some(serde_json::Value::Object(_))) && !self.all_leaves().contains_key(path)
    }

    fn all_leaves(&self) -> BTreeMap<FieldPath, &serde_json::Value> {
        let mut out = BTreeMap::new();
        for (root, value) in [("connection_config", &self.connection_config), ("metadata", &self.metadata)] {
            if let Some(serde_json::Value::Object(entries)) = value {
                let root = FieldPath::root(root);
                for (key, value) in entries {
                    flatten_json(&root.key(key), value, &mut out);
                }
            }
        }
        out
    }
}

impl fmt::Debug for Echo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Echo(…)")
    }
}

/// Null, or a text of nothing but `*`, `•` or `x` (three or more), or `<redacted>` and its like.
#[must_use]
pub fn is_masked(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::String(text) => {
            let long = text.chars().count() >= 3;
            (long && ['*', '•', 'x', 'X'].iter().any(|mask| text.chars().all(|c| c == *mask)))
                || matches!(
                    text.trim_matches(['<', '>', '[', ']', '(', ')']).to_ascii_lowercase().as_str(),
                    "redacted" | "masked" | "hidden" | "secret" | "sensitive"
                ) && text.starts_with(['<', '[', '('])
        }
        _ => false,
    }
}
