//! Adapts the number of concurrent requests to the platform's capacity.
//!
//! Works like a congestion window. The level doubles with every round of responses until the first
//! problem, then grows by one per round. A rejection (429, 503) or a timeout halves it; slower
//! responses reduce it by a fifth.

use std::time::Duration;
use tokio::time::Instant;

/// Initial level: does not flood a small platform, and reaches 64 in three rounds.
const FIRST: f64 = 8.0;

/// Ratio to the usual latency above which a response waited in a queue.
const LATENCY_TOLERANCE: f64 = 1.5;

/// Latency increase that is ignored, because our own threads cause as much.
const LATENCY_JITTER: Duration = Duration::from_millis(10);

/// Factors of the level after a rejection, and after a slow round.
const BACKOFF_ON_ERROR: f64 = 0.5;
const BACKOFF_ON_LATENCY: f64 = 0.8;

/// Inverse weight by which the usual latency follows the observed one.
///
/// A platform that became permanently slower is accepted after some tens of rounds.
const BASELINE_DECAY_ROUNDS: u32 = 16;

/// Result of a request, as a signal of the platform's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum CallOutcome {
    /// Completed; its latency is a load signal.
    ///
    /// Only requests of the same kind are compared.
    Completed(CallKind),
    /// Completed; its latency depends on a third system.
    CompletedUntimed,
    /// Rejected temporarily, or timed out.
    Overloaded,
}

/// Kinds of requests, which have different usual latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::client) enum CallKind {
    List,
    Connect,
    Cleanup,
}

/// Current level with the observations behind it.
#[derive(Debug)]
pub(super) struct ConcurrencyController {
    ceiling: usize,
    current: f64,
    slow_start: bool,
    paces: [LatencyWindow; 3],
    /// Requests sent before this time are ignored.
    last_backoff: Option<Instant>,
}

/// Latency of one kind of request.
#[derive(Debug, Default)]
struct LatencyWindow {
    /// Fastest response of a round without a queue.
    baseline: Option<Duration>,
    /// Responses in this round; a round has as many as requests are in flight.
    responses: usize,
    fastest: Option<Duration>,
}

impl ConcurrencyController {
    pub(super) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        let current = FIRST.min(ceiling as f64);
        Self { ceiling, current, slow_start: true, paces: Default::default(), last_backoff: None }
    }

    /// Returns the number of permitted concurrent requests.
    pub(super) fn get(&self) -> usize {
        (self.current as usize).clamp(1, self.ceiling)
    }

    /// Records a finished request with its start and end.
    ///
    /// `full` is true if the level was used up; otherwise the result does not justify a higher
    /// level.
    pub(super) fn record(&mut self, went: CallOutcome, sent: Instant, now: Instant, full: bool) {
        if went == CallOutcome::Overloaded {
            self.back_off(BACKOFF_ON_ERROR, sent, now);
            return;
        }
        if full {
            self.current += if self.slow_start { 1.0 } else { 1.0 / self.current };
            self.current = self.current.min(self.ceiling as f64);
        }
        let CallOutcome::Completed(kind) = went else { return };
        if self.last_backoff.is_some_and(|eased| sent < eased) {
            return;
        }
        let most = self.get();
        let slow = self.paces[kind as usize].record_latency(now.duration_since(sent), most);
        if slow {
            self.back_off(BACKOFF_ON_LATENCY, sent, now);
        }
    }

    /// Reduces the level, once for all requests in flight at the time.
    fn back_off(&mut self, share: f64, sent: Instant, now: Instant) {
        self.slow_start = false;
        if self.last_backoff.is_none_or(|eased| sent >= eased) {
            self.current = (self.current * share).max(1.0);
            self.last_backoff = Some(now);
            for pace in &mut self.paces {
                *pace = LatencyWindow { baseline: pace.baseline, ..LatencyWindow::default() };
            }
        }
    }
}

impl LatencyWindow {
    /// Returns true at the end of a slow round.
    ///
    /// A queue delays even the fastest response; a large list delays only itself.
    fn record_latency(&mut self, took: Duration, round: usize) -> bool {
        self.responses += 1;
        let fastest = self.fastest.map_or(took, |fastest| fastest.min(took));
        self.fastest = Some(fastest);
        if self.responses < round {
            return false;
        }
        let usual = self.baseline.map_or(fastest, |usual| usual.min(fastest));
        *self = Self { baseline: Some(usual + (fastest - usual) / BASELINE_DECAY_ROUNDS), ..Self::default() };
        fastest > usual.mul_f64(LATENCY_TOLERANCE) + LATENCY_JITTER
    }
}

#[cfg(test)]
mod tests;
