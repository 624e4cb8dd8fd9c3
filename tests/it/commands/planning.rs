//! Tests of the output of `plan` and `apply`, and of unchanged files.

use serde_json::{Value, json};
use wellspring_testkit::{Finished, Quickstart, Scene, Wellspring, files_below};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

/// Parses the output; stdout must contain nothing else.
#[track_caller]
fn answer(finished: &Finished) -> Value {
    serde_json::from_str(&finished.stdout).unwrap_or_else(|error| panic!("{error}: {finished:#?}"))
}

#[test]
fn plan_right_after_apply_says_that_nothing_changes() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.declare("ws_two", &[A]);
    let before = scene.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(before.code, Some(2), "{before:#?}");
    assert!(before.stdout.contains("Plan: 3 to connect."), "{before:#?}");
    scene.apply();
    let after = scene.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(after.code, Some(0), "{after:#?}");
    assert!(after.stdout.to_lowercase().contains("no changes"), "{after:#?}");
    let writes = scene.platform.writes().len();
    let again = scene.apply();
    assert_eq!(scene.platform.writes().len(), writes, "{again:#?}");
}

#[test]
fn what_is_wrong_stands_first_and_no_changes_is_not_said_over_it() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.declare("ws_two", &[A, B]);
    scene.apply();
    scene.tree.write("workspaces/broken.toml", "[workspace]\nid = \"ws_new\"\nnothing = 1\n");
    let plan = scene.wellspring(&["plan"]);
    assert_eq!(plan.code, Some(3), "{plan:#?}");
    assert!(plan.stdout.starts_with("x   1 file rejected because of errors"), "{plan:#?}");
    let sum = "Nothing planned: 1 file rejected. 3 sources in 2 workspaces are up to date.";
    assert!(plan.stdout.ends_with(&format!("{sum}\n")), "{plan:#?}");
    let comment = scene.wellspring(&["plan", "--format", "markdown"]).stdout;
    assert!(comment.contains(&format!("**{sum}**\n\n- 1 file rejected")), "{comment}");
    scene.declare("ws_one", &[A, B]);
    let done = scene.wellspring(&["apply", "--yes"]);
    let last = "Partly done: 1 connected; not done: 1 file rejected.\n";
    assert!(done.stdout.ends_with(last), "{done:#?}");
    scene.tree.remove("workspaces/broken.toml");
    scene.tree.remove("workspaces/ws_two.toml");
    let plan = scene.wellspring(&["plan"]);
    assert!(
        plan.stdout.starts_with("!   workspace ws_two is no longer declared; its 2 sources"),
        "{plan:#?}"
    );
    assert!(plan.stdout.contains("Nothing planned: 1 workspace no longer declared."), "{plan:#?}");
    let plan = answer(&scene.wellspring(&["plan", "--format", "json"]));
    assert_eq!(plan["orphaned"], json!([{"workspace_id": "ws_two", "scope": "user", "sources": 2}]));
    let state = tempfile::tempdir().unwrap();
    let lost = Wellspring::new().args(["plan", "-C"]).arg(scene.tree.path()).arg("--state-dir");
    let lost = lost.arg(state.path()).platform(&scene.platform).run();
    assert!(lost.stdout.contains("ownership unknown (no state)"), "{lost:#?}");
}

