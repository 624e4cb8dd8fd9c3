//! What the loop tells, whoever listens: a person at a terminal, or the logs.

use crate::model::{DesiredUnit, SourceKey, Unit};
use crate::plan::{Action, ActionResult, Outcome, UnitPlan};
use crate::reading::Reading;
use crate::reconcile::{PassId, Task};
use crate::schedule::Timing;
use crate::sync::{Call, Synced};
use jiff::Timestamp;

/// What follows a pass.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct After {
    /// It was not good; this is when it is tried again.
    pub again: Option<Timestamp>,
    /// It was the first since its files changed.
    pub edited: bool,
}

/// Told of everything that happens, in order for each unit.
pub trait Voice: Send + Sync {
    /// The files changed and are read. They may have errors.
    fn files(&self, reading: &Reading);
    /// The tree cannot be read; everything stays as it is.
    fn unreadable(&self, why: &str);
    /// A pass over a unit begins; until it ends, what is told of this unit belongs to it.
    fn pass_started(&self, unit: &Unit, pass: &PassId);
    /// A unit was planned; nothing is done yet, and in a dry run nothing will be.
    fn planned(&self, plan: &UnitPlan, dry_run: bool);
    /// An action is finished.
    fn action(&self, plan: &UnitPlan, action: &Action, result: &ActionResult);
    /// A pass ended; without an outcome it was a dry run.
    fn pass_ended(&self, plan: &UnitPlan, outcome: Option<&Outcome>, after: &After);
    /// No connection to the platform opens, for the reason given; the next try is at `again`.
    fn unreachable(&self, why: &str, again: Option<Timestamp>);
    /// A sync call goes out.
    fn sync_started(&self, call: &Call);
    /// A sync call ended.
    fn synced(&self, unit: Option<&DesiredUnit>, synced: &[Synced]);
    /// Nothing is under way; these firings come next.
    fn next(&self, upcoming: &[(Timestamp, &Task, &SourceKey, &Timing)], now: Timestamp);
    /// Something worth knowing.
    fn note(&self, text: &str);
    /// Something worth looking into.
    fn warn(&self, text: &str);
    /// A stop was asked for; something may still be under way.
    fn stopping(&self, busy: bool);
    /// Everything ended.
    fn stopped(&self);
}
