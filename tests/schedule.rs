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
        // Half minutes, because Monrovia's offset once had them; the run-up covers a repeated hour.
        for second in (from - 4 * HOUR..=to).step_by(30) {
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