#[test]
fn a_plan_shows_the_attributes_of_what_is_new_and_both_values_of_what_changes() {
    let scene = Scene::new();
    let file = wellspring_testkit::workspace_file("ws_one", &[A]);
    let declare = |host: &str, team: &str| {
        let metadata =
            format!("{file}\npassword = \"${{PW}}\"\n\n[sources.alpha.metadata]\nteam = \"{team}\"\n");
        scene.tree.write("workspaces/ws_one.toml", &metadata.replace("a.example.com", host));
    };
    let run = |args: &[&str]| scene.command(args).env("PW", "hunter2").run();
    declare("a.example.com", "one");
    let plan = run(&["plan"]).stdout;
    for line in ["type           \"database\"", "${PW} (sensitive)", "metadata.team  \"one\""] {
        assert!(plan.contains(line), "{plan}");
    }
    run(&["apply", "--yes"]);
    declare("a.example.com", "two");
    let withheld = run(&["plan"]).stdout;
    assert!(withheld.contains("withheld") && withheld.contains("\"one\" -> \"two\""), "{withheld}");
    declare("b.example.com", "two");
    let replace = run(&["plan"]).stdout;
    assert!(replace.contains("-/+ alpha") && replace.contains("synced data may be lost"), "{replace}");
    run(&["apply", "--yes"]);
    declare("b.example.com", "three");
    let update = run(&["plan"]).stdout;
    assert!(update.contains("~   alpha           update"), "{update}");
    assert!(update.contains("Plan: 1 to update in place."), "{update}");
}

#[test]
fn plan_writes_nothing_anywhere() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let tree = files_below(scene.tree.path());
    scene.wellspring(&["plan"]);
    scene.command(&["plan", "--format", "json"]).run();
    assert!(files_below(scene.state.path()).is_empty());
    assert_eq!(files_below(scene.tree.path()), tree);
    scene.apply();
    let state = files_below(scene.state.path());
    scene.declare("ws_one", &[B]);
    for args in [&["plan"][..], &["plan", "--format", "markdown"], &["history"], &["test"]] {
        scene.wellspring(args);
    }
    assert_eq!(files_below(scene.state.path()), state);
    assert_eq!(scene.platform.writes().len(), 1);
}

#[test]
fn plan_tests_what_it_would_send_when_asked_and_changes_nothing() {
    let copy = Quickstart::copy();
    copy.edit("workspaces/workshop.toml", "data/repairs.jsonl", "data/nowhere.jsonl");
    assert_eq!(copy.wellspring(&["plan"]).code, Some(0));
    let plan = copy.wellspring(&["plan", "--test"]);
    assert_eq!(plan.code, Some(1), "{plan:#?}");
    assert!(plan.stdout.contains("connection test failed: "), "{plan:#?}");
    assert!(plan.stdout.starts_with("x   1 connection test failed: workshop/"), "{plan:#?}");
    assert!(plan.stdout.ends_with(" 1 connection test failed.\n"), "{plan:#?}");
    let plan = answer(&copy.wellspring(&["plan", "--test", "--format", "json"]));
    let passed = |workspace: usize, action: usize| {
        plan["workspaces"][workspace]["actions"][action]["test"]["passed"].clone()
    };
    assert_eq!([passed(0, 0), passed(0, 1), passed(1, 0)], [json!(true), json!(true), json!(false)]);
    copy.edit("workspaces/workshop.toml", "data/nowhere.jsonl", "data/repairs.jsonl");
    assert_eq!(copy.wellspring(&["plan", "--test"]).code, Some(0));
    assert!(!copy.tree.join(".wellspring").exists());
}

#[test]
fn plan_on_the_local_platform_creates_no_file() {
    let copy = Quickstart::copy();
    let before = files_below(copy.tree.path());
    let plan = copy.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(2), "{plan:#?}");
    assert_eq!(files_below(copy.tree.path()), before);
    copy.wellspring(&["apply", "-y"]);
    let names: Vec<String> = files_below(copy.tree.path()).into_keys().collect();
    copy.wellspring(&["plan"]);
    assert_eq!(files_below(copy.tree.path()).into_keys().collect::<Vec<_>>(), names);
}

#[test]
fn of_two_alike_that_were_connected_together_either_goes_with_its_block_and_a_rename_stays() {
    const ALIKE: &str = "same.example.com";
    for (left, gone) in [("a", "b"), ("b", "a")] {
        let scene = Scene::new();
        scene.declare("ws_one", &[("a", ALIKE), ("b", ALIKE)]);
        scene.apply();
        scene.declare("ws_one", &[(left, ALIKE)]);
        scene.apply();
        assert!(scene.holds("ws_one", &[(left, ALIKE)]), "{gone} is gone");
        scene.declare("ws_one", &[(gone, ALIKE)]);
        for _ in 0..3 {
            let again = scene.apply();
            assert!(again.stdout.contains("a rename?"), "{again:#?}");
            assert!(scene.holds("ws_one", &[("a", ALIKE), ("b", ALIKE)]));
        }
    }
}

