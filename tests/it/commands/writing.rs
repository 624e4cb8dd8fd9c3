//! Tests of the commands that write files, and of those about the program itself.

use serde_json::{Value, json};
use wellspring_testkit::{EchoManner, Scene, Semantics, Tree, Wellspring, files_below};

fn on(tree: &Tree, args: &[&str]) -> wellspring_testkit::Finished {
    Wellspring::new().args(args).arg("-C").arg(tree.path()).run()
}

const UNTIDY: &str = "[workspace]\nid='ws'\n[sources.a]\n\n\ntype = 'file' # why\n\
                      connection_config={path='a.csv'}\n";
const TIDY: &str = "[workspace]\nid = \"ws\"\n\n[sources.a]\n# why\ntype = \"file\"\n\
                    connection_config = { path = \"a.csv\" }\n";

#[test]
fn fmt_check_names_the_files_that_would_change_and_writes_nothing() {
    let tree = Tree::with(&[("a.toml", UNTIDY), ("b.toml", TIDY)]);
    let check = on(&tree, &["fmt", "--check"]);
    assert_eq!(check.code, Some(1), "{check:#?}");
    assert_eq!(check.stdout, "would change  a.toml\n");
    assert_eq!(tree.read("a.toml"), UNTIDY);
    let fmt = on(&tree, &["fmt", "--format", "json"]);
    assert_eq!(fmt.code, Some(0), "{fmt:#?}");
    let answer: Value = serde_json::from_str(&fmt.stdout).unwrap();
    assert_eq!(answer, json!({ "format_version": 1, "changed": ["a.toml"], "left_as_is": [] }));
    assert_eq!(tree.read("a.toml"), TIDY);
    assert_eq!(on(&tree, &["fmt", "--check"]).code, Some(0));
    assert_eq!(files_below(tree.path()).len(), 2, "nothing is left beside them");
}

#[test]
fn fmt_leaves_what_is_not_toml_as_it_is_and_says_so() {
    let tree = Tree::with(&[("a.toml", "oops = ["), ("b.toml", UNTIDY)]);
    let fmt = on(&tree, &["fmt"]);
    assert_eq!(fmt.code, Some(3), "{fmt:#?}");
    assert!(fmt.stderr.contains("a.toml: not formatted: the file has errors"), "{fmt:#?}");
    assert_eq!((tree.read("a.toml").as_str(), tree.read("b.toml").as_str()), ("oops = [", TIDY));
}

#[test]
fn show_prints_every_value_with_the_line_it_comes_from() {
    let tree = Tree::with(&[
        ("wellspring.toml", "[workspaces]\ncrm = \"ws\"\n\n[defaults]\nsync = { every = \"6h\" }\n"),
        ("a.toml", &TIDY.replace("id = \"ws\"", "use = \"crm\"")),
        ("b.toml", "[workspace]\nid = \"ws_2\"\n\n[sources.b]\ntype = \"file\"\nconnection_config = {}\n"),
    ]);
    let show = on(&tree, &["show", "crm/a"]);
    assert_eq!(show.code, Some(0), "{show:#?}");
    assert_eq!(
        show.stdout,
        "crm/a  a.toml:4\n  connection_config.path = \"a.csv\"  a.toml:7\n  \
         sync.every = \"6h\"                 wellspring.toml:5\n  \
         type = \"file\"                     a.toml:6\n"
    );
    let answer: Value = serde_json::from_str(&on(&tree, &["show", "--format", "json"]).stdout).unwrap();
    assert_eq!(answer["sources"].as_array().unwrap().len(), 2);
    assert_eq!(
        answer["sources"][0]["values"][1],
        json!({ "path": "sync.every", "value": "\"6h\"", "json": "6h", "from": { "file": "wellspring.toml", "line": 5 } })
    );
    assert_eq!(on(&tree, &["show", "crm/nothing"]).code, Some(64));
}

