//! `wellspring apply`: applies the files to the platform once.

use super::args::{ApplyArgs, Common, Format};
use super::context::{AccessMode, CommandContext};
use super::plan::{exit_of, overrides};
use super::progress::Progress;
use super::select::Selector;
use super::{CommandError, Exit, output, plan_cache, plan_file};
use crate::apply::SourceLocks;
use crate::client::ApiWriter;
use crate::daemon::{self, Event};
use crate::model::WorkspaceRef;
use crate::plan::saved::SavedPlan;
use crate::plan::{
    Action, ActionResult, ApplyOutcome, ApprovedPlan, ErrorKind, PendingWrite, Plan, UnchangedSummary,
    Withheld, WorkspacePlan,
};
use crate::reconcile::{InSync, MAX_CONCURRENT, PassId, Planned, Reconciler, Task, guard};
use crate::report;
use crate::store::WorkspaceLock;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::task::JoinSet;

/// Maximum wait for a workspace that another process is writing.
const LOCK_TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum number of rounds.
///
/// An adopted source that differs is replaced in a second one.
const MAX_ROUNDS: usize = 3;

pub(super) async fn run(common: &Common, args: &ApplyArgs) -> Result<Exit, CommandError> {
    match plan_file::load_if_named(args)? {
        Some((plan, asked)) => {
            let path = args.plan_file().unwrap_or(Path::new(""));
            apply(common, &asked, Some((path, &plan))).await
        }
        None => apply(common, args, None).await,
    }
}