#[test]
fn a_rename_in_two_saves_removes_nothing_without_being_asked_about() {
    const ALIKE: &str = "same.example.com";
    let scene = Scene::new();
    for declared in [vec![("old", ALIKE)], vec![("old", ALIKE), ("new", ALIKE)], vec![("new", ALIKE)]] {
        scene.declare("ws_one", &declared);
        scene.apply();
    }
    let last = scene.apply();
    assert!(last.stdout.contains("a rename?"), "{last:#?}");
    assert!(scene.holds("ws_one", &[("new", ALIKE), ("old", ALIKE)]));
}

#[test]
fn a_copy_that_came_later_goes_with_its_block() {
    const ALIKE: &str = "same.example.com";
    let scene = Scene::new();
    for declared in [vec![("old", ALIKE)], vec![("old", ALIKE), ("copy", ALIKE)], vec![("old", ALIKE)]] {
        scene.declare("ws_one", &declared);
        scene.apply();
    }
    assert!(scene.holds("ws_one", &[("old", ALIKE)]));
}

#[test]
fn a_suspected_rename_comes_with_both_lines_to_write() {
    let scene = Scene::new();
    scene.declare("ws_one", &[("\"cafe\u{301}\"", "a.example.com")]);
    scene.apply();
    scene.declare("ws_one", &[("\"th\u{e9}\"", "a.example.com")]);
    let moved = "write `\"cafe\u{301}\" = \"th\u{e9}\"` under [moved]";
    let removed = "write `[removed.\"cafe\u{301}\"]` with `action = \"cleanup\"`";
    let plan = scene.wellspring(&["plan", "--format", "json"]);
    let allow = answer(&plan)["workspaces"][0]["withheld"][0]["allow"].to_string().replace("\\\"", "\"");
    assert!(allow.contains(moved) && allow.contains(removed), "{allow}");
}

#[test]
fn the_json_of_a_plan_has_the_documented_shape() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.apply();
    scene.someone_adds("ws_one", "upload");
    scene.tree.write("wellspring.toml", "[platform]\nsettle = \"0s\"\n\n[workspaces]\none = \"ws_one\"\n");
    scene.declare("ws_one", &[("alpha", "new.example.com"), ("gamma", "c.example.com")]);
    let finished = scene.wellspring(&["plan", "--format", "json"]);
    let plan = answer(&finished);
    assert_eq!(plan["format_version"], 1);
    assert_eq!(plan["complete"], true);
    let summary = &plan["summary"];
    for (count, of) in [
        (1, "connect"),
        (1, "replace"),
        (0, "cleanup"),
        (0, "adopt"),
        (0, "forget"),
        (0, "schedule"),
        (0, "unchanged"),
        (1, "withheld"),
        (1, "unmanaged"),
        (0, "suspended"),
        (0, "failed"),
    ] {
        assert_eq!(summary[of], count, "{of}: {summary}");
    }
    let workspace = &plan["workspaces"][0];
    assert_eq!((&workspace["workspace_id"], &workspace["scope"]), (&json!("ws_one"), &json!("user")));
    assert_eq!(workspace["error"], Value::Null);
    let replace =
        workspace["actions"].as_array().unwrap().iter().find(|action| action["action"] == "replace").unwrap();
    assert_eq!((&replace["source"], &replace["name"]), (&json!("alpha"), &json!("alpha")));
    assert_eq!((&replace["file"], &replace["line"]), (&json!("workspaces/ws_one.toml"), &json!(4)));
    assert_eq!(replace["reason"], "connection_config changed");
    assert!(replace["source_id"].is_string());
    let change = &replace["changes"][0];
    assert_eq!(change["path"], "connection_config.host");
    assert_eq!((&change["before"], &change["after"]), (&json!("a.example.com"), &json!("new.example.com")));
    assert_eq!(change["sensitive"], false);
    let withheld = &workspace["withheld"][0];
    for field in ["action", "allow", "code", "file", "line", "name", "reason", "source"] {
        assert!(!withheld[field].is_null(), "{field}: {withheld}");
    }
    assert_eq!((&withheld["source"], &withheld["action"]), (&json!("beta"), &json!("cleanup")));
    let unmanaged = &workspace["unmanaged"][0];
    assert_eq!((&unmanaged["name"], &unmanaged["type"]), (&json!("upload"), &json!("database")));
    assert!(unmanaged["source_id"].is_string());
}

