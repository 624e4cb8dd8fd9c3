//! Per-source locks: no source is written while it syncs, or synced while written.

use crate::model::{SourceName, Unit};
use std::collections::BTreeSet;
use std::sync::Arc;
use tokio::sync::{Mutex, MutexGuard, watch};

type Sources = BTreeSet<(Unit, SourceName)>;

/// Sources that this process syncs, and sources that it replaces or cleans up.
///
/// Clones share them.
///
/// A pass that finds a sync running leaves the source to the next pass. A sync that finds a pass writing
/// waits for the end of the pass. No pass waits for a sync, so the two cannot deadlock.
#[derive(Clone, Default)]
pub struct Syncing {
    under_way: Arc<watch::Sender<UnderWay>>,
    recreating: Arc<Mutex<()>>,
}

#[derive(Default)]
struct UnderWay {
    /// Includes sources whose sync still waits, so that no later pass overtakes it.
    synced: Sources,
    written: Sources,
}

impl Syncing {
    /// Locks the sources for a sync, once no pass writes any of them.
    ///
    /// The lock is released when the returned guard is dropped.
    pub async fn begin(&self, unit: &Unit, names: impl Iterator<Item = &SourceName>) -> SyncMark<'_> {
        let sources: Sources = names.map(|name| (unit.clone(), name.clone())).collect();
        self.under_way.send_modify(|under_way| under_way.synced.extend(sources.iter().cloned()));
        let synced = SyncMark { syncing: self, sources };
        // Fails only if the sender was dropped, and `self` holds it.
        let _ = self.under_way.subscribe().wait_for(|now| now.written.is_disjoint(&synced.sources)).await;
        synced
    }

    /// Locks recreation; only one source is cleaned up and connected again at a time.
    pub(super) async fn recreating(&self) -> MutexGuard<'_, ()> {
        self.recreating.lock().await
    }

    /// Returns the (still empty) set of locks for a pass over this workspace.
    pub(super) fn pass<'a>(&'a self, unit: &'a Unit) -> Written<'a> {
        Written { syncing: self, unit, names: BTreeSet::new() }
    }
}

/// Guard for the sources of a sync; releases them on drop.
pub struct SyncMark<'a> {
    syncing: &'a Syncing,
    sources: Sources,
}

impl Drop for SyncMark<'_> {
    fn drop(&mut self) {
        self.syncing.under_way.send_modify(|under_way| {
            under_way.synced.retain(|source| !self.sources.contains(source));
        });
    }
}

/// Guard for the sources that a pass writes; releases them on drop.
pub(super) struct Written<'a> {
    syncing: &'a Syncing,
    unit: &'a Unit,
    names: BTreeSet<SourceName>,
}

impl Written<'_> {
    /// Locks a source against syncs until the end of the pass.
    ///
    /// Returns false if one is running.
    pub(super) fn begin(&mut self, name: &SourceName) -> bool {
        if self.names.contains(name) {
            return true;
        }
        let source = (self.unit.clone(), name.clone());
        let begun = self.syncing.under_way.send_if_modified(|under_way| {
            !under_way.synced.contains(&source) && under_way.written.insert(source)
        });
        if begun {
            self.names.insert(name.clone());
        }
        begun
    }
}

impl Drop for Written<'_> {
    fn drop(&mut self) {
        if self.names.is_empty() {
            return;
        }
        let names = std::mem::take(&mut self.names);
        self.syncing.under_way.send_modify(|under_way| {
            for name in names {
                under_way.written.remove(&(self.unit.clone(), name));
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

    fn unit() -> Unit {
        Unit { workspace: WorkspaceId::parse("w").unwrap(), scope: Scope::default() }
    }

    fn names(of: [&str; 2]) -> [SourceName; 2] {
        of.map(|name| SourceName::parse(name).unwrap())
    }

    #[tokio::test]
    async fn a_source_is_not_written_while_it_is_synced_and_others_are() {
        let (syncing, unit, [a, b]) = (Syncing::default(), unit(), names(["a", "b"]));
        let synced = syncing.begin(&unit, [&a].into_iter()).await;
        let mut pass = syncing.pass(&unit);
        assert!(!pass.begin(&a) && pass.begin(&b));
        drop(synced);
        assert!(pass.begin(&a) && pass.begin(&a), "twice is as once");
    }

    #[test]
    fn a_sync_waits_while_its_source_is_written_and_is_not_overtaken() {
        let (syncing, unit, [a, b]) = (Syncing::default(), unit(), names(["a", "b"]));
        let mut first = syncing.pass(&unit);
        assert!(first.begin(&a));
        let mut sync = pin!(syncing.begin(&unit, [&a, &b].into_iter()));
        let mut context = Context::from_waker(Waker::noop());
        assert!(sync.as_mut().poll(&mut context).is_pending());
        assert!(!first.begin(&b), "nor is more of it written meanwhile");
        drop(first);
        assert!(!syncing.pass(&unit).begin(&a));
        let Poll::Ready(synced) = sync.as_mut().poll(&mut context) else { panic!("it waits for nothing") };
        drop(synced);
        assert!(syncing.pass(&unit).begin(&a));
    }
}