async fn apply(
    common: &Common,
    args: &ApplyArgs,
    saved_plan: Option<(&Path, &SavedPlan)>,
) -> Result<Exit, CommandError> {
    let selector = Selector::new(&args.selection)?;
    let progress = Progress::activity(common, "comparing the files with the platform");
    let comparing = progress.tick();
    let (start, before) = match saved_plan {
        None => plan_cache::load_unchanged(common, &args.limits, &selector).await,
        Some(_) => Default::default(),
    };
    let (events, mut inbox) = tokio::sync::mpsc::unbounded_channel();
    let stopping = daemon::listen(events)?;
    let place = CommandContext::open_from(common, AccessMode::Write, start).await?;
    let Some(state) = place.state.clone() else {
        return Err(CommandError::usage("no state directory to write to"));
    };
    let mut tasks = place.tasks(&selector)?;
    selector.release_quarantine(&mut tasks);
    let look = output::style(common);
    let (human, quiet) = (common.format == Format::Human, common.quiet());
    let stop = Arc::clone(&stopping);
    let applying = Progress::new(common, "applying", "change");
    let finished = applying.clone();
    let mut planner = place.planner(overrides(&args.limits));
    planner.hashes = saved_plan.is_some();
    planner.unchanged = plan_cache::is_applicable(common, &selector).then(Arc::default);
    let reconciler = Reconciler {
        planner,
        writer: ApiWriter::new(&place.reader),
        state: state.clone(),
        holder: "apply",
        lock_wait: LOCK_TIMEOUT,
        should_stop: Arc::new(move || daemon::is_stopping(&stop)),
        on_actions: Arc::new(move |plan, results| {
            let is_told = |result: &ActionResult| human && !(quiet && matches!(result, ActionResult::Done));
            let told = results.iter().filter(|(_, result)| is_told(result));
            let lines = told.map(|(n, result)| report::action_line(plan, &plan.actions[*n], result, &look));
            let names: Vec<String> = results.iter().map(|(n, _)| name(plan, &plan.actions[*n])).collect();
            finished.end(&names, &lines.collect::<Vec<_>>());
        }),
        source_locks: SourceLocks::default(),
    };

    // No other process may write these workspaces from the plan to the end.
    raise_file_limit();
    let mut locks: Vec<WorkspaceLock> = Vec::new();
    for task in &tasks {
        let lock = state.lock_with_timeout(&task.desired.unit, "apply", LOCK_TIMEOUT).await;
        locks.push(lock?);
    }
    let mut round =
        ApplyRound::plan(&reconciler, &selector, tasks, before.unchanged_summaries(&place)).await?;
    if let Some(rest) = round.remaining_settle_time() {
        if !common.quiet() {
            note!("waiting for the platform to settle: the response to an earlier write was lost");
        }
        tokio::select! {
            () = tokio::time::sleep(rest) => {}
            () = daemon::wait_for_stop(&mut inbox) => return Err(nothing_applied()),
        }
        round =
            ApplyRound::plan(&reconciler, &selector, round.tasks, before.unchanged_summaries(&place)).await?;
    }
    selector.require_matches(&place.reading, "source", "`wellspring plan -v` shows all of them")?;
    if let Some((path, plan)) = saved_plan {
        let now = plan_file::current_plan(
            &place,
            &reconciler.planner,
            &round.planned,
            &round.approved,
            plan.asked().clone(),
        )?;
        plan.check(&now).map_err(|stale| plan_file::stale_error(path, &stale))?;
    }
    drop(comparing);
    let problems = place.problems(round.approved.plan()).await?;
    match (human, quiet && args.yes) {
        (true, false) => output::plan(common, round.approved.plan(), None, &problems),
        (true, true) => output::problems(common, round.approved.plan(), &problems),
        (false, _) => {}
    }
    let pending = round.approved.plan().workspaces.iter().any(|workspace| !workspace.actions.is_empty());
    if pending && !args.yes {
        confirm(common, &mut inbox).await?;
    }
    tokio::spawn(async move {
        daemon::wait_for_stop(&mut inbox).await;
        if !quiet {
            note!("Interrupted: shutting down after the requests in flight (Ctrl-C again to abort).");
        }
    });
    if removes(round.approved.plan()) {
        recheck_files(&place).await?;
    }
    if human && pending && !quiet {
        output::print("\n");
    }
    let ticking = applying.tick();
    let approved = Arc::clone(&round.approved);
    let mut plan = Cow::Borrowed(approved.plan());
    applying.begin(names(&plan));
    let mut outcomes = round.apply(&reconciler).await;
    let mut in_sync = std::mem::take(&mut round.in_sync);
    for _ in 1..MAX_ROUNDS {
        let again = round.follow_up_tasks(&outcomes);
        if again.is_empty() || daemon::is_stopping(&stopping) {
            break;
        }
        round = ApplyRound::plan(&reconciler, &selector, again, Vec::new()).await?;
        applying.begin(names(round.approved.plan()));
        let next = round.apply(&reconciler).await;
        in_sync.append(&mut round.in_sync);
        merge(plan.to_mut(), &mut outcomes, round.approved.plan(), next);
    }
    drop(ticking);
    place.remember().await?;

    if human && pending {
        let gap = if quiet { "" } else { "\n" };
        output::print(&format!("{gap}{}", report::outcome_line(&plan, &outcomes, &problems)));
    } else if !human {
        output::plan(common, &plan, Some(&outcomes), &problems);
    }
    let exit = outcome_exit(&plan, &outcomes)
        .or(exit_of(&plan))
        .or(place.exit())
        .or(Exit::Interrupted.when(daemon::is_stopping(&stopping)));
    before.store(&args.limits, &place, in_sync).await;
    drop(locks);
    place.close().await;
    // The process exits now, so do not spend time on freeing memory.
    std::mem::forget(approved);
    Ok(exit)
}

/// Returns the names of the changes of a plan, for the progress line.
fn names(plan: &Plan) -> Vec<String> {
    plan.workspaces
        .iter()
        .flat_map(|workspace| workspace.actions.iter().map(move |action| name(workspace, action)))
        .collect()
}

fn name(plan: &WorkspacePlan, action: &Action) -> String {
    format!("{}/{}", plan.desired.label(), action.source)
}

/// Raises the limit of open files as far as permitted.
///
/// Every lock is an open file, and the usual limit is a thousand. If the limit cannot be raised, a lock that
/// fails to open reports that.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// One round: all workspaces are planned and approved before the first write.
struct ApplyRound {
    tasks: Vec<Task>,
    planned: Vec<Planned>,
    approved: Arc<ApprovedPlan>,
    /// Workspaces that the plan or the list after the writes shows in sync.
    in_sync: BTreeMap<WorkspaceRef, InSync>,
}

