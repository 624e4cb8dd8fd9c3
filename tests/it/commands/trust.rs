//! Tests of untrusted files.
//!
//! The author of the files is not the user of the program, so files have no access to variables, credentials
//! or origins beyond the host's grants, and no error shows a value.

use wellspring_testkit::{Finished, Platform, Scene, Tree, Wellspring, files_below, until};

const CANARY: &str = "c4naryGate9x";

fn source(workspace: &str) -> String {
    format!(
        "[workspace]\nuse = \"{workspace}\"\n\n[sources.a]\ntype = \"api\"\nconnection_config = {{ host = \"h\" }}\n"
    )
}

fn shows_nothing(finished: &Finished) {
    let both = format!("{}{}", finished.stdout, finished.stderr);
    assert!(!both.contains(CANARY), "{finished:#?}");
}

#[test]
fn the_settings_of_a_tree_reach_no_variable_that_the_host_does_not_permit() {
    let host = Tree::with(&[(
        "host.toml",
        "[platform]\ntoken = { secret = \"env:PX_WORKSPACE\" }\n\n[[notify]]\nurl = { secret = \"env:HOOK\" }\n\n\
         [[secrets.allow]]\nname = \"env:ORDERS_WORKSPACE\"\nworkspaces = [\"other\"]\n\n[[secrets.allow]]\nname = \"env:*\"\n",
    )]);
    for name in ["PX_WORKSPACE", "HOOK", "ORDERS_WORKSPACE", "DATABASE_URL", "WORKSPACE_TOKEN"] {
        for line in ["x = \"${NAME}\"", "x = { id = \"a${NAME}\" }"] {
            let scene = Scene::new();
            scene.tree.write("wellspring.toml", &format!("[workspaces]\n{}\n", line.replace("NAME", name)));
            scene.tree.write("workspaces/a.toml", &source("x"));
            for args in
                [&["validate"][..], &["plan"], &["plan", "--format", "json"], &["apply", "-y"], &["show"]]
            {
                let command =
                    scene.command(args).arg("--config").arg(host.path().join("host.toml")).arg("-vvv");
                let command =
                    command.env("PX_WORKSPACE", scene.platform.token()).env("HOOK", "https://h.example/x");
                let finished = command
                    .env(name, if name == "PX_WORKSPACE" { scene.platform.token() } else { CANARY.into() })
                    .run();
                assert_eq!(finished.code, Some(3), "{name}: {finished:#?}");
                assert!(finished.stderr.contains("W026") && finished.stderr.contains(name), "{finished:#?}");
                shows_nothing(&finished);
            }
            let targets: Vec<String> = scene.platform.calls().into_iter().map(|call| call.target).collect();
            assert!(!targets.iter().any(|target| target.contains(CANARY)), "{targets:?}");
            assert!(!targets.iter().any(|target| target.contains(&scene.platform.token())), "{targets:?}");
        }
    }
}

#[test]
fn an_id_of_a_permitted_variable_is_used_and_displayed_by_its_name() {
    let scene = Scene::new();
    scene.tree.write(
        "wellspring.toml",
        "[platform]\nsettle = \"0s\"\n\n[workspaces]\nx = \"${TEAM_ONE}\"\ny = \"${Y_WORKSPACE_ID}\"\n",
    );
    scene.tree.write("workspaces/a.toml", &source("x"));
    scene.tree.write("workspaces/b.toml", &source("y"));
    let run = |args: &[&str]| {
        let command = scene.command(args).env("TEAM_ONE", CANARY).env("Y_WORKSPACE_ID", "ws_y");
        command.env("WELLSPRING_VARIABLES", "TEAM_*, *_WORKSPACE_ID").run()
    };
    let applied = run(&["apply", "-y", "--format", "json"]);
    assert_eq!(applied.code, Some(0), "{applied:#?}");
    assert!(
        applied.stdout.contains("\"workspace_id\": \"${TEAM_ONE}\"")
            || applied.stdout.contains("\"workspace_id\":\"${TEAM_ONE}\""),
        "{applied:#?}"
    );
    assert_eq!(scene.platform.rows(CANARY, "user").len(), 1);
    for args in [
        &["plan"][..],
        &["plan", "--format", "markdown", "-v"],
        &["sync", "-vvv"],
        &["status", "--format", "json"],
        &["history", "--format", "json"],
        &["history", "--changes", "--format", "json"],
        &["show", "--format", "json"],
        &["doctor"],
    ] {
        shows_nothing(&run(args));
    }
    // Without the list, only names that contain WORKSPACE are permitted.
    let without = scene.command(&["plan"]).env("TEAM_ONE", CANARY).env("Y_WORKSPACE_ID", "ws_y").run();
    assert_eq!(without.code, Some(3), "{without:#?}");
    assert!(without.stderr.contains("WELLSPRING_VARIABLES=TEAM_ONE"), "{without:#?}");
    assert!(!without.stderr.contains("Y_WORKSPACE_ID"), "{without:#?}");
}

