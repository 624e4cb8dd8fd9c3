//! Tests that the daemon syncs on connect and by schedule, and records each run.

use serde_json::Value;
use wellspring_testkit::{Fault, Gate, Quickstart, Scene, until};

fn runs(history: &Value) -> Vec<(String, String, String)> {
    let text = |run: &Value, key: &str| run[key].as_str().unwrap_or_default().to_owned();
    let runs = history["runs"].as_array().unwrap();
    runs.iter().map(|run| (text(run, "source"), text(run, "trigger"), text(run, "outcome"))).collect()
}

#[test]
fn a_source_syncs_on_connect_and_then_by_its_schedule() {
    let copy = Quickstart::copy();
    copy.edit("workspaces/mobility.toml", "every = \"1h\"", "every = \"1s\"");
    let daemon = copy.command(&["run"]).spawn();
    let mut seen = Vec::new();
    until("it synced by schedule twice", || {
        let history = copy.wellspring(&["history", "--format", "json", "--limit", "100"]);
        // There is no history before the daemon has created its state.
        seen = serde_json::from_str(&history.stdout).map(|history| runs(&history)).unwrap_or_default();
        let scheduled =
            |run: &&(String, String, String)| run.0 == "stations" && run.1 == "schedule" && run.2 == "done";
        seen.iter().filter(scheduled).count() >= 2
    });
    // A firing at the time of the connect counts for both.
    for source in ["fleet", "repairs"] {
        let connect = |run: &&(String, String, String)| run.0 == source && run.1 == "connect";
        assert_eq!(seen.iter().filter(connect).count(), 1, "{seen:?}");
    }
    let stations = wellspring::platform::stored_rows(&copy.storage(), "ws_mobility", "user", "stations");
    assert_eq!(stations.unwrap().len(), 12);
    drop(daemon);
}

fn synced(key: &str, sync: &str, host: &str) -> String {
    format!(
        "[workspace]\nid = \"ws_one\"\n\n[sources.{key}]\ntype = \"database\"\nsync = {{ {sync} }}\n\n\
         [sources.{key}.connection_config]\nhost = \"{host}\"\n"
    )
}

#[test]
fn a_firing_without_an_answer_is_spent() {
    let scene = Scene::new();
    scene.platform.script("sync", Fault::DropAfterActing);
    scene.tree.write("workspaces/one.toml", &synced("alpha", "every = \"1h\"", "a.example.com"));
    let daemon = scene.daemon();
    daemon.wait_for_line("sync without a response");
    let lists = scene.platform.calls_to("list").len();
    daemon.signal("USR1");
    daemon.wait_for_line("checking all workspaces now");
    until("it looked", || scene.platform.calls_to("list").len() > lists);
    assert_eq!(scene.platform.calls_to("sync").len(), 1);
}

#[test]
fn a_replace_waits_for_the_running_sync_and_others_do_not() {
    let scene = Scene::new();
    let gate = Gate::closed();
    scene.platform.script("sync", Fault::HoldAfterActing(gate.clone()));
    scene.tree.write("workspaces/one.toml", &synced("alpha", "every = \"1h\"", "a.example.com"));
    let daemon = scene.daemon();
    until("it syncs", || !scene.platform.calls_to("sync").is_empty());
    scene.tree.write("workspaces/one.toml", &synced("alpha", "every = \"1h\"", "new.example.com"));
    scene.declare("two", &[("beta", "b.example.com")]);
    until("another workspace is served", || scene.holds("two", &[("beta", "b.example.com")]));
    daemon.wait_for_line("a sync of it is running");
    assert!(scene.holds("ws_one", &[("alpha", "a.example.com")]));
    gate.open();
    until("it is replaced right after", || scene.holds("ws_one", &[("alpha", "new.example.com")]));
}

#[test]
fn a_replace_waits_for_a_sync_that_began_during_its_connection_test() {
    let scene = Scene::new();
    let sync = "every = \"1s\", on_connect = false";
    scene.tree.write("workspaces/one.toml", &synced("alpha", sync, "a.example.com"));
    let daemon = scene.daemon();
    until("it syncs", || !scene.platform.calls_to("sync").is_empty());
    let (test, running) = (Gate::closed(), Gate::closed());
    scene.platform.forget_calls();
    scene.platform.script("test-connection", Fault::HoldBeforeActing(test.clone()));
    scene.tree.write("workspaces/one.toml", &synced("alpha", sync, "new.example.com"));
    until("its new definition is tested", || !scene.platform.calls_to("test-connection").is_empty());
    scene.platform.forget_calls();
    scene.platform.script_always("sync", Fault::HoldAfterActing(running.clone()));
    // Any sync that began before has ended once another one begins.
    until("it syncs meanwhile", || !scene.platform.calls_to("sync").is_empty());
    test.open();
    daemon.wait_for_line("a sync of it is running");
    assert!(scene.holds("ws_one", &[("alpha", "a.example.com")]));
    scene.platform.heal();
    running.open();
    until("it is replaced right after", || scene.holds("ws_one", &[("alpha", "new.example.com")]));
}

#[test]
fn only_ours_are_synced_and_always_by_id() {
    let scene = Scene::new();
    scene.someone_adds("ws_one", "upload");
    scene.tree.write("workspaces/one.toml", &synced("alpha", "every = \"1s\"", "a.example.com"));
    let _daemon = scene.daemon();
    until("it synced three times", || scene.platform.calls_to("sync").len() >= 3);
    for call in scene.platform.calls_to("sync") {
        let body = call.json();
        assert_eq!(body["source_ids"].as_array().map(Vec::len), Some(1), "{body}");
        assert_eq!(body["scope"], "user");
    }
    let rows = scene.platform.rows("ws_one", "user");
    assert!(rows.iter().any(|row| row.name == "upload" && row.syncs == 0));
}

#[test]
fn a_schedule_that_is_taken_away_fires_no_more() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", &synced("alpha", "every = \"1s\"", "a.example.com"));
    let daemon = scene.daemon();
    until("it synced by schedule", || scene.platform.calls_to("sync").len() >= 2);
    let other = synced("alpha", "every = \"1000h\", on_connect = false", "a.example.com");
    scene.tree.write("workspaces/one.toml", &other);
    daemon.wait_for_line("schedule done");
    let after = scene.platform.calls_to("sync").len();
    let lists = scene.platform.calls_to("list").len();
    daemon.signal("USR1");
    until("it looked", || scene.platform.calls_to("list").len() > lists);
    // One request may have been in progress when the schedule changed.
    assert!(scene.platform.calls_to("sync").len() <= after + 1);
}
