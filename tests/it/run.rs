//! Tests of the daemon: the real program, real files, two kinds of platform.
//!
//! One is the local platform, the other misbehaves on demand.
#![cfg(feature = "local-platform")]

mod drift;
mod files;
mod logs;
mod quickstart;
mod scarce;
mod signals;
mod syncing;
mod systemd;
mod testing;
