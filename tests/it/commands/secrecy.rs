//! Tests that the value of a secret appears only where it must.

use wellspring_testkit::{Fault, Finished, Receiver, Scene, Semantics, TestManner, files_below, until};

/// A value that does not occur by chance.
const CANARY: &str = "canary-7f3Kq9-value";

/// A scene with one source whose password is the canary.
fn scene(semantics: Semantics) -> Scene {
    let scene = Scene::with(semantics);
    let source = "[workspace]\nid = \"ws_one\"\n\n[sources.alpha]\ntype = \"database\"\n\n\
                  [sources.alpha.connection_config]\nhost = \"a.example.com\"\npassword = \"${ALPHA_PASSWORD}\"\n\
                  url = \"postgres://reader:${ALPHA_PASSWORD}@a.example.com/db\"\n";
    scene.tree.write("workspaces/one.toml", source);
    scene
}

/// Runs with maximum verbosity, with logs as text and as JSON.
fn loudly(scene: &Scene, args: &[&str]) -> Vec<Finished> {
    let run = |format: &str| {
        let command = scene.command(args).args(["-vvv", "--log-format", format]);
        command.env("ALPHA_PASSWORD", CANARY).env("WELLSPRING_LOG", "trace").env("RUST_LOG", "trace").run()
    };
    vec![run("text"), run("json")]
}

#[track_caller]
fn secret(scene: &Scene, runs: &[Finished]) {
    // Searches for the middle of it, which is unchanged in URLs and by escaping.
    let core = "7f3Kq9";
    for run in runs {
        assert!(!run.stdout.contains(core) && !run.stderr.contains(core), "{run:#?}");
    }
    for place in [scene.state.path(), scene.tree.path()] {
        for (path, bytes) in files_below(place) {
            assert!(!bytes.windows(core.len()).any(|part| part == core.as_bytes()), "it stands in {path}");
        }
    }
}

#[test]
fn a_password_is_told_nowhere() {
    let scene = scene(Semantics::default());
    let mut runs = Vec::new();
    for args in [
        &["validate", "--secrets"][..],
        &["plan"],
        &["plan", "--format", "json"],
        &["plan", "--format", "markdown"],
        &["plan", "--format", "github"],
        &["apply", "-y"],
        &["apply", "-y", "--format", "json"],
        &["test"],
        &["sync"],
        &["schema", "ws_one/alpha"],
        &["history"],
        &["history", "--changes", "--format", "json"],
    ] {
        runs.extend(loudly(&scene, args));
    }
    let row = &scene.platform.rows("ws_one", "user")[0];
    assert_eq!(row.connection_config["password"], CANARY, "it arrived where it has to be");
    secret(&scene, &runs);
    // The platform receives it in a definition only.
    for call in scene.platform.calls() {
        assert!(!call.target.contains(CANARY));
        assert!(
            call.headers.values().all(|value| !String::from_utf8_lossy(value.as_bytes()).contains(CANARY))
        );
        let body = String::from_utf8_lossy(&call.body);
        assert!(!body.contains(CANARY) || matches!(&*call.endpoint, "connect" | "test-connection"));
    }
    for call in scene.platform.calls_to("connect") {
        let metadata = call.json()["sources"][0]["metadata"].to_string();
        assert!(!metadata.contains("7f3Kq9"), "{metadata}");
    }
}

#[test]
fn a_rotated_password_is_told_as_changed_and_not_what_it_was() {
    let scene = scene(Semantics::default());
    loudly(&scene, &["apply", "-y"]);
    let rotated = |args: &[&str]| scene.command(args).arg("-vvv").env("ALPHA_PASSWORD", "next-value").run();
    let plan = rotated(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(2), "{plan:#?}");
    assert!(plan.stdout.contains("password"), "{plan:#?}");
    let json = rotated(&["plan", "--format", "json"]);
    let applied = rotated(&["apply", "-y"]);
    for run in [&plan, &json, &applied] {
        assert!(!run.stdout.contains("next-value") && !run.stderr.contains("next-value"), "{run:#?}");
    }
    secret(&scene, &[plan, json, applied]);
}

