//! Regular connection tests (`test = { every = … }`): schedule and execution.

use super::later;
use crate::client::{ApiReader, TestVerdict};
use crate::error::error_chain;
use crate::model::{
    CompressedWorkspace, DesiredSource, DesiredWorkspace, SourceKey, SourceName, WorkspaceRef,
};
use crate::secrets::Secrets;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of concurrent tests; leaves the platform room for other work.
const MAX_TESTS: usize = 8;

/// Maximum time over which the first tests after a start are spread.
///
/// At most one period.
const START_SPREAD: SignedDuration = SignedDuration::from_mins(10);

/// All sources that are tested regularly.
#[derive(Default)]
pub(super) struct ConnectionTests {
    workspaces: BTreeMap<WorkspaceRef, Vec<TestState>>,
    /// Workspaces by due time of their first waiting test.
    queue: BTreeSet<(Timestamp, WorkspaceRef)>,
    running: usize,
    /// True if the files may declare other workspaces than these.
    outdated: bool,
}

struct TestState {
    name: SourceName,
    every: SignedDuration,
    due_at: Timestamp,
    running: bool,
    is_reachable: Option<bool>,
}

pub(super) struct DueTest {
    pub(super) desired: Arc<DesiredWorkspace>,
    name: SourceName,
}

pub struct TestEnded {
    pub(super) workspace: WorkspaceRef,
    pub(super) name: SourceName,
    /// True if the test passed, `None` without a result.
    ///
    /// A test has no result if the platform does not respond or a secret is missing.
    pub(super) is_reachable: Option<bool>,
    /// Message of the platform, or why there is no result.
    pub(super) message: String,
}

/// A result that differs from the previous one.
pub(super) struct VerdictChange {
    pub(super) key: SourceKey,
    pub(super) is_reachable: bool,
}

impl ConnectionTests {
    /// Sets the tests of a workspace: those of its managed sources that request one.
    pub(super) fn set_workspace(
        &mut self,
        desired: &DesiredWorkspace,
        ours: impl Fn(&SourceName) -> bool,
        now: Timestamp,
    ) {
        let before = self.take_tests(&desired.unit);
        let mut known: BTreeMap<SourceName, TestState> =
            before.into_iter().map(|probe| (probe.name.clone(), probe)).collect();
        let tested = desired.sources.iter().filter(|source| source.suspend.is_none() && ours(&source.name));
        let probes: Vec<TestState> = tested
            .filter_map(|source| {
                let every = SignedDuration::try_from(source.test.every?).unwrap_or(SignedDuration::MAX);
                let probe = known.remove(&source.name);
                Some(match probe {
                    Some(probe) if probe.every == every => probe,
                    Some(probe) => TestState { every, due_at: probe.due_at.min(later(now, every)), ..probe },
                    None => {
                        let due = later(now, first(&desired.unit, source, every.min(START_SPREAD)));
                        TestState {
                            name: source.name.clone(),
                            every,
                            due_at: due,
                            running: false,
                            is_reachable: None,
                        }
                    }
                })
            })
            .collect();
        self.running += probes.iter().filter(|probe| probe.running).count();
        if !probes.is_empty() {
            self.workspaces.insert(desired.unit.clone(), Vec::new());
            self.change(&desired.unit, |tests| *tests = probes);
        }
    }

    /// Records that the files were loaded again.
    pub(super) fn mark_outdated(&mut self) {
        self.outdated = true;
    }