#[test]
fn init_writes_a_tree_that_validates_and_overwrites_nothing() {
    let tree = Tree::with(&[(".gitignore", "/target")]);
    let init = on(&tree, &["init"]);
    assert_eq!(init.code, Some(0), "{init:#?}");
    let validate = on(&tree, &["validate"]);
    assert_eq!(validate.code, Some(0), "{validate:#?}");
    assert_eq!(on(&tree, &["fmt", "--check"]).code, Some(0));
    assert_eq!(tree.read(".gitignore"), "/target\n.wellspring/\n");
    let plan = on(&tree, &["plan"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
    tree.write("wellspring.toml", "# mine\n");
    let before = files_below(tree.path());
    let again = on(&tree, &["init"]);
    assert_eq!(again.code, Some(1), "{again:#?}");
    assert_eq!(files_below(tree.path()), before);
}

#[test]
fn the_shipped_schemas_are_those_the_program_prints() {
    for kind in ["workspace", "settings"] {
        let printed = Wellspring::new().args(["json-schema", kind]).run();
        let shipped = std::fs::read_to_string(format!("schema/{kind}.schema.json")).unwrap();
        assert_eq!(printed.stdout, shipped);
    }
}

#[test]
fn every_example_names_its_schema_and_is_in_shape() {
    let mut seen = 0;
    for (path, bytes) in files_below("examples".as_ref()) {
        if path.ends_with(".toml") && !path.contains(".wellspring/") {
            let text = String::from_utf8(bytes).unwrap();
            let schema = text.lines().next().and_then(|line| line.strip_prefix("#:schema ")).unwrap();
            assert_eq!(text.lines().nth(1), Some(""), "{path}: a blank line after its #:schema line");
            let folder = std::path::Path::new("examples").join(&path);
            assert!(folder.parent().unwrap().join(schema).is_file(), "{path}: {schema}");
            assert_eq!(wellspring::config::format(&text).as_deref(), Some(text.as_str()), "{path}");
            seen += 1;
        }
    }
    assert!(seen >= 3);
}

#[test]
fn completions_and_the_manual_name_the_verbs() {
    for shell in ["bash", "zsh", "fish"] {
        let script = Wellspring::new().args(["completions", shell]).run();
        assert!(script.code == Some(0) && script.stdout.contains("validate"), "{shell}");
    }
    let page = Wellspring::new().arg("man").run();
    assert!(page.stdout.contains(".TH") && page.stdout.contains("pull"), "{page:#?}");
}

/// A scene with the workspace alias `crm` and no declared sources.
fn strangers(semantics: Semantics) -> Scene {
    let scene = Scene::with(semantics);
    scene.tree.write("wellspring.toml", "[platform]\nsettle = \"0s\"\n\n[workspaces]\ncrm = \"ws_one\"\n");
    scene
}

#[test]
fn plan_right_after_pull_finds_everything_as_declared() {
    let scene = strangers(Semantics { echo: EchoManner::Masked, ..Semantics::default() });
    scene.platform.add("ws_one", "user", "orders_db", "database", json!({
        "host": "db.example.com", "port": 5432, "password": "hunter2-canary", "tags": ["a", "b"], "tls": { "on": true },
    }));
    scene.platform.add(
        "ws_one",
        "user",
        "Price list (EU)",
        "file",
        json!({ "path": "eu.csv", "ratio": 0.5 }),
    );
    let plan = scene.wellspring(&["plan"]);
    let pull = scene.wellspring(&["pull", "crm"]);
    assert_eq!(pull.code, Some(0), "{plan:#?} {pull:#?}");
    let text = scene.tree.read("workspaces/crm.toml");
    assert!(text.contains("password = \"${CRM_ORDERS_DB_PASSWORD}\""), "{text}");
    assert!(text.contains("name = \"Price list (EU)\""), "{text}");
    assert!(pull.stdout.contains("CRM_ORDERS_DB_PASSWORD"), "{pull:#?}");
    assert_eq!(scene.wellspring(&["fmt", "--check"]).code, Some(0));
    let command = scene.command(&["plan", "--format", "json"]);
    let plan = command.env("CRM_ORDERS_DB_PASSWORD", "hunter2-canary").run();
    let plan: Value = serde_json::from_str(&plan.stdout).unwrap();
    assert_eq!(plan["summary"]["adopt"], 2, "{plan:#}");
    for none in ["connect", "replace", "cleanup", "withheld", "unmanaged"] {
        assert_eq!(plan["summary"][none], 0, "{plan:#}");
    }
    assert!(scene.platform.writes().is_empty());
}

#[test]
fn a_platform_that_shows_secrets_does_not_get_them_into_a_file() {
    let scene = strangers(Semantics::default());
    scene.platform.add(
        "ws_one",
        "user",
        "a",
        "database",
        json!({
            "password": "canary-7f3", "url": "postgres://reader:canary-7f3@db.example.com/x",
            "dsn": "host=db password=canary-7f3", "credentials": { "id": 7, "key": "canary-7f3" },
            "tokens": ["canary-7f3"], "query": "https://x.example.com/?api_key=canary-7f3",
        }),
    );
    scene.platform.modify("ws_one", "user", "a", |row| {
        row.metadata = json!({ "auth_token": "canary-7f3", "owner": "me" });
    });
    let pull = scene.wellspring(&["pull", "crm", "--format", "json"]);
    assert_eq!(pull.code, Some(0), "{pull:#?}");
    let text = scene.tree.read("workspaces/crm.toml");
    assert!(!text.contains("canary") && !pull.stdout.contains("canary"), "{text}");
    assert!(text.contains("postgres://reader:${CRM_A_URL_PASSWORD}@db.example.com/x"), "{text}");
    assert_eq!(scene.wellspring(&["validate"]).code, Some(0), "{text}");
}

#[test]
fn names_from_the_platform_are_only_names() {
    let scene = strangers(Semantics::default());
    let names = [
        "evil\"]\n[workspace]\nid = \"other\"",
        "../../etc/passwd",
        "${PMTX_TOKEN}",
        "\u{202e}x\u{1b}[2J",
        "[policy]",
        "a.b",
        "' OR 1",
        "pmtx",
        "#:schema x",
    ];
    for name in names {
        scene.platform.add("ws_one", "user", name, "file", json!({
            "token": "t", "a\nb = \"c\"": "${HOME}", "ref": { "secret": "env:HOME" }, "protect": true, "n": null,
            "deep": serde_json::from_str::<Value>(&format!("{}1{}", "[".repeat(40), "]".repeat(40))).unwrap(),
        }));
    }
    let pull = scene.wellspring(&["pull"]);
    assert_eq!(pull.code, Some(0), "{pull:#?}");
    let text = scene.tree.read("workspaces/crm.toml");
    let plain = |c: char| !c.is_control() || c == '\n';
    for text in [&text, &pull.stdout, &pull.stderr] {
        assert!(text.chars().all(plain) && !text.contains('\u{202e}'), "{text}");
    }
    let validate = scene.wellspring(&["validate"]);
    assert_eq!(validate.code, Some(0), "{text} {validate:#?}");
    let answer: Value =
        serde_json::from_str(&scene.wellspring(&["show", "--format", "json"]).stdout).unwrap();
    let sources = answer["sources"].as_array().unwrap();
    let found: std::collections::BTreeSet<&str> =
        sources.iter().map(|source| source["name"].as_str().unwrap()).collect();
    // A name that reads as a reference cannot be declared, nor one with invisible characters.
    let seen = |name: &&str| name.chars().all(|c| !c.is_control() && c != '\u{202e}');
    assert_eq!(found, names.into_iter().filter(|name| !name.contains("${")).filter(seen).collect());
    assert!(sources.iter().all(|source| source["workspace_id"] == "ws_one"));
    for verb in [&["pull", "crm/../../etc/passwd", "--force"][..], &["pull", "crm/a.b", "--force"]] {
        scene.wellspring(verb);
    }
    let files = files_below(scene.tree.path());
    assert!(files.keys().all(|path| !path.contains("..")), "{:?}", files.keys());
}

#[test]
fn pull_takes_over_one_source_beside_what_is_declared_and_overwrites_nothing() {
    let scene = strangers(Semantics::default());
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    scene.apply();
    scene.someone_adds("ws_one", "upload");
    let plan = scene.wellspring(&["plan"]);
    assert!(plan.stdout.contains("left alone; `wellspring pull crm/upload` takes it over"), "{plan:#?}");
    let pull = scene.wellspring(&["pull", "crm/upload"]);
    assert_eq!(pull.code, Some(0), "{pull:#?}");
    let plan = scene.wellspring(&["plan"]);
    assert!(plan.stdout.contains("Plan: 1 to adopt."), "{plan:#?}");
    scene.apply();
    let plan = scene.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
    let before = files_below(scene.tree.path());
    assert_eq!(scene.wellspring(&["pull", "crm/upload"]).code, Some(1));
    assert_eq!(scene.wellspring(&["pull", "crm/alpha"]).code, Some(1));
    assert_eq!(scene.wellspring(&["pull", "crm/nobody"]).code, Some(1));
    assert_eq!(scene.wellspring(&["pull", "crm"]).code, Some(0), "all is declared");
    assert_eq!(files_below(scene.tree.path()), before);
}

#[test]
fn a_secret_goes_to_the_workspaces_and_hosts_that_the_host_lists_only() {
    let scene = strangers(Semantics::default());
    let declare = |workspace: &str, host: &str| {
        scene.tree.write(
            &format!("workspaces/{workspace}.toml"),
            &format!(
                "[workspace]\nid = \"{workspace}\"\n\n[sources.a]\ntype = \"database\"\n\n\
             [sources.a.connection_config]\nhost = \"{host}\"\npassword = \"${{ORDERS_DB}}\"\n"
            ),
        );
    };
    let config = scene.state.join("daemon.toml");
    std::fs::write(&config, "[[secrets.allow]]\nname = \"env:ORDERS_*\"\nworkspaces = [\"crm\"]\nhosts = [\"*.db.example.com\"]\n").unwrap();
    let apply = || {
        let command = scene.command(&["apply", "-y", "--config", config.to_str().unwrap()]);
        command.env("ORDERS_DB", "canary-91b").run()
    };
    declare("ws_one", "orders.db.example.com");
    let fine = apply();
    assert_eq!(fine.code, Some(0), "{fine:#?}");
    declare("ws_two", "orders.db.example.com");
    let workspace = apply();
    assert_eq!(workspace.code, Some(3), "{workspace:#?}");
    assert!(
        workspace.stdout.contains("env:ORDERS_DB may not be used in the workspace ws_two"),
        "{workspace:#?}"
    );
    scene.tree.remove("workspaces/ws_two.toml");
    declare("ws_one", "orders.evil.example.net");
    let host = apply();
    assert_eq!(host.code, Some(3), "{host:#?}");
    assert!(
        host.stdout.contains("env:ORDERS_DB may not go to the host orders.evil.example.net"),
        "{host:#?}"
    );
    for call in scene.platform.calls() {
        let body = String::from_utf8_lossy(&call.body);
        assert!(
            !body.contains("canary")
                || (call.workspace == "ws_one" && body.contains("orders.db.example.com"))
        );
    }
}

fn packaged(path: &str) -> String {
    std::fs::read_to_string(std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

#[test]
fn the_pre_commit_hooks_run_for_commits_that_only_delete() {
    let hooks = packaged(".pre-commit-hooks.yaml");
    let hooks: Vec<&str> = hooks.split("- id: ").skip(1).collect();
    assert_eq!(hooks.len(), 2);
    for hook in hooks {
        assert!(
            hook.contains("\n  always_run: true\n") && hook.contains("\n  pass_filenames: false\n"),
            "{hook}"
        );
    }
}

#[test]
fn the_templates_for_ci_pin_what_they_use_and_keep_no_credentials() {
    let workflow = packaged("packaging/ci/github.yml");
    let uses: Vec<&str> = workflow.split("uses: ").skip(1).collect();
    assert!(!uses.is_empty());
    for step in uses {
        let (action, rest) = step.split_once(['\n', ' ']).unwrap();
        let (_, commit) = action.split_once('@').unwrap();
        assert!(commit.len() == 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{action}");
        let is_checkout = action.starts_with("actions/checkout");
        assert!(!is_checkout || rest.contains("persist-credentials: false"), "{rest}");
    }
}
