//! Sends due syncs and records their results.
//!
//! A firing is claimed in the state before its request is sent. If no response arrives, the firing
//! counts as used, because retrying could run the sync twice.
//!
//! Invariant: no firing is sent without a claim, and none is sent twice.

use crate::apply::SourceLocks;
use crate::client::{
    ApiWriter, ItemError, RemoteError, RemoteErrorKind, SyncAnswer, SyncedRow, TokenTrouble,
};
use crate::error::error_chain;
use crate::model::{NonEmpty, SourceId, SourceKey, SourceName, WorkspaceRef};
use crate::mutex::lock;
use crate::reconcile::Clock;
use crate::schedule::{Decision, MAX_MISSED_COUNT, SkipReason};
use crate::store::{Claim, RunEnd, RunOutcome, Store, StoreError, Trigger};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Sends syncs and records their results.
#[derive(Clone)]
pub struct Syncer {
    pub writer: ApiWriter,
    /// State that records claims and results.
    pub state: Store,
    pub source_locks: SourceLocks,
    pub clock: Clock,
    /// Results that the state could not record yet.
    pub unrecorded: UnrecordedResults,
}

/// Message recorded for a sync whose task panicked.
const PANIC_MESSAGE: &str = "internal error: the sync panicked, and whether the platform carried it out is unknown. \
                             Please report this bug";

/// Unrecorded results, shared by the clones of a [`Syncer`].
pub type UnrecordedResults = Arc<Mutex<Vec<RunEnd>>>;

/// Sources of one workspace that share one sync request.
#[derive(Debug, Clone)]
pub struct SyncCall {
    pub unit: WorkspaceRef,
    pub members: Vec<SyncMember>,
    pub options: Map<String, Value>,
    /// Maximum duration; `None` for the client's own limit.
    pub timeout: Option<Duration>,
}

/// One source of a [`SyncCall`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncMember {
    pub name: SourceName,
    pub key: SourceKey,
    pub trigger: Trigger,
    pub firing: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncResult {
    pub name: SourceName,
    pub key: SourceKey,
    pub outcome: RunOutcome,
    /// Number of records, if the platform reported it.
    pub records: Option<u64>,
    pub message: Option<String>,
    /// Problem with the token, if that is the reason.
    pub unauthorized: Option<TokenTrouble>,
    /// Platform-wide failure, if that is the reason; other sources would fail too.
    pub outage: Option<String>,
    pub finished_at: Timestamp,
}

#[derive(Clone)]
struct SyncRun {
    number: i64,
    member: SyncMember,
    id: SourceId,
}

/// Claimed runs of a call that have no result yet.
///
/// Runs left on drop are recorded as unknown.
struct ClaimedRun<'a> {
    syncer: &'a Syncer,
    runs: BTreeSet<i64>,
    claimed_at: Timestamp,
}

impl ClaimedRun<'_> {
    /// Removes the finished runs and records them, now or later.
    async fn record(&mut self, ended: &[(i64, SyncResult)]) {
        for (run, _) in ended {
            self.runs.remove(run);
        }
        self.syncer.defer_recording(ended.iter().map(finished));
        // A failure is reported by the next `retry_unrecorded`.
        let _ = self.syncer.retry_unrecorded().await;
    }
}

impl Drop for ClaimedRun<'_> {
    fn drop(&mut self) {
        // The end time is unknown, and the clock itself may have panicked.
        self.syncer.defer_recording(self.runs.iter().map(|run| RunEnd {
            run: *run,
            finished_at: self.claimed_at,
            outcome: RunOutcome::Unknown,
            records: None,
            message: Some(PANIC_MESSAGE.to_owned()),
        }));
    }
}

