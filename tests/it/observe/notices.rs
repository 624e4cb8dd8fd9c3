//! Tests of webhook notifications: state changes only, with retries.

use wellspring_testkit::{Receiver, Running, Scene, TestManner, until};

fn daemon(scene: &Scene, receiver: &Receiver, more: &str) -> Running {
    let config = scene.state.join("daemon.toml");
    std::fs::write(&config, format!("[[notify]]\nurl = {{ secret = \"env:HOOK\" }}\n{more}")).unwrap();
    scene
        .command(&["run", "--interval", "1s", "--config", config.to_str().unwrap()])
        .env("HOOK", receiver.url())
        .spawn()
}

fn fails_for(scene: &Scene, hosts: &[&str]) {
    let hosts: Vec<String> = hosts.iter().map(ToString::to_string).collect();
    scene.platform.semantics(|semantics| semantics.test_connection = TestManner::FailsFor(hosts));
}

#[test]
fn a_state_is_told_when_it_comes_and_when_it_is_over_and_not_every_pass() {
    let scene = Scene::new();
    let receiver = Receiver::start(&[503, 500]);
    fails_for(&scene, &["a.example.com"]);
    scene.declare("ws_one", &[("alpha", "a.example.com"), ("beta", "b.example.com")]);
    let daemon = daemon(&scene, &receiver, "");
    receiver.until("failed", "ws_one/alpha: its connection test failed: cannot connect");
    let body = receiver.bodies().remove(0);
    assert_eq!(
        (&body["event"], &body["workspace"], &body["sources"][0]),
        (&"failed".into(), &"ws_one".into(), &"alpha".into())
    );
    assert_eq!(
        (&body["format_version"], &body["workspace_id"], &body["scope"]),
        (&1.into(), &"ws_one".into(), &"user".into())
    );

    // The failure repeats, and drift occurs in the meantime.
    let seen = scene.platform.calls_to("list").len();
    until("it is tried again", || scene.platform.calls_to("list").len() > seen + 2);
    scene.platform.remove("ws_one", "user", "beta");
    receiver.until("drift-mended", "ws_one/beta: connect");
    assert_eq!(receiver.events().iter().filter(|told| told.starts_with("failed")).count(), 1);

    fails_for(&scene, &[]);
    receiver.until("recovered", "ws_one/alpha");
    scene.tree.write("workspaces/two.toml", "oops = [");
    receiver.until("failed", "files are rejected: workspaces/two.toml:1:");
    scene.tree.remove("workspaces/two.toml");
    receiver.until("recovered", "the files are accepted again");
    daemon.signal("TERM");
    let finished = daemon.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(!finished.stderr.contains("s3cret-path"));
}

#[test]
fn only_what_is_asked_for_is_told_and_slack_gets_its_form() {
    let scene = Scene::new();
    let receiver = Receiver::start(&[]);
    scene.tree.write(
        "workspaces/one.toml",
        "[workspace]\nid = \"ws_one\"\n\n[sources.\"<!channel>\"]\ntype = \"database\"\n\
         sync = { cron = \"0 0 1 1 *\", stale_after = \"1s\", on_connect = false }\nconnection_config = { host = \"a\" }\n",
    );
    let daemon = daemon(&scene, &receiver, "format = \"slack\"\nevents = [\"stale\"]\n");
    until("it is told", || !receiver.bodies().is_empty());
    drop(daemon);
    let told = "Wellspring, stale: ws_one/&lt;!channel&gt;: its data is stale; it has never synced";
    assert_eq!(receiver.bodies(), [serde_json::json!({ "text": told })]);
}

#[test]
fn a_webhook_that_never_answers_holds_up_neither_passes_nor_the_end() {
    let scene = Scene::new();
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = scene.state.join("daemon.toml");
    std::fs::write(&config, "[[notify]]\nurl = { secret = \"env:HOOK\" }\n").unwrap();
    fails_for(&scene, &["a.example.com"]);
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    let daemon = scene
        .command(&["run", "--interval", "1s", "--config", config.to_str().unwrap()])
        .env("HOOK", format!("http://{}/", silent.local_addr().unwrap()))
        .spawn();
    let (_held, _) = silent.accept().unwrap();
    scene.declare("ws_two", &[("beta", "b.example.com")]);
    until("passes go on", || scene.holds("ws_two", &[("beta", "b.example.com")]));
    daemon.signal("TERM");
    let finished = daemon.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(finished.stderr.contains("its queued notices are dropped"), "{finished:#?}");
}

#[test]
fn an_address_that_is_missing_or_open_to_the_network_is_refused_at_the_start() {
    let scene = Scene::new();
    scene.declare("ws_one", &[]);
    let config = scene.state.join("daemon.toml");
    std::fs::write(&config, "[[notify]]\nurl = { secret = \"env:HOOK\" }\n").unwrap();
    let run = || scene.command(&["run", "--config", config.to_str().unwrap()]);
    let missing = run().run();
    assert!(missing.code == Some(3) && missing.stderr.contains("[[notify]]"), "{missing:#?}");
    let open = run().env("HOOK", "http://hooks.example.com/s3cret-path").run();
    assert!(open.code == Some(3) && open.stderr.contains("https://"), "{open:#?}");
    assert!(!open.stderr.contains("s3cret-path"));
    // No source may use the variable of the webhook.
    scene.tree.write(
        "workspaces/ws_one.toml",
        "[workspace]\nid = \"ws_one\"\n\n[sources.a]\ntype = \"api\"\nconnection_config = { host = \"${HOOK}\" }\n",
    );
    let plan = scene
        .command(&["plan", "--config", config.to_str().unwrap()])
        .env("HOOK", "https://h.example/s3cret-path")
        .run();
    assert!(plan.stdout.contains("env:HOOK") && !plan.stdout.contains("s3cret-path"), "{plan:#?}");
}
