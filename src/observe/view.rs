//! Content of the page and of `/status.json`, derived from a snapshot on request.
//!
//! Problems come first. Every list is bounded.

mod change;
mod row;

pub(super) use change::ChangeRow;
pub(super) use row::SourceRow;

use super::{
    ConfigStatus, Facts, Problem, ShownSources, Snapshot, UnmanagedSource, WithheldAction, WorkspaceSnapshot,
    health,
};
use crate::config::Diagnostic;
use crate::model::{SourceName, WorkspaceRef};
use crate::store::JournalRow;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// Maximum number of entries for each kind of problem; the others are counted.
const MAX_PROBLEMS: usize = 50;
/// Maximum number of next syncs.
const MAX_NEXT_SYNCS: usize = 8;
/// Maximum number of recent changes.
const MAX_RECENT_CHANGES: usize = 12;
/// Maximum number of workspaces on the first page.
const MAX_WORKSPACES: usize = 1_000;
/// Maximum number of sources on the first page; workspace pages list the others.
const MAX_ROWS: usize = 500;
/// Maximum number of sources on the page of a workspace.
const MAX_WORKSPACE_ROWS: usize = 2_000;

/// Content of the first page.
#[derive(Debug, Serialize)]
pub(super) struct PageView {
    pub(super) format_version: u32,
    pub(super) version: &'static str,
    pub(super) at: Timestamp,
    pub(super) started: Timestamp,
    pub(super) root: PathBuf,
    pub(super) platform: String,
    pub(super) platform_trouble: Option<Problem>,
    pub(super) host_warnings: Vec<String>,
    pub(super) dry_run: bool,
    pub(super) ready: bool,
    pub(super) unready: Vec<String>,
    pub(super) unready_strict: Vec<String>,
    pub(super) files: FilesView,
    pub(super) totals: Totals,
    pub(super) stopped: Truncated<FailedWorkspace>,
    pub(super) failing: Truncated<SourceRow>,
    pub(super) stale: Truncated<SourceRow>,
    pub(super) withheld: Truncated<WithheldRow>,
    pub(super) suspended: Truncated<SourceRow>,
    pub(super) unmanaged: Truncated<UnmanagedRow>,
    pub(super) next: Vec<SourceRow>,
    pub(super) changes: Vec<ChangeRow>,
    pub(super) workspaces: Truncated<WorkspaceView>,
}

#[derive(Debug, Serialize)]
pub(super) struct FilesView {
    pub(super) accepted: bool,
    pub(super) read_at: Option<Timestamp>,
    pub(super) count: usize,
    pub(super) commit: Option<Arc<str>>,
    pub(super) errors: usize,
    pub(super) rejected: Vec<Diagnostic>,
    pub(super) warnings: Truncated<Diagnostic>,
    pub(super) unreadable: Option<String>,
    pub(super) elsewhere: bool,
}

/// Counts. A withheld change may concern a source that is no longer declared.
#[derive(Debug, Default, Serialize)]
pub(super) struct Totals {
    pub(super) workspaces: usize,
    /// Workspaces whose pass failed, or that a broken file holds back.
    pub(super) stopped: usize,
    pub(super) sources: usize,
    pub(super) in_sync: usize,
    pub(super) pending: usize,
    /// No pass has looked at them.
    pub(super) unknown: usize,
    pub(super) failing: usize,
    pub(super) stale: usize,
    pub(super) withheld: usize,
    pub(super) suspended: usize,
    pub(super) unmanaged: usize,
}

/// Beginning of a list, and the number of omitted entries.
#[derive(Debug, Serialize)]
pub(super) struct Truncated<T> {
    pub(super) listed: Vec<T>,
    pub(super) more: usize,
}

/// A workspace whose pass failed, or that a broken file holds back.
#[derive(Debug, Serialize)]
pub(super) struct FailedWorkspace {
    pub(super) workspace: String,
    #[serde(flatten, serialize_with = "WorkspaceRef::beside_its_name")]
    pub(super) workspace_ref: WorkspaceRef,
    pub(super) message: String,
    pub(super) since: Option<Timestamp>,
}

#[derive(Debug, Serialize)]
pub(super) struct WithheldRow {
    pub(super) workspace: String,
    #[serde(flatten)]
    pub(super) withheld: WithheldAction,
}

#[derive(Debug, Serialize)]
pub(super) struct UnmanagedRow {
    pub(super) workspace: String,
    #[serde(flatten, serialize_with = "WorkspaceRef::beside_its_name")]
    pub(super) workspace_ref: WorkspaceRef,
    #[serde(flatten)]
    pub(super) stranger: UnmanagedSource,
}

