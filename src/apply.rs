//! Executes an approved plan and makes no decisions of its own.
//!
//! Invariant: every write is recorded as an intent before it is sent.
//!
//! The order is: test connections, record intents, connect, list, clean up, list again. Only a listing
//! changes the recorded inventory. A write whose response was lost is never sent again: its intent stays
//! open, the platform gets time to settle, and a listing decides the outcome.

mod batch;
mod cleanup;
mod intents;
mod journal;
mod preflight;
mod recreate;
mod responses;
mod source_locks;
mod verify;

use crate::client::{ApiWriter, ListDigest, RemoteError, RemoteErrorKind};
use crate::error::error_chain;
use crate::listing::SentSources;
use crate::model::{
    DeclarationHash, DesiredSource, IntentKind, Inventory, LastApplied, ObservedSource, OwnershipMarker,
    ReadbackMap, RemovedAction, ResolvedSource, SourceId, SourceName, WorkspaceRef,
};
use crate::plan::{
    Action, ActionResult, ApplyOutcome, ApprovedWorkspace, ErrorKind, INTERRUPTED, PendingWrite, Removal,
    Step, WorkspaceError, WorkspacePlan,
};
use crate::secrets::{Resolver, Secrets};
use crate::store::{NewIntent, Store, StoreChange, StoreError};
use crate::tree::Checkout;
use intents::OpenIntents;
use jiff::{SignedDuration, Timestamp};
use source_locks::WriteGuard;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

pub use source_locks::SourceLocks;
pub use verify::VerifiedList;
pub(crate) use verify::definition_hash;

/// Callback for actions that end together, with their index in the plan.
pub type ActionCallback = dyn Fn(&WorkspacePlan, &[(usize, ActionResult)]) + Send + Sync;

/// Everything that applying a plan needs from outside.
pub struct ApplyContext<'a> {
    /// Client for writes to the platform.
    pub writer: &'a ApiWriter,
    pub state: &'a Store,
    pub secrets: &'a Arc<Secrets>,
    /// `platform.owner`, written into the ownership marker of connected sources.
    pub owner: Option<&'a Arc<str>>,
    /// Git checkout at the time the files were read; names the commit in the journal.
    pub checkout: Option<&'a Arc<Checkout>>,
    /// Root directory that the files were read from.
    pub root: &'a str,
    /// Time after which a write must be visible in a list.
    pub settle: Duration,
    /// Maximum number of sources in one request.
    pub batch: usize,
    /// True if the platform is known to update a source in place, keeping its id.
    pub upserts: bool,
    /// Id of this pass in the journal.
    pub pass: &'a Arc<str>,
    pub now: &'a (dyn Fn() -> Timestamp + Send + Sync),
    /// Returns true once shutdown was requested; no request may start after that.
    pub stopping: &'a (dyn Fn() -> bool + Send + Sync),
    /// Called with each group of finished actions.
    pub finished: &'a ActionCallback,
    /// Registry of the syncs that run at the same time; see [`SourceLocks`].
    pub source_locks: &'a SourceLocks,
}

impl ApplyContext<'_> {
    /// Applies the plan of one workspace.
    ///
    /// `inventory` is the recovered inventory that the plan was made from. Returns the list after the last
    /// write as well, if there was one.
    pub async fn unit(
        &self,
        approved: ApprovedWorkspace<'_>,
        inventory: Inventory,
    ) -> (ApplyOutcome, Option<VerifiedList>) {
        let plan = approved.plan();
        let mut run = ApplyRun {
            apply: self,
            plan,
            remaining_removals: approved.remaining_removals(),
            inventory,
            outcome: ApplyOutcome {
                results: vec![ActionResult::Open; plan.actions.len()],
                ..ApplyOutcome::default()
            },
            conflicting_names: BTreeSet::new(),
            stranger_ids: OnceLock::new(),
            pending: BTreeMap::new(),
            refusal_reasons: BTreeMap::new(),
            unknown_outcomes: BTreeMap::new(),
            intents: OpenIntents::default(),
            sent: SentSources::new(),
            last_list: None,
            write_locks: self.source_locks.lock_for_write(plan.unit()),
        };
        if let Err(error) = run.execute().await {
            run.outcome.error = Some(error);
        }
        run.close();
        let inventory = run.inventory;
        let verified = run.last_list.map(|(digest, rows)| VerifiedList { digest, rows, inventory });
        (run.outcome, verified)
    }
}

