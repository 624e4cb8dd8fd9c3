//! Memory shared by all reads of a platform.
//!
//! Every read holds a few MiB. More, for a large record or large pages, is reserved first, and a
//! read waits while others hold it. A read reserves pages before a record and never the reverse, so
//! that no two reads wait for each other.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Maximum size in MiB of reserved pages.
const PAGES: u32 = 1024;
/// Number of large records at a time, because a parsed record may take 16 times its size.
const RECORDS: usize = 1;
/// Size in bytes from which a record, page or line is large.
pub(super) const LARGE_BYTES: usize = 1 << 20;
/// Maximum wait of a sync, shorter than the time after which a database closes a connection.
pub(super) const SYNC_WAIT: Duration = Duration::from_secs(10 * 60);

/// Memory for large records and pages.
#[derive(Debug, Clone)]
pub(super) struct MemoryBudget {
    pages: Arc<Semaphore>,
    records: Arc<Semaphore>,
}

/// Reserved memory, returned on drop.
#[derive(Debug)]
pub(super) struct Reservation {
    _permit: OwnedSemaphorePermit,
}

#[derive(Debug, Clone, Copy)]
pub(super) enum MemoryUse {
    /// Pages of this size in bytes; larger ones take everything.
    Pages(u64),
    /// One record of any size.
    Record,
}

impl MemoryBudget {
    pub(super) fn new() -> Self {
        let pages = Arc::new(Semaphore::new(PAGES as usize));
        Self { pages, records: Arc::new(Semaphore::new(RECORDS)) }
    }

    /// Waits until the memory is free; `None` after `limit`.
    pub(super) async fn reserve(&self, wanted: MemoryUse, limit: Duration) -> Option<Reservation> {
        let (semaphore, count) = match wanted {
            MemoryUse::Pages(bytes) => {
                (&self.pages, u32::try_from(bytes >> 20).unwrap_or(PAGES).clamp(1, PAGES))
            }
            MemoryUse::Record => (&self.records, 1),
        };
        let acquired = tokio::time::timeout(limit, Arc::clone(semaphore).acquire_many_owned(count)).await;
        acquired.ok()?.ok().map(|permit| Reservation { _permit: permit })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{MemoryBudget, MemoryUse, SYNC_WAIT};

    const HALF: MemoryUse = MemoryUse::Pages(512 << 20);
    const NOW: Duration = Duration::ZERO;

    #[tokio::test]
    async fn reads_hold_no_more_together_than_the_budget() {
        let budget = MemoryBudget::new();
        let one = budget.reserve(HALF, NOW).await.unwrap();
        let other = budget.reserve(HALF, NOW).await.unwrap();
        assert!(budget.reserve(MemoryUse::Pages(1), NOW).await.is_none());
        assert!(budget.reserve(MemoryUse::Record, NOW).await.is_some(), "records are apart from pages");
        drop(one);
        let ends = async {
            tokio::task::yield_now().await;
            drop(other);
        };
        let (all, ()) = tokio::join!(budget.reserve(MemoryUse::Pages(5 << 30), SYNC_WAIT), ends);
        assert!(all.is_some(), "what exceeds the budget takes all of it");
        assert!(budget.reserve(MemoryUse::Pages(1), NOW).await.is_none());
    }

    #[tokio::test]
    async fn one_large_record_is_read_at_a_time() {
        let budget = MemoryBudget::new();
        let first = budget.reserve(MemoryUse::Record, NOW).await;
        assert!(first.is_some());
        assert!(budget.reserve(MemoryUse::Record, NOW).await.is_none());
        drop(first);
        assert!(budget.reserve(MemoryUse::Record, NOW).await.is_some());
    }
}
