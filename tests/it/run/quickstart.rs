//! Tests of the quickstart example with the local platform.

use serde_json::json;
use wellspring_testkit::{Quickstart, Running, until};

const MOBILITY: &str = "workspaces/mobility.toml";

/// Starts a daemon on a copy, with everything connected.
fn kept() -> (Quickstart, Running) {
    let copy = Quickstart::copy();
    let daemon = copy.command(&["run", "--interval", "1s"]).spawn();
    // A source that vanishes before it was listed would be left alone.
    for source in ["fleet", "stations", "repairs"] {
        daemon.wait_for_line(&format!("source={source} action=\"connect\""));
    }
    let local = copy.local();
    assert_eq!(local.names("ws_mobility"), ["fleet", "stations"]);
    assert_eq!(local.names("ws_workshop"), ["repairs"]);
    (copy, daemon)
}

#[test]
fn a_source_comes_changes_and_goes_with_its_block() {
    let (copy, daemon) = kept();
    let local = copy.local();
    let before = copy.tree.read(MOBILITY);
    let block = "\n[sources.reports]\ntype = \"file\"\n\n[sources.reports.connection_config]\n\
                 path = \"data/stations.csv\"\nformat = \"csv\"\n";
    copy.tree.write(MOBILITY, &format!("{before}{block}"));
    until("it is connected", || local.names("ws_mobility") == ["fleet", "reports", "stations"]);

    let changed = block.replace("stations.csv", "repairs.jsonl").replace("\"csv\"", "\"jsonl\"");
    copy.tree.write(MOBILITY, &format!("{before}{changed}"));
    let mut there = true;
    until("it is replaced", || {
        let row = local.row("ws_mobility", "reports");
        there &= !row.is_null();
        row["connection_config"]["path"] == "data/repairs.jsonl"
    });
    assert!(there, "it was absent in between");

    copy.tree.write(MOBILITY, &before);
    until("it is cleaned up", || local.names("ws_mobility") == ["fleet", "stations"]);
    drop(daemon);
}

#[test]
fn what_someone_removes_is_put_back_and_what_someone_adds_is_left_alone() {
    let (copy, daemon) = kept();
    let local = copy.local();
    let theirs = json!({
        "type": "file",
        "name": "upload",
        "connection_config": { "path": "data/stations.csv", "format": "csv" },
    });
    local.connect("ws_workshop", &theirs);
    local.remove("ws_workshop", "repairs");
    until("it is back", || local.names("ws_workshop") == ["repairs", "upload"]);
    daemon.wait_for_line("unmanaged, left alone");
}

#[test]
fn other_commands_join_the_platform_of_a_running_daemon() {
    let (copy, daemon) = kept();
    let plan = copy.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
    let sync = copy.wellspring(&["sync", "mobility/stations"]);
    assert_eq!(sync.code, Some(0), "{sync:#?}");
    daemon.signal("TERM");
    assert_eq!(daemon.finish().code, Some(0));
    assert!(!copy.storage().join("address.json").exists());
    let plan = copy.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
}

#[test]
fn a_killed_daemon_leaves_nothing_in_the_way() {
    let (copy, daemon) = kept();
    daemon.signal("KILL");
    daemon.finish();
    let plan = copy.wellspring(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, Some(0), "{plan:#?}");
    let daemon = copy.command(&["run"]).spawn();
    daemon.wait_for_line("planned");
}

#[test]
fn the_platform_alone_prints_lines_that_a_shell_takes_as_they_are() {
    let place = wellspring_testkit::Tree::new();
    let dir = place.path().join("it's here");
    std::fs::create_dir(&dir).unwrap();
    let served = wellspring_testkit::Wellspring::new()
        .args(["serve", "--listen", "127.0.0.1:0", "--state-dir", "state"])
        .dir(&dir)
        .spawn();
    served.wait_for_line("export PMTX_TOKEN=");
    let lines: String = served
        .stdout()
        .lines()
        .filter(|line| line.starts_with("export "))
        .map(|l| format!("{l}\n"))
        .collect();
    let script = format!("{lines}printf '%s %s' \"$WELLSPRING_URL\" \"$PMTX_TOKEN\"");
    let told = std::process::Command::new("/bin/sh").args(["-c", &script]).current_dir("/").output().unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let (url, token) = told.split_once(' ').unwrap();
    assert!(url.starts_with("http://127.0.0.1:"), "{url}");
    let kept = std::fs::read_to_string(dir.join("state/platform/token")).unwrap();
    assert!(token.len() > 20 && token == kept.trim());
    assert!(!served.stdout().contains(token));
}

#[test]
fn the_platform_alone_listens_for_others_only_when_told_that_it_has_no_tls() {
    let place = wellspring_testkit::Tree::new();
    let served = wellspring_testkit::Wellspring::new()
        .args(["serve", "--listen", "0.0.0.0:0", "--state-dir", "state"])
        .dir(place.path())
        .run();
    assert_eq!(served.code, Some(64), "{served:#?}");
    assert!(
        served.stderr.contains("has no TLS") && served.stderr.contains("--allow-plaintext"),
        "{served:#?}"
    );
    assert!(!place.join("state").exists(), "nothing was begun");
}
