//! The harness that the test binaries share: a platform that misbehaves on demand, a proxy that
//! breaks connections, a directory of files, and the program itself in a clean room.

#![expect(dead_code, unused_imports, reason = "each test binary uses its own part of the harness")]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

// The paths are spelled out because this file is also a (then empty) test binary of its own.
#[path = "support/background.rs"]
mod background;
#[path = "support/command.rs"]
mod command;
#[path = "support/fault.rs"]
mod fault;
#[path = "support/platform.rs"]
mod platform;
#[path = "support/quickstart.rs"]
mod quickstart;
#[path = "support/scene.rs"]
mod scene;
#[path = "support/tree.rs"]
mod tree;

pub(crate) use command::{Finished, Running, Wellspring, until};
pub(crate) use fault::{FaultProxy, Wire, nobody_listens};
pub(crate) use platform::{
    CleanupManner, EchoManner, Fault, Gate, Ids, Platform, Recorded, Row, Semantics, SyncManner, Taken,
    TestManner,
};
pub(crate) use quickstart::{Local, Quickstart};
pub(crate) use scene::{Scene, files_below, workspace_file};
pub(crate) use tree::Tree;
