//! Decides when a load of the files is accepted.
//!
//! Watcher events only trigger a new scan. Additions and changes in a file are accepted at once if its writer
//! has finished (closed the file, or renamed it into place); otherwise after two equal scans a moment apart,
//! so that no half-written file is used. Removals, and all changes in `wellspring.toml`, are accepted once
//! the directory has been quiet for `settle` and Git is not writing it.

use crate::plan::{Barred, WithheldReason};
use jiff::{SignedDuration, Timestamp};

/// Time between the two equal scans that accept additions and changes.
const MOMENT: SignedDuration = SignedDuration::from_millis(100);

/// Scan interval of a directory that keeps changing.
const RESTLESS: SignedDuration = SignedDuration::from_secs(1);

/// Age after which a Git lock counts as stale, because no checkout takes this long.
const STALE_LOCK: SignedDuration = SignedDuration::from_mins(10);

/// The extent to which a load is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Counts {
    /// Not accepted; scan again.
    NotYet,
    /// Additions and changes are accepted; removals wait for the given reason.
    Additions(Barred),
    /// Accepted in full.
    Wholly,
}

/// State of the directory between scans.
#[derive(Debug)]
pub(super) struct Files {
    settle: SignedDuration,
    digest: Option<[u8; 32]>,
    changed_at: Timestamp,
    accepted: Option<[u8; 32]>,
    accepted_settings: Option<Option<[u8; 32]>>,
    wholly: bool,
    /// Start of the current Git lock, and whether it was reported as stale.
    locked: Option<(Timestamp, bool)>,
    /// Time of the next scan.
    pub(super) look_at: Option<Timestamp>,
    /// True if files changed since the last scan.
    pub(super) woken: bool,
}

impl Files {
    /// Schedules a scan at once.
    pub(super) fn new(settle: SignedDuration, now: Timestamp) -> Self {
        Self {
            settle,
            digest: None,
            changed_at: now,
            accepted: None,
            accepted_settings: None,
            wholly: false,
            locked: None,
            look_at: Some(now),
            woken: false,
        }
    }

    /// Returns true if the last scan was accepted in full.
    pub(super) fn are_settled(&self) -> bool {
        self.wholly
    }

    /// Schedules a scan now.
    pub(super) fn look_now(&mut self, now: Timestamp) {
        self.look_no_later_than(now);
    }

    /// Restarts the quiet time after the clock was set back, as its length is unknown.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.changed_at = self.changed_at.min(now);
        if self.look_at.is_some() || !self.wholly {
            self.changed_at = now;
            self.look_at = Some(now);
        }
    }

    /// Returns true, once per lock, if Git's lock is stale.
    ///
    /// Its owner must be gone then.
    pub(super) fn lock_is_stale(&mut self, now: Timestamp) -> bool {
        let Some((since, told)) = &mut self.locked else { return false };
        now.duration_since(*since) >= STALE_LOCK && !std::mem::replace(told, true)
    }

    /// Records that the directory could not be read, from which nothing is concluded.
    pub(super) fn unreadable(&mut self, now: Timestamp) {
        self.digest = None;
        self.wholly = false;
        self.look_no_later_than(after(now, RESTLESS));
    }

    /// Records a full scan and returns the extent to which it is accepted.
    ///
    /// `finished` is true if every file that differs from the last accepted load was finished by its writer.
    pub(super) fn looked(
        &mut self,
        digest: [u8; 32],
        settings: Option<[u8; 32]>,
        git_locked: bool,
        finished: bool,
        now: Timestamp,
    ) -> Counts {
        self.locked = git_locked.then(|| self.locked.unwrap_or((now, false)));
        if !self.agrees(digest, now) {
            if finished && !git_locked && self.accepted_settings == Some(settings) {
                return self.additions(digest, settings);
            }
            self.look_no_later_than(after(now, MOMENT.min(self.settle)));
            return Counts::NotYet;
        }
        if git_locked {
            self.look_no_later_than(after(now, RESTLESS));
            return Counts::NotYet;
        }
        let quiet = now.duration_since(self.changed_at);
        if quiet.is_negative() {
            self.changed_at = now;
            self.look_no_later_than(after(now, MOMENT.min(self.settle)));
            return Counts::NotYet;
        }
        if quiet >= self.settle {
            let news = !self.wholly || self.accepted != Some(digest);
            self.wholly = true;
            self.accepted = Some(digest);
            self.accepted_settings = Some(settings);
            return if news { Counts::Wholly } else { Counts::NotYet };
        }
        let settings_stand = self.accepted_settings.is_none_or(|accepted| accepted == settings);
        if !settings_stand || self.accepted == Some(digest) {
            self.look_no_later_than(after(self.changed_at, self.settle));
            return Counts::NotYet;
        }
        if quiet < MOMENT && !finished {
            self.look_no_later_than(after(self.changed_at, MOMENT));
            return Counts::NotYet;
        }
        self.additions(digest, settings)
    }

    /// Records a scan of only the files that changed since the last scan.
    ///
    /// Accepts additions and changes at most, and never replaces a full scan.
    pub(super) fn glanced(
        &mut self,
        digest: [u8; 32],
        settings: Option<[u8; 32]>,
        git_locked: bool,
        finished: bool,
        now: Timestamp,
    ) -> Counts {
        if git_locked || !finished || self.accepted_settings != Some(settings) {
            self.look_no_later_than(now);
            return Counts::NotYet;
        }
        if self.agrees(digest, now) && self.accepted == Some(digest) {
            return Counts::NotYet;
        }
        self.additions(digest, settings)
    }

    /// Returns true if the files are unchanged since the last scan; records the digest.
    fn agrees(&mut self, digest: [u8; 32], now: Timestamp) -> bool {
        if self.digest == Some(digest) {
            return true;
        }
        self.digest = Some(digest);
        self.changed_at = now;
        self.wholly = false;
        false
    }

    fn additions(&mut self, digest: [u8; 32], settings: Option<[u8; 32]>) -> Counts {
        self.look_no_later_than(after(self.changed_at, self.settle));
        self.accepted = Some(digest);
        self.accepted_settings = Some(settings);
        let why = "no longer declared; waiting until the files are stable".to_owned();
        Counts::Additions(Barred { code: WithheldReason::Unsettled, why })
    }

    fn look_no_later_than(&mut self, at: Timestamp) {
        self.look_at = Some(self.look_at.map_or(at, |planned| planned.min(at)));
    }
}

fn after(at: Timestamp, by: SignedDuration) -> Timestamp {
    at.checked_add(by).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests;
