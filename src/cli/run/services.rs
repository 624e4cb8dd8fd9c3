//! Interfaces of the daemon: status page, metrics, health endpoints and webhooks.

use super::super::args::RunArgs;
use super::super::context::{self, CommandContext};
use super::super::{CommandError, Exit};
use crate::daemon::{Publisher, Reporter};
use crate::observe::metrics::Metrics;
use crate::observe::{ProcessInfo, SiteConfig, serve};
use crate::report::humanize;
use crate::tree;
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
    let address = listen_address(place, args);
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
pub(super) fn about(
    place: &CommandContext,
    args: &RunArgs,
    interval: Duration,
    dry_run: bool,
) -> ProcessInfo {
    ProcessInfo {
        warnings: host_warnings(place, args),
        root: place.settings.root.clone(),
        platform: if place.is_local() { "the local platform".to_owned() } else { place.url() },
        interval: SignedDuration::try_from(interval).unwrap_or(SignedDuration::MAX),
        dry_run,
        started: (context::clock())(),
    }
}

fn listen_address(place: &CommandContext, args: &RunArgs) -> Option<SocketAddr> {
    args.listen().or(place.settings.host.http.listen)
}

/// Returns what is unsafe or missing on this host.
fn host_warnings(place: &CommandContext, args: &RunArgs) -> Vec<String> {
    let is_open = listen_address(place, args).is_some_and(|at| !at.ip().is_loopback());
    let has_no_commit = place.reading.commit().is_none() && tree::uses_reftable(&place.settings.root);
    let open = "other hosts can reach the status page; it has no password and no encryption";
    let no_commit = "the Git repository uses reftable and the git program cannot read it: changes are recorded \
                     without a commit; install Git 2.45 or newer";
    let warnings = [(is_open, open), (has_no_commit, no_commit)];
    warnings.into_iter().filter(|(applies, _)| *applies).map(|(_, warning)| warning.to_owned()).collect()
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
