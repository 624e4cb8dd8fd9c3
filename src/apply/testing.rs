//! test-connection before anything is connected: a definition that fails its test changes nothing.

use super::{Ready, Run};
use crate::plan::{ActionResult, Step, UnitError};
use crate::remote::{RemoteError, Verdict};
use crate::state::Change;
use std::sync::Arc;
use tokio::task::JoinSet;

type Answer = Result<Verdict, RemoteError>;

/// What is known of a source's connection before it is connected.
enum Tested {
    /// No test is asked for.
    NotAsked,
    /// The test was begun and did not come to an end.
    BrokenOff,
    /// The platform answered, or the call failed.
    Answered(Answer),
}

/// Returns what may be connected; the rest has failed.
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

/// One verdict per source, all asked at once; the client bounds what is in flight.
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

/// What does not answer stays as it was: broken off.
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
