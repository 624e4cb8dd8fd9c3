//! Tests of `status`, which uses files and state only.

use serde_json::Value;
use wellspring_testkit::{EchoManner, Ids, Scene, Site, files_below, json, until};

const ONE: &str = "[workspace]\nid = \"ws_one\"\n\n[sources.alpha]\ntype = \"database\"\n\
                   sync = { cron = \"15 2 * * *\", timezone = \"Europe/Rome\" }\n\n\
                   [sources.alpha.connection_config]\nhost = \"a.example.com\"\n";

fn status(scene: &Scene, args: &[&str]) -> Vec<Value> {
    let finished = scene.wellspring(&[&["status", "--format", "json"], args].concat());
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    let json: Value = serde_json::from_str(&finished.stdout).unwrap();
    assert_eq!(json["format_version"], 1);
    json["sources"].as_array().unwrap().clone()
}

#[test]
fn it_asks_nobody_and_creates_nothing() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", ONE);
    let before = files_below(scene.state.path());
    let sources = status(&scene, &[]);
    assert_eq!((&sources[0]["state"], &sources[0]["last"]), (&"unknown".into(), &Value::Null));
    assert!(sources[0]["reason"].as_str().unwrap().contains("no state"), "{sources:?}");
    assert_eq!(files_below(scene.state.path()), before);
    assert!(scene.platform.calls().is_empty());
}

#[test]
fn it_shows_the_last_and_the_next_sync_and_what_changed_since() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", ONE);
    scene.apply();
    let sources = status(&scene, &[]);
    assert_eq!((&sources[0]["state"], &sources[0]["last"]), (&"connected".into(), &Value::Null));
    assert_eq!(sources[0]["next"]["due"], true, "its first sync is due, as it was connected");
    assert!(scene.wellspring(&["status"]).stdout.contains("due now"));

    assert_eq!(scene.wellspring(&["sync", "ws_one/alpha"]).code, Some(0));
    let sources = status(&scene, &[]);
    assert_eq!((&sources[0]["last"]["outcome"], &sources[0]["next"]["due"]), (&"done".into(), &false.into()));
    assert!(sources[0]["next"]["in_zone"].as_str().unwrap().contains("02:15 CE"), "{sources:?}");
    assert!(sources[0]["next"]["local"].is_string());
    let table = scene.wellspring(&["status"]).stdout;
    assert!(table.contains("ws_one/alpha") && table.contains("done"), "{table}");

    scene.tree.write("workspaces/one.toml", &ONE.replace("a.example", "b.example"));
    assert_eq!(status(&scene, &["-s", "ws_one/alpha"])[0]["state"], "changed");
    assert_eq!(scene.wellspring(&["status", "-s", "nothing"]).code, Some(64));
}

#[test]
fn what_fails_is_counted_with_its_reason_and_may_be_the_exit_code() {
    let scene = Scene::new();
    let beta = "\n[sources.beta]\ntype = \"database\"\n\n[sources.beta.connection_config]\nhost = \"b\"\n";
    scene.tree.write(
        "workspaces/one.toml",
        &format!("{}{beta}", ONE.replace("sync = {", "sync = { on_connect = true,")),
    );
    scene.platform.semantics(|semantics| semantics.refused.push("beta".to_owned()));
    assert_eq!(scene.wellspring(&["status", "--exit-code"]).code, Some(1), "nothing is known yet");
    assert_eq!(scene.wellspring(&["apply", "--yes"]).code, Some(1));
    let of = |name: &str| status(&scene, &["-s", name])[0].clone();
    let alpha = of("alpha");
    assert_eq!((&alpha["next"]["due"], &alpha["failing"]), (&true.into(), &false.into()), "{alpha}");
    let beta = of("beta");
    assert_eq!((&beta["state"], &beta["failing"]), (&"not_connected".into(), &true.into()), "{beta}");
    assert!(beta["reason"].as_str().unwrap().starts_with("connect failed: "), "{beta}");

    scene.platform.script("sync", wellspring_testkit::Fault::status(500, "the disk is full"));
    assert_eq!(scene.wellspring(&["sync", "ws_one/alpha"]).code, Some(1));
    let alpha = of("alpha");
    assert!(alpha["reason"].as_str().unwrap().contains("the disk is full"), "{alpha}");
    let table = scene.wellspring(&["status", "--exit-code"]);
    assert_eq!(table.code, Some(1), "{table:#?}");
    assert!(table.stdout.contains("2 sources: 2 failing, 1 pending."), "{table:#?}");
    assert!(table.stdout.contains("✗ ws_one/alpha: sync unknown: "), "{table:#?}");

    scene.platform.semantics(|semantics| semantics.refused.clear());
    assert_eq!(scene.wellspring(&["sync", "ws_one/alpha"]).code, Some(0));
    assert_eq!(scene.wellspring(&["status", "--exit-code", "-s", "alpha"]).code, Some(0));
    scene.tree.write("workspaces/one.toml", &ONE.replace("a.example", "b.example"));
    assert_eq!(scene.wellspring(&["status", "--exit-code", "-s", "alpha"]).code, Some(2));
    scene.tree.write("workspaces/one.toml", "[sources");
    let held = scene.wellspring(&["status"]);
    assert!(held.stdout.contains("workspaces/one.toml has errors"), "{held:#?}");
}

