//! Failures that the model checker found, each in a few lines.

use crate::history::History;
use crate::tree;
use crate::wire::Fate;
use crate::world::{Echo, Ids, Semantics, Taken};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use wellspring::model::{
    ConfigValue, Definition, DesiredSource, DesiredWorkspace, Limit, OnConflict, Policy, Prune, SortedMap,
    SourceKey, SourceLocation, SourceName, TestSpec,
};
use wellspring::reconcile::Pass;

const SETTLE: Duration = Duration::from_secs(5);

fn platform(taken: Taken) -> Semantics {
    Semantics {
        taken,
        echo: Echo::Everything,
        ids: Ids::Text,
        lag: 0,
        uneven: false,
        stale: 0,
        very_late: true,
        answers_ids: true,
        partial: false,
        reserved: 0,
        strict_cleanup: false,
        has_test: true,
    }
}

/// A project that declares one source `a` with this host.
fn tree(host: &str) -> DesiredWorkspace {
    DesiredWorkspace {
        unit: tree::unit(),
        alias: None,
        policy: Policy::default(),
        sources: vec![DesiredSource {
            key: SourceKey::parse("a").unwrap(),
            name: SourceName::parse("a").unwrap(),
            definition: Arc::new(Definition {
                kind: "database".into(),
                connection_config: [("host", ConfigValue::String(host.into()))].into(),
                metadata: SortedMap::default(),
            }),
            protect: false,
            adopt: None,
            sync: None,
            sync_options: serde_json::Map::new(),
            suspend: None,
            test: TestSpec::default(),
            at: SourceLocation { file: "ws.toml".into(), line: 1 },
        }],
        moved: Vec::new(),
        removed: Vec::new(),
        files: Vec::new(),
    }
}

/// Runs a case with a simulated clock.
fn case(semantics: Semantics, story: impl AsyncFnOnce(&mut History)) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    runtime.block_on(async {
        let mut history = History::quiet(semantics, tree("h1"));
        story(&mut history).await;
        let world = history.wire.world();
        assert!(world.breaches.is_empty(), "{}", world.log.join("\n"));
    });
}

fn hosts(history: &History) -> Vec<Value> {
    history.wire.world().rows.iter().map(|row| row.config["host"].clone()).collect()
}

