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
const SLACK: f64 = 1.5;

/// Latency increase that is ignored, because our own threads cause as much.
const JITTER: Duration = Duration::from_millis(10);

/// Factors of the level after a rejection, and after a slow round.
const HALVED: f64 = 0.5;
const EASED: f64 = 0.8;

/// Inverse weight by which the usual latency follows the observed one.
///
/// A platform that became permanently slower is accepted after some tens of rounds.
const FORGETS: u32 = 16;

/// Result of a request, as a signal of the platform's load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::remote) enum Went {
    /// Completed; its latency is a load signal.
    ///
    /// Only requests of the same kind are compared.
    Well(Kind),
    /// Completed; its latency depends on a third system.
    Answered,
    /// Rejected temporarily, or timed out.
    Overloaded,
}

/// Kinds of requests, which have different usual latencies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::remote) enum Kind {
    List,
    Connect,
    Cleanup,
}

/// Current level with the observations behind it.
#[derive(Debug)]
pub(super) struct Level {
    ceiling: usize,
    at: f64,
    /// True until the first problem.
    rising: bool,
    /// Latencies by kind.
    paces: [Pace; 3],
    /// Requests sent before this time are ignored.
    eased_at: Option<Instant>,
}

/// Latency of one kind of request.
#[derive(Debug, Default)]
struct Pace {
    /// Fastest response of a round without a queue.
    usual: Option<Duration>,
    /// Responses in this round; a round has as many as requests are in flight.
    answers: usize,
    fastest: Option<Duration>,
}

impl Level {
    pub(super) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        let at = FIRST.min(ceiling as f64);
        Self { ceiling, at, rising: true, paces: Default::default(), eased_at: None }
    }

    /// Returns the number of permitted concurrent requests.
    pub(super) fn get(&self) -> usize {
        (self.at as usize).clamp(1, self.ceiling)
    }

    /// Records a finished request with its start and end.
    ///
    /// `full` is true if the level was used up; otherwise the result does not justify a higher
    /// level.
    pub(super) fn ended(&mut self, went: Went, sent: Instant, now: Instant, full: bool) {
        if went == Went::Overloaded {
            self.ease(HALVED, sent, now);
            return;
        }
        if full {
            self.at += if self.rising { 1.0 } else { 1.0 / self.at };
            self.at = self.at.min(self.ceiling as f64);
        }
        let Went::Well(kind) = went else { return };
        if self.eased_at.is_some_and(|eased| sent < eased) {
            return;
        }
        let most = self.get();
        let slow = self.paces[kind as usize].answered(now.duration_since(sent), most);
        if slow {
            self.ease(EASED, sent, now);
        }
    }

    /// Reduces the level, once for all requests in flight at the time.
    fn ease(&mut self, share: f64, sent: Instant, now: Instant) {
        self.rising = false;
        if self.eased_at.is_none_or(|eased| sent >= eased) {
            self.at = (self.at * share).max(1.0);
            self.eased_at = Some(now);
            for pace in &mut self.paces {
                *pace = Pace { usual: pace.usual, ..Pace::default() };
            }
        }
    }
}

impl Pace {
    /// Returns true at the end of a slow round.
    ///
    /// A queue delays even the fastest response; a large list delays only itself.
    fn answered(&mut self, took: Duration, round: usize) -> bool {
        self.answers += 1;
        let fastest = self.fastest.map_or(took, |fastest| fastest.min(took));
        self.fastest = Some(fastest);
        if self.answers < round {
            return false;
        }
        let usual = self.usual.map_or(fastest, |usual| usual.min(fastest));
        *self = Self { usual: Some(usual + (fastest - usual) / FORGETS), ..Self::default() };
        fastest > usual.mul_f64(SLACK) + JITTER
    }
}

#[cfg(test)]
mod tests;
