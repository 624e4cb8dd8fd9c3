//! A plan, or what became of it, as text, JSON, Markdown or workflow annotations.
//!
//! Pure: no clock, no terminal, no environment. [`Look`] says what the place of showing can do. A plan
//! cannot hold a resolved secret, and what is marked sensitive is left out here once more. Whatever text
//! comes from files or the platform is escaped for where it is shown ([`escape`]).
//!
//! The marks, line by line:
//!
//! | mark | so |
//! |---|---|
//! | `+` | connect |
//! | `~` | update: a replacement in place, which keeps the data |
//! | `-/+` | replace: the data may go |
//! | `-` | cleanup |
//! | `~` | also: a new schedule |
//! | `=` | adopt or forget: nothing is sent, only what is ours changes |
//! | `!` | withheld |
//! | `?` | unmanaged, or not checked for want of a secret |
//! | <code>&#124;&#124;</code> | suspended |
//! | `x` | an error |

mod action;
mod changes;
pub mod escape;
mod github;
mod identity;
mod json;
mod lines;
mod markdown;
mod paint;
mod problems;
mod rows;
mod schedules;
mod status;
mod summary;
mod table;
mod text;
pub mod words;

pub use action::action_line;
pub use github::{github, github_below};
pub use identity::plan_id;
pub use json::{FORMAT_VERSION, json};
pub use markdown::{MARKDOWN_LIMIT, MARKDOWN_MARKER, markdown};
pub use problems::{Orphan, Problems};
pub use status::{Keeper, LastSync, Next, Paused, Record, Standing, State, Tally, state_of, status};
pub use summary::{Summary, counts, outcome_line, summary_line};
pub use table::table;
pub use text::{problems_text, text, unit_text};

use crate::plan::{Outcome, Plan};
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// What the place of showing can do.
#[derive(Debug, Clone, Copy)]
pub struct Look {
    /// It understands colour codes.
    pub color: bool,
    /// Show what stays as it is, too.
    pub verbose: bool,
    /// Its columns; 100 when unknown. With 0, nothing is ever broken over lines.
    pub width: usize,
}

impl Default for Look {
    /// No colour, changes only, 100 columns.
    fn default() -> Self {
        Self { color: false, verbose: false, width: 100 }
    }
}

/// What is to be shown.
#[derive(Debug, Clone, Copy)]
pub struct View<'a> {
    /// The plan.
    pub plan: &'a Plan,
    /// What became of it, one per unit in the plan's order; `None` where nothing was carried out.
    pub outcomes: Option<&'a [Outcome]>,
    /// The time from which the next firings are reckoned.
    pub now: Timestamp,
    /// The zone of whoever reads it: firings are told on that clock, too.
    pub local: Option<&'a TimeZone>,
    /// [`plan_id`] of the plan: told in JSON and in Markdown.
    pub plan_id: &'a str,
    /// What is wrong beside the plan.
    pub problems: &'a Problems,
}

/// The time, and the zone of whoever reads it, where that is known.
#[derive(Debug, Clone, Copy)]
pub struct Here<'a> {
    /// The time.
    pub now: Timestamp,
    /// Moments are told on this clock, too.
    pub zone: Option<&'a TimeZone>,
}

impl<'a> View<'a> {
    fn here(&self) -> Here<'a> {
        Here { now: self.now, zone: self.local }
    }

    /// What became of the unit at `index`.
    fn outcome(&self, index: usize) -> Option<&'a Outcome> {
        self.outcomes.and_then(|outcomes| outcomes.get(index))
    }

    /// The sum of it in a line.
    fn sum(&self) -> String {
        match self.outcomes {
            Some(outcomes) => outcome_line(self.plan, outcomes, self.problems),
            None => summary_line(self.plan, self.problems),
        }
    }
}
