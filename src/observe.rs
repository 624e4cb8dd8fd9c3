//! Status of the daemon: snapshots, metrics, health and pages.
//!
//! The daemon publishes a [`Snapshot`] after every change. Everything here reads the latest one,
//! and the history in the state.
//!
//! Invariant: never calls the platform and never changes anything.

mod folding;
mod health;
mod level;
pub mod metrics;
mod page;
mod plot;
mod server;
mod snapshot;
mod view;

pub use server::{SiteConfig, serve};
pub use snapshot::{
    ConfigStatus, DriftCorrection, Facts, FilesStatus, LastSyncStatus, PassSpan, Problem, ProcessInfo,
    ShownSources, Snapshot, Test, UnmanagedSource, WithheldAction, WorkspaceSnapshot, record_pass,
};

use std::sync::Arc;
use tokio::sync::watch;

pub type SnapshotReceiver = watch::Receiver<Arc<Snapshot>>;
