//! Requests to an API with retries, bounded in number, bytes and time.

use std::error::Error as _;
use std::io::Read as _;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};

use super::super::{ConnectorContext, MEMORY_IN_USE, ReadError};
use super::clients::{self, CONNECT_TIMEOUT, PROXIES, REQUEST_TIMEOUT};
use super::reasons;
use crate::hosts::OutOfReach;
use crate::memory::{LARGE_BYTES, MemoryUse, Reservation, SYNC_WAIT};

/// Maximum size of a page in bytes; pages and records are held in memory.
const MAX_PAGE_BYTES: usize = 64 << 20;
/// Maximum size in bytes of an error response, enough for its reason.
const MAX_ERROR_BODY_BYTES: usize = 64 << 10;
/// Maximum bytes of all pages of a read, far above usual APIs.
const MAX_TOTAL_BYTES: u64 = 64 << 30;
/// Maximum time for all pages of a read.
const TOTAL_TIMEOUT: Duration = Duration::from_secs(6 * 60 * 60);
/// Maximum number of attempts while the API requests a wait.
const MAX_ATTEMPTS: u32 = 5;
/// Maximum number of attempts if connections break.
const MAX_ATTEMPTS_ON_DISCONNECT: u32 = 2;
/// First wait if the API does not specify one; each further one is twice as long.
const INITIAL_BACKOFF: Duration = Duration::from_secs(1);
/// Maximum sum of waits in a sync, and in an interactive request.
const MAX_WAIT: Duration = Duration::from_secs(10 * 60);
const MAX_INSPECT_WAIT: Duration = Duration::from_secs(10);
/// Default `Accept` header, unless configured.
///
/// Lists each JSON type, because few servers support `*+json`, and some take `*/*` in a list for
/// HTML.
pub(super) const ACCEPT_HEADER: &str = "application/json, application/vnd.api+json, application/hal+json, \
                                application/ld+json, application/geo+json, application/*+json";

pub(super) struct FetchedPage {
    pub(super) body: Vec<u8>,
    pub(super) headers: HeaderMap,
    pub(super) url: Url,
    /// Requested URL, before redirects.
    pub(super) base: Url,
    /// True for 206: a part of the records.
    pub(super) partial: bool,
    _memory: Option<Reservation>,
}

pub(super) enum Fetched {
    Page(Box<FetchedPage>),
    /// 204 or 205: success without content.
    NoContent,
    /// 404.
    NotFound(ReadError),
}

/// Requests of one read.
pub(super) struct Calls<'a> {
    reach: &'a ConnectorContext,
    headers: HeaderMap,
    /// True if the `Accept` header is ours, so that another may be tried.
    default_accept: bool,
    /// Texts that messages must not repeat.
    secrets: &'a [String],
    wait_budget: Duration,
    bytes: u64,
    started: Instant,
}

/// Reason why a request failed.
enum FetchError {
    Permanent(ReadError),
    /// The API requests a wait, with its length if specified.
    Throttled(ReadError, Option<Duration>),
    Disconnected(ReadError),
    /// 406.
    NotAcceptable(ReadError),
}

impl<'a> Calls<'a> {
    /// Requests of a sync, with long waits.
    pub(super) fn for_sync(
        reach: &'a ConnectorContext,
        headers: &HeaderMap,
        default_accept: bool,
        secrets: &'a [String],
    ) -> Self {
        let (headers, started) = (headers.clone(), Instant::now());
        Self { reach, headers, default_accept, secrets, wait_budget: MAX_WAIT, bytes: 0, started }
    }

    /// Requests of a test or a schema, with short waits.
    pub(super) fn for_inspection(
        reach: &'a ConnectorContext,
        headers: &HeaderMap,
        own_accept: bool,
        secrets: &'a [String],
    ) -> Self {
        Self { wait_budget: MAX_INSPECT_WAIT, ..Self::for_sync(reach, headers, own_accept, secrets) }
    }