/// A workspace with its sources.
#[derive(Debug, Serialize)]
pub(super) struct WorkspaceView {
    pub(super) workspace: String,
    #[serde(flatten, serialize_with = "WorkspaceRef::beside_its_name")]
    pub(super) workspace_ref: WorkspaceRef,
    pub(super) totals: Totals,
    pub(super) passed_at: Option<Timestamp>,
    pub(super) good_at: Option<Timestamp>,
    pub(super) sources: Truncated<SourceRow>,
    /// Shown on the workspace's page only.
    #[serde(skip)]
    pub(super) withheld: Vec<WithheldRow>,
    /// Shown on the workspace's page only.
    #[serde(skip)]
    pub(super) unmanaged: Truncated<UnmanagedRow>,
}

/// Current time and the time zone of displayed times.
#[derive(Clone)]
pub(super) struct PageContext {
    pub(super) now: Timestamp,
    pub(super) zone: TimeZone,
}

impl<T> Truncated<T> {
    fn of(all: impl Iterator<Item = T>, most: usize) -> Self {
        let mut all = all;
        let listed: Vec<T> = all.by_ref().take(most).collect();
        Self { listed, more: all.count() }
    }

    pub(super) fn len(&self) -> usize {
        self.listed.len() + self.more
    }

    pub(super) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }
}

impl PageView {
    pub(super) fn of(snapshot: &Snapshot, journal: Vec<JournalRow>, here: &PageContext) -> Self {
        let unready = health::unready_reasons(snapshot, here.now);
        let files = &snapshot.files;
        let mut totals = Totals::default();
        snapshot.workspaces.iter().for_each(|workspace| totals.add(workspace));
        let rows = |wanted: fn(&Facts, &ShownSources) -> bool| {
            let all = each(snapshot).filter(move |(_, source, facts)| wanted(facts, source));
            Truncated::of(
                all.map(|(workspace, source, facts)| SourceRow::of(workspace, source, facts, here)),
                MAX_PROBLEMS,
            )
        };
        let withheld = snapshot.workspaces.iter().flat_map(|workspace| WithheldRow::of(workspace));
        let unmanaged = snapshot.workspaces.iter().flat_map(|workspace| UnmanagedRow::of(workspace));
        let mut unmanaged = Truncated::of(unmanaged, MAX_PROBLEMS);
        unmanaged.more = totals.unmanaged - unmanaged.listed.len();
        Self {
            format_version: 1,
            version: env!("CARGO_PKG_VERSION"),
            at: here.now,
            started: snapshot.about.started,
            root: snapshot.about.root.clone(),
            platform: snapshot.about.platform.clone(),
            platform_trouble: snapshot.platform.clone(),
            host_warnings: snapshot.about.warnings.clone(),
            dry_run: snapshot.about.dry_run,
            ready: unready.is_empty(),
            unready,
            unready_strict: health::strict_unready_reasons(snapshot, here.now),
            files: FilesView {
                accepted: files.are_accepted(),
                read_at: files.read_at,
                count: files.count,
                commit: files.commit.clone(),
                errors: files.errors,
                rejected: files.rejected.clone(),
                warnings: Truncated {
                    listed: files.warnings.clone(),
                    more: files.warning_count - files.warnings.len(),
                },
                unreadable: files.unreadable.clone(),
                elsewhere: files.names_other_platform,
            },
            totals,
            stopped: Truncated::of(
                snapshot.workspaces.iter().filter_map(|w| FailedWorkspace::of(w)),
                MAX_PROBLEMS,
            ),
            failing: rows(|facts, _| facts.is_failing()),
            stale: rows(|facts, _| facts.stale),
            withheld: Truncated::of(withheld, MAX_PROBLEMS),
            suspended: rows(|_, source| source.suspend.is_some()),
            unmanaged,
            next: next(snapshot, here),
            changes: ChangeRow::newest(journal, snapshot, MAX_RECENT_CHANGES),
            workspaces: workspaces(snapshot, here),
        }
    }
}

fn each(snapshot: &Snapshot) -> impl Iterator<Item = (&WorkspaceSnapshot, &ShownSources, &Facts)> {
    snapshot.workspaces.iter().flat_map(|workspace| sources(workspace))
}

fn sources(
    workspace: &WorkspaceSnapshot,
) -> impl Iterator<Item = (&WorkspaceSnapshot, &ShownSources, &Facts)> {
    workspace.declared.iter().zip(&workspace.facts).map(move |(source, facts)| (workspace, source, facts))
}

