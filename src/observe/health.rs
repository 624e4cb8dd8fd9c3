//! Liveness and readiness, based on actual results.

use super::{Snapshot, WorkspaceSnapshot};
use crate::report::humanize;
use jiff::{SignedDuration, Timestamp};

/// Number of intervals after which results are too old.
///
/// Ready requires a listed platform within this time; strictly ready requires a successful pass of
/// every workspace.
const INTERVALS: i32 = 3;

/// Minimum age for being too old, because an interval may be a second.
const LEAST: SignedDuration = SignedDuration::from_secs(30);

/// Time after which the event loop, which runs every minute, counts as hanging.
const HANG_TIMEOUT: SignedDuration = SignedDuration::from_mins(5);

/// Maximum number of workspaces named; the others are counted.
const MAX_NAMED: usize = 10;

/// Returns true if the event loop is running.
pub(super) fn is_alive(last_turn: i64, now: Timestamp) -> bool {
    now.as_second().saturating_sub(last_turn) < HANG_TIMEOUT.as_secs()
}

/// Returns the reasons why the daemon is not ready; empty if it is.
///
/// Ready means that the files are valid and the platform responds. Failures of single sources or
/// workspaces do not count.
pub(super) fn unready_reasons(snapshot: &Snapshot, now: Timestamp) -> Vec<String> {
    let mut why = Vec::new();
    let files = &snapshot.files;
    if let Some(error) = &files.unreadable {
        why.push(format!("the files cannot be read: {error}"));
    } else if files.read_at.is_none() {
        why.push("the files were not read yet".to_owned());
    } else if files.errors > 0 {
        why.push(format!("{} in the files", humanize::count(files.errors, "error")));
    }
    if files.names_other_platform {
        why.push("wellspring.toml names another platform than the one in use".to_owned());
    }
    if let Some(trouble) = &snapshot.platform {
        why.push(trouble.message.clone());
    } else if !snapshot.workspaces.is_empty() {
        let answered = snapshot.workspaces.iter().filter_map(|workspace| workspace.last_listed_at).max();
        match answered {
            None => why.push("the platform has not answered a list yet".to_owned()),
            Some(at) if is_late(snapshot, at, now) => {
                why.push(format!("the platform last answered a list {}", humanize::ago(at, now)));
            }
            Some(_) => {}
        }
    }
    why
}

/// Like [`unready_reasons`], plus every workspace without a recent successful pass.
pub(super) fn strict_unready_reasons(snapshot: &Snapshot, now: Timestamp) -> Vec<String> {
    let mut why = unready_reasons(snapshot, now);
    let late = snapshot.workspaces.iter().filter_map(|workspace| late_reason(snapshot, workspace, now));
    let late: Vec<String> = late.collect();
    let more = late.len().saturating_sub(MAX_NAMED);
    why.extend(late.into_iter().take(MAX_NAMED));
    if more > 0 {
        why.push(format!("and {} without a good pass of late", humanize::count(more, "other workspace")));
    }
    why
}

fn late_reason(snapshot: &Snapshot, workspace: &WorkspaceSnapshot, now: Timestamp) -> Option<String> {
    let label = workspace.desired.label();
    match workspace.last_good_at {
        None => Some(format!("{label}: no good pass yet")),
        Some(at) if is_late(snapshot, at, now) => {
            Some(format!("{label}: its last good pass ended {}", humanize::ago(at, now)))
        }
        Some(_) => None,
    }
}

fn is_late(snapshot: &Snapshot, at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) > snapshot.about.interval.saturating_mul(INTERVALS).max(LEAST)
}
