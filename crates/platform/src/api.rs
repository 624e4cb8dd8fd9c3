//! HTTP front: authentication, routing and the response envelope.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, BodyDataStream};
use axum::extract::{Query, Request, State};
use axum::http::header::{AUTHORIZATION, CONTENT_LENGTH, EXPECT};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::StreamExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::account;
use super::endpoints;
use super::openapi;
use super::platform_core::PlatformCore;
use super::response::{ApiResponse, json_response};
use super::route::{DIALECTS, Route, WorkspaceEndpoint};

/// Maximum size of a body in bytes; 10,000 sources fit.
const MAX_BODY_BYTES: usize = 16 << 20;
/// Maximum number of bytes read of a body that is too large.
const MAX_DRAINED_BYTES: usize = 256 << 20;
/// Maximum pause of a client within a rejected body.
const DRAIN_IDLE_TIMEOUT: Duration = Duration::from_millis(500);
/// Maximum time for sending a body.
const BODY_TIMEOUT: Duration = Duration::from_secs(30);
/// Maximum number of concurrent requests; further ones get an error.
const MAX_CONCURRENT_CALLS: usize = 256;

/// Digest of the token; comparing digests takes constant time.
pub(super) struct RequestToken([u8; 32]);

impl RequestToken {
    /// Returns `None` if the token is empty.
    pub(super) fn new(token: &SecretString) -> Option<Self> {
        let token = token.expose_secret();
        if token.is_empty() { None } else { Some(Self(Sha256::digest(token.as_bytes()).into())) }
    }

    fn authorizes(&self, headers: &HeaderMap) -> bool {
        let given = headers.get(AUTHORIZATION).map(HeaderValue::as_bytes).unwrap_or_default();
        let Some((scheme, token)) = given.split_at_checked("Bearer ".len()) else { return false };
        let digest: [u8; 32] = Sha256::digest(token.trim_ascii()).into();
        let different = self.0.iter().zip(digest).fold(0, |different, (a, b)| different | (a ^ b));
        scheme.eq_ignore_ascii_case(b"Bearer ") && different == 0
    }
}

struct ApiState {
    core: Arc<PlatformCore>,
    key: RequestToken,
    calls: Semaphore,
}

/// Routes all paths to one handler, since the API may have any path prefix.
pub(super) fn router(core: Arc<PlatformCore>, key: RequestToken) -> Router {
    let front = ApiState { core, key, calls: Semaphore::new(MAX_CONCURRENT_CALLS) };
    Router::new().fallback(answer).with_state(Arc::new(front))
}

async fn answer(State(front): State<Arc<ApiState>>, request: Request) -> Response {
    let mut response = respond(&front, request).await;
    response.headers_mut().insert(DIALECTS.0, HeaderValue::from_static(DIALECTS.1));
    response
}

async fn respond(front: &ApiState, request: Request) -> Response {
    let (method, path) = (request.method().clone(), request.uri().path().to_owned());
    if matches!(path.as_str(), "/healthz" | "/openapi.json") {
        return match method {
            Method::GET | Method::HEAD if path == "/healthz" => {
                ApiResponse::success("the local platform is up", Value::Null).into_response()
            }
            Method::GET | Method::HEAD => json_response(StatusCode::OK, openapi::document()),
            _ => method_not_allowed("GET").into_response(),
        };
    }
    let answer = admit(front, &method, &path, request).await;
    answer.unwrap_or_else(|refusal| refusal).into_response()
}

async fn admit(
    front: &ApiState,
    method: &Method,
    path: &str,
    request: Request,
) -> Result<ApiResponse, ApiResponse> {
    if !front.key.authorizes(request.headers()) {
        return Err(ApiResponse::refused(StatusCode::UNAUTHORIZED, "the bearer token is missing or wrong")
            .with_header("www-authenticate", "Bearer"));
    }
    let Ok(_call) = front.calls.try_acquire() else {
        return Err(ApiResponse::refused(
            StatusCode::SERVICE_UNAVAILABLE,
            "too many calls at one time; come again",
        )
        .with_header("retry-after", "1"));
    };
    dispatch(&front.core, method, path, request).await
}

