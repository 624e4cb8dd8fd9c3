//! The Data API client.
//!
//! [`Reader`] lists, tests and reads schemas; it has no method that changes anything, and is all a
//! dry run gets. [`Writer`] connects, cleans up and syncs. Every request names its scope, every
//! cleanup and sync its sources. The token goes to the configured origin and nowhere else: redirects
//! are not followed, and plain HTTP is for this machine only.
//!
//! Answers are read as tolerantly as is safe: a list that is not plainly whole is an error, and an
//! error says whether a write may have been carried out ([`RemoteError::outcome_unknown`]).

mod answer;
mod base_url;
mod error;
mod forms;
mod guard;
mod limits;
mod list;
mod message;
mod reasons;
mod request;
mod retry;
mod room;
mod transport;
mod wording;

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use error::{Endpoint, RemoteError, RemoteErrorKind, TokenTrouble};
pub use retry::Backoff;
pub use transport::{InProcess, Unanswered};

use crate::model::{
    Fingerprint, FingerprintKey, NonEmpty, ObservedSource, ResolvedSource, SourceId, Unit, WorkspaceId,
};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use transport::{Call, Transport};

/// Reads the token from where it is kept; asked once, and anew after a 401. The error says why it
/// cannot be read.
pub type Token = Arc<dyn Fn() -> Result<secrecy::SecretString, String> + Send + Sync>;

/// Told of each attempt of a call: the endpoint, the HTTP status unless no answer came, and how long it took.
pub type Observer = Box<dyn Fn(Endpoint, Option<u16>, Duration) + Send + Sync>;

/// A hundred thousand rows with their configuration fit in.
const LIST_LIMIT: usize = 64 << 20;

/// Wide schemas fit in.
const SCHEMA_LIMIT: usize = 4 << 20;

/// Enough for a line on each source of a large batch.
const ANSWER_LIMIT: usize = 1 << 20;

/// How to reach one platform.
#[derive(Clone)]
pub struct Settings {
    /// Where it is.
    pub base_url: BaseUrl,
    /// Who we are.
    pub token: Token,
    /// For one attempt of any call but sync, from the first byte sent to the last received.
    pub timeout: Duration,
    /// The same for sync, unless the source says otherwise.
    pub sync_timeout: Duration,
    /// For opening a connection.
    pub connect_timeout: Duration,
    /// Calls under way at once, at most; below that it follows what the platform bears. A quarter of them,
    /// at least one, may be syncs.
    pub max_in_flight: usize,
    /// Calls begun in one second, on average, where that is limited.
    pub requests_per_second: Option<u32>,
    /// Permits `http://` to another machine.
    pub allow_plaintext: bool,
    /// The waits between attempts.
    pub backoff: Backoff,
}

impl Settings {
    /// The defaults for everything but the address and the token.
    #[must_use]
    pub fn new(base_url: BaseUrl, token: Token) -> Self {
        Self {
            base_url,
            token,
            timeout: Duration::from_secs(30),
            sync_timeout: Duration::from_secs(30 * 60),
            connect_timeout: Duration::from_secs(10),
            max_in_flight: 64,
            requests_per_second: None,
            allow_plaintext: false,
            backoff: Backoff::default(),
        }
    }
}

impl fmt::Debug for Settings {
    /// Without the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// The client without any method that changes the platform. Clones share connections and limits.
#[derive(Clone)]
pub struct Reader(Arc<Transport>);

/// The client's methods that change the platform. Clones share connections and limits.
#[derive(Clone)]
pub struct Writer(Reader);

/// An answer to `list` that is not yet read.
pub struct Listing(transport::Reply);

/// A keyed digest of all that a list says. Equal answers mean the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDigest(Fingerprint);

impl Listing {
    /// Costs a small part of what reading it costs.
    #[must_use]
    pub fn digest(&self, key: &FingerprintKey) -> ListDigest {
        let transport::Reply { status, body, link_next, .. } = &self.0;
        let [high, low] = status.as_u16().to_be_bytes();
        ListDigest(key.of_text([high, low, u8::from(*link_next), 0, 0, 0, 0, 0, 0, 0, 0, 0], body))
    }
}

/// What `test-connection` says about a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It works; the platform's message.
    Passed(String),
    /// It does not; the platform's message.
    Failed(String),
    /// The platform has no such test (404, 405, 501).
    Unavailable,
}

