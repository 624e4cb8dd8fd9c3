//! Tests with the TOML tools of editors.

use std::process::Command;

/// Runs taplo and tombi on examples, a fresh `init` and formatted files.
///
/// Their linters use the shipped schemas, and their formatters change nothing.
#[test]
fn the_tools_of_editors_agree_with_ours() {
    let done = Command::new(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/editors.sh"))
        .env("WELLSPRING", env!("CARGO_BIN_EXE_wellspring"))
        .output()
        .unwrap();
    let said = [&done.stdout, &done.stderr].map(|said| String::from_utf8_lossy(said).into_owned());
    assert!(done.status.success(), "{}", said.concat());
    assert!(said[0].ends_with("all agree\n"), "{}", said.concat());
}