/// State of one workspace while its plan is applied.
struct ApplyRun<'a> {
    apply: &'a ApplyContext<'a>,
    plan: &'a WorkspacePlan,
    /// Number of removals still permitted for a cleanup followed by a connect.
    remaining_removals: usize,
    inventory: Inventory,
    outcome: ApplyOutcome,
    /// Names still to be connected that unmanaged rows had in the last listing.
    conflicting_names: BTreeSet<SourceName>,
    /// Ids of unmanaged sources; only needed if a response contains ids.
    stranger_ids: OnceLock<HashSet<SourceId>>,
    /// Reason why the outcome is still open after the last listing, by name.
    pending: BTreeMap<SourceName, PendingWrite>,
    /// Reason for which the platform refused a write, by action.
    refusal_reasons: BTreeMap<usize, String>,
    /// Reason why the outcome of a write is unknown, by action.
    unknown_outcomes: BTreeMap<usize, String>,
    intents: OpenIntents,
    sent: SentSources,
    /// The last list, with its digest; `None` while a write may be newer.
    last_list: Option<(ListDigest, Vec<ObservedSource>)>,
    /// Sources locked against syncs until the end of this pass.
    write_locks: WriteGuard<'a>,
}

/// A source ready to be sent, and the inventory record for its success.
struct PreparedConnect {
    action: usize,
    source: Arc<ResolvedSource>,
    applied: Arc<LastApplied>,
    /// True if it was in a batch that was refused, perhaps after the platform had connected it.
    was_refused: bool,
}

impl<'a> ApplyRun<'a> {
    async fn execute(&mut self) -> Result<(), WorkspaceError> {
        self.record_local_actions().await?;
        self.skip_missing_secrets();
        let ready = self.resolve();
        let mut ready = preflight::test_connections(self, ready).await?;
        self.defer_syncing_sources();
        ready.retain(|ready| self.outcome.results[ready.action] == ActionResult::Open);
        let connecting = !ready.is_empty();
        self.connect(ready).await?;
        self.clean_up(|removal| matches!(removal, Removal::Undeclared | Removal::Removed)).await?;
        if connecting || !self.intents.is_empty() {
            self.verify().await?;
        }
        // Only after the listing is it certain that the replacements exist.
        self.clean_up(|removal| matches!(removal, Removal::Moved(_) | Removal::Superseded)).await?;
        self.clean_up_superseded().await?;
        if !self.intents.is_empty() {
            self.verify().await?;
        }
        Ok(())
    }

