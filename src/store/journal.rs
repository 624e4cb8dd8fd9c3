//! Journal: every action on a source, with its time and reason.

use super::codec::{self, instant, nanoseconds};
use super::error::DbError;
use super::{Store, StoreError};
use crate::model::{ActionOutcome, SourceId, SourceKey, SourceName, WorkspaceRef};
use jiff::Timestamp;
use rusqlite::{CachedStatement, Connection, Row, Statement, params};
use serde::Serialize;
use std::borrow::Cow;
use std::sync::Arc;

/// One action that was carried out or failed. Contains no secrets.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalEntry {
    /// Time at which the action ended.
    pub at: Timestamp,
    pub pass: Arc<str>,
    pub source: SourceName,
    pub key: Option<SourceKey>,
    /// `connect`, `replace`, `cleanup`, `adopt`, `forget` or `schedule`.
    pub action: Cow<'static, str>,
    /// Id of the source before or after the action.
    pub source_id: Option<SourceId>,
    pub reason: String,
    pub file: Option<Arc<str>>,
    /// The line in `file`, from 1.
    pub line: Option<u32>,
    /// The commit that was checked out when the files were read, in hexadecimal; ends in `-dirty` if it does
    /// not hold the file as it was read.
    pub commit: Option<Arc<str>>,
    pub outcome: ActionOutcome,
    /// Response of the platform, or the error.
    pub message: Option<String>,
    /// Counts against `max_cleanup`.
    pub removal: bool,
    pub mends_drift: bool,
    /// True for a replacement in place.
    pub in_place: bool,
}

impl JournalEntry {
    /// Returns the word of plans for the action: a replacement in place is an update.
    pub fn word(&self) -> &str {
        if self.in_place { "update" } else { &self.action }
    }
}

/// A recorded [`JournalEntry`].
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct JournalRow {
    /// Sequence number; later entries have greater numbers.
    pub number: i64,
    pub workspace: WorkspaceRef,
    #[serde(flatten)]
    pub entry: JournalEntry,
}

#[derive(Debug, Clone, PartialEq)]
pub struct JournalFilter {
    pub workspace: Option<WorkspaceRef>,
    /// Only of sources with this name.
    pub source: Option<SourceName>,
    /// Only entries at or after this instant.
    pub since: Option<Timestamp>,
    /// Maximum number of entries; the newest are returned.
    pub limit: usize,
}

impl Store {
    /// Returns journal entries, newest first.
    pub async fn journal(&self, filter: JournalFilter) -> Result<Vec<JournalRow>, StoreError> {
        self.read(move |connection, platform| {
            let mut statement = connection.prepare_cached(
                "SELECT number, workspace, scope, at, pass, source, key, action, source_id, reason, file,
                        line, outcome, message, removal, mends_drift, commit_id, in_place
                 FROM journal
                 WHERE platform = ?1 AND (?2 IS NULL OR workspace = ?2 AND scope = ?3)
                   AND (?4 IS NULL OR source = ?4) AND (?5 IS NULL OR at >= ?5)
                 ORDER BY number DESC LIMIT ?6",
            )?;
            let of = params![
                platform,
                filter.workspace.as_ref().map(|workspace| workspace.workspace.as_str()),
                filter.workspace.as_ref().map(|workspace| workspace.scope.as_str()),
                filter.source.as_ref().map(SourceName::as_str),
                filter.since.map(nanoseconds),
                codec::limit(filter.limit),
            ];
            statement.query_and_then(of, read)?.collect()
        })
        .await
    }
}

pub(super) fn recent_removals(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
    since: Timestamp,
) -> Result<usize, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM journal WHERE platform = ?1 AND workspace = ?2 AND scope = ?3
         AND at >= ?4 AND removal AND outcome = 'done'",
    )?;
    let of = params![platform, workspace.workspace.as_str(), workspace.scope.as_str(), nanoseconds(since)];
    let removals: i64 = statement.query_row(of, |row| row.get(0))?;
    Ok(usize::try_from(removals).unwrap_or(usize::MAX))
}

