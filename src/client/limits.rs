//! Limits on concurrent requests and on their rate.

mod level;

use super::error::{Endpoint, RemoteErrorKind};
use crate::mutex::lock;
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use level::{CallKind, CallOutcome, ConcurrencyController};
use std::num::NonZeroU32;
use std::sync::{Mutex, MutexGuard};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

/// Limits that every attempt passes, including retries.
///
/// Below the maximum, the number of concurrent requests adapts to the platform.
pub(super) struct CallLimits {
    most: usize,
    turns: Semaphore,
    state: Mutex<LimitState>,
    /// Own permits for syncs, which last for minutes, so that no list waits for one.
    syncs: Semaphore,
    rate: Option<DefaultDirectRateLimiter>,
}

struct LimitState {
    level: ConcurrencyController,
    /// Existing permits, taken or free.
    turns: usize,
    syncs: usize,
}

/// Permit of a request in flight.
pub(super) struct Permit<'a> {
    limits: &'a CallLimits,
    endpoint: Endpoint,
    permit: Option<SemaphorePermit<'a>>,
    sent: Instant,
}

/// Maximum number of concurrent syncs: a quarter of all requests, at least one.
pub(super) fn max_syncs(max_in_flight: usize) -> usize {
    (most(max_in_flight) / 4).max(1)
}

/// At least one sync and one other request are permitted.
fn most(max_in_flight: usize) -> usize {
    max_in_flight.clamp(2, Semaphore::MAX_PERMITS)
}

impl CallLimits {
    pub(super) fn new(max_in_flight: usize, requests_per_second: Option<u32>) -> Self {
        let most = most(max_in_flight);
        let level = ConcurrencyController::new(max_in_flight.min(most));
        let rate = requests_per_second.map(|per_second| {
            RateLimiter::direct(Quota::per_second(NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN)))
        });
        Self {
            most,
            turns: Semaphore::new(level.get()),
            state: Mutex::new(LimitState { turns: level.get(), level, syncs: 0 }),
            syncs: Semaphore::new(max_syncs(max_in_flight)),
            rate,
        }
    }

    /// Waits for a permit, which is held until it is dropped.
    pub(super) async fn acquire(&self, endpoint: Endpoint) -> Permit<'_> {
        let is_sync = endpoint == Endpoint::Sync;
        // Acquiring fails only on a closed semaphore, and these are never closed.
        let sync = if is_sync { self.syncs.acquire().await.ok() } else { None };
        let mut permit = self.turns.acquire().await.ok();
        if is_sync {
            // A sync uses up one of the common permits while it runs.
            if let Some(permit) = permit.take() {
                permit.forget();
            }
            let mut state = self.state();
            state.turns -= 1;
            state.syncs += 1;
            self.adjust_permits(&mut state);
        }
        let permit = permit.or(sync);
        let mut turn = Permit { limits: self, endpoint, permit, sent: Instant::now() };
        if let Some(rate) = &self.rate {
            rate.until_ready().await;
        }
        turn.sent = Instant::now();
        turn
    }

    fn state(&self) -> MutexGuard<'_, LimitState> {
        lock(&self.state)
    }

    /// Returns the permits allowed by the level, minus those used by syncs.
    fn target_permits(&self, state: &LimitState) -> usize {
        state.level.get().min(self.most.saturating_sub(state.syncs)).max(1)
    }

    fn adjust_permits(&self, state: &mut LimitState) {
        let wanted = self.target_permits(state);
        if wanted > state.turns {
            self.turns.add_permits(wanted - state.turns);
            state.turns = wanted;
        } else {
            // Taken permits are removed when they are returned.
            state.turns -= self.turns.forget_permits(state.turns - wanted);
        }
    }
}

