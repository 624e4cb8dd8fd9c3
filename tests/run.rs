//! The daemon as people run it: the real program on real files, against the local platform and
//! against one that misbehaves on demand.
#![cfg(feature = "local-platform")]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

// The paths are spelled out so that these are parts of this binary, not binaries of their own.
#[path = "run/drift.rs"]
mod drift;
#[path = "run/files.rs"]
mod files;
#[path = "run/logs.rs"]
mod logs;
#[path = "run/quickstart.rs"]
mod quickstart;
#[path = "run/scarce.rs"]
mod scarce;
#[path = "run/signals.rs"]
mod signals;
#[path = "run/syncing.rs"]
mod syncing;
#[path = "run/systemd.rs"]
mod systemd;
#[path = "run/testing.rs"]
mod testing;
