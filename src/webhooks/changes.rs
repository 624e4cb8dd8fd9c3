//! Differences between snapshots, reported once at the start and end of a state.

use crate::model::{SourceName, WorkspaceRef};
use crate::observe::{ConfigStatus, Facts, LastSyncStatus, Snapshot, WorkspaceSnapshot};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of sources named in one notification; the others are counted.
const MAX_NAMED: usize = 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum NotificationEvent {
    /// Files are rejected, the platform is unavailable, or a pass or source fails.
    Failed,
    Recovered,
    Withheld,
    /// Data is older than `stale_after`.
    Stale,
    DriftMended,
}

impl NotificationEvent {
    pub const ALL: [Self; 5] =
        [Self::Failed, Self::Recovered, Self::Withheld, Self::Stale, Self::DriftMended];

    /// Returns the kind as written in files and JSON.
    pub fn key(self) -> &'static str {
        match self {
            Self::DriftMended => "drift-mended",
            other => other.label(),
        }
    }

    /// Returns the kind as shown to people.
    pub fn label(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Recovered => "recovered",
            Self::Withheld => "withheld",
            Self::Stale => "stale",
            Self::DriftMended => "drift corrected",
        }
    }
}

/// One state change, of one workspace or of the daemon as a whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Notification {
    pub event: NotificationEvent,
    pub at: Timestamp,
    /// Display name of the workspace; `None` if all are concerned.
    pub workspace: Option<String>,
    #[serde(rename = "unit")]
    pub workspace_ref: Option<WorkspaceRef>,
    pub sources: Vec<String>,
    /// Number of further sources.
    pub more: usize,
    /// Description; contains no secret.
    pub message: String,
}

#[derive(Default)]
pub(super) struct ReportedState {
    last_snapshot: Option<Arc<Snapshot>>,
    files: bool,
    platform: bool,
    workspaces: BTreeMap<WorkspaceRef, WorkspaceHealth>,
}

/// Problems of one workspace already reported.
#[derive(Default, PartialEq)]
struct WorkspaceHealth {
    stopped: bool,
    failing: BTreeSet<SourceName>,
    withheld: BTreeSet<(SourceName, &'static str)>,
    stale: BTreeSet<SourceName>,
    corrected_until: Option<Timestamp>,
}

impl ReportedState {
    pub(super) fn changes(&mut self, now: &Arc<Snapshot>) -> Vec<Notification> {
        let mut notices = Vec::new();
        self.files(now, &mut notices);
        self.platform(now, &mut notices);
        self.workspaces.retain(|workspace, _| now.workspace(workspace).is_some());
        for workspace in &now.workspaces {
            let before =
                self.last_snapshot.as_ref().and_then(|seen| seen.workspace(workspace.workspace_ref()));
            if before.is_some_and(|before| std::ptr::eq(before, workspace.as_ref())) {
                continue;
            }
            let mut standing = self.workspaces.remove(workspace.workspace_ref()).unwrap_or_default();
            standing.update(workspace, now.at, &mut notices);
            if standing != WorkspaceHealth::default() {
                self.workspaces.insert(workspace.workspace_ref().clone(), standing);
            }
        }
        self.last_snapshot = Some(Arc::clone(now));
        notices
    }

    fn files(&mut self, now: &Snapshot, notices: &mut Vec<Notification>) {
        let files = &now.files;
        let why = match (&files.unreadable, files.rejected.first()) {
            (Some(why), _) => Some(format!("the files cannot be read: {why}")),
            (None, Some(first)) => {
                let more = if files.errors > 1 {
                    format!(" ({} errors in all)", files.errors)
                } else {
                    String::new()
                };
                Some(format!("files are rejected: {}:{}: {}{more}", first.file, first.line, first.message))
            }
            (None, None) if files.names_other_platform => {
                Some("wellspring.toml names another platform".to_owned())
            }
            (None, None) => None,
        };
        report_daemon_problem(&mut self.files, why, "the files are accepted again", now.at, notices);
    }

