//! Memory budget for responses; large ones share a common limit.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Size up to which a response needs no permit; concurrency already bounds these.
pub(super) const UNBUDGETED_BYTES: usize = 1 << 20;

/// Common budget in bytes of all larger responses.
///
/// Counts from their second MiB until the parsed content is dropped. The sources of a list take
/// several times its text.
const BUDGET: usize = 24 << 20;

/// Bytes per permit, because a semaphore counts only to 2^29.
const BYTES_PER_PERMIT: usize = 1 << 10;

/// Budget shared by all responses.
#[derive(Debug, Clone)]
pub(super) struct ByteBudgets(Arc<Semaphore>);

/// Share of the budget for one response, released on drop.
#[derive(Debug)]
pub(super) struct ByteBudget(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl ByteBudgets {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET / BYTES_PER_PERMIT)))
    }

    /// Takes a share of this many bytes, if available.
    pub(super) fn try_acquire(&self, bytes: usize) -> Option<ByteBudget> {
        Arc::clone(&self.0).try_acquire_many_owned(permits(bytes)).ok().map(ByteBudget)
    }

    /// Waits for a share of this many bytes.
    ///
    /// A response beyond the budget waits for all of it.
    pub(super) async fn acquire(&self, bytes: usize) -> Option<ByteBudget> {
        // Acquiring fails only on a closed semaphore, and this one is never closed.
        Arc::clone(&self.0).acquire_many_owned(permits(bytes)).await.ok().map(ByteBudget)
    }
}

fn permits(bytes: usize) -> u32 {
    u32::try_from(bytes.min(BUDGET).div_ceil(BYTES_PER_PERMIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_answers_wait_for_each_other_and_the_largest_for_all() {
        let rooms = ByteBudgets::new();
        let first = rooms.try_acquire(20 << 20).unwrap();
        assert!(rooms.try_acquire(5 << 20).is_none());
        let second = rooms.try_acquire(4 << 20).unwrap();
        drop(first);
        assert!(rooms.try_acquire(60 << 20).is_none(), "the second is there");
        drop(second);
        assert!(rooms.acquire(60 << 20).await.is_some(), "it is the only one");
    }
}
