//! Tests cron in every time zone against a walk along the wall clock.

use super::{DAY, HOUR, MINUTE, at, cron, name, seconds, spec, timing_of, workspace};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use proptest::prelude::{Strategy, any, prop, prop_assert, prop_oneof, proptest};
use std::collections::{HashMap, HashSet};
use wellspring::schedule::CompiledSchedule;
use wellspring::zones;

/// The minutes that the wall clock reaches *for the first time*, by instant.
///
/// A minute that is shown again is not new; skipped minutes are all reached at the next instant. This is the
/// complete specification, without the terms fold and gap.
struct Walk(Vec<(i64, std::ops::RangeInclusive<i64>)>);

impl Walk {
    fn through(zone: &TimeZone, from: i64, to: i64) -> Self {
        let mut reached = i64::MIN;
        let mut steps = Vec::new();
        // Monrovia's offset once included half a minute.
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

/// Compares the schedule in the same period, forwards and backwards.
fn check_stretch(label: &str, timing: &CompiledSchedule, from: i64, to: i64, expected: &[Timestamp]) {
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

/// Returns expressions that fire daily around the hour of a clock change.
///
/// Each comes with the minutes of the day that it names.
fn daily_expressions(hour: i64) -> [(String, Vec<i64>); 4] {
    let next = (hour + 1) % 24;
    [
        (format!("*/15 {hour} * * *"), [0, 15, 30, 45].map(|minute| hour * 60 + minute).to_vec()),
        (format!("*/30 {hour} * * *"), [0, 30].map(|minute| hour * 60 + minute).to_vec()),
        (format!("17 {hour},{next} * * *"), [hour, next].map(|hour| hour * 60 + 17).to_vec()),
        (format!("0 {next} * * *"), vec![next * 60]),
    ]
}

#[test]
fn in_every_zone_at_every_change_of_the_clock_cron_fires_once() {
    let (first, last) = (at("1970-01-01T00:00:00Z"), at("2100-12-31T00:00:00Z"));
    let mut seen_zones = HashSet::new();
    let mut zones = 0;
    let mut changes = 0;
    for zone_name in zones::names() {
        let zone = zones::get(&zone_name).unwrap();
        let all: Vec<(i64, i64)> = zone
            .following(first)
            .take_while(|change| change.timestamp() < last)
            .map(|change| (change.timestamp().as_second(), i64::from(change.offset().seconds())))
            .collect();
        if all.is_empty() || !seen_zones.insert(all.clone()) {
            continue;
        }
        zones += 1;
        let mut timings: HashMap<String, CompiledSchedule> = HashMap::new();
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
            for (expression, minutes) in daily_expressions(hour) {
                let timing = timings
                    .entry(expression.clone())
                    .or_insert_with(|| timing_of(cron(&expression, zone_name.as_str())));
                let label = format!("{expression} {zone_name} around {}", seconds(second));
                check_stretch(
                    &label,
                    timing,
                    from,
                    to,
                    &walk.firings(|m| minutes.contains(&m.rem_euclid(1440))),
                );
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
        moment in 15_000 * DAY..24_000 * DAY,
        at_change in any::<bool>(),
    ) {
        let zone_data = zones::get(zone).unwrap();
        let change = zone_data.following(seconds(moment)).next().map(|change| change.timestamp().as_second());
        let middle = change.filter(|_| at_change).unwrap_or(moment) / MINUTE * MINUTE;
        let (from, to) = (middle - DAY, middle + 2 * DAY);
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
        let _ = CompiledSchedule::compile(&workspace("w"), &name("s"), &when(&zone));
        if let Ok(timing) = CompiledSchedule::compile(&workspace("w"), &name("s"), &when("Europe/Rome")) {
            let _ = (timing.next_after(Timestamp::MAX), timing.latest_at_or_before(Timestamp::MIN));
            prop_assert!(timing.next_after(at("2026-01-01T00:00:00Z")).is_some());
        }
    }
}
