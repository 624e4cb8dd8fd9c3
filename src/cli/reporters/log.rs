//! Reporter for logs: one line per event.

use super::{News, PlanReport, Reports, SAME_FAILURE_NOTE, SyncOutage, describe_unreachable, hash};
use crate::config::Severity;
use crate::daemon::{NextAttempt, Reporter};
use crate::load::LoadedConfig;
use crate::model::{DesiredWorkspace, SourceKey, WorkspaceRef};
use crate::plan::{Action, ActionResult, ApplyOutcome, WorkspacePlan};
use crate::reconcile::{PassId, Task};
use crate::report::{escape, humanize};
use crate::schedule::CompiledSchedule;
use crate::store::RunOutcome;
use crate::sync::{SyncCall, SyncResult};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tracing::{debug, error, info, warn};

#[derive(Default)]
pub(in crate::cli) struct Log {
    reports: Reports,
    /// The current or last pass of each workspace.
    pass_ids: Mutex<BTreeMap<WorkspaceRef, PassId>>,
    errors: AtomicBool,
    was_unreadable: AtomicBool,
    /// Hash of the warnings that were logged last.
    warnings: AtomicU64,
}

impl Log {
    fn pass(&self, workspace: &WorkspaceRef) -> Option<String> {
        self.pass_ids.lock().ok().and_then(|ids| ids.get(workspace).map(ToString::to_string))
    }
}

/// Names the first unmanaged sources, and counts the others.
fn unmanaged(plan: &WorkspacePlan) -> String {
    const MAX_NAMED: usize = 5;
    let names = plan.unmanaged.iter().map(|it| escape::terminal_line(it.name.as_str()));
    humanize::first_of(names, MAX_NAMED)
}

impl Reporter for Log {
    fn config_loaded(&self, reading: &LoadedConfig) {
        self.was_unreadable.store(false, Ordering::Relaxed);
        for found in reading.diagnostics.iter().filter(|found| found.severity == Severity::Error) {
            error!(
                file = %found.file,
                line = found.line,
                column = found.column,
                code = %found.code,
                "{}", escape::terminal_line(&found.message)
            );
        }
        let warnings: Vec<_> =
            reading.diagnostics.iter().filter(|found| found.severity == Severity::Warning).collect();
        let told = hash(&warnings);
        if self.warnings.swap(told, Ordering::Relaxed) != told {
            for found in warnings {
                warn!(
                    file = %found.file,
                    line = found.line,
                    column = found.column,
                    code = %found.code,
                    "{}", escape::terminal_line(&found.message)
                );
            }
        }
        let had = self.errors.swap(reading.has_errors(), Ordering::Relaxed);
        if had && !reading.has_errors() {
            info!("all files are valid again");
        }
    }

    fn config_unreadable(&self, why: &str) {
        if !self.was_unreadable.swap(true, Ordering::Relaxed) {
            error!("{}; all sources stay unchanged", escape::terminal_line(why));
        }
    }

    fn pass_started(&self, workspace: &WorkspaceRef, pass: &PassId) {
        if let Ok(mut ids) = self.pass_ids.lock() {
            ids.insert(workspace.clone(), pass.clone());
        }
        debug!(workspace = %workspace, pass = pass.as_str(), "pass begins");
    }

    fn plan_ready(&self, plan: &WorkspacePlan, dry_run: bool) {
        let plan = match self.reports.new_plan(plan) {
            Some(PlanReport::Whole(plan)) => plan,
            Some(PlanReport::SharedFailure(why)) => return error!("{SAME_FAILURE_NOTE}: {why}"),
            None => return,
        };
        let workspace = plan.desired.label();
        let pass = self.pass(plan.unit());
        if dry_run {
            for action in &plan.actions {
                info!(
                    workspace,
                    pass,
                    source = %action.source,
                    action = action.step.kind().as_str(),
                    reason = action.reason,
                    "would {}", plan.word(action.step.kind())
                );
            }
        }
        match &plan.error {
            Some(error) => {
                error!(
                    workspace,
                    pass,
                    kind = error.kind.as_str(),
                    "not planned: {}",
                    escape::terminal_line(&error.message)
                );
            }
            None => {
                info!(
                    workspace,
                    pass,
                    unchanged = plan.unchanged.len(),
                    changes = plan.actions.len(),
                    "planned"
                );
            }
        }
        for withheld in &plan.withheld {
            warn!(
                workspace,
                pass,
                source = %withheld.source,
                action = withheld.action.as_str(),
                code = withheld.code.as_str(),
                "withheld: {}", escape::terminal_line(&withheld.reason)
            );
        }
        if !plan.unmanaged.is_empty() {
            let (count, names) = (plan.unmanaged.len(), unmanaged(&plan));
            info!(workspace, pass, count, "unmanaged, left alone: {names}");
        }
        for unchecked in &plan.unchecked {
            error!(workspace, pass, source = %unchecked.source, "not checked: {}", escape::terminal_line(&unchecked.reason));
        }
    }

