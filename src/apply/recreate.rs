//! Replaces by cleanup and connect where the platform refuses an existing name.
//!
//! If the new definition fails, the old one is connected again. Only runs if the policy permits it and the
//! old definition can be restored.

use super::{Ready, Run, batch, chain};
use crate::model::{Applied, IntentKind, NonEmpty, OnConflict, ResolvedSource, SourceId};
use crate::plan::{Action, ActionResult, Step, UnitError};
use crate::state::{Change, JournalEntry, NewIntent};
use std::sync::Arc;

/// Returns true if the batch is one replacement that the policy lets us recreate.
pub(super) fn is_due(run: &Run<'_>, batch: &[Ready]) -> bool {
    let [ready] = batch else { return false };
    let replaces = matches!(run.plan.actions[ready.action].step, Step::Replace { .. });
    replaces && run.plan.desired.policy.on_conflict == OnConflict::Recreate
}

/// Cleans up the old source and connects the new one.
///
/// Restores the old one on failure.
pub(super) async fn recreate(run: &mut Run<'_>, batch: Vec<Ready>) -> Result<(), UnitError> {
    for ready in batch {
        let action = &run.plan.actions[ready.action];
        let Step::Replace { old, .. } = &action.step else { continue };
        let fallback = match old_definition(run, &ready) {
            Ok(fallback) => fallback,
            Err(why) => {
                let why = format!("the platform refuses to replace it in place, and {why}");
                run.keep_from_trying(ready.action, &why).await?;
                batch::not_carried_out(run, [(ready.action, why)]).await?;
                continue;
            }
        };
        // One recreation at a time on the whole platform: a failed restore must stop the others.
        let syncing = run.apply.syncing;
        let _turn = syncing.recreating().await;
        if let Some(halted) = run.apply.state.halted().await?.filter(|halted| halted.holds((run.apply.now)()))
        {
            let why = format!(
                "the platform refuses to replace it in place, and {}/{}, which was cleaned up to be connected anew, could \
                 not be put back at {}: no other source is taken away for that within an hour, nor before it is back",
                halted.unit,
                halted.name,
                halted.since.strftime("%H:%M")
            );
            run.keep_from_trying(ready.action, &why).await?;
            batch::not_carried_out(run, [(ready.action, why)]).await?;
            continue;
        }
        // The source is removed for a moment, so this counts as a removal.
        let Some(spare) = run.spare_removals.checked_sub(1) else {
            let why = "the platform refuses to replace it in place, and `max_cleanup` permits no more \
                       removals in this hour";
            run.keep_from_trying(ready.action, why).await?;
            batch::not_carried_out(run, [(ready.action, why.to_owned())]).await?;
            continue;
        };
        run.spare_removals = spare;
        if let Err(why) = connect_anew(run, &ready, old, &fallback).await? {
            run.refused.insert(ready.action, why);
        }
    }
    Ok(())
}

/// Returns the definition that is on the platform now, ready to be sent again.
fn old_definition(run: &Run<'_>, ready: &Ready) -> Result<(ResolvedSource, Arc<Applied>), String> {
    let name = ready.source.name();
    let owned = run.inventory.owned.get(name).ok_or("the source there is not managed")?;
    let resolution = run
        .apply
        .secrets
        .resolve(owned.applied.definition.shared(), &run.plan.desired.names())
        .map_err(|missing| format!("the old one could not be put back: {missing}"))?;
    if resolution.fingerprints(run.apply.state.key()) != owned.applied.secrets {
        return Err("the old one could not be put back: its secret has changed since".to_owned());
    }
    let source = resolution.into_source(name.clone()).with_stamp(run.stamp(&owned.applied));
    Ok((source, Arc::new(owned.applied.clone())))
}

async fn connect_anew(
    run: &mut Run<'_>,
    ready: &Ready,
    old: &SourceId,
    fallback: &(ResolvedSource, Arc<Applied>),
) -> Result<Result<(), String>, UnitError> {
    let action = &run.plan.actions[ready.action];
    let cleanup = NewIntent {
        name: action.name.clone(),
        key: action.source.clone(),
        kind: IntentKind::Cleanup(old.clone()),
        before: Vec::new(),
        declared: None,
    };
    run.record(vec![None], vec![cleanup]).await?;
    match run.apply.writer.cleanup(run.unit(), &NonEmpty::one(old.clone())).await {
        Ok(answer) => match answer.errors.into_iter().next() {
            None => run.cleanup_answered(old),
            Some(error) => return Ok(Err(format!("the old one could not be cleaned up: {}", error.message))),
        },
        Err(error) => return Ok(Err(format!("the old one could not be cleaned up: {}", chain(&error)))),
    }
    run.commit(vec![Change::Journal(Box::new(removed(run, action, old)))]).await?;
    let error = match run.apply.writer.connect(run.unit(), &NonEmpty::one(&*ready.source)).await {
        Ok(answer) => {
            batch::answered(run, std::slice::from_ref(ready), &answer).await?;
            match answer.errors.into_iter().next() {
                None => return Ok(Ok(())),
                Some(error) => error.message,
            }
        }
        Err(error) if error.outcome_unknown() => {
            run.unanswered.insert(ready.action, chain(&error));
            return Ok(Ok(()));
        }
        Err(error) => chain(&error),
    };
    run.look_after_refusal(&run.intents.of(ready.action).into_iter().collect()).await?;
    if run.outcome.results[ready.action] != ActionResult::Open {
        return Ok(Ok(()));
    }
    let restore = NewIntent {
        name: action.name.clone(),
        key: action.source.clone(),
        kind: IntentKind::Connect(Arc::clone(&fallback.1)),
        before: vec![old.clone()],
        declared: run.declared(action),
    };
    let closed = run.close_intents_of(ready.action);
    run.commit(closed.into_iter().collect()).await?;
    run.record(vec![Some(ready.action)], vec![restore]).await?;
    // Without quarantine the next pass would remove and restore the source again.
    run.keep_from_trying(ready.action, &error).await?;
    let put_back = run.apply.writer.connect(run.unit(), &NonEmpty::one(&fallback.0)).await;
    let failure = match put_back {
        Ok(answer) => {
            batch::answered(run, std::slice::from_ref(ready), &answer).await?;
            answer.errors.into_iter().next().map(|error| error.message)
        }
        Err(error) => Some(chain(&error)),
    };
    let fate = match failure {
        None => "the old one was put back".to_owned(),
        Some(why) => {
            run.commit(vec![Change::Halt(action.name.clone(), (run.apply.now)())]).await?;
            format!(
                "the old one could not be put back: {why}; the source is connected again as soon as the platform takes it"
            )
        }
    };
    Ok(Err(format!("{error}; {fate}")))
}

/// Builds the journal entry of the removal within a replacement.
fn removed(run: &Run<'_>, action: &Action, old: &SourceId) -> JournalEntry {
    JournalEntry {
        action: "cleanup".into(),
        source_id: Some(old.clone()),
        reason: "the platform refuses to replace it in place; it is connected anew".to_owned(),
        removal: true,
        mends_drift: false,
        ..run.entry(action, None)
    }
}
