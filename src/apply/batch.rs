//! Sends writes in batches and isolates the source that makes a batch fail.
//!
//! A refused batch may have been carried out in part, so the workspace is listed first. Sources that the list
//! does not show are sent again in halves, until the refused one is alone in its batch.

use super::cleanup::Going;
use super::{Ready, Run, chain, recreate};
use crate::model::{NonEmpty, ResolvedSource, SourceId};
use crate::plan::{ActionResult, INTERRUPTED, Step, UnitError};
use crate::remote::{CleanupAnswer, ConnectAnswer, RemoteError, RemoteErrorKind};
use crate::state::Change;
use secrecy::ExposeSecret as _;
use std::collections::{BTreeMap, BTreeSet};
use std::io;

/// Maximum size of a request body in bytes.
///
/// Servers and proxies reject much larger ones.
const LARGEST_BODY: usize = 4 << 20;

/// Connects all ready sources; their intents are recorded already.
pub(super) async fn connect(run: &mut Run<'_>, ready: Vec<Ready>) -> Result<(), UnitError> {
    let mut batches = split(ready, run.apply.batch, |ready| {
        size(&ready.source, ready.applied.definition.words().get(), run.apply.batch)
    });
    while let Some(batch) = batches.pop() {
        if (run.apply.stopping)() {
            not_started(run, batch.iter().map(|ready| ready.action)).await?;
            continue;
        }
        let Some(sources) = NonEmpty::from_vec(batch.iter().map(|ready| &*ready.source).collect()) else {
            continue;
        };
        match run.apply.writer.connect(run.unit(), &sources).await {
            Ok(answer) => answered(run, &batch, &answer).await?,
            Err(error) => match after(&error) {
                After::Halve | After::GiveUp => {
                    if let Err(error) = refused(run, batch, &error, &mut batches).await {
                        let left = batches.iter().flatten();
                        let left = left.filter_map(|ready| run.intents.of(ready.action)).collect();
                        run.give_up(&left).await?;
                        return Err(error);
                    }
                }
                After::NotSent => {
                    let why = chain(&error);
                    not_carried_out(run, batch.iter().map(|ready| (ready.action, why.clone()))).await?;
                }
                After::Stop => {
                    let why = chain(&error);
                    let rest = batches.drain(..).flatten();
                    let all: Vec<_> =
                        batch.into_iter().chain(rest).map(|ready| (ready.action, why.clone())).collect();
                    not_carried_out(run, all).await?;
                    return Err(error.into());
                }
                // Outcome unknown: send nothing again, the next listing decides.
                After::Look => {
                    for ready in &batch {
                        run.unanswered.insert(ready.action, chain(&error));
                    }
                }
            },
        }
    }
    Ok(())
}

/// Handles a refused batch.
///
/// Sources proven to be ours count as done; the rest is sent in smaller batches or given up.
async fn refused(
    run: &mut Run<'_>,
    batch: Vec<Ready>,
    error: &RemoteError,
    batches: &mut Vec<Vec<Ready>>,
) -> Result<(), UnitError> {
    let sent = batch.len();
    let numbers: BTreeSet<i64> = batch.iter().filter_map(|ready| run.intents.of(ready.action)).collect();
    run.unanswered.extend(batch.iter().map(|ready| (ready.action, chain(error))));
    run.look_after_refusal(&numbers).await?;
    let mut rest = batch;
    rest.iter().for_each(|ready| drop(run.unanswered.remove(&ready.action)));
    rest.retain(|ready| run.outcome.results[ready.action] == ActionResult::Open);
    let is_taken = |ready: &mut Ready| {
        let action = &run.plan.actions[ready.action];
        matches!(action.step, Step::Connect { .. }) && run.borne_by_others.contains(&action.name)
    };
    let taken: Vec<usize> = rest.extract_if(.., is_taken).map(|ready| ready.action).collect();
    let refusal = if sent == 1 { format!("{}; ", chain(error)) } else { String::new() };
    let because = format!(
        "{refusal}a source of this name that is not known as ours is on the platform by now; the next pass looks at it"
    );
    not_carried_out(run, taken.into_iter().map(|action| (action, because.clone()))).await?;
    if sent > 1 && matches!(after(error), After::Halve) {
        halve(batches, rest);
        return Ok(());
    }
    if is_conflict(error) && recreate::is_due(run, &rest) {
        return recreate::recreate(run, rest).await;
    }
    let why = chain(error);
    if is_conflict(error)
        && let [ready] = rest.as_slice()
    {
        run.keep_from_trying(ready.action, &why).await?;
    }
    not_carried_out(run, rest.iter().map(|ready| (ready.action, why.clone()))).await
}

