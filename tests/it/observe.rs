//! Tests of the status page, metrics and health endpoints of the real program.
#![cfg(feature = "local-platform")]

mod anew;
mod browser;
mod doctor;
mod health;
mod metrics;
mod notices;
mod pages;
mod server;
