//! When a source is due, and which due sources share one call.
//!
//! Pure: the time is an argument, nothing is stored, nothing is random. A schedule is compiled once
//! ([`Timing`]); [`due`] then compares it with what was last claimed; [`batches`] forms the calls.
//! What every schedule keeps:
//!
//! - `every` fires at `k · every + offset` since the Unix epoch; the offset in `[0, every)` is a hash
//!   of the source's identity, the same after every restart and on every host.
//! - `cron` follows the wall clock of its zone: an hour the clock repeats counts once, at its first
//!   passing; minutes the clock leaves out fire together, once, at the first instant after the gap.
//! - `jitter` delays every firing of a source by the same hashed amount in `[0, jitter]`.
//! - A firing is claimed at most once, and whatever [`due`] returns is to be recorded before acting on
//!   it, so that a crash between the two loses a run rather than doubling it.

mod batch;
mod calendar;
mod cron;
mod describe;
mod due;
mod freshness;
mod timing;

pub use batch::{Batch, Terms, batches};
pub use describe::describe;
pub use due::{
    CLOCK_TOLERANCE, Decision, Due, LATE_AFTER, Last, MISSED_COUNTED, Rewound, Scheduled, Skipped,
    SkippedWhy, due, ripe_at,
};
pub use freshness::{Freshness, freshness};
pub use timing::{ScheduleError, Timing, Timings};
