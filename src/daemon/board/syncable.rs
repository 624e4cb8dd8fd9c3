//! One source that syncs on a schedule, and what is known of its runs.

use crate::model::{DesiredSource, DesiredUnit, SourceKey, SourceName, Unit};
use crate::schedule::{self, Freshness, Last, Scheduled, Timing};
use crate::state::{LastRun, RunOutcome, Trigger};
use jiff::Timestamp;

/// A source of ours with a schedule.
pub(super) struct Syncable {
    pub(super) name: SourceName,
    pub(super) key: SourceKey,
    pub(super) index: usize,
    pub(super) timing: Timing,
    pub(super) known_since: Timestamp,
    pub(super) last: Option<Last>,
    /// The last run before the one that was begun last.
    pub(super) before: Option<Last>,
    pub(super) last_success: Option<Timestamp>,
    /// That its data is stale was told.
    pub(super) told_stale: bool,
    /// To be synced once, whatever the schedule.
    pub(super) now: Option<Trigger>,
}

impl Syncable {
    /// As the schedule's decisions need it; `None` when the files moved on.
    pub(super) fn scheduled<'a>(
        &'a self,
        source: &'a DesiredSource,
        unit: &'a Unit,
    ) -> Option<Scheduled<'a>> {
        let spec = source.sync.as_ref().filter(|_| source.name == self.name)?;
        Some(Scheduled {
            unit,
            name: &self.name,
            spec,
            timing: &self.timing,
            options: &source.sync_options,
            last: self.last,
            known_since: self.known_since,
            suspended: source.suspend.is_some(),
        })
    }

    /// Of a suspended source, nobody expects fresh data.
    pub(super) fn freshness(&self, unit: &DesiredUnit, now: Timestamp) -> Option<Freshness> {
        let source = unit.sources.get(self.index).filter(|source| source.name == self.name)?;
        let spec = source.sync.as_ref().filter(|_| source.suspend.is_none())?;
        schedule::freshness(spec, self.last_success, self.known_since, now)
    }
}

/// What is known of a source's last run, from here and from the state. The state may have been
/// looked at just before a run was claimed, or ended.
pub(super) fn join(known: Option<Last>, run: Option<&LastRun>, now: Timestamp) -> Option<Last> {
    let Some(run) = run else { return known };
    let recorded =
        Last { firing: run.firing, running: run.outcome == RunOutcome::Running, ended: run.finished_at };
    let Some(known) = known else { return Some(recorded) };
    let rewound = run.firing.duration_since(now) > schedule::CLOCK_TOLERANCE;
    let over = known.ended.is_some_and(|ended| ended >= run.started_at);
    Some(Last {
        firing: if rewound { known.firing } else { known.firing.max(run.firing) },
        running: known.running || (recorded.running && !over),
        ended: known.ended.max(recorded.ended),
    })
}
