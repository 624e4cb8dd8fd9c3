//! Tests of polling on a host without file events.
//!
//! The limits apply to a user namespace of the program, so that no other process is affected.

use wellspring_testkit::{Scene, until};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

#[test]
fn without_instances_or_watches_a_change_is_found_by_looking_and_that_is_said_once() {
    // One watch is not enough for the folders of a project.
    for (limit, most) in [("max_inotify_instances", 0), ("max_inotify_watches", 1)] {
        let scene = Scene::new();
        scene.declare("ws_one", &[A]);
        let script = format!("echo {most} >/proc/sys/user/{limit} && exec \"$@\"");
        let daemon = scene
            .command(&["run", "--interval", "1h"])
            .by_way_of("unshare", ["--map-root-user", "sh", "-c", &script, "sh"])
            .spawn();
        daemon.wait_for_line(
            "file watching is not available (see fs.inotify.max_user_watches and max_user_instances)",
        );
        until("it is connected", || scene.holds("ws_one", &[A]));
        scene.declare("ws_one", &[A, B]);
        until("the change is found", || scene.holds("ws_one", &[A, B]));
        scene.declare("ws_one", &[B]);
        until("the next one too", || scene.holds("ws_one", &[B]));
        assert_eq!(
            daemon.stderr().matches("file watching is not available").count(),
            1,
            "{limit}: {}",
            daemon.stderr()
        );
    }
}
