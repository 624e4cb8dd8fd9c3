//! Tests of suspensions that have ended.

use wellspring_testkit::{Scene, workspace_file};

#[test]
fn validate_warns_of_a_suspension_that_ended() {
    let scene = Scene::new();
    let text = workspace_file("ws_one", &[("alpha", "a.example.com")]);
    let suspend =
        |until: &str| format!("[sources.alpha]\nsuspend = {{ reason = \"moving\", until = {until} }}\n");
    scene.tree.write("workspaces/one.toml", &text.replace("[sources.alpha]\n", &suspend("2020-01-31")));
    let validate = scene.wellspring(&["validate"]);
    assert_eq!(validate.code, Some(0), "{validate:#?}");
    let warning = "warning[W057]: the suspension of this source ended on 2020-01-31";
    assert!(validate.stderr.contains(warning), "{validate:#?}");
    scene.tree.write("workspaces/one.toml", &text.replace("[sources.alpha]\n", &suspend("9999-01-31")));
    let validate = scene.wellspring(&["validate"]);
    assert!(!validate.stderr.contains("W057"), "{validate:#?}");
}
