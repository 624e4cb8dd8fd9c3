//! One request over HTTP: its permit, token, attempts and status.

use super::base_url::BaseUrl;
use super::body::{Unread, read, read_large};
use super::error::{Endpoint, RemoteError, RemoteErrorKind};
use super::failure::{classify_send_error, reason};
use super::limits::CallLimits;
use super::message::{SentSecrets, WITHHELD, printable, safe};
use super::room::{ByteBudget, ByteBudgets};
use super::{ClientConfig, Observer, Token, account, guard, reasons, request, retry};
use crate::model::{ResolvedSource, Scope, WorkspaceId, WorkspaceRef};
use crate::mutex::lock;
use hyper::body::Bytes;
use jiff::SignedDuration;
use reqwest::header::{
    ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_TYPE, DATE, HeaderMap, HeaderValue, LINK, LOCATION,
};
use reqwest::{Client, Method, Request, Response, StatusCode};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use std::collections::BTreeMap;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;
use tracing::debug;

/// Idle time after which a connection is closed.
///
/// Shorter than the keep-alive of common servers and proxies: a write on a connection that the
/// server is just closing ends without a response, and recovery then costs a list.
const POOL_IDLE_TIMEOUT: Duration = Duration::from_secs(4);

/// Maximum size of an error response in bytes; error messages are short.
const ERROR_BODY_LIMIT: usize = 256 * 1024;

/// Transport to one platform, shared by all clones of the clients.
pub(super) struct Transport {
    backend: ClientBackend,
    settings: ClientConfig,
    limits: CallLimits,
    budgets: ByteBudgets,
    token: Mutex<Option<SecretString>>,
    observer: OnceLock<Observer>,
    /// Lead of our clock at the last response.
    clock_offset: Mutex<Option<SignedDuration>>,
    /// Secrets by workspace, because any response may repeat those of earlier requests.
    secrets: Mutex<BTreeMap<WorkspaceRef, Arc<Mutex<SecretRegistry>>>>,
}

/// Secrets of a workspace's sources.
enum SecretRegistry {
    /// Loaded on first use.
    Pending(SecretLoader),
    Loaded(SentSecrets),
    /// Loading panicked, so any message may contain a secret.
    LoadFailed,
}

pub(super) type SecretLoader = Box<dyn FnOnce() -> Vec<ResolvedSource> + Send>;

impl SecretRegistry {
    fn pending(promise: SecretLoader) -> Arc<Mutex<Self>> {
        Arc::new(Mutex::new(Self::Pending(promise)))
    }

    /// Returns true if `message` may contain a registered secret or the token.
    fn may_appear_in(&mut self, message: &str, token: Option<&SecretString>) -> bool {
        *self = match mem::replace(self, Self::LoadFailed) {
            Self::Pending(promise) => {
                Self::Loaded(SentSecrets::from_sources(&promise().iter().collect::<Vec<_>>()))
            }
            known => known,
        };
        match self {
            Self::Loaded(sent) => sent.appears_in(message, token),
            _ => true,
        }
    }
}

/// Route of requests.
enum ClientBackend {
    Http(Client),
    /// To a platform within this process.
    InProcess(InProcess),
}

/// A platform within this process, used instead of the network.
///
/// Receives each complete request, including the token, and returns the response. All layers above
/// are the same.
pub type InProcess = Arc<
    dyn Fn(Request) -> Pin<Box<dyn Future<Output = Result<Response, InProcessFailure>> + Send>> + Send + Sync,
>;

/// Reason why an [`InProcess`] platform returns no response.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InProcessFailure {
    /// Acts like a connection that could not be opened.
    NotSent,
    /// Acts like a broken connection: the request may have been carried out.
    Lost,
}

