//! Reporter interface of the loop, implemented for terminals and for logs.

use crate::model::{DesiredUnit, SourceKey, Unit};
use crate::plan::{Action, ActionResult, Outcome, UnitPlan};
use crate::reading::Reading;
use crate::reconcile::{PassId, Task};
use crate::schedule::Timing;
use crate::sync::{Call, Synced};
use jiff::Timestamp;

/// The state after a pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct After {
    /// Time of the next attempt, if the pass failed.
    pub again: Option<Timestamp>,
    /// True if it was the first pass since its files changed.
    pub edited: bool,
}

/// Receives all events, in order for each unit.
pub trait Voice: Send + Sync {
    /// Changed files were loaded; they may have errors.
    fn files(&self, reading: &Reading);
    /// The directory cannot be read; the accepted configuration remains.
    fn unreadable(&self, why: &str);
    /// A pass over a unit started.
    ///
    /// Later events of this unit belong to it until its end.
    fn pass_started(&self, unit: &Unit, pass: &PassId);
    /// A unit was planned; nothing is done yet, and in a dry run nothing will be.
    fn planned(&self, plan: &UnitPlan, dry_run: bool);
    /// An action finished.
    fn action(&self, plan: &UnitPlan, action: &Action, result: &ActionResult);
    /// A pass ended; without an outcome it was a dry run.
    fn pass_ended(&self, plan: &UnitPlan, outcome: Option<&Outcome>, after: &After);
    /// No connection to the platform can be opened; the next attempt is at `again`.
    fn unreachable(&self, why: &str, again: Option<Timestamp>);
    /// A sync request starts.
    fn sync_started(&self, call: &Call);
    /// A sync request ended.
    fn synced(&self, unit: Option<&DesiredUnit>, synced: &[Synced]);
    /// No work is running; these firings come next.
    fn next(&self, upcoming: &[(Timestamp, &Task, &SourceKey, &Timing)], now: Timestamp);
    /// Information.
    fn note(&self, text: &str);
    /// Warning.
    fn warn(&self, text: &str);
    /// A shutdown was requested; `busy` if work is still in progress.
    fn stopping(&self, busy: bool);
    /// All work ended.
    fn stopped(&self);
}
