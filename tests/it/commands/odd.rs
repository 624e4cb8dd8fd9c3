//! Tests with odd platforms: no duplicates, no losses, no false success.
//!
//! Their lists lag, lack rows or rename them, gateways act and then refuse, and batches are not atomic.

use serde_json::{Value, json};
use wellspring_testkit::{EchoManner, Fault, Scene, Semantics, Taken, Tree, Wellspring};

const ECHOES: [EchoManner; 4] =
    [EchoManner::Everything, EchoManner::Masked, EchoManner::Normalised, EchoManner::Nothing];

fn scene(semantics: Semantics, host: &str, keys: &[&str]) -> Scene {
    let scene = Scene::with(semantics);
    declare(&scene, host, keys);
    scene
}

fn declare(scene: &Scene, host: &str, keys: &[&str]) {
    let sources: Vec<(&str, &str)> = keys.iter().map(|key| (*key, host)).collect();
    scene.declare("ws_one", &sources);
}

fn holds(scene: &Scene, host: &str, keys: &[&str]) -> bool {
    scene.holds("ws_one", &keys.iter().map(|key| (*key, host)).collect::<Vec<_>>())
}

/// Applies until the command reports success.
#[track_caller]
fn applies(scene: &Scene, most: usize) -> usize {
    for n in 1..=most {
        let apply = scene.wellspring(&["apply", "-y"]);
        match apply.code {
            Some(0) => return n,
            Some(1) => {}
            _ => panic!("{apply:#?}"),
        }
    }
    panic!("not done after {most} times: {:#?}", scene.wellspring(&["plan", "-v"]))
}

/// Returns how often a name was sent in connects.
fn connects(scene: &Scene, name: &str) -> usize {
    let sources = |call: Value| call["sources"].as_array().cloned().unwrap_or_default();
    let sent = scene.platform.calls_to("connect").into_iter().flat_map(|call| sources(call.json()));
    sent.filter(|source| source["name"] == name).count()
}

fn cleaned_up(scene: &Scene) -> Vec<Value> {
    let ids = |call: Value| call["source_ids"].as_array().cloned().unwrap_or_default();
    scene.platform.calls_to("cleanup").into_iter().flat_map(|call| ids(call.json())).collect()
}

#[test]
fn a_list_that_lags_behind_undoes_no_replacement() {
    for echo in ECHOES {
        let scene =
            scene(Semantics { taken: Taken::Duplicate, echo, ..Semantics::default() }, "h1", &["a", "b"]);
        scene.apply();
        scene.platform.semantics(|semantics| semantics.list_lag = 7);
        declare(&scene, "h2", &["a", "b"]);
        let first = scene.wellspring(&["apply", "-y"]);
        assert_eq!(first.code, Some(1), "{echo:?}: {first:#?}");
        assert!(first.stdout.contains("does not list that yet"), "{echo:?}: {first:#?}");
        applies(&scene, 12);
        scene.platform.semantics(|semantics| semantics.list_lag = 0);
        applies(&scene, 12);
        assert!(holds(&scene, "h2", &["a", "b"]), "{echo:?}: {:?}", scene.hosts("ws_one"));
        assert_eq!((connects(&scene, "a"), connects(&scene, "b")), (2, 2), "{echo:?}");
        assert!(cleaned_up(&scene).iter().all(|id| *id == "source_1" || *id == "source_2"), "{echo:?}");
    }
}

#[test]
fn a_new_source_that_a_lagging_list_hides_is_ours_once_it_shows() {
    for (echo, taken) in ECHOES.into_iter().flat_map(|echo| [(echo, Taken::Upsert), (echo, Taken::Duplicate)])
    {
        for answers_ids in [true, false] {
            let semantics = Semantics { taken, echo, list_lag: 9, answers_ids, ..Semantics::default() };
            let scene = scene(semantics, "h1", &["a"]);
            applies(&scene, 12);
            assert_eq!(connects(&scene, "a"), 1, "{echo:?} {taken:?} {answers_ids}");
            let sync = scene.wellspring(&["sync", "ws_one/a"]);
            assert_eq!(sync.code, Some(0), "{echo:?} {taken:?} {answers_ids}: {sync:#?}");
        }
    }
}

#[test]
fn a_list_that_goes_on_showing_the_old_definition_is_no_proof_of_an_update() {
    let scene = scene(Semantics::default(), "h1", &["a"]);
    scene.apply();
    let answer = json!({"status": "success", "message": "", "data": {"connected_sources": [{"name": "a"}]}});
    scene.platform.script("connect", Fault::json(200, &answer));
    declare(&scene, "h2", &["a"]);
    for _ in 0..3 {
        let apply = scene.wellspring(&["apply", "-y"]);
        assert_eq!(apply.code, Some(1), "{apply:#?}");
        assert!(apply.stdout.contains("its list still shows"), "{apply:#?}");
    }
    assert_eq!(connects(&scene, "a"), 2, "it is not sent again by itself");
    scene.wellspring(&["apply", "-y", "-s", "ws_one/a"]);
    applies(&scene, 2);
    assert!(holds(&scene, "h2", &["a"]));
}

