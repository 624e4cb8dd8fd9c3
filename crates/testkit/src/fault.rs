//! Proxy that breaks connections.
//!
//! A connection carries one request: the proxy reads it completely, passes it on, reads the complete response
//! and closes. One script entry therefore applies to one request.

use super::background::Background;
use super::lock;
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// Fault of one request.
#[derive(Clone, Debug)]
pub enum Wire {
    /// No fault.
    Pass,
    /// The connection is reset as soon as it opens.
    Refuse,
    /// This many bytes of the request reach the platform, then both sides are cut.
    ResetAfterRequestBytes(usize),
    /// The platform acts; this many bytes of its response are returned, then a reset.
    ResetAfterAnswerBytes(usize),
    /// Like [`Wire::ResetAfterAnswerBytes`], but the connection is closed normally.
    CloseAfterAnswerBytes(usize),
    /// The platform acts, and its response is lost.
    SwallowAnswer,
    /// The platform never receives the request, and there is no response.
    Stall,
    /// The platform acts, and there is no response.
    StallAfterActing,
    /// These bytes are the response; the platform never receives the request.
    Garbage(Vec<u8>),
    /// These bytes are the response, followed by an endless filler.
    Endless(Vec<u8>),
    /// The request reaches the platform twice; the second response is returned.
    DeliverTwice,
}

/// The proxy; stops on drop.
pub struct FaultProxy {
    script: Arc<Mutex<Script>>,
    server: Background,
    path: String,
}

#[derive(Default)]
struct Script {
    next: VecDeque<Wire>,
    connections: usize,
    sizes: Vec<(usize, usize)>,
}

impl FaultProxy {
    /// Starts a proxy for `upstream`, a base URL with a host of `IP:PORT`.
    pub fn before(upstream: &str) -> Self {
        let rest = upstream.strip_prefix("http://").unwrap();
        let (address, path) = rest.split_once('/').unwrap_or((rest, ""));
        let address: SocketAddr = address.parse().unwrap();
        let script = Arc::new(Mutex::new(Script::default()));
        let shared = script.clone();
        let server = Background::serve(move |listener| accept(listener, address, shared));
        Self { script, server, path: path.to_owned() }
    }

    /// Returns the base URL of the proxy.
    pub fn url(&self) -> String {
        format!("http://{}/{}", self.server.address, self.path)
    }

    /// Sets the faults of the next requests, one each; later requests pass.
    pub fn script(&self, faults: impl IntoIterator<Item = Wire>) {
        lock(&self.script).next.extend(faults);
    }

    /// Returns the sizes of passed requests and their responses, in bytes.
    pub fn sizes(&self) -> Vec<(usize, usize)> {
        lock(&self.script).sizes.clone()
    }

    /// Returns the number of connections so far.
    pub fn connections(&self) -> usize {
        lock(&self.script).connections
    }
}

/// Returns a base URL where connections are refused.
pub fn nobody_listens() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    format!("http://{}", listener.local_addr().unwrap())
}

/// Makes the platform close the connection after its response.
const CLOSE: &[u8] = b"connection: close\r\n";

async fn accept(listener: TcpListener, upstream: SocketAddr, script: Arc<Mutex<Script>>) {
    while let Ok((client, _)) = listener.accept().await {
        let wire = {
            let mut script = lock(&script);
            script.connections += 1;
            script.next.pop_front().unwrap_or(Wire::Pass)
        };
        let script = script.clone();
        tokio::spawn(async move {
            // Errors are connections that were cut, which is the purpose of the proxy.
            let _ = carry(client, upstream, wire, &script).await;
        });
    }
}

async fn carry(
    mut client: TcpStream,
    upstream: SocketAddr,
    wire: Wire,
    script: &Mutex<Script>,
) -> std::io::Result<()> {
    match wire {
        Wire::Refuse => return reset(&client),
        Wire::ResetAfterRequestBytes(count) => {
            let mut part = vec![0; count];
            client.read_exact(&mut part).await?;
            let mut platform = TcpStream::connect(upstream).await?;
            platform.write_all(&part).await?;
            drop(platform);
            return reset(&client);
        }
        _ => {}
    }
    let request = read_request(&mut client).await?;
    match wire {
        Wire::Stall => return std::future::pending().await,
        Wire::Garbage(bytes) => {
            client.write_all(&bytes).await?;
            return client.shutdown().await;
        }
        Wire::Endless(head) => {
            client.write_all(&head).await?;
            loop {
                client.write_all(&[b' '; 64 * 1024]).await?;
            }
        }
        Wire::DeliverTwice => {
            deliver(upstream, &request).await?;
        }
        _ => {}
    }
    let answer = deliver(upstream, &request).await?;
    match wire {
        Wire::ResetAfterAnswerBytes(count) => {
            client.write_all(&answer[..count.min(answer.len())]).await?;
            reset(&client)
        }
        Wire::CloseAfterAnswerBytes(count) => {
            client.write_all(&answer[..count.min(answer.len())]).await?;
            client.shutdown().await
        }
        Wire::SwallowAnswer => reset(&client),
        Wire::StallAfterActing => std::future::pending().await,
        _ => {
            let asked = request.len() - CLOSE.len();
            lock(script).sizes.push((asked, answer.len()));
            client.write_all(&answer).await?;
            client.shutdown().await
        }
    }
}

/// Makes closing the connection a reset.
fn reset(client: &TcpStream) -> std::io::Result<()> {
    client.set_zero_linger()
}

/// Reads the complete request, changed to close the connection after the response.
async fn read_request(client: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 2;
        }
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    };
    let headers = String::from_utf8_lossy(&bytes[..head]).to_ascii_lowercase();
    let length = headers.lines().find_map(|line| line.strip_prefix("content-length:"));
    let length: usize = length.map_or(0, |text| text.trim().parse().unwrap());
    while bytes.len() < head + 2 + length {
        if client.read_buf(&mut bytes).await? == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
    }
    bytes.splice(head..head, CLOSE.iter().copied());
    Ok(bytes)
}

async fn deliver(upstream: SocketAddr, request: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut platform = TcpStream::connect(upstream).await?;
    platform.write_all(request).await?;
    let mut answer = Vec::new();
    platform.read_to_end(&mut answer).await?;
    Ok(answer)
}