    fn unit(&self) -> &'a WorkspaceRef {
        self.plan.unit()
    }

    fn open(&self) -> impl Iterator<Item = (usize, &'a Action)> + use<'a> {
        let open: Vec<usize> =
            (0..self.plan.actions.len()).filter(|n| self.outcome.results[*n] == ActionResult::Open).collect();
        let actions = &self.plan.actions;
        open.into_iter().map(move |n| (n, &actions[n]))
    }

    fn set(&mut self, action: usize, result: ActionResult) {
        self.set_results(vec![(action, result)]);
    }

    fn set_results(&mut self, results: Vec<(usize, ActionResult)>) {
        if !results.is_empty() {
            (self.apply.finished)(self.plan, &results);
        }
        for (action, result) in results {
            self.outcome.results[action] = result;
        }
    }

    fn source(&self, index: usize) -> &'a DesiredSource {
        &self.plan.desired.sources[index]
    }

    /// Carries out all actions that need no request, in one transaction.
    async fn record_local_actions(&mut self) -> Result<(), WorkspaceError> {
        let mut changes = Vec::new();
        for (name, owned) in &self.plan.refresh {
            self.inventory.managed.insert(name.clone(), Arc::clone(owned));
            changes.push(StoreChange::Manage(name.clone(), Arc::clone(owned)));
        }
        let mut done = Vec::new();
        for (n, action) in self.open() {
            match &action.step {
                Step::Adopt { entry: owned, .. } if action.missing_secrets.is_none() => {
                    self.outcome.needs_second_pass |= !action.changes.is_empty();
                    let mut owned = Arc::clone(owned);
                    let before = self.inventory.managed.get(&action.name);
                    let adopted = Arc::make_mut(&mut owned);
                    adopted.applied.sync_since = Some((self.apply.now)());
                    adopted.connected_at = match before {
                        Some(before) if before.id == adopted.id => before.connected_at,
                        Some(_) => adopted.applied.sync_since,
                        None => None,
                    };
                    self.inventory.managed.insert(action.name.clone(), Arc::clone(&owned));
                    changes.push(StoreChange::Manage(action.name.clone(), owned));
                }
                Step::Forget => {
                    let owned = self.inventory.managed.remove(&action.name);
                    changes.push(match owned {
                        Some(owned) if !self.is_forgotten_by_config(action) => {
                            StoreChange::Forget(action.name.clone(), owned, (self.apply.now)())
                        }
                        _ => StoreChange::Unmanage(action.name.clone()),
                    });
                }
                Step::Schedule { index, .. } => {
                    let Some(owned) = self.inventory.managed.get_mut(&action.name) else { continue };
                    let applied = &mut Arc::make_mut(owned).applied;
                    applied.sync = self.plan.desired.sources[*index].sync.clone();
                    applied.sync_since = Some((self.apply.now)());
                    changes.push(StoreChange::Manage(action.name.clone(), Arc::clone(owned)));
                }
                _ => continue,
            }
            changes.push(StoreChange::Journal(Box::new(self.entry(action, None))));
            done.push(n);
        }
        self.commit(changes).await?;
        self.set_results(done.into_iter().map(|n| (n, ActionResult::Done)).collect());
        Ok(())
    }

    /// Returns true if a `[removed]` entry in the files hands this source over.
    fn is_forgotten_by_config(&self, action: &Action) -> bool {
        let removed = &self.plan.desired.removed;
        removed.iter().any(|gone| gone.key == action.source && gone.action == RemovedAction::Forget)
    }

    fn skip_missing_secrets(&mut self) {
        for (n, action) in self.open() {
            if let Some(because) = &action.missing_secrets {
                self.set(n, ActionResult::Skipped(because.clone()));
            }
        }
    }

    /// Locks the sources to be replaced or cleaned up; defers those that are syncing.
    ///
    /// Runs after the connection tests, because these may take long and write nothing.
    fn defer_syncing_sources(&mut self) {
        for (n, action) in self.open() {
            let writes = matches!(action.step, Step::Replace { .. } | Step::Cleanup { .. });
            if writes && !self.write_locks.begin(&action.name) {
                self.outcome.waits_for_sync = true;
                let because = "a sync of it is running; it is done right after";
                self.set(n, ActionResult::Skipped(because.to_owned()));
            }
        }
    }

    /// Resolves the secrets of every source that is to be connected.
    fn resolve(&mut self) -> Vec<PreparedConnect> {
        let mut ready = Vec::new();
        let mut resolver = Resolver::new(Arc::clone(self.apply.secrets), &self.plan.desired.names());
        for (n, action) in self.open() {
            let (Step::Connect { index } | Step::Replace { index, .. }) = &action.step else { continue };
            let source = self.source(*index);
            match resolver.resolve(&source.definition) {
                Ok(resolution) => {
                    let applied = LastApplied {
                        definition: Arc::clone(&source.definition).into(),
                        secrets: resolution.fingerprints(self.apply.state.key()),
                        echo: self.overwritten_additions(&action.name),
                        stamp: None,
                        key_id: self.apply.state.key().id().to_owned(),
                        sync: source.sync.clone(),
                        sync_since: self.sync_since(source),
                    }
                    .with_cached_marker(self.apply.state.key());
                    let source = resolution
                        .into_source(action.name.clone())
                        .with_marker(self.ownership_marker(&applied));
                    ready.push(PreparedConnect {
                        action: n,
                        source: Arc::new(source),
                        applied: Arc::new(applied),
                        was_refused: false,
                    });
                }
                Err(missing) => self.set(n, ActionResult::Skipped(missing.to_string())),
            }
        }
        ready
    }

    /// Parts that others added to the source and this write overwrites.
    ///
    /// Recorded so that they are recognised if they reappear.
    fn overwritten_additions(&self, name: &SourceName) -> ReadbackMap {
        self.inventory.managed.get(name).map(|owned| owned.applied.echo.added_by_others()).unwrap_or_default()
    }

    /// Returns the time since which the schedule is in force.
    ///
    /// An unchanged schedule keeps its recorded time.
    fn sync_since(&self, source: &DesiredSource) -> Option<Timestamp> {
        let before =
            self.inventory.managed.get(&source.name).filter(|owned| owned.applied.sync == source.sync);
        before.and_then(|owned| owned.applied.sync_since).or_else(|| Some((self.apply.now)()))
    }

    /// Builds the ownership marker: the writer and a fingerprint of the definition.
    fn ownership_marker(&self, applied: &LastApplied) -> OwnershipMarker {
        let fingerprint = applied.marker_fingerprint(self.apply.state.key());
        let writer = self.apply.state.key().id().into();
        OwnershipMarker { fingerprint, owner: self.apply.owner.cloned(), writer }
    }

    /// Records the intents, then sends the batches.
    async fn connect(&mut self, ready: Vec<PreparedConnect>) -> Result<(), WorkspaceError> {
        let before = |action: &Action| -> Vec<SourceId> {
            let owned = self.inventory.managed.get(&action.name);
            let replaced = match &action.step {
                Step::Replace { old, .. } => Some(old.clone()),
                _ => None,
            };
            // A list may be out of date: a row that it lacked may exist nevertheless.
            let known = owned.into_iter().flat_map(|owned| owned.id.iter().chain(&owned.superseded));
            let open = self.inventory.intents.values().filter(|intent| intent.name == action.name);
            let answered = open.filter_map(|intent| intent.answer.as_ref()?.id.clone());
            let mut before: Vec<SourceId> =
                replaced.into_iter().chain(known.cloned()).chain(answered).collect();
            before.sort();
            before.dedup();
            before
        };
        let list_lacked_ours = self.plan.actions.iter().any(|action| match action.step {
            Step::Connect { .. } => self.inventory.managed.contains_key(&action.name),
            Step::Forget => true,
            _ => false,
        });
        let intents = ready
            .iter()
            .map(|ready| {
                let action = &self.plan.actions[ready.action];
                NewIntent {
                    name: action.name.clone(),
                    key: action.source.clone(),
                    kind: IntentKind::Connect(Arc::clone(&ready.applied)),
                    before: before(action),
                    list_lacked_ours,
                    declared: self.declaration(action),
                }
            })
            .collect();
        self.record(ready.iter().map(|ready| Some(ready.action)).collect(), intents).await?;
        let sources = ready.iter().map(|ready| (ready.source.name().clone(), Arc::clone(&ready.source)));
        self.sent = sources.collect();
        let sent = batch::connect(self, ready).await;
        self.restart_settle_time().await?;
        sent
    }

    /// Returns where and how the files declare the source of an action.
    fn declaration(&self, action: &Action) -> Option<DeclarationHash> {
        let (Step::Connect { index } | Step::Replace { index, .. }) = action.step else { return None };
        let source = self.source(index);
        Some(DeclarationHash {
            root: self.apply.root.to_owned(),
            file: source.at.file.to_string(),
            line: source.at.line,
            protect: source.protect,
        })
    }

    /// Restarts the settle time of intents that are still open after a delay.
    ///
    /// Retries may have gone on for a while, so the last attempt may be recent.
    async fn restart_settle_time(&mut self) -> Result<(), WorkspaceError> {
        let now = (self.apply.now)();
        let mut changes = Vec::new();
        for intent in self.inventory.intents.values_mut() {
            let delayed = now.duration_since(intent.recorded_at) >= SignedDuration::from_secs(1);
            if delayed && self.intents.contains(intent.number) {
                intent.recorded_at = now;
                changes.push(StoreChange::Sent(intent.number, now));
            }
        }
        self.commit(changes).await
    }

    /// Records the intents of writes before they are sent.
    async fn record(
        &mut self,
        actions: Vec<Option<usize>>,
        intents: Vec<NewIntent>,
    ) -> Result<(), WorkspaceError> {
        if intents.is_empty() {
            return Ok(());
        }
        let now = (self.apply.now)();
        self.last_list = None;
        let numbers = self.apply.state.record_intents(self.unit(), &intents, now).await?;
        for ((action, number), intent) in actions.into_iter().zip(numbers).zip(intents) {
            self.intents.open(number, action);
            self.inventory.intents.insert(number, intent.recorded(number, now));
        }
        Ok(())
    }

    /// Closes the intent of an action whose write certainly did not happen.
    fn close_intents_of(&mut self, action: usize) -> Option<StoreChange> {
        let number = self.intents.of(action)?;
        self.intents.close(number);
        self.inventory.intents.remove(&number);
        Some(StoreChange::CloseIntent(number))
    }

    /// Gives every action that is still open its final result, with the reason.
    fn close(&mut self) {
        let because = match &self.outcome.error {
            Some(error) => error.message.clone(),
            None => INTERRUPTED.to_owned(),
        };
        let result = |n: usize| match self.refusal_reasons.get(&n).or_else(|| self.unknown_outcomes.get(&n)) {
            Some(why) => ActionResult::Failed(why.clone()),
            None if self.intents.of(n).is_some() => {
                let pending = self.pending.get(&self.plan.actions[n].name).map(ToString::to_string);
                let because = pending.unwrap_or_else(|| because.clone());
                ActionResult::Failed(format!("its outcome is not known yet: {because}"))
            }
            None => ActionResult::Skipped(because.clone()),
        };
        let results = self.open().map(|(n, _)| (n, result(n))).collect();
        self.set_results(results);
    }
}

impl From<StoreError> for WorkspaceError {
    fn from(error: StoreError) -> Self {
        Self::new(ErrorKind::State, error_chain(&error))
    }
}

impl From<RemoteError> for WorkspaceError {
    fn from(error: RemoteError) -> Self {
        let outage = error.outage();
        let (kind, message) = match &error.kind {
            // Identical for every workspace, so the message is printed once, outside the workspace's report.
            RemoteErrorKind::Unreachable(what) => (ErrorKind::Unreachable, what.clone()),
            RemoteErrorKind::NoToken(_) => (ErrorKind::Token, error.kind.to_string()),
            RemoteErrorKind::AccountDialect(_) | RemoteErrorKind::NoAccount(_) => {
                (ErrorKind::Dialect, error_chain(&error))
            }
            _ => (if error.is_auth() { ErrorKind::Auth } else { ErrorKind::Platform }, error_chain(&error)),
        };
        Self { kind, message, outage }
    }
}
