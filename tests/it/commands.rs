//! Tests of the commands that run once: the real program, two kinds of platform.
//!
//! One is the local platform, the other misbehaves on demand.
#![cfg(feature = "local-platform")]

mod account;
mod accounts;
mod again;
mod arguments;
mod canaries;
mod editors;
mod examples;
mod exits;
mod killed;
mod lost;
mod moving;
mod odd;
mod outage;
mod planning;
mod rows;
mod secrecy;
mod status;
mod stopped;
mod suspended;
mod terminal;
mod trust;
mod turned_away;
mod work;
mod writing;