/// A request to send.
pub(super) struct ApiCall<'a> {
    pub(super) endpoint: Endpoint,
    pub(super) workspace: &'a WorkspaceId,
    /// `None` for test-connection, which has no scope.
    pub(super) scope: Option<&'a Scope>,
    /// Query parameters in addition to the scope.
    pub(super) query: &'a [(&'static str, &'a str)],
    /// A body makes the request a POST and then contains the scope.
    pub(super) body: Option<Bytes>,
    pub(super) timeout: Duration,
    /// Maximum size of the response in bytes, after decompression.
    pub(super) limit: usize,
    /// Sources whose secrets are in the request.
    pub(super) sent: &'a [&'a ResolvedSource],
}

/// A complete 2xx response.
pub(super) struct RawResponse {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
    /// A `Link` header announces a next page.
    pub(super) has_next_page: bool,
    /// Held as long as the content of a large body.
    _budget: Option<ByteBudget>,
}

impl ApiCall<'_> {
    pub(super) fn error(&self, kind: RemoteErrorKind) -> RemoteError {
        let on = match self.scope {
            Some(scope) => {
                WorkspaceRef { workspace: self.workspace.clone(), scope: scope.clone() }.to_string()
            }
            None => self.workspace.to_string(),
        };
        RemoteError { endpoint: self.endpoint, on: printable(&on), kind }
    }

    fn request(&self, base: &BaseUrl) -> Result<Request, RemoteErrorKind> {
        let mut query = self.query.to_vec();
        if let (None, Some(scope)) = (&self.body, self.scope) {
            query.push(("scope", scope.as_str()));
        }
        let mut url = request::url(base, self.workspace, self.endpoint, &query);
        if let Some(account) = self.workspace.account() {
            url.set_path(&account::path(base, account, self.endpoint)?);
            url.set_query(None);
        }
        let method = if self.body.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(method, url);
        *request.timeout_mut() = Some(self.timeout);
        let headers = request.headers_mut();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(body) = &self.body {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
            *request.body_mut() = Some(body.clone().into());
        }
        if self.workspace.account().is_some() {
            guard::check_account(&request, self.body.as_deref())
                .map_err(|why| RemoteErrorKind::NotSent(why.into()))?;
        }
        Ok(request)
    }
}

impl Transport {
    pub(super) fn in_process(settings: ClientConfig, platform: InProcess) -> Self {
        Self::with_backend(ClientBackend::InProcess(platform), settings)
    }

    fn with_backend(backend: ClientBackend, settings: ClientConfig) -> Self {
        let limits = CallLimits::new(settings.max_in_flight, settings.requests_per_second);
        Self {
            backend,
            settings,
            limits,
            budgets: ByteBudgets::new(),
            token: Mutex::new(None),
            observer: OnceLock::new(),
            clock_offset: Mutex::new(None),
            secrets: Mutex::default(),
        }
    }

    pub(super) fn new(settings: ClientConfig) -> Result<Self, RemoteError> {
        let refused = |why: String| RemoteError {
            endpoint: Endpoint::Setup,
            on: settings.base_url.to_string(),
            kind: RemoteErrorKind::NotSent(why),
        };
        let base = &settings.base_url;
        if !(base.is_secure() || base.is_loopback() || settings.allow_plaintext) {
            return Err(refused(
                "plain http:// would send the token over the network unencrypted; use https://, or set \
                 `allow_plaintext = true` under [platform] in the host file"
                    .into(),
            ));
        }
        let mut builder = Client::builder()
            .user_agent(concat!("wellspring/", env!("CARGO_PKG_VERSION")))
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .connect_timeout(settings.connect_timeout)
            .pool_idle_timeout(POOL_IDLE_TIMEOUT);
        if !base.is_secure() {
            // A proxy would read the token. Certificates are not needed, so machines without any
            // can call themselves.
            builder = builder.no_proxy().tls_certs_only([]);
        }
        let client = builder.build().map_err(|error| refused(reason(&error)))?;
        Ok(Self::with_backend(ClientBackend::Http(client), settings))
    }

    pub(super) fn settings(&self) -> &ClientConfig {
        &self.settings
    }