/// Cleans up by recorded ids; the intents are recorded already.
pub(super) async fn cleanup(run: &mut Run<'_>, going: Vec<Going>) -> Result<(), UnitError> {
    let mut batches = split(going, run.apply.batch, |_| 0);
    while let Some(batch) = batches.pop() {
        let stopping = (run.apply.stopping)();
        let ids: Vec<SourceId> = batch.iter().map(|(_, _, _, id)| id.clone()).collect();
        let Some(ids) = NonEmpty::from_vec(ids) else { continue };
        let result = if stopping { None } else { Some(run.apply.writer.cleanup(run.unit(), &ids).await) };
        let give_up = |why: String| batch.iter().filter_map(move |going| Some((going.0?, why.clone())));
        match result {
            None => not_started(run, batch.iter().filter_map(|going| going.0)).await?,
            Some(Ok(answer)) => cleanup_answered(run, &batch, &answer),
            Some(Err(error)) => match after(&error) {
                After::Halve if batch.len() > 1 => {
                    let sent = batch.len();
                    let open = batch.iter().filter_map(|(.., id)| run.cleanup_of(id)).collect();
                    run.look_after_refusal(&open).await?;
                    let mut rest = batch;
                    rest.retain(|(.., id)| run.cleanup_of(id).is_some());
                    // The ids that are gone may have been the only reason for the refusal.
                    if rest.len() < sent { batches.push(rest) } else { halve(&mut batches, rest) }
                }
                After::Stop => return Err(error.into()),
                // Some platforms refuse ids that are already gone, so the listing decides here as well.
                _ => run.unanswered.extend(give_up(chain(&error))),
            },
        }
    }
    Ok(())
}

/// Records a cleanup response; only ids that the response names have failed.
fn cleanup_answered(run: &mut Run<'_>, batch: &[Going], answer: &CleanupAnswer) {
    for (action, name, _, id) in batch {
        let named = answer.errors.iter().find(|error| error.is_of(Some(id), name.as_str()));
        match named.map(|error| &error.message).or(answer.rest.as_ref()) {
            Some(why) => run.refused.extend(action.map(|action| (action, why.clone()))),
            None => run.cleanup_answered(id),
        }
    }
}

/// The next step after a failed write.
enum After {
    /// Refused because of its content: list, then bisect the batch.
    Halve,
    /// Refused regardless of its content: list, then leave the rest to a later pass.
    GiveUp,
    /// Never sent, or the platform reports that it did nothing.
    ///
    /// A later pass tries again.
    NotSent,
    /// Every further request would fail for the same reason.
    Stop,
    /// May have been carried out; the next listing decides.
    Look,
}

fn after(error: &RemoteError) -> After {
    match error.kind {
        RemoteErrorKind::Conflict(_) | RemoteErrorKind::Refused { status: 400 | 404 | 409 | 422, .. } => {
            After::Halve
        }
        RemoteErrorKind::NoToken(_) | RemoteErrorKind::Unauthorized(_) => After::Stop,
        RemoteErrorKind::NotSent(_) | RemoteErrorKind::Unreachable(_) | RemoteErrorKind::Throttled { .. } => {
            After::NotSent
        }
        RemoteErrorKind::Redirected(_) => After::GiveUp,
        RemoteErrorKind::Refused { status, .. } if (400..500).contains(&status) => After::GiveUp,
        _ => After::Look,
    }
}

fn is_conflict(error: &RemoteError) -> bool {
    matches!(error.kind, RemoteErrorKind::Conflict(_))
}

/// Records a connect response, matched by name.
///
/// Sources that the response does not mention are decided by the next listing.
pub(super) async fn answered(
    run: &mut Run<'_>,
    batch: &[Ready],
    answer: &ConnectAnswer,
) -> Result<(), UnitError> {
    let refused: BTreeMap<&str, &str> = answer
        .errors
        .iter()
        .filter_map(|error| Some((error.name.as_deref()?, error.message.as_str())))
        .collect();
    let ids: BTreeMap<&str, Option<&SourceId>> =
        answer.connected.iter().filter_map(|row| Some((row.name.as_deref()?, row.id.as_ref()))).collect();
    // The platform may return the name in a normalised form.
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
            run.refused.insert(ready.action, (*why).to_owned());
            continue;
        }
        let id = ids.get(name.as_str()).copied().or(alone);
        if let (None, Some(why)) = (id, &answer.rest) {
            run.refused.insert(ready.action, why.clone());
            continue;
        }
        if id.is_some() || all_taken {
            run.answered(ready.action, id.flatten().cloned());
        }
    }
    Ok(())
}

/// Closes the intents of writes that were not sent because of a shutdown.
async fn not_started(run: &mut Run<'_>, actions: impl IntoIterator<Item = usize>) -> Result<(), UnitError> {
    let actions: Vec<usize> = actions.into_iter().collect();
    let closed = actions.iter().filter_map(|action| run.close_intents_of(*action)).collect();
    run.commit(closed).await?;
    let skipped = ActionResult::Skipped(INTERRUPTED.to_owned());
    run.set_all(actions.into_iter().map(|action| (action, skipped.clone())).collect());
    Ok(())
}

