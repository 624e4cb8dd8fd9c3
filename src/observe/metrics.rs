//! Metrics in the OpenMetrics text format.
//!
//! Counters are updated as events occur. Gauges are computed from the latest snapshot during a
//! scrape, so that removed sources have no series.

mod standing;

use super::SnapshotReceiver;
use crate::mutex::lock;
use crate::store::RunOutcome;
use jiff::Timestamp;
use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use standing::GaugeEncoder;
use std::sync::Mutex;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

type One = [(&'static str, String); 1];
type Two = [(&'static str, String); 2];

/// Counters and histograms.
#[derive(Debug)]
pub struct Metrics {
    passes: Family<One, Counter>,
    pass_duration: Histogram,
    changes: Family<Two, Counter>,
    sync_runs: Family<One, Counter>,
    sync_records: Counter,
    requests: Family<Two, Counter>,
    request_duration: Family<One, Histogram, fn() -> Histogram>,
    notifications: Family<One, Counter>,
    /// Time of the last iteration of the event loop, in seconds.
    turned: AtomicI64,
}

/// All metrics for a scrape.
#[derive(Debug)]
pub struct Exposition(Mutex<Registry>);

impl Default for Metrics {
    fn default() -> Self {
        Self {
            passes: Family::default(),
            pass_duration: seconds(),
            changes: Family::default(),
            sync_runs: Family::default(),
            sync_records: Counter::default(),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(seconds),
            notifications: Family::default(),
            turned: AtomicI64::new(0),
        }
    }
}

/// Buckets from the duration of a local list to that of a long sync.
fn seconds() -> Histogram {
    Histogram::new([0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0])
}

impl Metrics {
    /// Records an iteration of the event loop.
    pub fn turned(&self, now: Timestamp) {
        self.turned.store(now.as_second(), Ordering::Relaxed);
    }

    /// Returns the time of the last iteration; 0 before the first.
    pub fn last_iteration(&self) -> i64 {
        self.turned.load(Ordering::Relaxed)
    }

    /// Counts a finished pass over one workspace.
    pub fn record_pass(&self, took: Duration, good: bool) {
        let result = if good { "good" } else { "failed" };
        self.passes.get_or_create(&[("result", result.to_owned())]).inc();
        self.pass_duration.observe(took.as_secs_f64());
    }

    /// Counts a change whose result is `done` or `failed`.
    pub fn record_change(&self, action: &'static str, result: &'static str) {
        self.changes.get_or_create(&[("action", action.to_owned()), ("result", result.to_owned())]).inc();
    }

    /// Counts a sync that ended or will not run.
    pub fn record_sync(&self, outcome: RunOutcome, records: Option<u64>) {
        self.sync_runs.get_or_create(&[("result", outcome.as_str().to_owned())]).inc();
        self.sync_records.inc_by(records.unwrap_or_default());
    }

    /// Counts an attempt of a request; `status` is `None` without a response.
    pub fn record_call(&self, endpoint: &'static str, status: Option<u16>, took: Duration) {
        let labels = [("endpoint", endpoint.to_owned()), ("code", code(status))];
        self.requests.get_or_create(&labels).inc();
        self.request_duration.get_or_create(&[("endpoint", endpoint.to_owned())]).observe(took.as_secs_f64());
    }

    /// Counts a notice whose result is `sent`, `failed` or `dropped`.
    pub fn record_notification(&self, result: &'static str) {
        self.notifications.get_or_create(&[("result", result.to_owned())]).inc();
    }

    /// Combines these metrics with gauges of the published snapshot.
    pub fn exposition(&self, published: SnapshotReceiver) -> Exposition {
        let mut registry = Registry::with_prefix("wellspring");
        let r = &mut registry;
        r.register("passes", "Passes over a workspace that ended, by result", self.passes.clone());
        let help = "How long a pass over one workspace took";
        r.register("pass_duration_seconds", help, self.pass_duration.clone());
        r.register("changes", "Changes that were carried out, by action and result", self.changes.clone());
        r.register("sync_runs", "Syncs that ended or will not run, by result", self.sync_runs.clone());
        r.register(
            "sync_records",
            "Records read by syncs, if the platform reports them",
            self.sync_records.clone(),
        );
        let help = "Calls to the platform, by endpoint and HTTP status";
        r.register("api_requests", help, self.requests.clone());
        let help = "How long calls to the platform took, by endpoint";
        r.register("api_request_duration_seconds", help, self.request_duration.clone());
        r.register("notifications", "Notices to webhooks, by result", self.notifications.clone());
        r.register_collector(Box::new(GaugeEncoder(published)));
        Exposition(Mutex::new(registry))
    }
}

impl Exposition {
    pub fn text(&self) -> String {
        let mut text = String::new();
        let registry = lock(&self.0);
        // Writing to a string cannot fail.
        let _ = text::encode(&mut text, &registry);
        text
    }
}

/// Reduces the status to a fixed set, which bounds the number of series.
fn code(status: Option<u16>) -> String {
    match status {
        None => "none".to_owned(),
        Some(
            code @ (200 | 201 | 202 | 204 | 400 | 401 | 403 | 404 | 405 | 408 | 409 | 413 | 422 | 429 | 500
            | 501 | 502 | 503 | 504),
        ) => code.to_string(),
        Some(code) => format!("{}xx", code / 100 % 10),
    }
}
