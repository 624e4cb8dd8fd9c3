//! What the TOML tools of editors say.

use std::process::Command;

/// Examples, a fresh `init` and formatted files, before taplo and tombi: their linters know the shipped
/// schemas, and their formatters move nothing.
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
