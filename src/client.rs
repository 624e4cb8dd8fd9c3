//! Client of the Data API.
//!
//! [`ApiReader`] lists, tests and reads schemas, and has no method that changes anything; a dry run
//! has nothing else. [`ApiWriter`] connects, cleans up and syncs. Every request names its scope, every
//! cleanup and sync its sources. Redirects are not followed, and plain HTTP is accepted for this
//! machine only.
//!
//! Responses are parsed leniently where that is safe. A list that may be incomplete is an error,
//! and every error states whether a write may have been carried out
//! ([`RemoteError::is_outcome_unknown`]).
//!
//! Invariant: the token is sent to the configured origin only, and no request without explicit
//! sources can remove or sync anything.

mod account;
mod account_answer;
mod answer;
mod base_url;
mod body;
mod dialect;
mod error;
mod failure;
mod forms;
mod guard;
mod limits;
mod list;
mod message;
mod reasons;
mod request;
mod response;
mod retry;
mod room;
mod transport;
mod wording;

pub use base_url::{BaseUrl, InvalidBaseUrl};
pub use error::{Endpoint, RemoteError, RemoteErrorKind, TokenTrouble};
pub use response::{
    CleanupAnswer, ConnectAnswer, ConnectedRow, ItemError, Schema, SchemaColumn, SchemaTable, SyncAnswer,
    SyncedRow, TestVerdict,
};
pub use retry::Backoff;
pub use transport::{InProcess, InProcessFailure};

use crate::listing::RelevantRows;
use crate::model::{
    Fingerprint, FingerprintKey, NonEmpty, ObservedSource, ResolvedSource, Scope, SourceId, WorkspaceId,
    WorkspaceRef,
};
use account::AccountRequest;
use dialect::{ContractRequest, Dialect};
use hyper::body::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use transport::{ApiCall, Transport};

/// Reads the token from its source; called once, and again after a 401.
///
/// The error contains the reason why it cannot be read.
pub type Token = Arc<dyn Fn() -> Result<secrecy::SecretString, String> + Send + Sync>;

/// Observes every attempt of a request.
///
/// The arguments are the endpoint, the HTTP status (`None` without a response), and the duration.
pub type Observer = Box<dyn Fn(Endpoint, Option<u16>, Duration) + Send + Sync>;

/// Maximum list response in bytes; 100,000 rows with their configuration fit.
const LIST_LIMIT: usize = 64 << 20;

/// Maximum schema response in bytes; wide schemas fit.
const SCHEMA_LIMIT: usize = 4 << 20;

/// Maximum size of other responses in bytes: a line per source of a large batch.
const ANSWER_LIMIT: usize = 1 << 20;

/// Minimum timeout of requests to an account that open a database, which may look at all its tables.
const DISCOVERY_TIMEOUT: Duration = Duration::from_secs(300);

/// Connection settings of one platform.
#[derive(Clone)]
pub struct ClientConfig {
    pub base_url: BaseUrl,
    pub token: Token,
    /// Timeout of one attempt of any request but sync.
    ///
    /// Measured from the first byte sent to the last received.
    pub timeout: Duration,
    /// Timeout of a sync, unless the source sets its own.
    pub sync_timeout: Duration,
    /// Timeout for opening a connection.
    pub connect_timeout: Duration,
    /// Maximum number of concurrent requests; the actual limit adapts to the platform.
    ///
    /// A quarter of them, at least one, may be syncs.
    pub max_in_flight: usize,
    /// Average number of requests per second, if limited.
    pub requests_per_second: Option<u32>,
    /// Permits plain `http://` to another machine.
    pub allow_plaintext: bool,
    pub backoff: Backoff,
}

impl ClientConfig {
    /// Creates settings with defaults for everything but the address and the token.
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

impl fmt::Debug for ClientConfig {
    /// Omits the token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings").field("base_url", &self.base_url).finish_non_exhaustive()
    }
}

/// Read-only client of the platform.
///
/// Clones share connections and limits.
#[derive(Clone)]
pub struct ApiReader(Arc<Transport>);

/// Client that may change the platform.
///
/// Clones share connections and limits.
#[derive(Clone)]
pub struct ApiWriter(ApiReader);

/// A `list` response that is not parsed yet.
pub struct Listing(transport::RawResponse);

/// Keyed digest of a list response; equal digests mean equal lists.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListDigest(Fingerprint);

