//! Desired state from the files, after aliases, defaults and templates are applied.

use super::zip_leaves::{DefinitionView, zip_leaves};
use super::{
    ConfigValue, FieldPath, LeafValue, Policy, Scope, SortedMap, SourceKey, SourceName, WorkspaceId,
    WorkspaceRef,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Desired state of one (workspace, scope).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredWorkspace {
    /// The workspace and scope.
    pub unit: WorkspaceRef,
    /// The alias from `wellspring.toml`, if any.
    pub alias: Option<String>,
    /// Effective policy of repository and file.
    ///
    /// The limits of the host are applied later.
    pub policy: Policy,
    /// Sorted by name; names and keys are unique within the workspace.
    pub sources: Vec<DesiredSource>,
    /// `[moved]`
    pub moved: Vec<Moved>,
    /// `[removed.KEY]`
    pub removed: Vec<Removed>,
    /// Files that declare this workspace, sorted.
    pub files: Vec<Arc<str>>,
}

impl DesiredWorkspace {
    /// Returns the display name of the workspace: its alias, else its id.
    #[must_use]
    pub fn label(&self) -> &str {
        self.alias.as_deref().unwrap_or(self.unit.workspace.as_str())
    }

    /// Returns all names of the workspace: alias (or id) and id.
    #[must_use]
    pub fn names(&self) -> [&str; 2] {
        [self.label(), self.unit.workspace.as_str()]
    }

    /// Returns the source of this name, if one is declared.
    #[must_use]
    pub fn source(&self, name: &SourceName) -> Option<&DesiredSource> {
        let at = self.sources.binary_search_by(|source| source.name.cmp(name)).ok()?;
        self.sources.get(at)
    }

    /// Returns the workspace id.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        &self.unit.workspace
    }

    /// Returns the scope.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.unit.scope
    }
}

/// One declared source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredSource {
    /// Key of the source's table in the files.
    pub key: SourceKey,
    /// Name on the platform.
    pub name: SourceName,
    /// Definition that is sent to the platform.
    pub definition: Arc<Definition>,
    /// `protect = true`: neither cleaned up nor replaced.
    pub protect: bool,
    /// `adopt`, if set for this source.
    pub adopt: Option<super::Adopt>,
    /// `sync`
    pub sync: Option<SyncSpec>,
    /// `sync_options`, as sent.
    pub sync_options: serde_json::Map<String, serde_json::Value>,
    /// `suspend`
    pub suspend: Option<Suspend>,
    /// `test`
    pub test: TestSpec,
    /// Location of the source's table.
    pub at: SourceLocation,
}

/// The part of a source that the platform stores.
///
/// These are `type`, `connection_config` and `metadata` of the API.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// `type`: any string, passed through.
    #[serde(rename = "type")]
    pub kind: String,
    /// `connection_config`: any keys, with references in place of secrets.
    pub connection_config: SortedMap<ConfigValue>,
    /// `metadata`: any keys but the reserved `wellspring`, without secrets.
    pub metadata: SortedMap<serde_json::Value>,
}

impl Definition {
    /// Returns true if any value of `connection_config` refers to a secret.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.connection_config.values().any(ConfigValue::has_secret)
    }

    /// Returns the leaves of `connection_config` and `metadata`, by path.
    #[must_use]
    pub fn leaves(&self) -> BTreeMap<FieldPath, LeafValue> {
        let mut out = BTreeMap::new();
        zip_leaves([self.into()], |path, [leaf]| {
            out.extend(leaf.map(|leaf| (path.clone(), leaf.leaf())));
        });
        out
    }
}

impl<'a> From<&'a Definition> for DefinitionView<'a> {
    fn from(definition: &'a Definition) -> Self {
        Self::declared(&definition.connection_config, &definition.metadata)
    }
}

/// `[moved] old = "new"`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The old key.
    pub from: SourceKey,
    /// The new key.
    pub to: SourceKey,
    /// Location of the entry.
    pub at: SourceLocation,
}

/// `[removed.KEY]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The key that was removed.
    pub key: SourceKey,
    /// Action to take: remove the source, or stop managing it.
    pub action: RemovedAction,
    /// Reason given by the author.
    pub reason: String,
    /// Location of the entry.
    pub at: SourceLocation,
}

/// `[removed.KEY] action`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovedAction {
    /// Remove the source from the platform.
    Cleanup,
    /// Leave the source on the platform and stop managing it.
    Forget,
}

/// `suspend = { reason, until }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspend {
    /// Reason given by the author.
    pub reason: String,
    /// Date after which an alert is raised; syncs do not resume by themselves.
    pub until: Option<jiff::civil::Date>,
}

/// `test = { before_connect, every }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSpec {
    /// Test the connection before connecting or replacing.
    pub before_connect: bool,
    /// Interval of regular connection tests.
    pub every: Option<Duration>,
}

impl Default for TestSpec {
    fn default() -> Self {
        Self { before_connect: true, every: None }
    }
}

/// `sync = { … }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SyncSpec {
    /// `every` or `cron`
    pub when: Schedule,
    /// Maximum delay of a firing; the delay differs by source.
    pub jitter: Duration,
    /// Age after which the data is reported as stale.
    pub stale_after: Option<Duration>,
    /// Handling of firings that passed while nothing was running.
    pub missed: Missed,
    /// Maximum duration of a sync.
    pub timeout: Option<Duration>,
    /// Sync right after connecting.
    pub on_connect: bool,
    /// Sync right after replacing.
    pub on_change: bool,
    /// Handling of a firing while the previous sync still runs.
    pub overlap: Overlap,
}

/// Schedule of a sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Schedule {
    /// A fixed period, with a phase that differs by source.
    Every(Duration),
    /// Five cron fields in an IANA time zone.
    Cron {
        /// The expression as written in the files.
        expression: String,
        /// IANA name of the time zone.
        timezone: String,
    },
}

/// `missed`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// Any number of missed firings lead to one run.
    #[default]
    Once,
    /// Missed firings are dropped.
    Skip,
}

/// `overlap`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// The firing is skipped.
    #[default]
    Forbid,
    /// The firing waits for the running sync.
    Queue,
}

/// A line in a file of the project.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SourceLocation {
    /// Path below the project root, with `/`.
    pub file: Arc<str>,
    /// Line number, from 1.
    pub line: u32,
}

impl fmt::Display for SourceLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
