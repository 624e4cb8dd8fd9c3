//! Snapshot of the daemon: an immutable value, replaced as a whole.
//!
//! Contains only the shown parts of the declarations, and the latest results of passes, syncs and
//! tests for each source. Rows are derived on request.

mod shown;

pub use shown::ShownSources;

use crate::config::Diagnostic;
use crate::model::{
    CompressedWorkspace, Connection, ErrorKind, SourceKey, SourceLocation, SourceName, WorkspaceRef,
};
use crate::store::RunOutcome;
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Reason for a pending source right after its file changed.
const CHANGED: &str = "changed in the files";

/// Published status of the daemon.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// Properties that do not change while the daemon runs.
    pub about: Arc<ProcessInfo>,
    pub at: Timestamp,
    pub files: Arc<FilesStatus>,
    pub platform: Option<Problem>,
    /// Workspaces, sorted by workspace.
    pub workspaces: Vec<Arc<WorkspaceSnapshot>>,
    /// Passes of the last day, oldest first; spans without passes are omitted.
    pub passes: Arc<VecDeque<PassSpan>>,
}

/// Length of a span of passes.
pub(super) const PASS_SPAN: SignedDuration = SignedDuration::from_mins(15);

/// Number of spans kept: one day.
pub(super) const PASS_SPANS: usize = 96;

/// Passes that ended within a quarter of an hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassSpan {
    /// Sequence number since the epoch.
    pub number: i64,
    pub good: u32,
    pub failed: u32,
    pub longest: Duration,
}

/// Counts a pass that ended now.
pub fn record_pass(spans: &mut VecDeque<PassSpan>, took: Duration, good: bool, now: Timestamp) {
    let number = now.as_second() / PASS_SPAN.as_secs();
    if spans.back().is_none_or(|last| last.number != number) {
        // After the clock was set back, drop spans in the future.
        spans.retain(|span| span.number < number && span.number > number - PASS_SPANS as i64);
        spans.push_back(PassSpan { number, good: 0, failed: 0, longest: Duration::ZERO });
    }
    if let Some(last) = spans.back_mut() {
        let counted = if good { &mut last.good } else { &mut last.failed };
        *counted = counted.saturating_add(1);
        last.longest = last.longest.max(took);
    }
}

/// Properties of the daemon.
#[derive(Debug, Clone)]
pub struct ProcessInfo {
    pub root: PathBuf,
    /// Location of the platform, in readable form.
    pub platform: String,
    /// Interval of the full check for drift.
    pub interval: SignedDuration,
    /// True if the daemon never writes.
    pub dry_run: bool,
    pub started: Timestamp,
    /// Warnings about this host, found at the start.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, Default)]
pub struct FilesStatus {
    /// Time of the last read that took effect.
    pub read_at: Option<Timestamp>,
    pub count: usize,
    pub commit: Option<Arc<str>>,
    pub rejected: Vec<Diagnostic>,
    pub errors: usize,
    /// First warnings in them.
    pub warnings: Vec<Diagnostic>,
    pub warning_count: usize,
    /// Reason why the directory cannot be read as a whole, if any.
    pub unreadable: Option<String>,
    /// True if the files name another platform; the daemon then does nothing.
    pub names_other_platform: bool,
}

/// A problem and when it began.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Problem {
    pub kind: ErrorKind,
    pub message: String,
    /// Time at which it was first seen.
    pub since: Timestamp,
}

/// Status of one workspace and scope.
#[derive(Debug, Clone)]
pub struct WorkspaceSnapshot {
    /// Declaration in the files, kept compressed.
    pub desired: Arc<CompressedWorkspace>,
    /// Shown properties of its sources, sorted by name.
    pub declared: Arc<[ShownSources]>,
    /// Broken file that keeps it at its last valid configuration.
    pub blocked_by: Option<Arc<str>>,
    /// Time at which its last pass ended.
    pub last_passed_at: Option<Timestamp>,
    /// Time of the platform's last list.
    pub last_listed_at: Option<Timestamp>,
    /// Time at which its last successful pass ended.
    pub last_good_at: Option<Timestamp>,
    /// Error of its last pass.
    pub error: Option<Problem>,
    /// Status of each source, in the order of `declared`.
    pub facts: Vec<Facts>,
    /// Number of planned actions not yet carried out, by kind.
    pub pending: BTreeMap<&'static str, u32>,
    pub withheld: Vec<WithheldAction>,
    /// Number of unmanaged, undeclared sources on the platform.
    pub unmanaged: usize,
    pub unmanaged_sources: Vec<UnmanagedSource>,
    pub corrected: Vec<DriftCorrection>,
}

/// Status of one declared source.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    pub config: ConfigStatus,
    /// Reason why it is not in sync.
    pub why: Option<Box<str>>,
    pub managed: bool,
    /// The connected source that the syncs below are of.
    pub connection: Option<Connection>,
    /// True if the platform may list another source that was connected under its name.
    pub unidentified: bool,
    pub next: Option<Timestamp>,
    /// Time at which the last successful sync ended.
    pub last_success: Option<Timestamp>,
    pub last: Option<Box<LastSyncStatus>>,
    /// The sync before the one in progress.
    pub previous: Option<Box<LastSyncStatus>>,
    /// True if its data is older than `stale_after`.
    pub stale: bool,
    pub test: Option<Box<Test>>,
}

/// CONFIG: comparison of the files with the platform.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ConfigStatus {
    Failing,
    Withheld,
    /// An action is still to be carried out.
    Pending,
    Suspended,
    /// Not checked yet.
    #[default]
    Unknown,
    InSync,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastSyncStatus {
    /// Time at which it ended, or began if it is running.
    pub at: Timestamp,
    pub outcome: RunOutcome,
    pub message: Option<Box<str>>,
    pub took: Option<Duration>,
    /// Number of records, if the platform reported it.
    pub records: Option<u64>,
}

