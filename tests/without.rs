//! Tests of a build without the local platform, for hosts that only reconcile.
#![cfg(not(feature = "local-platform"))]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

use std::process::Command;

/// Runs the program and returns its exit code and output.
fn wellspring(args: &[&str]) -> (Option<i32>, String) {
    let state = tempfile::tempdir().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_wellspring"))
        .args(args)
        .arg("--state-dir")
        .arg(state.path())
        .env_clear()
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap();
    (done.status.code(), [done.stdout, done.stderr].map(|said| String::from_utf8(said).unwrap()).concat())
}

#[test]
fn it_validates_what_it_cannot_run_and_says_why_it_cannot() {
    let (code, said) = wellspring(&["validate", "examples/quickstart"]);
    assert_eq!(code, Some(0), "{said}");
    let (code, said) = wellspring(&["plan", "examples/quickstart"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("this build does not include the local platform"), "{said}");
}

#[test]
fn it_has_no_platform_to_serve() {
    let (code, said) = wellspring(&["serve"]);
    assert_eq!(code, Some(64), "{said}");
    assert!(said.contains("this build does not include the local platform"), "{said}");
    assert!(!wellspring(&["--help"]).1.contains("\n  serve "), "the help lists what is there");
}
