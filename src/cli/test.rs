//! `wellspring test`: tests connections of declared sources; changes nothing.

use super::args::{Common, Format, TestArgs};
use super::context::{AccessMode, CommandContext};
use super::outages::Outages;
use super::progress::Progress;
use super::select::Selector;
use super::{CommandError, Exit, output};
use crate::client::{ApiReader, RemoteError, TestVerdict};
use crate::error::error_chain;
use crate::model::{DesiredSource, DesiredWorkspace};
use crate::plan::{self, Step};
use crate::reconcile::Planned;
use crate::report::{escape, humanize};
use crate::secrets::Secrets;
use serde_json::json;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The result of one connection test.
struct SourceTest {
    workspace: String,
    source: String,
    outcome: TestOutcome,
    message: String,
    /// Failure of the platform as a whole, if that is the reason.
    outage: Option<String>,
    exit: Exit,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum TestOutcome {
    Passed,
    /// The platform cannot connect, or returned no result.
    Failed,
    /// The platform has no connection tests.
    Untested,
    /// A secret is missing here.
    Skipped,
}

impl TestOutcome {
    fn as_str(self) -> &'static str {
        match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Untested => "untested",
            Self::Skipped => "skipped",
        }
    }
}

pub(super) async fn run(common: &Common, args: &TestArgs) -> Result<Exit, CommandError> {
    let selector = Selector::new(&args.selection)?;
    let place = CommandContext::open(common, AccessMode::Read).await?;
    let mut chosen = Vec::new();
    for task in place.tasks(&selector)? {
        let desired = task.desired.open();
        let is_chosen = |source: &&DesiredSource| selector.source(&desired, &source.key, &source.name);
        let sources: Vec<DesiredSource> = desired.sources.iter().filter(is_chosen).cloned().collect();
        chosen.push((desired, sources));
    }
    selector.require_matches(&place.reading, "declared source", "`wellspring show` lists them")?;
    let tests = TestReports::new(common, &place, args.allow_untested);
    let ticking = tests.progress.tick();
    let mut tested = tests.of_workspaces(chosen).await;
    drop(ticking);
    tested.sort_by(|a, b| (&a.workspace, &a.source).cmp(&(&b.workspace, &b.source)));
    if tested.is_empty() && common.format == Format::Human {
        note!("No source is declared.");
    }
    print_results(common, &tested);
    warn_untested(&tested);
    let exit = tested.iter().fold(place.exit(), |exit, tested| exit.or(tested.exit));
    place.close().await;
    Ok(exit)
}

/// Tests the connection of every source that the plans would send.
///
/// Adds the results.
pub(super) async fn connections(
    common: &Common,
    place: &CommandContext,
    planned: &mut [Planned],
    allow_untested: bool,
) -> Exit {
    let mut tests = TestReports::new(common, place, allow_untested);
    let ticking = tests.progress.tick();
    let mut asked = Vec::new();
    for (workspace, planned) in planned.iter().enumerate() {
        for (action, planned_action) in planned.plan.actions.iter().enumerate() {
            if let Step::Connect { index } | Step::Replace { index, .. } = planned_action.step {
                let desired = Arc::clone(&planned.plan.desired);
                let source = desired.sources[index].clone();
                asked.push(((workspace, action), desired, source));
            }
        }
    }
    tests.probe_support(asked.iter().map(|(_, desired, source)| (&**desired, source))).await;
    tests.progress.begin(asked.iter().map(|(_, desired, source)| name(desired, source)));
    let mut testing = JoinSet::new();
    for (at, desired, source) in asked {
        let tests = tests.clone();
        testing.spawn(async move { (at, tests.test(&desired, &source).await) });
    }
    let mut exit = Exit::Success;
    let mut all = Vec::new();
    for ((workspace, action), tested) in testing.join_all().await {
        exit = exit.or(tested.exit);
        // The plan already shows a source with a missing secret.
        if matches!(tested.outcome, TestOutcome::Passed | TestOutcome::Failed) {
            let verdict = plan::TestStatus {
                passed: tested.outcome == TestOutcome::Passed,
                message: tested.message.clone(),
            };
            planned[workspace].plan.actions[action].test_status = Some(verdict);
        }
        all.push(tested);
    }
    drop(ticking);
    warn_untested(&all);
    exit
}

fn warn_untested(tested: &[SourceTest]) {
    let untested = tested.iter().filter(|tested| tested.outcome == TestOutcome::Untested);
    let (count, exit) =
        untested.fold((0, Exit::Success), |(count, exit), tested| (count + 1, exit.or(tested.exit)));
    if count > 0 {
        let hint = if exit == Exit::Success { "" } else { "; --allow-untested accepts that" };
        note!(
            "warning: {} not tested, because the platform has no test-connection{hint}",
            humanize::count(count, "source")
        );
    }
}

/// Runs connection tests; clones share the progress line.
#[derive(Clone)]
struct TestReports {
    reader: ApiReader,
    secrets: Arc<Secrets>,
    progress: Progress,
    /// The exit code of a source that cannot be tested.
    untested: Exit,
    /// False once the platform is known to have no connection tests.
    is_supported: bool,
}

impl TestReports {
    fn new(common: &Common, place: &CommandContext, allow_untested: bool) -> Self {
        Self {
            reader: place.reader.clone(),
            secrets: Arc::new(place.settings.secrets()),
            progress: Progress::new(common, "testing", "source"),
            untested: if allow_untested { Exit::Success } else { Exit::Failed },
            is_supported: true,
        }
    }