#[test]
fn the_token_goes_to_another_origin_only_when_the_host_names_it() {
    let scene = Scene::new();
    let other = Platform::with(wellspring_testkit::Semantics::default());
    other.set_token(&scene.platform.token());
    let settings =
        |platform: &Platform| format!("[platform]\nurl = \"{}\"\nsettle = \"0s\"\n", platform.url());
    let run = |args: &[&str]| {
        let program = Wellspring::new().args(args).arg("-C").arg(scene.tree.path());
        program.arg("--state-dir").arg(scene.state.path()).env("PMTX_TOKEN", scene.platform.token())
    };
    scene.declare("ws_one", &[("a", "a.example.com")]);
    scene.tree.write("wellspring.toml", &settings(&scene.platform));
    let first = run(&["apply", "-y"]).run();
    assert_eq!(first.code, Some(0), "{first:#?}");
    let warned = run(&["doctor"]).run();
    assert!(warned.stdout.contains("only wellspring.toml names"), "{warned:#?}");

    for moved in [settings(&other), "[platform]\nurl = \"local\"\n".to_owned()] {
        scene.tree.write("wellspring.toml", &moved);
        for args in [
            &["plan"][..],
            &["apply", "-y"],
            &["test"],
            &["sync"],
            &["doctor"],
            &["pull", "ws_one"],
            &["run"],
        ] {
            let refused = run(args).run();
            assert_eq!(refused.code, Some(3), "{args:?}: {refused:#?}");
            let both = format!("{}{}", refused.stdout, refused.stderr);
            assert!(both.contains("names another platform"), "{refused:#?}");
        }
    }
    assert!(other.calls().is_empty(), "{:?}", other.calls());

    scene.tree.write("wellspring.toml", &settings(&other));
    let url = other.url();
    assert_eq!(run(&["apply", "-y", "--url", &url]).run().code, Some(0));
    // The origin permitted by the host is remembered.
    assert_eq!(run(&["plan"]).run().code, Some(0));
    scene.tree.write("wellspring.toml", &settings(&scene.platform));
    let daemon = run(&["run", "--interval", "1h"]).spawn();
    until("it looks", || daemon.stderr().contains("unchanged"));
}

#[test]
fn no_mistake_in_the_host_file_shows_a_value_and_all_are_told_at_once() {
    let jwt = format!("{}.{}.{}", "eyJhbGciOiJIUzI1NiJ9", "eyJzdWIiOiIxIn0", CANARY);
    for (text, codes) in [
        (format!("[platform]\ntoken = \"{jwt}\"\n"), &["W030"][..]),
        (format!("[platform]\ntoken = \"{CANARY}\"\ntimeout = \"soon\"\n"), &["W030", "W050"]),
        (format!("[platform]\ntoken = {{ secret = \"{CANARY}\" }}\n"), &["W032"]),
        (format!("[platform]\ntoken = {{ secrt = \"{CANARY}\" }}\n"), &["W011"]),
        (format!("[platform]\ntokn = \"{CANARY}\"\n"), &["W010"]),
        (format!("[platform]\ntoken = \"{CANARY}\n"), &["W002"]),
        (format!("[platform]\ntoken = {CANARY}\n"), &["W002"]),
        (format!("[platform]\nheaders = [\n  \"{CANARY}\"\n]\n"), &["W010"]),
        (format!("[[notify]]\nurl = \"https://hooks.example.com/a/{CANARY}\"\n"), &["W030"]),
        (format!("[[notify]]\nurl = \"https://hooks.example.com/a/{CANARY}\n"), &["W002"]),
        (format!("[notify]\nurl = \"https://hooks.example.com/a/{CANARY}\"\n"), &["W011"]),
        (
            format!("[[notify]]\nurl = {{ secret = \"env:A\" }}\nformat = \"https://h.example/{CANARY}\"\n"),
            &["W014"],
        ),
        (format!("platform = {{ token = \"{CANARY}\", mode = 1 }}\n"), &["W010", "W030"]),
        (
            format!("[daemon]\nmode = \"aply\"\ninterval = 5\n[secrets]\nallow = \"{CANARY}\"\n"),
            &["W011", "W014"],
        ),
    ] {
        let scene = Scene::new();
        let host = Tree::with(&[("host.toml", &text)]);
        let finished =
            scene.command(&["plan", "-vvv"]).arg("--config").arg(host.path().join("host.toml")).run();
        assert_eq!(finished.code, Some(3), "{text}: {finished:#?}");
        shows_nothing(&finished);
        for code in codes {
            assert!(finished.stderr.contains(&format!("error[{code}]")), "{text}: {finished:#?}");
        }
        assert!(finished.stderr.contains("host.toml:") && finished.stderr.contains('^'), "{finished:#?}");
        assert!(finished.stderr.contains("cannot use the host file"), "{finished:#?}");
        assert!(scene.platform.calls().is_empty() && files_below(scene.state.path()).is_empty());
    }
}

