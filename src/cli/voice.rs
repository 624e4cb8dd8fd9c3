//! How `run` tells what it does: to a person at a terminal, or to the logs.

mod log;
mod terminal;

pub(super) use log::Log;
pub(super) use terminal::Terminal;

use crate::model::{SourceName, Unit};
use crate::plan::UnitPlan;
use std::collections::BTreeMap;
use std::sync::Mutex;

/// What was last said of each unit and source: a state is told when it changes and not every pass.
#[derive(Default)]
struct Said(Mutex<BTreeMap<(Unit, Option<SourceName>), String>>);

impl Said {
    /// Is this plan news? What differs from pass to pass without meaning anything takes no part.
    fn is_new_plan(&self, plan: &UnitPlan) -> bool {
        let UnitPlan { error, actions, withheld, unmanaged, unchecked, suspended, .. } = plan;
        self.is_new(
            (plan.unit().clone(), None),
            format!("{:?}", (error, actions, withheld, unmanaged, unchecked, suspended)),
        )
    }

    /// Is this failure news? A success in between makes it so again.
    fn is_new_failure(&self, unit: &Unit, name: &SourceName, failure: Option<&str>) -> bool {
        self.is_new((unit.clone(), Some(name.clone())), failure.unwrap_or_default().to_owned())
    }

    fn is_new(&self, about: (Unit, Option<SourceName>), what: String) -> bool {
        let Ok(mut said) = self.0.lock() else { return true };
        said.insert(about, what.clone()) != Some(what)
    }
}

/// The plan as it is worth telling: that a removal waits a second for the files to come to rest is not.
fn worth_telling(plan: &UnitPlan) -> UnitPlan {
    let mut plan = plan.clone();
    plan.withheld.retain(|withheld| withheld.code != "unsettled");
    plan
}
