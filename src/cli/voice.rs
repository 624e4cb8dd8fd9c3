//! How `run` tells what it does: to a person at a terminal, or to the logs.

mod log;
mod terminal;

pub(super) use log::Log;
pub(super) use terminal::Terminal;

use crate::model::Unit;
use crate::plan::UnitPlan;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What was last said of each unit, so that a state is told when it changes and not every pass.
#[derive(Default)]
struct Said(Mutex<BTreeMap<Unit, String>>);

impl Said {
    /// Is this news?
    fn is_news(&self, unit: &Unit, what: String) -> bool {
        let Ok(mut said) = self.0.lock() else { return true };
        said.insert(unit.clone(), what.clone()) != Some(what)
    }
}

/// What a plan tells apart from what it does: that stays the same from pass to pass.
fn standing(plan: &UnitPlan) -> String {
    format!(
        "{:?} {:?} {:?} {:?} {:?}",
        plan.error, plan.withheld, plan.unmanaged, plan.unchecked, plan.suspended
    )
}
