//! Runs: claimed firings and their outcomes.
//!
//! A firing is claimed before its sync is sent, so it is sent at most once even if the process
//! crashes.

use super::codec::{self, instant, nanoseconds};
use super::error::DbError;
use super::liveness::ProcessRegistry;
use super::{Store, StoreError};
use crate::model::{RunOutcome, SourceName, WorkspaceRef};
use jiff::{SignedDuration, Timestamp};
use rusqlite::{Connection, Row, params};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Message recorded for a run whose process died.
const PROCESS_ENDED: &str = "the process ended before the response arrived";

/// Reason why a source was due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Trigger {
    Schedule,
    Connect,
    /// The source was replaced.
    Change,
    /// A user requested it.
    Manual,
}

/// Request to claim a firing before its sync is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    pub name: SourceName,
    pub trigger: Trigger,
    /// Time at which it was due. A scheduled firing can be claimed once.
    pub firing: Timestamp,
}

/// A firing that is used up without a sync.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedRun {
    pub name: SourceName,
    /// The firing; the last one if several were skipped.
    pub firing: Timestamp,
    /// [`RunOutcome::Skipped`] or [`RunOutcome::Rewound`].
    pub outcome: RunOutcome,
    pub message: String,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunEnd {
    pub run: i64,
    pub finished_at: Timestamp,
    pub outcome: RunOutcome,
    /// Number of records reported by the platform.
    pub records: Option<u64>,
    /// Response of the platform, or the error. Contains no secrets.
    pub message: Option<String>,
}

/// The newest run of a source.
///
/// A run that was never sent counts only if there is no other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LastRun {
    /// Latest due time of any run of the source since the clock last went back.
    pub firing: Timestamp,
    /// Time at which the newest run was claimed.
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    pub outcome: RunOutcome,
    /// Time at which a run of the source last ended as [`RunOutcome::Done`].
    pub last_success: Option<Timestamp>,
    /// Number of records in the newest run.
    pub records: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunRecord {
    /// Sequence number; later runs have greater numbers.
    pub run: i64,
    pub workspace: WorkspaceRef,
    pub name: SourceName,
    pub trigger: Trigger,
    pub firing: Timestamp,
    pub started_at: Timestamp,
    pub finished_at: Option<Timestamp>,
    /// Number of records reported by the platform.
    pub records: Option<u64>,
    pub outcome: RunOutcome,
    /// Response of the platform, or the error.
    pub message: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryFilter {
    pub workspace: Option<WorkspaceRef>,
    /// Only of sources with this name.
    pub source: Option<SourceName>,
    /// Maximum number of runs; the newest are returned.
    pub limit: usize,
}

/// Limits of the kept history.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retention {
    /// Runs kept per source, at least 1; the last success is kept in addition.
    pub runs_per_source: u32,
    /// Maximum age of journal rows; the limits need at least the last day.
    pub age: Duration,
    /// Approximate maximum of journal rows older than a day.
    ///
    /// An action that fails every few seconds adds a row each time.
    pub journal_rows: u32,
}

/// Sources whose runs, and journal rows that, are pruned per write.
///
/// Small portions bound the wait of other writers and the memory for sorting.
const SOURCES: u32 = 100;
const ROWS: i64 = 10_000;

/// Ranges of ?2 sources of one workspace, as first and last name.
const SOURCE_RANGES_SQL: &str = "
SELECT workspace, scope, min(name), max(name) FROM (
    SELECT workspace, scope, name, row_number() OVER (PARTITION BY workspace, scope ORDER BY name) - 1 AS nth
    FROM last_runs WHERE platform = ?1
) GROUP BY workspace, scope, nth / ?2
";

/// Deletes surplus runs within one range.
const PRUNE_RUNS_SQL: &str = "
DELETE FROM runs WHERE run IN (
    SELECT run FROM (
        SELECT run, outcome,
               row_number() OVER (PARTITION BY name ORDER BY run DESC) AS nth,
               row_number() OVER (PARTITION BY name, outcome ORDER BY run DESC) AS nth_of_outcome,
               firing = max(firing) OVER (PARTITION BY name) AS latest
        FROM runs WHERE platform = ?1 AND workspace = ?3 AND scope = ?4 AND name BETWEEN ?5 AND ?6
    ) WHERE nth > ?2 AND NOT latest AND outcome <> 'running' AND NOT (outcome = 'done' AND nth_of_outcome = 1)
)";

