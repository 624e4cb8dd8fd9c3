//! Yardsticks: *raw* and *py*.
//!
//! *raw* is a bare client that sends exactly the necessary requests with prepared bodies; *py* are the
//! functions of the API description in a loop.

use super::measure::Used;
use super::platform::TOKEN;
use super::workload::{self, Shape};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Number of connections, the same as the client's.
pub(crate) const CONNECTIONS: usize = 64;

/// Requests that *raw* sends for every workspace.
#[derive(Clone, Copy)]
pub(crate) enum Raw {
    List,
    ListAndConnect,
    ListConnectAndList,
}

/// Runs *raw* in a separate process.
pub(crate) fn raw(url: &str, shape: Shape, what: Raw, connections: usize) -> Used {
    let word = match what {
        Raw::List => "list",
        Raw::ListAndConnect => "list+connect",
        Raw::ListConnectAndList => "list+connect+list",
    };
    let numbers = [shape.workspaces, shape.sources, connections].map(|number| number.to_string());
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["raw", url, word]).args(numbers);
    told(&mut command)
}

/// Runs *py*; `None` without Python.
pub(crate) fn py(url: &str, shape: Shape, scratch: &Path) -> Option<Used> {
    Command::new("python3").arg("--version").output().ok().filter(|output| output.status.success())?;
    let body = scratch.join("body.json");
    std::fs::write(&body, workload::connect_body(shape.sources)).unwrap();
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/throughput/contract.py");
    let mut command = Command::new("python3");
    command.args([script, &format!("{url}/api/v1"), TOKEN]).arg(body).args(shape.ids());
    Some(told(&mut command))
}

/// Returns the seconds that the process prints.
fn told(command: &mut Command) -> Used {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8(output.stdout).unwrap();
    let mut seconds =
        text.split_whitespace().map_while(|word| word.parse().ok().map(Duration::from_secs_f64));
    Used { wall: seconds.next().unwrap(), cpu: seconds.next().unwrap(), peak: 0 }
}

/// Entry point of the process that [`raw`] starts.
pub(crate) fn be_raw(arguments: &[String]) {
    let [url, what, workspaces, sources, connections] = arguments else { panic!("{arguments:?}") };
    let shape = Shape { workspaces: workspaces.parse().unwrap(), sources: sources.parse().unwrap() };
    let (host, base) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
    let body = workload::connect_body(shape.sources);
    let head = |method: &str, of: &str, call: &str| {
        format!(
            "{method} /{base}/api/v1/data/{of}/{call} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {TOKEN}\r\n"
        )
    };
    let mut calls: Vec<Vec<u8>> = Vec::new();
    for id in shape.ids() {
        for call in what.split('+') {
            let (head, body) = match call {
                "connect" => {
                    let length =
                        format!("content-type: application/json\r\ncontent-length: {}\r\n", body.len());
                    (head("POST", &id, "connect") + &length, body.as_str())
                }
                _ => (head("GET", &id, "list?scope=user"), ""),
            };
            calls.push([&head, "\r\n", body].concat().into_bytes());
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let (cpu, start) = (Used::own_cpu(), Instant::now());
    runtime.block_on(all(host.to_owned(), calls, connections.parse().unwrap()));
    println!("{} {}", start.elapsed().as_secs_f64(), (Used::own_cpu() - cpu).as_secs_f64());
}

async fn all(host: String, calls: Vec<Vec<u8>>, connections: usize) {
    static CALLS: OnceLock<Vec<Vec<u8>>> = OnceLock::new();
    let calls = CALLS.get_or_init(|| calls);
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections.min(calls.len()) {
        let (host, next) = (host.clone(), Arc::clone(&next));
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(host).await.unwrap();
            stream.set_nodelay(true).unwrap();
            let mut answer = Vec::new();
            while let Some(call) = calls.get(next.fetch_add(1, Ordering::Relaxed)) {
                // Repeats a refused request at once.
                while !answer.starts_with(b"HTTP/1.1 200") {
                    stream.write_all(call).await.unwrap();
                    answer.clear();
                    receive(&mut stream, &mut answer).await;
                    let refused = answer.starts_with(b"HTTP/1.1 429");
                    assert!(refused || answer.starts_with(b"HTTP/1.1 200"), "{answer:?}");
                }
                answer.clear();
            }
        });
    }
    tasks.join_all().await;
}

/// Reads one complete response.
pub(crate) async fn receive(stream: &mut TcpStream, answer: &mut Vec<u8>) {
    let mut whole = None;
    while whole.is_none_or(|whole| answer.len() < whole) {
        assert_ne!(stream.read_buf(answer).await.unwrap(), 0, "the platform closed the connection");
        if whole.is_none()
            && let Some(end) = answer.windows(4).position(|window| window == b"\r\n\r\n")
        {
            let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            whole = Some(end + 4 + length.parse::<usize>().unwrap());
            answer.reserve(whole.unwrap());
        }
    }
}
