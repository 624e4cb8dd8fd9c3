//! Notices to webhooks when a state changes: something failed, recovered, is withheld, stale, or drift was
//! put right.
//!
//! The daemon knows nothing of them. They are told from one published snapshot to the next, wait in a
//! bounded queue for each webhook, and are tried a few times. Whoever does not answer holds up nobody.

mod changes;
mod webhook;

pub use changes::{Event, Notice};
pub use webhook::{Address, Shape, Webhook};

use crate::status::Published;
use crate::status::metrics::Metrics;
use changes::Told;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// So many notices wait for each webhook; what comes on top of that is dropped, and counted.
const WAITING: usize = 100;

/// How long what waits may take once the daemon has ended.
const GRACE: Duration = Duration::from_secs(5);

/// Tells every change to those who want to know of it, until the daemon ends.
pub async fn tell(mut published: Published, webhooks: Vec<Webhook>, metrics: Arc<Metrics>) {
    let mut delivering = JoinSet::new();
    let queues: Vec<_> = webhooks
        .into_iter()
        .map(|webhook| {
            let (queue, waiting) = mpsc::channel(WAITING);
            let events = webhook.events.clone();
            delivering.spawn(webhook.deliver(waiting, Arc::clone(&metrics)));
            (events, queue)
        })
        .collect();
    let mut told = Told::default();
    while published.changed().await.is_ok() {
        let now = Arc::clone(&published.borrow_and_update());
        for notice in told.changes(&now) {
            let notice = Arc::new(notice);
            for (events, queue) in &queues {
                if events.contains(&notice.event) && queue.try_send(Arc::clone(&notice)).is_err() {
                    metrics.notified("dropped");
                    tracing::warn!("a webhook takes too long; a notice to it was dropped");
                }
            }
        }
    }
    drop(queues);
    let end = async { while delivering.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, end).await.is_err() {
        tracing::warn!("a webhook takes too long; what waits for it is dropped");
    }
}
