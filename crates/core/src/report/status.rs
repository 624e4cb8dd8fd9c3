//! Renders the status of sources as a table or JSON.

use super::style::wrap;
use super::{Style, TimeContext, escape, humanize, table};
use crate::model::{
    DataFreshness, DesiredSource, ManagedSource, RunOutcome, SourceKey, SourceName, WorkspaceRef,
};
use crate::schedule::{CompiledSchedule, Freshness, describe, freshness};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

/// Status of one source.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SourceStatus {
    /// Displayed name of the workspace.
    pub workspace: String,
    /// Workspace and scope.
    #[serde(flatten, serialize_with = "WorkspaceRef::beside_its_name")]
    pub workspace_ref: WorkspaceRef,
    /// Key of the source.
    pub source: SourceKey,
    /// Name of the source on the platform.
    pub name: SourceName,
    /// Result of comparing the files with the inventory.
    pub state: SourceState,
    /// Suspension (`suspend`), if any.
    pub suspended: Option<SuspendedUntil>,
    /// Schedule in readable form; `None` without one.
    pub schedule: Option<String>,
    /// Next firing.
    pub next: Option<Next>,
    /// Latest sync; `None` if there was none.
    pub last: Option<LastSync>,
    /// Time at which the last successful sync ended.
    pub last_success: Option<Timestamp>,
    /// True if its data is older than `stale_after`.
    pub stale: bool,
    /// Time since which it is stale.
    pub stale_since: Option<Timestamp>,
    /// True if the last sync or change failed, or two rows claim to be the source.
    pub failing: bool,
    /// Reason for the failure or the unknown state.
    pub reason: Option<String>,
    /// Freshness of the data if `stale_after` is set, or if it is unknown.
    pub freshness: Option<DataFreshness>,
}

/// Reason for unknown data.
pub const UNIDENTIFIED: &str = "the platform lists it without an id, so another source may have taken its place \
                                since the last sync";

/// Result of comparing the files with the inventory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum SourceState {
    /// Managed, and declared as last applied.
    Connected,
    /// Managed, with a changed declaration.
    Changed,
    /// Declared, but not managed yet.
    NotConnected,
    /// Managed, but no longer declared.
    Undeclared,
    /// Quarantined: two rows claim to be this source.
    Quarantined,
    /// There is no state, or a file with errors declares it.
    Unknown,
}

/// Stored information about a source.
#[derive(Debug, Clone, Default)]
pub struct StatusRecord {
    /// Time when its schedule was first seen.
    pub known_since: Option<Timestamp>,
    /// Latest sync; `None` if there was none.
    pub last: Option<LastSync>,
    /// Time at which the last successful sync ended.
    pub last_success: Option<Timestamp>,
    /// True if a sync is due.
    pub due: bool,
    /// Reason for a failure of the last change, the last sync or the source.
    pub reason: Option<String>,
    /// True if the last change failed.
    pub change_failed: bool,
    /// True if the platform may list another source that was connected under its name.
    pub unidentified: bool,
}

/// A suspension (`suspend`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SuspendedUntil {
    /// Declared reason.
    pub reason: String,
    /// Declared last day.
    pub until: Option<Date>,
    /// True if that day has passed.
    pub overdue: bool,
}

/// Next firing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    /// Time of the firing.
    pub at: Timestamp,
    /// Time in the schedule's zone.
    pub in_zone: String,
    /// Time in this host's zone.
    pub local: String,
    /// True if it is already due.
    pub due: bool,
    #[serde(skip)]
    in_both_zones: String,
}

/// A sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastSync {
    /// Time at which it began.
    pub started_at: Timestamp,
    /// Time at which it ended.
    pub finished_at: Option<Timestamp>,
    /// Outcome of the run.
    pub outcome: RunOutcome,
    /// Number of records.
    pub records: Option<u64>,
}

/// Returns the state of a declared or managed source.
#[must_use]
pub fn state_of(
    declared: Option<&DesiredSource>,
    owned: Option<&ManagedSource>,
    quarantined: bool,
) -> SourceState {
    match (declared, owned) {
        _ if quarantined => SourceState::Quarantined,
        (Some(_), None) => SourceState::NotConnected,
        (None, _) => SourceState::Undeclared,
        (Some(source), Some(owned)) if owned.applied.definition.eq_definition(&source.definition) => {
            SourceState::Connected
        }
        (Some(_), Some(_)) => SourceState::Changed,
    }
}

