//! Reporters of `run`: for terminals and for logs.

mod log;
mod terminal;

pub(super) use log::Log;
pub(super) use terminal::Terminal;

use crate::daemon::After;
use crate::model::{SourceName, Unit};
use crate::plan::{ErrorKind, Outcome, UnitError, UnitPlan, WithheldReason};
use crate::render::{escape, words};
use crate::sync::Synced;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Mutex;

/// Deduplicates messages per unit and source.
///
/// Stores a hash of the last message and how often it was repeated: a state is reported when it changes, and
/// then ever more rarely.
#[derive(Default)]
struct Said(Mutex<BTreeMap<About, (u64, u32)>>);

/// A source, or a workspace as a whole.
type About = (Unit, Option<SourceName>);

/// Decision about reporting a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Differs from the previous one.
    New,
    /// Repeated for the second, fourth, eighth … time in a row.
    Again(u32),
    /// Repeated, and reported recently.
    Old,
}

impl Said {
    /// Returns true if the plan differs from the previous one in a reportable way.
    fn is_new_plan(&self, plan: &UnitPlan) -> bool {
        let UnitPlan { error, actions, withheld, unmanaged, unchecked, suspended, .. } = plan;
        let state = (error, actions, withheld, unmanaged, unchecked, suspended);
        self.is_new((plan.unit().clone(), None), Some(&state))
    }

    /// Classifies a failure; after a success, the same failure is new again.
    fn failure(&self, unit: &Unit, name: &SourceName, failure: Option<&str>) -> News {
        self.news((unit.clone(), Some(name.clone())), failure.as_ref().map(|failure| failure as _))
    }

    fn is_new(&self, about: About, what: Option<&dyn fmt::Debug>) -> bool {
        self.news(about, what) == News::New
    }

    /// Without a message, the entry is removed.
    fn news(&self, about: About, what: Option<&dyn fmt::Debug>) -> News {
        let Ok(mut said) = self.0.lock() else { return News::New };
        let Some(what) = what.map(hash) else {
            return if said.remove(&about).is_some() { News::New } else { News::Old };
        };
        match said.get_mut(&about) {
            Some((before, times)) if *before == what => {
                *times = times.saturating_add(1);
                if times.is_power_of_two() { News::Again(*times) } else { News::Old }
            }
            _ => {
                said.insert(about, (what, 1));
                News::New
            }
        }
    }
}

impl News {
    /// Formats ` (8 times in a row)`.
    fn count(self) -> String {
        match self {
            Self::Again(times) => format!(" ({times} times in a row)"),
            Self::New | Self::Old => String::new(),
        }
    }
}

/// Deduplicates failures that several workspaces share.
///
/// A shared failure is reported for the first workspace, and once more for all others.
#[derive(Default)]
struct Outages(Mutex<BTreeMap<String, BTreeSet<Unit>>>);

/// Position of a workspace among those with the same failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The only one, or not a shared failure.
    First,
    Second,
    Later,
}

impl Outages {
    /// Records the shared failure of a unit, if any, and returns its position.
    fn place(&self, unit: &Unit, outage: Option<&str>) -> Place {
        let Ok(mut known) = self.0.lock() else { return Place::First };
        known.retain(|cause, units| {
            if Some(cause.as_str()) != outage {
                units.remove(unit);
            }
            !units.is_empty()
        });
        let Some(outage) = outage else { return Place::First };
        let units = known.entry(outage.to_owned()).or_default();
        let place = match units.len() {
            0 => Place::First,
            1 if units.contains(unit) => Place::First,
            1 => Place::Second,
            _ => Place::Later,
        };
        units.insert(unit.clone());
        place
    }
}

