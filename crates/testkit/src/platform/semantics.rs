//! Behaviour that the API leaves open, and faults of single calls.

use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::watch;

/// Behaviour of the platform where the API leaves it open.
#[derive(Clone)]
pub struct Semantics {
    /// Response of `connect` to an existing name.
    pub taken: Taken,
    /// Part of a definition that `list` returns.
    pub echo: EchoManner,
    /// Ids of rows.
    pub ids: Ids,
    /// Number of lists after a write that still return the previous rows.
    pub list_lag: usize,
    /// Ids that `cleanup` removes.
    pub cleanup: CleanupManner,
    /// Behaviour of `test-connection`.
    pub test_connection: TestManner,
    /// Response of `sync`.
    pub sync: SyncManner,
    /// Names that `connect` reports in `errors[]`, while the others succeed.
    pub partial_connect: Vec<String>,
    /// Names for which `connect` refuses the whole batch with 400.
    pub refused: Vec<String>,
    /// True if the response of `connect` contains ids.
    pub answers_ids: bool,
    /// True if a refused batch is carried out up to the refused source.
    pub partial_batches: bool,
    /// Names for which `sync` refuses the whole request with 400.
    pub refused_syncs: Vec<String>,
    /// Number of connects refused with 409 for a name that was cleaned up.
    pub reserved: usize,
    /// True if names are listed in capitals.
    pub capitals: bool,
    /// True if the response of `connect` contains names in capitals, too.
    pub answers_capitals: bool,
    /// Further fields of the list's envelope.
    pub page_fields: Map<String, Value>,
}

impl Default for Semantics {
    fn default() -> Self {
        Self {
            taken: Taken::Upsert,
            echo: EchoManner::Everything,
            ids: Ids::Text,
            list_lag: 0,
            cleanup: CleanupManner::All,
            test_connection: TestManner::Works,
            sync: SyncManner::Counts,
            partial_connect: Vec::new(),
            refused: Vec::new(),
            answers_ids: true,
            partial_batches: false,
            refused_syncs: Vec::new(),
            reserved: 0,
            capitals: false,
            answers_capitals: false,
            page_fields: Map::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Taken {
    /// The row keeps its id and gets the new definition.
    Upsert,
    /// A second row with that name is created.
    Duplicate,
    /// 409, and nothing of the batch is connected.
    Conflict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EchoManner {
    /// `connection_config` and `metadata` as received, secrets in plain text.
    Everything,
    /// The same with `***` for secrets.
    Masked,
    /// Name and type only.
    Nothing,
    /// Numbers as text, and an extra key here and there.
    Normalised,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ids {
    /// `"source_1"`
    Text,
    /// `1`
    Number,
    /// Rows have no id, and `cleanup` and `sync` accept none.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CleanupManner {
    All,
    /// Removes only the first of the ids.
    OnlySome,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub enum TestManner {
    Works,
    /// 404
    Missing,
    /// A failed test for configurations with one of these texts as a value.
    FailsFor(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SyncManner {
    /// 200 with `records_processed` in total and per source.
    Counts,
    /// 200 without a count.
    Silent,
    /// 202 without a body.
    Accepted,
}

/// Fault of one call, in place of or in addition to its response.
#[derive(Clone)]
pub enum Fault {
    /// Returns this response without acting.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Acts, then returns this response.
    ActThenAnswer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Breaks the connection without a response, before acting.
    DropBeforeActing,
    /// Acts, then breaks the connection without a response.
    DropAfterActing,
    /// Waits at the gate, then continues as usual.
    HoldBeforeActing(Gate),
    /// Acts, then waits at the gate before responding.
    HoldAfterActing(Gate),
}

impl Fault {
    /// Returns an error envelope with this status.
    pub fn status(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"status": "error", "message": message, "data": null}))
    }

    /// Returns this status and body.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::body(status, "application/json", body.to_string().into_bytes())
    }

    /// Returns this status and these bytes.
    pub fn body(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    /// Acts, then returns an error envelope with this status.
    pub fn acts_then(status: u16, message: &str) -> Self {
        match Self::status(status, message) {
            Self::Answer { status, headers, body } => Self::ActThenAnswer { status, headers, body },
            other => other,
        }
    }

    /// Adds a header to a response.
    pub fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } | Self::ActThenAnswer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// A gate that holds calls until it is opened.
#[derive(Clone)]
pub struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}
