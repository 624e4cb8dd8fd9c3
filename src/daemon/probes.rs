//! Regular connection tests (`test = { every = … }`): schedule and execution.

use crate::apply::chain;
use crate::model::{DesiredSource, DesiredUnit, FoldedUnit, SourceKey, SourceName, Unit};
use crate::remote::{Reader, Verdict};
use crate::secrets::Secrets;
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Maximum number of concurrent tests; leaves the platform room for other work.
const MOST_TESTS: usize = 8;

/// Maximum time over which the first tests after a start are spread.
///
/// At most one period.
const SPREAD: SignedDuration = SignedDuration::from_mins(10);

/// All sources that are tested regularly.
#[derive(Default)]
pub(super) struct Probes {
    units: BTreeMap<Unit, Vec<Probe>>,
    /// Units by due time of their first waiting test.
    agenda: BTreeSet<(Timestamp, Unit)>,
    running: usize,
    /// True if the files may declare other units than these.
    outdated: bool,
}

struct Probe {
    name: SourceName,
    every: SignedDuration,
    due: Timestamp,
    running: bool,
    /// The last result.
    up: Option<bool>,
}

/// A test that is due.
pub(super) struct Due {
    pub(super) unit: Arc<DesiredUnit>,
    name: SourceName,
}

/// The result of a test.
pub struct Tested {
    pub(super) unit: Unit,
    pub(super) name: SourceName,
    /// True if the test passed, `None` without a result.
    ///
    /// A test has no result if the platform does not respond or a secret is missing.
    pub(super) up: Option<bool>,
    /// Message of the platform, or why there is no result.
    pub(super) message: String,
}

/// A result that differs from the previous one.
pub(super) struct Turn {
    pub(super) key: SourceKey,
    pub(super) up: bool,
}

impl Probes {
    /// Sets the tests of a unit: those of its managed sources that request one.
    pub(super) fn accept(&mut self, unit: &DesiredUnit, ours: impl Fn(&SourceName) -> bool, now: Timestamp) {
        let before = self.forget(&unit.unit);
        let mut known: BTreeMap<SourceName, Probe> =
            before.into_iter().map(|probe| (probe.name.clone(), probe)).collect();
        let tested = unit.sources.iter().filter(|source| source.suspend.is_none() && ours(&source.name));
        let probes: Vec<Probe> = tested
            .filter_map(|source| {
                let every = SignedDuration::try_from(source.test.every?).unwrap_or(SignedDuration::MAX);
                let probe = known.remove(&source.name);
                Some(match probe {
                    Some(probe) if probe.every == every => probe,
                    Some(probe) => Probe { every, due: probe.due.min(later(now, every)), ..probe },
                    None => {
                        let due = later(now, first(&unit.unit, source, every.min(SPREAD)));
                        Probe { name: source.name.clone(), every, due, running: false, up: None }
                    }
                })
            })
            .collect();
        self.running += probes.iter().filter(|probe| probe.running).count();
        if !probes.is_empty() {
            self.units.insert(unit.unit.clone(), Vec::new());
            self.change(&unit.unit, |tests| *tests = probes);
        }
    }

    /// Records that the files were loaded again.
    pub(super) fn outdated(&mut self) {
        self.outdated = true;
    }

