//! Tests of network faults: cut, stalled, repeated, flooded, misdirected.

use super::*;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::AsyncReadExt as _;
use tokio::sync::Semaphore;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use wellspring::client::{InProcess, RemoteError, RemoteErrorKind};
use wellspring_testkit::{
    Fault, FaultProxy, Finished, Gate, Platform, Tree, Wellspring, Wire, nobody_listens, workspace_file,
};

fn impatient(url: &str, platform: &Platform) -> ApiWriter {
    let settings = settings(url, &platform.token());
    ApiWriter::new(&ApiReader::new(ClientConfig { timeout: Duration::from_secs(1), ..settings }).unwrap())
}

async fn connect(writer: &ApiWriter) -> Result<wellspring::client::ConnectAnswer, RemoteError> {
    writer.connect(&workspace_ref(), &NonEmpty::one(&source("crm", json!({"host": "h"})))).await
}

/// Returns faults with an unknown outcome, and how often the platform acted.
fn ambiguous() -> Vec<(Wire, usize)> {
    let garbage = |bytes: &[u8]| Wire::Garbage(bytes.to_vec());
    vec![
        (Wire::SwallowAnswer, 1),
        (Wire::StallAfterActing, 1),
        (Wire::Stall, 0),
        (garbage(b""), 0),
        (garbage(b"\0\xff\xfe not HTTP at all\r\n\r\n"), 0),
        (garbage(b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n"), 0),
        (garbage(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{\"status\""), 0),
        (garbage(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nnope"), 0),
    ]
}

#[tokio::test]
async fn a_write_without_an_answer_is_unknown_and_never_repeated() {
    for (wire, acted) in ambiguous() {
        let platform = Platform::start();
        let proxy = FaultProxy::before(&platform.url());
        let writer = impatient(&proxy.url(), &platform);
        proxy.script([wire.clone()]);
        let error = connect(&writer).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{wire:?}: {error}");
        assert_eq!((proxy.connections(), platform.writes().len()), (1, acted), "{wire:?}");
    }
}

#[tokio::test]
async fn a_read_without_an_answer_is_tried_again() {
    for (wire, _) in ambiguous() {
        let platform = Platform::start();
        platform.add("ws", "user", "crm", "api", json!({}));
        let proxy = FaultProxy::before(&platform.url());
        let reader = impatient(&proxy.url(), &platform).reader().clone();
        proxy.script([wire.clone(), wire.clone()]);
        assert_eq!(reader.list(&workspace_ref()).await.unwrap().len(), 1, "{wire:?}");
        assert_eq!(proxy.connections(), 3, "{wire:?}");
    }
}

#[tokio::test]
async fn a_cut_at_any_byte_is_either_no_answer_or_the_answer() {
    let platform = Platform::start();
    let proxy = FaultProxy::before(&platform.url());
    let writer = writer_at(&proxy.url(), &platform);
    let mut answered = 0;
    // If not even one byte was sent, the request may be tried again.
    for cut in (1..240).step_by(7) {
        platform.forget_calls();
        for (wire, acted) in [
            (Wire::ResetAfterRequestBytes(cut), 0),
            (Wire::ResetAfterAnswerBytes(cut), 1),
            (Wire::CloseAfterAnswerBytes(cut), 1),
        ] {
            let before = (proxy.connections(), platform.writes().len());
            proxy.script([wire.clone()]);
            match writer.cleanup(&workspace_ref(), &one(json!("source_1"))).await {
                Ok(_) => answered += 1,
                Err(error) => assert!(error.is_outcome_unknown(), "{wire:?}: {error}"),
            }
            assert_eq!(proxy.connections() - before.0, 1, "{wire:?}");
            assert!(platform.writes().len() - before.1 <= acted, "{wire:?}");
        }
    }
    assert!(answered > 0, "some cuts are behind the end of the answer");
}

#[tokio::test]
async fn a_request_that_never_left_is_known_not_to_have() {
    let platform = Platform::start();
    let writer = writer_at(&nobody_listens(), &platform);
    for error in
        [connect(&writer).await.unwrap_err(), writer.reader().list(&workspace_ref()).await.unwrap_err()]
    {
        assert!(matches!(error.kind, RemoteErrorKind::Unreachable(_)), "{error}");
        assert!(error.to_string().contains("cannot be reached: connection refused; "), "{error}");
        assert!(!error.is_outcome_unknown());
    }
}

#[tokio::test]
async fn a_host_that_does_not_exist_is_called_so() {
    // No name has a label this long, so no DNS query is needed.
    let settings =
        ClientConfig { allow_plaintext: true, ..settings(&format!("http://{}/", "n".repeat(70)), "token") };
    let error = ApiReader::new(settings).unwrap().list(&workspace_ref()).await.unwrap_err().to_string();
    assert!(error.contains("cannot be reached: no such host; "), "{error}");
}

/// Runs `apply` of one source; the only trusted root signed no certificate of these tests.
async fn apply_at(url: &str) -> Finished {
    let root = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/client/root.crt");
    let tree = Tree::with(&[
        ("wellspring.toml", &format!("[platform]\nurl = \"{url}\"\n")),
        ("w.toml", &workspace_file("ws", &[("crm", "h")])),
    ]);
    let run = tokio::task::spawn_blocking(move || {
        let apply = Wellspring::new().args(["apply", "-y", "-C"]).arg(tree.path());
        apply.env("PMTX_TOKEN", "token").env("SSL_CERT_FILE", root).run()
    });
    run.await.unwrap()
}

#[tokio::test]
async fn a_connection_that_is_not_encrypted_where_it_must_be_carries_nothing() {
    let platform = Platform::start();
    let apply = apply_at(&platform.url().replace("http://", "https://")).await;
    assert!(apply.stdout.contains("TLS: the server does not use TLS"), "{apply:#?}");
    assert_eq!(platform.calls().len(), 0);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_gets_no_request() {
    let (address, attempts, requests) = untrusted_server().await;
    let apply = apply_at(&format!("https://{address}")).await;
    assert!(apply.stdout.contains("TLS: ") && apply.stdout.contains("certificate"), "{apply:#?}");
    assert!(attempts.load(Ordering::SeqCst) > 0);
    assert_eq!(requests.load(Ordering::SeqCst), 0);
}

/// Serves TLS with a self-signed certificate; counts connections and requests.
async fn untrusted_server() -> (SocketAddr, Arc<AtomicUsize>, Arc<AtomicUsize>) {
    let chain = CertificateDer::from_pem_slice(include_bytes!("untrusted.crt")).unwrap();
    // Made for this test, and of no value elsewhere.
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("untrusted.key")).unwrap();
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![chain], key).unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (attempts, requests) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let (attempted, requested) = (attempts.clone(), requests.clone());
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            attempted.fetch_add(1, Ordering::SeqCst);
            if let Ok(mut stream) = acceptor.accept(connection).await
                && stream.read_u8().await.is_ok()
            {
                requested.fetch_add(1, Ordering::SeqCst);
            }
        }
    });
    (address, attempts, requests)
}

#[tokio::test]
async fn what_was_not_carried_out_is_tried_again_with_the_same_bytes() {
    let dates = [Some("0"), Some("-1"), Some("Mon, 01 Jan 2024 00:00:00 GMT")];
    for (status, said) in [(429, &[None, Some("soon")][..]), (429, &dates), (503, &dates)] {
        for retry_after in said {
            let platform = Platform::start();
            for _ in 0..2 {
                let fault = Fault::status(status, "busy");
                platform.script(
                    "connect",
                    match *retry_after {
                        Some(text) => fault.header("retry-after", text),
                        None => fault,
                    },
                );
            }
            connect(&writer(&platform)).await.unwrap();
            let bodies: Vec<_> = platform.calls().into_iter().map(|call| call.body).collect();
            assert_eq!(bodies.len(), 3, "{status} {retry_after:?}");
            assert!(bodies.iter().all(|body| *body == bodies[0]));
            assert_eq!(platform.rows("ws", "user").len(), 1);
        }
    }
}

#[tokio::test]
async fn a_platform_that_asks_for_too_long_a_wait_is_left_alone() {
    for retry_after in ["1000000000", "Tue, 31 Dec 2999 23:59:59 GMT", "300"] {
        let platform = Platform::start();
        platform.script_always("list", Fault::status(429, "busy").header("retry-after", retry_after));
        let error = writer(&platform).reader().list(&workspace_ref()).await.unwrap_err();
        let expected = Some(Duration::from_secs(300));
        assert!(
            matches!(&error.kind, RemoteErrorKind::Throttled { retry_after, .. } if *retry_after == expected),
            "{error}"
        );
        assert_eq!(platform.calls().len(), 1);
    }
}

#[tokio::test]
async fn a_storm_of_failures_ends_after_a_few_attempts() {
    let platform = Platform::start();
    for endpoint in ["list", "connect", "sync"] {
        platform.script_always(endpoint, Fault::body(500, "text/html", "<html>oops</html>"));
    }
    platform.script_always("cleanup", Fault::status(429, "busy"));
    let writer = writer(&platform);
    assert!(writer.reader().list(&workspace_ref()).await.is_err());
    assert!(connect(&writer).await.is_err());
    assert!(writer.cleanup(&workspace_ref(), &one(json!(1))).await.is_err());
    assert!(writer.sync(&workspace_ref(), &one(json!(1)), &options(), None).await.is_err());
    let attempts = |endpoint| platform.calls_to(endpoint).len();
    assert_eq!(["list", "connect", "cleanup", "sync"].map(attempts), [4, 1, 4, 1]);
}

#[tokio::test]
async fn sync_counts_as_spent_after_503_and_is_tried_again_after_429() {
    let platform = Platform::start();
    let writer = writer(&platform);
    platform.script("sync", Fault::status(503, "gateway gave up"));
    let error = writer.sync(&workspace_ref(), &one(json!(1)), &options(), None).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert_eq!(platform.calls().len(), 1);
    platform.script("sync", Fault::status(429, "busy"));
    writer.sync(&workspace_ref(), &one(json!(1)), &options(), None).await.unwrap();
    assert_eq!(platform.calls().len(), 3);
}

#[tokio::test]
async fn a_refusal_that_a_gateway_may_have_made_is_unknown_and_never_repeated() {
    let bodies = [
        (503, "application/json", r#"{"status":"error","message":"busy"}"#),
        (429, "text/html", "<html>too many requests</html>"),
        (429, "application/json", r#"{"message":"API rate limit exceeded"}"#),
        (400, "text/html", "<html>no</html>"),
        (404, "text/plain", "no such route"),
        (422, "application/json", ""),
    ];
    for (status, kind, body) in bodies {
        let platform = Platform::start();
        let writer = writer(&platform);
        for endpoint in ["connect", "cleanup", "sync"] {
            platform.script_always(endpoint, Fault::body(status, kind, body));
        }
        for error in [
            connect(&writer).await.unwrap_err(),
            writer.cleanup(&workspace_ref(), &one(json!(1))).await.unwrap_err(),
            writer.sync(&workspace_ref(), &one(json!(1)), &options(), None).await.unwrap_err(),
        ] {
            assert!(error.is_outcome_unknown(), "{status} {error}");
        }
        assert_eq!(platform.writes().len(), 3, "{status}");
    }
}

#[tokio::test]
async fn a_gateway_that_says_when_to_come_back_may_have_let_a_write_through() {
    let platform = Platform::start();
    let writer = writer(&platform);
    for status in [429, 503] {
        let gateways = Fault::body(status, "text/html", "<html>busy</html>").header("retry-after", "0");
        platform.script("connect", gateways);
        let error = connect(&writer).await.unwrap_err();
        assert!(error.is_outcome_unknown(), "{status} {error}");
    }
    assert_eq!(platform.writes().len(), 2);
}

#[tokio::test]
async fn a_sync_has_its_own_patience() {
    let platform = Platform::start();
    let gate = Gate::closed();
    platform.script_always("sync", Fault::HoldAfterActing(gate.clone()));
    let writer = writer(&platform);
    let brief = Some(Duration::from_millis(50));
    let error = writer.sync(&workspace_ref(), &one(json!(1)), &options(), brief).await.unwrap_err();
    assert!(error.is_outcome_unknown(), "{error}");
    assert!(error.to_string().contains("timed out"), "{error}");
    gate.open();
    writer.sync(&workspace_ref(), &one(json!(1)), &options(), None).await.unwrap();
}

#[tokio::test]
async fn redirects_are_not_followed_and_the_token_stays() {
    let (platform, stranger) = (Platform::start(), Platform::start());
    stranger.set_token(&platform.token());
    for status in [301, 302, 303, 307, 308] {
        let location = format!("{}/api/v1/data/ws/list?secret=path", stranger.url());
        let fault = Fault::status(status, "over there").header("location", &location);
        platform.script_always("list", fault.clone());
        platform.script_always("connect", fault);
        let writer = writer(&platform);
        let (read, write) = (writer.reader().list(&workspace_ref()).await, connect(&writer).await);
        for error in [read.unwrap_err(), write.unwrap_err()] {
            // 303 means that a write was carried out, and where to read about it.
            let see_other = status == 303 && error.endpoint.is_write();
            assert_eq!(matches!(error.kind, RemoteErrorKind::Redirected(_)), !see_other, "{error}");
            assert_eq!(error.is_outcome_unknown(), see_other, "{error}");
            assert!(!error.to_string().contains("secret=path"), "{error}");
        }
    }
    assert_eq!(stranger.calls().len(), 0);
    assert_eq!(platform.calls().len(), 10);
}

#[tokio::test]
async fn a_small_body_that_unpacks_to_a_large_one_is_given_up() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(br#"{"status":"success","data":""#).unwrap();
    let megabyte = vec![b'a'; 1 << 20];
    for _ in 0..80 {
        gzip.write_all(&megabyte).unwrap();
    }
    let bomb = gzip.finish().unwrap();
    assert!(bomb.len() < 200_000);
    let platform = Platform::start();
    let writer = writer(&platform);
    for endpoint in ["list", "connect", "schema"] {
        let fault = Fault::body(200, "application/json", bomb.clone()).header("content-encoding", "gzip");
        platform.script_always(endpoint, fault);
    }
    let limit = |error: RemoteError| match error.kind {
        RemoteErrorKind::TooLarge { limit } => limit,
        _ => panic!("{error}"),
    };
    assert_eq!(limit(writer.reader().list(&workspace_ref()).await.unwrap_err()), 64 << 20);
    assert_eq!(limit(writer.reader().schema(&workspace_ref(), &id(json!(1))).await.unwrap_err()), 4 << 20);
    let error = connect(&writer).await.unwrap_err();
    assert!(error.is_outcome_unknown());
    assert_eq!(limit(error), 1 << 20);
}

#[tokio::test]
async fn an_honest_compressed_answer_is_read() {
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(br#"{"status":"success","data":[{"name":"a"}]}"#).unwrap();
    let platform = Platform::start();
    let body = Fault::body(200, "application/json", gzip.finish().unwrap());
    platform.script("list", body.header("content-encoding", "gzip"));
    assert_eq!(writer(&platform).reader().list(&workspace_ref()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn a_body_without_end_is_cut_at_the_limit() {
    let platform = Platform::start();
    let proxy = FaultProxy::before(&platform.url());
    let writer = writer_at(&proxy.url(), &platform);
    proxy.script([Wire::Endless(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())]);
    let error = connect(&writer).await.unwrap_err();
    assert!(matches!(error.kind, RemoteErrorKind::TooLarge { .. }), "{error}");
    // The status of an error is accepted without reading the whole body.
    proxy.script([Wire::Endless(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec())]);
    let error = connect(&writer).await.unwrap_err();
    assert!(matches!(error.kind, RemoteErrorKind::Failed { status: 400, .. }), "{error}");
    // Endless headers never become a response.
    let endless = Wire::Endless(b"HTTP/1.1 200 OK\r\nx: ".to_vec());
    proxy.script([endless]);
    let error = connect(&writer).await.unwrap_err();
    assert!(matches!(error.kind, RemoteErrorKind::NoResponse(_)), "{error}");
}

#[tokio::test]
async fn a_request_delivered_twice_is_answered_once() {
    let platform = Platform::start();
    let proxy = FaultProxy::before(&platform.url());
    proxy.script([Wire::DeliverTwice]);
    connect(&writer_at(&proxy.url(), &platform)).await.unwrap();
    assert_eq!(platform.writes().len(), 2);
    assert_eq!(platform.rows("ws", "user").len(), 1);
}

#[tokio::test]
async fn a_renewed_token_is_read_anew_once_also_for_a_write() {
    let platform = Platform::start();
    let source: Arc<Mutex<(String, usize)>> = Arc::new(Mutex::new((platform.token(), 0)));
    let read = source.clone();
    let token: Token = Arc::new(move || {
        let mut source = read.lock().unwrap();
        source.1 += 1;
        Ok(source.0.clone().into())
    });
    let writer = ApiWriter::new(&ApiReader::new(with_token(&platform.url(), token)).unwrap());
    connect(&writer).await.unwrap();
    connect(&writer).await.unwrap();
    assert_eq!(source.lock().unwrap().1, 1, "read once for many calls");

    platform.set_token("renewed");
    source.lock().unwrap().0 = "renewed".into();
    platform.forget_calls();
    connect(&writer).await.unwrap();
    assert_eq!((platform.calls().len(), source.lock().unwrap().1), (2, 2));

    platform.set_token("expired for good");
    platform.forget_calls();
    assert!(connect(&writer).await.unwrap_err().is_auth());
    assert_eq!(platform.calls().len(), 1, "no hammering with a token that was refused");

    source.lock().unwrap().0 = "renewed, but wrongly".into();
    assert!(writer.reader().list(&workspace_ref()).await.unwrap_err().is_auth());
    assert_eq!(platform.calls().len(), 3);
}

#[tokio::test]
async fn a_token_that_cannot_be_had_or_sent_sends_nothing() {
    let platform = Platform::start();
    let unreadable: Token = Arc::new(|| Err("the credential pmtx-token does not exist".into()));
    let two_lines: Token = Arc::new(|| Ok("two\nlines".into()));
    let empty: Token = Arc::new(|| Ok(" \n".into()));
    for token in [unreadable, two_lines, empty] {
        let error = ApiReader::new(with_token(&platform.url(), token))
            .unwrap()
            .list(&workspace_ref())
            .await
            .unwrap_err();
        assert!(error.is_auth(), "{error}");
        assert!(!error.to_string().contains("lines"), "{error}");
    }
    assert_eq!(platform.calls().len(), 0);
    let token: Token = Arc::new(|| Ok("token-of-the-tests\n".into()));
    ApiReader::new(with_token(&platform.url(), token)).unwrap().list(&workspace_ref()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn no_more_calls_are_under_way_than_permitted() {
    let (arrived, gate) = (Arc::new(AtomicUsize::new(0)), Arc::new(Semaphore::new(0)));
    let (arrivals, passage) = (arrived.clone(), gate.clone());
    let platform: InProcess = Arc::new(move |_| {
        arrivals.fetch_add(1, Ordering::SeqCst);
        let passage = passage.clone();
        Box::pin(async move {
            passage.acquire_owned().await.unwrap().forget();
            Ok(axum::http::Response::new(r#"{"status":"success","data":[]}"#).into())
        })
    });
    // No sync is running, so all three permits are available to lists.
    let timeout = Duration::from_secs(60);
    let settings = ClientConfig { max_in_flight: 3, timeout, ..settings("http://127.0.0.1/", "token") };
    let reader = ApiReader::in_process(settings, platform);
    let calls: Vec<_> = (0..6)
        .map(|_| {
            let reader = reader.clone();
            tokio::spawn(async move { reader.list(&workspace_ref()).await })
        })
        .collect();
    // The paused clock moves on only once no task can: a fourth call would have come by then.
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert_eq!(arrived.load(Ordering::SeqCst), 3);
    gate.add_permits(6);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(arrived.load(Ordering::SeqCst), 6);
}
