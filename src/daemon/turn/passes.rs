//! Passes: each runs beside the loop, and its end comes back as an event.

use super::{Turn, duration};
use crate::apply::chain;
use crate::daemon::board::{Ended, Records};
use crate::daemon::{Event, PassEnded};
use crate::model::{SourceName, Unit};
use crate::plan::{ActionResult, Outcome, Step, UnitPlan};
use crate::reconcile::{PassId, Task};
use crate::state::{State, StateError, Trigger};
use jiff::Timestamp;
use std::sync::Arc;
use std::time::Instant;

impl Turn {
    /// Where nothing may be written, a pass only plans.
    pub(super) fn start_pass(&self, task: Task) {
        let events = self.events.clone();
        let voice = Arc::clone(&self.daemon.voice);
        let id = PassId::new(self.now());
        voice.pass_started(&task.desired.unit, &id);
        let started = Instant::now();
        match &self.daemon.hands {
            None => {
                let planner = self.daemon.planner.clone();
                tokio::spawn(async move {
                    let made = planner.plan(&task).await;
                    let again = made.settling;
                    let approved = crate::reconcile::guard(std::slice::from_ref(&made), &planner.host);
                    let plan = approved.plan().units.first().cloned().unwrap_or(made.plan);
                    voice.planned(&plan, true);
                    let took = started.elapsed();
                    let ended = PassEnded { plan, outcome: None, again, records: None, took };
                    let _ = events.send(Event::PassEnded(Box::new(ended)));
                });
            }
            Some(hands) => {
                let reconciler = hands.reconciler.clone();
                tokio::spawn(async move {
                    let pass = reconciler.pass(&task, &id, |plan| voice.planned(plan, false)).await;
                    let plan = match pass.plan() {
                        Some(plan) => plan.clone(),
                        None => return,
                    };
                    let records = match pass.known {
                        // As the pass before left it.
                        true => Ok(None),
                        false => records(&reconciler.state, &plan, &pass.outcome).await.map(Some),
                    };
                    let (outcome, again, records) = match records {
                        Ok(records) => (pass.outcome, pass.again, records),
                        Err(error) => {
                            let error = crate::plan::UnitError { kind: "state", message: chain(&error) };
                            (Outcome { error: Some(error), ..pass.outcome }, pass.again, None)
                        }
                    };
                    let took = started.elapsed();
                    let ended = PassEnded { plan, outcome: Some(outcome), again, records, took };
                    let _ = events.send(Event::PassEnded(Box::new(ended)));
                });
            }
        }
    }

    /// What it did is told, and its schedule and tests count from now on.
    pub(super) fn pass_ended(&mut self, mut ended: PassEnded, now: Timestamp) {
        let error = ended.outcome.as_ref().map_or(&ended.plan.error, |outcome| &outcome.error);
        let auth = error.as_ref().is_some_and(|error| error.kind == "auth");
        let good = error.is_none() && ended.outcome.as_ref().is_none_or(Outcome::is_good);
        let rest = ["unsettled", "unreadable", "git-lock"];
        let waits_for_rest = ended.plan.withheld.iter().any(|withheld| rest.contains(&withheld.code));
        let waits_for_sync = ended.outcome.as_ref().is_some_and(|outcome| outcome.waits_for_sync);
        let unreachable = error.as_ref().filter(|error| error.kind == "unreachable").cloned();
        let asked = error.as_ref().is_none_or(|error| matches!(error.kind, "auth" | "platform"));
        self.daemon.publisher.pass_ended(&ended, good, now);
        let records = ended.records.take();
        if let Some(records) = &records {
            self.probes.accept(&ended.plan.desired, |name| records.owned.contains_key(name), now);
        }
        let unit: &Unit = ended.plan.unit();
        let end =
            Ended { good, unauthorized: auth, again: ended.again, waits_for_rest, waits_for_sync, records };
        let resumed = self.board.pass_ended(unit, end, duration(self.daemon.interval), now);
        self.daemon.publisher.scheduled(unit, &self.board, now);
        if auth {
            self.pause(now);
        }
        let after = self.board.after(unit);
        if resumed {
            self.daemon.voice.note("the platform accepts the token again");
        }
        self.daemon.voice.pass_ended(&ended.plan, ended.outcome.as_ref(), &after);
        match unreachable {
            Some(error) if self.unreachable.as_ref() != Some(&error.message) => {
                self.daemon.voice.unreachable(&error.message, after.again);
                self.unreachable = Some(error.message);
            }
            None if asked && self.unreachable.take().is_some() => {
                self.daemon.voice.note("the platform answers again");
                self.board.want_failed();
            }
            _ => {}
        }
        self.tell_next(now);
    }
}

/// What the schedule needs to know after a pass.
async fn records(state: &State, plan: &UnitPlan, outcome: &Outcome) -> Result<Records, StateError> {
    let inventory = state.inventory(plan.unit()).await?;
    let runs = state.last_runs(plan.unit()).await?;
    let at_once: Vec<(SourceName, Trigger)> = plan
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
            wanted.then(|| (action.name.clone(), trigger))
        })
        .collect();
    let owned = inventory.owned.into_iter().map(|(name, owned)| (name, owned.applied.sync_since)).collect();
    Ok(Records { owned, runs, at_once })
}
