//! Tests that the systemd units are valid and grant minimal privileges.
//!
//! Nothing is started.

use super::{host, packaged, said};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

/// Maximum exposure according to `systemd-analyze security`, in tenths.
const MOST_EXPOSURE: &str = "10";

fn units(kinds: &[&str]) -> Vec<PathBuf> {
    let all = fs::read_dir(packaged("systemd")).unwrap().map(|entry| entry.unwrap().path());
    let mut units: Vec<PathBuf> = all
        .filter(|path| path.extension().is_some_and(|kind| kinds.iter().any(|wanted| kind == *wanted)))
        .collect();
    units.sort();
    units
}

#[test]
fn each_service_is_as_closed_as_promised() {
    let services = units(&["service"]);
    assert_eq!(services.len(), 2, "{services:?}");
    for service in services {
        let judged = host(
            Command::new("systemd-analyze")
                .args(["security", "--no-pager", "--offline=true"])
                .arg(format!("--threshold={MOST_EXPOSURE}"))
                .arg(&service),
        );
        assert!(judged.status.success(), "{}", said(&judged));
        assert!(said(&judged).contains("Overall exposure level"), "{}", said(&judged));
    }
}

#[test]
fn systemd_finds_nothing_to_complain_of() {
    let dir = tempfile::tempdir().unwrap();
    let installed = [
        ("/usr/bin/wellspring", env!("CARGO_BIN_EXE_wellspring").to_owned()),
        ("/usr/lib/wellspring/checkout", packaged("systemd/checkout").display().to_string()),
    ];
    let mut copies = Vec::new();
    for unit in units(&["service", "timer"]) {
        let mut text = fs::read_to_string(&unit).unwrap();
        for (there, here) in &installed {
            text = text.replace(there, here);
        }
        let copy = dir.path().join(unit.file_name().unwrap());
        fs::write(&copy, text).unwrap();
        copies.push(copy);
    }
    assert_eq!(copies.len(), 3);
    let verified = host(Command::new("systemd-analyze").args(["verify", "--man=no"]).args(&copies));
    assert!(verified.status.success(), "{}", said(&verified));
    let ours: Vec<String> =
        said(&verified).lines().filter(|line| line.contains("wellspring")).map(str::to_owned).collect();
    assert!(ours.is_empty(), "{ours:#?}");
}

#[test]
fn the_user_that_checks_out_can_be_made() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir(root.path().join("etc")).unwrap();
    let made = host(
        Command::new("systemd-sysusers")
            .arg("--dry-run")
            .arg(format!("--root={}", root.path().display()))
            .arg(packaged("systemd/wellspring.conf")),
    );
    assert!(made.status.success() && said(&made).contains("wellspring-checkout"), "{}", said(&made));
}

#[test]
fn the_service_finds_the_token_that_its_unit_names() {
    let unit = fs::read_to_string(packaged("systemd/wellspring.service")).unwrap();
    let host_file = fs::read_to_string(packaged("etc/daemon.toml")).unwrap();
    let credential = unit.lines().find_map(|line| line.strip_prefix("LoadCredentialEncrypted=")).unwrap();
    assert!(host_file.contains(&format!("token = {{ secret = \"credential:{credential}\" }}")));
}
