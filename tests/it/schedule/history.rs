//! Tests of long histories: late passes, outages, crashes and clock changes.

use super::{DAY, HOUR, MINUTE, at, cron, name, spec, workspace};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use wellspring::model::{Missed, Overlap, Schedule, SourceName, SyncSpec, WorkspaceRef};
use wellspring::schedule::{
    CLOCK_TOLERANCE, CompiledSchedule, Decision, LastClaim, MAX_MISSED_COUNT, ScheduleInput, SkipReason, due,
    next_decision_at,
};

/// A small generator, so that a seed determines a whole history.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: i64) -> i64 {
        // splitmix64
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % end.unsigned_abs()).cast_signed()
    }
}

/// A simulated source: contents of the state store, and the oracle's counters.
struct Source {
    name: SourceName,
    spec: SyncSpec,
    timing: CompiledSchedule,
    known_since: Timestamp,
    last: Option<LastClaim>,
    /// End of the running sync.
    busy_until: Option<Timestamp>,
    /// The first firing that is not accounted for.
    expected: Timestamp,
    runs: u32,
}

impl Source {
    fn new(workspace: &WorkspaceRef, number: usize, spec: SyncSpec, now: Timestamp) -> Self {
        let name = name(&format!("source-{number}"));
        let timing = CompiledSchedule::compile(workspace, &name, &spec).unwrap();
        let expected = timing.next_after(now).unwrap();
        Self { name, spec, timing, known_since: now, last: None, busy_until: None, expected, runs: 0 }
    }

    fn any(workspace: &WorkspaceRef, number: usize, dice: &mut Dice, now: Timestamp) -> Self {
        const EXPRESSIONS: [&str; 6] = [
            "15 2 * * MON-SAT",
            "*/30 2 * * *",
            "0 */6 * * *",
            "45 1,13 * * *",
            "0 3 1 * *",
            "30 2 * * SUN#1,SUNL",
        ];
        const ZONES: [&str; 4] = ["Europe/Rome", "America/New_York", "Australia/Lord_Howe", "UTC"];
        let pick = |dice: &mut Dice, list: &[&'static str]| {
            list[usize::try_from(dice.below(i64::try_from(list.len()).unwrap())).unwrap()]
        };
        let when = if dice.below(2) == 0 {
            Schedule::Every(Duration::from_secs((4 * HOUR + dice.below(9 * DAY)).unsigned_abs()))
        } else {
            cron(pick(dice, &EXPRESSIONS), pick(dice, &ZONES))
        };
        let mut spec = spec(when);
        spec.jitter = Duration::from_secs(dice.below(2 * HOUR).unsigned_abs());
        spec.missed = if dice.below(2) == 0 { Missed::Once } else { Missed::Skip };
        spec.overlap = if dice.below(2) == 0 { Overlap::Forbid } else { Overlap::Queue };
        Self::new(workspace, number, spec, now)
    }

    fn scheduled<'a>(
        &'a self,
        workspace: &'a WorkspaceRef,
        options: &'a serde_json::Map<String, serde_json::Value>,
    ) -> ScheduleInput<'a> {
        ScheduleInput {
            workspace,
            name: &self.name,
            spec: &self.spec,
            timing: &self.timing,
            options,
            last: self.last,
            known_since: self.known_since,
            suspended: false,
        }
    }

    /// Records a claim, as the loop does before it acts.
    fn claim(&mut self, firing: Timestamp) {
        let before = self.last.unwrap_or(LastClaim { firing, running: false, ended: None });
        self.last = Some(LastClaim { firing, ..before });
    }

    /// Accounts for firings up to and including `firing`; returns how many there were.
    ///
    /// Zero means that `firing` came twice.
    fn account(&mut self, firing: Timestamp) -> u32 {
        let mut count = 0;
        while self.expected <= firing {
            count += 1;
            self.expected = self.timing.next_after(self.expected).unwrap();
        }
        count
    }

    /// Ends the sync if its time has come.
    fn settle(&mut self, now: Timestamp) {
        if let Some(end) = self.busy_until.take_if(|end| *end <= now) {
            let last = self.last.as_mut().expect("a run was claimed");
            (last.running, last.ended) = (false, Some(end));
        }
    }

    /// Simulates a crash: the run is lost, the claim remains.
    fn crash(&mut self) {
        self.busy_until = None;
        if let Some(last) = &mut self.last {
            (last.running, last.ended) = (false, None);
        }
    }
}

