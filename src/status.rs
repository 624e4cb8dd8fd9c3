//! Status of the daemon: snapshots, metrics, health and pages.
//!
//! The daemon publishes a [`Snapshot`] after every change. Everything here reads the latest one,
//! and the history in the state.
//!
//! Invariant: never calls the platform and never changes anything.

mod folding;
mod health;
pub mod metrics;
mod page;
mod plot;
mod server;
mod snapshot;
mod view;

pub use server::{Site, serve};
pub use snapshot::{
    About, Config, Facts, Files, LastSync, Mended, PassSpan, Shown, Snapshot, Stranger, Test, Trouble,
    Withheld, Workspace, passed,
};

use std::sync::Arc;
use tokio::sync::watch;

/// Receiver of the latest snapshot.
pub type Published = watch::Receiver<Arc<Snapshot>>;
