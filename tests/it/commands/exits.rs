//! Tests of each exit code, and of their precedence.

use serde_json::json;
use wellspring_testkit::{Fault, Finished, Platform, Scene, Tree, Wellspring};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

#[track_caller]
fn check(finished: &Finished, code: i32, stderr: &str) {
    assert_eq!(finished.code, Some(code), "{finished:#?}");
    assert!(finished.stderr.contains(stderr), "no {stderr:?} in {finished:#?}");
}

#[test]
fn zero_when_done_and_two_when_changes_are_pending_and_asked_for() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    check(&scene.wellspring(&["validate"]), 0, "");
    check(&scene.wellspring(&["plan"]), 0, "");
    check(&scene.wellspring(&["plan", "--detailed-exitcode"]), 2, "");
    check(&scene.wellspring(&["apply", "-y"]), 0, "");
    check(&scene.wellspring(&["plan", "--detailed-exitcode"]), 0, "");
}

#[test]
fn three_for_a_broken_file_while_the_others_are_served() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.tree.write(
        "workspaces/broken.toml",
        "[workspace]\nid = \"ws_two\"\n\n[sources.x]\ntyp = \"file\"\nprotect = 1\n",
    );
    let validate = scene.wellspring(&["validate"]);
    check(&validate, 3, "");
    let printed = format!("{}{}", validate.stdout, validate.stderr);
    assert!(printed.contains("2 errors in 1 of 3 files; nothing was contacted"), "{printed}");
    check(&scene.wellspring(&["apply", "-y"]), 3, "workspaces/broken.toml:");
    assert!(scene.holds("ws_one", &[A]));
}

#[test]
fn three_for_what_is_no_file_of_ours_while_the_others_are_served() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let tree = scene.tree.path();
    let million: String = (0..1_000_000).map(|n| format!("k{n} = 1\n")).collect();
    let start =
        "[workspace]\nid = \"ws_two\"\n\n[sources.x]\ntype = \"t\"\n\n[sources.x.connection_config]\n";
    scene.tree.write("million.toml", &format!("{start}{million}"));
    std::fs::File::create(tree.join("huge.toml")).unwrap().set_len(100 << 20).unwrap();
    std::fs::write(tree.join("bytes.toml"), b"\xff\xfe").unwrap();
    std::fs::write(tree.join("nul.toml"), b"a = \0").unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(tree.join("socket.toml")).unwrap();
    let pipe = std::process::Command::new("mkfifo").arg(tree.join("pipe.toml")).status().unwrap();
    assert!(pipe.success());
    for (to, link) in [("/dev/zero", "zero.toml"), ("loop.toml", "loop.toml"), ("/etc", "out"), (".", "self")]
    {
        std::os::unix::fs::symlink(to, tree.join(link)).unwrap();
    }
    let finished = scene.wellspring(&["validate", "--format", "json"]);
    let errors: serde_json::Value = serde_json::from_str(&finished.stdout).unwrap();
    let errors = errors["errors"].as_array().unwrap();
    let told: Vec<_> = errors
        .iter()
        .map(|error| (error["file"].as_str().unwrap(), error["code"].as_str().unwrap()))
        .collect();
    let files = [
        "bytes.toml",
        "huge.toml",
        "loop.toml",
        "million.toml",
        "nul.toml",
        "out",
        "pipe.toml",
        "socket.toml",
        "zero.toml",
    ];
    assert_eq!(told, files.map(|file| (file, "W001")), "one for each");
    check(&finished, 3, "");
    check(&scene.wellspring(&["apply", "-y"]), 3, "larger than 4 MiB");
    assert!(scene.holds("ws_one", &[A]));
}

#[test]
fn three_for_a_missing_secret_while_the_others_are_served() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, ("locked", "${NOT_SET_HERE}")]);
    let finished = scene.wellspring(&["apply", "-y"]);
    check(&finished, 3, "");
    assert!(finished.stdout.contains("NOT_SET_HERE"), "{finished:#?}");
    assert!(scene.holds("ws_one", &[A]));
    let plan = scene.wellspring(&["plan", "--format", "json"]);
    check(&plan, 0, "");
    assert!(plan.stdout.contains("\"complete\": false"), "{plan:#?}");
    check(&scene.wellspring(&["plan", "--detailed-exitcode"]), 2, "");
}

