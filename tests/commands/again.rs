//! A run that had nothing to do is remembered; whatever moves since is seen all the same.

use super::support::{Finished, Scene};

const A: (&str, &str) = ("alpha", "a.example.com");
const B: (&str, &str) = ("beta", "b.example.com");

fn apply(scene: &Scene, more: &[&str]) -> Finished {
    scene.command(&[&["apply", "--yes"], more].concat()).run()
}

/// Is a run kept?
fn is_kept(scene: &Scene) -> bool {
    let state = rusqlite::Connection::open(scene.state.path().join("state.db")).unwrap();
    let kept = state.query_row("SELECT count(*) FROM quiet", [], |row| row.get::<_, i64>(0));
    kept.unwrap() == 1
}

/// Two workspaces as declared, and a run kept that had nothing to do.
fn quiet() -> (Scene, String) {
    let scene = Scene::new();
    scene.declare("ws_one", &[A, B]);
    scene.declare("ws_two", &[A]);
    assert_eq!(apply(&scene, &[]).code, Some(0));
    assert!(!is_kept(&scene), "it connected something");
    let said = apply(&scene, &[]);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    assert!(
        said.stdout.starts_with("No changes. 3 sources in 2 workspaces are as the files say"),
        "{}",
        said.stdout
    );
    assert!(is_kept(&scene));
    (scene, said.stdout)
}

#[test]
fn the_same_is_said_again_after_one_list_of_each_workspace() {
    let (scene, said) = quiet();
    for _ in 0..2 {
        scene.platform.forget_calls();
        let again = apply(&scene, &[]);
        assert_eq!((again.code, again.stdout.as_str(), again.stderr.as_str()), (Some(0), &*said, ""));
        assert_eq!(scene.platform.calls().len(), 2);
        assert!(is_kept(&scene));
    }
    // Who asks for more is told more.
    assert!(apply(&scene, &["--verbose"]).stdout.len() > said.len());
}

#[test]
fn what_someone_does_on_the_platform_is_put_right_and_each_workspace_is_listed_once_before() {
    let (scene, said) = quiet();
    scene.platform.remove("ws_one", "user", "beta");
    scene.platform.forget_calls();
    let mended = apply(&scene, &[]);
    assert!(mended.stdout.contains("1 connected"), "{}", mended.stdout);
    assert!(scene.holds("ws_one", &[A, B]));
    let lists = scene.platform.calls_to("list");
    assert_eq!(lists.len(), 3, "each once, and once more where something was written");
    assert!(!is_kept(&scene), "the state was written");
    assert_eq!(apply(&scene, &[]).stdout, said);
    scene.someone_adds("ws_two", "stranger");
    assert!(apply(&scene, &[]).stdout.contains("unmanaged"));
}

#[test]
fn other_files_secrets_flags_or_state_are_looked_at_in_full() {
    let (scene, said) = quiet();
    let plan = |scene: &Scene, more: &[&str]| apply(scene, more).stdout;
    // A file that says the same in other words.
    let path = "workspaces/ws_two.toml";
    let text = scene.tree.read(path);
    scene.tree.write(path, &format!("{text}\n# more\n"));
    assert_eq!(plan(&scene, &[]), said);
    scene.declare("ws_two", &[A, B]);
    assert!(plan(&scene, &[]).contains("1 connected"));
    assert!(scene.holds("ws_two", &[A, B]));
    // A broken file.
    assert_eq!(apply(&scene, &[]).code, Some(0));
    assert!(is_kept(&scene));
    scene.tree.write(path, "oops = [");
    assert_eq!(apply(&scene, &[]).code, Some(3));
    scene.declare("ws_two", &[A, B]);
    // The platform refuses the token.
    assert_eq!(apply(&scene, &[]).code, Some(0));
    let refused = scene.command(&["apply", "--yes"]).env("PMTX_TOKEN", "another").run();
    assert_eq!(refused.code, Some(5));
}

#[test]
fn under_another_url_nothing_is_known_though_it_answers_the_same() {
    let (scene, said) = quiet();
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
    assert!(is_kept(&scene));
    let renewed = with("second-secret");
    assert!(renewed.stdout.contains("1 replaced"), "{}", renewed.stdout);
}
