//! A compiled schedule, which yields its firings.

use super::ScheduleError;
use super::calendar::Calendar;
use super::cron::Cron;
use crate::model::{Schedule, SourceName, SyncSpec, WorkspaceRef};
use crate::zones;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Weak};

/// Maximum period and jitter in seconds: ten years.
const MAX_SECONDS: u64 = 3650 * 24 * 60 * 60;

/// Compiled schedule of one source.
///
/// Compile once per read of the files; queries neither parse nor allocate.
#[derive(Debug, Clone)]
pub struct CompiledSchedule {
    rhythm: Recurrence,
    /// Jitter of this source, the same for every firing.
    delay: SignedDuration,
}

#[derive(Debug, Clone)]
enum Recurrence {
    /// Fires at `k · period + phase`, in nanoseconds since the epoch.
    Every {
        period: i128,
        phase: i128,
    },
    Cron(Arc<Calendar>),
}

impl CompiledSchedule {
    /// Compiles `spec` for the source `name` of `workspace`.
    ///
    /// The source's identity determines phase and jitter. Zones come from the system's time zone
    /// database, else from the built-in copy.
    ///
    /// # Errors
    /// When the period, the jitter, the expression or the zone cannot be used.
    pub fn compile(
        workspace: &WorkspaceRef,
        name: &SourceName,
        spec: &SyncSpec,
    ) -> Result<Self, ScheduleError> {
        ScheduleCache::default().compile(workspace, name, spec)
    }

    fn new(
        workspace: &WorkspaceRef,
        name: &SourceName,
        spec: &SyncSpec,
        calendar: impl FnOnce(&str, &str) -> Result<Arc<Calendar>, ScheduleError>,
    ) -> Result<Self, ScheduleError> {
        let rhythm = match &spec.when {
            Schedule::Every(period) => {
                if period.subsec_nanos() != 0 || !(1..=MAX_SECONDS).contains(&period.as_secs()) {
                    return Err(ScheduleError::Period { period: *period });
                }
                let phase = stable_hash(workspace, name, "phase") % period.as_secs();
                Recurrence::Every { period: nanoseconds(period.as_secs()), phase: nanoseconds(phase) }
            }
            Schedule::Cron { expression, timezone } => Recurrence::Cron(calendar(expression, timezone)?),
        };
        if spec.jitter.as_secs() > MAX_SECONDS {
            return Err(ScheduleError::Jitter { jitter: spec.jitter });
        }
        let delay = stable_hash(workspace, name, "jitter") % (spec.jitter.as_secs() + 1);
        Ok(Self { rhythm, delay: SignedDuration::from_secs(delay.cast_signed()) })
    }

    /// Returns the first firing strictly after `t`; `None` at the end of the calendar.
    #[must_use]
    pub fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        let undelayed = t.checked_sub(self.delay).unwrap_or(Timestamp::MIN);
        let firing = match &self.rhythm {
            Recurrence::Every { period, phase } => {
                let cycle = (undelayed.as_nanosecond() - phase).div_euclid(*period) + 1;
                Timestamp::from_nanosecond(cycle * period + phase).ok()
            }
            Recurrence::Cron(calendar) => calendar.after(undelayed),
        };
        firing?.checked_add(self.delay).ok()
    }

    /// Returns the last firing at or before `t`; `None` at the start of the calendar.
    #[must_use]
    pub fn latest_at_or_before(&self, t: Timestamp) -> Option<Timestamp> {
        let undelayed = t.checked_sub(self.delay).ok()?;
        let firing = match &self.rhythm {
            Recurrence::Every { period, phase } => {
                let cycle = (undelayed.as_nanosecond() - phase).div_euclid(*period);
                Timestamp::from_nanosecond(cycle * period + phase).ok()
            }
            Recurrence::Cron(calendar) => calendar.at_or_before(undelayed),
        };
        firing?.checked_add(self.delay).ok()
    }

    /// Returns the next `n` firings after `t`, in order.
    #[must_use]
    pub fn upcoming(&self, t: Timestamp, n: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(t), |firing| self.next_after(*firing)).take(n).collect()
    }

    /// Returns the time zone of the schedule: UTC for `every`.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        const UTC: &TimeZone = &TimeZone::UTC;
        match &self.rhythm {
            Recurrence::Every { .. } => UTC,
            Recurrence::Cron(calendar) => &calendar.zone,
        }
    }
}

/// Compiles schedules; equal expressions in one zone share a calendar.
#[derive(Debug, Default)]
pub struct ScheduleCache {
    calendars: HashMap<(String, String), Weak<Calendar>>,
    /// Number of entries at which unused calendars are dropped.
    sweep_threshold: usize,
}

