//! The promises of schedules, held against oracles that share no code with them.

use jiff::tz::{self, TimeZone};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_assert_eq, prop_oneof, proptest};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::Duration;
use wellspring::model::{Missed, Overlap, Scope, SourceName, SyncSpec, Unit, When, WorkspaceId};
use wellspring::schedule::{Decision, Last, MISSED_COUNTED, Scheduled, SkippedWhy, Timing, batches, due};

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn unit(workspace: &str) -> Unit {
    Unit { workspace: WorkspaceId::parse(workspace).unwrap(), scope: Scope::default() }
}

fn name(text: &str) -> SourceName {
    SourceName::parse(text).unwrap()
}

fn spec(when: When) -> SyncSpec {
    SyncSpec {
        when,
        jitter: Duration::ZERO,
        stale_after: None,
        missed: Missed::Once,
        timeout: None,
        on_connect: true,
        on_change: false,
        overlap: Overlap::Forbid,
    }
}

fn cron(expression: &str, timezone: &str) -> When {
    When::Cron { expression: expression.to_owned(), timezone: timezone.to_owned() }
}

fn timing_of(when: When) -> Timing {
    Timing::compile(&unit("w"), &name("s"), &spec(when)).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn seconds(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// A small generator, so that a seed is a whole history.
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

// ---- The wall clock -----------------------------------------------------------------------------

/// What the wall clock shows on its way through a stretch of time: at each instant, the minutes it
/// reaches *for the first time*. A minute shown again is not new; minutes left out are all reached
/// at the instant after. This is the whole promise, said without the words fold and gap.
struct Walk(Vec<(i64, std::ops::RangeInclusive<i64>)>);

impl Walk {
    fn through(zone: &TimeZone, from: i64, to: i64) -> Self {
        let mut reached = i64::MIN;
        let mut steps = Vec::new();
        // Monrovia's offset once had half minutes.
        let whole = from % 60 == 0 && zone.to_offset(seconds(from)).seconds() % 60 == 0;
        // The run-up covers a repeated hour.
        for second in (from - 4 * HOUR..=to).step_by(if whole { 60 } else { 30 }) {
            let shown = (second + i64::from(zone.to_offset(seconds(second)).seconds())).div_euclid(MINUTE);
            if shown > reached {
                if reached != i64::MIN && second > from {
                    steps.push((second, reached + 1..=shown));
                }
                reached = shown;
            }
        }
        Self(steps)
    }

    fn firings(&self, matches: impl Fn(i64) -> bool) -> Vec<Timestamp> {
        let hits = self.0.iter().filter(|(_, minutes)| minutes.clone().any(&matches));
        hits.map(|(second, _)| seconds(*second)).collect()
    }
}

/// Asks the schedule for the same stretch, forwards and backwards.
fn check_stretch(label: &str, timing: &Timing, from: i64, to: i64, expected: &[Timestamp]) {
    let end = seconds(to);
    let mut t = seconds(from);
    for firing in expected {
        assert_eq!(timing.next_after(t), Some(*firing), "{label}: after {t}");
        assert_eq!(timing.latest_at_or_before(*firing), Some(*firing), "{label}: at {firing}");
        let middle = seconds((t.as_second() + firing.as_second()) / 2).max(t);
        if t > seconds(from) && middle < *firing {
            assert_eq!(timing.latest_at_or_before(middle), Some(t), "{label}: before {middle}");
        }
        t = *firing;
    }
    assert!(timing.next_after(t).is_some_and(|next| next > end), "{label}: one too many after {t}");
    if !expected.is_empty() {
        assert_eq!(timing.latest_at_or_before(end), Some(t), "{label}: before {end}");
    }
}

/// Hours and minutes of expressions that fire every day, around the hour a clock change touches.
fn daily_expressions(hour: i64) -> [(String, Box<dyn Fn(i64) -> bool>); 4] {
    let next = (hour + 1) % 24;
    [
        (format!("*/15 {hour} * * *"), Box::new(move |m| m / 60 == hour && m % 15 == 0)),
        (format!("*/30 {hour} * * *"), Box::new(move |m| m / 60 == hour && m % 30 == 0)),
        (
            format!("17 {hour},{next} * * *"),
            Box::new(move |m| (m / 60 == hour || m / 60 == next) && m % 60 == 17),
        ),
        (format!("0 {next} * * *"), Box::new(move |m| m == next * 60)),
    ]
}

#[test]
fn in_every_zone_at_every_change_of_the_clock_cron_fires_once() {
    let (first, last) = (at("1970-01-01T00:00:00Z"), at("2100-12-31T00:00:00Z"));
    let mut seen_zones = HashSet::new();
    let mut zones = 0;
    let mut changes = 0;
    for zone_name in tz::db().available() {
        let zone = TimeZone::get(zone_name.as_str()).unwrap();
        let all: Vec<(i64, i64)> = zone
            .following(first)
            .take_while(|change| change.timestamp() < last)
            .map(|change| (change.timestamp().as_second(), i64::from(change.offset().seconds())))
            .collect();
        if all.is_empty() || !seen_zones.insert(all.clone()) {
            continue;
        }
        zones += 1;
        let mut timings: HashMap<String, Timing> = HashMap::new();
        let mut seen_kinds = HashSet::new();
        for (second, after) in all {
            let before = i64::from(zone.to_offset(seconds(second - 1)).seconds());
            if before == after {
                continue;
            }
            changes += 1;
            assert_eq!((second % 30, before % 30, after % 30), (0, 0, 0), "the walk's step fits {zone_name}");
            let (from, to) = (second - HOUR, second + HOUR + (before - after).max(0));
            let walk = Walk::through(&zone, from, to);
            let hour = (second + before.min(after)).rem_euclid(DAY) / HOUR;
            for (expression, matches) in daily_expressions(hour) {
                let timing = timings
                    .entry(expression.clone())
                    .or_insert_with(|| timing_of(cron(&expression, zone_name.as_str())));
                let label = format!("{expression} {zone_name} around {}", seconds(second));
                check_stretch(&label, timing, from, to, &walk.firings(|m| matches(m.rem_euclid(1440))));
            }
            // A dense schedule, once for each kind of change.
            if seen_kinds.insert(((second + before).rem_euclid(DAY), before, after)) {
                let timing = timing_of(cron("*/7 * * * *", zone_name.as_str()));
                let label = format!("*/7 {zone_name} around {}", seconds(second));
                check_stretch(&label, &timing, from, to, &walk.firings(|m| m.rem_euclid(60) % 7 == 0));
            }
        }
    }
    assert!(
        zones > 100 && changes > 5_000,
        "only {changes} changes in {zones} zones: is there time zone data?"
    );
}

/// The five fields as sets; `None` is `*`.
#[derive(Debug, Clone)]
struct Fields {
    minutes: Option<Vec<i64>>,
    hours: Option<Vec<i64>>,
    days: Option<Vec<i64>>,
    months: Option<Vec<i64>>,
    weekdays: Option<Vec<i64>>,
}

impl Fields {
    fn text(&self) -> String {
        let field = |set: &Option<Vec<i64>>| match set {
            None => "*".to_owned(),
            Some(values) => values.iter().map(i64::to_string).collect::<Vec<_>>().join(","),
        };
        [&self.minutes, &self.hours, &self.days, &self.months, &self.weekdays].map(field).join(" ")
    }

    fn matches(&self, minute: i64) -> bool {
        let has = |set: &Option<Vec<i64>>, value| set.as_ref().is_none_or(|values| values.contains(&value));
        if !has(&self.minutes, minute.rem_euclid(60))
            || !has(&self.hours, minute.div_euclid(60).rem_euclid(24))
        {
            return false;
        }
        let date = seconds(minute * MINUTE).to_zoned_datetime(TimeZone::UTC).date();
        let day = has(&self.days, date.day().into());
        let weekday = has(&self.weekdays, date.weekday().to_sunday_zero_offset().into());
        let either = self.days.is_some() && self.weekdays.is_some();
        has(&self.months, date.month().into()) && if either { day || weekday } else { day && weekday }
    }
}

fn field(low: i64, high: i64) -> impl Strategy<Value = Option<Vec<i64>>> {
    prop::option::of(prop::collection::btree_set(low..=high, 1..4).prop_map(|set| set.into_iter().collect()))
}

fn fields() -> impl Strategy<Value = Fields> {
    (field(0, 59), field(0, 23), field(1, 28), field(1, 12), field(0, 6)).prop_map(
        |(minutes, hours, days, months, weekdays)| Fields { minutes, hours, days, months, weekdays },
    )
}

proptest! {
    #![proptest_config(proptest::test_runner::Config::with_cases(48))]

    #[test]
    fn any_expression_agrees_with_a_walk_along_the_clock(
        fields in fields(),
        zone in prop::sample::select(vec![
            "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Pacific/Apia", "Asia/Tehran", "UTC",
            "Africa/Casablanca", "America/St_Johns", "Antarctica/Troll", "Asia/Kathmandu",
        ]),
        day in 15_000_i64..24_000,
    ) {
        let zone_data = TimeZone::get(zone).unwrap();
        let (from, to) = (day * DAY, (day + 4) * DAY);
        let expected = Walk::through(&zone_data, from, to).firings(|minute| fields.matches(minute));
        let text = fields.text();
        check_stretch(&format!("{text} {zone}"), &timing_of(cron(&text, zone)), from, to, &expected);
    }

    #[test]
    fn no_text_makes_the_compiler_of_schedules_panic(
        expression in prop_oneof![
            any::<String>(),
            prop::collection::vec("[-0-9*/,LW#?+A-Z@]{1,9}", 4..7).prop_map(|words| words.join(" ")),
        ],
        zone in prop_oneof![any::<String>(), "[A-Z][a-z]{1,8}/[A-Z][a-z]{1,8}"],
    ) {
        let when = |zone: &str| spec(cron(&expression, zone));
        let _ = Timing::compile(&unit("w"), &name("s"), &when(&zone));
        if let Ok(timing) = Timing::compile(&unit("w"), &name("s"), &when("Europe/Rome")) {
            let _ = (timing.next_after(Timestamp::MAX), timing.latest_at_or_before(Timestamp::MIN));
            prop_assert!(timing.next_after(at("2026-01-01T00:00:00Z")).is_some());
        }
    }

    #[test]
    fn a_batch_shares_unit_options_and_timeout_and_loses_nobody(
        kinds in prop::collection::vec((0..2_usize, 0..3_i64, 0..2_u64), 0..60),
        max in 0..9_usize,
    ) {
        let units = [unit("a"), unit("b")];
        let options: Vec<_> = (0..3)
            .map(|size| serde_json::Map::from_iter([("batch_size".to_owned(), serde_json::json!(size))]))
            .collect();
        let terms = |kind: &(usize, i64, u64)| wellspring::schedule::Terms {
            unit: &units[kind.0],
            options: &options[usize::try_from(kind.1).unwrap()],
            timeout: (kind.2 > 0).then(|| Duration::from_secs(kind.2)),
        };
        let calls = batches(kinds.iter().map(terms).enumerate(), max);
        let mut members = Vec::new();
        for call in &calls {
            prop_assert!(call.members.as_slice().len() <= max.max(1));
            prop_assert!(call.members.as_slice().is_sorted());
            for member in call.members.as_slice() {
                prop_assert_eq!(call.terms, terms(&kinds[*member]));
            }
            members.extend_from_slice(call.members.as_slice());
        }
        let distinct: HashSet<_> = kinds.iter().collect();
        prop_assert!(calls.len() <= distinct.len() + kinds.len() / max.max(1));
        members.sort_unstable();
        prop_assert_eq!(members, (0..kinds.len()).collect::<Vec<_>>());
    }
}

// ---- Histories ----------------------------------------------------------------------------------

/// A source under simulation: what the state store would know, and what the oracle counts.
struct Source {
    name: SourceName,
    spec: SyncSpec,
    timing: Timing,
    known_since: Timestamp,
    last: Option<Last>,
    /// When the running sync will end.
    busy_until: Option<Timestamp>,
    /// The first firing not yet accounted for.
    expected: Timestamp,
    runs: u32,
}

impl Source {
    fn new(unit: &Unit, number: usize, spec: SyncSpec, now: Timestamp) -> Self {
        let name = name(&format!("source-{number}"));
        let timing = Timing::compile(unit, &name, &spec).unwrap();
        let expected = timing.next_after(now).unwrap();
        Self { name, spec, timing, known_since: now, last: None, busy_until: None, expected, runs: 0 }
    }

    fn any(unit: &Unit, number: usize, dice: &mut Dice, now: Timestamp) -> Self {
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
            When::Every(Duration::from_secs((4 * HOUR + dice.below(9 * DAY)).unsigned_abs()))
        } else {
            cron(pick(dice, &EXPRESSIONS), pick(dice, &ZONES))
        };
        let mut spec = spec(when);
        spec.jitter = Duration::from_secs(dice.below(2 * HOUR).unsigned_abs());
        spec.missed = if dice.below(2) == 0 { Missed::Once } else { Missed::Skip };
        spec.overlap = if dice.below(2) == 0 { Overlap::Forbid } else { Overlap::Queue };
        Self::new(unit, number, spec, now)
    }

    fn scheduled<'a>(
        &'a self,
        unit: &'a Unit,
        options: &'a serde_json::Map<String, serde_json::Value>,
    ) -> Scheduled<'a> {
        Scheduled {
            unit,
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
        let before = self.last.unwrap_or(Last { firing, running: false, ended: None });
        self.last = Some(Last { firing, ..before });
    }

    /// How many firings there are up to and including `firing` that nobody has accounted for;
    /// they are accounted for from now on. None at all means that `firing` came twice.
    fn account(&mut self, firing: Timestamp) -> u32 {
        let mut count = 0;
        while self.expected <= firing {
            count += 1;
            self.expected = self.timing.next_after(self.expected).unwrap();
        }
        count
    }

    /// Ends the sync whose time has come.
    fn settle(&mut self, now: Timestamp) {
        if let Some(end) = self.busy_until.take_if(|end| *end <= now) {
            let last = self.last.as_mut().expect("a run was claimed");
            (last.running, last.ended) = (false, Some(end));
        }
    }

    /// A crash: the run is gone, what was claimed stays.
    fn crash(&mut self) {
        self.busy_until = None;
        if let Some(last) = &mut self.last {
            (last.running, last.ended) = (false, None);
        }
    }
}