#[test]
fn three_without_a_tree() {
    let nowhere = Tree::new();
    check(&Wellspring::new().arg("plan").dir(nowhere.path()).run(), 3, "no wellspring.toml");
    check(&Wellspring::new().args(["plan", "no/such/place"]).run(), 3, "does not exist");
}

#[test]
fn three_for_a_file_where_the_directory_is_wanted_and_which_one_it_is() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let file = scene.tree.path().join("workspaces/ws_one.toml");
    let finished = Wellspring::new().arg("validate").arg(&file).run();
    check(&finished, 3, "is a file; name the project directory: ");
    assert!(finished.stderr.trim_end().ends_with(&scene.tree.path().display().to_string()), "{finished:#?}");
}

#[test]
fn five_when_the_token_is_refused_and_nothing_more_is_tried() {
    let scene = Scene::new();
    for n in 0..8 {
        scene.declare(&format!("ws_{n}"), &[A]);
    }
    scene.platform.set_token("another");
    let finished = scene.command(&["apply", "-y"]).env("PMTX_TOKEN", "token-of-the-tests").run();
    check(&finished, 5, "");
    assert!(scene.platform.writes().is_empty());
    check(&scene.command(&["plan"]).env("PMTX_TOKEN", "token-of-the-tests").run(), 5, "");
    check(&scene.command(&["test"]).env("PMTX_TOKEN", "token-of-the-tests").run(), 5, "");
}

#[test]
fn five_without_a_token() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    check(&scene.command(&["plan"]).env("PMTX_TOKEN", "").run(), 5, "PMTX_TOKEN");
}

#[test]
fn one_when_a_workspace_is_forbidden_while_the_others_are_served() {
    let scene = Scene::new();
    scene.declare("ws_bad", &[A]);
    scene.declare("ws_one", &[A]);
    scene.platform.script_for("ws_bad", "list", Fault::status(403, "not yours"));
    let finished = scene.wellspring(&["apply", "-y"]);
    check(&finished, 1, "");
    assert!(finished.stdout.contains("not yours"), "{finished:#?}");
    assert!(scene.holds("ws_one", &[A]) && scene.holds("ws_bad", &[]));
}

#[test]
fn one_when_a_list_is_partial_or_odd_and_nothing_is_written_there() {
    let odd = [
        json!({ "status": "success", "message": "", "data": {} }),
        json!({ "status": "success", "message": "", "data": null }),
        json!({ "status": "success", "message": "", "data": [{ "type": "file" }] }),
        json!({ "status": "success", "message": "", "data": [], "next": "/2" }),
        json!({ "status": "success", "message": "", "data": [], "has_more": true }),
        json!({ "status": "error", "message": "no", "data": [] }),
        json!([]),
    ];
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.declare("ws_two", &[A]);
    scene.apply();
    scene.declare("ws_one", &[B, ("gamma", "c.example.com")]);
    scene.platform.forget_calls();
    for body in odd {
        scene.platform.script_for("ws_one", "list", Fault::json(200, &body));
        check(&scene.wellspring(&["apply", "-y"]), 1, "");
        assert!(scene.platform.writes().is_empty(), "{body}");
    }
    scene.apply();
    assert!(scene.holds("ws_one", &[B, ("gamma", "c.example.com")]));
}