#[test]
fn a_platform_that_repeats_the_password_does_not_give_it_away() {
    let echo =
        format!("cannot log in to a.example.com with password {CANARY} (postgres://reader:{CANARY}@a)");
    for (endpoint, status) in
        [("connect", 400), ("connect", 500), ("connect", 409), ("test-connection", 400), ("list", 400)]
    {
        let scene = scene(Semantics::default());
        scene.platform.script_always(endpoint, Fault::status(status, &echo));
        let mut runs = loudly(&scene, &["apply", "-y"]);
        assert!(runs.iter().all(|run| run.code == Some(1)), "{runs:#?}");
        runs.extend(loudly(&scene, &["test"]));
        runs.extend(loudly(&scene, &["history", "--changes"]));
        secret(&scene, &runs);
    }
}

#[test]
fn a_sync_that_fails_with_the_password_in_its_message_does_not_give_it_away() {
    let scene = scene(Semantics::default());
    let mut runs = loudly(&scene, &["apply", "-y"]);
    scene.platform.script_always("sync", Fault::status(400, &format!("no login with {CANARY}")));
    runs.extend(loudly(&scene, &["sync"]));
    runs.extend(loudly(&scene, &["history", "--format", "json"]));
    secret(&scene, &runs);
}

#[test]
fn a_password_that_fails_its_test_is_not_told() {
    let scene = scene(Semantics {
        test_connection: TestManner::FailsFor(vec![CANARY.to_owned()]),
        ..Semantics::default()
    });
    let mut runs = loudly(&scene, &["apply", "-y"]);
    assert!(runs.iter().all(|run| run.code == Some(1)), "{runs:#?}");
    runs.extend(loudly(&scene, &["test"]));
    assert!(scene.platform.rows("ws_one", "user").is_empty(), "what fails its test is not connected");
    secret(&scene, &runs);
}

#[test]
fn the_daemon_tells_no_password_either() {
    let scene = scene(Semantics::default());
    let echo = Fault::status(400, &format!("no login with {CANARY}"));
    scene.platform.script("connect", echo.clone());
    scene.platform.script("connect", echo);
    let receiver = Receiver::start(&[]);
    let config = scene.state.join("daemon.toml");
    std::fs::write(&config, "[[notify]]\nurl = { secret = \"env:HOOK\" }\n").unwrap();
    let config = ["--config", config.to_str().unwrap()];
    for format in ["text", "json"] {
        let command =
            scene.command(&["run", "-vvv", "--interval", "1s", "--log-format", format]).args(config);
        let command = command.env("HOOK", receiver.url());
        let daemon = command.env("ALPHA_PASSWORD", CANARY).env("WELLSPRING_LOG", "trace").spawn();
        daemon.wait_for_line("planned");
        until("it is connected", || scene.holds("ws_one", &[("alpha", "a.example.com")]));
        daemon.signal("TERM");
        let finished = daemon.finish();
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        secret(&scene, &[finished]);
    }
    let told = receiver.texts();
    assert!(told.iter().any(|told| told.contains("failed")), "{told:?}");
    assert!(told.iter().all(|told| !told.contains("7f3Kq9") && !told.contains("s3cret-path")), "{told:?}");
}

#[test]
fn the_token_is_told_nowhere() {
    let scene = scene(Semantics::default());
    scene.platform.set_token("token-4Xw2-canary");
    scene.platform.script("connect", Fault::status(400, "bad token token-4Xw2-canary"));
    for run in loudly(&scene, &["apply", "-y"]) {
        assert!(!run.stdout.contains("4Xw2") && !run.stderr.contains("4Xw2"), "{run:#?}");
    }
    for (path, bytes) in files_below(scene.state.path()) {
        assert!(!bytes.windows(4).any(|part| part == b"4Xw2"), "it stands in {path}");
    }
}