    /// Sends the request, with retries where they are harmless.
    ///
    /// The guard checks the bytes before they are sent.
    pub(super) async fn call(&self, call: &ApiCall<'_>) -> Result<RawResponse, RemoteError> {
        if call.workspace.account().is_none() {
            guard::check(call.endpoint, call.body.as_deref())
                .map_err(|why| call.error(RemoteErrorKind::NotSent(why.into())))?;
        }
        self.settings.backoff.run(|| self.attempt(call)).await
    }

    pub(super) fn clock_ahead(&self) -> Option<SignedDuration> {
        *lock(&self.clock_offset)
    }

    fn compare_clocks(&self, response: &Response) {
        let date = response.headers().get(DATE).and_then(|date| date.to_str().ok());
        if let Some(theirs) = date.and_then(|date| jiff::fmt::rfc2822::parse(date).ok()) {
            let ahead = jiff::Timestamp::now().duration_since(theirs.timestamp());
            *lock(&self.clock_offset) = Some(ahead);
        }
    }

    pub(super) fn observe(&self, observer: Observer) {
        // Only one observer is supported.
        let _ = self.observer.set(observer);
    }

    pub(super) fn register_secrets(&self, workspace: &WorkspaceRef, promise: SecretLoader) {
        let known = SecretRegistry::pending(promise);
        lock(&self.secrets).insert(workspace.clone(), known);
    }

    /// Registers secrets of the workspace, unless some are registered.
    pub(super) fn register_loader(&self, workspace: &WorkspaceRef, promise: SecretLoader) {
        let mut known = lock(&self.secrets);
        known.entry(workspace.clone()).or_insert_with(|| SecretRegistry::pending(promise));
    }

    /// Returns a message of the platform that is safe to show.
    pub(super) fn redact(&self, sent: &[&ResolvedSource], message: &str) -> String {
        if message.is_empty() {
            return String::new();
        }
        let token = lock(&self.token).clone();
        let repeats = SentSecrets::from_sources(sent).appears_in(message, token.as_ref()) || {
            // Release the lock first, because loading secrets may take time.
            let workspaces = lock(&self.secrets);
            let known: Vec<_> = workspaces.values().cloned().collect();
            drop(workspaces);
            known.iter().any(|known| {
                let mut known = lock(known);
                known.may_appear_in(message, token.as_ref())
            })
        };
        if repeats { WITHHELD.to_owned() } else { safe(message) }
    }

    /// Makes one attempt, and a second one with a new token after a 401.
    async fn attempt(&self, call: &ApiCall<'_>) -> Result<RawResponse, RemoteError> {
        let known = lock(&self.token).clone();
        let token = match known {
            Some(token) => token,
            None => self.read_token(call)?,
        };
        match self.exchange(call, &token).await {
            Err(error) if error.is_auth() => {
                let anew = self.read_token(call)?;
                if anew.expose_secret() == token.expose_secret() {
                    return Err(error);
                }
                debug!(endpoint = call.endpoint.as_str(), "the token was renewed; trying again with it");
                self.exchange(call, &anew).await
            }
            result => result,
        }
    }

    fn read_token(&self, call: &ApiCall<'_>) -> Result<SecretString, RemoteError> {
        let read: &Token = &self.settings.token;
        let token = read().map_err(|why| call.error(RemoteErrorKind::NoToken(printable(&why))))?;
        *lock(&self.token) = Some(token.clone());
        Ok(token)
    }

    /// Sends the request; if memory is short, sends it again once there is room.
    ///
    /// Waiting in the middle of a response would use up the request's timeout.
    async fn exchange(&self, call: &ApiCall<'_>, token: &SecretString) -> Result<RawResponse, RemoteError> {
        let bytes = match self.exchange_within(call, token, None).await {
            Err(Unread::OverBudget(bytes)) => bytes,
            Err(Unread::Failed(kind)) => return Err(call.error(kind)),
            Ok(reply) => return Ok(reply),
        };
        let room = self.budgets.acquire(bytes).await;
        self.exchange_within(call, token, room).await.map_err(|unread| match unread {
            Unread::Failed(kind) => call.error(kind),
            Unread::OverBudget(_) => call.error(RemoteErrorKind::TooLarge { limit: bytes }),
        })
    }

