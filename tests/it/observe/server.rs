//! Tests of the server under attack: hosts, methods, large heads, many connections.

use std::io::{Read, Write};
use std::net::TcpStream;
use wellspring_testkit::{Running, Scene, Site, until};

fn watched() -> (Scene, Running, Site) {
    let scene = Scene::new();
    scene.declare("ws_one", &[("alpha", "a.example.com")]);
    let daemon = scene.command(&["run", "--interval", "1h", "--listen=127.0.0.1:0"]).spawn();
    let site = Site::of(&daemon);
    site.until_ready(200);
    (scene, daemon, site)
}

#[test]
fn a_name_that_leads_here_without_being_ours_is_turned_away() {
    let (_scene, _daemon, site) = watched();
    for path in ["/", "/status.json", "/metrics", "/style.css", "/readyz", "/nothing"] {
        for host in ["evil.example", "evil.example:9780", "127.0.0.1.evil.example"] {
            let page =
                site.send(&format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n"));
            assert_eq!(page.status, 421, "{path} {host}");
            assert!(!page.body.contains("alpha"));
        }
    }
    assert_eq!(site.send("GET / HTTP/1.0\r\n\r\n").status, 421, "no name at all");
    let local = site.send("GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    assert!(local.status == 200 && local.body.contains("alpha"));
}

#[test]
fn every_answer_forbids_scripts_frames_and_guessing() {
    let (_scene, _daemon, site) = watched();
    for path in [
        "/",
        "/status.json",
        "/metrics",
        "/nothing",
        "/workspaces/ws_one/user",
        "/workspaces/ws_one/user/alpha",
    ] {
        let page = site.get(path);
        for wanted in [
            "content-security-policy: default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; \
             form-action 'none'; frame-ancestors 'none'",
            "x-content-type-options: nosniff",
            "x-frame-options: deny",
            "referrer-policy: no-referrer",
            "cache-control: no-store",
        ] {
            assert!(page.head.contains(wanted), "{path}: no {wanted:?} in {}", page.head);
        }
        assert!(!page.body.contains("<script") && !page.body.contains(" style="), "{path}");
    }
    assert_eq!(site.get("/nothing").status, 404);
    assert_eq!(site.get("/workspaces/ws_one/user/nothing").status, 404);
}

#[test]
fn it_is_for_looking_only_and_bounded() {
    let (_scene, mut daemon, site) = watched();
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let page = site.send(&format!(
            "{method} / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        ));
        assert_eq!(page.status, 405, "{method}");
    }
    let huge = "x".repeat(64 << 10);
    let page = site.send(&format!("GET / HTTP/1.1\r\nHost: localhost\r\nX-Large: {huge}\r\n\r\n"));
    assert!(matches!(page.status, 431 | 0), "{}", page.status);
    let page = site.send(&format!("GET /{huge} HTTP/1.1\r\nHost: localhost\r\n\r\n"));
    assert!(matches!(page.status, 414 | 431 | 0), "{}", page.status);

    // Idle or incomplete connections block no others: the oldest is closed in favour of a new one.
    let open = |n: usize| {
        let mut stream = TcpStream::connect(site.0).unwrap();
        stream.write_all(if n.is_multiple_of(2) { b"" } else { b"GET / HTTP/1.1\r\nHost: loc" }).unwrap();
        stream
    };
    let idle: Vec<TcpStream> = (0..80).map(open).collect();
    assert_eq!(site.get("/healthz").status, 200);
    let is_open = |stream: &TcpStream| {
        stream.set_nonblocking(true).unwrap();
        let peeked = stream.peek(&mut [0]);
        stream.set_nonblocking(false).unwrap();
        peeked.is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock)
    };
    assert!(is_open(&idle[40]), "the others were not waited for");
    until("the oldest went", || !is_open(&idle[0]));
    // Such a connection receives a timeout response or is simply closed.
    let closed = |mut stream: TcpStream| {
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
    };
    idle.into_iter().for_each(closed);
    assert!(!daemon.has_ended());
}