impl Syncer {
    /// Claims firings, sends the request and records the results.
    ///
    /// Firings claimed before are missing in the result. Results that the state cannot record are
    /// kept until it can.
    ///
    /// # Errors
    /// When the state cannot be used; then nothing was claimed or sent.
    pub async fn call(&self, call: &SyncCall) -> Result<Vec<SyncResult>, StoreError> {
        // A pass may replace or remove a source, so look up the ids while holding the lock.
        let _synced =
            self.source_locks.try_lock(&call.unit, call.members.iter().map(|member| &member.name)).await;
        self.retry_unrecorded().await?;
        let names = call.members.iter().map(|member| member.name.clone()).collect();
        let ids = self.state.ids(&call.unit, names).await?;
        let claims = call
            .members
            .iter()
            .map(|member| Claim { name: member.name.clone(), trigger: member.trigger, firing: member.firing })
            .collect();
        let since = (self.clock)();
        let numbers = self.state.claim(&call.unit, claims, since).await?;
        let mut claimed =
            ClaimedRun { syncer: self, runs: numbers.iter().flatten().copied().collect(), claimed_at: since };
        let mut ready = Vec::new();
        let mut synced = Vec::new();
        let mut unready = Vec::new();
        for (member, number) in call.members.iter().zip(numbers) {
            let Some(number) = number else { continue };
            match ids.get(&member.name) {
                Some(id) => ready.push(SyncRun { number, member: member.clone(), id: id.clone() }),
                None => unready.push((number, member)),
            }
        }
        for (number, member) in unready {
            let why = "it is not connected, or the platform shows no id for it".to_owned();
            synced.push((number, self.ended(member, RunOutcome::Failed, None, Some(why))));
        }
        claimed.record(&synced).await;

        let alone = self.state.separate_syncs(&call.unit).await?;
        let (single, together): (Vec<SyncRun>, Vec<SyncRun>) =
            ready.into_iter().partition(|run| alone.contains(&run.member.name));
        let singles = single.into_iter().map(|run| vec![run]);
        for batch in std::iter::once(together).chain(singles) {
            let Some(ids) = NonEmpty::from_vec(batch.iter().map(|run| run.id.clone()).collect()) else {
                continue;
            };
            match self.writer.sync(&call.unit, &ids, &call.options, call.timeout).await {
                Ok(answer) => {
                    let ended = |run: &SyncRun| (run.number, self.response_result(run, &batch, &answer));
                    self.record_results(&mut claimed, batch.iter().map(ended).collect(), &mut synced).await;
                    if let [run] = batch.as_slice()
                        && alone.contains(&run.member.name)
                    {
                        self.set_separate_sync(call, &batch, false).await;
                    }
                }
                Err(error) => {
                    let together = batch.len() > 1 && is_rejected(&error);
                    if together {
                        self.set_separate_sync(call, &batch, true).await;
                    }
                    let ended = |run: &SyncRun| {
                        (run.number, self.failed(run, &error, together.then_some(batch.len())))
                    };
                    self.record_results(&mut claimed, batch.iter().map(ended).collect(), &mut synced).await;
                }
            }
        }
        synced.sort_by(|a, b| a.1.name.cmp(&b.1.name));
        Ok(synced.into_iter().map(|(_, synced)| synced).collect())
    }

    async fn record_results(
        &self,
        claimed: &mut ClaimedRun<'_>,
        ended: Vec<(i64, SyncResult)>,
        synced: &mut Vec<(i64, SyncResult)>,
    ) {
        claimed.record(&ended).await;
        synced.extend(ended);
    }

    /// Remembers sources that must be synced alone, so they block others at most once.
    async fn set_separate_sync(&self, call: &SyncCall, batch: &[SyncRun], alone: bool) {
        let names = batch.iter().map(|run| run.member.name.clone()).collect();
        if let Err(error) = self.state.set_separate_sync(&call.unit, names, alone).await {
            tracing::warn!(workspace = %call.unit, error = %error_chain(&error), "cannot record which sources are synced alone");
        }
    }

    /// Records results that could not be recorded earlier.
    ///
    /// # Errors
    /// When the state still cannot record them; they are kept.
    pub async fn retry_unrecorded(&self) -> Result<(), StoreError> {
        let late = std::mem::take(&mut *lock(&self.unrecorded));
        if late.is_empty() {
            return Ok(());
        }
        let recorded = self.state.finish(late.clone()).await;
        if recorded.is_err() {
            self.defer_recording(late);
        }
        recorded
    }

    fn defer_recording(&self, ended: impl IntoIterator<Item = RunEnd>) {
        lock(&self.unrecorded).extend(ended);
    }

    /// Results of a call whose task panicked; the request may have been sent.
    pub fn panicked_results(&self, call: &SyncCall) -> Vec<SyncResult> {
        let ended = |member| self.ended(member, RunOutcome::Unknown, None, Some(PANIC_MESSAGE.to_owned()));
        call.members.iter().map(ended).collect()
    }

    fn response_result(&self, run: &SyncRun, batch: &[SyncRun], answer: &SyncAnswer) -> SyncResult {
        let (id, name) = (Some(&run.id), run.member.name.as_str());
        let of_none = |error: &&ItemError| batch.len() == 1 && error.id.is_none() && error.name.is_none();
        let mut errors = answer.errors.iter();
        if let Some(error) = errors.find(|error| error.is_of(id, name) || of_none(error)) {
            return self.ended(&run.member, RunOutcome::Failed, None, Some(error.message.clone()));
        }
        let is_own = |row: &&SyncedRow| match &row.id {
            Some(own) => *own == run.id,
            None => row.name.as_deref() == Some(name),
        };
        let own = answer.sources.iter().find(is_own);
        if let (None, Some(why)) = (own, &answer.rest) {
            return self.ended(&run.member, RunOutcome::Failed, None, Some(why.clone()));
        }
        // The total cannot be attributed to one of several sources.
        let total = if batch.len() == 1 { answer.records } else { None };
        let message = own.and_then(|row| row.message.clone());
        self.ended(&run.member, RunOutcome::Done, own.and_then(|row| row.records).or(total), message)
    }