    fn platform(&mut self, now: &Snapshot, notices: &mut Vec<Notification>) {
        let why = now.platform.as_ref().map(|trouble| trouble.message.clone());
        report_daemon_problem(&mut self.platform, why, "the platform answers again", now.at, notices);
    }
}

fn report_daemon_problem(
    told: &mut bool,
    why: Option<String>,
    over: &str,
    at: Timestamp,
    notices: &mut Vec<Notification>,
) {
    let is = why.is_some();
    if std::mem::replace(told, is) != is {
        let (event, message) = match why {
            Some(why) => (NotificationEvent::Failed, why),
            None => (NotificationEvent::Recovered, over.to_owned()),
        };
        notices.push(Notification {
            event,
            at,
            workspace: None,
            workspace_ref: None,
            sources: Vec::new(),
            more: 0,
            message,
        });
    }
}

impl WorkspaceHealth {
    fn update(&mut self, workspace: &WorkspaceSnapshot, at: Timestamp, notices: &mut Vec<Notification>) {
        let mut say = |event, sources: &[(&SourceName, String)], alone: Option<&str>| {
            if let Some(notice) = notice(workspace, event, at, sources, alone) {
                notices.push(notice);
            }
        };
        // An unavailable platform is reported once for all workspaces.
        let error = workspace.error.as_ref().filter(|error| !error.is_platform_wide());
        match error {
            Some(error) if !self.stopped => {
                self.stopped = true;
                say(NotificationEvent::Failed, &[], Some(&error.message));
            }
            None if self.stopped && workspace.error.is_none() => {
                self.stopped = false;
                say(NotificationEvent::Recovered, &[], Some("its passes go through again"));
            }
            _ => {}
        }
        let names = || workspace.declared.iter().map(|source| &source.name).zip(&workspace.facts);
        let failed: Vec<_> = names()
            .filter(|(name, facts)| facts.is_failing() && !self.failing.contains(*name))
            .map(|(name, facts)| (name, why(facts)))
            .collect();
        let recovered: Vec<_> = names()
            .filter(|(name, facts)| self.failing.contains(*name) && is_healthy(facts))
            .map(|(name, _)| (name, "it works again".to_owned()))
            .collect();
        say(NotificationEvent::Failed, &failed, None);
        say(NotificationEvent::Recovered, &recovered, None);
        self.failing.retain(|name| !recovered.iter().any(|(well, _)| *well == name));
        self.failing.extend(failed.iter().map(|(name, _)| (*name).clone()));
        self.failing.retain(|name| workspace.source(name).is_some());

        let held = || workspace.withheld.iter().map(|it| ((it.name.clone(), it.action), it));
        let new: Vec<_> = held()
            .filter(|(key, _)| !self.withheld.contains(key))
            .map(|(_, it)| (&it.name, format!("{} withheld: {}", it.word, it.reason)))
            .collect();
        say(NotificationEvent::Withheld, &new, None);
        self.withheld = held().map(|(key, _)| key).collect();

        let stale: Vec<_> = names()
            .filter(|(name, facts)| facts.stale && !self.stale.contains(*name))
            .map(|(name, facts)| (name, since(facts.last_success)))
            .collect();
        say(NotificationEvent::Stale, &stale, None);
        self.stale = names().filter(|(_, facts)| facts.stale).map(|(name, _)| name.clone()).collect();

        let mended =
            workspace.corrected.iter().filter(|it| self.corrected_until.is_none_or(|until| it.at > until));
        let mended: Vec<_> = mended.map(|it| (&it.name, format!("{}: {}", it.word, it.reason))).collect();
        say(NotificationEvent::DriftMended, &mended, None);
        self.corrected_until = workspace.corrected.last().map(|it| it.at).or(self.corrected_until);
    }
}

fn why(facts: &Facts) -> String {
    let config = if facts.config == ConfigStatus::Failing { facts.why.as_deref() } else { None };
    let sync = facts.last.as_ref().filter(|last| last.has_failed());
    let sync = sync.map(|last| {
        format!("sync {}: {}", last.outcome.as_str(), last.message.as_deref().unwrap_or("reason unknown"))
    });
    let test =
        facts.test.as_ref().filter(|test| !test.up).map(|test| format!("connection down: {}", test.message));
    config.map(ToOwned::to_owned).or(sync).or(test).unwrap_or_default()
}

/// Returns true if the source works.
///
/// Not yet known while a change or sync is in progress.
fn is_healthy(facts: &Facts) -> bool {
    let settled = !matches!(facts.config, ConfigStatus::Pending | ConfigStatus::Unknown);
    !facts.is_failing() && settled && facts.last.as_deref().is_none_or(LastSyncStatus::is_over)
}

fn since(last_success: Option<Timestamp>) -> String {
    match last_success {
        Some(at) => format!("its data is stale; the last good sync ended at {at:.0}"),
        None => "its data is stale; it has never synced".to_owned(),
    }
}

fn notice(
    workspace: &WorkspaceSnapshot,
    event: NotificationEvent,
    at: Timestamp,
    sources: &[(&SourceName, String)],
    alone: Option<&str>,
) -> Option<Notification> {
    let label = workspace.desired.label();
    let key = |name: &SourceName| {
        workspace.source(name).map_or_else(|| name.to_string(), |source| source.key.to_string())
    };
    let message = match (sources, alone) {
        ([], None) => return None,
        ([], Some(alone)) => format!("{label}: {alone}"),
        ([(name, why)], _) => format!("{label}/{}: {why}", key(name)),
        ([(name, why), ..], _) => format!("{} sources of {label}; {}: {why}", sources.len(), key(name)),
    };
    Some(Notification {
        event,
        at,
        workspace: Some(label.to_owned()),
        workspace_ref: Some(workspace.workspace_ref().clone()),
        sources: sources.iter().take(MAX_NAMED).map(|(name, _)| key(name)).collect(),
        more: sources.len().saturating_sub(MAX_NAMED),
        message,
    })
}