impl Listing {
    /// Returns the digest, which costs much less than parsing the list.
    pub fn digest(&self, key: &FingerprintKey) -> ListDigest {
        let transport::RawResponse { status, body, has_next_page: link_next, .. } = &self.0;
        let [high, low] = status.as_u16().to_be_bytes();
        ListDigest(key.fingerprint_text([high, low, u8::from(*link_next), 0, 0, 0, 0, 0, 0, 0, 0, 0], body))
    }
}

impl ApiReader {
    /// Creates the client without contacting the platform.
    pub fn new(settings: ClientConfig) -> Result<Self, RemoteError> {
        Transport::new(settings).map(|transport| Self(Arc::new(transport)))
    }

    /// Creates a client of a platform within this process, without a network.
    ///
    /// URLs still use the address in the settings, and the timeouts run on the runtime's clock.
    #[must_use]
    pub fn in_process(settings: ClientConfig, platform: InProcess) -> Self {
        Self(Arc::new(Transport::in_process(settings, platform)))
    }

    /// Withholds messages of the platform that repeat a secret of these sources.
    ///
    /// Applies to every response, because even a failed sync may repeat a password. Replaces the
    /// sources registered for `workspace` before. `sources` is called when the first message must be
    /// checked.
    pub fn register_secrets(
        &self,
        workspace: &WorkspaceRef,
        sources: impl FnOnce() -> Vec<ResolvedSource> + Send + 'static,
    ) {
        self.0.register_secrets(workspace, Box::new(sources));
    }

    /// Registers the observer of attempts; later calls have no effect.
    pub fn observe(&self, observer: Observer) {
        self.0.observe(observer);
    }

    /// Returns how far our clock is ahead of the `Date` of the last response.
    pub fn clock_ahead(&self) -> Option<jiff::SignedDuration> {
        self.0.clock_ahead()
    }

    /// Like [`ApiReader::register_secrets`], but keeps sources that were already registered.
    pub fn register_loader(
        &self,
        workspace: &WorkspaceRef,
        sources: impl FnOnce() -> Vec<ResolvedSource> + Send + 'static,
    ) {
        self.0.register_loader(workspace, Box::new(sources));
    }

    pub async fn list(&self, workspace: &WorkspaceRef) -> Result<Vec<ObservedSource>, RemoteError> {
        self.read(workspace, &self.fetch_listing(workspace).await?, None)
    }

    /// Requests a list without parsing it.
    pub async fn fetch_listing(&self, workspace: &WorkspaceRef) -> Result<Listing, RemoteError> {
        let request = match workspace.workspace.account() {
            Some(_) => Dialect::Account(AccountRequest::List),
            None => Dialect::Contract(ContractRequest::List),
        };
        let mut call = self.call(workspace, request);
        call.limit = LIST_LIMIT;
        match self.0.call(&call).await {
            Err(error) if error.is_missing_endpoint() && workspace.workspace.account().is_some() => {
                Err(call.error(RemoteErrorKind::NoAccount(self.0.settings().base_url.to_string())))
            }
            Err(error) if error.is_missing_endpoint() && self.speaks_account_dialect(workspace).await => {
                Err(call.error(RemoteErrorKind::AccountDialect(self.0.settings().base_url.to_string())))
            }
            listed => listed.map(Listing),
        }
    }

    /// Returns true if the platform lists a whole account instead of a workspace.
    ///
    /// Reads only the form of the response, because its rows may contain passwords.
    async fn speaks_account_dialect(&self, workspace: &WorkspaceRef) -> bool {
        let mut call = self.call(workspace, Dialect::Contract(ContractRequest::ProbeAccount));
        call.scope = None;
        call.limit = LIST_LIMIT;
        let listed = self.0.call(&call).await;
        listed.is_ok_and(|reply| answer::is_list(&reply.body))
    }

    /// Reads a list, without the content of rows that are not relevant.
    pub fn read(
        &self,
        workspace: &WorkspaceRef,
        listing: &Listing,
        relevant: Option<&RelevantRows<'_>>,
    ) -> Result<Vec<ObservedSource>, RemoteError> {
        let call = self.call(workspace, Dialect::Contract(ContractRequest::List));
        let parse = match workspace.workspace.account() {
            Some(_) => crate::listing::parse_account,
            None => crate::listing::parse,
        };
        list::decode(&listing.0, |body| parse(body, relevant), |text| self.0.redact(call.sent, text))
            .map_err(|kind| call.error(kind))
    }

