//! Tests of sources that move to another workspace, and of fields that others add.

use serde_json::json;
use wellspring_testkit::{Fault, Scene, until};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

fn connected() -> Scene {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.declare("ws_two", &[]);
    scene.apply();
    scene
}

#[test]
fn a_source_that_moves_is_removed_after_it_is_connected_elsewhere() {
    let scene = connected();
    scene.declare("ws_one", &[B]);
    scene.declare("ws_two", &[A]);
    let plan = scene.wellspring(&["plan"]);
    assert!(plan.stdout.contains("the same source is declared"), "{plan:#?}");
    scene.platform.forget_calls();
    scene.apply();
    assert!(scene.holds("ws_one", &[B]) && scene.holds("ws_two", &[A]));
    let writes: Vec<String> = scene.platform.writes().into_iter().map(|call| call.endpoint).collect();
    assert_eq!(writes, ["connect", "cleanup"]);
}

#[test]
fn a_source_that_moves_stays_while_it_cannot_be_connected_elsewhere() {
    let scene = connected();
    scene.declare("ws_one", &[B]);
    // With an error in it, so that only the key is the same.
    scene.declare("ws_two", &[("alpha", "mistyped.example.com")]);
    scene.platform.script_for("ws_two", "connect", Fault::status(422, "no room"));
    let failed = scene.wellspring(&["apply", "--yes"]);
    assert_eq!(failed.code, Some(1), "{failed:#?}");
    assert!(scene.holds("ws_one", &[A, B]) && scene.holds("ws_two", &[]), "{failed:#?}");
    scene.tree.write("workspaces/ws_two.toml", "[workspace]\nid = \"ws_two\"\n[sources.alpha]\ntype =\n");
    scene.wellspring(&["apply", "--yes"]);
    assert!(scene.holds("ws_one", &[A, B]));
    scene.declare("ws_two", &[A]);
    scene.apply();
    assert!(scene.holds("ws_one", &[B]) && scene.holds("ws_two", &[A]));
}

#[test]
fn the_daemon_removes_a_source_that_moves_once_it_is_connected_elsewhere() {
    let scene = connected();
    let _daemon = scene.daemon();
    scene.platform.script_for("ws_two", "connect", Fault::status(422, "no room"));
    scene.declare("ws_two", &[A]);
    scene.declare("ws_one", &[B]);
    until("it moved", || scene.holds("ws_one", &[B]) && scene.holds("ws_two", &[A]));
    let writes = scene.platform.writes();
    let at = |endpoint: &str| writes.iter().rposition(|call| call.endpoint == endpoint);
    assert!(at("connect") < at("cleanup"), "{writes:#?}");
}

#[test]
fn a_key_that_someone_adds_is_removed_again_and_one_of_the_platform_stays() {
    let scene = connected();
    let host = "a.example.com";
    let add = |value: &str| {
        scene.platform.modify("ws_one", "user", "alpha", |row| {
            row.connection_config = json!({ "host": host, "tables": [value] });
        });
    };
    for _ in 0..2 {
        add("users");
        let plan = scene.wellspring(&["plan"]);
        assert!(plan.stdout.contains("tables"), "{plan:#?}");
        scene.apply();
        let row = &scene.platform.rows("ws_one", "user")[0];
        assert_eq!(row.connection_config, json!({ "host": host }));
    }
    // A value that differs each time it reappears is not set by others.
    add("at 12:00");
    let plan = scene.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
}
