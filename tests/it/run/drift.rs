//! Tests of changes and failures on the platform.

use serde_json::json;
use wellspring_testkit::{Fault, Running, Scene, Semantics, Taken, nobody_listens, until};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

fn served(semantics: Semantics) -> (Scene, Running) {
    let scene = Scene::with(semantics);
    scene.declare("ws_one", &[A, B]);
    let daemon = scene.command(&["run", "--interval", "1s"]).spawn();
    // A source that vanishes before it was listed would be left alone.
    daemon.wait_for_line("connect done");
    until("both are connected", || scene.holds("ws_one", &[A, B]));
    (scene, daemon)
}

/// Waits for two more lists of the workspace, each followed by a chance to act.
fn two_passes(scene: &Scene) {
    let lists = || scene.platform.calls_to("list").iter().filter(|call| call.workspace == "ws_one").count();
    let before = lists();
    // The first list may belong to a pass that had begun; the third begins after the second pass ended.
    until("two passes began and ended", || lists() >= before + 3);
}

#[test]
fn what_someone_removes_is_put_back_at_the_next_check() {
    let (scene, _daemon) = served(Semantics::default());
    scene.platform.remove("ws_one", "user", "alpha");
    until("it is back", || scene.holds("ws_one", &[A, B]));
}

#[test]
fn what_someone_changes_is_put_right_at_the_next_check() {
    let (scene, daemon) = served(Semantics::default());
    // Only a field with a known readback can be recognised as changed.
    two_passes(&scene);
    scene.platform.modify("ws_one", "user", "alpha", |row| {
        row.connection_config = json!({ "host": "elsewhere.example.com" });
    });
    until("it is as declared", || scene.holds("ws_one", &[A, B]));
    daemon.wait_for_line("changed on the platform");
}

#[test]
fn what_someone_adds_is_told_and_left_alone() {
    let (scene, daemon) = served(Semantics::default());
    let number = scene.someone_adds("ws_one", "upload");
    daemon.wait_for_line("unmanaged, left alone");
    scene.declare("ws_one", &[A]);
    until("ours goes", || !scene.platform.names("ws_one", "user").contains(&"beta".to_owned()));
    two_passes(&scene);
    let rows = scene.platform.rows("ws_one", "user");
    assert!(rows.iter().any(|row| row.number == number));
}

#[test]
fn a_replaced_source_is_never_absent() {
    for taken in [Taken::Upsert, Taken::Duplicate] {
        let (scene, _daemon) = served(Semantics { taken, ..Semantics::default() });
        scene.platform.forget_calls();
        let changed = ("alpha", "new.example.com");
        scene.declare("ws_one", &[changed, B]);
        let mut there = true;
        until("it is replaced", || {
            there &= scene.platform.names("ws_one", "user").contains(&"alpha".to_owned());
            scene.holds("ws_one", &[changed, B])
        });
        assert!(there, "{taken:?}");
        let writes: Vec<_> = scene.platform.writes().into_iter().map(|call| call.endpoint).collect();
        let wanted: &[&str] = if taken == Taken::Upsert { &["connect"] } else { &["connect", "cleanup"] };
        assert_eq!(writes, wanted, "{taken:?}");
    }
}

#[test]
fn where_a_taken_name_is_refused_the_source_is_cleaned_up_and_connected() {
    let (scene, _daemon) = served(Semantics { taken: Taken::Conflict, ..Semantics::default() });
    scene.platform.forget_calls();
    let changed = ("alpha", "new.example.com");
    scene.declare("ws_one", &[changed, B]);
    until("it is replaced", || scene.holds("ws_one", &[changed, B]));
    let writes: Vec<_> = scene.platform.writes().into_iter().map(|call| call.endpoint).collect();
    assert_eq!(writes, ["connect", "cleanup", "connect"]);
}

#[test]
fn a_failing_workspace_holds_nobody_back() {
    let scene = Scene::new();
    for workspace in ["ws_bad", "ws_odd", "ws_one"] {
        scene.declare(workspace, &[A]);
    }
    for _ in 0..200 {
        scene.platform.script_for("ws_bad", "list", Fault::status(403, "not yours"));
        let odd = json!({ "status": "success", "message": "", "data": {} });
        scene.platform.script_for("ws_odd", "list", Fault::json(200, &odd));
    }
    let daemon = scene.command(&["run", "--interval", "1s"]).spawn();
    until("the good one is served", || scene.holds("ws_one", &[A]));
    scene.declare("ws_one", &[A, B]);
    until("and goes on being served", || scene.holds("ws_one", &[A, B]));
    daemon.wait_for_line("not yours");
    daemon.wait_for_line("trying again at");
    let writes = scene.platform.writes();
    assert!(writes.iter().all(|call| call.workspace == "ws_one"));
    scene.platform.heal();
    until("the others recover", || scene.holds("ws_bad", &[A]) && scene.holds("ws_odd", &[A]));
}

#[test]
fn a_partial_list_stops_its_workspace() {
    let (scene, daemon) = served(Semantics::default());
    scene.platform.semantics(|semantics| {
        semantics.page_fields.insert("has_more".to_owned(), json!(true));
    });
    scene.platform.remove("ws_one", "user", "alpha");
    scene.platform.forget_calls();
    scene.declare("ws_one", &[A]);
    daemon.wait_for_line("not planned");
    assert!(scene.platform.writes().is_empty());
    scene.platform.semantics(|semantics| semantics.page_fields.clear());
    until("it goes on", || scene.holds("ws_one", &[A]));
}

