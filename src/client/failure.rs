//! Classifies and words requests that got no response.

use super::error::RemoteErrorKind;
use super::message::printable;
use super::wording;
use crate::error::causes;
use std::io;

/// Classifies a request without a response.
///
/// Only an unopened connection proves that nothing was sent.
pub(super) fn classify_send_error(error: &reqwest::Error) -> RemoteErrorKind {
    if was_stream_refused(error) {
        // The platform closes connections regularly; the next attempt opens a new one.
        RemoteErrorKind::NotSent(
            "the platform closed the connection before it took the request (HTTP/2)".into(),
        )
    } else if error.is_connect() {
        let whither = error.url().map(|url| url.origin().ascii_serialization());
        let whither = whither.map_or_else(|| "the platform".to_owned(), |origin| printable(&origin));
        RemoteErrorKind::Unreachable(format!("{whither} cannot be reached: {}", connect_error(error)))
    } else if error.is_builder() {
        RemoteErrorKind::NotSent(reason(error))
    } else {
        RemoteErrorKind::NoResponse(reason(error))
    }
}

/// Returns true if the platform certainly did not process an HTTP/2 request.
///
/// Its stream came after the last one of a graceful GOAWAY, or was refused (RFC 9113, sections 6.8
/// and 8.7).
fn was_stream_refused(error: &reqwest::Error) -> bool {
    causes(error).find_map(|cause| cause.downcast_ref::<h2::Error>()).is_some_and(|error| {
        let after_the_last = error.is_go_away() && error.reason() == Some(h2::Reason::NO_ERROR);
        let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
        error.is_remote() && (after_the_last || refused)
    })
}

/// Describes why a connection could not be opened.
fn connect_error(error: &reqwest::Error) -> String {
    let mut is_lookup = false;
    for cause in causes(error) {
        is_lookup |= cause.to_string().contains("dns error");
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
                io::ErrorKind::ConnectionReset => "the connection was reset".to_owned(),
                io::ErrorKind::HostUnreachable => "host unreachable".to_owned(),
                io::ErrorKind::NetworkUnreachable => "network unreachable".to_owned(),
                io::ErrorKind::TimedOut => "timed out".to_owned(),
                _ if is_lookup && io.to_string().contains("emporary") => {
                    "DNS lookup failed temporarily".to_owned()
                }
                _ if is_lookup => "no such host".to_owned(),
                _ if io.to_string().contains("socks") => unsupported_proxy(),
                // Errors without an OS error number come from TLS.
                _ if io.raw_os_error().is_none() => wording::tls(&printable(&io.to_string())),
                _ => printable(&io.to_string()),
            };
        }
        if cause.to_string().contains("socks") {
            return unsupported_proxy();
        }
    }
    reason(error)
}

/// Names the environment variable that selects an unsupported proxy.
fn unsupported_proxy() -> String {
    let names = ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy"];
    let is_socks = |name: &&str| std::env::var(name).is_ok_and(|value| value.starts_with("socks"));
    let name = names.into_iter().find(is_socks).unwrap_or("ALL_PROXY");
    format!(
        "the variable {name} names a SOCKS proxy, which is not supported; name an HTTP proxy, or unset it"
    )
}

/// Joins the causes, without the URL and without generic messages.
pub(super) fn reason(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "timed out".into();
    }
    let mut texts: Vec<String> = Vec::new();
    for text in causes(error).map(ToString::to_string) {
        if !texts.contains(&text) {
            texts.push(text);
        }
    }
    let all = texts.join(": ");
    if all.is_empty() {
        return "the HTTP client gave no reason".into();
    }
    wording::http(&all).map_or_else(|| printable(&all), str::to_owned)
}
