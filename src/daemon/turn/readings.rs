//! Loads the files in the background, and acts on a load as far as it is accepted.

use super::Turn;
use crate::apply::chain;
use crate::daemon::files::Counts;
use crate::daemon::publish::Held;
use crate::daemon::{Event, Look};
use crate::manifest::FILE_NAME;
use crate::model::PlatformUrl;
use crate::reading::Reading;
use crate::state::StateError;
use crate::tree::{Checkout, Digest, TreeError};
use crate::watch::Writers;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Properties of the last accepted load.
pub(super) struct Accepted {
    digest: Digest,
    settings: Option<[u8; 32]>,
    files: HashMap<Arc<str>, [u8; 32]>,
    platform: Option<PlatformUrl>,
    checkout: Option<Arc<Checkout>>,
    pub(super) errors: usize,
}

impl Accepted {
    /// For a file that is being written, its previous contents stay in force.
    fn of(reading: &Reading, before: Option<&Self>) -> Self {
        let counts = |path: &Arc<str>, digest: &[u8; 32]| match reading.open.contains(&**path) {
            true => before.and_then(|before| before.files.get(path).copied()),
            false => Some(*digest),
        };
        let files = reading.files();
        Self {
            digest: reading.digest,
            settings: reading.settings_digest,
            files: files
                .filter_map(|(path, digest)| Some((Arc::clone(path), counts(path, digest)?)))
                .collect(),
            platform: reading.desired.platform.clone(),
            checkout: reading.checkout.clone(),
            errors: reading.error_count(),
        }
    }

    /// Returns true if all new and changed files are among these.
    fn differs_only_in(&self, is_among: impl Fn(&str) -> bool, reading: &Reading) -> bool {
        let same = |path: &Arc<str>, digest: &[u8; 32]| self.files.get(path) == Some(digest);
        reading.files().all(|(path, digest)| same(path, digest) || is_among(path))
    }

    /// Returns true if a file of the accepted load is missing.
    fn lacks_one_in(&self, reading: &Reading) -> bool {
        let known = reading.files().filter(|(path, _)| self.files.contains_key(*path)).count();
        known < self.files.len()
    }
}

impl Turn {
    /// Scans the files if due.
    ///
    /// A scheduled or requested scan covers all files, another one the changed files only.
    pub(super) fn look_where_it_is_due(&mut self, now: Timestamp) {
        if self.reading_under_way {
            return;
        }
        if self.files.look_at.is_some_and(|at| at <= now) {
            self.files.look_at = None;
            self.files.woken = false;
            let look = if std::mem::take(&mut self.look_whole) { Look::Whole } else { Look::Stamps };
            self.look(look);
        } else if std::mem::take(&mut self.files.woken) {
            self.look(Look::Touched);
        }
    }

    /// Loads the files; the result arrives as an event.
    fn look(&mut self, look: Look) {
        let moment = self.ends.moment();
        let before = self.known_at.filter(|_| look == Look::Touched);
        let touched = before.and_then(|before| self.ends.touched(before, &self.daemon.root));
        if touched.as_ref().is_some_and(BTreeMap::is_empty) {
            // The change that woke the loop was included in the last scan.
            return;
        }
        self.reading_under_way = true;
        self.systemd.reading();
        let (root, variables) = (self.daemon.root.clone(), Arc::clone(&self.daemon.variables));
        let (known, ends) = (Arc::clone(&self.known), self.ends.clone());
        let read = move |reading, look, writers| {
            let reading = Box::new(reading);
            Event::Read { reading, look, moment, writers }
        };
        let broke_off = TreeError::BrokeOff(root.clone());
        let work = tokio::task::spawn_blocking(move || {
            let variable = |name: &str| variables(name);
            let of_touched = touched.and_then(|touched| Reading::take_touched(&variable, &known, &touched));
            let (look, reading) = match of_touched {
                Some(reading) => (look, Ok(reading)),
                None if look == Look::Whole => (look, Reading::take_again(&root, &variable, &known, true)),
                None => (Look::Stamps, Reading::take_again(&root, &variable, &known, false)),
            };
            let writers = ends.since(moment, &root);
            read(reading, look, writers)
        });
        self.beside(work, move || read(Err(broke_off), look, Writers::default()));
    }

    /// Updates the commit; the same files may belong to another commit now.
    fn checked_out(&mut self, reading: &Reading) {
        let same = |accepted: &&mut Accepted| accepted.digest == reading.digest;
        if let Some(accepted) = self.accepted.as_mut().filter(same)
            && accepted.checkout != reading.checkout
        {
            accepted.checkout.clone_from(&reading.checkout);
            self.board.checked_out(reading.checkout.as_ref());
            self.daemon.publisher.checked_out(reading.commit());
        }
    }

