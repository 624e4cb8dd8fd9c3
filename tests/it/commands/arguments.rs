//! Tests of arguments and environments of first-time users.

use wellspring_testkit::{Finished, Scene, Semantics, TestManner, Wellspring, workspace_file};

const A: (&str, &str) = ("alpha", "a.example.com");

#[track_caller]
fn check(finished: &Finished, code: i32, expected: &str) {
    assert_eq!(finished.code, Some(code), "{finished:#?}");
    let printed = format!("{}{}", finished.stdout, finished.stderr);
    assert!(printed.contains(expected), "no {expected:?} in {finished:#?}");
}

/// A workspace whose source has a password, with or without connection tests.
fn with_a_password(test_connection: TestManner) -> (Scene, impl Fn(&[&str]) -> Finished) {
    let scene = Scene::with(Semantics { test_connection, ..Semantics::default() });
    let text = workspace_file("ws_one", &[A]);
    scene.tree.write("workspaces/one.toml", &format!("{text}password = \"${{DB_PASSWORD}}\"\n"));
    let tree = scene.tree.path().to_owned();
    let state = scene.state.path().to_owned();
    let (url, token) = (scene.platform.url(), scene.platform.token());
    let run = move |args: &[&str]| {
        let program = Wellspring::new().args(args).arg("-C").arg(&tree).arg("--state-dir").arg(&state);
        program.env("WELLSPRING_URL", &url).env("PMTX_TOKEN", &token).env("DB_PASSWORD", "hunter-22").run()
    };
    (scene, run)
}

#[test]
fn a_platform_without_connection_tests_passes_no_test_and_is_sent_no_secret() {
    let (scene, run) = with_a_password(TestManner::Missing);
    for verb in [&["test"][..], &["plan", "--test"]] {
        check(&run(verb), 1, "1 source not tested, because the platform has no test-connection");
        check(&run(&[verb, &["--allow-untested"]].concat()), 0, "1 source not tested");
    }
    let json: serde_json::Value = serde_json::from_str(&run(&["test", "--format", "json"]).stdout).unwrap();
    assert_eq!(json["tests"][0]["outcome"], "untested");
    let calls = scene.platform.calls_to("test-connection");
    assert!(!calls.is_empty());
    for call in calls {
        assert!(!String::from_utf8_lossy(&call.body).contains("hunter-22"), "{call:?}");
    }
}

#[test]
fn no_secret_is_sent_to_a_test_before_the_workspace_is_listed() {
    let (scene, run) = with_a_password(TestManner::Works);
    check(&run(&["test"]), 0, "ws_one/alpha");
    scene.platform.script("list", wellspring_testkit::Fault::status(404, "no such route"));
    scene.platform.forget_calls();
    check(&run(&["test"]), 1, "not tested: could not list the sources of ws_one");
    assert!(scene.platform.calls_to("test-connection").is_empty());
}

#[test]
fn an_empty_variable_is_an_unset_one() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let settings = scene.tree.read("wellspring.toml");
    let named = format!("[platform]\nurl = \"{}\"\n", scene.platform.url());
    scene.tree.write("wellspring.toml", &settings.replace("[platform]\n", &named));
    let mut run =
        Wellspring::new().arg("plan").dir(scene.tree.path()).env("PMTX_TOKEN", scene.platform.token());
    for name in ["URL", "STATE_DIR", "CONFIG", "LOG_FORMAT", "LOG"] {
        run = run.env(&format!("WELLSPRING_{name}"), "");
    }
    for name in ["JARVISPY_URL", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "NO_COLOR", "COLUMNS"] {
        run = run.env(name, "");
    }
    check(&run.run(), 0, "1 to connect");
    let run = Wellspring::new().arg("plan").dir(scene.tree.path()).env("PMTX_TOKEN", "");
    check(&run.run(), 5, "PMTX_TOKEN");
}

