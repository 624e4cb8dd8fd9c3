//! Tests of HTTP/2: requests refused by a graceful GOAWAY are sent again, others are not.
//!
//! The server guarantees that requests after its last stream were not carried out. It guarantees nothing for a
//! stream that it resets later.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wellspring_testkit::Wellspring;

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
/// Flag of an acknowledgement, and of the last frame of a stream.
const END: u8 = 1;
/// Flag of headers in a single frame.
const END_HEADERS: u8 = 4;
/// Status 200 in the static table of HPACK.
const STATUS_200: [u8; 1] = [0x88];

const EMPTY: &str = r#"{"status":"success","message":"","data":[]}"#;
const CONNECTED: &str =
    r#"{"status":"success","message":"","data":{"connected_sources":[{"id":"s1","name":"a"}],"errors":[]}}"#;
const LISTED: &str = r#"{"status":"success","message":"","data":[{"id":"s1","name":"a","type":"csv"}]}"#;

/// A platform that answers the first write with no response.
#[derive(Default)]
struct Platform {
    /// Carries out the first write and resets its stream, instead of turning it away.
    acts: bool,
    writes: AtomicUsize,
    connected: AtomicBool,
}

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

impl Platform {
    /// Implements just the necessary part of HTTP/2.
    async fn serve(&self, mut stream: impl AsyncRead + AsyncWrite + Unpin) -> std::io::Result<()> {
        stream.read_exact(&mut [0; 24]).await?;
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).await?;
        let mut last = 0;
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await?;
            let [a, b, c, kind, flags, id @ ..] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload).await?;
            let id = u32::from_be_bytes(id);
            let answer = match kind {
                SETTINGS | PING if flags & END == 0 => {
                    stream.write_all(&frame(kind, END, 0, if kind == PING { &payload } else { &[] })).await?;
                    continue;
                }
                // Only a write has a body.
                HEADERS if flags & END != 0 => {
                    if self.connected.load(Ordering::SeqCst) {
                        LISTED
                    } else {
                        EMPTY
                    }
                }
                DATA if flags & END != 0 => {
                    let is_first = self.writes.fetch_add(1, Ordering::SeqCst) == 0;
                    if is_first && self.acts {
                        self.connected.store(true, Ordering::SeqCst);
                        let internal_error = 2_u32.to_be_bytes();
                        stream.write_all(&frame(RST_STREAM, 0, id, &internal_error)).await?;
                        continue;
                    }
                    if is_first {
                        let no_error = [u32::to_be_bytes(last), [0; 4]].concat();
                        stream.write_all(&frame(GOAWAY, 0, 0, &no_error)).await?;
                        return stream.shutdown().await;
                    }
                    self.connected.store(true, Ordering::SeqCst);
                    CONNECTED
                }
                _ => continue,
            };
            last = id;
            stream.write_all(&frame(HEADERS, END_HEADERS, id, &STATUS_200)).await?;
            stream.write_all(&frame(DATA, END, id, answer.as_bytes())).await?;
        }
    }
}

/// Runs `apply` of one source; returns its exit code and the number of writes that the platform received.
async fn apply(platform: Platform) -> (Option<i32>, usize) {
    let place = tempfile::tempdir().unwrap();
    let (certificate, key) = wellspring_testkit::certificate(place.path(), "localhost", "IP:127.0.0.1");
    let chain = CertificateDer::from_pem_file(&certificate).unwrap();
    let key = PrivateKeyDer::from_pem_file(&key).unwrap();
    let mut config =
        ServerConfig::builder().with_no_client_auth().with_single_cert(vec![chain], key).unwrap();
    config.alpn_protocols = vec![b"h2".to_vec()];
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let platform = Arc::new(platform);
    let serving = Arc::clone(&platform);
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let (acceptor, platform) = (acceptor.clone(), Arc::clone(&serving));
            tokio::spawn(async move {
                if let Ok(stream) = acceptor.accept(connection).await {
                    let _ = platform.serve(stream).await;
                }
            });
        }
    });

    let tree = place.path().join("tree");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("wellspring.toml"), format!("[platform]\nurl = \"https://{address}\"\n"))
        .unwrap();
    let file = "[workspace]\nid = \"w\"\n\n[sources.a]\ntype = \"csv\"\ntest = { before_connect = false }\n\
                connection_config = { path = \"a.csv\" }\n";
    std::fs::write(tree.join("w.toml"), file).unwrap();
    let run = tokio::task::spawn_blocking(move || {
        Wellspring::new()
            .args(["apply", "-y", "-C"])
            .args([tree.to_str().unwrap()])
            .env("PMTX_TOKEN", "token")
            .env("SSL_CERT_FILE", certificate.to_str().unwrap())
            .run()
    });
    let apply = run.await.unwrap();
    (apply.code, platform.writes.load(Ordering::SeqCst))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_above_the_last_stream_is_sent_again() {
    assert_eq!(apply(Platform::default()).await, (Some(0), 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_whose_stream_is_reset_afterwards_is_not_sent_again() {
    let (_, writes) = apply(Platform { acts: true, ..Platform::default() }).await;
    assert_eq!(writes, 1);
}