#[test]
fn a_daemon_is_shown_while_it_runs() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", ONE);
    scene.apply();
    let shown = || json(&scene.wellspring(&["status", "--format", "json"]).stdout)["daemon"].clone();
    assert_eq!(shown(), Value::Null);
    assert!(scene.wellspring(&["status"]).stdout.contains("No daemon runs"));
    let daemon = scene.daemon();
    daemon.wait_for_line("watching");
    let told = shown();
    assert!(told["pid"].is_u64() && told["since"].is_string(), "{told}");
    assert!(scene.wellspring(&["status"]).stdout.contains("Daemon: pid "));
    let second = scene.wellspring(&["run"]);
    assert_eq!(second.code, Some(1), "{second:#?}");
    drop(daemon);
    assert_eq!(shown(), Value::Null);
}

#[test]
fn stale_data_is_marked_and_is_no_failure() {
    let scene = Scene::new();
    scene.tree.write(
        "workspaces/one.toml",
        &ONE.replace(
            "cron = \"15 2 * * *\", timezone = \"Europe/Rome\"",
            "every = \"1s\", stale_after = \"1s\"",
        ),
    );
    scene.apply();
    until("its data is stale", || status(&scene, &[])[0]["stale"] == true);
    let table = scene.wellspring(&["status"]);
    assert_eq!(table.code, Some(0));
    assert!(table.stdout.contains("stale since") && table.stdout.contains("1 never synced"), "{table:#?}");
}

#[test]
fn a_suspension_that_was_to_be_over_is_told() {
    let scene = Scene::new();
    let suspended = "suspend = { reason = \"moving\", until = 2020-01-01 }\nsync = {";
    scene.tree.write("workspaces/one.toml", &ONE.replace("sync = {", suspended));
    let shown = scene.wellspring(&["status"]);
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    assert!(shown.stdout.contains("suspended until 2020-01-01, which has passed"), "{shown:#?}");
    assert_eq!(status(&scene, &[])[0]["next"], Value::Null);
}

#[test]
fn a_change_names_the_line_that_asked_for_it_and_the_commit() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", ONE);
    scene.tree.write(".git/HEAD", "ref: refs/heads/main\n");
    scene.tree.write(".git/refs/heads/main", "0123456789abcdef0123456789abcdef01234567\n");
    scene.apply();
    let changes = scene.wellspring(&["history", "--changes", "--format", "json"]);
    let json: Value = serde_json::from_str(&changes.stdout).unwrap();
    let change = &json["changes"][0];
    assert_eq!((&change["file"], &change["line"]), (&"workspaces/one.toml".into(), &4.into()));
    assert_eq!(change["commit"], "0123456789abcdef0123456789abcdef01234567");
    let table = scene.wellspring(&["history", "--changes"]).stdout;
    assert!(table.contains("workspaces/one.toml:4@012345678 "), "{table}");
}

