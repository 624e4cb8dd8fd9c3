//! Connection to a database server, placed between the server and its driver.
//!
//! A driver on its own connects directly, reads messages of any length, and takes settings from
//! this process's environment. Here, the connection is opened by the platform and the driver talks
//! to a local socket: traffic is bounded, and the driver's first messages are filtered.

mod login;
mod tls;

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixListener, UnixStream};
use tokio::task::AbortHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;

use super::server::{Safety, Server, connect_error};
use super::{MAX_RECORD_BYTES, MEMORY_IN_USE, ReadError};
use crate::memory::{LARGE_BYTES, MemoryBudget, MemoryUse, SYNC_WAIT};
use crate::storage::random_hex;

/// Maximum bytes between two rows: one row, and the data read ahead.
const MAX_BYTES_PER_ROW: usize = MAX_RECORD_BYTES + (1 << 20);
/// Buffer size in bytes.
const CHUNK_BYTES: usize = 64 << 10;

/// Handshake between a server and its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    /// The driver speaks first; TLS is negotiated before that.
    Postgres,
    /// The server speaks first, and the driver negotiates TLS.
    MySql,
    /// Like `MySql`, but the link negotiates TLS.
    ///
    /// The driver rejects certificates that the user did not want checked.
    SecureMySql,
}

/// An open connection that waits for its driver; closed on drop.
pub(super) struct Link {
    path: PathBuf,
    state: Arc<LinkState>,
    relay_task: AbortHandle,
    secure: bool,
}

/// A connection, with the steps before bytes are forwarded.
enum LinkPath {
    Plain(Box<dyn Stream>),
    Postgres(Box<dyn Stream>),
    SecureMySql(TcpStream, Box<(TlsConnector, ServerName<'static>)>),
}

#[derive(Default)]
struct LinkState {
    bytes_since_row: AtomicUsize,
    failure: OnceLock<String>,
}

/// Both directions of a connection, with or without TLS.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

impl Link {
    pub(super) async fn open(server: &Server, protocol: Protocol) -> Result<Self, ReadError> {
        let stream = connect(server).await?;
        // A driver sends complete messages.
        let _ = stream.set_nodelay(true);
        let way = match protocol {
            Protocol::Postgres if server.safety == Safety::Disable => LinkPath::Postgres(Box::new(stream)),
            Protocol::Postgres => LinkPath::Postgres(tls::negotiate(stream, server).await?),
            Protocol::MySql => LinkPath::Plain(Box::new(stream)),
            Protocol::SecureMySql => LinkPath::SecureMySql(stream, Box::new(tls::connector(server)?)),
        };
        // An abstract socket name needs no file.
        let path = PathBuf::from(format!("\0wellspring-{}", random_hex()));
        let listener = UnixListener::bind(protocol.socket(&path, server.target.1));
        let listener = listener
            .map_err(|error| server.server_error(&format!("no connection to its driver: {error}")))?;
        let state = Arc::new(LinkState::default());
        let passing =
            tokio::spawn(relay(listener, way, Arc::clone(&state), server.memory.clone())).abort_handle();
        Ok(Self { path, state, relay_task: passing, secure: protocol == Protocol::SecureMySql })
    }

    /// Returns the path that the driver connects to.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns true if the link itself negotiated TLS.
    pub(super) fn is_secure(&self) -> bool {
        self.secure
    }

    /// Resets the byte count; call after every row.
    pub(super) fn reset_row_bytes(&self) {
        self.state.bytes_since_row.store(0, Ordering::Relaxed);
    }

    /// Returns the reason why the link closed the connection, if it did.
    pub(super) fn failure(&self) -> Option<&str> {
        self.state.failure.get().map(String::as_str)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.relay_task.abort();
    }
}

impl Protocol {
    /// Returns the socket that a driver uses when given this path.
    fn socket(self, path: &Path, port: u16) -> PathBuf {
        match self {
            Self::Postgres => path.join(format!(".s.PGSQL.{port}")),
            Self::MySql | Self::SecureMySql => path.to_path_buf(),
        }
    }
}

/// Connects to the first address of the host that responds.
async fn connect(server: &Server) -> Result<TcpStream, ReadError> {
    let failed = |error: std::io::Error| server.server_error(&connect_error(&error));
    let (host, port, hosts) = &server.target;
    let permitted = hosts.resolve(host, *port).await.map_err(failed)?;
    TcpStream::connect(permitted.as_slice()).await.map_err(failed)
}

/// Accepts the driver's connection and forwards bytes until one side ends.
async fn relay(listener: UnixListener, way: LinkPath, state: Arc<LinkState>, memory: MemoryBudget) {
    let Ok(mut driver) = accept(&listener).await else { return };
    drop(listener);
    let greeted: std::io::Result<Box<dyn Stream>> = match way {
        LinkPath::Plain(server) => Ok(server),
        LinkPath::Postgres(mut server) => {
            login::forward_startup(&mut driver, &mut server).await.map(|()| server)
        }
        LinkPath::SecureMySql(server, tls) => {
            let (connector, name) = *tls;
            let secured = login::secure_mysql(&mut driver, server, connector, name).await;
            secured.map(|server| Box::new(server) as _)
        }
    };
    let server = match greeted {
        Ok(server) => server,
        Err(error) => {
            let _ = state.failure.set(format!("no secure connection (TLS): {error}"));
            return;
        }
    };
    let (mut from_server, mut to_server) = tokio::io::split(server);
    let (mut from_driver, mut to_driver) = driver.into_split();
    let up = async {
        let _ = tokio::io::copy(&mut from_driver, &mut to_server).await;
        let _ = to_server.shutdown().await;
    };
    let down = async {
        let mut piece = vec![0; CHUNK_BYTES];
        let mut reserved = None;
        while let Ok(count @ 1..) = from_server.read(&mut piece).await {
            let stretch = state.bytes_since_row.fetch_add(count, Ordering::Relaxed) + count;
            if stretch > MAX_BYTES_PER_ROW {
                let _ = state.failure.set(format!("a row is larger than {} MiB", MAX_RECORD_BYTES >> 20));
                return;
            }
            if stretch <= LARGE_BYTES {
                reserved = None;
            } else if reserved.is_none() {
                reserved = memory.reserve(MemoryUse::Record, SYNC_WAIT).await;
                if reserved.is_none() {
                    let _ = state.failure.set(MEMORY_IN_USE.to_owned());
                    return;
                }
            }
            if to_driver.write_all(&piece[..count]).await.is_err() {
                return;
            }
        }
    };
    // When either direction ends, the other is useless.
    tokio::select! {
        () = down => {}
        () = up => {}
    }
}

/// Accepts connections of this process only, because the socket name is not secret.
async fn accept(listener: &UnixListener) -> std::io::Result<UnixStream> {
    let own = i32::try_from(std::process::id()).ok();
    loop {
        let (stream, _) = listener.accept().await?;
        if stream.peer_cred()?.pid() == own {
            return Ok(stream);
        }
    }
}
