//! Reporters of `run`: for terminals and for logs.

mod log;
mod terminal;

pub(super) use log::Log;
pub(super) use terminal::Terminal;

use crate::daemon::NextAttempt;
use crate::model::{SourceName, WorkspaceRef};
use crate::plan::{ApplyOutcome, ErrorKind, WithheldReason, WorkspaceError, WorkspacePlan};
use crate::report::{escape, humanize};
use crate::store::RunOutcome;
use crate::sync::SyncResult;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::hash::{DefaultHasher, Hasher as _};
use std::sync::Mutex;

/// Deduplicates messages per workspace and source.
///
/// Stores a hash of the last message and how often it was repeated: a state is reported when it changes, and
/// then ever more rarely.
#[derive(Default)]
struct Dedup(Mutex<BTreeMap<About, (u64, u32)>>);

/// A source, or a workspace as a whole.
type About = (WorkspaceRef, Option<SourceName>);

/// Decision about reporting a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    /// Differs from the previous one.
    Changed,
    /// Repeated for the second, fourth, eighth … time in a row.
    Repeated(u32),
    /// Repeated, and reported recently.
    Suppressed,
}

impl Dedup {
    /// Returns true if the plan differs from the previous one in a reportable way.
    fn is_new_plan(&self, plan: &WorkspacePlan) -> bool {
        let WorkspacePlan { error, actions, withheld, unmanaged, unchecked, suspended, .. } = plan;
        let state = (error, actions, withheld, unmanaged, unchecked, suspended);
        self.is_new((plan.unit().clone(), None), Some(&state))
    }

    /// Classifies a failure; after a success, the same failure is new again.
    fn failure(&self, workspace: &WorkspaceRef, name: &SourceName, failure: Option<&str>) -> News {
        self.classify((workspace.clone(), Some(name.clone())), failure.as_ref().map(|failure| failure as _))
    }

    fn is_new(&self, about: About, what: Option<&dyn fmt::Debug>) -> bool {
        self.classify(about, what) == News::Changed
    }

    /// Without a message, the entry is removed.
    fn classify(&self, about: About, what: Option<&dyn fmt::Debug>) -> News {
        let Ok(mut said) = self.0.lock() else { return News::Changed };
        let Some(what) = what.map(hash) else {
            return if said.remove(&about).is_some() { News::Changed } else { News::Suppressed };
        };
        match said.get_mut(&about) {
            Some((before, times)) if *before == what => {
                *times = times.saturating_add(1);
                if times.is_power_of_two() { News::Repeated(*times) } else { News::Suppressed }
            }
            _ => {
                said.insert(about, (what, 1));
                News::Changed
            }
        }
    }
}

impl News {
    /// Formats ` (8 times in a row)`.
    fn count(self) -> String {
        match self {
            Self::Repeated(times) => format!(" ({times} times in a row)"),
            Self::Changed | Self::Suppressed => String::new(),
        }
    }
}

/// Deduplicates failures that several workspaces share.
///
/// A shared failure is reported for the first workspace, and once more for all others.
#[derive(Default)]
struct Outages(Mutex<BTreeMap<String, BTreeSet<WorkspaceRef>>>);

/// Position of a workspace among those with the same failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ReportPlace {
    /// The only one, or not a shared failure.
    First,
    Second,
    Later,
}

impl Outages {
    /// Records the shared failure of a workspace, if any, and returns its position.
    fn record_outage(&self, workspace: &WorkspaceRef, outage: Option<&str>) -> ReportPlace {
        let Ok(mut known) = self.0.lock() else { return ReportPlace::First };
        known.retain(|cause, workspaces| {
            if Some(cause.as_str()) != outage {
                workspaces.remove(workspace);
            }
            !workspaces.is_empty()
        });
        let Some(outage) = outage else { return ReportPlace::First };
        let workspaces = known.entry(outage.to_owned()).or_default();
        let place = match workspaces.len() {
            0 => ReportPlace::First,
            1 if workspaces.contains(workspace) => ReportPlace::First,
            1 => ReportPlace::Second,
            _ => ReportPlace::Later,
        };
        workspaces.insert(workspace.clone());
        place
    }
}

/// Hashes a message, because texts of plans are long and there may be thousands.
fn hash(what: &dyn fmt::Debug) -> u64 {
    struct HashWriter(DefaultHasher);
    impl fmt::Write for HashWriter {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0.write(text.as_bytes());
            Ok(())
        }
    }
    let mut taking = HashWriter(DefaultHasher::new());
    // Writing to a hasher cannot fail.
    let _ = write!(taking, "{what:?}");
    taking.0.finish()
}