#[test]
fn a_change_whose_file_its_commit_does_not_hold_is_marked_dirty() {
    for format in ["files", "reftable"] {
        let scene = Scene::new();
        let git = |args: &[&str]| {
            let identity = ["-c", "user.name=a", "-c", "user.email=a@example.com"];
            let mut git = std::process::Command::new("git");
            git.args(identity).args(args).current_dir(scene.tree.path()).env("HOME", scene.tree.path());
            // Older versions of Git do not know the format, and ignore the variable.
            let output = git.env("GIT_DEFAULT_REF_FORMAT", format).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap().trim().to_owned()
        };
        git(&["init", "-q"]);
        let wellspring =
            |args: &[&str]| scene.command(args).env("PATH", std::env::var_os("PATH").unwrap()).run();
        let from = || {
            assert_eq!(wellspring(&["apply", "--yes"]).code, Some(0));
            let changes = wellspring(&["history", "--changes", "--format", "json", "--limit", "1"]);
            let json: Value = serde_json::from_str(&changes.stdout).unwrap();
            json["changes"][0]["commit"].as_str().unwrap_or_default().to_owned()
        };
        let commit = || {
            git(&["commit", "-qm", "x"]);
            git(&["rev-parse", "HEAD"])
        };
        let host = |name: &str| scene.tree.write("workspaces/one.toml", &ONE.replace("a.example", name));
        host("a.example");
        scene.tree.write("note", "");
        git(&["add", "."]);
        let first = commit();
        assert_eq!(from(), first, "{format}: as committed");
        host("b.example");
        assert_eq!(from(), format!("{first}-dirty"), "{format}: modified");
        let table = wellspring(&["history", "--changes"]).stdout;
        assert!(table.contains(&format!("one.toml:4@{}-dirty ", &first[..9])), "{table}");
        assert!(wellspring(&["doctor"]).stdout.contains(&format!("{}-dirty", &first[..9])));
        host("c.example");
        git(&["add", "."]);
        assert_eq!(from(), format!("{first}-dirty"), "{format}: staged");
        host("d.example");
        git(&["add", "."]);
        let second = commit();
        scene.tree.write("note", "another file that is not read");
        assert_eq!(from(), second, "{format}: another file is modified");
        scene.tree.write("workspaces/two.toml", &ONE.replace("ws_one", "ws_two"));
        assert_eq!(from(), format!("{second}-dirty"), "{format}: untracked");
    }
}

#[test]
fn in_json_a_workspace_has_its_name_and_its_id_each_once() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", &ONE.replace("id = \"ws_one\"", "use = \"sales\""));
    let settings = scene.tree.read("wellspring.toml");
    scene.tree.write("wellspring.toml", &format!("{settings}\n[workspaces]\nsales = \"ws_one\"\n"));
    scene.apply();
    scene.wellspring(&["sync"]);
    for (verb, list) in [
        (&["status"][..], "sources"),
        (&["plan"], "workspaces"),
        (&["show"], "sources"),
        (&["history"], "runs"),
        (&["history", "--changes"], "changes"),
        (&["sync"], "syncs"),
        (&["apply", "-y"], "workspaces"),
    ] {
        let finished = scene.wellspring(&[verb, &["--format", "json"]].concat());
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        let of = &json(&finished.stdout)[list][0];
        let named = [&of["workspace"], &of["workspace_id"], &of["scope"]];
        assert_eq!(named, ["sales", "ws_one", "user"], "{verb:?}: {of}");
    }
    for verb in [&["validate"][..], &["doctor"], &["test"], &["fmt", "--check"]] {
        json(&scene.wellspring(&[verb, &["--format", "json"]].concat()).stdout);
    }
}