/// Sources of one unit, their clock and their accounts.
struct Fleet {
    unit: Unit,
    sources: Vec<Source>,
}

impl Fleet {
    fn decide(&self, now: Timestamp) -> Decision {
        let options = serde_json::Map::new();
        let scheduled: Vec<_> = self.sources.iter().map(|s| s.scheduled(&self.unit, &options)).collect();
        due(now, &scheduled)
    }

    /// One pass of the loop at `now`, with every rule checked on the way. Returns when to wake.
    fn pass(&mut self, now: Timestamp, dice: &mut Dice) -> Timestamp {
        self.sources.iter_mut().for_each(|source| source.settle(now));
        let decision = self.decide(now);
        assert!(!decision.clock_behind());
        for skipped in &decision.skipped {
            let source = &mut self.sources[skipped.index];
            assert!(skipped.firing <= now);
            let count = source.account(skipped.firing);
            assert!(count > 0, "skipped twice: {skipped:?}");
            assert_eq!(skipped.count, count.min(MISSED_COUNTED), "{skipped:?}");
            match skipped.why {
                SkippedWhy::Running => {
                    assert_eq!((source.spec.overlap, source.busy_until.is_some()), (Overlap::Forbid, true));
                }
                SkippedWhy::Late => assert_eq!(source.spec.missed, Missed::Skip),
            }
            source.claim(skipped.firing);
        }
        for run in &decision.due {
            let source = &mut self.sources[run.index];
            assert!(run.firing <= now && source.busy_until.is_none());
            let count = source.account(run.firing);
            assert!(count > 0, "fired twice: {run:?}");
            assert_eq!(run.missed, (count - 1).min(MISSED_COUNTED), "{run:?} of {:?}", source.spec);
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
        // What came and was neither run nor skipped waits behind a running sync.
        for source in self.sources.iter().filter(|source| source.expected <= now) {
            assert_eq!((source.spec.overlap, source.busy_until.is_some()), (Overlap::Queue, true));
        }
        let again = self.decide(now);
        assert!(again.due.is_empty() && again.skipped.is_empty(), "claimed firings came again");
        let first_to_come = self.sources.iter().map(|source| source.timing.next_after(now).unwrap()).min();
        assert_eq!(decision.wake_at, first_to_come);
        decision.wake_at.unwrap()
    }
}

/// A thousand schedules in fleets of ten, through passes on time, late passes, outages and crashes.
/// `WELLSPRING_TEST_YEARS` makes the history longer.
#[test]
fn over_the_years_every_firing_is_run_or_accounted_for_exactly_once() {
    let years: Option<i64> = std::env::var("WELLSPRING_TEST_YEARS").ok().map(|text| text.parse().unwrap());
    let start = at("2026-01-15T12:34:56Z");
    let end = start + SignedDuration::from_secs(years.map_or(120 * DAY, |years| years * 365 * DAY));
    for seed in 0..100 {
        let mut dice = Dice(seed);
        let unit = unit(&format!("workspace-{seed}"));
        let sources = (0..10).map(|number| Source::any(&unit, number, &mut dice, start)).collect();
        let mut fleet = Fleet { unit, sources };
        let mut now = start;
        while now < end {
            let wake_at = fleet.pass(now, &mut dice);
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
        let unit = unit("w");
        let mut sources: Vec<_> = (0..4).map(|number| Source::any(&unit, number, &mut dice, now)).collect();
        let options = serde_json::Map::new();
        for jump in jumps {
            now += SignedDuration::from_secs(jump);
            let scheduled: Vec<_> = sources.iter().map(|source| source.scheduled(&unit, &options)).collect();
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
            // Nobody waits longer than the tolerance and then for the next firing.
            for source in &sources {
                let claimed = source.last.map_or(source.known_since, |last| last.firing);
                prop_assert!(claimed <= now + wellspring::schedule::CLOCK_TOLERANCE);
            }
        }
    }

    #[test]
    fn every_fires_at_a_fixed_distance_whatever_moment_is_asked(
        period in 1..40 * DAY,
        jitter in 0..3 * DAY,
        moments in prop::collection::vec(-9_000 * DAY..40_000 * DAY, 1..20),
        number in any::<u32>(),
    ) {
        let mut spec = spec(When::Every(Duration::from_secs(period.unsigned_abs())));
        spec.jitter = Duration::from_secs(jitter.unsigned_abs());
        let source = name(&format!("source-{number}"));
        let timing = Timing::compile(&unit("w"), &source, &spec).unwrap();
        let after_restart = Timing::compile(&unit("w"), &source, &spec).unwrap();
        let residue = timing.next_after(seconds(0)).unwrap().as_second().rem_euclid(period);
        for moment in moments {
            let (t, next) = (seconds(moment), timing.next_after(seconds(moment)).unwrap());
            prop_assert!(next > t && next.as_second() - moment <= period);
            prop_assert_eq!(next.as_second().rem_euclid(period), residue);
            prop_assert_eq!(timing.latest_at_or_before(next), Some(next));
            prop_assert_eq!(timing.latest_at_or_before(t).unwrap().as_second(), next.as_second() - period);
            prop_assert_eq!(after_restart.next_after(t), Some(next));
        }
    }
}

#[test]
fn offsets_spread_the_sources_over_the_whole_period() {
    let spec = spec(When::Every(Duration::from_secs(6 * 3600)));
    let mut per_hour: BTreeMap<i64, usize> = BTreeMap::new();
    for number in 0..600 {
        let timing = Timing::compile(&unit("w"), &name(&format!("s{number}")), &spec).unwrap();
        *per_hour.entry(timing.next_after(seconds(-1)).unwrap().as_second() / HOUR).or_default() += 1;
    }
    assert!(per_hour.len() == 6 && per_hour.values().all(|count| (60..140).contains(count)), "{per_hour:?}");
}
