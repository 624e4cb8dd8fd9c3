//! What became of a plan.

use super::{Step, UnitError, UnitPlan};

/// Why an action was skipped that a stop of the program kept from being started.
pub const INTERRUPTED: &str = "interrupted before it was started";

/// What became of the actions of one unit.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    /// One per action of the plan, in its order.
    pub results: Vec<ActionResult>,
    /// Why the unit's pass stopped early, if it did.
    pub error: Option<UnitError>,
    /// A second pass has something to do: what was adopted differs.
    pub again: bool,
    /// Something was put off until a running sync ends.
    pub waits_for_sync: bool,
}

/// What became of one action.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ActionResult {
    /// It is so, and the listing shows it.
    Done,
    /// It failed; the text says what happened and what to do.
    Failed(String),
    /// It was not tried, because.
    Skipped(String),
    /// Not decided yet; none is left when a pass ends.
    #[default]
    Open,
}

impl Outcome {
    /// How many actions failed.
    #[must_use]
    pub fn failed(&self) -> usize {
        self.results.iter().filter(|result| matches!(result, ActionResult::Failed(_))).count()
    }

    /// Returns true if a source of the plan became ours or changed.
    #[must_use]
    pub fn has_connected(&self, plan: &UnitPlan) -> bool {
        let actions = plan.actions.iter().zip(&self.results);
        actions.filter(|(_, result)| **result == ActionResult::Done).any(|(action, _)| {
            matches!(action.step, Step::Connect { .. } | Step::Replace { .. } | Step::Adopt { .. })
        })
    }

    /// Everything was done.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.error.is_none() && self.failed() == 0
    }
}
