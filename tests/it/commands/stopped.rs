//! Tests of `apply`, `sync` and signals.

use wellspring_testkit::{Fault, Gate, Scene, until};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

#[test]
fn a_stop_lets_the_call_under_way_end_and_starts_nothing_new() {
    for signal in ["TERM", "INT"] {
        let scene = Scene::new();
        scene.declare("ws_one", &[A, B]);
        scene.apply();
        scene.platform.forget_calls();
        let gate = Gate::closed();
        scene.platform.script("connect", Fault::HoldBeforeActing(gate.clone()));
        let changed = ("alpha", "new.example.com");
        scene.declare("ws_one", &[changed]);
        let apply = scene.command(&["apply", "-y"]).spawn();
        until("it connects", || !scene.platform.writes().is_empty());
        apply.signal(signal);
        apply.wait_for_line("Interrupted");
        gate.open();
        let finished = apply.finish();
        assert_eq!(finished.code, Some(130), "{finished:#?}");
        let writes: Vec<_> = scene.platform.writes().into_iter().map(|call| call.endpoint).collect();
        assert_eq!(writes, ["connect"], "nothing new after {signal}");
        assert!(scene.holds("ws_one", &[changed, B]));
        scene.platform.forget_calls();
        scene.apply();
        let writes: Vec<_> = scene.platform.writes().into_iter().map(|call| call.endpoint).collect();
        assert_eq!(writes, ["cleanup"], "only the rest is done");
        assert!(scene.holds("ws_one", &[changed]));
    }
}

#[test]
fn a_second_stop_ends_it_at_once_and_the_next_run_finds_what_was_sent() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let gate = Gate::closed();
    scene.platform.script("connect", Fault::HoldAfterActing(gate));
    let apply = scene.command(&["apply", "-y"]).spawn();
    until("it connects", || scene.holds("ws_one", &[A]));
    apply.signal("TERM");
    // Pending signals of one kind are merged.
    apply.signal("INT");
    let finished = apply.finish();
    assert_eq!(finished.code, Some(130), "{finished:#?}");
    scene.apply();
    assert_eq!(scene.platform.writes().len(), 1);
}

#[test]
fn a_stop_of_sync_tells_what_goes_on_at_the_platform_and_sends_nothing_more() {
    for signal in ["TERM", "INT"] {
        let scene = Scene::new();
        // Different options, so each source needs its own request.
        let source = |key: &str, size: u32| {
            format!(
                "\n[sources.{key}]\ntype = \"database\"\nsync_options = {{ batch_size = {size} }}\n\
                 connection_config = {{ host = \"{key}.example.com\" }}\n"
            )
        };
        let file = format!("[workspace]\nid = \"ws_one\"\n{}{}", source("alpha", 1), source("beta", 2));
        scene.tree.write("workspaces/ws_one.toml", &file);
        scene.apply();
        let gate = Gate::closed();
        scene.platform.script("sync", Fault::HoldBeforeActing(gate.clone()));
        let sync = scene.command(&["sync"]).spawn();
        until("it syncs", || !scene.platform.calls_to("sync").is_empty());
        sync.signal(signal);
        sync.wait_for_line("Interrupted: waiting for ws_one/alpha to finish");
        gate.open();
        let finished = sync.finish();
        assert_eq!(finished.code, Some(130), "{finished:#?}");
        assert!(finished.stdout.contains("ws_one/alpha synced"), "{finished:#?}");
        assert!(finished.stdout.contains("Interrupted: 1 source not synced."), "{finished:#?}");
        assert_eq!(scene.platform.calls_to("sync").len(), 1, "nothing new after {signal}");
    }
}
