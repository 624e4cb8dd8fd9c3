//! Reporter for terminals: plans, actions as they finish, next syncs.

use super::{News, PlanReport, Reports, SAME_FAILURE_NOTE, SyncOutage, clock_time, describe_unreachable};
use crate::cli::{output, sync};
use crate::daemon::{NextAttempt, Reporter};
use crate::load::LoadedConfig;
use crate::model::{DesiredWorkspace, SourceKey, WorkspaceRef};
use crate::plan::{Action, ActionResult, ApplyOutcome, WorkspacePlan};
use crate::reconcile::{PassId, Task};
use crate::report::{self, Style, escape, humanize};
use crate::schedule::CompiledSchedule;
use crate::sync::{SyncCall, SyncResult};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// Prints to stdout; diagnostics go to stderr.
pub(in crate::cli) struct Terminal {
    style: Style,
    reports: Reports,
    findings: Mutex<String>,
    /// True if the files had errors, or could not be read.
    had_problems: AtomicBool,
    next: Mutex<String>,
}

impl Terminal {
    pub(in crate::cli) fn new(style: Style) -> Self {
        Self {
            style,
            reports: Reports::default(),
            findings: Mutex::default(),
            had_problems: AtomicBool::default(),
            next: Mutex::default(),
        }
    }

    fn print(&self, text: &str) {
        output::print(&format!("{}{text}", self.time_prefix()));
    }

    /// Returns the time of day, dimmed, for the start of each line.
    fn time_prefix(&self) -> String {
        let now = Timestamp::now().to_zoned_datetime(TimeZone::system()).strftime("%H:%M:%S").to_string();
        if self.style.color { format!("\x1b[2m{now}\x1b[0m ") } else { format!("{now} ") }
    }

    /// Stores `now` in `slot`; returns true if it differs from before.
    fn changed(slot: &Mutex<String>, now: &str) -> bool {
        let Ok(mut before) = slot.lock() else { return true };
        let changed = *before != now;
        now.clone_into(&mut before);
        changed
    }
}

impl Reporter for Terminal {
    fn config_loaded(&self, reading: &LoadedConfig) {
        let findings = reading.render_diagnostics(self.style.color);
        if Self::changed(&self.findings, &findings) {
            output::eprint(&findings);
            if reading.has_errors() {
                self.print("sources declared in these files stay unchanged until the errors are fixed");
            }
            if self.had_problems.swap(reading.has_errors(), Ordering::Relaxed) && !reading.has_errors() {
                self.print("all files are valid again");
            }
        }
    }

    fn config_unreadable(&self, why: &str) {
        if Self::changed(&self.findings, why) {
            self.had_problems.store(true, Ordering::Relaxed);
            self.print(&format!("{}; all sources stay unchanged", escape::terminal_line(why)));
        }
    }

    fn pass_started(&self, _: &WorkspaceRef, _: &PassId) {}

    fn plan_ready(&self, plan: &WorkspacePlan, dry_run: bool) {
        let plan = &match self.reports.new_plan(plan) {
            Some(PlanReport::Whole(plan)) => plan,
            Some(PlanReport::SharedFailure(why)) => {
                return self.print(&format!("{SAME_FAILURE_NOTE}: {why}"));
            }
            None => return,
        };
        let anything = !plan.actions.is_empty();
        let standing = plan.error.is_some() || !plan.withheld.is_empty() || !plan.unmanaged.is_empty();
        if anything || standing {
            let text = report::workspace_text(plan, output::here(), &self.style);
            output::print(&format!("\n{text}"));
        } else {
            let count = humanize::count(plan.unchanged.len(), "source");
            self.print(&format!("{}: {count} in sync", escape::terminal_line(plan.desired.label())));
        }
        if dry_run && anything {
            self.print("nothing was written");
        }
    }

    fn action_finished(&self, plan: &WorkspacePlan, action: &Action, result: &ActionResult) {
        let failure = match result {
            ActionResult::Failed(why) | ActionResult::Skipped(why) => Some(why.as_str()),
            ActionResult::Done | ActionResult::Open => None,
        };
        let news = self.reports.plans.failure(plan.unit(), &action.name, failure);
        if news == News::Suppressed && failure.is_some() {
            return;
        }
        self.print(&format!("{}{}", report::action_line(plan, action, result, &self.style), news.count()));
    }

    fn pass_ended(&self, plan: &WorkspacePlan, outcome: Option<&ApplyOutcome>, after: &NextAttempt) {
        let label = escape::terminal_line(plan.desired.label());
        if let Some(error) = self.reports.new_stop(plan, outcome) {
            self.print(&format!("{label}: {}", escape::terminal_line(&error.message)));
        }
        if let Some(text) = self.reports.describe_end(plan, outcome, after, Timestamp::now()) {
            self.print(&format!("{label}: {text}"));
        }
    }

    fn platform_unreachable(&self, why: &str, again: Option<Timestamp>) {
        self.print(&describe_unreachable(why, again));
    }

    fn sync_started(&self, _: &SyncCall) {}

    fn sync_ended(&self, desired: Option<&DesiredWorkspace>, synced: &[SyncResult]) {
        let Some(desired) = desired else { return };
        match self.reports.new_sync_outage(&desired.unit, synced) {
            Some(SyncOutage::First { why, sources }) => {
                let (label, sources) =
                    (escape::terminal_line(desired.label()), humanize::count(sources, "source"));
                self.print(&format!("✗ {label}: sync of {sources} failed: {why}"));
            }
            Some(SyncOutage::OfOthers { why }) => {
                self.print(&format!("✗ syncs of {SAME_FAILURE_NOTE}: {why}"));
            }
            None => {}
        }
        for synced in synced {
            let (news, failure) = self.reports.sync_news(&desired.unit, synced);
            if failure.is_none() || news != News::Suppressed {
                self.print(&format!("{}{}", sync::line(desired, synced), news.count()));
            }
        }
    }

    fn next_syncs(&self, upcoming: &[(Timestamp, &Task, &SourceKey, &CompiledSchedule)], now: Timestamp) {
        let soon: Vec<String> = upcoming
            .iter()
            .map(|(at, task, key, _)| {
                let name = escape::terminal_line(&format!("{}/{key}", task.desired.label()));
                format!("{name} {}", clock_time(*at, now))
            })
            .collect();
        if soon.is_empty() {
            return;
        }
        let text = format!("next syncs: {}", soon.join(", "));
        if Self::changed(&self.next, &text) {
            self.print(&text);
        }
    }

    fn info(&self, text: &str) {
        self.print(&escape::terminal_line(text));
    }

    fn warning(&self, text: &str) {
        self.print(&escape::terminal_line(text));
    }

    fn shutting_down(&self, busy: bool) {
        if busy {
            self.print("shutting down after the requests in flight (Ctrl-C again to abort)");
        }
    }

    fn shut_down(&self) {
        self.print("stopped");
    }
}