#[test]
fn four_when_a_guard_refuses_while_the_rest_is_done() {
    let scene = Scene::new();
    scene.tree.write("wellspring.toml", "[platform]\nsettle = \"0s\"\n\n[policy]\nprune = \"owned\"\n");
    scene.declare("ws_one", &[A, B, ("epsilon", "e.example.com"), ("gamma", "c.example.com")]);
    scene.apply();
    scene.declare("ws_one", &[("delta", "d.example.com")]);
    check(&scene.wellspring(&["plan"]), 4, "");
    let finished = scene.wellspring(&["apply", "-y"]);
    check(&finished, 4, "");
    assert!(finished.stdout.contains("permits 3 of 4 an hour"), "{finished:#?}");
    assert_eq!(scene.platform.names("ws_one", "user"), ["alpha", "beta", "delta", "epsilon", "gamma"]);
    assert!(finished.stdout.contains("apply -w ws_one --max-cleanup 4"), "{finished:#?}");
    check(&scene.wellspring(&["apply", "-y", "--max-cleanup", "4"]), 0, "");
    assert_eq!(scene.platform.names("ws_one", "user"), ["delta"]);
}

#[test]
fn prune_off_is_no_refusal() {
    let scene = Scene::new();
    scene.tree.write("wellspring.toml", "[platform]\nsettle = \"0s\"\n");
    scene.declare("ws_one", &[A, B]);
    scene.apply();
    scene.declare("ws_one", &[A]);
    let finished = scene.apply();
    assert!(finished.stdout.contains("prune is off"), "{finished:#?}");
    assert!(scene.holds("ws_one", &[A, B]));
    check(&scene.wellspring(&["apply", "-y", "--prune", "-s", "ws_one/beta"]), 0, "");
    assert!(scene.holds("ws_one", &[A]));
}

#[test]
fn sixty_four_when_there_is_nobody_to_ask() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    check(&scene.wellspring(&["apply"]), 64, "--yes");
    assert!(scene.platform.writes().is_empty());
    scene.apply();
    check(&scene.wellspring(&["apply"]), 0, "");
    check(&scene.wellspring(&["no-such-verb"]), 64, "");
    check(&scene.wellspring(&["plan", "--no-such-flag"]), 64, "");
    check(&scene.wellspring(&["schema", "no_such/alpha"]), 64, "no declared source matches `no_such/alpha`");
    check(&scene.wellspring(&["plan", "-w", "no_such"]), 64, "`wellspring show` lists");
    check(&Wellspring::new().run(), 64, "Usage");
}

#[test]
fn the_graver_of_several_counts() {
    let scene = Scene::new();
    scene.declare("ws_bad", &[A]);
    scene.declare("ws_one", &[A, ("locked", "${NOT_SET_HERE}")]);
    scene.platform.script_for("ws_bad", "list", Fault::status(403, "not yours"));
    check(&scene.wellspring(&["apply", "-y"]), 1, "");
    scene.platform.script_for("ws_bad", "list", Fault::status(401, "who are you?"));
    scene.platform.script_for("ws_bad", "list", Fault::status(401, "who are you?"));
    check(&scene.wellspring(&["apply", "-y"]), 5, "");
}

/// Plans with only these variables and this `wellspring.toml`.
fn plan_with(settings: &str, variables: &[(&str, &str)], flags: &[&str]) -> Finished {
    let tree = Tree::with(&[("wellspring.toml", settings)]);
    tree.write("one.toml", &wellspring_testkit::workspace_file("ws_one", &[A]));
    let command = Wellspring::new().arg("plan").arg(tree.path()).args(flags);
    variables.iter().fold(command, |command, (name, value)| command.env(name, *value)).run()
}

#[test]
fn the_platform_is_the_one_that_the_nearest_names() {
    let (first, second) = (Platform::start(), Platform::start());
    let (one, two) = (first.url(), second.url());
    let token = ("PMTX_TOKEN", &*first.token());
    let declared = format!("[platform]\nurl = \"{one}\"\n");
    let asked = |platform: &Platform| {
        let asked = !platform.calls().is_empty();
        platform.forget_calls();
        asked
    };
    let which = || (asked(&first), asked(&second));
    check(&plan_with("", &[token, ("JARVISPY_URL", &two)], &[]), 0, "");
    assert_eq!(which(), (false, true), "JARVISPY_URL fills a gap");
    check(&plan_with(&declared, &[token, ("JARVISPY_URL", &one)], &[]), 0, "");
    assert_eq!(which(), (true, false));
    check(&plan_with(&declared, &[token, ("JARVISPY_URL", &two)], &[]), 3, "JARVISPY_URL");
    assert_eq!(which(), (false, false), "two that differ: nobody is asked");
    check(&plan_with(&declared, &[token, ("JARVISPY_URL", &two), ("WELLSPRING_URL", &two)], &[]), 0, "");
    assert_eq!(which(), (false, true));
    check(&plan_with(&declared, &[token, ("WELLSPRING_URL", &one)], &["--url", &two]), 0, "");
    assert_eq!(which(), (false, true));
    check(&plan_with("[platform]\nurl = \"local\"\n", &[("JARVISPY_URL", &one)], &[]), 0, "");
    assert_eq!(which(), (false, false), "local is local");
    check(&plan_with("", &[token], &[]), 3, "no platform URL");
}

