//! Saved plans: `plan --out FILE` and `apply FILE`.

use super::args::{self, ApplyArgs, LimitArgs, Selection};
use super::context::CommandContext;
use super::select::Selector;
use super::{CommandError, Exit};
use crate::model::{Limit, WorkspaceRef};
use crate::plan::saved::{PlanOptions, SavedPlan, StalePlan};
use crate::plan::{ApprovedPlan, WorkspacePlan};
use crate::reconcile::{Planned, Planner};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Maximum size of a saved plan in bytes.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// Returns the options of a plan, which are reused when it is applied.
pub(super) fn plan_options(workspaces: &[String], selector: &Selector, limits: &LimitArgs) -> PlanOptions {
    PlanOptions {
        workspaces: workspaces.to_vec(),
        sources: selector.source_patterns(),
        prune: limits.prune,
        max_cleanup: limits.max_cleanup.map(|limit| match limit {
            Limit::Count(count) => count.to_string(),
            Limit::Percent(percent) => format!("{percent}%"),
        }),
    }
}

/// Returns the saved form of a plan made just now.
pub(super) fn current_plan(
    place: &CommandContext,
    planner: &Planner,
    planned: &[Planned],
    approved: &ApprovedPlan,
    asked: PlanOptions,
) -> Result<SavedPlan, CommandError> {
    let platform = if place.is_local() { "the local platform".to_owned() } else { place.url() };
    let approved: BTreeMap<&WorkspaceRef, &WorkspacePlan> =
        approved.plan().workspaces.iter().map(|plan| (plan.unit(), plan)).collect();
    let outline = |made: &Planned| {
        let plan = approved.get(made.plan.unit())?;
        Some(made.input_outline.clone()?.planned(plan))
    };
    let workspaces = planned.iter().map(outline).collect();
    let Some(workspaces) = workspaces else {
        let message = "some workspaces could not be planned, so the plan cannot be saved or compared";
        return Err(CommandError { exit: Exit::Failed, message: message.to_owned() });
    };
    Ok(SavedPlan::new(&platform, &planner.key, asked, workspaces))
}

/// Saves a plan with mode 0600.
pub(super) fn write(path: &Path, plan: &SavedPlan) -> Result<(), CommandError> {
    let failed = |error: std::io::Error| CommandError {
        exit: Exit::Failed,
        message: format!("cannot save the plan in {}: {error}", path.display()),
    };
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path).map_err(failed)?;
    file.write_all(plan.to_text().as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}

/// Returns the saved plan of `apply FILE` and its options; `None` without a file.
pub(super) fn load_if_named(args: &ApplyArgs) -> Result<Option<(SavedPlan, ApplyArgs)>, CommandError> {
    let Some(path) = args.plan_file() else { return Ok(None) };
    let Selection { targets, workspace, source } = &args.selection;
    let LimitArgs { prune, max_cleanup } = args.limits;
    let is_alone = targets.len() == 1 && workspace.is_empty() && source.is_empty();
    if !is_alone || prune || max_cleanup.is_some() {
        return Err(CommandError::usage(
            "a saved plan is applied unchanged; remove -w, -s, the limits and all names but the file's",
        ));
    }
    let plan = read(path)?;
    let asked = plan.asked().clone();
    let max_cleanup = asked.max_cleanup.as_deref().map(args::limit).transpose();
    let max_cleanup = max_cleanup.map_err(|why| stale_error(path, &StalePlan::NotAPlan(why)))?;
    let args = ApplyArgs {
        selection: Selection { workspace: asked.workspaces, source: asked.sources, targets: Vec::new() },
        // The plan was looked at when it was saved.
        yes: true,
        limits: LimitArgs { prune: asked.prune, max_cleanup },
    };
    Ok(Some((plan, args)))
}

fn read(path: &Path) -> Result<SavedPlan, CommandError> {
    let mut text = String::new();
    File::open(path).and_then(|file| file.take(MAX_FILE_BYTES).read_to_string(&mut text)).map_err(
        |error| CommandError::usage(&format!("cannot read the saved plan {}: {error}", path.display())),
    )?;
    SavedPlan::from_text(&text).map_err(|stale| match stale {
        StalePlan::NotAPlan(_) => CommandError::usage(&format!("{}: {stale}", path.display())),
        stale => stale_error(path, &stale),
    })
}

/// Returns the failure for an outdated plan, with exit code 4.
pub(super) fn stale_error(path: &Path, stale: &StalePlan) -> CommandError {
    CommandError { exit: Exit::Refused, message: format!("{}: {stale}", path.display()) }
}
