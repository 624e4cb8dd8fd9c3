//! Requests to an API with retries, bounded in number, bytes and time.

use std::error::Error as _;
use std::io::Read as _;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, CONTENT_ENCODING, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Response, StatusCode, Url};

use super::super::{Failure, Reach};
use super::clients::{self, ANSWER, CONNECT, PROXIES};
use super::words;
use crate::platform::hosts::OutOfReach;

/// Maximum size of a page in bytes; pages and records are held in memory.
const LARGEST_PAGE: usize = 64 << 20;
/// Maximum size in bytes of an error response, enough for its reason.
const LARGEST_REFUSAL: usize = 64 << 10;
/// Maximum bytes of all pages of a read, far above usual APIs.
const MOST_BYTES: u64 = 64 << 30;
/// Maximum time for all pages of a read.
const LONGEST: Duration = Duration::from_secs(6 * 60 * 60);
/// Maximum number of attempts while the API requests a wait.
const ATTEMPTS: u32 = 5;
/// Maximum number of attempts if connections break.
const ATTEMPTS_BROKEN: u32 = 2;
/// First wait if the API does not specify one; each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Maximum sum of waits in a sync, and in an interactive request.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
const PATIENCE_OF_A_LOOK: Duration = Duration::from_secs(10);
/// Default `Accept` header, unless configured.
///
/// Lists each JSON type, because few servers support `*+json`, and some take `*/*` in a list for
/// HTML.
pub(super) const KINDS: &str = "application/json, application/vnd.api+json, application/hal+json, \
                                application/ld+json, application/geo+json, application/*+json";

/// A response with a body.
pub(super) struct Page {
    pub(super) body: Vec<u8>,
    pub(super) headers: HeaderMap,
    /// Final URL.
    pub(super) url: Url,
    /// Requested URL, before redirects.
    pub(super) base: Url,
}

/// Result of a request.
pub(super) enum Fetched {
    Page(Box<Page>),
    /// 204 or 205: success without content.
    Nothing,
    /// 404.
    Missing(Failure),
}

/// Requests of one read.
pub(super) struct Calls<'a> {
    reach: &'a Reach,
    headers: HeaderMap,
    /// True if the `Accept` header is ours, so that another may be tried.
    own_accept: bool,
    /// Texts that messages must not repeat.
    secrets: &'a [String],
    patience: Duration,
    bytes: u64,
    begun: Instant,
}

/// Reason why a request failed.
enum Trouble {
    Final(Failure),
    /// The API requests a wait, with its length if specified.
    Busy(Failure, Option<Duration>),
    /// The connection broke.
    Broken(Failure),
    /// 406.
    NotAcceptable(Failure),
}

impl<'a> Calls<'a> {
    /// Requests of a sync, with long waits.
    pub(super) fn of_sync(
        reach: &'a Reach,
        headers: &HeaderMap,
        own_accept: bool,
        secrets: &'a [String],
    ) -> Self {
        let (headers, begun) = (headers.clone(), Instant::now());
        Self { reach, headers, own_accept, secrets, patience: PATIENCE, bytes: 0, begun }
    }

    /// Requests of a test or a schema, with short waits.
    pub(super) fn of_look(
        reach: &'a Reach,
        headers: &HeaderMap,
        own_accept: bool,
        secrets: &'a [String],
    ) -> Self {
        Self { patience: PATIENCE_OF_A_LOOK, ..Self::of_sync(reach, headers, own_accept, secrets) }
    }

    /// Fetches a page, with retries after temporary errors.
    pub(super) fn fetch(&mut self, url: &Url) -> Result<Fetched, Failure> {
        if self.bytes > MOST_BYTES || self.begun.elapsed() > LONGEST {
            let (gib, hours) = (MOST_BYTES >> 30, LONGEST.as_secs() / 3600);
            return Err(Failure::new(format!(
                "the API goes on for more than {gib} GiB or {hours} hours; read it in parts, with a cursor"
            )));
        }
        let mut attempt = 1;
        loop {
            let trouble = match self.within(self.get(url.clone()))? {
                Ok(fetched) => {
                    if let Fetched::Page(page) = &fetched {
                        self.bytes += page.body.len() as u64;
                    }
                    return Ok(fetched);
                }
                Err(trouble) => trouble,
            };
            let (failure, asked, most) = match trouble {
                Trouble::Final(failure) => return Err(failure),
                Trouble::Busy(failure, asked) => (failure, asked, ATTEMPTS),
                Trouble::Broken(failure) => (failure, None, ATTEMPTS_BROKEN),
                Trouble::NotAcceptable(failure) if !self.own_accept => return Err(failure),
                Trouble::NotAcceptable(failure) => {
                    self.own_accept = false;
                    self.headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
                    (failure, Some(Duration::ZERO), ATTEMPTS)
                }
            };
            let wait = asked.unwrap_or_else(|| FIRST_WAIT.saturating_mul(1 << (attempt - 1)));
            let Some(left) = self.patience.checked_sub(wait).filter(|_| attempt < most) else {
                return Err(failure);
            };
            self.patience = left;
            attempt += 1;
            self.within(async { tokio::time::sleep(wait).await })?;
        }
    }

