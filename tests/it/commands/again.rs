//! Tests of the cache of workspaces in sync.
//!
//! Valid entries save work; changes are seen nevertheless.

use wellspring::client::BaseUrl;
use wellspring::model::{Scope, WorkspaceId, WorkspaceRef};
use wellspring::store::Store;
use wellspring_testkit::{Finished, Scene, until};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

fn apply(scene: &Scene, more: &[&str]) -> Finished {
    scene.command(&[&["apply", "--yes"], more].concat()).run()
}

fn plan(scene: &Scene, more: &[&str]) -> Finished {
    scene.command(&[&["plan"], more].concat()).run()
}

/// Returns the cached workspaces.
fn kept(scene: &Scene) -> Vec<String> {
    let state = rusqlite::Connection::open(scene.state.path().join("state.db")).unwrap();
    let mut kept =
        state.prepare("SELECT workspace FROM settled JOIN units USING (unit) ORDER BY workspace").unwrap();
    kept.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
}

/// Changes the cached number of sources to three.
///
/// The number appears in the output if the cache is used.
fn mark(scene: &Scene, workspace: &str) {
    let state = rusqlite::Connection::open(scene.state.path().join("state.db")).unwrap();
    let marked = state.execute(
        "UPDATE settled SET found = json_set(found, '$.says.unchanged', 3)
         WHERE unit = (SELECT unit FROM units WHERE workspace = ?1)",
        [workspace],
    );
    assert_eq!(marked.unwrap(), 1);
}

/// Creates two workspaces in sync, with one and two sources, both cached.
fn settled() -> (Scene, String) {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.declare("ws_two", &[A]);
    assert_eq!(apply(&scene, &[]).code, Some(0));
    assert_eq!(
        kept(&scene),
        ["ws_one", "ws_two"],
        "the lists after the writes were the same as the next ones"
    );
    let said = apply(&scene, &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(
        said.stdout.starts_with("No changes. 3 sources in 2 workspaces are up to date"),
        "{}",
        said.stdout
    );
    assert_eq!(kept(&scene), ["ws_one", "ws_two"]);
    (scene, said.stdout)
}

#[test]
fn the_same_is_said_again_after_one_list_of_each_workspace() {
    let (scene, said) = settled();
    for verb in [apply, plan, apply] {
        scene.platform.forget_calls();
        let again = verb(&scene, &[]);
        assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (Some(0), &*said, ""));
        assert_eq!(scene.platform.calls().len(), 2);
        assert_eq!(kept(&scene), ["ws_one", "ws_two"]);
    }
    // The output is that of the cache.
    mark(&scene, "ws_one");
    assert!(apply(&scene, &[]).stdout.contains("4 sources in 2 workspaces"));
    // Options for more output bypass the cache.
    let verbose = apply(&scene, &["--verbose"]).stdout;
    assert!(verbose.contains("alpha") && verbose.contains("3 sources in 2 workspaces"), "{verbose}");
    let json: serde_json::Value = serde_json::from_str(&plan(&scene, &["--format", "json"]).stdout).unwrap();
    assert_eq!(json["summary"]["unchanged"], 3);
}

#[test]
fn the_first_run_after_an_apply_takes_what_its_last_lists_showed() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.declare("ws_two", &[A]);
    for step in ["connect", "replace", "cleanup"] {
        match step {
            "replace" => scene.declare("ws_one", &[A, ("beta", "c.example.com")]),
            "cleanup" => scene.declare("ws_one", &[A]),
            _ => {}
        }
        let applied = apply(&scene, &["--prune"]);
        assert_eq!(applied.code, Some(0), "{step}: {}{}", applied.stdout, applied.stderr);
        assert_eq!(kept(&scene), ["ws_one", "ws_two"], "{step}");
        mark(&scene, "ws_one");
        for verb in [plan, apply] {
            scene.platform.forget_calls();
            let again = verb(&scene, &["--prune"]);
            assert!(again.stdout.contains("4 sources in 2 workspaces are up to date"), "{}", again.stdout);
            assert_eq!(scene.platform.calls().len(), 2, "{step}");
        }
    }
}

#[test]
fn what_the_last_list_of_an_apply_does_not_prove_is_looked_at_again() {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.someone_adds("ws_one", "stranger");
    assert!(apply(&scene, &[]).stdout.contains("2 connected"));
    assert!(kept(&scene).is_empty(), "unmanaged sources are told each time");
    scene.platform.remove("ws_one", "user", "stranger");
    scene.platform.remove("ws_one", "user", "beta");
    assert!(apply(&scene, &[]).stdout.contains("1 connected"));
    assert!(kept(&scene).is_empty(), "drift that was corrected is kept in mind");
}

