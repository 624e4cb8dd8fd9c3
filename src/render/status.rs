//! How sources stand, as the files and the state know it: a table, or JSON.

use super::{Here, Look, table, words};
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
    /// How a declared source stands. `known_since` is when its schedule came into force; a source that
    /// is not ours has no next firing, and no data to be stale.
    #[must_use]
    pub fn of_declared(
        (workspace, unit): (&str, &Unit),
        source: &DesiredSource,
        state: State,
        known_since: Option<Timestamp>,
        (last, last_success): (Option<LastSync>, Option<Timestamp>),
        here: Here<'_>,
    ) -> Self {
        let spec = source.sync.as_ref();
        let ours = !matches!(state, State::NotConnected);
        let active = spec.filter(|_| ours && source.suspend.is_none());
        let next = active.and_then(|spec| {
            let timing = Timing::compile(unit, &source.name, spec).ok()?;
            Some(Next::of(timing.next_after(here.now)?, timing.zone(), here))
        });
        let fresh =
            active.and_then(|spec| freshness(spec, last_success, known_since.unwrap_or(here.now), here.now));
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
        Self {
            workspace: workspace.to_owned(),
            unit: unit.clone(),
            source: source.key.clone(),
            name: source.name.clone(),
            state,
            suspended,
            schedule: spec.map(describe),
            next,
            last,
            last_success,
            stale: stale_since.is_some(),
            stale_since,
        }
    }

    /// How a source of ours stands that is no longer declared: it does not sync any more.
    #[must_use]
    pub fn of_undeclared(
        (workspace, unit): (&str, &Unit),
        (name, owned): (&SourceName, &Owned),
        state: State,
        (last, last_success): (Option<LastSync>, Option<Timestamp>),
    ) -> Self {
        Self {
            workspace: workspace.to_owned(),
            unit: unit.clone(),
            source: owned.key.clone(),
            name: name.clone(),
            state,
            suspended: None,
            schedule: None,
            next: None,
            last,
            last_success,
            stale: false,
            stale_since: None,
        }
    }

    fn row(&self, now: Timestamp) -> Vec<String> {
        let last = self.last.as_ref().map_or_else(
            || "never".to_owned(),
            |last| {
                let records =
                    last.records.map(|n| words::count(usize::try_from(n).unwrap_or(usize::MAX), "record"));
                let records = records.map(|records| format!(", {records}")).unwrap_or_default();
                let when = words::ago(last.finished_at.unwrap_or(last.started_at), now);
                format!("{when}: {}{records}", last.outcome)
            },
        );
        let data = match (&self.suspended, self.stale_since) {
            (Some(_), _) => "suspended".to_owned(),
            (None, Some(since)) => format!("stale since {}", words::ago(since, now)),
            (None, None) if self.last_success.is_some() => "fresh".to_owned(),
            (None, None) => "-".to_owned(),
        };
        let next = self.next.as_ref().map_or_else(|| "-".to_owned(), |next| next.both.clone());
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
            both: words::moment_in_both(at, zone, local, here.now),
        }
    }
}

/// A table, with a line that sums it up, and a line for each suspension that was to be over.
#[must_use]
pub fn status(standings: &[Standing], now: Timestamp, look: &Look) -> String {
    let rows: Vec<Vec<String>> = standings.iter().map(|standing| standing.row(now)).collect();
    let mut out = match rows.is_empty() {
        true => String::new(),
        false => table(&["SOURCE", "STATE", "LAST SYNC", "DATA", "NEXT SYNC"], &rows, look) + "\n",
    };
    let count = |is: &dyn Fn(&Standing) -> bool| standings.iter().filter(|standing| is(standing)).count();
    let counts = [
        (count(&|standing| standing.stale), "stale"),
        (count(&|standing| standing.schedule.is_some() && standing.last.is_none()), "never synced"),
        (count(&|standing| standing.suspended.is_some()), "suspended"),
    ];
    let told: Vec<String> =
        counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!("{n} {what}")).collect();
    out.push_str(&words::count(standings.len(), "source"));
    if !told.is_empty() {
        out.push_str(": ");
        out.push_str(&told.join(", "));
    }
    out.push_str(".\n");
    for standing in standings {
        if let Some(Paused { until: Some(until), overdue: true, .. }) = &standing.suspended {
            out.push_str(&format!(
                "! {}/{}: suspended until {until}, which has passed; take `suspend` out, or say a later date\n",
                super::escape::terminal_line(&standing.workspace),
                standing.source
            ));
        }
    }
    out
}
