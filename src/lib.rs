//! Wellspring keeps the data sources of workspaces in sync with TOML files.
//!
//! The modules form two layers. The **core** only computes: no I/O, no async, no clock, no
//! environment. The **shell** performs I/O. Data flows in one direction.
//!
//! ```text
//! files ──▶ tree ──▶ config ───▶ Desired ──┐
//!                                          ├─▶ plan ──▶ guard ──▶ ApprovedPlan ──▶ apply ──▶ store, report
//! platform ◀──▶ client (list) ──▶ Observed ┤                                         │
//! store ─────────────────────▶ Inventory ──┘                                         └──▶ list again: verify
//! clock ──▶ schedule ──▶ due ──▶ sync ──▶ store
//! ```
//!
//! `validate` stops after Desired, `plan` after the plan. `run` adds only the triggers: a file
//! event, a timer, a signal, a due schedule.
//!
//! Invariant: imports point down only; `tests/architecture.rs` checks it.

// core
pub mod config;
pub mod model;
pub mod plan;
pub mod report;
pub mod schedule;
pub mod sensitive;

// shell
pub mod apply;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod http_serve;
pub mod load;
pub mod observe;
#[cfg(feature = "local-platform")]
pub mod platform;
pub mod reconcile;
pub mod secrets;
pub mod settings;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod tree;
pub mod watch;
pub mod webhooks;
pub mod zones;
