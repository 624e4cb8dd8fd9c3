//! Tests of `/metrics`: names of the interface, and no series of removed sources.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use wellspring_testkit::{Scene, Site, until, workspace_file};

/// All names that are part of the interface.
const NAMES: [&str; 32] = [
    "wellspring_build_info",
    "wellspring_start_time_seconds",
    "wellspring_interval_seconds",
    "wellspring_config_last_reload_successful",
    "wellspring_config_errors",
    "wellspring_platform_up",
    "wellspring_last_answer_timestamp_seconds",
    "wellspring_last_good_pass_timestamp_seconds",
    "wellspring_pass_duration_seconds_bucket",
    "wellspring_pass_duration_seconds_sum",
    "wellspring_pass_duration_seconds_count",
    "wellspring_passes_total",
    "wellspring_plan_changes",
    "wellspring_plan_withheld",
    "wellspring_changes_total",
    "wellspring_sources",
    "wellspring_workspace_failing",
    "wellspring_source_connection_up",
    "wellspring_source_last_sync_success_timestamp_seconds",
    "wellspring_source_last_sync_successful",
    "wellspring_source_last_sync_outcome",
    "wellspring_source_last_sync_duration_seconds",
    "wellspring_source_last_sync_records",
    "wellspring_source_stale_after_seconds",
    "wellspring_source_stale",
    "wellspring_sources_without_series",
    "wellspring_sync_runs_total",
    "wellspring_sync_records_total",
    "wellspring_api_requests_total",
    "wellspring_api_request_duration_seconds_bucket",
    "wellspring_api_request_duration_seconds_sum",
    "wellspring_api_request_duration_seconds_count",
];

/// Names that appear later: counters of events that did not occur yet, and the scraper's own.
const LATER_NAMES: [&str; 2] = ["wellspring_notifications_total", "up"];

const BUSY: &str = "test = { every = \"1s\" }\nsync = { every = \"1s\", stale_after = \"1h\" }\ntype =";

fn printed(site: &Site) -> BTreeSet<String> {
    let text = site.get("/metrics").body;
    let name = |line: &str| line.split(['{', ' ']).next().unwrap_or_default().to_owned();
    text.lines().filter(|line| !line.starts_with('#') && !line.is_empty()).map(name).collect()
}

#[test]
fn every_promised_name_is_printed_and_no_other() {
    let scene = Scene::new();
    let file = workspace_file("ws_one", &[("alpha", "a.example.com")]);
    scene.tree.write("workspaces/one.toml", &file.replace("type =", BUSY));
    let daemon = scene.command(&["run", "--interval", "1s", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    let promised: BTreeSet<String> = NAMES.iter().map(ToString::to_string).collect();
    until("it has tested and synced", || printed(&site).is_superset(&promised));
    assert_eq!(printed(&site), promised);
    let labels = "{workspace=\"ws_one\",scope=\"user\",source=\"alpha\"}";
    assert_eq!(site.metric(&format!("wellspring_source_connection_up{labels}")), Some(1.0));
    assert_eq!(site.metric(&format!("wellspring_source_stale_after_seconds{labels}")), Some(3600.0));
    assert!(site.metric("wellspring_api_requests_total{endpoint=\"list\",code=\"200\"}").unwrap() >= 1.0);
    assert_eq!(site.metric("wellspring_config_last_reload_successful"), Some(1.0));
    let page = site.get("/metrics");
    assert!(page.head.contains("content-type: application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(page.body.ends_with("# EOF\n"));
}

#[test]
fn what_is_gone_has_no_series_and_a_broken_file_is_seen() {
    let scene = Scene::new();
    let file = workspace_file("ws_one", &[("alpha", "a.example.com"), ("beta", "b.example.com")]);
    scene.tree.write("workspaces/one.toml", &file.replace("type =", BUSY));
    let daemon = scene.command(&["run", "--interval", "1s", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("both have series", || {
        let text = site.get("/metrics").body;
        ["alpha", "beta"].iter().all(|source| text.contains(&format!("source=\"{source}\"}} 1")))
    });
    let file = workspace_file("ws_one", &[("alpha", "a.example.com")]);
    scene.tree.write("workspaces/one.toml", &file.replace("type =", BUSY));
    until("the series is gone", || !site.get("/metrics").body.contains("beta"));

    scene.tree.write("workspaces/one.toml", "oops = [");
    until("the file is rejected", || site.metric("wellspring_config_last_reload_successful") == Some(0.0));
    assert!(site.metric("wellspring_config_errors").unwrap() >= 1.0);
    assert!(site.get("/metrics").body.contains("alpha"), "its last good reading stays");
}

#[test]
fn a_hostile_name_stays_within_its_label() {
    let scene = Scene::new();
    scene.tree.write(
        "workspaces/one.toml",
        "[workspace]\nid = 'ws\"one\\n'\n\n[sources.'a\"} 1\\nup\\']\ntype = \"database\"\nsync = { every = \"1h\", stale_after = \"2h\" }\nconnection_config = { host = \"a\" }\n",
    );
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    until("it has a series", || printed(&site).contains("wellspring_source_stale"));
    assert!(
        printed(&site).iter().all(|name| name.starts_with("wellspring_")),
        "{}",
        site.get("/metrics").body
    );
}

#[test]
fn dashboards_and_alerts_speak_of_metrics_that_exist_and_each_alert_has_its_page() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let known: BTreeSet<&str> = NAMES.into_iter().chain(LATER_NAMES).collect();
    let alerts = std::fs::read_to_string(root.join("packaging/prometheus/wellspring.rules.yml")).unwrap();
    let dashboard = std::fs::read_to_string(root.join("packaging/grafana/wellspring.json")).unwrap();
    serde_json::from_str::<serde_json::Value>(&dashboard).unwrap();
    for text in [&alerts, &dashboard] {
        let mut used = 0;
        for name in text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_') {
            if name.starts_with("wellspring_") {
                used += 1;
                assert!(known.contains(name), "{name} is not a metric");
            }
        }
        assert!(used > 10);
    }
    let runbook = std::fs::read_to_string(root.join("docs/runbook.md")).unwrap();
    let named = |prefix: &'static str, text: &str| -> Vec<String> {
        text.lines().filter_map(|line| Some(line.trim().strip_prefix(prefix)?.trim().to_owned())).collect()
    };
    let names = named("- alert:", &alerts);
    assert!(names.len() >= 8 && names == named("## ", &runbook), "one section each, in order");
    for name in names {
        let anchor = format!("docs/runbook.md#{}", name.to_ascii_lowercase());
        assert!(alerts.contains(&anchor), "{name} has no link to its page");
    }
}

#[test]
fn promtool_accepts_the_rules_and_what_sets_them_off() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let unpacked = root.join("target/test-tools/usr/bin/promtool");
    let promtool = if unpacked.exists() { unpacked } else { PathBuf::from("promtool") };
    let rules = root.join("packaging/prometheus/wellspring.rules.yml");
    let checked = Command::new(&promtool).arg("check").arg("rules").arg(rules).stdin(Stdio::null()).output();
    let checked = checked.expect("promtool; `tests/tools.sh install` gets it");
    assert!(checked.status.success(), "{checked:?}");
    let tests = root.join("packaging/prometheus/wellspring.test.yml");
    let tested =
        Command::new(&promtool).arg("test").arg("rules").arg(tests).stdin(Stdio::null()).output().unwrap();
    assert!(tested.status.success(), "{tested:?}");
}
