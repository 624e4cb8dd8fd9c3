//! Preflight: tests connections before anything is connected.
//!
//! A definition that fails its test changes nothing.

use super::{Ready, Run};
use crate::plan::{ActionResult, Step, UnitError};
use crate::remote::{RemoteError, Verdict};
use crate::state::Change;
use std::sync::Arc;
use tokio::task::JoinSet;

type Answer = Result<Verdict, RemoteError>;

/// Result of the preflight of one source.
enum Tested {
    /// No test requested.
    NotAsked,
    /// The test task ended without a result.
    BrokenOff,
    /// The platform responded, or the request failed.
    Answered(Answer),
}

/// Tests connections and returns the sources that may be connected.
///
/// The others are marked failed.
pub(super) async fn test_connections(run: &mut Run<'_>, ready: Vec<Ready>) -> Result<Vec<Ready>, UnitError> {
    let verdicts = ask(run, &ready).await;
    let mut passed = Vec::with_capacity(ready.len());
    let mut changes = Vec::new();
    let mut unavailable = 0;
    for (ready, verdict) in ready.into_iter().zip(verdicts) {
        let why = match verdict {
            Tested::NotAsked | Tested::Answered(Ok(Verdict::Passed(_))) => None,
            Tested::Answered(Ok(Verdict::Unavailable)) => {
                unavailable += 1;
                None
            }
            Tested::Answered(Ok(Verdict::Failed(message))) => {
                Some(format!("its connection test failed: {message}"))
            }
            Tested::Answered(Err(error)) if error.is_auth() => return Err(error.into()),
            Tested::BrokenOff => {
                Some("its connection could not be tested: the test was broken off within this program".into())
            }
            Tested::Answered(Err(error)) => {
                Some(format!("its connection could not be tested: {}", super::chain(&error)))
            }
        };
        match why {
            None => passed.push(ready),
            Some(why) => {
                let action = &run.plan.actions[ready.action];
                let kept =
                    if matches!(action.step, Step::Replace { .. }) { "; the old one stays" } else { "" };
                let why = format!("{why}{kept}");
                changes.push(Change::Journal(Box::new(run.entry(action, Some(&why)))));
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
async fn ask(run: &Run<'_>, ready: &[Ready]) -> Vec<Tested> {
    let mut asking = JoinSet::new();
    let mut tested: Vec<Tested> = ready.iter().map(|_| Tested::NotAsked).collect();
    for (n, ready) in ready.iter().enumerate() {
        let (Step::Connect { index } | Step::Replace { index, .. }) = run.plan.actions[ready.action].step
        else {
            continue;
        };
        if run.source(index).test.before_connect {
            let (reader, source) = (run.apply.writer.reader().clone(), Arc::clone(&ready.source));
            let workspace = run.unit().workspace.clone();
            tested[n] = Tested::BrokenOff;
            asking.spawn(async move { (n, reader.test_connection(&workspace, &source).await) });
        }
    }
    answers(asking, tested).await
}

/// Collects the results; a task without one keeps [`Tested::BrokenOff`].
async fn answers(mut asking: JoinSet<(usize, Answer)>, mut tested: Vec<Tested>) -> Vec<Tested> {
    while let Some(asked) = asking.join_next().await {
        if let Ok((n, answer)) = asked {
            tested[n] = Tested::Answered(answer);
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
        asking.spawn(async { (0, Ok(Verdict::Unavailable)) });
        asking.spawn(async { panic!("on purpose") });
        asking.spawn(std::future::pending()).abort();
        let tested = [Tested::BrokenOff, Tested::BrokenOff, Tested::BrokenOff, Tested::NotAsked];
        let tested = answers(asking, tested.into()).await;
        let expected = matches!(
            tested.as_slice(),
            [
                Tested::Answered(Ok(Verdict::Unavailable)),
                Tested::BrokenOff,
                Tested::BrokenOff,
                Tested::NotAsked
            ]
        );
        assert!(expected);
    }
}
