//! A scriptable platform: the six endpoints in memory.
//!
//! Every behaviour that the API leaves open is configurable, and single calls can fail.

#[path = "platform/semantics.rs"]
mod semantics;
#[path = "platform/world.rs"]
mod world;

pub use semantics::{CleanupManner, EchoManner, Fault, Gate, Ids, Semantics, SyncManner, Taken, TestManner};
pub use world::Row;

use super::background::Background;
use super::lock;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::Value;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard};
use world::{Answer, Place, World, refusal};

const BASE_PATH: &str = "/jarvispy/org/user";

/// The platform; stops on drop.
pub struct Platform {
    world: Arc<Mutex<World>>,
    server: Background,
}

impl Platform {
    /// Starts a platform with the default behaviour.
    pub fn start() -> Self {
        Self::with(Semantics::default())
    }

    /// Starts a platform with the given behaviour.
    pub fn with(semantics: Semantics) -> Self {
        let world = World { semantics, token: "token-of-the-tests".into(), ..World::default() };
        let world = Arc::new(Mutex::new(world));
        let route = format!("{BASE_PATH}/api/v1/data/{{workspace}}/{{endpoint}}");
        let router = Router::new()
            .route(&route, axum::routing::any(serve))
            .layer(DefaultBodyLimit::disable())
            .with_state(world.clone());
        let server = Background::serve(async move |listener| axum::serve(listener, router).await.unwrap());
        Self { world, server }
    }

