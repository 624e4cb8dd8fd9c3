//! Webhook notifications of state changes.
//!
//! Invariant: independent of the daemon. Notifications are derived from consecutive published snapshots. Each webhook
//! has a bounded queue and a few retries, so that a slow webhook delays nothing.

mod changes;
mod webhook;

pub use changes::{Notification, NotificationEvent};
pub use webhook::{Address, PayloadFormat, Webhook};

use crate::observe::SnapshotReceiver;
use crate::observe::metrics::Metrics;
use changes::ReportedState;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Maximum number of notifications queued per webhook.
///
/// Further ones are dropped and counted.
const MAX_QUEUED: usize = 100;

/// Time for delivering queued notifications after the daemon has ended.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Sends notifications of all changes to the webhooks until the daemon ends.
pub async fn send_changes(mut published: SnapshotReceiver, webhooks: Vec<Webhook>, metrics: Arc<Metrics>) {
    let mut delivering = JoinSet::new();
    let queues: Vec<_> = webhooks
        .into_iter()
        .map(|webhook| {
            let (queue, waiting) = mpsc::channel(MAX_QUEUED);
            let events = webhook.events.clone();
            delivering.spawn(webhook.deliver(waiting, Arc::clone(&metrics)));
            (events, queue)
        })
        .collect();
    let mut told = ReportedState::default();
    while published.changed().await.is_ok() {
        let now = Arc::clone(&published.borrow_and_update());
        for notice in told.changes(&now) {
            let notice = Arc::new(notice);
            for (events, queue) in &queues {
                if events.contains(&notice.event) && queue.try_send(Arc::clone(&notice)).is_err() {
                    metrics.record_notification("dropped");
                    tracing::warn!("a webhook is too slow; a notice to it was dropped");
                }
            }
        }
    }
    drop(queues);
    let end = async { while delivering.join_next().await.is_some() {} };
    if tokio::time::timeout(SHUTDOWN_TIMEOUT, end).await.is_err() {
        tracing::warn!("a webhook is too slow; its queued notices are dropped");
    }
}