    /// Acts on a load as far as it is accepted.
    pub(super) async fn looked(
        &mut self,
        mut reading: Reading,
        look: Look,
        writers: Writers,
        now: Timestamp,
    ) -> Result<(), StateError> {
        self.known = Arc::clone(&reading.known);
        let Writers { finished, open } = writers;
        reading.being_written(open);
        for file in self.writers.seen(&reading.open, now) {
            self.daemon.voice.note(&format!("{file} is closed, and counts again"));
        }
        let before = self.accepted.as_ref();
        let is_open = |path: &str| reading.open.contains(path);
        let is_settled = self.files.are_settled();
        if before.is_some_and(|before| {
            !reading.open.is_empty()
                && is_settled
                && before.differs_only_in(is_open, &reading)
                && !before.lacks_one_in(&reading)
        }) {
            // Closing the file wakes the loop.
            return Ok(());
        }
        let finished =
            before.is_some_and(|before| before.differs_only_in(|path| finished.contains(path), &reading));
        let (digest, settings) = (reading.mark(), reading.settings_digest);
        let busy = reading.git_locked || is_open(FILE_NAME);
        let counts = match look {
            Look::Touched => self.files.glanced(digest, settings, busy, finished, now),
            Look::Stamps | Look::Whole => self.files.looked(digest, settings, busy, finished, now),
        };
        if self.files.lock_is_stale(now) && reading.git_locked {
            self.daemon.voice.warn(
                "Git has been writing the files for ten minutes (.git/index.lock), and nothing counts \
                 meanwhile; if no Git is at work there, delete the lock",
            );
        }
        let barred = match counts {
            Counts::NotYet => {
                self.checked_out(&reading);
                return Ok(());
            }
            Counts::Additions(barred) => Some(barred),
            Counts::Wholly => None,
        };
        let before = self.accepted.as_ref();
        if before.is_none_or(|before| before.digest != reading.digest) {
            self.daemon.voice.files(&reading);
            self.foretell = true;
        }
        let had_settings = before.is_some_and(|before| before.settings.is_some());
        if had_settings && reading.settings_digest.is_none() {
            let text = "wellspring.toml is gone, and with it its aliases, defaults and policy; nothing that \
                        needs them is done until it is back";
            self.daemon.voice.warn(text);
        }
        if before.is_some_and(|before| before.settings.is_none()) && reading.settings_digest.is_some() {
            self.daemon.voice.note("wellspring.toml is there now, and counts");
        }
        let moved = |before: &Accepted| {
            let (was, now) = (&before.platform, &reading.desired.platform);
            now.is_some() && was.is_some() && now != was
        };
        if before.is_some_and(moved) {
            if !self.elsewhere {
                let text = "wellspring.toml names another platform now; restart to go there. Until then nothing is done";
                self.daemon.voice.warn(text);
            }
            self.elsewhere = true;
            self.daemon.publisher.read(&reading, true, now);
            return Ok(());
        }
        if std::mem::take(&mut self.elsewhere) {
            self.board.want_all(now);
        }
        self.daemon.publisher.read(&reading, false, now);
        let asked = reading.asked(&self.memory);
        // While the files are changing, keep old knowledge about a file in addition to new: the next save may
        // break it.
        let memory = barred.is_none().then(|| reading.memory(&self.memory));
        reading.remember(&mut self.memory);
        // With unreadable settings no file can be interpreted, so the accepted state remains.
        let held = Held::by(&asked);
        if !reading.desired.units.is_empty() || !reading.has_errors() {
            for unit in self.board.accept(asked, barred.as_ref(), now) {
                self.daemon.voice.warn(&format!(
                    "{unit}: no file declares this workspace any more; its sources are left alone \
                     (declare it with `sources = {{}}` to mean none)"
                ));
            }
        }
        self.probes.outdated();
        self.daemon.publisher.accepted(&held, &self.board);
        if let Some(memory) = memory {
            if memory != self.remembered {
                if let Some(hands) = &self.daemon.hands {
                    let root = self.daemon.root.to_string_lossy();
                    hands
                        .reconciler
                        .state
                        .remember_files(&root, memory.clone().into_iter().collect())
                        .await?;
                }
                self.remembered = memory.clone();
            }
            self.memory = memory;
        }
        self.accepted = Some(Accepted::of(&reading, self.accepted.as_ref()));
        Ok(())
    }

    /// Returns true if the directory had files at the last accepted load.
    ///
    /// Before the first one, true if it had files before the start.
    pub(super) fn held_files(&self) -> bool {
        self.accepted.as_ref().map_or(self.daemon.emptied, |accepted| !accepted.files.is_empty())
    }

    /// Reports that the directory cannot be read, from which nothing is concluded.
    pub(super) fn unreadable(&mut self, error: &TreeError, now: Timestamp) {
        self.files.unreadable(now);
        self.daemon.voice.unreadable(&chain(error));
        self.daemon.publisher.unreadable(&chain(error));
    }

    /// Reports each file once whose writer keeps it open.
    pub(super) fn report_writers(&mut self, now: Timestamp) {
        for file in self.writers.overdue(now) {
            self.daemon.voice.warn(&format!(
                "{file} was changed, and its writer keeps it open; what it declares stays as it was until the \
                 writer closes it (`fuser {file}` shows the process)"
            ));
        }
    }
}
