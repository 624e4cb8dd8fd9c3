//! Tests of `doctor`: each check with its fix, and no changes.

use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use wellspring_testkit::{Finished, Quickstart, Scene, Tree, Wellspring, files_below, nobody_listens};

const A: (&str, &str) = ("alpha", "a.example.com");

fn outcomes(finished: &Finished) -> Vec<(String, String)> {
    let json: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(json["format_version"], 1);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let checks = json["checks"].as_array().unwrap();
    for check in checks {
        let wrong = check["outcome"] == "bad" || check["outcome"] == "warning";
        assert_eq!(wrong, check["todo"].is_string(), "{check}");
    }
    checks.iter().map(|check| (text(&check["check"]), text(&check["outcome"]))).collect()
}

fn has(finished: &Finished, check: &str, outcome: &str) {
    let outcomes = outcomes(finished);
    assert!(outcomes.iter().any(|(c, o)| c == check && o == outcome), "no {check} {outcome} in {outcomes:?}");
}

#[test]
fn where_all_is_well_it_says_so_and_changes_nothing() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.apply();
    scene.platform.forget_calls();
    let before = files_below(scene.state.path());
    let finished = scene.wellspring(&["doctor"]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    for check in ["files", "secrets", "watching", "state", "token", "platform", "echo", "clock"] {
        assert!(finished.stdout.contains(&format!(" {check} ")), "{check}: {}", finished.stdout);
    }
    assert!(finished.stdout.ends_with("All checks passed.\n"), "{}", finished.stdout);
    assert!(scene.platform.writes().is_empty());
    assert_eq!(files_below(scene.state.path()), before);
    assert!(!finished.stdout.contains(&scene.platform.token()));
    has(&scene.wellspring(&["doctor", "--format", "json"]), "clock", "good");
}

#[test]
fn each_thing_that_is_wrong_has_its_exit_code_and_what_to_do() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.apply();
    let doctor = |scene: &Scene| scene.wellspring(&["doctor", "--format", "json"]);

    let refused = scene.command(&["doctor", "--format", "json"]).env("PMTX_TOKEN", "another").run();
    assert_eq!(refused.code, Some(5), "{refused:#?}");
    has(&refused, "platform", "bad");

    let missing = scene.command(&["doctor", "--format", "json"]).env("PMTX_TOKEN", "").run();
    assert_eq!(missing.code, Some(5), "{missing:#?}");
    has(&missing, "token", "bad");

    let away = scene.command(&["doctor", "--format", "json"]).env("WELLSPRING_URL", nobody_listens()).run();
    assert_eq!(away.code, Some(1), "{away:#?}");
    has(&away, "platform", "bad");

    scene.tree.write("workspaces/two.toml", "oops = [");
    let invalid = doctor(&scene);
    assert_eq!(invalid.code, Some(3), "{invalid:#?}");
    has(&invalid, "files", "bad");
    has(&invalid, "platform", "good");
    scene.tree.write("workspaces/two.toml", "[workspace]\nid = \"ws_two\"\n\n[sources.x]\ntype = \"api\"\nconnection_config = { host = \"${NOT_SET}\" }\n");
    let unset = doctor(&scene);
    assert_eq!(unset.code, Some(3), "{unset:#?}");
    has(&unset, "secrets", "bad");
    scene.tree.remove("workspaces/two.toml");

    std::fs::write(scene.state.join("state.db"), "this is no database, whatever its name may say").unwrap();
    let damaged = doctor(&scene);
    assert_eq!(damaged.code, Some(1), "{damaged:#?}");
    has(&damaged, "state", "bad");

    let nowhere = scene.command(&["doctor", "/nowhere/at/all", "--format", "json"]).run();
    assert_ne!(nowhere.code, Some(0));
}

#[test]
fn on_the_example_that_comes_along_it_needs_no_token() {
    let copy = Quickstart::copy();
    let finished = copy.wellspring(&["doctor"]);
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(finished.stdout.contains("not needed for the local platform"), "{}", finished.stdout);
}

#[test]
fn where_a_run_could_not_keep_its_state_that_is_told() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let doctor = |dir: &Path| {
        let command = Wellspring::new().args(["doctor", "--format", "json", "-C"]).arg(scene.tree.path());
        let command = command.arg("--state-dir").arg(dir).platform(&scene.platform);
        // Permissions do not apply to the superuser.
        let bound = ["--bounding-set", "-dac_override"];
        if rustix::process::geteuid().is_root() { command.by_way_of("setpriv", bound) } else { command }.run()
    };
    let permit = |dir: &Path, mode| {
        std::fs::set_permissions(dir, std::fs::Permissions::from_mode(mode)).unwrap();
    };
    let above = Tree::new();
    let dir = above.join("below/state");
    has(&doctor(&dir), "state", "good");
    permit(above.path(), 0o555);
    let missing = doctor(&dir);
    assert_eq!(missing.code, Some(1), "{missing:#?}");
    has(&missing, "state", "bad");
    permit(above.path(), 0o755);

    scene.apply();
    for (file, mode) in [("", 0o555), ("state.db", 0o444), ("locks", 0o555), ("processes", 0o555)] {
        let file = scene.state.join(file);
        let before = std::fs::metadata(&file).unwrap().permissions();
        permit(&file, mode);
        let unwritable = doctor(scene.state.path());
        assert_eq!(unwritable.code, Some(1), "{file:?}: {unwritable:#?}");
        has(&unwritable, "state", "bad");
        std::fs::set_permissions(&file, before).unwrap();
    }
    has(&doctor(scene.state.path()), "state", "good");

    std::fs::write(above.join("file"), "").unwrap();
    has(&doctor(&above.join("file")), "state", "bad");
}

#[test]
fn the_advice_on_settings_that_cannot_be_read_is_about_what_is_wrong_with_them() {
    let scene = Scene::new();
    let advice = |args: &[&str], variables: &str| {
        let finished = scene.command(args).env("WELLSPRING_VARIABLES", variables).run();
        assert_eq!(finished.code, Some(3), "{finished:#?}");
        finished.stdout.split_once('→').unwrap().1.to_owned()
    };
    let host = scene.tree.path().join("host.toml");
    std::fs::write(&host, "[daemon]\nmode = \"aply\"\n").unwrap();
    let host = host.to_str().unwrap();
    assert!(
        advice(&["doctor", "--config", host], "").contains("fix the errors shown above in the host file")
    );
    assert!(advice(&["doctor", "--config", "/no/such/file"], "").contains("name a file that exists"));
    assert!(advice(&["doctor"], "[").contains("WELLSPRING_VARIABLES"));
}
