//! Renders a plan or its result as text, JSON, Markdown or workflow annotations.
//!
//! [`Style`] describes the output device. A plan contains no resolved secrets, and values marked
//! sensitive are omitted here as well. All text from files or the platform is escaped for the
//! output ([`escape`]).
//!
//! Invariant: pure; no clock, no terminal, no environment.
//!
//! The marks of the lines:
//!
//! | mark | meaning |
//! |---|---|
//! | `+` | connect |
//! | `~` | update: a replacement in place, which keeps the data |
//! | `-/+` | replace: the data may be lost |
//! | `-` | cleanup |
//! | `~` | also: a new schedule |
//! | `=` | adopt or forget: nothing is sent, only the inventory changes |
//! | `!` | withheld |
//! | `?` | unmanaged, or not checked because a secret is missing |
//! | <code>&#124;&#124;</code> | suspended |
//! | `x` | an error |

mod action;
mod changes;
pub mod escape;
mod github;
pub mod humanize;
mod json;
mod layout;
mod markdown;
mod plan_id;
mod problems;
mod schedules;
mod sections;
mod status;
mod style;
mod summary;
mod table;
mod text;

pub use action::action_line;
pub use github::{github, github_below};
pub use json::{FORMAT_VERSION, json};
pub use markdown::{MARKDOWN_LIMIT, MARKDOWN_MARKER, markdown};
pub use plan_id::plan_id;
pub use problems::{Orphan, Problems};
pub use status::{
    Keeper, LastSync, Next, SourceState, SourceStatus, StatusRecord, StatusTotals, SuspendedUntil,
    UNIDENTIFIED, state_of, status,
};
pub use summary::{Summary, counts, outcome_line, summary_line};
pub use table::table;
pub use text::{problems_text, text, workspace_text};

use crate::plan::{ApplyOutcome, Plan};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::LazyLock;

/// Properties of the output device.
#[derive(Debug, Clone, Copy)]
pub struct Style {
    /// Supports colour codes.
    pub color: bool,
    /// Also shows unchanged sources.
    pub verbose: bool,
    /// Number of columns, 100 if unknown; 0 disables wrapping.
    pub width: usize,
}

impl Default for Style {
    /// Defaults to changes only, no colour, and 100 columns.
    fn default() -> Self {
        Self { color: false, verbose: false, width: 100 }
    }
}

/// Input of a rendering.
#[derive(Debug, Clone, Copy)]
pub struct ReportInput<'a> {
    /// Plan to show.
    pub plan: &'a Plan,
    /// Results by workspace in the plan's order; `None` if nothing was applied.
    pub outcomes: Option<&'a [ApplyOutcome]>,
    /// Time from which the next firings are computed.
    pub now: Timestamp,
    /// Reader's time zone, used in addition to that of the schedule.
    pub local: Option<&'a LocalZone>,
    /// [`plan_id`] of the plan, shown in JSON and Markdown.
    pub plan_id: &'a str,
    /// Problems outside the plan.
    pub problems: &'a Problems,
}

/// The reader's time zone, found when the first time is shown.
///
/// Finding it lists the directories of the host's zones.
pub type LocalZone = LazyLock<TimeZone>;

/// Current time and the reader's time zone, if known.
#[derive(Debug, Clone, Copy)]
pub struct TimeContext<'a> {
    /// Current time.
    pub now: Timestamp,
    /// Times are also shown in this zone.
    pub zone: Option<&'a LocalZone>,
}

impl TimeContext<'_> {
    /// Returns the zone of the reader, or this one if it is unknown.
    fn local_or<'z>(&'z self, zone: &'z TimeZone) -> &'z TimeZone {
        self.zone.map_or(zone, |local| local)
    }
}

impl<'a> ReportInput<'a> {
    fn here(&self) -> TimeContext<'a> {
        TimeContext { now: self.now, zone: self.local }
    }

    /// Returns the result of the workspace at `index`.
    fn outcome(&self, index: usize) -> Option<&'a ApplyOutcome> {
        self.outcomes.and_then(|outcomes| outcomes.get(index))
    }

    fn sum(&self) -> String {
        match self.outcomes {
            Some(outcomes) => outcome_line(self.plan, outcomes, self.problems),
            None => summary_line(self.plan, self.problems),
        }
    }
}
