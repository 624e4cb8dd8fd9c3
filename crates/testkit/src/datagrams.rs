//! A datagram socket of the host: the service manager's or the journal's.

use std::io::ErrorKind;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Timeout, far longer than any message takes; only ends what would hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Receiver of datagrams at a path.
pub struct Datagrams {
    socket: UnixDatagram,
    path: PathBuf,
    heard: Vec<Vec<u8>>,
}

impl Datagrams {
    pub fn at(path: &Path) -> Self {
        let socket = UnixDatagram::bind(path).unwrap();
        Self { socket, path: path.to_owned(), heard: Vec::new() }
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the next datagram; `None` after the timeout.
    pub fn within(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.socket.set_read_timeout(Some(patience)).unwrap();
        let mut buffer = vec![0; 1 << 18];
        match self.socket.recv(&mut buffer) {
            Ok(length) => {
                buffer.truncate(length);
                self.heard.push(buffer.clone());
                Some(buffer)
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => None,
            Err(error) => panic!("{error}"),
        }
    }

    /// Returns the next datagram that matches; skips others.
    #[track_caller]
    pub fn until<T>(&mut self, what: &str, wanted: impl Fn(&[u8]) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let next = if left.is_zero() { None } else { self.within(left) };
            let Some(next) = next else { panic!("waited in vain for {what} in {:#?}", self.heard()) };
            if let Some(found) = wanted(&next) {
                return found;
            }
        }
    }

    /// Returns all datagrams so far, as text.
    pub fn heard(&self) -> Vec<String> {
        self.heard.iter().map(|heard| String::from_utf8_lossy(heard).into_owned()).collect()
    }
}
