//! How much is asked of the platform at once.

use super::error::Endpoint;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The ceilings every attempt passes, retries included.
pub(super) struct Limits {
    in_flight: Semaphore,
    /// Syncs last for minutes; they have turns of their own, so that no list waits for one to end.
    syncs: Semaphore,
    rate: DefaultDirectRateLimiter,
}

impl Limits {
    /// A quarter of the calls under way may be syncs. One sync and one other call are always permitted.
    pub(super) fn new(max_in_flight: usize, requests_per_second: u32) -> Self {
        let per_second = NonZeroU32::new(requests_per_second).unwrap_or(NonZeroU32::MIN);
        let max_in_flight = max_in_flight.clamp(1, Semaphore::MAX_PERMITS);
        let syncs = (max_in_flight / 4).max(1);
        Self {
            in_flight: Semaphore::new((max_in_flight - syncs).max(1)),
            syncs: Semaphore::new(syncs),
            rate: RateLimiter::direct(Quota::per_second(per_second)),
        }
    }

    /// Waits for a turn; the call is in flight until the permit is dropped.
    pub(super) async fn turn(&self, endpoint: Endpoint) -> Option<SemaphorePermit<'_>> {
        let turns = if endpoint == Endpoint::Sync { &self.syncs } else { &self.in_flight };
        // Only a closed semaphore errs, and this one is never closed.
        let permit = turns.acquire().await.ok();
        self.rate.until_ready().await;
        permit
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn syncs_under_way_leave_every_other_call_its_turn() {
        for max_in_flight in [0, 1, 2, 64] {
            let limits = Limits::new(max_in_flight, 1000);
            let mut syncs = Vec::new();
            while limits.syncs.available_permits() > 0 {
                syncs.push(limits.turn(Endpoint::Sync).await);
            }
            assert_eq!(syncs.len(), (max_in_flight / 4).max(1));
            assert!(limits.turn(Endpoint::List).await.is_some());
            assert!(limits.in_flight.available_permits() + syncs.len() <= max_in_flight.max(2));
        }
    }
}
