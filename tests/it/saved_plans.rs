//! Tests of saved plans: `plan --out FILE`, then `apply FILE`.

use serde_json::json;
use wellspring_testkit::{CleanupManner, Finished, Scene, Semantics, Taken, Tree, Wellspring};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

fn command(scene: &Scene, args: &[&str], password: &str) -> Wellspring {
    scene.command(args).env("PW", password)
}

fn saved(scene: &Scene) -> String {
    let file = scene.state.join("plan.json").to_str().unwrap().to_owned();
    let finished = command(scene, &["plan", "--out", &file], "canary-one").run();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    file
}

fn apply(scene: &Scene, file: &str) -> Finished {
    command(scene, &["apply", "--yes", file], "canary-one").run()
}

#[track_caller]
fn refused(scene: &Scene, finished: &Finished, why: &str) {
    assert_eq!(finished.code, Some(4), "{finished:#?}");
    assert!(finished.stderr.contains(why), "{finished:#?}");
    assert!(scene.platform.writes().is_empty(), "nothing was done");
}

fn with_secret(scene: &Scene) {
    let text = "[workspace]\nid = \"ws_one\"\n\n[sources.alpha]\ntype = \"database\"\n\n\
                [sources.alpha.connection_config]\nhost = \"a.example.com\"\npassword = \"${PW}\"\n";
    scene.tree.write("workspaces/ws_one.toml", text);
}

#[test]
fn a_saved_plan_is_carried_out_when_nothing_has_moved() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    let file = saved(&scene);
    assert!(scene.platform.writes().is_empty());
    let finished = apply(&scene, &file);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(scene.holds("ws_one", &[A, B]));
    // Once applied, the plan is outdated.
    scene.platform.forget_calls();
    refused(&scene, &apply(&scene, &file), "ws_one/alpha was applied");
}

#[test]
fn a_saved_plan_is_refused_with_the_name_of_what_changed() {
    type Change = fn(&Scene);
    let moves: [(Change, &str); 7] = [
        (
            |scene| scene.declare("ws_one", &[A, ("beta", "x.example.com")]),
            "ws_one/beta changed in the files",
        ),
        (|scene| scene.declare("ws_one", &[A]), "ws_one/beta is no longer declared"),
        (|scene| scene.declare("ws_one", &[A, B, ("c", "c")]), "ws_one/c is new in the files"),
        (|scene| scene.declare("ws_two", &[A]), "the workspace ws_two is new"),
        (
            |scene| scene.tree.write("wellspring.toml", "[platform]\nsettle = \"0s\"\n"),
            "the policy of ws_one",
        ),
        (|scene| _ = scene.someone_adds("ws_one", "beta"), "ws_one/beta is new on the platform"),
        (|scene| drop(scene.apply()), "ws_one/alpha was applied; ws_one/beta was applied"),
    ];
    for (happens, what) in moves {
        let scene = Scene::new();
        scene.declare("ws_one", &[A, B]);
        let file = saved(&scene);
        happens(&scene);
        scene.platform.forget_calls();
        refused(&scene, &apply(&scene, &file), what);
    }
}

#[test]
fn a_saved_plan_does_not_ask_and_holds_wherever_the_directory_lies() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let file = scene.state.join("plan.json").to_str().unwrap().to_owned();
    let finished = scene.wellspring(&["plan", "-o", &file]);
    assert!(finished.stderr.contains(&format!("Saved to {file}")), "{finished:#?}");
    let moved = Tree::with(&[("wellspring.toml", ""), ("workspaces/ws_one.toml", "")]);
    for name in ["wellspring.toml", "workspaces/ws_one.toml"] {
        std::fs::rename(scene.tree.join(name), moved.join(name)).unwrap();
    }
    let apply = Wellspring::new().args(["apply", &file, "--state-dir"]).arg(scene.state.path());
    let finished = apply.dir(moved.path()).platform(&scene.platform).run();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(scene.holds("ws_one", &[A]));
    let mistaken = scene.wellspring(&["plan", "-o", "json"]);
    assert_eq!(mistaken.code, Some(64), "{mistaken:#?}");
    assert!(mistaken.stderr.contains("use `--format json`"), "{mistaken:#?}");
}

