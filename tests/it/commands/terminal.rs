//! Tests at a terminal: fitted output, progress, and Ctrl-C.

use wellspring_testkit::{Fault, Finished, Gate, Running, Scene, Wellspring, until};

const A: (&str, &str) = ("alpha", "a.example.com");

fn start(scene: &Scene, columns: usize, args: &[&str]) -> Running {
    let (tree, state) = (scene.tree.path().to_str().unwrap(), scene.state.path().to_str().unwrap());
    let args = [args, &["-C", tree, "--state-dir", state]].concat();
    Wellspring::at_a_terminal(columns, &args).platform(&scene.platform).spawn()
}

/// Returns the lines, except for the one with the process id.
fn lines(finished: &Finished) -> Vec<&str> {
    finished.stdout.lines().skip(1).collect()
}

fn interrupt(running: &Running) {
    let pid = running.stdout().lines().next().unwrap().trim().to_owned();
    let kill = format!("kill -s INT {pid}");
    assert!(std::process::Command::new("/bin/sh").args(["-c", &kill]).status().unwrap().success());
}

#[test]
fn a_plan_fits_the_width_of_the_terminal() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, ("beta", "b.example.com")]);
    scene.apply();
    let settings = scene.tree.read("wellspring.toml").replace("prune = \"owned\"", "prune = \"off\"");
    scene.tree.write("wellspring.toml", &settings);
    scene.declare("ws_one", &[A]);
    let plan = |columns| {
        let finished = start(&scene, columns, &["plan"]).finish();
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        finished
    };
    let narrow = plan(80);
    let rows: Vec<_> = lines(&narrow).into_iter().filter(|line| line.starts_with(' ')).collect();
    assert!(rows.iter().all(|row| row.chars().count() <= 80), "{narrow:#?}");
    let wide = plan(140);
    let whole = "to allow: write `prune = \"owned\"` under [policy], or run `wellspring apply --prune -s ws_one/beta`";
    assert!(lines(&wide).iter().any(|line| line.trim() == whole), "{wide:#?}");
}

#[test]
fn tables_fit_the_width_of_the_terminal_and_are_a_line_a_row_elsewhere() {
    let scene = Scene::new();
    let workspace = "[workspace]\nid = \"ws_one\"\n\n[sources.alpha]\ntype = \"database\"\n\
                     sync = { cron = \"15 2 * * *\", timezone = \"Asia/Tokyo\" }\n\
                     connection_config = { host = \"a.example.com\" }\n";
    scene.tree.write("workspaces/one.toml", workspace);
    scene.apply();
    scene.platform.script(
        "sync",
        Fault::status(400, "the table orders of the schema public has no key by which to read"),
    );
    assert_eq!(scene.wellspring(&["sync", "ws_one/alpha"]).code, Some(1));
    for (args, rows) in [(&["status"][..], 2), (&["history"], 2), (&["history", "--changes"], 2)] {
        for columns in [40, 60, 80, 94] {
            let finished = start(&scene, columns, args).finish();
            assert_eq!(finished.code, Some(0), "{finished:#?}");
            let shown = lines(&finished);
            assert!(
                shown.iter().all(|line| line.chars().count() <= columns),
                "{args:?} at {columns}: {shown:#?}"
            );
        }
        let piped = scene.wellspring(args).stdout;
        let table: Vec<&str> = piped.lines().take_while(|line| !line.is_empty()).collect();
        assert_eq!(table.len(), rows, "{piped}");
    }
}

#[test]
fn an_interrupt_at_the_question_applies_nothing() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let apply = start(&scene, 80, &["apply"]);
    apply.wait_for_line("Apply these changes?");
    interrupt(&apply);
    let finished = apply.finish();
    assert_eq!(finished.code, Some(130), "{finished:#?}");
    assert!(finished.stdout.contains("nothing was applied"), "{finished:#?}");
    assert!(scene.platform.writes().is_empty());
}

#[test]
fn a_long_sync_is_seen_to_go_on() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.apply();
    let gate = Gate::closed();
    scene.platform.script("sync", Fault::HoldBeforeActing(gate.clone()));
    let sync = start(&scene, 80, &["sync"]);
    until("it syncs", || !scene.platform.calls_to("sync").is_empty());
    sync.wait_for_line("syncing 1 source, 0s: ws_one/alpha");
    gate.open();
    let finished = sync.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(finished.stdout.contains("\r\u{1b}[K✓ ws_one/alpha synced"), "{:?}", finished.stdout);
}

#[test]
fn without_a_terminal_nothing_is_written_twice() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.apply();
    let finished = scene.wellspring(&["sync"]);
    assert_eq!(finished.stderr, "");
    assert!(!finished.stdout.contains(['\r', '\u{1b}']), "{:?}", finished.stdout);
}