#[test]
fn the_json_of_an_apply_has_an_outcome_for_each_action() {
    let scene = Scene::new();
    scene.platform.semantics(|semantics| semantics.refused = vec!["beta".to_owned()]);
    scene.declare("ws_one", &[A, B, ("locked", "${NOT_SET_HERE}")]);
    let finished = scene.wellspring(&["apply", "-y", "--format", "json"]);
    let applied = answer(&finished);
    assert_eq!(finished.code, Some(1));
    let actions = applied["workspaces"][0]["actions"].as_array().unwrap();
    let of = |name: &str| actions.iter().find(|action| action["source"] == name).unwrap();
    assert_eq!(of("alpha")["outcome"], "done");
    assert_eq!(of("beta")["outcome"], "failed");
    assert!(of("beta")["error"].is_string());
    assert_eq!(of("locked")["outcome"], "skipped");
    assert!(of("locked")["because"].as_str().unwrap().contains("NOT_SET_HERE"));
    assert_eq!(applied["summary"]["failed"], 1);
    assert!(scene.holds("ws_one", &[A]));
}

#[test]
fn every_json_answer_stands_alone_on_stdout() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.tree.write("workspaces/broken.toml", "[sources.x]\n");
    scene.wellspring(&["apply", "-y"]);
    for (verb, key) in [
        (&["plan"][..], "workspaces"),
        (&["apply", "-y"], "workspaces"),
        (&["validate"], "errors"),
        (&["test"], "tests"),
        (&["sync"], "syncs"),
        (&["history"], "runs"),
        (&["history", "--changes"], "changes"),
    ] {
        let finished = scene.command(verb).args(["--format", "json", "-vvv"]).run();
        assert!(answer(&finished)[key].is_array(), "{verb:?} {finished:#?}");
    }
}

#[test]
fn one_change_among_many_is_one_write() {
    let scene = Scene::new();
    let hosts: Vec<(String, String)> =
        (0..120).map(|n| (format!("source_{n:03}"), format!("h{n}.example.com"))).collect();
    let mut sources: Vec<(&str, &str)> =
        hosts.iter().map(|(key, host)| (key.as_str(), host.as_str())).collect();
    scene.declare("ws_one", &sources);
    scene.apply();
    assert_eq!(scene.platform.writes().len(), 2, "a hundred in a call");
    scene.platform.forget_calls();
    sources[7].1 = "new.example.com";
    scene.declare("ws_one", &sources);
    scene.apply();
    let writes = scene.platform.writes();
    assert_eq!(writes.len(), 1);
    assert_eq!(writes[0].json()["sources"].as_array().map(Vec::len), Some(1));
    assert!(scene.holds("ws_one", &sources));
}

#[test]
fn a_selection_is_all_that_is_touched() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.declare("ws_two", &[A]);
    let finished = scene.wellspring(&["apply", "-y", "-s", "ws_one/alp*"]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(scene.holds("ws_one", &[A]) && scene.holds("ws_two", &[]));
    let nothing = scene.wellspring(&["apply", "-y", "-w", "ws_three"]);
    assert_eq!(nothing.code, Some(64), "{nothing:#?}");
}
