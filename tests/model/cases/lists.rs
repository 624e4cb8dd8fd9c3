//! Lists that are out of date, truncated or ambiguous.

use super::{case, codes, hosts, pass, platform, script, settle, sources, tree, with_password};
use crate::wire::Fate;
use crate::world::{Echo, Ids, Semantics, Taken};
use serde_json::{Value, json};
use std::time::Duration;
use wellspring::model::{Adopt, Limit, Prune};

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
fn a_marker_that_a_superseded_row_bore_before_is_no_proof_of_a_replacement() {
    let semantics = Semantics { answers_ids: false, lag: 2_500, ..platform(Taken::Duplicate) };
    case(semantics, async |history| {
        history.tree = with_password("h1");
        history.tree.policy.adopt = Adopt::Replace;
        history.tree.policy.max_cleanup = Limit::Percent(100);
        pass(history).await;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        settle().await;
        // Ours is not listed, so the other one is taken over.
        script(history, &[("list", Fate::OddList(8))]);
        for _ in 0..4 {
            pass(history).await;
            settle().await;
        }
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn the_rest_of_a_refused_batch_overwrites_nothing_that_a_list_shows_by_then() {
    case(platform(Taken::Upsert), async |history| {
        history.wire.world().add("b", "database", json!({"host": "h9"}), Value::Null);
        tokio::time::sleep(Duration::from_secs(1)).await;
        history.tree.sources = sources("refused", &["a"]);
        history.tree.sources.extend(sources("h1", &["b"]));
        script(history, &[("list", Fate::Lagging), ("list", Fate::Lagging)]);
        pass(history).await;
        assert_eq!(hosts(history), ["h9"]);
    });
}

#[test]
fn a_row_removed_to_make_room_is_not_taken_for_the_new_one() {
    let semantics =
        Semantics { echo: Echo::Nothing, answers_ids: false, lag: 60_000, ..platform(Taken::Conflict) };
    case(semantics, async |history| {
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        history.tree.policy.adopt = Adopt::Replace;
        history.tree.policy.max_cleanup = Limit::Percent(100);
        for _ in 0..6 {
            tokio::time::sleep(Duration::from_secs(61)).await;
            pass(history).await;
        }
        let world = history.wire.world();
        assert_eq!(world.rows.len(), 1);
        assert_eq!(world.rows[0].config["host"], "h1");
        assert_eq!(world.rows[0].number, 2, "one replacement only");
    });
}

#[test]
fn after_a_list_that_hid_our_row_no_other_row_is_taken_for_the_new_one() {
    let names_only = Semantics { echo: Echo::Nothing, answers_ids: false, ..platform(Taken::Upsert) };
    case(names_only, async |history| {
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        pass(history).await;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        history.tree.sources = tree("h2").sources;
        script(history, &[("list", Fate::OddList(7))]);
        pass(history).await;
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(120)).await;
            pass(history).await;
        }
        assert_eq!(hosts(history), ["h2", "h9"]);
    });
}

#[test]
fn after_a_list_that_hid_one_of_our_rows_no_other_row_is_taken_for_a_replacement() {
    let names_only = Semantics { echo: Echo::Nothing, answers_ids: false, ..platform(Taken::Upsert) };
    case(names_only, async |history| {
        history.tree.sources = sources("h1", &["a", "b"]);
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        pass(history).await;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        history.tree.sources = sources("h2", &["a", "b"]);
        // Shows the first row only.
        script(history, &[("list", Fate::OddList(6))]);
        for _ in 0..4 {
            pass(history).await;
            tokio::time::sleep(Duration::from_secs(120)).await;
        }
        assert_eq!(hosts(history), ["h2", "h2", "h9"]);
    });
}