    /// Starts the tests that are due, up to the limit, and returns them.
    ///
    /// Units that are no longer declared according to `desired` are dropped.
    pub(super) fn due<'a>(
        &mut self,
        now: Timestamp,
        desired: impl Fn(&Unit) -> Option<&'a Arc<FoldedUnit>>,
    ) -> Vec<Due> {
        if std::mem::take(&mut self.outdated) {
            let gone: Vec<Unit> = self.units.keys().filter(|unit| desired(unit).is_none()).cloned().collect();
            gone.iter().for_each(|unit| drop(self.forget(unit)));
        }
        let mut due = Vec::new();
        while self.running < MOST_TESTS
            && let Some((_, unit)) = self.agenda.first().filter(|(at, _)| *at <= now).cloned()
        {
            let Some(declared) = desired(&unit) else {
                self.forget(&unit);
                continue;
            };
            let room = MOST_TESTS - self.running;
            let names = self.change(&unit, |tests| {
                let waiting = tests.iter_mut().filter(|probe| !probe.running && probe.due <= now);
                let start = |probe: &mut Probe| {
                    probe.running = true;
                    probe.name.clone()
                };
                waiting.take(room).map(start).collect::<Vec<_>>()
            });
            let names = names.unwrap_or_default();
            self.running += names.len();
            due.extend(names.into_iter().map(|name| Due { unit: declared.open(), name }));
        }
        due
    }

    /// Records the end of a test; returns a change of the result.
    pub(super) fn ended(
        &mut self,
        tested: &Tested,
        unit: Option<&DesiredUnit>,
        now: Timestamp,
    ) -> Option<Turn> {
        let (ran, turned) = self.change(&tested.unit, |tests| {
            let probe = tests.iter_mut().find(|probe| probe.name == tested.name)?;
            probe.due = later(now, probe.every);
            let turned = tested.up.is_some_and(|up| probe.up.replace(up).unwrap_or(true) != up);
            Some((std::mem::take(&mut probe.running), turned))
        })??;
        self.running -= usize::from(ran);
        let up = tested.up?;
        let key = unit?.source(&tested.name)?.key.clone();
        turned.then_some(Turn { key, up })
    }

    /// Returns when the next test is due; `None` while the limit is reached.
    pub(super) fn next(&self) -> Option<Timestamp> {
        self.agenda.first().map(|(at, _)| *at).filter(|_| self.running < MOST_TESTS)
    }

    /// Recomputes due times after the clock was set back; they may be far ahead now.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        let units: Vec<Unit> = self.units.keys().cloned().collect();
        for unit in units {
            self.change(&unit, |tests| {
                tests.iter_mut().for_each(|probe| probe.due = probe.due.min(later(now, probe.every)));
            });
        }
    }

    /// Changes the tests of a unit and updates its due time in the index.
    fn change<T>(&mut self, unit: &Unit, change: impl FnOnce(&mut Vec<Probe>) -> T) -> Option<T> {
        let tests = self.units.get_mut(unit)?;
        let before = soonest(tests);
        let value = change(tests);
        let now = soonest(tests);
        if before != now {
            before.map(|at| self.agenda.remove(&(at, unit.clone())));
            now.map(|at| self.agenda.insert((at, unit.clone())));
        }
        Some(value)
    }

    /// Removes the tests of a unit and returns them.
    fn forget(&mut self, unit: &Unit) -> Vec<Probe> {
        let tests = self.change(unit, std::mem::take).unwrap_or_default();
        self.units.remove(unit);
        self.running -= tests.iter().filter(|probe| probe.running).count();
        tests
    }
}

/// Returns when the first waiting test is due.
fn soonest(tests: &[Probe]) -> Option<Timestamp> {
    tests.iter().filter(|probe| !probe.running).map(|probe| probe.due).min()
}

impl Due {
    /// Returns the result for a test whose task panicked.
    pub(super) fn broke_off(&self) -> Tested {
        let message =
            "the connection test broke off: this is a fault in wellspring itself; it is tried again";
        Tested {
            unit: self.unit.unit.clone(),
            name: self.name.clone(),
            up: None,
            message: message.to_owned(),
        }
    }

    /// Runs the test, with secrets resolved now.
    pub(super) async fn ask(self, reader: &Reader, secrets: &Secrets) -> Tested {
        let Self { unit, name } = self;
        let tested = |up, message| Tested { unit: unit.unit.clone(), name: name.clone(), up, message };
        let Some(source) = unit.source(&name) else { return tested(None, String::new()) };
        let resolved = match secrets.resolve(&source.definition, &unit.names()) {
            Ok(resolution) => resolution.into_source(name.clone()),
            Err(missing) => return tested(None, missing.to_string()),
        };
        match reader.test_connection(unit.workspace(), &resolved).await {
            Ok(Verdict::Passed(message)) => tested(Some(true), message),
            Ok(Verdict::Failed(message)) => tested(Some(false), message),
            Ok(Verdict::Unavailable) => tested(None, "the platform has no test-connection".to_owned()),
            Err(error) => tested(None, chain(&error)),
        }
    }
}

