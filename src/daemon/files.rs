//! When a reading of the files counts.
//!
//! Events only say *look again*. What a file adds or changes counts at once where whoever wrote it has
//! finished (closed it, or renamed it into place); else once two looks a moment apart agree, so that
//! nothing half-written is acted on. A removal, and anything that `wellspring.toml`
//! changes, counts once the tree has been quiet for `settle` and Git is not writing it.

use crate::plan::Barred;
use jiff::{SignedDuration, Timestamp};

/// Between the two looks that must agree before an addition or a change counts.
const MOMENT: SignedDuration = SignedDuration::from_millis(100);

/// A tree that never comes to rest is looked at this often.
const RESTLESS: SignedDuration = SignedDuration::from_secs(1);

/// No checkout writes for this long.
const STALE_LOCK: SignedDuration = SignedDuration::from_mins(10);

/// How far a reading counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Counts {
    /// Not yet: look again.
    NotYet,
    /// For what it adds and changes; removals wait for the reason given.
    Additions(Barred),
    /// In full.
    Wholly,
}

/// What is known of the tree from look to look.
#[derive(Debug)]
pub(super) struct Files {
    settle: SignedDuration,
    digest: Option<[u8; 32]>,
    changed_at: Timestamp,
    accepted: Option<[u8; 32]>,
    accepted_settings: Option<Option<[u8; 32]>>,
    wholly: bool,
    /// Since when Git writes, and whether that was told.
    locked: Option<(Timestamp, bool)>,
    /// When to look again.
    pub(super) look_at: Option<Timestamp>,
    /// Something happened to the files since the last look.
    pub(super) woken: bool,
}

impl Files {
    /// Looks at once.
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

    /// Returns true if the files count in full as they were last looked at.
    pub(super) fn are_settled(&self) -> bool {
        self.wholly
    }

    /// Everything is to be looked at now.
    pub(super) fn look_now(&mut self, now: Timestamp) {
        self.look_no_later_than(now);
    }

    /// The clock went back: how long the tree has been quiet is not known any more.
    pub(super) fn clock_set_back(&mut self, now: Timestamp) {
        self.changed_at = self.changed_at.min(now);
        if self.look_at.is_some() || !self.wholly {
            self.changed_at = now;
            self.look_at = Some(now);
        }
    }

    /// Has Git's lock stood for so long that whoever wrote it must be gone? Said once for each lock.
    pub(super) fn lock_is_stale(&mut self, now: Timestamp) -> bool {
        let Some((since, told)) = &mut self.locked else { return false };
        now.duration_since(*since) >= STALE_LOCK && !std::mem::replace(told, true)
    }

    /// The tree could not be read; nothing is concluded from that.
    pub(super) fn unreadable(&mut self, now: Timestamp) {
        self.digest = None;
        self.wholly = false;
        self.look_no_later_than(after(now, RESTLESS));
    }

    /// Takes note of a look, and says how far it counts. `finished`: every file that is new or another
    /// than in the reading that was accepted last was finished by whoever wrote it.
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

    /// Takes note of a look at only those files that something happened to since the look before. It can say
    /// no more than that what they add or change counts, and never in the place of a look at everything.
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

    /// Are the files what they were at the look before? From now on they are this.
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
        let why = "gone from the files; waiting for them to come to rest".to_owned();
        Counts::Additions(Barred { code: "unsettled", why })
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
