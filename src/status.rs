//! How the daemon stands, for people and machines: what it publishes, its metrics, its health, its page.
//!
//! The daemon hands out a [`Snapshot`] whenever something changed; everything here reads the latest one,
//! and the history in the state. Nothing here can ask the platform or change anything.

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

/// Where the latest snapshot is read.
pub type Published = watch::Receiver<Arc<Snapshot>>;
