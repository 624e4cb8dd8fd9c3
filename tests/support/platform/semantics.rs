//! The choices that the contract leaves open, and the faults that a call can meet.

use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio::sync::watch;

/// How the platform behaves where the contract leaves it open.
#[derive(Clone)]
pub(crate) struct Semantics {
    /// `connect` on a name that is taken.
    pub(crate) taken: Taken,
    /// What `list` shows of a definition.
    pub(crate) echo: EchoManner,
    /// The ids on rows.
    pub(crate) ids: Ids,
    /// So many lists after a write still show what was before it.
    pub(crate) list_lag: usize,
    /// What `cleanup` does with the ids it is given.
    pub(crate) cleanup: CleanupManner,
    /// What `test-connection` does.
    pub(crate) test_connection: TestManner,
    /// What `sync` answers.
    pub(crate) sync: SyncManner,
    /// Names that `connect` reports in `errors[]`, while the others go through.
    pub(crate) partial_connect: Vec<String>,
    /// Names for which `connect` refuses the whole batch with 400.
    pub(crate) refused: Vec<String>,
    /// The answer of `connect` names the ids.
    pub(crate) answers_ids: bool,
    /// A batch that is refused is carried out up to the bad one.
    pub(crate) partial_batches: bool,
    /// Names for which `sync` refuses the whole call with 400.
    pub(crate) refused_syncs: Vec<String>,
    /// So many connects of a name that was cleaned up are refused with 409.
    pub(crate) reserved: usize,
    /// Names are listed in capitals.
    pub(crate) capitals: bool,
    /// Further fields of the list's envelope.
    pub(crate) page_fields: Map<String, Value>,
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
            page_fields: Map::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// The row keeps its id and takes the new definition.
    Upsert,
    /// A second row of that name appears.
    Duplicate,
    /// 409, and nothing of the batch is connected.
    Conflict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EchoManner {
    /// `connection_config` and `metadata` as they came, secrets in plain text.
    Everything,
    /// The same with `***` for what looks secret.
    Masked,
    /// Name and type only.
    Nothing,
    /// Numbers as text, an extra key here and there.
    Normalised,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ids {
    /// `"source_1"`
    Text,
    /// `1`
    Number,
    /// Rows show no id, and no id is known to `cleanup` and `sync`.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CleanupManner {
    All,
    /// Only the first of the ids.
    OnlySome,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TestManner {
    Works,
    /// 404
    Missing,
    /// A failed test for configurations that hold one of these texts as a value.
    FailsFor(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SyncManner {
    /// 200 with `records_processed` in all and of each source.
    Counts,
    /// 200 without a count.
    Silent,
    /// 202 without a body.
    Accepted,
}

/// What happens to one call instead of, or besides, its answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This answer, without acting.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Acts, then gives this answer.
    ActThenAnswer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// The connection breaks without an answer, nothing was done.
    DropBeforeActing,
    /// Acts; then the connection breaks without an answer.
    DropAfterActing,
    /// Waits at the gate, then goes on as usual.
    HoldBeforeActing(Gate),
    /// Acts, then waits at the gate before it answers.
    HoldAfterActing(Gate),
}

impl Fault {
    /// An error envelope with this status.
    pub(crate) fn status(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"status": "error", "message": message, "data": null}))
    }

    /// This status and body.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::body(status, "application/json", body.to_string().into_bytes())
    }

    /// This status and these bytes.
    pub(crate) fn body(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    /// Acts, then answers with an error envelope of this status.
    pub(crate) fn acts_then(status: u16, message: &str) -> Self {
        match Self::status(status, message) {
            Self::Answer { status, headers, body } => Self::ActThenAnswer { status, headers, body },
            other => other,
        }
    }

    /// Adds a header to an answer.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } | Self::ActThenAnswer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// Holds calls until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    pub(super) async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}
