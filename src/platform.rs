//! The local platform: the Data API over real connectors.
//!
//! A whole small platform in one process: six endpoints over HTTP, sources and their rows kept in
//! SQLite, connectors that really read. It knows nothing of the rest of the house and is spoken to
//! over HTTP like any other platform.
//!
//! ```text
//! api ──▶ endpoints ──▶ catalogue   what is connected, and with which configuration
//!                   └─▶ sync ─────▶ connectors ──▶ rows   what was read, one file per source
//! ```

mod api;
mod catalogue;
mod connectors;
mod definition;
mod endpoints;
mod openapi;
mod order;
mod rows;
mod storage;
mod sync;

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::serving::{self, Bounds, stopped};

pub use rows::{stored_rows, stored_table_rows};

/// How long [`Running::stop`] waits for requests under way.
const GRACE: Duration = Duration::from_secs(10);
/// Clients keep an idle connection for less long, so that it is they who close it and no call is lost
/// on the way.
const BOUNDS: Bounds = Bounds { connections: 512, head: Duration::from_secs(120), head_bytes: 64 << 10 };

/// What a local platform is started with.
#[derive(Debug, Clone)]
pub struct Config {
    /// Where sources and rows are kept.
    pub storage: Storage,
    /// The directory below which file connectors may read; relative paths start here.
    pub data_dir: PathBuf,
    /// The address to listen on; port 0 takes a free one.
    pub listen: SocketAddr,
    /// The bearer token every call must carry. Must not be empty.
    pub token: SecretString,
    /// What becomes of a source whose name is taken.
    pub taken: Taken,
    /// Servers that are connected to in place of the hosts that configurations name.
    pub stand_ins: Vec<StandIn>,
}

/// What connecting a taken name does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Taken {
    /// The source gets the new definition and keeps its id.
    #[default]
    Replace,
    /// The call is refused with 409 and nothing of it is connected.
    Refuse,
}

/// A server that stands in for a host: definitions meant for production can be tried as they are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StandIn {
    /// As configurations name it, in any case of its letters. Certificates must bear this name.
    pub host: String,
    /// Where the server is. An address of an API keeps the port it names.
    pub at: SocketAddr,
}

/// Which hosts connectors may reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hosts {
    All,
    /// All but this one: the platform answers others, and what listens on this host only is not for them.
    Others,
}

impl Hosts {
    fn may_reach(self, address: IpAddr) -> bool {
        let own = match address.to_canonical() {
            IpAddr::V4(address) => {
                address.is_loopback() || address.is_link_local() || address.is_unspecified()
            }
            IpAddr::V6(address) => {
                address.is_loopback() || address.is_unicast_link_local() || address.is_unspecified()
            }
        };
        self == Self::All || !own
    }
}

/// Where a local platform keeps its sources and rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Storage {
    /// In this directory, made with mode 0700 when missing; its files have mode 0600. One platform
    /// at a time may use it.
    Directory(PathBuf),
    /// In memory, gone when the platform stops.
    Memory,
}

/// Why a local platform did not start, or its storage could not be read.
#[derive(Debug)]
#[non_exhaustive]
pub enum PlatformError {
    /// The token is empty: everybody could come in.
    EmptyToken,
    /// The data directory is missing or not a directory.
    DataDirectory {
        /// As it was given.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The storage directory, or a file in it, could not be made or opened.
    Directory {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another platform runs on this storage directory.
    InUse(PathBuf),
    /// The storage was written by a newer version.
    Newer {
        /// The version found in the storage.
        found: i64,
        /// The newest version known here.
        known: i64,
    },
    /// The database failed.
    Database(rusqlite::Error),
    /// The address could not be listened on.
    Listen {
        /// The address asked for.
        address: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The HTTP client of the connectors could not be set up.
    Client(reqwest::Error),
    /// No source of that name is stored.
    NoSuchSource(String),
    /// A stored row is not what was written.
    Damaged(serde_json::Error),
}

impl std::fmt::Display for PlatformError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::EmptyToken => f.write_str("the local platform needs a token that is not empty"),
            Self::DataDirectory { path, .. } => {
                write!(f, "the data directory {} cannot be read; make it, or name another", path.display())
            }
            Self::Directory { path, .. } => write!(f, "cannot use the storage at {}", path.display()),
            Self::InUse(path) => {
                write!(f, "another local platform uses {}; stop it first, or use it", path.display())
            }
            Self::Newer { found, known } => write!(
                f,
                "the storage has version {found}, this program knows up to {known}; use the newer program"
            ),
            Self::Database(_) => f.write_str("the storage of the local platform failed"),
            Self::Listen { address, .. } => write!(f, "cannot listen on {address}; choose another address"),
            Self::Client(_) => f.write_str("the HTTP client of the connectors could not be set up"),
            Self::NoSuchSource(name) => write!(f, "no source \"{name}\" is stored there"),
            Self::Damaged(_) => f.write_str("a stored row is damaged; sync its source again in full"),
        }
    }
}