    /// Waits for a future, until the read must end.
    fn within<T>(&self, work: impl Future<Output = T>) -> Result<T, Failure> {
        self.reach.runtime.block_on(async {
            tokio::select! {
                done = work => Ok(done),
                () = self.reach.stopped() => Err(self.reach.ended()),
            }
        })
    }

    async fn get(&self, url: Url) -> Result<Fetched, Trouble> {
        let base = url.clone();
        let client = clients::of(self.reach, &url).await.map_err(Trouble::Final)?;
        let sent = client.get(url).headers(self.headers.clone()).send().await;
        let mut response = sent.map_err(unreached)?;
        let status = response.status();
        if matches!(status, StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT) {
            return Ok(Fetched::Nothing);
        }
        if !status.is_success() {
            // An incomplete reason is ignored.
            let body = read(&mut response, LARGEST_REFUSAL).await.unwrap_or_default();
            return self.refusal(&response, &body);
        }
        let body = read(&mut response, LARGEST_PAGE).await?;
        let (headers, url) = (response.headers().clone(), response.url().clone());
        Ok(Fetched::Page(Box::new(Page { body, headers, url, base })))
    }

    /// Classifies an error status, with the API's message.
    fn refusal(&self, response: &Response, body: &[u8]) -> Result<Fetched, Trouble> {
        let status = response.status();
        let mut message = match status {
            StatusCode::UNAUTHORIZED => "the API refused the credentials (401)".to_owned(),
            StatusCode::FORBIDDEN => "the API does not permit this with these credentials (403)".to_owned(),
            StatusCode::NOT_FOUND => {
                "the API has nothing at this address (404); check \"base_url\" and \"path\"".to_owned()
            }
            StatusCode::TOO_MANY_REQUESTS => "the API asks for fewer requests (429); sync later".to_owned(),
            _ if status.is_redirection() => {
                let status = status.as_u16();
                format!("the API redirects to another server ({status}); name that one in \"base_url\"")
            }
            _ => format!("the API answered with status {}", status.as_u16()),
        };
        let words = self.shown(&words::of_body(body));
        if !words.is_empty() {
            message.push_str(": ");
            message.push_str(&words);
        }
        let failure = Failure::new(message);
        Err(match status.as_u16() {
            404 => return Ok(Fetched::Missing(failure)),
            406 => Trouble::NotAcceptable(failure),
            429 | 502..=504 => {
                Trouble::Busy(failure, retry_after(response.headers(), jiff::Timestamp::now()))
            }
            _ => Trouble::Final(failure),
        })
    }

    /// Returns the API's message, unless it repeats a secret.
    pub(super) fn shown(&self, words: &str) -> String {
        if self.secrets.iter().any(|secret| words.contains(secret.as_str())) {
            return "(its words repeat a secret and are withheld)".to_owned();
        }
        words.to_owned()
    }
}

/// Reads and decompresses the body, up to `limit` bytes.
async fn read(response: &mut Response, limit: usize) -> Result<Vec<u8>, Trouble> {
    let too_large = || {
        let limit = limit >> 20;
        Trouble::Final(Failure::new(format!(
            "a page of the API is larger than {limit} MiB; ask for smaller pages"
        )))
    };
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreached)? {
        if body.len() + chunk.len() > limit {
            return Err(too_large());
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
                Trouble::Final(Failure::new(
                    "the API's answer is gzip that is damaged or does not come to its end",
                ))
            })?;
            if plain.len() > limit {
                return Err(too_large());
            }
            body = plain;
        }
        other => {
            let other = words::plain(other);
            return Err(Trouble::Final(Failure::new(format!(
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
fn unreached(error: reqwest::Error) -> Trouble {
    let error = error.without_url();
    if error.is_timeout() {
        return Trouble::Final(Failure::timed_out(if error.is_connect() { CONNECT } else { ANSWER }));
    }
    let mut reasons = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        if let Some(error) = error.downcast_ref::<std::io::Error>()
            && error.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return Trouble::Final(Failure::new(
                "the API refused the connection: nothing listens at this host and port",
            ));
        }
        if error.downcast_ref::<std::io::Error>().is_some_and(OutOfReach::caused) {
            return Trouble::Final(Failure::new(OutOfReach.to_string()));
        }
        reasons.push_str(&error.to_string().to_ascii_lowercase());
        cause = error.source();
    }
    if let Some(variable) = socks_variable().filter(|_| reasons.contains("socks")) {
        return Trouble::Final(Failure::new(format!(
            "the variable {variable} names a SOCKS proxy, which is not supported; name an HTTP proxy there, or unset it"
        )));
    }
    let message = if reasons.contains("dns") || reasons.contains("resolve") {
        "the name of the API's host could not be resolved (DNS)"
    } else if reasons.contains("certificate") || reasons.contains("tls") || reasons.contains("handshake") {
        "no secure connection to the API (TLS): its certificate is not accepted, or it speaks no TLS"
    } else if error.is_connect() {
        "no connection to the API's host"
    } else {
        return Trouble::Broken(Failure::new(
            "the connection to the API broke before the whole answer had come",
        ));
    };
    Trouble::Final(Failure::new(message))
}

/// Returns the environment variable that names a SOCKS proxy.
fn socks_variable() -> Option<&'static str> {
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
