//! A minimal platform in memory.
//!
//! Rows are stored as the text received, and responses as the bytes sent. Latency and capacity are
//! configurable. Syncs have a duration of their own and no limit.

use axum::body::{Body, Bytes};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde::Deserialize;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

/// Accepted token.
pub(crate) const TOKEN: &str = "token-of-the-benchmark";

/// The platform; runs until the process ends.
pub(crate) struct Platform {
    pub(crate) url: String,
    world: Arc<World>,
}

/// Behaviour under load.
#[derive(Clone, Copy, Default)]
pub(crate) struct Manner {
    /// Duration of a request.
    pub(crate) latency: Duration,
    /// Maximum number of concurrent requests.
    ///
    /// Others wait, and beyond twice as many get 429.
    pub(crate) capacity: Option<usize>,
    /// Duration of a sync.
    pub(crate) sync: Duration,
}

/// Numbers of requests so far.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq)]
pub(crate) struct Calls {
    pub(crate) list: u64,
    pub(crate) connect: u64,
    pub(crate) cleanup: u64,
    pub(crate) refused: u64,
}

#[derive(Default)]
struct World {
    manner: Mutex<Manner>,
    turns: Mutex<Option<Arc<Semaphore>>>,
    waiting: AtomicUsize,
    workspaces: Mutex<HashMap<String, Workspace>>,
    number: AtomicU64,
    calls: Mutex<Calls>,
    /// Arrival times of connect requests.
    connects: Mutex<Vec<(String, Instant)>>,
    /// Arrival times of sync requests, with the number of sources.
    syncs: Mutex<Vec<(Instant, usize)>>,
    most_at_once: AtomicUsize,
    at_once: AtomicUsize,
    last_answer: Mutex<Option<Instant>>,
}

#[derive(Default)]
struct Workspace {
    rows: Vec<Row>,
    /// Index of the row with a name.
    places: HashMap<String, usize>,
    answer: Option<Bytes>,
}

struct Row {
    id: String,
    text: String,
}

impl Platform {
    /// Starts the platform on two threads of its own.
    pub(crate) fn start() -> Self {
        let world = Arc::new(World::default());
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let url = format!("http://{}/jarvispy/org/user", listener.local_addr().unwrap());
        let serving = Arc::clone(&world);
        std::thread::spawn(move || {
            let threads = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
            threads.unwrap().block_on(serve(listener, serving));
        });
        Self { url, world }
    }

    /// Changes the behaviour.
    pub(crate) fn behave(&self, manner: Manner) {
        *self.world.manner.lock().unwrap() = manner;
        *self.world.turns.lock().unwrap() = manner.capacity.map(|most| Arc::new(Semaphore::new(most)));
    }

    /// Removes all sources.
    pub(crate) fn clear(&self) {
        self.world.workspaces.lock().unwrap().clear();
        self.forget();
    }

    /// Resets the counters.
    pub(crate) fn forget(&self) {
        *self.world.calls.lock().unwrap() = Calls::default();
        self.world.connects.lock().unwrap().clear();
        self.world.syncs.lock().unwrap().clear();
        self.world.most_at_once.store(0, Ordering::Relaxed);
    }

    pub(crate) fn calls(&self) -> Calls {
        *self.world.calls.lock().unwrap()
    }

    /// Returns the peak number of concurrent requests.
    pub(crate) fn most_at_once(&self) -> usize {
        self.world.most_at_once.load(Ordering::Relaxed)
    }

    /// Returns the arrival of the first connect request for a workspace since `since`.
    pub(crate) fn connected(&self, workspace: &str, since: Instant) -> Option<Instant> {
        let connects = self.world.connects.lock().unwrap();
        let recent = connects.iter().rev().take_while(|(_, at)| *at >= since);
        recent.filter(|(of, _)| of == workspace).last().map(|(_, at)| *at)
    }

    /// Returns the arrival times of sync requests, with the number of sources.
    pub(crate) fn syncs(&self) -> Vec<(Instant, usize)> {
        self.world.syncs.lock().unwrap().clone()
    }

    /// Returns the time of the last response.
    pub(crate) fn last_answer(&self) -> Option<Instant> {
        *self.world.last_answer.lock().unwrap()
    }

    /// Returns the number of connected sources.
    pub(crate) fn rows(&self) -> usize {
        self.world.workspaces.lock().unwrap().values().map(|workspace| workspace.rows.len()).sum()
    }
}

async fn serve(listener: std::net::TcpListener, world: Arc<World>) {
    let listener = TcpListener::from_std(listener).unwrap();
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let _ = stream.set_nodelay(true);
        let world = Arc::clone(&world);
        tokio::spawn(async move {
            let service = service_fn(move |request| answer(Arc::clone(&world), request));
            let serving =
                hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
            let _ = serving.await;
        });
    }
}