    /// Fetches a page, with retries after temporary errors.
    pub(super) fn fetch(&mut self, url: &Url) -> Result<Fetched, ReadError> {
        if self.bytes > MAX_TOTAL_BYTES || self.started.elapsed() > TOTAL_TIMEOUT {
            let (gib, hours) = (MAX_TOTAL_BYTES >> 30, TOTAL_TIMEOUT.as_secs() / 3600);
            return Err(ReadError::new(format!(
                "the API goes on for more than {gib} GiB or {hours} hours; read it in parts, with a cursor"
            )));
        }
        let mut attempt = 1;
        loop {
            let trouble = match self.block_on(self.get(url.clone()))? {
                Ok(fetched) => {
                    if let Fetched::Page(page) = &fetched {
                        self.bytes += page.body.len() as u64;
                    }
                    return Ok(fetched);
                }
                Err(trouble) => trouble,
            };
            let (failure, asked, most) = match trouble {
                FetchError::Permanent(failure) => return Err(failure),
                FetchError::Throttled(failure, asked) => (failure, asked, MAX_ATTEMPTS),
                FetchError::Disconnected(failure) => (failure, None, MAX_ATTEMPTS_ON_DISCONNECT),
                FetchError::NotAcceptable(failure) if !self.default_accept => return Err(failure),
                FetchError::NotAcceptable(failure) => {
                    self.default_accept = false;
                    self.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
                    (failure, Some(Duration::ZERO), MAX_ATTEMPTS)
                }
            };
            let wait = asked.unwrap_or_else(|| INITIAL_BACKOFF.saturating_mul(1 << (attempt - 1)));
            let Some(left) = self.wait_budget.checked_sub(wait) else { return Err(failure) };
            if attempt >= most {
                return Err(failure);
            }
            self.wait_budget = left;
            attempt += 1;
            self.block_on(async { tokio::time::sleep(wait).await })?;
        }
    }

    /// Waits for a future, until the read must end.
    fn block_on<T>(&self, work: impl Future<Output = T>) -> Result<T, ReadError> {
        self.reach.runtime.block_on(async {
            tokio::select! {
                done = work => Ok(done),
                () = self.reach.wait_for_stop() => Err(self.reach.stop_failure()),
            }
        })
    }

    async fn get(&self, url: Url) -> Result<Fetched, FetchError> {
        let base = url.clone();
        let client = clients::of(self.reach, &url).await.map_err(FetchError::Permanent)?;
        let sent = client.get(url).headers(self.headers.clone()).send().await;
        let mut response = sent.map_err(connect_error)?;
        let status = response.status();
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
            return Ok(Fetched::NoContent);
        }
        // 202 means that the answer is still being prepared.
        if !status.is_success() || status == StatusCode::ACCEPTED {
            // An incomplete reason is ignored.
            let body = read_body(&mut response, MAX_ERROR_BODY_BYTES, None).await.unwrap_or_default();
            return self.classify_error(&response, &body);
        }
        let mut memory = None;
        let body = read_body(&mut response, MAX_PAGE_BYTES, Some((self.reach, &mut memory))).await?;
        let (headers, url) = (response.headers().clone(), response.url().clone());
        let partial = status == StatusCode::PARTIAL_CONTENT;
        Ok(Fetched::Page(Box::new(FetchedPage { body, headers, url, base, partial, _memory: memory })))
    }

    /// Classifies an error status, with the API's message.
    fn classify_error(&self, response: &Response, body: &[u8]) -> Result<Fetched, FetchError> {
        let status = response.status();
        let mut message = match status {
            StatusCode::UNAUTHORIZED => "the API refused the credentials (401)".to_owned(),
            StatusCode::FORBIDDEN => "the API does not permit this with these credentials (403)".to_owned(),
            StatusCode::NOT_FOUND => {
                "the API has nothing at this address (404); check \"base_url\" and \"path\"".to_owned()
            }
            StatusCode::ACCEPTED => "the API is still preparing its answer (202); sync later".to_owned(),
            StatusCode::TOO_MANY_REQUESTS => "the API asks for fewer requests (429); sync later".to_owned(),
            _ if status.is_redirection() => {
                let status = status.as_u16();
                format!("the API redirects to another server ({status}); name that one in \"base_url\"")
            }
            _ => format!("the API answered with status {}", status.as_u16()),
        };
        let words = self.redact(&reasons::of_body(body));
        if !words.is_empty() {
            message.push_str(": ");
            message.push_str(&words);
        }
        let failure = ReadError::new(message);
        Err(match status.as_u16() {
            404 => return Ok(Fetched::NotFound(failure)),
            406 => FetchError::NotAcceptable(failure),
            202 | 429 | 502..=504 => {
                FetchError::Throttled(failure, retry_after(response.headers(), jiff::Timestamp::now()))
            }
            _ => FetchError::Permanent(failure),
        })
    }

    /// Returns the API's message, unless it repeats a secret.
    pub(super) fn redact(&self, words: &str) -> String {
        if self.secrets.iter().any(|secret| words.contains(secret.as_str())) {
            return "(its words repeat a secret and are withheld)".to_owned();
        }
        words.to_owned()
    }
}