#[test]
fn a_source_that_the_platform_lists_under_a_name_of_its_own_is_ours() {
    for (taken, answers_capitals, keys) in [
        (Taken::Upsert, false, &["a"][..]),
        (Taken::Duplicate, false, &["a", "b"]),
        (Taken::Duplicate, true, &["a", "b"]),
    ] {
        let semantics = Semantics { taken, capitals: true, answers_capitals, ..Semantics::default() };
        let scene = scene(semantics, "h1", keys);
        scene.apply();
        declare(&scene, "h2", keys);
        scene.apply();
        assert!(holds(&scene, "h2", keys), "{taken:?}: {:?}", scene.hosts("ws_one"));
        let plan = scene.wellspring(&["plan", "--detailed-exitcode"]);
        assert_eq!(plan.code, Some(0), "{taken:?}: {plan:#?}");
        declare(&scene, "h2", &[]);
        scene.apply();
        assert!(holds(&scene, "", &[]), "{taken:?}");
    }
}

#[test]
fn what_a_gateway_refuses_after_the_platform_acted_is_looked_for_and_not_sent_again() {
    let html = || Fault::ActThenAnswer {
        status: 400,
        headers: vec![("content-type", "text/html".to_owned())],
        body: b"<html>no</html>".to_vec(),
    };
    let statuses = [403, 408, 413, 425, 499, 502, 503, 504, 520].map(|status| Fault::acts_then(status, "no"));
    let busy = Fault::ActThenAnswer {
        status: 429,
        headers: vec![("retry-after", "0".to_owned())],
        body: b"{\"message\":\"busy\"}".to_vec(),
    };
    let refusals = statuses.into_iter().chain([html(), busy, Fault::acts_then(422, "no")]);
    let both = [("a", "h1"), ("b", "h2")];
    for (n, fault) in refusals.enumerate() {
        for echo in [EchoManner::Everything, EchoManner::Nothing] {
            let scene = Scene::with(Semantics { taken: Taken::Duplicate, echo, ..Semantics::default() });
            scene.declare("ws_one", &both);
            scene.platform.script("connect", fault.clone());
            if echo == EchoManner::Nothing {
                // A row that is listed by name alone may be someone else's that the list before had hidden.
                let not_ours = |_| scene.wellspring(&["apply", "-y"]).stdout.contains("an unmanaged source");
                assert!((0..2).any(not_ours), "fault {n}");
                let settings = scene.tree.read("wellspring.toml");
                scene.tree.write("wellspring.toml", &format!("{settings}adopt = \"by-name\"\n"));
            }
            applies(&scene, 2);
            assert!(scene.holds("ws_one", &both), "fault {n}, {echo:?}: {:?}", scene.hosts("ws_one"));
            assert_eq!(connects(&scene, "a"), 1, "fault {n}, {echo:?}");
            scene.declare("ws_one", &both[..1]);
            scene.platform.script("cleanup", fault.clone());
            applies(&scene, 2);
            assert!(scene.holds("ws_one", &both[..1]), "fault {n}, {echo:?}");
            assert_eq!(scene.platform.calls_to("cleanup").len(), 1, "fault {n}, {echo:?}");
        }
    }
}

#[test]
fn a_batch_that_is_carried_out_in_part_and_refused_doubles_nothing() {
    let keys = ["a", "b", "c", "d", "e", "f", "g", "h"];
    for echo in ECHOES {
        let refused = vec!["e".to_owned()];
        let semantics = Semantics {
            taken: Taken::Duplicate,
            echo,
            refused,
            partial_batches: true,
            ..Semantics::default()
        };
        let scene = scene(semantics, "h1", &keys);
        let apply = scene.wellspring(&["apply", "-y"]);
        assert_eq!(apply.code, Some(1), "{echo:?}: {apply:#?}");
        let good: Vec<&str> = keys.into_iter().filter(|key| *key != "e").collect();
        assert!(holds(&scene, "h1", &good), "{echo:?}: {:?}", scene.hosts("ws_one"));
        scene.platform.semantics(|semantics| semantics.refused.clear());
        if echo == EchoManner::Nothing {
            // Rows of the refused batch are listed by name only, so these are not known as ours.
            let apply = scene.wellspring(&["apply", "-y"]);
            assert!(apply.stdout.contains("unmanaged source of this name"), "{apply:#?}");
        } else {
            applies(&scene, 1);
        }
        assert!(holds(&scene, "h1", &keys), "{echo:?}: {:?}", scene.hosts("ws_one"));
    }
}