/// Closes the intents of writes that certainly did not happen, and records why.
pub(super) async fn not_carried_out(
    run: &mut Run<'_>,
    actions: impl IntoIterator<Item = (usize, String)>,
) -> Result<(), UnitError> {
    let mut changes = Vec::new();
    let mut results = Vec::new();
    for (n, why) in actions {
        let action = &run.plan.actions[n];
        let why = match action.step {
            Step::Replace { .. } => format!("{why}; the old one stays"),
            _ => why,
        };
        changes.extend(run.close_intents_of(n));
        changes.push(Change::Journal(Box::new(run.entry(action, Some(&why)))));
        results.push((n, ActionResult::Failed(why)));
    }
    run.commit(changes).await?;
    run.set_all(results);
    Ok(())
}

/// Splits `elements` into batches, with the first batch last for `pop`.
///
/// The order of the plan is kept. A batch holds at most `most` elements and [`LARGEST_BODY`] bytes; a larger
/// element gets its own batch.
fn split<T>(elements: Vec<T>, most: usize, size: impl Fn(&T) -> usize) -> Vec<Vec<T>> {
    let mut batches: Vec<Vec<T>> = Vec::new();
    let mut room = 0;
    for element in elements {
        let bytes = size(&element);
        match batches.last_mut() {
            Some(batch) if batch.len() < most && bytes <= room => {
                room -= bytes;
                batch.push(element);
            }
            _ => {
                room = LARGEST_BODY.saturating_sub(bytes);
                batches.push(vec![element]);
            }
        }
    }
    batches.reverse();
    batches
}

/// Returns an upper estimate of the bytes that a source takes in a body.
///
/// The size is measured only if `most` sources of the estimated size would exceed a body.
fn size(source: &ResolvedSource, words: &str, most: usize) -> usize {
    // The text is longer than the body except for secrets; JSON may take six bytes for one of theirs.
    let secrets: usize = source.secrets().map(|secret| secret.expose_secret().len()).sum();
    let at_most = words.len() + 6 * (secrets + source.name().as_str().len()) + 200;
    if at_most <= LARGEST_BODY / most.max(1) {
        return at_most;
    }
    let mut count = Count(100);
    let parts = (source.kind(), source.name(), source.expose_connection_config(), source.metadata());
    // The writer only counts, so serialising cannot fail.
    let _ = serde_json::to_writer(&mut count, &parts);
    count.0
}

struct Count(usize);

impl io::Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn halve<T>(batches: &mut Vec<Vec<T>>, mut batch: Vec<T>) {
    let second = batch.split_off(batch.len().div_ceil(2));
    batches.extend([second, batch].into_iter().filter(|half| !half.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Declared, Definition, Fields, SourceName, Worded};
    use std::sync::Arc;

    #[test]
    fn a_batch_is_bounded_in_number_and_in_bytes() {
        let lengths = |sizes: &[usize], most| {
            let mut batches = split(sizes.to_vec(), most, |size| *size);
            batches.reverse();
            assert_eq!(batches.concat(), sizes, "nothing is lost and the order stands");
            batches.iter().map(Vec::len).collect::<Vec<_>>()
        };
        assert_eq!(lengths(&[1; 250], 100), [100, 100, 50]);
        assert_eq!(lengths(&[LARGEST_BODY / 2; 5], 100), [2, 2, 1]);
        assert_eq!(lengths(&[1, LARGEST_BODY + 1, 1], 100), [1, 1, 1]);
        assert_eq!(lengths(&[1, 1], 0), [1, 1]);
        assert!(lengths(&[], 100).is_empty());
    }

    #[test]
    fn a_source_is_hardly_smaller_than_its_body_and_a_large_one_as_large() {
        let source = |value: Declared| {
            let definition = Arc::new(Definition {
                kind: "api".into(),
                connection_config: [("query", value)].into(),
                metadata: Fields::default(),
            });
            let source =
                ResolvedSource::new(SourceName::parse("s").unwrap(), Arc::clone(&definition), vec![]);
            let length = serde_json::to_string(&source.expose_connection_config()).unwrap().len();
            (length, size(&source, Worded::from(definition).words().get(), 100))
        };
        let text = |n| Declared::String("\n\u{1}é\"".repeat(n));
        let numbers = |n| Declared::Array(vec![Declared::Integer(1); n]);
        for (length, size) in [source(text(1)), source(text(1_000)), source(numbers(1_000))] {
            assert!((length..LARGEST_BODY / 100).contains(&size), "{length} {size}");
        }
        for (length, size) in [source(text(100_000)), source(numbers(100_000))] {
            assert!((length..length + 200).contains(&size), "{length} {size}");
        }
    }
}