/// Reads and decompresses the body, up to `limit` bytes; reserves memory for a large one.
async fn read_body(
    response: &mut Response,
    limit: usize,
    mut memory: Option<(&ConnectorContext, &mut Option<Reservation>)>,
) -> Result<Vec<u8>, FetchError> {
    let too_large = || {
        let limit = limit >> 20;
        FetchError::Permanent(ReadError::new(format!(
            "a page of the API is larger than {limit} MiB; ask for smaller pages"
        )))
    };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(connect_error)? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
        }
        if let Some((reach, reserved)) = memory.take_if(|_| body.len() + chunk.len() > LARGE_BYTES / 8) {
            // The body as sent, decompressed, and a copy of its records.
            let wanted = MemoryUse::Pages(3 * MAX_PAGE_BYTES as u64);
            *reserved = reach.memory.reserve(wanted, SYNC_WAIT).await;
            if reserved.is_none() {
                return Err(FetchError::Permanent(ReadError::new(MEMORY_IN_USE)));
            }
        }
        body.extend_from_slice(&chunk);
    }
    let encodings = response.headers().get_all(CONTENT_ENCODING).iter();
    let encodings: Vec<String> = encodings
        .map(|value| String::from_utf8_lossy(value.as_bytes()).trim().to_ascii_lowercase())
        .collect();
    match encodings.join(", ").as_str() {
        "" | "identity" => {}
        "gzip" | "x-gzip" => {
            let mut plain = Vec::new();
            let mut members = flate2::read::MultiGzDecoder::new(body.as_slice()).take(limit as u64 + 1);
            members.read_to_end(&mut plain).map_err(|_| {
                FetchError::Permanent(ReadError::new(
                    "the API's answer is gzip that is damaged or does not come to its end",
                ))
            })?;
            if plain.len() > limit {
                return Err(too_large());
            }
            body = plain;
        }
        other => {
            let other = reasons::plain(other);
            return Err(FetchError::Permanent(ReadError::new(format!(
                "the API answers in the encoding \"{other}\", which was not asked for; only gzip is read"
            ))));
        }
    }
    if body.starts_with(b"\xef\xbb\xbf") {
        body.drain(..3);
    }
    Ok(body)
}

/// Parses `Retry-After` in seconds or as a date; ignores invalid values.
fn retry_after(headers: &HeaderMap, now: jiff::Timestamp) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds.max(0.0)).ok();
    }
    let then = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
    Some(Duration::from_secs(u64::try_from(then.as_second() - now.as_second()).unwrap_or(0)))
}

/// Describes a missing response, without the URL, which may contain credentials.
fn connect_error(error: reqwest::Error) -> FetchError {
    let error = error.without_url();
    if error.is_timeout() {
        return FetchError::Permanent(ReadError::timed_out(if error.is_connect() {
            CONNECT_TIMEOUT
        } else {
            REQUEST_TIMEOUT
        }));
    }
    let mut reasons = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return FetchError::Permanent(ReadError::new(
                "the API refused the connection: nothing listens at this host and port",
            ));
        }
        if error.downcast_ref::<std::io::Error>().is_some_and(OutOfReach::caused) {
            return FetchError::Permanent(ReadError::new(OutOfReach.to_string()));
        }
        reasons.push_str(&error.to_string().to_ascii_lowercase());
        cause = error.source();
    }
    if reasons.contains("socks")
        && let Some(variable) = socks_proxy_variable()
    {
        return FetchError::Permanent(ReadError::new(format!(
            "the variable {variable} names a SOCKS proxy, which is not supported; name an HTTP proxy there, or unset it"
        )));
    }
    let message = if reasons.contains("dns") || reasons.contains("resolve") {
        "the name of the API's host could not be resolved (DNS)"
    } else if reasons.contains("certificate") || reasons.contains("tls") || reasons.contains("handshake") {
        "no secure connection to the API (TLS): its certificate is not accepted, or it does not use TLS"
    } else if error.is_connect() {
        "no connection to the API's host"
    } else {
        return FetchError::Disconnected(ReadError::new(
            "the connection to the API broke before the whole answer had come",
        ));
    };
    FetchError::Permanent(ReadError::new(message))
}

/// Returns the environment variable that names a SOCKS proxy.
fn socks_proxy_variable() -> Option<&'static str> {
    let is_socks = |name: &&str| std::env::var(name).is_ok_and(|value| value.starts_with("socks"));
    PROXIES.into_iter().find(is_socks)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use reqwest::header::{HeaderMap, HeaderValue, RETRY_AFTER};

    use super::retry_after;

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date() {
        let now: jiff::Timestamp = "2026-11-23T12:00:00Z".parse().unwrap();
        for (text, expected) in [
            ("7", Some(7)),
            ("-3", Some(0)),
            ("Mon, 23 Nov 2026 12:00:09 GMT", Some(9)),
            ("Mon, 23 Nov 2026 11:00:00 GMT", Some(0)),
            ("soon", None),
            ("1e400", None),
        ] {
            let headers: HeaderMap = [(RETRY_AFTER, HeaderValue::from_static(text))].into_iter().collect();
            assert_eq!(retry_after(&headers, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