impl ScheduleCache {
    /// Like [`CompiledSchedule::compile`], but reuses calendars compiled before.
    ///
    /// # Errors
    /// Same as [`CompiledSchedule::compile`].
    pub fn compile(
        &mut self,
        workspace: &WorkspaceRef,
        name: &SourceName,
        spec: &SyncSpec,
    ) -> Result<CompiledSchedule, ScheduleError> {
        CompiledSchedule::new(workspace, name, spec, |expression, zone| self.calendar(expression, zone))
    }

    fn calendar(&mut self, expression: &str, zone: &str) -> Result<Arc<Calendar>, ScheduleError> {
        let key = (expression.to_owned(), zone.to_owned());
        if let Some(calendar) = self.calendars.get(&key).and_then(Weak::upgrade) {
            return Ok(calendar);
        }
        let calendar = Arc::new(Calendar { cron: Cron::parse(expression)?, zone: find_zone(zone)? });
        if self.calendars.len() >= self.sweep_threshold {
            self.calendars.retain(|_, calendar| calendar.strong_count() > 0);
            self.sweep_threshold = (2 * self.calendars.len()).max(64);
        }
        self.calendars.insert(key, Arc::downgrade(&calendar));
        Ok(calendar)
    }
}

/// Hashes the source's identity and `purpose`; stable across versions.
fn stable_hash(workspace: &WorkspaceRef, name: &SourceName, purpose: &str) -> u64 {
    let mut hash = Sha256::new();
    for part in [purpose, workspace.workspace.as_str(), workspace.scope.as_str(), name.as_str()] {
        // The length distinguishes ("ab", "c") from ("a", "bc").
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn nanoseconds(seconds: u64) -> i128 {
    i128::from(seconds) * 1_000_000_000
}

fn find_zone(name: &str) -> Result<TimeZone, ScheduleError> {
    zones::get(name).ok_or_else(|| ScheduleError::Zone { name: name.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::CompiledSchedule;
    use crate::model::{Missed, Overlap, Schedule, Scope, SourceName, SyncSpec, WorkspaceId, WorkspaceRef};
    use crate::schedule::ScheduleError;
    use std::error::Error;
    use std::time::Duration;

    fn compile(when: Schedule, jitter: Duration) -> Result<CompiledSchedule, ScheduleError> {
        let workspace = WorkspaceRef { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() };
        let spec = SyncSpec {
            when,
            jitter,
            stale_after: None,
            missed: Missed::Once,
            timeout: None,
            on_connect: true,
            on_change: false,
            overlap: Overlap::Forbid,
        };
        CompiledSchedule::compile(&workspace, &SourceName::parse("orders").unwrap(), &spec)
    }

    fn daily(zone: &str) -> Schedule {
        Schedule::Cron { expression: "0 2 * * *".into(), timezone: zone.into() }
    }

    /// Changed offsets would fire every source once too often after an upgrade.
    #[test]
    fn offsets_do_not_change_from_one_version_to_the_next() {
        let start = "2026-01-01T00:00:00Z".parse().unwrap();
        let every = compile(Schedule::Every(Duration::from_secs(6 * 3600)), Duration::ZERO).unwrap();
        assert_eq!(every.next_after(start).unwrap().to_string(), "2026-01-01T02:09:13Z");
        let jittered = compile(daily("UTC"), Duration::from_secs(3600)).unwrap();
        assert_eq!(jittered.next_after(start).unwrap().to_string(), "2026-01-01T02:52:46Z");
    }

    #[test]
    fn what_cannot_be_a_schedule_is_refused() {
        let none = Duration::ZERO;
        for period in [none, Duration::from_millis(1500), Duration::MAX] {
            assert!(matches!(compile(Schedule::Every(period), none), Err(ScheduleError::Period { .. })));
        }
        assert!(matches!(compile(daily("UTC"), Duration::MAX), Err(ScheduleError::Jitter { .. })));
        for zone in ["", "Europe/Rom", "Etc/Unknown", "../../etc/passwd", "CET-1CEST,M3.5.0,M10.5.0/3"] {
            let error = compile(daily(zone), none).unwrap_err();
            assert!(matches!(error, ScheduleError::Zone { .. }), "{zone}");
            assert!(error.to_string().contains("Europe/Rome"));
        }
        let error = compile(Schedule::Cron { expression: "a b c d e".into(), timezone: "UTC".into() }, none);
        assert!(error.unwrap_err().source().is_some());
    }

    #[test]
    fn a_zone_is_found_in_any_case_and_shown_in_its_own() {
        assert_eq!(
            compile(daily("europe/rome"), Duration::ZERO).unwrap().zone().iana_name(),
            Some("Europe/Rome")
        );
    }
}