/// Deduplicates messages about passes and syncs.
///
/// A failed or stopped pass and its next attempt are reported once per kind of failure. An empty pass after
/// an edit is reported if nothing else was.
#[derive(Default)]
struct Reports {
    plans: Dedup,
    failures: Dedup,
    stops: Dedup,
    pass_outages: Outages,
    syncs: Dedup,
    sync_outages: Outages,
    reported: Mutex<BTreeSet<WorkspaceRef>>,
}

enum PlanReport {
    Whole(Box<WorkspacePlan>),
    /// Only the failure that several workspaces share, with its description.
    SharedFailure(String),
}

/// A failure that the sources of a sync request share, safe to print.
enum SyncOutage {
    First { why: String, sources: usize },
    OfOthers { why: String },
}

impl Reports {
    /// Returns the new part of a plan, if any.
    fn new_plan(&self, plan: &WorkspacePlan) -> Option<PlanReport> {
        let plan = reportable_plan(plan)?;
        let outage = plan.error.as_ref().and_then(|error| error.outage.as_deref());
        let place = self.pass_outages.record_outage(plan.unit(), outage);
        if plan.error.as_ref().is_some_and(is_platform_error) || !self.plans.is_new_plan(&plan) {
            return None;
        }
        match place {
            ReportPlace::First => {}
            ReportPlace::Second => {
                return Some(PlanReport::SharedFailure(escape::terminal_line(outage.unwrap_or_default())));
            }
            ReportPlace::Later => return None,
        }
        if let Ok(mut spoken) = self.reported.lock() {
            spoken.insert(plan.unit().clone());
        }
        Some(PlanReport::Whole(Box::new(plan)))
    }

    /// Returns the shared failure of a sync request, if it is new.
    fn new_sync_outage(&self, workspace: &WorkspaceRef, synced: &[SyncResult]) -> Option<SyncOutage> {
        let outage = shared_outage(synced);
        let place = self.sync_outages.record_outage(workspace, outage.map(|(why, _)| why));
        let is_new = self.syncs.is_new((workspace.clone(), None), outage.as_ref().map(|(why, _)| why as _));
        let (why, sources) = outage?;
        let why = escape::terminal_line(why);
        match place {
            _ if !is_new => None,
            ReportPlace::First => Some(SyncOutage::First { why, sources }),
            ReportPlace::Second => Some(SyncOutage::OfOthers { why }),
            ReportPlace::Later => None,
        }
    }

    /// Decides about reporting the sync of one source; returns its failure, if any.
    fn sync_news<'s>(&self, workspace: &WorkspaceRef, synced: &'s SyncResult) -> (News, Option<&'s str>) {
        let failure = match synced.outcome {
            RunOutcome::Done => None,
            _ => Some(synced.message.as_deref().unwrap_or("reason unknown")),
        };
        let news = self.syncs.failure(workspace, &synced.name, failure);
        (if synced.outage.is_some() { News::Suppressed } else { news }, failure)
    }

    /// Returns the error that stopped a pass halfway, if it is new.
    fn new_stop<'a>(
        &self,
        plan: &WorkspacePlan,
        outcome: Option<&'a ApplyOutcome>,
    ) -> Option<&'a WorkspaceError> {
        let error = outcome.and_then(|outcome| outcome.error.as_ref());
        let error = error.filter(|error| plan.error.is_none() && !is_platform_error(error));
        let news = self.stops.is_new((plan.unit().clone(), None), error.as_ref().map(|error| error as _));
        if news { error } else { None }
    }

    /// Returns the message for a pass that ended, without the workspace's name.
    fn describe_end(
        &self,
        plan: &WorkspacePlan,
        outcome: Option<&ApplyOutcome>,
        after: &NextAttempt,
        now: Timestamp,
    ) -> Option<String> {
        let workspace = plan.unit();
        let spoke = self.reported.lock().is_ok_and(|mut spoken| spoken.remove(workspace));
        let error = outcome.map_or(&plan.error, |outcome| &outcome.error);
        let place = self
            .pass_outages
            .record_outage(workspace, error.as_ref().and_then(|error| error.outage.as_deref()));
        if error.as_ref().is_some_and(is_platform_error) || place != ReportPlace::First {
            return None;
        }
        let results = outcome.map(|outcome| &outcome.results);
        let failure = (error, results);
        let news = self.failures.classify((workspace.clone(), None), after.retry_at.map(|_| &failure as _));
        match after.retry_at {
            Some(at) => {
                if news != News::Suppressed {
                    Some(format!("trying again at {}", clock_time(at, now)))
                } else {
                    None
                }
            }
            None if after.first_after_edit && !spoke && error.is_none() && plan.actions.is_empty() => Some(
                format!("files reloaded, {}", waiting(plan).unwrap_or_else(|| "nothing to do".to_owned())),
            ),
            None => None,
        }
    }
}

