//! The result of applying a plan.

use super::{Step, WorkspaceError, WorkspacePlan};

/// Reason of actions that were skipped because of a shutdown.
pub const INTERRUPTED: &str = "interrupted before it was started";

/// The result of applying the plan of one unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ApplyOutcome {
    /// One result per action of the plan, in its order.
    pub results: Vec<ActionResult>,
    /// Error that stopped the pass early, if any.
    pub error: Option<WorkspaceError>,
    /// True if a second pass is needed: an adopted source differs.
    pub needs_second_pass: bool,
    /// True if an action was deferred until a running sync ends.
    pub waits_for_sync: bool,
}

/// The result of one action.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ActionResult {
    /// Done, and confirmed by the listing.
    Done,
    /// Failed; the text describes the error and what to do.
    Failed(String),
    /// Not attempted, for this reason.
    Skipped(String),
    /// Not decided yet; never left at the end of a pass.
    #[default]
    Open,
}

impl ApplyOutcome {
    /// Returns the number of failed actions.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.results.iter().filter(|result| matches!(result, ActionResult::Failed(_))).count()
    }

    /// Returns true if a source of the plan was connected, replaced or adopted.
    #[must_use]
    pub fn has_connected(&self, plan: &WorkspacePlan) -> bool {
        let actions = plan.actions.iter().zip(&self.results);
        actions.filter(|(_, result)| **result == ActionResult::Done).any(|(action, _)| {
            matches!(action.step, Step::Connect { .. } | Step::Replace { .. } | Step::Adopt { .. })
        })
    }

    /// Returns true if every action was done and nothing is left for another pass.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.error.is_none()
            && !self.needs_second_pass
            && !self.waits_for_sync
            && self.results.iter().all(|result| *result == ActionResult::Done)
    }

    /// Returns true if there was no error and no action failed.
    #[must_use]
    pub fn is_success(&self) -> bool {
        self.error.is_none() && self.failed() == 0
    }
}
