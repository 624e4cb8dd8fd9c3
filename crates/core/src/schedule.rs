//! Decides which sources are due, and groups them into sync requests.
//!
//! A schedule is compiled once ([`CompiledSchedule`]); [`due`] compares it with the last claim; [`batches`]
//! forms the requests. Every schedule guarantees:
//!
//! - `every` fires at `k · every + offset` since the Unix epoch; the offset in `[0, every)` is a
//!   hash of the source's identity, the same after every restart and on every host.
//! - `cron` follows the wall clock of its zone: an hour that the clock repeats counts once, at its
//!   first occurrence; minutes that the clock skips fire together, once, at the first instant after
//!   the gap.
//! - `jitter` delays every firing of a source by the same hashed amount in `[0, jitter]`.
//! - A firing is claimed at most once. The caller records the result of [`due`] before acting on
//!   it, so that a crash in between loses a run rather than repeating it.
//!
//! Invariant: pure; the time is an argument, nothing is stored and nothing is random.

mod batch;
mod calendar;
mod cron;
mod describe;
mod due;
mod error;
mod freshness;
mod timing;

pub use batch::{BatchKey, SyncBatch, batches};
pub use describe::describe;
pub use due::{
    CLOCK_TOLERANCE, Decision, DueRun, LATE_AFTER, LastClaim, MAX_MISSED_COUNT, Rewound, ScheduleInput,
    SkipReason, Skipped, due, next_decision_at,
};
pub use error::ScheduleError;
pub use freshness::{Freshness, freshness};
pub use timing::{CompiledSchedule, ScheduleCache};
