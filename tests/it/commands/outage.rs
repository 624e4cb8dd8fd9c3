//! A platform that fails as a whole is told once, not once for each workspace or source.

use wellspring_testkit::{Fault, Scene, json, nobody_listens};

const SOURCE: (&str, &str) = ("a", "a.example.com");

fn three() -> Scene {
    let scene = Scene::new();
    for workspace in ["ws_one", "ws_two", "ws_three"] {
        scene.declare(workspace, &[SOURCE]);
    }
    scene
}

#[test]
fn a_platform_out_of_reach_is_told_once_by_plan_apply_and_test() {
    let scene = three();
    let away = nobody_listens();
    for args in [&["plan"][..], &["apply", "-y"], &["test"], &["plan", "--test"]] {
        let run = scene.command(args).args(["--url", &away]).run();
        assert_eq!(run.code, Some(1), "{run:#?}");
        assert_eq!(run.stdout.matches("cannot be reached").count(), 1, "{args:?}: {run:#?}");
        assert!(["ws_one", "ws_two", "ws_three"].iter().all(|name| run.stdout.contains(name)), "{run:#?}");
    }
    // For programs, each has its reason.
    let told = scene.command(&["test", "--format", "json"]).args(["--url", &away]).run();
    let tests = json(&told.stdout)["tests"].as_array().unwrap().clone();
    assert!(
        tests.iter().all(|test| test["message"].as_str().unwrap().contains("cannot be reached")),
        "{tests:?}"
    );
    assert_eq!(tests.len(), 3);
}

#[test]
fn a_platform_that_refuses_every_sync_alike_is_told_once() {
    let scene = three();
    scene.apply();
    scene.platform.script_always("sync", Fault::status(401, "token expired"));
    let sync = scene.wellspring(&["sync"]);
    assert_ne!(sync.code, Some(0), "{sync:#?}");
    assert_eq!(sync.stdout.lines().count(), 1, "{sync:#?}");
    assert!(sync.stdout.starts_with("✗ 3 sources not synced: "), "{sync:#?}");
    for name in ["ws_one/a", "ws_two/a", "ws_three/a"] {
        assert!(sync.stdout.contains(name), "{sync:#?}");
    }
}
