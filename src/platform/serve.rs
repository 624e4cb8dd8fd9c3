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

use super::stopped;

/// Connections at one time; the others wait to be taken.
const CONNECTIONS: usize = 512;
/// How long a connection may take for the head of its next call. Longer than clients keep an idle
/// connection, so that it is they who close it and no call is lost on the way.
const HEAD: Duration = Duration::from_secs(120);
/// Room for the head of a call.
const HEAD_BYTES: usize = 64 << 10;
/// A pause when no connection can be taken, for want of file handles as a rule.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves until told to stop; then finishes the calls under way. Dropping it ends them at once.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(CONNECTIONS));
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
                    converse(stream, router, stop).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "the local platform could not take a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
        while open.try_join_next().is_some() {}
    }
    drop(listener);
    while open.join_next().await.is_some() {}
}

async fn converse(stream: TcpStream, router: Router, stop: watch::Receiver<bool>) {
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(HEAD_BYTES)
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