#[test]
fn the_base_url_may_end_in_any_of_the_usual_ways() {
    let platform = Platform::start();
    for ending in ["", "/", "/api/v1", "/api/v1/"] {
        let url = format!("{}{ending}", platform.url());
        let finished = plan_with("", &[("PMTX_TOKEN", &platform.token()), ("JARVISPY_URL", &url)], &[]);
        check(&finished, 0, "");
    }
}

#[test]
fn the_host_file_s_token_goes_before_the_variable() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let host = scene.state.join("daemon.toml");
    std::fs::write(&host, "[platform]\ntoken = { secret = \"env:HOST_TOKEN\" }\n").unwrap();
    let command = scene.command(&["plan", "--config", host.to_str().unwrap()]);
    let finished = command.env("PMTX_TOKEN", "wrong").env("HOST_TOKEN", scene.platform.token()).run();
    check(&finished, 0, "");
}

#[test]
fn no_duration_is_so_short_that_the_platform_is_asked_without_a_pause() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let host = scene.state.join("daemon.toml");
    let validate = |settings: &str| {
        std::fs::write(&host, settings).unwrap();
        scene.wellspring(&["validate", "--config", host.to_str().unwrap()])
    };
    for text in ["0s", "0m", "999ms"] {
        let finished = scene.wellspring(&["run", "--interval", text]);
        check(&finished, 64, "one second is the shortest");
        for (table, key) in [("daemon", "interval"), ("platform", "timeout"), ("platform", "sync_timeout")] {
            let finished = validate(&format!("[{table}]\n{key} = \"{text}\"\n"));
            check(&finished, 3, "one second is the shortest");
        }
    }
    check(&scene.wellspring(&["run", "--interval", "367d"]), 64, "366 days are the longest");
    check(&validate("[daemon]\ninterval = \"367d\"\n"), 3, "366 days are the longest");
    check(&validate("[daemon]\ninterval = \"1d\"\n\n[platform]\nsync_timeout = \"1h 30m\"\n"), 0, "");
    check(&validate("[daemon]\nsettle = \"1ms\"\n\n[platform]\nsettle = \"0s\"\n"), 0, "");
    assert!(scene.platform.calls().is_empty());
}

#[test]
fn one_when_the_answer_cannot_be_written() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.apply();
    let full = |args: &[&str]| scene.here(Wellspring::after("exec >/dev/full"), args).run();
    for args in [
        &["plan", "--format", "json"][..],
        &["plan"],
        &["show"],
        &["validate"],
        &["status"],
        &["history", "--changes"],
        &["doctor"],
        &["explain", "W012"],
        &["--help"],
    ] {
        check(&full(args), 1, "error: cannot write the output: No space left on device");
    }
    let program =
        format!("{} show -C {} | true", env!("CARGO_BIN_EXE_wellspring"), scene.tree.path().display());
    let unread = std::process::Command::new("/bin/sh").args(["-c", &program]).output().unwrap();
    assert!(unread.stderr.is_empty(), "a reader that went away is no error: {unread:?}");
}

