//! Tests of a lost list after a write: connected sources are still managed.

use wellspring_testkit::{Fault, Gate, Scene};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

/// Connects alpha and beta, with a failing list afterwards.
fn connected_unseen(file: &str) -> Scene {
    let scene = Scene::new();
    scene.tree.write("workspaces/ws_one.toml", file);
    let pass = Gate::closed();
    pass.open();
    scene.platform.script("list", Fault::HoldBeforeActing(pass));
    for _ in 0..2 {
        scene.platform.script("list", Fault::status(403, "not now"));
    }
    let apply = scene.wellspring(&["apply", "-y"]);
    assert_eq!(apply.code, Some(1), "{apply:#?}");
    assert!(scene.holds("ws_one", &[A, B]));
    scene.platform.heal();
    scene
}

#[test]
fn its_block_may_be_deleted_and_it_is_cleaned_up() {
    let scene = connected_unseen(&wellspring_testkit::workspace_file("ws_one", &[A, B]));
    scene.declare("ws_one", &[A]);
    scene.apply();
    assert!(scene.holds("ws_one", &[A]));
}

#[test]
fn its_protection_outlives_its_block() {
    let file = wellspring_testkit::workspace_file("ws_one", &[A, B]);
    let scene = connected_unseen(&file.replace("[sources.beta]\n", "[sources.beta]\nprotect = true\n"));
    scene.declare("ws_one", &[A]);
    let apply = scene.wellspring(&["apply", "-y"]);
    assert_eq!(apply.code, Some(4), "{apply:#?}");
    assert!(apply.stdout.contains("but protected"), "{apply:#?}");
    assert!(scene.holds("ws_one", &[A, B]));
}
