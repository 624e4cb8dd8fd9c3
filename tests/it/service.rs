//! Tests of the program as a service: units, journal, scarcity, installation.
//!
//! The tests need tools of a Debian host (`systemd-analyze`, `git`, `unshare`); `tests/all` installs them.
#![cfg(feature = "local-platform")]

mod checkout;
mod cluster;
mod deb;
mod journal;
mod units;
mod watching;

use std::path::PathBuf;
use std::process::{Command, Output};

/// Returns the path of a file below `packaging/`.
fn packaged(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("packaging").join(path)
}

/// Runs a program of the host to its end.
#[track_caller]
fn host(command: &mut Command) -> Output {
    let name = command.get_program().to_string_lossy().into_owned();
    let hint = "tests/all installs what the tests need of a Debian host";
    command.output().unwrap_or_else(|error| panic!("{name}: {error}; {hint}"))
}

/// Returns everything that the program printed.
fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}