/// The answer of `connect`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectAnswer {
    /// `data.connected_sources`, as far as it is given.
    pub connected: Vec<ConnectedRow>,
    /// Sources it could not connect.
    pub errors: Vec<ItemError>,
    /// Why it could not connect those that it names nowhere.
    pub rest: Option<String>,
}

/// A source that the platform says it connected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConnectedRow {
    /// Its id, when given.
    pub id: Option<SourceId>,
    /// Its name, when given.
    pub name: Option<String>,
}

/// A failure of one source within a call that otherwise succeeded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ItemError {
    /// The source's id, when given.
    pub id: Option<SourceId>,
    /// The source's name, when given.
    pub name: Option<String>,
    /// The platform's message.
    pub message: String,
}

impl ItemError {
    /// Returns true if this is the failure of the source with this id, or of this name. Some platforms
    /// give an id where a name is expected.
    #[must_use]
    pub fn is_of(&self, id: Option<&SourceId>, name: &str) -> bool {
        match (&self.id, &self.name) {
            (Some(own), _) => Some(own) == id,
            (None, Some(own)) => own == name || id.is_some_and(|id| id.to_string() == *own),
            (None, None) => false,
        }
    }
}

/// The answer of `cleanup`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CleanupAnswer {
    /// `data.deleted_count`, when given.
    pub deleted: Option<u64>,
    /// Sources it could not clean up.
    pub errors: Vec<ItemError>,
    /// Why it could not clean up those that it names nowhere.
    pub rest: Option<String>,
}

/// The answer of `sync`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncAnswer {
    /// `data.records_processed`, when given: of all sources together.
    pub records: Option<u64>,
    /// Sources it could not sync.
    pub errors: Vec<ItemError>,
    /// Why it could not sync those that it names nowhere.
    pub rest: Option<String>,
    /// `data.sources`, when given.
    pub sources: Vec<SyncedRow>,
}

/// One source of a `sync` answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncedRow {
    /// Its id, when given.
    pub id: Option<SourceId>,
    /// Its name, when given.
    pub name: Option<String>,
    /// `records_processed` of this source, when given.
    pub records: Option<u64>,
    /// `message` of this source, when given.
    pub message: Option<String>,
}

/// What a source holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Schema {
    /// `data.tables`
    pub tables: Vec<Table>,
}

/// A table of a [`Schema`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Table {
    /// `name`
    pub name: String,
    /// `columns`
    pub columns: Vec<Column>,
}

/// A column of a [`Table`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Column {
    /// `name`
    pub name: String,
    /// `type`, empty when not given.
    #[serde(rename = "type")]
    pub kind: String,
}

impl Reader {
    /// Prepares the client; nothing is contacted yet.
    ///
    /// # Errors
    /// When the URL is plain HTTP to another machine, or TLS cannot be set up.
    pub fn new(settings: Settings) -> Result<Self, RemoteError> {
        Transport::new(settings).map(|transport| Self(Arc::new(transport)))
    }

    /// Speaks to a platform within this process; only the wire is left out. The settings' address
    /// still makes the URLs, and their timeouts hold on the clock of the runtime.
    #[must_use]
    pub fn in_process(settings: Settings, platform: InProcess) -> Self {
        Self(Arc::new(Transport::in_process(settings, platform)))
    }

    /// The secrets of these sources are from now on withheld from every message of the platform,
    /// whatever call it answers: a failed sync may well repeat a password. They take the place of
    /// those told for `unit` before. `sources` is asked for them only once there is a message to be looked at.
    pub fn withhold(&self, unit: &Unit, sources: impl FnOnce() -> Vec<ResolvedSource> + Send + 'static) {
        self.0.withhold(unit, Box::new(sources));
    }

    /// From now on, `observer` is told of each attempt. The first one stays.
    pub fn observe(&self, observer: Observer) {
        self.0.observe(observer);
    }

