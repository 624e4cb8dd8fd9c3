//! Levels of a status, by which the pages colour it.

use crate::store::RunOutcome;
use serde::Serialize;
use std::fmt;

/// Level of a status: a CSS class of the pages and a word of `/status.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Level {
    Good,
    Busy,
    Bad,
    Warn,
    /// Suspended, or deliberately not done.
    Off,
    /// Nothing is known.
    None,
}

impl Level {
    pub(super) fn of(outcome: RunOutcome) -> Self {
        match outcome {
            RunOutcome::Done => Self::Good,
            RunOutcome::Running => Self::Busy,
            RunOutcome::Failed => Self::Bad,
            RunOutcome::Unknown => Self::Warn,
            RunOutcome::Skipped | RunOutcome::Rewound => Self::Off,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Good => "good",
            Self::Busy => "busy",
            Self::Bad => "bad",
            Self::Warn => "warn",
            Self::Off => "off",
            Self::None => "none",
        })
    }
}
