//! Test harness shared by the test binaries.
//!
//! Consists of a scriptable platform, a proxy that breaks connections, a directory of files, and the program
//! in isolation.

#![expect(dead_code, unused_imports, reason = "each test binary uses its own part of the harness")]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod background;
mod command;
mod datagrams;
mod fault;
mod json;
mod platform;
mod quickstart;
mod receiver;
mod scene;
mod site;
mod tree;

pub(crate) use background::Background;
pub(crate) use command::{Finished, Running, Wellspring, until};
pub(crate) use datagrams::Datagrams;
pub(crate) use fault::{FaultProxy, Wire, nobody_listens};
pub(crate) use json::json;
pub(crate) use platform::{
    CleanupManner, EchoManner, Fault, Gate, Ids, Platform, Recorded, Row, Semantics, SyncManner, Taken,
    TestManner,
};
pub(crate) use quickstart::{Local, Quickstart};
pub(crate) use receiver::Receiver;
pub(crate) use scene::{Scene, files_below, workspace_file};
pub(crate) use site::{Page, Site};
pub(crate) use tree::Tree;