#[test]
fn no_name_of_a_file_or_source_begins_a_line_of_the_log() {
    let scene = Scene::new();
    scene.tree.write("bad\n2026-01-01T00:00:00Z  INFO forged\u{1b}[31m.toml", "oops = [");
    scene.declare("ws_one", &[("a", "a.example.com")]);
    scene.someone_adds("ws_one", "b\n2026-01-01T00:00:00Z  INFO forged");
    let daemon = scene.command(&["run", "--interval", "1h", "--log-format", "text"]).spawn();
    daemon.wait_for_line("W002");
    daemon.wait_for_line("unmanaged");
    daemon.signal("TERM");
    let finished = daemon.finish();
    assert!(!finished.stderr.contains('\u{1b}'), "{finished:#?}");
    assert!(!finished.stderr.lines().any(|line| line.starts_with("2026-01-01T00:00:00Z")), "{finished:#?}");
}

#[test]
fn a_state_that_comes_with_the_repository_is_refused_and_nothing_of_it_is_followed() {
    let victim = Tree::with(&[("victim", "untouched")]);
    let shell = |scene: &Scene, script: &str| {
        let mut command = std::process::Command::new("/bin/sh");
        let command = command.args(["-ec", script]).current_dir(scene.tree.path()).env("V", victim.path());
        assert!(command.env("HOME", victim.path()).status().unwrap().success(), "{script}");
    };
    for (script, word) in [
        ("mkdir -p .wellspring; ln -s $V/victim .wellspring/open.lock", "is a link"),
        ("mkdir -p .wellspring; ln -s $V .wellspring/locks", "is a link"),
        ("mkdir -p .wellspring; ln -s $V .wellspring/platform", "is a link"),
        ("mkdir -p .wellspring; ln -s $V/new .wellspring/state.db", "is a link"),
        ("mkdir -p .wellspring; ln -s $V/victim .wellspring/fingerprint.key", "is a link"),
        ("ln -s $V .wellspring", "is a link"),
        ("mkdir -p .wellspring; mkfifo .wellspring/state.db", "no regular file"),
        ("mkdir -p .wellspring; mkfifo .wellspring/fingerprint.key", "no regular file"),
        ("mkdir -p .wellspring/open.lock", "wrong kind"),
        ("git init -q; mkdir -p .wellspring; echo x >.wellspring/x; git add -f .wellspring", "Git tracks"),
    ] {
        let scene = Scene::new();
        scene.declare("ws_one", &[("a", "a.example.com")]);
        shell(&scene, script);
        for args in [&["apply", "-y"][..], &["plan"], &["status"], &["doctor"], &["run"]] {
            let program = Wellspring::new().args(args).arg("-C").arg(scene.tree.path());
            let refused = program.platform(&scene.platform).run();
            let both = format!("{}{}", refused.stdout, refused.stderr);
            assert!(both.contains(word) && refused.code != Some(0), "{script}, {args:?}: {refused:#?}");
        }
        assert!(scene.platform.writes().is_empty());
        assert_eq!(std::fs::read_to_string(victim.join("victim")).unwrap(), "untouched", "{script}");
        assert_eq!(files_below(victim.path()).len(), 1, "{script}");
    }
    let scene = Scene::new();
    scene.declare("ws_one", &[("a", "a.example.com")]);
    shell(&scene, "git init -q; git add .");
    let program = Wellspring::new().args(["apply", "-y", "-C"]).arg(scene.tree.path());
    assert_eq!(program.platform(&scene.platform).run().code, Some(0));
    assert_eq!(std::fs::read_to_string(scene.tree.join(".wellspring/.gitignore")).unwrap(), "*\n");
    shell(&scene, "test -z \"$(git status --porcelain --untracked-files=all | grep wellspring/)\"");
}