impl ApplyRound {
    async fn plan(
        reconciler: &Reconciler,
        selector: &Selector,
        mut tasks: Vec<Task>,
        as_before: Vec<UnchangedSummary>,
    ) -> Result<Self, CommandError> {
        tasks.sort_by(|a, b| a.desired.unit.cmp(&b.desired.unit));
        let mut planned = reconciler.planner.plan_all(tasks.clone()).await;
        for planned in &mut planned {
            if let Err(error) = reconciler.persist_recovered(planned).await {
                return Err(CommandError { exit: Exit::Failed, message: error.message });
            }
            selector.filter_plan(&mut planned.plan);
        }
        let approved = Arc::new(guard(&planned, as_before, &reconciler.planner.host));
        Ok(Self { tasks, planned, approved, in_sync: BTreeMap::new() })
    }

    /// Applies several workspaces in parallel.
    ///
    /// The number is limited so that intents are recorded shortly before their writes are sent.
    async fn apply(&mut self, reconciler: &Reconciler) -> Vec<ApplyOutcome> {
        let workspaces = &self.approved.plan().workspaces;
        let unplanned =
            |workspace: &WorkspacePlan| ApplyOutcome { error: workspace.error.clone(), ..Default::default() };
        let mut outcomes: Vec<ApplyOutcome> = workspaces.iter().map(unplanned).collect();
        let mut applying = JoinSet::new();
        let id = PassId::new((reconciler.planner.clock)());
        let turns = Arc::new(Semaphore::new(MAX_CONCURRENT));
        for (n, planned) in std::mem::take(&mut self.planned).into_iter().enumerate() {
            // Only the approved plan is needed from now on.
            let Planned { plan, inventory, basis, in_sync, .. } = planned;
            if let Some(in_sync) = in_sync {
                self.in_sync.insert(plan.unit().clone(), in_sync);
            }
            drop(plan);
            if !self.approved.plan().workspaces[n].has_work() {
                continue;
            }
            let (reconciler, approved, id) = (reconciler.clone(), Arc::clone(&self.approved), id.clone());
            let (turns, task) = (Arc::clone(&turns), self.tasks[n].clone());
            applying.spawn(async move {
                // Fails only for a closed semaphore, and this one is never closed.
                let _turn = turns.acquire().await.ok();
                match approved.units().nth(n) {
                    Some(workspace) => (n, reconciler.apply(workspace, inventory, &basis, &task, &id).await),
                    None => (n, Default::default()),
                }
            });
        }
        for (n, (outcome, in_sync)) in applying.join_all().await {
            self.in_sync.extend(in_sync.map(|in_sync| (self.tasks[n].desired.unit.clone(), in_sync)));
            outcomes[n] = outcome;
        }
        outcomes
    }

    /// Returns the remaining settle time of writes whose responses were lost, if any.
    fn remaining_settle_time(&self) -> Option<Duration> {
        let settles = |planned: &&Planned| {
            planned.plan.withheld.iter().any(|withheld| withheld.code == PendingWrite::Settling.code())
        };
        self.planned.iter().filter(settles).filter_map(|planned| planned.settle_wait).max()
    }

    /// Returns the workspaces that need another round.
    ///
    /// These have adopted sources that differ, or removals that waited for a source connected in this round.
    fn follow_up_tasks(&self, outcomes: &[ApplyOutcome]) -> Vec<Task> {
        let workspaces = || self.approved.plan().workspaces.iter().zip(outcomes);
        let arrived = workspaces().any(|(workspace, outcome)| outcome.has_connected(workspace));
        let goes_on = |workspace: &WorkspacePlan, outcome: &ApplyOutcome| {
            outcome.needs_second_pass || arrived && workspace.withheld.iter().any(Withheld::waits_for_connect)
        };
        let again: BTreeSet<&WorkspaceRef> = workspaces()
            .filter(|(workspace, outcome)| goes_on(workspace, outcome))
            .map(|(workspace, _)| workspace.unit())
            .collect();
        self.tasks.iter().filter(|task| again.contains(&task.desired.unit)).cloned().collect()
    }
}

