//! Retries of requests and the waits between them.

use super::error::{RemoteError, RemoteErrorKind};
use backon::{ExponentialBuilder, Retryable as _};
use reqwest::header::HeaderMap;
use std::time::Duration;
use tracing::debug;

/// Maximum accepted `Retry-After`; longer ones are cut to it.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(300);

/// Waits between attempts: exponential with full jitter, bounded in number and sum.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Maximum of the first wait; each further maximum is twice the one before.
    pub base: Duration,
    /// Maximum of a single wait that the platform did not request.
    pub max_wait: Duration,
    /// Number of attempts after the first.
    pub retries: usize,
    /// Maximum sum of all waits; a wait that would exceed it ends the request.
    pub max_total_wait: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_millis(500),
            max_wait: Duration::from_secs(20),
            retries: 4,
            max_total_wait: Duration::from_secs(90),
        }
    }
}

impl Backoff {
    /// Repeats `attempt` while its error and the backoff permit it.
    pub(super) async fn run<T, F>(&self, attempt: impl FnMut() -> F) -> Result<T, RemoteError>
    where
        F: Future<Output = Result<T, RemoteError>>,
    {
        let waits = ExponentialBuilder::new()
            .with_min_delay(self.base)
            .with_max_delay(self.max_wait)
            .with_max_times(self.retries);
        let mut left = self.max_total_wait;
        attempt
            .retry(waits)
            .when(is_retryable)
            .adjust(|error, step| {
                let wait = wait(error, jittered(step?));
                left = left.checked_sub(wait)?;
                Some(wait)
            })
            .notify(|error: &RemoteError, wait| {
                debug!(endpoint = error.endpoint.as_str(), on = ?error.on, ?wait, "waiting before another attempt");
            })
            .await
    }
}

/// Returns true if the request may be repeated.
///
/// Reads may be repeated after any temporary error. Writes only if they were certainly not carried
/// out: the connection never opened, or the platform reported that it did nothing.
fn is_retryable(error: &RemoteError) -> bool {
    match error.kind {
        RemoteErrorKind::NotSent(_) | RemoteErrorKind::Unreachable(_) | RemoteErrorKind::Throttled { .. } => {
            true
        }
        RemoteErrorKind::NoResponse(_) => !error.endpoint.is_write(),
        // 501 means that the endpoint does not exist.
        RemoteErrorKind::Failed { status, .. } => status != 501 && !error.endpoint.is_write(),
        _ => false,
    }
}

/// Returns the wait before the next attempt.
///
/// The platform's request has priority; jitter on top spreads the waiting clients.
fn wait(error: &RemoteError, jitter: Duration) -> Duration {
    match error.kind {
        RemoteErrorKind::Throttled { retry_after: Some(asked), .. } => asked.saturating_add(jitter),
        _ => jitter,
    }
}

/// Returns a random part of `step`.
fn jittered(step: Duration) -> Duration {
    let share = getrandom::u32().unwrap_or(u32::MAX);
    step.mul_f64(f64::from(share) / f64::from(u32::MAX))
}

/// Parses the `Retry-After` header, given in seconds or as a date.
///
/// Past and negative values become zero, far ones five minutes; invalid ones are ignored.
pub(super) fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(reqwest::header::RETRY_AFTER)?.to_str().ok()?.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    let whole = digits.split_once('.').map_or(digits, |(whole, _)| whole);
    let seconds = if !whole.is_empty() && whole.bytes().all(|byte| byte.is_ascii_digit()) {
        // More digits than a number holds mean the maximum.
        if text.starts_with('-') { 0 } else { whole.parse::<u64>().unwrap_or(u64::MAX) }
    } else {
        let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        u64::try_from(then.as_second().saturating_sub(now.as_second())).unwrap_or(0)
    };
    Some(Duration::from_secs(seconds).min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::super::error::Endpoint;
    use super::*;
    use reqwest::header::{HeaderValue, RETRY_AFTER};
    use std::cell::Cell;

    fn error(endpoint: Endpoint, kind: RemoteErrorKind) -> RemoteError {
        RemoteError { endpoint, on: "ws".into(), kind }
    }

    fn throttled(seconds: u64) -> RemoteErrorKind {
        RemoteErrorKind::Throttled { retry_after: Some(Duration::from_secs(seconds)), message: String::new() }
    }

    #[test]
    fn retry_after_is_read_in_every_form_and_never_grows_without_bound() {
        let now: jiff::Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("7", Some(7)),
            (" 7 ", Some(7)),
            ("1.5", Some(1)),
            ("0", Some(0)),
            ("-30", Some(0)),
            ("1000000000", Some(300)),
            ("99999999999999999999999999", Some(300)),
            ("Mon, 23 Nov 2026 12:00:09 GMT", Some(9)),
            ("Mon, 23 Nov 2026 11:00:00 GMT", Some(0)),
            ("Tue, 31 Dec 2999 23:59:59 GMT", Some(300)),
            ("soon", None),
            ("", None),
            ("-", None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(RETRY_AFTER, HeaderValue::from_static(text));
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text:?}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[tokio::test(start_paused = true)]
    async fn the_platforms_wish_to_wait_is_honoured() {
        let started = tokio::time::Instant::now();
        let attempts = Cell::new(0);
        let result = Backoff::default()
            .run(|| async {
                attempts.set(attempts.get() + 1);
                if attempts.get() < 3 { Err(error(Endpoint::Connect, throttled(20))) } else { Ok(()) }
            })
            .await;
        assert_eq!(result, Ok(()));
        assert!(started.elapsed() >= Duration::from_secs(40));
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_beyond_the_total_ends_the_call_at_once() {
        let started = tokio::time::Instant::now();
        let result: Result<(), _> =
            Backoff::default().run(|| async { Err(error(Endpoint::List, throttled(300))) }).await;
        assert_eq!(result, Err(error(Endpoint::List, throttled(300))));
        assert_eq!(started.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn attempts_are_counted_and_only_harmless_ones_repeated() {
        let failed = || RemoteErrorKind::Failed { status: 500, message: String::new() };
        for (endpoint, kind, expected) in [
            (Endpoint::List, failed(), 5),
            (Endpoint::Schema, RemoteErrorKind::NoResponse(String::new()), 5),
            (Endpoint::TestConnection, failed(), 5),
            (Endpoint::List, RemoteErrorKind::Malformed(String::new()), 1),
            (Endpoint::List, RemoteErrorKind::Unauthorized(String::new()), 1),
            (Endpoint::List, RemoteErrorKind::Failed { status: 501, message: String::new() }, 1),
            (Endpoint::Connect, RemoteErrorKind::NotSent(String::new()), 5),
            (Endpoint::Sync, throttled(0), 5),
            (Endpoint::Connect, failed(), 1),
            (Endpoint::Cleanup, RemoteErrorKind::NoResponse(String::new()), 1),
            (Endpoint::Sync, failed(), 1),
        ] {
            let attempts = Cell::new(0);
            let outcome: Result<(), _> = Backoff::default()
                .run(|| async {
                    attempts.set(attempts.get() + 1);
                    Err(error(endpoint, kind.clone()))
                })
                .await;
            assert!(outcome.is_err());
            assert_eq!(attempts.get(), expected, "{endpoint} {kind:?}");
        }
    }
}
