//! Connections: how many, how long they may say nothing, and how they end.

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

/// What a server puts up with.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Connections at one time. For one more, the oldest that asks nothing has to go; where all ask something, it
    /// waits.
    pub connections: usize,
    /// How long a connection may take for the head of its next call.
    pub head: Duration,
    /// Room for the head of a call, in bytes.
    pub head_bytes: usize,
}

/// A pause when no connection can be taken, for want of file handles as a rule.
const PAUSE: Duration = Duration::from_millis(100);

/// How long a connection may take to end that has to go.
const LEAVE: Duration = Duration::from_secs(2);

/// A connection, as the others see it.
#[derive(Default)]
struct Guest {
    /// Calls that came whole, and calls that were answered.
    asked: AtomicU32,
    answered: AtomicU32,
    leave: Notify,
}

impl Guest {
    fn is_new(&self) -> bool {
        self.asked.load(Ordering::Relaxed) == 0
    }

    fn is_idle(&self) -> bool {
        self.asked.load(Ordering::Relaxed) == self.answered.load(Ordering::Relaxed)
    }
}

/// The connections, the oldest first.
#[derive(Default)]
struct Guests(VecDeque<Arc<Guest>>);

impl Guests {
    fn welcome(&mut self) -> Arc<Guest> {
        let guest = Arc::new(Guest::default());
        self.0.push_back(Arc::clone(&guest));
        guest
    }

    /// Sends the oldest away that has asked nothing yet, else the oldest that asks nothing now.
    fn make_room(&mut self) {
        self.0.retain(|guest| Arc::strong_count(guest) > 1);
        let goes = self.0.iter().position(|guest| guest.is_new());
        let goes = goes.or_else(|| self.0.iter().position(|guest| guest.is_idle()));
        if let Some(guest) = goes.and_then(|at| self.0.remove(at)) {
            guest.leave.notify_one();
        }
    }
}

/// Serves until told to stop; then finishes the calls under way. Dropping it ends them at once.
pub async fn serve(listener: TcpListener, router: Router, bounds: Bounds, stop: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(bounds.connections));
    let mut guests = Guests::default();
    let mut open = JoinSet::new();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stopped(stop.clone()) => break,
        };
        match accepted {
            Ok((stream, _)) => {
                if room.available_permits() == 0 {
                    guests.make_room();
                }
                let place = tokio::select! {
                    place = Arc::clone(&room).acquire_owned() => place,
                    () = stopped(stop.clone()) => break,
                };
                let (router, stop, guest) = (router.clone(), stop.clone(), guests.welcome());
                open.spawn(async move {
                    let _place = place;
                    converse(stream, router, bounds, stop, guest).await;
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

async fn converse(
    stream: TcpStream,
    router: Router,
    bounds: Bounds,
    stop: watch::Receiver<bool>,
    guest: Arc<Guest>,
) {
    let service = TowerToHyperService::new(router);
    let counted = Arc::clone(&guest);
    let service = service_fn(move |request| {
        counted.asked.fetch_add(1, Ordering::Relaxed);
        let (answer, counted) = (service.call(request), Arc::clone(&counted));
        async move {
            let answer = answer.await;
            counted.answered.fetch_add(1, Ordering::Relaxed);
            answer
        }
    });
    let conversation = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(bounds.head)
        .max_buf_size(bounds.head_bytes)
        .serve_connection(TokioIo::new(stream), service);
    let mut conversation = std::pin::pin!(conversation);
    let is_full = tokio::select! {
        // How a caller leaves is its own affair.
        _ = conversation.as_mut() => return,
        () = stopped(stop) => false,
        () = guest.leave.notified() => true,
    };
    if is_full && guest.is_new() {
        return;
    }
    conversation.as_mut().graceful_shutdown();
    if is_full {
        // An answer on its way is finished.
        let _ = tokio::time::timeout(LEAVE, conversation).await;
    } else {
        let _ = conversation.await;
    }
}

/// Returns once a stop is asked for.
pub async fn stopped(mut stop: watch::Receiver<bool>) {
    // An error means that its owner is gone, which is a wish to stop as well.
    let _ = stop.wait_for(|stop| *stop).await;
}
