//! `run` without a terminal: one log line per event that matters.

use super::{Passes, Said, hash, is_unreachable, unreachable, worth_telling};
use crate::daemon::{After, Voice};
use crate::manifest::Severity;
use crate::model::{DesiredUnit, SourceKey, Unit};
use crate::plan::{Action, ActionResult, Outcome, UnitPlan};
use crate::reading::Reading;
use crate::reconcile::{PassId, Task};
use crate::render::escape;
use crate::schedule::Timing;
use crate::state::RunOutcome;
use crate::sync::{Call, Synced};
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tracing::{debug, error, info, warn};

/// Speaks to the logs.
#[derive(Default)]
pub(in crate::cli) struct Log {
    said: Said,
    passes: Passes,
    /// The pass that is under way over each unit, or was the last.
    ids: Mutex<BTreeMap<Unit, PassId>>,
    errors: AtomicBool,
    unreadable: AtomicBool,
    /// The warnings that were logged last, as a hash.
    warnings: AtomicU64,
}

impl Log {
    fn pass(&self, unit: &Unit) -> Option<String> {
        self.ids.lock().ok().and_then(|ids| ids.get(unit).map(ToString::to_string))
    }
}

impl Voice for Log {
    fn files(&self, reading: &Reading) {
        self.unreadable.store(false, Ordering::Relaxed);
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

    fn unreadable(&self, why: &str) {
        if !self.unreadable.swap(true, Ordering::Relaxed) {
            error!("{}; everything stays as it is", escape::terminal_line(why));
        }
    }

    fn pass_started(&self, unit: &Unit, pass: &PassId) {
        if let Ok(mut ids) = self.ids.lock() {
            ids.insert(unit.clone(), pass.clone());
        }
        debug!(workspace = %unit, pass = pass.as_str(), "pass begins");
    }

    fn planned(&self, plan: &UnitPlan, dry_run: bool) {
        let Some(plan) = &worth_telling(plan) else { return };
        let workspace = plan.desired.label();
        let pass = self.pass(plan.unit());
        if plan.error.as_ref().is_some_and(is_unreachable) || !self.said.is_new_plan(plan) {
            return;
        }
        self.passes.spoke(plan.unit());
        if dry_run {
            for action in &plan.actions {
                info!(
                    workspace,
                    pass,
                    source = %action.source,
                    action = action.step.word(),
                    reason = action.reason,
                    "would {}", action.step.word()
                );
            }
        }
        match &plan.error {
            Some(error) => {
                error!(
                    workspace,
                    pass,
                    kind = error.kind,
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
                action = withheld.action,
                code = withheld.code,
                "withheld: {}", escape::terminal_line(&withheld.reason)
            );
        }
        for unmanaged in &plan.unmanaged {
            info!(workspace, pass, name = %escape::terminal_line(unmanaged.name.as_str()), "unmanaged, left alone");
        }
        for unchecked in &plan.unchecked {
            error!(workspace, pass, source = %unchecked.source, "not checked: {}", escape::terminal_line(&unchecked.why));
        }
    }

    fn action(&self, plan: &UnitPlan, action: &Action, result: &ActionResult) {
        let workspace = plan.desired.label();
        let pass = self.pass(plan.unit());
        let (source, word) = (&action.source, action.step.word());
        let reason = escape::terminal_line(&action.reason);
        match result {
            ActionResult::Done | ActionResult::Open => {
                self.said.is_new_failure(plan.unit(), &action.name, None);
                info!(workspace, pass, %source, action = word, reason, "{word} done");
            }
            ActionResult::Failed(why) if self.said.is_new_failure(plan.unit(), &action.name, Some(why)) => {
                error!(workspace, pass, %source, action = word, "{word} failed: {}", escape::terminal_line(why));
            }
            ActionResult::Skipped(why) if self.said.is_new_failure(plan.unit(), &action.name, Some(why)) => {
                warn!(workspace, pass, %source, action = word, "{word} not tried: {}", escape::terminal_line(why));
            }
            ActionResult::Failed(why) | ActionResult::Skipped(why) => {
                debug!(workspace, pass, %source, action = word, "{word} failed as before: {}", escape::terminal_line(why));
            }
        }
    }

    fn pass_ended(&self, plan: &UnitPlan, outcome: Option<&Outcome>, after: &After) {
        let workspace = plan.desired.label();
        let pass = self.pass(plan.unit());
        debug!(workspace, pass, "pass ended");
        if let Some(error) = self.passes.stopped(plan, outcome) {
            error!(
                workspace,
                pass,
                kind = error.kind,
                "pass stopped: {}",
                escape::terminal_line(&error.message)
            );
        }
        if let Some(text) = self.passes.ended(plan, outcome, after, Timestamp::now()) {
            info!(workspace, pass, "{text}");
        }
    }

    fn unreachable(&self, why: &str, again: Option<Timestamp>) {
        error!("{}", unreachable(why, again));
    }

    fn sync_started(&self, call: &Call) {
        debug!(workspace = %call.unit, sources = call.members.len(), "sync started");
    }

    fn synced(&self, unit: Option<&DesiredUnit>, synced: &[Synced]) {
        let workspace = unit.map(DesiredUnit::label).unwrap_or_default();
        for synced in synced {
            let source = &synced.key;
            let message = synced.message.as_deref().map(escape::terminal_line).unwrap_or_default();
            match synced.outcome {
                RunOutcome::Done => info!(workspace, %source, records = synced.records, "synced"),
                RunOutcome::Unknown => warn!(workspace, %source, "sync without an answer: {message}"),
                _ => error!(workspace, %source, "sync failed: {message}"),
            }
        }
    }

    fn next(&self, _: &[(Timestamp, &Task, &SourceKey, &Timing)], _: Timestamp) {}

    fn note(&self, text: &str) {
        info!("{}", escape::terminal_line(text));
    }

    fn warn(&self, text: &str) {
        warn!("{}", escape::terminal_line(text));
    }

    fn stopping(&self, busy: bool) {
        info!(busy, "stopping");
    }

    fn stopped(&self) {
        info!("stopped");
    }
}