/// An unmanaged, undeclared source on the platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct UnmanagedSource {
    pub name: SourceName,
    /// Type of the source, if the list contains it.
    #[serde(rename = "type")]
    pub kind: Option<String>,
}

/// CONN: a connection test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Test {
    pub at: Timestamp,
    /// True if the platform could connect.
    pub up: bool,
    pub message: String,
    /// Time since which the result is the same.
    pub since: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WithheldAction {
    pub source: SourceKey,
    pub name: SourceName,
    /// Kind of action: `cleanup`, `replace`, `adopt` or `connect`.
    pub action: &'static str,
    /// Word of plans for the action.
    #[serde(skip)]
    pub word: &'static str,
    pub code: &'static str,
    pub reason: String,
    /// Position in the files.
    pub at: Option<SourceLocation>,
    /// Command or setting that allows it.
    pub allow: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DriftCorrection {
    pub source: SourceKey,
    pub name: SourceName,
    /// Word of plans for the action.
    pub word: &'static str,
    pub reason: String,
    pub at: Timestamp,
}

impl Problem {
    /// Returns true for problems of the whole platform, which are shown once.
    pub fn is_platform_wide(&self) -> bool {
        matches!(self.kind, ErrorKind::Unreachable | ErrorKind::Auth | ErrorKind::Token)
    }
}

impl Snapshot {
    pub fn workspace(&self, workspace: &WorkspaceRef) -> Option<&WorkspaceSnapshot> {
        let at = self.workspaces.binary_search_by(|snapshot| snapshot.workspace_ref().cmp(workspace)).ok()?;
        self.workspaces.get(at).map(AsRef::as_ref)
    }

    /// Returns the workspace with this displayed workspace id and scope.
    pub fn workspace_shown_as(&self, id: &str, scope: &str) -> Option<&WorkspaceRef> {
        let mut workspaces = self.workspaces.iter().map(|snapshot| snapshot.workspace_ref());
        workspaces
            .find(|workspace| workspace.workspace.display_text() == id && workspace.scope.as_str() == scope)
    }
}

impl Facts {
    /// Returns true if an action, the last sync or the connection fails.
    pub fn is_failing(&self) -> bool {
        self.config == ConfigStatus::Failing
            || self.last.as_deref().is_some_and(LastSyncStatus::has_failed)
            || self.test.as_ref().is_some_and(|test| !test.up)
    }
}

impl ConfigStatus {
    /// Displayed text.
    pub fn label(self) -> &'static str {
        match self {
            Self::Failing => "failing",
            Self::Withheld => "withheld",
            Self::Pending => "pending",
            Self::Suspended => "suspended",
            Self::Unknown => "unknown",
            Self::InSync => "in sync",
        }
    }
}

impl WorkspaceSnapshot {
    /// Creates the status of a workspace that no pass has checked.
    #[must_use]
    pub fn new(desired: Arc<CompressedWorkspace>) -> Self {
        let declared = ShownSources::all(&desired.open());
        Self {
            facts: vec![Facts::default(); declared.len()],
            declared,
            desired,
            blocked_by: None,
            last_passed_at: None,
            last_listed_at: None,
            last_good_at: None,
            error: None,
            pending: BTreeMap::new(),
            withheld: Vec::new(),
            unmanaged: 0,
            unmanaged_sources: Vec::new(),
            corrected: Vec::new(),
        }
    }

    pub fn workspace_ref(&self) -> &WorkspaceRef {
        &self.desired.unit
    }

    /// Replaces the declaration; sources of the same name keep their status.
    pub fn declare(&mut self, desired: Arc<CompressedWorkspace>) {
        if Arc::ptr_eq(&self.desired, &desired) {
            return;
        }
        let (was, now) = (self.desired.open(), desired.open());
        let mut facts = Vec::with_capacity(now.sources.len());
        for source in &now.sources {
            let before = was.source(&source.name).map(|before| before.definition == source.definition);
            let known = self.facts_mut(&source.name).map(std::mem::take).unwrap_or_default();
            facts.push(match before {
                Some(false) => Facts { config: ConfigStatus::Pending, why: Some(CHANGED.into()), ..known },
                _ => known,
            });
        }
        self.facts = facts;
        self.declared = ShownSources::all(&now);
        self.desired = desired;
    }

    /// Returns the declaration of the source with this name.
    pub fn source(&self, name: &SourceName) -> Option<&ShownSources> {
        self.declared.get(self.index_of(name)?)
    }

    /// Returns the status of the source with this name.
    pub fn facts_mut(&mut self, name: &SourceName) -> Option<&mut Facts> {
        let at = self.index_of(name)?;
        self.facts.get_mut(at)
    }

    fn index_of(&self, name: &SourceName) -> Option<usize> {
        self.declared.binary_search_by(|source| source.name.cmp(name)).ok()
    }
}

impl FilesStatus {
    /// Returns true if all files were valid at the last read.
    pub fn are_accepted(&self) -> bool {
        self.read_at.is_some() && self.errors == 0 && self.unreadable.is_none() && !self.names_other_platform
    }
}

impl LastSyncStatus {
    /// Returns true if the sync has ended.
    pub fn is_over(&self) -> bool {
        self.outcome != RunOutcome::Running
    }

    /// Returns true if the sync failed or its result is unknown.
    pub fn has_failed(&self) -> bool {
        self.outcome.is_failure()
    }
}
