//! Writes that are lost, refused, late or carried out twice.

use super::{case, codes, hosts, pass, platform, script, settle, sources, tree, with_password};
use crate::wire::Fate;
use crate::world::{Echo, Ids, Semantics, Taken};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use wellspring::model::{Adopt, ConfigValue, Limit, OnConflict, Prune};

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
fn a_batch_that_is_carried_out_in_part_doubles_nothing() {
    let semantics = Semantics { echo: Echo::Nothing, partial: true, ..platform(Taken::Duplicate) };
    case(semantics, async |history| {
        history.tree.sources.extend(sources("refused", &["b"]));
        pass(history).await;
        assert_eq!(hosts(history), ["h1"]);
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

#[test]
fn a_connect_that_a_gateway_refused_is_sent_again_with_the_secret_of_today() {
    for echo in [Echo::Nothing, Echo::Unstamped] {
        let semantics = Semantics { echo, ..platform(Taken::Duplicate) };
        case(semantics, async |history| {
            history.tree = with_password("h1");
            history.tree.policy.adopt = Adopt::ByName;
            script(
                history,
                &[("connect", Fate::ActsThen(403)), ("list", Fate::Deliver), ("list", Fate::OddList(7))],
            );
            history.set_password("pw-old");
            pass(history).await;
            history.set_password("pw-one");
            for _ in 0..3 {
                settle().await;
                pass(history).await;
            }
            let world = history.wire.world();
            assert_eq!(
                world.rows.last().unwrap().config["password"],
                "pw-one",
                "{echo:?}\n{}",
                world.log.join("\n")
            );
        });
    }
}

#[test]
fn a_lost_replacement_is_undone_after_the_edit_was_taken_back() {
    case(Semantics { echo: Echo::Nothing, ..platform(Taken::Upsert) }, async |history| {
        pass(history).await;
        history.tree.sources = tree("h2").sources;
        script(history, &[("connect", Fate::LostAfter)]);
        pass(history).await;
        history.tree.sources = tree("h1").sources;
        for _ in 0..2 {
            settle().await;
            pass(history).await;
        }
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn a_replacement_that_a_gateway_refused_is_ours_when_a_later_list_shows_it() {
    for status in [400, 403, 413] {
        case(Semantics { lag: 700, ..platform(Taken::Duplicate) }, async |history| {
            pass(history).await;
            settle().await;
            history.tree.sources = tree("h2").sources;
            script(history, &[("connect", Fate::ActsThen(status))]);
            for _ in 0..2 {
                pass(history).await;
                settle().await;
            }
            assert_eq!(hosts(history), ["h2"], "{status}");
        });
    }
}

#[test]
fn a_source_adopted_to_be_replaced_is_replaced_even_if_it_shows_nothing() {
    case(Semantics { echo: Echo::Nothing, ..platform(Taken::Upsert) }, async |history| {
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        history.tree.policy.adopt = Adopt::Replace;
        for _ in 0..2 {
            pass(history).await;
            settle().await;
        }
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn a_correction_that_a_late_list_hides_is_kept_and_the_drifted_row_removed() {
    // A number that is returned as text is not expected to be equal.
    let late =
        Semantics { lag: 60_000, answers_ids: false, echo: Echo::Normalised, ..platform(Taken::Duplicate) };
    case(late, async |history| {
        let definition = Arc::make_mut(&mut history.tree.sources[0].definition);
        definition.connection_config = [("port", ConfigValue::Integer(1))].into();
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        pass(history).await;
        history.wire.world().rows[0].config = json!({"port": 2});
        history.wire.world().changed();
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(120)).await;
            pass(history).await;
        }
        let ports: Vec<Value> =
            history.wire.world().rows.iter().map(|row| row.config["port"].clone()).collect();
        assert_eq!(ports, [1]);
    });
}

#[test]
fn a_conflict_does_not_hide_that_the_refused_batch_had_connected_it() {
    let late = Semantics { lag: 2_500, answers_ids: false, ..platform(Taken::Duplicate) };
    for on_conflict in [OnConflict::Withhold, OnConflict::Recreate] {
        case(late.clone(), async |history| {
            history.tree.policy.on_conflict = on_conflict;
            history.tree.sources = sources("h1", &["a", "b"]);
            pass(history).await;
            tokio::time::sleep(Duration::from_secs(120)).await;
            history.tree.sources = sources("h2", &["a", "b"]);
            script(history, &[("connect", Fate::ActsThen(400))]);
            script(history, &[("connect", Fate::Refused(409)), ("connect", Fate::Refused(409))]);
            for _ in 0..3 {
                pass(history).await;
                tokio::time::sleep(Duration::from_secs(120)).await;
            }
            assert_eq!(hosts(history), ["h2", "h2"]);
        });
    }
}

#[test]
fn an_adopted_row_that_a_cleanup_left_is_cleaned_up_when_it_is_listed_again() {
    case(platform(Taken::Duplicate), async |history| {
        history.tree.policy.adopt = Adopt::ByName;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        pass(history).await;
        // The response to the cleanup is lost, the row stays, and the list after that hides it.
        script(history, &[("cleanup", Fate::LostBefore)]);
        let deliver = ("list", Fate::Deliver);
        script(history, &[deliver, deliver, deliver, ("list", Fate::OddList(8))]);
        for _ in 0..3 {
            pass(history).await;
            tokio::time::sleep(Duration::from_secs(120)).await;
        }
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn a_cleanup_that_removes_fewer_than_requested_proves_none_of_them_gone() {
    case(platform(Taken::Duplicate), async |history| {
        history.tree.policy.prune = Prune::Owned;
        history.tree.policy.max_cleanup = Limit::Percent(100);
        history.tree.sources = [sources("h1", &["a"]), sources("h2", &["b"])].concat();
        pass(history).await;
        history.tree.sources = sources("h2", &["b"]);
        history.wire.world().keeps_next = true;
        script(history, &[("list", Fate::Deliver), ("list", Fate::OddList(7))]);
        pass(history).await;
        for _ in 0..3 {
            tokio::time::sleep(Duration::from_secs(120)).await;
            pass(history).await;
        }
        assert_eq!(hosts(history), ["h2"]);
    });
}

#[test]
fn of_two_rows_with_our_marker_the_one_that_shows_what_was_sent_is_kept() {
    case(Semantics { lag: 60_000, ..platform(Taken::Duplicate) }, async |history| {
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        pass(history).await;
        history.wire.world().rows[0].config = json!({"host": "h9"});
        history.wire.world().changed();
        tokio::time::sleep(Duration::from_secs(120)).await;
        pass(history).await;
        history.wire.world().renumber();
        for _ in 0..4 {
            tokio::time::sleep(Duration::from_secs(120)).await;
            pass(history).await;
        }
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn the_older_row_that_a_platform_updated_instead_is_kept() {
    case(Semantics { answers_ids: false, ..platform(Taken::Upsert) }, async |history| {
        history.tree.policy.adopt = Adopt::Replace;
        let definition = Arc::make_mut(&mut history.tree.sources[0].definition);
        definition.connection_config =
            [("host", ConfigValue::String("h1".into())), ("port", ConfigValue::Integer(1))].into();
        pass(history).await;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        // Hides our row, so that the other one is adopted.
        script(history, &[("list", Fate::OddList(8))]);
        for _ in 0..4 {
            pass(history).await;
            tokio::time::sleep(Duration::from_secs(120)).await;
        }
        assert_eq!(hosts(history), ["h1"]);
    });
}

#[test]
fn an_older_row_stays_until_the_connect_of_the_newer_one_is_confirmed() {
    let late = Semantics { lag: 60_000, answers_ids: false, ..platform(Taken::Upsert) };
    case(late, async |history| {
        history.tree.policy.adopt = Adopt::Replace;
        pass(history).await;
        tokio::time::sleep(Duration::from_secs(120)).await;
        history.wire.world().add("a", "database", json!({"host": "h9"}), Value::Null);
        tokio::time::sleep(Duration::from_secs(120)).await;
        // Hides our row, so that the other one is adopted.
        script(history, &[("list", Fate::OddList(8))]);
        pass(history).await;
        // The platform updates our older row, and a late list does not show it.
        history.tree.sources = tree("h2").sources;
        pass(history).await;
        assert_eq!(hosts(history), ["h2", "h9"]);
    });
}
