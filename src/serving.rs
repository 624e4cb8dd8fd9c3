//! Connections: how many, how long they may say nothing, and how they end.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// What a server puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at one time; the others wait to be taken.
    pub connections: usize,
    /// How long a connection may take for the head of its next call.
    pub head: Duration,
    /// Room for the head of a call, in bytes.
    pub head_bytes: usize,
}

/// A pause when no connection can be taken, for want of file handles as a rule.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until told to stop; then finishes the calls under way. Dropping it ends them at once.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut open = JoinSet::new();
    loop {
        let next = async {
            let place = Arc::clone(&room).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! {
            next = next => next,
            () = stopped(stop.clone()) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                let (router, stop) = (router.clone(), stop.clone());
                open.spawn(async move {
                    let _place = place;
                    converse(stream, router, bounds, stop).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be taken");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn converse(stream: TcpStream, router: Router, bounds: Bounds, stop: watch::Receiver<bool>) {
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(bounds.head_bytes)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(router));
    let mut conversation = std::pin::pin!(conversation);
    tokio::select! {
        // How a caller leaves is its own affair.
        _ = conversation.as_mut() => {}
        () = stopped(stop) => {
            conversation.as_mut().graceful_shutdown();
            let _ = conversation.await;
        }
    }
}

/// Returns once a stop is asked for.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that its owner is gone, which is a wish to stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