    async fn exchange_within(
        &self,
        call: &ApiCall<'_>,
        token: &SecretString,
        room: Option<ByteBudget>,
    ) -> Result<RawResponse, Unread> {
        let mut request = call.request(&self.settings.base_url)?;
        request.headers_mut().insert(AUTHORIZATION, bearer(token)?);
        let turn = self.limits.acquire(call.endpoint).await;
        let started = std::time::Instant::now();
        let (status, outcome) = match self.backend.send(request).await {
            Ok(response) => {
                self.compare_clocks(&response);
                (Some(response.status().as_u16()), self.read_response(call, response, room).await)
            }
            Err(kind) => (None, Err(kind.into())),
        };
        turn.finish(&match &outcome {
            Err(Unread::Failed(kind)) => Err(kind.clone()),
            Err(Unread::OverBudget(_)) | Ok(_) => Ok(()),
        });
        if let Some(observer) = self.observer.get() {
            observer(call.endpoint, status, started.elapsed());
        }
        debug!(
            endpoint = call.endpoint.as_str(),
            workspace = ?call.workspace,
            scope = ?call.scope,
            status,
            duration = ?started.elapsed(),
            "called the platform"
        );
        outcome
    }

    /// Reads the response within its limit and classifies it by status.
    async fn read_response(
        &self,
        call: &ApiCall<'_>,
        mut response: Response,
        room: Option<ByteBudget>,
    ) -> Result<RawResponse, Unread> {
        let status = response.status();
        if status.is_success() {
            if let Some(encoding) = encoding(response.headers()) {
                let why = format!("encoded as {encoding}, which was not requested");
                return Err(RemoteErrorKind::Malformed(why).into());
            }
            let link_next = has_next_link(response.headers());
            let mut room = room;
            let body = read_large(&mut response, call.limit, &self.budgets, &mut room).await?;
            return Ok(RawResponse { status, body, has_next_page: link_next, _budget: room });
        }
        if status == StatusCode::SEE_OTHER && call.endpoint.is_write() {
            // 303 means that the request was carried out and the result is elsewhere.
            let why = "HTTP 303, which is not followed";
            return Err(RemoteErrorKind::NoResponse(why.into()).into());
        }
        if status.is_redirection() {
            return Err(RemoteErrorKind::Redirected(redirect_target(&response)).into());
        }
        let headers = response.headers().clone();
        // The status decides alone; an incomplete message is ignored.
        let body = read(&mut response, ERROR_BODY_LIMIT.min(call.limit)).await.unwrap_or_default();
        let envelope: Value = serde_json::from_slice(&body).unwrap_or_default();
        let message = self.redact(call.sent, &reasons::message(&envelope));
        let conflict = envelope.get("status").and_then(Value::as_str) == Some("conflict");
        let retry_after = retry::retry_after(&headers, jiff::Timestamp::now());
        let kind = match status.as_u16() {
            401 => RemoteErrorKind::Unauthorized(message),
            status @ (429 | 503) if is_throttled(status, call.endpoint, &envelope, retry_after) => {
                RemoteErrorKind::Throttled { retry_after, message }
            }
            // A request that timed out on the server may have been carried out.
            408 => RemoteErrorKind::NoResponse("the platform reports a timeout (HTTP 408)".into()),
            status @ 400..=499 if call.endpoint.is_write() && may_be_from_gateway(status, &envelope) => {
                RemoteErrorKind::Failed { status, message }
            }
            409 if call.workspace.account().is_some() && is_busy(&envelope) => {
                RemoteErrorKind::Throttled { retry_after, message }
            }
            403 => RemoteErrorKind::Forbidden(message),
            409 => RemoteErrorKind::Conflict(message),
            400..=499 if conflict => RemoteErrorKind::Conflict(message),
            status @ 400..=499 => RemoteErrorKind::Refused { status, message },
            status => RemoteErrorKind::Failed { status, message },
        };
        Err(kind.into())
    }
}

