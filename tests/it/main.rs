//! The integration tests, one module for each part of the program.
//!
//! One binary, because every further one links the whole program again.
#![expect(clippy::unwrap_used, reason = "in tests a panic is the report")]

mod client;
mod clients;
mod commands;
mod config;
mod cuts;
mod fuzz_corpus;
mod observe;
mod plan;
mod platform;
mod report;
mod run;
mod saved_plans;
mod schedule;
mod service;
mod store;
mod watch;
