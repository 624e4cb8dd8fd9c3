//! Tests that commands do no work that nobody needs.

use wellspring_testkit::{Opens, Scene};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

#[test]
fn a_plan_opens_the_state_once_however_many_workspaces_there_are() {
    let scene = Scene::new();
    for workspace in ["ws_one", "ws_two", "ws_three"] {
        scene.declare(workspace, &[A]);
    }
    scene.apply();
    let opens = Opens::of(&scene.state.path().join("state.db"));
    for options in [&["plan"][..], &["plan", "--verbose"], &["plan", "--format", "json"]] {
        assert_eq!(scene.wellspring(options).code, Some(0));
        assert_eq!(opens.take(), 1, "{options:?}");
    }
    for workspace in ["ws_one", "ws_two", "ws_three"] {
        scene.declare(workspace, &[A, B]);
    }
    assert!(scene.wellspring(&["plan"]).stdout.contains("3 to connect"));
    assert_eq!(opens.take(), 1, "three workspaces are compared");
}

#[test]
fn the_zones_of_the_host_are_listed_only_for_a_text_with_a_time() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let zones = tempfile::tempdir().unwrap();
    let opens = Opens::of(zones.path());
    let plan = |options: &[&str]| {
        let plan = scene
            .command(options)
            .env("TZDIR", zones.path().to_str().unwrap())
            .env("TZ", "Europe/Rome")
            .run();
        assert_eq!(plan.code, Some(0), "{plan:#?}");
        opens.take()
    };
    assert_eq!(plan(&["plan"]), 0);
    assert_eq!(plan(&["apply", "--yes"]), 0);
    assert_eq!(plan(&["plan"]), 0);
    let text = scene.tree.read("workspaces/ws_one.toml");
    scene
        .tree
        .write("workspaces/ws_one.toml", &text.replace("type = ", "sync = { every = \"6h\" }\ntype = "));
    assert_ne!(plan(&["plan"]), 0, "the next firings are shown in this zone");
}