#[test]
fn a_pattern_of_files_that_matches_nothing_is_named_by_every_command_and_the_daemon() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let settings = scene.tree.read("wellspring.toml");
    scene.tree.write("wellspring.toml", &format!("files = [\"workspace/**/*.toml\"]\n\n{settings}"));
    let named = "no file matches the pattern `workspace/**/*.toml`";
    for verb in ["validate", "plan", "status", "show", "doctor"] {
        check(&scene.wellspring(&[verb]), 0, named);
    }
    check(&scene.wellspring(&["validate"]), 0, "did you mean `workspaces/**/*.toml`?");
    check(&scene.wellspring(&["validate", "--format", "github"]), 0, "::warning file=wellspring.toml,line=1");
    let daemon = scene.daemon();
    daemon.wait_for_line(named);
}

/// Two workspaces, `ws_one` with `alpha` and `beta`, and `ws_two` with `gamma`.
fn two_workspaces() -> Scene {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, ("beta", "b.example.com")]);
    scene.declare("ws_two", &[("gamma", "c.example.com")]);
    scene
}

#[test]
fn every_command_takes_workspaces_and_sources_by_name() {
    let scene = two_workspaces();
    let names = |args: &[&str]| {
        let printed = scene.wellspring(args);
        assert_eq!(printed.code, Some(0), "{printed:#?}");
        ["alpha", "beta", "gamma"].map(|name| printed.stdout.contains(name))
    };
    check(&scene.wellspring(&["apply", "-y", "ws_two"]), 0, "ws_two/gamma connected");
    assert!(scene.holds("ws_one", &[]));
    check(&scene.wellspring(&["apply", "-y", "ws_one/alpha"]), 0, "ws_one/alpha connected");
    assert!(scene.holds("ws_one", &[A]));
    check(&scene.wellspring(&["apply", "-y", "ws_*"]), 0, "ws_one/beta connected");
    for verb in [&["plan", "-v"][..], &["show"], &["test"], &["status"], &["sync"], &["history"]] {
        assert_eq!(names(&[verb, &["ws_two"]].concat()), [false, false, true], "{verb:?}");
        assert_eq!(names(&[verb, &["ws_one/alpha"]].concat()), [true, false, false], "{verb:?}");
        assert_eq!(names(&[verb, &["ws_one/b*", "ws_two"]].concat()), [false, true, true], "{verb:?}");
        assert_eq!(names(&[verb, &["beta"]].concat()), [false, true, false], "{verb:?}");
    }
}

#[test]
fn a_name_that_matches_nothing_comes_with_the_one_that_was_meant() {
    let scene = two_workspaces();
    scene.apply();
    for (args, meant) in [
        (&["plan", "-w", "ws_onee"][..], "did you mean `ws_one`?"),
        (&["plan", "ws_onee"], "did you mean `ws_one`?"),
        (&["apply", "ws_one/alpa"], "did you mean `ws_one/alpha`?"),
        (&["test", "ws_2/gamma"], "did you mean `ws_two/gamma`?"),
        (&["status", "-s", "gama"], "did you mean `gamma`?"),
        (&["sync", "ws_two/gama"], "did you mean `ws_two/gamma`?"),
        (&["show", "ws_two/gama"], "did you mean `ws_two/gamma`?"),
        (&["schema", "ws_two/gama"], "did you mean `ws_two/gamma`?"),
        (&["pull", "ws_tow"], "did you mean `ws_two`?"),
        (&["explain", "W0133"], "did you mean W013?"),
        (&["help", "paln"], "did you mean `plan`?"),
        (&["paln"], "'plan'"),
        (&["run", "--listen", "nowhere"], "not an address"),
    ] {
        let before = scene.platform.writes().len();
        check(&scene.wellspring(args), 64, meant);
        assert_eq!(scene.platform.writes().len(), before, "{args:?}");
    }
}

#[test]
fn a_directory_in_place_of_a_name_is_the_project_unless_a_folder_of_it_is_meant() {
    let scene = two_workspaces();
    let here = |args: &[&str], dir: &std::path::Path| {
        let program = Wellspring::new().args(args).arg("--state-dir").arg(scene.state.path()).dir(dir);
        program.platform(&scene.platform).run()
    };
    let root = scene.tree.path();
    scene.tree.write("ws_two/notes.txt", "a folder with the name of a workspace");
    let elsewhere = scene.state.path();
    for verb in ["plan", "show", "test", "status"] {
        check(&here(&[verb, root.to_str().unwrap(), "ws_two"], elsewhere), 0, "gamma");
        let printed = here(&[verb, "ws_two"], root);
        check(&printed, 0, "gamma");
        assert!(!printed.stdout.contains("alpha"), "{printed:#?}");
        check(&here(&[verb, "./nowhere"], root), 3, "does not exist");
    }
    let file = root.join("workspaces/ws_one.toml");
    check(&here(&["plan", file.to_str().unwrap()], root), 3, "is a file; name the project directory");
}