impl Permit<'_> {
    /// Records the result of the request and returns the permit.
    pub(super) fn finish<T>(self, outcome: &Result<T, RemoteErrorKind>) {
        let went = match outcome {
            Err(
                RemoteErrorKind::Throttled { .. }
                | RemoteErrorKind::NoResponse(_)
                | RemoteErrorKind::Failed { status: 429 | 502..=504, .. },
            ) => CallOutcome::Overloaded,
            _ => match self.endpoint {
                Endpoint::List => CallOutcome::Completed(CallKind::List),
                Endpoint::Connect => CallOutcome::Completed(CallKind::Connect),
                Endpoint::Cleanup => CallOutcome::Completed(CallKind::Cleanup),
                // The duration of a test depends on the tested system.
                _ => CallOutcome::CompletedUntimed,
            },
        };
        if self.endpoint != Endpoint::Sync {
            let full = self.limits.turns.available_permits() == 0;
            self.limits.state().level.record(went, self.sent, Instant::now(), full);
        }
    }
}

impl Drop for Permit<'_> {
    fn drop(&mut self) {
        let mut state = self.limits.state();
        let permit = self.permit.take();
        if self.endpoint == Endpoint::Sync {
            state.syncs -= 1;
        } else if let Some(permit) = permit
            && state.turns > self.limits.target_permits(&state)
        {
            // If returned, the permit would go to a waiting request.
            permit.forget();
            state.turns -= 1;
        }
        self.limits.adjust_permits(&mut state);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    #[tokio::test]
    async fn syncs_under_way_leave_every_other_call_its_turn() {
        for max_in_flight in [0, 1, 2, 64] {
            let limits = CallLimits::new(max_in_flight, None);
            let mut syncs = Vec::new();
            while limits.syncs.available_permits() > 0 {
                syncs.push(limits.acquire(Endpoint::Sync).await);
            }
            assert_eq!(syncs.len(), (max_in_flight / 4).max(1));
            let mut others = vec![limits.acquire(Endpoint::List).await];
            while limits.turns.available_permits() > 0 {
                limits.acquire(Endpoint::List).await.finish(&Ok(()));
                others.push(limits.acquire(Endpoint::List).await);
            }
            assert!(others.len() + syncs.len() <= max_in_flight.max(2));
        }
    }

    #[tokio::test]
    async fn as_many_calls_are_under_way_as_are_permitted_once_the_platform_answers() {
        let limits = CallLimits::new(64, None);
        for _ in 0..100 {
            let turns = limits.turns.available_permits();
            let mut round = Vec::new();
            for _ in 0..turns {
                round.push(limits.acquire(Endpoint::List).await);
            }
            round.into_iter().for_each(|turn| turn.finish(&Ok(())));
        }
        assert_eq!(limits.turns.available_permits(), 64);
        let sync = limits.acquire(Endpoint::Sync).await;
        assert_eq!(limits.turns.available_permits(), 63, "all together are no more than 64");
        drop(sync);
        assert_eq!(limits.turns.available_permits(), 64);
    }

    #[tokio::test]
    async fn a_refusal_takes_turns_away_also_while_they_are_taken() {
        let limits = CallLimits::new(64, None);
        let mut round = Vec::new();
        for _ in 0..8 {
            round.push(limits.acquire(Endpoint::List).await);
        }
        let refused =
            || Err::<(), _>(RemoteErrorKind::Throttled { retry_after: None, message: String::new() });
        round.into_iter().for_each(|turn| turn.finish(&refused()));
        assert_eq!(limits.turns.available_permits(), 4);
    }

    #[tokio::test]
    async fn a_refusal_takes_turns_away_also_when_others_wait_for_them() {
        let limits = Arc::new(CallLimits::new(64, None));
        let mut round = Vec::new();
        for _ in 0..8 {
            round.push(limits.acquire(Endpoint::List).await);
        }
        let under_way = Arc::new(AtomicUsize::new(0));
        let waiting: Vec<_> = (0..20)
            .map(|_| {
                let (limits, count) = (Arc::clone(&limits), Arc::clone(&under_way));
                tokio::spawn(async move {
                    let _turn = limits.acquire(Endpoint::List).await;
                    count.fetch_add(1, Ordering::Relaxed);
                    std::future::pending::<()>().await;
                })
            })
            .collect();
        tokio::task::yield_now().await;
        let refused =
            || Err::<(), _>(RemoteErrorKind::Throttled { retry_after: None, message: String::new() });
        round.into_iter().for_each(|turn| turn.finish(&refused()));
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        assert_eq!(under_way.load(Ordering::Relaxed), 4);
        waiting.into_iter().for_each(|waiting| waiting.abort());
    }
}
