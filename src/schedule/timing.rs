//! A schedule, compiled: its firings as instants.

use super::calendar::Calendar;
use super::cron::Cron;
use crate::model::{SourceName, SyncSpec, Unit, When};
use croner::errors::CronError;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use sha2::{Digest, Sha256};
use std::fmt;
use std::time::Duration;

/// Longest period and longest jitter: ten years.
const MAX_SECONDS: u64 = 3650 * 24 * 60 * 60;

/// One source's schedule, ready to be asked. Compile it once per reading of the files; asking costs
/// neither parsing nor allocation.
#[derive(Debug, Clone)]
pub struct Timing {
    rhythm: Rhythm,
    /// This source's share of the jitter, the same for every firing.
    delay: SignedDuration,
}

#[derive(Debug, Clone)]
enum Rhythm {
    /// Fires at `k · period + phase`, in nanoseconds since the epoch.
    Every {
        period: i128,
        phase: i128,
    },
    Cron(Box<Calendar>),
}

impl Timing {
    /// Compiles `spec` for the source `name` of `unit`, whose identity decides phase and jitter.
    ///
    /// Zones come from the system's time zone database, else from the one built in.
    ///
    /// # Errors
    /// When the period, the jitter, the expression or the zone cannot be used.
    pub fn compile(unit: &Unit, name: &SourceName, spec: &SyncSpec) -> Result<Self, ScheduleError> {
        let rhythm = match &spec.when {
            When::Every(period) => {
                if period.subsec_nanos() != 0 || !(1..=MAX_SECONDS).contains(&period.as_secs()) {
                    return Err(ScheduleError::Period { period: *period });
                }
                let phase = stable(unit, name, "phase") % period.as_secs();
                Rhythm::Every { period: nanoseconds(period.as_secs()), phase: nanoseconds(phase) }
            }
            When::Cron { expression, timezone } => {
                let cron = Cron::parse(expression)?;
                Rhythm::Cron(Box::new(Calendar { cron, zone: find_zone(timezone)? }))
            }
        };
        if spec.jitter.as_secs() > MAX_SECONDS {
            return Err(ScheduleError::Jitter { jitter: spec.jitter });
        }
        let delay = stable(unit, name, "jitter") % (spec.jitter.as_secs() + 1);
        Ok(Self { rhythm, delay: SignedDuration::from_secs(delay.cast_signed()) })
    }

    /// The first firing strictly after `t`; `None` only at the end of the calendar.
    #[must_use]
    pub fn next_after(&self, t: Timestamp) -> Option<Timestamp> {
        let undelayed = t.checked_sub(self.delay).unwrap_or(Timestamp::MIN);
        let firing = match &self.rhythm {
            Rhythm::Every { period, phase } => {
                let cycle = (undelayed.as_nanosecond() - phase).div_euclid(*period) + 1;
                Timestamp::from_nanosecond(cycle * period + phase).ok()
            }
            Rhythm::Cron(calendar) => calendar.after(undelayed),
        };
        firing?.checked_add(self.delay).ok()
    }

    /// The last firing at or before `t`; `None` only at the start of the calendar.
    #[must_use]
    pub fn latest_at_or_before(&self, t: Timestamp) -> Option<Timestamp> {
        let undelayed = t.checked_sub(self.delay).ok()?;
        let firing = match &self.rhythm {
            Rhythm::Every { period, phase } => {
                let cycle = (undelayed.as_nanosecond() - phase).div_euclid(*period);
                Timestamp::from_nanosecond(cycle * period + phase).ok()
            }
            Rhythm::Cron(calendar) => calendar.at_or_before(undelayed),
        };
        firing?.checked_add(self.delay).ok()
    }

    /// The next `n` firings after `t`, in order.
    #[must_use]
    pub fn upcoming(&self, t: Timestamp, n: usize) -> Vec<Timestamp> {
        std::iter::successors(self.next_after(t), |firing| self.next_after(*firing)).take(n).collect()
    }