fn next(snapshot: &Snapshot, here: &PageContext) -> Vec<SourceRow> {
    let mut next: Vec<_> = each(snapshot).filter(|(_, _, facts)| facts.next.is_some()).collect();
    let soonest = |(_, _, facts): &(&WorkspaceSnapshot, &ShownSources, &Facts)| facts.next;
    if next.len() > MAX_NEXT_SYNCS {
        next.select_nth_unstable_by_key(MAX_NEXT_SYNCS, soonest);
        next.truncate(MAX_NEXT_SYNCS);
    }
    next.sort_by_key(soonest);
    next.into_iter().map(|(workspace, source, facts)| SourceRow::of(workspace, source, facts, here)).collect()
}

fn workspaces(snapshot: &Snapshot, here: &PageContext) -> Truncated<WorkspaceView> {
    let mut room = MAX_ROWS;
    let views = snapshot.workspaces.iter().take(MAX_WORKSPACES).map(|workspace| {
        let view = WorkspaceView::of(workspace, room.min(workspace.facts.len()), here);
        room -= view.sources.listed.len();
        view
    });
    let listed: Vec<_> = views.collect();
    Truncated { more: snapshot.workspaces.len() - listed.len(), listed }
}

impl WorkspaceView {
    pub(super) fn of(workspace: &WorkspaceSnapshot, most: usize, here: &PageContext) -> Self {
        let mut totals = Totals::default();
        totals.add(workspace);
        let rows =
            sources(workspace).take(most).map(|(w, source, facts)| SourceRow::of(w, source, facts, here));
        let listed: Vec<SourceRow> = rows.collect();
        Self {
            workspace: workspace.desired.label().to_owned(),
            workspace_ref: workspace.workspace_ref().clone(),
            totals,
            passed_at: workspace.last_passed_at,
            good_at: workspace.last_good_at,
            sources: Truncated { more: workspace.facts.len() - listed.len(), listed },
            withheld: Vec::new(),
            unmanaged: Truncated { listed: Vec::new(), more: workspace.unmanaged },
        }
    }

    pub(super) fn withheld_of(workspace: Option<&WorkspaceSnapshot>, name: &SourceName) -> Vec<WithheldRow> {
        let rows = workspace.into_iter().flat_map(WithheldRow::of);
        rows.filter(|row| row.withheld.name == *name).collect()
    }

    /// Creates the content of the workspace's own page.
    pub(super) fn in_full(workspace: &WorkspaceSnapshot, here: &PageContext) -> Self {
        let strangers: Vec<UnmanagedRow> = UnmanagedRow::of(workspace).collect();
        Self {
            withheld: WithheldRow::of(workspace).collect(),
            unmanaged: Truncated { more: workspace.unmanaged - strangers.len(), listed: strangers },
            ..Self::of(workspace, MAX_WORKSPACE_ROWS, here)
        }
    }
}

impl WithheldRow {
    fn of(workspace: &WorkspaceSnapshot) -> impl Iterator<Item = Self> {
        let label = workspace.desired.label();
        workspace
            .withheld
            .iter()
            .map(move |withheld| Self { workspace: label.to_owned(), withheld: withheld.clone() })
    }
}

impl UnmanagedRow {
    fn of(workspace: &WorkspaceSnapshot) -> impl Iterator<Item = Self> {
        workspace.unmanaged_sources.iter().map(move |stranger| Self {
            workspace: workspace.desired.label().to_owned(),
            workspace_ref: workspace.workspace_ref().clone(),
            stranger: stranger.clone(),
        })
    }
}

impl Totals {
    fn add(&mut self, workspace: &WorkspaceSnapshot) {
        self.workspaces += 1;
        self.stopped += usize::from(FailedWorkspace::of(workspace).is_some());
        self.sources += workspace.facts.len();
        self.unmanaged += workspace.unmanaged;
        self.withheld += workspace.withheld.len();
        for (source, facts) in workspace.declared.iter().zip(&workspace.facts) {
            self.in_sync += usize::from(facts.config == ConfigStatus::InSync);
            self.pending += usize::from(facts.config == ConfigStatus::Pending);
            self.unknown += usize::from(facts.config == ConfigStatus::Unknown);
            self.failing += usize::from(facts.is_failing());
            self.stale += usize::from(facts.stale);
            self.suspended += usize::from(source.suspend.is_some());
        }
    }
}

impl FailedWorkspace {
    pub(super) fn of(workspace: &WorkspaceSnapshot) -> Option<Self> {
        let (message, since) = match (&workspace.error, &workspace.blocked_by) {
            // Shown once for all workspaces.
            (Some(error), _) if error.is_platform_wide() => return None,
            (Some(error), _) => (error.message.clone(), Some(error.since)),
            (None, Some(file)) => (format!("kept at its last valid configuration: {file} has errors"), None),
            (None, None) => return None,
        };
        let (label, workspace_ref) =
            (workspace.desired.label().to_owned(), workspace.workspace_ref().clone());
        Some(Self { workspace: label, workspace_ref, message, since })
    }
}
