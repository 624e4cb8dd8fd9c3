//! Per-source locks: no source is written while it syncs, or synced while written.

use crate::model::{SourceName, WorkspaceRef};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard, watch};

type Sources = BTreeSet<(WorkspaceRef, SourceName)>;

/// Sources that this process syncs, and sources that it replaces or cleans up.
///
/// Clones share them.
///
/// A pass that finds a sync running leaves the source to the next pass. A sync that finds a pass writing
/// waits for the end of the pass. No pass waits for a sync, so the two cannot deadlock.
#[derive(Clone, Default)]
pub struct SourceLocks {
    table: Arc<watch::Sender<LockTable>>,
    recreate_lock: Arc<Mutex<()>>,
}

#[derive(Default)]
struct LockTable {
    /// Includes sources whose sync still waits, so that no later pass overtakes it.
    sync_locked: Sources,
    write_locked: Sources,
}

impl SourceLocks {
    /// Locks the sources for a sync, once no pass writes any of them.
    ///
    /// The lock is released when the returned guard is dropped.
    pub async fn try_lock(
        &self,
        unit: &WorkspaceRef,
        names: impl Iterator<Item = &SourceName>,
    ) -> SyncGuard<'_> {
        let sources: Sources = names.map(|name| (unit.clone(), name.clone())).collect();
        self.table.send_modify(|under_way| under_way.sync_locked.extend(sources.iter().cloned()));
        let synced = SyncGuard { locks: self, sources };
        // Fails only if the sender was dropped, and `self` holds it.
        let _ = self.table.subscribe().wait_for(|now| now.write_locked.is_disjoint(&synced.sources)).await;
        synced
    }

    /// Locks recreation; only one source is cleaned up and connected again at a time.
    pub(super) async fn lock_for_recreate(&self) -> MutexGuard<'_, ()> {
        self.recreate_lock.lock().await
    }

    /// Returns the (still empty) set of locks for a pass over this workspace.
    pub(super) fn lock_for_write<'a>(&'a self, unit: &'a WorkspaceRef) -> WriteGuard<'a> {
        WriteGuard { locks: self, unit, names: BTreeSet::new() }
    }
}

/// Guard for the sources of a sync; releases them on drop.
pub struct SyncGuard<'a> {
    locks: &'a SourceLocks,
    sources: Sources,
}

impl Drop for SyncGuard<'_> {
    fn drop(&mut self) {
        self.locks.table.send_modify(|under_way| {
            under_way.sync_locked.retain(|source| !self.sources.contains(source));
        });
    }
}

/// Guard for the sources that a pass writes; releases them on drop.
pub(super) struct WriteGuard<'a> {
    locks: &'a SourceLocks,
    unit: &'a WorkspaceRef,
    names: BTreeSet<SourceName>,
}

impl WriteGuard<'_> {
    /// Locks a source against syncs until the end of the pass.
    ///
    /// Returns false if one is running.
    pub(super) fn begin(&mut self, name: &SourceName) -> bool {
        if self.names.contains(name) {
            return true;
        }
        let source = (self.unit.clone(), name.clone());
        let begun = self.locks.table.send_if_modified(|under_way| {
            !under_way.sync_locked.contains(&source) && under_way.write_locked.insert(source)
        });
        if begun {
            self.names.insert(name.clone());
        }
        begun
    }
}

impl Drop for WriteGuard<'_> {
    fn drop(&mut self) {
        if self.names.is_empty() {
            return;
        }
        let names = std::mem::take(&mut self.names);
        self.locks.table.send_modify(|under_way| {
            for name in names {
                under_way.write_locked.remove(&(self.unit.clone(), name));
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Scope, WorkspaceId};
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    fn unit() -> WorkspaceRef {
        WorkspaceRef { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() }
    }

    fn names(of: [&str; 2]) -> [SourceName; 2] {
        of.map(|name| SourceName::parse(name).unwrap())
    }

    #[tokio::test]
    async fn a_source_is_not_written_while_it_is_synced_and_others_are() {
        let (syncing, unit, [a, b]) = (SourceLocks::default(), unit(), names(["a", "b"]));
        let synced = syncing.try_lock(&unit, [&a].into_iter()).await;
        let mut pass = syncing.lock_for_write(&unit);
        assert!(!pass.begin(&a) && pass.begin(&b));
        drop(synced);
        assert!(pass.begin(&a) && pass.begin(&a), "twice is as once");
    }

    #[test]
    fn a_sync_waits_while_its_source_is_written_and_is_not_overtaken() {
        let (syncing, unit, [a, b]) = (SourceLocks::default(), unit(), names(["a", "b"]));
        let mut first = syncing.lock_for_write(&unit);
        assert!(first.begin(&a));
        let mut sync = pin!(syncing.try_lock(&unit, [&a, &b].into_iter()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sync.as_mut().poll(&mut context).is_pending());
        assert!(!first.begin(&b), "nor is more of it written meanwhile");
        drop(first);
        assert!(!syncing.lock_for_write(&unit).begin(&a));
        let Poll::Ready(synced) = sync.as_mut().poll(&mut context) else { panic!("it waits for nothing") };
        drop(synced);
        assert!(syncing.lock_for_write(&unit).begin(&a));
    }
}
