//! Tests of scarce resources: the daemon does nothing that it cannot record.

use std::process::Command;
use wellspring_testkit::{Fault, Gate, Running, Scene, Wellspring, until};

/// Limits the size of files, as on a full disk; `unlimited` removes the limit.
fn largest_file(of: &Running, bytes: &str) {
    let pid = of.pid().to_string();
    let set = format!("--fsize={bytes}:");
    assert!(Command::new("prlimit").args(["--pid", &pid, &set]).status().unwrap().success());
}

fn every_second(host: &str) -> String {
    format!(
        "[workspace]\nid = \"ws_one\"\n\n[sources.alpha]\ntype = \"database\"\nsync = {{ every = \"1s\" }}\n\n\
         [sources.alpha.connection_config]\nhost = \"{host}\"\n"
    )
}

#[test]
fn on_a_full_disk_nothing_is_sent_that_cannot_be_recorded_and_then_it_goes_on() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", &every_second("a.example.com"));
    // A process that does not ignore the signal is killed by it.
    let program = Wellspring::after("trap '' XFSZ");
    let mut daemon = scene.here(program, &["run", "--interval", "1h"]).spawn();
    until("it syncs by schedule", || scene.platform.calls_to("sync").len() >= 2);

    largest_file(&daemon, "0");
    daemon.wait_for_line("no sync starts until it can be written again");
    let syncs = scene.platform.calls_to("sync").len();
    scene.declare("two", &[("beta", "b.example.com")]);
    scene.tree.write("workspaces/one.toml", &every_second("new.example.com"));
    daemon.wait_for_line("connect not tried");
    daemon.wait_for_line("replace not tried");
    assert!(!daemon.has_ended());
    assert_eq!(scene.platform.calls_to("sync").len(), syncs, "no sync goes out unclaimed");
    assert!(scene.holds("ws_one", &[("alpha", "a.example.com")]) && scene.holds("two", &[]));

    largest_file(&daemon, "unlimited");
    daemon.wait_for_line("the state can be written again");
    until("it does what it could not", || {
        scene.holds("ws_one", &[("alpha", "new.example.com")])
            && scene.holds("two", &[("beta", "b.example.com")])
    });
    until("it syncs again", || scene.platform.calls_to("sync").len() > syncs + 1);
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
    let history = scene.wellspring(&["history", "--format", "json", "--limit", "1000"]);
    let history: serde_json::Value = serde_json::from_str(&history.stdout).unwrap();
    let runs = history["runs"].as_array().unwrap();
    assert_eq!(runs.len(), scene.platform.calls_to("sync").len(), "every sync is on record, once");
    assert!(runs.iter().all(|run| run["outcome"] == "done"), "{history:#}");
}

#[test]
fn what_was_connected_when_the_disk_filled_is_told_and_settled_once_there_is_room() {
    let scene = Scene::new();
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    let gate = Gate::closed();
    scene.platform.script("connect", Fault::HoldAfterActing(gate.clone()));
    let apply = scene.here(Wellspring::after("trap '' XFSZ"), &["apply", "--yes"]).spawn();
    until("it connects", || scene.platform.calls_to("connect").len() == 1);
    largest_file(&apply, "0");
    gate.open();
    let apply = apply.finish();
    assert_eq!(apply.code, Some(1), "{apply:#?}");
    assert!(apply.stdout.contains("could not be recorded"), "{apply:#?}");
    assert!(!apply.stdout.contains("not tried"), "{apply:#?}");

    assert_eq!(scene.wellspring(&["apply", "--yes"]).code, Some(0));
    assert_eq!(scene.platform.calls_to("connect").len(), 1, "it is not sent again");
    assert!(scene.holds("ws_one", &[("alpha", "a.example.com")]));
}

#[test]
fn where_no_thread_can_start_the_program_says_so() {
    // So large a stack fits nowhere.
    let program = Wellspring::new().env("RUST_MIN_STACK", (1_u64 << 46).to_string());
    let said = Scene::new().here(program, &["validate"]).run();
    assert_eq!(said.code, Some(1), "{said:#?}");
    assert!(said.stderr.contains("cannot start the threads that every command needs"), "{said:#?}");
}

#[test]
fn more_workspaces_are_applied_than_files_may_be_open_at_first() {
    let scene = Scene::new();
    let workspaces: Vec<String> = (0..40).map(|n| format!("ws_{n}")).collect();
    for workspace in &workspaces {
        scene.declare(workspace, &[("alpha", "a.example.com")]);
    }
    let applied = scene.here(Wellspring::after("ulimit -S -n 32"), &["apply", "--yes"]).run();
    assert_eq!(applied.code, Some(0), "{}", applied.stderr);
    assert!(workspaces.iter().all(|workspace| scene.holds(workspace, &[("alpha", "a.example.com")])));
}

#[test]
fn sixteen_descriptors_are_enough() {
    let scene = Scene::new();
    let few = || Wellspring::after("ulimit -n 16");
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    let applied = scene.here(few(), &["apply", "--yes"]).run();
    assert_eq!(applied.code, Some(0), "{applied:#?}");
    let daemon = scene.here(few(), &["run", "--interval", "1h"]).spawn();
    scene.declare("ws_one", &[("alpha", "new.example.com")]);
    scene.declare("ws_two", &[("beta", "b.example.com")]);
    until("both are served", || {
        scene.holds("ws_one", &[("alpha", "new.example.com")])
            && scene.holds("ws_two", &[("beta", "b.example.com")])
    });
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
}

#[test]
fn the_program_is_built_to_give_memory_back() {
    let program = Wellspring::new();
    let said = program.env("MALLOC_CONF", "confirm_conf:true").args(["--version"]).run().stderr;
    for built_in in
        ["narenas:1", "lg_tcache_max:9", "background_thread:true", "dirty_decay_ms:500", "muzzy_decay_ms:0"]
    {
        assert!(said.contains(&format!("Set conf value: {built_in}\n")), "{said}");
    }
}