impl Store {
    /// Claims runs before they are sent; durable on return.
    ///
    /// Returns, in the order of `claims`, the number of the run, or `None` if that scheduled firing
    /// was claimed before.
    ///
    /// # Errors
    /// When the state cannot be written; then none is claimed.
    pub async fn claim(
        &self,
        workspace: &WorkspaceRef,
        claims: Vec<Claim>,
        now: Timestamp,
    ) -> Result<Vec<Option<i64>>, StoreError> {
        let workspace = workspace.clone();
        let process = self.process_lock.as_ref().map(|presence| presence.token().to_owned());
        self.write(move |connection, platform| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO runs (platform, workspace, scope, name, trigger, firing, started_at, process,
                                   outcome)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 'running') ON CONFLICT DO NOTHING",
            )?;
            let mut numbers = Vec::with_capacity(claims.len());
            for claim in &claims {
                let claimed = statement.execute(params![
                    platform,
                    workspace.workspace.as_str(),
                    workspace.scope.as_str(),
                    claim.name.as_str(),
                    claim.trigger.as_str(),
                    nanoseconds(claim.firing),
                    nanoseconds(now),
                    process,
                ])?;
                numbers.push(if claimed == 1 { Some(connection.last_insert_rowid()) } else { None });
            }
            Ok(numbers)
        })
        .await
    }

    /// Records the results of runs; durable on return. Finished runs are not changed.
    ///
    /// # Errors
    /// When the state cannot be written; then none is recorded.
    pub async fn finish(&self, runs: Vec<RunEnd>) -> Result<(), StoreError> {
        self.write(move |connection, platform| {
            let mut statement = connection.prepare_cached(
                "UPDATE runs SET outcome = ?3, finished_at = ?4, records = ?5, message = ?6
                 WHERE run = ?1 AND platform = ?2 AND outcome = 'running'",
            )?;
            for end in &runs {
                statement.execute(params![
                    end.run,
                    platform,
                    end.outcome.as_str(),
                    nanoseconds(end.finished_at),
                    end.records.map(|records| i64::try_from(records).unwrap_or(i64::MAX)),
                    end.message,
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// Records firings that will not be sent; durable on return.
    ///
    /// Recorded firings are not due again.
    ///
    /// # Errors
    /// When the state cannot be written; then none is recorded.
    pub async fn record_skipped(
        &self,
        workspace: &WorkspaceRef,
        spent: Vec<SkippedRun>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let workspace = workspace.clone();
        self.write(move |connection, platform| {
            let mut statement = connection.prepare_cached(
                "INSERT INTO runs (platform, workspace, scope, name, trigger, firing, started_at, finished_at,
                                   process, outcome, message)
                 VALUES (?1, ?2, ?3, ?4, 'schedule', ?5, ?6, ?6, '', ?7, ?8) ON CONFLICT DO NOTHING",
            )?;
            for spent in &spent {
                statement.execute(params![
                    platform,
                    workspace.workspace.as_str(),
                    workspace.scope.as_str(),
                    spent.name.as_str(),
                    nanoseconds(spent.firing),
                    nanoseconds(now),
                    spent.outcome.as_str(),
                    spent.message,
                ])?;
            }
            Ok(())
        })
        .await
    }

    /// Returns the newest run of every source of `workspace` since it was connected.
    ///
    /// Earlier runs belong to a previous source with the same name.
    pub async fn last_runs(
        &self,
        workspace: &WorkspaceRef,
    ) -> Result<BTreeMap<SourceName, LastRun>, StoreError> {
        let (workspace, dir) = (workspace.clone(), self.dir.clone());
        self.read(move |connection, platform| {
            let mut roll = ProcessRegistry::new(&dir);
            let mut statement = connection.prepare_cached(
                "SELECT last.name, last.firing, started_at, finished_at, outcome, last_success, records, process
                 FROM last_runs AS last JOIN runs ON run = newest
                 LEFT JOIN units USING (platform, workspace, scope)
                 LEFT JOIN owned ON owned.unit = units.unit AND owned.name = last.name
                 WHERE last.platform = ?1 AND last.workspace = ?2 AND last.scope = ?3
                     AND (owned IS NULL OR last.connection IS coalesce(owned ->> '$.connected_at', 'id:' || (owned ->> '$.id')))",
            )?;
            let of = [platform, workspace.workspace.as_str(), workspace.scope.as_str()];
            let runs = statement.query_and_then(of, |row| {
                let run = LastRun {
                    firing: instant(row.get(1)?),
                    started_at: instant(row.get(2)?),
                    finished_at: row.get::<_, Option<i64>>(3)?.map(instant),
                    outcome: outcome(row, 4, 7, &mut roll)?,
                    last_success: row.get::<_, Option<i64>>(5)?.map(instant),
                    records: records(row, 6)?,
                };
                Ok((codec::name(row.get(0)?, "runs")?, run))
            })?;
            runs.collect()
        })
        .await
    }

    /// Returns runs, newest first.
    pub async fn history(&self, filter: HistoryFilter) -> Result<Vec<RunRecord>, StoreError> {
        let dir = self.dir.clone();
        self.read(move |connection, platform| {
            let mut roll = ProcessRegistry::new(&dir);
            let mut statement = connection.prepare_cached(
                "SELECT run, workspace, scope, name, trigger, firing, started_at, finished_at, records,
                        outcome, message, process
                 FROM runs
                 WHERE platform = ?1 AND (?2 IS NULL OR workspace = ?2 AND scope = ?3)
                   AND (?4 IS NULL OR name = ?4)
                 ORDER BY run DESC LIMIT ?5",
            )?;
            let of = params![
                platform,
                filter.workspace.as_ref().map(|workspace| workspace.workspace.as_str()),
                filter.workspace.as_ref().map(|workspace| workspace.scope.as_str()),
                filter.source.as_ref().map(SourceName::as_str),
                codec::limit(filter.limit),
            ];
            statement.query_and_then(of, |row| read(row, &mut roll))?.collect()
        })
        .await
    }

    /// Drops history beyond `keep` in small portions, so that other writers proceed.
    ///
    /// Keeps running runs, and the newest run and last success of every source.
    ///
    /// # Errors
    /// When the state cannot be written; some of it may have been dropped.
    pub async fn prune_history(&self, now: Timestamp, keep: Retention) -> Result<(), StoreError> {
        self.prune_runs(keep.runs_per_source.max(1)).await?;
        self.prune_journal(now, keep).await
    }

    async fn prune_runs(&self, keep: u32) -> Result<(), StoreError> {
        let slices = self.read(|connection, platform| {
            let mut statement = connection.prepare(SOURCE_RANGES_SQL)?;
            let slice = |row: &Row<'_>| Ok([row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?]);
            let slices = statement.query_map(params![platform, SOURCES], slice)?;
            Ok(slices.collect::<Result<Vec<[String; 4]>, _>>()?)
        });
        for [workspace, scope, first, last] in slices.await? {
            self.write(move |connection, platform| {
                let mut statement = connection.prepare_cached(PRUNE_RUNS_SQL)?;
                statement.execute(params![platform, keep, workspace, scope, first, last])?;
                Ok(())
            })
            .await?;
        }
        Ok(())
    }

    async fn prune_journal(&self, now: Timestamp, keep: Retention) -> Result<(), StoreError> {
        let yesterday = SignedDuration::from_hours(24);
        let age = SignedDuration::try_from(keep.age).unwrap_or(SignedDuration::MAX).max(yesterday);
        let [old, yesterday] =
            [age, yesterday].map(|ago| nanoseconds(now.saturating_sub(ago).unwrap_or(Timestamp::MIN)));
        let ends = self.read(|connection, _| {
            let ends = "SELECT coalesce(min(number), 1), coalesce(max(number), 0) FROM journal";
            Ok(connection.query_row(ends, [], |row| Ok((row.get(0)?, row.get(1)?)))?)
        });
        let (mut first, last): (i64, i64) = ends.await?;
        while first <= last {
            let next = first.saturating_add(ROWS);
            self.write(move |connection, platform| {
                let mut statement = connection.prepare_cached(
                    "DELETE FROM journal WHERE number >= ?1 AND number < ?2 AND platform = ?3
                         AND (at < ?4 OR at < ?5 AND number <= ?6)",
                )?;
                let crowded = last - i64::from(keep.journal_rows);
                statement.execute(params![first, next, platform, old, yesterday, crowded])?;
                Ok(())
            })
            .await?;
            first = next;
        }
        Ok(())
    }
}

/// Finishes runs of dead processes, for all platforms, without an end time.
pub(super) fn close_orphaned(connection: &Connection, dir: &Path) -> Result<(), DbError> {
    let processes = connection
        .prepare_cached("SELECT DISTINCT process FROM runs WHERE outcome = 'running'")?
        .query_map([], |row| row.get::<_, String>(0))?
        .collect::<Result<Vec<_>, _>>()?;
    let mut roll = ProcessRegistry::new(dir);
    for process in processes {
        if !roll.lives(process.clone()) {
            connection.execute(
                "UPDATE runs SET outcome = 'unknown', message = ?2
                 WHERE outcome = 'running' AND process = ?1",
                [process.as_str(), PROCESS_ENDED],
            )?;
        }
    }
    Ok(())
}

impl Trigger {
    /// Name in the database and in output.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Schedule => "schedule",
            Self::Connect => "connect",
            Self::Change => "change",
            Self::Manual => "manual",
        }
    }

    fn parse(text: &str) -> Result<Self, DbError> {
        [Self::Schedule, Self::Connect, Self::Change, Self::Manual]
            .into_iter()
            .find(|trigger| trigger.as_str() == text)
            .ok_or_else(|| DbError::Undecodable("a row of runs has an unknown trigger".to_owned()))
    }
}

fn parse_outcome(text: &str) -> Result<RunOutcome, DbError> {
    let outcome = RunOutcome::ALL.iter().copied().find(|outcome| outcome.as_str() == text);
    outcome.ok_or_else(|| DbError::Undecodable("a row of runs has an unknown outcome".to_owned()))
}

fn read(row: &Row<'_>, roll: &mut ProcessRegistry<'_>) -> Result<RunRecord, DbError> {
    let outcome = outcome(row, 9, 11, roll)?;
    let abandoned = outcome.as_str() != row.get_ref(9)?.as_str().unwrap_or_default();
    let message = if abandoned { Some(PROCESS_ENDED.to_owned()) } else { row.get(10)? };
    Ok(RunRecord {
        run: row.get(0)?,
        workspace: codec::workspace_ref(row.get(1)?, row.get(2)?, "runs")?,
        name: codec::name(row.get(3)?, "runs")?,
        trigger: Trigger::parse(&row.get::<_, String>(4)?)?,
        firing: instant(row.get(5)?),
        started_at: instant(row.get(6)?),
        finished_at: row.get::<_, Option<i64>>(7)?.map(instant),
        records: records(row, 8)?,
        outcome,
        message,
    })
}

/// Returns the stored outcome, or unknown if the waiting process is dead.
fn outcome(
    row: &Row<'_>,
    column: usize,
    process: usize,
    roll: &mut ProcessRegistry<'_>,
) -> Result<RunOutcome, DbError> {
    let outcome = parse_outcome(&row.get::<_, String>(column)?)?;
    let dead = outcome == RunOutcome::Running && !roll.lives(row.get(process)?);
    Ok(if dead { RunOutcome::Unknown } else { outcome })
}

fn records(row: &Row<'_>, column: usize) -> Result<Option<u64>, DbError> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|records| u64::try_from(records).unwrap_or(0)))
}
