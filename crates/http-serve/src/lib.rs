//! HTTP server with bounded connections, header time and shutdown.
//!
//! Invariant: knows no routes; callers pass the router.

#![warn(missing_docs)]

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore, watch};
use tokio::task::JoinSet;

/// Limits of a server.
#[derive(Debug, Clone, Copy)]
pub struct ServerLimits {
    /// Maximum number of connections.
    ///
    /// A further connection replaces the oldest idle one, or waits if all are busy.
    pub max_connections: usize,
    /// Maximum time for receiving the head of the next request.
    pub head_timeout: Duration,
    /// Maximum size of a request head in bytes.
    pub max_head_bytes: usize,
}

/// Pause after a failed accept, usually for lack of file descriptors.
const ACCEPT_RETRY_DELAY: Duration = Duration::from_millis(100);

/// Maximum time for an evicted connection to finish its response.
const EVICTION_TIMEOUT: Duration = Duration::from_secs(2);

/// State of one connection, shared with the accept loop.
#[derive(Default)]
struct Connection {
    /// Requests received completely, and requests answered.
    received: AtomicU32,
    responded: AtomicU32,
    evict: Notify,
}

impl Connection {
    fn is_new(&self) -> bool {
        self.received.load(Ordering::Relaxed) == 0
    }

    fn is_idle(&self) -> bool {
        self.received.load(Ordering::Relaxed) == self.responded.load(Ordering::Relaxed)
    }
}

/// Open connections, oldest first.
#[derive(Default)]
struct ConnectionSet(VecDeque<Arc<Connection>>);

impl ConnectionSet {
    fn register(&mut self) -> Arc<Connection> {
        let guest = Arc::new(Connection::default());
        self.0.push_back(Arc::clone(&guest));
        guest
    }

    /// Evicts the oldest connection without a request so far, else the oldest idle one.
    fn evict_one(&mut self) {
        self.0.retain(|guest| Arc::strong_count(guest) > 1);
        let goes = self.0.iter().position(|guest| guest.is_new());
        let goes = goes.or_else(|| self.0.iter().position(|guest| guest.is_idle()));
        if let Some(guest) = goes.and_then(|at| self.0.remove(at)) {
            guest.evict.notify_one();
        }
    }
}

/// Serves until `stop` is set, then finishes open requests; dropping aborts them.
pub async fn serve(listener: TcpListener, router: Router, bounds: ServerLimits, stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(bounds.max_connections));
    let mut guests = ConnectionSet::default();
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = wait_for_stop(stop.clone()) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                if room.available_permits() == 0 {
                    guests.evict_one();
                }
                let place = tokio::select! {
                    place = Arc::clone(&room).acquire_owned() => place,
                    () = wait_for_stop(stop.clone()) => break,
                };
                let (router, stop, guest) = (router.clone(), stop.clone(), guests.register());
                open.spawn(async move {
                    let _place = place;
                    serve_connection(stream, router, bounds, stop, guest).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(ACCEPT_RETRY_DELAY).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn serve_connection(
    stream: TcpStream,
    router: Router,
    bounds: ServerLimits,
    stop: watch::Receiver<bool>,
    guest: Arc<Connection>,
) {
    let service = TowerToHyperService::new(router);
    let counted = Arc::clone(&guest);
    let service = service_fn(move |request| {
        counted.received.fetch_add(1, Ordering::Relaxed);
        let (answer, counted) = (service.call(request), Arc::clone(&counted));
        async move {
            let answer = answer.await;
            counted.responded.fetch_add(1, Ordering::Relaxed);
            answer
        }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head_timeout)
        .max_buf_size(bounds.max_head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut conversation = std::pin::pin!(conversation);
    let is_full = tokio::select! {
        // The manner in which a client disconnects does not matter.
        _ = conversation.as_mut() => return,
        () = wait_for_stop(stop) => false,
        () = guest.evict.notified() => true,
    };
    if is_full && guest.is_new() {
        return;
    }
    conversation.as_mut().graceful_shutdown();
    if is_full {
        // Let a response in progress finish.
        let _ = tokio::time::timeout(EVICTION_TIMEOUT, conversation).await;
    } else {
        let _ = conversation.await;
    }
}

/// Waits until a stop is requested.
pub async fn wait_for_stop(mut stop: watch::Receiver<bool>) {
    // An error means that the sender was dropped, which also requests a stop.
    let _ = stop.wait_for(|stop| *stop).await;
}
