//! One sync of one source: read it, store new rows, record the result.

use serde_json::json;
use sha2::{Digest as _, Sha256};

use super::PlatformError;
use super::connectors::{
    self, ConnectorContext, OpenedSource, ReadError, ReadOptions, RowSink as _, catch_panic,
};
use super::definition::{SyncOptions, WorkspaceKey};
use super::platform_core::PlatformCore;
use super::registry::RegisteredSource;
use super::rows::{self, Writing, WrittenRows};
use wellspring_sensitive::masked;

pub(super) enum SyncOutcome {
    /// Rows were written, possibly none.
    Done {
        source: RegisteredSource,
        written: WrittenRows,
    },
    Failed {
        source: RegisteredSource,
        message: String,
    },
    /// The source does not exist.
    Gone {
        id: String,
    },
}

/// Syncs a source. Blocks.
///
/// The caller holds the lock of the source, so that no other sync or cleanup of it is running.
pub(super) fn sync(
    core: &PlatformCore,
    workspace: &WorkspaceKey,
    id: &str,
    options: &SyncOptions,
    reach: &ConnectorContext,
) -> Result<SyncOutcome, PlatformError> {
    let Some(source) = core.catalogue.source(workspace, id)? else {
        return Ok(SyncOutcome::Gone { id: id.to_owned() });
    };
    let started = now();
    let result = read_into_store(core, &source, options, reach);
    let mut note = json!({
        "started_at": started, "finished_at": now(), "incremental": options.incremental,
        "status": if result.is_ok() { "success" } else { "error" },
        "records_processed": result.as_ref().map_or(0, |written| written.records),
    });
    let outcome = match result {
        Ok(written) => {
            if !written.notes.is_empty() {
                note["message"] = written.notes.join("; ").into();
            }
            SyncOutcome::Done { source, written }
        }
        Err(failure) => {
            let message = failure.into_message();
            note["message"] = message.clone().into();
            SyncOutcome::Failed { source, message }
        }
    };
    core.catalogue.record_sync(id, &note)?;
    Ok(outcome)
}

/// Formats the current time for responses.
pub(super) fn now() -> String {
    jiff::Timestamp::now().to_string()
}

fn read_into_store(
    core: &PlatformCore,
    source: &RegisteredSource,
    options: &SyncOptions,
    reach: &ConnectorContext,
) -> Result<WrittenRows, ReadError> {
    let OpenedSource { connector, warning } =
        connectors::open(&source.kind, &source.connection_config, reach)
            .map_err(|unfit| ReadError::new(unfit.into_message()))?;
    let mut connection = core.store.rows(&source.id)?;
    rows::prepare(&connection)?;
    let mut writing = Writing::begin(&mut connection, options.batch_size, || reach.stop())?;

    for warning in warning.into_iter().chain(options.warning.clone()) {
        writing.add_note(warning);
    }
    let definition = identity(source);
    let last = writing.position(&definition)?;
    let since = if options.incremental { last.clone() } else { None };
    if since.is_none() {
        writing.clear()?;
    }
    let reading = ReadOptions {
        incremental: options.incremental,
        since,
        cursor: options.cursor.clone(),
        batch_size: options.batch_size,
        last_position: last,
    };
    let position = catch_panic(|| connector.read(&reading, &mut writing))?;
    writing.commit(&definition, &position)
}

/// Identifies a definition; positions are valid for their own definition only.
///
/// Secrets are excluded, so that a new password does not cause a full read.
fn identity(source: &RegisteredSource) -> String {
    let text = json!([source.kind, masked(&source.connection_config)]).to_string();
    hex::encode(Sha256::digest(text.as_bytes()))
}

impl From<PlatformError> for ReadError {
    fn from(error: PlatformError) -> Self {
        use std::error::Error as _;
        let cause = error.source().map_or(String::new(), |cause| format!(": {cause}"));
        Self::new(format!("{error}{cause}"))
    }
}
