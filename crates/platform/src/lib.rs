//! The local platform: the Data API over real connectors.
//!
//! A complete small platform in one process: the endpoints of two dialects over HTTP, sources and their
//! rows in SQLite, connectors that read real sources.
//!
//! Invariant: uses nothing of the reconciler, which reaches it over HTTP like any other platform.
//!
//! ```text
//! api ──▶ endpoints ──▶ registry    connected sources and configurations
//!     │             └─▶ sync ─────▶ connectors ──▶ rows   stored rows, one file per source
//!     └─▶ account ────▶ registry, connectors              the dialect without workspaces
//! ```

#![warn(missing_docs)]

mod account;
mod api;
mod connectors;
mod definition;
mod endpoints;
mod hosts;
mod memory;
mod openapi;
mod order;
mod platform_core;
mod registry;
mod response;
mod route;
mod rows;
mod storage;
mod sync;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use wellspring_http_serve::{self as http_serve, ServerLimits, wait_for_stop};

use hosts::AllowedHosts;
pub use rows::{stored_rows, stored_table_rows};

/// Maximum wait of [`Running::stop`] for requests in progress.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(10);
/// Limits of the server.
///
/// Clients close idle connections earlier than this, so that no request is lost on a connection
/// that the server closes.
const SERVER_LIMITS: ServerLimits =
    ServerLimits { max_connections: 512, head_timeout: Duration::from_secs(120), max_head_bytes: 64 << 10 };

/// Options of a local platform.
#[derive(Debug, Clone)]
pub struct PlatformConfig {
    /// Location of sources and rows.
    pub storage: Storage,
    /// Directory that file connectors may read; relative paths start here.
    pub data_dir: PathBuf,
    /// Address to listen on; port 0 selects a free one.
    pub listen: SocketAddr,
    /// Bearer token required from every request. Must not be empty.
    pub token: SecretString,
    /// Effect of a connect whose name exists.
    pub on_conflict: NameConflict,
    /// Effect of a connect whose table the account has already.
    pub on_address_conflict: AddressConflict,
    /// Servers used instead of the hosts in configurations.
    pub host_overrides: Vec<HostOverride>,
}

/// Effect of a connect whose name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum NameConflict {
    /// The source gets the new definition and keeps its id.
    #[default]
    Replace,
    /// The request is rejected with 409 and connects nothing.
    Refuse,
}

/// Effect of a connect whose table the account has already.
///
/// Accounts know no names, so type, host, port, database and table identify it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum AddressConflict {
    /// The row gets the new definition and keeps its id.
    Replace,
    /// A further row is added. The default, because clients that bear it bear both.
    #[default]
    Duplicate,
    /// The request is rejected with 409 and connects nothing.
    Reject,
}

/// A replacement for a host.
///
/// Production definitions can thus be tested unchanged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostOverride {
    /// Case-insensitive host name in configurations, required in certificates.
    pub host: String,
    /// Address of the server. URLs of an API keep their port.
    pub connect_to: SocketAddr,
}

/// Location of sources and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// A directory, used by one platform at a time.
    ///
    /// Created with mode 0700 if missing; its files have mode 0600.
    Directory(PathBuf),
    /// In memory, lost when the platform stops.
    Memory,
}

/// Reason why a platform could not start or its storage could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlatformError {
    /// The token is empty, which would admit everyone.
    #[error("the local platform needs a token that is not empty")]
    EmptyToken,
    /// The data directory is missing or not a directory.
    #[error("the data directory {path} cannot be read; make it, or name another")]
    DataDirectory {
        /// Path as given.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The storage directory, or a file in it, could not be created or opened.
    #[error("cannot use the storage at {path}")]
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// Another platform uses this storage directory.
    #[error("another local platform uses {0}; stop it first, or use it")]
    InUse(PathBuf),
    /// The storage was written by a newer version.
    #[error("the storage has version {found}, this program knows up to {supported}; use the newer program")]
    Newer {
        /// Version of the storage.
        found: i64,
        /// Newest version that this program supports.
        supported: i64,
    },
    /// The database failed.
    #[error("the storage of the local platform failed")]
    Database(#[from] rusqlite::Error),
    /// The platform could not listen on the address.
    #[error("cannot listen on {address}; choose another address")]
    Listen {
        /// Requested address.
        address: SocketAddr,
        /// Error of the operating system.
        source: std::io::Error,
    },
    /// The connectors' HTTP client could not be created.
    #[error("the HTTP client of the connectors could not be set up")]
    Client(#[source] reqwest::Error),
    /// There is no source of that name.
    #[error("no source \"{0}\" is stored there")]
    NoSuchSource(String),
    /// A stored row is damaged.
    #[error("a stored row is damaged; sync its source again in full")]
    Damaged(#[source] serde_json::Error),
}

/// A running platform. Dropping it requests a stop without waiting.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    server: JoinHandle<()>,
    _lock: Option<storage::StorageLock>,
}

/// Opens the storage and serves until [`Running::stop`].
///
/// Must be called within a tokio runtime.
pub async fn start(config: PlatformConfig) -> Result<Running, PlatformError> {
    let listen = config.listen;
    let key = api::RequestToken::new(&config.token).ok_or(PlatformError::EmptyToken)?;
    let (stop, stopping) = watch::channel(false);
    let (core, claim) = tokio::task::spawn_blocking(move || set_up(config, stopping))
        .await
        .map_err(|error| PlatformError::Directory { path: PathBuf::new(), source: error.into() })??;

    let refused = |source| PlatformError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let serving =
        tokio::spawn(http_serve::serve(listener, api::router(core, key), SERVER_LIMITS, stop.subscribe()));
    Ok(Running { address, stop, server: serving, _lock: claim })
}

impl Running {
    /// Base URL such as `http://127.0.0.1:4100`; API paths start with `/api/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Stops accepting requests, finishes running ones and releases the storage.
    ///
    /// Waits at most ten seconds. A sync in progress is abandoned: its source keeps its previous
    /// rows.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(SHUTDOWN_TIMEOUT, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }
}

/// Opens the storage and builds the state that all requests share.
fn set_up(
    config: PlatformConfig,
    stopping: watch::Receiver<bool>,
) -> Result<(Arc<platform_core::PlatformCore>, Option<storage::StorageLock>), PlatformError> {
    let PlatformConfig {
        storage,
        data_dir,
        listen,
        on_conflict,
        on_address_conflict,
        host_overrides,
        token: _,
    } = config;
    let hosts = if listen.ip().is_loopback() { AllowedHosts::All } else { AllowedHosts::ExceptLocal };
    let unreadable = |source| PlatformError::DataDirectory { path: data_dir.clone(), source };
    let root = data_dir.canonicalize().map_err(unreadable)?;
    if !root.is_dir() {
        return Err(unreadable(std::io::ErrorKind::NotADirectory.into()));
    }
    let (store, claim) = storage::PlatformStore::open(&storage)?;
    let catalogue = registry::Registry::open(&store)?;
    store.remove_orphans(&catalogue.ids()?)?;
    let reach = connectors::ConnectorContext::new(root, store.directory(), host_overrides, hosts, stopping)
        .map_err(PlatformError::Client)?;
    let core = platform_core::PlatformCore::new(catalogue, store, reach, on_conflict, on_address_conflict);
    Ok((Arc::new(core), claim))
}

/// Locks the mutex, also if a thread panicked while it held the lock.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