/// Sources of one workspace.
struct Fleet {
    workspace: WorkspaceRef,
    sources: Vec<Source>,
}

impl Fleet {
    fn decide(&self, now: Timestamp) -> Decision {
        let options = serde_json::Map::new();
        let scheduled: Vec<_> = self.sources.iter().map(|s| s.scheduled(&self.workspace, &options)).collect();
        due(now, &scheduled)
    }

    /// Simulates one iteration at `now` and checks every rule; returns when to wake.
    fn pass(&mut self, now: Timestamp, dice: &mut Dice) -> Timestamp {
        self.sources.iter_mut().for_each(|source| source.settle(now));
        let decision = self.decide(now);
        assert!(!decision.clock_behind());
        for skipped in &decision.skipped {
            let source = &mut self.sources[skipped.index];
            assert!(skipped.firing <= now);
            let count = source.account(skipped.firing);
            assert!(count > 0, "skipped twice: {skipped:?}");
            assert_eq!(skipped.count, count.min(MAX_MISSED_COUNT), "{skipped:?}");
            match skipped.reason {
                SkipReason::Running => {
                    assert_eq!((source.spec.overlap, source.busy_until.is_some()), (Overlap::Forbid, true));
                }
                SkipReason::Late => assert_eq!(source.spec.missed, Missed::Skip),
            }
            source.claim(skipped.firing);
        }
        for run in &decision.due {
            let source = &mut self.sources[run.index];
            assert!(run.firing <= now && source.busy_until.is_none());
            let count = source.account(run.firing);
            assert!(count > 0, "fired twice: {run:?}");
            assert_eq!(run.missed, (count - 1).min(MAX_MISSED_COUNT), "{run:?} of {:?}", source.spec);
            if source.spec.missed == Missed::Skip {
                assert_eq!(run.missed, 0);
            }
            source.claim(run.firing);
            source.runs += 1;
            let longest = if dice.below(9) == 0 { DAY } else { HOUR };
            let end = now + SignedDuration::from_secs(dice.below(longest));
            source.busy_until = Some(end);
            source.last.as_mut().unwrap().running = true;
        }
        // A firing that was neither run nor skipped waits for a running sync.
        for source in self.sources.iter().filter(|source| source.expected <= now) {
            assert_eq!((source.spec.overlap, source.busy_until.is_some()), (Overlap::Queue, true));
        }
        let again = self.decide(now);
        assert!(again.due.is_empty() && again.skipped.is_empty(), "claimed firings came again");
        let to_come = self.sources.iter().map(|source| match source.expected > now {
            true => source.expected,
            false => source.timing.next_after(now).unwrap(),
        });
        assert_eq!(decision.wake_at, to_come.min());
        decision.wake_at.unwrap()
    }
}

/// Simulates passes, delays, outages and crashes, from `start` to `end`.
fn live(fleet: &mut Fleet, dice: &mut Dice, start: Timestamp, end: Timestamp) {
    let mut now = start;
    while now < end {
        let wake_at = fleet.pass(now, dice);
        now = match dice.below(200) {
            0 => wake_at + SignedDuration::from_secs(dice.below(20 * DAY)),
            1..30 => wake_at + SignedDuration::from_secs(dice.below(20 * MINUTE)),
            30..40 => now + SignedDuration::from_secs(dice.below(HOUR)),
            _ => wake_at,
        };
        if dice.below(50) == 0 {
            fleet.sources.iter_mut().for_each(Source::crash);
        }
    }
    for source in &fleet.sources {
        assert!(source.runs > 0 || source.spec.missed == Missed::Skip, "{:?} starved", source.spec);
    }
}

/// Simulates a fleet of `size` sources for `days` days.
fn live_for(seed: u64, size: usize, days: i64) {
    let start = at("2026-01-15T12:34:56Z");
    let mut dice = Dice(seed);
    let workspace = workspace(&format!("workspace-{seed}"));
    let sources = (0..size).map(|number| Source::any(&workspace, number, &mut dice, start)).collect();
    let mut fleet = Fleet { workspace, sources };
    live(&mut fleet, &mut dice, start, start + SignedDuration::from_secs(days * DAY));
}

