//! Test harness: a scriptable platform, a proxy that breaks connections, a directory of files, and the
//! program in isolation.
//!
//! Invariant: a failure panics with its reason; nothing waits without a limit.

#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]
#![expect(clippy::new_without_default, reason = "a directory or process is created by name only")]

mod background;
mod command;
mod datagrams;
mod fault;
mod json;
mod opens;
mod platform;
mod quickstart;
mod receiver;
mod scene;
pub mod servers;
mod site;
mod tree;

pub use background::Background;
pub use command::{Finished, Running, Wellspring, until};
pub use datagrams::Datagrams;
pub use fault::{FaultProxy, Wire, nobody_listens};
pub use json::json;
pub use opens::Opens;
pub use platform::{
    CleanupManner, EchoManner, Fault, Gate, Ids, Platform, Recorded, Row, Semantics, SyncManner, Taken,
    TestManner,
};
pub use quickstart::{Local, Quickstart};
pub use receiver::Receiver;
pub use scene::{Scene, files_below, workspace_file};
pub use site::{Page, Site};
pub use tree::Tree;

use std::path::{Path, PathBuf};
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

/// Returns the program that Cargo built for the tests, which lies above their own binary.
#[must_use]
pub fn program() -> &'static str {
    static PROGRAM: LazyLock<String> = LazyLock::new(|| {
        let own = std::env::current_exe().unwrap();
        let built = own.parent().and_then(Path::parent).unwrap().join("wellspring");
        built.into_os_string().into_string().unwrap()
    });
    &PROGRAM
}

/// Compares a result with a file that holds the expected one, or writes the file if `UPDATE` is set.
///
/// # Panics
///
/// Panics if `UPDATE` is set under `CI`, where nobody would review the rewritten files.
///
/// # Errors
/// Both texts, if they differ.
#[track_caller]
pub fn check_golden(expected: &Path, found: &str) -> Result<(), String> {
    if std::env::var_os("UPDATE").is_some() {
        assert!(std::env::var_os("CI").is_none(), "UPDATE is not for CI");
        std::fs::write(expected, found).unwrap();
    }
    let wanted = std::fs::read_to_string(expected).unwrap_or_default();
    if found == wanted {
        return Ok(());
    }
    let file = expected.display();
    Err(format!("== {file} (UPDATE=1 writes it)\n-- expected\n{wanted}\n-- found\n{found}"))
}

/// Creates a certificate and its key with `openssl`; returns their paths.
///
/// # Panics
///
/// Panics if that fails.
#[must_use]
pub fn certificate(place: &Path, common_name: &str, alternative_name: &str) -> (PathBuf, PathBuf) {
    let (certificate, key, config) =
        (place.join("server.crt"), place.join("server.key"), place.join("server.cnf"));
    std::fs::write(&config, "[req]\ndistinguished_name = name\n[name]\n").unwrap();
    let made = std::process::Command::new("openssl")
        .args("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2".split(' '))
        .args(["-subj", &format!("/CN={common_name}")])
        .args(["-addext", &format!("subjectAltName={alternative_name}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-config"])
        .arg(config)
        .arg("-keyout")
        .arg(&key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    (certificate, key)
}

/// Returns the directory of the repository.
#[must_use]
pub fn repository() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap().to_owned()
}

/// Locks the mutex, also if a thread panicked while it held the lock.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