#[test]
fn a_rotated_secret_moves_the_plan_and_no_value_is_in_the_file() {
    let scene = Scene::new();
    with_secret(&scene);
    scene.platform.add("ws_one", "user", "other", "api", json!({ "key": "canary-theirs" }));
    let file = saved(&scene);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(!text.contains("canary") && !text.contains("example.com"), "{text}");
    refused(
        &scene,
        &command(&scene, &["apply", "--yes", &file], "canary-two").run(),
        "ws_one/alpha has another secret",
    );
    assert_eq!(apply(&scene, &file).code, Some(0));
}

#[test]
fn what_is_not_compared_does_not_move_the_plan() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.apply();
    scene.declare("ws_one", &[A, B]);
    let file = saved(&scene);
    scene.platform.modify("ws_one", "user", "alpha", |row| row.metadata = json!({ "synced": "just now" }));
    assert_eq!(apply(&scene, &file).code, Some(0));
}

#[test]
fn without_the_same_fingerprint_key_a_saved_plan_is_refused() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let file = saved(&scene);
    let elsewhere = Tree::new();
    let finished = Wellspring::new()
        .args(["apply", "--yes", &file, "-C"])
        .arg(scene.tree.path())
        .arg("--state-dir")
        .arg(elsewhere.path())
        .platform(&scene.platform)
        .run();
    refused(&scene, &finished, "fingerprint key");
}

#[test]
fn a_saved_plan_keeps_to_what_was_asked() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    let file = scene.state.join("plan.json").to_str().unwrap().to_owned();
    assert_eq!(scene.wellspring(&["plan", "-s", "alpha", "--out", &file]).code, Some(0));
    assert_eq!(apply(&scene, &file).code, Some(0));
    assert!(scene.holds("ws_one", &[A]));
    let finished = scene.wellspring(&["apply", "--yes", "--prune", &file]);
    assert_eq!(finished.code, Some(64), "{finished:#?}");
}

#[test]
fn what_a_plan_says_with_flags_is_what_apply_does_with_them_and_with_the_saved_plan() {
    for (flags, left) in [(&[][..], 3), (&["--prune"], 3), (&["--prune", "--max-cleanup", "2"], 1)] {
        for saved in [true, false] {
            let scene = Scene::new();
            scene.tree.write("wellspring.toml", "[platform]\nsettle = \"0s\"\n\n[policy]\nmax_cleanup = 1\n");
            let file = scene.state.join("plan.json").to_str().unwrap().to_owned();
            scene.declare("ws_one", &[A, B, ("gamma", "c.example.com")]);
            scene.apply();
            scene.declare("ws_one", &[A]);
            let rehearsed = scene.wellspring(&[&["plan", "--out", &file], flags].concat());
            let applied = match saved {
                true => scene.wellspring(&["apply", "--yes", &file]),
                false => scene.wellspring(&[&["apply", "--yes"], flags].concat()),
            };
            assert!(applied.stdout.starts_with(&rehearsed.stdout), "{flags:?} {rehearsed:#?} {applied:#?}");
            assert_eq!(applied.code, rehearsed.code, "{flags:?}");
            assert_eq!(scene.platform.names("ws_one", "user").len(), left, "{flags:?}");
        }
    }
}

#[test]
fn what_a_limit_withheld_from_a_saved_plan_is_not_done_when_the_limit_is_another() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.apply();
    scene.platform.forget_calls();
    scene.declare("ws_one", &[A]);
    let host = |limits: &str| {
        scene.state.write("host.toml", limits);
        scene.state.join("host.toml").to_str().unwrap().to_owned()
    };
    let file = scene.state.join("plan.json").to_str().unwrap().to_owned();
    let config = host("[limits]\nmax_cleanup = 0\n");
    let plan = scene.wellspring(&["plan", "--out", &file, "--config", &config]);
    assert_eq!(plan.code, Some(4), "{plan:#?}");
    let config = host("[limits]\nmax_cleanup = 5\n");
    let applied = scene.wellspring(&["apply", "--yes", &file, "--config", &config]);
    refused(&scene, &applied, "ws_one/beta was planned as nothing, and is now planned as `cleanup`");
    let config = host("[limits]\nmax_cleanup = 0\n");
    let applied = scene.wellspring(&["apply", "--yes", &file, "--config", &config]);
    assert_eq!(applied.code, Some(4), "{applied:#?}");
    assert!(scene.platform.writes().is_empty(), "it does what it said");
}

