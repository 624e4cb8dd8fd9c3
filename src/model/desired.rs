//! What the files say, after aliases, defaults and templates are applied.

use super::{
    Declared, FieldPath, Fields, FoldedUnit, Leaf, Policy, Scope, SourceKey, SourceName, Unit, WorkspaceId,
    side_by_side,
};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// One reading of the whole tree. Units are sorted, and each stands once.
#[derive(Debug, Clone, Default)]
pub struct Desired {
    /// `platform.url`, when the tree names one.
    pub platform: Option<PlatformUrl>,
    /// `platform.owner`: stamped on what we connect (`metadata.wellspring.owner`).
    pub owner: Option<String>,
    /// Every (workspace, scope) that a readable file declares, sorted by [`Unit`].
    pub units: Vec<Arc<FoldedUnit>>,
    /// Units that were not put together, as nothing needs to be done about them. Sorted.
    pub settled: Vec<SettledUnit>,
    /// Files with errors. They hold back the workspaces they are known to declare.
    pub broken: Vec<BrokenFile>,
}

impl Desired {
    /// The units, each open.
    pub fn open_units(&self) -> impl Iterator<Item = Arc<DesiredUnit>> {
        self.units.iter().map(|unit| unit.open())
    }
}

/// `platform.url` in the files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlatformUrl {
    /// `"local"`: the embedded Data API.
    Local,
    /// A base URL, with or without `/api/v1`.
    Remote(String),
}

/// A file that could not be read or has errors in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenFile {
    /// Path below the tree's root.
    pub file: Arc<str>,
    /// The units its readable part names; `None` when not even that could be read.
    pub units: Option<Vec<Unit>>,
}

/// A unit whose files are as they were when it was found to be as declared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledUnit {
    /// The workspace and scope.
    pub unit: Unit,
    /// The files that declare it, sorted.
    pub files: Vec<Arc<str>>,
}

/// What the files say about one (workspace, scope).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredUnit {
    /// The workspace and scope.
    pub unit: Unit,
    /// The alias from `wellspring.toml`, when it has one.
    pub alias: Option<String>,
    /// The policy in force: repository, then file; the host's limits come later.
    pub policy: Policy,
    /// Sorted by name; names and keys are unique within the unit.
    pub sources: Vec<DesiredSource>,
    /// `[moved]`
    pub moved: Vec<Moved>,
    /// `[removed.KEY]`
    pub removed: Vec<Removed>,
    /// The files that declare this unit, sorted.
    pub files: Vec<Arc<str>>,
}

impl DesiredUnit {
    /// How people name the workspace: its alias, else its id.
    #[must_use]
    pub fn label(&self) -> &str {
        self.alias.as_deref().unwrap_or(self.unit.workspace.as_str())
    }

    /// The names by which people may call the workspace: its alias, its id.
    #[must_use]
    pub fn names(&self) -> [&str; 2] {
        [self.label(), self.unit.workspace.as_str()]
    }

    /// The source of this name, if one is declared.
    #[must_use]
    pub fn source(&self, name: &SourceName) -> Option<&DesiredSource> {
        let at = self.sources.binary_search_by(|source| source.name.cmp(name)).ok()?;
        self.sources.get(at)
    }

    /// The workspace id.
    #[must_use]
    pub fn workspace(&self) -> &WorkspaceId {
        &self.unit.workspace
    }

    /// The scope.
    #[must_use]
    pub fn scope(&self) -> &Scope {
        &self.unit.scope
    }
}

/// One declared source.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesiredSource {
    /// The table's key.
    pub key: SourceKey,
    /// The name on the platform.
    pub name: SourceName,
    /// What goes to the platform.
    pub definition: Arc<Definition>,
    /// `protect = true`: neither cleaned up nor replaced.
    pub protect: bool,
    /// `adopt`, when said for this source.
    pub adopt: Option<super::Adopt>,
    /// `sync`
    pub sync: Option<SyncSpec>,
    /// `sync_options`, as sent.
    pub sync_options: serde_json::Map<String, serde_json::Value>,
    /// `suspend`
    pub suspend: Option<Suspend>,
    /// `test`
    pub test: TestSpec,
    /// Where the source's table stands.
    pub at: Place,
}

/// The part of a source that the platform holds: the contract's `type`, `connection_config`, `metadata`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Definition {
    /// `type`: an open string, passed through.
    #[serde(rename = "type")]
    pub kind: String,
    /// `connection_config`: open, with references where secrets stand.
    pub connection_config: Fields<Declared>,
    /// `metadata`: open, without secrets; the key `wellspring` is ours and never here.
    pub metadata: Fields<serde_json::Value>,
}

impl Definition {
    /// Returns true if any value of `connection_config` refers to a secret.
    #[must_use]
    pub fn has_secret(&self) -> bool {
        self.connection_config.values().any(Declared::has_secret)
    }

    /// The leaves of `connection_config` and `metadata`, by path.
    #[must_use]
    pub fn leaves(&self) -> BTreeMap<FieldPath, Leaf> {
        let mut out = BTreeMap::new();
        side_by_side([self.into()], |path, [leaf]| {
            out.extend(leaf.map(|leaf| (path.clone(), leaf.leaf())));
        });
        out
    }
}

/// `[moved] old = "new"`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moved {
    /// The key it had.
    pub from: SourceKey,
    /// The key it has now.
    pub to: SourceKey,
    /// Where that is written.
    pub at: Place,
}

/// `[removed.KEY]`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Removed {
    /// The key that was removed.
    pub key: SourceKey,
    /// What is to become of the source.
    pub action: RemovedAction,
    /// Why, in the author's words.
    pub reason: String,
    /// Where that is written.
    pub at: Place,
}

/// `[removed.KEY] action`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemovedAction {
    /// Remove it from the platform.
    Cleanup,
    /// Leave it on the platform and stop owning it.
    Forget,
}

/// `suspend = { reason, until }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspend {
    /// Why.
    pub reason: String,
    /// A date after which an alert is raised; it resumes nothing by itself.
    pub until: Option<jiff::civil::Date>,
}

/// `test = { before_connect, every }`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TestSpec {
    /// Test the connection before connecting or replacing.
    pub before_connect: bool,
    /// Test the connection this often.
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
    pub when: When,
    /// The most by which a firing may be delayed, spread by source.
    pub jitter: Duration,
    /// Data older than this is reported as stale.
    pub stale_after: Option<Duration>,
    /// What to do about firings missed while nothing was running.
    pub missed: Missed,
    /// The longest a sync may take.
    pub timeout: Option<Duration>,
    /// Sync right after connecting.
    pub on_connect: bool,
    /// Sync right after replacing.
    pub on_change: bool,
    /// What to do when a firing comes while the last sync still runs.
    pub overlap: Overlap,
}

/// When a sync fires.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum When {
    /// A fixed period, phase by source.
    Every(Duration),
    /// Five cron fields in an IANA time zone.
    Cron {
        /// as written
        expression: String,
        /// IANA name
        timezone: String,
    },
}

/// `missed`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missed {
    /// Any number of missed firings make one run.
    #[default]
    Once,
    /// Missed firings are gone.
    Skip,
}

/// `overlap`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Overlap {
    /// The firing is spent.
    #[default]
    Forbid,
    /// The firing waits for the running sync.
    Queue,
}

/// A line in a file of the tree.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Place {
    /// Path below the tree's root, with `/`.
    pub file: Arc<str>,
    /// From 1.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}
