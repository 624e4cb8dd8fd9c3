//! Checks of this host: file watching, time zones and the state directory.

use super::super::context;
use super::{Exit, Finding, named};
use crate::error::error_chain;
use crate::report::humanize;
use crate::settings::{PlatformChoice, Settings};
use crate::store::Store;
use crate::{watch, zones};
use rustix::fs::{Access, AtFlags, CWD, accessat};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

const WATCHES: &str = "/proc/sys/fs/inotify/max_user_watches";
const INSTANCES: &str = "/proc/sys/fs/inotify/max_user_instances";

/// Checks that the project can be watched, by watching it.
pub(super) fn watching(root: &Path) -> Finding {
    let limit = |path| std::fs::read_to_string(path).ok().and_then(|text| text.trim().parse::<usize>().ok());
    let limits = match (limit(WATCHES), limit(INSTANCES)) {
        (Some(watches), Some(instances)) => {
            let (watches, instances) = (humanize::number(watches), humanize::number(instances));
            format!(" (limits: {watches} watches and {instances} instances per user)")
        }
        _ => String::new(),
    };
    let todo = "raise fs.inotify.max_user_watches and fs.inotify.max_user_instances with sysctl";
    match watch::start(root) {
        Err(error) => Finding::bad("watching", Exit::Failed, error_chain(&error), todo),
        Ok(watch) if watch.is_polling() => {
            let message = format!("file watching is not available; files are checked every 2 s{limits}");
            Finding::warning("watching", message, todo)
        }
        Ok(_) => Finding::good("watching", format!("file watching works{limits}")),
    }
}

/// Reports which time zone database schedules use.
pub(super) fn time_zones() -> Finding {
    let zones::Origin { host, bundled } = zones::origin();
    let message = match host {
        Some(host) if zones::origin().is_host() => {
            format!("tzdata {host} of this host, which is newer than {bundled} in this program")
        }
        Some(host) => format!("tzdata {bundled} in this program; this host has {host}"),
        None => format!("tzdata {bundled} in this program; this host has none with a version"),
    };
    Finding::good("time zones", message)
}

/// Checks that the state is undamaged, writable and private.
pub(super) async fn state(settings: &Settings, at: &PlatformChoice) -> Finding {
    let dir = &settings.state_dir;
    if let Err(failure) = context::reject_foreign_state(settings) {
        let todo = "choose another directory with --state-dir, or remove the files that belong to others";
        return Finding::bad("state", failure.exit, failure.message, todo);
    }
    let state = match Store::open_read_only(dir, &context::key(at)) {
        Ok(None) => {
            let message = format!("no state yet in {}", dir.display());
            return unwritable(dir).unwrap_or_else(|| Finding::good("state", message));
        }
        Ok(Some(state)) => state,
        Err(error) => {
            let todo = "if it cannot be repaired, move it away: without state nothing is removed, and sources equal to the files are adopted";
            return Finding::bad("state", Exit::Failed, error_chain(&error), todo);
        }
    };
    let health = match state.health().await {
        Ok(health) => health,
        Err(error) => {
            let todo = "stop the daemon, copy the directory, and move it away; nothing is removed without it";
            return Finding::bad("state", Exit::Failed, error_chain(&error), todo);
        }
    };
    let owned = humanize::count(health.managed, "source");
    let message = format!(
        "{owned} of {} managed, {} recorded, in {} ({})",
        named(at),
        humanize::count(health.runs, "sync"),
        dir.display(),
        size(health.bytes)
    );
    if let Some(what) = health.damage {
        let todo = "stop the daemon, copy the directory, and move it away; nothing is removed without it";
        return Finding::bad("state", Exit::Failed, format!("{message}; damaged: {what}"), todo);
    }
    if let Some(finding) = unwritable(dir) {
        return finding;
    }
    let is_open = |file: &str| {
        std::fs::metadata(dir.join(file)).is_ok_and(|file| file.permissions().mode() & 0o077 != 0)
    };
    if is_open(".") && (is_open("state.db") || is_open("fingerprint.key")) {
        let todo = format!("chmod 700 {}", dir.display());
        return Finding::warning("state", format!("{message}; readable by other users"), todo);
    }
    Finding::good("state", message)
}

/// Returns a finding if a part of the state, or its directory, is not writable.
fn unwritable(dir: &Path) -> Option<Finding> {
    let refused = |path: &PathBuf| {
        let wanted = if path.is_dir() { Access::WRITE_OK | Access::EXEC_OK } else { Access::WRITE_OK };
        accessat(CWD, path, wanted, AtFlags::EACCESS).is_err()
    };
    let mut needed: Vec<PathBuf> =
        dir.ancestors().find(|path| path.exists()).map(Into::into).into_iter().collect();
    let parts = ["state.db", "locks", "processes"].map(|part| dir.join(part));
    needed.extend(parts.into_iter().filter(|path| path.exists()));
    let path = needed.into_iter().find(refused)?;
    let message = format!(
        "{} is not writable by this user, so no state can be kept in {}",
        path.display(),
        dir.display()
    );
    let todo = "give this user write access, or choose another directory with --state-dir";
    Some(Finding::bad("state", Exit::Failed, message, todo))
}

fn size(bytes: u64) -> String {
    match bytes {
        0..1_048_576 => format!("{} KiB", bytes.div_ceil(1024)),
        _ => format!("{} MiB", bytes >> 20),
    }
}