#[test]
fn sixty_four_for_every_pattern_that_matches_nothing_and_nothing_is_done() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    let unknown = scene.wellspring(&["apply", "-y", "-s", "alpha", "-s", "nope"]);
    check(&unknown, 64, "nope");
    assert!(scene.platform.writes().is_empty(), "{unknown:#?}");
    scene.apply();
    scene.platform.forget_calls();
    for verb in ["plan", "status", "test"] {
        check(&scene.wellspring(&[verb, "-s", "alpha", "-s", "ws_one/nope"]), 64, "ws_one/nope");
        check(&scene.wellspring(&[verb, "-w", "ws_one", "-w", "nope"]), 64, "nope");
        check(&scene.wellspring(&[verb, "-s", "alpha", "-s", "ws_one/b*", "-w", "ws_one"]), 0, "");
    }
    for verb in ["show", "sync"] {
        check(&scene.wellspring(&[verb, "ws_one/*", "shop/nope"]), 64, "shop/nope");
        check(&scene.wellspring(&[verb, "-w", "ws_one", "-w", "nope"]), 64, "nope");
    }
    assert!(scene.platform.writes().is_empty(), "nothing was synced");
    // The unreadable file may declare what was meant.
    scene.tree.write("workspaces/broken.toml", "oops = [\n");
    check(&scene.wellspring(&["plan", "-s", "alpha", "-s", "nope"]), 3, "");
}

#[test]
fn who_asks_for_a_suspended_source_is_told_so() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.apply();
    let file = scene.tree.read("workspaces/ws_one.toml");
    let suspended = "[sources.beta]\nsuspend = { reason = \"moving house\" }\n";
    scene.tree.write("workspaces/ws_one.toml", &file.replace("[sources.beta]\n", suspended));
    check(&scene.wellspring(&["sync", "ws_one/beta"]), 64, "ws_one/beta is suspended (moving house)");
    check(&scene.wellspring(&["sync", "ws_one/*"]), 0, "");
}

#[test]
fn a_history_in_which_nothing_matches_is_not_called_empty() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    check(&scene.wellspring(&["history"]), 0, "No syncs yet.");
    check(&scene.wellspring(&["history", "-s", "zzz"]), 0, "No syncs yet.");
    scene.apply();
    check(&scene.wellspring(&["sync"]), 0, "");
    check(&scene.wellspring(&["history", "-s", "zzz"]), 0, "No sync matches.");
    check(&scene.wellspring(&["history", "--changes", "-s", "zzz"]), 0, "No change matches.");
}

#[test]
fn a_format_that_an_answer_does_not_have_is_a_usage_error_that_names_what_there_is() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let refused = |verb: &[&str], format: &str, there_is: &str| {
        let finished = scene.wellspring(&[verb, &["--format", format]].concat());
        check(
            &finished,
            64,
            &format!("this command does not support --format {format}; supported: {there_is}\n"),
        );
        assert_eq!(finished.stdout, "");
    };
    let verbs = "fmt show init pull sync test status history doctor serve json-schema";
    for verb in verbs.split(' ') {
        refused(&[verb], "markdown", "human, json");
        refused(&[verb], "github", "human, json");
    }
    refused(&["schema", "ws_one/alpha"], "github", "human, json");
    refused(&["explain", "W010"], "markdown", "human, json");
    refused(&["validate"], "markdown", "human, json, github");
    for format in ["json", "markdown", "github"] {
        for verb in [&["run"][..], &["man"], &["help"], &["completions", "bash"]] {
            refused(verb, format, "human");
        }
    }
    for verb in ["plan", "apply", "validate"] {
        for format in ["human", "json", "github"] {
            let finished = scene.wellspring(&[verb, "--format", format]);
            assert!(!finished.stderr.contains("--format"), "{finished:#?}");
        }
    }
}

#[test]
fn a_sync_of_nothing_says_so_and_that_nothing_was_left_out() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let sync = scene.wellspring(&["sync"]);
    check(&sync, 0, "");
    assert!(sync.stdout.starts_with("Nothing to sync: "), "{sync:#?}");
    let sync = scene.wellspring(&["sync", "--format", "json"]);
    let answer: serde_json::Value = serde_json::from_str(&sync.stdout).unwrap();
    assert_eq!(answer, json!({ "format_version": 1, "syncs": [], "not_sent": 0 }));
    check(&scene.wellspring(&["sync", "--due"]), 0, "");
}