/// Hashes a message, because texts of plans are long and there may be thousands.
fn hash(what: &dyn fmt::Debug) -> u64 {
    struct Taking(DefaultHasher);
    impl fmt::Write for Taking {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut taking = Taking(DefaultHasher::new());
    // Writing to a hasher cannot fail.
    let _ = write!(taking, "{what:?}");
    taking.0.finish()
}

/// Deduplicates messages about passes.
///
/// A failed or stopped pass and its next attempt are reported once per kind of failure. An empty pass after
/// an edit is reported if nothing else was.
#[derive(Default)]
struct Passes {
    failures: Said,
    stops: Said,
    outages: Outages,
    spoken: Mutex<BTreeSet<Unit>>,
}

impl Passes {
    fn spoke(&self, unit: &Unit) {
        if let Ok(mut spoken) = self.spoken.lock() {
            spoken.insert(unit.clone());
        }
    }

    /// Returns the error that stopped a pass halfway, if it is new.
    fn stopped<'a>(&self, plan: &UnitPlan, outcome: Option<&'a Outcome>) -> Option<&'a UnitError> {
        let error = outcome.and_then(|outcome| outcome.error.as_ref());
        let error = error.filter(|error| plan.error.is_none() && !is_of_the_platform(error));
        let news = self.stops.is_new((plan.unit().clone(), None), error.as_ref().map(|error| error as _));
        error.filter(|_| news)
    }

    /// Returns the message for a pass that ended, without the workspace's name.
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
        let place = self.outages.place(unit, error.as_ref().and_then(|error| error.outage.as_deref()));
        if error.as_ref().is_some_and(is_of_the_platform) || place != Place::First {
            return None;
        }
        let results = outcome.map(|outcome| &outcome.results);
        let failure = (error, results);
        let news = self.failures.news((unit.clone(), None), after.again.map(|_| &failure as _));
        match after.again {
            Some(at) => (news != News::Old).then(|| format!("trying again at {}", clock_time(at, now))),
            None if after.edited && !spoke && error.is_none() && plan.actions.is_empty() => Some(format!(
                "files reloaded, {}",
                waiting(plan).unwrap_or_else(|| "nothing to do".to_owned())
            )),
            None => None,
        }
    }
}

/// Describes the removals that wait for stable and readable files, if any.
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

/// Returns true for errors that the loop reports once for all workspaces.
fn is_of_the_platform(error: &UnitError) -> bool {
    matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Token)
}

/// Beginning of the message that other workspaces have the same failure.
const ALIKE: &str = "other workspaces fail likewise";

/// Returns the shared failure of a sync request, and its number of sources.
fn outage_of(synced: &[Synced]) -> Option<(&str, usize)> {
    let mut outages = synced.iter().filter_map(|synced| synced.outage.as_deref());
    let first = outages.next()?;
    Some((first, 1 + outages.filter(|outage| *outage == first).count()))
}

/// Formats a time: the time of day if unambiguous, else with the date.
fn clock_time(at: Timestamp, now: Timestamp) -> String {
    if at.duration_since(now) < jiff::SignedDuration::from_hours(20) {
        return at.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string();
    }
    words::moment(at, &TimeZone::system(), now)
}

/// Formats an unreachable platform and the time of the next attempt.
fn unreachable(why: &str, again: Option<Timestamp>) -> String {
    let again = again.map(|at| format!("; trying again at {}", clock_time(at, Timestamp::now())));
    format!("{}{}", escape::terminal_line(why), again.unwrap_or_default())
}

/// Returns the reportable part of a plan, if any.
///
/// Removals that wait about a second for stable files are omitted. If there is nothing else, the whole plan
/// is reported after that.
fn worth_telling(plan: &UnitPlan) -> Option<UnitPlan> {
    let mut plan = plan.clone();
    let before = plan.withheld.len();
    plan.withheld.retain(|withheld| withheld.code != WithheldReason::Unsettled);
    let waits = plan.withheld.len() < before;
    (!waits || !plan.actions.is_empty()).then_some(plan)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scope, WorkspaceId};

    fn unit(name: &str) -> Unit {
        Unit { workspace: WorkspaceId::parse(name).unwrap(), scope: Scope::default() }
    }

    #[test]
    fn a_failure_that_stays_is_reported_ever_more_rarely_and_another_one_at_once() {
        let said = Said::default();
        let name = SourceName::parse("s").unwrap();
        let told: Vec<News> = (0..9).map(|_| said.failure(&unit("a"), &name, Some("refused"))).collect();
        let old = News::Old;
        let expected = [News::New, News::Again(2), old, News::Again(4), old, old, old, News::Again(8), old];
        assert_eq!(told, expected);
        assert_eq!(said.failure(&unit("a"), &name, Some("timed out")), News::New);
        assert_eq!(said.failure(&unit("a"), &name, None), News::New, "it is over");
        assert_eq!(said.failure(&unit("a"), &name, None), News::Old);
        assert_eq!(said.failure(&unit("a"), &name, Some("timed out")), News::New);
    }

    #[test]
    fn an_outage_is_reported_with_the_first_workspace_and_once_for_the_others() {
        let outages = Outages::default();
        let place = |name, outage| outages.place(&unit(name), outage);
        assert_eq!(place("a", Some("HTTP 503")), Place::First);
        assert_eq!(place("a", Some("HTTP 503")), Place::First, "again, as the only one");
        assert_eq!(place("b", Some("HTTP 503")), Place::Second);
        assert_eq!(place("c", Some("HTTP 503")), Place::Later);
        assert_eq!(place("d", Some("timed out")), Place::First, "something else");
        assert_eq!(place("e", None), Place::First);
        for name in ["a", "b", "c"] {
            place(name, None);
        }
        assert_eq!(place("b", Some("HTTP 503")), Place::First, "the one before is over");
    }
}