async fn answer(world: Arc<World>, request: Request<Incoming>) -> Result<Response<Body>, Infallible> {
    let (head, body) = request.into_parts();
    let mut path = head.uri.path().rsplit('/');
    let endpoint = path.next().unwrap_or_default().to_owned();
    let workspace = path.next().unwrap_or_default().to_owned();
    let Ok(body) = axum::body::to_bytes(Body::new(body), usize::MAX).await else {
        return Ok(json(400, Bytes::new()));
    };
    let at_once = world.at_once.fetch_add(1, Ordering::Relaxed) + 1;
    world.most_at_once.fetch_max(at_once, Ordering::Relaxed);
    let answer = world.answer(&endpoint, workspace, &body).await;
    world.at_once.fetch_sub(1, Ordering::Relaxed);
    *world.last_answer.lock().unwrap() = Some(Instant::now());
    Ok(answer)
}

fn json(status: u16, body: Bytes) -> Response<Body> {
    let builder = Response::builder().status(status).header("content-type", "application/json");
    builder.body(Body::from(body)).unwrap()
}

impl World {
    async fn answer(&self, endpoint: &str, workspace: String, body: &[u8]) -> Response<Body> {
        {
            let mut calls = self.calls.lock().unwrap();
            match endpoint {
                "list" => calls.list += 1,
                "connect" => calls.connect += 1,
                "cleanup" => calls.cleanup += 1,
                _ => {}
            }
        }
        if endpoint == "connect" {
            self.connects.lock().unwrap().push((workspace.clone(), Instant::now()));
        }
        let Manner { latency, capacity, sync } = *self.manner.lock().unwrap();
        if endpoint == "sync" {
            let Sources { source_ids } = serde_json::from_slice(body).unwrap();
            self.syncs.lock().unwrap().push((Instant::now(), source_ids.len()));
            tokio::time::sleep(sync).await;
            let message = r#"{"status":"success","message":"","data":{"records_processed":1}}"#;
            return json(200, Bytes::from_static(message.as_bytes()));
        }
        let turns = self.turns.lock().unwrap().clone();
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        if capacity.is_some_and(|most| waiting >= 2 * most) {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.calls.lock().unwrap().refused += 1;
            let message = r#"{"status":"error","message":"too many requests","data":null}"#;
            return json(429, Bytes::from_static(message.as_bytes()));
        }
        {
            let _turn = match &turns {
                Some(turns) => turns.acquire().await.ok(),
                None => None,
            };
            if !latency.is_zero() {
                tokio::time::sleep(latency).await;
            }
        }
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        let mut workspaces = self.workspaces.lock().unwrap();
        let workspace = workspaces.entry(workspace).or_default();
        let answer = match endpoint {
            "list" => workspace.list(),
            "connect" => workspace.connect(body, &self.number),
            "cleanup" => workspace.cleanup(body),
            _ => unreachable!("{endpoint}"),
        };
        json(200, answer)
    }
}

#[derive(Deserialize)]
struct Connect<'a> {
    #[serde(borrow)]
    sources: Vec<&'a RawValue>,
}

#[derive(Deserialize)]
struct Named<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Sources {
    source_ids: HashSet<String>,
}

impl Workspace {
    fn list(&mut self) -> Bytes {
        let rows = &self.rows;
        let write = || {
            let mut text = "{\"status\":\"success\",\"message\":\"\",\"data\":[".to_owned();
            for (n, Row { id, text: row }) in rows.iter().enumerate() {
                let comma = if n == 0 { "" } else { "," };
                write!(text, "{comma}{{\"id\":\"{id}\",{}", &row[1..]).unwrap();
            }
            text.push_str("]}");
            Bytes::from(text)
        };
        self.answer.get_or_insert_with(write).clone()
    }

    fn connect(&mut self, body: &[u8], number: &AtomicU64) -> Bytes {
        let connect: Connect<'_> = serde_json::from_slice(body).unwrap();
        self.answer = None;
        let mut answer =
            "{\"status\":\"success\",\"message\":\"connected\",\"data\":{\"connected_sources\":[".to_owned();
        for (n, raw) in connect.sources.iter().enumerate() {
            let Named { name } = serde_json::from_str(raw.get()).unwrap();
            let place = *self.places.entry(name.clone().into_owned()).or_insert(self.rows.len());
            if place == self.rows.len() {
                let id = format!("src_{}", number.fetch_add(1, Ordering::Relaxed));
                self.rows.push(Row { id, text: String::new() });
            }
            let row = &mut self.rows[place];
            raw.get().clone_into(&mut row.text);
            let comma = if n == 0 { "" } else { "," };
            write!(answer, "{comma}{{\"id\":\"{}\",\"name\":\"{name}\"}}", row.id).unwrap();
        }
        answer.push_str("]}}");
        Bytes::from(answer)
    }

    fn cleanup(&mut self, body: &[u8]) -> Bytes {
        let Sources { source_ids } = serde_json::from_slice(body).unwrap();
        self.answer = None;
        self.rows.retain(|row| !source_ids.contains(&row.id));
        self.places.clear();
        for (place, row) in self.rows.iter().enumerate() {
            let Named { name } = serde_json::from_str(&row.text).unwrap();
            self.places.insert(name.into_owned(), place);
        }
        let count = source_ids.len();
        Bytes::from(format!(
            "{{\"status\":\"success\",\"message\":\"cleaned up\",\"data\":{{\"deleted_count\":{count}}}}}"
        ))
    }
}
