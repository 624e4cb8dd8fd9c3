//! Runs passes in the background; their ends arrive as events.

use super::{EventLoop, duration};
use crate::client::TokenTrouble;
use crate::daemon::scheduler::{Ownership, PassRecords, PassResult};
use crate::daemon::{Event, PassEnded, PassReport};
use crate::error::error_chain;
use crate::model::{CompressedWorkspace, DesiredSource, SourceName};
use crate::plan::{ActionResult, ApplyOutcome, ErrorKind, Step, Withheld, WorkspaceError, WorkspacePlan};
use crate::reconcile::{Pass, PassId, Task};
use crate::store::{Store, StoreError, Trigger};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::OnceCell;

/// Time for which one version of the state is used for starting passes.
///
/// A list request takes as long. Writes of other processes in this time are found by the next pass.
const STORE_VERSION_TTL: Duration = Duration::from_millis(20);

/// Version of the state, read once for passes that start at about the same time.
pub(super) struct SharedStoreVersion {
    since: tokio::time::Instant,
    version: Arc<OnceCell<Option<i64>>>,
}

impl SharedStoreVersion {
    pub(super) fn new() -> Self {
        Self { since: tokio::time::Instant::now(), version: Arc::default() }
    }

    fn get(&mut self) -> Arc<OnceCell<Option<i64>>> {
        if self.since.elapsed() >= STORE_VERSION_TTL {
            *self = Self::new();
        }
        Arc::clone(&self.version)
    }
}

impl EventLoop {
    /// Starts passes; in a dry run these only plan.
    pub(super) fn start_passes(&mut self, tasks: Vec<Task>) {
        if tasks.is_empty() {
            return;
        }
        let started = Instant::now();
        let passes: Vec<(Task, PassId)> = tasks
            .into_iter()
            .map(|task| {
                let id = PassId::new(self.now());
                self.daemon.reporter.pass_started(&task.desired.unit, &id);
                (task, id)
            })
            .collect();
        let ended = move |workspace, made| {
            Event::PassEnded(Box::new(PassEnded { workspace, report: made, took: started.elapsed() }))
        };
        let voice = Arc::clone(&self.daemon.reporter);
        match &self.daemon.write_access {
            None => {
                for (task, _) in passes {
                    let (planner, voice) = (self.daemon.planner.clone(), Arc::clone(&voice));
                    let desired = Arc::clone(&task.desired);
                    let work = async move {
                        let made = planner.plan(&task).await;
                        let again = made.settle_wait;
                        let approved =
                            crate::reconcile::guard(std::slice::from_ref(&made), Vec::new(), &planner.host);
                        let plan = approved.plan().workspaces.first().cloned().unwrap_or(made.plan);
                        voice.plan_ready(&plan, true);
                        let made =
                            Some(PassReport { plan, outcome: None, retry_after: again, records: None });
                        ended(task.desired.unit.clone(), made)
                    };
                    self.spawn(tokio::spawn(work), move || {
                        ended(desired.unit.clone(), Some(aborted_pass(&desired, true)))
                    });
                }
            }
            Some(hands) => {
                let reconciler = Arc::clone(&hands.reconciler);
                let matters = passes.iter().any(|(task, _)| reconciler.planner.may_be_unchanged(task));
                let version = if matters { Some(self.version.get()) } else { None };
                for (task, id) in passes {
                    let (reconciler, voice) = (Arc::clone(&reconciler), Arc::clone(&voice));
                    let (version, desired) = (version.clone(), Arc::clone(&task.desired));
                    let work = async move {
                        let version = match version {
                            Some(version) => {
                                *version.get_or_init(|| reconciler.planner.state_version()).await
                            }
                            None => None,
                        };
                        let told = |plan: &WorkspacePlan| voice.plan_ready(plan, false);
                        let pass = reconciler.run_pass(version, &task, &id, told).await;
                        let made = match pass.plan().cloned() {
                            // Unchanged since the pass before.
                            None => None,
                            Some(plan) => Some(pass_report(&reconciler.state, plan, pass).await),
                        };
                        ended(task.desired.unit.clone(), made)
                    };
                    self.spawn(tokio::spawn(work), move || {
                        ended(desired.unit.clone(), Some(aborted_pass(&desired, false)))
                    });
                }
            }
        }
    }

