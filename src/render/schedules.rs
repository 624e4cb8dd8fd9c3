//! A schedule and its change in words.

use super::changes::Shown;
use super::{Here, words};
use crate::model::{Missed, Overlap, SourceName, SyncSpec, Unit};
use crate::schedule::{Timing, describe};
use jiff::Timestamp;
use std::time::Duration;

/// How many firings are foretold.
pub(super) const FORETOLD: usize = 2;

/// `every 6h`, or `no schedule`.
pub(super) fn words(spec: Option<&SyncSpec>) -> String {
    spec.map_or_else(|| "no schedule".to_owned(), describe)
}

/// `every 6h -> 15 2 * * MON-SAT Europe/Rome`
pub(super) fn change(before: Option<&SyncSpec>, after: Option<&SyncSpec>) -> String {
    let (was, is) = (words(before), words(after));
    match (before, after) {
        (None, Some(_)) => is,
        _ if was == is => is,
        _ => format!("{was} -> {is}"),
    }
}

/// The settings that differ besides the rhythm. Where there was no schedule, or is none, no more needs
/// saying.
pub(super) fn settings(
    before: Option<&SyncSpec>,
    after: Option<&SyncSpec>,
) -> impl Iterator<Item = (String, Shown)> + use<> {
    let pairs = match (before, after) {
        (Some(before), Some(after)) => described(before).into_iter().zip(described(after)).collect(),
        _ => Vec::new(),
    };
    pairs
        .into_iter()
        .filter(|((_, was), (_, is))| was != is)
        .map(|((name, was), (_, is))| (name.to_owned(), Shown::Pair(was, is, String::new())))
}

fn described(spec: &SyncSpec) -> [(&'static str, String); 6] {
    let length = |length: Option<Duration>| length.map_or_else(|| "none".to_owned(), words::duration);
    let missed = match spec.missed {
        Missed::Once => "once",
        Missed::Skip => "skip",
    };
    let overlap = match spec.overlap {
        Overlap::Forbid => "forbid",
        Overlap::Queue => "queue",
    };
    [
        ("stale_after", length(spec.stale_after)),
        ("missed", missed.to_owned()),
        ("timeout", length(spec.timeout)),
        ("on_connect", spec.on_connect.to_string()),
        ("on_change", spec.on_change.to_string()),
        ("overlap", overlap.to_owned()),
    ]
}

/// The next firings on the schedule's own here, and on the reader's where that differs:
/// `Tue 24 Nov 02:15 CET (01:15 UTC here), Wed 25 Nov 02:15 CET (01:15 UTC here)`.
pub(super) fn next(unit: &Unit, name: &SourceName, spec: &SyncSpec, here: Here<'_>) -> Option<String> {
    let timing = Timing::compile(unit, name, spec).ok()?;
    let zone = timing.zone();
    let local = here.zone.unwrap_or(zone);
    let moments: Vec<String> = timing
        .upcoming(here.now, FORETOLD)
        .into_iter()
        .map(|at| words::moment_in_both(at, zone, local, here.now))
        .collect();
    (!moments.is_empty()).then(|| moments.join(", "))
}

/// The next firings as instants.
pub(super) fn instants(unit: &Unit, name: &SourceName, spec: &SyncSpec, now: Timestamp) -> Vec<Timestamp> {
    Timing::compile(unit, name, spec).map(|timing| timing.upcoming(now, FORETOLD)).unwrap_or_default()
}
