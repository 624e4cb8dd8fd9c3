//! Tests of log messages and their deduplication.

use serde_json::Value;
use wellspring_testkit::{Fault, Gate, Scene, until};

const A: (&str, &str) = ("alpha", "a.example.com");

#[test]
fn a_json_line_names_workspace_source_action_and_the_pass_that_the_journal_names() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let daemon = scene.command(&["run", "--interval", "1h", "--log-format", "json"]).spawn();
    daemon.wait_for_line("connect done");
    daemon.signal("TERM");
    let finished = daemon.finish();
    let lines: Vec<Value> = finished
        .stderr
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    let told = |message: &str| lines.iter().find(|line| line["message"] == message).unwrap();
    let (planned, done) = (told("planned"), told("connect done"));
    for (field, value) in
        [("level", "INFO"), ("workspace", "ws_one"), ("source", "alpha"), ("action", "connect")]
    {
        assert_eq!(done[field], value, "{done}");
    }
    assert!(!done["pass"].as_str().unwrap().is_empty(), "{done}");
    assert_eq!(done["pass"], planned["pass"]);
    let history = scene.wellspring(&["history", "--changes", "--format", "json"]);
    let history: Value = serde_json::from_str(&history.stdout).unwrap();
    assert_eq!(history["changes"][0]["pass"], done["pass"], "{history}");
}

#[test]
fn a_pass_that_stops_halfway_every_time_is_told_once() {
    let scene = Scene::new();
    let open = Gate::closed();
    open.open();
    for _ in 0..100 {
        scene.platform.script("list", Fault::HoldBeforeActing(open.clone()));
        scene.platform.script("list", Fault::status(403, "not yours"));
    }
    scene.platform.script_always("connect", Fault::DropBeforeActing);
    scene.declare("ws_one", &[A]);
    let daemon = scene.command(&["run", "--interval", "1s"]).spawn();
    daemon.wait_for_line("pass stopped");
    let connects = || scene.platform.calls_to("connect").len();
    for _ in 0..3 {
        let before = connects();
        daemon.signal("USR1");
        until("it tried again", || connects() > before);
    }
    daemon.signal("TERM");
    let told = daemon.finish().stderr;
    assert_eq!(told.matches("pass stopped").count(), 1, "{told}");
}

#[test]
fn a_list_that_fails_and_repeats_a_secret_is_told_without_it_from_the_first_pass_on() {
    const WORKSPACES: usize = 12;
    let scene = Scene::new();
    let mut command = scene.command(&["run", "--interval", "1h"]).env("WELLSPRING_LOG", "trace");
    // More workspaces than can resolve secrets while the list request runs, each with its own secret.
    for n in 0..WORKSPACES {
        let (workspace, secret) = (format!("ws_{n}"), format!("hunter2-canary-{n:02}"));
        scene.tree.write(
            &format!("{workspace}.toml"),
            &format!(
                "[workspace]\nid = \"{workspace}\"\n\n[sources.crm]\ntype = \"database\"\n\
                 connection_config = {{ host = \"db\", password = \"${{CANARY_{n}}}\" }}\n"
            ),
        );
        let refused = Fault::status(422, &format!("no list for {secret}"));
        scene.platform.script_for(&workspace, "list", refused);
        command = command.env(&format!("CANARY_{n}"), &secret);
    }
    let daemon = command.spawn();
    until("every list was told", || {
        let told = daemon.stderr();
        assert!(!told.contains("hunter2-canary"), "{told}");
        told.matches("message withheld").count() >= WORKSPACES
    });
}
