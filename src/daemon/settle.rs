//! Decides when a load of the files is accepted.
//!
//! Watcher events only trigger a new scan. Additions and changes in a file are accepted at once if its writer
//! has finished (closed the file, or renamed it into place); otherwise after two equal scans a moment apart,
//! so that no half-written file is used. Removals, and all changes in `wellspring.toml`, are accepted once
//! the directory has been quiet for `quiet_period` and Git is not writing it.

use super::later;
use crate::plan::{RemovalBlock, WithheldReason};
use jiff::{SignedDuration, Timestamp};

/// Time between the two equal scans that accept additions and changes.
const CONFIRM_INTERVAL: SignedDuration = SignedDuration::from_millis(100);

/// Scan interval of a directory that keeps changing.
const BUSY_SCAN_INTERVAL: SignedDuration = SignedDuration::from_secs(1);

/// Age after which a Git lock counts as stale, because no checkout takes this long.
const STALE_LOCK_TIMEOUT: SignedDuration = SignedDuration::from_mins(10);

/// The extent to which a load is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Acceptance {
    /// Not accepted; scan again.
    Wait,
    /// Additions and changes are accepted; removals wait for the given reason.
    AdditionsOnly(RemovalBlock),
    Full,
}

/// State of the directory between scans.
#[derive(Debug)]
pub(super) struct SettleTracker {
    quiet_period: SignedDuration,
    digest: Option<[u8; 32]>,
    changed_at: Timestamp,
    accepted: Option<[u8; 32]>,
    accepted_settings: Option<Option<[u8; 32]>>,
    accepted_in_full: bool,
    /// Start of the current Git lock, and whether it was reported as stale.
    git_lock: Option<(Timestamp, bool)>,
    pub(super) next_scan_at: Option<Timestamp>,
    /// True if files changed since the last scan.
    pub(super) has_changes: bool,
}

impl SettleTracker {
    /// Schedules a scan at once.
    pub(super) fn new(quiet_period: SignedDuration, now: Timestamp) -> Self {
        Self {
            quiet_period,
            digest: None,
            changed_at: now,
            accepted: None,
            accepted_settings: None,
            accepted_in_full: false,
            git_lock: None,
            next_scan_at: Some(now),
            has_changes: false,
        }
    }

    /// Returns true if the last scan was accepted in full.
    pub(super) fn is_accepted_in_full(&self) -> bool {
        self.accepted_in_full
    }

    pub(super) fn scan_now(&mut self, now: Timestamp) {
        self.rescan_by(now);
    }

    /// Restarts the quiet time after the clock was set back, as its length is unknown.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.changed_at = self.changed_at.min(now);
        if self.next_scan_at.is_some() || !self.accepted_in_full {
            self.changed_at = now;
            self.next_scan_at = Some(now);
        }
    }

    /// Returns true, once per lock, if Git's lock is stale.
    ///
    /// Its owner must be gone then.
    pub(super) fn take_stale_lock(&mut self, now: Timestamp) -> bool {
        let Some((since, told)) = &mut self.git_lock else { return false };
        now.duration_since(*since) >= STALE_LOCK_TIMEOUT && !std::mem::replace(told, true)
    }

    /// Records that the directory could not be read, from which nothing is concluded.
    pub(super) fn unreadable(&mut self, now: Timestamp) {
        self.digest = None;
        self.accepted_in_full = false;
        self.rescan_by(later(now, BUSY_SCAN_INTERVAL));
    }

    /// Records a full scan and returns the extent to which it is accepted.
    ///
    /// `finished` is true if every file that differs from the last accepted load was finished by its writer.
    pub(super) fn observe_full(
        &mut self,
        digest: [u8; 32],
        settings: Option<[u8; 32]>,
        git_locked: bool,
        finished: bool,
        now: Timestamp,
    ) -> Acceptance {
        self.git_lock = if git_locked { Some(self.git_lock.unwrap_or((now, false))) } else { None };
        if !self.matches_previous(digest, now) {
            if finished && !git_locked && self.accepted_settings == Some(settings) {
                return self.acceptance(digest, settings);
            }
            self.rescan_by(later(now, CONFIRM_INTERVAL.min(self.quiet_period)));
            return Acceptance::Wait;
        }
        if git_locked {
            self.rescan_by(later(now, BUSY_SCAN_INTERVAL));
            return Acceptance::Wait;
        }
        let quiet = now.duration_since(self.changed_at);
        if quiet.is_negative() {
            self.changed_at = now;
            self.rescan_by(later(now, CONFIRM_INTERVAL.min(self.quiet_period)));
            return Acceptance::Wait;
        }
        if quiet >= self.quiet_period {
            let news = !self.accepted_in_full || self.accepted != Some(digest);
            self.accepted_in_full = true;
            self.accepted = Some(digest);
            self.accepted_settings = Some(settings);
            return if news { Acceptance::Full } else { Acceptance::Wait };
        }
        let settings_stand = self.accepted_settings.is_none_or(|accepted| accepted == settings);
        if !settings_stand || self.accepted == Some(digest) {
            self.rescan_by(later(self.changed_at, self.quiet_period));
            return Acceptance::Wait;
        }
        if quiet < CONFIRM_INTERVAL && !finished {
            self.rescan_by(later(self.changed_at, CONFIRM_INTERVAL));
            return Acceptance::Wait;
        }
        self.acceptance(digest, settings)
    }

    /// Records a scan of only the files that changed since the last scan.
    ///
    /// Accepts additions and changes at most, and never replaces a full scan.
    pub(super) fn observe_partial(
        &mut self,
        digest: [u8; 32],
        settings: Option<[u8; 32]>,
        git_locked: bool,
        finished: bool,
        now: Timestamp,
    ) -> Acceptance {
        if git_locked || !finished || self.accepted_settings != Some(settings) {
            self.rescan_by(now);
            return Acceptance::Wait;
        }
        if self.matches_previous(digest, now) && self.accepted == Some(digest) {
            return Acceptance::Wait;
        }
        self.acceptance(digest, settings)
    }

    /// Returns true if the files are unchanged since the last scan; records the digest.
    fn matches_previous(&mut self, digest: [u8; 32], now: Timestamp) -> bool {
        if self.digest == Some(digest) {
            return true;
        }
        self.digest = Some(digest);
        self.changed_at = now;
        self.accepted_in_full = false;
        false
    }

    fn acceptance(&mut self, digest: [u8; 32], settings: Option<[u8; 32]>) -> Acceptance {
        self.rescan_by(later(self.changed_at, self.quiet_period));
        self.accepted = Some(digest);
        self.accepted_settings = Some(settings);
        let why = "no longer declared; waiting until the files are stable".to_owned();
        Acceptance::AdditionsOnly(RemovalBlock { code: WithheldReason::Unsettled, reason: why })
    }

    fn rescan_by(&mut self, at: Timestamp) {
        self.next_scan_at = Some(self.next_scan_at.map_or(at, |planned| planned.min(at)));
    }
}

#[cfg(test)]
mod tests;
