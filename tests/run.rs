//! Tests of the daemon: the real program, real files, two kinds of platform.
//!
//! One is the local platform, the other misbehaves on demand.
#![cfg(feature = "local-platform")]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

// Explicit paths make these modules of this binary instead of separate binaries.
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
