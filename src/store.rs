//! State store: managed sources, intents, claimed runs and the journal.
//!
//! One SQLite database in the state directory (`state.db`), next to the fingerprint key and the
//! locks. A write is atomic and survives a crash. Losing the directory deletes no source, because
//! only sources in the inventory are ever removed. Definitions keep their secret references; secret
//! values are stored only as keyed fingerprints.
//!
//! Invariant: no secret value is stored, and the state never calls the platform.

mod capabilities;
mod codec;
mod create;
mod db;
mod error;
mod file_index;
mod health;
mod inventory;
mod journal;
mod key;
mod liveness;
mod lock;
mod origins;
mod plan_cache;
mod plan_context;
mod quarantine;
mod read_immutable;
mod runs;
mod schema;
mod trust;
mod workspace_number;

pub use capabilities::Halted;
pub use error::StoreError;
pub use health::StoreHealth;
pub use inventory::{NewIntent, StoreChange};
pub use journal::{JournalEntry, JournalFilter, JournalRow};
pub use lock::{DaemonLock, LockError, WorkspaceLock};
pub use plan_cache::PlanCacheRows;
pub use plan_context::PlanContext;
pub use quarantine::QuarantineEntry;
pub use runs::{Claim, HistoryFilter, LastRun, Retention, RunEnd, RunRecord, SkippedRun, Trigger};

pub use crate::model::RunOutcome;

use crate::model::FingerprintKey;
use db::DbThread;
use liveness::ProcessLock;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// State of one directory, limited to the rows of one platform.
///
/// Clones share one connection, which closes when the last clone is dropped. The futures run on any
/// executor.
#[derive(Clone)]
pub struct Store {
    store: Arc<DbThread>,
    dir: Arc<Path>,
    platform: Arc<str>,
    key: Arc<FingerprintKey>,
    /// `None` if the state was opened read-only.
    process_lock: Option<Arc<ProcessLock>>,
}

impl Store {
    /// Opens the state in `dir` for writing and creates missing files.
    ///
    /// Creates the directory (0700), the database and the fingerprint key (0600). `platform` is the
    /// platform's normalised URL; rows of other platforms are invisible. Runs whose process died
    /// are finished as [`RunOutcome::Unknown`]. Blocks while another process is opening the same
    /// state.
    pub fn open(dir: &Path, platform: &str) -> Result<Self, StoreError> {
        trust::check(dir)?;
        db::make_dir(dir)?;
        trust::write_gitignore(dir);
        // Only one process at a time creates files and migrates the schema.
        let opening = lock::lock_for_open(dir)?;
        let (key, is_new_key) = key::load_or_create(dir)?;
        if create::create_if_missing(dir)? || is_new_key {
            create::sync_dir(dir)?;
        }
        let presence = ProcessLock::register(dir)?;
        let store = DbThread::open(dir, |connection| runs::close_orphaned(connection, dir))?;
        drop(opening);
        Ok(Self {
            store: Arc::new(store),
            dir: dir.into(),
            platform: platform.into(),
            key: Arc::new(key),
            process_lock: Some(Arc::new(presence)),
        })
    }

    /// Checks that `dir` contains only this user's own regular files and directories.
    ///
    /// # Errors
    /// [`StoreError::Untrusted`] names the offending path; links count as untrusted.
    pub fn check(dir: &Path) -> Result<(), StoreError> {
        trust::check(dir)
    }

    /// Opens the state in `dir` read-only; returns `None` if there is no state.
    ///
    /// Creates nothing, and works while another process writes the state.
    pub fn open_read_only(dir: &Path, platform: &str) -> Result<Option<Self>, StoreError> {
        trust::check(dir)?;
        let Some(store) = DbThread::open_read_only(dir)? else { return Ok(None) };
        Ok(Some(Self {
            store: Arc::new(store),
            dir: dir.into(),
            platform: platform.into(),
            key: Arc::new(key::load_or_ephemeral(dir)?),
            process_lock: None,
        }))
    }

    /// Returns the same state, limited to the rows of another platform.
    #[must_use]
    pub fn for_platform(&self, platform: &str) -> Self {
        Self { platform: platform.into(), ..self.clone() }
    }

    /// Key used for the fingerprints in this state.
    pub fn key(&self) -> &Arc<FingerprintKey> {
        &self.key
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

fn database(dir: &Path) -> PathBuf {
    dir.join("state.db")
}
