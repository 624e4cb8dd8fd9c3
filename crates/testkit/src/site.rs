//! Raw HTTP client for the status page of a daemon.

use super::{Running, until};
use serde_json::Value;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Address of a daemon with `--listen=127.0.0.1:0`.
pub struct Site(pub SocketAddr);

/// A response.
#[derive(Debug)]
pub struct Page {
    pub status: u16,
    pub head: String,
    pub body: String,
}

impl Site {
    /// Reads the address from the daemon's log.
    pub fn of(daemon: &Running) -> Self {
        daemon.wait_for_line("the status page is at http://");
        let told = daemon.stderr();
        let (_, rest) = told.split_once("the status page is at http://").unwrap();
        Self(rest.split('/').next().unwrap().parse().unwrap())
    }

    pub fn get(&self, path: &str) -> Page {
        self.send(&format!("GET {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n", self.0))
    }

    pub fn send(&self, request: &str) -> Page {
        let mut stream = TcpStream::connect(self.0).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = Vec::new();
        // A refused head may end in a reset after the response.
        let _ = stream.read_to_end(&mut answer);
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        // Where a line may break is no part of the text.
        Page { status, head: head.to_ascii_lowercase(), body: body.replace("<wbr>", "") }
    }

    pub fn json(&self) -> Value {
        super::json(&self.get("/status.json").body)
    }

    /// Waits until `/readyz` responds with this status.
    #[track_caller]
    pub fn until_ready(&self, wanted: u16) -> Page {
        until(&format!("/readyz says {wanted}"), || self.get("/readyz").status == wanted);
        self.get("/readyz")
    }

    /// Returns the value of a series, by name and labels as printed.
    pub fn metric(&self, series: &str) -> Option<f64> {
        let text = self.get("/metrics").body;
        text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' ')?.parse().ok())
    }
}