#[test]
fn a_sync_is_sent_once_though_a_call_with_several_is_refused() {
    let keys = ["a", "b", "c", "d", "e", "f", "g"];
    let scene = scene(Semantics::default(), "h1", &keys);
    scene.apply();
    scene.platform.semantics(|semantics| semantics.refused_syncs = vec!["e".to_owned()]);
    let sync = scene.wellspring(&["sync"]);
    assert_eq!(sync.code, Some(1), "{sync:#?}");
    let syncs = |scene: &Scene| -> Vec<usize> {
        scene.platform.rows("ws_one", "user").iter().map(|row| row.syncs).collect()
    };
    assert_eq!((syncs(&scene), scene.platform.calls_to("sync").len()), (vec![1, 1, 1, 1, 0, 0, 0], 1));
    // From now on a failing source no longer blocks others.
    let sync = scene.wellspring(&["sync"]);
    assert_eq!((sync.code, syncs(&scene)), (Some(1), vec![2, 2, 2, 2, 0, 1, 1]), "{sync:#?}");
    scene.platform.semantics(|semantics| semantics.refused_syncs.clear());
    scene.wellspring(&["sync"]);
    scene.platform.forget_calls();
    assert_eq!(scene.wellspring(&["sync"]).code, Some(0));
    assert_eq!(scene.platform.calls_to("sync").len(), 1, "together again");
}

#[test]
fn a_source_that_cannot_be_put_back_is_the_only_one() {
    let keys = ["a", "b", "c", "d", "e", "f"];
    let scene = scene(Semantics { taken: Taken::Conflict, reserved: 4, ..Semantics::default() }, "h1", &keys);
    scene.apply();
    declare(&scene, "h2", &keys);
    let apply = scene.wellspring(&["apply", "-y"]);
    assert_eq!(apply.code, Some(1), "{apply:#?}");
    assert_eq!(scene.platform.names("ws_one", "user").len(), 5, "{apply:#?}");
    assert_eq!(cleaned_up(&scene).len(), 1);
    for _ in 0..3 {
        scene.wellspring(&["apply", "-y"]);
    }
    assert_eq!(scene.platform.names("ws_one", "user").len(), 6, "{:?}", scene.hosts("ws_one"));
    assert_eq!(cleaned_up(&scene).len(), 1, "no other is taken away");
    assert!(scene.hosts("ws_one").contains(&("a".to_owned(), "h2".to_owned())));
}

/// Returns lists that were seen on faulty platforms.
fn odd_lists() -> Vec<(&'static str, Value)> {
    let rows = |rows: Value| json!({"status": "success", "message": "", "data": rows});
    let row = |id: Value, name: &str| json!({"id": id, "name": name, "type": "database"});
    let with = |key: &str, value: Value| {
        let mut list = rows(json!([row(json!("source_1"), "a")]));
        list[key] = value;
        list
    };
    let all = ["a", "b", "c", "d"];
    let each = |row: &dyn Fn(usize, &str) -> Value| {
        rows(all.iter().enumerate().map(|(n, name)| row(n + 1, name)).collect())
    };
    vec![
        ("empty", rows(json!([]))),
        ("short", rows(json!([row(json!("source_1"), "a")]))),
        ("numbers for texts", each(&|n, name| row(json!(n), name))),
        (
            "another kind of id",
            each(&|n, name| json!({"id": format!("source_{n}"), "source_id": format!("x{n}"), "name": name})),
        ),
        ("padded names", each(&|n, name| row(json!(format!("source_{n}")), &format!("{name} ")))),
        ("meta", with("meta", json!({"total": 4, "next": null}))),
        ("meta.next", with("meta", json!({"page": {"next": "/list?after=a"}}))),
        ("warnings", with("warnings", json!(["a shard does not answer"]))),
        ("total", with("total", json!(4))),
    ]
}

#[test]
fn one_odd_list_changes_nothing_and_is_believed_by_nobody() {
    for (what, list) in odd_lists() {
        let scene =
            scene(Semantics { taken: Taken::Duplicate, ..Semantics::default() }, "h1", &["a", "b", "c", "d"]);
        scene.apply();
        declare(&scene, "h1", &["a", "b"]);
        scene.platform.forget_calls();
        for _ in 0..3 {
            scene.platform.script("list", Fault::json(200, &list));
            let apply = scene.wellspring(&["apply", "-y"]);
            assert_eq!(apply.code, Some(1), "{what}: {apply:#?}");
        }
        assert!(scene.platform.writes().is_empty(), "{what}");
        scene.apply();
        assert!(holds(&scene, "h1", &["a", "b"]), "{what}: {:?}", scene.hosts("ws_one"));
        assert_eq!(cleaned_up(&scene).len(), 2, "{what}");
    }
}

