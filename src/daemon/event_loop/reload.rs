//! Loads the files in the background, and acts on a load as far as it is accepted.

use super::EventLoop;
use crate::config::FILE_NAME;
use crate::daemon::publish::BlockedWorkspaces;
use crate::daemon::settle::Acceptance;
use crate::daemon::{Event, ScanScope};
use crate::error::error_chain;
use crate::load::LoadedConfig;
use crate::model::PlatformUrl;
use crate::store::StoreError;
use crate::tree::{Checkout, Digest, TreeError};
use crate::watch::OpenWriters;
use jiff::Timestamp;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Properties of the last accepted load.
pub(super) struct LoadKind {
    digest: Digest,
    settings: Option<[u8; 32]>,
    files: HashMap<Arc<str>, [u8; 32]>,
    platform: Option<PlatformUrl>,
    checkout: Option<Arc<Checkout>>,
    pub(super) errors: usize,
}

impl LoadKind {
    /// For a file that is being written, its previous contents stay in force.
    fn of(reading: &LoadedConfig, before: Option<&Self>) -> Self {
        let counts = |path: &Arc<str>, digest: &[u8; 32]| {
            if reading.open_files.contains(&**path) {
                before.and_then(|before| before.files.get(path).copied())
            } else {
                Some(*digest)
            }
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
    fn differs_only_in(&self, is_among: impl Fn(&str) -> bool, reading: &LoadedConfig) -> bool {
        let same = |path: &Arc<str>, digest: &[u8; 32]| self.files.get(path) == Some(digest);
        reading.files().all(|(path, digest)| same(path, digest) || is_among(path))
    }

    /// Returns true if a file of the accepted load is missing.
    fn has_missing_file_in(&self, reading: &LoadedConfig) -> bool {
        let known = reading.files().filter(|(path, _)| self.files.contains_key(*path)).count();
        known < self.files.len()
    }
}

impl EventLoop {
    /// Scans the files if due.
    ///
    /// A scheduled or requested scan covers all files, another one the changed files only.
    pub(super) fn start_due_scan(&mut self, now: Timestamp) {
        if self.is_loading {
            return;
        }
        if self.files.next_scan_at.is_some_and(|at| at <= now) {
            self.files.next_scan_at = None;
            self.files.has_changes = false;
            let look = if std::mem::take(&mut self.full_scan_requested) {
                ScanScope::Full
            } else {
                ScanScope::ByStat
            };
            self.start_scan(look);
        } else if std::mem::take(&mut self.files.has_changes) {
            self.start_scan(ScanScope::ChangedPaths);
        }
    }

    /// Loads the files; the result arrives as an event.
    fn start_scan(&mut self, look: ScanScope) {
        let moment = self.change_tracker.current_seq();
        let before = if look == ScanScope::ChangedPaths { self.cached_at } else { None };
        let touched = before.and_then(|before| self.change_tracker.touched(before, &self.daemon.root));
        if touched.as_ref().is_some_and(BTreeMap::is_empty) {
            // The change that woke the loop was included in the last scan.
            return;
        }
        self.is_loading = true;
        self.service_manager.load_started();
        let (root, variables) = (self.daemon.root.clone(), Arc::clone(&self.daemon.variables));
        let (known, ends) = (Arc::clone(&self.cache), self.change_tracker.clone());
        let read = move |reading, look, writers| {
            let reading = Box::new(reading);
            Event::FilesLoaded { reading, scope: look, as_of: moment, writers }
        };
        let broke_off = TreeError::Panicked(root.clone());
        let work = tokio::task::spawn_blocking(move || {
            let variable = |name: &str| variables(name);
            let of_touched =
                touched.and_then(|touched| LoadedConfig::reload_paths(&variable, &known, &touched));
            let (look, reading) = match of_touched {
                Some(reading) => (look, Ok(reading)),
                None if look == ScanScope::Full => {
                    (look, LoadedConfig::reload(&root, &variable, &known, true))
                }
                None => (ScanScope::ByStat, LoadedConfig::reload(&root, &variable, &known, false)),
            };
            let writers = ends.since(moment, &root);
            read(reading, look, writers)
        });
        self.spawn(work, move || read(Err(broke_off), look, OpenWriters::default()));
    }

    /// Updates the commit; the same files may belong to another commit now.
    fn checked_out(&mut self, reading: &LoadedConfig) {
        let same = |accepted: &&mut LoadKind| accepted.digest == reading.digest;
        if let Some(accepted) = self.accepted_load.as_mut().filter(same)
            && accepted.checkout != reading.checkout
        {
            accepted.checkout.clone_from(&reading.checkout);
            self.scheduler.checked_out(reading.checkout.as_ref());
            self.describe_commit(reading.checkout.as_ref());
        }
    }

    fn publish_load(&mut self, reading: &LoadedConfig, elsewhere: bool, now: Timestamp) {
        self.daemon.publisher.config_loaded(reading, elsewhere, now);
        self.describe_commit(reading.checkout.as_ref());
    }

    /// Publishes the commit of the files once Git has compared them with it.
    fn describe_commit(&mut self, checkout: Option<&Arc<Checkout>>) {
        if self.described_checkout.as_ref() == checkout || !self.daemon.publisher.is_active() {
            return;
        }
        self.described_checkout = checkout.cloned();
        self.daemon.publisher.set_commit(None);
        let Some(checkout) = checkout.cloned() else { return };
        let asked = Arc::clone(&checkout);
        let work = tokio::task::spawn_blocking(move || {
            let commit = asked.describe_directory();
            Event::CommitDescribed(asked, commit)
        });
        self.spawn(work, move || Event::CommitDescribed(checkout, None));
    }

    /// Publishes the commit unless other files were loaded since.
    pub(super) fn on_commit_described(&mut self, checkout: &Arc<Checkout>, commit: Option<Arc<str>>) {
        if self.described_checkout.as_ref().is_some_and(|latest| Arc::ptr_eq(latest, checkout)) {
            self.daemon.publisher.set_commit(commit);
        }
    }

    /// Acts on a load as far as it is accepted.
    pub(super) async fn on_loaded(
        &mut self,
        mut reading: LoadedConfig,
        look: ScanScope,
        writers: OpenWriters,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        self.cache = Arc::clone(&reading.cache);
        let OpenWriters { finished, open } = writers;
        reading.set_open_files(open);
        for file in self.writers.update(&reading.open_files, now) {
            self.daemon.reporter.info(&format!("{file} was closed, and is in force again"));
        }
        let before = self.accepted_load.as_ref();
        let is_open = |path: &str| reading.open_files.contains(path);
        let is_settled = self.files.is_accepted_in_full();
        if before.is_some_and(|before| {
            !reading.open_files.is_empty()
                && is_settled
                && before.differs_only_in(is_open, &reading)
                && !before.has_missing_file_in(&reading)
        }) {
            // Closing the file wakes the loop.
            return Ok(());
        }
        let finished =
            before.is_some_and(|before| before.differs_only_in(|path| finished.contains(path), &reading));
        let (digest, settings) = (reading.input_digest(), reading.settings_digest);
        let busy = reading.git_locked || is_open(FILE_NAME);
        let counts = match look {
            ScanScope::ChangedPaths => self.files.observe_partial(digest, settings, busy, finished, now),
            ScanScope::ByStat | ScanScope::Full => {
                self.files.observe_full(digest, settings, busy, finished, now)
            }
        };
        if self.files.take_stale_lock(now) && reading.git_locked {
            self.daemon.reporter.warning(
                "Git has been writing the files for ten minutes (.git/index.lock), and no change \
                 takes effect until it ends; if no Git process is running, delete the lock",
            );
        }
        let barred = match counts {
            Acceptance::Wait => {
                self.checked_out(&reading);
                return Ok(());
            }
            Acceptance::AdditionsOnly(barred) => Some(barred),
            Acceptance::Full => None,
        };
        let before = self.accepted_load.as_ref();
        if before.is_none_or(|before| before.digest != reading.digest) {
            self.daemon.reporter.config_loaded(&reading);
            self.announce_next = true;
        }
        let had_settings = before.is_some_and(|before| before.settings.is_some());
        if had_settings && reading.settings_digest.is_none() {
            let text = "wellspring.toml is missing, and with it aliases, defaults and policy; the sources that \
                        need them stay unchanged until it is restored";
            self.daemon.reporter.warning(text);
        }
        if before.is_some_and(|before| before.settings.is_none()) && reading.settings_digest.is_some() {
            self.daemon.reporter.info("wellspring.toml was found, and is in force");
        }
        let moved = |before: &LoadKind| {
            let (was, now) = (&before.platform, &reading.desired.platform);
            now.is_some() && was.is_some() && now != was
        };
        if before.is_some_and(moved) {
            if !self.platform_changed {
                let text = "wellspring.toml names another platform now; nothing is changed until the daemon is restarted";
                self.daemon.reporter.warning(text);
            }
            self.platform_changed = true;
            self.publish_load(&reading, true, now);
            return Ok(());
        }
        if std::mem::take(&mut self.platform_changed) {
            self.scheduler.request_all(now);
        }
        self.publish_load(&reading, false, now);
        let asked = reading.work_set(&self.file_index);
        // While the files are changing, keep old knowledge about a file in addition to new: the next save may
        // break it.
        let memory = if barred.is_none() { Some(reading.updated_index(&self.file_index)) } else { None };
        reading.extend_index(&mut self.file_index);
        // With unreadable settings no file can be interpreted, so the accepted state remains.
        let held = BlockedWorkspaces::by(&asked);
        if !reading.desired.workspaces.is_empty() || !reading.has_errors() {
            for workspace in self.scheduler.set_workspaces(asked, barred.as_ref(), now) {
                self.daemon.reporter.warning(&format!(
                    "{workspace}: no file declares this workspace any more; its sources stay unchanged \
                     (to remove them, declare it with `sources = {{}}`)"
                ));
            }
        }
        self.connection_tests.mark_outdated();
        self.daemon.publisher.config_accepted(&held, &self.scheduler);
        if let Some(memory) = memory {
            if memory != self.stored_file_index {
                if let Some(hands) = &self.daemon.write_access {
                    let root = self.daemon.root.to_string_lossy();
                    hands.reconciler.state.record_files(&root, memory.clone().into_iter().collect()).await?;
                }
                self.stored_file_index = memory.clone();
            }
            self.file_index = memory;
        }
        self.accepted_load = Some(LoadKind::of(&reading, self.accepted_load.as_ref()));
        Ok(())
    }

    /// Returns true if the directory had files at the last accepted load.
    ///
    /// Before the first one, true if it had files before the start.
    pub(super) fn had_files(&self) -> bool {
        self.accepted_load.as_ref().map_or(self.daemon.is_emptied, |accepted| !accepted.files.is_empty())
    }

    /// Reports that the directory cannot be read, from which nothing is concluded.
    pub(super) fn unreadable(&mut self, error: &TreeError, now: Timestamp) {
        self.files.unreadable(now);
        self.daemon.reporter.config_unreadable(&error_chain(error));
        self.daemon.publisher.config_unreadable(&error_chain(error));
    }

    /// Reports each file once whose writer keeps it open.
    pub(super) fn report_writers(&mut self, now: Timestamp) {
        for file in self.writers.overdue(now) {
            self.daemon.reporter.warning(&format!(
                "{file} was changed, and its writer keeps it open; its sources stay unchanged until the \
                 writer closes it (`fuser {file}` shows the process)"
            ));
        }
    }
}
