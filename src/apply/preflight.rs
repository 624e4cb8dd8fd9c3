//! Preflight: tests connections before anything is connected.
//!
//! A definition that fails its test changes nothing.

use super::{ApplyRun, PreparedConnect};
use crate::client::{RemoteError, TestVerdict};
use crate::error::error_chain;
use crate::plan::{ActionResult, Step, WorkspaceError};
use crate::store::StoreChange;
use std::sync::Arc;
use tokio::task::JoinSet;

type TestAnswer = Result<TestVerdict, RemoteError>;

/// Result of the preflight of one source.
enum PreflightResult {
    NotRequested,
    /// The test task ended without a result.
    Aborted,
    /// The platform responded, or the request failed.
    Completed(TestAnswer),
}

/// Tests connections and returns the sources that may be connected.
///
/// The others are marked failed.
pub(super) async fn test_connections(
    run: &mut ApplyRun<'_>,
    ready: Vec<PreparedConnect>,
) -> Result<Vec<PreparedConnect>, WorkspaceError> {
    let verdicts = run_tests(run, &ready).await;
    let mut passed = Vec::with_capacity(ready.len());
    let mut changes = Vec::new();
    let mut unavailable = 0;
    for (ready, verdict) in ready.into_iter().zip(verdicts) {
        let why = match verdict {
            PreflightResult::NotRequested | PreflightResult::Completed(Ok(TestVerdict::Passed(_))) => None,
            PreflightResult::Completed(Ok(TestVerdict::Unavailable)) => {
                unavailable += 1;
                None
            }
            PreflightResult::Completed(Ok(TestVerdict::Failed(message))) => {
                Some(format!("its connection test failed: {message}"))
            }
            PreflightResult::Completed(Err(error)) if error.is_auth() => return Err(error.into()),
            PreflightResult::Aborted => {
                Some("its connection could not be tested: internal error, the test panicked".into())
            }
            PreflightResult::Completed(Err(error)) => {
                Some(format!("its connection could not be tested: {}", error_chain(&error)))
            }
        };
        match why {
            None => passed.push(ready),
            Some(why) => {
                let action = &run.plan.actions[ready.action];
                let kept =
                    if matches!(action.step, Step::Replace { .. }) { "; the old one stays" } else { "" };
                let why = format!("{why}{kept}");
                changes.push(StoreChange::Journal(Box::new(run.entry(action, Some(&why)))));
                run.set(ready.action, ActionResult::Failed(why));
            }
        }
    }
    if unavailable > 0 {
        tracing::warn!(workspace = %run.unit(), "the platform has no test-connection; connecting without a test");
    }
    run.commit(changes).await?;
    Ok(passed)
}

/// Runs the tests concurrently; the client limits the number of requests in flight.
async fn run_tests(run: &ApplyRun<'_>, ready: &[PreparedConnect]) -> Vec<PreflightResult> {
    let mut asking = JoinSet::new();
    let mut tested: Vec<PreflightResult> = ready.iter().map(|_| PreflightResult::NotRequested).collect();
    for (n, ready) in ready.iter().enumerate() {
        let (Step::Connect { index } | Step::Replace { index, .. }) = run.plan.actions[ready.action].step
        else {
            continue;
        };
        if run.source(index).test.before_connect {
            let (reader, source) = (run.apply.writer.reader().clone(), Arc::clone(&ready.source));
            let workspace = run.unit().workspace.clone();
            tested[n] = PreflightResult::Aborted;
            asking.spawn(async move { (n, reader.test_connection(&workspace, &source).await) });
        }
    }
    collect_results(asking, tested).await
}

/// Collects the results; a task without one keeps [`PreflightResult::Aborted`].
async fn collect_results(
    mut asking: JoinSet<(usize, TestAnswer)>,
    mut tested: Vec<PreflightResult>,
) -> Vec<PreflightResult> {
    while let Some(asked) = asking.join_next().await {
        if let Ok((n, answer)) = asked {
            tested[n] = PreflightResult::Completed(answer);
        }
    }
    tested
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_test_that_breaks_off_is_not_one_that_nobody_asked_for() {
        let mut asking = JoinSet::new();
        asking.spawn(async { (0, Ok(TestVerdict::Unavailable)) });
        asking.spawn(async { panic!("on purpose") });
        asking.spawn(std::future::pending()).abort();
        let tested = [
            PreflightResult::Aborted,
            PreflightResult::Aborted,
            PreflightResult::Aborted,
            PreflightResult::NotRequested,
        ];
        let tested = collect_results(asking, tested.into()).await;
        let expected = matches!(
            tested.as_slice(),
            [
                PreflightResult::Completed(Ok(TestVerdict::Unavailable)),
                PreflightResult::Aborted,
                PreflightResult::Aborted,
                PreflightResult::NotRequested
            ]
        );
        assert!(expected);
    }
}