/// Appends the actions of a later round to those of the first.
fn merge(plan: &mut Plan, outcomes: &mut [ApplyOutcome], next: &Plan, results: Vec<ApplyOutcome>) {
    let places: BTreeMap<WorkspaceRef, usize> =
        plan.workspaces.iter().enumerate().map(|(n, workspace)| (workspace.unit().clone(), n)).collect();
    for (workspace, result) in next.workspaces.iter().zip(results) {
        let Some(n) = places.get(workspace.unit()).copied() else { continue };
        plan.workspaces[n].actions.extend(workspace.actions.iter().cloned());
        plan.workspaces[n].withheld.clone_from(&workspace.withheld);
        outcomes[n].results.extend(result.results);
        outcomes[n].needs_second_pass = result.needs_second_pass;
        outcomes[n].error = outcomes[n].error.take().or(result.error);
    }
}

fn outcome_exit(plan: &Plan, outcomes: &[ApplyOutcome]) -> Exit {
    let mut exit = Exit::Success;
    for (workspace, outcome) in plan.workspaces.iter().zip(outcomes) {
        let auth = outcome
            .error
            .as_ref()
            .is_some_and(|error| matches!(error.kind, ErrorKind::Auth | ErrorKind::Token));
        exit = exit.or(Exit::Auth.when(auth)).or(Exit::Failed.when(!outcome.is_success()));
        exit = exit.or(Exit::Invalid.when(!workspace.unchecked.is_empty()));
        // A write with an unknown outcome must not count as success.
        exit = exit.or(Exit::Failed.when(workspace.withheld.iter().any(Withheld::waits_for_write)));
        let stopped = outcome.results.iter().zip(&workspace.actions).any(|(result, action)| {
            matches!(result, ActionResult::Skipped(_)) && action.missing_secrets.is_none()
        });
        exit = exit.or(Exit::Failed.when(stopped));
    }
    exit
}

fn removes(plan: &Plan) -> bool {
    plan.workspaces
        .iter()
        .flat_map(|workspace| &workspace.actions)
        .any(|action| action.step.counts_as_removal())
}

/// Waits for the quiet time and fails if the files changed.
///
/// A removal requires stable files.
async fn recheck_files(place: &CommandContext) -> Result<(), CommandError> {
    tokio::time::sleep(place.quiet_period()).await;
    let again = place.reading.rescan().map_err(|error| CommandError::invalid(&error))?;
    if again.digest != place.reading.digest || again.git_locked {
        return Err(CommandError {
            exit: Exit::Failed,
            message: "the files changed during the command; nothing was applied. Run it again".to_owned(),
        });
    }
    Ok(())
}

async fn confirm(common: &Common, inbox: &mut UnboundedReceiver<Event>) -> Result<(), CommandError> {
    if !common.interactive() {
        return Err(CommandError::usage(
            "cannot ask for confirmation without a terminal; pass --yes to apply the changes",
        ));
    }
    eprint!("\nApply these changes? [y/N] ");
    let _ = std::io::stderr().flush();
    let (answer, answered) = tokio::sync::oneshot::channel();
    // The thread is not joined: an interrupt takes precedence over the answer.
    std::thread::spawn(move || {
        let mut line = String::new();
        let _ = answer.send(std::io::stdin().read_line(&mut line).map(|_| line));
    });
    let line = tokio::select! {
        line = answered => line.ok().and_then(Result::ok).unwrap_or_default(),
        () = daemon::wait_for_stop(inbox) => "\n".to_owned(),
    };
    if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    if !line.ends_with('\n') || line == "\n" {
        note!("");
    }
    Err(nothing_applied())
}

fn nothing_applied() -> CommandError {
    CommandError { exit: Exit::Interrupted, message: "nothing was applied".to_owned() }
}