#[test]
fn what_someone_does_on_the_platform_is_put_right_from_a_list_of_its_own() {
    let (scene, said) = settled();
    mark(&scene, "ws_two");
    scene.platform.remove("ws_one", "user", "beta");
    scene.platform.forget_calls();
    let planned = plan(&scene, &[]);
    assert!(planned.stdout.contains("1 to connect"), "{}", planned.stdout);
    assert!(planned.stdout.contains("4 unchanged"), "{}", planned.stdout);
    assert_eq!(scene.platform.calls().len(), 3);
    scene.platform.forget_calls();
    let mended = apply(&scene, &[]);
    assert!(mended.stdout.contains("1 connected"), "{}", mended.stdout);
    assert!(scene.holds("ws_one", &[A, B]));
    let lists = scene.platform.calls_to("list");
    assert_eq!(lists.len(), 4, "each once, and where something is to be done to plan it, and to verify it");
    assert_eq!(kept(&scene), ["ws_two"], "the other was written");
    scene.someone_adds("ws_two", "stranger");
    let seen = apply(&scene, &[]).stdout;
    assert!(seen.contains("unmanaged"), "{seen}");
    assert!(plan(&scene, &[]).stdout.contains("unmanaged"), "it is told each time");
    assert!(kept(&scene).is_empty(), "drift that was mended lately is kept in mind, too");
    scene.platform.remove("ws_two", "user", "stranger");
    assert_eq!(apply(&scene, &[]).stdout, said);
}

#[test]
fn what_was_listed_before_another_process_had_done_its_writing_is_not_acted_on() {
    let (scene, _) = settled();
    scene.platform.remove("ws_one", "user", "beta");
    let url = BaseUrl::parse(&scene.platform.url()).unwrap();
    let other = Store::open(scene.state.path(), url.as_str()).unwrap();
    let workspace =
        WorkspaceRef { workspace: WorkspaceId::parse("ws_one").unwrap(), scope: Scope::default() };
    let lock = other.lock(&workspace, "apply").unwrap();
    scene.platform.forget_calls();
    let waiting = scene.command(&["apply", "--yes"]).spawn();
    until("both were listed", || scene.platform.calls_to("list").len() == 2);
    scene.someone_adds("ws_one", "beta");
    drop(lock);
    let said = waiting.finish();
    assert!(scene.platform.writes().is_empty(), "it is there: {}", said.stdout);
}

#[test]
fn only_the_workspace_whose_file_changed_is_looked_at() {
    let (scene, said) = settled();
    mark(&scene, "ws_one");
    // The same contents in another form.
    let path = "workspaces/ws_two.toml";
    let text = scene.tree.read(path);
    scene.tree.write(path, &format!("{text}\n# more\n"));
    assert!(apply(&scene, &[]).stdout.contains("4 sources in 2 workspaces"), "the other was only listed");
    assert_eq!(kept(&scene), ["ws_one", "ws_two"]);
    // Different contents.
    scene.declare("ws_two", &[A, B]);
    let changed = apply(&scene, &[]).stdout;
    assert!(changed.contains("1 connected") && scene.holds("ws_two", &[A, B]), "{changed}");
    assert_eq!(kept(&scene), ["ws_one", "ws_two"]);
    // A second file for a workspace, and its removal.
    let second = "workspaces/more.toml";
    scene.tree.write(
        second,
        "[workspace]\nid = \"ws_one\"\n\n[policy]\nprune = \"owned\"\n\n[sources.gamma]\ntype = \"database\"\n\
         connection_config = { host = \"c\" }\n",
    );
    assert!(apply(&scene, &[]).stdout.contains("1 connected"));
    assert_eq!(apply(&scene, &[]).code, Some(0));
    assert_eq!(kept(&scene), ["ws_one", "ws_two"]);
    scene.tree.remove(second);
    assert!(plan(&scene, &[]).stdout.contains("gamma"), "what is no longer declared is seen");
    assert_ne!(plan(&scene, &[]).stdout, said);
}

#[test]
fn a_comment_above_the_sources_writes_no_source_to_the_state() {
    let (scene, said) = settled();
    let rows = || {
        let state = rusqlite::Connection::open(scene.state.path().join("state.db")).unwrap();
        let mut rows = state.prepare("SELECT owned FROM owned ORDER BY number").unwrap();
        let rows = rows.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<Vec<String>, _>>().unwrap()
    };
    let before = rows();
    let path = "workspaces/ws_one.toml";
    scene.tree.write(path, &format!("# above\n\n{}", scene.tree.read(path)));
    assert_eq!(apply(&scene, &[]).stdout, said);
    assert_eq!(rows(), before);
    assert_eq!(kept(&scene), ["ws_one", "ws_two"]);
    // Every other change of a record takes the line along.
    let guarded = scene.tree.read(path).replacen("type = ", "protect = true\ntype = ", 1);
    scene.tree.write(path, &guarded);
    assert_eq!(apply(&scene, &[]).code, Some(0));
    assert!(rows().iter().any(|row| row.contains("\"line\":6")), "{:?}", rows());
}

