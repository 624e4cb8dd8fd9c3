//! Tests of the local platform over HTTP.
#![cfg(feature = "local-platform")]

pub(crate) mod databases;
pub(crate) mod harness;

mod accounts;
mod answers;
mod api;
mod certificates;
mod changes;
mod connecting;
mod contract;
mod ending;
mod growing;
mod histories;
mod incremental;
mod keys;
mod killed;
mod mysql;
mod openapi;
mod paging;
mod parquet;
mod postgres;
mod reaching;
mod reading;
mod refusing;
mod relational;
mod sqlite;
mod storing;
mod written;
