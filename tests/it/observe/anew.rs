//! A source that is connected anew is another one: no sync of the one before makes its data fresh.

use wellspring_testkit::{Fault, Gate, Running, Scene, Site, json, until, workspace_file};

const SYNC: &str = "sync = { every = \"1000h\", stale_after = \"2000h\", on_connect = ON }\ntype =";

fn declare(scene: &Scene, on_connect: bool) {
    let file = workspace_file("ws_one", &[("alpha", "a.example.com")]);
    let sync = SYNC.replace("ON", if on_connect { "true" } else { "false" });
    scene.tree.write("workspaces/one.toml", &file.replace("type =", &sync));
}

/// A daemon whose only source was connected and synced.
fn synced() -> (Scene, Running, Site) {
    let scene = Scene::new();
    declare(&scene, true);
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("it synced", || site.metric(SUCCESS).is_some());
    (scene, daemon, site)
}

const SUCCESS: &str = "wellspring_source_last_sync_success_timestamp_seconds{workspace=\"ws_one\",scope=\"user\",source=\"alpha\"}";
const PAGE_SIZE: &str = "/workspaces/ws_one/user/alpha";

/// Nothing calls the source fresh: no page, no number, no verb.
#[track_caller]
fn shown_as_never_good(scene: &Scene, site: &Site, text: &str) {
    let row = site.json()["workspaces"]["listed"][0]["sources"]["listed"][0].clone();
    assert_eq!((row["last_success"].is_null(), &row["data"]["text"]), (true, &text.into()), "{row:#}");
    assert_eq!(site.metric(SUCCESS), None);
    assert!(site.get(PAGE_SIZE).body.contains(text));
    let status = json(&scene.wellspring(&["status", "--format", "json"]).stdout);
    assert!(status["sources"][0]["last_success"].is_null(), "{status:#}");
}

#[test]
fn what_the_daemon_connects_anew_was_never_synced_and_is_due_at_once() {
    let (scene, daemon, site) = synced();
    let gate = Gate::closed();
    scene.platform.script("sync", Fault::HoldBeforeActing(gate.clone()));
    scene.platform.remove("ws_one", "user", "alpha");
    daemon.signal("USR1");
    until("it is due at once", || scene.platform.calls_to("sync").len() == 2);
    until("the sync is shown", || site.get(PAGE_SIZE).body.contains("syncing"));
    let row = site.json()["workspaces"]["listed"][0]["sources"]["listed"][0].clone();
    assert!(row["last_success"].is_null(), "{row:#}");
    assert_eq!(site.metric(SUCCESS), None);
    gate.open();
    until("it is fresh again", || site.metric(SUCCESS).is_some());
    // The history stays with the name.
    assert_eq!(
        site.get(PAGE_SIZE).body.matches("<div>connect</div>").count(),
        2,
        "{}",
        site.get(PAGE_SIZE).body
    );
}

#[test]
fn without_a_sync_on_connect_it_stays_never_synced() {
    let (scene, daemon, site) = synced();
    declare(&scene, false);
    until("the edit counts", || site.json()["files"]["read_at"].is_string());
    scene.platform.remove("ws_one", "user", "alpha");
    let connects = scene.platform.calls_to("connect").len();
    until("it is connected anew", || {
        daemon.signal("USR1");
        scene.platform.calls_to("connect").len() > connects
    });
    until("it is shown", || site.metric(SUCCESS).is_none());
    shown_as_never_good(&scene, &site, "never synced");
}

#[test]
fn a_failed_sync_of_the_new_one_is_no_good_one_of_the_old_one() {
    let (scene, daemon, site) = synced();
    scene.platform.script_always("sync", Fault::status(400, "no such table"));
    scene.platform.remove("ws_one", "user", "alpha");
    daemon.signal("USR1");
    until("its sync failed", || site.json()["totals"]["failing"] == 1);
    shown_as_never_good(&scene, &site, "sync failed; no success yet");
    // Nor after a pass that reads the runs anew.
    let lists = scene.platform.calls_to("list").len();
    daemon.signal("USR1");
    until("it looked again", || scene.platform.calls_to("list").len() > lists);
    shown_as_never_good(&scene, &site, "sync failed; no success yet");
    drop(daemon);
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("a new daemon knows of it", || site.json()["totals"]["failing"] == 1);
    shown_as_never_good(&scene, &site, "sync failed; no success yet");
}

#[test]
fn what_another_process_connects_anew_was_never_synced_either() {
    let (scene, daemon, site) = synced();
    scene.platform.script_always("sync", Fault::status(400, "no such table"));
    scene.platform.remove("ws_one", "user", "alpha");
    scene.apply();
    assert_eq!(scene.wellspring(&["sync", "ws_one/alpha"]).code, Some(1));
    daemon.signal("USR1");
    until("the daemon knows of it", || site.json()["totals"]["failing"] == 1);
    shown_as_never_good(&scene, &site, "sync failed; no success yet");
}