    /// Reports the result of a pass and updates schedules and tests.
    pub(super) fn pass_ended(&mut self, ended: PassEnded, now: Timestamp) {
        let PassEnded { workspace, report: made, took } = ended;
        let Some(mut made) = made else {
            // The previous pass was good and has been reported.
            self.daemon.publisher.pass_unchanged(&workspace, took, now);
            let good = PassResult { succeeded: true, ..PassResult::default() };
            let resumed = self.scheduler.finish_pass(&workspace, good, duration(self.daemon.interval), now);
            self.scheduler.next_attempt(&workspace);
            return self.on_platform_reachable(resumed, now);
        };
        let error = made.outcome.as_ref().map_or(&made.plan.error, |outcome| &outcome.error);
        let token = error.as_ref().and_then(|error| match error.kind {
            ErrorKind::Auth => Some(TokenTrouble::Refused),
            ErrorKind::Token => Some(TokenTrouble::Unreadable(error.message.clone())),
            _ => None,
        });
        let good = error.is_none() && made.outcome.as_ref().is_none_or(ApplyOutcome::is_success);
        let waits_for_rest = made.plan.withheld.iter().any(Withheld::waits_for_quiet);
        let waits_for_arrival = made.plan.withheld.iter().any(Withheld::waits_for_connect);
        let connected = made.outcome.as_ref().is_some_and(|outcome| outcome.has_connected(&made.plan));
        let waits_for_sync = made.outcome.as_ref().is_some_and(|outcome| outcome.waits_for_sync);
        let unreachable = error.as_ref().filter(|error| error.kind == ErrorKind::Unreachable).cloned();
        let asked =
            error.as_ref().is_none_or(|error| matches!(error.kind, ErrorKind::Auth | ErrorKind::Platform));
        self.daemon.publisher.pass_ended(&made, took, good, now);
        let records = made.records.take();
        if let Some(records) = &records {
            self.connection_tests.set_workspace(
                &made.plan.desired,
                |name| records.owned.contains_key(name),
                now,
            );
        }
        let end = PassResult {
            succeeded: good,
            unauthorized: token.is_some(),
            retry_after: made.retry_after,
            waits_for_quiet: waits_for_rest,
            waits_for_sync,
            waits_for_connect: waits_for_arrival,
            connected,
            records,
        };
        let resumed = self.scheduler.finish_pass(&workspace, end, duration(self.daemon.interval), now);
        self.daemon.publisher.scheduled(&workspace, &self.scheduler, now);
        if let Some(trouble) = token {
            self.pause(trouble, now);
        }
        let after = self.scheduler.next_attempt(&workspace);
        self.daemon.reporter.pass_ended(&made.plan, made.outcome.as_ref(), &after);
        match unreachable {
            Some(error) if self.unreachable.as_ref() != Some(&error.message) => {
                self.daemon.reporter.platform_unreachable(&error.message, after.retry_at);
                self.unreachable = Some(error.message);
            }
            None if asked => return self.on_platform_reachable(resumed, now),
            _ => {}
        }
        self.report_next(now);
    }

    fn on_platform_reachable(&mut self, resumed: bool, now: Timestamp) {
        if resumed {
            self.token = None;
            self.daemon.reporter.info("the platform accepts the token again");
        }
        if self.unreachable.take().is_some() {
            self.daemon.reporter.info("the platform answers again");
            self.scheduler.retry_failed(now);
        }
        self.report_next(now);
    }
}

/// Builds the result of a pass, with its records.
async fn pass_report(state: &Store, plan: WorkspacePlan, pass: Pass) -> PassReport {
    let (outcome, records) = match records(state, &plan, &pass.outcome).await {
        Ok(records) => (pass.outcome, Some(records)),
        Err(error) => {
            let error = WorkspaceError::new(ErrorKind::State, error_chain(&error));
            (ApplyOutcome { error: Some(error), ..pass.outcome }, None)
        }
    };
    PassReport { plan, outcome: Some(outcome), retry_after: pass.retry_after, records }
}

/// Builds the result of a pass whose task panicked.
fn aborted_pass(desired: &CompressedWorkspace, dry_run: bool) -> PassReport {
    let message = "internal error: the pass panicked; retrying. Please report this bug";
    let error = WorkspaceError::new(ErrorKind::Fault, message.to_owned());
    let outcome = if dry_run {
        None
    } else {
        Some(ApplyOutcome { error: Some(error.clone()), ..ApplyOutcome::default() })
    };
    PassReport {
        plan: WorkspacePlan::failed(desired.open(), error),
        outcome,
        retry_after: None,
        records: None,
    }
}

/// Reads the records that the scheduler needs after a pass.
async fn records(
    state: &Store,
    plan: &WorkspacePlan,
    outcome: &ApplyOutcome,
) -> Result<PassRecords, StoreError> {
    let inventory = state.inventory(plan.unit()).await?;
    let runs = state.last_runs(plan.unit()).await?;
    let mut at_once: Vec<(SourceName, Trigger)> = plan
        .actions
        .iter()
        .zip(&outcome.results)
        .filter(|(_, result)| **result == ActionResult::Done)
        .filter_map(|(action, _)| {
            let (index, trigger) = match action.step {
                Step::Connect { index } => (index, Trigger::Connect),
                Step::Replace { index, .. } => (index, Trigger::Change),
                _ => return None,
            };
            let spec = plan.desired.sources[index].sync.as_ref()?;
            let wanted = if trigger == Trigger::Connect { spec.on_connect } else { spec.on_change };
            if wanted { Some((action.name.clone(), trigger)) } else { None }
        })
        .collect();
    // However it was connected, it has never been synced since.
    let is_new = |source: &&DesiredSource| {
        let owned = inventory.managed.get(&source.name);
        let wanted = source.sync.as_ref().is_some_and(|spec| spec.on_connect);
        wanted && owned.is_some_and(|owned| owned.connected_at.is_some()) && !runs.contains_key(&source.name)
    };
    let is_named = |name: &SourceName| at_once.iter().any(|(other, _)| other == name);
    let new: Vec<_> = plan.desired.sources.iter().filter(is_new).map(|source| source.name.clone()).collect();
    let new: Vec<_> = new.into_iter().filter(|name| !is_named(name)).collect();
    at_once.extend(new.into_iter().map(|name| (name, Trigger::Connect)));
    let owned = inventory.managed.into_iter().map(|(name, owned)| {
        let (connection, unidentified) = (owned.connection(), owned.unidentified);
        (name, Ownership { scheduled_since: owned.applied.sync_since, connection, unidentified })
    });
    Ok(PassRecords { owned: owned.collect(), runs, immediate_syncs: at_once })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_version_of_the_state_serves_no_pass_that_begins_later() {
        let mut shared = SharedStoreVersion::new();
        let first = shared.get();
        assert!(Arc::ptr_eq(&first, &shared.get()));
        tokio::time::advance(STORE_VERSION_TTL).await;
        assert!(!Arc::ptr_eq(&first, &shared.get()), "it is asked again");
    }
}
