//! Alive, and ready: the truth, not merely that the process is up.

use super::{Snapshot, Workspace};
use crate::render::words;
use jiff::{SignedDuration, Timestamp};

/// Ready while the platform answered a list, and strictly ready while every workspace had a good pass, within
/// this many intervals.
const INTERVALS: i32 = 3;

/// An interval may be a second; a pass takes its time.
const LEAST: SignedDuration = SignedDuration::from_secs(30);

/// The loop goes round at least once a minute. After so long without, it hangs.
const HANGS: SignedDuration = SignedDuration::from_mins(5);

/// So many workspaces are named; the others are counted.
const MOST_NAMED: usize = 10;

/// Does the daemon's loop go round?
#[must_use]
pub(super) fn is_alive(last_turn: i64, now: Timestamp) -> bool {
    now.as_second().saturating_sub(last_turn) < HANGS.as_secs()
}

/// Why the daemon is not ready; nothing when it is: the files are accepted, and the platform answers. A source
/// or a workspace that fails while others do not is no matter of the daemon.
#[must_use]
pub(super) fn unready(snapshot: &Snapshot, now: Timestamp) -> Vec<String> {
    let mut why = Vec::new();
    let files = &snapshot.files;
    if let Some(error) = &files.unreadable {
        why.push(format!("the files cannot be read: {error}"));
    } else if files.read_at.is_none() {
        why.push("the files were not read yet".to_owned());
    } else if files.errors > 0 {
        why.push(format!("{} in the files", words::count(files.errors, "error")));
    }
    if files.elsewhere {
        why.push("wellspring.toml names another platform than this process speaks to".to_owned());
    }
    if let Some(trouble) = &snapshot.platform {
        why.push(trouble.message.clone());
    } else if !snapshot.workspaces.is_empty() {
        let answered = snapshot.workspaces.iter().filter_map(|workspace| workspace.answered_at).max();
        match answered {
            None => why.push("the platform has not answered a list yet".to_owned()),
            Some(at) if is_late(snapshot, at, now) => {
                why.push(format!("the platform last answered a list {}", words::ago(at, now)));
            }
            Some(_) => {}
        }
    }
    why
}

/// The same, and every workspace without a good pass within three intervals.
#[must_use]
pub(super) fn unready_strictly(snapshot: &Snapshot, now: Timestamp) -> Vec<String> {
    let mut why = unready(snapshot, now);
    let late = snapshot.workspaces.iter().filter_map(|workspace| lateness(snapshot, workspace, now));
    let late: Vec<String> = late.collect();
    let more = late.len().saturating_sub(MOST_NAMED);
    why.extend(late.into_iter().take(MOST_NAMED));
    if more > 0 {
        why.push(format!("and {} without a good pass of late", words::count(more, "other workspace")));
    }
    why
}

fn lateness(snapshot: &Snapshot, workspace: &Workspace, now: Timestamp) -> Option<String> {
    let label = workspace.desired.label();
    match workspace.good_at {
        None => Some(format!("{label}: no good pass yet")),
        Some(at) if is_late(snapshot, at, now) => {
            Some(format!("{label}: its last good pass ended {}", words::ago(at, now)))
        }
        Some(_) => None,
    }
}

fn is_late(snapshot: &Snapshot, at: Timestamp, now: Timestamp) -> bool {
    now.duration_since(at) > snapshot.about.interval.saturating_mul(INTERVALS).max(LEAST)
}