#[test]
fn what_an_odd_list_made_us_forget_is_ours_again_when_it_shows() {
    let scene = scene(Semantics { taken: Taken::Duplicate, ..Semantics::default() }, "h1", &[]);
    scene.declare("ws_one", &[("a", "h1"), ("b", "h2")]);
    scene.apply();
    declare(&scene, "h1", &["a"]);
    let empty = json!({"status": "success", "message": "", "data": []});
    for _ in 0..3 {
        scene.platform.script("list", Fault::json(200, &empty));
    }
    // The second list is trusted: the first source is connected again, the other one forgotten.
    scene.wellspring(&["apply", "-y"]);
    scene.platform.heal();
    applies(&scene, 3);
    assert!(holds(&scene, "h1", &["a"]), "{:?}", scene.hosts("ws_one"));
}

#[test]
fn apply_waits_for_a_write_whose_answer_was_lost() {
    let scene = scene(Semantics::default(), "h1", &["a"]);
    let settings = "[platform]\nsettle = \"3s\"\n";
    scene.tree.write("wellspring.toml", settings);
    scene.platform.script("connect", Fault::DropBeforeActing);
    let held = wellspring_testkit::Gate::closed();
    scene.platform.script(
        "list",
        Fault::HoldBeforeActing({
            let open = wellspring_testkit::Gate::closed();
            open.open();
            open
        }),
    );
    scene.platform.script("list", Fault::HoldBeforeActing(held));
    let killed = scene.command(&["apply", "-y"]).spawn();
    wellspring_testkit::until("the connect was sent", || !scene.platform.calls_to("connect").is_empty());
    killed.signal("KILL");
    drop(killed);
    let apply = scene.apply();
    assert!(holds(&scene, "h1", &["a"]), "{apply:#?}");
}

#[test]
fn of_two_states_that_keep_the_same_sources_the_second_one_withholds() {
    for taken in [Taken::Upsert, Taken::Duplicate] {
        let scene = scene(Semantics { taken, ..Semantics::default() }, "h1", &["a"]);
        scene.apply();
        let other = Tree::new();
        let second = |args: &[&str]| {
            let place = [scene.tree.path(), other.path()].map(|path| path.display().to_string());
            let program = Wellspring::new().args(args).args(["-C", &place[0], "--state-dir", &place[1]]);
            program.platform(&scene.platform).run()
        };
        let apply = second(&["apply", "-y"]);
        assert_eq!(apply.code, Some(4), "{taken:?}: {apply:#?}");
        assert!(apply.stdout.contains("another Wellspring state"), "{taken:?}: {apply:#?}");
        second(&["sync"]);
        assert!(scene.platform.calls_to("sync").is_empty(), "{taken:?}");
        scene.apply();
        // The first state is given up.
        let apply = second(&["apply", "-y", "-s", "ws_one/a"]);
        assert_eq!(apply.code, Some(0), "{taken:?}: {apply:#?}");
        declare(&scene, "h2", &["a"]);
        let apply = second(&["apply", "-y"]);
        assert_eq!(apply.code, Some(0), "{taken:?}: {apply:#?}");
        let first = scene.wellspring(&["apply", "-y"]);
        assert_eq!(first.code, Some(4), "{taken:?}: {first:#?}");
        assert_eq!(scene.wellspring(&["apply", "-y"]).code, Some(4), "{taken:?}");
        assert!(holds(&scene, "h2", &["a"]), "{taken:?}: {:?}", scene.hosts("ws_one"));
    }
}

#[test]
fn a_source_that_was_connected_again_was_never_synced() {
    let scene = scene(Semantics::default(), "h1", &["a"]);
    let file = scene.tree.read("workspaces/ws_one.toml");
    let with_sync = file.replace("type = ", "sync = { every = \"1h\", stale_after = \"2h\" }\ntype = ");
    scene.tree.write("workspaces/ws_one.toml", &with_sync);
    scene.apply();
    let due = |scene: &Scene| {
        let sync = scene.wellspring(&["sync", "--due"]);
        assert_eq!(sync.code, Some(0), "{sync:#?}");
        scene.platform.calls_to("sync").len()
    };
    assert_eq!((due(&scene), due(&scene)), (1, 1));
    assert!(scene.wellspring(&["status"]).stdout.contains("fresh"));
    scene.platform.remove("ws_one", "user", "a");
    scene.apply();
    let status = scene.wellspring(&["status"]);
    assert!(status.stdout.contains("never"), "{status:#?}");
    assert_eq!((due(&scene), due(&scene)), (2, 2));
}
