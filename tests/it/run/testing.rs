//! Tests of regular connection tests: a changed result is reported.

use wellspring_testkit::{Scene, TestManner, until, workspace_file};

#[test]
fn a_connection_that_breaks_and_works_again_is_told_once_each_and_changes_nothing() {
    let scene = Scene::new();
    let file = workspace_file("ws_one", &[("alpha", "a.example.com"), ("beta", "b.example.com")]);
    let tested = file.replacen("type = \"database\"", "type = \"database\"\ntest = { every = \"1s\" }", 1);
    scene.tree.write("workspaces/one.toml", &tested);
    let mut daemon = scene.daemon();
    until("both are connected", || scene.platform.names("ws_one", "user").len() == 2);
    scene.platform.forget_calls();
    until("it is tested again", || scene.platform.calls_to("test-connection").len() > 1);
    let all_of_alpha = || {
        scene.platform.calls_to("test-connection").iter().all(|c| c.json().to_string().contains("a.example"))
    };
    assert!(all_of_alpha(), "only what asks for it is tested");

    scene.platform.semantics(|semantics| {
        semantics.test_connection = TestManner::FailsFor(vec!["a.example.com".into()]);
    });
    daemon.wait_for_line("ws_one/alpha: its connection test failed: cannot connect");
    let seen = scene.platform.calls_to("test-connection").len();
    until("it is tested more", || scene.platform.calls_to("test-connection").len() > seen + 1);
    scene.platform.semantics(|semantics| semantics.test_connection = TestManner::Works);
    daemon.wait_for_line("ws_one/alpha: its connection works again");
    assert!(all_of_alpha() && scene.platform.writes().is_empty() && !daemon.has_ended());
    assert_eq!(daemon.stderr().matches("connection test failed").count(), 1);
}
