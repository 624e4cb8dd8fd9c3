//! Alive, and ready: the truth, not merely that the process is up.

use super::Snapshot;
use crate::render::words;
use jiff::{SignedDuration, Timestamp};

/// Ready while the last good pass of every workspace is no older than so many intervals.
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

/// Why the daemon is not ready; nothing when it is: the files are accepted, the platform answers, and
/// every workspace had a good pass within three intervals.
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
    }
    let longest = snapshot.about.interval.saturating_mul(INTERVALS).max(LEAST);
    let late = snapshot.workspaces.iter().filter_map(|workspace| {
        let label = workspace.desired.label();
        match workspace.good_at {
            None => Some(format!("{label}: no good pass yet")),
            Some(at) if now.duration_since(at) > longest => {
                Some(format!("{label}: its last good pass ended {}", words::ago(at, now)))
            }
            Some(_) => None,
        }
    });
    let late: Vec<String> = late.collect();
    let more = late.len().saturating_sub(MOST_NAMED);
    why.extend(late.into_iter().take(MOST_NAMED));
    if more > 0 {
        why.push(format!("and {} without a good pass of late", words::count(more, "other workspace")));
    }
    why
}