#[test]
fn a_source_that_is_named_is_tried_in_the_plan_as_in_its_execution() {
    let scene = Scene::with(Semantics { taken: Taken::Conflict, ..Semantics::default() });
    scene
        .tree
        .write("wellspring.toml", "[platform]\nsettle = \"0s\"\n\n[policy]\non_conflict = \"withhold\"\n");
    scene.declare("ws_one", &[A]);
    scene.apply();
    scene.declare("ws_one", &[("alpha", "a2.example.com")]);
    assert_eq!(scene.wellspring(&["apply", "--yes"]).code, Some(1));
    let all = scene.wellspring(&["plan"]);
    assert!(!all.stdout.contains("1 to replace"), "it is left alone: {all:#?}");
    let file = scene.state.join("plan.json").to_str().unwrap().to_owned();
    let named = scene.wellspring(&["plan", "-s", "alpha", "--out", &file]);
    assert!(named.stdout.contains("1 to replace"), "{named:#?}");
    scene.platform.forget_calls();
    assert_eq!(apply(&scene, &file).code, Some(1));
    assert_eq!(scene.platform.calls_to("connect").len(), 1, "it was tried");
}

#[test]
fn a_file_that_is_no_saved_plan_is_a_mistake() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    for text in ["", "{}", "[1]", "[workspace]", "{\"kind\":\"wellspring plan\",\"version\":3}"] {
        scene.state.write("odd.json", text);
        let file = scene.state.join("odd.json").to_str().unwrap().to_owned();
        assert_eq!(apply(&scene, &file).code, Some(64), "{text}");
    }
    scene.state.write("odd.json", "{\"kind\":\"wellspring plan\",\"version\":1}");
    let file = scene.state.join("odd.json").to_str().unwrap().to_owned();
    refused(&scene, &apply(&scene, &file), "format 1");
}

#[test]
fn a_recreate_counts_against_the_limit_of_removals() {
    let scene = Scene::with(Semantics { taken: Taken::Conflict, ..Semantics::default() });
    let policy = "[platform]\nsettle = \"0s\"\n\n[policy]\nmax_cleanup = 1\n";
    scene.tree.write("wellspring.toml", policy);
    scene.declare("ws_one", &[A, B]);
    scene.apply();
    scene.platform.forget_calls();
    scene.declare("ws_one", &[("alpha", "a2.example.com"), ("beta", "b2.example.com")]);
    let finished = scene.wellspring(&["apply", "--yes"]);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    assert_eq!(scene.platform.calls_to("cleanup").len(), 1);
    // The same applies to the next pass within the hour.
    assert_eq!(scene.wellspring(&["apply", "--yes"]).code, Some(4));
    assert_eq!(scene.platform.calls_to("cleanup").len(), 1);
    // An edit permits another attempt, and the removals of the hour still count.
    scene.declare("ws_one", &[("alpha", "a2.example.com"), ("beta", "b3.example.com")]);
    assert_eq!(scene.wellspring(&["apply", "--yes"]).code, Some(1));
    assert_eq!(scene.platform.calls_to("cleanup").len(), 1);
}

#[test]
fn a_cleanup_that_the_platform_did_not_carry_out_is_not_told_as_done() {
    let scene = Scene::with(Semantics { cleanup: CleanupManner::OnlySome, ..Semantics::default() });
    let policy = "[platform]\nsettle = \"0s\"\n\n[policy]\nprune = \"owned\"\nmax_cleanup = \"100%\"\n";
    scene.tree.write("wellspring.toml", policy);
    scene.declare("ws_one", &[A, B, ("gamma", "c.example.com")]);
    scene.apply();
    scene.declare("ws_one", &[A]);
    let finished = scene.wellspring(&["apply", "--yes"]);
    assert_eq!(finished.code, Some(1), "{finished:#?}");
    assert_eq!(scene.platform.names("ws_one", "user").len(), 2, "one of two went");
}
