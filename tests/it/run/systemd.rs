//! Tests of notifications to the service manager, over a real socket.

use std::time::Duration;
use wellspring_testkit::{Datagrams, Fault, Gate, Running, Scene, until};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

/// Starts a daemon with a service manager.
///
/// The service manager kills it after `watchdog` microseconds of silence.
fn managed(scene: &Scene, watchdog: Option<u64>) -> (Running, Datagrams) {
    let socket = Datagrams::at(&scene.state.join("notify.socket"));
    let mut command =
        scene.command(&["run", "--interval", "1h"]).env("NOTIFY_SOCKET", socket.path().as_os_str());
    if let Some(microseconds) = watchdog {
        command = command.env("WATCHDOG_USEC", microseconds.to_string());
    }
    (command.spawn(), socket)
}

/// Waits for a message with this assignment and returns the whole message.
#[track_caller]
fn told(socket: &mut Datagrams, wanted: &str) -> String {
    socket.until(wanted, |heard| {
        let text = String::from_utf8_lossy(heard).into_owned();
        text.lines().any(|line| line.starts_with(wanted)).then_some(text)
    })
}

#[test]
fn it_is_ready_once_the_files_were_read_and_says_how_things_stand() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    let (daemon, mut socket) = managed(&scene, None);
    assert_eq!(told(&mut socket, "READY="), "READY=1\n");
    assert_eq!(socket.heard(), ["STATUS=Reading the files\n", "READY=1\n"]);
    told(&mut socket, "STATUS=2 sources in 1 workspace");
    scene.tree.write("workspaces/broken.toml", "oops = [");
    told(&mut socket, "STATUS=1 error in the files; 2 sources in 1 workspace");
    scene.tree.remove("workspaces/broken.toml");
    told(&mut socket, "STATUS=2 sources in 1 workspace");
    scene.platform.script_always("list", Fault::status(403, "not yours"));
    daemon.signal("USR1");
    told(&mut socket, "STATUS=1 workspace failing; 2 sources in 1 workspace");
    scene.platform.script_always("list", Fault::status(401, "who are you?"));
    daemon.signal("USR1");
    told(&mut socket, "STATUS=the platform refuses the token; ");
}

#[test]
fn files_that_cannot_be_read_do_not_keep_it_from_being_ready() {
    let scene = Scene::new();
    scene.tree.write("workspaces/broken.toml", "oops = [");
    let (_daemon, mut socket) = managed(&scene, None);
    told(&mut socket, "READY=1");
    told(&mut socket, "STATUS=1 error in the files");
}

#[test]
fn a_reload_is_announced_with_its_time_and_ends_when_the_files_were_read() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let (daemon, mut socket) = managed(&scene, None);
    told(&mut socket, "READY=1");
    for _ in 0..2 {
        daemon.signal("HUP");
        let message = told(&mut socket, "RELOADING=1");
        let time = message.lines().find_map(|line| line.strip_prefix("MONOTONIC_USEC="));
        assert!(time.unwrap().parse::<u64>().unwrap() > 0, "{message}");
        told(&mut socket, "READY=1");
    }
    // In a storm of reloads, every announced reload ends.
    for _ in 0..20 {
        daemon.signal("HUP");
    }
    scene.declare("ws_one", &[A, B]);
    told(&mut socket, "STATUS=2 sources");
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
    told(&mut socket, "STOPPING=1");
    let heard = socket.heard();
    let count = |what: &str| heard.iter().filter(|heard| heard.starts_with(what)).count();
    assert!(count("RELOADING=1") >= 3, "{heard:#?}");
    assert_eq!(count("READY=1"), count("RELOADING=1") + 1, "{heard:#?}");
}

#[test]
fn a_stop_is_announced_before_what_is_under_way_has_ended() {
    let scene = Scene::new();
    let gate = Gate::closed();
    scene.platform.script("connect", Fault::HoldBeforeActing(gate.clone()));
    scene.declare("ws_one", &[A]);
    let (daemon, mut socket) = managed(&scene, Some(40_000));
    until("it connects", || !scene.platform.calls_to("connect").is_empty());
    daemon.signal("TERM");
    told(&mut socket, "STOPPING=1");
    told(&mut socket, "STATUS=Shutting down after the requests in flight");
    // The watchdog must be pinged meanwhile.
    for _ in 0..3 {
        told(&mut socket, "WATCHDOG=1");
    }
    gate.open();
    assert_eq!(daemon.finish().code, Some(0));
    assert!(scene.holds("ws_one", &[A]));
}

#[test]
fn the_watchdog_hears_of_it_while_the_loop_comes_round_and_only_then() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let (_daemon, mut socket) = managed(&scene, Some(40_000));
    // The test must receive every message, because a full socket would block the daemon.
    until("it is connected", || {
        socket.within(Duration::from_millis(1)).is_some() && scene.holds("ws_one", &[A])
    });
    for _ in 0..10 {
        told(&mut socket, "WATCHDOG=1");
    }
    // The loop waits for the state, which another connection has locked.
    let state = rusqlite::Connection::open(scene.state.join("state.db")).unwrap();
    state.execute_batch("BEGIN IMMEDIATE").unwrap();
    scene.declare("ws_two", &[B]);
    until("nothing is heard any more", || socket.within(Duration::from_secs(2)).is_none());
    state.execute_batch("ROLLBACK").unwrap();
    told(&mut socket, "WATCHDOG=1");
    until("it goes on", || scene.holds("ws_two", &[B]));
}

#[test]
fn a_service_manager_that_is_gone_is_told_of_once_and_keeps_nothing_up() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let daemon = scene
        .command(&["run", "--interval", "1s"])
        .env("NOTIFY_SOCKET", scene.state.join("nobody").as_os_str())
        .spawn();
    until("it is connected", || scene.holds("ws_one", &[A]));
    daemon.signal("TERM");
    let finished = daemon.finish();
    assert_eq!(finished.code, Some(0));
    assert_eq!(finished.stderr.matches("NOTIFY_SOCKET").count(), 1, "{}", finished.stderr);
}
