//! Tests of signals: work in progress ends, and nothing new starts.

use wellspring_testkit::{Fault, Gate, Running, Scene, until};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

/// Starts a daemon whose first connect waits at the gate.
fn mid_apply(fault: impl Fn(Gate) -> Fault) -> (Scene, Running, Gate) {
    let scene = Scene::new();
    let gate = Gate::closed();
    scene.platform.script("connect", fault(gate.clone()));
    scene.declare("ws_one", &[A]);
    let daemon = scene.daemon();
    until("it connects", || !scene.platform.calls_to("connect").is_empty());
    (scene, daemon, gate)
}

#[test]
fn a_stop_lets_the_call_under_way_end_and_starts_nothing_new() {
    for signal in ["TERM", "INT"] {
        let (scene, daemon, gate) = mid_apply(Fault::HoldBeforeActing);
        daemon.signal(signal);
        daemon.wait_for_line("stopping");
        scene.declare("ws_two", &[B]);
        gate.open();
        let finished = daemon.finish();
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        assert!(scene.holds("ws_one", &[A]), "{signal}");
        assert_eq!(scene.platform.writes().len(), 1, "{signal}");
        // The write was recorded as well, so nothing is repeated.
        let plan = scene.wellspring(&["plan", "--detailed-exitcode", "-w", "ws_one"]);
        assert_eq!(plan.code, Some(0), "{plan:#?}");
    }
}

#[test]
fn a_second_stop_ends_it_at_once() {
    let (scene, daemon, _gate) = mid_apply(Fault::HoldAfterActing);
    daemon.signal("TERM");
    daemon.wait_for_line("stopping");
    daemon.signal("TERM");
    let finished = daemon.finish();
    assert_eq!(finished.code, Some(130), "{finished:#?}");
    // The write is found in the list, and not repeated.
    scene.apply();
    assert_eq!(scene.platform.writes().len(), 1);
}

#[test]
fn a_stop_while_idle_ends_it_with_zero() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let daemon = scene.daemon();
    until("it is connected", || scene.holds("ws_one", &[A]));
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
fn hup_reads_the_files_again_and_looks_at_everything() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let daemon = scene.daemon();
    // A source that vanishes before it was listed would be left alone.
    daemon.wait_for_line("connect done");
    scene.platform.remove("ws_one", "user", "alpha");
    daemon.signal("HUP");
    until("it is put back", || scene.holds("ws_one", &[A]));
    for _ in 0..20 {
        daemon.signal("HUP");
    }
    scene.declare("ws_one", &[A, B]);
    until("a storm of signals does no harm", || scene.holds("ws_one", &[A, B]));
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
fn a_stopped_and_continued_daemon_goes_on() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let daemon = scene.daemon();
    until("it is connected", || scene.holds("ws_one", &[A]));
    daemon.signal("STOP");
    scene.declare("ws_one", &[A, B]);
    daemon.signal("CONT");
    until("it goes on", || scene.holds("ws_one", &[A, B]));
}

#[test]
fn a_second_daemon_on_one_state_refuses_and_harms_nothing() {
    let (scene, daemon, gate) = mid_apply(Fault::HoldBeforeActing);
    let second = scene.daemon().finish();
    assert_eq!(second.code, Some(1), "{second:#?}");
    let who = format!("pid {} (run) already runs for this platform", daemon.pid());
    assert!(second.stderr.contains(&who), "no {who:?} in {second:#?}");
    gate.open();
    until("it is connected", || scene.holds("ws_one", &[A]));
    assert_eq!(scene.platform.writes().len(), 1);
    // A later daemon may start; `apply` may run in parallel at any time.
    scene.apply();
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
    let next = scene.daemon();
    next.wait_for_line("watching");
}
