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
//! The core is `wellspring-core` in `crates/core`, re-exported here; the local platform is
//! `wellspring-platform` in `crates/platform`.
//!
//! Invariant: imports point down only; `tests/architecture.rs` checks it.

pub use wellspring_core::{config, listing, model, mutex, plan, report, schedule, zones};
#[cfg(feature = "local-platform")]
pub use wellspring_platform as platform;

pub mod apply;
pub mod cli;
pub mod client;
pub mod daemon;
pub mod error;
pub mod load;
pub mod observe;
pub mod reconcile;
pub mod secrets;
pub mod settings;
pub mod store;
pub mod sync;
pub mod telemetry;
pub mod time_zones;
pub mod tree;
pub mod watch;
pub mod webhooks;