#[test]
fn a_saved_plan_of_one_workspace_is_applied_to_that_one() {
    let scene = two_workspaces();
    let file = scene.state.join("two.plan");
    check(&scene.wellspring(&["plan", "ws_two", "--out", file.to_str().unwrap()]), 0, "1 to connect");
    check(&scene.wellspring(&["apply", file.to_str().unwrap(), "ws_one", "-y"]), 64, "applied unchanged");
    check(&scene.wellspring(&["apply", file.to_str().unwrap(), "-y"]), 0, "");
    assert!(scene.holds("ws_two", &[("gamma", "c.example.com")]) && scene.holds("ws_one", &[]));
}

#[test]
fn help_and_version_are_commands_too() {
    for (args, expected) in [
        (&["version"][..], concat!("wellspring ", env!("CARGO_PKG_VERSION"))),
        (&["help"], "PMTX_TOKEN"),
        (&["help", "plan"], "--detailed-exitcode"),
        (&["help", "W012"], "connection_config"),
        (&["explain"], "W030  Secret in plain text"),
        (&["plan", "--help"], "--detailed-exitcode"),
    ] {
        check(&Wellspring::new().args(args).run(), 0, expected);
    }
}

#[test]
fn what_init_writes_can_be_filled_by_pull_or_by_hand() {
    let scene = Scene::new();
    scene.someone_adds("ws_example", "orders");
    let tree = scene.state.join("new");
    let run = |args: &[&str]| {
        let program = Wellspring::new().args(args).platform(&scene.platform);
        program.arg("-C").arg(&tree).run()
    };
    check(&run(&["init"]), 0, "workspaces/example.toml");
    let example = tree.join("workspaces/example.toml");
    let scaffold = std::fs::read_to_string(&example).unwrap();
    let uncommented = scaffold.replace("# [", "[").replace("# type", "type");
    std::fs::write(&example, uncommented).unwrap();
    let validate = run(&["validate"]);
    check(&validate, 3, "`sources = {}` declares that the workspace has no sources, but sources follow");
    assert_eq!(validate.stderr.matches("error[").count(), 1, "{validate:#?}");
    check(&run(&["pull"]), 3, "fix the errors first");
    std::fs::write(&example, scaffold).unwrap();
    check(&run(&["pull"]), 0, "wrote  workspaces/example.toml: 1 source");
    assert!(std::fs::read_to_string(&example).unwrap().contains("[sources.orders]"));
    check(&run(&["pull", "--force"]), 0, "1 source");
    check(&run(&["pull"]), 1, "workspaces/example.toml already exists; use --force to overwrite it");
}

#[test]
fn pull_writes_where_the_files_are_read() {
    let scene = Scene::new();
    scene.someone_adds("ws_one", "orders");
    let settings = scene.tree.read("wellspring.toml");
    scene.tree.write("wellspring.toml", &format!("files = [\"teams/*/sources.toml\"]\n{settings}"));
    check(&scene.wellspring(&["pull", "ws_one"]), 0, "wrote  teams/ws_one/sources.toml");
    check(&scene.wellspring(&["plan"]), 0, "1 to adopt");
    scene.tree.remove("teams/ws_one/sources.toml");
    scene.tree.write("wellspring.toml", &format!("files = [\"sales.toml\"]\n{settings}"));
    check(&scene.wellspring(&["pull", "ws_one"]), 3, "match no new file for ws_one");
    assert!(!scene.tree.join("workspaces").exists());
}