#[test]
fn an_update_in_place_is_called_an_update_wherever_it_is_named() {
    let scene = Scene::new();
    for host in ["a", "b"] {
        // The second write teaches that the platform updates in place.
        scene.tree.write("workspaces/one.toml", &ONE.replace("a.example", &format!("{host}.example")));
        scene.apply();
    }
    scene.platform.semantics(|semantics| semantics.refused = vec!["alpha".to_owned()]);
    scene.tree.write("workspaces/one.toml", &ONE.replace("a.example", "c.example"));
    let plan = scene.wellspring(&["plan"]).stdout;
    assert!(plan.contains("Plan: 1 to update in place."), "{plan}");
    assert_eq!(scene.wellspring(&["apply", "--yes"]).code, Some(1));
    let table = scene.wellspring(&["status"]).stdout;
    assert!(table.contains("✗ ws_one/alpha: update failed: "), "{table}");
    let changes = scene.wellspring(&["history", "--changes"]).stdout;
    let newest = changes.lines().nth(1).unwrap();
    assert!(newest.contains("  update  ") && newest.contains("  failed  "), "{changes}");
    let changes = json(&scene.wellspring(&["history", "--changes", "--format", "json"]).stdout);
    assert_eq!(
        (&changes["changes"][0]["action"], &changes["changes"][0]["in_place"]),
        (&"replace".into(), &true.into())
    );
}

#[test]
fn a_source_adopted_under_a_name_given_up_before_has_no_runs_of_the_former_one() {
    let scene = Scene::new();
    let two = ONE.replace("sync = {", "adopt = \"by-name\"\nsync = { stale_after = \"30d\",");
    let theirs = || {
        scene.platform.remove("ws_one", "user", "alpha");
        let config = serde_json::json!({ "host": "a.example.com" });
        scene.platform.add("ws_one", "user", "alpha", "database", config);
    };
    theirs();
    scene.tree.write("workspaces/one.toml", &two);
    scene.apply();
    assert_eq!(scene.wellspring(&["sync", "ws_one/alpha"]).code, Some(0));
    assert_eq!(status(&scene, &[])[0]["freshness"], "fresh");

    let given_up = "sources = {}\n\n[workspace]\nid = \"ws_one\"\n\n[removed.alpha]\naction = \"forget\"\nreason = \"x\"\n";
    scene.tree.write("workspaces/one.toml", given_up);
    scene.apply();
    scene.tree.write("workspaces/one.toml", &two);
    scene.apply();
    let sources = status(&scene, &[]);
    assert_eq!(sources[0]["last"]["outcome"], "done", "the same source still has its runs: {sources:?}");

    scene.tree.write("workspaces/one.toml", given_up);
    scene.apply();
    theirs();
    scene.tree.write("workspaces/one.toml", &two);
    scene.apply();
    let sources = status(&scene, &[]);
    assert_eq!(
        (&sources[0]["state"], &sources[0]["last"], &sources[0]["last_success"]),
        (&"connected".into(), &Value::Null, &Value::Null),
        "another source was never synced: {sources:?}"
    );
}

#[test]
fn where_a_reconnect_by_others_cannot_be_seen_freshness_is_unknown() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", &ONE.replace("sync = {", "sync = { stale_after = \"30d\","));
    scene.apply();
    assert_eq!(scene.wellspring(&["sync", "ws_one/alpha"]).code, Some(0));
    assert_eq!(status(&scene, &[])[0]["freshness"], "fresh");

    // With our marker the row is known without an id, and without either it is not.
    scene.platform.semantics(|semantics| semantics.ids = Ids::None);
    scene.apply();
    assert_eq!(status(&scene, &[])[0]["freshness"], "fresh");
    scene.platform.semantics(|semantics| semantics.echo = EchoManner::Nothing);
    scene.apply();
    let sources = status(&scene, &[]);
    assert_eq!((&sources[0]["freshness"], &sources[0]["stale"]), (&"unknown".into(), &false.into()));
    let table = scene.wellspring(&["status"]).stdout;
    assert!(table.contains("? ws_one/alpha: the platform lists it without an id"), "{table}");
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("the page agrees", || {
        site.json()["workspaces"]["listed"][0]["sources"]["listed"][0]["data"]["text"] == "unknown"
    });
}