    /// Tests whether the platform can connect to `source`, which is not saved.
    pub async fn test_connection(
        &self,
        workspace: &WorkspaceId,
        source: &ResolvedSource,
    ) -> Result<TestVerdict, RemoteError> {
        let request = match workspace.account() {
            Some(_) => Dialect::Account(AccountRequest::InferSchema { source, models: false }),
            None => Dialect::Contract(ContractRequest::TestConnection(source)),
        };
        self.test(workspace, request, &[source]).await
    }

    /// Returns false if the platform has no `test-connection`.
    ///
    /// The request contains the source type `kind` and an empty configuration, so that no secret is
    /// sent.
    pub async fn offers_connection_test(
        &self,
        workspace: &WorkspaceId,
        kind: &str,
    ) -> Result<bool, RemoteError> {
        if workspace.account().is_some() {
            return Ok(true);
        }
        let request = Dialect::Contract(ContractRequest::ProbeConnectionTest(kind));
        match self.test(workspace, request, &[]).await {
            Ok(TestVerdict::Unavailable) => Ok(false),
            // A server that fails on an empty configuration has the endpoint.
            Ok(_) | Err(RemoteError { kind: RemoteErrorKind::Failed { .. }, .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    async fn test(
        &self,
        workspace: &WorkspaceId,
        request: Dialect<'_>,
        sent: &[&ResolvedSource],
    ) -> Result<TestVerdict, RemoteError> {
        let place = WorkspaceRef { workspace: workspace.clone(), scope: Scope::default() };
        let mut call = self.call(&place, request);
        call.scope = None;
        call.sent = sent;
        match self.0.call(&call).await {
            Ok(reply) if workspace.account().is_some() => {
                account_answer::account_verdict(&reply, &|text: &str| self.0.redact(call.sent, text))
                    .map_err(|kind| call.error(kind))
            }
            Ok(reply) => answer::verdict(&reply, &|text: &str| self.0.redact(call.sent, text))
                .map_err(|kind| call.error(kind)),
            Err(error) => match error.kind {
                RemoteErrorKind::Refused { status: 404 | 405, .. }
                | RemoteErrorKind::Failed { status: 501, .. } => Ok(TestVerdict::Unavailable),
                RemoteErrorKind::Refused { message, .. } | RemoteErrorKind::Conflict(message) => {
                    Ok(TestVerdict::Failed(message))
                }
                _ => Err(error),
            },
        }
    }

    /// Returns the tables and columns of one source.
    pub async fn schema(&self, workspace: &WorkspaceRef, id: &SourceId) -> Result<Schema, RemoteError> {
        let id = id.to_string();
        let query = [("source_id", id.as_str())];
        let mut call = self.call(workspace, Dialect::Contract(ContractRequest::Schema));
        if workspace.workspace.account().is_some() {
            return Err(call.error(dialect::not_of_accounts("schema of a connected source")));
        }
        call.query = &query;
        call.limit = SCHEMA_LIMIT;
        let reply = self.0.call(&call).await?;
        answer::schema(&reply, &|text: &str| self.0.redact(call.sent, text)).map_err(|kind| call.error(kind))
    }

    /// Returns the table of a source of an account, which is not saved.
    pub async fn infer_schema(
        &self,
        workspace: &WorkspaceRef,
        source: &ResolvedSource,
    ) -> Result<Schema, RemoteError> {
        let sent = [source];
        let mut call =
            self.call(workspace, Dialect::Account(AccountRequest::InferSchema { source, models: true }));
        call.limit = SCHEMA_LIMIT;
        call.sent = &sent;
        let reply = self.0.call(&call).await?;
        account_answer::account_schema(&reply, &|text: &str| self.0.redact(call.sent, text))
            .map_err(|kind| call.error(kind))
    }

    fn call<'a>(&self, workspace: &'a WorkspaceRef, request: Dialect<'_>) -> ApiCall<'a> {
        let settings = self.0.settings();
        let is_account = matches!(request, Dialect::Account(_));
        let opens_databases =
            is_account && matches!(request.endpoint(), Endpoint::Connect | Endpoint::InferSchema);
        ApiCall {
            endpoint: request.endpoint(),
            workspace: &workspace.workspace,
            scope: if is_account { None } else { Some(&workspace.scope) },
            query: &[],
            body: request.body(&workspace.scope),
            timeout: if opens_databases { settings.timeout.max(DISCOVERY_TIMEOUT) } else { settings.timeout },
            limit: ANSWER_LIMIT,
            sent: &[],
        }
    }
}

impl ApiWriter {
    /// Creates a writing client on the reader's connections and limits.
    #[must_use]
    pub fn new(reader: &ApiReader) -> Self {
        Self(reader.clone())
    }

    pub fn reader(&self) -> &ApiReader {
        &self.0
    }

    /// Connects sources in one request.
    ///
    /// # Errors
    /// When the request fails as a whole. If [`RemoteError::is_outcome_unknown`], list before
    /// retrying.
    pub async fn connect(
        &self,
        workspace: &WorkspaceRef,
        sources: &NonEmpty<&ResolvedSource>,
    ) -> Result<ConnectAnswer, RemoteError> {
        if workspace.workspace.account().is_some() {
            return self.connect_to_account(workspace, sources).await;
        }
        let mut call = self.0.call(workspace, Dialect::Contract(ContractRequest::Connect(sources)));
        call.sent = sources.as_slice();
        self.send(&call, answer::connect).await
    }

    /// Connects one source of an account; a request has room for one only.
    async fn connect_to_account(
        &self,
        workspace: &WorkspaceRef,
        sources: &NonEmpty<&ResolvedSource>,
    ) -> Result<ConnectAnswer, RemoteError> {
        let source = *sources.first();
        let mut call = self.0.call(workspace, Dialect::Account(AccountRequest::Connect(source)));
        call.sent = sources.as_slice();
        // The response repeats all rows of the account.
        call.limit = LIST_LIMIT;
        if sources.as_slice().len() > 1 {
            return Err(
                call.error(RemoteErrorKind::NotSent("an account connects one source at a time".into()))
            );
        }
        self.send(&call, |reply, clean| account_answer::account_connect(reply, source.name(), clean)).await
    }

    /// Returns the maximum number of concurrent syncs; further ones wait.
    pub fn max_syncs(&self) -> usize {
        limits::max_syncs(self.0.0.settings().max_in_flight)
    }

    /// Removes the sources with these ids in one request.
    ///
    /// # Errors
    /// When the request fails as a whole. If [`RemoteError::is_outcome_unknown`], list before
    /// retrying.
    pub async fn cleanup(
        &self,
        workspace: &WorkspaceRef,
        ids: &NonEmpty<SourceId>,
    ) -> Result<CleanupAnswer, RemoteError> {
        let request = match workspace.workspace.account() {
            Some(_) => Dialect::Account(AccountRequest::Cleanup(ids)),
            None => Dialect::Contract(ContractRequest::Cleanup(ids)),
        };
        let call = self.0.call(workspace, request);
        self.send(&call, answer::cleanup).await
    }

    /// Syncs the sources with these ids in one request.
    ///
    /// The request lasts as long as the sync does, at most `timeout` (or the sync timeout of the
    /// settings).
    ///
    /// # Errors
    /// When the request fails as a whole. If [`RemoteError::is_outcome_unknown`], the sync may have
    /// run.
    pub async fn sync(
        &self,
        workspace: &WorkspaceRef,
        ids: &NonEmpty<SourceId>,
        options: &Map<String, Value>,
        timeout: Option<Duration>,
    ) -> Result<SyncAnswer, RemoteError> {
        let mut call = self.0.call(workspace, Dialect::Contract(ContractRequest::Sync { ids, options }));
        if workspace.workspace.account().is_some() {
            return Err(call.error(dialect::not_of_accounts("syncs")));
        }
        call.timeout = timeout.unwrap_or(self.0.0.settings().sync_timeout);
        self.send(&call, answer::sync).await
    }

    async fn send<T>(
        &self,
        call: &ApiCall<'_>,
        decode: impl Fn(&transport::RawResponse, &dyn Fn(&str) -> String) -> Result<T, RemoteErrorKind>,
    ) -> Result<T, RemoteError> {
        let transport = &self.0.0;
        let reply = transport.call(call).await?;
        decode(&reply, &|text| transport.redact(call.sent, text)).map_err(|kind| call.error(kind))
    }
}

fn body_of(body: &impl Serialize) -> Bytes {
    // Serialising fails only for maps with non-string keys; the guard rejects empty bytes.
    serde_json::to_vec(body).unwrap_or_default().into()
}
