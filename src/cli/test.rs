//! `wellspring test`: test-connection for declared sources. Nothing is changed.

use super::args::{Common, Format, TestArgs};
use super::select::Selector;
use super::workplace::{Access, Workplace};
use super::{Exit, Failure, answer};
use crate::apply::chain;
use crate::model::{DesiredSource, DesiredUnit};
use crate::plan::{self, Step};
use crate::reconcile::Planned;
use crate::remote::{Reader, Verdict};
use crate::render::escape;
use crate::secrets::Secrets;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

/// What became of one test.
struct Tested {
    workspace: String,
    source: String,
    outcome: &'static str,
    message: String,
    exit: Exit,
}

pub(super) async fn run(common: &Common, args: &TestArgs) -> Result<Exit, Failure> {
    let selector = Selector::new(&args.selection)?;
    let place = Workplace::open(common, args.path.as_ref(), Access::Read).await?;
    let secrets = Arc::new(place.settings.secrets());
    let mut testing = JoinSet::new();
    for task in place.tasks(&selector)? {
        let desired = task.desired.open();
        for source in &desired.sources {
            if !selector.source(&desired, &source.key, &source.name) {
                continue;
            }
            let (reader, secrets, source) = (place.reader.clone(), Arc::clone(&secrets), source.clone());
            let desired = Arc::clone(&desired);
            testing.spawn(async move { test(&reader, &secrets, &desired, &source).await });
        }
    }
    let broken = place.reading.has_errors();
    selector.must_match(broken, "declared source", "`wellspring show` shows all of them")?;
    let mut tested = testing.join_all().await;
    tested.sort_by(|a, b| (&a.workspace, &a.source).cmp(&(&b.workspace, &b.source)));
    place_answer(common, &tested);
    let exit = tested.iter().fold(place.exit(), |exit, tested| exit.or(tested.exit));
    place.close().await;
    Ok(exit)
}

/// Asks, for everything that the plans would send, whether it works, and notes the verdict there.
pub(super) async fn connections(place: &Workplace, planned: &mut [Planned]) -> Exit {
    let secrets = Arc::new(place.settings.secrets());
    let mut testing = JoinSet::new();
    for (unit, planned) in planned.iter().enumerate() {
        for (action, planned_action) in planned.plan.actions.iter().enumerate() {
            let (Step::Connect { index } | Step::Replace { index, .. }) = planned_action.step else {
                continue;
            };
            let desired = Arc::clone(&planned.plan.desired);
            let (reader, secrets) = (place.reader.clone(), Arc::clone(&secrets));
            testing.spawn(async move {
                (unit, action, test(&reader, &secrets, &desired, &desired.sources[index]).await)
            });
        }
    }
    let mut exit = Exit::Done;
    for (unit, action, tested) in testing.join_all().await {
        exit = exit.or(tested.exit);
        // Why one was skipped, a missing secret, stands in the plan already.
        if tested.outcome != "skipped" {
            let verdict = plan::Tested { passed: tested.outcome == "passed", message: tested.message };
            planned[unit].plan.actions[action].tested = Some(verdict);
        }
    }
    exit
}

async fn test(reader: &Reader, secrets: &Secrets, unit: &DesiredUnit, source: &DesiredSource) -> Tested {
    let tested = |outcome, message, exit| Tested {
        workspace: unit.label().to_owned(),
        source: source.key.to_string(),
        outcome,
        message,
        exit,
    };
    let resolution = match secrets.resolve(&source.definition, &unit.names()) {
        Ok(resolution) => resolution,
        Err(missing) => return tested("skipped", missing.to_string(), Exit::Invalid),
    };
    let resolved = resolution.into_source(source.name.clone());
    match reader.test_connection(unit.workspace(), &resolved).await {
        Ok(Verdict::Passed(message)) => tested("passed", message, Exit::Done),
        Ok(Verdict::Failed(message)) => tested("failed", message, Exit::Failed),
        Ok(Verdict::Unavailable) => {
            tested("skipped", "the platform has no test-connection".to_owned(), Exit::Done)
        }
        Err(error) => {
            let exit = if error.is_auth() { Exit::Auth } else { Exit::Failed };
            tested("failed", chain(&error), exit)
        }
    }
}

fn place_answer(common: &Common, tested: &[Tested]) {
    if common.format == Format::Json {
        let tests: Vec<_> = tested
            .iter()
            .map(|test| {
                json!({
                    "workspace": test.workspace,
                    "source": test.source,
                    "outcome": test.outcome,
                    "message": test.message,
                })
            })
            .collect();
        return answer::write_json(&json!({ "format_version": 1, "tests": tests }));
    }
    let width =
        tested.iter().map(|test| test.workspace.len() + test.source.len() + 1).max().unwrap_or(0).min(60);
    for test in tested {
        let mark = match test.outcome {
            "passed" => "✓",
            "failed" => "✗",
            _ => "-",
        };
        let name = escape::terminal_line(&format!("{}/{}", test.workspace, test.source));
        answer::write(&format!("{mark} {name:width$}  {}", escape::terminal_line(&test.message)));
    }
}
