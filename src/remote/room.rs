//! Memory budget for responses; large ones share a common limit.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Size up to which a response needs no permit; concurrency already bounds these.
pub(super) const SMALL: usize = 1 << 20;

/// Common budget in bytes of all larger responses.
///
/// Counts from their second MiB until the parsed content is dropped. The sources of a list take
/// several times its text.
const BUDGET: usize = 24 << 20;

/// Bytes per permit, because a semaphore counts only to 2^29.
const UNIT: usize = 1 << 10;

/// Budget shared by all responses.
#[derive(Debug, Clone)]
pub(super) struct Rooms(Arc<Semaphore>);

/// Share of the budget for one response, released on drop.
#[derive(Debug)]
pub(super) struct Room(#[expect(dead_code, reason = "held for its drop")] OwnedSemaphorePermit);

impl Rooms {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(BUDGET / UNIT)))
    }

    /// Takes a share of this many bytes, if available.
    pub(super) fn try_take(&self, bytes: usize) -> Option<Room> {
        Arc::clone(&self.0).try_acquire_many_owned(units(bytes)).ok().map(Room)
    }

    /// Waits for a share of this many bytes.
    ///
    /// A response beyond the budget waits for all of it.
    pub(super) async fn take(&self, bytes: usize) -> Option<Room> {
        // Acquiring fails only on a closed semaphore, and this one is never closed.
        Arc::clone(&self.0).acquire_many_owned(units(bytes)).await.ok().map(Room)
    }
}

fn units(bytes: usize) -> u32 {
    u32::try_from(bytes.min(BUDGET).div_ceil(UNIT)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn large_answers_wait_for_each_other_and_the_largest_for_all() {
        let rooms = Rooms::new();
        let first = rooms.try_take(20 << 20).unwrap();
        assert!(rooms.try_take(5 << 20).is_none());
        let second = rooms.try_take(4 << 20).unwrap();
        drop(first);
        assert!(rooms.try_take(60 << 20).is_none(), "the second is there");
        drop(second);
        assert!(rooms.take(60 << 20).await.is_some(), "it is the only one");
    }
}