async fn dispatch(
    core: &Arc<PlatformCore>,
    method: &Method,
    path: &str,
    request: Request,
) -> Result<ApiResponse, ApiResponse> {
    let route = Route::parse(path)?;
    let expected = route.method();
    if *method != expected {
        return Err(method_not_allowed(if expected == Method::GET { "GET" } else { "POST" }));
    }
    let fields = if expected == Method::GET { query(&request)? } else { body(request).await? };
    let (workspace, endpoint) = match route {
        Route::Account(account, endpoint) => return account::answer(core, account, endpoint, &fields).await,
        Route::Workspace(workspace, endpoint) => (workspace, endpoint),
    };
    match endpoint {
        WorkspaceEndpoint::List => endpoints::list(core, workspace, &fields).await,
        WorkspaceEndpoint::Schema => endpoints::schema(core, workspace, &fields).await,
        WorkspaceEndpoint::Connect if fields.contains_key("database") && !fields.contains_key("sources") => {
            account::connect_in_workspace(core, workspace, &fields).await
        }
        WorkspaceEndpoint::Connect => endpoints::connect(core, workspace, &fields).await,
        WorkspaceEndpoint::Sync => endpoints::sync(core, workspace, &fields).await,
        WorkspaceEndpoint::Cleanup => endpoints::cleanup(core, workspace, &fields).await,
        WorkspaceEndpoint::TestConnection => endpoints::test_connection(core, &fields).await,
    }
}

fn method_not_allowed(allowed: &'static str) -> ApiResponse {
    let message = format!("this endpoint takes {allowed} only");
    ApiResponse::refused(StatusCode::METHOD_NOT_ALLOWED, message).with_header("allow", allowed)
}

fn query(request: &Request) -> Result<Map<String, Value>, ApiResponse> {
    let pairs = Query::<Vec<(String, String)>>::try_from_uri(request.uri()).map_err(|_| {
        ApiResponse::refused(StatusCode::BAD_REQUEST, "the query of the address is malformed")
    })?;
    Ok(pairs.0.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}

async fn body(request: Request) -> Result<Map<String, Value>, ApiResponse> {
    let headers = request.headers();
    let declared = headers.get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let is_too_large = declared.is_some_and(|length| length > MAX_BODY_BYTES as u64);
    if is_too_large && headers.contains_key(EXPECT) {
        // The client waits for permission to send its body, and reads this response at once.
        return Err(too_large());
    }
    let body = request.into_body();
    if is_too_large {
        drain(body.into_data_stream()).await;
        return Err(too_large());
    }
    let bytes = tokio::time::timeout(BODY_TIMEOUT, read(body))
        .await
        .map_err(|_| ApiResponse::refused(StatusCode::REQUEST_TIMEOUT, "the body did not come in time"))??;
    // The parser rejects excessive nesting.
    match serde_json::from_slice(&bytes) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(ApiResponse::unprocessable("the body must be a JSON object")),
        Err(error) => {
            // Position only: the parser's message may quote the body, which contains secrets.
            let (line, column) = (error.line(), error.column());
            let message = format!("the body is not JSON that can be read: line {line}, column {column}");
            Err(ApiResponse::refused(StatusCode::BAD_REQUEST, message))
        }
    }
}

async fn read(body: Body) -> Result<Vec<u8>, ApiResponse> {
    let mut pieces = body.into_data_stream();
    let mut bytes = Vec::new();
    while let Some(piece) = pieces.next().await {
        let piece = piece
            .map_err(|_| ApiResponse::refused(StatusCode::BAD_REQUEST, "the request body is incomplete"))?;
        if bytes.len() + piece.len() > MAX_BODY_BYTES {
            drain(pieces).await;
            return Err(too_large());
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

/// Reads the rest of a rejected body, so that the client receives the response.
///
/// A client cut off while sending does not read it. Gives up on slow clients and endless bodies.
async fn drain(mut pieces: BodyDataStream) {
    let mut length = 0;
    while let Ok(Some(Ok(piece))) = tokio::time::timeout(DRAIN_IDLE_TIMEOUT, pieces.next()).await {
        length += piece.len();
        if length > MAX_DRAINED_BYTES {
            return;
        }
    }
}

fn too_large() -> ApiResponse {
    let message = format!("the body is larger than {} MiB; send fewer sources at once", MAX_BODY_BYTES >> 20);
    ApiResponse::refused(StatusCode::PAYLOAD_TOO_LARGE, message)
}