    fn action_finished(&self, plan: &WorkspacePlan, action: &Action, result: &ActionResult) {
        let workspace = plan.desired.label();
        let pass = self.pass(plan.unit());
        let (source, kind) = (&action.source, action.step.kind().as_str());
        let word = plan.word(action.step.kind());
        let reason = escape::terminal_line(&action.reason);
        let (failed, why) = match result {
            ActionResult::Done | ActionResult::Open => {
                self.reports.plans.failure(plan.unit(), &action.name, None);
                info!(workspace, pass, %source, action = kind, reason, "{word} done");
                return;
            }
            ActionResult::Failed(why) => (true, why),
            ActionResult::Skipped(why) => (false, why),
        };
        let news = self.reports.plans.failure(plan.unit(), &action.name, Some(why));
        let (count, why) = (news.count(), escape::terminal_line(why));
        match news {
            News::Suppressed => {
                debug!(workspace, pass, %source, action = kind, "{word} failed as before: {why}");
            }
            _ if failed => error!(workspace, pass, %source, action = kind, "{word} failed{count}: {why}"),
            _ => warn!(workspace, pass, %source, action = kind, "{word} not tried{count}: {why}"),
        }
    }

    fn pass_ended(&self, plan: &WorkspacePlan, outcome: Option<&ApplyOutcome>, after: &NextAttempt) {
        let workspace = plan.desired.label();
        let pass = self.pass(plan.unit());
        debug!(workspace, pass, "pass ended");
        if let Some(error) = self.reports.new_stop(plan, outcome) {
            error!(
                workspace,
                pass,
                kind = error.kind.as_str(),
                "pass stopped: {}",
                escape::terminal_line(&error.message)
            );
        }
        if let Some(text) = self.reports.describe_end(plan, outcome, after, Timestamp::now()) {
            info!(workspace, pass, "{text}");
        }
    }

    fn platform_unreachable(&self, why: &str, again: Option<Timestamp>) {
        error!("{}", describe_unreachable(why, again));
    }

    fn sync_started(&self, call: &SyncCall) {
        debug!(workspace = %call.unit, sources = call.members.len(), "sync started");
    }

    fn sync_ended(&self, desired: Option<&DesiredWorkspace>, synced: &[SyncResult]) {
        let Some(desired) = desired else { return };
        let workspace = desired.label();
        match self.reports.new_sync_outage(&desired.unit, synced) {
            Some(SyncOutage::First { why, sources }) => error!(workspace, sources, "syncs failed: {why}"),
            Some(SyncOutage::OfOthers { why }) => error!("syncs of {SAME_FAILURE_NOTE}: {why}"),
            None => {}
        }
        for synced in synced {
            let source = &synced.key;
            let (news, failure) = self.reports.sync_news(&desired.unit, synced);
            let (count, message) = (news.count(), escape::terminal_line(failure.unwrap_or_default()));
            match synced.outcome {
                RunOutcome::Done => info!(workspace, %source, records = synced.records, "synced"),
                _ if news == News::Suppressed => {
                    debug!(workspace, %source, "sync failed as before: {message}");
                }
                RunOutcome::Unknown => warn!(workspace, %source, "sync without a response{count}: {message}"),
                _ => error!(workspace, %source, "sync failed{count}: {message}"),
            }
        }
    }

    fn next_syncs(&self, _: &[(Timestamp, &Task, &SourceKey, &CompiledSchedule)], _: Timestamp) {}

    fn info(&self, text: &str) {
        info!("{}", escape::terminal_line(text));
    }

    fn warning(&self, text: &str) {
        warn!("{}", escape::terminal_line(text));
    }

    fn shutting_down(&self, busy: bool) {
        info!(busy, "stopping");
    }

    fn shut_down(&self) {
        info!("stopped");
    }
}