    /// The zone in which the schedule is meant: UTC for `every`.
    #[must_use]
    pub fn zone(&self) -> &TimeZone {
        const UTC: &TimeZone = &TimeZone::UTC;
        match &self.rhythm {
            Rhythm::Every { .. } => UTC,
            Rhythm::Cron(calendar) => &calendar.zone,
        }
    }
}

/// A number that only the source's identity and `purpose` decide.
fn stable(unit: &Unit, name: &SourceName, purpose: &str) -> u64 {
    let mut hash = Sha256::new();
    for part in [purpose, unit.workspace.as_str(), unit.scope.as_str(), name.as_str()] {
        // The length keeps ("ab", "c") and ("a", "bc") apart.
        hash.update((part.len() as u64).to_be_bytes());
        hash.update(part.as_bytes());
    }
    hash.finalize().iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
}

fn nanoseconds(seconds: u64) -> i128 {
    i128::from(seconds) * 1_000_000_000
}

fn find_zone(name: &str) -> Result<TimeZone, ScheduleError> {
    match TimeZone::get(name) {
        Ok(zone) if !zone.is_unknown() => Ok(zone),
        Ok(_) => Err(ScheduleError::Zone { name: name.to_owned(), source: None }),
        Err(source) => Err(ScheduleError::Zone { name: name.to_owned(), source: Some(source) }),
    }
}

/// Why a schedule cannot be used.
#[derive(Debug)]
pub enum ScheduleError {
    /// `every` is too short, too long or not a whole number of seconds.
    Period {
        /// As declared.
        period: Duration,
    },
    /// `jitter` is too long.
    Jitter {
        /// As declared.
        jitter: Duration,
    },
    /// The cron expression is too long to be one.
    TooLong {
        /// Its bytes.
        length: usize,
        /// The most that is read.
        limit: usize,
    },
    /// The cron expression does not have five fields.
    Fields {
        /// As declared.
        expression: String,
        /// How many it has.
        found: usize,
    },
    /// The cron expression cannot be read.
    Expression {
        /// As declared.
        expression: String,
        /// What is wrong with it.
        source: CronError,
    },
    /// The cron expression names no day that exists.
    Never {
        /// As declared.
        expression: String,
    },
    /// There is no such time zone.
    Zone {
        /// As declared.
        name: String,
        /// What the time zone database said.
        source: Option<jiff::Error>,
    },
}

impl fmt::Display for ScheduleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Period { period } => {
                write!(f, "cannot sync every {period:?}: give whole seconds, at least 1s and at most 3650d")
            }
            Self::Jitter { jitter } => write!(f, "cannot spread a sync over {jitter:?}: give at most 3650d"),
            Self::TooLong { length, limit } => {
                write!(f, "cannot read a cron expression of {length} bytes: the limit is {limit}")
            }
            Self::Fields { expression, found } => {
                write!(f, "cannot read the cron expression {expression:?}: ")?;
                match found {
                    6 => f.write_str(
                        "it has six fields, and a seconds field is not used here; remove the first",
                    ),
                    _ if expression.contains('@') => {
                        f.write_str("nicknames are not used here; write the five fields, as in \"0 2 * * *\"")
                    }
                    _ => write!(
                        f,
                        "it has {found} fields; write five: minute, hour, day of month, month, day of week"
                    ),
                }
            }
            Self::Expression { expression, .. } => write!(
                f,
                "cannot read the cron expression {expression:?}; write minute, hour, day of month, month, day of week"
            ),
            Self::Never { expression } => {
                write!(
                    f,
                    "the cron expression {expression:?} never fires: no such day exists; correct day and month"
                )
            }
            Self::Zone { name, .. } => {
                write!(f, "there is no time zone {name:?}; write an IANA name, as in \"Europe/Rome\"")
            }
        }
    }
}

impl std::error::Error for ScheduleError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Expression { source, .. } => Some(source),
            Self::Zone { source: Some(source), .. } => Some(source),
            _ => None,
        }
    }
}