/// Returns true if a 429 or 503 proves that nothing was done.
///
/// For a write only the platform's own envelope proves it, and with 503 only together with `Retry-After`: a
/// gateway that gave up may have let the write through. A sync may be running after any 503.
fn is_throttled(status: u16, endpoint: Endpoint, envelope: &Value, retry_after: Option<Duration>) -> bool {
    let is_platforms_word = envelope.get("status").is_some_and(Value::is_string);
    let names_a_time = status == 429 || (endpoint != Endpoint::Sync && retry_after.is_some());
    !endpoint.is_write() || (is_platforms_word && names_a_time)
}

/// Returns true if an account's platform has not begun with the request, which no address conflicts with.
fn is_busy(envelope: &Value) -> bool {
    envelope.pointer("/data/errorCode").and_then(Value::as_str) == Some("ENGINE_BUSY")
}

/// Returns true if a rejection may come from a gateway.
///
/// The platform may then have carried out the request. Decides by the status, and by a body that is
/// not the platform's.
fn may_be_from_gateway(status: u16, envelope: &Value) -> bool {
    matches!(status, 403 | 407 | 413 | 414 | 421 | 425 | 429 | 431 | 444 | 460..=463 | 494..=499)
        || !envelope.is_object()
}

impl ClientBackend {
    async fn send(&self, request: Request) -> Result<Response, RemoteErrorKind> {
        match self {
            Self::Http(client) => client.execute(request).await.map_err(|error| classify_send_error(&error)),
            Self::InProcess(platform) => {
                let within = request.timeout().copied().unwrap_or(Duration::MAX);
                match tokio::time::timeout(within, platform(request)).await {
                    Ok(Ok(response)) => Ok(response),
                    Ok(Err(InProcessFailure::NotSent)) => Err(RemoteErrorKind::NotSent("not sent".into())),
                    Ok(Err(InProcessFailure::Lost)) => Err(RemoteErrorKind::NoResponse("no answer".into())),
                    Err(_) => Err(RemoteErrorKind::NoResponse("timed out".into())),
                }
            }
        }
    }
}

fn bearer(token: &SecretString) -> Result<HeaderValue, RemoteErrorKind> {
    let token = token.expose_secret().trim();
    if token.is_empty() {
        return Err(RemoteErrorKind::NoToken("it is empty".into()));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| RemoteErrorKind::NoToken("it holds characters that a header cannot carry".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Returns the origin of a redirect; its path may contain anything.
fn redirect_target(response: &Response) -> String {
    let status = response.status().as_u16();
    let location = response.headers().get(LOCATION).and_then(|value| value.to_str().ok());
    match location.and_then(|location| response.url().join(location).ok()) {
        Some(url) => format!("HTTP {status} to {}", printable(&url.origin().ascii_serialization())),
        None => format!("HTTP {status}"),
    }
}

/// Returns a content encoding that was not decoded.
fn encoding(headers: &HeaderMap) -> Option<String> {
    let encoding = headers.get(CONTENT_ENCODING)?.to_str().unwrap_or("something unknown").trim();
    let is_plain = encoding.is_empty() || encoding.eq_ignore_ascii_case("identity");
    if is_plain { None } else { Some(printable(encoding)) }
}

fn has_next_link(headers: &HeaderMap) -> bool {
    headers.get_all(LINK).iter().any(|value| {
        value.to_str().is_ok_and(|link| {
            let link = link.to_ascii_lowercase().replace([' ', '"'], "");
            link.contains("rel=next")
        })
    })
}
