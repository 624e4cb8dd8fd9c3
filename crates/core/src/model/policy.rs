//! Policy of a workspace.

use serde::{Deserialize, Serialize};

/// Policy of one workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// Permission to remove managed sources that are no longer declared.
    pub prune: Prune,
    /// Handling of an unmanaged source with a declared name.
    pub adopt: Adopt,
    /// Maximum number of removals in any rolling hour.
    pub max_cleanup: Limit,
    /// Maximum number of replacements in one pass; no limit by default.
    pub max_replace: Option<Limit>,
    /// Handling of a platform that refuses to connect an existing name.
    pub on_conflict: OnConflict,
    /// Handling of a difference in `metadata` only.
    pub metadata: MetadataPolicy,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            prune: Prune::Off,
            adopt: Adopt::Identical,
            max_cleanup: Limit::Percent(30),
            max_replace: None,
            on_conflict: OnConflict::Recreate,
            metadata: MetadataPolicy::Withhold,
        }
    }
}

/// `prune`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Prune {
    /// Removals are withheld.
    Off,
    /// Managed sources may be removed.
    Owned,
}

/// `adopt`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopt {
    /// Leave it alone.
    Never,
    /// Adopt it if every readable field is equal and no undeclared key is returned.
    Identical,
    /// Adopt it if name and type are equal.
    ByName,
    /// Adopt it, then replace it with the declared definition.
    Replace,
}

/// A number, or a percentage of the managed sources of the workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// Maximum number.
    Count(u32),
    /// Maximum percentage of the managed sources, 0 to 100; 100 is no limit.
    Percent(u8),
}

impl Limit {
    /// Returns the number permitted with `owned` managed sources.
    ///
    /// A percentage permits at least one.
    #[must_use]
    pub fn allowed(self, owned: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) if percent >= 100 => usize::MAX,
            Self::Percent(percent) => (owned * usize::from(percent) / 100).max(1),
        }
    }

    /// Returns the number of removals permitted with `owned` managed sources.
    ///
    /// A percentage permits at least three, because a share of few sources is no useful limit.
    #[must_use]
    pub fn allowed_removals(self, owned: usize) -> usize {
        const MIN_REMOVALS: usize = 3;
        match self {
            Self::Count(_) => self.allowed(owned),
            Self::Percent(_) => self.allowed(owned).max(MIN_REMOVALS),
        }
    }
}

/// `on_conflict`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Clean up, then connect; the old definition is restored if the new one fails.
    Recreate,
    /// Do not replace.
    Withhold,
}

/// `metadata`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MetadataPolicy {
    /// Replace the source.
    Replace,
    /// Report the difference, and send it with the next change.
    Withhold,
}
