//! Clients of other projects against the local platform: four releases of the platform's SDK, its command line, and
//! its bridge for MCP.
//!
//! They show that the local platform speaks the account dialect as its own clients do. `tests/clients.py` installs
//! them; without a package index the tests pass and print that they were skipped, unless
//! `WELLSPRING_REQUIRE_CLIENTS=1`.
#![cfg(feature = "local-platform")]

mod bridge;
mod harness;
mod px;
mod sdk;