/// Returns the initial delay of a source, which is the same after every start.
fn first(unit: &Unit, source: &DesiredSource, within: SignedDuration) -> SignedDuration {
    let bytes = unit.workspace.as_str().bytes().chain(source.name.as_str().bytes());
    let hash = bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let millis = u64::try_from(within.as_millis()).unwrap_or(0).max(1);
    SignedDuration::from_millis(i64::try_from(hash % millis).unwrap_or(0))
}

fn later(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manifest::{SourceFile, read};

    fn unit(count: usize, every: &str) -> Arc<FoldedUnit> {
        let mut text = "[workspace]\nid = \"ws\"\n".to_owned();
        for n in 0..count {
            text += &format!(
                "[sources.s{n:03}]\ntype = \"file\"\ntest = {{ every = \"{every}\" }}\nconnection_config = {{ path = \"p\" }}\n"
            );
        }
        let files = [SourceFile { path: "a.toml".into(), text: Ok(&text) }];
        read(&files, &|_| None).desired.units.remove(0)
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn ended(due: &Due, up: Option<bool>) -> Tested {
        Tested { unit: due.unit.unit.clone(), name: due.name.clone(), up, message: String::new() }
    }

    #[test]
    fn after_a_start_tests_are_spread_and_never_more_than_a_few_run_at_once() {
        let folded = unit(100, "1h");
        let unit = folded.open();
        let mut probes = Probes::default();
        probes.accept(&unit, |_| true, at(0));
        assert!(probes.due(at(0), |_| Some(&folded)).len() < 3);
        let spread = probes.units[&unit.unit].iter().map(|probe| probe.due).collect::<BTreeSet<_>>();
        assert!(spread.len() > 90 && spread.iter().all(|due| *due < at(600)), "{spread:?}");
        let mut seen = 0;
        while seen < 100 {
            let due = probes.due(at(600), |_| Some(&folded));
            assert!(!due.is_empty() && due.len() <= MOST_TESTS);
            assert_eq!(probes.running == MOST_TESTS, probes.next().is_none());
            let soonest =
                probes.units.iter().filter_map(|(unit, tests)| Some((soonest(tests)?, unit.clone())));
            assert_eq!(probes.agenda, soonest.collect(), "what is listed is what a look at everything finds");
            seen += due.len();
            for due in due {
                assert!(probes.ended(&ended(&due, Some(true)), Some(&unit), at(600)).is_none());
            }
            if probes.running > 0 {
                // Those started in the first round.
                let names: Vec<_> =
                    probes.units[&unit.unit].iter().filter(|p| p.running).map(|p| p.name.clone()).collect();
                for name in names {
                    probes.ended(&ended(&Due { unit: Arc::clone(&unit), name }, None), Some(&unit), at(600));
                    seen += 1;
                }
            }
        }
        assert_eq!(probes.next(), Some(at(4200)));
    }

    #[test]
    fn a_verdict_is_told_when_it_turns_and_no_answer_is_no_verdict() {
        let folded = unit(1, "10s");
        let unit = folded.open();
        let mut probes = Probes::default();
        probes.accept(&unit, |_| true, at(0));
        let mut turns = Vec::new();
        for (n, up) in [Some(true), Some(false), None, Some(false), Some(true)].into_iter().enumerate() {
            let now = at(20 * (i64::try_from(n).unwrap() + 1));
            let due = probes.due(now, |_| Some(&folded)).remove(0);
            turns.push(probes.ended(&ended(&due, up), Some(&unit), now).map(|turn| turn.up));
        }
        assert_eq!(turns, [None, Some(false), None, None, Some(true)]);
    }

    #[test]
    fn what_is_gone_or_not_ours_is_not_tested_and_holds_no_place() {
        let folded = unit(2, "10s");
        let unit = folded.open();
        let mut probes = Probes::default();
        probes.accept(&unit, |name| name.as_str() == "s000", at(0));
        let due = probes.due(at(100), |_| Some(&folded));
        assert_eq!(due.len(), 1);
        probes.outdated();
        assert!(probes.due(at(100), |_| None).is_empty());
        assert_eq!((probes.running, probes.next()), (0, None));
        assert!(probes.ended(&ended(&due[0], Some(false)), None, at(101)).is_none());
        assert_eq!(probes.running, 0);
    }
}