    /// Tests sources; sends nothing else to a workspace that cannot be listed.
    async fn of_workspaces(
        mut self,
        chosen: Vec<(Arc<DesiredWorkspace>, Vec<DesiredSource>)>,
    ) -> Vec<SourceTest> {
        let mut listing = JoinSet::new();
        for (desired, sources) in chosen.into_iter().filter(|(_, sources)| !sources.is_empty()) {
            self.progress.begin(sources.iter().map(|source| name(&desired, source)));
            let reader = self.reader.clone();
            listing.spawn(async move {
                let listed = reader.list(&desired.unit).await;
                (desired, sources, listed.err())
            });
        }
        let listed = listing.join_all().await;
        let reached = listed.iter().filter(|(_, _, error)| error.is_none());
        self.probe_support(
            reached.flat_map(|(desired, sources, _)| sources.iter().map(|source| (&**desired, source))),
        )
        .await;
        let mut testing = JoinSet::new();
        for (desired, sources, error) in listed {
            for source in sources {
                let (tests, desired, error) = (self.clone(), Arc::clone(&desired), error.clone());
                testing.spawn(async move {
                    match error {
                        None => tests.test(&desired, &source).await,
                        Some(error) => tests.failed(&desired, &source, &error),
                    }
                });
            }
        }
        testing.join_all().await
    }

    /// Determines whether the platform has connection tests, before any secret is sent.
    async fn probe_support<'s>(
        &mut self,
        mut sources: impl Iterator<Item = (&'s DesiredWorkspace, &'s DesiredSource)>,
    ) {
        let secret = sources.find(|(_, source)| source.definition.has_secret());
        if let Some((desired, source)) = secret {
            let asked =
                self.reader.offers_connection_test(desired.workspace(), &source.definition.kind).await;
            // Other errors appear again, with their reason, in each test.
            self.is_supported = asked.unwrap_or(true);
        }
    }

    async fn test(&self, desired: &DesiredWorkspace, source: &DesiredSource) -> SourceTest {
        let (outcome, message, exit) = self.run_test(desired, source).await;
        self.progress.end(&[name(desired, source)], &[]);
        source_test(desired, source, outcome, message, exit)
    }

    async fn run_test(
        &self,
        desired: &DesiredWorkspace,
        source: &DesiredSource,
    ) -> (TestOutcome, String, Exit) {
        let untested =
            || (TestOutcome::Untested, "the platform has no test-connection".to_owned(), self.untested);
        let resolution = match self.secrets.resolve(&source.definition, &desired.names()) {
            Ok(resolution) => resolution,
            Err(missing) => return (TestOutcome::Skipped, missing.to_string(), Exit::Invalid),
        };
        if !self.is_supported {
            return untested();
        }
        let resolved = resolution.into_source(source.name.clone());
        match self.reader.test_connection(desired.workspace(), &resolved).await {
            Ok(TestVerdict::Passed(message)) => (TestOutcome::Passed, message, Exit::Success),
            Ok(TestVerdict::Failed(message)) => (TestOutcome::Failed, message, Exit::Failed),
            Ok(TestVerdict::Unavailable) => untested(),
            Err(error) => (TestOutcome::Failed, error_chain(&error), exit_of(&error)),
        }
    }

    fn failed(&self, desired: &DesiredWorkspace, source: &DesiredSource, error: &RemoteError) -> SourceTest {
        self.progress.end(&[name(desired, source)], &[]);
        let message = format!("not tested: {}", error_chain(error));
        let outage = error.outage();
        SourceTest { outage, ..source_test(desired, source, TestOutcome::Failed, message, exit_of(error)) }
    }
}

fn exit_of(error: &RemoteError) -> Exit {
    if error.is_auth() { Exit::Auth } else { Exit::Failed }
}

fn name(desired: &DesiredWorkspace, source: &DesiredSource) -> String {
    format!("{}/{}", desired.label(), source.key)
}

fn source_test(
    desired: &DesiredWorkspace,
    source: &DesiredSource,
    outcome: TestOutcome,
    message: String,
    exit: Exit,
) -> SourceTest {
    let (workspace, source) = (desired.label().to_owned(), source.key.to_string());
    SourceTest { workspace, source, outcome, message, outage: None, exit }
}

fn print_results(common: &Common, tested: &[SourceTest]) {
    if common.format == Format::Json {
        let tests: Vec<_> = tested
            .iter()
            .map(|test| {
                json!({
                    "workspace": test.workspace,
                    "source": test.source,
                    "outcome": test.outcome.as_str(),
                    "message": test.message,
                })
            })
            .collect();
        return output::write_json(&json!({ "format_version": 1, "tests": tests }));
    }
    let width =
        tested.iter().map(|test| test.workspace.len() + test.source.len() + 1).max().unwrap_or(0).min(60);
    let outages = Outages::of(
        tested
            .iter()
            .filter_map(|test| Some((format!("{}/{}", test.workspace, test.source), test.outage.clone()?))),
    );
    for line in outages.lines("not tested") {
        output::print(&line);
    }
    for test in tested.iter().filter(|test| !outages.contain(test.outage.as_deref())) {
        let mark = match test.outcome {
            TestOutcome::Passed => "✓",
            TestOutcome::Failed => "✗",
            TestOutcome::Untested => "?",
            TestOutcome::Skipped => "-",
        };
        let name = escape::terminal_line(&format!("{}/{}", test.workspace, test.source));
        output::print(&format!("{mark} {name:width$}  {}", escape::terminal_line(&test.message)));
    }
}
