//! Sends writes in batches and isolates the source that makes a batch fail.
//!
//! A refused batch may have been carried out in part, so the workspace is listed first. Sources that the list
//! does not show are sent again in halves, until the refused one is alone in its batch.

use super::responses::{mark_not_applied, not_started, record_response};
use super::{ApplyRun, PreparedConnect, recreate};
use crate::client::{CleanupAnswer, RemoteError, RemoteErrorKind};
use crate::error::error_chain;
use crate::model::{NonEmpty, ResolvedSource, SourceId, SourceKey, SourceName};
use crate::plan::{ActionResult, Step, WorkspaceError};
use secrecy::ExposeSecret as _;
use std::collections::BTreeSet;
use std::io;

/// Maximum size of a request body in bytes.
///
/// Servers and proxies reject much larger ones.
const MAX_BODY_BYTES: usize = 4 << 20;

/// Connects all ready sources; their intents are recorded already.
pub(super) async fn connect(
    run: &mut ApplyRun<'_>,
    ready: Vec<PreparedConnect>,
) -> Result<(), WorkspaceError> {
    let is_account = run.unit().workspace.account().is_some();
    // An account connects one source at a time.
    let most = if is_account { 1 } else { run.apply.batch };
    let mut batches = split(ready, most, |ready| {
        size(&ready.source, ready.applied.definition.json().get(), run.apply.batch)
    });
    while let Some(mut batch) = batches.pop() {
        if (run.apply.stopping)() {
            not_started(run, batch.iter().map(|ready| ready.action)).await?;
            continue;
        }
        set_aside_conflicts(run, &mut batch, "").await?;
        let Some(sources) = NonEmpty::from_vec(batch.iter().map(|ready| &*ready.source).collect()) else {
            continue;
        };
        match run.apply.writer.connect(run.unit(), &sources).await {
            Ok(answer) => record_response(run, &batch, &answer).await?,
            Err(error) => match classify(&error) {
                FailureClass::Bisect | FailureClass::Defer => {
                    if let Err(error) = handle_refusal(run, batch, &error, &mut batches).await {
                        let left = batches.iter().flatten();
                        let left = left.filter_map(|ready| run.intents.of(ready.action)).collect();
                        run.abandon_connects(&left).await?;
                        return Err(error);
                    }
                }
                FailureClass::NotApplied => {
                    let why = error_chain(&error);
                    mark_not_applied(run, batch.iter().map(|ready| (ready.action, why.clone()))).await?;
                }
                FailureClass::Abort => {
                    let why = error_chain(&error);
                    let rest = batches.drain(..).flatten();
                    let all: Vec<_> =
                        batch.into_iter().chain(rest).map(|ready| (ready.action, why.clone())).collect();
                    mark_not_applied(run, all).await?;
                    return Err(error.into());
                }
                // Outcome unknown: send nothing again, the next listing decides.
                FailureClass::Unknown => {
                    for ready in &batch {
                        run.unknown_outcomes.insert(ready.action, error_chain(&error));
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
async fn handle_refusal(
    run: &mut ApplyRun<'_>,
    batch: Vec<PreparedConnect>,
    error: &RemoteError,
    batches: &mut Vec<Vec<PreparedConnect>>,
) -> Result<(), WorkspaceError> {
    let sent = batch.len();
    let numbers: BTreeSet<i64> = batch.iter().filter_map(|ready| run.intents.of(ready.action)).collect();
    run.unknown_outcomes.extend(batch.iter().map(|ready| (ready.action, error_chain(error))));
    run.refresh_after_refusal(&numbers).await?;
    let mut rest = batch;
    rest.iter().for_each(|ready| drop(run.unknown_outcomes.remove(&ready.action)));
    rest.retain(|ready| run.outcome.results[ready.action] == ActionResult::Open);
    if sent > 1 && matches!(classify(error), FailureClass::Bisect) {
        rest.iter_mut().for_each(|ready| ready.was_refused = true);
        bisect(batches, rest);
        return Ok(());
    }
    let why = error_chain(error);
    set_aside_conflicts(run, &mut rest, &format!("{why}; ")).await?;
    if is_conflict(error) && recreate::may_recreate(run, &rest) {
        return recreate::recreate(run, rest).await;
    }
    if is_conflict(error)
        && let [ready] = rest.as_slice()
    {
        run.quarantine(ready.action, &why).await?;
    }
    if !is_conflict(error) || rest.iter().any(|ready| ready.was_refused) {
        keep_evidence(run, &rest).await?;
    }
    mark_not_applied(run, rest.iter().map(|ready| (ready.action, why.clone()))).await
}

/// Gives up connects of names that unmanaged sources have by now; the next pass decides about these.
async fn set_aside_conflicts(
    run: &mut ApplyRun<'_>,
    batch: &mut Vec<PreparedConnect>,
    refusal: &str,
) -> Result<(), WorkspaceError> {
    let is_taken = |ready: &mut PreparedConnect| {
        let action = &run.plan.actions[ready.action];
        matches!(action.step, Step::Connect { .. }) && run.conflicting_names.contains(&action.name)
    };
    let taken: Vec<PreparedConnect> = batch.extract_if(.., is_taken).collect();
    if taken.is_empty() {
        return Ok(());
    }
    keep_evidence(run, &taken).await?;
    let why =
        format!("{refusal}an unmanaged source of this name is on the platform now; the next pass decides");
    mark_not_applied(run, taken.iter().map(|ready| (ready.action, why.clone()))).await
}

/// Closes refused connects that may have been carried out nevertheless.
///
/// An intermediary may refuse a request that the platform carried out, and the list may show that later. Only a
/// conflict of names is the platform's own answer, and speaks of the last request only.
async fn keep_evidence(run: &mut ApplyRun<'_>, refused: &[PreparedConnect]) -> Result<(), WorkspaceError> {
    let numbers = refused.iter().filter_map(|ready| run.intents.of(ready.action)).collect();
    run.abandon_connects(&numbers).await
}

/// A row to clean up.
pub(super) struct CleanupTarget {
    /// The action in the plan; rows that a replace left behind have none.
    pub(super) action: Option<usize>,
    pub(super) name: SourceName,
    pub(super) key: SourceKey,
    pub(super) id: SourceId,
}

/// Cleans up by recorded ids; the intents are recorded already.
pub(super) async fn cleanup(run: &mut ApplyRun<'_>, going: Vec<CleanupTarget>) -> Result<(), WorkspaceError> {
    let mut batches = split(going, run.apply.batch, |_| 0);
    while let Some(batch) = batches.pop() {
        let stopping = (run.apply.stopping)();
        let ids: Vec<SourceId> = batch.iter().map(|target| target.id.clone()).collect();
        let Some(ids) = NonEmpty::from_vec(ids) else { continue };
        let result = if stopping { None } else { Some(run.apply.writer.cleanup(run.unit(), &ids).await) };
        let give_up =
            |why: String| batch.iter().filter_map(move |target| Some((target.action?, why.clone())));
        match result {
            None => not_started(run, batch.iter().filter_map(|target| target.action)).await?,
            Some(Ok(answer)) => record_cleanup_response(run, &batch, &answer),
            Some(Err(error)) => match classify(&error) {
                FailureClass::Bisect if batch.len() > 1 => {
                    let sent = batch.len();
                    let open = batch.iter().filter_map(|target| run.cleanup_of(&target.id)).collect();
                    run.refresh_after_refusal(&open).await?;
                    let mut rest = batch;
                    rest.retain(|target| run.cleanup_of(&target.id).is_some());
                    // The ids that are gone may have been the only reason for the refusal.
                    if rest.len() < sent { batches.push(rest) } else { bisect(&mut batches, rest) }
                }
                FailureClass::Abort => return Err(error.into()),
                // Some platforms refuse ids that are already gone, so the listing decides here as well.
                _ => run.unknown_outcomes.extend(give_up(error_chain(&error))),
            },
        }
    }
    Ok(())
}

/// Records a cleanup response; only ids that the response names have failed.
fn record_cleanup_response(run: &mut ApplyRun<'_>, batch: &[CleanupTarget], answer: &CleanupAnswer) {
    // A smaller number than requested does not tell which of them are gone.
    let is_complete = answer.deleted.is_none_or(|deleted| deleted >= batch.len() as u64);
    for CleanupTarget { action, name, id, .. } in batch {
        let named = answer.errors.iter().find(|error| error.is_of(Some(id), name.as_str()));
        match named.map(|error| &error.message).or(answer.rest.as_ref()) {
            Some(why) => run.refusal_reasons.extend(action.map(|action| (action, why.clone()))),
            None if is_complete => run.record_cleaned_up(id),
            None => {}
        }
    }
}

/// The next step after a failed write.
enum FailureClass {
    /// Refused because of its content: list, then bisect the batch.
    Bisect,
    /// Refused regardless of its content: list, then leave the rest to a later pass.
    Defer,
    /// Never sent, or the platform reports that it did nothing.
    ///
    /// A later pass tries again.
    NotApplied,
    /// Every further request would fail for the same reason.
    Abort,
    /// May have been carried out; the next listing decides.
    Unknown,
}

fn classify(error: &RemoteError) -> FailureClass {
    match error.kind {
        RemoteErrorKind::Conflict(_) | RemoteErrorKind::Refused { status: 400 | 404 | 409 | 422, .. } => {
            FailureClass::Bisect
        }
        RemoteErrorKind::NoToken(_) | RemoteErrorKind::Unauthorized(_) => FailureClass::Abort,
        RemoteErrorKind::NotSent(_) | RemoteErrorKind::Unreachable(_) | RemoteErrorKind::Throttled { .. } => {
            FailureClass::NotApplied
        }
        RemoteErrorKind::Redirected(_) => FailureClass::Defer,
        RemoteErrorKind::Refused { status, .. } if (400..500).contains(&status) => FailureClass::Defer,
        _ => FailureClass::Unknown,
    }
}

fn is_conflict(error: &RemoteError) -> bool {
    matches!(error.kind, RemoteErrorKind::Conflict(_))
}

/// Splits `elements` into batches, with the first batch last for `pop`.
///
/// The order of the plan is kept. A batch holds at most `most` elements and [`MAX_BODY_BYTES`] bytes; a larger
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
                room = MAX_BODY_BYTES.saturating_sub(bytes);
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
    if at_most <= MAX_BODY_BYTES / most.max(1) {
        return at_most;
    }
    let mut count = BatchSizer(100);
    let parts = (source.kind(), source.name(), source.expose_connection_config(), source.metadata());
    // The writer only counts, so serialising cannot fail.
    let _ = serde_json::to_writer(&mut count, &parts);
    count.0
}

struct BatchSizer(usize);

impl io::Write for BatchSizer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn bisect<T>(batches: &mut Vec<Vec<T>>, mut batch: Vec<T>) {
    let second = batch.split_off(batch.len().div_ceil(2));
    batches.extend([second, batch].into_iter().filter(|half| !half.is_empty()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{CachedJson, ConfigValue, Definition, SortedMap, SourceName};
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
        assert_eq!(lengths(&[MAX_BODY_BYTES / 2; 5], 100), [2, 2, 1]);
        assert_eq!(lengths(&[1, MAX_BODY_BYTES + 1, 1], 100), [1, 1, 1]);
        assert_eq!(lengths(&[1, 1], 0), [1, 1]);
        assert!(lengths(&[], 100).is_empty());
    }

    #[test]
    fn a_source_is_hardly_smaller_than_its_body_and_a_large_one_as_large() {
        let source = |value: ConfigValue| {
            let definition = Arc::new(Definition {
                kind: "api".into(),
                connection_config: [("query", value)].into(),
                metadata: SortedMap::default(),
            });
            let source =
                ResolvedSource::new(SourceName::parse("s").unwrap(), Arc::clone(&definition), vec![]);
            let length = serde_json::to_string(&source.expose_connection_config()).unwrap().len();
            (length, size(&source, CachedJson::from(definition).json().get(), 100))
        };
        let text = |n| ConfigValue::String("\n\u{1}é\"".repeat(n));
        let numbers = |n| ConfigValue::Array(vec![ConfigValue::Integer(1); n]);
        for (length, size) in [source(text(1)), source(text(1_000)), source(numbers(1_000))] {
            assert!((length..MAX_BODY_BYTES / 100).contains(&size), "{length} {size}");
        }
        for (length, size) in [source(text(100_000)), source(numbers(100_000))] {
            assert!((length..length + 200).contains(&size), "{length} {size}");
        }
    }
}