/// Checks each source alone, because sources are independent.
///
/// Only its firings are passes.
#[test]
fn in_thirty_years_every_firing_of_a_thousand_schedules_is_run_or_accounted_for_exactly_once() {
    let next = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(seed) = Some(next.fetch_add(1, Ordering::Relaxed)).filter(|seed| *seed < 1000)
                {
                    live_for(seed, 1, 30 * 365);
                }
            });
        }
    });
}

#[test]
fn what_sources_share_is_only_the_next_waking() {
    for seed in 2000..2020 {
        live_for(seed, 10, 120);
    }
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(64))]

    #[test]
    fn whatever_the_clock_does_no_firing_runs_twice_and_no_source_starves(
        seed in any::<u64>(),
        jumps in prop::collection::vec(prop_oneof![
            4 => 0..2 * DAY,
            1 => -4 * MINUTE..0,
            1 => -400 * DAY..-6 * MINUTE,
            1 => 0..400 * DAY,
        ], 1..40),
    ) {
        let mut dice = Dice(seed);
        let mut now = at("2026-03-01T00:00:00Z");
        let workspace = workspace("w");
        let mut sources: Vec<_> = (0..4).map(|number| Source::any(&workspace, number, &mut dice, now)).collect();
        let options = serde_json::Map::new();
        for jump in jumps {
            now += SignedDuration::from_secs(jump);
            let scheduled: Vec<_> = sources.iter().map(|source| source.scheduled(&workspace, &options)).collect();
            let decision = due(now, &scheduled);
            let rewound: Vec<usize> = decision.rewound.iter().map(|rewound| rewound.index).collect();
            prop_assert_eq!(decision.clock_behind(), !rewound.is_empty());
            for run in &decision.due {
                prop_assert!(run.firing <= now && !rewound.contains(&run.index));
                let claimed = sources[run.index].last.map_or(sources[run.index].known_since, |last| last.firing);
                prop_assert!(run.firing > claimed, "a claimed firing came again");
            }
            for skipped in &decision.skipped {
                sources[skipped.index].claim(skipped.firing);
            }
            for run in &decision.due {
                sources[run.index].claim(run.firing);
            }
            for rewound in &decision.rewound {
                prop_assert!(jump < 0 && rewound.recorded > now && rewound.firing == now);
                sources[rewound.index].claim(rewound.firing);
            }
            // No source waits longer than the tolerance and then for the next firing.
            for source in &sources {
                let claimed = source.last.map_or(source.known_since, |last| last.firing);
                prop_assert!(claimed <= now + CLOCK_TOLERANCE);
            }
        }
    }

    #[test]
    fn nothing_is_missed_by_whoever_judges_a_source_only_once_it_is_ripe(
        seed in any::<u64>(),
        last in prop::option::of((-3 * DAY..3 * DAY, any::<bool>(), prop::option::of(-2 * DAY..0))),
        known_since in -2 * DAY..2 * DAY,
        suspended in any::<bool>(),
        waits in prop::collection::vec(0..2 * DAY, 1..20),
    ) {
        let now = at("2026-03-28T00:00:00Z");
        let moment = |from_now: i64| now + SignedDuration::from_secs(from_now);
        let workspace = workspace("w");
        let mut source = Source::any(&workspace, 0, &mut Dice(seed), now);
        source.known_since = moment(known_since);
        source.last = last.map(|(firing, running, ended)| LastClaim {
            firing: moment(firing),
            running,
            ended: ended.map(moment),
        });
        let options = serde_json::Map::new();
        let scheduled = [ScheduleInput { suspended, ..source.scheduled(&workspace, &options) }];
        let ripe = next_decision_at(now, &scheduled[0]);
        let says = |at| Decision { wake_at: None, ..due(at, &scheduled) } != Decision::default();
        for later in waits.into_iter().map(moment).filter(|later| ripe.is_none_or(|ripe| *later < ripe)) {
            prop_assert!(!says(later), "{later}, ripe at {ripe:?}");
        }
        prop_assert!(ripe.is_none_or(says), "{ripe:?}");
    }
}
