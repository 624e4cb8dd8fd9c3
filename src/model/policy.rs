//! What a workspace permits.

use serde::{Deserialize, Serialize};

/// The policy of one unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// May sources of ours that the files no longer declare be removed?
    pub prune: Prune,
    /// What to do about a source of that name which is not ours.
    pub adopt: Adopt,
    /// Removals in any rolling hour.
    pub max_cleanup: Limit,
    /// Replacements in one pass; no limit by default.
    pub max_replace: Option<Limit>,
    /// What to do where the platform refuses connect on a taken name.
    pub on_conflict: OnConflict,
    /// What to do when only `metadata` differs.
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
    /// Removals are reported as withheld.
    Off,
    /// What is ours may be removed.
    Owned,
}

/// `adopt`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Adopt {
    /// Leave it alone.
    Never,
    /// Take it over when every readable field is equal and no undeclared key is echoed.
    Identical,
    /// Take it over when name and type are equal.
    ByName,
    /// Take it over, then replace it with what is declared.
    Replace,
}

/// A number, or a percentage of what we own in the unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Limit {
    /// At most this many.
    Count(u32),
    /// At most this share of what is ours, 0 to 100. 100 is no limit.
    Percent(u8),
}

impl Limit {
    /// The number it allows where `owned` sources are ours. A percentage allows at least one.
    #[must_use]
    pub fn of(self, owned: usize) -> usize {
        match self {
            Self::Count(count) => count as usize,
            Self::Percent(percent) if percent >= 100 => usize::MAX,
            Self::Percent(percent) => (owned * usize::from(percent) / 100).max(1),
        }
    }

    /// The number of removals it allows. A share of few sources is no useful limit, so a percentage allows at
    /// least three.
    #[must_use]
    pub fn of_removals(self, owned: usize) -> usize {
        const LEAST: usize = 3;
        match self {
            Self::Count(_) => self.of(owned),
            Self::Percent(_) => self.of(owned).max(LEAST),
        }
    }
}

/// `on_conflict`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnConflict {
    /// Clean up, then connect; the old definition is put back when the new one fails.
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
    /// Report it, and send it along with the next change.
    Withhold,
}
