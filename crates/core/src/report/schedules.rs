//! Renders a schedule and its changes.

use super::changes::ValueText;
use super::{TimeContext, humanize};
use crate::model::{Missed, Overlap, SourceName, SyncSpec, WorkspaceRef};
use crate::schedule::{CompiledSchedule, describe};
use jiff::Timestamp;
use std::time::Duration;

pub(super) const FIRINGS_SHOWN: usize = 2;

/// Formats a schedule, such as `every 6h`, or `no schedule`.
pub(super) fn words(spec: Option<&SyncSpec>) -> String {
    spec.map_or_else(|| "no schedule".to_owned(), describe)
}

/// Formats a change, such as `every 6h -> 15 2 * * MON-SAT Europe/Rome`.
pub(super) fn change(before: Option<&SyncSpec>, after: Option<&SyncSpec>) -> String {
    let (was, is) = (words(before), words(after));
    match (before, after) {
        (None, Some(_)) => is,
        _ if was == is => is,
        _ => format!("{was} -> {is}"),
    }
}

/// Returns the changed settings other than the rhythm.
///
/// Empty if there was no schedule before, or is none now.
pub(super) fn settings(
    before: Option<&SyncSpec>,
    after: Option<&SyncSpec>,
) -> impl Iterator<Item = (String, ValueText)> + use<> {
    let pairs = match (before, after) {
        (Some(before), Some(after)) => described(before).into_iter().zip(described(after)).collect(),
        _ => Vec::new(),
    };
    pairs
        .into_iter()
        .filter(|((_, was), (_, is))| was != is)
        .map(|((name, was), (_, is))| (name.to_owned(), ValueText::Pair(was, is, String::new())))
}

fn described(spec: &SyncSpec) -> [(&'static str, String); 6] {
    let length = |length: Option<Duration>| length.map_or_else(|| "none".to_owned(), humanize::duration);
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

/// Formats the next firings in the schedule's zone, and in a differing local zone.
///
/// Example: `Tue 24 Nov 02:15 CET (01:15 UTC here), Wed 25 Nov 02:15 CET (01:15 UTC here)`.
pub(super) fn next(
    workspace: &WorkspaceRef,
    name: &SourceName,
    spec: &SyncSpec,
    here: TimeContext<'_>,
) -> Option<String> {
    let timing = CompiledSchedule::compile(workspace, name, spec).ok()?;
    let zone = timing.zone();
    let local = here.local_or(zone);
    let moments: Vec<String> = timing
        .upcoming(here.now, FIRINGS_SHOWN)
        .into_iter()
        .map(|at| humanize::moment_in_both(at, zone, local, here.now))
        .collect();
    if moments.is_empty() { None } else { Some(moments.join(", ")) }
}

pub(super) fn instants(
    workspace: &WorkspaceRef,
    name: &SourceName,
    spec: &SyncSpec,
    now: Timestamp,
) -> Vec<Timestamp> {
    CompiledSchedule::compile(workspace, name, spec)
        .map(|timing| timing.upcoming(now, FIRINGS_SHOWN))
        .unwrap_or_default()
}