#[test]
fn a_merge_conflict_is_one_error_that_says_so() {
    let scene = Scene::new();
    let file = workspace_file("ws_one", &[A]);
    let conflict = "<<<<<<< HEAD\nhost = \"a\"\n||||||| base\n=======\nhost = \"b\"\n>>>>>>> topic\n";
    for text in [format!("{file}{conflict}"), conflict.replace("||||||| base\n", "").replace('\n', "\r\n")] {
        scene.tree.write("workspaces/one.toml", &text);
        let validate = scene.wellspring(&["validate"]);
        check(&validate, 3, "the file has an unresolved merge conflict");
        assert_eq!(validate.stderr.matches("error[").count(), 1, "{validate:#?}");
    }
}

#[test]
fn fmt_takes_files_and_stdin_and_shows_what_it_would_change() {
    let scene = Scene::new();
    scene.tree.write("workspaces/one.toml", "[workspace]\nid='ws_one'\nsources={}\n");
    let untidy = scene.tree.read("workspaces/one.toml");
    let file = scene.tree.join("workspaces/one.toml");
    let file = file.to_str().unwrap();
    check(&scene.wellspring(&["fmt", "--diff"]), 0, "\n-id='ws_one'\n");
    check(&scene.wellspring(&["fmt", "--diff", "--check", file]), 1, "\n+id = ");
    assert_eq!(scene.tree.read("workspaces/one.toml"), untidy);
    check(&scene.wellspring(&["fmt", file]), 0, "changed  ");
    assert_ne!(scene.tree.read("workspaces/one.toml"), untidy);
    check(&scene.wellspring(&["fmt", "nowhere.toml"]), 64, "nowhere.toml does not exist");
    check(&Wellspring::after(&format!("exec <{file}")).args(["fmt", "-"]).run(), 0, "id = ");
}

#[test]
fn arguments_of_other_tools_are_answered_with_what_they_are_called_here() {
    for (args, expected) in [
        (&["plan", "--json"][..], "use `--format json`"),
        (&["apply", "--auto-approve"], "use `--yes`"),
        (&["apply", "--dry-run"], "use `wellspring plan`"),
        (&["status", "--detailed-exitcode"], "`--detailed-exitcode` is an option of `plan`"),
        (&["plan", "--detailed-exitcod"], "'--detailed-exitcode'"),
    ] {
        let finished = Wellspring::new().args(args).run();
        check(&finished, 64, expected);
        assert!(!finished.stderr.contains("as a value"), "{finished:#?}");
    }
}

#[test]
fn a_quiet_plan_is_its_summary_and_a_quiet_apply_too() {
    let scene = two_workspaces();
    let plan = scene.wellspring(&["plan", "-q"]);
    assert_eq!(plan.stdout.lines().count(), 1, "{plan:#?}");
    check(&plan, 0, "3 to connect");
    scene.platform.script_for("ws_two", "list", wellspring_testkit::Fault::status(403, "not yours"));
    check(&scene.wellspring(&["plan", "-q"]), 1, "not yours");
    let apply = scene.wellspring(&["apply", "-q", "-y"]);
    assert_eq!(apply.stdout.lines().count(), 1, "{apply:#?}");
    check(&apply, 0, "3 connected");
}

#[test]
fn show_gives_values_in_json_with_their_types() {
    let scene = Scene::new();
    let text = workspace_file("ws_one", &[A]);
    scene.tree.write("workspaces/one.toml", &format!("{text}port = 5432\ntags = [\"a\", true]\n"));
    let shown: serde_json::Value =
        serde_json::from_str(&scene.wellspring(&["show", "--format", "json"]).stdout).unwrap();
    let values = shown["sources"][0]["values"].as_array().unwrap();
    let json = |path: &str| values.iter().find(|value| value["path"] == path).unwrap()["json"].clone();
    assert_eq!(json("connection_config.port"), 5432);
    assert_eq!(json("connection_config.tags"), serde_json::json!(["a", true]));
    assert_eq!(json("connection_config.host"), A.1);
}

