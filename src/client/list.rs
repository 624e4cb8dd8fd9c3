//! Reads the response of `list`.
//!
//! Invariant: anything but a complete list is an error.

use super::error::RemoteErrorKind;
use super::transport::RawResponse;
use super::{message, reasons};
use crate::listing::ListError;
use crate::model::ObservedSource;
use reqwest::StatusCode;

/// Maximum size in bytes of a response that is searched for error reasons.
const MAX_ERROR_SCAN_BYTES: usize = 1 << 20;

/// Reads a complete list by `parse`; `clean` makes the platform's message safe to show.
pub(super) fn decode(
    reply: &RawResponse,
    parse: impl Fn(&[u8]) -> Result<Vec<ObservedSource>, ListError>,
    clean: impl Fn(&str) -> String,
) -> Result<Vec<ObservedSource>, RemoteErrorKind> {
    if reply.status == StatusCode::PARTIAL_CONTENT || reply.has_next_page {
        return Err(RemoteErrorKind::Partial("the response headers indicate further pages".into()));
    }
    if reply.status != StatusCode::OK {
        return Err(RemoteErrorKind::Malformed(format!("HTTP {} for a list", reply.status.as_u16())));
    }
    parse(&reply.body).map_err(|error| match error {
        ListError::Error => {
            RemoteErrorKind::Refused { status: reply.status.as_u16(), message: clean(&reason(&reply.body)) }
        }
        ListError::Conflict => RemoteErrorKind::Conflict(clean(&reason(&reply.body))),
        ListError::MoreRows { field } => RemoteErrorKind::Partial(format!(
            "`{}` is present in addition to `data`",
            message::printable(&field)
        )),
        ListError::Malformed(reason) => RemoteErrorKind::Malformed(reason),
    })
}

/// Returns the platform's message.
///
/// An error with reasons is short; of a longer response, only `message` is read.
fn reason(body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Envelope {
        #[serde(default)]
        message: String,
    }
    let whole = if body.len() <= MAX_ERROR_SCAN_BYTES { serde_json::from_slice(body).ok() } else { None };
    match whole {
        Some(envelope) => reasons::message(&envelope),
        None => serde_json::from_slice(body).map_or_else(|_| String::new(), |Envelope { message }| message),
    }
}
