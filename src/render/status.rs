//! How sources stand, as the files and the state know it: a table, or JSON.

use super::paint::wrap;
use super::{Here, Look, escape, table, words};
use crate::model::{DesiredSource, Owned, SourceKey, SourceName, Unit};
use crate::schedule::{Freshness, Timing, describe, freshness};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Serialize;

/// One source, at one time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Standing {
    /// The workspace, as people call it.
    pub workspace: String,
    /// The workspace and scope.
    #[serde(flatten, serialize_with = "Unit::beside_its_name")]
    pub unit: Unit,
    /// Its key.
    pub source: SourceKey,
    /// Its name on the platform.
    pub name: SourceName,
    /// What the files and the inventory say of it together.
    pub state: State,
    /// `suspend`
    pub suspended: Option<Paused>,
    /// Its schedule in words; `None` without one.
    pub schedule: Option<String>,
    /// The next firing.
    pub next: Option<Next>,
    /// The last sync; `None` when it never synced.
    pub last: Option<LastSync>,
    /// When its last good sync ended.
    pub last_success: Option<Timestamp>,
    /// Its data is older than `stale_after`.
    pub stale: bool,
    /// Since when.
    pub stale_since: Option<Timestamp>,
    /// Something of it fails: its last sync, its last change, or both rows that claim to be it.
    pub failing: bool,
    /// Why it fails, or why nothing is known.
    pub reason: Option<String>,
    /// Its data has to be younger than this promises.
    #[serde(skip)]
    promised: bool,
}

/// What the files and the inventory say together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Ours, and declared as it was last applied.
    Connected,
    /// Ours, and declared otherwise since.
    Changed,
    /// Declared, and not ours yet.
    NotConnected,
    /// Ours, and no longer declared.
    Undeclared,
    /// Two rows claim to be it; nothing is done to it.
    Quarantined,
    /// There is no state here, or a file with errors declares it.
    Unknown,
}

/// What is recorded of a source.
#[derive(Debug, Clone, Default)]
pub struct Record {
    /// When its schedule came into force.
    pub known_since: Option<Timestamp>,
    /// The last sync; `None` when it never synced.
    pub last: Option<LastSync>,
    /// When its last good sync ended.
    pub last_success: Option<Timestamp>,
    /// A sync of it is due.
    pub due: bool,
    /// Why its last change, its last sync, or it as a whole fails.
    pub reason: Option<String>,
    /// The last change of it failed.
    pub change_failed: bool,
}

/// `suspend`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Paused {
    /// Why.
    pub reason: String,
    /// The date by which it was to end.
    pub until: Option<Date>,
    /// That date has passed.
    pub overdue: bool,
}

/// A firing to come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Next {
    /// The instant.
    pub at: Timestamp,
    /// On the schedule's clock, with its zone.
    pub in_zone: String,
    /// On the clock of this host.
    pub local: String,
    /// It is due already.
    pub due: bool,
    /// In both, for people.
    #[serde(skip)]
    both: String,
}

/// A sync.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LastSync {
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// What came of it.
    pub outcome: &'static str,
    /// How many records it read.
    pub records: Option<u64>,
}

/// The state of a source, declared or ours.
#[must_use]
pub fn state_of(declared: Option<&DesiredSource>, owned: Option<&Owned>, quarantined: bool) -> State {
    match (declared, owned) {
        _ if quarantined => State::Quarantined,
        (Some(_), None) => State::NotConnected,
        (None, _) => State::Undeclared,
        (Some(source), Some(owned)) if owned.applied.definition.is(&source.definition) => State::Connected,
        (Some(_), Some(_)) => State::Changed,
    }
}

