//! Tests of the status page, metrics and health endpoints of the real program.
#![cfg(feature = "local-platform")]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

// Explicit paths make these modules of this binary instead of separate binaries.
#[path = "status/anew.rs"]
mod anew;
#[path = "status/browser.rs"]
mod browser;
#[path = "status/doctor.rs"]
mod doctor;
#[path = "status/health.rs"]
mod health;
#[path = "status/metrics.rs"]
mod metrics;
#[path = "status/notices.rs"]
mod notices;
#[path = "status/pages.rs"]
mod pages;
#[path = "status/server.rs"]
mod server;