    /// By how much our clock is ahead of the platform's, by the date of its last answer; seconds count.
    #[must_use]
    pub fn clock_ahead(&self) -> Option<jiff::SignedDuration> {
        self.0.clock_ahead()
    }

    /// The same for a unit of which nothing was told yet.
    pub fn withhold_at_first(
        &self,
        unit: &Unit,
        sources: impl FnOnce() -> Vec<ResolvedSource> + Send + 'static,
    ) {
        self.0.withhold_at_first(unit, Box::new(sources));
    }

    /// Every source of a unit, the whole list or none of it.
    ///
    /// # Errors
    /// When the call fails, or its answer is not plainly the whole list.
    pub async fn list(&self, unit: &Unit) -> Result<Vec<ObservedSource>, RemoteError> {
        self.read(unit, &self.listing(unit).await?)
    }

    /// The answer to a list, not yet read.
    ///
    /// # Errors
    /// When the call fails.
    pub async fn listing(&self, unit: &Unit) -> Result<Listing, RemoteError> {
        let mut call = self.call(Endpoint::List, unit);
        call.limit = LIST_LIMIT;
        self.0.call(&call).await.map(Listing)
    }

    /// Reads it.
    ///
    /// # Errors
    /// When the answer is not plainly the whole list.
    pub fn read(&self, unit: &Unit, listing: &Listing) -> Result<Vec<ObservedSource>, RemoteError> {
        let call = self.call(Endpoint::List, unit);
        list::decode(&listing.0, |text| self.0.cleaned(call.sent, text)).map_err(|kind| call.error(kind))
    }

    /// Asks the platform whether it can connect to `source`. Nothing is saved there.
    ///
    /// # Errors
    /// When no verdict comes: no answer, 5xx, or the token is refused.
    pub async fn test_connection(
        &self,
        workspace: &WorkspaceId,
        source: &ResolvedSource,
    ) -> Result<Verdict, RemoteError> {
        let body = body_of(&request::TestConnection { source_config: source.into() });
        self.test(workspace, body, &[source]).await
    }