impl Standing {
    /// How a declared source stands. A source that is not ours has no next firing, and no data to be stale.
    #[must_use]
    pub fn of_declared(
        (workspace, unit): (&str, &Unit),
        source: &DesiredSource,
        state: State,
        record: Record,
        here: Here<'_>,
    ) -> Self {
        let spec = source.sync.as_ref();
        let ours = !matches!(state, State::NotConnected | State::Unknown);
        let active = spec.filter(|_| ours && source.suspend.is_none());
        let next = active.and_then(|spec| {
            let timing = Timing::compile(unit, &source.name, spec).ok()?;
            let at = if record.due { here.now } else { timing.next_after(here.now)? };
            Some(Next { due: record.due, ..Next::of(at, timing.zone(), here) })
        });
        let known_since = record.known_since.unwrap_or(here.now);
        let fresh = active.and_then(|spec| freshness(spec, record.last_success, known_since, here.now));
        let stale_since = match fresh {
            Some(Freshness::Stale { since }) => Some(since),
            _ => None,
        };
        let today = here.now.to_zoned_datetime(here.zone.unwrap_or(&TimeZone::UTC).clone()).date();
        let suspended = source.suspend.as_ref().map(|suspend| Paused {
            reason: suspend.reason.clone(),
            until: suspend.until,
            overdue: suspend.until.is_some_and(|until| until < today),
        });
        let of = (workspace, unit, source.key.clone(), source.name.clone());
        Self {
            suspended,
            schedule: spec.map(describe),
            next,
            stale: stale_since.is_some(),
            stale_since,
            promised: fresh.is_some(),
            ..Self::of(of, state, record)
        }
    }

    /// How a source of ours stands that is no longer declared: it does not sync any more. Nor is it known how one
    /// stands that a file with errors may declare.
    #[must_use]
    pub fn of_undeclared(
        (workspace, unit): (&str, &Unit),
        (name, owned): (&SourceName, &Owned),
        state: State,
        record: Record,
    ) -> Self {
        Self::of((workspace, unit, owned.key.clone(), name.clone()), state, record)
    }

    fn of(of: (&str, &Unit, SourceKey, SourceName), state: State, record: Record) -> Self {
        let (workspace, unit, source, name) = of;
        let sync_failed =
            record.last.as_ref().is_some_and(|last| matches!(last.outcome, "failed" | "unknown"));
        Self {
            workspace: workspace.to_owned(),
            unit: unit.clone(),
            source,
            name,
            state,
            suspended: None,
            schedule: None,
            next: None,
            last: record.last,
            last_success: record.last_success,
            stale: false,
            stale_since: None,
            failing: sync_failed || record.change_failed || state == State::Quarantined,
            reason: record.reason,
            promised: false,
        }
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        let never = if self.state == State::Unknown { "unknown" } else { "never" };
        let last = self.last.as_ref().map_or_else(
            || never.to_owned(),
            |last| {
                let records =
                    last.records.map(|n| words::count(usize::try_from(n).unwrap_or(usize::MAX), "record"));
                let records = records.map(|records| format!(", {records}")).unwrap_or_default();
                let when = words::ago(last.finished_at.unwrap_or(last.started_at), now);
                format!("{when}: {}{records}", last.outcome)
            },
        );
        let data = match (&self.suspended, self.stale_since, self.last_success) {
            _ if self.state == State::Unknown => "unknown".to_owned(),
            (Some(Paused { overdue: true, .. }), ..) => "suspended, expired".to_owned(),
            (Some(_), ..) => "suspended".to_owned(),
            (None, Some(since), _) => format!("stale since {}", words::ago(since, now)),
            (None, None, Some(_)) if self.promised => "fresh".to_owned(),
            (None, None, Some(at)) => format!("as of {}", words::ago(at, now)),
            (None, None, None) => "-".to_owned(),
        };
        let next = match &self.next {
            Some(Next { due: true, .. }) => "due now".to_owned(),
            Some(next) => next.both.clone(),
            None => "-".to_owned(),
        };
        vec![format!("{}/{}", self.workspace, self.source), self.state.words().to_owned(), last, data, next]
    }
}

impl State {
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
    fn of(at: Timestamp, zone: &TimeZone, here: Here<'_>) -> Self {
        let local = here.zone.unwrap_or(zone);
        Self {
            at,
            in_zone: words::moment(at, zone, here.now),
            local: words::moment(at, local, here.now),
            due: false,
            both: words::moment_in_both(at, zone, local, here.now),
        }
    }
}

