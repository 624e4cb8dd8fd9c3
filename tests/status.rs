//! How the daemon stands, as browsers, scrapers and probes see it: the real program over loopback.
#![cfg(feature = "local-platform")]
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod support;

// The paths are spelled out so that these are parts of this binary, not binaries of their own.
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