fn script(history: &History, fates: &[(&'static str, Fate)]) {
    history.wire.world().script.extend_from_slice(fates);
}

async fn pass(history: &mut History) -> Pass {
    history.pass().await.unwrap()
}

async fn settle() {
    tokio::time::sleep(SETTLE).await;
}

fn codes(pass: &Pass) -> Vec<&'static str> {
    pass.plan().unwrap().withheld.iter().map(|withheld| withheld.code.as_str()).collect()
}

#[test]
fn someone_elses_source_of_a_name_that_is_ours_is_pointed_out() {
    case(platform(Taken::Duplicate), async |history| {
        pass(history).await;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        let seen = pass(history).await;
        assert_eq!(seen.plan().unwrap().unmanaged.len(), 1);
        assert_eq!(hosts(history), ["h1", "h9"]);
    });
}

#[test]
fn a_refused_replacement_is_not_sent_again_each_pass() {
    case(platform(Taken::Conflict), async |history| {
        history.tree.policy.on_conflict = OnConflict::Withhold;
        pass(history).await;
        history.tree.sources = tree("h2").sources;
        pass(history).await;
        history.wire.world().writes = 0;
        assert_eq!(codes(&pass(history).await), ["quarantined"]);
        assert_eq!(history.wire.world().writes, 0);
    });
}

#[test]
fn a_replacement_that_the_limit_forbids_is_not_sent_again_each_pass() {
    case(platform(Taken::Conflict), async |history| {
        history.tree.policy.max_cleanup = Limit::Count(0);
        pass(history).await;
        history.tree.sources = tree("h2").sources;
        pass(history).await;
        history.wire.world().writes = 0;
        assert_eq!(codes(&pass(history).await), ["quarantined"]);
        assert_eq!(history.wire.world().writes, 0);
    });
}

#[test]
fn the_time_to_settle_begins_with_the_last_attempt() {
    case(Semantics { echo: Echo::Nothing, ..platform(Taken::Duplicate) }, async |history| {
        script(history, &[("connect", Fate::Refused(429)), ("connect", Fate::Late(4_000))]);
        pass(history).await;
        settle().await;
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn the_time_to_settle_begins_with_the_last_attempt_also_for_the_next_pass() {
    case(Semantics { echo: Echo::Nothing, ..platform(Taken::Duplicate) }, async |history| {
        let lost = [("list", Fate::Deliver), ("list", Fate::OddList(0))];
        script(history, &[("connect", Fate::Refused(429)), ("connect", Fate::Late(4_000))]);
        script(history, &lost);
        pass(history).await;
        assert_eq!(codes(&pass(history).await), ["settling"]);
        settle().await;
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn drift_stays_in_sight_when_its_mending_was_lost() {
    for taken in [Taken::Upsert, Taken::Duplicate, Taken::Conflict] {
        case(platform(taken), async |history| {
            pass(history).await;
            history.wire.world().rows[0].config = json!({"host": "h9"});
            script(history, &[("connect", Fate::LostBefore)]);
            pass(history).await;
            settle().await;
            pass(history).await;
            assert_eq!(hosts(history), ["h1"], "{taken:?}");
        });
    }
}

#[test]
fn a_replacement_that_arrives_twice_leaves_one() {
    case(platform(Taken::Duplicate), async |history| {
        pass(history).await;
        history.tree.sources = tree("h2").sources;
        script(history, &[("connect", Fate::Twice)]);
        pass(history).await;
        pass(history).await;
        assert_eq!(hosts(history), ["h2"]);
    });
}

#[test]
fn a_connect_that_lands_again_after_it_was_answered_is_mended_in_one_pass() {
    case(platform(Taken::Duplicate), async |history| {
        script(history, &[("connect", Fate::TwiceLate(60_000))]);
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(hosts(history), ["h1", "h1"]);
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn a_connect_that_lands_after_the_platform_must_have_settled_is_mended_in_one_pass() {
    case(platform(Taken::Duplicate), async |history| {
        script(history, &[("connect", Fate::Late(60_000))]);
        pass(history).await;
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(hosts(history), ["h1", "h1"]);
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn what_someone_adds_while_our_connect_is_lost_is_not_taken_for_ours() {
    case(platform(Taken::Duplicate), async |history| {
        script(
            history,
            &[("connect", Fate::LostBefore), ("list", Fate::Deliver), ("list", Fate::OddList(0))],
        );
        pass(history).await;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        settle().await;
        assert_eq!(codes(&pass(history).await), ["adopt"]);
        assert_eq!(hosts(history), ["h9"]);
    });
}

#[test]
fn what_a_lagging_list_hid_is_still_known_as_ours() {
    case(Semantics { lag: 2_000, ..platform(Taken::Duplicate) }, async |history| {
        pass(history).await;
        // The next list comes from a replica that is out of date.
        script(history, &[("list", Fate::Lagging)]);
        history.tree.sources = tree("h2").sources;
        pass(history).await;
        settle().await;
        pass(history).await;
        assert_eq!(hosts(history), ["h2"]);
    });
}

/// Returns the same source under each of these keys.
fn sources(host: &str, keys: &[&str]) -> Vec<DesiredSource> {
    let source = tree(host).sources.remove(0);
    let named = |key: &&str| DesiredSource {
        key: SourceKey::parse(key).unwrap(),
        name: SourceName::parse(key).unwrap(),
        ..source.clone()
    };
    keys.iter().map(named).collect()
}

#[test]
fn a_list_that_lags_longer_than_the_time_to_settle_takes_nothing_back() {
    let shown =
        [(Echo::Everything, true), (Echo::Everything, false), (Echo::Nothing, true), (Echo::Masked, false)];
    for (echo, answers_ids) in shown {
        let semantics = Semantics { echo, answers_ids, lag: 60_000, ..platform(Taken::Duplicate) };
        case(semantics, async |history| {
            tokio::time::sleep(Duration::from_secs(61)).await;
            pass(history).await;
            assert_eq!(codes(&pass(history).await), ["not-listed"], "{echo:?} {answers_ids}");
            tokio::time::sleep(Duration::from_secs(61)).await;
            pass(history).await;
            history.tree.sources = tree("h2").sources;
            pass(history).await;
            settle().await;
            assert_eq!(codes(&pass(history).await).len(), 1, "{echo:?} {answers_ids}");
            for _ in 0..3 {
                tokio::time::sleep(Duration::from_secs(61)).await;
                pass(history).await;
            }
            assert_eq!(hosts(history), ["h2"], "{echo:?} {answers_ids}");
        });
    }
}

#[test]
fn what_one_list_does_not_show_is_still_ours_when_it_shows_again() {
    case(platform(Taken::Duplicate), async |history| {
        pass(history).await;
        script(history, &[("list", Fate::OddList(7)), ("list", Fate::OddList(8))]);
        pass(history).await;
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn a_batch_that_is_carried_out_in_part_doubles_nothing() {
    let semantics = Semantics { echo: Echo::Nothing, partial: true, ..platform(Taken::Duplicate) };
    case(semantics, async |history| {
        history.tree.sources.extend(sources("refused", &["b"]));
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn a_refused_connect_takes_nothing_that_a_list_had_hidden() {
    let refusals: [&[(&str, Fate)]; 3] =
        [&[], &[("connect", Fate::Refused(422))], &[("list", Fate::OddList(0))]];
    for refusal in refusals {
        case(Semantics { echo: Echo::Nothing, ..platform(Taken::Conflict) }, async |history| {
            history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
            script(history, &[("list", Fate::Lagging)]);
            script(history, refusal);
            pass(history).await;
            settle().await;
            assert_eq!(codes(&pass(history).await), ["adopt"], "{refusal:?}");
            assert_eq!(hosts(history), ["h9"]);
        });
    }
}

#[test]
fn a_lost_replacement_takes_nothing_that_a_list_had_hidden() {
    case(Semantics { echo: Echo::Nothing, ..platform(Taken::Upsert) }, async |history| {
        pass(history).await;
        history.tree.sources = tree("h2").sources;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        script(history, &[("list", Fate::OddList(6)), ("connect", Fate::LostBefore)]);
        pass(history).await;
        settle().await;
        assert_eq!(codes(&pass(history).await), ["ambiguous"]);
        assert_eq!(hosts(history), ["h1", "h9"]);
    });
}

#[test]
fn a_lost_connect_takes_nothing_that_a_list_had_hidden() {
    for taken in [Taken::Duplicate, Taken::Upsert, Taken::Conflict] {
        case(Semantics { echo: Echo::Nothing, ..platform(taken) }, async |history| {
            history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
            script(history, &[("list", Fate::Lagging), ("connect", Fate::LostBefore)]);
            pass(history).await;
            settle().await;
            assert_eq!(codes(&pass(history).await), ["adopt"], "{taken:?}");
            assert_eq!(hosts(history), ["h9"]);
        });
    }
}

#[test]
fn what_a_list_shows_before_the_platform_settled_is_not_what_it_connected() {
    let semantics = Semantics { echo: Echo::Nothing, answers_ids: false, ..platform(Taken::Duplicate) };
    case(semantics, async |history| {
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        // The second list is cut short: it shows the other one, and not yet ours.
        script(history, &[("list", Fate::Lagging), ("list", Fate::OddList(6))]);
        pass(history).await;
        history.tree.sources.clear();
        history.tree.policy.prune = Prune::Owned;
        settle().await;
        pass(history).await;
        assert_eq!(hosts(history), ["h9", "h1"]);
    });
}

#[test]
fn a_row_that_shows_another_definition_is_not_what_the_platform_connected() {
    let semantics = Semantics { echo: Echo::Unstamped, answers_ids: false, ..platform(Taken::Duplicate) };
    case(semantics, async |history| {
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        let cut = ("list", Fate::OddList(6));
        script(history, &[("list", Fate::Lagging), cut, cut]);
        pass(history).await;
        assert_eq!(hosts(history), ["h9", "h1"]);
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        history.tree.sources.clear();
        history.tree.policy.prune = Prune::Owned;
        pass(history).await;
        assert_eq!(hosts(history), ["h9"]);
    });
}

#[test]
fn a_row_that_only_its_name_shows_as_ours_is_not_ours_beside_another() {
    let semantics = Semantics { echo: Echo::Nothing, answers_ids: false, ..platform(Taken::Duplicate) };
    case(semantics, async |history| {
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        // The list is out of date first, and then truncated twice.
        let cut = ("list", Fate::OddList(6));
        script(history, &[("list", Fate::Lagging), cut, cut]);
        pass(history).await;
        history.tree.sources = tree("h2").sources;
        assert_eq!(codes(&pass(history).await), ["ambiguous"]);
        history.tree.sources.clear();
        history.tree.policy.prune = Prune::Owned;
        pass(history).await;
        assert_eq!(hosts(history), ["h9", "h1"]);
    });
}

#[test]
fn of_two_rows_without_ids_the_plan_says_that_nothing_distinguishes_them() {
    case(Semantics { ids: Ids::None, ..platform(Taken::Duplicate) }, async |history| {
        script(history, &[("connect", Fate::Twice)]);
        pass(history).await;
        settle().await;
        let seen = pass(history).await;
        assert_eq!(codes(&seen), ["not-listed"]);
        let reason = &seen.plan().unwrap().withheld[0].reason;
        assert!(reason.contains("lists 2 sources of this name"), "{reason}");
    });
}

#[test]
fn a_row_that_only_its_name_shows_as_ours_is_left_alone_for_a_minute() {
    let semantics = Semantics { echo: Echo::Nothing, answers_ids: false, ..platform(Taken::Duplicate) };
    case(semantics, async |history| {
        pass(history).await;
        settle().await;
        pass(history).await;
        history.tree.sources = tree("h2").sources;
        let held = pass(history).await;
        assert_eq!(codes(&held), ["unproven"]);
        tokio::time::sleep(held.retry_after.unwrap()).await;
        pass(history).await;
        settle().await;
        pass(history).await;
        assert_eq!(hosts(history), ["h2"]);
    });
}

#[test]
fn what_was_edited_before_it_was_ever_seen_is_drift() {
    for taken in [Taken::Duplicate, Taken::Upsert] {
        case(platform(taken), async |history| {
            script(
                history,
                &[("connect", Fate::LostAfter), ("list", Fate::Deliver), ("list", Fate::OddList(0))],
            );
            pass(history).await;
            history.wire.world().rows[0].config = json!({"host": "h9"});
            settle().await;
            pass(history).await;
            pass(history).await;
            assert_eq!(hosts(history), ["h1"], "{taken:?}");
        });
    }
}

#[test]
fn a_refused_connect_beside_an_edited_row_without_an_id_is_not_done() {
    case(Semantics { ids: Ids::None, ..platform(Taken::Conflict) }, async |history| {
        pass(history).await;
        history.wire.world().rows[0].config = json!({"host": "h9"});
        script(history, &[("list", Fate::OddList(7))]);
        pass(history).await;
        assert_eq!(codes(&pass(history).await), ["no-id"]);
    });
}

#[test]
fn an_id_that_two_rows_bear_tells_nothing_of_a_write() {
    case(Semantics { answers_ids: false, ..platform(Taken::Duplicate) }, async |history| {
        pass(history).await;
        history.wire.world().rows[0].config = json!({"host": "h9"});
        script(history, &[("list", Fate::Deliver), ("list", Fate::OddList(0))]);
        pass(history).await;
        script(history, &[("list", Fate::OddList(9))]);
        pass(history).await;
        settle().await;
        pass(history).await;
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn ids_that_all_change_make_no_twins_and_lose_nothing() {
    case(platform(Taken::Duplicate), async |history| {
        history.tree.sources = sources("h1", &["a", "b", "c"]);
        pass(history).await;
        history.wire.world().renumber();
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        pass(history).await;
        history.tree.sources = sources("h2", &["a", "b"]);
        history.tree.policy.prune = Prune::Owned;
        pass(history).await;
        assert_eq!(hosts(history), ["h2", "h2"]);
    });
}

#[test]
fn of_reserved_names_one_is_taken_away_and_it_comes_back() {
    case(Semantics { reserved: 60_000, ..platform(Taken::Conflict) }, async |history| {
        history.tree.policy.max_cleanup = Limit::Percent(100);
        history.tree.sources = sources("h1", &["a", "b", "c"]);
        pass(history).await;
        history.tree.sources = sources("h2", &["a", "b", "c"]);
        pass(history).await;
        assert_eq!(hosts(history), ["h1", "h1"]);
        tokio::time::sleep(Duration::from_secs(61)).await;
        pass(history).await;
        assert_eq!(hosts(history), ["h1", "h1", "h2"]);
    });
}

#[test]
fn connects_that_were_given_up_and_land_late_leave_one() {
    case(platform(Taken::Duplicate), async |history| {
        script(history, &[("connect", Fate::Late(60_000)), ("connect", Fate::Late(60_000))]);
        pass(history).await;
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(61)).await;
        assert_eq!(hosts(history), ["h1", "h1"]);
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
    });
}
