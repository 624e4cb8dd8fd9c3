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

/// Returns true if golden tests shall write what they expect (`UPDATE=1`).
///
/// # Panics
///
/// Panics under `CI`, where nobody would review what was written.
#[must_use]
#[track_caller]
pub fn rewrites_expectations() -> bool {
    let update = std::env::var_os("UPDATE").is_some();
    assert!(!update || std::env::var_os("CI").is_none(), "UPDATE is not for CI");
    update
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