impl SourceStatus {
    /// Creates the status of a declared source.
    ///
    /// An unmanaged source has no next firing and is never stale.
    #[must_use]
    pub fn of_declared(
        label: &str,
        workspace: &WorkspaceRef,
        source: &DesiredSource,
        state: SourceState,
        record: StatusRecord,
        here: TimeContext<'_>,
    ) -> Self {
        let spec = source.sync.as_ref();
        let ours = !matches!(state, SourceState::NotConnected | SourceState::Unknown);
        let active = if ours && source.suspend.is_none() { spec } else { None };
        let next = active.and_then(|spec| {
            let timing = CompiledSchedule::compile(workspace, &source.name, spec).ok()?;
            let at = if record.due { here.now } else { timing.next_after(here.now)? };
            Some(Next { due: record.due, ..Next::of(at, timing.zone(), here) })
        });
        let known_since = record.known_since.unwrap_or(here.now);
        let fresh = active.and_then(|spec| freshness(spec, record.last_success, known_since, here.now));
        let stale_since = match fresh {
            Some(Freshness::Stale { since }) => Some(since),
            _ => None,
        };
        let today = here.now.to_zoned_datetime(here.local_or(&TimeZone::UTC).clone()).date();
        let suspended = source.suspend.as_ref().map(|suspend| SuspendedUntil {
            reason: suspend.reason.clone(),
            until: suspend.until,
            overdue: suspend.until.is_some_and(|until| until < today),
        });
        let freshness = data_freshness(fresh, active.is_some() && record.unidentified);
        let mut record = record;
        if freshness == Some(DataFreshness::Unknown) && record.reason.is_none() {
            record.reason = Some(UNIDENTIFIED.to_owned());
        }
        Self {
            suspended,
            schedule: spec.map(describe),
            next,
            stale: stale_since.is_some(),
            stale_since,
            freshness,
            ..Self::of_undeclared(label, workspace, &source.key, &source.name, state, record)
        }
    }

    /// Creates the status of a managed source that no valid file declares.
    ///
    /// An undeclared source is not synced. The status is unknown if a file with errors may declare
    /// it.
    #[must_use]
    pub fn of_undeclared(
        label: &str,
        workspace: &WorkspaceRef,
        source: &SourceKey,
        name: &SourceName,
        state: SourceState,
        record: StatusRecord,
    ) -> Self {
        let sync_failed = record.last.as_ref().is_some_and(|last| last.outcome.is_failure());
        Self {
            workspace: label.to_owned(),
            workspace_ref: workspace.clone(),
            source: source.clone(),
            name: name.clone(),
            state,
            suspended: None,
            schedule: None,
            next: None,
            last: record.last,
            last_success: record.last_success,
            stale: false,
            stale_since: None,
            failing: sync_failed || record.change_failed || state == SourceState::Quarantined,
            reason: record.reason,
            freshness: None,
        }
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        let never = if self.state == SourceState::Unknown { "unknown" } else { "never" };
        let last = self.last.as_ref().map_or_else(
            || never.to_owned(),
            |last| {
                let records =
                    last.records.map(|n| humanize::count(usize::try_from(n).unwrap_or(usize::MAX), "record"));
                let records = records.map(|records| format!(", {records}")).unwrap_or_default();
                let when = humanize::ago(last.finished_at.unwrap_or(last.started_at), now);
                format!("{when}: {}{records}", last.outcome)
            },
        );
        let data = match (&self.suspended, self.stale_since, self.last_success) {
            _ if self.state == SourceState::Unknown || self.freshness == Some(DataFreshness::Unknown) => {
                "unknown".to_owned()
            }
            (Some(SuspendedUntil { overdue: true, .. }), ..) => "suspended, expired".to_owned(),
            (Some(_), ..) => "suspended".to_owned(),
            (None, Some(since), _) => format!("stale since {}", humanize::ago(since, now)),
            (None, None, Some(_)) if self.freshness == Some(DataFreshness::Fresh) => "fresh".to_owned(),
            (None, None, Some(at)) => format!("as of {}", humanize::ago(at, now)),
            (None, None, None) => "-".to_owned(),
        };
        let next = match &self.next {
            Some(Next { due: true, .. }) => "due now".to_owned(),
            Some(next) => next.in_both_zones.clone(),
            None => "-".to_owned(),
        };
        vec![format!("{}/{}", self.workspace, self.source), self.state.words().to_owned(), last, data, next]
    }
}

fn data_freshness(freshness: Option<Freshness>, unidentified: bool) -> Option<DataFreshness> {
    match freshness {
        Some(Freshness::Stale { .. }) => Some(DataFreshness::Stale),
        _ if unidentified => Some(DataFreshness::Unknown),
        Some(Freshness::Fresh { .. }) => Some(DataFreshness::Fresh),
        None => None,
    }
}

impl SourceState {
    fn words(self) -> &'static str {
        match self {
            Self::Connected => "connected",
            Self::Changed => "changed",
            Self::NotConnected => "not connected",
            Self::Undeclared => "undeclared",
            Self::Quarantined => "quarantined",
            Self::Unknown => "unknown",
        }
    }
}