/// Describes the removals that wait for stable and readable files, if any.
fn waiting(plan: &WorkspacePlan) -> Option<String> {
    let mut waiting = plan.withheld.iter().filter(|withheld| withheld.waits_for_quiet());
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
fn is_platform_error(error: &WorkspaceError) -> bool {
    matches!(error.kind, ErrorKind::Unreachable | ErrorKind::Token)
}

/// Beginning of the message that other workspaces have the same failure.
const SAME_FAILURE_NOTE: &str = "other workspaces fail likewise";

/// Returns the shared failure of a sync request, and its number of sources.
fn shared_outage(synced: &[SyncResult]) -> Option<(&str, usize)> {
    let mut outages = synced.iter().filter_map(|synced| synced.outage.as_deref());
    let first = outages.next()?;
    Some((first, 1 + outages.filter(|outage| *outage == first).count()))
}

/// Formats a time: the time of day if unambiguous, else with the date.
fn clock_time(at: Timestamp, now: Timestamp) -> String {
    if at.duration_since(now) < jiff::SignedDuration::from_hours(20) {
        return at.to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string();
    }
    humanize::moment(at, &TimeZone::system(), now)
}

/// Formats an unreachable platform and the time of the next attempt.
fn describe_unreachable(why: &str, again: Option<Timestamp>) -> String {
    let again = again.map(|at| format!("; trying again at {}", clock_time(at, Timestamp::now())));
    format!("{}{}", escape::terminal_line(why), again.unwrap_or_default())
}

/// Returns the reportable part of a plan, if any.
///
/// Removals that wait about a second for stable files are omitted. If there is nothing else, the whole plan
/// is reported after that.
fn reportable_plan(plan: &WorkspacePlan) -> Option<WorkspacePlan> {
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

    fn workspace(name: &str) -> WorkspaceRef {
        WorkspaceRef { workspace: WorkspaceId::parse(name).unwrap(), scope: Scope::default() }
    }

    #[test]
    fn a_failure_that_stays_is_reported_ever_more_rarely_and_another_one_at_once() {
        let said = Dedup::default();
        let name = SourceName::parse("s").unwrap();
        let told: Vec<News> = (0..9).map(|_| said.failure(&workspace("a"), &name, Some("refused"))).collect();
        let old = News::Suppressed;
        let expected =
            [News::Changed, News::Repeated(2), old, News::Repeated(4), old, old, old, News::Repeated(8), old];
        assert_eq!(told, expected);
        assert_eq!(said.failure(&workspace("a"), &name, Some("timed out")), News::Changed);
        assert_eq!(said.failure(&workspace("a"), &name, None), News::Changed, "it is over");
        assert_eq!(said.failure(&workspace("a"), &name, None), News::Suppressed);
        assert_eq!(said.failure(&workspace("a"), &name, Some("timed out")), News::Changed);
    }

    #[test]
    fn an_outage_is_reported_with_the_first_workspace_and_once_for_the_others() {
        let outages = Outages::default();
        let place = |name, outage| outages.record_outage(&workspace(name), outage);
        assert_eq!(place("a", Some("HTTP 503")), ReportPlace::First);
        assert_eq!(place("a", Some("HTTP 503")), ReportPlace::First, "again, as the only one");
        assert_eq!(place("b", Some("HTTP 503")), ReportPlace::Second);
        assert_eq!(place("c", Some("HTTP 503")), ReportPlace::Later);
        assert_eq!(place("d", Some("timed out")), ReportPlace::First, "something else");
        assert_eq!(place("e", None), ReportPlace::First);
        for name in ["a", "b", "c"] {
            place(name, None);
        }
        assert_eq!(place("b", Some("HTTP 503")), ReportPlace::First, "the one before is over");
    }
}
