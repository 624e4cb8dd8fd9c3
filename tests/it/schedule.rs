//! Tests of schedules against independent oracles.

use jiff::Timestamp;
use proptest::prelude::{any, prop, prop_assert, prop_assert_eq, proptest};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use wellspring::model::{Missed, Overlap, Schedule, Scope, SourceName, SyncSpec, WorkspaceId, WorkspaceRef};
use wellspring::schedule::{BatchKey, CompiledSchedule, batches};

mod clock;
mod history;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

fn workspace(workspace: &str) -> WorkspaceRef {
    WorkspaceRef { workspace: WorkspaceId::parse(workspace).unwrap(), scope: Scope::default() }
}

fn name(text: &str) -> SourceName {
    SourceName::parse(text).unwrap()
}

fn spec(when: Schedule) -> SyncSpec {
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

fn cron(expression: &str, timezone: &str) -> Schedule {
    Schedule::Cron { expression: expression.to_owned(), timezone: timezone.to_owned() }
}

fn timing_of(when: Schedule) -> CompiledSchedule {
    CompiledSchedule::compile(&workspace("w"), &name("s"), &spec(when)).unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

fn seconds(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

#[test]
fn offsets_spread_the_sources_over_the_whole_period() {
    let spec = spec(Schedule::Every(Duration::from_secs(6 * 3600)));
    let mut per_hour: BTreeMap<i64, usize> = BTreeMap::new();
    for number in 0..600 {
        let timing = CompiledSchedule::compile(&workspace("w"), &name(&format!("s{number}")), &spec).unwrap();
        *per_hour.entry(timing.next_after(seconds(-1)).unwrap().as_second() / HOUR).or_default() += 1;
    }
    assert!(per_hour.len() == 6 && per_hour.values().all(|count| (60..140).contains(count)), "{per_hour:?}");
}

proptest! {
    #[test]
    fn a_batch_shares_workspace_options_and_timeout_and_loses_nobody(
        kinds in prop::collection::vec((0..2_usize, 0..3_i64, 0..2_u64), 0..60),
        max in 0..9_usize,
    ) {
        let workspaces = [workspace("a"), workspace("b")];
        let options: Vec<_> = (0..3)
            .map(|size| serde_json::Map::from_iter([("batch_size".to_owned(), serde_json::json!(size))]))
            .collect();
        let terms = |kind: &(usize, i64, u64)| BatchKey {
            workspace: &workspaces[kind.0],
            options: &options[usize::try_from(kind.1).unwrap()],
            timeout: (kind.2 > 0).then(|| Duration::from_secs(kind.2)),
        };
        let calls = batches(kinds.iter().map(terms).enumerate(), max);
        let mut members = Vec::new();
        for call in &calls {
            prop_assert!(call.members.as_slice().len() <= max.max(1));
            prop_assert!(call.members.as_slice().is_sorted());
            for member in call.members.as_slice() {
                prop_assert_eq!(call.key, terms(&kinds[*member]));
            }
            members.extend_from_slice(call.members.as_slice());
        }
        let distinct: HashSet<_> = kinds.iter().collect();
        prop_assert!(calls.len() <= distinct.len() + kinds.len() / max.max(1));
        members.sort_unstable();
        prop_assert_eq!(members, (0..kinds.len()).collect::<Vec<_>>());
    }

    #[test]
    fn every_fires_at_a_fixed_distance_whatever_moment_is_asked(
        period in 1..40 * DAY,
        jitter in 0..3 * DAY,
        moments in prop::collection::vec(-9_000 * DAY..40_000 * DAY, 1..20),
        number in any::<u32>(),
    ) {
        let mut spec = spec(Schedule::Every(Duration::from_secs(period.unsigned_abs())));
        spec.jitter = Duration::from_secs(jitter.unsigned_abs());
        let source = name(&format!("source-{number}"));
        let timing = CompiledSchedule::compile(&workspace("w"), &source, &spec).unwrap();
        let after_restart = CompiledSchedule::compile(&workspace("w"), &source, &spec).unwrap();
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
