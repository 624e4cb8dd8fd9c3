//! The state store: what is ours, which runs were claimed, what was done and why.
//!
//! One SQLite database in the state directory (`state.db`), beside the fingerprint key and the
//! locks. A write is either wholly there after a crash or not at all. Losing the directory loses
//! no source: what is not in the inventory is never removed. No secret's value is ever stored;
//! definitions keep their references, and values are known by keyed fingerprints only.

mod codec;
mod error;
mod files;
mod health;
mod inventory;
mod journal;
mod key;
mod learned;
mod lock;
mod origins;
mod presence;
mod quarantine;
mod remembered;
mod runs;
mod schema;
mod settled;
mod store;
mod trust;

pub use error::StateError;
pub use health::StoreHealth;
pub use inventory::{Change, NewIntent};
pub use journal::{JournalEntry, JournalFilter, JournalRow};
pub use learned::Halted;
pub use lock::{DaemonLock, LockError, WorkspaceLock};
pub use quarantine::Quarantined;
pub use remembered::Remembered;
pub use runs::{Claim, Finished, HistoryFilter, LastRun, Retention, Run, RunOutcome, Spent, Trigger};
pub use settled::Settled;

use crate::model::FingerprintKey;
use presence::Presence;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use store::Store;

/// The state of one directory, seen from one platform. Clones share one connection, which closes
/// when the last of them is dropped. Its futures run on any executor.
#[derive(Clone)]
pub struct State {
    store: Arc<Store>,
    dir: Arc<Path>,
    platform: Arc<str>,
    key: Arc<FingerprintKey>,
    /// `None` where the state is only read.
    presence: Option<Arc<Presence>>,
}

impl State {
    /// Opens the state in `dir` for writing and makes what is not there yet: the directory (0700),
    /// the database and the fingerprint key (0600). `platform` is the platform's normalised URL;
    /// nothing recorded for another platform is seen. Runs that died with their process are
    /// finished as [`RunOutcome::Unknown`]. Blocks for as long as another process is opening it.
    ///
    /// # Errors
    /// When the directory cannot be made or written, or holds a damaged or a newer database.
    pub fn open(dir: &Path, platform: &str) -> Result<Self, StateError> {
        trust::check(dir)?;
        store::make_dir(dir)?;
        trust::ignore(dir);
        // One process at a time makes files and changes the schema.
        let opening = lock::while_opening(dir)?;
        let key = key::load_or_make(dir)?;
        let presence = Presence::announce(dir)?;
        let store = Store::open(dir, |connection| runs::sweep(connection, dir))?;
        drop(opening);
        Ok(Self {
            store: Arc::new(store),
            dir: dir.into(),
            platform: platform.into(),
            key: Arc::new(key),
            presence: Some(Arc::new(presence)),
        })
    }

    /// Checks that what stands in `dir` is this user's own: no links, nothing but files and directories.
    ///
    /// # Errors
    /// [`StateError::Untrusted`] names what is not.
    pub fn check(dir: &Path) -> Result<(), StateError> {
        trust::check(dir)
    }

    /// Opens the state in `dir` for reading and creates nothing. `None` when no state stands there.
    /// A process that writes it meanwhile does not get in the way.
    ///
    /// # Errors
    /// When it cannot be read, is damaged, or is of another version.
    pub fn open_read_only(dir: &Path, platform: &str) -> Result<Option<Self>, StateError> {
        trust::check(dir)?;
        let Some(store) = Store::open_read_only(dir)? else { return Ok(None) };
        Ok(Some(Self {
            store: Arc::new(store),
            dir: dir.into(),
            platform: platform.into(),
            key: Arc::new(key::load_or_forgo(dir)?),
            presence: None,
        }))
    }

    /// The key of this directory's fingerprints.
    #[must_use]
    pub fn key(&self) -> &Arc<FingerprintKey> {
        &self.key
    }

    /// The state directory.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Where the database stands within the state directory.
fn database(dir: &Path) -> PathBuf {
    dir.join("state.db")
}