impl std::error::Error for PlatformError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::DataDirectory { source, .. }
            | Self::Directory { source, .. }
            | Self::Listen { source, .. } => Some(source),
            Self::Database(source) => Some(source),
            Self::Client(source) => Some(source),
            Self::Damaged(source) => Some(source),
            Self::EmptyToken | Self::InUse(_) | Self::Newer { .. } | Self::NoSuchSource(_) => None,
        }
    }
}

impl From<rusqlite::Error> for PlatformError {
    fn from(error: rusqlite::Error) -> Self {
        Self::Database(error)
    }
}

/// A platform that is listening. Dropping it asks it to stop without waiting.
#[derive(Debug)]
pub struct Running {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: JoinHandle<()>,
    /// Held for as long as the storage is ours.
    _claim: Option<std::fs::File>,
}

/// Opens the storage, listens, and answers until [`Running::stop`].
///
/// Must be called within a tokio runtime.
pub async fn start(config: Config) -> Result<Running, PlatformError> {
    let Config { storage, data_dir, listen, token, taken, stand_ins } = config;
    let key = api::Key::new(&token).ok_or(PlatformError::EmptyToken)?;
    let (stop, stopping) = watch::channel(false);
    let hosts = if listen.ip().is_loopback() { Hosts::All } else { Hosts::Others };
    let setting_up =
        tokio::task::spawn_blocking(move || set_up(&storage, &data_dir, taken, (stand_ins, hosts), stopping));
    let (core, claim) = setting_up
        .await
        .map_err(|error| PlatformError::Directory { path: PathBuf::new(), source: error.into() })??;

    let refused = |source| PlatformError::Listen { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let address = listener.local_addr().map_err(refused)?;
    let serving = tokio::spawn(serving::serve(listener, api::router(core, key), BOUNDS, stop.subscribe()));
    Ok(Running { address, stop, serving, _claim: claim })
}

impl Running {
    /// Where it listens, such as `http://127.0.0.1:4100`; the paths of the API start with `/api/v1`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Takes no new requests, finishes the running ones within ten seconds, and lets go of the
    /// storage. A sync under way is given up: its source keeps the rows it had.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        if tokio::time::timeout(GRACE, &mut self.serving).await.is_err() {
            self.serving.abort();
        }
    }
}

/// Comes to an end when the platform is to stop.
fn set_up(
    storage: &Storage,
    data_dir: &Path,
    taken: Taken,
    (stand_ins, hosts): (Vec<StandIn>, Hosts),
    stopping: watch::Receiver<bool>,
) -> Result<(Arc<endpoints::Core>, Option<std::fs::File>), PlatformError> {
    let unreadable = |source| PlatformError::DataDirectory { path: data_dir.to_path_buf(), source };
    let root = data_dir.canonicalize().map_err(unreadable)?;
    if !root.is_dir() {
        return Err(unreadable(std::io::ErrorKind::NotADirectory.into()));
    }
    let (store, claim) = storage::Store::open(storage)?;
    let catalogue = catalogue::Catalogue::open(&store)?;
    store.sweep(&catalogue.ids()?)?;
    let reach = connectors::Reach::new(root, store.directory(), (stand_ins, hosts), stopping)
        .map_err(PlatformError::Client)?;
    Ok((Arc::new(endpoints::Core::new(catalogue, store, reach, taken)), claim))
}

#[cfg(test)]
mod tests {
    use super::Hosts;

    #[test]
    fn others_do_not_reach_what_this_host_keeps_to_itself() {
        for (address, own) in [
            ("127.0.0.1", true),
            ("127.8.9.1", true),
            ("169.254.169.254", true),
            ("0.0.0.0", true),
            ("::1", true),
            ("::", true),
            ("fe80::1", true),
            ("::ffff:127.0.0.1", true),
            ("10.0.0.1", false),
            ("192.0.2.1", false),
            ("fd00::1", false),
            ("2001:db8::1", false),
        ] {
            let address = address.parse().expect("an address");
            assert!(Hosts::All.may_reach(address));
            assert_eq!(Hosts::Others.may_reach(address), !own, "{address}");
        }
    }
}