    /// `together`: size of a batch rejected as a whole; some members may have synced.
    fn failed(&self, run: &SyncRun, error: &RemoteError, together: Option<usize>) -> SyncResult {
        let unknown = error.is_outcome_unknown() || together.is_some();
        let outcome = if unknown { RunOutcome::Unknown } else { RunOutcome::Failed };
        let mut message = error_chain(error);
        if let Some(count) = together {
            message.push_str(&format!(
                "; it was sent for {count} sources together, and whether the platform synced some of them is not \
                 known: each is synced in a call of its own from now on"
            ));
        }
        let ended = self.ended(&run.member, outcome, None, Some(message));
        // A failure after the sync may have started does not prove a platform outage.
        let outage = if unknown { None } else { error.outage() };
        SyncResult { unauthorized: error.token_trouble(), outage, ..ended }
    }

    fn ended(
        &self,
        member: &SyncMember,
        outcome: RunOutcome,
        records: Option<u64>,
        message: Option<String>,
    ) -> SyncResult {
        SyncResult {
            name: member.name.clone(),
            key: member.key.clone(),
            outcome,
            records,
            message,
            unauthorized: None,
            outage: None,
            finished_at: (self.clock)(),
        }
    }
}

/// Firings of a decision that will not run, by index, with the reason.
///
/// The caller records them with [`Store::record_skipped`]; otherwise they are due again after a restart.
pub fn skipped_firings(decision: &Decision) -> impl Iterator<Item = (usize, Timestamp, RunOutcome, String)> {
    let skipped = decision.skipped.iter().map(|skipped| {
        let many = match skipped.count {
            1 => String::new(),
            MAX_MISSED_COUNT => format!("{MAX_MISSED_COUNT} firings or more; "),
            count => format!("{count} firings; "),
        };
        let why = match skipped.reason {
            SkipReason::Late => "missed, and `missed = \"skip\"`",
            SkipReason::Running => "its last sync was still running",
        };
        (skipped.index, skipped.firing, RunOutcome::Skipped, format!("{many}{why}"))
    });
    let rewound = decision.rewound.iter().map(|rewound| {
        let why =
            format!("the clock had gone back behind {}; the schedule goes on from here", rewound.recorded);
        (rewound.index, rewound.firing, RunOutcome::Rewound, why)
    });
    skipped.chain(rewound)
}

fn finished((run, synced): &(i64, SyncResult)) -> RunEnd {
    RunEnd {
        run: *run,
        finished_at: synced.finished_at,
        outcome: synced.outcome,
        records: synced.records,
        message: synced.message.clone(),
    }
}

/// Returns true if the content was rejected; other sources may then be accepted.
fn is_rejected(error: &RemoteError) -> bool {
    matches!(error.kind, RemoteErrorKind::Conflict(_) | RemoteErrorKind::Refused { .. })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{ApiReader, BaseUrl, ClientConfig};
    use crate::model::{Scope, WorkspaceId};
    use crate::store::HistoryFilter;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn a_sync_that_breaks_off_is_spent_and_does_not_stay_running() {
        let dir = tempfile::tempdir().unwrap();
        let address = "http://127.0.0.1:9/api/v1";
        let token = Arc::new(|| Err("there is none".to_owned()));
        let reader = ApiReader::new(ClientConfig::new(BaseUrl::parse(address).unwrap(), token)).unwrap();
        let state = Store::open(dir.path(), address).unwrap();
        let asked = AtomicUsize::new(0);
        let syncer = Syncer {
            writer: ApiWriter::new(&reader),
            state: state.clone(),
            source_locks: SourceLocks::default(),
            // The first call is for the claim, the second for the result.
            clock: Arc::new(move || {
                assert!(asked.fetch_add(1, Ordering::Relaxed) != 1, "on purpose");
                Timestamp::UNIX_EPOCH
            }),
            unrecorded: UnrecordedResults::default(),
        };
        let workspace = WorkspaceRef { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() };
        let member = SyncMember {
            name: SourceName::parse("crm").unwrap(),
            key: SourceKey::parse("crm").unwrap(),
            trigger: Trigger::Schedule,
            firing: Timestamp::UNIX_EPOCH,
        };
        let call = SyncCall { unit: workspace, members: vec![member], options: Map::new(), timeout: None };
        let (same, sent) = (syncer.clone(), call.clone());
        assert!(tokio::spawn(async move { same.call(&sent).await }).await.is_err());
        assert!(syncer.call(&call).await.unwrap().is_empty(), "it was claimed before");
        let runs = state.history(HistoryFilter { workspace: None, source: None, limit: 10 }).await.unwrap();
        let told: Vec<_> = runs.iter().map(|run| (run.outcome, run.message.as_deref())).collect();
        assert_eq!(told, [(RunOutcome::Unknown, Some(PANIC_MESSAGE))]);
    }
}
