//! Reporter for logs: one line per event.

use super::{
    ALIKE, News, Outages, Passes, Place, Said, hash, is_of_the_platform, outage_of, unreachable,
    worth_telling,
};
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

#[derive(Default)]
pub(in crate::cli) struct Log {
    said: Said,
    syncs: Said,
    passes: Passes,
    outages: Outages,
    /// The current or last pass of each unit.
    ids: Mutex<BTreeMap<Unit, PassId>>,
    errors: AtomicBool,
    unreadable: AtomicBool,
    /// Hash of the warnings that were logged last.
    warnings: AtomicU64,
}

impl Log {
    fn pass(&self, unit: &Unit) -> Option<String> {
        self.ids.lock().ok().and_then(|ids| ids.get(unit).map(ToString::to_string))
    }
}

/// Names the first unmanaged sources, and counts the others.
fn unmanaged(plan: &UnitPlan) -> String {
    const NAMED: usize = 5;
    let names = plan.unmanaged.iter().take(NAMED).map(|it| escape::terminal_line(it.name.as_str()));
    let names = names.collect::<Vec<String>>().join(", ");
    match plan.unmanaged.len().saturating_sub(NAMED) {
        0 => names,
        more => format!("{names} and {more} more"),
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
        let outage = plan.error.as_ref().and_then(|error| error.outage.as_deref());
        let place = self.passes.outages.place(plan.unit(), outage);
        if plan.error.as_ref().is_some_and(is_of_the_platform) || !self.said.is_new_plan(plan) {
            return;
        }
        match place {
            Place::First => {}
            Place::Second => return error!("{ALIKE}: {}", escape::terminal_line(outage.unwrap_or_default())),
            Place::Later => return,
        }
        self.passes.spoke(plan.unit());
        if dry_run {
            for action in &plan.actions {
                info!(
                    workspace,
                    pass,
                    source = %action.source,
                    action = action.step.kind().as_str(),
                    reason = action.reason,
                    "would {}", action.step.kind().as_str()
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
            let (count, names) = (plan.unmanaged.len(), unmanaged(plan));
            info!(workspace, pass, count, "unmanaged, left alone: {names}");
        }
        for unchecked in &plan.unchecked {
            error!(workspace, pass, source = %unchecked.source, "not checked: {}", escape::terminal_line(&unchecked.why));
        }
    }

    fn action(&self, plan: &UnitPlan, action: &Action, result: &ActionResult) {
        let workspace = plan.desired.label();
        let pass = self.pass(plan.unit());
        let (source, word) = (&action.source, action.step.kind().as_str());
        let reason = escape::terminal_line(&action.reason);
        let (failed, why) = match result {
            ActionResult::Done | ActionResult::Open => {
                self.said.failure(plan.unit(), &action.name, None);
                info!(workspace, pass, %source, action = word, reason, "{word} done");
                return;
            }
            ActionResult::Failed(why) => (true, why),
            ActionResult::Skipped(why) => (false, why),
        };
        let news = self.said.failure(plan.unit(), &action.name, Some(why));
        let (count, why) = (news.count(), escape::terminal_line(why));
        match news {
            News::Old => {
                debug!(workspace, pass, %source, action = word, "{word} failed as before: {why}");
            }
            _ if failed => error!(workspace, pass, %source, action = word, "{word} failed{count}: {why}"),
            _ => warn!(workspace, pass, %source, action = word, "{word} not tried{count}: {why}"),
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
                kind = error.kind.as_str(),
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
        let Some(unit) = unit else { return };
        let workspace = unit.label();
        let outage = outage_of(synced);
        let place = self.outages.place(&unit.unit, outage.map(|(why, _)| why));
        if let Some((why, sources)) = outage
            && self.syncs.is_new((unit.unit.clone(), None), Some(&why))
        {
            let why = escape::terminal_line(why);
            match place {
                Place::First => error!(workspace, sources, "syncs failed: {why}"),
                Place::Second => error!("syncs of {ALIKE}: {why}"),
                Place::Later => {}
            }
        }
        if outage.is_none() {
            self.syncs.is_new((unit.unit.clone(), None), None);
        }
        for synced in synced {
            let source = &synced.key;
            let failure = synced.message.as_deref().unwrap_or("no reason is known");
            let failed = (synced.outcome != RunOutcome::Done).then_some(failure);
            let news = self.syncs.failure(&unit.unit, &synced.name, failed);
            let (count, message) = (news.count(), escape::terminal_line(failure));
            match synced.outcome {
                RunOutcome::Done => info!(workspace, %source, records = synced.records, "synced"),
                _ if news == News::Old || synced.outage.is_some() => {
                    debug!(workspace, %source, "sync failed as before: {message}");
                }
                RunOutcome::Unknown => warn!(workspace, %source, "sync without an answer{count}: {message}"),
                _ => error!(workspace, %source, "sync failed{count}: {message}"),
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
