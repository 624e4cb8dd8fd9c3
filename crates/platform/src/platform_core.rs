//! State shared by the endpoints: the registry, the rows, and the running syncs.

use super::lock;
use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedMutexGuard, Semaphore, watch};

use super::connectors::{ConnectorContext, Stop};
use super::definition::WorkspaceKey;
use super::registry::Registry;
use super::storage::PlatformStore;
use super::{AddressConflict, NameConflict};

/// Maximum number of sources read at once; others wait.
const MAX_CONCURRENT_READS: usize = 8;

/// Running syncs by source id, with the workspace and the stop signal.
type RequestsInFlight = BTreeMap<String, (WorkspaceKey, watch::Sender<Option<Stop>>)>;

/// State shared by the endpoints.
pub(super) struct PlatformCore {
    pub(super) catalogue: Registry,
    pub(super) store: PlatformStore,
    pub(super) reach: ConnectorContext,
    pub(super) on_conflict: NameConflict,
    pub(super) on_address_conflict: AddressConflict,
    /// Locks of sources, held during a sync or cleanup.
    source_locks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
    /// Running syncs by source id.
    syncing: Mutex<RequestsInFlight>,
    pub(super) workers: Arc<Semaphore>,
}

impl PlatformCore {
    pub(super) fn new(
        catalogue: Registry,
        store: PlatformStore,
        reach: ConnectorContext,
        on_conflict: NameConflict,
        on_address_conflict: AddressConflict,
    ) -> Self {
        Self {
            catalogue,
            store,
            reach,
            on_conflict,
            on_address_conflict,
            source_locks: Mutex::default(),
            syncing: Mutex::default(),
            workers: Arc::new(Semaphore::new(MAX_CONCURRENT_READS)),
        }
    }

    pub(super) async fn lock_source(&self, id: &str) -> OwnedMutexGuard<()> {
        let lock = {
            let mut busy = lock(&self.source_locks);
            // Unused locks are removed from time to time.
            if busy.len() >= 1024 {
                busy.retain(|_, lock| Arc::strong_count(lock) > 1);
            }
            Arc::clone(busy.entry(id.to_owned()).or_default())
        };
        lock.lock_owned().await
    }

    pub(super) fn syncing(&self) -> MutexGuard<'_, RequestsInFlight> {
        lock(&self.syncing)
    }
}

/// A running sync, which ends on drop, also when the client disconnects.
pub(super) struct SyncInProgress<'c> {
    core: &'c PlatformCore,
    id: &'c str,
    pub(super) stop: watch::Sender<Option<Stop>>,
}

impl<'c> SyncInProgress<'c> {
    pub(super) fn begin(core: &'c PlatformCore, workspace: &WorkspaceKey, id: &'c str) -> Self {
        let stop = watch::Sender::new(None);
        core.syncing().insert(id.to_owned(), (workspace.clone(), stop.clone()));
        Self { core, id, stop }
    }
}

impl Drop for SyncInProgress<'_> {
    fn drop(&mut self) {
        self.stop.send_if_modified(|stop| stop.is_none() && stop.replace(Stop::CallerLeft).is_none());
        self.core.syncing().remove(self.id);
    }
}
