//! Interfaces of the daemon: status page, metrics, health endpoints and webhooks.

use super::super::args::RunArgs;
use super::super::context::{self, CommandContext};
use super::super::{CommandError, Exit};
use crate::daemon::{Publisher, Reporter};
use crate::observe::metrics::Metrics;
use crate::observe::{ProcessInfo, SiteConfig, serve};
use crate::report::humanize;
use crate::webhooks::{self, Webhook};
use jiff::SignedDuration;
use jiff::tz::TimeZone;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Time for HTTP responses in progress when the daemon ends.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(2);

/// The open interfaces.
pub(super) struct Services {
    stop: watch::Sender<bool>,
    server_task: Option<JoinHandle<()>>,
    webhook_task: Option<JoinHandle<()>>,
}

/// Opens the interfaces that flags and host file request.
///
/// Without any, no snapshots are published.
pub(super) async fn open(
    place: &CommandContext,
    args: &RunArgs,
    about: ProcessInfo,
    voice: &dyn Reporter,
) -> Result<(Publisher, Services), CommandError> {
    let (stop, stopping) = watch::channel(false);
    let http = &place.settings.host.http;
    let address = args.listen().or(http.listen);
    let webhooks = webhooks(place)?;
    if address.is_none() && webhooks.is_empty() {
        return Ok((Publisher::none(), Services { stop, server_task: None, webhook_task: None }));
    }
    let metrics = Arc::new(Metrics::default());
    let (publisher, published) = Publisher::new(about, Arc::clone(&metrics));
    let mut open = Services { stop, server_task: None, webhook_task: None };
    if let Some(address) = address {
        let listener = listen(address).await?;
        let counting = Arc::clone(&metrics);
        place.reader.observe(Box::new(move |endpoint, status, took| {
            counting.record_call(endpoint.as_str(), status, took);
        }));
        let site = SiteConfig {
            published: published.clone(),
            metrics: Arc::clone(&metrics),
            state: place.state.clone(),
            zone: TimeZone::system(),
            hosts: http.hosts.clone(),
            clock: context::clock(),
        };
        let at = listener.local_addr().unwrap_or(address);
        voice.info(&format!("the status page is at http://{at}/"));
        if !at.ip().is_loopback() {
            voice.warning("other hosts can reach the status page; it has no password and no encryption");
        }
        open.server_task = Some(tokio::spawn(serve(listener, site, stopping)));
    }
    if !webhooks.is_empty() {
        voice.info(&format!("state changes are sent to {}", humanize::count(webhooks.len(), "webhook")));
        open.webhook_task = Some(tokio::spawn(webhooks::send_changes(published, webhooks, metrics)));
    }
    Ok((publisher, open))
}

/// Checks webhook addresses at the start, not at the first lost notification.
fn webhooks(place: &CommandContext) -> Result<Vec<Webhook>, CommandError> {
    let webhooks = place.settings.webhooks();
    for webhook in &webhooks {
        webhook.check().map_err(|why| CommandError {
            exit: Exit::Invalid,
            message: format!("[[notify]] in the host file: {why}"),
        })?;
    }
    Ok(webhooks)
}

/// Returns the identity of the daemon for its status page.
pub(super) fn about(place: &CommandContext, interval: Duration, dry_run: bool) -> ProcessInfo {
    ProcessInfo {
        root: place.settings.root.clone(),
        platform: if place.is_local() { "the local platform".to_owned() } else { place.url() },
        interval: SignedDuration::try_from(interval).unwrap_or(SignedDuration::MAX),
        dry_run,
        started: (context::clock())(),
    }
}

async fn listen(address: SocketAddr) -> Result<TcpListener, CommandError> {
    TcpListener::bind(address).await.map_err(|error| CommandError {
        exit: Exit::Failed,
        message: format!(
            "the status page cannot listen on {address}: {error}; choose another address with --listen or under [http] \
             in the host file"
        ),
    })
}

impl Services {
    /// Waits for HTTP responses in progress and for queued notifications.
    pub(super) async fn close(self) {
        self.stop.send_replace(true);
        if let Some(serving) = self.server_task {
            let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, serving).await;
        }
        if let Some(telling) = self.webhook_task {
            // Ends by itself, because the daemon publishes no more snapshots.
            let _ = telling.await;
        }
    }
}
