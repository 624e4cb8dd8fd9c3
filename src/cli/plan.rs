//! `wellspring plan`: shows what would change; changes and creates nothing.

use super::args::{Common, LimitArgs, PlanArgs};
use super::context::{AccessMode, CommandContext};
use super::progress::Progress;
use super::select::Selector;
use super::{CommandError, Exit, output, plan_cache, plan_file, test};
use crate::plan::{ErrorKind, Overrides, Plan};
use crate::reconcile::guard;

pub(super) async fn run(common: &Common, args: &PlanArgs) -> Result<Exit, CommandError> {
    let selector = Selector::new(&args.selection)?;
    // A saved plan depends on the fingerprint key of the state, which is created if necessary.
    let access = if args.out.is_some() { AccessMode::Write } else { AccessMode::Read };
    let progress = Progress::activity(common, "comparing the files with the platform");
    let ticking = progress.tick();
    let (start, before) = match args.out {
        None => plan_cache::load_unchanged(common, &args.limits, &selector).await,
        Some(_) => Default::default(),
    };
    let place = CommandContext::open_from(common, access, start).await?;
    let as_before = before.unchanged_summaries(&place);
    let mut tasks = place.tasks(&selector)?;
    selector.release_quarantine(&mut tasks);
    let mut planner = place.planner(overrides(&args.limits));
    planner.hashes = args.out.is_some();
    let mut planned = planner.plan_all(tasks).await;
    drop(ticking);
    for planned in &mut planned {
        selector.filter_plan(&mut planned.plan);
    }
    selector.require_matches(&place.reading, "source", "`wellspring plan -v` shows all of them")?;
    let tests = if args.test {
        test::connections(common, &place, &mut planned, args.allow_untested).await
    } else {
        Exit::Success
    };
    let approved = guard(&planned, as_before, &planner.host);
    let problems = place.problems(approved.plan()).await?;
    output::plan(common, approved.plan(), None, &problems);
    if let Some(path) = &args.out {
        plan_file::write(
            path,
            &plan_file::current_plan(
                &place,
                &planner,
                &planned,
                &approved,
                plan_file::plan_options(&args.selection.workspace, &selector, &args.limits),
            )?,
        )?;
        if !common.quiet() {
            let path = path.display();
            note!("Saved to {path}; `wellspring apply {path}` carries it out, and nothing else.");
        }
    }
    let changes = approved.plan().workspaces.iter().any(|workspace| !workspace.actions.is_empty());
    let exit = exit_of(approved.plan())
        .or(tests)
        .or(place.exit())
        .or(Exit::Changes.when(changes && args.detailed_exitcode));
    place.close().await;
    Ok(exit)
}

/// Converts flags that override the repository's policy.
pub(super) fn overrides(limits: &LimitArgs) -> Overrides {
    Overrides { prune: limits.prune, max_cleanup: limits.max_cleanup }
}

/// Returns 5 or 1 if a workspace could not be planned, 4 if a guard refused something.
pub(super) fn exit_of(plan: &Plan) -> Exit {
    plan.workspaces.iter().fold(Exit::Success, |exit, workspace| {
        let error = workspace.error.as_ref().map_or(Exit::Success, |error| match error.kind {
            ErrorKind::Auth | ErrorKind::Token => Exit::Auth,
            _ => Exit::Failed,
        });
        exit.or(error).or(Exit::Refused.when(workspace.withheld.iter().any(|withheld| withheld.refused)))
    })
}
