//! A scriptable platform: the six endpoints in memory, with every behaviour that the contract
//! leaves open as a choice, and faults for single calls.

use super::background::Background;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

const BASE_PATH: &str = "/jarvispy/org/user";

/// How the platform behaves where the contract leaves it open.
#[derive(Clone)]
pub(crate) struct Semantics {
    /// `connect` on a name that is taken.
    pub(crate) taken: Taken,
    /// What `list` shows of a definition.
    pub(crate) echo: EchoManner,
    /// The ids on rows.
    pub(crate) ids: Ids,
    /// So many lists after a write still show what was before it.
    pub(crate) list_lag: usize,
    /// What `cleanup` does with the ids it is given.
    pub(crate) cleanup: CleanupManner,
    /// What `test-connection` does.
    pub(crate) test_connection: TestManner,
    /// What `sync` answers.
    pub(crate) sync: SyncManner,
    /// Names that `connect` reports in `errors[]`, while the others go through.
    pub(crate) partial_connect: Vec<String>,
    /// Names for which `connect` refuses the whole batch with 400.
    pub(crate) refused: Vec<String>,
    /// Further fields of the list's envelope.
    pub(crate) page_fields: Map<String, Value>,
}

impl Default for Semantics {
    fn default() -> Self {
        Self {
            taken: Taken::Upsert,
            echo: EchoManner::Everything,
            ids: Ids::Text,
            list_lag: 0,
            cleanup: CleanupManner::All,
            test_connection: TestManner::Works,
            sync: SyncManner::Counts,
            partial_connect: Vec::new(),
            refused: Vec::new(),
            page_fields: Map::new(),
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Taken {
    /// The row keeps its id and takes the new definition.
    Upsert,
    /// A second row of that name appears.
    Duplicate,
    /// 409, and nothing of the batch is connected.
    Conflict,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum EchoManner {
    /// `connection_config` and `metadata` as they came, secrets in plain text.
    Everything,
    /// The same with `***` for what looks secret.
    Masked,
    /// Name and type only.
    Nothing,
    /// Numbers as text, an extra key here and there.
    Normalised,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ids {
    /// `"source_1"`
    Text,
    /// `1`
    Number,
    /// Rows show no id, and no id is known to `cleanup` and `sync`.
    None,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum CleanupManner {
    All,
    /// Only the first of the ids.
    OnlySome,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum TestManner {
    Works,
    /// 404
    Missing,
    /// A failed test for configurations that hold one of these texts as a value.
    FailsFor(Vec<String>),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum SyncManner {
    /// 200 with `records_processed` in all and of each source.
    Counts,
    /// 200 without a count.
    Silent,
    /// 202 without a body.
    Accepted,
}

/// What happens to one call instead of, or besides, its answer.
#[derive(Clone)]
pub(crate) enum Fault {
    /// This answer, without acting.
    Answer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// Acts, then gives this answer.
    ActThenAnswer { status: u16, headers: Vec<(&'static str, String)>, body: Vec<u8> },
    /// The connection breaks without an answer, nothing was done.
    DropBeforeActing,
    /// Acts; then the connection breaks without an answer.
    DropAfterActing,
    /// Waits at the gate, then goes on as usual.
    HoldBeforeActing(Gate),
    /// Acts, then waits at the gate before it answers.
    HoldAfterActing(Gate),
}

impl Fault {
    /// An error envelope with this status.
    pub(crate) fn status(status: u16, message: &str) -> Self {
        Self::json(status, &json!({"status": "error", "message": message, "data": null}))
    }

    /// This status and body.
    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::body(status, "application/json", body.to_string().into_bytes())
    }

    /// This status and these bytes.
    pub(crate) fn body(status: u16, kind: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::Answer { status, headers: vec![("content-type", kind.to_owned())], body: body.into() }
    }

    /// Adds a header to an answer.
    pub(crate) fn header(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer { headers, .. } | Self::ActThenAnswer { headers, .. } = &mut self {
            headers.push((name, value.to_owned()));
        }
        self
    }
}

/// Holds calls until it is opened.
#[derive(Clone)]
pub(crate) struct Gate(Arc<watch::Sender<bool>>);

impl Gate {
    pub(crate) fn closed() -> Self {
        Self(Arc::new(watch::Sender::new(false)))
    }

    pub(crate) fn open(&self) {
        self.0.send_replace(true);
    }

    async fn pass(&self) {
        let _ = self.0.subscribe().wait_for(|open| *open).await;
    }
}

/// A call as it arrived.
#[derive(Clone, Debug)]
pub(crate) struct Recorded {
    pub(crate) method: String,
    /// Path and query as they came over the wire, without the base path.
    pub(crate) target: String,
    pub(crate) endpoint: String,
    pub(crate) workspace: String,
    /// From the query or the body; `None` when it was not sent.
    pub(crate) scope: Option<String>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Recorded {
    /// The body as JSON, null when there is none.
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// Does the call change what the platform holds?
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.endpoint.as_str(), "connect" | "cleanup" | "sync")
    }
}

/// A source on the platform.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    /// Its number; what it looks like outside is up to [`Ids`].
    pub(crate) number: u64,
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) connection_config: Value,
    /// Null when none was sent.
    pub(crate) metadata: Value,
    /// How often it was synced.
    pub(crate) syncs: usize,
}

type Place = (String, String);

#[derive(Default)]
struct World {
    semantics: Semantics,
    token: String,
    next: u64,
    rows: BTreeMap<Place, Vec<Row>>,
    /// What the next lists of a place still show, and how many of them.
    stale: HashMap<Place, (Vec<Row>, usize)>,
    calls: Vec<Recorded>,
    once: Vec<(Option<String>, String, VecDeque<Fault>)>,
    always: HashMap<String, Fault>,
}

/// The platform; it stops when dropped.
pub(crate) struct Platform {
    world: Arc<Mutex<World>>,
    server: Background,
}

impl Platform {
    /// Starts one that behaves well.
    pub(crate) fn start() -> Self {
        Self::with(Semantics::default())
    }

    /// Starts one that behaves as told.
    pub(crate) fn with(semantics: Semantics) -> Self {
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

    /// The base URL, without `/api/v1`.
    pub(crate) fn url(&self) -> String {
        format!("http://{}{BASE_PATH}", self.server.address)
    }

    pub(crate) fn address(&self) -> std::net::SocketAddr {
        self.server.address
    }

    /// The token it accepts.
    pub(crate) fn token(&self) -> String {
        self.lock().token.clone()
    }

    /// From now on only this token is accepted.
    pub(crate) fn set_token(&self, token: &str) {
        token.clone_into(&mut self.lock().token);
    }

    /// Changes its behaviour.
    pub(crate) fn semantics(&self, change: impl FnOnce(&mut Semantics)) {
        change(&mut self.lock().semantics);
    }

    /// The next call to `endpoint` that no earlier script takes meets this fault.
    pub(crate) fn script(&self, endpoint: &str, fault: Fault) {
        self.enqueue(None, endpoint, fault);
    }

    /// The same for calls about one workspace only.
    pub(crate) fn script_for(&self, workspace: &str, endpoint: &str, fault: Fault) {
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

    /// Every call to `endpoint` meets this fault, until [`Platform::heal`].
    pub(crate) fn script_always(&self, endpoint: &str, fault: Fault) {
        self.lock().always.insert(endpoint.to_owned(), fault);
    }

    /// No more faults.
    pub(crate) fn heal(&self) {
        let mut world = self.lock();
        world.once.clear();
        world.always.clear();
    }

    /// Every call so far, also those that met a fault or were not authorised.
    pub(crate) fn calls(&self) -> Vec<Recorded> {
        self.lock().calls.clone()
    }

    /// The calls to one endpoint.
    pub(crate) fn calls_to(&self, endpoint: &str) -> Vec<Recorded> {
        self.calls().into_iter().filter(|call| call.endpoint == endpoint).collect()
    }

    /// The calls to connect, cleanup and sync.
    pub(crate) fn writes(&self) -> Vec<Recorded> {
        self.calls().into_iter().filter(Recorded::is_write).collect()
    }

    pub(crate) fn forget_calls(&self) {
        self.lock().calls.clear();
    }

    /// What a workspace's scope really holds.
    pub(crate) fn rows(&self, workspace: &str, scope: &str) -> Vec<Row> {
        self.lock().rows.get(&place(workspace, scope)).cloned().unwrap_or_default()
    }

    /// The names of [`Platform::rows`], sorted.
    pub(crate) fn names(&self, workspace: &str, scope: &str) -> Vec<String> {
        let mut names: Vec<String> = self.rows(workspace, scope).into_iter().map(|row| row.name).collect();
        names.sort();
        names
    }

    /// Someone else connects a source. Returns its number.
    pub(crate) fn add(&self, workspace: &str, scope: &str, name: &str, kind: &str, config: Value) -> u64 {
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

    /// Someone else removes every source of this name.
    pub(crate) fn remove(&self, workspace: &str, scope: &str, name: &str) {
        if let Some(rows) = self.lock().rows.get_mut(&place(workspace, scope)) {
            rows.retain(|row| row.name != name);
        }
    }

    /// Someone else changes every source of this name.
    pub(crate) fn modify(&self, workspace: &str, scope: &str, name: &str, change: impl Fn(&mut Row)) {
        if let Some(rows) = self.lock().rows.get_mut(&place(workspace, scope)) {
            rows.iter_mut().filter(|row| row.name == name).for_each(change);
        }
    }

    fn lock(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }
}

fn lock(world: &Mutex<World>) -> MutexGuard<'_, World> {
    world.lock().unwrap_or_else(PoisonError::into_inner)
}

fn place(workspace: &str, scope: &str) -> Place {
    (workspace.to_owned(), scope.to_owned())
}

/// A status and a body.
type Answer = (u16, Value);

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

/// Unwinding ends the task that serves this connection, and so the connection; resuming a panic
/// that never was prints nothing.
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

fn success(message: &str, data: &Value) -> Answer {
    (200, json!({"status": "success", "message": message, "data": data}))
}

fn refusal(status: u16, message: &str) -> Answer {
    let word = if status == 409 { "conflict" } else { "error" };
    (status, json!({"status": word, "message": message, "data": null}))
}

impl World {
    fn number(&mut self) -> u64 {
        self.next += 1;
        self.next
    }

    fn fault(&mut self, workspace: &str, endpoint: &str) -> Option<Fault> {
        for (at, of, faults) in &mut self.once {
            if of == endpoint
                && at.as_deref().is_none_or(|at| at == workspace)
                && let Some(fault) = faults.pop_front()
            {
                return Some(fault);
            }
        }
        self.always.get(endpoint).cloned()
    }

    fn act(&mut self, endpoint: &str, place: &Place, body: &Value, source_id: Option<&str>) -> Answer {
        match endpoint {
            "list" => self.list(place),
            "connect" => self.changed(place, |world| world.connect(place, body)),
            "cleanup" => self.changed(place, |world| world.cleanup(place, body)),
            "sync" => self.sync(place, body),
            "test-connection" => self.test(body),
            "schema" => self.schema(place, source_id.unwrap_or_default()),
            _ => refusal(404, "no such endpoint"),
        }
    }

    /// Runs a write, and lets the next lists lag behind it.
    fn changed(&mut self, place: &Place, write: impl FnOnce(&mut Self) -> Answer) -> Answer {
        let before = self.rows.get(place).cloned().unwrap_or_default();
        let answer = write(self);
        if self.semantics.list_lag > 0 {
            self.stale.insert(place.clone(), (before, self.semantics.list_lag));
        }
        answer
    }

    fn list(&mut self, place: &Place) -> Answer {
        let rows = match self.stale.get_mut(place) {
            Some((rows, left)) if *left > 0 => {
                *left -= 1;
                rows.clone()
            }
            _ => self.rows.get(place).cloned().unwrap_or_default(),
        };
        let rows: Vec<Value> = rows.iter().map(|row| self.shown(row)).collect();
        let (status, mut envelope) = success("listed", &json!(rows));
        for (key, value) in &self.semantics.page_fields {
            envelope[key] = value.clone();
        }
        (status, envelope)
    }

    fn id(&self, row: &Row) -> Value {
        match self.semantics.ids {
            Ids::Text => json!(format!("source_{}", row.number)),
            Ids::Number => json!(row.number),
            Ids::None => Value::Null,
        }
    }

    fn shown(&self, row: &Row) -> Value {
        let mut shown = json!({"name": row.name, "type": row.kind});
        if self.semantics.ids != Ids::None {
            shown["id"] = self.id(row);
        }
        let echo = |value: &Value| match self.semantics.echo {
            EchoManner::Masked => masked(value),
            EchoManner::Normalised => normalised(value),
            EchoManner::Everything | EchoManner::Nothing => value.clone(),
        };
        if self.semantics.echo != EchoManner::Nothing {
            shown["connection_config"] = echo(&row.connection_config);
            if !row.metadata.is_null() {
                shown["metadata"] = echo(&row.metadata);
            }
        }
        if self.semantics.echo == EchoManner::Normalised {
            shown["connection_config"]["ssl_mode"] = json!("prefer");
        }
        shown
    }

    fn connect(&mut self, place: &Place, body: &Value) -> Answer {
        let Some(sources) = body["sources"].as_array() else {
            return refusal(422, "sources is not a list");
        };
        let name = |source: &Value| source["name"].as_str().unwrap_or_default().to_owned();
        let names: Vec<String> = sources.iter().map(name).collect();
        if let Some(bad) = names.iter().find(|name| self.semantics.refused.contains(name)) {
            return refusal(400, &format!("{bad} is not acceptable"));
        }
        let rows = self.rows.entry(place.clone()).or_default();
        let taken = names.iter().find(|name| rows.iter().any(|row| row.name == **name));
        if let (Some(taken), Taken::Conflict) = (taken, self.semantics.taken) {
            return refusal(409, &format!("{taken} exists"));
        }
        let (mut connected, mut errors) = (Vec::new(), Vec::new());
        for source in sources {
            let name = name(source);
            if self.semantics.partial_connect.contains(&name) {
                errors.push(json!({"name": name, "message": "cannot be reached"}));
                continue;
            }
            let row = self.put(place, source);
            let mut shown = json!({"name": row.name, "type": row.kind});
            if self.semantics.ids != Ids::None {
                shown["id"] = self.id(&row);
            }
            connected.push(shown);
        }
        let (status, mut envelope) = success("connected", &json!({"connected_sources": connected}));
        if !errors.is_empty() {
            envelope["errors"] = json!(errors);
        }
        (status, envelope)
    }

    fn put(&mut self, place: &Place, source: &Value) -> Row {
        let text = |key: &str| source[key].as_str().unwrap_or_default().to_owned();
        let mut row = Row {
            number: self.number(),
            name: text("name"),
            kind: text("type"),
            connection_config: source["connection_config"].clone(),
            metadata: source["metadata"].clone(),
            syncs: 0,
        };
        let upsert = self.semantics.taken == Taken::Upsert;
        let rows = self.rows.entry(place.clone()).or_default();
        match rows.iter_mut().find(|old| upsert && old.name == row.name) {
            Some(old) => {
                (row.number, row.syncs) = (old.number, old.syncs);
                *old = row.clone();
            }
            None => rows.push(row.clone()),
        }
        row
    }

    /// By the contract: missing or empty `source_ids` mean all of them.
    fn chosen(&self, place: &Place, body: &Value) -> Vec<u64> {
        let rows = self.rows.get(place).map_or(&[][..], Vec::as_slice);
        let ids = body["source_ids"].as_array().filter(|ids| !ids.is_empty());
        let is_meant = |row: &&Row| ids.is_none_or(|ids| ids.contains(&self.id(row)));
        rows.iter().filter(is_meant).map(|row| row.number).collect()
    }

    fn cleanup(&mut self, place: &Place, body: &Value) -> Answer {
        let mut chosen = self.chosen(place, body);
        if self.semantics.cleanup == CleanupManner::OnlySome {
            chosen.truncate(1);
        }
        self.rows.entry(place.clone()).or_default().retain(|row| !chosen.contains(&row.number));
        success("cleaned up", &json!({"deleted_count": chosen.len()}))
    }

    fn sync(&mut self, place: &Place, body: &Value) -> Answer {
        let chosen = self.chosen(place, body);
        let mut sources = Vec::new();
        for number in &chosen {
            let rows = self.rows.entry(place.clone()).or_default();
            if let Some(row) = rows.iter_mut().find(|row| row.number == *number) {
                row.syncs += 1;
                let row = row.clone();
                sources.push(json!({"id": self.id(&row), "name": row.name, "records_processed": 10}));
            }
        }
        let data = json!({"records_processed": 10 * chosen.len(), "sources": sources});
        match self.semantics.sync {
            SyncManner::Counts => success("synced", &data),
            SyncManner::Silent => success("synced", &Value::Null),
            SyncManner::Accepted => (202, Value::Null),
        }
    }

    fn test(&self, body: &Value) -> Answer {
        let config = &body["source_config"]["connection_config"];
        match &self.semantics.test_connection {
            TestManner::Works => success("connection works", &Value::Null),
            TestManner::Missing => refusal(404, "no such endpoint"),
            TestManner::FailsFor(texts) if texts.iter().any(|text| holds(config, text)) => {
                (200, json!({"status": "error", "message": "cannot connect", "data": null}))
            }
            TestManner::FailsFor(_) => success("connection works", &Value::Null),
        }
    }

    fn schema(&self, place: &Place, source_id: &str) -> Answer {
        let is_meant = |row: &&Row| match self.id(row) {
            Value::String(id) => id == source_id,
            id => source_id.parse().is_ok_and(|number: u64| id == number),
        };
        match self.rows.get(place).and_then(|rows| rows.iter().find(is_meant)) {
            Some(row) => {
                let columns = json!([{"name": "id", "type": "integer"}, {"name": "note", "type": "text"}]);
                success("schema", &json!({"tables": [{"name": row.name, "columns": columns}]}))
            }
            None => refusal(404, "no such source"),
        }
    }
}

fn holds(value: &Value, wanted: &str) -> bool {
    match value {
        Value::String(text) => text == wanted,
        Value::Array(items) => items.iter().any(|item| holds(item, wanted)),
        Value::Object(entries) => entries.values().any(|value| holds(value, wanted)),
        _ => false,
    }
}

fn masked(value: &Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .iter()
            .map(|(key, value)| {
                let shown = if wellspring::model::looks_secret(key) { json!("***") } else { masked(value) };
                (key.clone(), shown)
            })
            .collect(),
        other => other.clone(),
    }
}

fn normalised(value: &Value) -> Value {
    match value {
        Value::Object(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), normalised(value))).collect()
        }
        Value::Number(number) => json!(number.to_string()),
        other => other.clone(),
    }
}