    /// Returns false if the platform has no `test-connection`. The request holds the source type `kind`
    /// and an empty configuration: no secret is sent to find out.
    ///
    /// # Errors
    /// When no answer comes, or the platform does not accept the token.
    pub async fn offers_connection_test(
        &self,
        workspace: &WorkspaceId,
        kind: &str,
    ) -> Result<bool, RemoteError> {
        let body = body_of(&request::ProbeConnectionTest::of_type(kind));
        match self.test(workspace, body, &[]).await {
            Ok(Verdict::Unavailable) => Ok(false),
            // A server that fails on an empty configuration has the endpoint.
            Ok(_) | Err(RemoteError { kind: RemoteErrorKind::Failed { .. }, .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn test(
        &self,
        workspace: &WorkspaceId,
        body: Bytes,
        sent: &[&ResolvedSource],
    ) -> Result<Verdict, RemoteError> {
        let call = Call {
            endpoint: Endpoint::TestConnection,
            workspace,
            scope: None,
            query: &[],
            body: Some(body),
            timeout: self.0.settings().timeout,
            limit: ANSWER_LIMIT,
            sent,
        };
        match self.0.call(&call).await {
            Ok(reply) => answer::verdict(&reply, &|text: &str| self.0.cleaned(call.sent, text))
                .map_err(|kind| call.error(kind)),
            Err(error) => match error.kind {
                RemoteErrorKind::Refused { status: 404 | 405, .. }
                | RemoteErrorKind::Failed { status: 501, .. } => Ok(Verdict::Unavailable),
                RemoteErrorKind::Refused { message, .. } | RemoteErrorKind::Conflict(message) => {
                    Ok(Verdict::Failed(message))
                }
                _ => Err(error),
            },
        }
    }

    /// The tables and columns of one source.
    ///
    /// # Errors
    /// When the call fails or its answer is not a schema.
    pub async fn schema(&self, unit: &Unit, id: &SourceId) -> Result<Schema, RemoteError> {
        let id = id.to_string();
        let query = [("source_id", id.as_str())];
        let mut call = self.call(Endpoint::Schema, unit);
        call.query = &query;
        call.limit = SCHEMA_LIMIT;
        let reply = self.0.call(&call).await?;
        answer::schema(&reply, &|text: &str| self.0.cleaned(call.sent, text)).map_err(|kind| call.error(kind))
    }

    fn call<'a>(&self, endpoint: Endpoint, unit: &'a Unit) -> Call<'a> {
        Call {
            endpoint,
            workspace: &unit.workspace,
            scope: Some(&unit.scope),
            query: &[],
            body: None,
            timeout: self.0.settings().timeout,
            limit: ANSWER_LIMIT,
            sent: &[],
        }
    }
}

impl Writer {
    /// The writing half, over the same connections and limits.
    #[must_use]
    pub fn new(reader: &Reader) -> Self {
        Self(reader.clone())
    }

    /// The reading half.
    #[must_use]
    pub fn reader(&self) -> &Reader {
        &self.0
    }

    /// Connects sources, in one call.
    ///
    /// # Errors
    /// When the call fails as a whole; [`RemoteError::outcome_unknown`] says whether to look first.
    pub async fn connect(
        &self,
        unit: &Unit,
        sources: &NonEmpty<&ResolvedSource>,
    ) -> Result<ConnectAnswer, RemoteError> {
        let body = request::Connect {
            scope: &unit.scope,
            sources: sources.as_slice().iter().map(|source| (*source).into()).collect(),
        };
        let mut call = self.0.call(Endpoint::Connect, unit);
        call.body = Some(body_of(&body));
        call.sent = sources.as_slice();
        self.send(&call, answer::connect).await
    }

    /// So many syncs may be under way at once; what is more waits for its turn.
    #[must_use]
    pub fn most_syncs(&self) -> usize {
        limits::most_syncs(self.0.0.settings().max_in_flight)
    }

    /// Removes the sources with these ids, in one call.
    ///
    /// # Errors
    /// When the call fails as a whole; [`RemoteError::outcome_unknown`] says whether to look first.
    pub async fn cleanup(&self, unit: &Unit, ids: &NonEmpty<SourceId>) -> Result<CleanupAnswer, RemoteError> {
        let body = request::Cleanup { scope: &unit.scope, source_ids: ids.as_slice() };
        let mut call = self.0.call(Endpoint::Cleanup, unit);
        call.body = Some(body_of(&body));
        self.send(&call, answer::cleanup).await
    }

    /// Syncs the sources with these ids, in one call that lasts as long as the sync does, at most
    /// `timeout` (else the settings' sync timeout).
    ///
    /// # Errors
    /// When the call fails as a whole; [`RemoteError::outcome_unknown`] says whether it may have run.
    pub async fn sync(
        &self,
        unit: &Unit,
        ids: &NonEmpty<SourceId>,
        options: &Map<String, Value>,
        timeout: Option<Duration>,
    ) -> Result<SyncAnswer, RemoteError> {
        let body = request::Sync { scope: &unit.scope, source_ids: ids.as_slice(), sync_options: options };
        let mut call = self.0.call(Endpoint::Sync, unit);
        call.body = Some(body_of(&body));
        call.timeout = timeout.unwrap_or(self.0.0.settings().sync_timeout);
        self.send(&call, answer::sync).await
    }

    async fn send<T>(
        &self,
        call: &Call<'_>,
        decode: impl Fn(&transport::Reply, &dyn Fn(&str) -> String) -> Result<T, RemoteErrorKind>,
    ) -> Result<T, RemoteError> {
        let transport = &self.0.0;
        let reply = transport.call(call).await?;
        decode(&reply, &|text| transport.cleaned(call.sent, text)).map_err(|kind| call.error(kind))
    }
}

/// Reads the body of a `list` answer (HTTP 200) as [`Reader::list`] does. For those who want to try
/// bodies without a platform.
///
/// # Errors
/// When it is not plainly the whole list.
pub fn read_list(body: &[u8]) -> Result<Vec<ObservedSource>, RemoteErrorKind> {
    list::decode(&transport::Reply::ok(body), message::printable)
}

/// The bytes of a body.
fn body_of(body: &impl Serialize) -> Bytes {
    // Only maps with keys other than text fail to serialise; with no bytes the guard holds it back.
    serde_json::to_vec(body).unwrap_or_default().into()
}
