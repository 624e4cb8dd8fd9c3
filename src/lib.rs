//! Wellspring keeps the data sources of workspaces in sync with TOML files.
//!
//! The modules form two layers. The **core** only computes: no I/O, no async, no clock, no
//! environment. The **shell** performs I/O. Data flows in one direction.
//!
//! ```text
//! files ──▶ tree ──▶ manifest ──▶ Desired ─┐
//!                                          ├─▶ plan ──▶ guard ──▶ ApprovedPlan ──▶ apply ──▶ state, render
//! platform ◀──▶ remote (list) ──▶ Observed ┤                                         │
//! state ─────────────────────▶ Inventory ──┘                                         └──▶ list again: verify
//! clock ──▶ schedule ──▶ due ──▶ sync ──▶ state
//! ```
//!
//! `validate` stops after Desired, `plan` after the plan. `run` adds only the triggers: a file
//! event, a timer, a signal, a due schedule.
//!
//! Invariant: imports point down only; `tests/architecture.rs` checks it.

// core
pub mod manifest;
pub mod model;
pub mod plan;
pub mod render;
pub mod schedule;
pub mod sensitive;

// shell
pub mod apply;
pub mod cli;
pub mod daemon;
pub mod notices;
#[cfg(feature = "local-platform")]
pub mod platform;
pub mod reading;
pub mod reconcile;
pub mod remote;
pub mod secrets;
pub mod serving;
pub mod settings;
pub mod state;
pub mod status;
pub mod sync;
pub mod telemetry;
pub mod tree;
pub mod watch;
pub mod zones;
