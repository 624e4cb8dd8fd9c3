//! Reasons why a schedule cannot be used.

use croner::errors::CronError;
use std::time::Duration;
use thiserror::Error;

/// Reason why a schedule cannot be used.
#[derive(Debug, Error)]
pub enum ScheduleError {
    /// `every` is too short, too long or not a whole number of seconds.
    #[error("cannot sync every {period:?}: give whole seconds, at least 1s and at most 3650d")]
    Period {
        /// Declared period.
        period: Duration,
    },
    /// `jitter` is too long.
    #[error("cannot spread a sync over {jitter:?}: give at most 3650d")]
    Jitter {
        /// Declared jitter.
        jitter: Duration,
    },
    /// The cron expression is too long.
    #[error("cannot read a cron expression of {length} bytes: the limit is {limit}")]
    TooLong {
        /// Length in bytes.
        length: usize,
        /// Maximum length in bytes.
        limit: usize,
    },
    /// The cron expression does not have five fields.
    #[error("cannot read the cron expression {expression:?}: {}", wrong_fields(expression, *.found))]
    Fields {
        /// Declared expression.
        expression: String,
        /// Number of its fields.
        found: usize,
    },
    /// The cron expression cannot be parsed.
    #[error(
        "cannot read the cron expression {expression:?}; write minute, hour, day of month, month, day of week"
    )]
    Expression {
        /// Declared expression.
        expression: String,
        /// Error of the parser.
        source: CronError,
    },
    /// The cron expression never matches.
    #[error("the cron expression {expression:?} never fires: no such day exists; correct day and month")]
    Never {
        /// Declared expression.
        expression: String,
    },
    /// The time zone does not exist.
    #[error("there is no time zone {name:?}; write an IANA name, as in \"Europe/Rome\"")]
    Zone {
        /// Declared name of the zone.
        name: String,
    },
}

fn wrong_fields(expression: &str, found: usize) -> String {
    if found == 6 {
        "it has six fields, and a seconds field is not used here; remove the first".to_owned()
    } else if expression.contains('@') {
        "nicknames are not used here; write the five fields, as in \"0 2 * * *\"".to_owned()
    } else {
        format!("it has {found} fields; write five: minute, hour, day of month, month, day of week")
    }
}
