//! HTTP server with read-only pages for browsers and scrapers.
//!
//! All input is bounded. The `Host` header is checked, which prevents DNS rebinding, and no
//! response permits scripts.

use super::folding::Folding;
use super::metrics::{Exposition, Metrics};
use super::page::{ICON, OverviewPage, STYLE, SourcePage, WorkspacePage};
use super::plot;
use super::view::{ChangeRow, FailedWorkspace, PageContext, PageView, SourceRow, WorkspaceView};
use super::{Snapshot, SnapshotReceiver, health};
use crate::model::{SourceName, WorkspaceRef};
use crate::store::{HistoryFilter, JournalFilter, JournalRow, RunRecord, Store};
use askama::Template;
use axum::Router;
use axum::extract::{Path, RawQuery, Request, State as With};
use axum::http::header::{self, HeaderName, HeaderValue};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use wellspring_http_serve::{self as http_serve, ServerLimits};

/// Limits for browsers, a scraper and a few probes.
const SERVER_LIMITS: ServerLimits =
    ServerLimits { max_connections: 64, head_timeout: Duration::from_secs(10), max_head_bytes: 16 << 10 };

/// Maximum duration of a response; nothing here waits for the platform.
const RESPONSE_TIMEOUT: Duration = Duration::from_secs(20);

/// Maximum number of pages rendered at once, because each visits every source.
const MAX_CONCURRENT_RENDERS: usize = 2;

/// Number of journal entries read for the first page.
const RECENT: usize = 100;

/// Number of runs on the page of a source.
const HISTORY: usize = 50;

/// Security headers: no scripts, frames, forms or foreign content.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
];

