//! Records what became of the sources of a batch.

use super::{ApplyRun, PreparedConnect};
use crate::client::ConnectAnswer;
use crate::model::SourceId;
use crate::plan::{ActionResult, INTERRUPTED, Step, WorkspaceError};
use crate::store::StoreChange;
use std::collections::BTreeMap;

/// Records a connect response, matched by name.
///
/// Sources that the response does not mention are decided by the next listing.
pub(super) async fn record_response(
    run: &mut ApplyRun<'_>,
    batch: &[PreparedConnect],
    answer: &ConnectAnswer,
) -> Result<(), WorkspaceError> {
    let refused: BTreeMap<&str, &str> = answer
        .errors
        .iter()
        .filter_map(|error| Some((error.name.as_deref()?, error.message.as_str())))
        .collect();
    let ids: BTreeMap<&str, Option<&SourceId>> =
        answer.connected.iter().filter_map(|row| Some((row.name.as_deref()?, row.id.as_ref()))).collect();
    // The platform may return the name in a normalised form.
    let normalised = answers_by_normalised_name(batch, answer);
    let alone = match (batch, answer.connected.as_slice()) {
        ([_], [row]) if answer.errors.is_empty() => Some(row.id.as_ref()),
        _ => None,
    };
    let all_taken = answer.errors.is_empty()
        && answer.rest.is_none()
        && (answer.connected.len() == batch.len() || answer.connected.is_empty());
    for ready in batch {
        let name = ready.source.name();
        if let Some(why) = refused.get(name.as_str()) {
            run.refusal_reasons.insert(ready.action, (*why).to_owned());
            continue;
        }
        let by_form = || normalised.get(&normal_form(name.as_str())).copied();
        let id = ids.get(name.as_str()).copied().or_else(by_form).or(alone);
        if let (None, Some(why)) = (id, &answer.rest) {
            run.refusal_reasons.insert(ready.action, why.clone());
            continue;
        }
        if id.is_some() || all_taken {
            run.record_connected(ready.action, id.flatten().cloned());
        }
    }
    Ok(())
}

/// Returns the ids of the response by name without case and surrounding blanks.
///
/// Only where one source of the batch and one row of the response have that form.
fn answers_by_normalised_name<'a>(
    batch: &[PreparedConnect],
    answer: &'a ConnectAnswer,
) -> BTreeMap<String, Option<&'a SourceId>> {
    let mut rows: BTreeMap<String, Vec<Option<&SourceId>>> = BTreeMap::new();
    for row in &answer.connected {
        let Some(name) = &row.name else { continue };
        rows.entry(normal_form(name)).or_default().push(row.id.as_ref());
    }
    let mut sources: BTreeMap<String, usize> = BTreeMap::new();
    for ready in batch {
        *sources.entry(normal_form(ready.source.name().as_str())).or_default() += 1;
    }
    rows.into_iter()
        .filter_map(|(form, ids)| match ids.as_slice() {
            [id] if sources.get(&form) == Some(&1) => Some((form, *id)),
            _ => None,
        })
        .collect()
}

fn normal_form(name: &str) -> String {
    name.trim().to_lowercase()
}

/// Closes the intents of writes that were not sent because of a shutdown.
pub(super) async fn not_started(
    run: &mut ApplyRun<'_>,
    actions: impl IntoIterator<Item = usize>,
) -> Result<(), WorkspaceError> {
    let actions: Vec<usize> = actions.into_iter().collect();
    let closed = actions.iter().filter_map(|action| run.close_intents_of(*action)).collect();
    run.commit(closed).await?;
    let skipped = ActionResult::Skipped(INTERRUPTED.to_owned());
    run.set_results(actions.into_iter().map(|action| (action, skipped.clone())).collect());
    Ok(())
}

/// Closes the intents of writes that certainly did not happen, and records why.
pub(super) async fn mark_not_applied(
    run: &mut ApplyRun<'_>,
    actions: impl IntoIterator<Item = (usize, String)>,
) -> Result<(), WorkspaceError> {
    let mut changes = Vec::new();
    let mut results = Vec::new();
    for (n, why) in actions {
        let action = &run.plan.actions[n];
        let why = match action.step {
            Step::Replace { .. } => format!("{why}; the old one stays"),
            _ => why,
        };
        changes.extend(run.close_intents_of(n));
        changes.push(StoreChange::Journal(Box::new(run.entry(action, Some(&why)))));
        results.push((n, ActionResult::Failed(why)));
    }
    run.commit(changes).await?;
    run.set_results(results);
    Ok(())
}
