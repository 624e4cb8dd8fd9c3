//! test-connection before anything is connected: a definition that fails its test changes nothing.

use super::{Ready, Run};
use crate::plan::{ActionResult, Step, UnitError};
use crate::remote::{RemoteError, Verdict};
use crate::state::Change;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Returns what may be connected; the rest has failed.
pub(super) async fn test_connections(run: &mut Run<'_>, ready: Vec<Ready>) -> Result<Vec<Ready>, UnitError> {
    let verdicts = ask(run, &ready).await;
    let mut passed = Vec::with_capacity(ready.len());
    let mut changes = Vec::new();
    let mut unavailable = 0;
    for (ready, verdict) in ready.into_iter().zip(verdicts) {
        let why = match verdict {
            None | Some(Ok(Verdict::Passed(_))) => None,
            Some(Ok(Verdict::Unavailable)) => {
                unavailable += 1;
                None
            }
            Some(Ok(Verdict::Failed(message))) => Some(format!("its connection test failed: {message}")),
            Some(Err(error)) if error.is_auth() => return Err(error.into()),
            Some(Err(error)) => Some(format!("its connection could not be tested: {}", super::chain(&error))),
        };
        match why {
            None => passed.push(ready),
            Some(why) => {
                let action = &run.plan.actions[ready.action];
                let kept =
                    if matches!(action.step, Step::Replace { .. }) { "; the old one stays" } else { "" };
                let result = ActionResult::Failed(format!("{why}{kept}"));
                changes.push(Change::Journal(Box::new(run.entry(action, &result))));
                run.set(ready.action, result);
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
async fn ask(run: &Run<'_>, ready: &[Ready]) -> Vec<Option<Result<Verdict, RemoteError>>> {
    let mut asking = JoinSet::new();
    for (n, ready) in ready.iter().enumerate() {
        let (Step::Connect { index } | Step::Replace { index, .. }) = run.plan.actions[ready.action].step
        else {
            continue;
        };
        if run.source(index).test.before_connect {
            let (reader, source) = (run.apply.writer.reader().clone(), Arc::clone(&ready.source));
            let workspace = run.unit().workspace.clone();
            asking.spawn(async move { (n, reader.test_connection(&workspace, &source).await) });
        }
    }
    let mut verdicts: Vec<_> = ready.iter().map(|_| None).collect();
    while let Some(asked) = asking.join_next().await {
        if let Ok((n, verdict)) = asked {
            verdicts[n] = Some(verdict);
        }
    }
    verdicts
}