    /// Starts the tests that are due, up to the limit, and returns them.
    ///
    /// Workspaces that are no longer declared according to `desired` are dropped.
    pub(super) fn take_due<'a>(
        &mut self,
        now: Timestamp,
        desired: impl Fn(&WorkspaceRef) -> Option<&'a Arc<CompressedWorkspace>>,
    ) -> Vec<DueTest> {
        if std::mem::take(&mut self.outdated) {
            let gone: Vec<WorkspaceRef> =
                self.workspaces.keys().filter(|workspace| desired(workspace).is_none()).cloned().collect();
            gone.iter().for_each(|workspace| drop(self.take_tests(workspace)));
        }
        let mut due = Vec::new();
        while self.running < MAX_TESTS
            && let Some((_, workspace)) = self.queue.first().filter(|(at, _)| *at <= now).cloned()
        {
            let Some(declared) = desired(&workspace) else {
                self.take_tests(&workspace);
                continue;
            };
            let room = MAX_TESTS - self.running;
            let names = self.change(&workspace, |tests| {
                let waiting = tests.iter_mut().filter(|probe| !probe.running && probe.due_at <= now);
                let start = |probe: &mut TestState| {
                    probe.running = true;
                    probe.name.clone()
                };
                waiting.take(room).map(start).collect::<Vec<_>>()
            });
            let names = names.unwrap_or_default();
            self.running += names.len();
            due.extend(names.into_iter().map(|name| DueTest { desired: declared.open(), name }));
        }
        due
    }

    /// Records the end of a test; returns a change of the result.
    pub(super) fn finish_test(
        &mut self,
        tested: &TestEnded,
        workspace: Option<&DesiredWorkspace>,
        now: Timestamp,
    ) -> Option<VerdictChange> {
        let (ran, turned) = self.change(&tested.workspace, |tests| {
            let probe = tests.iter_mut().find(|probe| probe.name == tested.name)?;
            probe.due_at = later(now, probe.every);
            let turned =
                tested.is_reachable.is_some_and(|up| probe.is_reachable.replace(up).unwrap_or(true) != up);
            Some((std::mem::take(&mut probe.running), turned))
        })??;
        self.running -= usize::from(ran);
        let up = tested.is_reachable?;
        let key = workspace?.source(&tested.name)?.key.clone();
        turned.then_some(VerdictChange { key, is_reachable: up })
    }

    /// Returns when the next test is due; `None` while the limit is reached.
    pub(super) fn next(&self) -> Option<Timestamp> {
        if self.running < MAX_TESTS { self.queue.first().map(|(at, _)| *at) } else { None }
    }

    /// Recomputes due times after the clock was set back; they may be far ahead now.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        let workspaces: Vec<WorkspaceRef> = self.workspaces.keys().cloned().collect();
        for workspace in workspaces {
            self.change(&workspace, |tests| {
                tests.iter_mut().for_each(|probe| probe.due_at = probe.due_at.min(later(now, probe.every)));
            });
        }
    }

    /// Changes the tests of a workspace and updates its due time in the index.
    fn change<T>(
        &mut self,
        workspace: &WorkspaceRef,
        change: impl FnOnce(&mut Vec<TestState>) -> T,
    ) -> Option<T> {
        let tests = self.workspaces.get_mut(workspace)?;
        let before = soonest(tests);
        let value = change(tests);
        let now = soonest(tests);
        if before != now {
            before.map(|at| self.queue.remove(&(at, workspace.clone())));
            now.map(|at| self.queue.insert((at, workspace.clone())));
        }
        Some(value)
    }

    /// Removes the tests of a workspace and returns them.
    fn take_tests(&mut self, workspace: &WorkspaceRef) -> Vec<TestState> {
        let tests = self.change(workspace, std::mem::take).unwrap_or_default();
        self.workspaces.remove(workspace);
        self.running -= tests.iter().filter(|probe| probe.running).count();
        tests
    }
}

/// Returns when the first waiting test is due.
fn soonest(tests: &[TestState]) -> Option<Timestamp> {
    tests.iter().filter(|probe| !probe.running).map(|probe| probe.due_at).min()
}

impl DueTest {
    /// Returns the result for a test whose task panicked.
    pub(super) fn aborted_result(&self) -> TestEnded {
        let message = "internal error: the connection test panicked; retrying. Please report this bug";
        TestEnded {
            workspace: self.desired.unit.clone(),
            name: self.name.clone(),
            is_reachable: None,
            message: message.to_owned(),
        }
    }

    /// Runs the test, with secrets resolved now.
    pub(super) async fn run(self, reader: &ApiReader, secrets: &Secrets) -> TestEnded {
        let Self { desired, name } = self;
        let tested = |up, message| TestEnded {
            workspace: desired.unit.clone(),
            name: name.clone(),
            is_reachable: up,
            message,
        };
        let Some(source) = desired.source(&name) else { return tested(None, String::new()) };
        let resolved = match secrets.resolve(&source.definition, &desired.names()) {
            Ok(resolution) => resolution.into_source(name.clone()),
            Err(missing) => return tested(None, missing.to_string()),
        };
        match reader.test_connection(desired.workspace(), &resolved).await {
            Ok(TestVerdict::Passed(message)) => tested(Some(true), message),
            Ok(TestVerdict::Failed(message)) => tested(Some(false), message),
            Ok(TestVerdict::Unavailable) => tested(None, "the platform has no test-connection".to_owned()),
            Err(error) => tested(None, error_chain(&error)),
        }
    }
}

