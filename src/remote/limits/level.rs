//! How many calls the platform bears at once, as far as its answers tell.
//!
//! Like a congestion window: it doubles with every round of answers until something is the matter,
//! and grows by one a round from then on. A refusal (429, 503) or a timeout halves it; answers that
//! take longer than they did take a part of it away.

use std::time::Duration;
use tokio::time::Instant;

/// Where it begins: a small platform is not flooded, and a large one is reached in three rounds.
const FIRST: f64 = 8.0;

/// An answer that is later than this against the usual one waited in a queue, and ours is too long.
const SLACK: f64 = 1.5;

/// Not worth slowing down for, whatever the share: our own threads cause as much.
const JITTER: Duration = Duration::from_millis(10);

/// What is left of the level after a refusal, and after a slow round.
const HALVED: f64 = 0.5;
const EASED: f64 = 0.8;

/// A platform that became slower for good is taken as it is after some tens of rounds.
const FORGETS: u32 = 16;

/// How a call went, as far as it tells what the platform bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::remote) enum Went {
    /// It was answered, after a time that tells how busy the platform is. Calls of one kind are compared
    /// with each other.
    Well(Kind),
    /// It was answered, after a time that says nothing: it was the other side of the platform's.
    Answered,
    /// The platform refused it for now, or did not answer in time.
    Overloaded,
}

/// Kinds of calls: a connect may well take longer than a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::remote) enum Kind {
    List,
    Connect,
    Cleanup,
}

/// The level, and what it was concluded from.
#[derive(Debug)]
pub(super) struct Level {
    ceiling: usize,
    at: f64,
    /// Nothing was ever the matter.
    rising: bool,
    /// By kind.
    paces: [Pace; 3],
    /// What was sent before this says nothing more.
    eased_at: Option<Instant>,
}

/// How long calls of one kind take.
#[derive(Debug, Default)]
struct Pace {
    /// The fastest answer of a round when nothing waits.
    usual: Option<Duration>,
    /// Answers of this round: it has as many as calls are under way.
    answers: usize,
    fastest: Option<Duration>,
}

impl Level {
    pub(super) fn new(ceiling: usize) -> Self {
        let ceiling = ceiling.max(1);
        let at = FIRST.min(ceiling as f64);
        Self { ceiling, at, rising: true, paces: Default::default(), eased_at: None }
    }

    /// So many calls may be under way.
    pub(super) fn get(&self) -> usize {
        (self.at as usize).clamp(1, self.ceiling)
    }

    /// Takes note of a call that was sent then and ended now. `full` says that as many were under way
    /// as may be: otherwise it tells nothing about more.
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

    /// Once for everything that was under way at the time.
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
    /// Was that the last answer of a slow round? A queue delays even the fastest; a large list only itself.
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