/// Whether a daemon keeps these sources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Keeper {
    /// `pid 4711 (run)`
    pub holder: String,
    /// Its process.
    pub pid: Option<u32>,
    /// When it started.
    pub since: Timestamp,
}

/// How many sources stand how.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// All of them.
    pub sources: usize,
    /// Those of which something fails.
    pub failing: usize,
    /// Those with data older than promised.
    pub stale: usize,
    /// Those that the files declare otherwise than the platform has them.
    pub pending: usize,
    /// Those of which nothing is known.
    pub unknown: usize,
    /// Those with a schedule that never synced.
    pub never_synced: usize,
    /// Those that are suspended.
    pub suspended: usize,
}

impl Tally {
    /// Counts them.
    #[must_use]
    pub fn of(standings: &[Standing]) -> Self {
        let count = |is: &dyn Fn(&Standing) -> bool| standings.iter().filter(|standing| is(standing)).count();
        let pending = |state| matches!(state, State::Changed | State::NotConnected | State::Undeclared);
        let scheduled = |standing: &Standing| standing.schedule.is_some() && standing.state != State::Unknown;
        Self {
            sources: standings.len(),
            failing: count(&|standing| standing.failing),
            stale: count(&|standing| standing.stale),
            pending: count(&|standing| pending(standing.state) && standing.suspended.is_none()),
            unknown: count(&|standing| standing.state == State::Unknown),
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
        let (sources, counts) = (words::count(self.sources, "source"), counts.collect::<Vec<_>>().join(", "));
        if counts.is_empty() { format!("{sources}.") } else { format!("{sources}: {counts}.") }
    }
}

/// A table, a line for each reason and each suspension that was to be over, a line that sums up, and whether a daemon
/// runs.
#[must_use]
pub fn status(standings: &[Standing], keeper: Option<&Keeper>, now: Timestamp, look: &Look) -> String {
    let rows: Vec<Vec<String>> = standings.iter().map(|standing| standing.row(now)).collect();
    let mut out = match rows.is_empty() {
        true => String::new(),
        false => table(&["SOURCE", "STATE", "LAST SYNC", "DATA", "NEXT SYNC"], &rows, look) + "\n",
    };
    let notes: String = standings.iter().flat_map(notes).map(|note| wrapped(&note, look)).collect();
    if !notes.is_empty() {
        out.push_str(&format!("\n{notes}\n"));
    }
    out.push_str(&Tally::of(standings).words());
    out.push('\n');
    out.push_str(&match keeper {
        Some(keeper) => {
            let holder = escape::terminal_line(&keeper.holder);
            wrapped(
                &format!("A daemon keeps them: {holder}, started {}.", words::ago(keeper.since, now)),
                look,
            )
        }
        None => "No daemon runs on this state.\n".to_owned(),
    });
    out
}

/// Why it fails, and that its suspension was to be over.
fn notes(standing: &Standing) -> Vec<String> {
    let name = escape::terminal_line(&format!("{}/{}", standing.workspace, standing.source));
    let mark = if standing.failing { '✗' } else { '?' };
    let reason = standing.reason.as_ref();
    let reason = reason.map(|reason| format!("{mark} {name}: {}", escape::terminal_line(reason)));
    let expired = match &standing.suspended {
        Some(Paused { until: Some(until), overdue: true, .. }) => Some(format!(
            "! {name}: suspended until {until}, which has passed; take `suspend` out, or set a later date"
        )),
        _ => None,
    };
    reason.into_iter().chain(expired).collect()
}

/// A text over as many lines as it takes, the further ones indented.
fn wrapped(text: &str, look: &Look) -> String {
    let lines =
        if look.width == 0 { vec![text.to_owned()] } else { wrap(text, look.width.saturating_sub(2)) };
    lines.iter().enumerate().map(|(n, line)| format!("{}{line}\n", if n == 0 { "" } else { "  " })).collect()
}