/// Returns the initial delay of a source, which is the same after every start.
fn first(workspace: &WorkspaceRef, source: &DesiredSource, within: SignedDuration) -> SignedDuration {
    let bytes = workspace.workspace.as_str().bytes().chain(source.name.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let millis = u64::try_from(within.as_millis()).unwrap_or(0).max(1);
    SignedDuration::from_millis(i64::try_from(hash % millis).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{SourceFile, read};

    fn workspace(count: usize, every: &str) -> Arc<CompressedWorkspace> {
        let mut text = "[workspace]\nid = \"ws\"\n".to_owned();
        for n in 0..count {
            text += &format!(
                "[sources.s{n:03}]\ntype = \"file\"\ntest = {{ every = \"{every}\" }}\nconnection_config = {{ path = \"p\" }}\n"
            );
        }
        let files = [SourceFile { path: "a.toml".into(), text: Ok(&text) }];
        read(&files, &|_| None).desired.workspaces.remove(0)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ended(due: &DueTest, up: Option<bool>) -> TestEnded {
        TestEnded {
            workspace: due.desired.unit.clone(),
            name: due.name.clone(),
            is_reachable: up,
            message: String::new(),
        }
    }

    #[test]
    fn after_a_start_tests_are_spread_and_never_more_than_a_few_run_at_once() {
        let folded = workspace(100, "1h");
        let workspace = folded.open();
        let mut probes = ConnectionTests::default();
        probes.set_workspace(&workspace, |_| true, at(0));
        assert!(probes.take_due(at(0), |_| Some(&folded)).len() < 3);
        let spread =
            probes.workspaces[&workspace.unit].iter().map(|probe| probe.due_at).collect::<BTreeSet<_>>();
        assert!(spread.len() > 90 && spread.iter().all(|due| *due < at(600)), "{spread:?}");
        let mut seen = 0;
        while seen < 100 {
            let due = probes.take_due(at(600), |_| Some(&folded));
            assert!(!due.is_empty() && due.len() <= MAX_TESTS);
            assert_eq!(probes.running == MAX_TESTS, probes.next().is_none());
            let soonest = probes
                .workspaces
                .iter()
                .filter_map(|(workspace, tests)| Some((soonest(tests)?, workspace.clone())));
            assert_eq!(probes.queue, soonest.collect(), "what is listed is what a look at everything finds");
            seen += due.len();
            for due in due {
                assert!(probes.finish_test(&ended(&due, Some(true)), Some(&workspace), at(600)).is_none());
            }
            if probes.running > 0 {
                // Those started in the first round.
                let names: Vec<_> = probes.workspaces[&workspace.unit]
                    .iter()
                    .filter(|p| p.running)
                    .map(|p| p.name.clone())
                    .collect();
                for name in names {
                    probes.finish_test(
                        &ended(&DueTest { desired: Arc::clone(&workspace), name }, None),
                        Some(&workspace),
                        at(600),
                    );
                    seen += 1;
                }
            }
        }
        assert_eq!(probes.next(), Some(at(4200)));
    }

    #[test]
    fn a_verdict_is_told_when_it_turns_and_no_answer_is_no_verdict() {
        let folded = workspace(1, "10s");
        let workspace = folded.open();
        let mut probes = ConnectionTests::default();
        probes.set_workspace(&workspace, |_| true, at(0));
        let mut turns = Vec::new();
        for (n, up) in [Some(true), Some(false), None, Some(false), Some(true)].into_iter().enumerate() {
            let now = at(20 * (i64::try_from(n).unwrap() + 1));
            let due = probes.take_due(now, |_| Some(&folded)).remove(0);
            turns.push(
                probes.finish_test(&ended(&due, up), Some(&workspace), now).map(|turn| turn.is_reachable),
            );
        }
        assert_eq!(turns, [None, Some(false), None, None, Some(true)]);
    }

    #[test]
    fn what_is_gone_or_not_ours_is_not_tested_and_holds_no_place() {
        let folded = workspace(2, "10s");
        let workspace = folded.open();
        let mut probes = ConnectionTests::default();
        probes.set_workspace(&workspace, |name| name.as_str() == "s000", at(0));
        let due = probes.take_due(at(100), |_| Some(&folded));
        assert_eq!(due.len(), 1);
        probes.mark_outdated();
        assert!(probes.take_due(at(100), |_| None).is_empty());
        assert_eq!((probes.running, probes.next()), (0, None));
        assert!(probes.finish_test(&ended(&due[0], Some(false)), None, at(101)).is_none());
        assert_eq!(probes.running, 0);
    }
}
