//! Tests of the local platform over HTTP.
#![cfg(feature = "local-platform")]
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "platform/databases.rs"]
mod databases;
#[path = "platform/harness.rs"]
mod harness;
#[path = "support/servers.rs"]
mod servers;
mod support;

#[path = "platform/answers.rs"]
mod answers;
#[path = "platform/api.rs"]
mod api;
#[path = "platform/certificates.rs"]
mod certificates;
#[path = "platform/changes.rs"]
mod changes;
#[path = "platform/connecting.rs"]
mod connecting;
#[path = "platform/contract.rs"]
mod contract;
#[path = "platform/ending.rs"]
mod ending;
#[path = "platform/growing.rs"]
mod growing;
#[path = "platform/histories.rs"]
mod histories;
#[path = "platform/incremental.rs"]
mod incremental;
#[path = "platform/keys.rs"]
mod keys;
#[path = "platform/killed.rs"]
mod killed;
#[path = "platform/mysql.rs"]
mod mysql;
#[path = "platform/openapi.rs"]
mod openapi;
#[path = "platform/paging.rs"]
mod paging;
#[path = "platform/parquet.rs"]
mod parquet;
#[path = "platform/postgres.rs"]
mod postgres;
#[path = "platform/reaching.rs"]
mod reaching;
#[path = "platform/reading.rs"]
mod reading;
#[path = "platform/refusing.rs"]
mod refusing;
#[path = "platform/relational.rs"]
mod relational;
#[path = "platform/sqlite.rs"]
mod sqlite;
#[path = "platform/storing.rs"]
mod storing;
#[path = "platform/written.rs"]
mod written;
