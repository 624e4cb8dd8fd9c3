//! The platform's command line.

use std::process::Command;

use super::harness::{ACCOUNT, Place};
use crate::platform::harness::TOKEN;

/// Runs `px` and returns its output; it must succeed.
#[track_caller]
fn px(place: &Place, arguments: &[&str]) -> String {
    let mut command: Command = place.command("px");
    let done = command.args(arguments).output().unwrap();
    let text = String::from_utf8_lossy(&done.stdout).into_owned() + &String::from_utf8_lossy(&done.stderr);
    assert!(done.status.success(), "{arguments:?}: {text}");
    text
}

#[test]
fn px_logs_in_plans_applies_lists_and_deletes() {
    let Some(place) = Place::start(&[]) else { return };
    place.write("reports/a.csv", "id,name\n1,Ann\n");
    for (name, content) in [
        ("prometheux.workspace.yaml", "schemaVersion: 1\nworkspace: {name: demo}\nontologies: [./sales]\n"),
        (
            "sales/prometheux.yaml",
            "schemaVersion: 1\nontology: {name: sales}\ndatasources: [./datasources/orders.yaml]\n",
        ),
        (
            "sales/datasources/orders.yaml",
            "name: orders\ntype: csv\nhost: disk/reports\ntables: [a.csv]\nuseHeaders: '${HEADERS}'\n",
        ),
        ("sales/concepts/.keep", ""),
    ] {
        let path = place.home().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let url = format!("{}{ACCOUNT}", place.base());
    let login = px(&place, &["login", "--url", &url, "--token", TOKEN]);
    assert!(login.contains("0 ontology(s) visible"), "{login}");
    assert!(px(&place, &["validate"]).contains("PASS"));
    let plan = px(&place, &["plan"]);
    assert!(plan.contains("+ datasource orders  create"), "{plan}");
    let mut apply = place.command("px");
    let applied = apply.args(["apply", "--yes"]).env("HEADERS", "true").output().unwrap();
    let applied = String::from_utf8(applied.stdout).unwrap();
    assert!(applied.contains("connecting datasource orders") && applied.contains("Applied"), "{applied}");
    assert!(!applied.contains("skipped"), "{applied}");
    assert!(px(&place, &["plan"]).contains("No changes"));
    assert!(px(&place, &["list", "ontologies"]).contains("sales"));
    let listed = px(&place, &["list", "datasources"]);
    assert!(listed.contains("a.csv"), "{listed}");
    let preview = px(
        &place,
        &["datasource", "preview", r#"@bind("mine", "csv useHeaders='true'", "disk/reports", "a.csv")."#],
    );
    assert!(preview.contains("Ann"), "{preview}");
    px(&place, &["datasource", "delete", "--yes", "a"]);
    assert!(px(&place, &["list", "datasources"]).contains("No datasources"));
    assert!(px(&place, &["plan"]).contains("+ datasource orders  create"));
}
