//! Changes made on the platform, newest first.

use crate::model::{ActionOutcome, WorkspaceRef};
use crate::observe::Snapshot;
use crate::store::JournalRow;
use jiff::Timestamp;
use serde::Serialize;
use std::sync::Arc;

#[derive(Debug, Serialize)]
pub(in crate::observe) struct ChangeRow {
    pub(in crate::observe) at: Timestamp,
    pub(in crate::observe) workspace: String,
    #[serde(flatten, serialize_with = "WorkspaceRef::beside_its_name")]
    pub(in crate::observe) workspace_ref: WorkspaceRef,
    pub(in crate::observe) source: String,
    pub(in crate::observe) name: String,
    pub(in crate::observe) action: String,
    /// Word of plans for the action.
    #[serde(skip)]
    pub(in crate::observe) word: String,
    pub(in crate::observe) outcome: ActionOutcome,
    pub(in crate::observe) why: String,
    pub(in crate::observe) file: Option<Arc<str>>,
    pub(in crate::observe) line: Option<u32>,
    pub(in crate::observe) commit: Option<Arc<str>>,
    pub(in crate::observe) mends_drift: bool,
    /// Number of consecutive entries with the same result.
    pub(in crate::observe) times: u32,
}

impl ChangeRow {
    fn of(row: JournalRow, snapshot: &Snapshot) -> Self {
        let entry = row.entry;
        let word = entry.word().to_owned();
        let workspace = snapshot.workspace(&row.workspace).map(|workspace| workspace.desired.label());
        Self {
            at: entry.at,
            workspace: workspace.unwrap_or(row.workspace.workspace.as_str()).to_owned(),
            workspace_ref: row.workspace,
            source: entry.key.map_or_else(|| entry.source.to_string(), |key| key.to_string()),
            name: entry.source.to_string(),
            word,
            action: entry.action.into_owned(),
            outcome: entry.outcome,
            why: entry.message.unwrap_or(entry.reason),
            file: entry.file,
            line: entry.line,
            commit: entry.commit,
            mends_drift: entry.mends_drift,
            times: 1,
        }
    }

    pub(in crate::observe) fn is_done(&self) -> bool {
        self.outcome == ActionOutcome::Done
    }

    /// Returns the newest changes; repeated attempts are combined into one.
    pub(in crate::observe) fn newest(
        journal: Vec<JournalRow>,
        snapshot: &Snapshot,
        most: usize,
    ) -> Vec<Self> {
        let mut newest: Vec<Self> = Vec::new();
        for row in journal {
            let change = Self::of(row, snapshot);
            let same = |known: &&mut Self| {
                !known.is_done()
                    && (&known.workspace_ref, &known.name, &known.action)
                        == (&change.workspace_ref, &change.name, &change.action)
                    && (&known.outcome, &known.why) == (&change.outcome, &change.why)
            };
            match newest.iter_mut().find(same) {
                Some(known) => known.times += 1,
                None => newest.push(change),
            }
        }
        newest.truncate(most);
        newest
    }
}