    /// Returns the base URL, without `/api/v1`.
    pub fn url(&self) -> String {
        format!("http://{}{BASE_PATH}", self.server.address)
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    /// Returns the accepted token.
    pub fn token(&self) -> String {
        self.lock().token.clone()
    }

    /// Replaces the accepted token.
    pub fn set_token(&self, token: &str) {
        token.clone_into(&mut self.lock().token);
    }

    /// Changes the behaviour.
    pub fn semantics(&self, change: impl FnOnce(&mut Semantics)) {
        change(&mut self.lock().semantics);
    }

    /// Adds a fault for the next call to `endpoint` that has none yet.
    pub fn script(&self, endpoint: &str, fault: Fault) {
        self.enqueue(None, endpoint, fault);
    }

    /// Like [`Platform::script`], for calls of one workspace only.
    pub fn script_for(&self, workspace: &str, endpoint: &str, fault: Fault) {
        self.enqueue(Some(workspace.to_owned()), endpoint, fault);
    }

    fn enqueue(&self, workspace: Option<String>, endpoint: &str, fault: Fault) {
        let mut world = self.lock();
        let queue = world.once.iter_mut().find(|(at, of, _)| *at == workspace && of == endpoint);
        match queue {
            Some((_, _, faults)) => faults.push_back(fault),
            None => world.once.push((workspace, endpoint.to_owned(), VecDeque::from([fault]))),
        }
    }

    /// Adds a fault for every call to `endpoint`, until [`Platform::heal`].
    pub fn script_always(&self, endpoint: &str, fault: Fault) {
        self.lock().always.insert(endpoint.to_owned(), fault);
    }

    /// Removes all faults.
    pub fn heal(&self) {
        let mut world = self.lock();
        world.once.clear();
        world.always.clear();
    }

    /// Returns every call so far, including failed and unauthorised ones.
    pub fn calls(&self) -> Vec<Recorded> {
        self.lock().calls.clone()
    }

    /// Returns the calls to one endpoint.
    pub fn calls_to(&self, endpoint: &str) -> Vec<Recorded> {
        self.calls().into_iter().filter(|call| call.endpoint == endpoint).collect()
    }

    /// Returns the calls to connect, cleanup and sync.
    pub fn writes(&self) -> Vec<Recorded> {
        self.calls().into_iter().filter(Recorded::is_write).collect()
    }

    pub fn forget_calls(&self) {
        self.lock().calls.clear();
    }

    /// Returns the actual contents of a workspace's scope.
    pub fn rows(&self, workspace: &str, scope: &str) -> Vec<Row> {
        self.lock().rows.get(&place(workspace, scope)).cloned().unwrap_or_default()
    }

    /// Returns the names of [`Platform::rows`], sorted.
    pub fn names(&self, workspace: &str, scope: &str) -> Vec<String> {
        let mut names: Vec<String> = self.rows(workspace, scope).into_iter().map(|row| row.name).collect();
        names.sort();
        names
    }

    /// Connects an unmanaged source and returns its number.
    pub fn add(&self, workspace: &str, scope: &str, name: &str, kind: &str, config: Value) -> u64 {
        let mut world = self.lock();
        let row = Row {
            number: world.number(),
            name: name.to_owned(),
            kind: kind.to_owned(),
            connection_config: config,
            metadata: Value::Null,
            syncs: 0,
        };
        let number = row.number;
        world.rows.entry(place(workspace, scope)).or_default().push(row);
        number
    }

    /// Removes every source of this name, as others might.
    pub fn remove(&self, workspace: &str, scope: &str, name: &str) {
        if let Some(rows) = self.lock().rows.get_mut(&place(workspace, scope)) {
            rows.retain(|row| row.name != name);
        }
    }

    /// Changes every source of this name, as others might.
    pub fn modify(&self, workspace: &str, scope: &str, name: &str, change: impl Fn(&mut Row)) {
        if let Some(rows) = self.lock().rows.get_mut(&place(workspace, scope)) {
            rows.iter_mut().filter(|row| row.name == name).for_each(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

/// A call as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub method: String,
    /// Path and query as received, without the base path.
    pub target: String,
    pub endpoint: String,
    pub workspace: String,
    /// From the query or the body; `None` if it was not sent.
    pub scope: Option<String>,
    pub headers: HeaderMap,
    pub body: Vec<u8>,
}

impl Recorded {
    /// Returns the body as JSON, null if there is none.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Returns true if the call changes the contents of the platform.
    pub fn is_write(&self) -> bool {
        matches!(self.endpoint.as_str(), "connect" | "cleanup" | "sync")
    }
}

fn place(workspace: &str, scope: &str) -> Place {
    (workspace.to_owned(), scope.to_owned())
}

async fn serve(
    State(world): State<Arc<Mutex<World>>>,
    method: Method,
    uri: Uri,
    Path((workspace, endpoint)): Path<(String, String)>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    let query = |key: &str| {
        let pairs = uri.query().unwrap_or_default().split('&');
        pairs.filter_map(|pair| pair.split_once('=')).find(|(name, _)| *name == key).map(|(_, v)| decoded(v))
    };
    let json: Value = serde_json::from_slice(&body).unwrap_or_default();
    let scope = query("scope").or_else(|| Some(json.get("scope")?.as_str()?.to_owned()));
    let fault = {
        let mut world = lock(&world);
        world.calls.push(Recorded {
            method: method.to_string(),
            target: target.strip_prefix(BASE_PATH).unwrap_or(target).to_owned(),
            endpoint: endpoint.clone(),
            workspace: workspace.clone(),
            scope: scope.clone(),
            headers: headers.clone(),
            body: body.to_vec(),
        });
        let expected = format!("Bearer {}", world.token);
        if headers.get("authorization").is_none_or(|given| given.as_bytes() != expected.as_bytes()) {
            return answer(refusal(401, "who are you?"));
        }
        world.fault(&workspace, &endpoint)
    };
    let place = (workspace, scope.unwrap_or_else(|| "user".to_owned()));
    let act = || lock(&world).act(&endpoint, &place, &json, query("source_id").as_deref());
    match fault {
        None => answer(act()),
        Some(Fault::Answer { status, headers, body }) => raw(status, &headers, body),
        Some(Fault::ActThenAnswer { status, headers, body }) => {
            act();
            raw(status, &headers, body)
        }
        Some(Fault::DropBeforeActing) => broken_connection(),
        Some(Fault::DropAfterActing) => {
            act();
            broken_connection()
        }
        Some(Fault::HoldBeforeActing(gate)) => {
            gate.pass().await;
            answer(act())
        }
        Some(Fault::HoldAfterActing(gate)) => {
            let done = act();
            gate.pass().await;
            answer(done)
        }
    }
}

/// Breaks the connection by unwinding its task; resuming a panic prints no message.
fn broken_connection() -> ! {
    std::panic::resume_unwind(Box::new("the connection breaks"))
}

fn answer((status, body): Answer) -> Response {
    if body.is_null() {
        return StatusCode::from_u16(status).unwrap().into_response();
    }
    raw(status, &[("content-type", "application/json".to_owned())], body.to_string().into_bytes())
}

fn raw(status: u16, headers: &[(&'static str, String)], body: Vec<u8>) -> Response {
    let mut response = (StatusCode::from_u16(status).unwrap(), body).into_response();
    response.headers_mut().remove("content-type");
    for (name, value) in headers {
        response.headers_mut().insert(*name, value.parse().unwrap());
    }
    response
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let pair = [rest.next().unwrap(), rest.next().unwrap()];
            bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).unwrap(), 16).unwrap());
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).unwrap()
}