#[test]
fn a_dumb_terminal_gets_text_alone_and_colour_is_for_those_who_ask() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    let plan = |args: &[&str], variables: &[(&str, &str)]| {
        let (tree, state) = (scene.tree.path().to_str().unwrap(), scene.state.path().to_str().unwrap());
        let args = [&["plan"], args, &["-C", tree, "--state-dir", state]].concat();
        let terminal = Wellspring::at_a_terminal(80, &args).platform(&scene.platform).env("NO_COLOR", "");
        let set = |command: Wellspring, (name, value): &(&str, &str)| command.env(name, value);
        let finished = variables.iter().fold(terminal, set).spawn().finish();
        assert_eq!(finished.code, Some(0), "{finished:#?}");
        finished.stdout.contains('\u{1b}')
    };
    assert!(plan(&[], &[("TERM", "xterm")]));
    assert!(!plan(&[], &[("TERM", "dumb")]));
    assert!(plan(&["--color", "always"], &[("TERM", "dumb")]));
    assert!(plan(&[], &[("TERM", "dumb"), ("CLICOLOR_FORCE", "1")]));
    assert!(!plan(&[], &[("TERM", "xterm"), ("NO_COLOR", "1")]));
    assert!(!plan(&[], &[("TERM", "xterm"), ("NO_COLOR", "1"), ("CLICOLOR_FORCE", "1")]));
    assert!(!plan(&["--color", "never"], &[("CLICOLOR_FORCE", "1")]));
    let piped = |variables: &[(&str, &str)]| {
        let set = |command: Wellspring, (name, value): &(&str, &str)| command.env(name, value);
        variables
            .iter()
            .fold(scene.command(&["plan"]).env("NO_COLOR", ""), set)
            .run()
            .stdout
            .contains('\u{1b}')
    };
    assert!(!piped(&[]));
    assert!(piped(&[("CLICOLOR_FORCE", "1")]));
    assert!(!piped(&[("CLICOLOR_FORCE", "0")]));
}

#[test]
fn a_dumb_terminal_is_sent_no_codes_while_a_sync_goes_on() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.apply();
    let gate = Gate::closed();
    scene.platform.script("sync", Fault::HoldBeforeActing(gate.clone()));
    let (tree, state) = (scene.tree.path().to_str().unwrap(), scene.state.path().to_str().unwrap());
    let args = ["sync", "-C", tree, "--state-dir", state];
    let sync = Wellspring::at_a_terminal(80, &args).platform(&scene.platform).env("TERM", "dumb").spawn();
    until("it syncs", || !scene.platform.calls_to("sync").is_empty());
    gate.open();
    let finished = sync.finish();
    assert_eq!(finished.code, Some(0), "{finished:#?}");
    assert!(finished.stdout.contains("✓ ws_one/alpha synced"), "{:?}", finished.stdout);
    assert!(!finished.stdout.contains('\u{1b}'), "{:?}", finished.stdout);
}

#[test]
fn nothing_that_others_have_named_moves_the_cursor_or_hides_text() {
    const ODD: &str = "x\u{1b}[2J\u{202e}y\u{200b}";
    let scene = Scene::new();
    scene.declare("ws_one", &[A]);
    scene.apply();
    scene.someone_adds("ws_one", ODD);
    scene.tree.write(&format!("workspaces/{ODD}.toml"), "[workspace]\nid = \"ws_two\"\n\n[sources.a\n");
    let named =
        format!("[workspace]\nid = \"ws_three\"\n\n[sources.\"{ODD}\"]\n").replace('\u{1b}', "\\u001b");
    scene.tree.write("workspaces/named.toml", &named);
    let verbs = "validate plan apply fmt show pull sync test status history doctor";
    for (verb, format) in verbs.split(' ').flat_map(|verb| [(verb, "human"), (verb, "json")]) {
        let yes = if verb == "apply" { &["--yes"][..] } else { &[] };
        let finished = scene.wellspring(&[&[verb, "--format", format], yes].concat());
        let printed = format!("{}{}", finished.stdout, finished.stderr);
        let odd = printed.chars().find(|c| c.is_control() && *c != '\n' || "\u{202e}\u{200b}".contains(*c));
        assert_eq!(odd, None, "{verb} {format}: {finished:#?}");
    }
    for verb in ["plan", "validate"] {
        let printed = scene.wellspring(&[verb, "--format", "github"]).stdout;
        assert!(!printed.contains(['\u{1b}', '\u{202e}', '\u{200b}']), "{printed:?}");
    }
}

#[test]
fn every_command_that_waits_for_the_platform_shows_that_it_does_at_a_terminal_and_not_in_a_pipe() {
    for (args, shown) in [
        (&["plan"][..], "comparing the files with the platform"),
        (&["apply", "-y"], "comparing the files with the platform"),
        (&["pull", "ws_one"], "reading the sources of the platform"),
        (&["test"], "testing 1 source"),
    ] {
        let scene = Scene::new();
        scene.declare("ws_one", &[A]);
        let gate = Gate::closed();
        scene.platform.script("list", Fault::HoldBeforeActing(gate.clone()));
        let running = start(&scene, 100, args);
        running.wait_for_line(shown);
        gate.open();
        running.finish();
        let piped = scene.wellspring(args);
        assert!(!piped.stderr.contains(shown), "{piped:#?}");
    }
}