#[test]
fn a_broken_file_is_told_each_time_and_holds_back_what_it_declared() {
    let (scene, _) = settled();
    let path = "workspaces/ws_two.toml";
    scene.tree.write(path, "oops = [");
    for _ in 0..2 {
        let broken = apply(&scene, &[]);
        assert_eq!(broken.code, Some(3));
        assert!(
            broken.stderr.contains("ws_two")
                && broken.stderr.contains("skipped, because workspaces/ws_two.toml has errors"),
            "{}",
            broken.stderr
        );
        assert!(broken.stdout.contains("2 sources in 1 workspace are"), "{}", broken.stdout);
    }
    // A new file may name any workspace, so conflicts with it are found.
    scene.declare("ws_two", &[A]);
    scene.tree.write("workspaces/twice.toml", &scene.tree.read("workspaces/ws_one.toml"));
    let twice = plan(&scene, &[]);
    assert_eq!(twice.code, Some(3), "{}", twice.stdout);
    assert!(twice.stderr.contains("declared twice"), "{}", twice.stderr);
}

#[test]
fn a_workspace_that_no_file_declares_any_more_is_told_each_time() {
    let (scene, _) = settled();
    scene.tree.remove("workspaces/ws_two.toml");
    for _ in 0..2 {
        let told = apply(&scene, &[]);
        assert!(told.stdout.contains("workspace ws_two is no longer declared"), "{}", told.stdout);
        assert!(told.stdout.contains("2 sources in 1 workspace are"), "{}", told.stdout);
        assert_eq!(kept(&scene), ["ws_one"]);
    }
}

#[test]
fn what_is_said_in_wellspring_toml_or_by_flags_or_on_the_host_concerns_every_workspace() {
    let (scene, said) = settled();
    for workspace in ["ws_one", "ws_two"] {
        mark(&scene, workspace);
    }
    assert_eq!(apply(&scene, &["--max-cleanup", "1"]).stdout, said);
    assert_eq!(kept(&scene), ["ws_one", "ws_two"]);
    mark(&scene, "ws_one");
    // Cached under these flags.
    assert_eq!(apply(&scene, &[]).stdout, said);
    mark(&scene, "ws_one");
    let settings = scene.tree.read("wellspring.toml");
    scene.tree.write("wellspring.toml", &format!("{settings}\n# more\n"));
    assert_eq!(plan(&scene, &[]).stdout, said);
    assert_eq!(apply(&scene, &[]).stdout, said);
    // The platform refuses the token.
    let refused = scene.command(&["apply", "--yes"]).env("PMTX_TOKEN", "another").run();
    assert_eq!(refused.code, Some(5));
}

#[test]
fn whatever_is_written_of_a_workspace_ends_what_was_kept_of_it() {
    let (scene, _) = settled();
    mark(&scene, "ws_two");
    let text = scene.tree.read("workspaces/ws_two.toml");
    scene.tree.write("workspaces/ws_two.toml", &text.replace("a.example.com", "z.example.com"));
    assert!(apply(&scene, &["--verbose"]).stdout.contains("1 replaced"));
    scene.tree.write("workspaces/ws_two.toml", &text);
    assert!(apply(&scene, &["--verbose"]).stdout.contains("1 updated in place"));
    assert!(
        apply(&scene, &[]).stdout.contains("3 sources in 2 workspaces"),
        "though files and list are as they were"
    );
}

#[test]
fn under_another_url_nothing_is_known_though_it_answers_the_same() {
    let (scene, said) = settled();
    let url = scene.platform.url().replacen("127.0.0.1", "localhost", 1);
    let elsewhere = apply(&scene, &["--url", &url]);
    assert!(elsewhere.stdout.contains("adopt"), "{}{}", elsewhere.stdout, elsewhere.stderr);
    assert_ne!(elsewhere.stdout, said);
}

#[test]
fn a_secret_that_was_renewed_goes_out() {
    let scene = Scene::new();
    let with = |secret: &str| scene.command(&["apply", "--yes"]).env("CRM_PASSWORD", secret).run();
    scene.tree.write(
        "workspaces/ws_one.toml",
        "[workspace]\nid = \"ws_one\"\n\n[sources.crm]\ntype = \"database\"\n\
         connection_config = { host = \"h\", password = \"${CRM_PASSWORD}\" }\n",
    );
    assert_eq!(with("first-secret").code, Some(0));
    assert_eq!(with("first-secret").code, Some(0));
    assert_eq!(kept(&scene), ["ws_one"]);
    let renewed = with("second-secret");
    assert!(renewed.stdout.contains("1 replaced"), "{}", renewed.stdout);
}
