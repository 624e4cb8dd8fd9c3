//! Tests of the commands that run once: the real program, two kinds of platform.
//!
//! One is the local platform, the other misbehaves on demand.
#![cfg(feature = "local-platform")]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

#[expect(dead_code, reason = "of the servers, only PostgreSQL is asked for here")]
#[path = "support/servers.rs"]
mod servers;
mod support;

// Explicit paths make these modules of this binary instead of separate binaries.
#[path = "commands/again.rs"]
mod again;
#[path = "commands/arguments.rs"]
mod arguments;
#[path = "commands/canaries.rs"]
mod canaries;
#[path = "commands/editors.rs"]
mod editors;
#[path = "commands/examples.rs"]
mod examples;
#[path = "commands/exits.rs"]
mod exits;
#[path = "commands/killed.rs"]
mod killed;
#[path = "commands/lost.rs"]
mod lost;
#[path = "commands/moving.rs"]
mod moving;
#[path = "commands/odd.rs"]
mod odd;
#[path = "commands/outage.rs"]
mod outage;
#[path = "commands/planning.rs"]
mod planning;
#[path = "commands/rows.rs"]
mod rows;
#[path = "commands/secrecy.rs"]
mod secrecy;
#[path = "commands/status.rs"]
mod status;
#[path = "commands/stopped.rs"]
mod stopped;
#[path = "commands/suspended.rs"]
mod suspended;
#[path = "commands/terminal.rs"]
mod terminal;
#[path = "commands/trust.rs"]
mod trust;
#[path = "commands/turned_away.rs"]
mod turned_away;
#[path = "commands/writing.rs"]
mod writing;
