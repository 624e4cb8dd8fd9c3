//! How much is asked of the platform at once.

use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use tokio::sync::{Semaphore, SemaphorePermit};

/// The ceilings every attempt passes, retries included.
pub(super) struct Limits {
    in_flight: Semaphore,
    rate: DefaultDirectRateLimiter,
}

impl Limits {
    /// At least one call is always permitted.
    pub(super) fn new(max_in_flight: usize, requests_per_second: u32) -> Self {
        let per_second = NonZeroU32::new(requests_per_second).unwrap_or(NonZeroU32::MIN);
        Self {
            in_flight: Semaphore::new(max_in_flight.clamp(1, Semaphore::MAX_PERMITS)),
            rate: RateLimiter::direct(Quota::per_second(per_second)),
        }
    }

    /// Waits for a turn; the call is in flight until the permit is dropped.
    pub(super) async fn turn(&self) -> Option<SemaphorePermit<'_>> {
        // Only a closed semaphore errs, and this one is never closed.
        let permit = self.in_flight.acquire().await.ok();
        self.rate.until_ready().await;
        permit
    }
}