#[test]
fn a_missing_secret_skips_its_source_and_serves_the_others() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, ("locked", "${NOT_SET_HERE}.example.com")]);
    let daemon = scene.daemon();
    until("the other is connected", || scene.holds("ws_one", &[A]));
    daemon.wait_for_line("NOT_SET_HERE");
}

#[test]
fn a_dry_run_never_writes() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.someone_adds("ws_one", "upload");
    let daemon = scene.command(&["run", "--dry-run", "--interval", "1s"]).spawn();
    daemon.wait_for_line("would connect");
    scene.declare("ws_one", &[A, B]);
    daemon.wait_for_line("source=beta");
    two_passes(&scene);
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
    assert!(scene.platform.calls().iter().all(|call| call.endpoint == "list"));
    assert!(wellspring_testkit::files_below(scene.state.path()).is_empty());
}

/// Forwards every connection to `address` to `upstream`.
fn lead(address: &str, upstream: &str) {
    let upstream = upstream.trim_start_matches("http://").split('/').next().unwrap().to_owned();
    let listener = std::net::TcpListener::bind(address.trim_start_matches("http://")).unwrap();
    std::thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), std::net::TcpStream::connect(&upstream).unwrap());
            for (mut from, mut to) in [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)] {
                std::thread::spawn(move || std::io::copy(&mut from, &mut to));
            }
        }
    });
}

#[test]
fn a_platform_that_cannot_be_reached_is_told_once_for_all_and_when_it_is_back() {
    let scene = Scene::new();
    for workspace in ["ws_one", "ws_two", "ws_three"] {
        scene.declare(workspace, &[A]);
    }
    let address = nobody_listens();
    let path = scene.platform.url().splitn(4, '/').nth(3).unwrap_or_default().to_owned();
    let daemon = scene
        .command(&["run", "--interval", "1s"])
        .env("WELLSPRING_URL", format!("{address}/{path}"))
        .spawn();
    daemon.wait_for_line(&format!("{address} cannot be reached: connection refused; trying again at "));
    lead(&address, &scene.platform.url());
    daemon.signal("USR1");
    until("all are served", || ["ws_one", "ws_two", "ws_three"].iter().all(|ws| scene.holds(ws, &[A])));
    daemon.wait_for_line("the platform answers again");
    let told = daemon.stderr();
    assert_eq!(told.matches("cannot be reached").count(), 1, "{told}");
    assert!(!told.contains("(Connect)"), "{told}");
}

#[test]
fn a_renewed_token_is_taken_up_and_a_refused_one_is_waited_for() {
    let scene = Scene::new();
    let token = |text: &str| scene.state.write("secrets/token", text);
    token(&scene.platform.token());
    let secrets = scene.state.join("secrets");
    scene.state.write(
        "daemon.toml",
        &format!("[platform]\ntoken = {{ secret = \"file:token\" }}\n\n[secrets]\ndir = {secrets:?}\n"),
    );
    scene.declare("ws_one", &[A]);
    let config = scene.state.join("daemon.toml");
    let daemon = scene
        .command(&["run", "--interval", "1h", "--config", config.to_str().unwrap()])
        .env("PMTX_TOKEN", "not this one")
        .spawn();
    until("it is connected", || scene.holds("ws_one", &[A]));

    token("the-second-token");
    scene.platform.set_token("the-second-token");
    scene.declare("ws_one", &[A, B]);
    until("the renewed token is read", || scene.holds("ws_one", &[A, B]));
    assert!(!daemon.stderr().contains("refuses the token"), "{}", daemon.stderr());

    scene.platform.set_token("the-third-token");
    scene.declare("ws_one", &[A]);
    daemon.wait_for_line("the platform refuses the token");
    assert!(scene.holds("ws_one", &[A, B]));
    token("the-third-token");
    daemon.signal("USR1");
    daemon.wait_for_line("the platform accepts the token again");
    until("it goes on", || scene.holds("ws_one", &[A]));
    let told = format!("{}{}", daemon.stdout(), daemon.stderr());
    assert!(!told.contains("the-second-token") && !told.contains("the-third-token"), "{told}");
}

#[test]
fn a_rotated_secret_is_seen_where_nothing_else_has_moved() {
    let scene = Scene::new();
    let secrets = scene.state.join("secrets");
    let password = |text: &str| scene.state.write("secrets/password", text);
    password("the-first-password");
    scene.state.write("daemon.toml", &format!("[secrets]\ndir = {secrets:?}\n"));
    scene.tree.write(
        "workspaces/ws_one.toml",
        "[workspace]\nid = \"ws_one\"\n\n[sources.alpha]\ntype = \"database\"\n\n\
         [sources.alpha.connection_config]\nhost = \"a.example.com\"\npassword = { secret = \"file:password\" }\n",
    );
    let config = scene.state.join("daemon.toml");
    let daemon = scene.command(&["run", "--interval", "1s", "--config", config.to_str().unwrap()]).spawn();
    daemon.wait_for_line("connect done");
    // Passes without changes: the platform returns the same each time.
    two_passes(&scene);
    scene.platform.forget_calls();
    two_passes(&scene);
    assert!(scene.platform.writes().is_empty(), "{}", daemon.stderr());

    password("the-second-password");
    let stands = |wanted: &str| {
        scene.platform.rows("ws_one", "user").iter().any(|row| row.connection_config["password"] == wanted)
    };
    until("the new password is there", || stands("the-second-password"));
    let told = format!("{}{}", daemon.stdout(), daemon.stderr());
    assert!(!told.contains("the-first-password") && !told.contains("the-second-password"), "{told}");
}
