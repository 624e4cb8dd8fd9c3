//! Replaces by cleanup and connect where the platform refuses an existing name.
//!
//! If the new definition fails, the old one is connected again. Only runs if the policy permits it and the
//! old definition can be restored.

use super::responses::{mark_not_applied, record_response};
use super::{ApplyRun, PreparedConnect};
use crate::error::error_chain;
use crate::model::{IntentKind, LastApplied, NonEmpty, OnConflict, ResolvedSource, SourceId};
use crate::plan::{Action, ActionResult, Step, WorkspaceError};
use crate::store::{JournalEntry, NewIntent, StoreChange};
use std::sync::Arc;

/// Returns true if the batch is one replacement that the policy lets us recreate.
pub(super) fn may_recreate(run: &ApplyRun<'_>, batch: &[PreparedConnect]) -> bool {
    let [ready] = batch else { return false };
    let replaces = matches!(run.plan.actions[ready.action].step, Step::Replace { .. });
    replaces && run.plan.desired.policy.on_conflict == OnConflict::Recreate
}

/// Cleans up the old source and connects the new one.
///
/// Restores the old one on failure.
pub(super) async fn recreate(
    run: &mut ApplyRun<'_>,
    batch: Vec<PreparedConnect>,
) -> Result<(), WorkspaceError> {
    for ready in batch {
        let action = &run.plan.actions[ready.action];
        let Step::Replace { old, .. } = &action.step else { continue };
        let fallback = match old_definition(run, &ready) {
            Ok(fallback) => fallback,
            Err(why) => {
                let why = format!("the platform refuses to replace it in place, and {why}");
                run.quarantine(ready.action, &why).await?;
                mark_not_applied(run, [(ready.action, why)]).await?;
                continue;
            }
        };
        // One recreation at a time on the whole platform: a failed restore must stop the others.
        let syncing = run.apply.source_locks;
        let _turn = syncing.lock_for_recreate().await;
        if let Some(halted) =
            run.apply.state.halted().await?.filter(|halted| halted.blocks_replacements((run.apply.now)()))
        {
            let why = format!(
                "the platform refuses to replace it in place, and {}/{}, which was removed to be connected again, could \
                 not be restored at {}: no other source is removed for a replacement within an hour, or before that one \
                 is restored",
                halted.unit,
                halted.name,
                halted.since.strftime("%H:%M")
            );
            run.quarantine(ready.action, &why).await?;
            mark_not_applied(run, [(ready.action, why)]).await?;
            continue;
        }
        // The source is removed for a moment, so this counts as a removal.
        let Some(spare) = run.remaining_removals.checked_sub(1) else {
            let why = "the platform refuses to replace it in place, and `max_cleanup` permits no more \
                       removals in this hour";
            run.quarantine(ready.action, why).await?;
            mark_not_applied(run, [(ready.action, why.to_owned())]).await?;
            continue;
        };
        run.remaining_removals = spare;
        if let Err(why) = replace_or_restore(run, &ready, old, &fallback).await? {
            run.refusal_reasons.insert(ready.action, why);
        }
    }
    Ok(())
}

/// Returns the definition that is on the platform now, ready to be sent again.
fn old_definition(
    run: &ApplyRun<'_>,
    ready: &PreparedConnect,
) -> Result<(ResolvedSource, Arc<LastApplied>), String> {
    let name = ready.source.name();
    let owned = run.inventory.managed.get(name).ok_or("the source there is not managed")?;
    let resolution = run
        .apply
        .secrets
        .resolve(owned.applied.definition.shared(), &run.plan.desired.names())
        .map_err(|missing| format!("the old one could not be restored: {missing}"))?;
    if resolution.fingerprints(run.apply.state.key()) != owned.applied.secrets {
        return Err("the old one could not be restored: its secret has changed since".to_owned());
    }
    let source = resolution.into_source(name.clone()).with_marker(run.ownership_marker(&owned.applied));
    Ok((source, Arc::new(owned.applied.clone())))
}

async fn replace_or_restore(
    run: &mut ApplyRun<'_>,
    ready: &PreparedConnect,
    old: &SourceId,
    fallback: &(ResolvedSource, Arc<LastApplied>),
) -> Result<Result<(), String>, WorkspaceError> {
    let action = &run.plan.actions[ready.action];
    let cleanup = NewIntent {
        name: action.name.clone(),
        key: action.source.clone(),
        kind: IntentKind::Cleanup(old.clone()),
        before: Vec::new(),
        list_lacked_ours: false,
        declared: None,
    };
    run.record(vec![None], vec![cleanup]).await?;
    match run.apply.writer.cleanup(run.unit(), &NonEmpty::one(old.clone())).await {
        Ok(answer) => match answer.errors.into_iter().next() {
            None => run.record_cleaned_up(old),
            Some(error) => return Ok(Err(format!("the old one could not be cleaned up: {}", error.message))),
        },
        Err(error) => {
            return Ok(Err(format!("the old one could not be cleaned up: {}", error_chain(&error))));
        }
    }
    run.commit(vec![StoreChange::Journal(Box::new(removed(run, action, old)))]).await?;
    let error = match run.apply.writer.connect(run.unit(), &NonEmpty::one(&*ready.source)).await {
        Ok(answer) => {
            record_response(run, std::slice::from_ref(ready), &answer).await?;
            match answer.errors.into_iter().next() {
                None => return Ok(Ok(())),
                Some(error) => error.message,
            }
        }
        Err(error) if error.is_outcome_unknown() => {
            run.unknown_outcomes.insert(ready.action, error_chain(&error));
            return Ok(Ok(()));
        }
        Err(error) => error_chain(&error),
    };
    run.refresh_after_refusal(&run.intents.of(ready.action).into_iter().collect()).await?;
    if run.outcome.results[ready.action] != ActionResult::Open {
        return Ok(Ok(()));
    }
    let restore = NewIntent {
        name: action.name.clone(),
        key: action.source.clone(),
        kind: IntentKind::Connect(Arc::clone(&fallback.1)),
        before: vec![old.clone()],
        list_lacked_ours: false,
        declared: run.declaration(action),
    };
    run.abandon_connects(&run.intents.of(ready.action).into_iter().collect()).await?;
    run.record(vec![Some(ready.action)], vec![restore]).await?;
    // Without quarantine the next pass would remove and restore the source again.
    run.quarantine(ready.action, &error).await?;
    let put_back = run.apply.writer.connect(run.unit(), &NonEmpty::one(&fallback.0)).await;
    let failure = match put_back {
        Ok(answer) => {
            record_response(run, std::slice::from_ref(ready), &answer).await?;
            answer.errors.into_iter().next().map(|error| error.message)
        }
        Err(error) => Some(error_chain(&error)),
    };
    let fate = match failure {
        None => "the old one was restored".to_owned(),
        Some(why) => {
            run.commit(vec![StoreChange::Halt(action.name.clone(), (run.apply.now)())]).await?;
            format!(
                "the old one could not be restored: {why}; the source is connected again as soon as the platform takes it"
            )
        }
    };
    Ok(Err(format!("{error}; {fate}")))
}

/// Builds the journal entry of the removal within a replacement.
fn removed(run: &ApplyRun<'_>, action: &Action, old: &SourceId) -> JournalEntry {
    JournalEntry {
        action: "cleanup".into(),
        source_id: Some(old.clone()),
        reason: "the platform refuses to replace it in place; it is cleaned up and connected again"
            .to_owned(),
        removal: true,
        mends_drift: false,
        in_place: false,
        ..run.entry(action, None)
    }
}