impl Next {
    fn of(at: Timestamp, zone: &TimeZone, here: TimeContext<'_>) -> Self {
        let local = here.local_or(zone);
        Self {
            at,
            in_zone: humanize::moment(at, zone, here.now),
            local: humanize::moment(at, local, here.now),
            due: false,
            in_both_zones: humanize::moment_in_both(at, zone, local, here.now),
        }
    }
}

/// The running daemon of this state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Keeper {
    /// Holder of the lock, such as `pid 4711 (run)`.
    pub holder: String,
    /// Process id.
    pub pid: Option<u32>,
    /// Time of its start.
    pub since: Timestamp,
}

/// Number of sources in each condition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct StatusTotals {
    /// All sources.
    pub sources: usize,
    /// Sources with a failure.
    pub failing: usize,
    /// Sources with data older than `stale_after`.
    pub stale: usize,
    /// Sources whose declaration differs from the platform.
    pub pending: usize,
    /// Sources with unknown state.
    pub unknown: usize,
    /// Scheduled sources without any sync.
    pub never_synced: usize,
    /// Suspended sources.
    pub suspended: usize,
}

impl StatusTotals {
    /// Counts the sources.
    #[must_use]
    pub fn of(standings: &[SourceStatus]) -> Self {
        let count =
            |is: &dyn Fn(&SourceStatus) -> bool| standings.iter().filter(|standing| is(standing)).count();
        let pending = |state| {
            matches!(state, SourceState::Changed | SourceState::NotConnected | SourceState::Undeclared)
        };
        let scheduled =
            |standing: &SourceStatus| standing.schedule.is_some() && standing.state != SourceState::Unknown;
        Self {
            sources: standings.len(),
            failing: count(&|standing| standing.failing),
            stale: count(&|standing| standing.stale),
            pending: count(&|standing| pending(standing.state) && standing.suspended.is_none()),
            unknown: count(&|standing| standing.state == SourceState::Unknown),
            never_synced: count(&|standing| scheduled(standing) && standing.last.is_none()),
            suspended: count(&|standing| standing.suspended.is_some()),
        }
    }

    fn words(self) -> String {
        let counts = [
            (self.failing, "failing"),
            (self.stale, "stale"),
            (self.pending, "pending"),
            (self.unknown, "unknown"),
            (self.never_synced, "never synced"),
            (self.suspended, "suspended"),
        ];
        let counts = counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}"));
        let (sources, counts) =
            (humanize::count(self.sources, "source"), counts.collect::<Vec<_>>().join(", "));
        if counts.is_empty() { format!("{sources}.") } else { format!("{sources}: {counts}.") }
    }
}

/// Renders a table, notes, a summary line and the daemon's status.
///
/// The notes are the reasons for failures, and expired suspensions.
#[must_use]
pub fn status(standings: &[SourceStatus], keeper: Option<&Keeper>, now: Timestamp, look: &Style) -> String {
    let rows: Vec<Vec<String>> = standings.iter().map(|standing| standing.row(now)).collect();
    let mut out = if rows.is_empty() {
        String::new()
    } else {
        table(&["SOURCE", "STATE", "LAST SYNC", "DATA", "NEXT SYNC"], &rows, look) + "\n"
    };
    let notes: String = standings.iter().flat_map(notes).map(|note| wrapped(&note, look)).collect();
    if !notes.is_empty() {
        out.push_str(&format!("{notes}\n"));
    }
    out.push_str(&StatusTotals::of(standings).words());
    out.push('\n');
    out.push_str(&match keeper {
        Some(keeper) => {
            let holder = escape::terminal_line(&keeper.holder);
            wrapped(&format!("Daemon: {holder}, started {}.", humanize::ago(keeper.since, now)), look)
        }
        None => "No daemon runs on this state.\n".to_owned(),
    });
    out
}

/// Returns the reason for a failure and an expired suspension.
fn notes(standing: &SourceStatus) -> Vec<String> {
    let name = escape::terminal_line(&format!("{}/{}", standing.workspace, standing.source));
    let mark = if standing.failing { '✗' } else { '?' };
    let reason = standing.reason.as_ref();
    let reason = reason.map(|reason| format!("{mark} {name}: {}", escape::terminal_line(reason)));
    let expired = match &standing.suspended {
        Some(SuspendedUntil { until: Some(until), overdue: true, .. }) => Some(format!(
            "! {name}: suspended until {until}, which has passed; remove `suspend`, or set a later date"
        )),
        _ => None,
    };
    reason.into_iter().chain(expired).collect()
}

/// Wraps a text and indents continuation lines.
fn wrapped(text: &str, look: &Style) -> String {
    let lines =
        if look.width == 0 { vec![text.to_owned()] } else { wrap(text, look.width.saturating_sub(2)) };
    lines.iter().enumerate().map(|(n, line)| format!("{}{line}\n", if n == 0 { "" } else { "  " })).collect()
}
