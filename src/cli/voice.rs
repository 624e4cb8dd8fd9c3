//! How `run` tells what it does: to a person at a terminal, or to the logs.

mod log;
mod terminal;

pub(super) use log::Log;
pub(super) use terminal::Terminal;

use crate::daemon::After;
use crate::model::{SourceName, Unit};
use crate::plan::{Outcome, UnitError, UnitPlan};
use crate::render::{escape, words};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Mutex;

/// What was last said of each unit and source, as a hash: a state is told when it changes and not every pass.
#[derive(Default)]
struct Said(Mutex<BTreeMap<(Unit, Option<SourceName>), u64>>);

impl Said {
    /// Is this plan news? What differs from pass to pass without meaning anything takes no part.
    fn is_new_plan(&self, plan: &UnitPlan) -> bool {
        let UnitPlan { error, actions, withheld, unmanaged, unchecked, suspended, .. } = plan;
        let state = (error, actions, withheld, unmanaged, unchecked, suspended);
        self.is_new((plan.unit().clone(), None), Some(&state))
    }

    /// Is this failure news? A success in between makes it so again.
    fn is_new_failure(&self, unit: &Unit, name: &SourceName, failure: Option<&str>) -> bool {
        self.is_new((unit.clone(), Some(name.clone())), failure.as_ref().map(|failure| failure as _))
    }

    /// Of nothing to say, nothing is kept.
    fn is_new(&self, about: (Unit, Option<SourceName>), what: Option<&dyn fmt::Debug>) -> bool {
        let Ok(mut said) = self.0.lock() else { return true };
        match what.map(hash) {
            Some(what) => said.insert(about, what) != Some(what),
            None => said.remove(&about).is_some(),
        }
    }
}

/// A plan's text is long, and of thousands of workspaces there are many.
fn hash(what: &dyn fmt::Debug) -> u64 {
    struct Taking(DefaultHasher);
    impl fmt::Write for Taking {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut taking = Taking(DefaultHasher::new());
    // A hasher takes in everything.
    let _ = write!(taking, "{what:?}");
    taking.0.finish()
}

/// What was last said of the passes: that one failed or stopped, and when it is tried again, is said
/// once for each state of failure; that nothing was to be done after a save, where nothing else was said.
#[derive(Default)]
struct Passes {
    failures: Said,
    stops: Said,
    spoken: Mutex<BTreeSet<Unit>>,
}

impl Passes {
    fn spoke(&self, unit: &Unit) {
        if let Ok(mut spoken) = self.spoken.lock() {
            spoken.insert(unit.clone());
        }
    }

    /// Why a pass stopped halfway, where that is news.
    fn stopped<'a>(&self, plan: &UnitPlan, outcome: Option<&'a Outcome>) -> Option<&'a UnitError> {
        let error = outcome.and_then(|outcome| outcome.error.as_ref());
        let error = error.filter(|error| plan.error.is_none() && !is_unreachable(error));
        let news = self.stops.is_new((plan.unit().clone(), None), error.as_ref().map(|error| error as _));
        error.filter(|_| news)
    }

    /// What to say of a pass that ended, without the workspace's name.
    fn ended(
        &self,
        plan: &UnitPlan,
        outcome: Option<&Outcome>,
        after: &After,
        now: Timestamp,
    ) -> Option<String> {
        let unit = plan.unit();
        let spoke = self.spoken.lock().is_ok_and(|mut spoken| spoken.remove(unit));
        let error = outcome.map_or(&plan.error, |outcome| &outcome.error);
        if error.as_ref().is_some_and(is_unreachable) {
            return None;
        }
        let results = outcome.map(|outcome| &outcome.results);
        let failure = (error, results);
        let news = self.failures.is_new((unit.clone(), None), after.again.map(|_| &failure as _));
        match after.again {
            Some(at) => news.then(|| format!("trying again at {}", clock_time(at, now))),
            None if after.edited && !spoke && error.is_none() && plan.actions.is_empty() => Some(format!(
                "files reloaded, {}",
                waiting(plan).unwrap_or_else(|| "nothing to do".to_owned())
            )),
            None => None,
        }
    }
}

/// The removals that wait until the files are at rest and can all be read, and for what, if any do.
fn waiting(plan: &UnitPlan) -> Option<String> {
    let mut waiting = plan.withheld.iter().filter(|withheld| withheld.waits_for_rest());
    let first = waiting.next()?;
    let source = escape::terminal_line(first.source.as_str());
    let more = match waiting.count() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let reason = escape::terminal_line(&first.reason);
    Some(format!("{} of {source}{more} withheld: {reason}", first.action))
}

/// It is said once for all workspaces.
fn is_unreachable(error: &UnitError) -> bool {
    error.kind == "unreachable"
}

/// The time of day while that is clear, else the date too.
fn clock_time(at: Timestamp, now: Timestamp) -> String {
    if at.duration_since(now) < jiff::SignedDuration::from_hours(20) {
        return at.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string();
    }
    words::moment(at, &TimeZone::system(), now)
}

/// The platform cannot be reached, and when that is tried again.
fn unreachable(why: &str, again: Option<Timestamp>) -> String {
    let again = again.map(|at| format!("; trying again at {}", clock_time(at, Timestamp::now())));
    format!("{}{}", escape::terminal_line(why), again.unwrap_or_default())
}

/// The plan as it is worth telling. That removals wait a second for the files to come to rest is not; where
/// they are all there is, the whole is told after that.
fn worth_telling(plan: &UnitPlan) -> Option<UnitPlan> {
    let mut plan = plan.clone();
    let before = plan.withheld.len();
    plan.withheld.retain(|withheld| withheld.code != "unsettled");
    let waits = plan.withheld.len() < before;
    (!waits || !plan.actions.is_empty()).then_some(plan)
}