pub(super) fn drift_corrections(
    connection: &Connection,
    platform: &str,
    workspace: &WorkspaceRef,
    since: Timestamp,
) -> Result<Vec<(SourceName, String, Timestamp)>, DbError> {
    let mut statement = connection.prepare_cached(
        "SELECT source, action, at FROM journal WHERE platform = ?1 AND workspace = ?2 AND scope = ?3
         AND at >= ?4 AND mends_drift AND outcome = 'done' ORDER BY number",
    )?;
    let of = params![platform, workspace.workspace.as_str(), workspace.scope.as_str(), nanoseconds(since)];
    let read = |row: &Row<'_>| Ok((codec::name(row.get(0)?, "journal")?, row.get(1)?, instant(row.get(2)?)));
    statement.query_and_then(of, read)?.collect()
}

/// Prepares the statement for [`write`] and binds the shared columns.
pub(super) fn prepare_insert<'a>(
    connection: &'a Connection,
    platform: &str,
    workspace: &WorkspaceRef,
) -> rusqlite::Result<CachedStatement<'a>> {
    let mut writing = connection.prepare_cached(
        "INSERT INTO journal (platform, workspace, scope, at, pass, source, key, action, source_id, reason,
                              file, line, outcome, message, removal, mends_drift, commit_id,
                              in_place)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18)",
    )?;
    writing.raw_bind_parameter(1, platform)?;
    writing.raw_bind_parameter(2, workspace.workspace.as_str())?;
    writing.raw_bind_parameter(3, workspace.scope.as_str())?;
    Ok(writing)
}

/// Adds `entry` to the journal; `source_id` is the entry's id as JSON.
pub(super) fn write(
    writing: &mut Statement<'_>,
    entry: &JournalEntry,
    source_id: Option<&str>,
) -> Result<(), DbError> {
    writing.raw_bind_parameter(4, nanoseconds(entry.at))?;
    writing.raw_bind_parameter(5, &*entry.pass)?;
    writing.raw_bind_parameter(6, entry.source.as_str())?;
    writing.raw_bind_parameter(7, entry.key.as_ref().map(SourceKey::as_str))?;
    writing.raw_bind_parameter(8, &*entry.action)?;
    writing.raw_bind_parameter(9, source_id)?;
    writing.raw_bind_parameter(10, &entry.reason)?;
    writing.raw_bind_parameter(11, entry.file.as_deref())?;
    writing.raw_bind_parameter(12, entry.line)?;
    writing.raw_bind_parameter(13, entry.outcome.as_str())?;
    writing.raw_bind_parameter(14, &entry.message)?;
    writing.raw_bind_parameter(15, entry.removal)?;
    writing.raw_bind_parameter(16, entry.mends_drift)?;
    writing.raw_bind_parameter(17, entry.commit.as_deref())?;
    writing.raw_bind_parameter(18, entry.in_place)?;
    writing.raw_execute()?;
    Ok(())
}

fn read(row: &Row<'_>) -> Result<JournalRow, DbError> {
    let key: Option<String> = row.get(6)?;
    let source_id: Option<String> = row.get(8)?;
    Ok(JournalRow {
        number: row.get(0)?,
        workspace: codec::workspace_ref(row.get(1)?, row.get(2)?, "journal")?,
        entry: JournalEntry {
            at: instant(row.get(3)?),
            pass: row.get(4)?,
            source: codec::name(row.get(5)?, "journal")?,
            key: key.map(|key| codec::name(key, "journal")).transpose()?,
            action: row.get::<_, String>(7)?.into(),
            source_id: source_id.map(|id| codec::decode(&id, "journal")).transpose()?,
            reason: row.get(9)?,
            file: row.get(10)?,
            line: row.get(11)?,
            outcome: outcome(&row.get::<_, String>(12)?)?,
            message: row.get(13)?,
            removal: row.get(14)?,
            mends_drift: row.get(15)?,
            commit: row.get(16)?,
            in_place: row.get(17)?,
        },
    })
}

fn outcome(word: &str) -> Result<ActionOutcome, DbError> {
    let known = ActionOutcome::ALL.iter().find(|outcome| outcome.as_str() == word);
    known.copied().ok_or_else(|| DbError::Undecodable(format!("journal: unknown outcome {word:?}")))
}
