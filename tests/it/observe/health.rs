//! Tests of `/healthz` and `/readyz`.

use wellspring_testkit::{Scene, Site, until};

const A: (&str, &str) = ("alpha", "a.example.com");

#[test]
fn it_is_ready_while_files_and_platform_are_and_not_before_the_first_good_pass() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let gate = wellspring_testkit::Gate::closed();
    scene.platform.script("list", wellspring_testkit::Fault::HoldBeforeActing(gate.clone()));
    let daemon = scene.command(&["run", "--interval", "1s", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("the files are read", || !site.json()["files"]["read_at"].is_null());
    assert_eq!(site.get("/readyz").body, "the platform has not answered a list yet\n");
    assert_eq!((site.get("/healthz").status, site.get("/readyz").status), (200, 503));
    gate.open();
    assert_eq!(site.until_ready(200).body, "ready\n");

    scene.tree.write("workspaces/two.toml", "oops = [");
    let body = site.until_ready(503).body;
    assert!(body.contains("in the files"), "{body}");
    scene.tree.remove("workspaces/two.toml");
    site.until_ready(200);

    let token = scene.platform.token();
    scene.platform.set_token("another");
    let body = site.until_ready(503).body;
    assert!(body.contains("refuses the token"), "{body}");
    assert!(!body.contains(&token));
    assert_eq!(site.get("/healthz").status, 200, "it is alive all along");
    scene.platform.set_token(&token);
    daemon.signal("USR1");
    site.until_ready(200);
}

#[test]
fn one_source_that_cannot_be_connected_is_no_matter_of_the_daemon_unless_it_is_asked_strictly() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, ("beta", "b.example.com")]);
    scene.declare("ws_two", &[A]);
    scene.platform.semantics(|semantics| semantics.refused.push("beta".to_owned()));
    let daemon = scene.command(&["run", "--interval", "1s", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("the others are kept", || scene.holds("ws_one", &[A]) && scene.holds("ws_two", &[A]));
    until("the passes ended", || site.get("/readyz?strict").body == "ws_one: no good pass yet\n");
    let status = |path| site.get(path).status;
    assert_eq!((status("/healthz"), status("/readyz"), status("/readyz?strict")), (200, 200, 503));
    assert_eq!(site.json()["unready_strict"][0], "ws_one: no good pass yet");
    scene.platform.semantics(|semantics| semantics.refused.clear());
    daemon.signal("USR1");
    until("all is well", || status("/readyz?strict") == 200);
}

#[test]
fn a_tree_that_goes_away_is_an_error_until_it_is_back_and_is_never_made_again() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let root = scene.tree.join("tree");
    std::fs::create_dir(&root).unwrap();
    for path in ["wellspring.toml", "workspaces"] {
        std::fs::rename(scene.tree.join(path), root.join(path)).unwrap();
    }
    // The state is in its default directory, inside the project.
    let daemon = wellspring_testkit::Wellspring::new()
        .args(["run", "--interval", "1s", "--listen=127.0.0.1:0", "-C"])
        .arg(&root)
        .platform(&scene.platform)
        .spawn();
    let site = Site::of(&daemon);
    site.until_ready(200);
    let away = scene.tree.join("away");
    std::fs::rename(&root, &away).unwrap();
    let body = site.until_ready(503).body;
    assert!(body.contains("the files cannot be read"), "{body}");
    let lists = scene.platform.calls_to("list").len();
    daemon.signal("USR1");
    until("a pass was tried", || {
        daemon.stderr().contains("could not lock") || scene.platform.calls_to("list").len() > lists
    });
    assert!(!root.exists(), "the daemon made the directory again");
    std::fs::rename(&away, &root).unwrap();
    site.until_ready(200);

    std::fs::rename(root.join("workspaces"), scene.tree.join("workspaces")).unwrap();
    std::fs::rename(root.join("wellspring.toml"), scene.tree.join("wellspring.toml")).unwrap();
    let body = site.until_ready(503).body;
    assert!(body.contains("no wellspring.toml and no other file any more"), "{body}");
    assert_eq!(scene.platform.calls_to("cleanup").len(), 0);
    std::fs::rename(scene.tree.join("workspaces"), root.join("workspaces")).unwrap();
    std::fs::rename(scene.tree.join("wellspring.toml"), root.join("wellspring.toml")).unwrap();
    site.until_ready(200);
}

#[test]
fn nothing_listens_unless_it_is_asked_for_and_a_taken_port_is_told() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let daemon = scene.daemon();
    daemon.wait_for_line("connect done");
    assert!(!daemon.stderr().contains("status page"));
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));

    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let refused = scene.wellspring(&["run", &format!("--listen={address}")]);
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains(&format!("cannot listen on {address}")), "{refused:#?}");

    let config = scene.state.join("daemon.toml");
    for listen in ["\"127.0.0.1:0\"", "\":0\"", "\"0\"", "0"] {
        std::fs::write(&config, format!("[http]\nlisten = {listen}\n")).unwrap();
        let daemon = scene.command(&["run", "--config", config.to_str().unwrap()]).spawn();
        Site::of(&daemon).until_ready(200);
        daemon.signal("TERM");
        assert_eq!(daemon.finish().code, Some(0));
    }
    for listen in ["\"nowhere\"", "70000", "-1", "\"10.0.0.1\""] {
        std::fs::write(&config, format!("[http]\nlisten = {listen}\n")).unwrap();
        let refused = scene.wellspring(&["run", "--config", config.to_str().unwrap()]);
        assert!(refused.stderr.contains("`listen` cannot be used"), "{listen}: {refused:#?}");
    }
}