#[test]
fn files_in_yaml_json_or_with_another_extension_are_told_apart() {
    let scene = Scene::new();
    for (name, text, expected) in [
        ("yaml.toml", "workspace:\n  id: ws_1\n", "TOML writes `key = value`; `key: value` is YAML"),
        ("json.toml", "{\"workspace\": {\"id\": \"ws_1\"}}\n", "this file is JSON, not TOML"),
        ("bare.toml", "type = database\n", "write the text in quotes"),
        ("upper.TOML", "", "the extension must be `.toml` in lower case; rename the file"),
    ] {
        scene.tree.write(name, text);
        check(&scene.wellspring(&["validate"]), 3, expected);
        scene.tree.remove(name);
    }
    scene.tree.write("wellspring.toml", "[platform]\nurl = \"HTTPS://platform.example.com\"\n");
    check(&scene.wellspring(&["validate"]), 0, "no errors");
}

#[test]
fn a_file_in_place_of_the_state_directory_is_named() {
    let scene = two_workspaces();
    let file = scene.tree.join("wellspring.toml");
    for verb in ["plan", "apply", "status"] {
        let program =
            Wellspring::new().args([verb, "-C"]).arg(scene.tree.path()).arg("--state-dir").arg(&file);
        check(&program.platform(&scene.platform).run(), 3, "is a file; choose a directory with --state-dir");
    }
}

#[test]
fn the_manual_has_the_environment_files_and_examples() {
    let page = Wellspring::new().arg("man").run();
    for section in [".SH ENVIRONMENT", ".SH FILES", ".SH EXAMPLES", "PMTX_TOKEN"] {
        check(&page, 0, section);
    }
}

#[test]
fn a_reader_that_goes_away_breaks_nothing() {
    let scene = two_workspaces();
    scene.tree.write("workspaces/broken.toml", &"oops = [\n".repeat(100));
    let program = format!(
        "{} validate -C {} 2>&1 | true; exit ${{PIPESTATUS[0]}}",
        env!("CARGO_BIN_EXE_wellspring"),
        scene.tree.path().display()
    );
    let status = std::process::Command::new("bash").args(["-c", &program]).status().unwrap();
    assert_eq!(status.code(), Some(3));
}

#[test]
fn a_history_without_entries_names_a_misspelled_workspace() {
    let scene = two_workspaces();
    check(
        &scene.wellspring(&["history", "ws_on"]),
        0,
        "No syncs yet. Note: no workspace or declared source matches `ws_on`; did you mean `ws_one`?",
    );
    check(&scene.wellspring(&["history", "ws_one"]), 0, "No syncs yet.\n");
    check(&scene.wellspring(&["explain", "12"]), 0, "connection_config");
}

#[test]
fn a_shell_completes_the_names_that_the_files_declare() {
    let scene = two_workspaces();
    let complete = |word: &str| {
        let program = Wellspring::new().args(["--", "wellspring", "plan", word]).dir(scene.tree.path());
        program.env("COMPLETE", "fish").run().stdout
    };
    assert_eq!(complete("ws_").lines().collect::<Vec<_>>(), ["ws_one", "ws_two"]);
    assert_eq!(complete("ws_one/").lines().collect::<Vec<_>>(), ["ws_one/alpha", "ws_one/beta"]);
    check(&Wellspring::new().env("COMPLETE", "bash").run(), 0, "complete");
}

#[test]
fn a_repository_whose_commits_cannot_be_read_is_named() {
    let scene = two_workspaces();
    scene.tree.write(".git/HEAD", "ref: refs/heads/.invalid\n");
    scene.tree.write(".git/reftable/tables.list", "");
    check(
        &scene.wellspring(&["doctor"]),
        0,
        "commit unknown (the Git repository uses reftable, which only the git program reads)",
    );
    scene.daemon().wait_for_line("changes are recorded without a commit");
}

#[test]
fn a_platform_that_is_not_one_is_answered_with_what_to_check() {
    let scene = two_workspaces();
    scene.platform.script_always("list", wellspring_testkit::Fault::status(404, ""));
    let words = |finished: &Finished| finished.stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    let plan = scene.wellspring(&["plan", "ws_one"]);
    assert!(words(&plan).contains("check the platform's URL and the workspace's id"), "{plan:#?}");
    let plain = Wellspring::new().args(["plan", "--url", "http://192.0.2.1", "-C"]).arg(scene.tree.path());
    check(
        &plain.env("PMTX_TOKEN", "t").run(),
        3,
        "error: cannot use http://192.0.2.1: plain http:// would send",
    );
}
