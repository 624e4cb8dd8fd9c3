//! The core of Wellspring: values in, values out.
//!
//! ```text
//! files ──▶ config ───▶ Desired ──┐
//! list ──▶ listing ──▶ Observed ──┼─▶ plan ──▶ guard ──▶ ApprovedPlan ──▶ report
//!           model::Inventory ─────┘
//!           schedule ──▶ due
//! ```
//!
//! Invariant: no I/O, no async, no clock, no environment. `Cargo.toml` names no crate that performs
//! I/O, and `clippy.toml` refuses the standard library's.

#![warn(missing_docs)]

pub mod config;
pub mod listing;
pub mod model;
pub mod mutex;
pub mod plan;
pub mod report;
pub mod schedule;
pub mod zones;