/// Data for the server.
pub struct SiteConfig {
    pub published: SnapshotReceiver,
    pub metrics: Arc<Metrics>,
    /// Source of the history; `None` in a dry run without state.
    pub state: Option<Store>,
    pub zone: TimeZone,
    /// Accepted `Host` names, besides `localhost` and IP addresses.
    pub hosts: Vec<String>,
    pub clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

struct AppState {
    site: SiteConfig,
    exposition: Exposition,
    render_permits: Semaphore,
}

type SharedAppState = With<Arc<AppState>>;

pub async fn serve(listener: TcpListener, site: SiteConfig, stop: watch::Receiver<bool>) {
    http_serve::serve(listener, router(site), SERVER_LIMITS, stop).await;
}

fn router(site: SiteConfig) -> Router {
    let exposition = site.metrics.exposition(site.published.clone());
    let desk =
        Arc::new(AppState { site, exposition, render_permits: Semaphore::new(MAX_CONCURRENT_RENDERS) });
    Router::new()
        .route("/", get(overview))
        .route("/workspaces/{workspace}/{scope}", get(workspace))
        .route("/workspaces/{workspace}/{scope}/{source}", get(source))
        .route("/status.json", get(json))
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .route("/style.css", get(|| async { typed("text/css; charset=utf-8", STYLE) }))
        .route("/icon.svg", get(|| async { typed("image/svg+xml", ICON) }))
        .fallback(|| async { (StatusCode::NOT_FOUND, "not found\n") })
        .layer(middleware::from_fn_with_state(Arc::clone(&desk), guard))
        .with_state(desk)
}

/// Checks every request and completes every response.
async fn guard(With(desk): SharedAppState, request: Request, next: Next) -> Response {
    let mut response = if !is_allowed_host(request.headers(), &desk.site.hosts) {
        let text = "unknown host name; permit it in the host file: [http] hosts\n";
        (StatusCode::MISDIRECTED_REQUEST, text).into_response()
    } else if !matches!(*request.method(), Method::GET | Method::HEAD) {
        (
            StatusCode::METHOD_NOT_ALLOWED,
            [(header::ALLOW, "GET, HEAD")],
            "method not allowed; the page is read-only\n",
        )
            .into_response()
    } else {
        let answer = tokio::time::timeout(RESPONSE_TIMEOUT, next.run(request)).await;
        answer.unwrap_or_else(|_| (StatusCode::SERVICE_UNAVAILABLE, "timed out\n").into_response())
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Returns true if the `Host` is an address, `localhost` or an allowed name.
///
/// A foreign name that resolves to this server is how another site could read the page.
fn is_allowed_host(headers: &HeaderMap, hosts: &[String]) -> bool {
    let mut named = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else { return false };
    let Ok(host) = host.to_str() else { return false };
    let host = match host.rsplit_once(':') {
        Some((host, port)) if port.bytes().all(|b| b.is_ascii_digit()) && !host.ends_with(':') => host,
        _ => host,
    };
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    bare.parse::<IpAddr>().is_ok()
        || host.eq_ignore_ascii_case("localhost")
        || hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(host))
}

impl AppState {
    fn now(&self) -> Arc<Snapshot> {
        Arc::clone(&self.site.published.borrow())
    }

    fn here(&self) -> PageContext {
        PageContext { now: (self.site.clock)(), zone: self.site.zone.clone() }
    }

    async fn journal(&self, of: Option<(WorkspaceRef, SourceName)>, limit: usize) -> Vec<JournalRow> {
        let Some(state) = &self.site.state else { return Vec::new() };
        let (workspace, source) = of.unzip();
        let rows = state.journal(JournalFilter { workspace, source, since: None, limit }).await;
        rows.inspect_err(|error| tracing::warn!(%error, "cannot read the journal")).unwrap_or_default()
    }

    async fn runs(&self, workspace: WorkspaceRef, name: SourceName) -> Vec<RunRecord> {
        let Some(state) = &self.site.state else { return Vec::new() };
        let filter = HistoryFilter { workspace: Some(workspace), source: Some(name), limit: HISTORY };
        let runs = state.history(filter).await;
        runs.inspect_err(|error| tracing::warn!(%error, "cannot read the history")).unwrap_or_default()
    }

    /// Renders on a blocking thread, because many sources take a while.
    async fn make(
        self: Arc<Self>,
        make: impl FnOnce(&Snapshot, &PageContext) -> Response + Send + 'static,
    ) -> Response {
        // Acquiring fails only on a closed semaphore, and this one is never closed.
        let _turn = self.render_permits.acquire().await.ok();
        let (snapshot, here) = (self.now(), self.here());
        let made = tokio::task::spawn_blocking(move || make(&snapshot, &here)).await;
        made.unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
    }
}

async fn overview(With(desk): SharedAppState, RawQuery(query): RawQuery) -> Response {
    let journal = desk.journal(None, RECENT).await;
    let folding = Folding::of(query.as_deref());
    let make = move |snapshot: &Snapshot, here: &PageContext| {
        let passes = plot::passes(&snapshot.passes, here.now, &here.zone);
        html(&OverviewPage::new(&PageView::of(snapshot, journal, here), passes, folding, here))
    };
    desk.make(make).await
}

async fn json(With(desk): SharedAppState) -> Response {
    let journal = desk.journal(None, RECENT).await;
    let make = |snapshot: &Snapshot, here: &PageContext| {
        let text = serde_json::to_string(&PageView::of(snapshot, journal, here)).unwrap_or_default();
        typed("application/json", text)
    };
    desk.make(make).await
}

async fn workspace(With(desk): SharedAppState, Path((workspace, scope)): Path<(String, String)>) -> Response {
    let Some(workspace) = desk.now().workspace_shown_as(&workspace, &scope).cloned() else {
        return unknown();
    };
    let make = move |snapshot: &Snapshot, here: &PageContext| {
        let Some(workspace) = snapshot.workspace(&workspace) else { return unknown() };
        let view = WorkspaceView::in_full(workspace, here);
        html(&WorkspacePage::new(&view, FailedWorkspace::of(workspace), here))
    };
    desk.make(make).await
}

async fn source(
    With(desk): SharedAppState,
    Path((workspace, scope, name)): Path<(String, String, String)>,
) -> Response {
    let workspace = desk.now().workspace_shown_as(&workspace, &scope).cloned();
    let (Some(workspace), Ok(name)) = (workspace, SourceName::parse(&name)) else {
        return unknown();
    };
    if desk.now().workspace(&workspace).is_none_or(|workspace| workspace.source(&name).is_none()) {
        return unknown();
    }
    let runs = desk.runs(workspace.clone(), name.clone()).await;
    let journal = desk.journal(Some((workspace.clone(), name.clone())), HISTORY).await;
    let make = move |snapshot: &Snapshot, here: &PageContext| {
        let Some(row) =
            snapshot.workspace(&workspace).and_then(|workspace| SourceRow::named(workspace, &name, here))
        else {
            return unknown();
        };
        let changes = ChangeRow::newest(journal, snapshot, HISTORY);
        let withheld = WorkspaceView::withheld_of(snapshot.workspace(&workspace), &name);
        html(&SourcePage::new(&row, &runs, changes, withheld, here))
    };
    desk.make(make).await
}

async fn metrics(With(desk): SharedAppState) -> Response {
    let shared = Arc::clone(&desk);
    desk.make(move |_, _| {
        typed("application/openmetrics-text; version=1.0.0; charset=utf-8", shared.exposition.text())
    })
    .await
}

async fn healthz(With(desk): SharedAppState) -> (StatusCode, &'static str) {
    if health::is_alive(desk.site.metrics.last_iteration(), (desk.site.clock)()) {
        (StatusCode::OK, "alive\n")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "event loop not responding\n")
    }
}

/// `?strict` also requires every workspace to be ready.
async fn readyz(With(desk): SharedAppState, RawQuery(query): RawQuery) -> (StatusCode, String) {
    let now = (desk.site.clock)();
    let mut why = match query.as_deref() {
        Some("strict") => health::strict_unready_reasons(&desk.now(), now),
        _ => health::unready_reasons(&desk.now(), now),
    };
    if !health::is_alive(desk.site.metrics.last_iteration(), now) {
        why.push("event loop not responding".to_owned());
    }
    if why.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, why.iter().map(|why| format!("{why}\n")).collect())
}

fn unknown() -> Response {
    (StatusCode::NOT_FOUND, "not declared in any file\n").into_response()
}

fn html(page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => typed("text/html; charset=utf-8", text),
        Err(error) => {
            tracing::error!(%error, "could not render a page");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

fn typed(kind: &'static str, body: impl Into<axum::body::Body>) -> Response {
    ([(header::CONTENT_TYPE, kind)], body.into()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_and_names_that_are_ours_are_answered() {
        let hosts = ["status.example.com".to_owned()];
        let check = |host: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
            is_allowed_host(&headers, &hosts)
        };
        for host in [
            "127.0.0.1:9780",
            "127.0.0.1",
            "[::1]:9780",
            "[::1]",
            "10.1.2.3:80",
            "LocalHost:1",
            "status.example.com",
        ] {
            assert!(check(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:9780",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1:x",
            "a:b:1",
        ] {
            assert!(!check(host), "{host}");
        }
        assert!(!is_allowed_host(&HeaderMap::new(), &hosts));
        let mut twice = HeaderMap::new();
        twice.append(header::HOST, HeaderValue::from_static("localhost"));
        twice.append(header::HOST, HeaderValue::from_static("evil.example"));
        assert!(!is_allowed_host(&twice, &hosts));
    }
}
